//! How far an application has read, and how far its inputs had come: committed together, as offsets of its group.

use std::collections::BTreeMap;
use std::time::Duration;

use base64::Engine;
use base64::engine::general_purpose::STANDARD_NO_PAD;
use serde::{Deserialize, Serialize};

use super::super::time::InputId;
use crate::client::{Client, ClientError, Coordinator, GroupMetadata, TopicPartition};
use crate::group::message::{CommittedOffset, OffsetCommit};
use crate::ids::Offset;

/// How long the group may take to answer.
const WITHIN: Duration = Duration::from_mins(1);

/// What a group takes of words beside an offset, in bytes.
const WORDS_MAX: usize = 4_096;

/// The version of [`Words`].
const VERSION: u8 = 1;

/// How far a task has read a partition, and the words that it leaves with that.
#[derive(Clone, Debug)]
pub(super) struct Position {
    pub(super) of: TopicPartition,
    pub(super) next: Offset,
    pub(super) words: String,
}

/// How far those had come who write into a partition: the least, and who is how far ahead of it. They stand beside the offset of
/// the topic that they write into, which so names it: its place among those of the task is another one when topics come.
#[derive(Debug, PartialEq, Eq, Serialize, Deserialize)]
struct Words {
    least_ms: i64,
    /// The sub-topology and the task of each, -1 for the topic itself.
    ahead: Vec<(i32, i32, u64)>,
}

/// The words for the inputs of a topic; an error where there are too many.
pub(super) fn words(topic: usize, reached: &BTreeMap<InputId, i64>) -> Result<String, ClientError> {
    let of_topic = || reached.iter().filter(|((of, ..), _)| *of == topic);
    let least_ms = of_topic().map(|(_, ms)| *ms).min().unwrap_or(i64::MIN);
    let ahead = of_topic().map(|((_, part, task), ms)| (*part, *task, ms.abs_diff(least_ms)));
    let words = Words { least_ms, ahead: ahead.collect() };
    let bytes = postcard::to_extend(&words, vec![VERSION]).unwrap_or_default();
    let text = STANDARD_NO_PAD.encode(bytes);
    if text.len() > WORDS_MAX {
        let text = format!("{} tasks write into one of its partitions, which is too many", words.ahead.len());
        return Err(ClientError::setting("partitions", text));
    }
    Ok(text)
}

/// What the words say; nothing where they are of somebody else.
pub(super) fn reached(topic: usize, words: &str) -> BTreeMap<InputId, i64> {
    let bytes = STANDARD_NO_PAD.decode(words).unwrap_or_default();
    let Some((&VERSION, rest)) = bytes.split_first() else { return BTreeMap::new() };
    let Ok(Words { least_ms, ahead }) = postcard::from_bytes(rest) else { return BTreeMap::new() };
    let each = ahead
        .into_iter()
        .map(|(part, task, ahead_ms)| ((topic, part, task), least_ms.saturating_add_unsigned(ahead_ms)));
    each.collect()
}

/// What is committed for these partitions, once no transaction is open that says something of them.
pub(super) async fn committed(
    client: &Client,
    group: &str,
    of: &[TopicPartition],
) -> Result<BTreeMap<TopicPartition, (Offset, String)>, ClientError> {
    let view = client.metadata().view();
    let mut ids = BTreeMap::new();
    for name in of {
        ids.insert(view.id(name).ok_or_else(|| unknown(name))?, name.clone());
    }
    let found = client.stable_commits(group, ids.keys().copied().collect(), WITHIN).await?;
    let named = found.into_iter().filter_map(|(id, CommittedOffset { offset, metadata, .. })| {
        Some((ids.get(&id)?.clone(), (offset, metadata)))
    });
    Ok(named.collect())
}

/// Commits positions outside of a transaction.
pub(super) async fn commit(
    client: &Client,
    group: &GroupMetadata,
    positions: Vec<Position>,
) -> Result<(), ClientError> {
    let view = client.metadata().view();
    let mut offsets = Vec::new();
    for Position { of, next, words } in positions {
        let id = view.id(&of).ok_or_else(|| unknown(&of))?;
        offsets.push((id, CommittedOffset { offset: next, leader_epoch: None, metadata: words }));
    }
    if offsets.is_empty() {
        return Ok(());
    }
    let GroupMetadata { group, member, member_epoch, .. } = group.clone();
    let coordinator = Coordinator::new(client.clone(), &*group);
    let commit = OffsetCommit { group, member, member_epoch, offsets };
    let each = coordinator.ask("committing offsets", commit, WITHIN).await?;
    each.into_iter().try_for_each(|(_, result)| result).map_err(ClientError::from)
}

fn unknown(partition: &TopicPartition) -> ClientError {
    ClientError::UnknownTopic(partition.to_string())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn how_far_inputs_had_come_is_read_as_it_was_written() {
        let had: BTreeMap<InputId, i64> =
            [((1, 0, 0), 5), ((1, 0, 1), i64::MAX), ((1, 2, 0), i64::MIN), ((0, -1, -1), 9)].into();
        let said = words(1, &had).unwrap();
        let mut of_topic = had.clone();
        of_topic.retain(|(topic, ..), _| *topic == 1);
        assert_eq!(reached(1, &said), of_topic);
        assert_eq!(words(0, &had).unwrap(), "ARIBAQEA", "the bytes of version 1");
    }

    #[test]
    fn how_far_inputs_had_come_is_of_their_topic_whatever_its_place_among_others() {
        let had: BTreeMap<InputId, i64> = [((1, 2, 0), 300), ((1, 2, 1), 307)].into();
        let said = words(1, &had).unwrap();
        assert_eq!(said, "AdgEAgQAAAQCBw", "the bytes of version 1");
        assert_eq!(reached(4, &said), [((4, 2, 0), 300), ((4, 2, 1), 307)].into());
    }

    #[test]
    fn words_of_somebody_else_say_nothing() {
        for words in ["", "hello", "AgAA", "AQ"] {
            assert_eq!(reached(0, words), BTreeMap::new(), "{words:?}");
        }
    }
}

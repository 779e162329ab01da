//! How far an application has read, and how far its inputs had come: committed together, as offsets of its group.

use std::collections::BTreeMap;
use std::time::Duration;

use base64::Engine;
use base64::engine::general_purpose::STANDARD_NO_PAD;
use serde::{Deserialize, Serialize};

use super::super::time::TimeLeft;
use super::StreamsError;
use crate::client::{Client, ClientError, Coordinator, GroupMetadata, TopicPartition};
use crate::group::message::{CommittedOffset, OffsetCommit};
use crate::ids::Offset;

/// How long the group may take to answer.
const WITHIN: Duration = Duration::from_mins(1);

/// What a group takes of words beside an offset, in bytes.
const WORDS_MAX: usize = 4_096;

/// The version of [`Words`], which are written without a mark.
const PLAIN: u8 = 1;

/// The version of [`MoreWords`].
const VERSION: u8 = 2;

/// What words of all versions but the first begin with, so that those of a later one are told from words of others.
const MARK: &str = "streams:";

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

/// The same where inputs of the task were left out of stream time.
#[derive(Debug, PartialEq, Eq, Serialize, Deserialize)]
struct MoreWords {
    words: Words,
    /// Which of `words.ahead` were left out.
    idle: Vec<(i32, i32)>,
    /// The task's stream time, where that is not the least of all its inputs.
    ahead_ms: Option<i64>,
}

/// The words for the inputs of a topic; an error where there are too many.
pub(super) fn words(topic: usize, left: &TimeLeft) -> Result<String, ClientError> {
    let of_topic = || left.reached.iter().filter(|((of, ..), _)| *of == topic);
    let least_ms = of_topic().map(|(_, ms)| *ms).min().unwrap_or(i64::MIN);
    let ahead = of_topic().map(|((_, part, task), ms)| (*part, *task, ms.abs_diff(least_ms)));
    let words = Words { least_ms, ahead: ahead.collect() };
    let tasks = words.ahead.len();
    let idle = left.idle.iter().filter(|(of, ..)| *of == topic).map(|(_, part, task)| (*part, *task));
    let (idle, ahead_ms): (Vec<_>, _) = (idle.collect(), left.ahead_ms);
    // What says no more than version 1 is written so: an earlier version of the library goes on from there.
    let text = match idle.is_empty() && ahead_ms.is_none() {
        true => STANDARD_NO_PAD.encode(bytes(&words, PLAIN)),
        false => {
            let more = MoreWords { words, idle, ahead_ms };
            format!("{MARK}{}", STANDARD_NO_PAD.encode(bytes(&more, VERSION)))
        }
    };
    if text.len() > WORDS_MAX {
        let text = format!("{tasks} tasks write into one of its partitions, which is too many");
        return Err(ClientError::setting("partitions", text));
    }
    Ok(text)
}

fn bytes(words: &impl Serialize, version: u8) -> Vec<u8> {
    #[expect(clippy::expect_used, reason = "plain data into memory: nothing in it can fail to serialize")]
    postcard::to_extend(words, vec![version]).expect("plain data serializes")
}

/// What the words say; nothing where they are of somebody else. An error where they are of a later version.
pub(super) fn time_left(topic: usize, words: &str) -> Result<TimeLeft, StreamsError> {
    let (text, is_marked) = words.strip_prefix(MARK).map_or((words, false), |text| (text, true));
    let bytes = STANDARD_NO_PAD.decode(text).unwrap_or_default();
    let Some((&version, rest)) = bytes.split_first() else { return Ok(TimeLeft::default()) };
    let more = match (version, is_marked) {
        (PLAIN, false) => {
            let words = postcard::from_bytes(rest).ok();
            words.map(|words| MoreWords { words, idle: Vec::new(), ahead_ms: None })
        }
        (VERSION, true) => postcard::from_bytes(rest).ok(),
        (found, true) if found > VERSION => {
            return Err(StreamsError::LaterVersion { found, known: VERSION });
        }
        _ => None,
    };
    let Some(MoreWords { words: Words { least_ms, ahead }, idle, ahead_ms }) = more else {
        return Ok(TimeLeft::default());
    };
    let each = ahead
        .into_iter()
        .map(|(part, task, ahead_ms)| ((topic, part, task), least_ms.saturating_add_unsigned(ahead_ms)));
    let idle = idle.into_iter().map(|(part, task)| (topic, part, task));
    Ok(TimeLeft { reached: each.collect(), idle: idle.collect(), ahead_ms })
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
    use std::collections::BTreeSet;

    use super::super::super::time::InputId;
    use super::*;

    fn left(reached: impl Into<BTreeMap<InputId, i64>>) -> TimeLeft {
        TimeLeft { reached: reached.into(), ..TimeLeft::default() }
    }

    #[test]
    fn how_far_inputs_had_come_is_read_as_it_was_written() {
        let had = left([((1, 0, 0), 5), ((1, 0, 1), i64::MAX), ((1, 2, 0), i64::MIN), ((0, -1, -1), 9)]);
        let said = words(1, &had).unwrap();
        let mut of_topic = had.clone();
        of_topic.reached.retain(|(topic, ..), _| *topic == 1);
        assert_eq!(time_left(1, &said).unwrap(), of_topic);
        assert_eq!(words(0, &had).unwrap(), "ARIBAQEA", "the bytes of version 1");
    }

    #[test]
    fn how_far_inputs_had_come_is_of_their_topic_whatever_its_place_among_others() {
        let had = left([((1, 2, 0), 300), ((1, 2, 1), 307)]);
        let said = words(1, &had).unwrap();
        assert_eq!(said, "AdgEAgQAAAQCBw", "the bytes of version 1");
        assert_eq!(time_left(4, &said).unwrap(), left([((4, 2, 0), 300), ((4, 2, 1), 307)]));
    }

    #[test]
    fn which_inputs_were_left_out_and_how_far_time_went_without_them_is_read_as_it_was_written() {
        let had = TimeLeft {
            idle: BTreeSet::from([(0, -1, -1), (1, 2, 1)]),
            ahead_ms: Some(300),
            ..left([((1, 2, 0), 300), ((1, 2, 1), 7), ((0, -1, -1), 9)])
        };
        let said = words(1, &had).unwrap();
        assert_eq!(said, "streams:Ag4CBAClAgQCAAEEAgHYBA", "the bytes of version 2");
        let wanted = TimeLeft { idle: BTreeSet::from([(4, 2, 1)]), ..had.clone() };
        let wanted = TimeLeft { reached: left([((4, 2, 0), 300), ((4, 2, 1), 7)]).reached, ..wanted };
        assert_eq!(time_left(4, &said).unwrap(), wanted);
        let heard = TimeLeft { idle: BTreeSet::new(), ..had };
        assert_eq!(time_left(0, &words(0, &heard).unwrap()).unwrap().ahead_ms, Some(300));
    }

    #[test]
    fn words_of_somebody_else_say_nothing() {
        for words in ["", "hello", "AgAA", "AQ", "streams:", "streams:AQ", "streams: of ours"] {
            assert_eq!(time_left(0, words).unwrap(), TimeLeft::default(), "{words:?}");
        }
    }

    #[test]
    fn words_of_a_later_version_are_an_error_that_says_what_to_do() {
        let later = format!("streams:{}", STANDARD_NO_PAD.encode([3, 1, 2, 3]));
        let error = time_left(0, &later).unwrap_err();
        assert!(error.is_final());
        let wanted = "the application was run by a later version of the library, which committed its times in form 3, and this \
                      one reads up to form 2; run the later version, or reset the application";
        assert_eq!(error.to_string(), wanted);
    }
}

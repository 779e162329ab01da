//! One session: what its client reads, in the order in which it is served, and what it was told of each partition. Pure.

use std::collections::BTreeMap;
use std::sync::Arc;

use millstream_transport::kafka::ErrorCode;
use millstream_transport::kafka::messages::fetch::response::Partition;

use super::INITIAL_EPOCH;

/// What a partition of a session takes in memory, beside the name of its topic: not less than it does.
const PARTITION_BYTES: usize = 256;

/// A topic as requests of the session name it.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(in super::super) enum TopicKey {
    Name(Arc<str>),
    Id(uuid::Uuid),
}

/// A partition.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(in super::super) struct Key {
    pub(in super::super) topic: TopicKey,
    pub(in super::super) index: i32,
}

/// What is to be read of a partition, as the protocol has it: -1 is none.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in super::super) struct Wanted {
    pub(in super::super) leader_epoch: i32,
    pub(in super::super) last_epoch: i32,
    pub(in super::super) offset: i64,
    pub(in super::super) max_bytes: i32,
}

/// How large a session is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Size {
    pub(super) partitions: usize,
    /// Its memory: not less than it takes.
    pub(super) bytes: usize,
}

/// A session.
#[derive(Debug)]
pub(super) struct Session {
    /// That of the next request.
    epoch: i32,
    by_id: bool,
    known: BTreeMap<Key, Known>,
    /// Partitions that had records stand behind those that had none: each gets its turn.
    turns: BTreeMap<u64, Key>,
    last_turn: u64,
    bytes: usize,
}

#[derive(Debug)]
struct Known {
    wanted: Wanted,
    turn: u64,
    high_watermark: i64,
    log_start: i64,
}

impl Session {
    /// A session of these partitions.
    pub(super) fn new(by_id: bool, wanted: Vec<(Key, Wanted)>) -> Self {
        let mut session = Self {
            epoch: next_epoch(INITIAL_EPOCH),
            by_id,
            known: BTreeMap::new(),
            turns: BTreeMap::new(),
            last_turn: 0,
            bytes: 0,
        };
        session.add(wanted);
        session
    }

    /// The epoch that its next request has to have.
    pub(super) fn epoch(&self) -> i32 {
        self.epoch
    }

    pub(super) fn size(&self) -> Size {
        Size { partitions: self.known.len(), bytes: self.bytes }
    }

    /// A request goes on with it: this is wanted anew or otherwise, that no more.
    pub(super) fn go_on(
        &mut self,
        epoch: i32,
        by_id: bool,
        wanted: Vec<(Key, Wanted)>,
        forgotten: &[Key],
    ) -> Result<(), ErrorCode> {
        if epoch != self.epoch {
            return Err(ErrorCode::InvalidFetchSessionEpoch);
        }
        if by_id != self.by_id {
            return Err(ErrorCode::FetchSessionTopicIdError);
        }
        self.epoch = next_epoch(epoch);
        self.add(wanted);
        for key in forgotten {
            if let Some(known) = self.known.remove(key) {
                self.turns.remove(&known.turn);
                self.bytes -= bytes_of(key);
            }
        }
        Ok(())
    }

    /// Everything that is read, in turn.
    pub(super) fn parts(&self) -> Vec<(Key, Wanted)> {
        let in_turn = self.turns.values();
        in_turn.filter_map(|key| Some((key.clone(), self.known.get(key)?.wanted))).collect()
    }

    /// Whether what was read is to be told: records, an error, another history, another node, or a bound that has moved. It is noted
    /// as told.
    pub(super) fn is_news(&mut self, key: &Key, read: &Partition<'_>) -> bool {
        let Some(known) = self.known.get_mut(key) else { return true };
        let has_records = read.records.as_ref().is_some_and(|records| !records.is_empty());
        let is_error = read.error_code != 0;
        let has_moved =
            known.high_watermark != read.high_watermark || known.log_start != read.log_start_offset;
        // When the error is over, its bounds are news.
        known.high_watermark = if is_error { -1 } else { read.high_watermark };
        known.log_start = read.log_start_offset;
        if has_records {
            self.last_turn += 1;
            self.turns.remove(&known.turn);
            known.turn = self.last_turn;
            self.turns.insert(known.turn, key.clone());
        }
        let is_elsewhere = read.diverging_epoch.epoch >= 0 || read.preferred_read_replica >= 0;
        has_records || is_error || has_moved || is_elsewhere
    }

    fn add(&mut self, wanted: Vec<(Key, Wanted)>) {
        for (key, wanted) in wanted {
            if let Some(known) = self.known.get_mut(&key) {
                known.wanted = wanted;
                continue;
            }
            self.last_turn += 1;
            self.bytes += bytes_of(&key);
            self.turns.insert(self.last_turn, key.clone());
            let turn = self.last_turn;
            // No partition has such bounds: what is read first is news.
            self.known.insert(key, Known { wanted, turn, high_watermark: -1, log_start: -1 });
        }
    }
}

fn bytes_of(key: &Key) -> usize {
    match &key.topic {
        TopicKey::Name(name) => PARTITION_BYTES + name.len(),
        TopicKey::Id(_) => PARTITION_BYTES,
    }
}

/// The epoch behind this one; behind the greatest comes the first again.
fn next_epoch(epoch: i32) -> i32 {
    epoch.checked_add(1).unwrap_or(1)
}

#[cfg(test)]
mod tests {
    use millstream_transport::kafka::Records;

    use super::*;

    fn key(index: i32) -> Key {
        Key { topic: TopicKey::Name("t".into()), index }
    }

    fn wanted(offset: i64) -> Wanted {
        Wanted { leader_epoch: -1, last_epoch: -1, offset, max_bytes: 1 }
    }

    fn session(partitions: i32) -> Session {
        Session::new(false, (0..partitions).map(|index| (key(index), wanted(0))).collect())
    }

    fn read(high_watermark: i64, records: &'static [u8]) -> Partition<'static> {
        Partition { high_watermark, log_start_offset: 0, records: Some(records.into()), ..Default::default() }
    }

    fn order(session: &Session) -> Vec<i32> {
        session.parts().into_iter().map(|(key, _)| key.index).collect()
    }

    #[test]
    fn a_partition_is_told_when_it_is_new_has_records_or_a_bound_has_moved() {
        let mut session = session(1);
        assert!(session.is_news(&key(0), &read(0, b"")));
        assert!(!session.is_news(&key(0), &read(0, b"")));
        assert!(session.is_news(&key(0), &read(5, b"")));
        assert!(!session.is_news(&key(0), &read(5, b"")));
        assert!(session.is_news(&key(0), &read(5, b"records")));
        assert!(session.is_news(&key(0), &Partition { log_start_offset: 2, ..read(5, b"") }));
        let mut diverging = Partition { log_start_offset: 2, ..read(5, b"") };
        assert!(!session.is_news(&key(0), &diverging));
        diverging.diverging_epoch.epoch = 3;
        assert!(session.is_news(&key(0), &diverging));
        let nearer = Partition { preferred_read_replica: 2, log_start_offset: 2, ..read(5, b"") };
        assert!(session.is_news(&key(0), &nearer));
    }

    #[test]
    fn after_an_error_a_partition_is_told_though_nothing_has_moved() {
        let mut session = session(1);
        let failed = Partition {
            error_code: 6,
            high_watermark: -1,
            records: Some(Records::default()),
            ..read(0, b"")
        };
        assert!(session.is_news(&key(0), &read(5, b"")));
        assert!(session.is_news(&key(0), &failed));
        assert!(session.is_news(&key(0), &failed), "as long as it is there");
        assert!(session.is_news(&key(0), &read(5, b"")));
        assert!(!session.is_news(&key(0), &read(5, b"")));
    }

    #[test]
    fn who_had_records_stands_behind_those_that_had_none() {
        let mut session = session(3);
        assert_eq!(order(&session), [0, 1, 2]);
        session.is_news(&key(0), &read(1, b"records"));
        session.is_news(&key(1), &read(1, b""));
        assert_eq!(order(&session), [1, 2, 0]);
    }

    #[test]
    fn a_request_goes_on_in_its_epoch_with_what_it_changes() {
        let mut session = session(2);
        assert_eq!(session.go_on(2, false, vec![], &[]), Err(ErrorCode::InvalidFetchSessionEpoch));
        assert_eq!(session.go_on(1, true, vec![], &[]), Err(ErrorCode::FetchSessionTopicIdError));
        let before = session.size();
        session.go_on(1, false, vec![(key(1), wanted(9)), (key(7), wanted(3))], &[key(0), key(5)]).unwrap();
        assert_eq!(session.parts(), [(key(1), wanted(9)), (key(7), wanted(3))]);
        assert_eq!(session.size(), before, "one came, one went");
        assert_eq!(session.go_on(1, false, vec![], &[]), Err(ErrorCode::InvalidFetchSessionEpoch));
        session.go_on(2, false, vec![], &[key(1), key(7)]).unwrap();
        assert_eq!(session.size(), Size::default());
        assert_eq!(next_epoch(i32::MAX), 1);
    }
}

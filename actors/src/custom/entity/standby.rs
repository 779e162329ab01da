//! What a node knows of partitions of entities that it follows: a table of each, kept at what is committed, so that it reads
//! next to nothing when it is to lead. Pure.
//!
//! Only what the own replica knows to be committed is read, so nothing of it is ever cut off but by an unclean election;
//! a log with another history is noticed by the epoch of the last record, and read anew. Those that are behind are read in
//! small steps, a few at a time; those that are not wait in their replica, which wakes them when the high watermark moves.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::time::Duration;

use tokio::time::Instant;

use super::doors::{ReplicaRead, ReplicaRecords};
use super::table::Table;
use crate::error::Refusal;
use crate::ids::{LeaderEpoch, PartitionId};
use crate::record::{BatchError, whole_batches};

/// Bytes of one step; a batch that has more comes whole.
const STEP_BYTES: u32 = 128 << 10;

/// Partitions that are read on at a time, of those that are behind.
const READS_MAX: usize = 4;

/// How long a partition waits whose replica could not be read, at first; it doubles up to the second.
const AGAIN: Duration = Duration::from_millis(100);
const AGAIN_MOST: Duration = Duration::from_secs(5);

/// How long a table stays that could not be kept at what is committed. Tombstones stay in the log for longer
/// (`delete.retention.ms`, a day): what is read on later than that might miss one.
const STALE_AFTER: Duration = Duration::from_secs(3600);

/// A table and what it rests on.
#[derive(Clone, Debug, Default)]
pub(super) struct Handed {
    /// What was read.
    pub(super) table: Table,
    /// The epoch of the last record in it.
    pub(super) after: Option<LeaderEpoch>,
}

impl Handed {
    /// Entities in it, and its bytes.
    fn size(&self) -> (usize, usize) {
        (self.table.entities(), self.table.bytes())
    }
}

/// What comes to the standbys of a node.
#[derive(Debug)]
pub(super) enum Input {
    /// This node follows the partition.
    Follow(PartitionId),
    /// It does so no more.
    Leave(PartitionId),
    /// What [`Wanted`] asked for.
    Read { partition: PartitionId, life: u64, result: Result<ReplicaRecords, Refusal> },
    /// Time has passed.
    Tick,
}

/// A read that is wanted; then [`Input::Read`], with the same life.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Wanted {
    pub(super) life: u64,
    pub(super) read: ReplicaRead,
}

#[derive(Debug)]
struct Standby {
    handed: Handed,
    /// Tells answers to reads for this one from those for an earlier one.
    life: u64,
    failures: u32,
    /// When it had all that is committed, or began.
    fresh_at: Instant,
    /// Not read before then, after a failure.
    rests_until: Option<Instant>,
}

/// The standbys of a node.
#[derive(Debug, Default)]
pub(super) struct Standbys {
    of: BTreeMap<PartitionId, Standby>,
    /// Those that are to be read on, with their lives.
    behind: VecDeque<(PartitionId, u64)>,
    /// The lives of those that are being read on.
    under_way: BTreeSet<u64>,
    lives: u64,
    /// Entities of all, and bytes.
    size: (usize, usize),
}

impl Standbys {
    /// Takes something in; what is to be read.
    pub(super) fn take(&mut self, now: Instant, input: Input) -> Vec<Wanted> {
        let mut wanted = Vec::new();
        match input {
            Input::Follow(partition) => self.follow(now, partition),
            Input::Leave(partition) => drop(self.hand_over(partition)),
            Input::Read { partition, life, result } => {
                self.under_way.remove(&life);
                wanted.extend(self.read(now, partition, life, result));
            }
            Input::Tick => {
                let due = |standby: &Standby| standby.rests_until.is_some_and(|until| until <= now);
                for (partition, standby) in self.of.iter_mut().filter(|(_, standby)| due(standby)) {
                    standby.rests_until = None;
                    self.behind.push_back((*partition, standby.life));
                }
            }
        }
        while self.under_way.len() < READS_MAX
            && let Some((partition, life)) = self.behind.pop_front()
        {
            let Some(standby) = self.of.get(&partition).filter(|standby| standby.life == life) else {
                continue;
            };
            self.under_way.insert(life);
            wanted.push(standby.wants(partition, false));
        }
        wanted
    }

    /// When [`Input::Tick`] is due; `None` where nothing rests.
    pub(super) fn next(&self) -> Option<Instant> {
        self.of.values().filter_map(|standby| standby.rests_until).min()
    }

    /// The table of a partition that is followed no more, as this node leads it.
    pub(super) fn hand_over(&mut self, partition: PartitionId) -> Option<Handed> {
        let handed = self.of.remove(&partition)?.handed;
        self.resized(handed.size(), (0, 0));
        Some(handed)
    }

    /// Entities that are indexed, and the bytes of memory that takes, as estimated.
    pub(super) const fn size(&self) -> (usize, usize) {
        self.size
    }

    fn resized(&mut self, was: (usize, usize), is: (usize, usize)) {
        let (entities, bytes) = self.size;
        self.size = (entities.saturating_sub(was.0) + is.0, bytes.saturating_sub(was.1) + is.1);
    }

    fn follow(&mut self, now: Instant, partition: PartitionId) {
        if self.of.contains_key(&partition) {
            return;
        }
        self.lives += 1;
        let (life, handed) = (self.lives, Handed::default());
        self.of.insert(partition, Standby { handed, life, failures: 0, fresh_at: now, rests_until: None });
        self.behind.push_back((partition, life));
    }

    fn read(
        &mut self,
        now: Instant,
        partition: PartitionId,
        life: u64,
        result: Result<ReplicaRecords, Refusal>,
    ) -> Option<Wanted> {
        let standby = self.of.get_mut(&partition).filter(|standby| standby.life == life)?;
        let was = standby.handed.size();
        let mut wanted = None;
        match standby.taken(now, result) {
            Taken::All => wanted = Some(standby.wants(partition, true)),
            Taken::Some => self.behind.push_back((partition, life)),
            Taken::Nothing => standby.rest(now),
        }
        let is = standby.handed.size();
        self.resized(was, is);
        wanted
    }
}

/// How far a table got by what was read.
enum Taken {
    /// It has all that is committed.
    All,
    Some,
    Nothing,
}

impl Standby {
    fn wants(&self, partition: PartitionId, waits: bool) -> Wanted {
        let Handed { table, after } = &self.handed;
        let read = ReplicaRead { partition, from: table.end(), after: *after, max_bytes: STEP_BYTES, waits };
        Wanted { life: self.life, read }
    }

    fn taken(&mut self, now: Instant, result: Result<ReplicaRecords, Refusal>) -> Taken {
        let Ok(records) = result else { return Taken::Nothing };
        let table_end = self.handed.table.end();
        if records.has_parted || table_end < records.start {
            self.handed = Handed::default();
            self.handed.table.skip_to(records.start);
            return Taken::Some;
        }
        if show(&mut self.handed, &records).is_err() {
            // The replica finds out itself what is wrong with it.
            self.handed = Handed::default();
            return Taken::Nothing;
        }
        let end = self.handed.table.end();
        if end >= records.end {
            (self.failures, self.fresh_at) = (0, now);
            return Taken::All;
        }
        if end > table_end { Taken::Some } else { Taken::Nothing }
    }

    fn rest(&mut self, now: Instant) {
        let wait = AGAIN.saturating_mul(1 << self.failures.min(10)).min(AGAIN_MOST);
        self.failures = self.failures.saturating_add(1);
        self.rests_until = Some(now + wait);
        if now.saturating_duration_since(self.fresh_at) > STALE_AFTER {
            (self.handed, self.fresh_at) = (Handed::default(), now);
        }
    }
}

fn show(handed: &mut Handed, records: &ReplicaRecords) -> Result<(), BatchError> {
    for batch in whole_batches(&records.batches) {
        let batch = batch?;
        handed.table.take_batch(&batch)?;
        handed.after = Some(batch.header.leader_epoch);
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;
    use uuid::Uuid;

    use super::super::records::{RecordKey, RecordValue, Snapshot, record};
    use super::*;
    use crate::error::ErrorCode;
    use crate::ids::{Offset, TopicId};
    use crate::record::{BatchBuilder, Compression, assign};

    fn partition(index: i32) -> PartitionId {
        PartitionId { topic: TopicId(Uuid::from_u128(1)), index }
    }

    /// Batches of one snapshot each, at these offsets, in one epoch.
    fn batches(offsets: std::ops::Range<i64>, epoch: i32) -> Bytes {
        let one = |offset: i64| {
            let key = RecordKey::Snapshot { entity: Bytes::from(format!("e{offset}")) };
            let state = Snapshot { sequence: 0, version: 1, state: Bytes::new() };
            let record = record(0, &key, Some(&RecordValue::Snapshot(state)));
            let mut builder = BatchBuilder::new(1_000, Compression::NONE);
            builder.push(0, Some(&record.key), record.value.as_deref(), &[]).unwrap();
            let mut batch = builder.finish(None).to_vec();
            assign(&mut batch, Offset(offset), LeaderEpoch(epoch)).unwrap();
            batch
        };
        offsets.flat_map(one).collect::<Vec<u8>>().into()
    }

    fn records(offsets: std::ops::Range<i64>, end: i64) -> ReplicaRecords {
        let batches = batches(offsets, 3);
        ReplicaRecords { batches, start: Offset::ZERO, end: Offset(end), has_parted: false }
    }

    struct Rig {
        standbys: Standbys,
        now: Instant,
    }

    impl Rig {
        fn following(partitions: i32) -> (Self, Vec<Wanted>) {
            let mut rig = Self { standbys: Standbys::default(), now: Instant::now() };
            let wanted = (0..partitions).flat_map(|index| rig.take(Input::Follow(partition(index))));
            let wanted = wanted.collect();
            (rig, wanted)
        }

        fn take(&mut self, input: Input) -> Vec<Wanted> {
            self.standbys.take(self.now, input)
        }

        fn read(&mut self, wanted: &Wanted, result: Result<ReplicaRecords, Refusal>) -> Vec<Wanted> {
            let Wanted { life, read } = *wanted;
            self.take(Input::Read { partition: read.partition, life, result })
        }
    }

    fn refusal() -> Refusal {
        Refusal::new(ErrorCode::NotLeaderOrFollower, "it does not stream")
    }

    #[test]
    fn a_partition_is_read_in_steps_to_its_end_and_then_waited_for() {
        let (mut rig, wanted) = Rig::following(1);
        assert_eq!((wanted[0].read.from, wanted[0].read.waits), (Offset::ZERO, false));
        let wanted = rig.read(&wanted[0], Ok(records(0..3, 5)));
        let expected = (Offset(3), Some(LeaderEpoch(3)), false);
        assert_eq!((wanted[0].read.from, wanted[0].read.after, wanted[0].read.waits), expected);
        let wanted = rig.read(&wanted[0], Ok(records(3..5, 5)));
        assert_eq!((wanted.len(), wanted[0].read.from, wanted[0].read.waits), (1, Offset(5), true));
        let wanted = rig.read(&wanted[0], Ok(records(5..6, 6)));
        assert!(wanted[0].read.waits && rig.standbys.next().is_none());
        assert_eq!(rig.standbys.size().0, 6);
        let handed = rig.standbys.hand_over(partition(0)).unwrap();
        assert_eq!(rig.standbys.size(), (0, 0));
        assert_eq!((handed.table.end(), handed.table.entities(), handed.table.seen()), (Offset(6), 6, 6));
        assert!(rig.read(&wanted[0], Ok(records(6..7, 7))).is_empty(), "it is not followed any more");
    }

    #[test]
    fn few_of_those_that_are_behind_are_read_at_a_time_and_all_in_the_end() {
        let (mut rig, mut wanted) = Rig::following(10);
        assert_eq!(wanted.len(), READS_MAX);
        let mut waiting = 0;
        while let Some(next) = wanted.pop() {
            if next.read.waits {
                waiting += 1;
                continue;
            }
            wanted.extend(rig.read(&next, Ok(records(0..2, 2))));
        }
        assert_eq!((waiting, rig.standbys.size().0), (10, 20));
    }

    #[test]
    fn a_log_with_another_history_is_read_anew() {
        let (mut rig, wanted) = Rig::following(1);
        let wanted = rig.read(&wanted[0], Ok(records(0..3, 3)));
        let parted = ReplicaRecords { has_parted: true, ..records(0..0, 9) };
        let wanted = rig.read(&wanted[0], Ok(parted));
        assert_eq!((wanted[0].read.from, wanted[0].read.after), (Offset::ZERO, None));
        assert_eq!(rig.standbys.size(), (0, 0));
    }

    #[test]
    fn a_replica_that_cannot_be_read_is_asked_again_later_and_an_old_table_is_given_up() {
        let (mut rig, wanted) = Rig::following(1);
        let wanted = rig.read(&wanted[0], Ok(records(0..3, 3)));
        assert!(rig.read(&wanted[0], Err(refusal())).is_empty());
        let until = rig.standbys.next().unwrap();
        assert_eq!(until, rig.now + AGAIN);
        assert!(rig.take(Input::Tick).is_empty());
        rig.now = until;
        let wanted = rig.take(Input::Tick);
        assert_eq!(wanted[0].read.from, Offset(3));
        rig.now += STALE_AFTER + AGAIN;
        assert!(rig.read(&wanted[0], Err(refusal())).is_empty());
        assert_eq!(rig.standbys.size(), (0, 0));
    }

    #[test]
    fn a_partition_that_is_left_and_followed_again_begins_anew_and_takes_no_old_answer() {
        let (mut rig, wanted) = Rig::following(1);
        rig.take(Input::Leave(partition(0)));
        let again = rig.take(Input::Follow(partition(0)));
        assert!(rig.read(&wanted[0], Ok(records(0..3, 3))).is_empty());
        assert_eq!(rig.standbys.size(), (0, 0));
        assert!(rig.read(&again[0], Ok(records(0..1, 1)))[0].read.waits);
    }
}

//! Whatever happens in whatever order: nothing is fed twice or left out, nothing gets stuck, credit is kept.

use std::collections::BTreeMap;
use std::time::Duration;

use bytes::Bytes;
use proptest::prelude::*;
use tokio::time::Instant;

use super::feeds::{Feeds, News, Read, Subject};
use crate::ids::{DirectoryId, Incarnation, LeaderEpoch, Member, NodeId, Offset, PartitionId, TopicId};
use crate::partition::following::Feed;
use crate::replication::settings::FetchSettings;

const SLOTS: u32 = 5;
const WINDOW: usize = 40 << 10;
const PARTITION_WINDOW: usize = 12 << 10;

#[derive(Clone, Copy, Debug)]
enum Step {
    Append { slot: u32, records: usize, bytes: usize },
    Round,
    CatchUp,
    Complete(usize),
    Send { news_due: bool },
    Take(u32),
    Remove(u32),
    Pass(u64),
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let slot = 0..SLOTS;
    let step = prop_oneof![
        4 => (slot.clone(), 1..40_usize, 1..3000_usize)
            .prop_map(|(slot, records, bytes)| Step::Append { slot, records, bytes }),
        4 => Just(Step::Round),
        2 => Just(Step::CatchUp),
        4 => (0..8_usize).prop_map(Step::Complete),
        4 => any::<bool>().prop_map(|news_due| Step::Send { news_due }),
        4 => slot.clone().prop_map(Step::Take),
        1 => slot.prop_map(Step::Remove),
        1 => (0..20_u64).prop_map(Step::Pass),
    ];
    prop::collection::vec(step, 0..120)
}

/// One partition: the sizes of its batches, of one record each, and what its follower has.
#[derive(Debug, Default)]
struct Partition {
    batches: Vec<usize>,
    next: usize,
    untaken: usize,
}

#[derive(Debug)]
struct Model {
    feeds: Feeds,
    now: Instant,
    partitions: BTreeMap<u32, Partition>,
    reads: Vec<Read>,
    largest: usize,
}

fn subject(slot: u32) -> Subject {
    let topic = TopicId(uuid::Uuid::nil());
    let member =
        Member { node: NodeId(2), directory: DirectoryId(uuid::Uuid::nil()), incarnation: Incarnation(1) };
    let partition = PartitionId { topic, index: i32::try_from(slot).unwrap() };
    Subject { partition, member, epoch: LeaderEpoch(1) }
}

impl Model {
    fn new() -> Self {
        let settings = FetchSettings {
            window_bytes: u32::try_from(WINDOW).unwrap(),
            partition_window_bytes: u32::try_from(PARTITION_WINDOW).unwrap(),
            frame_bytes: 20 << 10,
            read_bytes: 8 << 10,
            behind_bytes: 32 << 10,
            catch_up_bytes: 16 << 10,
            ..FetchSettings::default()
        };
        let now = Instant::now();
        let mut feeds = Feeds::new(settings, now);
        let news = News { high_watermark: Offset(0), log_start: Offset(0) };
        for slot in 0..SLOTS {
            feeds.insert(slot, subject(slot), Offset(0), news);
        }
        let partitions = (0..SLOTS).map(|slot| (slot, Partition::default())).collect();
        Self { feeds, now, partitions, reads: Vec::new(), largest: 0 }
    }

    fn step(&mut self, step: Step) {
        match step {
            Step::Append { slot, records, bytes } => {
                if let Some(partition) = self.partitions.get_mut(&slot) {
                    partition.batches.extend(std::iter::repeat_n(bytes, records));
                    self.largest = self.largest.max(bytes);
                    self.feeds.wake(slot);
                }
            }
            Step::Round => self.reads.extend(self.feeds.round()),
            Step::CatchUp => self.reads.extend(self.feeds.catch_up(self.now)),
            Step::Complete(at) if at < self.reads.len() => {
                let read = self.reads.remove(at);
                match self.partitions.get(&read.slot) {
                    Some(partition) => self.feeds.read(read, partition.read(read)),
                    None => assert!(!self.feeds.refused(read)),
                }
            }
            Step::Complete(_) => {}
            Step::Send { news_due } => self.send(news_due),
            Step::Take(slot) => {
                if let Some(partition) = self.partitions.get_mut(&slot) {
                    self.feeds.taken(slot, std::mem::take(&mut partition.untaken)).unwrap();
                }
                self.feeds.taken(slot + SLOTS, 1000).unwrap();
            }
            Step::Remove(slot) => {
                assert_eq!(self.feeds.remove(slot), self.partitions.remove(&slot).is_some());
            }
            Step::Pass(milliseconds) => self.now += Duration::from_millis(milliseconds),
        }
    }

    fn send(&mut self, news_due: bool) {
        let (parts, bytes) = self.feeds.take_parts(self.now, news_due);
        assert_eq!(bytes, parts.iter().map(|part| part.batches.len()).sum::<usize>());
        for part in parts {
            let partition = self.partitions.get_mut(&part.slot).expect("no part of a slot that is gone");
            let mut left = part.batches.len();
            partition.untaken += left;
            while left > 0 {
                left = left.checked_sub(partition.batches[partition.next]).expect("whole batches in order");
                partition.next += 1;
            }
            assert!(partition.untaken < PARTITION_WINDOW + self.largest);
        }
        let untaken: usize = self.partitions.values().map(|partition| partition.untaken).sum();
        assert!(untaken < WINDOW + (8 << 10) + self.largest);
    }
}

impl Partition {
    fn read(&self, read: Read) -> Feed {
        let from = usize::try_from(read.from.0).unwrap();
        let mut bytes = 0;
        let mut next = from;
        while let Some(batch) = self.batches.get(next)
            && (next == from || bytes + batch <= read.max_bytes)
        {
            bytes += batch;
            next += 1;
        }
        let offset = |index: usize| Offset(i64::try_from(index).unwrap());
        Feed {
            batches: Bytes::from(vec![0; bytes]),
            next: offset(next),
            end: offset(self.batches.len()),
            high_watermark: offset(from),
            log_start: Offset(0),
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, cases: 512, ..ProptestConfig::default() })]

    #[test]
    fn everything_is_fed_once_and_nothing_gets_stuck(steps in steps()) {
        let mut model = Model::new();
        for step in steps {
            model.step(step);
        }
        // From here on everybody does what is due; a few rounds for every batch are far more than enough.
        for _ in 0..5000 {
            for step in [Step::Round, Step::CatchUp, Step::Pass(1)] {
                model.step(step);
            }
            while !model.reads.is_empty() {
                model.step(Step::Complete(0));
            }
            model.step(Step::Send { news_due: true });
            for slot in 0..SLOTS {
                model.step(Step::Take(slot));
            }
            if model.partitions.values().all(|partition| partition.next == partition.batches.len()) {
                break;
            }
        }
        for partition in model.partitions.values() {
            prop_assert_eq!(partition.next, partition.batches.len());
        }
    }
}

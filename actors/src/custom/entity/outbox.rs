//! Messages to other entities, once they are committed: one lane for each partition they go to, in their order, one
//! delivery of a lane at a time, again until it is answered.

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use super::partition::Delivery;
use super::table::Table;
use crate::record::key_hash::partition_for_key;

/// Messages of one delivery, and their bytes.
const DELIVERY_MAX: usize = 100;
const DELIVERY_BYTES: usize = 256 << 10;

/// How long a lane waits whose delivery failed, at first; it doubles up to the second.
const AGAIN_MS: i64 = 50;
const AGAIN_MOST_MS: i64 = 2_000;

/// A partition of a type of entities.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Lane {
    /// The type.
    pub kind: String,
    /// The partition.
    pub partition: u32,
}

#[derive(Debug, Default)]
struct Queue {
    waiting: VecDeque<u64>,
    /// How many of them are on their way, and by which delivery.
    on_way: usize,
    number: u64,
    failures: u32,
    not_before_ms: i64,
}

/// The messages of one partition that go to others.
#[derive(Debug, Default)]
pub struct Outbox {
    lanes: BTreeMap<Lane, Queue>,
    /// Those of types whose partitions are not known.
    unplaced: BTreeMap<String, VecDeque<u64>>,
    /// The last sequence that is in a lane or unplaced.
    seen: u64,
    delivered: BTreeSet<u64>,
    /// Of the next delivery.
    number: u64,
}

/// Messages on their way to a partition.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Outbound {
    /// Where they go.
    pub lane: Lane,
    /// To be given back with the answer.
    pub number: u64,
    /// The messages.
    pub messages: Vec<Delivery>,
}

impl Outbox {
    /// Messages that were delivered and are still in the log.
    pub(super) fn delivered(&self) -> impl Iterator<Item = u64> {
        self.delivered.iter().copied()
    }

    /// Nothing is known of the log any more. Answers to what is on its way count no more.
    pub(super) fn begin_anew(&mut self) {
        *self = Self { number: self.number, ..Self::default() };
    }

    /// Forgets those that the log is rid of.
    pub(super) fn retain(&mut self, table: &Table) {
        self.delivered
            .retain(|sequence| table.outbox_from(*sequence).next().is_some_and(|(it, _)| it == *sequence));
    }

    /// What is to be delivered now. `partitions` tells how many a type has; it never changes once known.
    pub fn due(
        &mut self,
        table: &Table,
        now_ms: i64,
        partitions: impl Fn(&str) -> Option<u32>,
    ) -> Vec<Outbound> {
        self.place(table, partitions);
        let mut due = Vec::new();
        for (lane, queue) in &mut self.lanes {
            if queue.on_way > 0 || queue.not_before_ms > now_ms {
                continue;
            }
            let messages = delivery(table, &queue.waiting);
            if !messages.is_empty() {
                self.number += 1;
                (queue.on_way, queue.number) = (messages.len(), self.number);
                due.push(Outbound { lane: lane.clone(), number: self.number, messages });
            }
        }
        self.lanes.retain(|_, queue| !queue.waiting.is_empty());
        due
    }

    /// A lane's delivery was applied, or not.
    pub fn answered(&mut self, lane: &Lane, number: u64, now_ms: i64, is_applied: bool) {
        let Some(queue) = self.lanes.get_mut(lane).filter(|queue| queue.number == number) else { return };
        let on_way = std::mem::take(&mut queue.on_way);
        if is_applied {
            self.delivered.extend(queue.waiting.drain(..on_way.min(queue.waiting.len())));
            queue.failures = 0;
        } else {
            let wait_ms = AGAIN_MS.saturating_mul(1 << queue.failures.min(10)).min(AGAIN_MOST_MS);
            queue.failures = queue.failures.saturating_add(1);
            queue.not_before_ms = now_ms.saturating_add(wait_ms);
        }
    }

    /// When a delivery is due that waits for its time, or for its type to be known.
    pub(super) fn next_ms(&self, now_ms: i64) -> Option<i64> {
        let waiting = self.lanes.values().filter(|queue| queue.on_way == 0 && !queue.waiting.is_empty());
        let unplaced = (!self.unplaced.is_empty()).then(|| now_ms.saturating_add(AGAIN_MS));
        waiting.map(|queue| queue.not_before_ms).chain(unplaced).min()
    }

    fn place(&mut self, table: &Table, partitions: impl Fn(&str) -> Option<u32>) {
        for (sequence, outgoing) in table.outbox_from(self.seen.saturating_add(1)) {
            self.unplaced.entry(outgoing.kind.clone()).or_default().push_back(sequence);
            self.seen = sequence;
        }
        let lanes = &mut self.lanes;
        self.unplaced.retain(|kind, waiting| {
            let Some(count) = partitions(kind) else { return true };
            for sequence in waiting.drain(..) {
                let Some((_, outgoing)) = table.outbox_from(sequence).next() else { continue };
                let partition = partition_for_key(&outgoing.key, count);
                lanes.entry(Lane { kind: kind.clone(), partition }).or_default().waiting.push_back(sequence);
            }
            false
        });
    }
}

/// The first messages of a lane, as many as go together.
fn delivery(table: &Table, waiting: &VecDeque<u64>) -> Vec<Delivery> {
    let mut bytes = 0_usize;
    let mut messages = Vec::new();
    for sequence in waiting.iter().take(DELIVERY_MAX) {
        let Some((_, outgoing)) = table.outbox_from(*sequence).next() else { continue };
        bytes = bytes.saturating_add(outgoing.message.len()).saturating_add(outgoing.key.len());
        if bytes > DELIVERY_BYTES && !messages.is_empty() {
            break;
        }
        let (entity, message) = (outgoing.key.clone(), outgoing.message.clone());
        messages.push(Delivery { sequence: *sequence, entity, message });
    }
    messages
}

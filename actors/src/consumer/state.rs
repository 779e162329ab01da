//! What a consumer reads, from where, and what it has read ahead. Pure.
//!
//! Every change of a partition's position gives it a new generation. What was asked for in an earlier one is dropped on
//! arrival, so that nothing is delivered from before a seek or after a revocation.

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use super::event::{ConsumerEvent, Fetched};
use crate::client::TopicPartition;
use crate::ids::{Offset, PartitionId};

/// Where to go on reading.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SeekTo {
    /// At this offset.
    Offset(Offset),
    /// At the first record that is there.
    Beginning,
    /// Behind the last record.
    End,
    /// At the first record with this timestamp or a later one; behind the last record if there is none. Milliseconds
    /// since 1970.
    Timestamp(i64),
    /// Where the group has committed; by `auto.offset.reset` if it has not.
    Committed,
}

impl SeekTo {
    /// The offset, where it has not to be looked up.
    const fn offset(self) -> Option<Offset> {
        match self {
            Self::Offset(offset) => Some(offset),
            Self::Beginning | Self::End | Self::Timestamp(_) | Self::Committed => None,
        }
    }
}

/// One partition that is read.
#[derive(Clone, Debug)]
pub(super) struct Reading {
    pub(super) name: TopicPartition,
    pub(super) generation: u64,
    /// Where to read next; what is not an offset has to be looked up first.
    pub(super) fetch_from: SeekTo,
    /// The offset after the last record handed out; `None` before the first and before it was looked up.
    pub(super) position: Option<Offset>,
    /// Of these, what counts as processed.
    pub(super) processed: Option<Offset>,
    pub(super) paused: bool,
    pub(super) busy: bool,
    /// An error that is not retriable came: it is not read before somebody seeks.
    pub(super) failed: bool,
    pub(super) buffered_bytes: usize,
}

/// An event that waits to be taken.
#[derive(Debug)]
enum Waiting {
    Rebalance(ConsumerEvent),
    Records { partition: PartitionId, generation: u64, bytes: usize, fetched: Fetched },
}

/// A consumer's state.
#[derive(Debug, Default)]
pub(super) struct State {
    readings: BTreeMap<PartitionId, Reading>,
    waiting: VecDeque<Waiting>,
    generations: u64,
    buffered_bytes: usize,
    /// Partitions that the application was told are revoked, and has not asked for another event since.
    revoking: BTreeSet<PartitionId>,
    /// Told, and asked for another event since: can be given up.
    revoked: BTreeMap<PartitionId, Reading>,
    /// Partitions are lost, and the application has not asked for another event since it was told.
    losing: bool,
}

impl State {
    /// Reads these partitions from now on, beside others. Tells the application if `tell`.
    pub(super) fn add(&mut self, partitions: Vec<(PartitionId, TopicPartition, SeekTo)>, tell: bool) {
        let mut names = Vec::new();
        for (partition, name, from) in partitions {
            names.push(name.clone());
            let generation = self.next_generation();
            self.readings.insert(
                partition,
                Reading {
                    name,
                    generation,
                    fetch_from: from,
                    position: None,
                    processed: None,
                    paused: false,
                    busy: false,
                    failed: false,
                    buffered_bytes: 0,
                },
            );
        }
        if tell && !names.is_empty() {
            self.waiting.push_back(Waiting::Rebalance(ConsumerEvent::Assigned(names)));
        }
    }

    /// Reads these partitions no more. Nobody is told: it was asked for here.
    pub(super) fn remove(&mut self, names: &BTreeSet<TopicPartition>) {
        let of_name = |(id, reading): (&PartitionId, &Reading)| names.contains(&reading.name).then_some(*id);
        let found = self.readings.iter().filter_map(of_name).collect();
        self.take(&found);
    }

    /// Hands nothing of these partitions out any more, and tells the application that they are revoked.
    pub(super) fn revoke(&mut self, partitions: &BTreeSet<PartitionId>) {
        let taken = self.take(partitions);
        if taken.is_empty() {
            return;
        }
        let names = taken.values().map(|reading| reading.name.clone()).collect();
        self.waiting.push_front(Waiting::Rebalance(ConsumerEvent::Revoked(names)));
        self.revoking.extend(taken.keys());
        self.revoked.extend(taken);
    }

    /// Reads nothing any more; tells the application that all is lost if `tell`.
    pub(super) fn lose_all(&mut self, tell: bool) {
        let all: BTreeSet<_> = self.readings.keys().copied().collect();
        let mut lost = self.take(&all);
        lost.append(&mut self.revoked);
        self.revoking.clear();
        let mut names: BTreeSet<_> = lost.into_values().map(|reading| reading.name).collect();
        for waiting in self.waiting.drain(..) {
            // Lost before, and not told yet.
            if let Waiting::Rebalance(ConsumerEvent::Lost(before)) = waiting {
                names.extend(before);
            }
        }
        self.buffered_bytes = 0;
        if tell && !names.is_empty() {
            self.losing = true;
            let names = names.into_iter().collect();
            self.waiting.push_back(Waiting::Rebalance(ConsumerEvent::Lost(names)));
        }
    }

    /// Whether the application may still have what it read of partitions that are lost: it has not been told, or has not
    /// asked for another event since.
    pub(super) const fn is_losing(&self) -> bool {
        self.losing
    }

    pub(super) fn take(&mut self, partitions: &BTreeSet<PartitionId>) -> BTreeMap<PartitionId, Reading> {
        let mut taken = BTreeMap::new();
        for partition in partitions {
            if let Some(reading) = self.readings.remove(partition) {
                self.buffered_bytes = self.buffered_bytes.saturating_sub(reading.buffered_bytes);
                taken.insert(*partition, reading);
            }
        }
        taken
    }

    /// The next event. Asking for it means that all before were processed.
    pub(super) fn next(&mut self) -> Option<ConsumerEvent> {
        self.processed_all();
        let is_lost = |waiting: &Waiting| matches!(waiting, Waiting::Rebalance(ConsumerEvent::Lost(_)));
        self.losing = self.losing && self.waiting.iter().any(is_lost);
        loop {
            match self.waiting.pop_front()? {
                Waiting::Rebalance(event) => return Some(event),
                Waiting::Records { partition, generation, bytes, fetched } => {
                    let Some(reading) = self.readings.get_mut(&partition) else { continue };
                    if reading.generation != generation {
                        continue;
                    }
                    reading.buffered_bytes = reading.buffered_bytes.saturating_sub(bytes);
                    self.buffered_bytes = self.buffered_bytes.saturating_sub(bytes);
                    reading.position = match reading.fetch_from {
                        // Where reading goes on: elsewhere, if the offset behind these was not there.
                        from if reading.buffered_bytes == 0 => from.offset(),
                        _ => Some(fetched.next),
                    };
                    return Some(ConsumerEvent::Records(fetched));
                }
            }
        }
    }

    /// All that was handed out is processed.
    pub(super) fn processed_all(&mut self) {
        for reading in self.readings.values_mut().chain(self.revoked.values_mut()) {
            reading.processed = reading.position;
        }
        if !self.has_revocation() {
            self.revoking.clear();
        }
    }

    /// Whether the application is yet to be told of partitions that are revoked.
    pub(super) fn has_revocation(&self) -> bool {
        let is_one = |waiting: &Waiting| matches!(waiting, Waiting::Rebalance(ConsumerEvent::Revoked(_)));
        self.waiting.iter().any(is_one)
    }

    /// Takes the partitions that the application has been told of and has let go: what was processed of them.
    pub(super) fn take_revoked(&mut self) -> BTreeMap<PartitionId, Option<Offset>> {
        if !self.revoking.is_empty() {
            return BTreeMap::new();
        }
        std::mem::take(&mut self.revoked)
            .into_iter()
            .map(|(partition, reading)| (partition, reading.processed))
            .collect()
    }

    /// Whether something is revoked and not yet taken by [`State::take_revoked`].
    pub(super) fn is_revoking(&self) -> bool {
        !self.revoked.is_empty()
    }

    /// Goes on elsewhere. False if the partition is not read.
    pub(super) fn seek(&mut self, partition: PartitionId, to: SeekTo) -> bool {
        let generation = self.next_generation();
        let Some(reading) = self.readings.get_mut(&partition) else { return false };
        self.buffered_bytes = self.buffered_bytes.saturating_sub(reading.buffered_bytes);
        reading.buffered_bytes = 0;
        reading.generation = generation;
        reading.fetch_from = to;
        reading.busy = false;
        reading.failed = false;
        reading.position = to.offset();
        true
    }

    /// An offset was looked up. Nothing happens if the partition was sought elsewhere meanwhile.
    pub(super) fn found(&mut self, partition: PartitionId, generation: u64, offset: Offset) {
        if let Some(reading) = self.current(partition, generation) {
            reading.busy = false;
            reading.fetch_from = SeekTo::Offset(offset);
            // Else it is reached once what was read before is handed out.
            if reading.buffered_bytes == 0 {
                reading.position = Some(offset);
            }
        }
    }

    /// What was under way ended without a result.
    pub(super) fn idle(&mut self, partition: PartitionId, generation: u64) {
        if let Some(reading) = self.current(partition, generation) {
            reading.busy = false;
        }
    }

    /// What was under way cannot be done: it stays busy, nothing is asked again before somebody seeks.
    pub(super) fn failed(&mut self, partition: PartitionId, generation: u64) {
        if let Some(reading) = self.current(partition, generation) {
            reading.failed = true;
        }
    }

    /// The offset wanted is not there: it is to be looked up. Until then nobody knows where reading goes on, once what was
    /// read before is handed out.
    pub(super) fn reset(&mut self, partition: PartitionId, generation: u64, to: SeekTo) {
        if let Some(reading) = self.current(partition, generation) {
            reading.busy = false;
            reading.fetch_from = to;
            if reading.buffered_bytes == 0 {
                reading.position = to.offset();
            }
        }
    }

    /// Records came.
    pub(super) fn fetched(&mut self, partition: PartitionId, generation: u64, fetched: Fetched) {
        let bytes = fetched.bytes();
        let Some(reading) = self.current(partition, generation) else { return };
        reading.busy = false;
        if bytes == 0 {
            return self.skipped(partition, generation, fetched.next);
        }
        reading.fetch_from = SeekTo::Offset(fetched.next);
        reading.buffered_bytes += bytes;
        self.buffered_bytes += bytes;
        self.waiting.push_back(Waiting::Records { partition, generation, bytes, fetched });
    }

    /// Up to this offset there is nothing for the application, only what brokers write: it is passed as soon as all
    /// before it is handed out.
    fn skipped(&mut self, partition: PartitionId, generation: u64, next: Offset) {
        let Some(reading) = self.readings.get_mut(&partition) else { return };
        if !matches!(reading.fetch_from, SeekTo::Offset(from) if from < next) {
            return;
        }
        reading.fetch_from = SeekTo::Offset(next);
        let ahead = self.waiting.iter_mut().rev().find_map(|waiting| match waiting {
            Waiting::Records { partition: of, generation: in_generation, fetched, .. } => {
                (*of == partition && *in_generation == generation).then_some(fetched)
            }
            Waiting::Rebalance(_) => None,
        });
        match ahead {
            Some(fetched) => fetched.next = next,
            None => reading.position = Some(next),
        }
    }

    fn current(&mut self, partition: PartitionId, generation: u64) -> Option<&mut Reading> {
        self.readings.get_mut(&partition).filter(|reading| reading.generation == generation)
    }

    /// Pauses: what was read ahead is read again later, so that it takes no room from others meanwhile. False if the
    /// partition is not read.
    pub(super) fn pause(&mut self, partition: PartitionId) -> bool {
        let next_generation = self.next_generation();
        let Some(reading) = self.readings.get_mut(&partition) else { return false };
        if std::mem::replace(&mut reading.paused, true) {
            return true;
        }
        let is_ahead = |waiting: &Waiting| match waiting {
            Waiting::Records { partition: of, generation, fetched, .. } => {
                (*of == partition && *generation == reading.generation).then_some(fetched.from)
            }
            Waiting::Rebalance(_) => None,
        };
        if let Some(first) = self.waiting.iter().find_map(is_ahead) {
            reading.fetch_from = SeekTo::Offset(first);
        }
        self.buffered_bytes = self.buffered_bytes.saturating_sub(reading.buffered_bytes);
        reading.buffered_bytes = 0;
        reading.generation = next_generation;
        reading.busy = false;
        reading.failed = false;
        true
    }

    /// Resumes. False if the partition is not read.
    pub(super) fn resume(&mut self, partition: PartitionId) -> bool {
        self.readings.get_mut(&partition).map(|reading| reading.paused = false).is_some()
    }

    /// What is read.
    pub(super) fn readings(&self) -> impl Iterator<Item = (PartitionId, &Reading)> {
        self.readings.iter().map(|(partition, reading)| (*partition, reading))
    }

    /// One partition that is read.
    pub(super) fn reading(&self, partition: PartitionId) -> Option<&Reading> {
        self.readings.get(&partition)
    }

    /// Partitions whose next step is due, marked busy: those with an offset to read from, and those to be looked up.
    pub(super) fn due(
        &mut self,
        partition_bytes: usize,
        prefetch_bytes: usize,
    ) -> Vec<(PartitionId, u64, SeekTo)> {
        let has_room = self.buffered_bytes < prefetch_bytes;
        let mut due = Vec::new();
        for (partition, reading) in &mut self.readings {
            let is_lookup = !matches!(reading.fetch_from, SeekTo::Offset(_));
            let may_fetch = !reading.paused && has_room && reading.buffered_bytes < partition_bytes;
            if !reading.busy && (is_lookup || may_fetch) {
                reading.busy = true;
                due.push((*partition, reading.generation, reading.fetch_from));
            }
        }
        due
    }

    fn next_generation(&mut self) -> u64 {
        self.generations += 1;
        self.generations
    }
}

#[cfg(test)]
mod tests;

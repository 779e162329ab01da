//! What each idempotent producer has appended to one partition, so that a batch sent again is known again.
//!
//! Kafka's rules. A producer's last five batches are remembered, as many as it may have in flight; one of them sent
//! again is answered with the offsets it got. Any other batch must begin with the sequence number behind the last one's
//! (0 behind `i32::MAX`), or, in a new epoch, with 0. An older epoch is fenced.
//!
//! **A producer that is not known here may begin with any number.** Its records may have left the log by retention, or
//! its entry this table by age or by the bound: to refuse it would stop a producer that did nothing wrong. What is given
//! up: a batch sent again after more than `producer.id.expiration.ms` of silence may be appended twice.
//!
//! A truncated log wants the table of that place: restored from a snapshot below it, and replayed from there. Entries
//! cannot be taken back one by one, as what they pushed out of the five is not known any more.

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use crate::error::{ErrorCode, Refusal};
use crate::ids::{Offset, ProducerId};
use crate::record::BatchHeader;

/// Batches remembered of each producer.
pub(super) const REMEMBERED: usize = 5;

/// How much a table holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ProducerLimits {
    /// `producer.id.expiration.ms`: a producer that appended nothing for so long is forgotten. Kafka's default: a day.
    pub expiration_ms: i64,
    /// Producers of one partition; above it the one silent for longest is forgotten. About 300 bytes each.
    pub producers: usize,
}

impl Default for ProducerLimits {
    fn default() -> Self {
        Self { expiration_ms: 24 * 60 * 60 * 1000, producers: 10_000 }
    }
}

/// What a batch is to its partition.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Check {
    /// New: append it.
    Fresh,
    /// Appended before: answer with these, once they are committed.
    Duplicate {
        /// The offset its first record got.
        first: Offset,
        /// The offset its last record got.
        last: Offset,
    },
}

/// One batch as it is remembered.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Span {
    pub(super) first_sequence: i32,
    pub(super) last_sequence: i32,
    pub(super) first_offset: Offset,
    pub(super) last_offset: Offset,
}

impl Span {
    const fn of(header: &BatchHeader) -> Self {
        Self {
            first_sequence: header.base_sequence,
            last_sequence: header.last_sequence(),
            first_offset: header.base_offset,
            last_offset: header.last_offset(),
        }
    }
}

/// One producer.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Entry {
    pub(super) epoch: i16,
    /// The last batches of this epoch, oldest first.
    pub(super) spans: VecDeque<Span>,
    /// When it last appended, by this node's clock: the clients' own are not believed.
    pub(super) touched_ms: i64,
}

impl Entry {
    fn duplicate(&self, header: &BatchHeader) -> Option<Check> {
        let same = |span: &&Span| {
            span.first_sequence == header.base_sequence && span.last_sequence == header.last_sequence()
        };
        let span = self.spans.iter().find(same).filter(|_| self.epoch == header.producer_epoch)?;
        Some(Check::Duplicate { first: span.first_offset, last: span.last_offset })
    }

    fn follows(&self, header: &BatchHeader) -> Result<(), Refusal> {
        let (known, given) = (self.epoch, header.producer_epoch);
        let (id, sequence) = (header.producer_id, header.base_sequence);
        if given < known {
            let text = format!("producer {id} is in epoch {known}, the batch is of epoch {given}");
            return Err(Refusal::new(ErrorCode::InvalidProducerEpoch, text));
        }
        let last = self.spans.back().filter(|_| given == known).map(|span| span.last_sequence);
        let expected = last.map_or(0, |last| last.checked_add(1).unwrap_or(0));
        if sequence == expected {
            return Ok(());
        }
        let text = format!(
            "producer {id} in epoch {given}: the batch begins with sequence {sequence}, {expected} is expected"
        );
        Err(Refusal::new(ErrorCode::OutOfOrderSequenceNumber, text))
    }

    fn append(&mut self, header: &BatchHeader) {
        if header.producer_epoch != self.epoch {
            self.spans.clear();
            self.epoch = header.producer_epoch;
        }
        if self.spans.len() == REMEMBERED {
            self.spans.pop_front();
        }
        self.spans.push_back(Span::of(header));
    }
}

/// The idempotent producers of one partition.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ProducerTable {
    pub(super) limits: ProducerLimits,
    pub(super) producers: BTreeMap<ProducerId, Entry>,
    /// The producers by when they last appended: who is forgotten first stands first.
    by_age: BTreeSet<(i64, ProducerId)>,
}

impl ProducerTable {
    /// An empty table.
    #[must_use]
    pub fn new(limits: ProducerLimits) -> Self {
        Self { limits, ..Self::default() }
    }

    /// Producers known.
    #[must_use]
    pub fn len(&self) -> usize {
        self.producers.len()
    }

    /// Whether none is known.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.producers.is_empty()
    }

    /// Holds the batches of one append, in their order, against what is known. Nothing is changed.
    ///
    /// A batch twice within one append is out of order, not a duplicate: it has no offset yet to answer with.
    pub fn check(&self, headers: &[BatchHeader]) -> Result<Vec<Check>, Refusal> {
        let mut ahead: BTreeMap<ProducerId, Entry> = BTreeMap::new();
        let mut checks = Vec::with_capacity(headers.len());
        for (index, header) in headers.iter().enumerate() {
            let Some(id) = header.producer() else {
                checks.push(Check::Fresh);
                continue;
            };
            let known = self.producers.get(&id);
            if let Some(duplicate) = known.and_then(|entry| entry.duplicate(header)) {
                checks.push(duplicate);
                continue;
            }
            if let Some(entry) = ahead.get(&id).or(known) {
                entry.follows(header)?;
            }
            checks.push(Check::Fresh);
            if index.saturating_add(1) < headers.len() {
                let entry = ahead.entry(id).or_insert_with(|| known.cloned().unwrap_or_default());
                entry.append(header);
            }
        }
        Ok(checks)
    }

    /// Remembers a batch that is appended, with the offsets it got; also how a table is rebuilt from a log.
    pub fn record(&mut self, header: &BatchHeader, now_ms: i64) {
        let Some(id) = header.producer() else { return };
        let entry = self.producers.entry(id).or_insert_with(|| Entry {
            epoch: header.producer_epoch,
            spans: VecDeque::new(),
            touched_ms: now_ms,
        });
        if header.producer_epoch < entry.epoch {
            return;
        }
        entry.append(header);
        self.by_age.remove(&(entry.touched_ms, id));
        entry.touched_ms = entry.touched_ms.max(now_ms);
        self.by_age.insert((entry.touched_ms, id));
        self.keep_bound();
    }

    /// The last offset of each producer's last batch that ends at or below `end`, as far as it is remembered: from these
    /// the table can be made again when all behind `end` is gone.
    #[must_use]
    pub fn last_batches(&self, end: Offset) -> BTreeMap<ProducerId, Offset> {
        let last = |entry: &Entry| entry.spans.iter().map(|span| span.last_offset).rfind(|last| *last < end);
        self.producers.iter().filter_map(|(id, entry)| Some((*id, last(entry)?))).collect()
    }

    /// Forgets producers that have been silent for too long; tells how many.
    pub fn expire(&mut self, now_ms: i64) -> usize {
        let before = self.len();
        let oldest_ms = now_ms.saturating_sub(self.limits.expiration_ms);
        while self.by_age.first().is_some_and(|(touched_ms, _)| *touched_ms <= oldest_ms) {
            self.forget_oldest();
        }
        before.saturating_sub(self.len())
    }

    pub(super) fn insert(&mut self, id: ProducerId, entry: Entry) {
        self.by_age.insert((entry.touched_ms, id));
        if let Some(old) = self.producers.insert(id, entry) {
            let touched = self.producers.get(&id).map(|entry| entry.touched_ms);
            if touched != Some(old.touched_ms) {
                self.by_age.remove(&(old.touched_ms, id));
            }
        }
        self.keep_bound();
    }

    fn keep_bound(&mut self) {
        while self.len() > self.limits.producers {
            self.forget_oldest();
        }
    }

    fn forget_oldest(&mut self) {
        if let Some((_, id)) = self.by_age.pop_first() {
            self.producers.remove(&id);
        }
    }
}

#[cfg(test)]
mod tests;

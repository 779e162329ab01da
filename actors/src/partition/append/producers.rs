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
//! Batches of a transaction open it, a marker ends it (see `transactions`). A producer with an open transaction is not
//! forgotten, however long it is silent: its coordinator ends the transaction. Coordinators of groups write as part of
//! somebody's transaction without sequence numbers: such batches are held against the epoch alone.
//!
//! A truncated log wants the table of that place: restored from a snapshot below it, and replayed from there. Entries
//! cannot be taken back one by one, as what they pushed out of the five is not known any more.

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use super::counted::{Counted, NodeProducers};
use super::transactions::{ABORTED_MAX, ABORTED_OF_ONE_MAX, AbortedTransaction, Transactions};
use crate::error::{ErrorCode, Refusal};
use crate::ids::{Offset, ProducerId};
use crate::record::{BatchHeader, EndMarker};

/// Batches remembered of each producer.
pub(super) const REMEMBERED: usize = 5;

/// How much a table holds.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ProducerLimits {
    /// `producer.id.expiration.ms`: a producer that appended nothing for so long is forgotten. Kafka's default: a day.
    pub expiration_ms: i64,
    /// Producers of one partition; above it the one silent for longest is forgotten. About 300 bytes each.
    pub producers: usize,
    /// Those of all partitions of the node together.
    pub node: NodeProducers,
}

impl Default for ProducerLimits {
    fn default() -> Self {
        Self { expiration_ms: 24 * 60 * 60 * 1000, producers: 10_000, node: NodeProducers::default() }
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
    /// The epoch of the coordinator that wrote its last marker here.
    pub(super) coordinator_epoch: Option<i32>,
    /// Where its last marker is.
    pub(super) marker: Option<Offset>,
}

/// A producer as operators see it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ActiveProducer {
    /// Its id.
    pub id: ProducerId,
    /// Its epoch.
    pub epoch: i16,
    /// The sequence number of its last record.
    pub last_sequence: Option<i32>,
    /// When it last appended, milliseconds since 1970.
    pub last_ms: i64,
    /// The epoch of the coordinator that wrote its last marker.
    pub coordinator_epoch: Option<i32>,
    /// Where its open transaction began.
    pub transaction_start: Option<Offset>,
}

impl Entry {
    fn duplicate(&self, header: &BatchHeader) -> Option<Check> {
        let same = |span: &&Span| {
            span.first_sequence == header.base_sequence && span.last_sequence == header.last_sequence()
        };
        if is_unnumbered(header) {
            return None;
        }
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
        if is_unnumbered(header) {
            return Ok(());
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
        self.reach(header.producer_epoch);
        if is_unnumbered(header) {
            return;
        }
        if self.spans.len() == REMEMBERED {
            self.spans.pop_front();
        }
        self.spans.push_back(Span::of(header));
    }

    fn reach(&mut self, epoch: i16) {
        if epoch != self.epoch {
            self.spans.clear();
            self.epoch = epoch;
        }
    }
}

/// Written for a producer by a coordinator.
const fn is_unnumbered(header: &BatchHeader) -> bool {
    header.base_sequence < 0
}

/// The idempotent producers of one partition.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ProducerTable {
    pub(super) limits: ProducerLimits,
    counted: Counted,
    pub(super) producers: BTreeMap<ProducerId, Entry>,
    pub(super) transactions: Transactions,
    /// The producers without an open transaction by when they last appended: who is forgotten first stands first.
    by_age: BTreeSet<(i64, ProducerId)>,
}

impl ProducerTable {
    /// An empty table.
    #[must_use]
    pub fn new(limits: ProducerLimits) -> Self {
        Self { counted: Counted::in_node(limits.node.clone()), limits, ..Self::default() }
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
            self.check_transaction(id, known, header)?;
            checks.push(Check::Fresh);
            if index.saturating_add(1) < headers.len() {
                let entry = ahead.entry(id).or_insert_with(|| known.cloned().unwrap_or_default());
                entry.append(header);
            }
        }
        Ok(checks)
    }

    /// A producer's batches are all part of its open transaction, in the epoch that opened it.
    fn check_transaction(
        &self,
        id: ProducerId,
        known: Option<&Entry>,
        header: &BatchHeader,
    ) -> Result<(), Refusal> {
        let refuse = |text| Err(Refusal::new(ErrorCode::InvalidTxnState, text));
        let is_open = self.transactions.first(id).is_some();
        let is_part = header.attributes.is_transactional();
        if is_open && (!is_part || known.is_some_and(|entry| entry.epoch != header.producer_epoch)) {
            return refuse(format!(
                "producer {id} has an open transaction here that the batch is no part of"
            ));
        }
        if is_part && !is_open {
            let own = self.transactions.aborted_of(id);
            if own >= ABORTED_OF_ONE_MAX {
                let text = format!(
                    "the partition has {own} aborted transactions of producer {id}, as many as it keeps of one"
                );
                return Err(Refusal::new(ErrorCode::ThrottlingQuotaExceeded, text));
            }
            let (open, aborted) = (self.transactions.open_count(), self.transactions.aborted.len());
            if open >= self.limits.producers || open.saturating_add(aborted) >= ABORTED_MAX {
                let text = format!(
                    "the partition has {open} open and {aborted} aborted transactions, as many as it keeps"
                );
                return Err(Refusal::new(ErrorCode::ThrottlingQuotaExceeded, text));
            }
        }
        Ok(())
    }

    /// Whether a marker came before: `bumps` says that every end of a transaction gives its producer another epoch (KIP-890
    /// part 2), so that a marker with the epoch of the open transaction is one, come late, of the transaction before it.
    #[must_use]
    pub fn has_marker(&self, marker: &EndMarker, bumps: bool) -> bool {
        bumps && self.is_open(marker.producer_id, marker.producer_epoch)
    }

    /// Whether a marker may be written: not by a coordinator that has been replaced, and not for an epoch that is over.
    pub fn check_marker(&self, marker: &EndMarker) -> Result<(), Refusal> {
        let Some(entry) = self.producers.get(&marker.producer_id) else { return Ok(()) };
        if entry.coordinator_epoch.is_some_and(|known| marker.coordinator_epoch < known) {
            let text = format!(
                "the coordinator's epoch {} is over for producer {}",
                marker.coordinator_epoch, marker.producer_id
            );
            return Err(Refusal::new(ErrorCode::TransactionCoordinatorFenced, text));
        }
        if marker.producer_epoch < entry.epoch {
            let (id, known, given) = (marker.producer_id, entry.epoch, marker.producer_epoch);
            let text = format!("producer {id} is in epoch {known}, the marker is of epoch {given}");
            return Err(Refusal::new(ErrorCode::InvalidProducerEpoch, text));
        }
        Ok(())
    }

    /// Whether a producer has a transaction open here, in this epoch.
    #[must_use]
    pub fn is_open(&self, id: ProducerId, epoch: i16) -> bool {
        self.transactions.first(id).is_some()
            && self.producers.get(&id).is_some_and(|entry| entry.epoch == epoch)
    }

    /// Remembers a batch that is appended, with the offsets it got, and the marker that it is, if it is one; also how a
    /// table is rebuilt from a log.
    pub fn record(&mut self, header: &BatchHeader, marker: Option<EndMarker>, now_ms: i64) {
        let Some(id) = header.producer() else { return };
        // Of a marker that compaction emptied nothing is left but its epoch; all of its transaction is gone before it.
        let is_emptied = header.attributes.is_control() && marker.is_none();
        if is_emptied && header.count > 0 {
            return;
        }
        let entry = self.producers.entry(id).or_insert_with(|| Entry {
            epoch: header.producer_epoch,
            touched_ms: now_ms,
            ..Entry::default()
        });
        if header.producer_epoch < entry.epoch {
            return;
        }
        match marker {
            Some(marker) => {
                entry.reach(header.producer_epoch);
                entry.coordinator_epoch = entry.coordinator_epoch.max(Some(marker.coordinator_epoch));
                entry.marker = Some(header.base_offset);
                self.transactions.end(id, header.base_offset, marker.commits);
            }
            None if is_emptied => {
                entry.reach(header.producer_epoch);
                entry.marker = Some(header.base_offset);
            }
            None => {
                entry.append(header);
                // Compaction empties batches of transactions that have ended, and may have removed the marker.
                if header.attributes.is_transactional() && header.count > 0 {
                    self.transactions.take(id, header.base_offset);
                }
            }
        }
        self.by_age.remove(&(entry.touched_ms, id));
        entry.touched_ms = entry.touched_ms.max(now_ms);
        if self.transactions.first(id).is_none() {
            self.by_age.insert((entry.touched_ms, id));
        }
        self.keep_bound();
    }

    /// Everything below this offset is committed, markers too.
    pub fn committed(&mut self, high_watermark: Offset) {
        self.transactions.committed(high_watermark);
    }

    /// Up to where readers of committed records may read, never beyond the high watermark.
    #[must_use]
    pub fn last_stable(&self, high_watermark: Offset) -> Offset {
        self.transactions.last_stable(high_watermark)
    }

    /// The aborted transactions that have offsets in this range, in the order of their markers.
    #[must_use]
    pub fn aborted_in(&self, from: Offset, upto: Offset) -> Vec<AbortedTransaction> {
        self.transactions.aborted_in(from, upto)
    }

    /// What aborted transactions of each producer wrote below an offset: first and last offsets, in order.
    #[must_use]
    pub fn aborted_spans(&self, end: Offset) -> BTreeMap<ProducerId, Vec<(Offset, Offset)>> {
        let mut spans: BTreeMap<ProducerId, Vec<_>> = BTreeMap::new();
        for aborted in self.transactions.aborted.iter().filter(|aborted| aborted.first < end) {
            spans.entry(aborted.producer_id).or_default().push((aborted.first, aborted.last));
        }
        spans
    }

    /// Nothing is left of what aborted transactions wrote below this offset. Tells whether one is forgotten.
    pub fn forget_aborted_below(&mut self, offset: Offset) -> bool {
        self.transactions.forget_below(offset)
    }

    /// The producers known, by id.
    pub fn active(&self) -> impl Iterator<Item = ActiveProducer> {
        self.producers.iter().map(|(id, entry)| ActiveProducer {
            id: *id,
            epoch: entry.epoch,
            last_sequence: entry.spans.back().map(|span| span.last_sequence),
            last_ms: entry.touched_ms,
            coordinator_epoch: entry.coordinator_epoch,
            transaction_start: self.transactions.first(*id),
        })
    }

    /// The last offset of each producer's last batch that ends at or below `end`, as far as it is remembered: from these
    /// the table can be made again when all behind `end` is gone.
    #[must_use]
    pub fn last_batches(&self, end: Offset) -> BTreeMap<ProducerId, Offset> {
        let last = |entry: &Entry| {
            let batch = entry.spans.iter().map(|span| span.last_offset).rfind(|last| *last < end);
            batch.or(entry.marker.filter(|marker| *marker < end))
        };
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

    /// Takes a producer of a snapshot in, with the beginning of its open transaction.
    pub(super) fn insert(&mut self, id: ProducerId, entry: Entry, transaction: Option<Offset>) {
        match transaction {
            Some(first) => self.transactions.take(id, first),
            None => {
                self.by_age.insert((entry.touched_ms, id));
            }
        }
        if let Some(old) = self.producers.insert(id, entry) {
            let touched = self.producers.get(&id).map(|entry| entry.touched_ms);
            if touched != Some(old.touched_ms) {
                self.by_age.remove(&(old.touched_ms, id));
            }
        }
        self.keep_bound();
    }

    fn keep_bound(&mut self) {
        while self.len() > self.limits.producers && self.forget_oldest() {}
        if self.counted.has_grown_to(self.producers.len()) && self.limits.node.is_over() && self.len() > 1 {
            // One comes, one goes: no partition pays for what others remember.
            self.forget_oldest();
        }
    }

    fn forget_oldest(&mut self) -> bool {
        let Some((_, id)) = self.by_age.pop_first() else { return false };
        self.producers.remove(&id);
        self.counted.has_grown_to(self.producers.len());
        true
    }
}

#[cfg(test)]
mod tests;

//! What is kept of a batch.

use std::collections::{BTreeMap, BTreeSet};
use std::io;

use bytes::Bytes;

use super::key_map::{KeyMap, MapFull};
use crate::ids::{Offset, ProducerId};
use crate::record::{self, Batch, BatchHeader, MAX_UNPACKED_BYTES, Record};

/// What a cleaning has to know of the log's producers: those that live, and what of transactions was aborted.
#[derive(Clone, Debug, Default)]
pub struct KnownProducers {
    /// The offset of each living producer's last batch.
    pub last_batches: BTreeMap<ProducerId, Offset>,
    /// The first and last offsets of aborted transactions, in order.
    pub aborted: BTreeMap<ProducerId, Vec<(Offset, Offset)>>,
}

impl KnownProducers {
    /// Whether a batch is part of a transaction that was aborted. All that is cleaned is of transactions that have ended.
    fn is_aborted(&self, header: &BatchHeader) -> bool {
        let is_part = header.attributes.is_transactional() && !header.attributes.is_control();
        let Some(spans) = header.producer().filter(|_| is_part).and_then(|id| self.aborted.get(&id)) else {
            return false;
        };
        let place = spans.partition_point(|(_, last)| *last < header.base_offset);
        spans.get(place).is_some_and(|(first, _)| *first <= header.base_offset)
    }
}

/// What becomes of a batch.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Verdict {
    /// It stays as it is.
    Whole,
    /// This stands in its place.
    Changed(Batch),
    /// Nothing is left of it.
    Gone,
}

/// Knows which records are superfluous.
pub(super) struct Judge {
    map: KeyMap,
    /// The map knows the keys of all dirty records below this offset; records from there on are kept.
    pub(super) upto: Offset,
    /// It had no room for those behind.
    pub(super) is_part: bool,
    now_ms: i64,
    delete_retention_ms: u64,
    batch_bytes_max: usize,
    pub(super) producers: KnownProducers,
    /// Producers with records of the transaction whose marker comes next.
    in_transaction: BTreeSet<ProducerId>,
    /// When the first of the tombstones kept may go.
    pub(super) horizon_ms: Option<i64>,
}

impl Judge {
    pub(super) fn new(map: KeyMap, now_ms: i64, delete_retention_ms: u64, batch_bytes_max: usize) -> Self {
        Self {
            map,
            upto: Offset::ZERO,
            is_part: false,
            now_ms,
            delete_retention_ms,
            batch_bytes_max,
            producers: KnownProducers::default(),
            in_transaction: BTreeSet::new(),
            horizon_ms: None,
        }
    }

    /// Takes in the keys of a batch from an offset on; at an error, of those before the offset that it names.
    pub(super) fn learn(&mut self, batch: &Batch, from: Offset) -> Result<(), Offset> {
        if batch.header.attributes.is_control() || self.producers.is_aborted(&batch.header) {
            return Ok(());
        }
        // A batch that cannot be unpacked is kept as it is, and tells of no keys.
        let Ok(records) = record::records(batch, MAX_UNPACKED_BYTES) else { return Ok(()) };
        for record in records.map_while(Result::ok).filter(|record| record.offset >= from) {
            let Some(key) = &record.key else { continue };
            self.map.put(key, record.offset).map_err(|MapFull| record.offset)?;
        }
        Ok(())
    }

    /// What becomes of a batch.
    pub(super) fn judge(&mut self, batch: &Batch) -> io::Result<Verdict> {
        let header = &batch.header;
        if header.base_offset >= self.upto {
            return Ok(Verdict::Whole);
        }
        if header.attributes.is_control() {
            return self.judge_marker(batch);
        }
        if header.attributes.is_transactional() && header.count > 0 {
            self.in_transaction.extend(header.producer());
        }
        if self.producers.is_aborted(header) {
            return Ok(self.emptied(header));
        }
        let Some((kept, total)) = self.kept_of(batch) else { return Ok(Verdict::Whole) };
        if kept.is_empty() {
            return Ok(self.emptied(header));
        }
        let has_tombstones = kept.iter().any(|record| record.value.is_none());
        let old_horizon_ms = header.delete_horizon_ms();
        let retention_ms = i64::try_from(self.delete_retention_ms).unwrap_or(i64::MAX);
        let new_horizon_ms = (has_tombstones && old_horizon_ms.is_none())
            .then(|| self.now_ms.max(0).saturating_add(retention_ms));
        let is_whole = kept.len() == total;
        let mut changed = match (is_whole, new_horizon_ms) {
            (true, None) => None,
            _ => Some(record::retain(batch, &kept, new_horizon_ms)?),
        };
        let bytes_max = self.batch_bytes_max.max(batch.bytes.len());
        let outgrows = changed.as_ref().is_some_and(|changed| changed.len() > bytes_max);
        if outgrows {
            // Readers have buffers of this size. Its tombstones stay, until others of its records go.
            changed = if is_whole { None } else { Some(record::retain(batch, &kept, None)?) };
        }
        if has_tombstones && !outgrows {
            let horizon_ms = old_horizon_ms.or(new_horizon_ms);
            self.horizon_ms = [self.horizon_ms, horizon_ms].into_iter().flatten().min();
        }
        Ok(changed.map_or(Verdict::Whole, changed_to))
    }

    /// A marker stays while records of its transaction do, in the log as it was found, and `delete.retention.ms` longer:
    /// a reader in the middle of the transaction is to meet its end.
    fn judge_marker(&mut self, batch: &Batch) -> io::Result<Verdict> {
        let header = &batch.header;
        let has_records = header.producer().is_some_and(|id| self.in_transaction.remove(&id));
        if has_records || header.count == 0 {
            return Ok(if header.count == 0 { self.emptied(header) } else { Verdict::Whole });
        }
        match header.delete_horizon_ms() {
            Some(horizon_ms) if horizon_ms <= self.now_ms => Ok(self.emptied(header)),
            Some(horizon_ms) => {
                self.horizon_ms = Some(self.horizon_ms.map_or(horizon_ms, |known| known.min(horizon_ms)));
                Ok(Verdict::Whole)
            }
            None => {
                let records =
                    record::records(batch, MAX_UNPACKED_BYTES).map(Iterator::collect::<Result<Vec<_>, _>>);
                let Ok(Ok(all)) = records else { return Ok(Verdict::Whole) };
                let retention_ms = i64::try_from(self.delete_retention_ms).unwrap_or(i64::MAX);
                let horizon_ms = self.now_ms.max(0).saturating_add(retention_ms);
                self.horizon_ms = Some(self.horizon_ms.map_or(horizon_ms, |known| known.min(horizon_ms)));
                record::retain(batch, &all, Some(horizon_ms)).map(changed_to)
            }
        }
    }

    /// The records that are kept, and how many there are in all. `None` where they cannot be read: then all stay.
    fn kept_of(&self, batch: &Batch) -> Option<(Vec<Record>, usize)> {
        let horizon_ms = batch.header.delete_horizon_ms();
        let is_past_horizon = horizon_ms.is_some_and(|horizon_ms| horizon_ms <= self.now_ms);
        let (mut kept, mut total) = (Vec::new(), 0);
        for record in record::records(batch, MAX_UNPACKED_BYTES).ok()? {
            let record = record.ok()?;
            total += 1;
            if self.keeps(&record, is_past_horizon) {
                kept.push(record);
            }
        }
        Some((kept, total))
    }

    fn keeps(&self, record: &Record, is_past_horizon: bool) -> bool {
        if record.offset >= self.upto {
            return true;
        }
        // Without a key: of a time in which the topic was not compacted. Nobody could ask for it by its key.
        let Some(key) = &record.key else { return false };
        let is_newest = self.map.get(key).is_none_or(|newest| record.offset >= newest);
        is_newest && (record.value.is_some() || !is_past_horizon)
    }

    /// Of a batch without records the header stays, if a living producer's sequence hangs on it.
    fn emptied(&self, header: &BatchHeader) -> Verdict {
        let last = header.producer().and_then(|id| self.producers.last_batches.get(&id));
        if last != Some(&header.last_offset()) {
            return Verdict::Gone;
        }
        if header.count == 0 { Verdict::Whole } else { changed_to(record::empty(header)) }
    }
}

/// What was made here is a batch; if it were not, the old one would be the better one.
fn changed_to(bytes: Bytes) -> Verdict {
    Batch::parse(bytes).map_or(Verdict::Whole, Verdict::Changed)
}

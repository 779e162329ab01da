//! One cleaning of one log, step by step. It owns nothing of the log but the right to read its sealed segments.

use std::collections::VecDeque;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use tokio::time::Instant;

use super::super::directory::Shared;
use super::super::directory::ends::ReplicaEnds;
use super::super::epochs::EpochCache;
use super::super::error::LogError;
use super::judge::{Judge, KnownProducers, Verdict};
use super::key_map::KeyMap;
use super::output::{Output, Prepared, Replaced};
use super::plan::{CompactConfig, plan};
use super::reading::{Cursor, Input, Reading};
use crate::events::LogCleaned;
use crate::ids::{LeaderEpoch, Offset};

/// Bytes of a dirty log for each key that the map has room for at most.
const BYTES_PER_KEY: u64 = 8;

/// What a cleaning has to know of its log.
pub(super) struct Terms {
    pub(super) rules: CompactConfig,
    pub(super) segment_bytes: u64,
    pub(super) dedupe_bytes: usize,
    pub(super) producers: KnownProducers,
    pub(super) horizon_ms: Option<i64>,
    /// What the last cleaning failed for want of.
    pub(super) lacked: Option<Lacked>,
    pub(super) stale: Arc<AtomicBool>,
}

/// A cleaning under way. Dropped, it leaves at most a file that the log's next start removes.
pub struct Cleaning {
    shared: Arc<Shared>,
    ends: Arc<ReplicaEnds>,
    reading: Reading,
    /// The segments not yet written anew.
    inputs: VecDeque<Input>,
    terms: Terms,
    stage: Stage,
    replaced: Option<Replaced>,
    read_bytes: u64,
    /// How many had been read when the file that is written now was begun.
    begun_bytes: u64,
    written_bytes: u64,
    started: Instant,
}

enum Stage {
    /// Is it time?
    Planning,
    /// The keys of what is dirty are learned.
    Learning {
        judge: Judge,
        from: Offset,
        cursor: Cursor,
    },
    /// What is kept is written.
    Writing {
        judge: Judge,
        output: Option<Box<Output>>,
        cursor: Cursor,
    },
    Over,
}

/// What a step came to.
#[derive(Debug)]
pub enum Stepped {
    /// It is to go on.
    More(Box<Cleaning>),
    /// The owner is asked to take this in ([`Log::adopt`](super::super::Log::adopt)), and to go on with what that gives
    /// ([`Cleaning::adopted`]).
    Prepared(Box<Cleaning>, Box<Prepared>),
    /// It is done.
    Cleaned(Cleaned),
    /// It is not time, or the log has changed under it.
    Nothing,
    /// It failed; if it was for want of space, with how much another try is likely to need: see
    /// [`Log::not_cleaned`](super::super::Log::not_cleaned).
    Failed(LogError, Option<Lacked>),
}

/// Space that a cleaning lacked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Lacked {
    /// The first offset of the file that could not be written.
    pub base: Offset,
    /// What that is likely to come to.
    pub bytes: u64,
}

/// What a cleaning has left.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Cleaned {
    /// When the first of the tombstones kept may go.
    pub horizon_ms: Option<i64>,
    /// The map of keys was full: the rest is for another cleaning.
    pub is_part: bool,
    /// Nothing is left below it of what aborted transactions wrote.
    pub upto: Offset,
}

impl Cleaning {
    pub(super) fn new(
        shared: Arc<Shared>,
        ends: Arc<ReplicaEnds>,
        epochs: Arc<EpochCache>,
        inputs: VecDeque<Input>,
        terms: Terms,
    ) -> Self {
        let started = shared.clock.now();
        let stale = Arc::clone(&terms.stale);
        let reading = Reading { shared: Arc::clone(&shared), epochs, stale };
        Self {
            shared,
            ends,
            reading,
            inputs,
            terms,
            stage: Stage::Planning,
            replaced: None,
            read_bytes: 0,
            begun_bytes: 0,
            written_bytes: 0,
            started,
        }
    }

    /// Bytes read and written so far.
    #[must_use]
    pub fn moved_bytes(&self) -> u64 {
        let in_making = match &self.stage {
            Stage::Writing { output: Some(output), .. } => output.bytes(),
            _ => 0,
        };
        self.read_bytes + self.written_bytes + in_making
    }

    /// What became of what was prepared.
    #[must_use]
    pub fn adopted(mut self: Box<Self>, prepared: &Prepared, replaced: Option<Replaced>) -> Box<Self> {
        if replaced.is_none() {
            prepared.discard(&self.shared);
            self.terms.stale.store(true, Ordering::SeqCst);
        }
        self.replaced = replaced;
        self
    }

    /// Does a little of the work. Blocks.
    #[must_use]
    pub fn step(mut self: Box<Self>) -> Stepped {
        let stepped = self.advance();
        let is_stale = self.is_stale();
        let failed = match stepped {
            Ok(None) if !is_stale => return Stepped::More(self),
            Ok(Some(Outcome::Prepared(prepared))) if !is_stale => {
                return Stepped::Prepared(self, Box::new(prepared));
            }
            Ok(Some(Outcome::Cleaned(cleaned))) => return Stepped::Cleaned(cleaned),
            Ok(Some(Outcome::Prepared(prepared))) => {
                prepared.discard(&self.shared);
                None
            }
            Ok(None | Some(Outcome::Nothing)) => None,
            Err(error) => Some(error),
        };
        if let Stage::Writing { output: Some(output), .. } = std::mem::replace(&mut self.stage, Stage::Over) {
            output.discard(&self.shared);
        }
        match failed {
            Some(LogError::NoSpace { path, needed }) if !is_stale => {
                let lacked = self.lacked(needed);
                let needed = lacked.map_or(needed, |lacked| lacked.bytes);
                Stepped::Failed(LogError::NoSpace { path, needed }, lacked)
            }
            Some(error) if !is_stale => Stepped::Failed(error, None),
            _ => Stepped::Nothing,
        }
    }

    fn is_stale(&self) -> bool {
        self.reading.is_stale()
    }

    fn advance(&mut self) -> Result<Option<Outcome>, LogError> {
        if let Some(replaced) = self.replaced.take() {
            replaced.settle(&self.shared, &self.ends)?;
        }
        self.shared.health.check()?;
        if self.is_stale() {
            return Ok(None);
        }
        match std::mem::replace(&mut self.stage, Stage::Over) {
            Stage::Planning => self.decide(),
            Stage::Learning { judge, from, cursor } => self.learn(judge, from, cursor),
            Stage::Writing { judge, output, cursor } => self.write(judge, output, cursor),
            Stage::Over => Ok(Some(Outcome::Nothing)),
        }
    }

    /// Looks at the segments, and whether it is time.
    fn decide(&mut self) -> Result<Option<Outcome>, LogError> {
        let now_ms = self.shared.clock.wall_ms();
        let wants_first = self.terms.rules.lag_max_ms.is_some();
        let parts = self
            .inputs
            .iter()
            .map(|input| self.reading.part(input, wants_first))
            .collect::<Result<Vec<_>, _>>()?;
        let plan = plan(&parts, &self.terms.rules, now_ms, self.terms.horizon_ms);
        self.shared.cleaner.note(self.ends.partition, plan.dirty_ppm, &self.shared.metrics);
        if plan.parts == 0 {
            return Ok(Some(Outcome::Nothing));
        }
        self.inputs.truncate(plan.parts);
        if !self.has_space() {
            return Ok(Some(Outcome::Nothing));
        }
        let is_dirty = |input: &Input| input.next > plan.first_dirty;
        let dirty_bytes: u64 = self.inputs.iter().filter(|i| is_dirty(i)).map(|i| i.segment.length).sum();
        let keys = usize::try_from(dirty_bytes / BYTES_PER_KEY).unwrap_or(usize::MAX);
        let map = KeyMap::new(self.terms.dedupe_bytes, keys, self.shared.cleaner.seeds());
        let rules = self.terms.rules;
        let mut judge = Judge::new(map, now_ms, rules.delete_retention_ms, rules.batch_bytes_max);
        judge.producers = std::mem::take(&mut self.terms.producers);
        judge.upto = self.inputs.back().map_or(plan.first_dirty, |last| last.next);
        let place = self.inputs.iter().take_while(|input| !is_dirty(input)).count();
        self.stage = Stage::Learning { judge, from: plan.first_dirty, cursor: self.cursor(place) };
        Ok(None)
    }

    /// Whether there is as much space as the last cleaning lacked, or all that the file can need for which it lacked that. Who
    /// cannot tell tries.
    fn has_space(&self) -> bool {
        let Some(Lacked { base, bytes }) = self.terms.lacked else { return true };
        let free = self.shared.disk.space(&self.shared.path).map_or(u64::MAX, |(free, _)| free);
        free >= bytes.min(self.file_bytes(base))
    }

    /// The segments from this offset on that go into one file have so many bytes: none where no segment begins there any more.
    fn file_bytes(&self, base: Offset) -> u64 {
        let from = self.inputs.iter().skip_while(|input| input.segment.file.base != base);
        let mut inputs = from.map(|input| input.segment.length);
        let first = inputs.next().unwrap_or(0);
        let with_next = |all: &mut u64, next: u64| {
            *all = all.saturating_add(next);
            (*all <= self.terms.segment_bytes).then_some(*all)
        };
        inputs.scan(first, with_next).last().unwrap_or(first)
    }

    /// How much space the file that could not be written, the next one, will have come to when it is whole, if what is left of
    /// its segments shrinks as the first of them did. `had_bytes` is what it had come to.
    fn lacked(&self, had_bytes: u64) -> Option<Lacked> {
        let base = self.inputs.front()?.segment.file.base;
        let (all, read) = (self.file_bytes(base), self.read_bytes.saturating_sub(self.begun_bytes));
        let whole = u128::from(had_bytes) * u128::from(all) / u128::from(read.max(1));
        let whole = u64::try_from(whole).unwrap_or(u64::MAX).min(all);
        Some(Lacked { base, bytes: if had_bytes == 0 { all } else { whole.max(had_bytes) } })
    }

    /// The beginning of one of the inputs.
    fn cursor(&self, place: usize) -> Cursor {
        let offset = self.inputs.get(place).map_or(Offset::ZERO, |input| input.segment.file.base);
        Cursor { place, position: 0, offset, epoch: LeaderEpoch(i32::MIN) }
    }

    /// Learns the keys of some of what is dirty.
    fn learn(
        &mut self,
        mut judge: Judge,
        from: Offset,
        mut cursor: Cursor,
    ) -> Result<Option<Outcome>, LogError> {
        let Some(input) = self.inputs.get(cursor.place) else {
            self.stage = Stage::Writing { judge, output: None, cursor: self.cursor(0) };
            return Ok(None);
        };
        let before = cursor.position;
        let mut full_at = None;
        let is_at_end = self.reading.walk(input, &mut cursor, |batch| {
            if batch.header.next_offset() > from {
                full_at = judge.learn(batch, from).err();
            }
            Ok(full_at.is_none())
        })?;
        self.read_bytes += cursor.position - before;
        if let Some(full_at) = full_at {
            (judge.upto, judge.is_part) = (full_at, true);
            self.inputs.retain(|input| input.segment.file.base < full_at);
            self.stage = Stage::Writing { judge, output: None, cursor: self.cursor(0) };
            return Ok(None);
        }
        let cursor = if is_at_end { self.cursor(cursor.place + 1) } else { cursor };
        self.stage = Stage::Learning { judge, from, cursor };
        Ok(None)
    }

    /// Writes what is kept of some of the rest.
    fn write(
        &mut self,
        mut judge: Judge,
        output: Option<Box<Output>>,
        mut cursor: Cursor,
    ) -> Result<Option<Outcome>, LogError> {
        let Some(input) = self.inputs.get(cursor.place) else {
            return Ok(Some(self.end(&judge)));
        };
        let shared = Arc::clone(&self.shared);
        let mut output = match output {
            Some(output) => output,
            None => {
                let base = input.segment.file.base;
                self.begun_bytes = self.read_bytes;
                Output::create(&shared, self.ends.path(), base, self.terms.segment_bytes)?
            }
        };
        let before = cursor.position;
        let walked = self.reading.walk(input, &mut cursor, |batch| {
            let path = &input.segment.file.path;
            match judge.judge(batch).map_err(LogError::io("compress a batch of", path))? {
                Verdict::Whole => output.put(&shared, &batch.header, &batch.bytes)?,
                Verdict::Changed(batch) => output.put(&shared, &batch.header, &batch.bytes)?,
                Verdict::Gone => output.skip(&batch.header),
            }
            Ok(true)
        });
        let read_bytes = cursor.position - before;
        self.shared.metrics.cleaned_bytes.increment(read_bytes);
        match walked {
            Ok(false) => self.stage = Stage::Writing { judge, output: Some(output), cursor },
            Ok(true) => {
                output.took(&input.segment);
                return self.close_input(judge, output, cursor.place, read_bytes);
            }
            Err(error) => {
                self.read_bytes += read_bytes;
                output.discard(&self.shared);
                return Err(error);
            }
        }
        self.read_bytes += read_bytes;
        Ok(None)
    }

    /// All of one input is written. The next one goes into the same file, as long as that does not grow too large.
    fn close_input(
        &mut self,
        judge: Judge,
        output: Box<Output>,
        place: usize,
        read_bytes: u64,
    ) -> Result<Option<Outcome>, LogError> {
        self.read_bytes += read_bytes;
        let next_bytes = self.inputs.get(place + 1).map(|next| next.segment.length);
        if next_bytes.is_some_and(|next| output.bytes() + next <= self.terms.segment_bytes) {
            self.stage = Stage::Writing { judge, output: Some(output), cursor: self.cursor(place + 1) };
            return Ok(None);
        }
        let next = self.inputs.get(place).map_or(Offset::ZERO, |input| input.next);
        let prepared = output.finish(&self.shared, next, judge.upto)?;
        // The table on disk must not tell a durable end in the middle of a hole: a start that cuts there would cut more.
        if let Err(error) = self.shared.write_table() {
            prepared.discard(&self.shared);
            return Err(error);
        }
        self.written_bytes += prepared.segment.length;
        // Its owner may remove them as soon as nobody holds them.
        self.inputs.drain(..=place);
        self.stage = Stage::Writing { judge, output: None, cursor: self.cursor(0) };
        Ok(Some(Outcome::Prepared(prepared)))
    }

    fn end(&self, judge: &Judge) -> Outcome {
        let took = self.shared.clock.now().duration_since(self.started);
        self.shared.metrics.clean_seconds.record(took);
        self.shared.events.emit(LogCleaned {
            partition: self.ends.partition,
            upto: judge.upto,
            read_bytes: self.read_bytes,
            written_bytes: self.written_bytes,
        });
        self.shared.cleaner.note(self.ends.partition, 0, &self.shared.metrics);
        Outcome::Cleaned(Cleaned { horizon_ms: judge.horizon_ms, is_part: judge.is_part, upto: judge.upto })
    }
}

/// What a step of a cleaning has brought, where it is not just to go on.
enum Outcome {
    Prepared(Prepared),
    Cleaned(Cleaned),
    Nothing,
}

impl std::fmt::Debug for Cleaning {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter
            .debug_struct("Cleaning")
            .field("partition", &self.ends.partition)
            .field("inputs", &self.inputs.len())
            .finish_non_exhaustive()
    }
}

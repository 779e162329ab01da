//! What a reader has for one partition of entities: in order, one delivery at a time, again until it is applied.

use std::collections::VecDeque;

use super::super::input::Delivery;
use super::settings::ReaderSettings;

/// How long a receiver that did not take something is left alone, at first; it doubles up to [`AGAIN_MOST_MS`], or to
/// [`STAND_MOST_MS`] where a person has to do something.
const AGAIN_MS: i64 = 50;
const AGAIN_MOST_MS: i64 = 2_000;
const STAND_MOST_MS: i64 = 30_000;

/// What an entry costs beside its bytes.
const ENTRY_BYTES: usize = 64;

/// What is on its way to a receiver.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum OnWay {
    /// The question how far it is.
    Question,
    /// So many of those that wait, and where nothing is missing once they are applied.
    Delivery { messages: usize, through: u64 },
}

/// What a receiver is to be sent.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Errand {
    /// The question how far it is.
    Ask,
    /// These, and that nothing up to `through` is missing then.
    Feed {
        /// Sequences up to this one are in these, were applied, or are for others.
        through: u64,
        /// The messages; none where only that is to be said.
        messages: Vec<Delivery>,
    },
}

/// What became of a delivery.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Fed {
    /// It is applied.
    Applied,
    /// It is not, or nobody knows; that passes.
    NotNow,
    /// It is not, and will not be before somebody does something.
    Stands,
}

#[derive(Debug, Default)]
pub(super) struct Lane {
    /// How far it is, once that is known.
    applied: Option<u64>,
    waiting: VecDeque<Delivery>,
    on_way: Option<OnWay>,
    failures: u32,
    not_before_ms: i64,
    marked_ms: i64,
}

/// What left a lane.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Left {
    pub(super) records: usize,
    pub(super) bytes: usize,
}

impl Lane {
    pub(super) const fn applied(&self) -> Option<u64> {
        self.applied
    }

    /// Up to where nothing is to be done, of a source that is read up to `seen`.
    pub(super) fn done(&self, seen: u64) -> u64 {
        match self.applied {
            Some(_) if self.waiting.is_empty() => seen,
            applied => applied.unwrap_or(0),
        }
    }

    /// Takes a message; what it costs.
    pub(super) fn push(&mut self, delivery: Delivery) -> usize {
        if self.applied.is_some_and(|applied| delivery.sequence <= applied) {
            return 0;
        }
        let bytes = cost(&delivery);
        self.waiting.push_back(delivery);
        bytes
    }

    /// What is to be sent now.
    pub(super) fn errand(&mut self, now_ms: i64, seen: u64, settings: &ReaderSettings) -> Option<Errand> {
        if self.on_way.is_some() || self.not_before_ms > now_ms {
            return None;
        }
        let Some(applied) = self.applied else {
            self.on_way = Some(OnWay::Question);
            return Some(Errand::Ask);
        };
        let messages = self.next(settings);
        let is_time = seen.saturating_sub(applied) >= settings.mark_records
            || now_ms.saturating_sub(self.marked_ms) >= settings.mark_ms;
        if messages.is_empty() && (applied >= seen || !is_time) {
            return None;
        }
        let last = messages.last().map_or(seen, |last| last.sequence);
        let through = if messages.len() == self.waiting.len() { seen.max(last) } else { last };
        self.on_way = Some(OnWay::Delivery { messages: messages.len(), through });
        Some(Errand::Feed { through, messages })
    }

    /// The first that wait, as many as go together.
    fn next(&self, settings: &ReaderSettings) -> Vec<Delivery> {
        let mut bytes = 0_usize;
        let fits = |delivery: &&Delivery| {
            let is_first = bytes == 0;
            bytes = bytes.saturating_add(cost(delivery));
            is_first || bytes <= settings.delivery_bytes
        };
        self.waiting.iter().take(settings.delivery_records).take_while(fits).cloned().collect()
    }

    /// The receiver said how far it is, or did not.
    pub(super) fn told(&mut self, now_ms: i64, position: Option<u64>) {
        if self.on_way.take_if(|on_way| *on_way == OnWay::Question).is_none() {
            return;
        }
        match position {
            Some(position) => {
                self.applied = Some(position);
                self.marked_ms = now_ms;
                self.failures = 0;
            }
            None => self.failed(now_ms, AGAIN_MOST_MS),
        }
    }

    /// What became of a delivery; what is done with.
    pub(super) fn fed(&mut self, now_ms: i64, fed: Fed) -> Left {
        let Some(OnWay::Delivery { messages, through }) = self.on_way else { return Left::default() };
        self.on_way = None;
        match fed {
            Fed::Applied => {}
            Fed::NotNow | Fed::Stands => {
                self.failed(now_ms, if fed == Fed::Stands { STAND_MOST_MS } else { AGAIN_MOST_MS });
                return Left::default();
            }
        }
        (self.failures, self.marked_ms) = (0, now_ms);
        self.applied = self.applied.map(|applied| applied.max(through));
        let done = self.waiting.drain(..messages.min(self.waiting.len()));
        done.fold(Left::default(), |left, delivery| Left {
            records: left.records + 1,
            bytes: left.bytes.saturating_add(cost(&delivery)),
        })
    }

    fn failed(&mut self, now_ms: i64, most_ms: i64) {
        let wait_ms = AGAIN_MS.saturating_mul(1 << self.failures.min(20)).min(most_ms);
        self.failures = self.failures.saturating_add(1);
        self.not_before_ms = now_ms.saturating_add(wait_ms);
    }

    /// When there may be an errand that waits for its time.
    pub(super) fn next_ms(&self, seen: u64, settings: &ReaderSettings) -> Option<i64> {
        match (self.on_way, self.applied) {
            (Some(_), _) => None,
            (None, Some(applied)) if self.waiting.is_empty() => (applied < seen)
                .then(|| self.marked_ms.saturating_add(settings.mark_ms).max(self.not_before_ms)),
            (None, _) => Some(self.not_before_ms),
        }
    }
}

fn cost(delivery: &Delivery) -> usize {
    delivery.entity.len().saturating_add(delivery.message.len()).saturating_add(ENTRY_BYTES)
}

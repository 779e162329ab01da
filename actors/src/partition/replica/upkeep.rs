//! What a replica does for its log now and then: syncs of `os` topics, keeping the high watermark, retention,
//! and that a compacted log is cleaned.

use std::collections::VecDeque;
use std::time::Duration;

use metrics::Histogram;

use super::super::append::{ProducerLimits, ProducerTable};
use super::super::state::Input;
use super::{Replica, UpkeepSettings};
use crate::ids::Offset;
use crate::log::{Log, LogError};
use crate::topic_config::TopicConfig;

/// What is to be done, and when.
#[derive(Debug)]
pub(super) struct Upkeep {
    kept_high_watermark: Offset,
    keep_at: Option<Duration>,
    retain_at: Option<Duration>,
    unsynced_records: u64,
    sync_at: Option<Duration>,
    flush_ms: Option<u64>,
    /// Whether the high watermark was confirmed when it was last looked at.
    pub(super) confirmed: bool,
    /// How often aborted transactions were forgotten.
    pub(super) aborted_forgotten: u64,
    /// How often the log was cut, and the high watermark may have gone back with it.
    pub(super) cuts: u64,
    /// The log is being cleaned, or waits for its turn.
    pub(super) is_cleaning: bool,
}

impl Upkeep {
    pub(super) fn new(high_watermark: Offset) -> Self {
        Self {
            kept_high_watermark: high_watermark,
            keep_at: None,
            retain_at: Some(Duration::ZERO),
            unsynced_records: 0,
            sync_at: None,
            flush_ms: None,
            confirmed: false,
            is_cleaning: false,
            aborted_forgotten: 0,
            cuts: 0,
        }
    }

    /// The topic's settings may have changed: retention is looked at soon.
    pub(super) fn configured(&mut self) {
        self.retain_at = Some(Duration::ZERO);
    }

    /// Counts what an `os` topic has not synced. True if it is enough for a sync (`flush.messages`).
    pub(super) fn appended_unsynced(&mut self, now: Duration, records: u64, config: &TopicConfig) -> bool {
        self.unsynced_records += records;
        self.flush_ms = config.flush_ms;
        if let (None, Some(flush_ms)) = (self.sync_at, config.flush_ms) {
            self.sync_at = Some(now + Duration::from_millis(flush_ms));
        }
        config.flush_messages.is_some_and(|most| self.unsynced_records >= most)
    }

    pub(super) fn sync_requested(&mut self) {
        self.unsynced_records = 0;
        self.sync_at = None;
    }

    pub(super) fn high_watermark_moved(&mut self, now: Duration) {
        self.keep_at.get_or_insert(now);
    }

    /// When there is next something to do.
    pub(super) fn due(&self, now: Duration, settings: &UpkeepSettings) -> Option<Duration> {
        let keep = self.keep_at.map(|since| since + settings.checkpoint);
        let retain = self.retain_at.map(|at| at.max(now));
        [keep, retain, self.sync_at].into_iter().flatten().min()
    }
}

/// When what is not committed yet was appended: how long it takes to commit. Bounded; what does not fit is not timed.
#[derive(Debug, Default)]
pub(super) struct Uncommitted(VecDeque<(Offset, Duration)>);

/// Appends timed at once.
const TIMED_MAX: usize = 1024;

impl Uncommitted {
    pub(super) fn appended(&mut self, end: Offset, now: Duration) {
        if self.0.len() < TIMED_MAX {
            self.0.push_back((end, now));
        }
    }

    pub(super) fn committed(&mut self, high_watermark: Offset, now: Duration, commit_seconds: &Histogram) {
        while let Some((end, since)) = self.0.front()
            && *end <= high_watermark
        {
            commit_seconds.record(now.saturating_sub(*since).as_secs_f64());
            self.0.pop_front();
        }
    }

    pub(super) fn forget(&mut self) {
        self.0.clear();
    }
}

impl Replica {
    /// Does what is due.
    pub(super) fn look_after_the_log(&mut self) {
        let (now, settings) = (self.now(), self.shared.upkeep);
        if self.upkeep.sync_at.is_some_and(|at| at <= now) {
            self.request_sync();
        }
        if self.upkeep.keep_at.is_some_and(|since| since + settings.checkpoint <= now) {
            self.upkeep.keep_at = None;
            self.keep_high_watermark();
        }
        if self.upkeep.retain_at.is_some_and(|at| at <= now) {
            self.upkeep.retain_at = Some(now + settings.retention_check);
            self.retain();
        }
    }

    fn keep_high_watermark(&mut self) {
        let mark = self.state.high_watermark().value();
        if mark == self.upkeep.kept_high_watermark {
            return;
        }
        self.upkeep.kept_high_watermark = mark;
        self.log.checkpoint(mark);
    }

    /// Removes what is too old or too much, and closes a segment whose time has come.
    fn retain(&mut self) {
        let (now_ms, stable) = (self.clock.wall_ms(), self.last_stable());
        self.producers.expire(now_ms);
        // Nothing of an open transaction goes.
        if let Err(error) = self.log.retain(now_ms, stable) {
            return self.log_failed(&error);
        }
        if self.log.start() != self.state.log().start {
            self.step(Input::LogChanged(self.facts()));
            self.wake_feeds();
        }
        self.forget_aborted_below(self.log.start());
        self.look_whether_to_clean();
    }

    /// Nothing is left of what aborted transactions wrote below this offset. A read that began before may have it yet.
    pub(super) fn forget_aborted_below(&mut self, offset: Offset) {
        if self.producers.forget_aborted_below(offset) {
            self.upkeep.aborted_forgotten += 1;
        }
    }

    /// The log was cut: what is known of producers is what is still in it.
    pub(super) fn rebuild_producers(&mut self) {
        let limits = self.shared.producers.clone();
        match producers_of(&self.log, limits.clone(), self.clock.wall_ms()) {
            Ok(table) => self.producers = table,
            Err(error) => {
                self.producers = ProducerTable::new(limits);
                self.log_failed(&error);
            }
        }
    }

    /// A segment was closed: from here on the producers need not be looked for in it.
    pub(super) fn keep_producers(&mut self) {
        // What lies below the start is not written again with every snapshot.
        self.forget_aborted_below(self.log.start());
        let snapshot = self.producers.snapshot(self.log.end());
        if let Err(error) = self.log.save_producers(&snapshot) {
            self.log_failed(&error);
        }
    }

    /// The replica ends cleanly: the next one begins where it stood.
    pub(super) fn keep_what_is_known(&mut self) {
        self.log.checkpoint(self.state.high_watermark().value());
        self.keep_producers();
    }
}

/// The producers of a log: from its newest snapshot, and what was appended since.
pub fn producers_of(log: &Log, limits: ProducerLimits, now_ms: i64) -> Result<ProducerTable, LogError> {
    let snapshot = log.load_producers()?;
    let restored = snapshot.and_then(|snapshot| ProducerTable::restore(&snapshot.state, limits.clone()).ok());
    let (mut table, from) = restored.unwrap_or_else(|| (ProducerTable::new(limits), log.start()));
    log.replay_headers(from, |header, marker| table.record(header, marker, now_ms))?;
    Ok(table)
}

//! What is told of the entities of a type: the hot series as handles, and what a partition counts for in the gauges.

use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use metrics::{Counter, Gauge, Histogram, Label};

use crate::events::Events;

/// The series of one type on a node.
#[derive(Clone)]
pub(super) struct EntitySeries {
    led: Gauge,
    known: Gauge,
    live: Gauge,
    waiting_bytes: Gauge,
    timers: Gauge,
    outbox_messages: Gauge,
    /// Time of one handler; how many there were is its count.
    pub(super) turn_seconds: Histogram,
    /// Panics in handlers, each try of a message counted.
    pub(super) panics: Counter,
    /// Time from the append of a batch until it is committed.
    pub(super) commit_seconds: Histogram,
    /// Requests refused because a bound was reached.
    pub(super) refused: Counter,
    /// Entities read from the log.
    pub(super) loads: Counter,
    /// Times when all since the last commit was forgotten and the log read on.
    pub(super) reloads: Counter,
}

impl EntitySeries {
    pub(super) fn new(events: &Events, kind: &str) -> Self {
        let labels = || vec![Label::new("kind", kind.to_owned())];
        Self {
            led: events.gauge("millstream_entity_partitions_led", labels()),
            known: events.gauge("millstream_entity_known", labels()),
            live: events.gauge("millstream_entity_live", labels()),
            waiting_bytes: events.gauge("millstream_entity_waiting_bytes", labels()),
            timers: events.gauge("millstream_entity_timers", labels()),
            outbox_messages: events.gauge("millstream_entity_outbox_messages", labels()),
            turn_seconds: events.histogram("millstream_entity_turn_seconds", labels()),
            panics: events.counter("millstream_entity_panics_total", labels()),
            commit_seconds: events.histogram("millstream_entity_commit_seconds", labels()),
            refused: events.counter("millstream_entity_requests_refused_total", labels()),
            loads: events.counter("millstream_entity_loads_total", labels()),
            reloads: events.counter("millstream_entity_reloads_total", labels()),
        }
    }
}

impl fmt::Debug for EntitySeries {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("EntitySeries")
    }
}

/// What the entities of one partition are now.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Load {
    /// Entities that the log has.
    pub(super) known: usize,
    /// Entities in memory.
    pub(super) live: usize,
    /// Bytes that wait for their entity or for the log.
    pub(super) waiting_bytes: usize,
    /// Timers that are set.
    pub(super) timers: usize,
    /// Messages to other entities that are not delivered.
    pub(super) outbox_messages: usize,
}

/// What one partition counts for in the gauges of its type; nothing once this is dropped.
#[derive(Debug)]
pub(super) struct Tally {
    series: EntitySeries,
    told: Load,
    shown: Arc<Shown>,
}

/// The entities of a partition, for whoever looks at its actor.
#[derive(Debug, Default)]
pub(super) struct Shown {
    known: AtomicUsize,
    live: AtomicUsize,
}

impl fmt::Display for Shown {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (live, known) = (self.live.load(Ordering::Relaxed), self.known.load(Ordering::Relaxed));
        write!(formatter, "{live} of {known} entities in memory")
    }
}

impl Tally {
    /// One more partition is led.
    pub(super) fn new(series: EntitySeries, shown: Arc<Shown>) -> Self {
        series.led.increment(1);
        Self { series, told: Load::default(), shown }
    }

    /// Moves the gauges by what has changed.
    pub(super) fn tell(&mut self, now: Load) {
        let before = std::mem::replace(&mut self.told, now);
        if before == now {
            return;
        }
        let series = &self.series;
        for (gauge, before, now) in [
            (&series.known, before.known, now.known),
            (&series.live, before.live, now.live),
            (&series.waiting_bytes, before.waiting_bytes, now.waiting_bytes),
            (&series.timers, before.timers, now.timers),
            (&series.outbox_messages, before.outbox_messages, now.outbox_messages),
        ] {
            let by = |count: usize| u32::try_from(count).unwrap_or(u32::MAX);
            if now > before {
                gauge.increment(by(now - before));
            } else if before > now {
                gauge.decrement(by(before - now));
            }
        }
        self.shown.known.store(now.known, Ordering::Relaxed);
        self.shown.live.store(now.live, Ordering::Relaxed);
    }
}

impl Drop for Tally {
    fn drop(&mut self) {
        self.tell(Load::default());
        self.series.led.decrement(1);
    }
}

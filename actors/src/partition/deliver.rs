//! Fetches that wait for the high watermark to move. Nobody polls; each waits until its deadline at most. Bounded.

use std::time::Duration;

use super::join::FetchPlace;
use super::message::FetchPart;
use crate::ids::Offset;

/// Fetches that may wait at one partition. One more is answered at once with what there is.
const WAITING_MAX: usize = 16_384;

/// One that waits.
#[derive(Debug)]
pub struct Parked {
    /// What it asked for.
    pub part: FetchPart,
    /// Where its answer goes.
    pub place: FetchPlace,
    /// It has seen everything below.
    pub seen: Offset,
    /// Not longer than until then.
    pub deadline: Duration,
}

/// The fetches that wait at one partition.
#[derive(Debug, Default)]
pub struct Deliveries {
    parked: Vec<Parked>,
    soonest: Option<Duration>,
}

impl Deliveries {
    /// Whether one more may wait.
    #[must_use]
    pub fn has_room(&self) -> bool {
        self.parked.len() < WAITING_MAX
    }

    /// How many wait.
    #[must_use]
    pub fn len(&self) -> usize {
        self.parked.len()
    }

    /// Whether none waits.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.parked.is_empty()
    }

    /// Takes one in.
    pub fn park(&mut self, parked: Parked) {
        self.soonest = Some(self.soonest.map_or(parked.deadline, |soonest| soonest.min(parked.deadline)));
        self.parked.push(parked);
    }

    /// Those that have not seen everything below the high watermark. They are looked after by the caller now.
    #[must_use]
    pub fn wake(&mut self, high_watermark: Offset) -> Vec<Parked> {
        if self.parked.is_empty() {
            return Vec::new();
        }
        let (awake, asleep) =
            std::mem::take(&mut self.parked).into_iter().partition(|parked| parked.seen < high_watermark);
        self.parked = asleep;
        self.refresh();
        awake
    }

    /// All of them.
    #[must_use]
    pub fn take_all(&mut self) -> Vec<Parked> {
        self.soonest = None;
        std::mem::take(&mut self.parked)
    }

    /// Answers those whose time is up with what there is, and forgets those that were answered elsewhere.
    pub fn expire(&mut self, now: Duration) {
        if self.soonest.is_none_or(|soonest| soonest > now) {
            return;
        }
        for parked in self.parked.iter().filter(|parked| parked.deadline <= now) {
            parked.place.join().expire();
        }
        self.parked.retain(|parked| parked.place.join().is_open());
        self.refresh();
    }

    /// When the next one's time is up.
    #[must_use]
    pub fn next_deadline(&self) -> Option<Duration> {
        self.soonest
    }

    fn refresh(&mut self) {
        self.soonest = self.parked.iter().map(|parked| parked.deadline).min();
    }
}

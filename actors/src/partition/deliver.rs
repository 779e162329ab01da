//! Fetches that wait for the high watermark to move, and what may go out to them. Nobody polls; each waits until its
//! deadline at most. Bounded.

use std::time::Duration;

use super::join::FetchPlace;
use super::message::FetchPart;
use crate::ids::Offset;
use crate::invariant::{Broken, Invariant};
use crate::record::BatchHeader;

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

    /// More wait than may: a promise broken.
    #[must_use]
    pub fn over_bound(&self) -> Option<Broken> {
        let waiting = self.len();
        (waiting > WAITING_MAX).then(|| {
            let found = format!("{waiting} fetches wait, where {WAITING_MAX} may");
            Broken::new(Invariant::OneAnswer, found)
        })
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

    /// Those that have not seen everything below the high watermark, or the last stable offset where they want no more.
    /// They are looked after by the caller now.
    #[must_use]
    pub fn wake(&mut self, high_watermark: Offset, last_stable: Offset) -> Vec<Parked> {
        if self.parked.is_empty() {
            return Vec::new();
        }
        let end = |part: &FetchPart| if part.stable_only { last_stable } else { high_watermark };
        let (awake, asleep) =
            std::mem::take(&mut self.parked).into_iter().partition(|parked| parked.seen < end(&parked.part));
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
        // One that waits for another part to be looked at first is answered by that: there is nothing to wake for.
        self.soonest =
            self.parked.iter().map(|parked| parked.deadline).filter(|deadline| *deadline > now).min();
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

/// Whether batches that were read for `asked` may go out to a consumer: they hold it or come after it, and nothing of
/// them lies beyond the high watermark. A release build looks at the first batch, which costs nothing; a debug build at
/// all of them.
pub fn check_served(batches: &[u8], asked: Offset, high_watermark: Offset) -> Result<(), Broken> {
    let mut rest = batches;
    let mut is_first = true;
    while !rest.is_empty() && (is_first || cfg!(debug_assertions)) {
        let header = BatchHeader::parse(rest).map_err(|error| {
            Broken::new(Invariant::CorruptIsNeverServed, format!("read for {asked}: {error}"))
        })?;
        let next = header.next_offset();
        if next > high_watermark {
            let found = format!("records up to {next} were to be served, {high_watermark} is committed");
            return Err(Broken::new(Invariant::NothingAcknowledgedIsLost, found));
        }
        if is_first && next <= asked {
            let found = format!("{asked} was asked for, a batch before {next} was to be served");
            return Err(Broken::new(Invariant::NothingAcknowledgedIsLost, found));
        }
        is_first = false;
        rest = rest.get(header.total_bytes()..).unwrap_or_default();
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ids::LeaderEpoch;
    use crate::record::{BatchBuilder, Compression, assign};

    /// Batches of two records each, from this offset on.
    fn read_from(base: i64, batches: i64) -> Vec<u8> {
        let one = |at: i64| {
            let mut builder = BatchBuilder::new(1000, Compression::NONE);
            for _ in 0..2 {
                builder.push(1000, None, Some(b"value"), &[]).unwrap();
            }
            let mut batch = builder.finish(None).to_vec();
            assign(&mut batch, Offset(base + 2 * at), LeaderEpoch(1)).unwrap();
            batch
        };
        (0..batches).flat_map(one).collect()
    }

    #[test]
    fn what_is_committed_goes_out() {
        assert_eq!(check_served(&[], Offset(5), Offset(5)), Ok(()));
        assert_eq!(check_served(&read_from(4, 3), Offset(5), Offset(10)), Ok(()));
    }

    #[test]
    #[cfg(debug_assertions)]
    fn nothing_beyond_the_high_watermark_goes_out() {
        let broken = check_served(&read_from(4, 3), Offset(5), Offset(9)).unwrap_err();
        assert_eq!(broken.invariant, Invariant::NothingAcknowledgedIsLost);
        assert!(broken.found.contains("up to 10"), "{broken:?}");
    }

    #[test]
    fn a_first_batch_beyond_the_high_watermark_does_not_go_out() {
        assert!(check_served(&read_from(4, 1), Offset(4), Offset(5)).is_err());
    }

    #[test]
    fn a_batch_before_what_was_asked_for_does_not_go_out() {
        let broken = check_served(&read_from(4, 1), Offset(6), Offset(10)).unwrap_err();
        assert!(broken.found.contains("6 was asked for"), "{broken:?}");
    }

    #[test]
    fn what_is_no_batch_does_not_go_out() {
        let broken = check_served(b"not a batch at all", Offset(0), Offset(10)).unwrap_err();
        assert_eq!(broken.invariant, Invariant::CorruptIsNeverServed);
    }
}

//! One producer of a bench: sends at full speed or at a rate, and takes the time of what comes back.

use std::collections::VecDeque;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use millstream_actors::producer::{Delivery, ProduceError, Producer, ProducerRecord};
use millstream_transport::world::Random;
use tokio::task::JoinSet;
use tokio::time::Instant;

use super::super::deliveries::Gaps;
use super::super::pace::Pace;
use super::histogram::Histogram;

/// At full speed, after so many records others get a turn, and the clock is looked at.
const BREATH: u64 = 64;

/// Records under way at most, however small they are.
const OPEN_MOST: usize = 200_000;

/// How long the end waits for what is under way.
const END_WITHIN: Duration = Duration::from_secs(130);

/// Values are pieces of so many random bytes, so that no compression makes them vanish.
const NOISE_BYTES: usize = 64 << 10;

/// What came back, from all producers together.
#[derive(Debug, Default)]
pub(super) struct Meter(Mutex<Measured>);

/// What came back. Only what was sent after the warm-up is counted, but for errors.
#[derive(Clone, Debug, Default)]
pub(super) struct Measured {
    /// Times to the acknowledgement.
    pub(super) times: Histogram,
    pub(super) gaps: Gaps,
    pub(super) acknowledged: u64,
    pub(super) errors: u64,
    pub(super) first_error: Option<String>,
}

impl Meter {
    /// What came back so far.
    pub(super) fn lock(&self) -> MutexGuard<'_, Measured> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn timed(&self, since: Instant, result: &Result<(), ProduceError>) {
        let now = Instant::now();
        let mut measured = self.lock();
        if result.is_ok() {
            measured.times.add(now.saturating_duration_since(since));
            measured.gaps.acknowledged(now, since);
        }
        measured.count(true, result);
    }
}

impl Measured {
    fn count(&mut self, counts: bool, result: &Result<(), ProduceError>) {
        match result {
            Ok(()) => self.acknowledged += u64::from(counts),
            Err(error) => {
                self.errors += 1;
                self.first_error.get_or_insert_with(|| error.to_string());
            }
        }
    }
}

/// When a sender begins to count and ends.
#[derive(Clone, Debug)]
pub(super) struct Schedule {
    pub(super) warm: Instant,
    pub(super) until: Instant,
    pub(super) records: u64,
    pub(super) sampled_every: u64,
    /// Somebody wants it to end earlier.
    pub(super) stop: Arc<AtomicBool>,
}

/// Says in each value which run it is of and when it was sent.
#[derive(Clone, Copy, Debug)]
pub(super) struct Stamp {
    pub(super) run: u64,
    pub(super) origin: Instant,
}

/// Bytes of a stamp.
pub(super) const STAMP_BYTES: usize = 16;

impl Stamp {
    fn write(&self, value: &mut [u8], since: Instant) {
        let micros = u64::try_from(since.saturating_duration_since(self.origin).as_micros()).unwrap_or(0);
        let bytes = self.run.to_le_bytes().into_iter().chain(micros.to_le_bytes());
        value.iter_mut().zip(bytes).for_each(|(to, from)| *to = from);
    }

    /// When a value of this run was sent; `None` for any other.
    pub(super) fn read(&self, value: &[u8]) -> Option<Instant> {
        let (run, rest) = value.split_first_chunk::<8>()?;
        let (micros, _) = rest.split_first_chunk::<8>()?;
        let since = Duration::from_micros(u64::from_le_bytes(*micros));
        (u64::from_le_bytes(*run) == self.run).then(|| self.origin.checked_add(since)).flatten()
    }
}

/// One producer of a bench.
#[derive(Debug)]
pub(super) struct Sender {
    producer: Producer,
    topic: Arc<str>,
    pace: Pace,
    schedule: Schedule,
    meter: Arc<Meter>,
    stamp: Option<Stamp>,
    noise: Vec<u8>,
    value: Vec<u8>,
    /// Not timed: their fate is only counted. With each, whether it counts.
    open: VecDeque<(Delivery, bool)>,
    timed: JoinSet<()>,
    counts: bool,
}

impl Sender {
    pub(super) fn new(
        producer: Producer,
        topic: &Arc<str>,
        size: usize,
        pace: Pace,
        schedule: Schedule,
        meter: &Arc<Meter>,
    ) -> Self {
        let random = Random::real();
        let noise = (0..(size + NOISE_BYTES).div_ceil(8)).flat_map(|_| random.next_u64().to_le_bytes());
        Self {
            producer,
            topic: Arc::clone(topic),
            pace,
            schedule,
            meter: Arc::clone(meter),
            stamp: None,
            noise: noise.collect(),
            value: vec![0; size],
            open: VecDeque::new(),
            timed: JoinSet::new(),
            counts: false,
        }
    }

    /// The same, with a stamp in each value.
    pub(super) fn stamped(self, stamp: Stamp) -> Self {
        Self { stamp: Some(stamp), ..self }
    }

    /// Sends all that is to be sent and waits for its fate; when that was known.
    pub(super) async fn run(mut self) -> Result<Instant, ProduceError> {
        let sent = self.send_all().await;
        tokio::select! {
            biased;
            () = self.producer.flush() => {}
            () = tokio::time::sleep(END_WITHIN) => {}
        }
        let ended = Instant::now();
        // Decides what is not decided yet.
        self.producer.close(Duration::ZERO).await;
        while self.timed.join_next().await.is_some() {}
        self.settle();
        sent.map(|()| ended)
    }

    async fn send_all(&mut self) -> Result<(), ProduceError> {
        let mut index = 0;
        while index < self.schedule.records {
            if index.is_multiple_of(BREATH) || self.schedule.sampled_every == 1 {
                let now = Instant::now();
                if now >= self.schedule.until || self.schedule.stop.load(Ordering::Relaxed) {
                    break;
                }
                self.counts = now >= self.schedule.warm;
                self.settle();
                tokio::task::yield_now().await;
            }
            self.pace.wait(index).await;
            self.send(index).await?;
            index += 1;
        }
        Ok(())
    }

    async fn send(&mut self, index: u64) -> Result<(), ProduceError> {
        let is_timed = self.counts && index.is_multiple_of(self.schedule.sampled_every);
        let begun = (is_timed || self.stamp.is_some()).then(|| self.pace.counts_from(index, Instant::now()));
        let place = usize::try_from(index).unwrap_or(0).wrapping_mul(self.value.len()) % NOISE_BYTES;
        let mut value = self.noise.get(place..place + self.value.len()).unwrap_or_default();
        if let (Some(stamp), Some(begun)) = (self.stamp, begun) {
            self.value.copy_from_slice(value);
            stamp.write(&mut self.value, begun);
            value = &self.value;
        }
        match self.producer.send(ProducerRecord::to(&self.topic).value(value)).await {
            Ok(delivery) => match begun.filter(|_| is_timed) {
                Some(begun) => self.time(delivery, begun),
                None => self.watch(delivery).await,
            },
            // The next record would fare no better.
            Err(error @ (ProduceError::Client(_) | ProduceError::Closed | ProduceError::TooLarge { .. })) => {
                return Err(error);
            }
            Err(error) => self.meter.lock().count(self.counts, &Err(error)),
        }
        Ok(())
    }

    fn time(&mut self, delivery: Delivery, begun: Instant) {
        let meter = Arc::clone(&self.meter);
        self.timed.spawn(async move { meter.timed(begun, &delivery.await.map(drop)) });
    }

    async fn watch(&mut self, delivery: Delivery) {
        self.open.push_back((delivery, self.counts));
        if self.open.len() > OPEN_MOST
            && let Some((oldest, _)) = self.open.front_mut()
        {
            // Its result is looked at by `settle`.
            drop(oldest.await);
        }
    }

    fn settle(&mut self) {
        while self.timed.try_join_next().is_some() {}
        let mut decided = Vec::new();
        while let Some(result) = self.open.front().and_then(|(delivery, _)| delivery.now()) {
            let counts = self.open.pop_front().is_some_and(|(_, counts)| counts);
            decided.push((counts, result.map(drop)));
        }
        if !decided.is_empty() {
            let mut measured = self.meter.lock();
            decided.iter().for_each(|(counts, result)| measured.count(*counts, result));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn a_stamp_tells_when_it_was_made_and_of_which_run() {
        let stamp = Stamp { run: 7, origin: Instant::now() };
        let since = stamp.origin + Duration::from_micros(1_234_567);
        let mut value = [9; 20];
        stamp.write(&mut value, since);
        assert_eq!(stamp.read(&value), Some(since));
        assert_eq!(value[STAMP_BYTES..], [9; 4]);
        assert_eq!(Stamp { run: 8, ..stamp }.read(&value), None);
        assert_eq!(stamp.read(&value[..15]), None);
    }

    #[tokio::test(start_paused = true)]
    async fn only_what_came_after_the_warm_up_is_counted_but_every_error_is() {
        let mut measured = Measured::default();
        let error = || Err(ProduceError::Closed);
        for (counts, result) in [(false, Ok(())), (true, Ok(())), (false, error()), (true, error())] {
            measured.count(counts, &result);
        }
        assert_eq!((measured.acknowledged, measured.errors), (1, 2));
        assert!(measured.first_error.unwrap().contains("closed"));
    }
}

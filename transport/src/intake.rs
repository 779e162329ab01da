//! What a node takes in from all its clients together: one bound in bytes, however many of them send.
//!
//! A request takes its place once its first bytes have come, before the rest of them is there, and gives it back when its
//! bytes are not needed any more. Places are given in the order in which they were asked for: a client that waits for one is
//! not read meanwhile, and a long request is not overtaken for ever by others. Short ones, of which groups, leases and
//! metadata live, have a part of their own, so that no flood of records keeps them waiting. Who has a place and does not send
//! loses it.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::time::{Instant, timeout_at};

/// Up to so many bytes a request is short. A longer one asks for its place when so much of it has come.
pub const SHORT_BYTES: usize = 16 << 10;

/// The part of the whole that is for short requests: an eighth.
const SHORT_PART: u32 = 8;

/// Who has a place is waited for so long, and
const PATIENCE: Duration = Duration::from_secs(5);

/// this much longer for each 64 KiB that have come since.
const UNIT_WITHIN: Duration = Duration::from_secs(1);
const UNIT_BYTES: usize = 64 << 10;

/// So many bytes of requests and no more. Clones share it.
#[derive(Clone, Debug)]
pub struct Intake {
    short: Part,
    long: Part,
}

#[derive(Clone, Debug)]
struct Part {
    limit: u32,
    free: Arc<Semaphore>,
}

/// The place of one request; free again when dropped.
#[derive(Debug)]
#[must_use = "the place is free again when this is dropped"]
pub struct Held {
    _permit: Option<OwnedSemaphorePermit>,
}

impl Part {
    fn new(limit: u32) -> Self {
        Self { limit, free: Arc::new(Semaphore::new(usize::try_from(limit).unwrap_or(usize::MAX))) }
    }

    fn used_bytes(&self) -> usize {
        usize::try_from(self.limit).unwrap_or(usize::MAX).saturating_sub(self.free.available_permits())
    }
}

impl Intake {
    /// Room for so many bytes of requests, at least 16 of them.
    #[must_use]
    pub fn new(limit: u32) -> Self {
        let short = limit.max(16) / SHORT_PART;
        Self { short: Part::new(short), long: Part::new(limit.max(16) - short) }
    }

    /// Waits for a place of so many bytes. What is larger than all there is waits until it is alone.
    pub async fn take(&self, bytes: usize) -> Held {
        let part = if bytes <= SHORT_BYTES { &self.short } else { &self.long };
        let bytes = u32::try_from(bytes).unwrap_or(u32::MAX).min(part.limit);
        // It is never closed: an error is none.
        Held { _permit: Arc::clone(&part.free).acquire_many_owned(bytes).await.ok() }
    }

    /// Bytes taken.
    #[must_use]
    pub fn used_bytes(&self) -> usize {
        self.short.used_bytes() + self.long.used_bytes()
    }
}

/// How long after it was given its place a request is waited for, of which so many bytes have come since.
#[must_use]
pub fn patience(came_bytes: usize) -> Duration {
    let units = u32::try_from(came_bytes / UNIT_BYTES).unwrap_or(u32::MAX);
    PATIENCE.saturating_add(UNIT_WITHIN.saturating_mul(units))
}

/// How often it is looked whether memory is short, while an answer is being taken.
const LOOK_EVERY: Duration = Duration::from_millis(250);

/// Tells whether answers hold all the memory that they may. Clones share it.
#[derive(Clone)]
pub struct Shortage(Arc<dyn Fn() -> bool + Send + Sync>);

impl Shortage {
    /// Memory is short when this says so. It is asked from any thread, and must not block.
    #[must_use]
    pub fn when(is_short: impl Fn() -> bool + Send + Sync + 'static) -> Self {
        Self(Arc::new(is_short))
    }

    /// Waits for `writing`, the sending of answers of so many bytes to a client. While memory is short the client must take
    /// them at the least rate at which requests must come; until then a slow reader slows only itself. `None` if it did
    /// not.
    pub async fn bounds<T>(&self, bytes: usize, writing: impl Future<Output = T>) -> Option<T> {
        self.bounds_from(Instant::now() + patience(bytes), writing).await
    }

    /// The same for who must have taken it by then.
    pub async fn bounds_from<T>(&self, least: Instant, writing: impl Future<Output = T>) -> Option<T> {
        let mut writing = std::pin::pin!(writing);
        loop {
            let look_again = least.max(Instant::now() + LOOK_EVERY);
            match timeout_at(look_again, &mut writing).await {
                Ok(written) => return Some(written),
                Err(_) if (self.0)() => return None,
                Err(_) => {}
            }
        }
    }
}

/// Never.
impl Default for Shortage {
    fn default() -> Self {
        Self::when(|| false)
    }
}

impl fmt::Debug for Shortage {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.debug_tuple("Shortage").field(&(self.0)()).finish()
    }
}

#[cfg(test)]
mod tests {
    use futures::FutureExt;

    use super::*;

    /// Room for 8 long requests of 100 KiB.
    const LONG: usize = 100 << 10;

    fn intake() -> Intake {
        Intake::new(u32::try_from(8 * 8 * LONG / 7).unwrap() + 8)
    }

    #[test]
    fn what_is_given_back_is_given_to_who_has_waited_longest() {
        let intake = intake();
        let first = intake.take(7 * LONG).now_or_never().unwrap();
        let mut long = Box::pin(intake.take(3 * LONG));
        assert!(long.as_mut().now_or_never().is_none(), "there is no room");
        let mut shorter = Box::pin(intake.take(LONG));
        assert!(shorter.as_mut().now_or_never().is_none(), "it does not overtake");
        drop(first);
        let held = (long.now_or_never().unwrap(), shorter.now_or_never().unwrap());
        assert_eq!(intake.used_bytes(), 4 * LONG);
        drop(held);
        assert_eq!(intake.used_bytes(), 0);
    }

    #[test]
    fn short_ones_do_not_wait_for_long_ones() {
        let intake = intake();
        let all = intake.take(1 << 40).now_or_never().unwrap();
        assert!(intake.take(LONG).now_or_never().is_none());
        assert!(intake.take(SHORT_BYTES).now_or_never().is_some());
        drop(all);
        assert!(intake.take(LONG).now_or_never().is_some());
    }

    #[test]
    fn one_larger_than_all_is_let_in_alone() {
        let intake = intake();
        let some = intake.take(LONG).now_or_never().unwrap();
        let mut huge = Box::pin(intake.take(1 << 40));
        assert!(huge.as_mut().now_or_never().is_none());
        drop(some);
        assert!(huge.now_or_never().is_some());
    }

    #[test]
    fn who_sends_is_waited_for_longer() {
        assert_eq!(patience(100), Duration::from_secs(5));
        assert_eq!(patience(1 << 20), Duration::from_secs(21));
    }
}

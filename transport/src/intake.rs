//! What a node takes in from all its clients together: one bound in bytes, however many of them send.
//!
//! A request takes its place as soon as its length is known, before its bytes are there, and gives it back when it is
//! answered. Places are given in the order in which they were asked for: a client that waits for one is not read
//! meanwhile, and a long request is not overtaken for ever by short ones.

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::{OwnedSemaphorePermit, Semaphore};

/// A sender is given so long for a request, and
const ANY_WITHIN: Duration = Duration::from_secs(10);

/// this much time more for each MiB: who sends slower holds a place that others wait for.
const MIB_WITHIN: Duration = Duration::from_secs(1);

/// So many bytes of requests and no more. Clones share it.
#[derive(Clone, Debug)]
pub struct Intake {
    limit: u32,
    free: Arc<Semaphore>,
}

/// The place of one request; free again when dropped.
#[derive(Debug)]
#[must_use = "the place is free again when this is dropped"]
pub struct Held {
    _permit: Option<OwnedSemaphorePermit>,
}

impl Intake {
    /// Room for so many bytes of requests.
    #[must_use]
    pub fn new(limit: u32) -> Self {
        Self { limit, free: Arc::new(Semaphore::new(usize::try_from(limit).unwrap_or(usize::MAX))) }
    }

    /// Waits for a place of so many bytes. What is larger than all there is waits until it is alone.
    pub async fn take(&self, bytes: usize) -> Held {
        let bytes = u32::try_from(bytes).unwrap_or(u32::MAX).min(self.limit);
        // It is never closed: an error is none.
        Held { _permit: Arc::clone(&self.free).acquire_many_owned(bytes).await.ok() }
    }

    /// Bytes taken.
    #[must_use]
    pub fn used_bytes(&self) -> usize {
        let free = self.free.available_permits();
        usize::try_from(self.limit).unwrap_or(usize::MAX).saturating_sub(free)
    }
}

/// How long a request of so many bytes may take to come, once it has its place.
#[must_use]
pub fn arrives_within(bytes: usize) -> Duration {
    let mib = u32::try_from(bytes >> 20).unwrap_or(u32::MAX);
    ANY_WITHIN.saturating_add(MIB_WITHIN.saturating_mul(mib))
}

#[cfg(test)]
mod tests {
    use futures::FutureExt;

    use super::*;

    #[test]
    fn what_is_given_back_is_given_to_who_has_waited_longest() {
        let intake = Intake::new(100);
        let first = intake.take(80).now_or_never().unwrap();
        let mut long = Box::pin(intake.take(60));
        assert!(long.as_mut().now_or_never().is_none(), "there is no room");
        let mut short = Box::pin(intake.take(10));
        assert!(short.as_mut().now_or_never().is_none(), "it does not overtake");
        assert_eq!(intake.used_bytes(), 100, "what is free is kept for who waits");
        drop(first);
        let held = (long.now_or_never().unwrap(), short.now_or_never().unwrap());
        assert_eq!(intake.used_bytes(), 70);
        drop(held);
        assert_eq!(intake.used_bytes(), 0);
    }

    #[test]
    fn one_larger_than_all_is_let_in_alone() {
        let intake = Intake::new(10);
        let huge = intake.take(1 << 40).now_or_never().unwrap();
        assert!(intake.take(1).now_or_never().is_none());
        drop(huge);
        assert!(intake.take(1).now_or_never().is_some());
    }

    #[test]
    fn a_long_request_may_take_longer() {
        assert_eq!(arrives_within(100), Duration::from_secs(10));
        assert_eq!(arrives_within(100 << 20), Duration::from_secs(110));
    }
}

//! One timer wheel for all replicas of a core: none of them has a timer or a task of its own.

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::fmt;
use std::rc::{Rc, Weak};
use std::time::Duration;

use millstream_transport::world::Clock;
use tokio::sync::Notify;
use tokio::time::Instant;

use super::inbox::Inbox;

/// Wakes replicas when their time has come. Lives on one core.
pub struct CoreClock {
    clock: Clock,
    origin: Instant,
    wheel: RefCell<Wheel>,
    sooner: Rc<Notify>,
}

#[derive(Default)]
struct Wheel {
    next: u64,
    due: BTreeMap<(Duration, u64), Inbox>,
}

impl CoreClock {
    /// Starts on the thread of this core; ends with the last owner.
    #[must_use]
    pub fn start(clock: Clock) -> Rc<Self> {
        let origin = clock.now();
        let this = Rc::new(Self { clock, origin, wheel: RefCell::default(), sooner: Rc::default() });
        actix_rt::spawn(run(Rc::downgrade(&this)));
        this
    }

    /// Monotonic time since this clock was started.
    #[must_use]
    pub fn now(&self) -> Duration {
        self.clock.now().saturating_duration_since(self.origin)
    }

    /// Milliseconds since 1970.
    #[must_use]
    pub fn wall_ms(&self) -> i64 {
        self.clock.wall_ms()
    }

    /// Wakes the owner of this inbox then, with a tick.
    pub fn wake_at(&self, at: Duration, inbox: Inbox) {
        let mut wheel = self.wheel.borrow_mut();
        let is_first = wheel.due.first_key_value().is_none_or(|((first, _), _)| at < *first);
        wheel.next += 1;
        let key = (at, wheel.next);
        wheel.due.insert(key, inbox);
        drop(wheel);
        if is_first {
            self.sooner.notify_one();
        }
    }

    fn ring(&self) -> Option<Duration> {
        let now = self.now();
        loop {
            let mut wheel = self.wheel.borrow_mut();
            let entry = wheel.due.first_entry()?;
            let (at, _) = *entry.key();
            if at > now {
                return Some(at);
            }
            let inbox = entry.remove();
            drop(wheel);
            inbox.put(|completions| completions.tick = true);
        }
    }
}

async fn run(clock: Weak<CoreClock>) {
    loop {
        let Some(this) = clock.upgrade() else { return };
        let next = this.ring().map(|at| this.origin + at);
        let sooner = Rc::clone(&this.sooner);
        drop(this);
        match next {
            Some(at) => {
                tokio::select! {
                    biased;
                    () = sooner.notified() => {}
                    () = tokio::time::sleep_until(at) => {}
                }
            }
            None => sooner.notified().await,
        }
    }
}

impl Drop for CoreClock {
    fn drop(&mut self) {
        self.sooner.notify_one();
    }
}

impl fmt::Debug for CoreClock {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter
            .debug_struct("CoreClock")
            .field("due", &self.wheel.borrow().due.len())
            .finish_non_exhaustive()
    }
}

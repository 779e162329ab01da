//! The door to time.

use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};
use std::time::Duration;

use tokio::time::Instant;

/// Tells the time. Monotonic time is tokio's, which a simulation pauses and moves by hand.
#[derive(Clone, Debug)]
pub struct Clock {
    wall: Wall,
}

#[derive(Clone, Debug)]
enum Wall {
    Real,
    /// Wall time = this many milliseconds at `origin` plus the virtual time since, plus a skew for this node.
    Simulated {
        origin: Instant,
        origin_ms: i64,
        skew_ms: Arc<AtomicI64>,
    },
}

impl Clock {
    /// The machine's clock.
    #[must_use]
    pub fn real() -> Self {
        Self { wall: Wall::Real }
    }

    /// A clock that starts at `origin_ms` (milliseconds since 1970) now and follows tokio's paused time.
    #[must_use]
    pub fn simulated(origin_ms: i64) -> Self {
        Self {
            wall: Wall::Simulated { origin: Instant::now(), origin_ms, skew_ms: Arc::new(AtomicI64::new(0)) },
        }
    }

    /// The same time for another node: a simulated one gets a skew of its own, none at first.
    #[must_use]
    pub fn for_another_node(&self) -> Self {
        let wall = match &self.wall {
            Wall::Real => Wall::Real,
            Wall::Simulated { origin, origin_ms, .. } => {
                Wall::Simulated { origin: *origin, origin_ms: *origin_ms, skew_ms: Arc::default() }
            }
        };
        Self { wall }
    }

    /// The monotonic time.
    #[must_use]
    pub fn now(&self) -> Instant {
        Instant::now()
    }

    /// Milliseconds since 1970, UTC.
    #[must_use]
    pub fn wall_ms(&self) -> i64 {
        match &self.wall {
            Wall::Real => {
                #[expect(
                    clippy::disallowed_methods,
                    reason = "this is the one place that reads the machine's clock"
                )]
                let now = std::time::SystemTime::now();
                let since = now.duration_since(std::time::UNIX_EPOCH).unwrap_or(Duration::ZERO);
                i64::try_from(since.as_millis()).unwrap_or(i64::MAX)
            }
            Wall::Simulated { origin, origin_ms, skew_ms } => {
                let since = i64::try_from(origin.elapsed().as_millis()).unwrap_or(i64::MAX);
                origin_ms.saturating_add(since).saturating_add(skew_ms.load(Ordering::Relaxed))
            }
        }
    }

    /// Sets a simulated wall clock wrong by so much; the machine's own is left alone.
    pub fn skew(&self, by_ms: i64) {
        if let Wall::Simulated { skew_ms, .. } = &self.wall {
            skew_ms.store(by_ms, Ordering::Relaxed);
        }
    }
}

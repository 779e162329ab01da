//! The door to randomness.

use std::sync::{Arc, Mutex, PoisonError};

use rand::rngs::SmallRng;
use rand::{Rng, RngCore, SeedableRng};

/// A source of randomness that a node's parts share. In a simulation it is seeded, and because one thread runs
/// everything, its draws come in the same order every time.
#[derive(Clone, Debug)]
pub struct Random(Arc<Mutex<SmallRng>>);

impl Random {
    /// Seeded by the system.
    #[must_use]
    pub fn real() -> Self {
        Self(Arc::new(Mutex::new(SmallRng::from_os_rng())))
    }

    /// Seeded by the caller.
    #[must_use]
    pub fn seeded(seed: u64) -> Self {
        Self(Arc::new(Mutex::new(SmallRng::seed_from_u64(seed))))
    }

    /// 64 random bits.
    #[must_use]
    pub fn next_u64(&self) -> u64 {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).next_u64()
    }

    /// A number in `low..high`; `low` where the range is empty.
    #[must_use]
    pub fn range(&self, low: u64, high: u64) -> u64 {
        if low >= high {
            return low;
        }
        self.0.lock().unwrap_or_else(PoisonError::into_inner).random_range(low..high)
    }

    /// True with this probability (0 to 1).
    #[must_use]
    pub fn chance(&self, probability: f64) -> bool {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).random_bool(probability.clamp(0.0, 1.0))
    }

    /// A random (version 4) UUID.
    #[must_use]
    pub fn uuid(&self) -> uuid::Uuid {
        let bits = (u128::from(self.next_u64()) << 64) | u128::from(self.next_u64());
        uuid::Builder::from_random_bytes(bits.to_be_bytes()).into_uuid()
    }
}

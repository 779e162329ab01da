//! A budget of bytes that requests under way may hold.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

/// So many bytes and no more. Clones share it.
#[derive(Clone, Debug)]
pub struct Budget(Arc<Bytes>);

#[derive(Debug)]
struct Bytes {
    limit: usize,
    used: AtomicUsize,
}

impl Budget {
    /// A budget of so many bytes.
    #[must_use]
    pub fn new(limit: usize) -> Self {
        Self(Arc::new(Bytes { limit, used: AtomicUsize::new(0) }))
    }

    /// Takes so many bytes; `None` if that would be too much. What is larger than the whole budget is let in alone.
    #[must_use]
    pub fn take(&self, bytes: usize) -> Option<Permit> {
        let before = self.0.used.fetch_add(bytes, Ordering::Relaxed);
        if before > 0 && before.saturating_add(bytes) > self.0.limit {
            self.0.used.fetch_sub(bytes, Ordering::Relaxed);
            return None;
        }
        Some(Permit { budget: self.clone(), bytes })
    }

    /// Takes so many bytes even if that is too much: of what is there already, and has to go somewhere.
    #[must_use]
    pub fn charge(&self, bytes: usize) -> Permit {
        self.0.used.fetch_add(bytes, Ordering::Relaxed);
        Permit { budget: self.clone(), bytes }
    }

    /// Whether twice as much is taken as there is.
    #[must_use]
    pub fn is_overdrawn(&self) -> bool {
        self.used() / 2 >= self.0.limit
    }

    /// Whether nothing is left.
    #[must_use]
    pub fn is_used_up(&self) -> bool {
        self.used() >= self.0.limit
    }

    /// Bytes taken.
    #[must_use]
    pub fn used(&self) -> usize {
        self.0.used.load(Ordering::Relaxed)
    }
}

/// Bytes taken from a [`Budget`]; given back when dropped.
#[derive(Debug)]
pub struct Permit {
    budget: Budget,
    bytes: usize,
}

impl Drop for Permit {
    fn drop(&mut self) {
        self.budget.0.used.fetch_sub(self.bytes, Ordering::Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_given_back_can_be_taken_again() {
        let budget = Budget::new(10);
        let permit = budget.take(8).unwrap();
        assert!(budget.take(3).is_none());
        assert_eq!(budget.used(), 8);
        drop(permit);
        assert!(budget.take(10).is_some());
    }

    #[test]
    fn one_larger_than_all_is_let_in_alone() {
        let budget = Budget::new(10);
        let permit = budget.take(50).unwrap();
        assert!(budget.take(1).is_none());
        drop(permit);
        assert_eq!(budget.used(), 0);
    }
}

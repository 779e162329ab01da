//! A sign that what is being done is of no use any more.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

/// What the one who works looks at.
#[derive(Clone, Debug, Default)]
pub(super) struct Cancelled(Arc<AtomicBool>);

impl Cancelled {
    pub(super) fn is_set(&self) -> bool {
        self.0.load(Ordering::Relaxed)
    }
}

/// Held by who wants it done; the work is of no use once this is dropped, or says so.
#[derive(Debug, Default)]
pub(super) struct Cancel(Cancelled);

impl Cancel {
    /// What the one who works looks at.
    pub(super) fn sign(&self) -> Cancelled {
        self.0.clone()
    }

    pub(super) fn cancel(&self) {
        self.0.0.store(true, Ordering::Relaxed);
    }
}

impl Drop for Cancel {
    fn drop(&mut self) {
        self.cancel();
    }
}

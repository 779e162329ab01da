//! The latest value of something, for many to watch: as tokio's `watch`, but who waits is woken in the order of waiting.
//!
//! tokio wakes several receivers in an order that it draws from its own randomness, so that a simulation would not
//! repeat (promise 9).

use std::fmt;
use std::ops::Deref;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, PoisonError, RwLock, RwLockReadGuard};

use tokio::sync::Notify;

/// All senders are gone: what was seen last stays.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("nobody is left to send")]
pub struct Closed;

/// The value could not be sent, because nobody watches.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("nobody watches")]
pub struct SendError<T>(pub T);

struct Shared<T> {
    value: RwLock<T>,
    /// Counts the changes. Read and written under the lock of the value where both matter.
    version: AtomicU64,
    senders: AtomicUsize,
    receivers: AtomicUsize,
    changed: Notify,
}

/// The value, borrowed. Not to be held over an `await`, nor while the value is sent.
pub struct Ref<'a, T>(RwLockReadGuard<'a, T>);

impl<T> Deref for Ref<'_, T> {
    type Target = T;

    fn deref(&self) -> &T {
        &self.0
    }
}

impl<T: fmt::Debug> fmt::Debug for Ref<'_, T> {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        (**self).fmt(formatter)
    }
}

/// Where the value is changed.
pub struct Sender<T>(Arc<Shared<T>>);

/// Where it is watched.
pub struct Receiver<T> {
    shared: Arc<Shared<T>>,
    seen: u64,
}

/// A value to watch, and its first watcher, who has seen `initial`.
pub fn channel<T>(initial: T) -> (Sender<T>, Receiver<T>) {
    let sender = Sender::new(initial);
    let receiver = sender.subscribe();
    (sender, receiver)
}

impl<T> Shared<T> {
    fn borrow(&self) -> Ref<'_, T> {
        Ref(self.value.read().unwrap_or_else(PoisonError::into_inner))
    }

    fn version(&self) -> u64 {
        self.version.load(Ordering::SeqCst)
    }

    fn is_closed(&self) -> bool {
        self.senders.load(Ordering::SeqCst) == 0
    }
}

impl<T> Sender<T> {
    /// A value that nobody watches yet.
    pub fn new(initial: T) -> Self {
        Self(Arc::new(Shared {
            value: RwLock::new(initial),
            version: AtomicU64::new(0),
            senders: AtomicUsize::new(1),
            receivers: AtomicUsize::new(0),
            changed: Notify::new(),
        }))
    }

    /// Replaces the value and wakes who waits; hands it back if nobody watches.
    pub fn send(&self, value: T) -> Result<(), SendError<T>> {
        if self.receiver_count() == 0 {
            return Err(SendError(value));
        }
        self.send_replace(value);
        Ok(())
    }

    /// Replaces the value, whether somebody watches or not; the old one.
    pub fn send_replace(&self, value: T) -> T {
        let mut next = value;
        self.send_modify(|value| std::mem::swap(value, &mut next));
        next
    }

    /// Changes the value and wakes who waits.
    pub fn send_modify(&self, change: impl FnOnce(&mut T)) {
        self.send_if_modified(|value| {
            change(value);
            true
        });
    }

    /// Changes the value, and wakes who waits if `change` says that it did.
    pub fn send_if_modified(&self, change: impl FnOnce(&mut T) -> bool) -> bool {
        let mut value = self.0.value.write().unwrap_or_else(PoisonError::into_inner);
        let changed = change(&mut value);
        if changed {
            self.0.version.fetch_add(1, Ordering::SeqCst);
        }
        drop(value);
        if changed {
            self.0.changed.notify_waiters();
        }
        changed
    }

    /// The value now.
    #[must_use]
    pub fn borrow(&self) -> Ref<'_, T> {
        self.0.borrow()
    }

    /// One more watcher, who has seen the value as it is now.
    #[must_use]
    pub fn subscribe(&self) -> Receiver<T> {
        self.0.receivers.fetch_add(1, Ordering::SeqCst);
        Receiver { shared: Arc::clone(&self.0), seen: self.0.version() }
    }

    /// How many watch.
    #[must_use]
    pub fn receiver_count(&self) -> usize {
        self.0.receivers.load(Ordering::SeqCst)
    }
}

impl<T> Receiver<T> {
    /// The value now; whether it was seen stays as it was.
    #[must_use]
    pub fn borrow(&self) -> Ref<'_, T> {
        self.shared.borrow()
    }

    /// The value now, which counts as seen.
    pub fn borrow_and_update(&mut self) -> Ref<'_, T> {
        let value = self.shared.borrow();
        // Under the lock: nobody changes it meanwhile.
        self.seen = self.shared.version();
        value
    }

    /// Whether there is a value that was not seen.
    pub fn has_changed(&self) -> Result<bool, Closed> {
        if self.shared.is_closed() {
            return Err(Closed);
        }
        Ok(self.shared.version() != self.seen)
    }

    /// The value counts as not seen.
    pub fn mark_changed(&mut self) {
        self.seen = self.shared.version().wrapping_sub(1);
    }

    /// Waits for a value that was not seen; from then on it counts as seen.
    pub async fn changed(&mut self) -> Result<(), Closed> {
        loop {
            // Waits from here on: what is sent after the look is not missed.
            let changed = self.shared.changed.notified();
            let now = self.shared.version();
            if now != self.seen {
                self.seen = now;
                return Ok(());
            }
            if self.shared.is_closed() {
                return Err(Closed);
            }
            changed.await;
        }
    }

    /// The same where it is no matter that nobody is left to send: then it waits for ever.
    pub async fn changed_or_never(&mut self) {
        if self.changed().await.is_err() {
            std::future::pending::<()>().await;
        }
    }

    /// Waits until the value is as wanted; it counts as seen.
    pub async fn wait_for(&mut self, mut wanted: impl FnMut(&T) -> bool) -> Result<Ref<'_, T>, Closed> {
        loop {
            let changed = self.shared.changed.notified();
            let closed = self.shared.is_closed();
            {
                let value = self.shared.borrow();
                self.seen = self.shared.version();
                if wanted(&value) {
                    return Ok(value);
                }
            }
            if closed {
                return Err(Closed);
            }
            changed.await;
        }
    }
}

impl<T> Clone for Sender<T> {
    fn clone(&self) -> Self {
        self.0.senders.fetch_add(1, Ordering::SeqCst);
        Self(Arc::clone(&self.0))
    }
}

impl<T> Drop for Sender<T> {
    fn drop(&mut self) {
        if self.0.senders.fetch_sub(1, Ordering::SeqCst) == 1 {
            self.0.changed.notify_waiters();
        }
    }
}

impl<T> Clone for Receiver<T> {
    fn clone(&self) -> Self {
        self.shared.receivers.fetch_add(1, Ordering::SeqCst);
        Self { shared: Arc::clone(&self.shared), seen: self.seen }
    }
}

impl<T> Drop for Receiver<T> {
    fn drop(&mut self) {
        self.shared.receivers.fetch_sub(1, Ordering::SeqCst);
    }
}

impl<T: fmt::Debug> fmt::Debug for Sender<T> {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.debug_tuple("Sender").field(&self.0.borrow()).finish()
    }
}

impl<T: fmt::Debug> fmt::Debug for Receiver<T> {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.debug_tuple("Receiver").field(&self.shared.borrow()).finish()
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Mutex;

    use super::*;
    use crate::world::simulation;

    #[test]
    fn who_waits_is_woken_in_the_order_of_waiting() {
        simulation::run(1, |_| async {
            let woken = Arc::new(Mutex::new(Vec::new()));
            let (sender, receiver) = channel(0);
            let waiting: Vec<_> = (0..32)
                .map(|number| {
                    let (mut receiver, woken) = (receiver.clone(), Arc::clone(&woken));
                    tokio::spawn(async move {
                        receiver.changed().await.unwrap();
                        woken.lock().unwrap().push(number);
                    })
                })
                .collect();
            tokio::task::yield_now().await;
            sender.send(1).unwrap();
            for waiting in waiting {
                waiting.await.unwrap();
            }
            assert_eq!(*woken.lock().unwrap(), (0..32).collect::<Vec<_>>());
        });
    }

    #[test]
    fn a_change_is_told_once_and_a_value_sent_before_the_end_still_is() {
        simulation::run(1, |_| async {
            let (sender, mut receiver) = channel(0);
            assert_eq!(receiver.has_changed(), Ok(false));
            assert_eq!(sender.send_replace(5), 0);
            assert_eq!(receiver.changed().await, Ok(()));
            assert_eq!(receiver.has_changed(), Ok(false));
            receiver.mark_changed();
            assert_eq!(receiver.changed().await, Ok(()));
            sender.send_modify(|value| *value = 6);
            drop(sender);
            assert_eq!(receiver.changed().await, Ok(()));
            assert_eq!(*receiver.borrow(), 6);
            assert_eq!(receiver.changed().await, Err(Closed));
        });
    }

    #[test]
    fn a_wanted_value_is_waited_for_and_the_end_is_told() {
        simulation::run(1, |_| async {
            let (sender, mut receiver) = channel(0);
            let waiting = tokio::spawn(async move {
                let wanted = receiver.wait_for(|value| *value > 2).await.map(|value| *value);
                (wanted, receiver.wait_for(|value| *value > 9).await.map(|value| *value))
            });
            for value in 1..=3 {
                sender.send(value).unwrap();
                tokio::task::yield_now().await;
            }
            drop(sender);
            assert_eq!(waiting.await.unwrap(), (Ok(3), Err(Closed)));
        });
    }

    #[test]
    fn nothing_is_sent_to_nobody_and_what_says_unchanged_wakes_nobody() {
        let sender = Sender::new(1);
        assert_eq!(sender.send(2), Err(SendError(2)));
        let receiver = sender.subscribe();
        assert!(!sender.send_if_modified(|value| {
            *value = 3;
            false
        }));
        assert_eq!((receiver.has_changed(), *receiver.borrow()), (Ok(false), 3));
    }
}

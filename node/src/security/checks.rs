//! Whose password is checked next. A check keeps a processor busy for some milliseconds, and anybody can ask for one.
//!
//! Few run at a time; of one address one (of IPv6, of one network of 64 bits), so that who guesses from there holds up nobody
//! else; and clients that are in and log in again do not stand in line with those that are not. Who waits here is a client
//! that is not in yet, of which the listeners let so many come and no more: that bounds the line.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};

use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use super::origin::Origin;

/// Checks at a time for clients that are not in yet.
const OF_STRANGERS: usize = 2;

/// The same for those that log in again.
const OF_KNOWN: usize = 1;

/// Who wants a password to be checked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Asker {
    /// A client that is not in yet, from this address.
    Stranger(Origin),
    /// One that is in, and logs in again.
    Known,
}

type Addresses = Arc<Mutex<BTreeMap<Origin, Arc<Semaphore>>>>;

/// The line, and who is being served.
#[derive(Debug)]
pub(super) struct Checks {
    strangers: Arc<Semaphore>,
    known: Arc<Semaphore>,
    addresses: Addresses,
}

/// The right to check one password, for as long as it is held: it goes where the work is done.
#[derive(Debug)]
pub(super) struct Turn {
    _of_all: Option<OwnedSemaphorePermit>,
    // Given back before the address is forgotten: fields are dropped in their order.
    _of_address: Option<OwnedSemaphorePermit>,
    _address: Option<Address>,
}

/// An address from which somebody waits or is served. The last one there takes it out of the map.
#[derive(Debug)]
struct Address {
    addresses: Addresses,
    address: Origin,
    one: Arc<Semaphore>,
}

impl Checks {
    pub(super) fn new() -> Self {
        Self {
            strangers: Arc::new(Semaphore::new(OF_STRANGERS)),
            known: Arc::new(Semaphore::new(OF_KNOWN)),
            addresses: Arc::default(),
        }
    }

    /// Waits for it.
    pub(super) async fn turn(&self, asker: Asker) -> Turn {
        let Asker::Stranger(address) = asker else {
            return Turn { _of_all: permit(&self.known).await, _of_address: None, _address: None };
        };
        let address = self.address(address);
        let of_address = permit(&address.one).await;
        let of_all = permit(&self.strangers).await;
        Turn { _of_all: of_all, _of_address: of_address, _address: Some(address) }
    }

    fn address(&self, address: Origin) -> Address {
        let mut addresses = self.addresses.lock().unwrap_or_else(PoisonError::into_inner);
        let one = addresses.entry(address).or_insert_with(|| Arc::new(Semaphore::new(1)));
        Address { one: Arc::clone(one), addresses: Arc::clone(&self.addresses), address }
    }
}

/// `None` never: these are never closed.
async fn permit(of: &Arc<Semaphore>) -> Option<OwnedSemaphorePermit> {
    Arc::clone(of).acquire_owned().await.ok()
}

impl Drop for Address {
    fn drop(&mut self) {
        let mut addresses = self.addresses.lock().unwrap_or_else(PoisonError::into_inner);
        // The map's and this one: whoever else waits has another.
        if Arc::strong_count(&self.one) <= 2 {
            addresses.remove(&self.address);
        }
    }
}

#[cfg(test)]
mod tests {
    use std::future::Future;
    use std::pin::pin;
    use std::task::{Context, Poll, Waker};

    use super::*;

    fn poll<T>(future: impl Future<Output = T>) -> Option<T> {
        match pin!(future).poll(&mut Context::from_waker(Waker::noop())) {
            Poll::Ready(ready) => Some(ready),
            Poll::Pending => None,
        }
    }

    #[test]
    fn one_address_has_one_turn_at_a_time_and_who_is_in_does_not_wait_for_strangers() {
        let checks = Checks::new();
        let stranger = |last: u8| Asker::Stranger(Origin::of([10, 0, 0, last].into()));
        let first = poll(checks.turn(stranger(1))).unwrap();
        assert!(poll(checks.turn(stranger(1))).is_none(), "one of an address");
        let second = poll(checks.turn(stranger(2))).unwrap();
        assert!(poll(checks.turn(stranger(3))).is_none(), "two in all");
        let known = poll(checks.turn(Asker::Known)).unwrap();
        assert!(poll(checks.turn(Asker::Known)).is_none());
        drop(first);
        assert!(poll(checks.turn(stranger(1))).is_some());
        drop((second, known));
        assert!(checks.addresses.lock().unwrap().is_empty(), "nothing is left of who came and went");
    }
}

//! How many connections there may be: in all, and from one address (of IPv6, from one network of 64 bits). Of clients that are
//! not in yet there may be fewer, and they are counted apart while they are in the handshake of TLS and while they log in:
//! those in the one take no place of those in the other.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};

use crate::security::origin::Origin;

/// Counts connections.
#[derive(Clone, Debug)]
pub(super) struct Places(Arc<Counted>);

#[derive(Debug)]
struct Counted {
    bounds: Bounds,
    taken: Mutex<BTreeMap<Origin, usize>>,
}

/// How many there may be, and of what.
#[derive(Clone, Copy, Debug)]
pub(super) struct Bounds {
    /// What is counted, as a refusal says it.
    pub(super) what: &'static str,
    /// In all.
    pub(super) most: usize,
    /// Of one address, or network of IPv6 ([`Origin`]).
    pub(super) most_per_address: usize,
}

/// A place that is taken. Free again when dropped.
#[derive(Debug)]
pub(super) struct Place {
    counted: Arc<Counted>,
    origin: Origin,
}

/// The places of clients that are not in yet.
#[derive(Clone, Debug)]
pub(super) struct Antechamber {
    handshakes: Places,
    logins: Places,
}

/// What a client that is not in yet has of them: it gives one up before it takes another.
#[derive(Debug)]
pub(super) struct Waiting {
    place: Option<Place>,
    logins: Places,
}

/// TLS handshakes under way, on all listeners.
const HANDSHAKES: Bounds = Bounds { what: "TLS handshakes under way", most: 1_000, most_per_address: 100 };

/// Clients that log in, on all listeners: each may take as long as `connections.authentication.timeout.ms`.
const LOGINS: Bounds = Bounds { what: "clients that log in", most: 1_000, most_per_address: 100 };

impl Antechamber {
    pub(super) fn new() -> Self {
        Self { handshakes: Places::new(HANDSHAKES), logins: Places::new(LOGINS) }
    }

    /// A place for what a client has to do first.
    pub(super) fn enter(&self, origin: Origin, (has_tls, logs_in): (bool, bool)) -> Result<Waiting, NoPlace> {
        let first = match (has_tls, logs_in) {
            (true, _) => Some(&self.handshakes),
            (false, true) => Some(&self.logins),
            (false, false) => None,
        };
        let place = first.map(|places| places.take(origin)).transpose()?;
        Ok(Waiting { place, logins: self.logins.clone() })
    }
}

impl Waiting {
    /// Its handshake is over, and it has to log in or not.
    pub(super) fn shaken(&mut self, origin: Origin, logs_in: bool) -> Result<(), NoPlace> {
        self.place = None;
        if logs_in {
            self.place = Some(self.logins.take(origin)?);
        }
        Ok(())
    }
}

/// Why there is no place.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub(super) enum NoPlace {
    /// There are so many connections in all.
    #[error("there are {1} {0}, as many as there may be in all")]
    InAll(&'static str, usize),
    /// So many of one address.
    #[error("there are {1} {0} from its address, as many as there may be from one")]
    OfAddress(&'static str, usize),
}

impl Places {
    /// As many places as these bounds say.
    pub(super) fn new(bounds: Bounds) -> Self {
        Self(Arc::new(Counted { bounds, taken: Mutex::default() }))
    }

    /// Takes one.
    pub(super) fn take(&self, origin: Origin) -> Result<Place, NoPlace> {
        let mut taken = self.0.taken.lock().unwrap_or_else(PoisonError::into_inner);
        let Bounds { what, most, most_per_address } = self.0.bounds;
        let in_all: usize = taken.values().sum();
        if in_all >= most {
            return Err(NoPlace::InAll(what, in_all));
        }
        let of_address = taken.entry(origin).or_default();
        if *of_address >= most_per_address {
            return Err(NoPlace::OfAddress(what, *of_address));
        }
        *of_address += 1;
        Ok(Place { counted: Arc::clone(&self.0), origin })
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        let mut taken = self.counted.taken.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(count) = taken.get_mut(&self.origin) {
            *count -= 1;
            if *count == 0 {
                taken.remove(&self.origin);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn handshakes_that_do_not_end_take_no_place_of_those_who_log_in() {
        let (antechamber, address) = (Antechamber::new(), Origin::of([10, 0, 0, 1].into()));
        let enter = |has_tls, logs_in| antechamber.enter(address, (has_tls, logs_in));
        let mut half_open: Vec<_> = (0..100).map(|_| enter(true, true).unwrap()).collect();
        assert!(matches!(enter(true, false), Err(NoPlace::OfAddress(what, 100)) if what == HANDSHAKES.what));
        let plain = enter(false, true).unwrap();
        assert!(enter(false, false).is_ok(), "who has nothing to show waits for nothing");
        for waiting in half_open.iter_mut().take(99) {
            waiting.shaken(address, true).unwrap();
        }
        assert!(half_open[99].shaken(address, true).is_err(), "there is one by another listener");
        assert!(enter(true, true).is_ok(), "it has given its place among the handshakes up");
        drop(plain);
        assert!(half_open[99].shaken(address, true).is_ok());
    }

    #[test]
    fn a_host_of_ipv6_is_counted_as_one_whichever_of_its_addresses_it_comes_from() {
        let places = Places::new(Bounds { what: "guests", most: 1_000, most_per_address: 100 });
        let from = |text: &str| places.take(Origin::of(text.parse().unwrap()));
        let _taken: Vec<_> = (0..100).map(|host| from(&format!("2001:db8:0:1::{host:x}")).unwrap()).collect();
        let refused = from("2001:db8:0:1:ffff::1").unwrap_err();
        assert_eq!(refused, NoPlace::OfAddress("guests", 100));
        assert!(from("2001:db8:0:2::1").is_ok(), "another network");
        let mapped: Vec<_> = (0..100).map(|_| from("::ffff:10.0.0.1").unwrap()).collect();
        assert!(from("10.0.0.1").is_err(), "the same host, whichever socket it came by");
        assert!(from("::ffff:10.0.0.2").is_ok());
        drop(mapped);
        assert!(from("10.0.0.1").is_ok());
    }

    #[test]
    fn places_are_bounded_in_all_and_per_address_and_free_again_when_left() {
        let places = Places::new(Bounds { what: "guests", most: 3, most_per_address: 2 });
        let (one, two) = (Origin::of([10, 0, 0, 1].into()), Origin::of([10, 0, 0, 2].into()));
        let first = places.take(one).unwrap();
        let _second = places.take(one).unwrap();
        assert_eq!(places.take(one).unwrap_err(), NoPlace::OfAddress("guests", 2));
        let _third = places.take(two).unwrap();
        assert_eq!(places.take(two).unwrap_err(), NoPlace::InAll("guests", 3));
        drop(first);
        assert_eq!(places.take(two).map(|place| place.origin), Ok(two));
        assert_eq!(places.0.taken.lock().unwrap().len(), 2);
    }
}

//! The live actors of a node, for whoever looks at it: which there are, since when, what they have handled, what waits
//! for them, and how long the message has taken that they handle now.
//!
//! An actor takes a seat as it begins and leaves it with its state, on whatever way that ends. What it does costs one
//! relaxed atomic a message; on the data plane, where a message is a batch, only every sixteenth is measured.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use metrics::Histogram;
use tokio::sync::Semaphore;
use tokio::time::Instant;

use crate::ids::ActorId;
use crate::kinds::{ActorKind, System};

/// Of so many messages on the data plane one is measured.
const MEASURED_EACH: u64 = 16;

/// Actors whose restarts are remembered beyond their deaths.
const RESTARTED_MAX: usize = 1_024;

/// Asked when somebody looks.
type Probe<T> = Box<dyn Fn() -> T + Send + Sync>;

/// What an actor says of itself as it begins.
pub struct Entry {
    kind: ActorKind,
    type_name: Option<&'static str>,
    name: String,
    actor: Option<ActorId>,
    waiting: Option<Probe<usize>>,
    about: Option<Probe<String>>,
}

impl Entry {
    /// One of a kind; `name` tells it from others of its kind, for people.
    #[must_use]
    pub fn new(kind: ActorKind, name: impl Into<String>) -> Self {
        Self { kind, type_name: None, name: name.into(), actor: None, waiting: None, about: None }
    }

    /// Its kind.
    #[must_use]
    pub const fn kind(&self) -> &ActorKind {
        &self.kind
    }

    /// What its user calls actors of its type.
    #[must_use]
    pub const fn of_type(mut self, type_name: &'static str) -> Self {
        self.type_name = Some(type_name);
        self
    }

    /// Its id, if it is a user's.
    #[must_use]
    pub const fn with_id(mut self, actor: ActorId) -> Self {
        self.actor = Some(actor);
        self
    }

    /// How many requests it has not answered, those in its mailbox among them; of a user's actor, how many messages are in
    /// its mailbox, without the one that it handles. Called on any thread; it must not wait.
    #[must_use]
    pub fn waiting(mut self, waiting: impl Fn() -> usize + Send + Sync + 'static) -> Self {
        self.waiting = Some(Box::new(waiting));
        self
    }

    /// What else is worth a look. Called on any thread; it must not wait.
    #[must_use]
    pub fn about(mut self, about: impl Fn() -> String + Send + Sync + 'static) -> Self {
        self.about = Some(Box::new(about));
        self
    }
}

impl fmt::Debug for Entry {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter
            .debug_struct("Entry")
            .field("kind", &self.kind.name)
            .field("name", &self.name)
            .finish_non_exhaustive()
    }
}

/// Counts the places of these that are taken.
pub fn waiting<const N: usize>(places: [&Arc<Semaphore>; N]) -> impl Fn() -> usize + Send + Sync + use<N> {
    let places = places.map(|places| (places.available_permits(), Arc::clone(places)));
    move || places.iter().map(|(most, places)| most.saturating_sub(places.available_permits())).sum()
}

/// What an actor does, as others see it.
pub struct Pulse {
    origin: Instant,
    each: u64,
    handled: AtomicU64,
    restarts: AtomicU64,
    /// `usize::MAX` where nobody counts.
    waiting: AtomicUsize,
    /// When the handler began that runs now, in nanoseconds after `origin`, and one more; 0 where none is known to run.
    running_since_ns: AtomicU64,
    seconds: Histogram,
}

impl Pulse {
    /// It handles a message from now on, until what this gives is dropped.
    pub fn turn(self: &Arc<Self>) -> Option<Turn> {
        let before = self.handled.fetch_add(1, Ordering::Relaxed);
        if !before.is_multiple_of(self.each) {
            return None;
        }
        let since = Instant::now();
        let since_ns = since.saturating_duration_since(self.origin).as_nanos();
        let since_ns = u64::try_from(since_ns).unwrap_or(u64::MAX).saturating_add(1);
        self.running_since_ns.store(since_ns, Ordering::Relaxed);
        Some(Turn { pulse: Arc::clone(self), since })
    }

    /// So many requests wait for it: of an actor that counts them itself.
    pub fn waits(&self, requests: usize) {
        self.waiting.store(requests, Ordering::Relaxed);
    }

    /// It was begun anew without leaving its seat.
    pub fn begun_anew(&self) {
        self.restarts.fetch_add(1, Ordering::Relaxed);
    }

    /// Messages it has begun to handle.
    #[must_use]
    pub fn handled(&self) -> u64 {
        self.handled.load(Ordering::Relaxed)
    }

    fn running_for(&self, now: Instant) -> Option<Duration> {
        match self.running_since_ns.load(Ordering::Relaxed) {
            0 => None,
            since_ns => {
                let now = now.saturating_duration_since(self.origin);
                Some(now.saturating_sub(Duration::from_nanos(since_ns - 1)))
            }
        }
    }
}

impl fmt::Debug for Pulse {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.debug_struct("Pulse").field("handled", &self.handled).finish_non_exhaustive()
    }
}

/// A handler that is measured; over when dropped.
#[derive(Debug)]
pub struct Turn {
    pulse: Arc<Pulse>,
    since: Instant,
}

impl Drop for Turn {
    fn drop(&mut self) {
        self.pulse.running_since_ns.store(0, Ordering::Relaxed);
        self.pulse.seconds.record(self.since.elapsed());
    }
}

/// An actor's place among those that live; dropped, the actor is gone.
#[derive(Debug)]
pub struct Seat {
    roster: Roster,
    number: u64,
    pulse: Arc<Pulse>,
}

impl Seat {
    /// What the actor does.
    #[must_use]
    pub const fn pulse(&self) -> &Arc<Pulse> {
        &self.pulse
    }

    /// It handles a message from now on, until what this gives is dropped.
    #[must_use]
    pub fn turn(&self) -> Option<Turn> {
        self.pulse.turn()
    }
}

impl Drop for Seat {
    fn drop(&mut self) {
        let mut book = self.roster.book();
        if let Some(seated) = book.live.remove(&self.number) {
            *book.ended.entry(seated.entry.kind.name).or_default() += self.pulse.handled();
        }
    }
}

/// The live actors of a node. Cheap to clone; all clones see the same.
#[derive(Clone, Default)]
pub struct Roster(Arc<Mutex<Book>>);

#[derive(Default)]
struct Book {
    next: u64,
    live: BTreeMap<u64, Seated>,
    /// What those handled that are gone, by kind.
    ended: BTreeMap<&'static str, u64>,
    /// How often supervisors have begun actors anew, by kind and name.
    restarts: BTreeMap<(&'static str, String), u64>,
}

#[derive(Clone)]
struct Seated {
    entry: Arc<Entry>,
    pulse: Arc<Pulse>,
    began: Instant,
}

/// A live actor as it is seen at one moment.
#[derive(Clone, Debug)]
pub struct Seen {
    /// Tells it from all others that have lived on this node; later ones have higher numbers.
    pub number: u64,
    /// Its kind.
    pub kind: ActorKind,
    /// What its user calls actors of its type.
    pub type_name: Option<&'static str>,
    /// Its id, if it is a user's.
    pub actor: Option<ActorId>,
    /// Requests that it has not answered, of a user's actor the messages in its mailbox; `None` where nobody counts them.
    pub waiting: Option<usize>,
    /// Messages it has handled, the one that it handles now among them.
    pub handled: u64,
    /// How often it was begun anew.
    pub restarts: u64,
    /// Since when it lives.
    pub age: Duration,
    /// For how long the message has been handled that it handles now, as far as that is measured.
    pub running_for: Option<Duration>,
    entry: Arc<Entry>,
}

impl Seen {
    /// What tells it from others of its kind.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.entry.name
    }

    /// What else is worth a look.
    #[must_use]
    pub fn about(&self) -> String {
        self.entry.about.as_ref().map_or_else(String::new, |about| about())
    }
}

impl Roster {
    fn book(&self) -> MutexGuard<'_, Book> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// An actor begins. Its measured handlers are recorded in `seconds`.
    #[must_use]
    pub fn enter(&self, entry: Entry, seconds: Histogram) -> Seat {
        let began = Instant::now();
        let each = match entry.kind.system {
            System::Actix => MEASURED_EACH,
            System::Ractor | System::Tokio => 1,
        };
        let mut book = self.book();
        let restarts = book.restarts.get(&(entry.kind.name, entry.name.clone())).copied().unwrap_or(0);
        let pulse = Arc::new(Pulse {
            origin: began,
            each,
            handled: AtomicU64::new(0),
            restarts: AtomicU64::new(restarts),
            waiting: AtomicUsize::new(usize::MAX),
            running_since_ns: AtomicU64::new(0),
            seconds,
        });
        let number = book.next;
        book.next += 1;
        book.live.insert(number, Seated { entry: Arc::new(entry), pulse: Arc::clone(&pulse), began });
        drop(book);
        Seat { roster: self.clone(), number, pulse }
    }

    /// A supervisor begins an actor anew, in another seat.
    pub fn begun_anew(&self, kind: &'static str, name: &str) {
        let (mut book, actor) = (self.book(), (kind, name.to_owned()));
        if book.restarts.len() >= RESTARTED_MAX && !book.restarts.contains_key(&actor) {
            book.restarts.pop_first();
        }
        *book.restarts.entry(actor).or_default() += 1;
    }

    fn live(&self) -> Vec<(u64, Seated)> {
        self.book().live.iter().map(|(number, seated)| (*number, seated.clone())).collect()
    }

    /// Those that live now, in the order in which they began. They are asked after the roster is free again.
    #[must_use]
    pub fn look(&self) -> Vec<Seen> {
        let now = Instant::now();
        let see = |(number, Seated { entry, pulse, began }): (u64, Seated)| Seen {
            number,
            kind: entry.kind,
            type_name: entry.type_name,
            actor: entry.actor,
            waiting: match (&entry.waiting, pulse.waiting.load(Ordering::Relaxed)) {
                (Some(waiting), _) => Some(waiting()),
                (None, usize::MAX) => None,
                (None, counted) => Some(counted),
            },
            handled: pulse.handled(),
            restarts: pulse.restarts.load(Ordering::Relaxed),
            age: now.saturating_duration_since(began),
            running_for: pulse.running_for(now),
            entry,
        };
        self.live().into_iter().map(see).collect()
    }

    /// What those handled that are gone, by kind.
    #[must_use]
    pub fn handled_by_ended(&self) -> BTreeMap<&'static str, u64> {
        self.book().ended.clone()
    }
}

impl fmt::Debug for Roster {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.debug_struct("Roster").field("live", &self.book().live.len()).finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::kinds::{REPLICA, USER_ACTOR};

    fn seat(roster: &Roster, entry: Entry) -> Seat {
        roster.enter(entry, Histogram::noop())
    }

    #[tokio::test(start_paused = true)]
    async fn who_lives_is_seen_with_what_it_has_handled_until_its_seat_is_left() {
        let roster = Roster::default();
        let first = seat(&roster, Entry::new(USER_ACTOR, "a").of_type("till").waiting(|| 3));
        let second = seat(&roster, Entry::new(REPLICA, "b"));
        second.pulse().waits(7);
        drop(first.turn());
        let running = first.turn();
        tokio::time::advance(Duration::from_secs(2)).await;
        let seen = roster.look();
        let [one, other] = seen.as_slice() else { panic!("{seen:?}") };
        assert_eq!((one.name(), one.type_name, one.handled, one.waiting), ("a", Some("till"), 2, Some(3)));
        assert_eq!((one.age, one.running_for), (Duration::from_secs(2), Some(Duration::from_secs(2))));
        assert_eq!((other.name(), other.handled, other.waiting, other.running_for), ("b", 0, Some(7), None));
        drop(running);
        assert_eq!(roster.look()[0].running_for, None);
        drop(first);
        assert_eq!(roster.look().len(), 1);
        assert_eq!(roster.handled_by_ended().get("user_actor"), Some(&2));
    }

    #[test]
    fn on_the_data_plane_all_messages_are_counted_and_some_are_measured() {
        let roster = Roster::default();
        let seat = seat(&roster, Entry::new(REPLICA, "a"));
        let measured = (0..160).filter(|_| seat.turn().is_some()).count();
        assert_eq!((measured, seat.pulse().handled()), (10, 160));
    }

    #[test]
    fn restarts_outlive_the_actor_and_are_remembered_of_so_many() {
        let roster = Roster::default();
        roster.begun_anew(REPLICA.name, "a");
        roster.begun_anew(REPLICA.name, "a");
        let first = seat(&roster, Entry::new(REPLICA, "a"));
        assert_eq!(roster.look()[0].restarts, 2);
        first.pulse().begun_anew();
        assert_eq!(roster.look()[0].restarts, 3);
        for other in 0..2 * RESTARTED_MAX {
            roster.begun_anew(REPLICA.name, &other.to_string());
        }
        assert_eq!(roster.book().restarts.len(), RESTARTED_MAX);
        roster.begun_anew(REPLICA.name, "a");
        assert_eq!(roster.book().restarts.get(&(REPLICA.name, "a".to_owned())), Some(&3));
        assert_eq!(roster.book().restarts.len(), RESTARTED_MAX, "nothing made way for one that was there");
    }
}

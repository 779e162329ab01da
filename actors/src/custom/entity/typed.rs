//! A user's type of entities as the engine sees it.

use std::any::Any;
use std::marker::PhantomData;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;

use bytes::Bytes;

use super::behaviour::{Behaviour, Change, Fault, Handled, PoisonPolicy, Saved};
use super::definition::{Entity, EntityKey, Refused, Turn};
use super::formats::{Formats, HeldBack};
use super::message::unstored;
use super::publication::Output;
use super::series::EntitySeries;
use crate::custom::{ActorMessage, CallError, UserThreads, seal_answer};
use crate::events::Events;

/// A user's type.
pub(super) struct Typed<E> {
    threads: UserThreads,
    kind: Arc<str>,
    message_max_bytes: usize,
    formats: Formats,
    series: EntitySeries,
    of: PhantomData<fn() -> E>,
}

/// A user's entity in memory.
pub(super) struct Loaded<E: Entity> {
    user: E,
    key: E::Key,
    name: Arc<str>,
    /// The state as the log has it, or will.
    state: Bytes,
}

impl<E: Entity> Typed<E> {
    pub(super) fn new(
        threads: UserThreads,
        message_max_bytes: usize,
        formats: Formats,
        events: &Events,
    ) -> Self {
        let (kind, series) = (Arc::from(E::TYPE), EntitySeries::new(events, E::TYPE));
        Self { threads, kind, message_max_bytes, formats, series, of: PhantomData }
    }
}

impl<E: Entity> Behaviour for Typed<E> {
    type Entity = Loaded<E>;

    fn poison(&self) -> PoisonPolicy {
        E::POISON
    }

    fn output(&self) -> Output {
        E::OUTPUT
    }

    fn load(&self, key: &[u8], saved: &Saved) -> Result<Loaded<E>, Fault> {
        let key = caught(|| E::Key::from_bytes(key))?
            .ok_or_else(|| Fault::Malformed(format!("the bytes are no key of a {}", E::TYPE)))?;
        let mut user = caught(|| match &saved.snapshot {
            None => Ok(E::new(&key)),
            Some((version, state)) => read::<E>(*version, state),
        })??;
        for event in &saved.events {
            let replayed = caught(|| user.replay(event.version, &event.event))?;
            replayed.map_err(|error| unreadable::<E>(&error))?;
        }
        let state = self.state(&user)?;
        let name = caught(|| format!("{key:?}"))?.into();
        Ok(Loaded { user, name, key, state })
    }

    fn handle(
        &self,
        entity: &mut Loaded<E>,
        _: &[u8],
        now_ms: i64,
        message: &[u8],
    ) -> Result<Handled, Fault> {
        let envelope = unstored(message)?;
        if envelope.name == E::Message::NAME && envelope.version > E::Message::VERSION {
            let expected = format!("{} up to version {}", E::Message::NAME, E::Message::VERSION);
            return Err(Fault::TooNew { name: envelope.name, version: envelope.version, expected });
        }
        // Whoever sends may send bytes on which the user's own reading of them panics.
        let (message, label) = caught(|| {
            let message: E::Message = envelope.open()?;
            let label = message.label();
            Ok::<_, CallError>((message, label))
        })??;
        let running = self.threads.turn(&self.kind, &entity.name, label);
        let held_back = self.formats.held_back(&self.kind);
        let mut turn = Turn::new(&entity.key, now_ms, self.message_max_bytes);
        turn.held_back = held_back;
        let answer = caught(|| entity.user.handle(message, &mut turn));
        self.series.turn_seconds.record(running.elapsed());
        drop(running);
        if answer.is_err() {
            self.series.panics.increment(1);
        }
        let answer = answer?.map_err(|Refused(text)| Fault::Refused(text))?;
        let Turn { timers, outgoing, published, events, is_forgotten, problem, .. } = turn;
        if let Some(problem) = problem {
            return Err(problem.into());
        }
        let answer = caught(|| seal_answer(&answer, self.message_max_bytes))??.body;
        let state = self.state(&entity.user)?;
        let state_bytes = state.len();
        let change = if is_forgotten {
            Change::Gone
        } else if !events.is_empty() {
            entity.state = state;
            Change::Events(events)
        } else if state == entity.state {
            Change::Nothing
        } else {
            self.write(entity, state, held_back)?
        };
        Ok(Handled { answer, change, state_bytes, timers, outgoing, published })
    }

    fn snapshot(&self, entity: &Loaded<E>) -> Result<Option<(u16, Bytes)>, Fault> {
        let Some(held_back) = self.formats.held_back(&self.kind) else {
            return Ok(Some((E::VERSION, entity.state.clone())));
        };
        // It says what the events said, or is not written.
        let earlier = caught(|| entity.user.to_earlier(held_back.version));
        let Ok(Some(Ok(state))) = earlier else { return Ok(None) };
        let Ok(Ok(read)) = caught(|| read::<E>(held_back.version, &state)) else { return Ok(None) };
        let is_whole = self.state(&read)? == entity.state;
        Ok(is_whole.then(|| (held_back.version, state.into())))
    }
}

impl<E: Entity> Typed<E> {
    /// The change to this state, in the latest form that all hosts read. The entity is what was written, also where an
    /// earlier form does not say all.
    fn write(
        &self,
        entity: &mut Loaded<E>,
        state: Bytes,
        held_back: Option<HeldBack>,
    ) -> Result<Change, Fault> {
        let Some(held_back @ HeldBack { version, .. }) = held_back else {
            entity.state = state.clone();
            return Ok(Change::State { version: E::VERSION, state });
        };
        let earlier = caught(|| entity.user.to_earlier(version))?;
        let written = earlier.ok_or_else(|| "the type does not write earlier ones (to_earlier)".to_owned());
        let written = written.flatten().map_err(|reason| {
            Fault::Retry(text_of_held_back(
                &format!("the state of this {}", E::TYPE),
                E::VERSION,
                held_back,
                &reason,
            ))
        })?;
        entity.user = caught(|| read::<E>(version, &written))??;
        entity.state = self.state(&entity.user)?;
        Ok(Change::State { version, state: written.into() })
    }

    fn state(&self, user: &E) -> Result<Bytes, Fault> {
        let bytes = caught(|| postcard::to_stdvec(user))?;
        bytes
            .map(Bytes::from)
            .map_err(|error| Fault::Malformed(format!("the state of a {}: {error}", E::TYPE)))
    }
}

fn read<E: Entity>(version: u16, state: &[u8]) -> Result<E, Fault> {
    if version == E::VERSION {
        return postcard::from_bytes(state).map_err(|error| unreadable::<E>(&error.to_string()));
    }
    match E::from_earlier(version, state) {
        Some(read) => read.map_err(|error| unreadable::<E>(&error)),
        None => Err(unreadable::<E>(&format!("its state has version {version}"))),
    }
}

/// Why something is not written for now.
pub(super) fn text_of_held_back(what: &str, version: u16, held_back: HeldBack, reason: &str) -> String {
    let HeldBack { node, version: reads } = held_back;
    format!(
        "{what} is of version {version}, node {node} reads only up to version {reads}, and {reason}; try again once that node \
         is upgraded, or forgotten where it is gone for good"
    )
}

/// Runs a user's code; its panic is a fault. What it may have left half done is thrown away by who called.
pub(super) fn caught<T>(run: impl FnOnce() -> T) -> Result<T, Fault> {
    catch_unwind(AssertUnwindSafe(run)).map_err(|panic| Fault::Panicked(text_of(&*panic)))
}

fn text_of(panic: &(dyn Any + Send)) -> String {
    let text = panic.downcast_ref::<&str>().map(|text| (*text).to_owned());
    let text = text.or_else(|| panic.downcast_ref::<String>().cloned());
    format!("the handler panicked: {}", text.unwrap_or_else(|| "without a word".to_owned()))
}

fn unreadable<E: Entity>(reason: &str) -> Fault {
    Fault::Unreadable(format!("the state of this {} cannot be read here: {reason}", E::TYPE))
}

#[cfg(test)]
mod tests {
    use serde::{Deserialize, Serialize};

    use super::super::by_events::{ByEvents, Decided, EventSourced};
    use super::super::message::stored;
    use super::super::records::Event;
    use super::*;
    use crate::custom::{Envelope, UserThreadsSettings};
    use millstream_transport::world::simulation::run;
    use millstream_transport::world::{SimulatedDisk, World};

    #[derive(Debug, Serialize, Deserialize)]
    enum Order {
        Add(i64),
        Panic,
        Refuse,
    }

    impl ActorMessage for Order {
        const NAME: &'static str = "order";
        const VERSION: u16 = 2;
        type Answer = i64;

        fn from_earlier(_: u16, body: &[u8]) -> Option<Result<Self, String>> {
            Some(Ok(Self::Add(body[7].into())))
        }
    }

    #[derive(Debug, Serialize, Deserialize)]
    struct Whole(i64);

    impl Entity for Whole {
        const TYPE: &'static str = "whole";
        type Key = String;
        type Message = Order;

        fn new(_: &String) -> Self {
            Self(0)
        }

        fn handle(&mut self, order: Order, turn: &mut Turn<'_, Self>) -> Result<i64, Refused> {
            match order {
                Order::Add(number) => self.0 += number,
                Order::Panic => panic!("on {}", turn.key()),
                Order::Refuse => return Err("no".into()),
            }
            Ok(self.0)
        }
    }

    #[derive(Debug, Serialize, Deserialize)]
    struct Sum(i64);

    impl EventSourced for Sum {
        const TYPE: &'static str = "sum";
        type Key = String;
        type Message = Order;
        type Event = i64;

        fn new(_: &String) -> Self {
            Self(0)
        }

        fn decide(&self, order: Order, _: &mut Turn<'_, ByEvents<Self>>) -> Result<Decided<Self>, Refused> {
            match order {
                Order::Add(number) => Ok((self.0 + number, vec![number])),
                Order::Panic | Order::Refuse => Ok((self.0, Vec::new())),
            }
        }

        fn apply(&mut self, event: i64) {
            self.0 += event;
        }
    }

    fn with<E: Entity>(test: impl FnOnce(Typed<E>) + 'static) {
        run(1, |simulation| async move {
            let world = World::simulated(&simulation, &SimulatedDisk::new(1));
            let threads = UserThreads::start(&world, UserThreadsSettings::default(), Events::uncounted());
            test(Typed::new(threads, 1_000, Formats::default(), &Events::uncounted()));
        });
    }

    fn message(order: &Order) -> Bytes {
        stored(&Envelope::seal(order, 100).unwrap())
    }

    #[test]
    fn a_state_is_written_when_it_changed_and_read_back() {
        with::<Whole>(|typed| {
            let mut entity = typed.load(b"a", &Saved::default()).unwrap();
            let handled = typed.handle(&mut entity, b"a", 0, &message(&Order::Add(0))).unwrap();
            assert!(handled.only_reads());
            let handled = typed.handle(&mut entity, b"a", 0, &message(&Order::Add(7))).unwrap();
            let Change::State { version: 1, state } = handled.change else { panic!("{:?}", handled.change) };
            let saved = Saved { snapshot: Some((1, state)), ..Saved::default() };
            assert_eq!(typed.load(b"a", &saved).unwrap().user.0, 7);
            let later = Saved { snapshot: Some((2, Bytes::new())), ..Saved::default() };
            assert!(matches!(typed.load(b"a", &later), Err(Fault::Unreadable(_))));
        });
    }

    #[test]
    fn a_panic_a_refusal_and_a_message_that_is_none_are_faults() {
        with::<Whole>(|typed| {
            let mut entity = typed.load(b"a", &Saved::default()).unwrap();
            let panicked = typed.handle(&mut entity, b"a", 0, &message(&Order::Panic));
            assert_eq!(panicked, Err(Fault::Panicked("the handler panicked: on a".to_owned())));
            let refused = typed.handle(&mut entity, b"a", 0, &message(&Order::Refuse));
            assert_eq!(refused, Err(Fault::Refused("no".to_owned())));
            let other = Envelope { name: "other".to_owned(), version: 1, body: Bytes::new() };
            let unknown = typed.handle(&mut entity, b"a", 0, &stored(&other));
            assert!(matches!(unknown, Err(Fault::UnknownMessage { .. })));
            let later = Envelope { name: "order".to_owned(), version: 3, body: Bytes::new() };
            let later = typed.handle(&mut entity, b"a", 0, &stored(&later));
            assert!(matches!(later, Err(Fault::TooNew { version: 3, .. })), "{later:?}");
            assert!(matches!(typed.handle(&mut entity, b"a", 0, &[1]), Err(Fault::Malformed(_))));
            let short = Envelope { name: "order".to_owned(), version: 1, body: Bytes::new() };
            let unread = typed.handle(&mut entity, b"a", 0, &stored(&short));
            assert!(matches!(unread, Err(Fault::Panicked(_))), "{unread:?}");
        });
    }

    #[test]
    fn of_a_type_by_events_the_events_are_written_and_applied_again() {
        with::<ByEvents<Sum>>(|typed| {
            let mut entity = typed.load(b"a", &Saved::default()).unwrap();
            let handled = typed.handle(&mut entity, b"a", 0, &message(&Order::Add(7))).unwrap();
            let Change::Events(events) = handled.change else { panic!("{:?}", handled.change) };
            assert_eq!(events, [Event { version: 1, event: vec![14].into() }]);
            let (version, state) = typed.snapshot(&entity).unwrap().unwrap();
            let saved = Saved { sequence: 2, snapshot: Some((version, state)), events };
            assert_eq!(typed.load(b"a", &saved).unwrap().user.0.0, 14);
            let unknown = vec![Event { version: 9, event: Bytes::new() }];
            let saved = Saved { sequence: 1, snapshot: None, events: unknown };
            assert!(matches!(typed.load(b"a", &saved), Err(Fault::Unreadable(_))));
        });
    }
}

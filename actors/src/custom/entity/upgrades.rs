//! Types by their code: what is written while a host reads an earlier version only, and states that are large.

use bytes::Bytes;
use millstream_transport::world::simulation::run;
use millstream_transport::world::{SimulatedDisk, World};
use serde::{Deserialize, Serialize};
use uuid::Uuid;

use super::behaviour::{Behaviour, Change, Fault, Handled, Saved};
use super::by_events::{ByEvents, Decided, EventSourced};
use super::definition::{Entity, Refused, Turn};
use super::formats::{Formats, HeldBack};
use super::message::stored;
use super::partition::{Effect, EntityPartition, Input};
use super::settings::EntitySettings;
use super::table::Table;
use super::typed::Typed;
use crate::custom::{ActorMessage, Envelope, RequestId, UserThreads, UserThreadsSettings};
use crate::events::Events;
use crate::ids::{NodeId, Offset};

#[derive(Clone, Debug, Serialize, Deserialize)]
struct Add(u64);

impl ActorMessage for Add {
    const NAME: &'static str = "add";
    type Answer = u64;
}

/// A sum, which in its second version has a count.
#[derive(Debug, PartialEq, Serialize, Deserialize)]
struct Counted<const WRITES_EARLIER: bool> {
    sum: u64,
    count: u64,
}

impl<const WRITES_EARLIER: bool> Entity for Counted<WRITES_EARLIER> {
    const TYPE: &'static str = "counted";
    const VERSION: u16 = 2;
    type Key = String;
    type Message = Add;

    fn new(_: &String) -> Self {
        Self { sum: 0, count: 0 }
    }

    fn handle(&mut self, Add(number): Add, _: &mut Turn<'_, Self>) -> Result<u64, Refused> {
        if number > 0 {
            (self.sum, self.count) = (self.sum + number, self.count + 1);
        }
        Ok(self.sum)
    }

    fn from_earlier(_: u16, bytes: &[u8]) -> Option<Result<Self, String>> {
        let sum = postcard::from_bytes(bytes).map_err(|error| error.to_string());
        Some(sum.map(|sum| Self { sum, count: 0 }))
    }

    fn to_earlier(&self, version: u16) -> Option<Result<Vec<u8>, String>> {
        assert_eq!(version, 1);
        WRITES_EARLIER.then(|| postcard::to_stdvec(&self.sum).map_err(|error| error.to_string()))
    }
}

/// What an event says in its second version: by how much, and how often. The first only had the product.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
struct Added {
    number: u64,
    times: u64,
}

/// A sum by events, with bytes of ballast for each.
#[derive(Debug, Serialize, Deserialize)]
struct Summed<const WRITES_EARLIER: bool> {
    sum: u64,
    ballast: Vec<u8>,
}

impl<const WRITES_EARLIER: bool> EventSourced for Summed<WRITES_EARLIER> {
    const TYPE: &'static str = "summed";
    const VERSION: u16 = 2;
    const EVENT_VERSION: u16 = 2;
    type Key = String;
    type Message = Add;
    type Event = Added;

    fn new(_: &String) -> Self {
        Self { sum: 0, ballast: Vec::new() }
    }

    fn decide(&self, Add(number): Add, _: &mut Turn<'_, ByEvents<Self>>) -> Result<Decided<Self>, Refused> {
        Ok((self.sum, vec![Added { number, times: 1 }]))
    }

    fn apply(&mut self, Added { number, times }: Added) {
        self.sum += number * times;
        let bytes = usize::try_from(number * times).unwrap();
        self.ballast.resize(if bytes > 1_000 { bytes } else { self.ballast.len() }, 7);
    }

    fn event_from_earlier(version: u16, bytes: &[u8]) -> Option<Result<Added, String>> {
        assert_eq!(version, 1);
        let product = postcard::from_bytes(bytes).map_err(|error| error.to_string());
        Some(product.map(|number| Added { number, times: 1 }))
    }

    fn event_to_earlier(event: &Added, version: u16) -> Option<Result<(u16, Vec<u8>), String>> {
        assert_eq!(version, 1);
        let bytes = postcard::to_stdvec(&(event.number * event.times)).map_err(|error| error.to_string());
        WRITES_EARLIER.then(|| bytes.map(|bytes| (1, bytes)))
    }
}

fn with<E: Entity>(formats: Formats, test: impl FnOnce(Typed<E>) + 'static) {
    run(1, |simulation| async move {
        let world = World::simulated(&simulation, &SimulatedDisk::new(1));
        let threads = UserThreads::start(&world, UserThreadsSettings::default(), Events::uncounted());
        test(Typed::new(threads, 4_000_000, formats, &Events::uncounted()));
    });
}

fn held_back(kind: &str) -> Formats {
    let formats = Formats::default();
    formats.hold_back(kind, HeldBack { node: NodeId(3), version: 1 });
    formats
}

fn message(number: u64) -> Bytes {
    stored(&Envelope::seal(&Add(number), 100).unwrap())
}

fn turn<E: Entity>(
    typed: &Typed<E>,
    entity: &mut <Typed<E> as Behaviour>::Entity,
    number: u64,
) -> Result<Handled, Fault> {
    typed.handle(entity, b"a", 0, &message(number))
}

fn is_held_back(result: &Result<Handled, Fault>) -> bool {
    matches!(result, Err(Fault::Retry(text)) if text.contains("node 3 reads only up to version 1"))
}

#[test]
fn a_state_is_written_in_the_version_that_all_hosts_read_and_the_entity_is_what_was_written() {
    let formats = held_back("counted");
    let opened = formats.clone();
    with::<Counted<true>>(formats, move |typed| {
        let mut entity = typed.load(b"a", &Saved::default()).unwrap();
        let handled = turn(&typed, &mut entity, 7).unwrap();
        let first = Bytes::from(postcard::to_stdvec(&7_u64).unwrap());
        assert_eq!(handled.change, Change::State { version: 1, state: first });
        opened.release("counted");
        let handled = turn(&typed, &mut entity, 1).unwrap();
        // The count of the first turn was not written, so nobody knows it.
        let second = Bytes::from(postcard::to_stdvec(&(8_u64, 1_u64)).unwrap());
        assert_eq!(handled.change, Change::State { version: 2, state: second });
    });
}

#[test]
fn a_state_that_is_not_written_in_an_earlier_version_is_refused_until_all_hosts_read_it() {
    let formats = held_back("counted");
    let opened = formats.clone();
    with::<Counted<false>>(formats, move |typed| {
        let mut entity = typed.load(b"a", &Saved::default()).unwrap();
        assert!(turn(&typed, &mut entity, 0).unwrap().only_reads());
        assert!(is_held_back(&turn(&typed, &mut entity, 7)));
        opened.release("counted");
        let mut entity = typed.load(b"a", &Saved::default()).unwrap();
        assert!(matches!(turn(&typed, &mut entity, 7).unwrap().change, Change::State { version: 2, .. }));
    });
}

#[test]
fn events_are_written_in_the_version_that_all_hosts_read_or_refused() {
    with::<ByEvents<Summed<true>>>(held_back("summed"), |typed| {
        let mut entity = typed.load(b"a", &Saved::default()).unwrap();
        let Change::Events(events) = turn(&typed, &mut entity, 7).unwrap().change else { panic!() };
        assert_eq!((events[0].version, events[0].event.as_ref()), (1, &[7][..]));
        assert_eq!(typed.snapshot(&entity), Ok(None), "the state has no earlier form");
        let saved = Saved { sequence: 1, snapshot: None, events };
        assert!(typed.load(b"a", &saved).is_ok());
    });
    with::<ByEvents<Summed<false>>>(held_back("summed"), |typed| {
        let mut entity = typed.load(b"a", &Saved::default()).unwrap();
        assert!(is_held_back(&turn(&typed, &mut entity, 7)));
    });
    with::<ByEvents<Summed<false>>>(Formats::default(), |typed| {
        let mut entity = typed.load(b"a", &Saved::default()).unwrap();
        let Change::Events(events) = turn(&typed, &mut entity, 7).unwrap().change else { panic!() };
        assert_eq!(events[0].version, 2);
    });
}

/// Asks a partition of summed entities; how many events it has then, and the answer.
fn ask<T: Entity>(
    partition: &mut EntityPartition<Typed<T>, ()>,
    end: &mut i64,
    request: u128,
    number: u64,
) -> Result<Bytes, Fault> {
    let (entity, message) = (Bytes::from_static(b"a"), message(number));
    let ask = Input::Ask { entity, request: RequestId(Uuid::from_u128(request)), message, reply: () };
    let mut effects = partition.take(0, ask);
    while let Some(effect) = effects.pop() {
        match effect {
            Effect::Answer { answer, .. } => return answer,
            Effect::Append { batch, records } => {
                let bytes: usize = records.iter().filter_map(|r| r.value.as_ref()).map(Bytes::len).sum();
                assert!(bytes < 2 << 20, "a batch of the log has a bound");
                let first = Offset(*end);
                *end += i64::try_from(records.len()).unwrap();
                effects.extend(partition.take(0, Input::Committed { batch, first }));
            }
            other => panic!("{other:?}"),
        }
    }
    panic!("it was not answered");
}

#[test]
fn a_large_state_by_events_is_written_whole_in_time_and_one_that_no_turn_could_write_is_refused() {
    with::<ByEvents<Summed<false>>>(Formats::default(), |typed| {
        let settings = EntitySettings { snapshot_events: 5, ..EntitySettings::default() };
        let (mut partition, _) = EntityPartition::new(typed, settings, Table::default());
        partition.take(0, Input::Replayed(Table::default()));
        let mut end = 0;
        assert!(ask(&mut partition, &mut end, 1, 900_000).is_ok());
        for request in 2..30 {
            assert!(ask(&mut partition, &mut end, request, 1).is_ok());
            let table = partition.table().unwrap();
            assert!(table.stored(b"a").unwrap().events.len() < 5, "the state is written whole");
        }
        assert!(partition.table().unwrap().superfluous().count() < 6, "and the events are removed");
        let answer = ask(&mut partition, &mut end, 30, 1_000_000);
        assert!(matches!(answer, Err(Fault::TooLarge { bytes: 1_000_000.., most: 1_000_000 })), "{answer:?}");
        assert_eq!(ask(&mut partition, &mut end, 31, 1), ask(&mut partition, &mut end, 31, 1));
    });
}

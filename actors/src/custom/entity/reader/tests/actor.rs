use std::sync::Arc;
use std::time::Duration;

use millstream_transport::world::simulation::run;
use millstream_transport::world::{SimulatedDisk, World};
use serde::{Deserialize, Serialize};

use super::super::super::behaviour::PoisonPolicy;
use super::super::super::definition::{Entity, Refused, Turn};
use super::super::declared::{Declared, TopicInput};
use super::super::settings::ReaderSettings;
use super::rig::{Node, Rig};
use crate::custom::ActorMessage;

/// Told a record's value; panics on `panic`.
#[derive(Serialize, Deserialize)]
struct Told(String);

impl ActorMessage for Told {
    const NAME: &'static str = "told";
    type Answer = ();
}

macro_rules! entity {
    ($name:ident, $poison:expr) => {
        #[derive(Serialize, Deserialize)]
        struct $name;

        impl Entity for $name {
            const TYPE: &'static str = "listener";
            const POISON: PoisonPolicy = $poison;
            type Key = String;
            type Message = Told;

            fn new(_: &String) -> Self {
                Self
            }

            fn handle(&mut self, _: Told, _: &mut Turn<'_, Self>) -> Result<(), Refused> {
                Ok(())
            }
        }
    };
}

entity!(Patient, PoisonPolicy::Fail);
entity!(Skipping, PoisonPolicy::Skip);
entity!(Burying, PoisonPolicy::DeadLetter { topic: "dead" });

/// Reads values like `entity` or `panic`.
fn input<E: Entity<Key = String, Message = Told>>() -> Arc<Declared> {
    Arc::new(Declared::of(TopicInput::<E>::new("in", |record| {
        let text = String::from_utf8(record.value().unwrap_or_default().to_vec());
        match text.map_err(|error| error.to_string())?.as_str() {
            "panic" => panic!("so told"),
            "wrong" => Err("no such thing".to_owned()),
            "nobody" => Ok(None),
            text => Ok(Some((text.to_owned(), Told(text.to_owned())))),
        }
    })))
}

fn rig(node: Node, input: Arc<Declared>, test: impl AsyncFnOnce(&Rig) + 'static) {
    run(7, |simulation| async move {
        let world = World::simulated(&simulation, &SimulatedDisk::new(7));
        let rig = Rig::begin(&world, node, input).await;
        test(&rig).await;
        rig.reader.stop_and_wait(None, None).await.unwrap();
    });
}

async fn after(ms: u64) {
    tokio::time::sleep(Duration::from_millis(ms)).await;
}

#[test]
fn a_flood_of_records_to_receivers_that_do_not_answer_holds_what_may_be_under_way_and_no_more() {
    let values = (0..50_000).map(|_| "somebody").collect();
    let node = Node { values, never_answers: true, ..Node::default() };
    rig(node, input::<Patient>(), async |rig: &Rig| {
        after(60_000).await;
        let (reads, feeds_open) = rig.node.with(|node| (node.reads, node.feeds_open));
        assert_eq!(feeds_open, 2, "one delivery for each receiver");
        let most = ReaderSettings::default().records_max;
        assert!(reads <= most / 10 + 1, "{reads} reads of 10 records, {most} may be under way");
    });
}

#[test]
fn a_record_that_panics_is_waited_for_or_left_out_as_the_type_wants() {
    let values = || vec!["a", "panic", "wrong", "nobody", "b"];
    let node = || Node { values: values(), ..Node::default() };
    rig(node(), input::<Patient>(), async |rig: &Rig| {
        after(20_000).await;
        assert_eq!(rig.node.with(|node| node.sequences()), [1]);
        let stands = rig.told("millstream_entity_input_stands_total");
        assert!((3..20).contains(&stands), "{stands}");
    });
    rig(node(), input::<Skipping>(), async |rig: &Rig| {
        after(20_000).await;
        assert_eq!(rig.node.with(|node| node.sequences()), [1, 5]);
        assert_eq!(rig.told("millstream_entity_input_left_out_total"), 2);
        assert_eq!(rig.told("millstream_entity_input_records_total"), 2);
    });
    rig(node(), input::<Burying>(), async |rig: &Rig| {
        after(20_000).await;
        assert_eq!(rig.node.with(|node| node.sequences()), [1, 2, 3, 5]);
        let unread = rig.node.with(|node| node.unread());
        let wanted = [("panic", "so told"), ("wrong", "no such thing")];
        assert_eq!(unread.len(), 2);
        for (unread, (value, why)) in unread.iter().zip(wanted) {
            assert_eq!(unread.value.as_deref(), Some(value.as_bytes()));
            assert!(unread.why.contains(why), "{unread:?}");
        }
    });
}

#[test]
fn of_a_large_record_that_is_not_understood_the_beginning_is_buried() {
    let large: &'static str = "x".repeat(2 << 20).leak();
    let node = Node { values: vec!["a", large, "b"], ..Node::default() };
    let input = Arc::new(Declared::of(TopicInput::<Burying>::new("in", |record| match record.value() {
        Some(value) if value.len() == 1 => Ok(Some(("a".to_owned(), Told("a".to_owned())))),
        _ => Err("too much".to_owned()),
    })));
    rig(node, input, async |rig: &Rig| {
        after(20_000).await;
        assert_eq!(rig.node.with(|node| node.sequences()), [1, 2, 3]);
        let unread = rig.node.with(|node| node.unread()).remove(0);
        assert_eq!((unread.value.unwrap().len(), unread.truncated), (900_000, Some(2 << 20)));
    });
}

#[test]
fn a_batch_that_cannot_be_unpacked_is_waited_for_or_left_out_as_the_type_wants() {
    let node = || Node { values: vec!["a"; 12], garbles: true, ..Node::default() };
    rig(node(), input::<Patient>(), async |rig: &Rig| {
        after(20_000).await;
        assert!(rig.node.with(|node| node.sequences()).is_empty());
        assert!(rig.told("millstream_entity_input_stands_total") >= 3);
    });
    let goes_on = async |rig: &Rig| {
        after(20_000).await;
        assert_eq!(rig.node.with(|node| node.sequences()), [11, 12]);
        assert_eq!(rig.told("millstream_entity_input_left_out_total"), 1);
    };
    rig(node(), input::<Skipping>(), goes_on);
    rig(node(), input::<Burying>(), goes_on);
}

#[test]
fn an_entity_that_does_not_take_a_record_is_told_and_given_it_again() {
    let node = Node { values: vec!["a", "b"], answers_no: true, ..Node::default() };
    rig(node, input::<Patient>(), async |rig: &Rig| {
        after(5_000).await;
        assert!(rig.told("millstream_entity_input_stands_total") >= 3);
        rig.node.with(|node| node.answers_no = false);
        after(30_000).await;
        assert_eq!(rig.told("millstream_entity_input_records_total"), 2);
    });
}

#[test]
fn what_retention_took_is_told_and_what_lies_beyond_the_end_is_waited_for() {
    let node = Node { values: vec!["a"; 9], start: 6, position: 2, ..Node::default() };
    rig(node, input::<Patient>(), async |rig: &Rig| {
        after(5_000).await;
        assert_eq!(rig.node.with(|node| node.sequences()), [7, 8, 9]);
        assert_eq!(rig.told("millstream_entity_input_missed_total"), 4);
    });
    let node = Node { values: vec!["a"; 3], position: 5, ..Node::default() };
    rig(node, input::<Patient>(), async |rig: &Rig| {
        after(5_000).await;
        assert!(rig.told("millstream_entity_input_stands_total") > 0);
        rig.node.with(|node| node.values = vec!["a"; 6]);
        after(60_000).await;
        assert_eq!(rig.node.with(|node| node.sequences()), [6]);
    });
}

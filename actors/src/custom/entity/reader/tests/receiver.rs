use bytes::Bytes;

use super::super::super::behaviour::{Fault, PoisonPolicy};
use super::super::super::input::{Delivery, Input};
use super::super::super::settings::EntitySettings;
use super::super::super::tests::{Rig, SOURCE, ok, rig};

fn feed(rig: &mut Rig, through: u64, messages: &[(u64, &'static str)], reply: u32) {
    let each = messages.iter().map(|(sequence, message)| Delivery {
        sequence: *sequence,
        entity: Bytes::from_static(b"a"),
        message: Bytes::from_static(message.as_bytes()),
    });
    let messages = each.collect();
    rig.take(Input::Deliver { source: SOURCE, through: Some(through), messages, reply });
}

fn position(rig: &Rig) -> u64 {
    rig.partition.table().unwrap().position(SOURCE)
}

#[test]
fn where_nothing_of_a_topic_is_missing_is_written_with_its_records_and_without() {
    let mut rig = rig();
    feed(&mut rig, 9, &[(3, "one"), (5, "two")], 1);
    assert!(rig.answers().is_empty(), "answered when that is committed");
    rig.commit();
    while rig.append.is_some() {
        rig.commit();
    }
    assert_eq!((rig.answers(), position(&rig)), (vec![ok(1, "", false)], 9));
    feed(&mut rig, 20, &[], 2);
    rig.commit();
    assert_eq!((rig.answers(), position(&rig)), (vec![ok(2, "", false)], 20));
    feed(&mut rig, 12, &[(11, "late")], 3);
    assert!(rig.append.is_none(), "an earlier reader's word changes nothing");
    assert_eq!((rig.answers(), position(&rig)), (vec![ok(3, "", true)], 20));
}

#[test]
fn how_far_a_topic_is_does_not_count_before_it_is_committed() {
    let mut rig = rig();
    feed(&mut rig, 9, &[(3, "one")], 1);
    assert_eq!(position(&rig), 0);
    rig.refuse();
    assert!(matches!(rig.answers().as_slice(), [(1, Err(Fault::Retry(_)), _)]));
    rig.replay();
    assert_eq!(position(&rig), 0);
    feed(&mut rig, 9, &[(3, "one")], 2);
    rig.commit();
    assert_eq!(position(&rig), 9);
}

#[test]
fn a_topic_waits_where_much_waits_already_and_messages_of_entities_do_not() {
    let settings = EntitySettings { waiting_max_bytes: 40, ..EntitySettings::default() };
    let mut rig = Rig::begin(PoisonPolicy::Fail, settings);
    rig.ask("a", "one", 1);
    feed(&mut rig, 9, &[(3, "two")], 2);
    assert!(matches!(rig.answers().as_slice(), [(2, Err(Fault::Busy(_)), _)]));
    rig.deliver(&[(3, "a", "three")], 3);
    while rig.append.is_some() {
        rig.commit();
    }
    assert_eq!(rig.answers().len(), 2, "the ask and the message");
    feed(&mut rig, 9, &[(5, "two")], 4);
    rig.commit();
    assert_eq!(position(&rig), 9);
}

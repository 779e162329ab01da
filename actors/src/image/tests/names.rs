//! Names of users' actors: one owner each, and what the loss of a node does.

use super::fixture::*;
use crate::error::ErrorCode;
use crate::ids::{ActorId, Incarnation, NodeId};
use crate::image::{
    Command, Features, Image, NameAlteration, NameEvent, Outcome, Registration, decode_entry, encode_entry,
};

const MOST: u32 = 8;

/// Live nodes of a cluster at the level of names.
fn nodes(nodes: &[u32]) -> Image {
    let mut image = Image::default();
    for node in nodes {
        let registration = Registration { feature_level: Features::NAMES, ..registration(*node, 1) };
        done(&mut image, Command::RegisterNode(registration));
        done(&mut image, unfence(*node, 1));
    }
    done(&mut image, Command::SetFeatureLevel { level: Features::NAMES });
    image
}

fn actor(node: u32, serial: u64) -> ActorId {
    ActorId { node: NodeId(node), incarnation: Incarnation(1), serial }
}

fn by(node: u32, alteration: NameAlteration) -> Command {
    Command::AlterNames { node: NodeId(node), incarnation: Incarnation(1), alteration, most: MOST }
}

fn register(node: u32, serial: u64, name: &str) -> Command {
    by(node, NameAlteration::Register { name: name.to_owned(), kind: "clerk".to_owned(), serial })
}

fn release(node: u32, serial: u64, name: &str) -> Command {
    by(node, NameAlteration::Release { name: name.to_owned(), serial })
}

fn confirm(node: u32, serial: u64, name: &str) -> Command {
    by(node, NameAlteration::Confirm { name: name.to_owned(), serial })
}

fn stand(node: u32, serial: u64, name: &str) -> Command {
    by(node, NameAlteration::Stand { name: name.to_owned(), kind: "clock".to_owned(), serial })
}

fn withdraw(node: u32, serial: u64, name: &str) -> Command {
    by(node, NameAlteration::Withdraw { name: name.to_owned(), serial })
}

fn join(node: u32, serial: u64, group: &str) -> Command {
    by(node, NameAlteration::Join { group: group.to_owned(), serial })
}

fn leave(node: u32, serial: u64, group: &str) -> Command {
    by(node, NameAlteration::Leave { group: group.to_owned(), serial })
}

fn owner(image: &Image, name: &str) -> Option<ActorId> {
    image.names().owner(name).map(|owner| owner.actor)
}

fn refused(image: &mut Image, command: Command) -> ErrorCode {
    match apply(image, command) {
        Outcome::Refused(refusal) => refusal.code,
        other => panic!("{other:?}"),
    }
}

#[test]
fn a_name_has_one_owner_until_that_one_releases_it() {
    let mut image = nodes(&[1, 2]);
    done(&mut image, register(1, 1, "till"));
    done(&mut image, register(1, 1, "till"));
    assert_eq!(refused(&mut image, register(2, 1, "till")), ErrorCode::DuplicateResource);
    assert_eq!(refused(&mut image, register(1, 2, "till")), ErrorCode::DuplicateResource);
    done(&mut image, release(2, 1, "till"));
    assert_eq!(owner(&image, "till"), Some(actor(1, 1)), "another's release changes nothing");
    done(&mut image, confirm(1, 1, "till"));
    done(&mut image, release(1, 1, "till"));
    assert_eq!(refused(&mut image, confirm(1, 1, "till")), ErrorCode::InvalidUpdateVersion);
    done(&mut image, register(2, 1, "till"));
    assert_eq!(owner(&image, "till"), Some(actor(2, 1)));
}

#[test]
fn a_dead_node_loses_its_names_in_the_command_that_says_it_is_dead() {
    let mut image = nodes(&[1, 2]);
    done(&mut image, register(1, 1, "till"));
    done(&mut image, join(1, 1, "tills"));
    done(&mut image, join(2, 7, "tills"));
    let since = image.names().owner("till").unwrap().since;
    assert_eq!(image.names().lost(actor(1, 1), since), None);
    done(&mut image, fence(1, 1));
    assert_eq!(owner(&image, "till"), None);
    assert_eq!(image.names().members("tills").collect::<Vec<_>>(), [actor(2, 7)]);
    assert_eq!(image.names().lost(actor(1, 1), since), Some(image.version()));
    assert_eq!(image.names().lost(actor(2, 7), since), None);
    assert_eq!(refused(&mut image, register(1, 1, "till")), ErrorCode::CoordinatorNotAvailable);
    done(&mut image, register(2, 1, "till"));
}

#[test]
fn a_new_life_of_a_node_has_nothing_of_the_one_before() {
    let mut image = nodes(&[1, 2]);
    done(&mut image, register(1, 1, "till"));
    let again = Registration { feature_level: Features::NAMES, ..registration(1, 2) };
    done(&mut image, Command::RegisterNode(again));
    assert_eq!(owner(&image, "till"), None);
    assert_eq!(image.names().lost(actor(1, 1), 0), Some(image.version()));
    assert_eq!(refused(&mut image, register(1, 3, "till")), ErrorCode::StaleBrokerEpoch);
}

#[test]
fn a_node_that_leaves_gives_its_names_up() {
    let mut image = nodes(&[1, 2]);
    done(&mut image, register(1, 1, "till"));
    done(&mut image, Command::HandOver { node: NodeId(1), incarnation: Incarnation(1) });
    assert_eq!(owner(&image, "till"), None);
}

#[test]
fn a_name_goes_to_the_first_who_waits_for_it_at_once() {
    let mut image = nodes(&[1, 2, 3]);
    for (node, serial) in [(1, 1), (2, 4), (3, 5)] {
        done(&mut image, stand(node, serial, "clock"));
        done(&mut image, stand(node, serial, "clock"));
    }
    assert_eq!((owner(&image, "clock"), image.names().count()), (Some(actor(1, 1)), 3));
    done(&mut image, fence(1, 1));
    assert_eq!(owner(&image, "clock"), Some(actor(2, 4)));
    done(&mut image, withdraw(2, 4, "clock"));
    assert_eq!(owner(&image, "clock"), Some(actor(3, 5)));
    done(&mut image, withdraw(3, 5, "clock"));
    assert_eq!((owner(&image, "clock"), image.names().count()), (None, 0));
}

#[test]
fn who_waits_and_dies_gets_nothing() {
    let mut image = nodes(&[1, 2]);
    done(&mut image, stand(1, 1, "clock"));
    done(&mut image, stand(2, 1, "clock"));
    assert!(image.names().stands("clock", actor(2, 1)));
    done(&mut image, fence(2, 1));
    assert!(!image.names().stands("clock", actor(2, 1)));
    done(&mut image, fence(1, 1));
    assert_eq!(owner(&image, "clock"), None);
}

#[test]
fn every_change_is_told_in_order() {
    let mut image = nodes(&[1, 2]);
    let from = image.names().next_change();
    done(&mut image, register(1, 1, "till"));
    done(&mut image, stand(1, 2, "clock"));
    done(&mut image, stand(2, 1, "clock"));
    done(&mut image, fence(1, 1));
    done(&mut image, register(2, 2, "till"));
    let event = |name: &str, owner| NameEvent::Owner { name: name.to_owned(), owner };
    let told: Vec<_> = image.names().changes_from(from).map(|change| change.event.clone()).collect();
    let expected = [
        event("till", Some(actor(1, 1))),
        event("clock", Some(actor(1, 2))),
        NameEvent::NodeLost { node: NodeId(1), incarnation: Incarnation(1) },
        event("clock", Some(actor(2, 1))),
        event("till", Some(actor(2, 2))),
    ];
    assert_eq!(told, expected);
    let numbers: Vec<u64> = image.names().changes_from(from + 1).map(|change| change.number).collect();
    assert_eq!(numbers, [from + 1, from + 2, from + 3, from + 4]);
}

#[test]
fn names_are_bounded_and_so_are_the_words() {
    let mut image = nodes(&[1]);
    for serial in 0..4 {
        done(&mut image, register(1, serial, &format!("till-{serial}")));
        done(&mut image, join(1, serial, "tills"));
    }
    assert_eq!(refused(&mut image, register(1, 9, "one more")), ErrorCode::PolicyViolation);
    assert_eq!(refused(&mut image, join(1, 9, "tills")), ErrorCode::PolicyViolation);
    done(&mut image, leave(1, 0, "tills"));
    for name in ["", &"x".repeat(256)] {
        assert_eq!(refused(&mut image, register(1, 9, name)), ErrorCode::InvalidRequest);
    }
    done(&mut image, register(1, 9, &"x".repeat(255)));
    let groups: Vec<_> = image.names().groups_of(actor(1, 1)).collect();
    assert_eq!(groups, ["tills"]);
}

#[test]
fn before_the_level_of_names_there_are_none() {
    let mut image = live_nodes(&[1]);
    assert_eq!(refused(&mut image, register(1, 1, "till")), ErrorCode::UnsupportedVersion);
    done(&mut image, fence(1, 1));
    assert_eq!(image.names().next_change(), 0);
}

#[test]
fn what_is_remembered_of_changes_is_bounded() {
    let mut image = nodes(&[1]);
    for _ in 0..600 {
        done(&mut image, register(1, 1, "till"));
        done(&mut image, release(1, 1, "till"));
    }
    let remembered = image.names().changes_from(0).count();
    assert_eq!((remembered, image.names().next_change()), (1024, 1200));
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

#[test]
fn names_are_part_of_a_snapshot_and_its_bytes_stay() {
    let mut image = nodes(&[1, 2]);
    let bare = image.encode();
    for command in [register(1, 1, "till"), stand(1, 2, "clock"), stand(2, 1, "clock"), join(2, 1, "clocks")]
    {
        done(&mut image, command);
    }
    done(&mut image, fence(1, 1));
    let bytes = image.encode();
    assert!(bytes.len() > bare.len());
    assert_eq!(Image::decode(&bytes).unwrap(), image);
    let section = postcard::to_stdvec(&**image.names()).unwrap();
    assert_eq!(hex(&section), include_str!("golden/names-v1.hex").trim());
}

#[test]
fn the_bytes_of_commands_about_names_stay() {
    let commands = [
        register(1, 300, "a"),
        release(1, 1, "a"),
        confirm(1, 1, "a"),
        stand(1, 1, "a"),
        withdraw(1, 1, "a"),
        join(1, 1, "a"),
        leave(1, 1, "a"),
    ];
    let lines: Vec<String> = commands.iter().map(|c| hex(&encode_entry(std::slice::from_ref(c)))).collect();
    let golden: Vec<&str> = include_str!("golden/commands-names-v1.hex").lines().collect();
    assert_eq!(lines, golden);
    assert_eq!(decode_entry(&encode_entry(&commands)).unwrap(), commands);
}

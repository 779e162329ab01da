use super::fixture::*;
use crate::ids::{Incarnation, NodeId};
use crate::image::{Command, HostedType, Image, Outcome, Registration, encode_entry};

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

fn account() -> HostedType {
    HostedType { kind: "account".to_owned(), first: 1, last: 2 }
}

fn host(node: u32, life: u64, types: &[HostedType]) -> Command {
    Command::HostEntities { node: NodeId(node), incarnation: Incarnation(life), types: types.to_vec() }
}

fn of_level_3() -> Image {
    let mut image = Image::default();
    for node in [1, 2] {
        let registration = Registration { feature_level: 3, ..registration(node, 1) };
        done(&mut image, Command::RegisterNode(registration));
        done(&mut image, unfence(node, 1));
    }
    done(&mut image, Command::SetFeatureLevel { level: 3 });
    image
}

#[test]
fn a_node_hosts_what_it_says_in_this_life_until_it_begins_another() {
    let mut image = of_level_3();
    done(&mut image, host(1, 1, &[account()]));
    assert!(image.nodes().may_host(NodeId(1), "__entity_account"));
    assert!(!image.nodes().may_host(NodeId(2), "__entity_account"));
    assert!(image.nodes().may_host(NodeId(2), "flights"));
    assert!(matches!(image.apply(9, &host(2, 7, &[account()])), Outcome::Refused(_)));
    let registration = Registration { feature_level: 3, ..registration(1, 2) };
    done(&mut image, Command::RegisterNode(registration));
    assert!(!image.nodes().may_host(NodeId(1), "__entity_account"));
}

#[test]
fn types_with_names_that_are_none_are_refused_and_so_are_all_below_level_3() {
    let mut image = of_level_3();
    for kind in ["", "a b", "a.b"] {
        let types = [HostedType { kind: kind.to_owned(), ..account() }];
        assert!(matches!(image.apply(9, &host(1, 1, &types)), Outcome::Refused(_)), "{kind:?}");
    }
    let mut image = live_nodes(&[1]);
    assert!(matches!(image.apply(9, &host(1, 1, &[account()])), Outcome::Refused(_)));
}

#[test]
fn a_snapshot_holds_who_hosts_what() {
    let mut image = of_level_3();
    assert_eq!(Image::decode(&image.encode()).unwrap(), image);
    done(&mut image, host(2, 1, &[account()]));
    assert_eq!(Image::decode(&image.encode()).unwrap(), image);
}

#[test]
fn the_bytes_of_the_command_stay() {
    let bytes = encode_entry(&[host(1, 2, &[account()])]);
    assert_eq!(hex(&bytes), include_str!("golden/commands-entities-v1.hex").trim());
}

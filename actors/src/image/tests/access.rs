use super::fixture::*;
use crate::access::{
    Acl, AdvertisedListener, Operation, PatternType, Permission, ResourceType, ScramChange, ScramCredential,
    ScramMechanism,
};
use crate::error::ErrorCode;
use crate::ids::{Incarnation, NodeId};
use crate::image::{Command, Features, Image, Outcome, Registration, decode_entry, encode_entry};

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

fn acl(name: &str) -> Acl {
    Acl {
        resource: ResourceType::Topic,
        pattern: PatternType::Literal,
        name: name.to_owned(),
        principal: "User:alice".to_owned(),
        host: "*".to_owned(),
        operation: Operation::Read,
        permission: Permission::Allow,
    }
}

fn scram(user: &str, credential: bool) -> Command {
    let credential = credential.then(|| ScramCredential {
        salt: vec![1; 8],
        stored_key: vec![2; 32],
        server_key: vec![3; 32],
        iterations: 4096,
    });
    Command::AlterScram(ScramChange { user: user.to_owned(), mechanism: ScramMechanism::Sha256, credential })
}

fn listeners(life: u64) -> Command {
    let listener = AdvertisedListener { name: "SSL".to_owned(), host: "a".to_owned(), port: 9093 };
    Command::SetListeners { node: NodeId(1), incarnation: Incarnation(life), listeners: vec![listener] }
}

fn commands() -> Vec<Command> {
    let acls = vec![acl("t")];
    vec![
        listeners(1),
        scram("alice", true),
        scram("alice", false),
        Command::CreateAcls { acls: acls.clone() },
        Command::DeleteAcls { acls },
    ]
}

fn level_2(life: u64) -> Command {
    Command::RegisterNode(Registration { feature_level: Features::ACCESS, ..registration(1, life) })
}

/// One node at the level of access, with something of everything.
fn everything() -> Image {
    let mut image = Image::default();
    done(&mut image, level_2(1));
    done(&mut image, Command::SetFeatureLevel { level: Features::ACCESS });
    for command in
        [listeners(1), scram("alice", true), Command::CreateAcls { acls: vec![acl("t"), acl("u")] }]
    {
        done(&mut image, command);
    }
    image
}

fn refused(image: &mut Image, command: Command) -> ErrorCode {
    match apply(image, command) {
        Outcome::Refused(refusal) => refusal.code,
        other => panic!("{other:?}"),
    }
}

#[test]
fn nothing_of_access_is_taken_before_all_nodes_understand_it() {
    let mut image = live_nodes(&[1]);
    for command in commands() {
        assert_eq!(refused(&mut image, command), ErrorCode::UnsupportedVersion);
    }
    assert!(image.encode().starts_with(&[1]));
}

#[test]
fn access_survives_a_snapshot_and_the_bytes_of_version_2_stay() {
    let image = everything();
    assert_eq!(Image::decode(&image.encode()).unwrap(), image);
    assert_eq!(hex(&image.encode()), include_str!("golden/image-v2-access.hex").trim());
    let bytes = image.encode();
    for end in 0..bytes.len() {
        assert!(Image::decode(&bytes[..end]).is_err(), "{end}");
    }
}

#[test]
fn the_bytes_of_commands_of_access_stay() {
    let lines: Vec<String> = commands().iter().map(|c| hex(&encode_entry(std::slice::from_ref(c)))).collect();
    let golden: Vec<&str> = include_str!("golden/commands-access-v1.hex").lines().collect();
    assert_eq!(lines, golden);
    assert_eq!(decode_entry(&encode_entry(&commands())).unwrap(), commands());
}

#[test]
fn the_listeners_of_a_life_are_gone_with_it() {
    let mut image = everything();
    assert!(image.listeners().of_node(NodeId(1)).is_some());
    done(&mut image, level_2(1));
    assert!(image.listeners().of_node(NodeId(1)).is_some(), "the same life again");
    done(&mut image, level_2(2));
    assert!(image.listeners().of_node(NodeId(1)).is_none());
    assert_eq!(refused(&mut image, listeners(1)), ErrorCode::StaleBrokerEpoch);
    done(&mut image, listeners(2));
}

#[test]
fn users_and_entries_come_and_go() {
    let mut image = everything();
    assert!(image.users().credential("alice", ScramMechanism::Sha256).is_some());
    assert!(image.users().credential("alice", ScramMechanism::Sha512).is_none());
    done(&mut image, scram("alice", false));
    assert!(image.users().is_empty());
    assert_eq!(refused(&mut image, scram("alice", false)), ErrorCode::ResourceNotFound);
    assert_eq!(refused(&mut image, scram("", true)), ErrorCode::UnacceptableCredential);
    done(&mut image, Command::DeleteAcls { acls: vec![acl("t"), acl("not there")] });
    assert_eq!(image.acls().iter().collect::<Vec<_>>(), [acl("u")]);
    let nameless = Command::CreateAcls { acls: vec![acl("v"), acl("")] };
    assert_eq!(refused(&mut image, nameless), ErrorCode::InvalidRequest);
    assert_eq!(image.acls().len(), 1, "all or none");
    let before = std::sync::Arc::clone(image.acls());
    done(&mut image, Command::CreateAcls { acls: vec![acl("u")] });
    done(&mut image, Command::DeleteAcls { acls: vec![acl("not there")] });
    assert!(std::sync::Arc::ptr_eq(&before, image.acls()), "what changes nothing copies nothing");
}

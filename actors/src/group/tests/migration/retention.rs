//! What was committed in a group of KIP-848 that nobody is in any more, when somebody of the classic protocol comes.

use super::super::coordination::{committed, committing};
use super::conversions::joining_as;
use super::hosted::said;
use super::*;
use crate::group::classic::JoinGroup;

/// A group that a member of KIP-848 has left, and longer ago than offsets are kept has committed in.
async fn left() -> Rig {
    let mut rig = Rig::new().await;
    rig.settings.offsets_retention_ms = 100_000;
    rig.settings.offsets_retention_check_ms = 1_000;
    rig.take_over().await;
    let mut modern = Modern::new("m");
    modern.act(&rig).await;
    let zero = rig.topics.partition("t", 0);
    rig.node.ask(committing("m", modern.epoch, &[(zero, 7)])).await.unwrap();
    for _ in 0..120 {
        pass(1_000).await;
        modern.act(&rig).await;
    }
    modern.stop(&rig).await;
    pass(5_000).await;
    assert_eq!(committed(&rig.node).await, [7], "it counts from when the last member left");
    rig
}

#[tokio::test(start_paused = true)]
async fn a_join_that_is_refused_leaves_an_empty_group_of_kip_848_as_it_was() {
    let mut rig = left().await;
    let appends = rig.log.appends();
    let before = rig.node.front.describe("g").await.unwrap();
    let join = || joining_as("", "consumer", said(&rig, &BTreeSet::new()));
    for (request, code) in [
        (JoinGroup { session_timeout_ms: 1, ..join() }, ErrorCode::InvalidSessionTimeout),
        (JoinGroup { member: "nobody".into(), ..join() }, ErrorCode::UnknownMemberId),
        (JoinGroup { protocols: Vec::new(), version: 3, ..join() }, ErrorCode::InconsistentGroupProtocol),
    ] {
        assert_eq!(rig.node.front.join("g", request).await.1.unwrap_err().code, code);
        assert_eq!(rig.node.front.describe("g").await.unwrap(), before, "{code:?}");
    }
    // Who was given an id and never comes with it changes nothing either.
    let (_, told) = rig.node.front.join("g", join()).await;
    assert_eq!(told.unwrap_err().code, ErrorCode::MemberIdRequired);
    pass(15_000).await;
    assert_eq!(rig.node.front.describe("g").await.unwrap(), before);
    assert_eq!((committed(&rig.node).await, rig.log.appends()), (vec![7], appends));
    rig.take_over().await;
    assert_eq!(rig.node.front.describe("g").await.unwrap(), before);
}

#[tokio::test(start_paused = true)]
async fn offsets_are_kept_while_a_group_of_kip_848_becomes_one_of_the_classic_protocol() {
    let mut rig = left().await;
    let request = joining_as("", "consumer", said(&rig, &BTreeSet::new()));
    let (_, joined) = rig.node.front.join("g", JoinGroup { version: 3, ..request }).await;
    assert!(joined.is_ok());
    pass(5_000).await;
    assert_eq!(rig.listed_as().await.as_deref(), Some("consumer"));
    assert_eq!(committed(&rig.node).await, [7], "no record tells of its member yet");
    // The coordinator dies with all that it knew of that.
    rig.take_over().await;
    pass(5_000).await;
    assert_eq!(rig.listed_as().await.as_deref(), Some("consumer"));
    assert_eq!(committed(&rig.node).await, [7], "it has been empty for as long as before");
    // The new coordinator's clock began anew.
    pass(250_000).await;
    assert_eq!(committed(&rig.node).await, [0i64; 0], "and not for ever");
}

//! What members of the classic protocol are told in the middle of a way over: in which protocol, and in which generation.

use super::super::coordination::committing;
use super::conversions::joining_as;
use super::hosted::{Hosted, modern, said};
use super::*;
use crate::group::classic::{Committer, JoinGroup, SyncGroup};
use crate::group::fakes::{beating, joining};

fn two_protocols(rig: &Rig) -> Vec<Protocol> {
    let metadata = subscription(&["t"], &BTreeSet::new(), &rig.topics, -1);
    vec![speaks("own", metadata.clone()), speaks("shared", metadata)]
}

fn syncing(member: &str, generation: i32, protocol: &str) -> SyncGroup {
    SyncGroup {
        member: member.into(),
        generation,
        instance: None,
        protocol_type: Some("consumer".into()),
        protocol: Some(protocol.into()),
        assignments: Vec::new(),
    }
}

#[tokio::test(start_paused = true)]
async fn who_joined_in_its_own_protocol_and_syncs_in_a_group_that_went_back_is_told_to_join_again() {
    let mut rig = Rig::new().await;
    let mut last = Modern::fixed("m", "i");
    last.act(&rig).await;
    Hosted::join(&rig, &BTreeSet::new()).await;
    let request = JoinGroup {
        instance: Some("i".into()),
        new_member: "s-1".into(),
        ..joining_as("", "consumer", two_protocols(&rig))
    };
    let (id, joined) = rig.node.front.join("g", request).await;
    let joined = joined.unwrap();
    assert_eq!(joined.protocol.as_deref(), Some("own"));
    assert_eq!(rig.listed_as().await.as_deref(), Some("consumer"), "it took the last place of KIP-848");
    for _ in 0..2 {
        let told = rig.node.front.sync("g", syncing(&id, joined.generation, "own")).await.unwrap_err();
        assert_eq!(told.code, ErrorCode::RebalanceInProgress, "{told:?}");
        rig.take_over().await;
    }
}

#[tokio::test(start_paused = true)]
async fn who_joined_in_the_protocol_voted_for_syncs_in_it_after_the_group_went_over() {
    let rig = Rig::new().await;
    let join = |name: &str, protocols| {
        let request =
            JoinGroup { version: 3, new_member: name.into(), ..joining_as("", "consumer", protocols) };
        tokio::spawn(rig.node.front.join("g", request))
    };
    let joins = [join("a", said(&rig, &BTreeSet::new())), join("b", two_protocols(&rig))];
    for joined in joins {
        let (_, joined) = joined.await.unwrap();
        assert_eq!(joined.unwrap().protocol.as_deref(), Some("shared"));
    }
    rig.node.ask(joining("g", "m", &["t"])).await.unwrap();
    let front = &rig.node.front;
    for protocol in ["shared", "own"] {
        let synced = front.sync("g", syncing("b", 1, protocol)).await.unwrap();
        assert_eq!(synced.protocol.as_deref(), Some(protocol));
    }
    let told = front.sync("g", syncing("b", 1, "another")).await.unwrap_err();
    assert_eq!(told.code, ErrorCode::InconsistentGroupProtocol);
}

#[tokio::test(start_paused = true)]
async fn who_has_not_reached_the_last_epoch_of_a_group_that_goes_back_lets_go_before_it_joins_again() {
    let rig = Rig::new().await;
    let mut last = modern(&rig).await;
    let (hosted, _) = Hosted::join(&rig, &BTreeSet::new()).await;
    last.act(&rig).await;
    last.act(&rig).await;
    let joined = hosted.again(&BTreeSet::new()).await.unwrap();
    assert_eq!(hosted.sync(joined.generation).await.unwrap().len(), 2);
    rig.node.ask(joining("g", "n", &["t"])).await.unwrap();
    rig.node.ask(beating("g", "n", -1)).await.unwrap();
    last.stop(&rig).await;
    assert_eq!(rig.listed_as().await.as_deref(), Some("consumer"));
    assert_eq!(hosted.beat(joined.generation).await, Err(ErrorCode::IllegalGeneration));
    assert_eq!(hosted.sync(joined.generation).await, Err(ErrorCode::IllegalGeneration));
    // What it has read it may say until then.
    let committer =
        |generation| Committer { version: 8, member: Arc::clone(&hosted.id), generation, instance: None };
    let zero = rig.topics.partition("t", 0);
    let commit = |generation| {
        let offsets = committing(&hosted.id, generation, &[(zero, 7)]);
        rig.node.front.commit(offsets, committer(generation))
    };
    assert!(commit(joined.generation).await.is_ok());
    assert_eq!(commit(joined.generation - 1).await.unwrap_err().code, ErrorCode::IllegalGeneration);
}

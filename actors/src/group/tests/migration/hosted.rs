//! Members of the classic protocol in a group of KIP-848: who may come, what they are told, and how long they have.

use super::conversions::joining_as;
use super::*;
use crate::group::classic::{Heartbeat, JoinGroup, Joined, LeaveGroup, Leaver, SyncGroup, Synced};
use crate::group::embedded;
use crate::group::fakes::{beating, joining};

pub(super) struct Hosted<'a> {
    pub(super) rig: &'a Rig,
    pub(super) id: Arc<str>,
}

impl<'a> Hosted<'a> {
    /// Joins a group that a member of KIP-848 is in.
    pub(super) async fn join(rig: &'a Rig, owned: &BTreeSet<PartitionId>) -> (Self, Joined) {
        let (id, result) = rig.node.front.join("g", joining_as("", "consumer", said(rig, owned))).await;
        assert_eq!(result.unwrap_err().code, ErrorCode::MemberIdRequired);
        let hosted = Self { rig, id };
        let joined = hosted.again(owned).await.unwrap();
        (hosted, joined)
    }

    pub(super) async fn again(&self, owned: &BTreeSet<PartitionId>) -> Result<Joined, ErrorCode> {
        let request = joining_as(&self.id, "consumer", said(self.rig, owned));
        let (id, result) = self.rig.node.front.join("g", request).await;
        assert_eq!(id, self.id);
        result.map_err(|refusal| refusal.code)
    }

    pub(super) async fn sync(&self, generation: i32) -> Result<BTreeSet<PartitionId>, ErrorCode> {
        self.sync_as(SyncGroup {
            member: Arc::clone(&self.id),
            generation,
            instance: None,
            protocol_type: Some("consumer".into()),
            protocol: Some("shared".into()),
            assignments: Vec::new(),
        })
        .await
    }

    pub(super) async fn sync_as(&self, request: SyncGroup) -> Result<BTreeSet<PartitionId>, ErrorCode> {
        let synced: Result<Synced, Refusal> = self.rig.node.front.sync("g", request).await;
        let assigned = synced.map_err(|refusal| refusal.code)?.assignment;
        let assigned = embedded::assignment(&assigned).unwrap();
        Ok(embedded::identified(&assigned.partitions, &self.rig.topics))
    }

    pub(super) async fn beat(&self, generation: i32) -> Result<(), ErrorCode> {
        let request = Heartbeat { member: Arc::clone(&self.id), generation, instance: None };
        self.rig.node.front.classic_heartbeat("g", request).await.map_err(|refusal| refusal.code)
    }
}

pub(super) fn said(rig: &Rig, owned: &BTreeSet<PartitionId>) -> Vec<Protocol> {
    vec![speaks("shared", subscription(&["t"], owned, &rig.topics, -1))]
}

pub(super) async fn refused(rig: &Rig, request: JoinGroup) -> ErrorCode {
    rig.node.front.join("g", request).await.1.unwrap_err().code
}

/// A rig with a member of KIP-848 that owns everything.
pub(super) async fn modern(rig: &Rig) -> Modern {
    let mut modern = Modern::new("m");
    modern.act(rig).await;
    assert_eq!(modern.reads, rig.all());
    modern
}

#[tokio::test(start_paused = true)]
async fn a_member_of_the_classic_protocol_joins_syncs_and_leaves() {
    let rig = Rig::new().await;
    let mut modern = modern(&rig).await;
    let (hosted, joined) = Hosted::join(&rig, &BTreeSet::new()).await;
    assert_eq!((joined.generation, joined.protocol.as_deref()), (2, Some("shared")));
    assert!(joined.members.is_empty() && joined.leader.is_empty(), "the coordinator assigns");
    assert_eq!(hosted.sync(2).await, Ok(BTreeSet::new()), "what it is to have another still reads");
    assert_eq!(hosted.beat(2).await, Ok(()), "it would get nothing more by joining");
    modern.act(&rig).await;
    assert_eq!(hosted.beat(2).await, Ok(()));
    modern.act(&rig).await;
    assert_eq!(hosted.beat(2).await, Err(ErrorCode::RebalanceInProgress), "it was given up");
    assert_eq!(hosted.again(&BTreeSet::new()).await.unwrap().generation, 2);
    let share = hosted.sync(2).await.unwrap();
    assert_eq!(share.len(), 2);
    assert!(share.is_disjoint(&modern.reads));
    assert_eq!(hosted.beat(2).await, Ok(()));

    assert_eq!(hosted.sync(1).await, Err(ErrorCode::IllegalGeneration));
    assert_eq!(hosted.beat(3).await, Err(ErrorCode::IllegalGeneration));
    let leaver = |member: &str| Leaver { member: member.into(), instance: None, reason: None };
    let request = LeaveGroup { members: vec![leaver(&hosted.id), leaver("m"), leaver("nobody")] };
    let each = rig.node.front.leave("g", request).await.unwrap();
    let codes: Vec<_> = each.into_iter().map(|(_, left)| left.map_err(|refusal| refusal.code)).collect();
    let unknown = || Err(ErrorCode::UnknownMemberId);
    assert_eq!(codes, [Ok(()), unknown(), unknown()], "a member of KIP-848 leaves otherwise");
    modern.act(&rig).await;
    assert_eq!(modern.reads, rig.all());
}

#[tokio::test(start_paused = true)]
async fn a_cooperative_member_gives_up_only_what_it_loses() {
    let rig = Rig::new().await;
    let mut others = vec![modern(&rig).await];
    let (hosted, _) = Hosted::join(&rig, &BTreeSet::new()).await;
    for _ in 0..2 {
        others[0].act(&rig).await;
    }
    let joined = hosted.again(&BTreeSet::new()).await.unwrap();
    let had = hosted.sync(joined.generation).await.unwrap();
    assert_eq!(had.len(), 2);

    // With two more each of the four is to have one.
    others.extend([Modern::new("n"), Modern::new("o")]);
    let read = async |others: &mut Vec<Modern>| {
        for _ in 0..4 {
            for other in &mut *others {
                other.act(&rig).await;
            }
        }
        others.iter().flat_map(|other| other.reads.clone()).collect::<BTreeSet<_>>()
    };
    assert_eq!(read(&mut others).await.len(), 2);
    assert_eq!(hosted.beat(joined.generation).await, Err(ErrorCode::RebalanceInProgress));
    let told = hosted.again(&had).await.unwrap();
    assert_eq!(told.generation, joined.generation, "it stays where it is until it gave up");
    let kept = hosted.sync(told.generation).await.unwrap();
    assert!(kept.len() == 1 && kept.is_subset(&had));
    assert_eq!(read(&mut others).await.len(), 2, "it has not said that it gave one up");
    let told = hosted.again(&kept).await.unwrap();
    assert!(told.generation > joined.generation);
    assert_eq!(hosted.sync(told.generation).await, Ok(kept.clone()));
    let all: BTreeSet<_> = kept.union(&read(&mut others).await).copied().collect();
    assert_eq!(all, rig.all());
}

#[tokio::test(start_paused = true)]
async fn who_does_not_fit_into_a_group_of_kip_848_is_told_why() {
    let rig = Rig::new().await;
    let _modern = modern(&rig).await;
    let nothing = BTreeSet::new();
    let (hosted, joined) = Hosted::join(&rig, &nothing).await;
    let good = || said(&rig, &nothing);
    assert_eq!(
        refused(&rig, joining_as("", "connect", good())).await,
        ErrorCode::InconsistentGroupProtocol,
        "another kind"
    );
    assert_eq!(
        refused(&rig, joining_as("", "consumer", vec![])).await,
        ErrorCode::InconsistentGroupProtocol,
        "it speaks nothing"
    );
    let other = vec![speaks("mine", good()[0].metadata.clone())];
    assert_eq!(
        refused(&rig, joining_as("", "consumer", other)).await,
        ErrorCode::InconsistentGroupProtocol,
        "nothing in common with the other of the classic protocol"
    );
    let unread = vec![speaks("shared", Bytes::from_static(b"what it reads"))];
    assert_eq!(refused(&rig, joining_as("", "consumer", unread)).await, ErrorCode::InvalidRequest);
    let long = "x".repeat(40_000);
    let named = JoinGroup { new_member: long.as_str().into(), ..joining_as("", "consumer", good()) };
    assert_eq!(refused(&rig, named).await, ErrorCode::InvalidRequest, "no record has room for it");
    assert_eq!(refused(&rig, joining_as(&long, "consumer", good())).await, ErrorCode::InvalidRequest);
    let hasty = JoinGroup { session_timeout_ms: 1, ..joining_as("", "consumer", good()) };
    assert_eq!(refused(&rig, hasty).await, ErrorCode::InvalidSessionTimeout);
    let fixed = |member: &str| JoinGroup {
        instance: Some("i".into()),
        new_member: "fixed-1".into(),
        ..joining_as(member, "consumer", good())
    };
    assert_eq!(refused(&rig, fixed("nobody")).await, ErrorCode::UnknownMemberId);
    let (first, _) = rig.node.front.join("g", fixed("")).await;
    let again = JoinGroup { new_member: "fixed-2".into(), ..fixed("") };
    assert!(rig.node.front.join("g", again).await.1.is_ok(), "it takes its instance's place");
    assert_eq!(refused(&rig, fixed(&first)).await, ErrorCode::FencedInstanceId);
    let sync = SyncGroup {
        member: Arc::clone(&hosted.id),
        generation: joined.generation,
        instance: None,
        protocol_type: Some("consumer".into()),
        protocol: Some("mine".into()),
        assignments: Vec::new(),
    };
    assert_eq!(hosted.sync_as(sync).await, Err(ErrorCode::InconsistentGroupProtocol));
    let as_classic = rig.node.ask(beating("g", &hosted.id, joined.generation)).await.unwrap_err();
    assert_eq!(as_classic.code, ErrorCode::UnknownMemberId);
    assert_eq!(
        rig.node.ask(beating("g", &hosted.id, -1)).await.unwrap_err().code,
        ErrorCode::UnknownMemberId
    );
}

#[tokio::test(start_paused = true)]
async fn a_full_group_takes_nobody_of_either_protocol() {
    let mut rig = Rig::new().await;
    rig.settings.max_members = 2;
    rig.take_over().await;
    let _modern = modern(&rig).await;
    let (hosted, _) = Hosted::join(&rig, &BTreeSet::new()).await;
    let another = joining_as("another", "consumer", said(&rig, &BTreeSet::new()));
    assert_eq!(refused(&rig, another).await, ErrorCode::GroupMaxSizeReached);
    assert_eq!(
        rig.node.ask(joining("g", "n", &["t"])).await.unwrap_err().code,
        ErrorCode::GroupMaxSizeReached
    );
    assert!(hosted.again(&BTreeSet::new()).await.is_ok(), "who is in it joins again");
}

#[tokio::test(start_paused = true)]
async fn members_of_the_classic_protocol_have_their_own_session_and_time_to_join_and_sync() {
    let rig = Rig::new().await;
    let mut modern = modern(&rig).await;
    let (hosted, joined) = Hosted::join(&rig, &BTreeSet::new()).await;
    // Ten seconds, as it said, and not the six of members of KIP-848.
    for _ in 0..9 {
        pass(1_000).await;
        modern.act(&rig).await;
    }
    assert_ne!(hosted.beat(joined.generation).await, Err(ErrorCode::UnknownMemberId));
    // It lives and never asks for its assignment.
    pass(1_100).await;
    assert_eq!(hosted.beat(joined.generation).await, Err(ErrorCode::UnknownMemberId));

    let (hosted, _) = Hosted::join(&rig, &BTreeSet::new()).await;
    for _ in 0..3 {
        modern.act(&rig).await;
    }
    let joined = hosted.again(&BTreeSet::new()).await.unwrap();
    hosted.sync(joined.generation).await.unwrap();
    // It is told to join again, lives and does not.
    let mut third = Modern::new("third");
    for second in 0..12 {
        third.act(&rig).await;
        modern.act(&rig).await;
        let told = hosted.beat(joined.generation).await.unwrap_err();
        let out = second >= 10;
        let expected = if out { ErrorCode::UnknownMemberId } else { ErrorCode::RebalanceInProgress };
        assert_eq!(told, expected, "second {second}");
        pass(1_000).await;
    }
}

#[tokio::test(start_paused = true)]
async fn who_takes_over_knows_the_members_of_both_protocols() {
    let mut rig = Rig::new().await;
    let mut modern = modern(&rig).await;
    let (id, generation) = {
        let (hosted, _) = Hosted::join(&rig, &BTreeSet::new()).await;
        modern.act(&rig).await;
        modern.act(&rig).await;
        let joined = hosted.again(&BTreeSet::new()).await.unwrap();
        assert_eq!(hosted.sync(joined.generation).await.unwrap().len(), 2);
        (hosted.id, joined.generation)
    };
    let before = rig.described().await;
    rig.take_over().await;
    assert_eq!(rig.described().await, before);
    let hosted = Hosted { rig: &rig, id };
    assert_eq!(hosted.beat(generation).await, Ok(()), "it notices nothing");
    assert_eq!(hosted.sync(generation).await.unwrap().len(), 2);
    for _ in 0..9 {
        pass(1_000).await;
        modern.act(&rig).await;
    }
    assert_eq!(hosted.beat(generation).await, Ok(()), "its session is still its own");
}

#[tokio::test(start_paused = true)]
async fn what_a_member_says_that_it_owns_is_its_own_although_its_coordinator_has_not_heard_of_the_topic() {
    let rig = Rig::new().await;
    let mut others = vec![modern(&rig).await];
    let (hosted, _) = Hosted::join(&rig, &BTreeSet::new()).await;
    for _ in 0..2 {
        others[0].act(&rig).await;
    }
    hosted.again(&BTreeSet::new()).await.unwrap();
    let share = hosted.sync(2).await.unwrap();
    assert_eq!(share.len(), 2);
    let mut lagging = rig.topics.clone();
    lagging.set("t", 0);
    rig.node.set_topics(&lagging);
    pass(1).await;
    assert_eq!(hosted.beat(2).await, Err(ErrorCode::RebalanceInProgress));
    hosted.again(&share).await.unwrap();
    let mut later = rig.topics.clone();
    later.set("v", 1);
    later.set("w", 1);
    rig.node.set_topics(&later);
    pass(1).await;
    // So many that what it owns would be others' if it were free.
    others.extend([Modern::new("m2"), Modern::new("m3")]);
    let act = async |others: &mut Vec<Modern>| {
        for _ in 0..4 {
            for other in others.iter_mut() {
                other.act(&rig).await;
            }
        }
        others.iter().flat_map(|other| other.reads.clone()).collect::<BTreeSet<_>>()
    };
    let read = act(&mut others).await;
    assert!(read.is_disjoint(&share), "{read:?} while the member reads {share:?}");
    hosted.again(&BTreeSet::new()).await.unwrap();
    let read = act(&mut others).await;
    assert!(!read.is_disjoint(&share), "it has given them up");
}

//! Who is refused in a group that goes over or has members of both protocols, and that nobody else notices.

use super::super::coordination::committing;
use super::conversions::joining_as;
use super::hosted::{Hosted, modern, refused, said};
use super::*;
use crate::group::classic::{Committer, JoinGroup, LeaveGroup, Leaver, SyncGroup};
use crate::group::embedded;
use crate::group::fakes::{beating, joining};

/// A group of the classic protocol with one member, that speaks these and was given this.
async fn alone(rig: &Rig, protocols: Vec<Protocol>, assignment: Bytes) -> Arc<str> {
    let front = &rig.node.front;
    let (id, joined) =
        front.join("g", JoinGroup { version: 3, ..joining_as("", "consumer", protocols) }).await;
    let sync = SyncGroup {
        member: Arc::clone(&id),
        generation: joined.unwrap().generation,
        instance: None,
        protocol_type: None,
        protocol: None,
        assignments: vec![(Arc::clone(&id), assignment)],
    };
    front.sync("g", sync).await.unwrap();
    id
}

/// Protocols that no record of the member has room for together; a group of the classic protocol writes one of them.
fn huge(rig: &Rig) -> Vec<Protocol> {
    let mut protocols = said(rig, &BTreeSet::new());
    let half = Bytes::from(vec![0; 400 << 10]);
    protocols.extend([speaks("huge", half.clone()), speaks("as huge", half)]);
    protocols
}

#[tokio::test(start_paused = true)]
async fn a_member_of_the_classic_protocol_that_no_record_has_room_for_is_refused_alone() {
    let rig = Rig::new().await;
    let mut modern = modern(&rig).await;
    let (hosted, joined) = Hosted::join(&rig, &BTreeSet::new()).await;
    let appends = rig.log.appends();
    let nameless = vec![speaks("shared", subscription(&[""], &BTreeSet::new(), &rig.topics, -1))];
    let long = "x".repeat(250);
    let named = vec![speaks("shared", subscription(&[&long], &BTreeSet::new(), &rig.topics, -1))];
    for protocols in [huge(&rig), nameless, named] {
        let request = joining_as("another", "consumer", protocols);
        assert_eq!(refused(&rig, request).await, ErrorCode::InvalidRequest);
    }
    assert_eq!(rig.log.appends(), appends, "nothing was written");
    modern.act(&rig).await;
    assert_eq!((modern.refused, hosted.beat(joined.generation).await), (None, Ok(())));
}

#[tokio::test(start_paused = true)]
async fn a_group_with_a_member_that_no_record_has_room_for_stays_one_of_the_classic_protocol() {
    let rig = Rig::new().await;
    alone(&rig, huge(&rig), Bytes::new()).await;
    let appends = rig.log.appends();
    assert_eq!(rig.node.ask(joining("g", "m", &["t"])).await.unwrap_err().code, ErrorCode::GroupIdNotFound);
    assert_eq!(rig.listed_as().await.as_deref(), Some("consumer"));
    assert_eq!(rig.log.appends(), appends, "nothing was written");
}

#[tokio::test(start_paused = true)]
async fn a_full_group_of_the_classic_protocol_goes_over_only_for_who_takes_a_place_in_it() {
    let mut rig = Rig::new().await;
    rig.settings.max_members = 1;
    rig.take_over().await;
    let id = alone(&rig, said(&rig, &BTreeSet::new()), Bytes::new()).await;
    let appends = rig.log.appends();
    let refused = rig.node.ask(joining("g", "m", &["t"])).await.unwrap_err();
    assert_eq!(refused.code, ErrorCode::GroupMaxSizeReached);
    assert_eq!(rig.listed_as().await.as_deref(), Some("consumer"));
    assert_eq!(rig.log.appends(), appends, "nothing was written");
    assert!(rig.node.ask(joining("g", &id, &["t"])).await.is_ok());
}

#[tokio::test(start_paused = true)]
async fn a_group_whose_members_read_what_is_not_known_yet_waits_for_it_but_not_for_ever() {
    let wide = FakeTopics::of(&[("t", 4), ("u", 2), ("v", 1)]);
    for is_heard_of in [true, false] {
        let rig = Rig::new().await;
        let read = [wide.partition("t", 0), wide.partition("v", 0)];
        let assignment = embedded::assign(b"\x00\x02", read.into_iter(), &wide);
        let id = alone(&rig, said(&rig, &BTreeSet::new()), assignment).await;
        for _ in 0..4 {
            let told = rig.node.ask(joining("g", "m", &["t", "v"])).await.unwrap_err();
            assert_eq!(told.code, ErrorCode::CoordinatorLoadInProgress);
            assert_eq!(rig.listed_as().await.as_deref(), Some("consumer"));
            pass(1_000).await;
        }
        if is_heard_of {
            rig.node.set_topics(&wide);
        } else {
            pass(1_500).await;
        }
        rig.node.ask(joining("g", "m", &["t", "v"])).await.unwrap();
        let described = rig.node.front.describe("g").await.unwrap().group;
        let kept: BTreeSet<_> = described.members[&*id].assigned.iter().copied().collect();
        let read = read.into_iter().filter(|partition| is_heard_of || *partition == wide.partition("t", 0));
        assert_eq!(kept, read.collect(), "what it may still read is not another's");
    }
}

#[tokio::test(start_paused = true)]
async fn who_was_replaced_as_its_instance_commits_nothing_more() {
    let rig = Rig::new().await;
    let _modern = modern(&rig).await;
    let join = |new: &str| {
        let request = joining_as("", "consumer", said(&rig, &BTreeSet::new()));
        let request = JoinGroup { instance: Some("i".into()), new_member: new.into(), ..request };
        rig.node.front.join("g", request)
    };
    let (old, joined) = join("old").await;
    let generation = joined.unwrap().generation;
    let (new, _) = join("new").await;
    let zero = rig.topics.partition("t", 0);
    for (member, code) in [(&old, Err(ErrorCode::FencedInstanceId)), (&new, Ok(()))] {
        let committer =
            || Committer { version: 8, member: Arc::clone(member), generation, instance: Some("i".into()) };
        let offsets = || committing(member, generation, &[(zero, 7)]);
        let transaction = PartOfTransaction {
            id: "copy".into(),
            producer_id: ProducerId(7),
            producer_epoch: 0,
            adds: false,
            knows_abortable: true,
        };
        let plain = rig.node.front.commit(offsets(), committer()).await;
        let in_one = rig.node.front.commit_in_transaction(offsets(), committer(), transaction).await;
        for committed in [plain, in_one] {
            assert_eq!(committed.map(|_| ()).map_err(|refusal| refusal.code), code, "{member}");
        }
    }
}

#[tokio::test(start_paused = true)]
async fn a_group_that_could_not_go_back_does_when_what_kept_it_is_gone() {
    let mut rig = Rig::new().await;
    rig.settings.classic.max_members = 1;
    rig.take_over().await;
    modern(&rig).await;
    let protocols = || said(&rig, &BTreeSet::new());
    for name in ["a", "b"] {
        let request = joining_as(name, "consumer", protocols());
        assert!(rig.node.front.join("g", request).await.1.is_ok());
    }
    rig.node.ask(beating("g", "m", -1)).await.unwrap();
    assert_eq!(rig.described().await.map(|members| members.len()), Some(2), "they are too many");
    let leaver = || Leaver { member: "a".into(), instance: None, reason: None };
    let each = rig.node.front.leave("g", LeaveGroup { members: vec![leaver(), leaver()] }).await.unwrap();
    let codes: Vec<_> = each.into_iter().map(|(_, left)| left.map_err(|refusal| refusal.code)).collect();
    assert_eq!(codes, [Ok(()), Err(ErrorCode::UnknownMemberId)], "nobody leaves twice");
    let described = rig.node.front.describe_classic("g").await.unwrap();
    assert_eq!((described.state, described.members.len()), ("PreparingRebalance", 1));
}

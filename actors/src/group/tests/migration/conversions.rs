//! What becomes of a group when the first member of KIP-848 comes and when the last one goes, and what does not.

use super::super::coordination::{committed, committing};
use super::*;
use crate::group::classic::{Committer, Heartbeat, JoinGroup, SyncGroup};
use crate::group::embedded;
use crate::group::fakes::{beating, joining};
use crate::group::message::{GroupHeartbeat, OffsetFetch};

/// Two members of the classic protocol that have settled.
async fn two(rig: &Rig) -> Vec<Option<Client>> {
    let mut clients = vec![
        Some(Client::Classic(Classic::new("a", false))),
        Some(Client::Classic(Classic::new("b", false))),
    ];
    assert_eq!(settle(rig, &mut clients).await, rig.all());
    clients
}

fn classic(client: &mut Option<Client>) -> &mut Classic {
    match client {
        Some(Client::Classic(client)) => client,
        _ => panic!("not of the classic protocol"),
    }
}

pub(super) fn joining_as(member: &str, kind: &str, protocols: Vec<Protocol>) -> JoinGroup {
    JoinGroup {
        version: 9,
        member: member.into(),
        new_member: "new-1".into(),
        instance: None,
        client_id: "new".into(),
        client_host: "/10.0.0.1".into(),
        session_timeout_ms: 10_000,
        rebalance_timeout_ms: 10_000,
        protocol_type: kind.into(),
        protocols,
        reason: None,
    }
}

#[tokio::test(start_paused = true)]
async fn a_member_of_kip_848_takes_a_classic_group_along() {
    let rig = Rig::new().await;
    let mut clients = two(&rig).await;
    assert_eq!(rig.listed_as().await.as_deref(), Some("consumer"));
    let generation = classic(&mut clients[0]).generation;
    let zero = rig.topics.partition("t", 0);
    let committer = |member: &str, generation| Committer {
        version: 8,
        member: member.into(),
        generation,
        instance: None,
    };
    let id = Arc::clone(&classic(&mut clients[0]).id);
    let offsets = committing(&id, generation, &[(zero, 7)]);
    rig.node.front.commit(offsets, committer(&id, generation)).await.unwrap();

    let joined = rig.node.ask(joining("g", "m", &["t"])).await.unwrap();
    assert_eq!((joined.member_epoch, joined.assigned), (generation + 1, Some(vec![])), "the count goes on");
    assert_eq!(rig.listed_as().await, None);
    let other = classic(&mut clients[1]).id.to_string();
    let members = rig.described().await.unwrap();
    let expected = [(id.to_string(), true), (other, true), ("m".to_owned(), false)];
    assert_eq!(members, expected.into());
    let described = rig.node.front.describe_classic("g").await.unwrap_err();
    assert_eq!(described.code, ErrorCode::GroupIdNotFound);
    assert_eq!(committed(&rig.node).await, [7], "what was committed is kept");

    // The members heard nothing of it: they commit as before, and hear that there is something to join for.
    let offsets = |offset, generation| committing(&id, generation, &[(zero, offset)]);
    let commit =
        |offset, generation| rig.node.front.commit(offsets(offset, generation), committer(&id, generation));
    assert_eq!(commit(8, generation).await.unwrap()[0].1, Ok(()));
    assert_eq!(commit(9, generation - 1).await.unwrap_err().code, ErrorCode::IllegalGeneration);
    let transaction = || PartOfTransaction {
        id: "copy".into(),
        producer_id: ProducerId(7),
        producer_epoch: 0,
        adds: false,
        knows_abortable: true,
    };
    let commit_in = |generation| {
        let committer = committer(&id, generation);
        rig.node.front.commit_in_transaction(offsets(10, generation), committer, transaction())
    };
    assert_eq!(commit_in(generation).await.unwrap()[0].1, Ok(()));
    assert_eq!(commit_in(generation - 1).await.unwrap_err().code, ErrorCode::IllegalGeneration);
    let asks = |epoch| {
        let asked = OffsetFetch { group: "g".to_owned(), partitions: None };
        rig.node.front.fetch_as(asked, Some((id.to_string(), epoch)))
    };
    assert_eq!(asks(generation).await.unwrap().len(), 1);
    assert_eq!(asks(generation + 7).await.unwrap_err().code, ErrorCode::IllegalGeneration);
    let beat = Heartbeat { member: Arc::clone(&id), generation, instance: None };
    let told = rig.node.front.classic_heartbeat("g", beat).await.unwrap_err();
    assert_eq!(told.code, ErrorCode::RebalanceInProgress);
    assert_eq!(committed(&rig.node).await, [8]);

    // It is not the first that has to be waited for, as a rebalance of the classic protocol is.
    clients.push(Some(Client::Modern(Modern::new("m"))));
    for _ in 0..3 {
        clients[0].as_mut().unwrap().act(&rig).await;
    }
    assert!(classic(&mut clients[0]).is_stable());
    assert_eq!(settle(&rig, &mut clients).await, rig.all());
    let each: Vec<usize> = clients.iter().flatten().map(|client| client.reads().len()).collect();
    assert!(each.iter().all(|share| (1..=2).contains(share)), "{each:?}");

    clients.pop().unwrap().unwrap().stop(&rig).await;
    assert_eq!(rig.listed_as().await.as_deref(), Some("consumer"));
    assert_eq!(settle(&rig, &mut clients).await, rig.all());
    assert!(classic(&mut clients[0]).generation > generation + 1, "the count goes on");
    assert_eq!(committed(&rig.node).await, [8]);
}

#[tokio::test(start_paused = true)]
async fn who_waits_for_a_generation_is_told_to_join_again_when_the_group_goes_over() {
    let rig = Rig::new().await;
    let mut clients = two(&rig).await;
    // A third waits for the others to join.
    let said = subscription(&["t"], &BTreeSet::new(), &rig.topics, -1);
    let protocols = || vec![speaks("shared", said.clone())];
    let front = &rig.node.front;
    let (id, _) = front.join("g", joining_as("", "consumer", protocols())).await;
    let waiting = tokio::spawn(front.join("g", joining_as(&id, "consumer", protocols())));
    pass(5).await;
    assert!(!waiting.is_finished());
    rig.node.ask(joining("g", "m", &["t"])).await.unwrap();
    let (_, told) = waiting.await.unwrap();
    assert_eq!(told.unwrap_err().code, ErrorCode::RebalanceInProgress);
    let (again, joined) = front.join("g", joining_as(&id, "consumer", protocols())).await;
    assert_eq!(again, id, "under its id it is answered at once");
    assert_eq!((joined.unwrap().leader, &*id), (Arc::default(), "new-1"));

    // Who syncs for a generation that was not assigned in time is told the same, or has what it had.
    front.resign(0, rig.node.epoch);
    clients.clear();
    let rig = Rig::new().await;
    let first = rig.node.front.join("g", joining_as("", "consumer", protocols())).await;
    let (_, joined) = rig.node.front.join("g", joining_as(&first.0, "consumer", protocols())).await;
    assert_eq!(joined.unwrap().leader, first.0, "it is to assign");
    let answer = rig.node.ask(joining("g", "m", &["t"])).await.unwrap();
    assert_eq!((answer.member_epoch, count(&answer)), (2, Some(2)), "the other half waits for its reader");
    let beat = Heartbeat { member: first.0, generation: 1, instance: None };
    let told = rig.node.front.classic_heartbeat("g", beat).await.unwrap_err();
    assert_eq!(told.code, ErrorCode::RebalanceInProgress);
}

#[tokio::test(start_paused = true)]
async fn what_a_cooperative_member_has_not_given_up_yet_waits_for_it_on_the_way_over() {
    let rig = Rig::new().await;
    let front = &rig.node.front;
    let (all, none) = (rig.all(), BTreeSet::new());
    let half: BTreeSet<_> = all.iter().copied().take(2).collect();
    let join = |member: &str, owned: &BTreeSet<PartitionId>| {
        let said = subscription(&["t"], owned, &rig.topics, 1);
        front.join("g", joining_as(member, "consumer", vec![speaks("shared", said)]))
    };
    let sync = |member: &Arc<str>, generation, share: &BTreeSet<PartitionId>| {
        let assigned = embedded::assign(b"\x00\x02", share.iter().copied(), &rig.topics);
        front.sync(
            "g",
            SyncGroup {
                member: Arc::clone(member),
                generation,
                instance: None,
                protocol_type: None,
                protocol: None,
                assignments: vec![(Arc::clone(member), assigned)],
            },
        )
    };
    let (id, _) = join("", &none).await;
    let (_, joined) = join(&id, &none).await;
    sync(&id, joined.unwrap().generation, &all).await.unwrap();
    // Another leaves half of it out: who hears that gives it up, and says so with its next join.
    let (_, joined) = join(&id, &all).await;
    sync(&id, joined.unwrap().generation, &half).await.unwrap();

    let answer = rig.node.ask(joining("g", "m", &["t"])).await.unwrap();
    assert_eq!((answer.member_epoch, answer.assigned), (3, Some(vec![])), "it may be read still");
    let beat = Heartbeat { member: Arc::clone(&id), generation: 2, instance: None };
    assert_eq!(front.classic_heartbeat("g", beat).await.unwrap_err().code, ErrorCode::RebalanceInProgress);
    let (_, joined) = join(&id, &half).await;
    assert_eq!(joined.unwrap().generation, 3);
    let given = rig.node.ask(beating("g", "m", 3)).await.unwrap().assigned.unwrap();
    assert_eq!(given.into_iter().collect::<BTreeSet<_>>(), all.difference(&half).copied().collect());
}

#[tokio::test(start_paused = true)]
async fn a_policy_that_forbids_a_way_is_kept() {
    for (policy, goes_over) in MigrationPolicy::ALL.map(|policy| (policy, policy.upgrades())) {
        let rig = Rig::with(policy).await;
        let mut clients = two(&rig).await;
        let answer = rig.node.ask(joining("g", "m", &["t"])).await;
        let code = answer.as_ref().err().map(|refusal| refusal.code);
        assert_eq!(code, (!goes_over).then_some(ErrorCode::GroupIdNotFound), "{policy:?}");
        assert_eq!(rig.described().await.is_some(), goes_over, "{policy:?}");
        if goes_over {
            rig.node.ask(beating("g", "m", -1)).await.unwrap();
            assert_eq!(rig.described().await.is_none(), policy.downgrades(), "{policy:?}");
        }
        assert_eq!(settle(&rig, &mut clients).await, rig.all(), "{policy:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn only_groups_of_consumers_that_can_be_understood_go_over() {
    let none = || BTreeSet::new();
    let said = subscription(&["t"], &none(), &FakeTopics::of(&[("t", 1)]), -1);
    let cases = [
        ("connect", said.clone(), Bytes::new()),
        ("sr", said.clone(), Bytes::new()),
        ("consumer", Bytes::from_static(b"what it reads"), Bytes::new()),
        ("consumer", said.clone(), Bytes::from_static(b"what it is to read")),
        // An assignor of its own has more to say than a coordinator could.
        ("consumer", said.clone(), Bytes::from_static(b"\x00\x00\x00\x00\x00\x00\x00\x00\x00\x01x")),
    ];
    for (kind, metadata, assignment) in cases {
        let rig = Rig::new().await;
        let front = &rig.node.front;
        let join =
            |member: &str| front.join("g", joining_as(member, kind, vec![speaks("own", metadata.clone())]));
        let (id, _) = join("").await;
        let (_, joined) = join(&id).await;
        let sync = SyncGroup {
            member: Arc::clone(&id),
            generation: joined.unwrap().generation,
            instance: None,
            protocol_type: None,
            protocol: None,
            assignments: vec![(Arc::clone(&id), assignment)],
        };
        front.sync("g", sync).await.unwrap();
        let appends = rig.log.appends();
        let refused = rig.node.ask(joining("g", "m", &["t"])).await.unwrap_err();
        assert_eq!(refused.code, ErrorCode::GroupIdNotFound, "{refused:?}");
        assert_eq!(rig.log.appends(), appends, "nothing was written");
        assert_eq!(rig.listed_as().await.as_deref(), Some(kind));
        let beat = Heartbeat { member: id, generation: 1, instance: None };
        assert_eq!(front.classic_heartbeat("g", beat).await, Ok(()), "its members notice nothing");
    }
}

#[tokio::test(start_paused = true)]
async fn a_heartbeat_that_is_refused_leaves_a_classic_group_as_it_was() {
    let rig = Rig::new().await;
    let mut clients = two(&rig).await;
    let generation = classic(&mut clients[0]).generation;
    let appends = rig.log.appends();
    let unheard = GroupHeartbeat { assignor: Some("unheard of".to_owned()), ..joining("g", "m", &["t"]) };
    assert_eq!(rig.node.ask(unheard).await.unwrap_err().code, ErrorCode::UnsupportedAssignor);
    let later = rig.node.ask(beating("g", "m", 3)).await.unwrap_err();
    assert_eq!(later.code, ErrorCode::GroupIdNotFound, "only who joins takes it along");
    let id = Arc::clone(&classic(&mut clients[0]).id);
    let beat = Heartbeat { member: id, generation, instance: None };
    assert_eq!(rig.node.front.classic_heartbeat("g", beat).await, Ok(()));
    assert_eq!(rig.log.appends(), appends);
}

#[tokio::test(start_paused = true)]
async fn the_last_member_of_kip_848_that_is_silent_too_long_leaves_a_classic_group() {
    let rig = Rig::new().await;
    let mut clients = two(&rig).await;
    rig.node.ask(joining("g", "m", &["t"])).await.unwrap();
    assert_eq!(settle(&rig, &mut clients).await, rig.all());
    assert_eq!(rig.listed_as().await.as_deref(), Some("consumer"));
    // It comes again, with an epoch of a group that is no more.
    let gone = rig.node.ask(beating("g", "m", 9)).await.unwrap_err();
    assert_eq!(gone.code, ErrorCode::GroupIdNotFound);
    assert!(rig.node.ask(joining("g", "m", &["t"])).await.is_ok(), "and takes the group along again");
}

use std::collections::BTreeMap;
use std::sync::atomic::Ordering;
use std::sync::{Arc, Mutex};

use crate::cluster::fixture::{Rig, heartbeat, register};
use crate::cluster::message::CreateTopic;
use crate::cluster::message::nodes::{
    AlterInSync, ClientAnswer, ClientRequest, HandOver, NodeStanding, ReportDoubts, Resign, Resignation,
};
use crate::cluster::request::Reply;
use crate::error::{ErrorCode, Refusal};
use crate::ids::{Incarnation, LeaderEpoch, NodeId};
use crate::image::fixture::{doubt, member, partition, reported, topic};
use crate::image::{Command, DoubtCause, InSyncChange, NodeState};
use crate::kinds::CONTROLLER;

fn create(number: u128, partitions: i32, factor: i16) -> ClientRequest {
    let request = CreateTopic {
        name: format!("topic-{number}"),
        partitions: Some(partitions),
        replication_factor: Some(factor),
        config: BTreeMap::new(),
    };
    ClientRequest::CreateTopic(topic(number), request)
}

/// Entries since the `from`th.
fn entries(rig: &Rig, from: usize) -> Vec<Vec<Command>> {
    rig.quorum.entries().split_off(from)
}

fn kinds(commands: &[Command]) -> Vec<&'static str> {
    let kind = |command: &Command| match command {
        Command::Found { .. } => "found",
        Command::FenceNode { .. } => "fence",
        Command::UnfenceNode { .. } => "unfence",
        Command::ElectLeaders { .. } => "elect",
        Command::AlterInSync { .. } => "alter",
        Command::CreateTopic { .. } => "create",
        Command::HandOver { .. } => "hand over",
        _ => "other",
    };
    commands.iter().map(kind).collect()
}

#[tokio::test(start_paused = true)]
async fn a_node_registers_shows_the_image_and_is_live_with_a_lease() {
    let rig = Rig::new(Some(1)).await;
    rig.pass(20).await;
    assert_eq!(rig.beat(2, 1).await.standing, NodeStanding::Unknown);
    rig.controller.call(register(2, 1)).await.unwrap();
    assert_eq!(rig.beat(2, 1).await.standing, NodeStanding::Fenced);
    rig.pass(10).await;
    let answer = rig.beat(2, 1).await;
    assert_eq!((answer.standing, answer.lease_ms), (NodeStanding::Live, 300));
    assert_eq!(rig.beat(2, 9).await.standing, NodeStanding::Unknown);
    rig.controller.call(register(2, 9)).await.unwrap();
    assert_eq!(rig.beat(2, 1).await.standing, NodeStanding::Superseded);
    assert!(rig.image().cluster().is_some());
}

#[tokio::test(start_paused = true)]
async fn a_dead_nodes_elections_are_one_entry_within_450_ms_of_its_last_heartbeat() {
    let rig = Rig::with_nodes(&[1, 2, 3]).await;
    for number in 0..5 {
        rig.controller.call(create(number, 20, 3)).await.unwrap();
    }
    rig.beat_for(&[1, 2, 3], 500).await;
    rig.beat(3, 1).await;
    let before = rig.quorum.entries().len();
    let silent_since = tokio::time::Instant::now();
    while rig.image().nodes().get(NodeId(3)).unwrap().state == NodeState::Live {
        rig.beat(1, 1).await;
        rig.beat(2, 1).await;
        rig.pass(5).await;
    }
    let took = silent_since.elapsed().as_millis();
    assert!((400..=460).contains(&took), "{took} ms, of which 3 are the quorum's");
    let entries = entries(&rig, before);
    assert_eq!(entries.iter().map(|entry| kinds(entry)).collect::<Vec<_>>(), [["fence", "elect"]]);
    for state in rig.image().topics().iter().flat_map(|topic| topic.partitions.iter()) {
        let leader = state.leader.unwrap();
        assert!(leader.node != NodeId(3) && state.in_sync.contains(&leader));
        assert_eq!(state.in_sync.iter().map(|m| m.node.0).collect::<Vec<_>>(), [1, 2]);
    }
}

#[tokio::test(start_paused = true)]
async fn a_new_controller_starts_from_what_it_heard_itself() {
    let rig = Rig::with_nodes(&[1, 2, 3]).await;
    rig.controller.call(create(1, 3, 3)).await.unwrap();
    rig.quorum.lead(Some(2));
    rig.beat_for(&[1, 2], 600).await;
    assert_eq!(rig.beat(1, 1).await.standing, NodeStanding::NotController);
    let before = rig.quorum.entries().len();
    rig.quorum.lead(Some(1));
    rig.pass(40).await;
    let entries = entries(&rig, before);
    assert_eq!(kinds(&entries[0]), Vec::<&str>::new(), "it catches up first");
    assert_eq!(kinds(&entries[1]), ["fence", "elect"]);
    assert_eq!(rig.image().nodes().get(NodeId(3)).unwrap().state, NodeState::Fenced);
}

#[tokio::test(start_paused = true)]
async fn a_node_whose_fence_is_under_way_or_in_doubt_is_granted_nothing() {
    let rig = Rig::with_nodes(&[1, 2, 3]).await;
    rig.beat_for(&[1, 2, 3], 300).await;
    rig.quorum.takes_ms.store(200, Ordering::Relaxed);
    // It comes to nothing; nobody knows that before the next entry is decided.
    rig.quorum.failures.store(1, Ordering::Relaxed);
    rig.beat_for(&[1, 2], 500).await;
    assert_eq!(rig.image().nodes().get(NodeId(3)).unwrap().state, NodeState::Live);
    let answer = rig.beat(3, 1).await;
    assert_eq!((answer.standing, answer.lease_ms), (NodeStanding::Live, 0), "its fence is under way");
    rig.beat_for(&[1, 2, 3], 100).await;
    assert_eq!(rig.beat(3, 1).await.lease_ms, 0, "its fence is in doubt");
    let before = rig.quorum.entries().len();
    rig.beat_for(&[1, 2, 3], 400).await;
    assert_eq!(rig.beat(3, 1).await.lease_ms, 300);
    assert_eq!(entries(&rig, before), [Vec::new()], "one entry without a command, which tells");
}

#[tokio::test(start_paused = true)]
async fn in_sync_changes_that_come_together_are_one_entry() {
    let rig = Rig::with_nodes(&[1, 2, 3]).await;
    rig.controller.call(create(1, 3, 3)).await.unwrap();
    let before = rig.quorum.entries().len();
    let alter = |node: u32| {
        let image = rig.image();
        let led =
            image.topics().get(topic(1)).unwrap().ids().find(|(_, p)| p.leader == Some(member(node, 1)));
        let (id, state) = led.map(|(id, state)| (id, state.clone())).unwrap();
        AlterInSync {
            node: NodeId(node),
            incarnation: Incarnation(1),
            changes: vec![InSyncChange {
                partition: id,
                epoch: state.leader_epoch,
                set_version: state.set_version,
                in_sync: vec![member(node, 1)],
            }],
        }
    };
    let (one, two, three) = (alter(1), alter(2), alter(3));
    // The first is under way alone; the others wait for it and go together.
    let (one, two, three) =
        tokio::join!(rig.controller.call(one), rig.controller.call(two), rig.controller.call(three));
    for answer in [one, two, three] {
        assert_eq!(answer.unwrap().pop().unwrap().1, Ok(1));
    }
    let entries = entries(&rig, before);
    assert_eq!(
        entries.iter().map(|entry| kinds(entry)).collect::<Vec<_>>(),
        [vec!["alter"], vec!["alter", "alter"]]
    );
    let stale =
        rig.controller.call(AlterInSync { node: NodeId(1), incarnation: Incarnation(8), changes: vec![] });
    assert_eq!(stale.await.unwrap_err().code, ErrorCode::StaleBrokerEpoch);
}

#[tokio::test(start_paused = true)]
async fn a_node_that_hands_over_leads_nothing_when_it_is_answered() {
    let rig = Rig::with_nodes(&[1, 2]).await;
    rig.controller.call(create(1, 4, 2)).await.unwrap();
    let before = rig.quorum.entries().len();
    rig.controller.call(HandOver { node: NodeId(2), incarnation: Incarnation(1) }).await.unwrap();
    assert_eq!(kinds(&entries(&rig, before)[0]), ["hand over", "elect"]);
    for state in rig.image().topics().iter().flat_map(|topic| topic.partitions.iter()) {
        assert_eq!((state.leader, state.in_sync.as_slice()), (Some(member(1, 1)), [member(1, 1)].as_slice()));
    }
    let answer = rig.beat(2, 1).await;
    assert_eq!(
        (answer.standing, answer.lease_ms),
        (NodeStanding::Live, 300),
        "until it stops it keeps its lease"
    );
}

#[tokio::test(start_paused = true)]
async fn a_leader_that_resigns_or_doubts_its_log_is_followed() {
    let rig = Rig::with_nodes(&[1, 2]).await;
    rig.controller.call(create(1, 1, 2)).await.unwrap();
    let id = partition(1, 0);
    let leader = |rig: &Rig| rig.image().partition(id).unwrap().leader.unwrap().node.0;
    let (first, second) = (leader(&rig), 3 - leader(&rig));
    let resignation = Resignation { partition: id, epoch: LeaderEpoch(0), again: true };
    let resign = Resign { node: NodeId(first), incarnation: Incarnation(1), partitions: vec![resignation] };
    rig.controller.call(resign.clone()).await.unwrap();
    assert_eq!(leader(&rig), second);
    rig.controller.call(resign).await.unwrap();
    assert_eq!(rig.image().partition(id).unwrap().leader_epoch, LeaderEpoch(1), "its epoch was over");
    let doubts = vec![reported(id, doubt(DoubtCause::DirectoryFailed, 1, 0))];
    let report = ReportDoubts { node: NodeId(second), incarnation: Incarnation(1), doubts };
    rig.controller.call(report).await.unwrap();
    assert_eq!(leader(&rig), first);
}

#[tokio::test(start_paused = true)]
async fn members_that_may_hold_more_are_waited_for_and_not_for_ever() {
    let rig = Rig::with_nodes(&[1, 2, 3]).await;
    rig.controller.call(create(1, 1, 3)).await.unwrap();
    let id = partition(1, 0);
    rig.pass(600).await;
    assert_eq!(rig.image().partition(id).unwrap().in_sync.len(), 3, "all are dead, none leaves the set");
    let mut doubting = register(1, 2);
    doubting.doubts = vec![reported(id, doubt(DoubtCause::Cut, 0, 5))];
    rig.controller.call(doubting).await.unwrap();
    let beat_for = async |milliseconds: u64| {
        for _ in 0..milliseconds / 100 {
            rig.controller.call(heartbeat(1, 2, rig.image().version())).await.unwrap();
            rig.pass(100).await;
        }
    };
    beat_for(29_000).await;
    assert_eq!(rig.image().partition(id).unwrap().leader, None);
    beat_for(2_000).await;
    let state = rig.image().partition(id).unwrap().clone();
    assert_eq!((state.leader, state.in_sync), (Some(member(1, 2)), vec![member(1, 2)]));
}

#[tokio::test(start_paused = true)]
async fn leaderships_go_back_to_a_node_that_is_up_again() {
    let rig = Rig::with_nodes(&[1, 2]).await;
    rig.controller.call(create(1, 4, 2)).await.unwrap();
    rig.quorum.decide(vec![]);
    let moved = [0, 1, 2, 3].map(|index| Resignation {
        partition: partition(1, index),
        epoch: LeaderEpoch(0),
        again: false,
    });
    rig.controller
        .call(Resign { node: NodeId(2), incarnation: Incarnation(1), partitions: moved.to_vec() })
        .await
        .unwrap();
    let led_by_two = |rig: &Rig| {
        let image = rig.image();
        let topic = image.topics().get(topic(1)).unwrap();
        topic.partitions.iter().filter(|state| state.leader == Some(member(2, 1))).count()
    };
    assert_eq!(led_by_two(&rig), 0);
    rig.beat_for(&[1, 2], 11_000).await;
    assert_eq!(led_by_two(&rig), 1, "one step");
    rig.beat_for(&[1, 2], 5_000).await;
    assert_eq!(led_by_two(&rig), 2);
}

#[tokio::test(start_paused = true)]
async fn topics_made_at_once_under_one_name_are_one_and_a_refusal() {
    let rig = Rig::with_nodes(&[1]).await;
    let other = ClientRequest::CreateTopic(
        topic(7),
        CreateTopic {
            name: "topic-1".to_owned(),
            partitions: None,
            replication_factor: None,
            config: BTreeMap::new(),
        },
    );
    let (one, two, again) = tokio::join!(
        rig.controller.call(create(1, 1, 1)),
        rig.controller.call(other),
        rig.controller.call(create(1, 1, 1)),
    );
    assert_eq!(one.unwrap(), ClientAnswer::Topic(topic(1)));
    assert_eq!(two.unwrap_err().code, ErrorCode::TopicAlreadyExists);
    assert_eq!(again.unwrap(), ClientAnswer::Topic(topic(1)), "a repeated request");
}

#[tokio::test(start_paused = true)]
async fn requests_are_refused_where_another_node_leads_or_no_majority_is_in_reach() {
    let rig = Rig::with_nodes(&[1]).await;
    rig.quorum.failures.store(1, Ordering::Relaxed);
    assert_eq!(rig.controller.call(create(1, 1, 1)).await.unwrap_err().code, ErrorCode::NotController);
    rig.pass(60).await;
    rig.quorum.lease_ms.store(0, Ordering::Relaxed);
    assert_eq!(rig.controller.call(create(1, 1, 1)).await.unwrap_err().code, ErrorCode::NotController);
    let answer = rig.beat(1, 1).await;
    assert_eq!((answer.standing, answer.lease_ms), (NodeStanding::NotController, 0));
    rig.quorum.lease_ms.store(100, Ordering::Relaxed);
    assert_eq!(rig.beat(1, 1).await.lease_ms, 100, "a grant never outlasts the controller's own");
    rig.controller.call(create(1, 1, 1)).await.unwrap();
    rig.quorum.lead(Some(2));
    let refusal = rig.controller.call(create(2, 1, 1)).await.unwrap_err();
    assert_eq!(refusal.code, ErrorCode::NotController);
    assert!(refusal.text.contains("ask node 2"), "{refusal}");
}

#[tokio::test(start_paused = true)]
async fn clients_that_flood_it_are_refused_beyond_the_bound_and_cost_no_node_its_life() {
    let rig = Rig::with_nodes(&[1]).await;
    let answers: Arc<Mutex<Vec<Option<ErrorCode>>>> = Arc::default();
    for _ in 0..20_000 {
        let answers = Arc::clone(&answers);
        let answered = move |answer: Result<ClientAnswer, Refusal>| {
            answers.lock().unwrap().push(answer.err().map(|refusal| refusal.code));
        };
        rig.controller.ask(ClientRequest::AllocateProducerIds(1), Reply::new(answered));
    }
    assert_eq!(rig.beat(1, 1).await.standing, NodeStanding::Live, "a node is heard all the same");
    rig.beat_for(&[1], 2_000).await;
    let answers = std::mem::take(&mut *answers.lock().unwrap());
    assert_eq!(answers.len(), 20_000, "every request got exactly one answer");
    let granted = answers.iter().filter(|code| code.is_none()).count();
    assert_eq!(granted, CONTROLLER.mailbox_max);
    let throttled = Some(ErrorCode::ThrottlingQuotaExceeded);
    assert!(answers.iter().all(|code| code.is_none() || *code == throttled));
    rig.controller.call(ClientRequest::AllocateProducerIds(1)).await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn a_stopped_controller_answers_all_it_had_and_its_successor_goes_on() {
    let rig = Rig::with_nodes(&[1]).await;
    let (reply, answer) = Reply::channel();
    rig.controller.ask(create(1, 1, 1), reply);
    rig.controller.actor().kill();
    assert_eq!(answer.await.unwrap().unwrap_err().code, ErrorCode::NotController);
    assert_eq!(rig.controller.call(create(2, 1, 1)).await.unwrap_err().code, ErrorCode::NotController);
    rig.controller.restart(None).await.unwrap();
    rig.beat(1, 1).await;
    rig.pass(20).await;
    rig.controller.call(create(3, 1, 1)).await.unwrap();
}

/// Registers at the level that allows reassignments.
fn register_anew(node: u32) -> crate::cluster::message::nodes::RegisterNode {
    let feature_level = crate::image::Features::HIGHEST;
    crate::cluster::message::nodes::RegisterNode { feature_level, ..register(node, 1) }
}

#[tokio::test(start_paused = true)]
async fn a_reassignment_ends_under_whatever_controller_there_is() {
    let rig = Rig::new(Some(1)).await;
    for node in [1, 2, 3] {
        rig.controller.call(register_anew(node)).await.unwrap();
        rig.beat(node, 1).await;
    }
    rig.pass(20).await;
    rig.controller.call(create(1, 1, 1)).await.unwrap();
    let led = rig.image().partition(partition(1, 0)).unwrap().leader.unwrap();
    let target: Vec<NodeId> = [1, 2, 3].map(NodeId).into_iter().filter(|node| *node != led.node).collect();
    let wish =
        |replicas| crate::cluster::message::reassignment::Wish { partition: partition(1, 0), replicas };
    let begun = rig.controller.call(ClientRequest::Reassign(vec![wish(Some(target.clone()))], true)).await;
    assert_eq!(begun.unwrap(), ClientAnswer::Reassigned(vec![(partition(1, 0), Ok(()))]));
    rig.quorum.lead(Some(2));
    rig.beat_for(&[1, 2, 3], 300).await;
    rig.quorum.lead(Some(1));
    rig.beat_for(&[1, 2, 3], 300).await;
    let now = rig.image().partition(partition(1, 0)).unwrap().clone();
    let change = InSyncChange {
        partition: partition(1, 0),
        epoch: now.leader_epoch,
        set_version: now.set_version,
        in_sync: vec![member(1, 1), member(2, 1), member(3, 1)],
    };
    let alter = AlterInSync { node: led.node, incarnation: Incarnation(1), changes: vec![change] };
    rig.controller.call(alter).await.unwrap().pop().unwrap().1.unwrap();
    rig.beat_for(&[1, 2, 3], 100).await;
    let now = rig.image().partition(partition(1, 0)).unwrap().clone();
    assert_eq!((now.replicas, now.reassignment), (target.clone(), None));
    assert_eq!(now.leader.map(|leader| leader.node), target.first().copied());
    assert!(now.in_sync.iter().all(|member| target.contains(&member.node)));
}

#[tokio::test(start_paused = true)]
async fn what_not_every_node_understands_is_refused_until_all_are_upgraded() {
    let rig = Rig::with_nodes(&[1, 2]).await;
    rig.controller.call(create(1, 1, 1)).await.unwrap();
    let refusal = rig.controller.call(ClientRequest::Reassign(vec![], true)).await.unwrap_err();
    assert_eq!(refusal.code, ErrorCode::UnsupportedVersion);
    for node in [1, 2] {
        let life = crate::cluster::message::nodes::RegisterNode {
            incarnation: Incarnation(2),
            ..register_anew(node)
        };
        rig.controller.call(life).await.unwrap();
    }
    rig.pass(20).await;
    assert_eq!(rig.image().features().level, crate::image::Features::HIGHEST);
    rig.controller.call(ClientRequest::Reassign(vec![], true)).await.unwrap();
}

use std::collections::{BTreeMap, BTreeSet};
use std::sync::atomic::Ordering;

use tokio::time::sleep;

use super::*;
use crate::cluster::agent::AgentHandle;
use crate::cluster::fixture::Cluster;
use crate::ids::Incarnation;
use crate::image::{Command, PARTITIONS_MAX};

async fn running() -> (Cluster, Vec<AgentHandle>) {
    let cluster = Cluster::new().await;
    let mut agents = Vec::new();
    for node in 1..4 {
        agents.push(cluster.agent(node, 1).await);
    }
    pass(200).await;
    (cluster, agents)
}

async fn pass(milliseconds: u64) {
    sleep(Duration::from_millis(milliseconds)).await;
}

fn named(name: &str) -> CreateTopic {
    CreateTopic {
        name: name.to_owned(),
        partitions: Some(3),
        replication_factor: Some(2),
        config: BTreeMap::new(),
    }
}

fn all(newer_than: Option<u64>, max_wait_ms: u32) -> Metadata {
    Metadata { topics: None, newer_than, max_wait_ms }
}

#[tokio::test(start_paused = true)]
async fn topics_are_made_changed_and_removed_by_any_node() {
    let (cluster, _agents) = running().await;
    let front = &cluster.fronts[&3];
    let id = front.create_topic(named("flights")).await.unwrap();
    assert_eq!(cluster.image().topics().named("flights").unwrap().id, id);
    let refusal = cluster.fronts[&1].create_topic(named("flights")).await.unwrap_err();
    assert_eq!(refusal.code, ErrorCode::TopicAlreadyExists);
    front.create_partitions(CreatePartitions { name: "flights".to_owned(), total: 5 }).await.unwrap();
    let changes = BTreeMap::from([("flush.policy".to_owned(), Some("os".to_owned()))]);
    front.alter_topic_config(AlterTopicConfig { name: "flights".to_owned(), changes }).await.unwrap();
    let seen = cluster.fronts[&2].metadata(all(None, 0)).await;
    assert_eq!(seen.controller, Some(NodeId(1)));
    assert_eq!((seen.topics[0].partitions.len(), seen.topics[0].config.len()), (5, 1));
    front.delete_topic(DeleteTopic { name: "flights".to_owned() }).await.unwrap();
    let refusal = front.delete_topic(DeleteTopic { name: "flights".to_owned() }).await.unwrap_err();
    assert_eq!(refusal.code, ErrorCode::UnknownTopicOrPartition);
}

#[tokio::test(start_paused = true)]
async fn a_request_follows_the_controller_to_its_new_node() {
    let (cluster, _agents) = running().await;
    let (made, ()) = tokio::join!(cluster.fronts[&3].create_topic(named("flights")), async {
        cluster.quorum.lead(None);
        pass(700).await;
        cluster.quorum.lead(Some(2));
    });
    made.unwrap();
}

#[tokio::test(start_paused = true)]
async fn a_request_whose_answer_was_lost_is_carried_out_once() {
    let (cluster, _agents) = running().await;
    let delete = DeleteTopic { name: "flights".to_owned() };
    let id = cluster.fronts[&1].create_topic(named("flights")).await.unwrap();
    cluster.peers.cut(3);
    let (deleted, ()) = tokio::join!(cluster.fronts[&3].delete_topic(delete), async {
        pass(100).await;
        // As if the first attempt had arrived and its answer had not.
        cluster.quorum.decide(vec![Command::DeleteTopic { id }]);
        cluster.peers.heal();
    });
    deleted.unwrap();
}

#[tokio::test(start_paused = true)]
async fn without_a_controller_a_request_ends_in_time_and_metadata_goes_on() {
    let (cluster, _agents) = running().await;
    cluster.fronts[&1].create_topic(named("flights")).await.unwrap();
    cluster.quorum.lead(None);
    let begun = Instant::now();
    let refusal = cluster.fronts[&2].create_topic(named("more")).await.unwrap_err();
    assert_eq!(refusal.code, ErrorCode::RequestTimedOut);
    assert_eq!(begun.elapsed().as_secs(), 10);
    let seen = cluster.fronts[&2].metadata(all(None, 0)).await;
    assert_eq!((seen.controller, seen.topics.len()), (None, 1));
}

#[tokio::test(start_paused = true)]
async fn who_waits_for_a_newer_image_is_told_of_what_it_asked_for_at_once_and_of_nothing_else() {
    let (cluster, _agents) = running().await;
    let front = &cluster.fronts[&2];
    let version = front.image().version();
    let begun = Instant::now();
    let (seen, ()) = tokio::join!(front.metadata(all(Some(version), 5_000)), async {
        pass(100).await;
        cluster.quorum.decide(vec![Command::AllocateProducerIds { count: 1 }]);
        pass(900).await;
        front.create_topic(named("flights")).await.unwrap();
    });
    assert_eq!(seen.topics.len(), 1);
    assert!((1_000..1_100).contains(&begun.elapsed().as_millis()), "{:?}", begun.elapsed());
    let begun = Instant::now();
    let same = front.metadata(all(Some(seen.version), 300)).await;
    assert_eq!((same.version, begun.elapsed().as_millis()), (seen.version, 300));
    let begun = Instant::now();
    front.metadata(all(Some(0), 300)).await;
    assert_eq!(begun.elapsed().as_millis(), 0);
}

#[tokio::test(start_paused = true)]
async fn who_waits_where_no_controller_is_known_is_let_go_soon_but_not_for_a_short_election() {
    let (cluster, _agents) = running().await;
    let front = &cluster.fronts[&2];
    let version = front.image().version();
    let begun = Instant::now();
    let (seen, ()) = tokio::join!(front.metadata(all(Some(version), 5_000)), async {
        pass(100).await;
        cluster.quorum.lead(None);
        pass(300).await;
        cluster.quorum.lead(Some(3));
        pass(1_000).await;
        cluster.quorum.lead(None);
    });
    assert_eq!((seen.version, begun.elapsed().as_millis()), (front.image().version(), 1_900));
    let begun = Instant::now();
    front.metadata(all(Some(seen.version), 5_000)).await;
    assert_eq!(begun.elapsed().as_millis(), 500, "who comes later waits no longer");
}

#[tokio::test(start_paused = true)]
async fn more_than_so_many_waiters_are_answered_at_once() {
    let (cluster, _agents) = running().await;
    let front = &cluster.fronts[&2];
    let version = front.image().version();
    let _all = front.0.waiters.acquire_many(10_000).await.unwrap();
    let begun = Instant::now();
    front.metadata(all(Some(version), 5_000)).await;
    assert_eq!(begun.elapsed().as_millis(), 0);
}

#[tokio::test(start_paused = true)]
async fn producer_ids_are_unique_over_nodes_and_cost_one_entry_a_block() {
    let (cluster, _agents) = running().await;
    let before = cluster.quorum.entries().len();
    let mut seen = BTreeSet::new();
    for _ in 0..600 {
        let (one, two) =
            tokio::join!(cluster.fronts[&1].init_producer_id(), cluster.fronts[&3].init_producer_id());
        assert!(seen.insert(one.unwrap()) && seen.insert(two.unwrap()));
    }
    assert!(cluster.quorum.entries().len() - before <= 2);
}

#[tokio::test(start_paused = true)]
async fn a_node_hands_over_and_learns_what_nobody_else_can_lead() {
    let (cluster, _agents) = running().await;
    let front = &cluster.fronts[&2];
    cluster.fronts[&1].create_topic(named("flights")).await.unwrap();
    let alone = CreateTopic { replication_factor: Some(1), ..named("alone") };
    front.create_topic(alone).await.unwrap();
    let left = front.hand_over(Incarnation(1), Duration::from_secs(5)).await.unwrap();
    let image = cluster.image();
    let alone = image.topics().named("alone").unwrap().id;
    assert_eq!(left.len(), 1);
    assert!(left.iter().all(|id| id.topic == alone));
    let refusal = front.hand_over(Incarnation(9), Duration::from_secs(5)).await.unwrap_err();
    assert_eq!(refusal.code, ErrorCode::StaleBrokerEpoch);
}

#[tokio::test(start_paused = true)]
async fn the_controller_stays_for_those_that_are_stopped_with_it_and_no_longer() {
    let (cluster, _agents) = running().await;
    let begun = Instant::now();
    let hand_over = |node: u32| cluster.fronts[&node].hand_over(Incarnation(1), Duration::from_secs(5));
    let (first, second, third) = tokio::join!(
        async { (hand_over(1).await, begun.elapsed()) },
        async {
            pass(30).await;
            hand_over(2).await
        },
        async {
            pass(60).await;
            hand_over(3).await
        }
    );
    let (first, stayed) = first;
    assert!(first.is_ok() && second.is_ok() && third.is_ok());
    // The last of them has nobody to hand anything to, and here nobody hears it go.
    assert!((60..=110).contains(&stayed.as_millis()), "{stayed:?}");
}

#[tokio::test(start_paused = true)]
async fn the_last_node_of_a_stopping_cluster_waits_for_nobody() {
    let (cluster, _agents) = running().await;
    cluster.fronts[&1].create_topic(named("flights")).await.unwrap();
    for node in [1, 2] {
        cluster.fronts[&node].hand_over(Incarnation(1), Duration::from_secs(5)).await.unwrap();
    }
    cluster.quorum.lead(None);
    let begun = Instant::now();
    let left = cluster.fronts[&3].hand_over(Incarnation(1), Duration::from_secs(5)).await.unwrap();
    assert_eq!(begun.elapsed().as_millis(), 0);
    assert!(!left.is_empty(), "it leads what others had handed to it");
}

#[tokio::test(start_paused = true)]
async fn a_node_whose_quorum_says_goodbye_while_it_hands_over_waits_no_longer() {
    let (cluster, _agents) = running().await;
    cluster.quorum.lead(None);
    let begun = Instant::now();
    let handing_over = cluster.fronts[&3].hand_over(Incarnation(1), Duration::from_secs(5));
    let (left, ()) = tokio::join!(handing_over, async {
        pass(100).await;
        cluster.peers.depart(1);
        pass(100).await;
        cluster.peers.depart(2);
    });
    assert!(left.unwrap().is_empty());
    assert_eq!(begun.elapsed().as_millis(), 200);
}

#[tokio::test(start_paused = true)]
async fn a_controller_that_fails_once_is_asked_again() {
    let (cluster, _agents) = running().await;
    cluster.quorum.failures.store(3, Ordering::Relaxed);
    cluster.fronts[&3].create_topic(named("flights")).await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn an_election_that_was_not_needed_is_not_told_as_made_where_it_had_to_be_asked_for_twice() {
    let (cluster, _agents) = running().await;
    cluster.fronts[&1].create_topic(named("flights")).await.unwrap();
    pass(100).await;
    let ids: Vec<_> =
        cluster.image().topics().iter().flat_map(|topic| topic.ids()).map(|(id, _)| id).collect();
    cluster.peers.cut(3);
    let (elected, ()) =
        tokio::join!(cluster.fronts[&3].elect_leaders(ids.clone(), ElectionKind::Preferred), async {
            pass(100).await;
            cluster.peers.heal();
        });
    let elected = elected.unwrap();
    assert_eq!(elected.iter().map(|(id, _)| *id).collect::<Vec<_>>(), ids);
    for (_, result) in elected {
        assert_eq!(result.unwrap_err().code, ErrorCode::ElectionNotNeeded);
    }
}

#[tokio::test(start_paused = true)]
async fn elections_for_more_partitions_than_one_entry_takes_are_asked_for_in_parts() {
    let (cluster, _agents) = running().await;
    let topic = TopicId(uuid::Uuid::from_u128(404));
    let ids: Vec<_> = (0..9_000).map(|index| PartitionId { topic, index }).collect();
    let elected = cluster.fronts[&3].elect_leaders(ids.clone(), ElectionKind::Unclean).await.unwrap();
    assert_eq!(elected.iter().map(|(id, _)| *id).collect::<Vec<_>>(), ids);
    let unknown = |result: &Result<(), Refusal>| {
        result.as_ref().is_err_and(|refusal| refusal.code == ErrorCode::UnknownTopicOrPartition)
    };
    assert!(elected.iter().all(|(_, result)| unknown(result)));
}

#[tokio::test(start_paused = true)]
async fn what_no_frame_holds_is_refused_at_once_and_not_asked_for_again() {
    let (cluster, _agents) = running().await;
    cluster.peers.fit_nothing();
    let begun = Instant::now();
    let refusal = cluster.fronts[&3].create_topic(named("flights")).await.unwrap_err();
    assert_eq!(refusal.code, ErrorCode::InvalidRequest);
    assert_eq!(begun.elapsed().as_millis(), 0);
}

#[tokio::test(start_paused = true)]
async fn replicas_of_more_partitions_than_a_topic_may_have_are_not_passed_on() {
    let (cluster, _agents) = running().await;
    let decided = cluster.quorum.entries().len();
    let given = (0..=i32::try_from(PARTITIONS_MAX).unwrap()).map(|index| (index, vec![])).collect();
    let refusal = cluster.fronts[&3].create_topic_placed(named("flights"), given).await.unwrap_err();
    assert_eq!(refusal.code, ErrorCode::InvalidReplicaAssignment);
    assert_eq!(cluster.quorum.entries().len(), decided);
}

#[tokio::test(start_paused = true)]
async fn placed_replicas_are_asked_for_only_where_every_node_understands_that() {
    let cluster = Cluster::new().await;
    pass(200).await;
    let front = &cluster.fronts[&3];
    let refusal = front.create_topic_placed(named("flights"), vec![(0, vec![NodeId(1)])]).await.unwrap_err();
    assert_eq!(refusal.code, ErrorCode::UnsupportedVersion);
    let more = CreatePartitions { name: "flights".to_owned(), total: 4 };
    let refusal = front.create_partitions_placed(more.clone(), vec![vec![NodeId(1)]]).await.unwrap_err();
    assert_eq!(refusal.code, ErrorCode::UnsupportedVersion);
    for refused in [
        check_topic_placed(&front.image(), &named("flights"), &[]),
        check_partitions_placed(&front.image(), &more, &[]),
    ] {
        assert_eq!(refused.unwrap_err().code, ErrorCode::UnsupportedVersion);
    }
}

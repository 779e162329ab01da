use tokio::time::{Instant, sleep};

use super::*;
use crate::cluster::fixture::Cluster;
use crate::cluster::message::CreateTopic;
use crate::cluster::message::nodes::RegisterNode;
use crate::image::fixture::registration;
use crate::image::{Features, NodeState};

async fn pass(milliseconds: u64) {
    sleep(Duration::from_millis(milliseconds)).await;
}

fn health(agent: &AgentHandle) -> NodeHealth {
    *agent.health().borrow()
}

fn six_partitions() -> CreateTopic {
    CreateTopic {
        name: "flights".to_owned(),
        partitions: Some(6),
        replication_factor: None,
        config: std::collections::BTreeMap::new(),
    }
}

#[tokio::test(start_paused = true)]
async fn a_node_is_live_with_a_lease_a_few_milliseconds_after_its_start() {
    let cluster = Cluster::new().await;
    let agent = cluster.agent(2, 1).await;
    pass(40).await;
    assert_eq!(cluster.live(), [2]);
    assert_eq!(cluster.peers.address(2), None, "it needs no address of itself");
    pass(110).await;
    assert!(agent.lease().holds(Instant::now()));
    let expected =
        NodeHealth { standing: NodeStanding::Live, quorum_seen: true, was_live: true, quorum_lost: false };
    assert_eq!(health(&agent), expected);
    let _other = cluster.agent(3, 1).await;
    pass(40).await;
    assert_eq!(cluster.peers.address(3).unwrap(), "node3.example:9092");
}

#[tokio::test(start_paused = true)]
async fn when_a_node_dies_its_leaders_move_and_its_lease_was_over_before() {
    let cluster = Cluster::new().await;
    let agents = [cluster.agent(1, 1).await, cluster.agent(2, 1).await, cluster.agent(3, 1).await];
    pass(150).await;
    cluster.fronts[&2].create_topic(six_partitions()).await.unwrap();
    cluster.peers.cut(3);
    let cut_at = Instant::now();
    let mut lease_over_at = None;
    while cluster.live().len() == 3 {
        if !agents[2].lease().holds(Instant::now()) {
            lease_over_at.get_or_insert(Instant::now());
        }
        pass(1).await;
    }
    assert!(cut_at.elapsed().as_millis() <= 460, "{:?}", cut_at.elapsed());
    assert!(lease_over_at.is_some_and(|at| at < Instant::now()));
    let image = cluster.image();
    let states: Vec<_> = image.topics().iter().flat_map(|topic| topic.partitions.iter()).collect();
    assert!(states.iter().all(|state| state.leader.is_some_and(|leader| leader.node != NodeId(3))));
    cluster.peers.heal();
    pass(1_000).await;
    assert_eq!(cluster.live(), [1, 2, 3], "heard again, it is live again");
    assert!(agents[2].lease().holds(Instant::now()));
}

#[tokio::test(start_paused = true)]
async fn a_change_of_controller_costs_no_live_node_its_leaderships() {
    let cluster = Cluster::new().await;
    let agents = [cluster.agent(1, 1).await, cluster.agent(2, 1).await, cluster.agent(3, 1).await];
    pass(1_000).await;
    let before = cluster.quorum.entries().len();
    cluster.quorum.lead(Some(2));
    pass(2_000).await;
    assert_eq!(cluster.live(), [1, 2, 3]);
    let decided = cluster.quorum.entries().split_off(before);
    assert_eq!(decided, [vec![]], "it only caught up");
    assert!(agents.iter().all(|agent| agent.lease().holds(Instant::now())));
}

#[tokio::test(start_paused = true)]
async fn a_node_without_a_quorum_says_so_and_heals_without_hands() {
    let cluster = Cluster::new().await;
    let agent = cluster.agent(1, 1).await;
    pass(500).await;
    cluster.quorum.lead(None);
    pass(500).await;
    assert!(!agent.lease().holds(Instant::now()));
    assert!(!health(&agent).quorum_lost, "a change of controller is no loss");
    pass(60_000).await;
    assert!(health(&agent).quorum_lost && health(&agent).quorum_seen);
    cluster.quorum.lead(Some(3));
    pass(300).await;
    assert!(!health(&agent).quorum_lost);
    assert!(agent.lease().holds(Instant::now()));
}

#[tokio::test(start_paused = true)]
async fn a_node_that_starts_without_a_quorum_registers_when_there_is_one() {
    let cluster = Cluster::new().await;
    cluster.quorum.lead(None);
    let agent = cluster.agent(1, 1).await;
    pass(20_000).await;
    assert!(!health(&agent).quorum_seen && !health(&agent).quorum_lost);
    cluster.quorum.lead(Some(1));
    pass(300).await;
    assert_eq!(cluster.live(), [1]);
}

#[tokio::test(start_paused = true)]
async fn of_two_processes_with_one_node_id_the_earlier_gives_way() {
    let cluster = Cluster::new().await;
    let zombie = cluster.agent(2, 1).await;
    pass(300).await;
    let agent = cluster.agent(2, 2).await;
    pass(300).await;
    assert_eq!(health(&zombie).standing, NodeStanding::Superseded);
    assert!(!zombie.lease().holds(Instant::now()));
    assert_eq!(health(&agent).standing, NodeStanding::Live);
    pass(3_000).await;
    assert_eq!(cluster.image().nodes().get(NodeId(2)).unwrap().incarnation, Incarnation(2));
    let late = cluster.agent(2, 1).await;
    pass(300).await;
    assert_eq!(health(&late).standing, NodeStanding::Superseded);
}

#[tokio::test(start_paused = true)]
async fn directories_that_failed_are_no_longer_registered() {
    let cluster = Cluster::new().await;
    let agent = cluster.agent(2, 1).await;
    pass(100).await;
    let other = crate::image::fixture::directory(22);
    agent.set_directories(vec![other]);
    pass(100).await;
    let image = cluster.image();
    let known = image.nodes().get(NodeId(2)).unwrap();
    assert_eq!((known.directories.as_slice(), known.state), ([other].as_slice(), NodeState::Live));
}

#[tokio::test(start_paused = true)]
async fn an_agent_flooded_with_directories_registers_the_latest_and_lives_on() {
    let cluster = Cluster::new().await;
    let agent = cluster.agent(2, 1).await;
    pass(100).await;
    let entries = cluster.quorum.entries().len();
    for number in 0..20_000 {
        agent.set_directories(vec![crate::image::fixture::directory(100 + number)]);
    }
    pass(100).await;
    let image = cluster.image();
    let known = image.nodes().get(NodeId(2)).unwrap();
    let latest = crate::image::fixture::directory(100 + 19_999);
    assert_eq!((known.directories.as_slice(), known.state), ([latest].as_slice(), NodeState::Live));
    assert!(cluster.quorum.entries().len() - entries <= 2, "one message for all of them");
}

#[tokio::test(start_paused = true)]
async fn a_stopped_agent_is_a_dead_node() {
    let cluster = Cluster::new().await;
    let agents = [cluster.agent(1, 1).await, cluster.agent(2, 1).await];
    pass(150).await;
    agents[1].actor().stop(None);
    pass(520).await;
    assert_eq!(cluster.live(), [1]);
}

#[tokio::test(start_paused = true)]
async fn listeners_are_told_with_the_registration_or_once_all_nodes_understand_them() {
    let cluster = Cluster::new().await;
    let told = |node: u32| cluster.image().listeners().of_node(NodeId(node)).map(<[_]>::len);
    let of_earlier = registration(3, 1);
    let register = RegisterNode {
        node: of_earlier.node,
        incarnation: of_earlier.incarnation,
        address: of_earlier.address,
        directories: of_earlier.directories,
        doubts: vec![],
        feature_level: Features::FIRST,
    };
    let deadline = Instant::now() + Duration::from_secs(1);
    cluster.fronts[&1].ask_controller(register, deadline).await.unwrap();
    let listener = AdvertisedListener { name: "SSL".to_owned(), host: "a".to_owned(), port: 9093 };
    let _first = cluster.agent_listening(1, 1, vec![listener.clone()]).await;
    pass(200).await;
    assert_eq!((cluster.live(), told(1)), (vec![1], None), "node 3 does not understand them");
    let _upgraded = cluster.agent(3, 2).await;
    pass(200).await;
    assert_eq!(
        (cluster.live(), told(1), told(3)),
        (vec![1, 3], Some(1), Some(0)),
        "one that has none says so"
    );
    let _second = cluster.agent_listening(2, 1, vec![listener]).await;
    pass(200).await;
    assert_eq!(told(2), Some(1));
    let decided = cluster.image().version();
    pass(1_000).await;
    assert_eq!(cluster.image().version(), decided, "nothing is told twice");
}

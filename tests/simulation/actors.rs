//! Named actors: one owner at a time whatever happens, and everybody is told the same.

use std::time::Duration;

use millstream::{
    ActorCalls, ActorContext, ActorEnd, ActorId, ActorMessage, ActorSettings, CallError, Handled, NamedActor,
    NodeActors, NodeId,
};
use millstream_tests::simulated::{SimulatedCluster, over_seeds, tell};
use tokio::time::{Instant, sleep, timeout};

const WITHIN: Duration = Duration::from_secs(1);

/// The name in question.
const NAME: &str = "till";

/// Longer than any lease, and than a dead node takes to be known as one.
const UNTIL_DEAD: Duration = Duration::from_secs(3);

#[derive(Debug, serde::Serialize, serde::Deserialize)]
struct Count;

/// Who counted, and how far.
type Counted = (u32, u64, u64);

impl ActorMessage for Count {
    const NAME: &'static str = "count";
    type Answer = Counted;
}

/// Counts what it is asked.
#[derive(Default)]
struct Counter(u64);

impl NamedActor for Counter {
    const KIND: &'static str = "counter";
    type Message = Count;

    async fn handle(&mut self, _: Count, context: &ActorContext) -> Handled<Count> {
        self.0 += 1;
        let ActorId { node, serial, .. } = context.actor();
        Ok((node.0, serial, self.0))
    }
}

fn actors(cluster: &SimulatedCluster, node: NodeId) -> NodeActors {
    cluster.node(node).expect("the node runs").actors().clone()
}

/// Begins an actor of this name on a node, as soon as the name is free.
async fn begin(cluster: &SimulatedCluster, node: NodeId) -> ActorId {
    let until = Instant::now() + Duration::from_secs(20);
    loop {
        match actors(cluster, node).spawn(NAME, ActorSettings::default(), Counter::default).await {
            Ok(actor) => return actor.actor(),
            Err(error) => assert!(Instant::now() < until, "{NAME} is not begun on node {node}: {error}"),
        }
        sleep(Duration::from_millis(50)).await;
    }
}

/// A node that is not the controller, and another.
async fn followers(cluster: &mut SimulatedCluster) -> (NodeId, NodeId, NodeId) {
    let client = cluster.client();
    let controller = cluster.controller(&client).await;
    match cluster.others(&[controller]).as_slice() {
        [first, second] => (controller, *first, *second),
        others => panic!("three nodes, not {others:?} and the controller"),
    }
}

/// Asks until there is an answer: who gave it, and how far it had counted.
async fn answered_by(calls: &ActorCalls) -> (NodeId, u64) {
    let until = Instant::now() + Duration::from_secs(20);
    loop {
        match calls.ask(NAME, &Count, WITHIN).await {
            Ok((node, _, count)) => return (NodeId(node), count),
            Err(error) => assert!(Instant::now() < until, "{NAME} does not answer: {error}"),
        }
        sleep(Duration::from_millis(50)).await;
    }
}

/// An answer: who gave it, when it was asked for, and when it came.
#[derive(Clone, Copy, Debug)]
struct Answer {
    owner: (u32, u64),
    count: u64,
    asked_at: Instant,
    came_at: Instant,
}

/// Asks all the time, until the time is over; the answers, and the last refusal.
async fn ask_on(calls: ActorCalls, how_long: Duration) -> (Vec<Answer>, Option<CallError>) {
    let until = Instant::now() + how_long;
    let (mut answers, mut refusal) = (Vec::new(), None);
    while Instant::now() < until {
        let asked_at = Instant::now();
        match calls.ask(NAME, &Count, Duration::from_millis(300)).await {
            Ok((node, serial, count)) => {
                let came_at = Instant::now();
                answers.push(Answer { owner: (node, serial), count, asked_at, came_at });
            }
            Err(error) => refusal = Some(error),
        }
        sleep(Duration::from_millis(10)).await;
    }
    (answers, refusal)
}

/// Once another owner has answered, nobody who asks then is answered by the one before.
fn no_two_owners(answers: &mut [Answer]) {
    answers.sort_by_key(|answer| answer.came_at);
    let mut owners: Vec<((u32, u64), Instant)> = Vec::new();
    for answer in answers.iter() {
        let known = owners.iter().position(|(owner, _)| *owner == answer.owner);
        match known {
            None => owners.push((answer.owner, answer.came_at)),
            Some(place) => {
                let next = owners.get(place + 1);
                assert!(
                    next.is_none_or(|(_, since)| answer.asked_at < *since),
                    "{answer:?} although {next:?} had answered before it was asked for"
                );
            }
        }
    }
    // No answer of one owner was given twice: each counted a turn of its own.
    let mut turns: Vec<_> = answers.iter().map(|answer| (answer.owner, answer.count)).collect();
    turns.sort_unstable();
    turns.dedup();
    assert_eq!(turns.len(), answers.len(), "a turn was answered twice");
}

#[test]
fn the_name_of_a_killed_node_is_free_and_all_watchers_are_told_the_same_once() {
    over_seeds("the_name_of_a_killed_node_is_free", 0..3, |simulation| async move {
        let mut cluster = SimulatedCluster::start(&simulation, 3).await;
        let (controller, owner, other) = followers(&mut cluster).await;
        begin(&cluster, owner).await;
        let client = cluster.client();
        let watching = [
            actors(&cluster, controller).calls().clone(),
            actors(&cluster, other).calls().clone(),
            client.actors(),
        ];
        let watching = watching.map(|calls| actix_rt::spawn(async move { calls.watch(NAME).await }));
        let mut watch = client.actors().watch_name(NAME);
        let first = watch.next().await;
        assert_eq!(first.owner.map(|owner| owner.node), Some(owner));
        sleep(Duration::from_secs(1)).await;

        tell("the owner's node is killed");
        cluster.kill(owner);
        let killed_at = Instant::now();
        let next = begin(&cluster, other).await;
        tell(&format!("another owner after {:?}", killed_at.elapsed()));
        let mut ends = Vec::new();
        for watch in watching {
            ends.push(watch.await.expect("no watcher panics").expect("the name was there"));
        }
        assert!(matches!(ends.as_slice(), [ActorEnd::NodeLost(_), ..]), "{ends:?}");
        assert!(ends.iter().all(|end| Some(end) == ends.first()), "all are told the same: {ends:?}");
        let changes = [watch.next().await, watch.next().await];
        assert_eq!(changes.map(|change| change.owner), [None, Some(next)]);
        assert_eq!(answered_by(&client.actors()).await, (other, 1), "the new owner begins anew");
    });
}

#[test]
fn a_node_that_is_cut_off_refuses_and_says_why_and_no_two_owners_answer() {
    over_seeds("a_node_that_is_cut_off_refuses", 0..3, |simulation| async move {
        let mut cluster = SimulatedCluster::start(&simulation, 3).await;
        let (_, owner, other) = followers(&mut cluster).await;
        begin(&cluster, owner).await;
        let (inside, outside) = (cluster.client(), cluster.client());
        for client in [&inside, &outside] {
            client.actors().ask(NAME, &Count, WITHIN).await.expect("all is well");
        }
        let with_it: Vec<_> = cluster.client_addresses().into_iter().rev().skip(1).take(1).collect();
        let asking = [inside.actors(), outside.actors(), actors(&cluster, owner).calls().clone()]
            .map(|calls| actix_rt::spawn(ask_on(calls, Duration::from_secs(25))));
        sleep(Duration::from_secs(1)).await;

        tell("the owner's node is cut off, with one client");
        cluster.cut_off_with(&[owner], &with_it);
        sleep(UNTIL_DEAD).await;
        let refused = actors(&cluster, owner).ask(NAME, &Count, WITHIN).await;
        assert!(
            matches!(&refused, Err(CallError::NoQuorum(why)) if why.contains("lease")),
            "the minority says why: {refused:?}"
        );
        let alone = actors(&cluster, owner);
        let spawned = timeout(
            Duration::from_secs(20),
            alone.spawn("another", ActorSettings::default(), Counter::default),
        );
        let refused = spawned.await.expect("it ends").map(|actor| actor.actor());
        assert!(matches!(&refused, Err(CallError::NoQuorum(_))), "{refused:?}");
        let next = begin(&cluster, other).await;
        assert_eq!(next.node, other);
        cluster.network().heal();
        let mut answers = Vec::new();
        for asking in asking {
            let (some, refusal) = asking.await.expect("nobody panics");
            tell(&format!("{} answers, last refusal {refusal:?}", some.len()));
            answers.extend(some);
        }
        no_two_owners(&mut answers);
        let owners: std::collections::BTreeSet<u32> = answers.iter().map(|a| a.owner.0).collect();
        assert_eq!(owners, [owner.0, other.0].into(), "both have answered, one after the other");
        assert_eq!(answered_by(&inside.actors()).await.0, other);
    });
}

#[test]
fn a_singleton_moves_when_its_node_dies_and_exists_once() {
    over_seeds("a_singleton_moves", 0..2, |simulation| async move {
        let mut cluster = SimulatedCluster::start(&simulation, 3).await;
        let (_, first, second) = followers(&mut cluster).await;
        for node in [first, second] {
            let standing = actors(&cluster, node);
            let stands = standing.host_singleton(NAME, ActorSettings::default(), Counter::default).await;
            stands.expect("the node stands for the name");
        }
        let client = cluster.client();
        assert_eq!(answered_by(&client.actors()).await.0, first);
        let asking = actix_rt::spawn(ask_on(client.actors(), Duration::from_secs(6)));
        sleep(Duration::from_secs(1)).await;
        cluster.kill(first);
        let (mut answers, _) = asking.await.expect("nobody panics");
        no_two_owners(&mut answers);
        assert_eq!(answers.last().map(|answer| answer.owner.0), Some(second.0));
        cluster.restart(first).await;
        cluster.until_ready().await;
        assert_eq!(
            answered_by(&client.actors()).await.0,
            second,
            "a node that comes back takes nothing from another"
        );
    });
}

#[test]
fn a_node_that_stops_in_order_frees_its_names_at_once() {
    over_seeds("a_node_that_stops_frees_its_names", 0..2, |simulation| async move {
        let mut cluster = SimulatedCluster::start(&simulation, 3).await;
        let (_, owner, other) = followers(&mut cluster).await;
        begin(&cluster, owner).await;
        let watching = actors(&cluster, other);
        let watching = actix_rt::spawn(async move { watching.watch(NAME).await });
        sleep(Duration::from_millis(200)).await;
        cluster.stop(owner).await;
        let end = watching.await.expect("nobody panics").expect("the name was there");
        assert!(matches!(end, ActorEnd::Stopped(_) | ActorEnd::NodeLost(_)), "{end:?}");
        let stopped_at = Instant::now();
        assert_eq!(begin(&cluster, other).await.node, other);
        tell(&format!("the name was free after {:?}", stopped_at.elapsed()));
    });
}

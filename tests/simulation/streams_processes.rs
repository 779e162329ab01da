//! Several processes of one application of streams: they share its tasks, and what comes out is as if there were one that
//! nothing happens to.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use millstream::streams::{Streams, StreamsSettings};
use millstream::{Client, StreamsGroupDescription};
use millstream_tests::simulated::{SimulatedCluster, over_seeds, tell};
use rand::rngs::SmallRng;
use rand::{Rng, SeedableRng};

use crate::streams::{PATIENCE, begin_with, named, send_lines, until_counted, with_topics, word_count};

/// How long tasks may take to be where they belong: the session time-out of a process that died, and what comes after.
const DEALT_OUT: Duration = Duration::from_secs(40);

const GROUP: &str = "word-count";

/// Waits until the group looks so.
async fn until(
    client: &Client,
    what: &str,
    is_so: impl Fn(&StreamsGroupDescription) -> bool,
) -> StreamsGroupDescription {
    let until = tokio::time::Instant::now() + DEALT_OUT;
    loop {
        let described = client.admin().describe_streams_group(GROUP).await;
        if let Ok(group) = &described
            && is_so(group)
        {
            return described.expect("it was looked at");
        }
        assert!(tokio::time::Instant::now() < until, "{what}: not in time; the group is {described:?}");
        tokio::time::sleep(Duration::from_millis(200)).await;
    }
}

/// Each task runs at one of so many processes, and none has two tasks more than another.
fn is_shared_by(group: &StreamsGroupDescription, processes: usize) -> bool {
    let tasks: usize = group.topology.iter().flat_map(|it| &it.parts).map(|it| it.tasks as usize).sum();
    let each: Vec<usize> = group.members.values().map(|it| it.running.active.len()).collect();
    let all: BTreeSet<_> = group.members.values().flat_map(|it| &it.running.active).collect();
    let is_even = each.iter().max().zip(each.iter().min()).is_some_and(|(most, least)| most - least <= 1);
    let is_settled = group.members.values().all(|it| it.running.active == it.wanted.active);
    each.len() == processes && all.len() == tasks && is_even && is_settled
}

#[test]
fn tasks_of_a_process_that_dies_go_on_in_another() {
    over_seeds("tasks_of_a_process_that_dies", 0..2, |simulation| async move {
        let mut rng = SmallRng::seed_from_u64(simulation.seed_of("scenario"));
        let mut cluster = SimulatedCluster::start(&simulation, 3).await;
        let client = with_topics(&mut cluster, &["lines", "word-counts"]).await;
        let (other, topology) = (cluster.client(), word_count());
        let one = begin_with(&client, &topology, named("one")).await;
        let two = begin_with(&other, &topology, named("two")).await;
        until(&client, "two processes share the tasks", |group| is_shared_by(group, 2)).await;
        let mut wanted = send_lines(&client, &mut rng, 200).await;
        tokio::time::sleep(Duration::from_millis(rng.random_range(0..400))).await;
        tell("one is killed");
        drop(one);
        for (word, count) in send_lines(&client, &mut rng, 200).await {
            *wanted.entry(word).or_default() += count;
        }
        until_counted(&client, "word-counts", &wanted).await;
        until(&client, "one process has all tasks", |group| is_shared_by(group, 1)).await;
        two.close(PATIENCE).await.expect("it closes");
        cluster.stop_all().await;
    });
}

#[test]
fn processes_come_and_go_and_each_word_is_counted_once() {
    over_seeds("processes_come_and_go", 0..2, |simulation| async move {
        let mut rng = SmallRng::seed_from_u64(simulation.seed_of("scenario"));
        let mut cluster = SimulatedCluster::start(&simulation, 3).await;
        let client = with_topics(&mut cluster, &["lines", "word-counts"]).await;
        let (clients, topology) = ([client.clone(), cluster.client(), cluster.client()], word_count());
        let (mut wanted, mut running) = (BTreeMap::new(), BTreeMap::<usize, Streams>::new());
        for round in 0..10_usize {
            let process = rng.random_range(0..clients.len());
            match running.remove(&process) {
                Some(streams) if rng.random_bool(0.5) => {
                    tell(&format!("process {process} is killed"));
                    drop(streams);
                }
                Some(streams) => {
                    tell(&format!("process {process} is closed"));
                    streams.close(PATIENCE).await.expect("it closes");
                }
                None => {
                    tell(&format!("process {process} starts"));
                    // Under the name of its earlier life, or under a new one.
                    let name = if round % 3 == 0 { format!("new-{round}") } else { format!("old-{process}") };
                    let settings = named(&name);
                    let client = clients.get(process).expect("there is one");
                    let streams = Streams::start(client, &topology, settings).await.expect("it starts");
                    running.insert(process, streams);
                }
            }
            for (word, count) in send_lines(&client, &mut rng, 60).await {
                *wanted.entry(word).or_default() += count;
            }
            tokio::time::sleep(Duration::from_millis(rng.random_range(0..6_000))).await;
        }
        running.clear();
        let last = begin_with(&client, &topology, named("last")).await;
        until_counted(&client, "word-counts", &wanted).await;
        last.close(PATIENCE).await.expect("it closes");
        cluster.stop_all().await;
    });
}

#[test]
fn a_process_that_was_cut_off_commits_nothing_when_it_is_back() {
    over_seeds("a_process_that_was_cut_off", 0..2, |simulation| async move {
        let mut rng = SmallRng::seed_from_u64(simulation.seed_of("scenario"));
        let mut cluster = SimulatedCluster::start(&simulation, 3).await;
        let client = with_topics(&mut cluster, &["lines", "word-counts"]).await;
        let (other, topology) = (cluster.client(), word_count());
        let cut = *cluster.client_addresses().last().expect("there are clients");
        let one = begin_with(&client, &topology, named("one")).await;
        let two = begin_with(&other, &topology, named("two")).await;
        until(&client, "two processes share the tasks", |group| is_shared_by(group, 2)).await;
        let mut wanted = send_lines(&client, &mut rng, 100).await;
        tell("process two is cut off");
        cluster.cut_off_with(&[], &[cut]);
        for (word, count) in send_lines(&client, &mut rng, 100).await {
            *wanted.entry(word).or_default() += count;
        }
        until(&client, "the other has all tasks", |group| is_shared_by(group, 1)).await;
        tell("process two is back");
        cluster.heal().await;
        for (word, count) in send_lines(&client, &mut rng, 100).await {
            *wanted.entry(word).or_default() += count;
        }
        until(&client, "both share the tasks again", |group| is_shared_by(group, 2)).await;
        until_counted(&client, "word-counts", &wanted).await;
        one.close(PATIENCE).await.expect("it closes");
        two.close(PATIENCE).await.expect("it closes");
        cluster.stop_all().await;
    });
}

#[test]
fn a_copy_takes_over_from_a_process_that_dies() {
    over_seeds("a_copy_takes_over", 0..2, |simulation| async move {
        let mut rng = SmallRng::seed_from_u64(simulation.seed_of("scenario"));
        let mut cluster = SimulatedCluster::start(&simulation, 3).await;
        let client = with_topics(&mut cluster, &["lines", "word-counts"]).await;
        let (other, topology) = (cluster.client(), word_count());
        let with_copies = |name| StreamsSettings { standbys: 1, ..named(name) };
        let one = begin_with(&client, &topology, with_copies("one")).await;
        let two = begin_with(&other, &topology, with_copies("two")).await;
        let mut wanted = send_lines(&client, &mut rng, 200).await;
        let group = until(&client, "each holds copies of the other's", |group| {
            let has_copies = |it: &BTreeSet<_>| !it.is_empty();
            is_shared_by(group, 2) && group.members.values().all(|it| has_copies(&it.running.standby))
        })
        .await;
        let held = |name: &str| group.members.values().find(|it| it.instance == name);
        let copies = held("two").map(|it| it.running.standby.clone()).unwrap_or_default();
        tell("one is killed");
        drop(one);
        let group = until(&client, "one process has all tasks", |group| is_shared_by(group, 1)).await;
        let runs = group.members.values().flat_map(|it| &it.running.active).copied().collect::<BTreeSet<_>>();
        assert!(runs.is_superset(&copies), "{copies:?} went on as {runs:?}");
        for (word, count) in send_lines(&client, &mut rng, 100).await {
            *wanted.entry(word).or_default() += count;
        }
        until_counted(&client, "word-counts", &wanted).await;
        two.close(PATIENCE).await.expect("it closes");
        cluster.stop_all().await;
    });
}

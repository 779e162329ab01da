//! One fault after another while a client writes: what it was told is there, in order, once, and nobody ever leads beside
//! another.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use millstream_transport::world::{DiskCall, Random};
use tokio::time::sleep;

use super::harness::{Cluster, Live, with};
use super::{ALL, others};
use crate::cluster::quorum::storage::lock;

/// Writes without end; keeps what was acknowledged.
async fn write(live: Live, acknowledged: Arc<Mutex<Vec<String>>>) {
    for number in 0_u64.. {
        if let Some(quorum) = live.leased() {
            // Another text every time: one whose outcome is uncertain is never tried again.
            let entry = number.to_string();
            if quorum.propose(entry.clone().into_bytes()).await.is_ok() {
                lock(&acknowledged).push(entry);
            }
        }
        sleep(Duration::from_millis(3)).await;
    }
}

/// One fault and its end.
async fn fault(cluster: &mut Cluster, draws: &Random) {
    let node = ALL[usize::try_from(draws.range(0, 3)).unwrap()];
    let other = others(node)[usize::try_from(draws.range(0, 2)).unwrap()];
    let while_ms = Duration::from_millis(draws.range(50, 2500));
    match draws.range(0, 10) {
        0 | 1 => {
            cluster.isolate(node, true);
            sleep(while_ms).await;
            cluster.isolate(node, false);
        }
        2 => {
            cluster.one_way(node, other, true);
            sleep(while_ms).await;
            cluster.one_way(node, other, false);
        }
        3 => {
            cluster.cut_power(node).await;
            sleep(while_ms).await;
            cluster.start(node).await;
        }
        4 => {
            cluster.kill(node).await;
            cluster.start(node).await;
        }
        5 => {
            for node in ALL {
                cluster.cut_power(node).await;
            }
            for node in ALL {
                cluster.start(node).await;
            }
        }
        6 => {
            let call = if draws.chance(0.5) { DiskCall::Sync } else { DiskCall::Write };
            cluster.disk(node).fail(call, Cluster::path(), 1);
            sleep(while_ms).await;
            cluster.disk(node).fail_nothing();
            cluster.disk(node).evict_cache();
            cluster.kill(node).await;
            cluster.start(node).await;
        }
        7 => {
            cluster.disk(node).slow(Duration::from_millis(100)..=Duration::from_millis(1500));
            sleep(while_ms).await;
            cluster.disk(node).slow(Duration::from_millis(1)..=Duration::from_millis(2));
        }
        8 => {
            cluster.kill(node).await;
            cluster.disk(node).empty_directory(Cluster::path()).unwrap();
            cluster.start(node).await;
            let new = cluster.quorums[&node].me();
            cluster.until("it has its place again", || cluster.voters(other).contains(&new)).await;
        }
        _ => {
            cluster.lose(0.1);
            sleep(while_ms).await;
            cluster.lose(0.0);
        }
    }
}

fn run(seed: u64, faults: u64) -> u64 {
    with(seed, &ALL, |mut cluster| async move {
        cluster.limits.snapshot_entries = 100;
        cluster.limits.keep_entries = 20;
        let acknowledged = Arc::new(Mutex::new(Vec::new()));
        let writer = tokio::spawn(write(cluster.live(), acknowledged.clone()));
        let live = cluster.live();
        let watcher = tokio::spawn(async move {
            loop {
                let _one = live.leased();
                sleep(Duration::from_millis(1)).await;
            }
        });
        let draws = Random::seeded(seed);
        for _ in 0..faults {
            fault(&mut cluster, &draws).await;
            sleep(Duration::from_millis(draws.range(0, 800))).await;
        }
        sleep(Duration::from_secs(2)).await;
        assert!(!writer.is_finished() && !watcher.is_finished(), "two nodes had a lease");
        writer.abort();
        watcher.abort();
        let seen = cluster.agreed(&ALL).await;
        let acknowledged = lock(&acknowledged).clone();
        assert!(acknowledged.len() > 100, "only {} writes", acknowledged.len());
        let mut rest = seen.iter();
        for entry in &acknowledged {
            assert!(
                rest.any(|other| other == entry),
                "seed {seed}: {entry} is lost, doubled or out of order"
            );
        }
        cluster.trace_hash()
    })
}

#[test]
fn what_was_acknowledged_outlives_one_fault_after_another() {
    // More: MILLSTREAM_SEEDS=1000..1100 cargo test -p millstream-actors --lib quorum::tests::chaos
    let seeds = std::env::var("MILLSTREAM_SEEDS").unwrap_or_default();
    let bound = |text: &str| text.parse::<u64>().unwrap();
    let (from, to) = seeds.split_once("..").map_or((0, 12), |(from, to)| (bound(from), bound(to)));
    for seed in from..to {
        run(seed, 15);
    }
}

#[test]
fn a_run_of_faults_repeats_from_its_seed() {
    assert_eq!(run(100, 8), run(100, 8));
}

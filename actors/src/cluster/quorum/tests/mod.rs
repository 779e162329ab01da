//! Whole quorums in simulation.

mod chaos;
mod faults;
mod harness;
mod members;
mod quic;
mod recovery;

use std::time::Duration;

use tokio::time::{Instant, sleep};

use harness::with;

const ALL: [u32; 3] = [1, 2, 3];

fn others(node: u32) -> Vec<u32> {
    ALL.into_iter().filter(|other| *other != node).collect()
}

fn numbers(count: usize) -> Vec<String> {
    (0..count).map(|number| number.to_string()).collect()
}

#[test]
fn three_elect_a_leader_and_apply_the_same() {
    with(1, &ALL, |cluster| async move {
        let begun = Instant::now();
        let leader = cluster.leader_of(&ALL).await;
        assert!(begun.elapsed() < Duration::from_millis(300), "{:?}", begun.elapsed());
        for number in 0..100 {
            let outcome = cluster.quorums[&leader].propose(number.to_string().into_bytes()).await.unwrap();
            assert_eq!(outcome, (number + 1).to_string().into_bytes());
        }
        assert_eq!(cluster.agreed(&ALL).await, numbers(100));
        for node in ALL {
            let health = cluster.quorums[&node].health();
            assert_eq!(health.leader.map(|node| node.0), Some(leader));
            assert_eq!((health.term, health.voters.len(), health.failed), (1, 3, None));
        }
    });
}

#[test]
fn a_lost_leader_is_replaced_within_the_budget() {
    let mut times: Vec<Duration> = (0..30)
        .map(|seed| {
            with(seed, &ALL, |cluster| async move {
                cluster.write(&ALL, "before").await;
                sleep(Duration::from_millis(1000 + 7 * seed)).await;
                let old = cluster.leader_of(&ALL).await;
                cluster.isolate(old, true);
                let begun = Instant::now();
                cluster.write(&others(old), "after").await;
                let took = begun.elapsed();
                cluster.isolate(old, false);
                assert_eq!(cluster.agreed(&ALL).await, ["before", "after"]);
                took
            })
        })
        .collect();
    times.sort_unstable();
    assert!(times[times.len() - 1] <= Duration::from_millis(900), "{times:?}");
    assert!(times[times.len() / 2] <= Duration::from_millis(450), "{times:?}");
}

#[test]
fn a_voter_that_comes_back_deposes_nobody() {
    for seed in 0..20 {
        with(seed, &ALL, |cluster| async move {
            let leader = cluster.write(&ALL, "x").await;
            let term = cluster.quorums[&leader].health().term;
            let away = others(leader)[0];
            cluster.isolate(away, true);
            sleep(Duration::from_secs(10)).await;
            cluster.isolate(away, false);
            for _ in 0..2000 {
                assert!(cluster.leads(leader), "the leader was deposed (seed {seed})");
                sleep(Duration::from_millis(1)).await;
            }
            assert_eq!(cluster.quorums[&away].health().term, term);
        });
    }
}

#[test]
fn a_leader_without_a_majority_says_so_within_its_lease() {
    with(5, &ALL, |cluster| async move {
        let leader = cluster.write(&ALL, "x").await;
        cluster.isolate(leader, true);
        sleep(Duration::from_millis(301)).await;
        assert!(!cluster.leads(leader));
        assert!(!cluster.quorums[&leader].is_leader_with_lease());
        let refused = cluster.quorums[&leader].propose(b"y".to_vec()).await;
        assert!(matches!(refused, Err(super::ProposeError::NotLeader(_))), "{refused:?}");
    });
}

#[test]
fn a_leader_that_hears_no_answers_makes_way() {
    for seed in 0..5 {
        with(seed, &ALL, |cluster| async move {
            let leader = cluster.write(&ALL, "before").await;
            for other in others(leader) {
                cluster.one_way(other, leader, true);
            }
            let begun = Instant::now();
            cluster.write(&others(leader), "after").await;
            assert!(begun.elapsed() < Duration::from_secs(3), "{:?}", begun.elapsed());
            for other in others(leader) {
                cluster.one_way(other, leader, false);
            }
            assert_eq!(cluster.agreed(&ALL).await, ["before", "after"]);
        });
    }
}

#[test]
fn it_goes_on_while_messages_are_lost() {
    with(8, &ALL, |cluster| async move {
        cluster.lose(0.05);
        for number in 0..100 {
            cluster.write(&ALL, &number.to_string()).await;
        }
        cluster.lose(0.0);
        let mut seen = cluster.agreed(&ALL).await;
        // One whose outcome was uncertain was written again.
        seen.dedup();
        assert_eq!(seen, numbers(100));
    });
}

#[test]
fn the_same_seed_gives_the_same_messages() {
    let run = |seed| {
        with(seed, &ALL, |mut cluster| async move {
            cluster.lose(0.02);
            for number in 0..20 {
                cluster.write(&ALL, &number.to_string()).await;
            }
            let leader = cluster.leader_of(&ALL).await;
            cluster.cut_power(leader).await;
            cluster.write(&others(leader), "after").await;
            cluster.start(leader).await;
            sleep(Duration::from_secs(2)).await;
            cluster.trace_hash()
        })
    };
    assert_eq!(run(1), run(1));
    assert_eq!(run(2), run(2));
    assert_ne!(run(1), run(2));
}

//! Restarts, power cuts, failing and full disks.

use std::time::Duration;

use millstream_transport::world::DiskCall;
use tokio::time::{Instant, sleep};

use super::harness::{Cluster, with};
use super::{ALL, numbers, others};
use crate::cluster::quorum::ProposeError;

#[test]
fn what_was_committed_outlives_a_power_cut_of_all() {
    for seed in 0..10 {
        with(seed, &ALL, |mut cluster| async move {
            for number in 0..50 {
                cluster.write(&ALL, &number.to_string()).await;
            }
            for node in ALL {
                cluster.cut_power(node).await;
            }
            for node in ALL {
                cluster.start(node).await;
            }
            let begun = Instant::now();
            cluster.write(&ALL, "50").await;
            assert!(begun.elapsed() < Duration::from_millis(1000), "{:?}", begun.elapsed());
            assert_eq!(cluster.agreed(&ALL).await, numbers(51));
        });
    }
}

#[test]
fn a_single_voter_leads_at_once_after_a_restart() {
    with(3, &[1], |mut cluster| async move {
        let begun = Instant::now();
        cluster.write(&[1], "0").await;
        assert!(begun.elapsed() < Duration::from_millis(100), "{:?}", begun.elapsed());
        cluster.cut_power(1).await;
        cluster.start(1).await;
        let begun = Instant::now();
        cluster.write(&[1], "1").await;
        assert!(begun.elapsed() < Duration::from_millis(50), "{:?}", begun.elapsed());
        assert_eq!(cluster.agreed(&[1]).await, numbers(2));
    });
}

#[test]
fn a_restarted_node_knows_what_was_committed_without_the_others() {
    with(4, &ALL, |mut cluster| async move {
        for number in 0..10 {
            cluster.write(&ALL, &number.to_string()).await;
        }
        sleep(Duration::from_secs(2)).await;
        for node in ALL {
            cluster.kill(node).await;
        }
        cluster.start(2).await;
        assert_eq!(cluster.agreed(&[2]).await, numbers(10));
    });
}

#[test]
fn a_failed_sync_of_a_follower_silences_it_until_it_is_started_again() {
    with(5, &ALL, |mut cluster| async move {
        let leader = cluster.write(&ALL, "0").await;
        let failing = others(leader)[0];
        cluster.disk(failing).fail(DiskCall::Sync, Cluster::path(), 1);
        cluster.write(&ALL, "1").await;
        let quorum = cluster.quorums[&failing].clone();
        cluster.until("the failure is known", || quorum.health().failed.is_some()).await;
        assert!(quorum.failure().borrow().as_ref().is_some_and(|text| text.contains("cannot sync")));
        assert!(matches!(quorum.propose(b"x".to_vec()).await, Err(ProposeError::Stopped(_))));
        quorum.ended().await;
        for number in 2..10 {
            cluster.write(&others(failing), &number.to_string()).await;
        }
        cluster.disk(failing).evict_cache();
        cluster.kill(failing).await;
        cluster.start(failing).await;
        assert_eq!(cluster.agreed(&ALL).await, numbers(10));
    });
}

#[test]
fn a_leader_whose_disk_fails_is_replaced() {
    for seed in 0..5 {
        with(seed, &ALL, |mut cluster| async move {
            let leader = cluster.write(&ALL, "0").await;
            cluster.disk(leader).fail(DiskCall::Write, Cluster::path(), 1);
            let lost = cluster.quorums[&leader].propose(b"1".to_vec()).await;
            assert!(lost.is_err());
            let begun = Instant::now();
            cluster.write(&others(leader), "2").await;
            assert!(begun.elapsed() < Duration::from_millis(1000), "{:?}", begun.elapsed());
            cluster.kill(leader).await;
            cluster.start(leader).await;
            let seen = cluster.agreed(&ALL).await;
            assert!(seen == ["0", "2"] || seen == ["0", "1", "2"], "{seen:?}");
        });
    }
}

#[test]
fn a_disk_full_of_other_data_does_not_stop_the_quorum() {
    with(6, &ALL, |mut cluster| async move {
        cluster.write(&ALL, "0").await;
        for node in ALL {
            cluster.disk(node).set_full(true);
        }
        for number in 1..50 {
            cluster.write(&ALL, &number.to_string()).await;
        }
        let leader = cluster.leader_of(&ALL).await;
        cluster.cut_power(leader).await;
        cluster.start(leader).await;
        cluster.write(&ALL, "50").await;
        assert_eq!(cluster.agreed(&ALL).await, numbers(51));
    });
}

#[test]
fn a_log_beyond_its_reserve_waits_for_space_and_goes_on() {
    with(7, &[1], |mut cluster| async move {
        cluster.write(&[1], "0").await;
        cluster.disk(1).set_full(true);
        let quorum = cluster.quorums[&1].clone();
        let large = tokio::spawn(async move { quorum.propose(vec![b'x'; 1 << 20]).await });
        sleep(Duration::from_secs(2)).await;
        assert!(!large.is_finished());
        cluster.disk(1).set_full(false);
        assert_eq!(large.await.unwrap().unwrap(), b"2");
        assert_eq!(cluster.quorums[&1].health().failed, None);
    });
}

#[test]
fn any_one_node_may_lose_power_again_and_again() {
    for seed in 0..5 {
        with(seed, &ALL, |mut cluster| async move {
            cluster.lose(0.01);
            for number in 0..30 {
                cluster.write(&ALL, &number.to_string()).await;
                if number % 3 == 2 {
                    let node = 1 + number / 3 % 3;
                    cluster.cut_power(node).await;
                    cluster.write(&others(node), "meanwhile").await;
                    cluster.start(node).await;
                }
            }
            cluster.lose(0.0);
            let mut seen = cluster.agreed(&ALL).await;
            seen.retain(|entry| entry != "meanwhile");
            seen.dedup();
            assert_eq!(seen, numbers(30));
        });
    }
}

#[test]
fn slow_disks_end_no_leadership() {
    for seed in 0..3 {
        with(seed, &ALL, |mut cluster| async move {
            let leader = cluster.write(&ALL, "0").await;
            for node in ALL {
                cluster.disk(node).slow(Duration::from_millis(300)..=Duration::from_millis(600));
            }
            for number in 1..20 {
                assert_eq!(cluster.write(&ALL, &number.to_string()).await, leader);
                assert!(cluster.leads(leader));
            }
            assert_eq!(cluster.quorums[&leader].health().term, 1);
            assert_eq!(cluster.agreed(&ALL).await, numbers(20));
        });
    }
}

#[test]
fn a_leader_whose_disk_hangs_makes_way() {
    with(9, &ALL, |mut cluster| async move {
        let leader = cluster.write(&ALL, "0").await;
        cluster.disk(leader).slow(Duration::from_secs(10)..=Duration::from_secs(10));
        let hanging = cluster.quorums[&leader].clone();
        let proposed = tokio::spawn(async move { hanging.propose(b"1".to_vec()).await });
        let begun = Instant::now();
        cluster.write(&others(leader), "2").await;
        assert!(begun.elapsed() < Duration::from_millis(2500), "{:?}", begun.elapsed());
        assert_eq!(proposed.await.unwrap(), Err(ProposeError::Uncertain));
    });
}

#[test]
fn a_leader_whose_disk_is_slow_for_a_while_makes_way_once() {
    for seed in 0..3 {
        with(seed, &ALL, |mut cluster| async move {
            let leader = cluster.write(&ALL, "0").await;
            cluster.disk(leader).slow(Duration::from_millis(400)..=Duration::from_millis(700));
            let mut written = 1;
            let next = loop {
                let by = cluster.write(&ALL, &written.to_string()).await;
                written += 1;
                if by != leader {
                    break by;
                }
                assert!(written < 20, "it leads on");
            };
            let term = cluster.quorums[&next].health().term;
            for number in written..40 {
                assert_eq!(cluster.write(&ALL, &number.to_string()).await, next);
            }
            assert_eq!(cluster.quorums[&next].health().term, term);
            let mut seen = cluster.agreed(&ALL).await;
            // One whose outcome was not known is written again.
            seen.dedup();
            assert_eq!(seen, numbers(40));
        });
    }
}

#[test]
fn a_leader_that_is_slow_beside_one_slow_and_one_quick_voter_stays() {
    with(2, &ALL, |mut cluster| async move {
        let leader = cluster.write(&ALL, "0").await;
        for node in [leader, others(leader)[0]] {
            cluster.disk(node).slow(Duration::from_millis(400)..=Duration::from_millis(700));
        }
        for number in 1..20 {
            assert_eq!(cluster.write(&ALL, &number.to_string()).await, leader);
        }
        assert_eq!(cluster.quorums[&leader].health().term, 1);
    });
}

#[test]
fn a_slow_leader_stays_where_a_voter_that_was_quick_has_died() {
    with(3, &ALL, |mut cluster| async move {
        let leader = cluster.write(&ALL, "0").await;
        for number in 1..8 {
            assert_eq!(cluster.write(&ALL, &number.to_string()).await, leader);
        }
        let (dead, quick) = (others(leader)[0], others(leader)[1]);
        cluster.kill(dead).await;
        cluster.disk(leader).slow(Duration::from_millis(400)..=Duration::from_millis(700));
        let rest = [leader, quick];
        for number in 8..24 {
            assert_eq!(cluster.write(&rest, &number.to_string()).await, leader);
        }
        assert_eq!(cluster.quorums[&leader].health().term, 1);
    });
}

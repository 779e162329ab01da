//! Learners, emptied voters, and voters that come and go.

use std::time::Duration;

use tokio::time::sleep;

use super::harness::{Cluster, with};
use super::{ALL, numbers, others};
use crate::cluster::quorum::{ChangeError, Role, VoterId};
use crate::ids::NodeId;

#[test]
fn an_emptied_voter_does_not_vote_and_is_put_in_its_old_place() {
    for seed in 0..5 {
        with(seed, &ALL, |mut cluster| async move {
            for number in 0..20 {
                cluster.write(&ALL, &number.to_string()).await;
            }
            let emptied = others(cluster.leader_of(&ALL).await)[0];
            let old = cluster.quorums[&emptied].me();
            cluster.kill(emptied).await;
            cluster.disk(emptied).empty_directory(Cluster::path()).unwrap();
            // Alone with another it would be a majority, if it were allowed to vote.
            let leader = cluster.leader_of(&ALL).await;
            let other = others(leader).into_iter().find(|node| *node != emptied).unwrap();
            cluster.isolate(leader, true);
            cluster.start(emptied).await;
            let new = cluster.quorums[&emptied].me();
            assert_ne!(old, new);
            sleep(Duration::from_secs(3)).await;
            assert!(!cluster.leads(emptied) && !cluster.leads(other));
            cluster.isolate(leader, false);
            cluster.write(&ALL, "20").await;
            let placed = || {
                let members = cluster.quorums[&other].members();
                members.iter().all(|member| member.id != old) && cluster.voters(other).contains(&new)
            };
            cluster.until("it has its place again", placed).await;
            assert_eq!(cluster.voters(other).len(), 3);
            assert_eq!(cluster.agreed(&ALL).await, numbers(21));
            // Its voice counts again.
            cluster.isolate(leader, true);
            cluster.write(&others(leader), "21").await;
        });
    }
}

#[test]
fn a_majority_of_emptied_voters_does_not_make_a_new_cluster() {
    with(3, &ALL, |mut cluster| async move {
        cluster.write(&ALL, "0").await;
        for node in [1, 2] {
            cluster.kill(node).await;
            cluster.disk(node).empty_directory(Cluster::path()).unwrap();
            cluster.start(node).await;
        }
        sleep(Duration::from_secs(10)).await;
        assert!(ALL.iter().all(|node| !cluster.leads(*node)));
    });
}

#[test]
fn a_cluster_is_not_made_before_all_founders_are_there() {
    with(4, &[1, 2, 3], |mut cluster| async move {
        for node in ALL {
            cluster.kill(node).await;
            cluster.disk(node).empty_directory(Cluster::path()).unwrap();
        }
        cluster.start(1).await;
        cluster.start(2).await;
        sleep(Duration::from_secs(5)).await;
        assert!(!cluster.leads(1) && !cluster.leads(2));
        cluster.start(3).await;
        cluster.write(&ALL, "0").await;
        assert_eq!(cluster.agreed(&ALL).await, numbers(1));
    });
}

#[test]
fn a_learner_far_behind_is_fed_by_a_snapshot() {
    with(5, &ALL, |mut cluster| async move {
        cluster.limits.snapshot_entries = 50;
        cluster.limits.keep_entries = 10;
        for node in ALL {
            cluster.stop(node).await;
            cluster.start(node).await;
        }
        for number in 0..200 {
            cluster.write(&ALL, &number.to_string()).await;
        }
        cluster.start(4).await;
        assert_eq!(cluster.agreed(&[1, 2, 3, 4]).await, numbers(200));
        assert!(cluster.snapshots_sent() > 0);
        let learner =
            cluster.quorums[&1].members().into_iter().find(|member| member.id.node == NodeId(4)).unwrap();
        assert_eq!((learner.role, learner.address.as_str()), (Role::Learner, "host4:1"));
        // It is fed by the log from here on, and after a restart.
        cluster.write(&ALL, "200").await;
        cluster.cut_power(4).await;
        cluster.write(&ALL, "201").await;
        cluster.start(4).await;
        assert_eq!(cluster.agreed(&[1, 2, 3, 4]).await, numbers(202));
    });
}

#[test]
fn a_learner_that_is_gone_keeps_nothing_from_being_cut() {
    with(9, &ALL, |mut cluster| async move {
        cluster.limits.snapshot_entries = 50;
        cluster.limits.keep_entries = 10;
        for node in ALL {
            cluster.stop(node).await;
            cluster.start(node).await;
        }
        cluster.start(4).await;
        cluster.until("it is a learner", || cluster.quorums[&1].members().len() == 4).await;
        cluster.kill(4).await;
        for number in 0..300 {
            cluster.write(&ALL, &number.to_string()).await;
        }
        sleep(Duration::from_secs(2)).await;
        let leader = cluster.leader_of(&ALL).await;
        let purged = cluster.quorums[&leader].shared.metrics.borrow().purged.unwrap().index;
        assert!(purged > 200, "{purged}");
        let refused = cluster.quorums[&leader].forget(NodeId(1)).await;
        assert!(matches!(refused, Err(ChangeError::Refused(_))), "{refused:?}");
        cluster.quorums[&leader].forget(NodeId(4)).await.unwrap();
        assert_eq!(cluster.quorums[&leader].members().len(), 3);
        assert_eq!(cluster.quorums[&leader].forget(NodeId(4)).await, Err(ChangeError::NoMember(NodeId(4))));
    });
}

#[test]
fn a_log_of_many_bytes_is_cut_by_a_snapshot() {
    with(6, &ALL, |mut cluster| async move {
        cluster.limits.snapshot_bytes = 64 << 10;
        for node in ALL {
            cluster.stop(node).await;
            cluster.start(node).await;
        }
        for _ in 0..20 {
            cluster.write(&ALL, &"x".repeat(10 << 10)).await;
        }
        sleep(Duration::from_secs(5)).await;
        for node in ALL {
            assert!(cluster.quorums[&node].shared.log.size_bytes() < 64 << 10);
        }
    });
}

#[test]
fn voters_come_and_go_while_it_runs() {
    with(7, &[1], |mut cluster| async move {
        cluster.write(&[1], "0").await;
        let refused = cluster.quorums[&1].add_voter(NodeId(2)).await;
        assert_eq!(refused, Err(ChangeError::NoMember(NodeId(2))));
        for node in [2, 3] {
            cluster.start(node).await;
            cluster.until("it is a learner", || cluster.quorums[&1].members().len() == node as usize).await;
            while let Err(error) = cluster.quorums[&1].add_voter(NodeId(node)).await {
                assert_eq!(error, ChangeError::Behind(NodeId(node)));
                sleep(Duration::from_millis(10)).await;
            }
        }
        assert_eq!(cluster.voters(1).len(), 3);
        cluster.isolate(3, true);
        cluster.write(&[1, 2], "1").await;
        cluster.isolate(3, false);
        assert_eq!(cluster.agreed(&ALL).await, numbers(2));
        // The leader removes itself; the others elect one of them.
        cluster.quorums[&1].remove_voter(NodeId(1)).await.unwrap();
        cluster.write(&[2, 3], "2").await;
        assert_eq!(cluster.agreed(&ALL).await, numbers(3));
        let voters: Vec<NodeId> = cluster.voters(1).iter().map(|id: &VoterId| id.node).collect();
        assert_eq!(voters, [NodeId(2), NodeId(3)]);
        assert!(matches!(cluster.quorums[&1].add_voter(NodeId(1)).await, Err(ChangeError::NotLeader(_))));
    });
}

#[test]
fn a_node_at_a_new_address_tells_the_others() {
    with(8, &ALL, |mut cluster| async move {
        cluster.write(&ALL, "0").await;
        cluster.start(4).await;
        cluster.until("it is a learner", || cluster.quorums[&1].members().len() == 4).await;
        let id = cluster.quorums[&4].me();
        let leader = cluster.leader_of(&ALL).await;
        cluster.quorums[&leader].add_learner(id, "elsewhere:9");
        let known = || cluster.quorums[&1].members().iter().any(|member| member.address == "elsewhere:9");
        cluster.until("the new address is known", known).await;
        cluster.until("it says its own again", || !known()).await;
    });
}

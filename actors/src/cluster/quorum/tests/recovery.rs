//! An operator's recovery of a quorum whose majority is lost.

use std::io::IoSlice;
use std::path::{Path, PathBuf};
use std::time::Duration;

use millstream_transport::world::{OpenMode, World};
use tokio::time::sleep;

use super::harness::{Cluster, DIRECTORY, Notebook, with};
use super::{ALL, numbers, others};
use crate::cluster::machine::Machine;
use crate::cluster::quorum::{RecoveryError, Survivor, finish_recovery};
use crate::ids::NodeId;

fn survivor(cluster: &mut Cluster, node: u32) -> Result<Survivor, RecoveryError> {
    let disk = cluster.disk(node).disk();
    Survivor::read(&*disk, Cluster::path())
}

fn recover(cluster: &mut Cluster, node: u32) -> Result<PathBuf, RecoveryError> {
    let survivor = survivor(cluster, node)?;
    let mut notebook = Notebook::default();
    survivor.replay(&mut notebook)?;
    let disk = cluster.disk(node);
    let world = World::simulated(&cluster.simulation, &disk);
    survivor.recover(&*world.disk, world.random.uuid(), notebook.snapshot())
}

async fn empty(cluster: &mut Cluster, nodes: &[u32]) {
    for node in nodes {
        cluster.kill(*node).await;
        cluster.disk(*node).empty_directory(Cluster::path()).unwrap();
    }
}

#[test]
fn one_survivor_goes_on_alone_and_the_emptied_are_swapped_in_again() {
    for seed in 0..3 {
        with(seed, &ALL, |mut cluster| async move {
            cluster.start(4).await;
            cluster.until("it is a learner", || cluster.quorums[&4].members().len() == 4).await;
            for number in 0..20 {
                cluster.write(&ALL, &number.to_string()).await;
            }
            empty(&mut cluster, &[1, 2]).await;
            cluster.start(1).await;
            cluster.start(2).await;
            // Emptied voters never vote, however long it takes the operator.
            sleep(Duration::from_secs(3)).await;
            assert!([1, 2, 3, 4].iter().all(|node| !cluster.leads(*node)));
            cluster.stop(3).await;
            let before = survivor(&mut cluster, 3).unwrap();
            let kept = recover(&mut cluster, 3).unwrap();
            let name = format!("{DIRECTORY}.before-{}", before.last_entry());
            assert_eq!(kept, Path::new(&name));
            cluster.start(3).await;
            assert_ne!(cluster.quorums[&3].me(), before.me());
            cluster.write(&[3], "20").await;
            assert_eq!(cluster.agreed(&[1, 2, 3, 4]).await, numbers(21));
            assert_eq!(cluster.voters(4), [cluster.quorums[&3].me()]);
            for node in [1, 2] {
                let leader = cluster.leader_of(&ALL).await;
                while cluster.quorums[&leader].add_voter(NodeId(node)).await.is_err() {
                    sleep(Duration::from_millis(50)).await;
                }
            }
            assert_eq!(cluster.voters(3).len(), 3);
            let leader = cluster.leader_of(&ALL).await;
            cluster.isolate(leader, true);
            cluster.write(&others(leader), "21").await;
        });
    }
}

#[test]
fn a_learner_that_was_ahead_takes_over_what_the_survivor_has() {
    with(1, &ALL, |mut cluster| async move {
        cluster.start(4).await;
        cluster.until("it is a learner", || cluster.quorums[&4].members().len() == 4).await;
        cluster.write(&ALL, "0").await;
        cluster.agreed(&[1, 2, 3, 4]).await;
        cluster.isolate(3, true);
        for number in 1..5 {
            cluster.write(&[1, 2], &number.to_string()).await;
        }
        assert_eq!(cluster.agreed(&[1, 2, 4]).await, numbers(5));
        empty(&mut cluster, &[1, 2]).await;
        cluster.stop(3).await;
        cluster.stop(4).await;
        let (behind, ahead) = (survivor(&mut cluster, 3).unwrap(), survivor(&mut cluster, 4).unwrap());
        assert!(behind.last_entry() < ahead.last_entry(), "the operator sees which is ahead");
        recover(&mut cluster, 3).unwrap();
        cluster.isolate(3, false);
        cluster.start(3).await;
        cluster.start(4).await;
        cluster.write(&[3], "5").await;
        assert_eq!(cluster.agreed(&[3, 4]).await, ["0", "5"]);
    });
}

#[test]
fn a_learner_can_be_the_survivor() {
    with(2, &ALL, |mut cluster| async move {
        cluster.start(4).await;
        cluster.until("it is a learner", || cluster.quorums[&4].members().len() == 4).await;
        cluster.write(&ALL, "0").await;
        cluster.agreed(&[1, 4]).await;
        empty(&mut cluster, &ALL).await;
        cluster.stop(4).await;
        recover(&mut cluster, 4).unwrap();
        // Who knows nothing asks those that its settings name.
        cluster.founders = vec![4];
        for node in [4, 1, 2, 3] {
            cluster.start(node).await;
        }
        cluster.write(&[4], "1").await;
        assert_eq!(cluster.agreed(&[1, 2, 3, 4]).await, numbers(2));
    });
}

#[test]
fn voters_that_come_back_with_their_old_disks_follow_and_decide_nothing() {
    with(3, &ALL, |mut cluster| async move {
        cluster.write(&ALL, "0").await;
        cluster.agreed(&ALL).await;
        cluster.stop(1).await;
        cluster.stop(2).await;
        cluster.stop(3).await;
        recover(&mut cluster, 3).unwrap();
        cluster.start(3).await;
        cluster.write(&[3], "1").await;
        // Of the quorum as it was they are a majority.
        cluster.start(1).await;
        cluster.start(2).await;
        assert_eq!(cluster.agreed(&ALL).await, numbers(2));
        let voter = cluster.quorums[&3].me();
        assert!(ALL.iter().all(|node| cluster.voters(*node) == [voter]));
        cluster.write(&[3], "2").await;
        assert_eq!(cluster.agreed(&ALL).await, numbers(3));
    });
}

#[test]
fn a_survivor_is_read_without_a_change_and_recovered_once() {
    with(4, &ALL, |mut cluster| async move {
        cluster.write(&ALL, "0").await;
        empty(&mut cluster, &[1, 2]).await;
        cluster.stop(3).await;
        let writes = cluster.disk(3).counts().writes;
        let before = survivor(&mut cluster, 3).unwrap();
        assert!(before.decided() <= before.last_entry() && before.members().len() == 3);
        assert_eq!(cluster.disk(3).counts().writes, writes);
        recover(&mut cluster, 3).unwrap();
        let again = recover(&mut cluster, 3).unwrap_err();
        assert!(matches!(again, RecoveryError::NotNeeded(_)), "{again}");
        assert!(survivor(&mut cluster, 3).unwrap().last_entry() > before.last_entry());
        // What the emptied have, when they are started, is no quorum's.
        cluster.start(1).await;
        cluster.stop(1).await;
        let refused = recover(&mut cluster, 1).unwrap_err();
        assert!(matches!(refused, RecoveryError::NeverHeld(_)), "{refused}");
        let refused = survivor(&mut cluster, 2).unwrap_err();
        assert!(matches!(refused, RecoveryError::NoQuorum(_)), "{refused}");
    });
}

#[test]
fn a_recovery_cut_short_is_finished_by_the_next_and_no_node_starts_before() {
    with(5, &ALL, |mut cluster| async move {
        cluster.write(&ALL, "0").await;
        empty(&mut cluster, &[1, 2]).await;
        cluster.stop(3).await;
        recover(&mut cluster, 3).unwrap();
        let disk = cluster.disk(3).disk();
        disk.rename(Cluster::path(), Path::new("/data/quorum.recovered")).unwrap();
        disk.sync_directory(Path::new("/data")).unwrap();
        let refused = cluster.try_start(3).await.unwrap_err();
        assert!(refused.to_string().contains("millstream quorum recover"), "{refused}");
        assert!(finish_recovery(&*disk, Cluster::path()).unwrap());
        assert!(!finish_recovery(&*disk, Cluster::path()).unwrap());
        cluster.start(3).await;
        cluster.write(&[3], "1").await;
        assert_eq!(cluster.agreed(&[3]).await, numbers(2));
    });
}

#[test]
fn what_a_recovery_cut_short_left_is_discarded_by_the_next_start_with_the_directory_as_it_was() {
    with(6, &ALL, |mut cluster| async move {
        cluster.write(&ALL, "0").await;
        cluster.stop(3).await;
        let (disk, waiting) = (cluster.disk(3).disk(), Path::new("/data/quorum.recovered"));
        disk.create_directories(waiting).unwrap();
        let file = disk.open(&waiting.join("half"), OpenMode::CreateNew).unwrap();
        file.write_at(&[IoSlice::new(b"made")], 0).unwrap();
        cluster.start(3).await;
        assert!(!disk.exists(waiting).unwrap());
        cluster.write(&ALL, "1").await;
        assert_eq!(cluster.agreed(&ALL).await, numbers(2));
    });
}

//! A node whose disk is full.

use std::collections::{BTreeMap, BTreeSet};

use millstream::Client;
use millstream_actors::ids::PartitionId;
use millstream_tests::disks::{batches, same_bytes};
use millstream_tests::load::{self, Load, LoadSettings};
use millstream_tests::process::{ProcessCluster, SmallDisk, Surroundings, left_out};
use millstream_tests::{Outcome, until};

use crate::{FLOW, PROGRAM};

/// The node with the small disk.
const SMALL: u32 = 2;

/// Room for what the quorum reserves, and for the records of a test.
const BYTES: u64 = 128 << 20;

/// Partitions of the load that have a replica on the small disk, and those that it leads.
async fn on_the_small_disk(client: &Client) -> Outcome<(BTreeSet<i32>, BTreeSet<i32>)> {
    let topic = load::describe(client, "load").await?;
    let (mut held, mut led) = (BTreeSet::new(), BTreeSet::new());
    for (index, partition) in (0..).zip(&topic.partitions) {
        if partition.replicas.iter().any(|node| node.0 == SMALL) {
            held.insert(index);
        }
        if partition.leader.is_some_and(|node| node.0 == SMALL) {
            led.insert(index);
        }
    }
    Ok((held, led))
}

/// How often the node has refused an append for want of space.
async fn refusals(cluster: &ProcessCluster, id: u32) -> Outcome<f64> {
    let counted = cluster.series(id, "millstream_log_no_space_total").await?;
    counted.ok_or_else(|| "refusals are not counted".into())
}

fn disk(cluster: &ProcessCluster) -> Outcome<&SmallDisk> {
    Ok(cluster.surroundings().small_disks.get(&SMALL).ok_or("no small disk")?)
}

#[tokio::test]
async fn a_full_disk_refuses_what_has_no_space_loses_nothing_and_heals() {
    let small = match SmallDisk::mount(BYTES) {
        Ok(small) => small,
        Err(why) => return left_out("a full disk under a running node", &why),
    };
    let small_disks = BTreeMap::from([(SMALL, small)]);
    let surroundings = Surroundings { small_disks, ..Surroundings::default() };
    // A follower without space keeps its leader waiting for so long.
    let settings = [("replica.lag.time.max.ms", "1500")];
    ProcessCluster::run_in(surroundings, PROGRAM, 3, &settings, async |cluster| {
        let client = cluster.client().await?;
        let settings = LoadSettings {
            replicas: 2,
            config: BTreeMap::new(),
            value_bytes: 2 << 10,
            ..LoadSettings::default()
        };
        let load = Load::start(&client, settings).await?;
        load.in_sync().await?;
        load.acknowledges(FLOW).await?;
        let (held, led) = on_the_small_disk(&client).await?;
        if led.is_empty() || held.len() == 6 {
            return Err(
                format!("node {SMALL} holds {held:?} and leads {led:?}: not what is to be tested").into()
            );
        }
        disk(cluster)?.fill()?;
        until("refusals for want of space", async || {
            let count = refusals(cluster, SMALL).await.unwrap_or(0.0);
            Ok((count > 0.0).then_some(()))
        })
        .await?;
        load.forget_gaps();
        // Whoever has nothing there does not notice; whoever has only a follower there goes on without it.
        load.acknowledges_on(|index| !held.contains(&index), 4 * FLOW).await?;
        let elsewhere = load.longest_gap(|index| !held.contains(&index));
        load.acknowledges_on(|index| !led.contains(&index), FLOW).await?;
        for id in [1, 3] {
            if refusals(cluster, id).await? > 0.0 {
                return Err(format!("node {id} has space").into());
            }
        }
        disk(cluster)?.free()?;
        load.acknowledges(FLOW).await?;
        load.in_sync().await?;
        let report = load.finish().await?;
        crate::tell(&format!(
            "a full disk: {} acknowledged, longest gap of partitions elsewhere {} ms, of all {} ms",
            report.acknowledged,
            elsewhere.as_millis(),
            report.longest_gap.as_millis()
        ));
        if cluster.running() != [1, 2, 3] {
            return Err("a node has died".into());
        }
        cluster.terminate_all().await?;
        for partition in report.history.finals.keys() {
            let has = |id: &u32| batches(&cluster.log_dir(*id), *partition).is_ok();
            let directories: Vec<_> = (1..=3).filter(has).map(|id| cluster.log_dir(id)).collect();
            is_held_twice(*partition, directories.len())?;
            same_bytes(&directories, [*partition])?;
        }
        Ok(())
    })
    .await;
}

fn is_held_twice(partition: PartitionId, count: usize) -> Outcome {
    if count == 2 { Ok(()) } else { Err(format!("{partition} is on {count} disks, not 2").into()) }
}

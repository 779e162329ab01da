//! Disks that are emptied or damaged while their node is down.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;

use millstream_actors::ids::PartitionId;
use millstream_tests::disks::{cut_in_half, flip_a_bit, segments};
use millstream_tests::load::{Load, LoadSettings};
use millstream_tests::process::ProcessCluster;
use millstream_tests::{Outcome, until};

use crate::{FLOW, PROGRAM, disks_are_equal};

#[tokio::test]
async fn a_node_with_an_emptied_log_directory_fetches_everything_again() {
    ProcessCluster::run(PROGRAM, 3, &[], async |cluster| {
        let client = cluster.client().await?;
        let load = Load::start(&client, LoadSettings::default()).await?;
        load.in_sync().await?;
        let emptied = load.leader(0).await?;
        cluster.kill_9(emptied)?;
        fs::remove_dir_all(cluster.log_dir(emptied))?;
        fs::create_dir(cluster.log_dir(emptied))?;
        load.acknowledges(FLOW).await?;
        cluster.restart_node(emptied).await?;
        load.in_sync().await?;
        load.acknowledges(FLOW).await?;
        let report = load.finish().await?;
        disks_are_equal(cluster, &report).await
    })
    .await;
}

/// How a node ends before its disk is damaged.
#[derive(Clone, Copy)]
enum End {
    Killed,
    Terminated,
}

impl End {
    /// After a kill the table of durable ends may tell less than was durable. Damage behind it is met by the scan of the
    /// start, which keeps what is before it; a kill alone makes nothing there unreadable.
    fn is_cut_at_start(self, log: &str) -> bool {
        matches!(self, Self::Killed) && log.contains("bytes were cut that may have been acknowledged")
    }
}

/// Damages the first, closed segment of the leader while it is down. When it is back, whoever leads is read from the
/// first record on, again and again: the preferred leader gets its place back, and so the damaged node is read in the
/// end, unless it has found the damage by itself.
async fn damage_a_leader(end: End, damage: fn(&Path) -> Outcome) {
    ProcessCluster::run(PROGRAM, 3, &[], async |cluster| {
        let client = cluster.client().await?;
        let mut config: BTreeMap<_, _> = LoadSettings::default().config;
        config.insert("segment.bytes".to_owned(), (1 << 20).to_string());
        let settings =
            LoadSettings { partitions: 1, value_bytes: 8 << 10, config, ..LoadSettings::default() };
        let load = Load::start(&client, settings).await?;
        load.in_sync().await?;
        let damaged = load.leader(0).await?;
        let partition = PartitionId { topic: load.topic(), index: 0 };
        let directory = cluster.log_dir(damaged);
        until("closed segments", async || Ok((segments(&directory, partition)?.len() > 2).then_some(())))
            .await?;
        match end {
            End::Killed => cluster.kill_9(damaged)?,
            End::Terminated => {
                cluster.terminate(damaged).await?;
            }
        }
        let all = segments(&directory, partition)?;
        damage(all.first().ok_or("no segment")?)?;
        load.acknowledges(FLOW).await?;
        cluster.restart_node(damaged).await?;
        until("the damage is found", async || {
            load.read_the_beginning().await?;
            let log = cluster.log_text(damaged)?;
            Ok((log.contains(FOUND) || end.is_cut_at_start(&log)).then_some(()))
        })
        .await?;
        until("the damaged part is given up", async || {
            let log = cluster.log_text(damaged)?;
            let given_up = log.split_once(FOUND).is_some_and(|(_, then)| then.contains("a log is cut"));
            Ok((given_up || end.is_cut_at_start(&log)).then_some(()))
        })
        .await?;
        // Healed: the same bytes as the others have.
        load.in_sync().await?;
        load.acknowledges(FLOW).await?;
        let report = load.finish().await?;
        disks_are_equal(cluster, &report).await
    })
    .await;
}

/// What a node's log says when it has found damage, at its start or later.
const FOUND: &str = "corrupt";

#[tokio::test]
async fn a_flipped_bit_in_a_closed_segment_is_found_healed_and_never_served() {
    damage_a_leader(End::Terminated, flip_a_bit).await;
}

#[tokio::test]
async fn a_flipped_bit_is_healed_after_a_kill_too() {
    damage_a_leader(End::Killed, flip_a_bit).await;
}

#[tokio::test]
async fn a_truncated_segment_is_found_healed_and_never_served() {
    damage_a_leader(End::Terminated, cut_in_half).await;
}

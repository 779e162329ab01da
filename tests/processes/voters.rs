//! A majority of the voters loses its disks, and the operator recovers the quorum from the one that is left.

use std::fs;

use millstream::NodeId;
use millstream_tests::load::{self, Load, LoadSettings};
use millstream_tests::process::ProcessCluster;
use millstream_tests::{Outcome, until};

use crate::{FLOW, PROGRAM, disks_are_equal};

/// Runs `millstream quorum` on the data directory of a node that does not run; an error where it does not end as wanted.
async fn quorum(cluster: &ProcessCluster, node: u32, command: &[&str], succeeds: bool) -> Outcome<String> {
    let directory = cluster.data_dir(node).display().to_string();
    let mut arguments = vec!["quorum"];
    arguments.extend(command);
    arguments.extend(["--data-dir", &directory]);
    let (status, said) = cluster.run_command(node, &arguments).await?;
    if status.success() != succeeds {
        return Err(format!("{command:?} ended with {status}: {said}").into());
    }
    Ok(said)
}

fn says(said: &str, wanted: &str) -> Outcome {
    if said.contains(wanted) { Ok(()) } else { Err(format!("nothing of {wanted:?} in: {said}").into()) }
}

/// The last entry, as `inspect` shows it.
fn last_entry(said: &str) -> Outcome<String> {
    let rest = said.split_once("last entry ").ok_or("no last entry is shown")?.1;
    Ok(rest.split_whitespace().next().ok_or("no last entry is shown")?.to_owned())
}

#[tokio::test]
async fn a_cluster_goes_on_from_the_one_voter_that_is_left_with_all_that_it_acknowledged() {
    ProcessCluster::run(PROGRAM, 3, &[], async |cluster| {
        let client = cluster.client().await?;
        let load = Load::start(&client, LoadSettings::default()).await?;
        load.in_sync().await?;
        load.acknowledges(FLOW).await?;
        let in_use = quorum(cluster, 3, &["inspect"], false).await?;
        says(&in_use, "is in use by process")?;
        for id in 1..=3 {
            cluster.kill_9(id)?;
        }
        for id in [1, 2] {
            fs::remove_dir_all(cluster.data_dir(id))?;
            // They come back before the operator has done anything, and decide nothing.
            cluster.start_node(id)?;
        }
        // It may take a moment until it has its directory.
        until("node 1 holds its directory", async || {
            let refused = quorum(cluster, 1, &["recover"], false).await?;
            Ok(refused.contains("is in use by process").then_some(()))
        })
        .await?;
        let said = quorum(cluster, 3, &["recover"], true).await?;
        says(&said, "Nothing was done.")?;
        let last = last_entry(&said)?;
        says(&quorum(cluster, 3, &["recover", "--confirm", "1-1"], false).await?, "nothing was done")?;
        says(&quorum(cluster, 3, &["recover", "--confirm", &last], true).await?, "is the only voter")?;
        says(&quorum(cluster, 3, &["recover", "--confirm", &last], false).await?, "the only voter already")?;
        cluster.restart_node(3).await?;
        for id in [1, 2] {
            cluster.wait_ready(id).await?;
        }
        load.in_sync().await?;
        load.acknowledges(FLOW).await?;
        let admin = client.admin();
        for id in [1, 2] {
            admin.add_voter(NodeId(id)).await?;
        }
        until("three voters", async || {
            let quorum = admin.describe_quorum().await?;
            let voters = quorum.members.iter().filter(|member| member.is_voter).count();
            Ok((voters == 3).then_some(()))
        })
        .await?;
        // The one that was the whole quorum may go now.
        cluster.kill_9(3)?;
        load.acknowledges(FLOW).await?;
        cluster.restart_node(3).await?;
        load.in_sync().await?;
        let report = load.finish().await?;
        disks_are_equal(cluster, &report).await
    })
    .await;
}

#[tokio::test]
async fn a_partition_whose_only_member_in_sync_was_emptied_waits_for_the_operator() {
    ProcessCluster::run(PROGRAM, 3, &[], async |cluster| {
        let client = cluster.client().await?;
        let config = [("min.insync.replicas".to_owned(), "1".to_owned())].into();
        let settings = LoadSettings { partitions: 1, config, ..LoadSettings::default() };
        let load = Load::start(&client, settings).await?;
        load.in_sync().await?;
        let last = load.leader(0).await?;
        let mut others = (1..=3).filter(|id| *id != last);
        let (first, chosen) = (others.next().ok_or("no other")?, others.next().ok_or("no other")?);
        // One after the other leaves the set; what is acknowledged then is on one disk alone.
        cluster.kill_9(first)?;
        load.acknowledges(FLOW).await?;
        cluster.terminate(chosen).await?;
        load.acknowledges(FLOW).await?;
        load.finish().await?;
        cluster.kill_9(last)?;
        fs::remove_dir_all(cluster.log_dir(last))?;
        for id in 1..=3 {
            cluster.start_node(id)?;
        }
        for id in 1..=3 {
            cluster.wait_ready(id).await?;
        }
        let to_node = cluster.to_node(chosen);
        let node = chosen.to_string();
        let elect = ["topic", "elect", "load", "--partition", "0", "--node", &node];
        let mut arguments: Vec<&str> = elect.into_iter().chain(to_node.iter().map(String::as_str)).collect();
        let said = until("a partition without a leader", async || {
            let (_, said) = cluster.run_command(chosen, &arguments).await?;
            Ok(Some(said).filter(|said| said.contains("has lost its log")))
        })
        .await?;
        says(&said, &format!("node {chosen}: was not in sync, it lacks records"))?;
        arguments.push("--unclean");
        let (status, said) = cluster.run_command(chosen, &arguments).await?;
        if !status.success() {
            return Err(said.into());
        }
        load::in_sync(&client, "load", 3).await
    })
    .await;
}

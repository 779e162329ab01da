//! kill -9 and SIGSTOP of each node in turn while entities move money between them.

use std::time::Duration;

use millstream::Client;
use millstream_tests::bank::Bank;
use millstream_tests::process::ProcessCluster;
use millstream_tests::{Outcome, PATIENCE};

use crate::tell;

const PROGRAM: &str = env!("CARGO_BIN_EXE_bank-under-test");

/// Transfers between two steps, so that each happens under load.
const FLOW: u64 = 50;

async fn start() -> Outcome<(ProcessCluster, Client, Bank)> {
    let cluster = ProcessCluster::start(PROGRAM.as_ref(), 3, &[("entity.partitions", "3")]).await?;
    let client = cluster.client().await?;
    let bank = Bank::open(&client, 20, 8, 1);
    bank.flows(FLOW, PATIENCE).await;
    Ok((cluster, client, bank))
}

async fn close(mut cluster: ProcessCluster, client: Client, bank: Bank) -> Outcome {
    let transfers = bank.close(Duration::from_secs(60)).await;
    tell(&format!("{transfers} transfers, each once"));
    client.close().await;
    cluster.terminate_all().await
}

#[tokio::test]
async fn money_is_neither_made_nor_lost_while_each_node_is_killed() -> Outcome {
    let (mut cluster, client, bank) = start().await?;
    for node in 1..=3 {
        cluster.kill_9(node)?;
        tell(&format!("node {node} is killed after {} transfers", bank.transfers()));
        bank.flows(FLOW, PATIENCE).await;
        cluster.restart_node(node).await?;
        bank.flows(FLOW, PATIENCE).await;
    }
    close(cluster, client, bank).await
}

#[tokio::test]
async fn money_is_neither_made_nor_lost_while_each_node_stands_still_and_goes_on() -> Outcome {
    let (cluster, client, bank) = start().await?;
    for node in 1..=3 {
        cluster.pause(node)?;
        tell(&format!("node {node} stands still after {} transfers", bank.transfers()));
        bank.flows(FLOW, PATIENCE).await;
        cluster.resume(node)?;
        bank.flows(FLOW, PATIENCE).await;
    }
    close(cluster, client, bank).await
}

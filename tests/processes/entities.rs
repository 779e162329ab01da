//! kill -9 and SIGSTOP of each node in turn while entities move money between them.

use std::time::Duration;

use futures::future::join_all;
use millstream::Client;
use millstream_tests::asking::{self, Told};
use millstream_tests::bank::{Account, Bank, Order};
use millstream_tests::process::{Network, ProcessCluster, Surroundings, left_out};
use millstream_tests::{Outcome, PATIENCE, until};

use crate::{GAP_BOUND, tell};

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

/// Within a second at default settings: a simulated cluster is held to that. Here it is told, and that it ends is asserted.
#[tokio::test]
async fn entities_of_a_killed_node_answer_again_soon() -> Outcome {
    let (mut cluster, client, bank) = start().await?;
    for node in 1..=3 {
        cluster.kill_9(node)?;
        let killed = tokio::time::Instant::now();
        let look = async |key: u64| client.entity::<Account>(&key).ask(&Order::Look, PATIENCE).await;
        for looked in join_all((0..20).map(look)).await {
            looked.map_err(|error| format!("an account, after node {node} was killed: {error}"))?;
        }
        let took = killed.elapsed();
        tell(&format!("all accounts answer {} ms after node {node} was killed", took.as_millis()));
        if took >= GAP_BOUND {
            return Err(format!("accounts did not answer for {took:?} after node {node} was killed").into());
        }
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

/// How long the clients beside the nodes ask.
const ASKING: &str = "16";

/// Longer than any lease, and than a dead node takes to be known as one.
const UNTIL_DEAD: Duration = Duration::from_secs(3);

/// The node that the register answers from, as a client beside another one is told.
async fn register_of(cluster: &ProcessCluster) -> Outcome<u32> {
    let client = cluster.client().await?;
    let found = until("the register", async || {
        Ok(client.actors().ask(asking::REGISTER, &asking::Count, PATIENCE).await.ok())
    });
    let (node, ..) = found.await?;
    client.close().await;
    Ok(node)
}

/// The refusals that a client beside a node was given between two times.
fn refusals(told: &[Told], from_ms: i64, to_ms: i64) -> Vec<&str> {
    let within = told.iter().filter(|told| told.asked_ms > from_ms && told.came_ms < to_ms);
    within.filter_map(|told| told.answer.as_ref().err().map(String::as_str)).collect()
}

#[tokio::test]
async fn a_split_and_a_standstill_show_nobody_two_owners_and_the_minority_says_why_it_refuses() {
    let network = match Network::new(3) {
        Ok(network) => network,
        Err(why) => return left_out("actors and entities in networks that are cut", &why),
    };
    let surroundings = Surroundings { network: Some(network), ..Surroundings::default() };
    let settings = [("entity.partitions", "3")];
    ProcessCluster::run_in(surroundings, PROGRAM, 3, &settings, async |cluster| {
        let clock = millstream::Clock::real();
        let client = cluster.client().await?;
        let bank = Bank::open(&client, 6, 4, 1);
        bank.flows(FLOW, PATIENCE).await;
        let owner = register_of(cluster).await?;
        let mut asking = Vec::new();
        for node in 1..=3 {
            let to_node = cluster.to_node(node);
            let arguments = ["ask-on", ASKING].into_iter().chain(to_node.iter().map(String::as_str));
            asking.push(cluster.start_command(node, &arguments.collect::<Vec<_>>(), "")?);
        }
        bank.flows(FLOW, PATIENCE).await;

        let network = cluster.surroundings().network.as_ref().ok_or("no network of its own")?;
        network.cut_off(owner)?;
        let cut_ms = clock.wall_ms();
        tell(&format!("node {owner}, which has the register, is cut off"));
        tokio::time::sleep(UNTIL_DEAD).await;
        bank.flows(FLOW, PATIENCE).await;
        let healed_ms = clock.wall_ms();
        network.heal()?;
        let next = register_of(cluster).await?;
        bank.flows(FLOW, PATIENCE).await;

        cluster.pause(next)?;
        tell(&format!("node {next}, which has it now, stands still"));
        tokio::time::sleep(UNTIL_DEAD).await;
        cluster.resume(next)?;
        bank.flows(FLOW, PATIENCE).await;

        let mut all = Vec::new();
        for (node, (mut child, said)) in (1..=3).zip(asking) {
            let status = until("the end of a client", async || child.ended()).await?;
            let said = std::fs::read_to_string(said)?;
            if !status.success() {
                return Err(format!("the client beside node {node}: {said}").into());
            }
            let told = asking::read(&said)?;
            if node == owner {
                let refused = refusals(&told, cut_ms + 2_000, healed_ms);
                let (why, _) = refused.split_first().ok_or("the minority answered")?;
                tell(&format!("{} refusals of the minority, the first: {why}", refused.len()));
                if !refused.iter().any(|why| why.contains("heard of no controller for longer than its lease"))
                {
                    return Err(format!("the minority does not say why it refuses: {refused:?}").into());
                }
            }
            all.extend(told);
        }
        let answers = all.iter().filter(|told| told.answer.is_ok()).count();
        tell(&format!("{answers} answers, {} refusals", all.len() - answers));
        asking::check(&all)?;
        let transfers = bank.close(Duration::from_secs(60)).await;
        tell(&format!("{transfers} transfers, each once"));
        client.close().await;
        cluster.terminate_all().await
    })
    .await;
}

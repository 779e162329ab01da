//! Entities move money between them while nodes are killed and cut off: none is made or lost.

use std::time::Duration;

use millstream::NodeId;
use millstream_tests::bank::{Account, Bank, Order, accounts};
use millstream_tests::simulated::{SimulatedCluster, over_seeds, tell};
use millstream_transport::world::simulation::Simulation;
use rand::rngs::SmallRng;
use rand::{Rng, SeedableRng};

/// How long the bank may stand still for a node's death.
const PATIENCE: Duration = Duration::from_secs(30);

const SETTINGS: [(&str, &str); 1] = [("entity.partitions", "3")];

async fn start(simulation: &Simulation) -> (SimulatedCluster, Bank) {
    let mut cluster = SimulatedCluster::start_hosting(simulation, 3, &SETTINGS, accounts()).await;
    let client = cluster.client();
    let bank = Bank::open(&client, 8, 4, simulation.seed_of("bank"));
    bank.flows(20, PATIENCE).await;
    (cluster, bank)
}

fn any_node(rng: &mut SmallRng) -> NodeId {
    NodeId(rng.random_range(1..=3))
}

#[test]
fn money_is_neither_made_nor_lost_while_nodes_are_killed() {
    over_seeds("money_while_nodes_are_killed", 0..2, |simulation| async move {
        let mut rng = SmallRng::seed_from_u64(simulation.seed_of("scenario"));
        let (mut cluster, bank) = start(&simulation).await;
        for _ in 0..4 {
            let node = any_node(&mut rng);
            cluster.kill(node);
            tell(&format!("node {node} is killed after {} transfers", bank.transfers()));
            bank.flows(20, PATIENCE).await;
            tokio::time::sleep(Duration::from_millis(rng.random_range(0..1500))).await;
            cluster.restart(node).await;
            bank.flows(20, PATIENCE).await;
        }
        cluster.until_ready().await;
        let transfers = bank.close(PATIENCE).await;
        tell(&format!("{transfers} transfers"));
        cluster.stop_all().await;
    });
}

#[test]
fn money_is_neither_made_nor_lost_while_a_node_is_cut_off() {
    over_seeds("money_while_a_node_is_cut_off", 0..2, |simulation| async move {
        let mut rng = SmallRng::seed_from_u64(simulation.seed_of("scenario"));
        let (mut cluster, bank) = start(&simulation).await;
        for _ in 0..3 {
            let node = any_node(&mut rng);
            cluster.cut_off(&[node]);
            tell(&format!("node {node} is cut off after {} transfers", bank.transfers()));
            bank.flows(20, PATIENCE).await;
            tokio::time::sleep(Duration::from_millis(rng.random_range(0..3000))).await;
            cluster.network().heal();
            bank.flows(20, PATIENCE).await;
        }
        let transfers = bank.close(PATIENCE).await;
        tell(&format!("{transfers} transfers"));
        cluster.stop_all().await;
    });
}

#[test]
fn what_accounts_were_told_is_there_after_all_nodes_were_killed_at_once() {
    over_seeds("accounts_after_all_were_killed", 0..2, |simulation| async move {
        let (mut cluster, bank) = start(&simulation).await;
        for _ in 0..2 {
            cluster.kill_all();
            cluster.restart_all().await;
            bank.flows(20, PATIENCE).await;
        }
        bank.close(PATIENCE).await;
        cluster.stop_all().await;
    });
}

#[test]
fn a_flood_of_asks_of_one_entity_is_applied_each_once_and_holds_up_no_other() {
    over_seeds("a_flood_of_asks", 0..1, |simulation| async move {
        let mut cluster = SimulatedCluster::start_hosting(&simulation, 1, &SETTINGS, accounts()).await;
        let client = cluster.client();
        let (flooded, other) =
            (client.entities().entity::<Account>(&1), client.entities().entity::<Account>(&2));
        // More than one partition has places for, and more than a node leaves open.
        let asks = (0..3_000).map(|_| flooded.ask(&Order::Receive { cents: 1 }, PATIENCE));
        let (answers, account) =
            tokio::join!(futures::future::join_all(asks), other.ask(&Order::Look, PATIENCE));
        assert_eq!(account.map(|account| account.received), Ok(0));
        let applied = answers.iter().filter(|answer| answer.is_ok()).count();
        assert_eq!(applied, 3_000, "{:?}", answers.iter().find(|answer| answer.is_err()));
        let account = flooded.ask(&Order::Look, PATIENCE).await.unwrap();
        assert_eq!(account.received, 3_000);
        cluster.stop_all().await;
    });
}

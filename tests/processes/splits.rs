//! A network that is cut: a node by itself, one that nobody hears, one that hears nobody.

use std::time::Duration;

use millstream::{Consumer, ConsumerEvent, ConsumerSettings, CreateTopic, SeekTo, TopicPartition};
use millstream_tests::load::{self, Load, LoadSettings};
use millstream_tests::process::{Network, ProcessCluster, Surroundings, left_out};
use millstream_tests::{Outcome, until};

use crate::{FLOW, PROGRAM, tell};

/// Records of the client beside the node that is cut off: some before, some while, some after it is.
const BESIDE: usize = 400;
const BESIDE_A_SECOND: &str = "50";

/// The topic of that client.
const SIDE: &str = "side";

#[derive(Clone, Copy, Debug)]
enum Cut {
    /// Both ways.
    Off,
    /// Nobody hears it.
    Mute,
    /// It hears nobody.
    Deaf,
}

fn network(cluster: &ProcessCluster) -> Outcome<&Network> {
    Ok(cluster.surroundings().network.as_ref().ok_or("no network of its own")?)
}

/// Cuts a leader, waits until the others go on without it, heals the network, waits until all is well.
async fn cut(cluster: &ProcessCluster, load: &Load, leader: u32, cut: Cut) -> Outcome {
    load.acknowledges(FLOW).await?;
    load.forget_gaps();
    match cut {
        Cut::Off => network(cluster)?.cut_off(leader)?,
        Cut::Mute => network(cluster)?.mute(leader)?,
        Cut::Deaf => network(cluster)?.deafen(leader)?,
    }
    load.acknowledges(FLOW).await?;
    let gap = load.longest_gap(|_| true);
    tell(&format!("network cut, {cut:?}, of a leader: longest gap {} ms", gap.as_millis()));
    network(cluster)?.heal()?;
    load.in_sync().await
}

/// All values of the side topic, in order.
async fn side_values(client: &millstream::Client) -> Outcome<Vec<String>> {
    let mut consumer = Consumer::new(client, ConsumerSettings::default())?;
    consumer.assign([(TopicPartition::new(SIDE, 0), SeekTo::Beginning)]).await?;
    let mut values = Vec::new();
    let reading = async {
        while values.len() < BESIDE {
            if let ConsumerEvent::Records(fetched) = consumer.next().await? {
                for record in fetched.records() {
                    let value = record?.value.unwrap_or_default();
                    values.push(String::from_utf8_lossy(&value).into_owned());
                }
            }
        }
        Ok::<_, Box<dyn std::error::Error + Send + Sync>>(())
    };
    tokio::time::timeout(Duration::from_secs(60), reading).await??;
    consumer.close().await;
    Ok(values)
}

#[tokio::test]
async fn a_cut_network_loses_and_doubles_nothing_on_either_side() {
    let network = match Network::new(3) {
        Ok(network) => network,
        Err(why) => return left_out("networks that are cut between real nodes", &why),
    };
    let surroundings = Surroundings { network: Some(network), ..Surroundings::default() };
    ProcessCluster::run_in(surroundings, PROGRAM, 3, &[], async |cluster| {
        let client = cluster.client().await?;
        let load = Load::start(&client, LoadSettings::default()).await?;
        load.in_sync().await?;
        let side = CreateTopic {
            name: SIDE.to_owned(),
            partitions: Some(1),
            replication_factor: Some(3),
            config: [("min.insync.replicas".to_owned(), "2".to_owned())].into(),
        };
        client.admin().create_topic(side).await?;
        let first = load::leader(&client, SIDE, 0).await?;
        let to_node = cluster.to_node(first);
        let produce = ["produce", SIDE, "--rate", BESIDE_A_SECOND];
        let arguments: Vec<&str> = produce.into_iter().chain(to_node.iter().map(String::as_str)).collect();
        let sent: Vec<String> = (0..BESIDE).map(|number| number.to_string()).collect();
        let (mut beside, said) = cluster.start_command(first, &arguments, &sent.join("\n"))?;
        load.acknowledges(FLOW).await?;

        cut(cluster, &load, first, Cut::Off).await?;
        cut(cluster, &load, load.leader(0).await?, Cut::Mute).await?;
        cut(cluster, &load, load.leader(0).await?, Cut::Deaf).await?;

        let status = until("the end of the client beside the first", async || beside.ended()).await?;
        if !status.success() {
            return Err(format!("the client beside node {first}: {}", std::fs::read_to_string(said)?).into());
        }
        if side_values(&client).await? != sent {
            return Err("the client beside the first has lost, doubled or reordered records".into());
        }
        let report = load.finish().await?;
        crate::disks_are_equal(cluster, &report).await
    })
    .await;
}

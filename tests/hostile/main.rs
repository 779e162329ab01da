//! What does a node do with input that nobody should send it? A clear message each time, and it goes on serving.

mod disk;
mod http;
mod intruder;
mod network;
mod starts;

use std::collections::BTreeMap;

use millstream::{Client, CreateTopic, ProducerRecord, ProducerSettings};
use millstream_tests::Outcome;
use millstream_tests::process::ProcessCluster;

const PROGRAM: &str = env!("CARGO_BIN_EXE_millstream-under-test");

const TOPIC: &str = "served";

/// Runs `attack` against one node; afterwards that node, in the same process, serves a producer and says that it is
/// well.
async fn survives(attack: impl AsyncFnOnce(&ProcessCluster) -> Outcome) {
    ProcessCluster::run(PROGRAM, 1, &[], async |cluster| {
        let client = cluster.client().await?;
        make_topic(&client, TOPIC).await?;
        produce(&client, TOPIC).await?;
        let before = cluster.pid(1)?;
        attack(cluster).await?;
        produce(&client, TOPIC).await?;
        // And somebody who comes new is let in.
        produce(&cluster.client().await?, TOPIC).await?;
        cluster.wait_ready(1).await?;
        if cluster.pid(1)? != before {
            return Err("it is another process".into());
        }
        Ok(())
    })
    .await;
}

async fn make_topic(client: &Client, name: &str) -> Outcome {
    let topic = CreateTopic {
        name: name.to_owned(),
        partitions: Some(1),
        replication_factor: Some(1),
        config: BTreeMap::new(),
    };
    client.admin().create_topic(topic).await?;
    Ok(())
}

async fn produce(client: &Client, topic: &str) -> Outcome {
    let producer = client.producer(ProducerSettings::default()).await?;
    for number in 0..20 {
        let value = format!("record {number}");
        producer.send(ProducerRecord::to(topic).value(&value)).await?.await?;
    }
    Ok(())
}

/// An error unless the text has all these parts.
fn says(text: &str, parts: &[&str]) -> Outcome {
    match parts.iter().find(|part| !text.contains(**part)) {
        Some(missing) => Err(format!("no {missing:?} in: {text}").into()),
        None => Ok(()),
    }
}

//! Learn how to send records: batches form by themselves, and each record has a delivery that tells its fate.
//!
//! Needs a running cluster: `cargo run --release --example producer -- 127.0.0.1:9092 millstream-data/certs`

use std::error::Error;
use std::time::Duration;

use millstream::certificates::{CertificateFolder, LOCAL_CLIENT};
use millstream::{Client, ClientSettings, CreateTopic, ProducerRecord, ProducerSettings};

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Box<dyn Error>> {
    let mut arguments = std::env::args().skip(1);
    let node = arguments.next().unwrap_or_else(|| "127.0.0.1:9092".to_owned());
    let certificates = arguments.next().unwrap_or_else(|| "millstream-data/certs".to_owned());
    let credentials = CertificateFolder::new(certificates).client(LOCAL_CLIENT)?;
    let client = Client::connect(credentials, ClientSettings::new([node])).await?;

    let topic = CreateTopic {
        name: "greetings".to_owned(),
        partitions: Some(3),
        replication_factor: None,
        config: Default::default(),
    };
    if let Err(error) = client.admin().create_topic(topic).await {
        println!("taken as it is: {error}");
    }
    let producer = client.producer(ProducerSettings::default()).await?;
    let mut deliveries = Vec::new();
    for number in 0..1_000 {
        let (key, value) = (format!("key-{}", number % 10), format!("greeting {number}"));
        // Waits only while too much is under way; the record is on its way when it returns.
        deliveries.push(producer.send(ProducerRecord::to("greetings").key(&key).value(&value)).await?);
    }
    for delivery in deliveries {
        // On the disks of all in-sync replicas.
        let written = delivery.await?;
        if written.offset.is_some_and(|offset| offset.0 % 100 == 0) {
            println!("partition {} has offset {:?}", written.partition, written.offset);
        }
    }
    producer.close(Duration::from_secs(5)).await;
    client.close().await;
    Ok(())
}

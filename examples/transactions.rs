//! Learn how to copy from one topic to another so that each record is there once, whatever fails: what is written and how far
//! was read become visible together or not at all.
//!
//! Needs a running cluster, and what the example `producer` sends:
//! `cargo run --release --example transactions -- 127.0.0.1:9092 millstream-data/certs`

use std::error::Error;

use millstream::certificates::{CertificateFolder, LOCAL_CLIENT};
use millstream::{
    Client, ClientSettings, Consumer, ConsumerEvent, ConsumerSettings, CreateTopic, Fetched, IsolationLevel,
    OffsetReset, ProducerRecord, ProducerSettings, SeekTo, TransactionError, TransactionalProducer,
};

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Box<dyn Error>> {
    let mut arguments = std::env::args().skip(1);
    let node = arguments.next().unwrap_or_else(|| "127.0.0.1:9092".to_owned());
    let certificates = arguments.next().unwrap_or_else(|| "millstream-data/certs".to_owned());
    let credentials = CertificateFolder::new(certificates).client(LOCAL_CLIENT)?;
    let client = Client::connect(credentials, ClientSettings::new([node])).await?;

    let topic = CreateTopic {
        name: "copies".to_owned(),
        partitions: Some(3),
        replication_factor: None,
        config: Default::default(),
    };
    if let Err(error) = client.admin().create_topic(topic).await {
        println!("taken as it is: {error}");
    }
    // A copier that is started again under this name fences the one before, and aborts what that left open.
    let mut producer = client.transactional_producer(ProducerSettings::transactional("copier")).await?;
    let settings = ConsumerSettings {
        offset_reset: OffsetReset::Earliest,
        isolation: IsolationLevel::ReadCommitted,
        // Offsets are committed with what was made of the records, not by time.
        auto_commit: None,
        ..ConsumerSettings::group("copiers")
    };
    let mut consumer = Consumer::new(&client, settings)?;
    consumer.subscribe(["greetings"])?;
    println!("copying until Ctrl-C");
    loop {
        let event = tokio::select! {
            biased;
            _ = tokio::signal::ctrl_c() => break,
            event = consumer.next() => event?,
        };
        let ConsumerEvent::Records(fetched) = event else { continue };
        match copy(&mut producer, &consumer, &fetched).await {
            Ok(()) => println!("copied {} up to {}", fetched.partition, fetched.next_offset()),
            // Begin anew with another producer, or let the one that has taken over do it.
            Err(error) if error.is_fatal() => return Err(error.into()),
            Err(error) => {
                println!("going back to what is committed: {error}");
                for partition in consumer.assignment() {
                    consumer.seek(&partition, SeekTo::Committed)?;
                }
            }
        }
    }
    consumer.close().await;
    client.close().await;
    Ok(())
}

/// Copies records in one transaction. Where it fails, the transaction is dropped, and so aborted.
async fn copy(
    producer: &mut TransactionalProducer,
    consumer: &Consumer,
    fetched: &Fetched,
) -> Result<(), TransactionError> {
    let mut transaction = producer.begin().await?;
    for record in fetched.records() {
        // A record that its producer made wrong is left out.
        let Ok(record) = record else { continue };
        let copy = ProducerRecord::to("copies").value(record.value.as_deref().unwrap_or_default());
        // What becomes of it is told by the commit.
        let _delivery = transaction.send(copy).await.map_err(TransactionError::Abortable)?;
    }
    if let Some(group) = consumer.group_metadata() {
        let read = [(fetched.partition.clone(), fetched.next_offset())];
        transaction.send_offsets(&group, read).await?;
    }
    transaction.commit().await
}

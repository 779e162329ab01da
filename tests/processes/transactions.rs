//! kill -9 of each node in turn while a native copier works in transactions.

use std::collections::BTreeMap;
use std::time::Duration;

use millstream::{
    Client, Consumer, ConsumerEvent, ConsumerSettings, CreateTopic, IsolationLevel, OffsetReset,
    ProducerRecord, ProducerSettings, SeekTo, TopicPartition, TransactionError, TransactionalProducer,
};
use millstream_actors::partition::message::OffsetSpec;
use millstream_tests::process::ProcessCluster;
use millstream_tests::{Outcome, until};
use tokio::sync::watch;
use tokio::time::Instant;

use crate::{PROGRAM, tell};

const SOURCE: &str = "source";
const COPIES: &str = "copies";
const PARTITIONS: i32 = 3;

/// Records of each partition before a node is killed, and after.
const RECORDS: i64 = 300;

/// How many of a partition are copied while a node is down, at least.
const FLOW: i64 = 20;

type Copied = BTreeMap<i32, Vec<i64>>;

async fn make(client: &Client, name: &str) -> Outcome {
    let topic = CreateTopic {
        name: name.to_owned(),
        partitions: Some(PARTITIONS),
        replication_factor: Some(3),
        config: [("min.insync.replicas".to_owned(), "2".to_owned())].into(),
    };
    client.admin().create_topic(topic).await?;
    Ok(())
}

/// Sends numbers to each partition of the source, up to what it is told, until it is told nothing any more.
async fn feed(client: Client, mut most: watch::Receiver<i64>) -> Outcome {
    let producer = client.producer(ProducerSettings::default()).await?;
    for number in 0.. {
        while *most.borrow_and_update() <= number {
            producer.flush().await;
            if most.changed().await.is_err() {
                return Ok(());
            }
        }
        let value = number.to_string();
        for index in 0..PARTITIONS {
            drop(producer.send(ProducerRecord::to(SOURCE).partition(index).value(&value)).await?);
        }
    }
    Ok(())
}

async fn copy(client: Client) -> Outcome {
    loop {
        let mut producer = client.transactional_producer(ProducerSettings::transactional("copier")).await?;
        let settings = ConsumerSettings {
            offset_reset: OffsetReset::Earliest,
            auto_commit: None,
            ..ConsumerSettings::group("copiers")
        };
        let mut consumer = Consumer::new(&client, settings)?;
        consumer.subscribe([SOURCE])?;
        while let Err(error) = copy_on(&mut producer, &mut consumer).await {
            if error.is_fatal() {
                tell(&format!("the copier begins anew: {error}"));
                break;
            }
            tell(&format!("the copier goes back to what is committed: {error}"));
            for partition in consumer.assignment() {
                consumer.seek(&partition, SeekTo::Committed)?;
            }
        }
    }
}

/// Copies until something fails.
async fn copy_on(
    producer: &mut TransactionalProducer,
    consumer: &mut Consumer,
) -> Result<(), TransactionError> {
    loop {
        let event = consumer.next().await.map_err(|error| TransactionError::Abortable(error.into()))?;
        let ConsumerEvent::Records(fetched) = event else { continue };
        let mut transaction = producer.begin().await?;
        for record in fetched.records() {
            let value = record.ok().and_then(|record| record.value).unwrap_or_default();
            let copy = ProducerRecord::to(COPIES).partition(fetched.partition.partition).value(&value);
            drop(transaction.send(copy).await.map_err(TransactionError::Abortable)?);
        }
        if let Some(group) = consumer.group_metadata() {
            transaction.send_offsets(&group, [(fetched.partition.clone(), fetched.next_offset())]).await?;
        }
        transaction.commit().await?;
    }
}

/// Reads what is committed until each partition has so many; says so if one has another record than the next.
async fn read(consumer: &mut Consumer, copied: &mut Copied, wanted: i64) -> Outcome {
    let has_all = |copied: &Copied| {
        (0..PARTITIONS).all(|index| {
            copied.get(&index).is_some_and(|of| i64::try_from(of.len()).is_ok_and(|n| n >= wanted))
        })
    };
    while !has_all(copied) {
        let event = tokio::time::timeout(Duration::from_secs(90), consumer.next()).await;
        let event =
            event.map_err(|_| format!("copied so far: {copied:?}, {wanted} of each are wanted"))??;
        let ConsumerEvent::Records(fetched) = event else { continue };
        let of = copied.entry(fetched.partition.partition).or_default();
        for record in fetched.records() {
            let value: i64 = String::from_utf8(record?.value.unwrap_or_default().to_vec())?.parse()?;
            if i64::try_from(of.len())? != value {
                return Err(format!("{} is read after {of:?} in {}", value, fetched.partition).into());
            }
            of.push(value);
        }
    }
    Ok(())
}

async fn ends(client: &Client, spec: OffsetSpec) -> Outcome<Vec<Option<i64>>> {
    let wanted: Vec<_> = (0..PARTITIONS).map(|index| (TopicPartition::new(COPIES, index), spec)).collect();
    let listed = client.admin().offsets(&wanted).await?;
    Ok(listed.into_values().map(|listed| listed.offset.map(|offset| offset.0)).collect())
}

#[tokio::test]
async fn a_transactional_copy_is_read_once_and_in_order_while_each_node_is_killed_in_turn() {
    ProcessCluster::run(PROGRAM, 3, &[], async |cluster| {
        let client = cluster.client().await?;
        make(&client, SOURCE).await?;
        make(&client, COPIES).await?;
        let (most, feeding) = watch::channel(RECORDS);
        let feeder = tokio::spawn(feed(client.clone(), feeding));
        let copier = tokio::spawn(copy(cluster.client().await?));
        let settings =
            ConsumerSettings { isolation: IsolationLevel::ReadCommitted, ..ConsumerSettings::default() };
        let mut consumer = Consumer::new(&client, settings)?;
        let all = (0..PARTITIONS).map(|index| (TopicPartition::new(COPIES, index), SeekTo::Beginning));
        consumer.assign(all).await?;
        let mut copied = Copied::new();
        let mut wanted = RECORDS;
        for killed in 1..=3 {
            read(&mut consumer, &mut copied, wanted - RECORDS / 2).await?;
            cluster.kill_9(killed)?;
            let since = Instant::now();
            most.send_replace(wanted + RECORDS);
            read(&mut consumer, &mut copied, wanted + FLOW).await?;
            tell(&format!(
                "the copy went on {} ms after node {killed} was killed",
                since.elapsed().as_millis()
            ));
            cluster.restart_node(killed).await?;
            wanted += RECORDS;
        }
        read(&mut consumer, &mut copied, wanted).await?;
        until("the last stable offset is the end", async || {
            let stable = ends(&client, OffsetSpec::LastStable).await?;
            Ok((stable == ends(&client, OffsetSpec::Latest).await?).then_some(()))
        })
        .await?;
        copier.abort();
        drop(most);
        feeder.await??;
        tell(&format!("{wanted} records of each of {PARTITIONS} partitions were copied once"));
        Ok(())
    })
    .await;
}

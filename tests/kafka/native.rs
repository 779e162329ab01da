//! Native clients beside those of Kafka's protocol: each reads and fences what the other writes in transactions.

use millstream::{
    Consumer, ConsumerEvent, ConsumerSettings, IsolationLevel, Offset, ProduceError, ProducerRecord,
    ProducerSettings, SeekTo, TopicPartition, Transaction, TransactionError,
};
use millstream_actors::error::ErrorCode;
use millstream_tests::{Outcome, until};

use crate::transactions::{ID, NEW, Nodes, Producer, last_stable, reads};
use crate::{connect, expect, make_topic, with_node};

/// Sends a record, and waits until it is written.
async fn send(transaction: &Transaction<'_>, value: &str) -> Outcome {
    let record = ProducerRecord::to("flights").partition(0).value(value);
    transaction.send(record).await?.await?;
    Ok(())
}

fn flights() -> TopicPartition {
    TopicPartition::new("flights", 0)
}

fn committed_only() -> ConsumerSettings {
    ConsumerSettings { isolation: IsolationLevel::ReadCommitted, ..ConsumerSettings::default() }
}

/// The next values, as many as are wanted.
async fn values(consumer: &mut Consumer, count: usize) -> Outcome<Vec<String>> {
    let mut values = Vec::new();
    while values.len() < count {
        if let ConsumerEvent::Records(fetched) = consumer.next().await? {
            for record in fetched.records() {
                values.push(String::from_utf8(record?.value.unwrap_or_default().to_vec())?);
            }
        }
    }
    Ok(values)
}

#[tokio::test]
async fn what_a_native_producer_commits_is_read_by_kafkas_clients_and_what_it_aborts_is_not() {
    with_node(async |cluster| {
        let mut reader = Nodes::of(cluster, 1);
        make_topic(&mut connect(cluster).await?, "flights").await?;
        let client = cluster.client().await?;
        let mut producer = client.transactional_producer(ProducerSettings::transactional("native")).await?;
        for (value, commits) in [("one", true), ("two", false), ("three", true)] {
            let mut transaction = producer.begin().await?;
            send(&transaction, value).await?;
            if commits {
                transaction.commit().await?;
            } else {
                transaction.abort().await?;
            }
        }
        let wanted = [("one", false), ("two", true), ("three", false)];
        reads(&mut reader, "flights", &wanted).await?;
        let transaction = producer.begin().await?;
        send(&transaction, "four").await?;
        expect("the last stable offset", last_stable(&mut reader, "flights").await?, 6)?;
        drop(transaction);
        until("the dropped transaction is aborted", async || {
            Ok((last_stable(&mut reader, "flights").await? == 8).then_some(()))
        })
        .await?;
        let wanted = [wanted.as_slice(), &[("four", true)]].concat();
        reads(&mut reader, "flights", &wanted).await
    })
    .await;
}

#[tokio::test]
async fn a_native_reader_of_committed_records_sees_what_kafkas_clients_commit_and_nothing_else() {
    with_node(async |cluster| {
        make_topic(&mut connect(cluster).await?, "flights").await?;
        let mut producer = Producer::begin(Nodes::of(cluster, 1)).await?;
        for (value, commits) in [("one", true), ("two", false), ("three", true)] {
            expect(value, producer.send(NEW, "flights", value).await?, 0)?;
            expect("the end", producer.end(5, commits).await?, 0)?;
        }
        expect("four", producer.send(NEW, "flights", "four").await?, 0)?;
        let client = cluster.client().await?;
        let mut consumer = Consumer::new(&client, committed_only())?;
        consumer.assign([(flights(), SeekTo::Beginning)]).await?;
        expect("what is committed", values(&mut consumer, 2).await?, vec!["one".into(), "three".into()])?;
        let mut late = Consumer::new(&client, committed_only())?;
        late.assign([(flights(), SeekTo::End)]).await?;
        until("the end is found", async || Ok(late.position(&flights())?)).await?;
        expect("the end of what is committed", late.position(&flights())?, Some(Offset(6)))?;
        let mut all = Consumer::new(&client, ConsumerSettings::default())?;
        all.assign([(flights(), SeekTo::Beginning)]).await?;
        let everything = ["one", "two", "three", "four"].map(String::from).to_vec();
        expect("everything", values(&mut all, 4).await?, everything)?;
        expect("the end", producer.end(5, true).await?, 0)?;
        expect("what is committed then", values(&mut consumer, 1).await?, vec!["four".into()])?;
        expect("what comes behind the end", values(&mut late, 1).await?, vec!["four".into()])
    })
    .await;
}

#[tokio::test]
async fn what_coordinators_write_is_not_written_by_a_native_producer() {
    with_node(async |cluster| {
        let client = cluster.client().await?;
        let mut producer = client.transactional_producer(ProducerSettings::transactional("native")).await?;
        let mut transaction = producer.begin().await?;
        let record = ProducerRecord::to("__transaction_state").partition(0).key("key").value("value");
        let refused = transaction.send(record).await?.await;
        let is_told = matches!(&refused, Err(ProduceError::Refused(refusal))
            if refusal.code == ErrorCode::InvalidTopic);
        expect("it is refused as what it is", is_told, true)?;
        expect(
            "it cannot commit",
            transaction.commit().await.is_err_and(|error| error.is_abortable()),
            true,
        )?;
        transaction.abort().await?;
        let plain = client.producer(ProducerSettings::default()).await?;
        let refused = plain.send(record).await?.await;
        let is_told = matches!(&refused, Err(ProduceError::Refused(refusal))
            if refusal.code == ErrorCode::InvalidTopic);
        expect("nor outside of transactions", is_told, true)
    })
    .await;
}

#[tokio::test]
async fn a_client_of_kafkas_protocol_with_the_same_id_fences_a_native_producer() {
    with_node(async |cluster| {
        let mut reader = Nodes::of(cluster, 1);
        make_topic(&mut connect(cluster).await?, "flights").await?;
        let client = cluster.client().await?;
        let mut zombie = client.transactional_producer(ProducerSettings::transactional(ID)).await?;
        let mut transaction = zombie.begin().await?;
        send(&transaction, "one").await?;
        let mut producer = Producer::begin(Nodes::of(cluster, 1)).await?;
        let late = transaction.commit().await;
        expect("it is fenced", matches!(late, Err(TransactionError::Fenced(_))), true)?;
        drop(transaction);
        expect("it stays so", matches!(zombie.begin().await, Err(TransactionError::Fenced(_))), true)?;
        expect("two", producer.send(NEW, "flights", "two").await?, 0)?;
        expect("the end", producer.end(5, true).await?, 0)?;
        reads(&mut reader, "flights", &[("one", true), ("two", false)]).await
    })
    .await;
}

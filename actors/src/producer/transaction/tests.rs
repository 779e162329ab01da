//! Transactional producers and readers of committed records against a cluster in memory, in virtual time.

use std::time::Duration;

use futures::FutureExt;
use millstream_transport::world::simulation::{self, Simulation};

use super::*;
use crate::client::fake::{FakeCluster, at};
use crate::consumer::{Consumer, ConsumerEvent, ConsumerSettings, IsolationLevel, SeekTo};
use crate::error::ErrorCode;
use crate::ids::TopicId;
use crate::transaction::state::TransactionState;

const ID: &str = "copy";

fn started(nodes: u32) -> (FakeCluster, TopicId) {
    let cluster = FakeCluster::new(nodes);
    let topic = cluster.topic("t", 2);
    (cluster, topic)
}

async fn begun(client: &Client) -> TransactionalProducer {
    client.transactional_producer(ProducerSettings::transactional(ID)).await.unwrap()
}

async fn send(transaction: &Transaction<'_>, values: &[&str]) {
    for value in values {
        for partition in 0..2 {
            let record = ProducerRecord::to("t").partition(partition).value(value);
            drop(transaction.send(record).await.unwrap());
        }
    }
}

async fn reader(client: &Client, isolation: IsolationLevel) -> Consumer {
    let consumer =
        Consumer::new(client, ConsumerSettings { isolation, ..ConsumerSettings::default() }).unwrap();
    let both = (0..2).map(|index| (TopicPartition::new("t", index), SeekTo::Beginning));
    consumer.assign(both).await.unwrap();
    consumer
}

/// What comes within ten seconds of one partition.
async fn values(consumer: &mut Consumer, partition: i32) -> Vec<String> {
    let mut values = Vec::new();
    while let Ok(event) = tokio::time::timeout(Duration::from_secs(10), consumer.next()).await {
        if let ConsumerEvent::Records(fetched) = event.unwrap()
            && fetched.partition.partition == partition
        {
            let text = |value: bytes::Bytes| String::from_utf8(value.to_vec()).unwrap();
            values.extend(fetched.records().map(|record| text(record.unwrap().value.unwrap())));
        }
    }
    values
}

async fn committed(client: &Client) -> Vec<String> {
    values(&mut reader(client, IsolationLevel::ReadCommitted).await, 0).await
}

fn state(cluster: &FakeCluster) -> TransactionState {
    cluster.lock().transactions.by_id[ID].state
}

fn run<F: Future<Output = ()>>(seed: u64, test: impl FnOnce(Simulation) -> F) {
    simulation::run(seed, test);
}

#[test]
fn what_commits_is_read_in_order_and_what_is_aborted_is_not() {
    run(1, |simulation| async move {
        let (cluster, topic) = started(3);
        let client = cluster.client(&simulation);
        let mut live = reader(&client, IsolationLevel::ReadCommitted).await;
        let mut producer = begun(&client).await;
        for round in 0..6 {
            let mut transaction = producer.begin().await.unwrap();
            send(&transaction, &[&format!("{round}a"), &format!("{round}b")]).await;
            if round % 3 == 1 {
                transaction.abort().await.unwrap();
            } else {
                transaction.commit().await.unwrap();
            }
        }
        let wanted = ["0a", "0b", "2a", "2b", "3a", "3b", "5a", "5b"];
        assert_eq!(values(&mut live, 1).await, wanted);
        assert_eq!(committed(&client).await, wanted);
        let end = cluster.lock().partitions[&at(topic, 0)].end;
        assert_eq!(live.position(&TopicPartition::new("t", 0)).unwrap(), Some(end), "markers are passed");
        let all = values(&mut reader(&client, IsolationLevel::ReadUncommitted).await, 0).await;
        assert!(all.len() >= wanted.len());
        producer.close(Duration::from_secs(1)).await;
    });
}

#[test]
fn an_end_whose_answer_is_lost_is_asked_for_again_and_counts_once() {
    run(2, |simulation| async move {
        let (cluster, _) = started(1);
        let client = cluster.client(&simulation);
        let mut producer = begun(&client).await;
        for value in ["one", "two"] {
            cluster.change(|state| state.transactions.lost_ends = 1);
            let mut transaction = producer.begin().await.unwrap();
            send(&transaction, &[value]).await;
            transaction.commit().await.unwrap();
        }
        assert_eq!(committed(&client).await, ["one", "two"]);
        assert_eq!(cluster.lock().transactions.by_id[ID].producer_epoch, 2);
    });
}

#[test]
fn an_end_that_is_not_known_to_be_done_is_asked_for_again_by_who_drops_it() {
    run(3, |simulation| async move {
        let (cluster, _) = started(1);
        let client = cluster.client(&simulation);
        let settings =
            ProducerSettings { max_block: Duration::from_secs(10), ..ProducerSettings::transactional(ID) };
        let mut producer = client.transactional_producer(settings).await.unwrap();
        let mut transaction = producer.begin().await.unwrap();
        send(&transaction, &["one"]).await;
        cluster.change(|state| state.transactions.lost_ends = 2);
        assert!(transaction.commit().await.unwrap_err().is_retriable());
        assert!(transaction.abort().await.unwrap_err().is_retriable(), "it may have committed");
        drop(transaction);
        let mut transaction = producer.begin().await.unwrap();
        send(&transaction, &["two"]).await;
        transaction.commit().await.unwrap();
        assert_eq!(committed(&client).await, ["one", "two"]);
    });
}

#[test]
fn who_asks_for_the_other_end_hears_which_one_it_was_once_that_is_known() {
    run(14, |simulation| async move {
        let (cluster, _) = started(1);
        let client = cluster.client(&simulation);
        let settings =
            ProducerSettings { max_block: Duration::from_secs(10), ..ProducerSettings::transactional(ID) };
        let mut producer = client.transactional_producer(settings).await.unwrap();
        let mut transaction = producer.begin().await.unwrap();
        send(&transaction, &["one"]).await;
        cluster.change(|state| state.transactions.lost_ends = 2);
        assert!(transaction.commit().await.unwrap_err().is_retriable());
        assert!(transaction.abort().await.unwrap_err().is_retriable());
        assert!(transaction.abort().await.unwrap_err().is_abortable(), "it has committed");
        transaction.commit().await.unwrap();
        drop(transaction);
        let mut transaction = producer.begin().await.unwrap();
        send(&transaction, &["two"]).await;
        cluster.change(|state| state.transactions.lost_ends = 2);
        assert!(transaction.abort().await.unwrap_err().is_retriable());
        assert!(transaction.commit().await.unwrap_err().is_retriable());
        assert!(transaction.commit().await.unwrap_err().is_abortable(), "it is aborted");
        transaction.abort().await.unwrap();
        assert_eq!(committed(&client).await, ["one"]);
    });
}

#[test]
fn a_record_given_up_before_it_is_taken_keeps_its_transaction_from_committing() {
    run(15, |simulation| async move {
        let (cluster, _) = started(1);
        let client = cluster.client(&simulation);
        let mut producer = begun(&client).await;
        let mut transaction = producer.begin().await.unwrap();
        let waits = transaction.send(ProducerRecord::to("nowhere").value("one"));
        assert!(waits.now_or_never().is_none(), "the topic is not known");
        assert!(transaction.commit().await.unwrap_err().is_abortable());
        transaction.abort().await.unwrap();
        drop(transaction);
        let mut transaction = producer.begin().await.unwrap();
        send(&transaction, &["two"]).await;
        transaction.commit().await.unwrap();
        assert_eq!(committed(&client).await, ["two"]);
    });
}

#[test]
fn a_transaction_that_is_dropped_is_aborted_at_once_or_before_the_next() {
    run(4, |simulation| async move {
        let (cluster, _) = started(1);
        let client = cluster.client(&simulation);
        let mut producer = begun(&client).await;
        let transaction = producer.begin().await.unwrap();
        send(&transaction, &["one"]).await;
        drop(transaction);
        let mut transaction = producer.begin().await.unwrap();
        send(&transaction, &["two"]).await;
        transaction.commit().await.unwrap();
        drop(transaction);
        let transaction = producer.begin().await.unwrap();
        send(&transaction, &["three"]).await;
        tokio::time::sleep(Duration::from_secs(1)).await;
        drop(transaction);
        tokio::time::sleep(Duration::from_secs(1)).await;
        assert_eq!(state(&cluster), TransactionState::CompleteAbort);
        assert_eq!(committed(&client).await, ["two"]);
    });
}

#[test]
fn the_next_transaction_begins_while_the_markers_of_the_last_are_being_written() {
    run(5, |simulation| async move {
        let (cluster, topic) = started(2);
        let client = cluster.client(&simulation);
        let mut producer = begun(&client).await;
        cluster.change(|state| state.transactions.holds_markers = true);
        let mut transaction = producer.begin().await.unwrap();
        send(&transaction, &["one"]).await;
        transaction.commit().await.unwrap();
        drop(transaction);
        let mut late = reader(&client, IsolationLevel::ReadCommitted).await;
        assert!(values(&mut late, 0).await.is_empty());
        let mut transaction = producer.begin().await.unwrap();
        send(&transaction, &["two"]).await;
        tokio::time::sleep(Duration::from_secs(5)).await;
        assert_eq!(cluster.lock().partitions[&at(topic, 0)].end, Offset(1), "its partition is not added yet");
        cluster.change(|state| {
            state.transactions.holds_markers = false;
            state.write_markers();
        });
        transaction.commit().await.unwrap();
        assert_eq!(values(&mut late, 0).await, ["one", "two"]);
    });
}

#[test]
fn who_begins_with_the_same_id_fences_the_one_before() {
    run(6, |simulation| async move {
        let (cluster, _) = started(1);
        let client = cluster.client(&simulation);
        let mut zombie = begun(&client).await;
        let mut transaction = zombie.begin().await.unwrap();
        send(&transaction, &["one"]).await;
        tokio::time::sleep(Duration::from_secs(1)).await;
        let mut producer = begun(&client).await;
        send(&transaction, &["late"]).await;
        let error = transaction.commit().await.unwrap_err();
        assert!(matches!(error, TransactionError::Abortable(_)), "{error}");
        assert!(matches!(transaction.abort().await.unwrap_err(), TransactionError::Fenced(_)));
        drop(transaction);
        assert!(zombie.begin().await.unwrap_err().is_fatal());
        let mut transaction = producer.begin().await.unwrap();
        send(&transaction, &["two"]).await;
        transaction.commit().await.unwrap();
        assert_eq!(committed(&client).await, ["two"]);
    });
}

#[test]
fn a_transaction_that_took_too_long_has_fenced_its_producer() {
    run(7, |simulation| async move {
        let (cluster, _) = started(1);
        let client = cluster.client(&simulation);
        let mut producer = begun(&client).await;
        let mut transaction = producer.begin().await.unwrap();
        send(&transaction, &["one"]).await;
        tokio::time::sleep(Duration::from_secs(1)).await;
        cluster.change(crate::client::fake::State::time_out_transactions);
        assert!(matches!(transaction.commit().await.unwrap_err(), TransactionError::Fenced(_)));
        assert!(committed(&client).await.is_empty());
    });
}

#[test]
fn a_record_that_is_refused_keeps_its_transaction_from_committing() {
    run(8, |simulation| async move {
        let (cluster, _) = started(1);
        let client = cluster.client(&simulation);
        let mut producer = begun(&client).await;
        let codes = [
            ErrorCode::MessageTooLarge,
            ErrorCode::OutOfOrderSequenceNumber,
            ErrorCode::InvalidProducerEpoch,
            ErrorCode::TransactionAbortable,
        ];
        for code in codes {
            let mut transaction = producer.begin().await.unwrap();
            send(&transaction, &["one"]).await;
            tokio::time::sleep(Duration::from_secs(1)).await;
            cluster.change(|state| state.refusals.push_back(code));
            send(&transaction, &["two"]).await;
            assert!(transaction.commit().await.unwrap_err().is_abortable(), "{code:?}");
            assert!(transaction.commit().await.unwrap_err().is_abortable(), "{code:?}");
            transaction.abort().await.unwrap();
        }
        let transaction = producer.begin().await.unwrap();
        let unknown = ProducerRecord::to("t").partition(7).value("x");
        assert!(matches!(transaction.send(unknown).await, Err(ProduceError::UnknownPartition { .. })));
        drop(transaction);
        let mut transaction = producer.begin().await.unwrap();
        cluster.change(|state| state.refusals.push_back(ErrorCode::NotEnoughReplicas));
        send(&transaction, &["three"]).await;
        transaction.commit().await.unwrap();
        assert_eq!(committed(&client).await, ["three"], "what passes is tried again");
    });
}

#[test]
fn nothing_is_taken_once_the_end_was_asked_for() {
    run(13, |simulation| async move {
        let (cluster, _) = started(1);
        let client = cluster.client(&simulation);
        let mut producer = begun(&client).await;
        for commits in [true, false] {
            let mut transaction = producer.begin().await.unwrap();
            send(&transaction, &["one"]).await;
            if commits {
                transaction.commit().await.unwrap();
            } else {
                transaction.abort().await.unwrap();
            }
            let late = transaction.send(ProducerRecord::to("t").partition(0).value("late")).await;
            assert!(matches!(late, Err(ProduceError::Refused(_))), "{late:?}");
            let group = GroupMetadata::without_member("g");
            let late = [(TopicPartition::new("t", 0), Offset::ZERO)];
            assert!(transaction.send_offsets(&group, late).await.unwrap_err().is_abortable());
            assert_eq!(transaction.commit().await.is_ok(), commits);
            assert_eq!(transaction.abort().await.is_ok(), !commits);
        }
        assert_eq!(committed(&client).await, ["one"]);
    });
}

#[test]
fn a_transaction_without_anything_in_it_asks_nobody() {
    run(9, |simulation| async move {
        let (cluster, _) = started(1);
        let client = cluster.client(&simulation);
        let mut producer = begun(&client).await;
        cluster.change(|state| state.transactions.refusals.push(ErrorCode::UnknownServerError));
        for commits in [true, false] {
            let mut transaction = producer.begin().await.unwrap();
            let group = GroupMetadata::without_member("g");
            transaction.send_offsets(&group, []).await.unwrap();
            if commits {
                transaction.commit().await.unwrap();
            } else {
                transaction.abort().await.unwrap();
            }
        }
        assert_eq!(state(&cluster), TransactionState::Empty);
    });
}

#[test]
fn offsets_are_the_groups_when_their_transaction_commits() {
    run(10, |simulation| async move {
        let (cluster, topic) = started(2);
        let client = cluster.client(&simulation);
        let mut source = begun(&client).await;
        let mut transaction = source.begin().await.unwrap();
        send(&transaction, &["one"]).await;
        transaction.commit().await.unwrap();
        let settings = ConsumerSettings {
            auto_commit: None,
            offset_reset: crate::consumer::OffsetReset::Earliest,
            ..ConsumerSettings::group("g")
        };
        let mut consumer = Consumer::new(&client, settings).unwrap();
        consumer.subscribe(["t"]).unwrap();
        assert_eq!(values(&mut consumer, 0).await, ["one"]);
        let settings = ProducerSettings::transactional("other");
        let mut producer = client.transactional_producer(settings).await.unwrap();
        let mut transaction = producer.begin().await.unwrap();
        let group = consumer.group_metadata().unwrap();
        transaction.send_offsets(&group, consumer.positions()).await.unwrap();
        let all = [TopicPartition::new("t", 0)];
        let waits = tokio::time::timeout(Duration::from_secs(5), consumer.committed(&all)).await;
        assert!(waits.is_err(), "{waits:?}");
        transaction.commit().await.unwrap();
        let [(_, offset)] = consumer.committed(&all).await.unwrap().try_into().unwrap();
        assert_eq!(offset, cluster.lock().partitions[&at(topic, 0)].end);
        drop(transaction);
        // Another member has taken over: whose epoch is over commits nothing.
        cluster.change(|state| state.group.members.values_mut().for_each(|member| member.epoch += 1));
        let mut transaction = producer.begin().await.unwrap();
        let error = transaction.send_offsets(&group, [(all[0].clone(), Offset::ZERO)]).await.unwrap_err();
        assert!(error.is_abortable(), "{error}");
        assert!(transaction.commit().await.unwrap_err().is_abortable());
        transaction.abort().await.unwrap();
        assert_eq!(consumer.committed(&all).await.unwrap(), [(all[0].clone(), offset)]);
    });
}

#[test]
fn what_a_lost_member_has_read_is_not_committed_by_the_one_that_joins_in_its_place() {
    run(16, |simulation| async move {
        let (cluster, _) = started(1);
        let client = cluster.client(&simulation);
        let mut source = begun(&client).await;
        let mut transaction = source.begin().await.unwrap();
        send(&transaction, &["one"]).await;
        transaction.commit().await.unwrap();
        let settings = ConsumerSettings {
            auto_commit: None,
            offset_reset: crate::consumer::OffsetReset::Earliest,
            ..ConsumerSettings::group("g")
        };
        let mut consumer = Consumer::new(&client, settings).unwrap();
        consumer.subscribe(["t"]).unwrap();
        assert_eq!(values(&mut consumer, 0).await, ["one"]);
        let settings = ProducerSettings::transactional("other");
        let mut producer = client.transactional_producer(settings).await.unwrap();
        let read = consumer.positions();
        cluster.change(|state| state.group.members.clear());
        tokio::time::sleep(Duration::from_secs(5)).await;
        assert!(!cluster.lock().group.members.is_empty(), "it has joined anew");
        for is_told in [false, true] {
            if is_told {
                assert!(matches!(consumer.next().await.unwrap(), ConsumerEvent::Lost(_)));
            }
            let mut transaction = producer.begin().await.unwrap();
            let group = consumer.group_metadata().unwrap();
            let error = transaction.send_offsets(&group, read.clone()).await.unwrap_err();
            assert!(error.is_abortable(), "{error}");
            transaction.abort().await.unwrap();
        }
        assert_eq!(values(&mut consumer, 0).await, ["one"], "it is read again");
        let mut transaction = producer.begin().await.unwrap();
        let group = consumer.group_metadata().unwrap();
        transaction.send_offsets(&group, consumer.positions()).await.unwrap();
        transaction.commit().await.unwrap();
    });
}

#[test]
fn a_consumer_that_has_subscribed_and_is_no_member_is_nobody_from_outside() {
    run(11, |simulation| async move {
        let (cluster, _) = started(1);
        let client = cluster.client(&simulation);
        let consumer = Consumer::new(&client, ConsumerSettings::group("g")).unwrap();
        assert_eq!(consumer.group_metadata(), Some(GroupMetadata::without_member("g")));
        consumer.subscribe(["t"]).unwrap();
        let group = consumer.group_metadata().unwrap();
        assert!(!group.member.is_empty() && group.member_epoch == 0, "{group:?}");
    });
}

#[test]
fn a_producer_without_a_transactional_id_is_none_of_these() {
    run(12, |simulation| async move {
        let (cluster, _) = started(1);
        let client = cluster.client(&simulation);
        let error = client.transactional_producer(ProducerSettings::default()).await.unwrap_err();
        assert!(error.is_fatal() && error.to_string().contains("transactional.id"), "{error}");
        let error = client.producer(ProducerSettings::transactional(ID)).await.unwrap_err();
        assert!(error.to_string().contains("transactional_producer"), "{error}");
    });
}

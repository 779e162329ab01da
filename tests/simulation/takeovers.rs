//! Members of a group whose offsets are in transactions, and others that take over from them (KIP-447).

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::rc::Rc;
use std::time::Duration;

use millstream::{
    Client, Consumer, ConsumerEvent, Fetched, GroupMetadata, ProducerRecord, Transaction, TransactionError,
};
use millstream_tests::simulated::{SimulatedCluster, over_seeds};
use millstream_transport::world::simulation::Simulation;
use tokio::time::Instant;

use crate::transactions::{
    COPIES, Copier, PARTITIONS, PATIENCE, SETTINGS, SOURCE, Seen, TIMEOUT, fill, reading, watch, writing,
};

/// A cluster of one node with some records to copy.
async fn small(simulation: &Simulation, records: i64) -> (SimulatedCluster, Client) {
    let mut cluster = SimulatedCluster::start_with(simulation, 1, &SETTINGS).await;
    let client = cluster.client();
    for topic in [SOURCE, COPIES] {
        cluster.make_topic(&client, topic, PARTITIONS).await;
    }
    fill(&client, records).await;
    (cluster, client)
}

async fn next_records(consumer: &mut Consumer) -> Fetched {
    loop {
        if let ConsumerEvent::Records(fetched) = consumer.next().await.expect("an event") {
            return fetched;
        }
    }
}

/// Sends copies, and offsets for the consumer, in a transaction that is left open.
async fn copy_openly(
    transaction: &Transaction<'_>,
    group: &GroupMetadata,
    fetched: &Fetched,
) -> Result<(), TransactionError> {
    for record in fetched.records() {
        let value = record.expect("records are whole").value.expect("it has a value");
        let copy = ProducerRecord::to(COPIES).partition(fetched.partition.partition).value(&value);
        transaction.send(copy).await.expect("it is taken").await.expect("it is written");
    }
    transaction.send_offsets(group, [(fetched.partition.clone(), fetched.next_offset())]).await
}

#[test]
fn who_takes_over_from_a_member_that_died_in_its_transaction_waits_for_its_end_and_begins_where_it_began() {
    over_seeds("who_takes_over_from_a_member", 0..2, |simulation| async move {
        let (mut cluster, client) = small(&simulation, 5).await;
        let machine = cluster.client();
        let begun = Rc::new(RefCell::new(None));
        let told = Rc::clone(&begun);
        let dying = actix_rt::spawn(async move {
            let mut producer = machine.transactional_producer(writing("first")).await.expect("a producer");
            let mut consumer = Consumer::new(&machine, reading()).expect("a consumer");
            consumer.subscribe([SOURCE]).expect("it has a group");
            let fetched = next_records(&mut consumer).await;
            let transaction = producer.begin().await.expect("it begins");
            let at = (Instant::now(), fetched.partition.partition);
            let group = consumer.group_metadata().expect("it has a group");
            copy_openly(&transaction, &group, &fetched).await.expect("it is a member");
            *told.borrow_mut() = Some(at);
            std::future::pending::<()>().await;
        });
        let since = Instant::now();
        while begun.borrow().is_none() {
            assert!(since.elapsed() < PATIENCE, "nothing is copied");
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
        cluster.unplug_last_client();
        dying.abort();
        let (began, partition) = begun.borrow().expect("it was told");
        let seen = Seen::default();
        let watching = actix_rt::spawn(watch(client.clone(), Rc::clone(&seen)));
        let copier = actix_rt::spawn(Copier { client: cluster.client(), id: "second" }.run());
        while !seen.borrow().contains_key(&partition) {
            assert!(began.elapsed() < PATIENCE, "nobody takes over");
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
        let took = began.elapsed();
        assert!(took >= TIMEOUT, "its offsets were open for {TIMEOUT:?}, and others read on after {took:?}");
        tokio::time::sleep(Duration::from_secs(5)).await;
        let wanted: BTreeMap<_, Vec<_>> = (0..PARTITIONS).map(|index| (index, (0..5).collect())).collect();
        assert_eq!(*seen.borrow(), wanted);
        copier.abort();
        watching.abort();
        cluster.stop_all().await;
    });
}

#[test]
fn a_member_that_has_been_replaced_commits_nothing_in_its_transaction() {
    over_seeds("a_member_that_has_been_replaced", 0..2, |simulation| async move {
        let (mut cluster, client) = small(&simulation, 5).await;
        let mut producer = client.transactional_producer(writing("first")).await.expect("a producer");
        let mut old = Consumer::new(&client, reading()).expect("a consumer");
        old.subscribe([SOURCE]).expect("it has a group");
        let fetched = next_records(&mut old).await;
        let group = old.group_metadata().expect("it has a group");
        old.close().await;
        let mut new = Consumer::new(&client, reading()).expect("a consumer");
        new.subscribe([SOURCE]).expect("it has a group");
        next_records(&mut new).await;
        let mut transaction = producer.begin().await.expect("it begins");
        let refused = copy_openly(&transaction, &group, &fetched).await.expect_err("another has its place");
        assert!(refused.is_abortable(), "{refused}");
        assert!(transaction.commit().await.expect_err("it lacks its offsets").is_abortable());
        transaction.abort().await.expect("it is aborted");
        drop(transaction);
        let committed = new.committed(std::slice::from_ref(&fetched.partition)).await.expect("offsets");
        assert_eq!(committed, []);
        // With the new member's word it goes.
        let mut transaction = producer.begin().await.expect("it begins");
        let group = new.group_metadata().expect("it has a group");
        copy_openly(&transaction, &group, &fetched).await.expect("it is a member");
        transaction.commit().await.expect("it commits");
        let committed = new.committed(std::slice::from_ref(&fetched.partition)).await.expect("offsets");
        assert_eq!(committed, [(fetched.partition.clone(), fetched.next_offset())]);
        cluster.stop_all().await;
    });
}

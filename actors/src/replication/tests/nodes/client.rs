//! A client that sends until it is acknowledged, and one that reads everything and compares.

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::rc::Rc;
use std::time::Duration;

use bytes::Bytes;

use super::controller::{TestController, partition};
use crate::ids::{NodeId, Offset, PartitionId, ProducerId};
use crate::partition::front::Front;
use crate::partition::message::{Acks, Fetch, FetchPart, Fetched, Produce, ProducePart, Produced};
use crate::record::{Batch, BatchBuilder, Compression, MAX_UNPACKED_BYTES, ProducerStamp, batches, records};

/// Where the fronts of living nodes are.
pub(super) type Fronts = Rc<RefCell<BTreeMap<NodeId, Front>>>;

/// When simulations begin.
const NOW_MS: i64 = 1_767_225_600_000;

/// What one producer had acknowledged, in order: offset and value.
#[derive(Debug, Default)]
pub(super) struct Acknowledged(pub(super) Vec<(i64, String)>);

pub(super) async fn ask_produce(
    front: &Front,
    partition: PartitionId,
    batches: Bytes,
) -> Result<Produced, crate::error::Refusal> {
    let part = ProducePart { partition, leader_epoch: None, batches, transaction: None };
    let (send, receive) = tokio::sync::oneshot::channel();
    let produce = Produce { acks: Acks::All, timeout_ms: 1500, parts: vec![part] };
    front.produce(produce, move |answer| drop(send.send(answer)));
    receive.await.unwrap().parts.remove(0).1
}

pub(super) async fn ask_fetch(
    front: &Front,
    partition: PartitionId,
    offset: i64,
) -> Result<Fetched, crate::error::Refusal> {
    let part = FetchPart {
        partition,
        leader_epoch: None,
        last_fetched_epoch: None,
        offset: Offset(offset),
        max_bytes: 1 << 20,
        stable_only: false,
        nearby: Default::default(),
    };
    let (send, receive) = tokio::sync::oneshot::channel();
    let fetch = Fetch { max_wait_ms: 100, min_bytes: 1, max_bytes: 1 << 20, parts: vec![part] };
    front.fetch(fetch, move |answer| drop(send.send(answer)));
    receive.await.unwrap().parts.remove(0).1
}

fn leader(controller: &TestController, fronts: &Fronts, partition: PartitionId) -> Option<Front> {
    let leader = controller.image().partition(partition)?.leader?.node;
    fronts.borrow().get(&leader).cloned()
}

fn batch_of(values: &[String], stamp: ProducerStamp) -> Bytes {
    let mut builder = BatchBuilder::new(1 << 20, Compression::NONE);
    for value in values {
        builder.push(NOW_MS, None, Some(value.as_bytes()), &[]).unwrap();
    }
    builder.finish(Some(stamp))
}

/// An idempotent producer: sends batch after batch, each until it is acknowledged, until `stop` is set.
pub(super) async fn produce_until(
    controller: TestController,
    fronts: Fronts,
    producer: i64,
    index: i32,
    stop: Rc<RefCell<bool>>,
) -> Acknowledged {
    let mut acknowledged = Acknowledged::default();
    let mut sequence: i32 = 0;
    while !*stop.borrow() {
        let count = 1 + sequence % 4;
        let values: Vec<String> = (0..count).map(|at| format!("{producer}-{}", sequence + at)).collect();
        let stamp = ProducerStamp { id: ProducerId(producer), epoch: 0, base_sequence: sequence };
        loop {
            let answer = match leader(&controller, &fronts, partition(index)) {
                Some(front) => ask_produce(&front, partition(index), batch_of(&values, stamp)).await.ok(),
                None => None,
            };
            if let Some(produced) = answer {
                let first = produced.base_offset.0;
                acknowledged.0.extend((first..).zip(values.iter().cloned()));
                break;
            }
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
        sequence += count;
        tokio::time::sleep(Duration::from_millis(2)).await;
    }
    acknowledged
}

/// Follows a partition to its end, and checks that nothing it saw vanishes or changes.
pub(super) async fn read_until(
    controller: TestController,
    fronts: Fronts,
    index: i32,
    stop: Rc<RefCell<bool>>,
) -> BTreeMap<i64, String> {
    let mut seen = BTreeMap::new();
    let mut next = 0;
    let mut mark = 0;
    loop {
        let stopped = *stop.borrow();
        let Some(front) = leader(&controller, &fronts, partition(index)) else {
            tokio::time::sleep(Duration::from_millis(20)).await;
            continue;
        };
        match ask_fetch(&front, partition(index), next).await {
            Ok(fetched) => {
                assert!(fetched.log_start_offset.0 <= next);
                mark = mark.max(fetched.high_watermark.0);
                for batch in batches(&fetched.batches) {
                    let batch = batch.unwrap();
                    batch.verify_checksum().unwrap();
                    next = batch.header.next_offset().0;
                    seen.extend(values_of(&batch));
                }
                if stopped && fetched.batches.is_empty() && next >= mark {
                    return seen;
                }
            }
            Err(refusal) => {
                assert!(refusal.code.is_retriable(), "what was read vanished: {refusal}");
                tokio::time::sleep(Duration::from_millis(20)).await;
            }
        }
    }
}

fn values_of(batch: &Batch) -> Vec<(i64, String)> {
    let records = records(batch, MAX_UNPACKED_BYTES).unwrap();
    let text = |value: Option<Bytes>| String::from_utf8(value.unwrap().to_vec()).unwrap();
    records.map(|record| record.unwrap()).map(|record| (record.offset.0, text(record.value))).collect()
}

/// Everything acknowledged is there, once, at its offset, in order.
pub(super) fn check(seen: &BTreeMap<i64, String>, acknowledged: &[Acknowledged]) {
    for producer in acknowledged {
        for (offset, value) in &producer.0 {
            assert_eq!(seen.get(offset), Some(value), "acknowledged at offset {offset}");
        }
        assert!(producer.0.is_sorted_by_key(|(offset, _)| *offset), "in the order it was sent");
    }
    let mut values: Vec<_> = seen.values().collect();
    let count = values.len();
    values.sort();
    values.dedup();
    assert_eq!(values.len(), count, "nothing is there twice");
    assert!(seen.keys().copied().eq(0..i64::try_from(count).unwrap()), "no offset is missing");
}

//! A compacted partition: cleaned while it is written to and read.

use futures::future::{join, join_all};

use super::*;
use crate::record::{Codec, MAX_UNPACKED_BYTES, records};

/// Segments are closed after a second, and cleaned at the next look.
fn compacted() -> TopicConfig {
    TopicConfig {
        compact: true,
        delete: false,
        segment_ms: 1000,
        min_cleanable_dirty_ppm: 10_000,
        ..TopicConfig::default()
    }
}

fn keyed(key: u64, value: u64, stamp: Option<ProducerStamp>) -> Bytes {
    let mut builder = BatchBuilder::new(1 << 20, Compression::NONE);
    builder
        .push(NOW_MS, Some(format!("key {key}").as_bytes()), Some(format!("{value}").as_bytes()), &[])
        .unwrap();
    builder.finish(stamp)
}

/// The records from the start on, and how many; none may be missing at the end.
async fn read(node: &Node) -> (BTreeMap<Bytes, Bytes>, usize) {
    let (mut values, mut count, mut next) = (BTreeMap::new(), 0, 0);
    loop {
        let fetched = node.fetch(next, 0).await.unwrap();
        for batch in batches(&fetched.batches) {
            let batch = batch.unwrap();
            for record in records(&batch, MAX_UNPACKED_BYTES).unwrap() {
                let record = record.unwrap();
                values.insert(record.key.unwrap(), record.value.unwrap());
                count += 1;
            }
            next = batch.header.next_offset().0;
        }
        if next >= fetched.high_watermark.0 {
            return (values, count);
        }
    }
}

#[test]
fn old_records_of_a_key_go_while_new_ones_come_and_are_read() {
    simulate(|simulation, disk| async move {
        let node = Node::start(&simulation, &disk, 1);
        node.lead_with(1, compacted()).await;
        let mut last = BTreeMap::new();
        let mut fewest = usize::MAX;
        for value in 0..1500_u64 {
            let key = value % 7;
            node.produce(Acks::All, keyed(key, value, None)).await.unwrap();
            last.insert(Bytes::from(format!("key {key}")), Bytes::from(format!("{value}")));
            tokio::time::sleep(Duration::from_millis(150)).await;
            if value % 50 == 0 {
                let (values, count) = read(&node).await;
                assert_eq!(values, last);
                fewest = fewest.min(count * 100 / usize::try_from(value + 1).unwrap());
            }
        }
        assert!(fewest < 50, "never less than {fewest}% were left");
        node.stop().await;
        let node = Node::start(&simulation, &disk, 2);
        node.lead_with(2, compacted()).await;
        assert_eq!(read(&node).await.0, last);
    });
}

#[test]
fn a_producer_goes_on_where_it_was_though_its_records_and_the_snapshots_are_gone() {
    simulate(|simulation, disk| async move {
        let node = Node::start(&simulation, &disk, 1);
        node.lead_with(1, compacted()).await;
        let stamp = |base_sequence| Some(ProducerStamp { id: ProducerId(7), epoch: 0, base_sequence });
        for sequence in 0..3 {
            node.produce(Acks::All, keyed(1, 1, stamp(sequence))).await.unwrap();
        }
        node.produce(Acks::All, keyed(1, 2, None)).await.unwrap();
        tokio::time::sleep(Duration::from_secs(300)).await;
        assert_eq!(read(&node).await.1, 1, "cleaned");
        node.stop().await;
        let log = disk.disk().list(Path::new("/data")).unwrap();
        for file in log
            .iter()
            .filter(|path| path.extension().is_none())
            .flat_map(|path| disk.disk().list(path))
            .flatten()
        {
            if file.extension().is_some_and(|ending| ending == "producers") {
                disk.disk().remove_file(&file).unwrap();
            }
        }
        let node = Node::start(&simulation, &disk, 2);
        node.lead_with(2, compacted()).await;
        let again = node.produce(Acks::All, keyed(1, 1, stamp(2))).await.unwrap();
        assert_eq!(again.base_offset, Offset(2), "known again");
        let refused = node.produce(Acks::All, keyed(1, 1, stamp(9))).await.unwrap_err();
        assert_eq!(refused.code, ErrorCode::OutOfOrderSequenceNumber);
        node.produce(Acks::All, keyed(1, 1, stamp(3))).await.unwrap();
    });
}

#[test]
fn a_partition_that_is_stopped_under_a_cleaning_is_whole_when_it_comes_again() {
    simulate(|simulation, disk| async move {
        for pause in 0..12 {
            let node = Node::start(&simulation, &disk, 1 + pause);
            node.lead_with(i32::try_from(1 + pause).unwrap(), compacted()).await;
            for value in 0..40 {
                node.produce(Acks::All, keyed(value % 3, value, None)).await.unwrap();
                tokio::time::sleep(Duration::from_millis(70)).await;
            }
            // The look for something to clean comes once a minute.
            tokio::time::sleep(Duration::from_millis(57_000 + 2 * pause)).await;
            node.stop().await;
        }
        let node = Node::start(&simulation, &disk, 50);
        node.lead_with(50, compacted()).await;
        let (values, _) = read(&node).await;
        let last = [(0, 39), (1, 37), (2, 38)];
        let last =
            last.map(|(key, value)| (Bytes::from(format!("key {key}")), Bytes::from(format!("{value}"))));
        assert_eq!(values, BTreeMap::from(last));
    });
}

/// A batch of `megabytes` that packs to next to nothing.
fn packed(key: Option<&[u8]>, megabytes: usize, stamp: Option<ProducerStamp>) -> Bytes {
    let mut builder = BatchBuilder::new(256 << 20, Compression::of(Codec::Zstd));
    for _ in 0..megabytes {
        builder.push(NOW_MS, key, Some(&vec![0; 1 << 20]), &[]).unwrap();
    }
    builder.finish(stamp)
}

#[test]
fn what_follows_a_batch_that_unpacks_to_much_is_appended_behind_it() {
    simulate(|simulation, disk| async move {
        let node = Node::start(&simulation, &disk, 1);
        node.lead_with(1, compacted()).await;
        let stamp = |base_sequence| Some(ProducerStamp { id: ProducerId(7), epoch: 0, base_sequence });
        let sent = [
            packed(Some(b"a"), 8, stamp(0)),
            keyed(1, 1, stamp(8)),
            packed(Some(b"b"), 2, stamp(9)),
            packed(Some(b"c"), 1, stamp(11)),
            keyed(2, 2, stamp(12)),
        ];
        let answers = join_all(sent.map(|batches| node.produce(Acks::All, batches))).await;
        let bases: Vec<i64> = answers.into_iter().map(|answer| answer.unwrap().base_offset.0).collect();
        assert_eq!(bases, [0, 8, 9, 11, 12]);
    });
}

#[test]
fn a_record_without_a_key_is_refused_wherever_it_stands_in_a_batch_however_large() {
    simulate(|simulation, disk| async move {
        let node = Node::start(&simulation, &disk, 1);
        node.lead_with(1, compacted()).await;
        for megabytes in [1, 8] {
            let refusal = node.produce(Acks::All, packed(None, megabytes, None)).await.unwrap_err();
            assert_eq!(refusal.code, ErrorCode::InvalidRecord);
            assert!(refusal.text.contains("record 0 has no key"), "{refusal}");
        }
        let refusal = node.produce(Acks::All, packed(Some(b"a"), 129, None)).await.unwrap_err();
        assert_eq!(refusal.code, ErrorCode::MessageTooLarge);
        let answer = node.produce(Acks::All, keyed(1, 1, None)).await.unwrap();
        assert_eq!(answer.base_offset.0, 0);
    });
}

#[test]
fn requests_whose_records_are_being_looked_at_are_answered_when_the_replica_leads_no_more() {
    simulate(|simulation, disk| async move {
        let node = Node::start(&simulation, &disk, 1);
        node.lead_with(1, compacted()).await;
        disk.slow(Duration::from_millis(500)..=Duration::from_millis(500));
        let sent = [packed(Some(b"a"), 8, None), keyed(1, 1, None)];
        let answers = join_all(sent.map(|batches| node.produce(Acks::All, batches)));
        let ended = async {
            tokio::time::sleep(Duration::from_millis(100)).await;
            let other = life(2, 1);
            node.assign(assignment(2, Some(other), &[node.me, other], 2)).await;
        };
        let (answers, ()) = join(answers, ended).await;
        for answer in answers {
            assert_eq!(answer.unwrap_err().code, ErrorCode::NotLeaderOrFollower);
        }
    });
}

#[test]
fn the_end_of_the_log_is_told_behind_requests_whose_records_are_being_looked_at() {
    simulate(|simulation, disk| async move {
        let node = Node::start(&simulation, &disk, 1);
        node.lead_with(1, compacted()).await;
        let sent = [packed(Some(b"a"), 8, None), keyed(1, 1, None)];
        let appended = sent.map(|batches| node.send(batches, None));
        let end = node.front.log_end(partition(), LeaderEpoch(1));
        let behind = node.send(keyed(2, 2, None), None);
        assert_eq!(end.await, Ok(Offset(9)));
        for answer in appended {
            answer.await.unwrap().unwrap();
        }
        assert_eq!(behind.await.unwrap().unwrap().base_offset, Offset(9));
    });
}

#[test]
fn what_coordinators_write_to_the_systems_topics_is_not_unpacked() {
    simulate(|simulation, disk| async move {
        let node = Node::start(&simulation, &disk, 1);
        let mut assigned = assignment(1, Some(node.me), &[node.me], 1);
        assigned.config = Arc::new(compacted());
        assigned.topic = "__consumer_offsets".into();
        node.assign(assigned).await;
        let written = node.send(packed(None, 8, None), None);
        assert_eq!(node.front.log_end(partition(), LeaderEpoch(1)).await, Ok(Offset(8)));
        assert_eq!(written.await.unwrap().unwrap().base_offset, Offset(0));
    });
}

#[test]
fn all_batches_of_a_request_for_a_partition_unpack_to_no_more_than_one_may() {
    simulate(|simulation, disk| async move {
        let node = Node::start(&simulation, &disk, 1);
        node.lead_with(1, compacted()).await;
        let half = packed(Some(b"a"), 65, None);
        let refusal =
            node.produce(Acks::All, [half.clone(), half.clone()].concat().into()).await.unwrap_err();
        assert_eq!(refusal.code, ErrorCode::MessageTooLarge);
        assert_eq!(node.produce(Acks::All, half).await.unwrap().base_offset, Offset(0));
    });
}

#[test]
fn a_request_whose_time_is_over_when_its_turn_comes_is_neither_looked_at_nor_appended() {
    simulate(|simulation, disk| async move {
        let node = Node::start(&simulation, &disk, 1);
        node.lead_with(1, compacted()).await;
        let others = [node.unpackings.turn().await, node.unpackings.turn().await];
        let sent = [packed(None, 8, None), keyed(1, 1, None)];
        let late = sent.map(|batches| node.send(batches, None));
        tokio::time::sleep(Duration::from_millis(1500)).await;
        let behind = node.send(packed(Some(b"a"), 2, None), None);
        drop(others);
        for answer in late {
            assert_eq!(answer.await.unwrap().unwrap_err().code, ErrorCode::RequestTimedOut);
        }
        assert_eq!(behind.await.unwrap().unwrap().base_offset, Offset(0));
    });
}

/// Batches, and who knows that they are still held.
struct Held {
    batches: Bytes,
    _alive: Arc<()>,
}

impl AsRef<[u8]> for Held {
    fn as_ref(&self) -> &[u8] {
        &self.batches
    }
}

#[test]
fn batches_of_a_look_that_is_given_up_are_let_go_before_its_turn_comes() {
    simulate(|simulation, disk| async move {
        let node = Node::start(&simulation, &disk, 1);
        node.lead_with(1, compacted()).await;
        let _others = [node.unpackings.turn().await, node.unpackings.turn().await];
        let held = Arc::new(());
        let batches = Held { batches: packed(Some(b"a"), 8, None), _alive: Arc::clone(&held) };
        let sent = node.send(Bytes::from_owner(batches), None);
        tokio::time::sleep(Duration::from_millis(10)).await;
        assert_eq!(Arc::strong_count(&held), 2);
        let other = life(2, 1);
        node.assign(assignment(2, Some(other), &[node.me, other], 2)).await;
        assert_eq!(sent.await.unwrap().unwrap_err().code, ErrorCode::NotLeaderOrFollower);
        tokio::time::sleep(Duration::from_millis(10)).await;
        assert_eq!(Arc::strong_count(&held), 1);
    });
}

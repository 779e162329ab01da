//! The producer against a cluster in memory, in virtual time.

use std::collections::{BTreeMap, BTreeSet};

use millstream_transport::world::simulation;
use tokio::time::Instant;

use super::*;
use crate::client::fake::{FakeCluster, at};
use crate::error::ErrorCode;
use crate::ids::{NodeId, Offset};
use crate::partition::message::Acks;
use crate::record::{Codec, Compression, Header};

fn numbers(range: std::ops::Range<i32>) -> Vec<String> {
    range.map(|number| number.to_string()).collect()
}

async fn send_all(producer: &Producer, topic: &str, range: std::ops::Range<i32>) -> Vec<Delivery> {
    let mut deliveries = Vec::new();
    for number in range {
        let value = number.to_string();
        let record = ProducerRecord::to(topic).partition(0).value(&value);
        deliveries.push(producer.send(record).await.unwrap());
    }
    deliveries
}

/// Small batches, so that many are in flight.
fn small() -> ProducerSettings {
    ProducerSettings { batch_bytes: 1 << 10, ..ProducerSettings::default() }
}

#[test]
fn records_are_written_in_order_and_each_learns_its_offset() {
    simulation::run(1, |run| async move {
        let cluster = FakeCluster::new(3);
        let topic = cluster.topic("t", 1);
        let producer = cluster.client(&run).producer(small()).await.unwrap();
        let deliveries = send_all(&producer, "t", 0..1000).await;
        for (index, delivery) in (0..).zip(deliveries) {
            let written = delivery.await.unwrap();
            assert_eq!((written.partition, written.offset), (0, Some(Offset(index))));
        }
        assert!(cluster.values(at(topic, 0)) == numbers(0..1000));
        producer.close(Duration::from_secs(1)).await;
    });
}

#[test]
fn every_part_of_a_record_arrives() {
    simulation::run(1, |run| async move {
        let cluster = FakeCluster::new(1);
        let topic = cluster.topic("t", 6);
        for codec in Codec::ALL {
            let settings =
                ProducerSettings { compression: Compression::of(codec), ..ProducerSettings::default() };
            let producer = cluster.client(&run).producer(settings).await.unwrap();
            let headers = [Header::new("h", "x"), Header::new("h", "y")];
            let value = "words ".repeat(100);
            let record =
                ProducerRecord::to("t").key("foobar").value(&value).headers(&headers).timestamp_ms(77);
            let written = producer.send(record).await.unwrap().await.unwrap();
            assert_eq!(written.timestamp_ms, 77);
            let found = cluster.records(at(topic, written.partition)).pop().unwrap();
            assert_eq!((found.key.as_deref(), found.timestamp_ms), (Some(b"foobar".as_slice()), 77));
            assert_eq!(
                (found.value.as_deref(), found.headers.as_slice()),
                (Some(value.as_bytes()), &headers[..])
            );
        }
    });
}

#[test]
fn a_moved_leader_costs_no_record_and_no_order() {
    simulation::run(2, |run| async move {
        let cluster = FakeCluster::new(3);
        let topic = cluster.topic("t", 1);
        let producer = cluster.client(&run).producer(small()).await.unwrap();
        let mut deliveries = Vec::new();
        for (round, leader) in [2, 3, 1, 2, 1, 3].into_iter().enumerate() {
            let first = i32::try_from(round).unwrap() * 300;
            deliveries.extend(send_all(&producer, "t", first..first + 300).await);
            tokio::time::sleep(Duration::from_millis(2)).await;
            cluster.move_leader(at(topic, 0), Some(leader));
        }
        for delivery in deliveries {
            delivery.await.unwrap();
        }
        assert!(cluster.values(at(topic, 0)) == numbers(0..1800));
    });
}

#[test]
fn refusals_that_pass_are_tried_again_in_order() {
    simulation::run(3, |run| async move {
        let cluster = FakeCluster::new(1);
        let topic = cluster.topic("t", 1);
        let producer = cluster.client(&run).producer(small()).await.unwrap();
        let codes = [
            ErrorCode::NotLeaderOrFollower,
            ErrorCode::NotEnoughReplicas,
            ErrorCode::KafkaStorageError,
            ErrorCode::ThrottlingQuotaExceeded,
        ];
        for code in codes {
            cluster.change(|state| state.refusals.extend([code, code]));
            for delivery in send_all(&producer, "t", 0..200).await {
                delivery.await.unwrap();
            }
        }
        let expected: Vec<String> = codes.iter().flat_map(|_| numbers(0..200)).collect();
        assert!(cluster.values(at(topic, 0)) == expected);
    });
}

#[test]
fn lost_requests_and_lost_answers_double_nothing() {
    simulation::run(4, |run| async move {
        let cluster = FakeCluster::new(1);
        let topic = cluster.topic("t", 1);
        let producer = cluster.client(&run).producer(small()).await.unwrap();
        for (round, lose_answers) in [true, false, true, true, false].into_iter().enumerate() {
            cluster.change(|state| {
                let lost = if lose_answers { &mut state.lost_answers } else { &mut state.lost_requests };
                *lost = 3;
            });
            let first = i32::try_from(round).unwrap() * 500;
            for delivery in send_all(&producer, "t", first..first + 500).await {
                delivery.await.unwrap();
            }
        }
        assert!(cluster.values(at(topic, 0)) == numbers(0..2500));
    });
}

#[test]
fn a_leader_that_is_down_is_waited_for_until_the_time_is_up() {
    simulation::run(5, |run| async move {
        let cluster = FakeCluster::new(2);
        let topic = cluster.topic("t", 1);
        let settings = ProducerSettings { delivery_timeout: Duration::from_secs(10), ..small() };
        let producer = cluster.client(&run).producer(settings).await.unwrap();
        cluster.decide(|state| state.nodes.insert(NodeId(1), false));
        let begun = Instant::now();
        let late = send_all(&producer, "t", 0..10).await.pop().unwrap();
        let error = late.await.unwrap_err();
        assert!(matches!(error, ProduceError::TimedOut { .. }), "{error}");
        let took = begun.elapsed().as_millis();
        assert!((10_000..10_500).contains(&took), "{took}");
        let kept = send_all(&producer, "t", 10..20).await;
        cluster.move_leader(at(topic, 0), Some(2));
        for delivery in kept {
            delivery.await.unwrap();
        }
        assert!(cluster.values(at(topic, 0)) == numbers(10..20));
    });
}

#[test]
fn sending_waits_while_the_memory_is_used_up() {
    simulation::run(6, |run| async move {
        let cluster = FakeCluster::new(1);
        cluster.topic("t", 1);
        let settings = ProducerSettings {
            buffer_bytes: 64 << 10,
            request_bytes: 32 << 10,
            max_block: Duration::from_secs(8),
            ..small()
        };
        let producer = cluster.client(&run).producer(settings).await.unwrap();
        cluster.change(|state| state.latency = Duration::from_secs(2));
        let value = vec![7; 1000];
        let begun = Instant::now();
        let mut stalls = 0;
        for _ in 0..200 {
            let before = Instant::now();
            drop(producer.send(ProducerRecord::to("t").value(&value)).await.unwrap());
            stalls += u32::from(before.elapsed() >= Duration::from_millis(500));
        }
        assert!(stalls >= 2 && begun.elapsed() > Duration::from_secs(4), "{stalls} {:?}", begun.elapsed());
        cluster.change(|state| state.latency = Duration::from_secs(100));
        let full = loop {
            match producer.send(ProducerRecord::to("t").value(&value)).await {
                Ok(delivery) => drop(delivery),
                Err(error) => break error,
            }
        };
        assert_eq!(full, ProduceError::BufferFull(Duration::from_secs(8)));
    });
}

#[test]
fn a_flood_of_records_is_held_by_the_memory_and_every_one_is_told_its_fate() {
    simulation::run(6, |run| async move {
        let cluster = FakeCluster::new(1);
        cluster.topic("t", 1);
        let settings = ProducerSettings {
            buffer_bytes: 64 << 10,
            request_bytes: 32 << 10,
            max_block: Duration::from_secs(2),
            delivery_timeout: Duration::from_secs(10),
            ..small()
        };
        let producer = cluster.client(&run).producer(settings).await.unwrap();
        producer.send(ProducerRecord::to("t").value("first")).await.unwrap().await.unwrap();
        cluster.decide(|state| state.nodes.insert(NodeId(1), false));
        tokio::time::sleep(Duration::from_secs(1)).await;
        let value = vec![7; 100];
        let sends = (0..20_000).map(|_| async {
            match producer.send(ProducerRecord::to("t").value(&value)).await {
                Ok(delivery) => delivery.await.map(drop),
                Err(error) => Err(error),
            }
        });
        let fates = futures::future::join_all(sends).await;
        assert_eq!(fates.len(), 20_000);
        let full = fates.iter().filter(|fate| matches!(fate, Err(ProduceError::BufferFull(_)))).count();
        let late = fates.iter().filter(|fate| matches!(fate, Err(ProduceError::TimedOut { .. }))).count();
        assert_eq!(full + late, 20_000);
        assert!((100..1000).contains(&late), "{late} records had room");
        cluster.decide(|state| state.nodes.insert(NodeId(1), true));
        producer.send(ProducerRecord::to("t").value("last")).await.unwrap().await.unwrap();
    });
}

#[test]
fn a_batch_lingers_for_more_records_unless_it_is_full_or_flushed() {
    simulation::run(7, |run| async move {
        let cluster = FakeCluster::new(1);
        cluster.topic("t", 1);
        let settings = ProducerSettings { linger: Duration::from_millis(500), ..small() };
        let producer = cluster.client(&run).producer(settings).await.unwrap();
        let begun = Instant::now();
        for delivery in send_all(&producer, "t", 0..10).await {
            delivery.await.unwrap();
        }
        assert!((500..600).contains(&begun.elapsed().as_millis()), "{:?}", begun.elapsed());
        assert_eq!(cluster.lock().produced, [1]);
        let begun = Instant::now();
        let _sent = send_all(&producer, "t", 0..10).await;
        producer.flush().await;
        assert!(begun.elapsed() < Duration::from_millis(50), "{:?}", begun.elapsed());
        let begun = Instant::now();
        let full = send_all(&producer, "t", 0..200).await.swap_remove(0);
        full.await.unwrap();
        assert!(begun.elapsed() < Duration::from_millis(50), "{:?}", begun.elapsed());
    });
}

#[test]
fn a_flush_ends_when_the_fate_of_all_that_was_sent_before_is_decided_and_waits_for_nothing_later() {
    simulation::run(7, |run| async move {
        let cluster = FakeCluster::new(1);
        let topic = cluster.topic("t", 2);
        let settings = ProducerSettings { linger: Duration::from_secs(5), ..small() };
        let producer = cluster.client(&run).producer(settings).await.unwrap();
        producer.send(ProducerRecord::to("t").partition(0).value("first")).await.unwrap().await.unwrap();
        cluster.change(|state| state.latency = Duration::from_millis(300));
        let before = send_all(&producer, "t", 0..500).await;
        let begun = Instant::now();
        let (flushed, later) = tokio::join!(
            async {
                producer.flush().await;
                begun.elapsed()
            },
            async {
                tokio::time::sleep(Duration::from_millis(10)).await;
                Some(producer.send(ProducerRecord::to("t").partition(1).value("later")).await.unwrap())
            },
        );
        let later = later.unwrap();
        assert!(before.iter().all(|delivery| matches!(delivery.now(), Some(Ok(_)))));
        assert!(flushed >= Duration::from_millis(300) && flushed < Duration::from_secs(4), "{flushed:?}");
        assert!(later.now().is_none(), "it lingers");
        producer.flush().await;
        assert!(later.now().unwrap().is_ok());
        assert_eq!(cluster.values(at(topic, 1)), ["later"]);
        producer.flush().await;
    });
}

#[test]
fn records_without_a_key_spread_and_those_with_one_stay() {
    simulation::run(8, |run| async move {
        let cluster = FakeCluster::new(3);
        let topic = cluster.topic("t", 6);
        let producer = cluster.client(&run).producer(small()).await.unwrap();
        let value = [1; 100];
        for _ in 0..3000 {
            drop(producer.send(ProducerRecord::to("t").value(&value)).await.unwrap());
        }
        producer.flush().await;
        let counts: Vec<usize> = (0..6).map(|index| cluster.records(at(topic, index)).len()).collect();
        assert_eq!(counts.iter().sum::<usize>(), 3000);
        assert!(counts.iter().all(|count| (200..1000).contains(count)), "{counts:?}");
        let mut places: BTreeMap<String, BTreeSet<i32>> = BTreeMap::new();
        for number in 0..300 {
            let key = (number % 30).to_string();
            let written = producer.send(ProducerRecord::to("t").key(&key)).await.unwrap().await.unwrap();
            places.entry(key).or_default().insert(written.partition);
        }
        assert!(places.values().all(|partitions| partitions.len() == 1));
    });
}

#[test]
fn one_request_carries_the_batches_of_all_partitions_of_a_leader() {
    simulation::run(9, |run| async move {
        let cluster = FakeCluster::new(2);
        cluster.topic("t", 8);
        let settings = ProducerSettings { linger: Duration::from_millis(10), ..small() };
        let producer = cluster.client(&run).producer(settings).await.unwrap();
        for partition in 0..8 {
            drop(producer.send(ProducerRecord::to("t").partition(partition).value("x")).await.unwrap());
        }
        producer.flush().await;
        assert_eq!(cluster.lock().produced, [4, 4]);
    });
}

#[test]
fn what_cannot_be_sent_is_told_at_once() {
    simulation::run(10, |run| async move {
        let cluster = FakeCluster::new(1);
        cluster.topic("t", 2);
        let settings = ProducerSettings { request_bytes: 1 << 10, ..small() };
        let producer = cluster.client(&run).producer(settings).await.unwrap();
        let large = vec![0; 1000];
        let error = producer.send(ProducerRecord::to("t").value(&large)).await.unwrap_err();
        assert!(matches!(error, ProduceError::TooLarge { .. }), "{error}");
        let error = producer.send(ProducerRecord::to("t").partition(2)).await.unwrap_err();
        assert_eq!(error.to_string(), "topic t has no partition 2, only 2");
        let error = producer.send(ProducerRecord::to("tt")).await.unwrap_err();
        assert!(error.to_string().contains("topic tt does not exist"), "{error}");
    });
}

#[test]
fn a_record_that_the_topic_refuses_fails_and_the_next_does_not() {
    simulation::run(11, |run| async move {
        let cluster = FakeCluster::new(1);
        let config = BTreeMap::from([("max.message.bytes".to_owned(), "2000".to_owned())]);
        let topic = cluster.decide(|state| state.make_topic("t", 1, config));
        let producer = cluster.client(&run).producer(ProducerSettings::default()).await.unwrap();
        let large = vec![b'x'; 3000];
        let refused = producer.send(ProducerRecord::to("t").value(&large)).await.unwrap();
        let others = send_all(&producer, "t", 0..500).await;
        let error = refused.await.unwrap_err();
        assert!(
            matches!(&error, ProduceError::Refused(refusal) if refusal.code == ErrorCode::MessageTooLarge)
        );
        for delivery in others {
            delivery.await.unwrap();
        }
        assert!(cluster.values(at(topic, 0)) == numbers(0..500));
    });
}

#[test]
fn a_leader_that_lost_its_memory_of_the_producer_is_met_with_a_new_epoch() {
    simulation::run(12, |run| async move {
        let cluster = FakeCluster::new(1);
        let topic = cluster.topic("t", 1);
        let producer = cluster.client(&run).producer(small()).await.unwrap();
        let _first = send_all(&producer, "t", 0..100).await;
        producer.flush().await;
        cluster.change(|state| state.refusals.extend([ErrorCode::OutOfOrderSequenceNumber]));
        for delivery in send_all(&producer, "t", 100..200).await {
            delivery.await.unwrap();
        }
        assert!(cluster.values(at(topic, 0)) == numbers(0..200));
    });
}

#[test]
fn without_acks_nobody_waits() {
    simulation::run(13, |run| async move {
        let cluster = FakeCluster::new(1);
        let topic = cluster.topic("t", 1);
        let settings = ProducerSettings { acks: Acks::None, ..small() };
        let producer = cluster.client(&run).producer(settings).await.unwrap();
        for delivery in send_all(&producer, "t", 0..10).await {
            assert_eq!(delivery.await.unwrap().offset, None);
        }
        producer.flush().await;
        assert!(cluster.values(at(topic, 0)) == numbers(0..10));
    });
}

#[test]
fn after_closing_nothing_is_taken_and_nothing_hangs() {
    simulation::run(14, |run| async move {
        let cluster = FakeCluster::new(1);
        let topic = cluster.topic("t", 1);
        let producer = cluster.client(&run).producer(small()).await.unwrap();
        let kept = send_all(&producer, "t", 0..10).await;
        producer.close(Duration::from_secs(5)).await;
        for delivery in kept {
            delivery.await.unwrap();
        }
        let error = producer.send(ProducerRecord::to("t")).await.unwrap_err();
        assert_eq!(error, ProduceError::Closed);
        let stuck = cluster.client(&run).producer(small()).await.unwrap();
        cluster.move_leader(at(topic, 0), None);
        let lost = send_all(&stuck, "t", 0..1).await.pop().unwrap();
        stuck.close(Duration::from_secs(1)).await;
        assert_eq!(lost.await, Err(ProduceError::Closed));
    });
}

#[test]
fn a_dropped_producer_still_delivers() {
    simulation::run(15, |run| async move {
        let cluster = FakeCluster::new(1);
        let topic = cluster.topic("t", 1);
        let settings = ProducerSettings { linger: Duration::from_secs(30), ..small() };
        let producer = cluster.client(&run).producer(settings).await.unwrap();
        let last = send_all(&producer, "t", 0..100).await.pop().unwrap();
        drop(producer);
        last.await.unwrap();
        assert!(cluster.values(at(topic, 0)) == numbers(0..100));
    });
}

#[test]
fn the_same_seed_gives_the_same_history() {
    let history = |seed| {
        simulation::run(seed, |run| async move {
            let cluster = FakeCluster::new(3);
            let topic = cluster.topic("t", 6);
            let producer = cluster.client(&run).producer(small()).await.unwrap();
            for number in 0..2000 {
                let value = format!("{number:100}");
                drop(producer.send(ProducerRecord::to("t").value(&value)).await.unwrap());
                if number % 500 == 499 {
                    cluster.move_leader(at(topic, number % 6), Some(u32::try_from(number % 3).unwrap() + 1));
                }
            }
            producer.flush().await;
            (0..6).map(|index| cluster.values(at(topic, index))).collect::<Vec<_>>()
        })
    };
    assert_eq!(history(1), history(1));
    assert_ne!(history(1), history(2));
}

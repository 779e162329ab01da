//! Consumers against a cluster that is only a test's, in virtual time.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use millstream_transport::world::simulation;

use super::*;
use crate::client::fake::{FakeCluster, at};
use crate::ids::{LeaderEpoch, TopicId};
use crate::record::{BatchBuilder, Compression, assign};

/// Appends a batch of `count` records, whose values are their offsets.
fn append(cluster: &FakeCluster, partition: PartitionId, count: i64) {
    cluster.change(|state| {
        let held = state.partitions.get_mut(&partition).unwrap();
        let mut batch = BatchBuilder::new(1 << 20, Compression::NONE);
        for offset in held.end.0..held.end.0 + count {
            batch.push(offset, None, Some(offset.to_string().as_bytes()), &[]).unwrap();
        }
        let mut bytes = batch.finish(None).to_vec();
        assign(&mut bytes, held.end, LeaderEpoch(1)).unwrap();
        held.batches.push(bytes.into());
        held.end = held.end.plus(count);
    });
}

fn topic(cluster: &FakeCluster, partitions: i32, records: i64) -> TopicId {
    let topic = cluster.topic("flights", partitions);
    for index in (0..partitions).filter(|_| records > 0) {
        append(cluster, at(topic, index), records);
    }
    topic
}

fn flights(partition: i32) -> TopicPartition {
    TopicPartition::new("flights", partition)
}

/// Takes so many records; panics on an error.
async fn take(consumer: &mut Consumer, count: usize) -> BTreeMap<i32, Vec<i64>> {
    let mut taken: BTreeMap<i32, Vec<i64>> = BTreeMap::new();
    while taken.values().map(Vec::len).sum::<usize>() < count {
        if let ConsumerEvent::Records(fetched) = consumer.next().await.unwrap() {
            let offsets = taken.entry(fetched.partition.partition).or_default();
            offsets.extend(fetched.records().map(|record| record.unwrap().offset.0));
        }
    }
    taken
}

fn earliest(group: &str) -> ConsumerSettings {
    ConsumerSettings { offset_reset: OffsetReset::Earliest, ..ConsumerSettings::group(group) }
}

#[test]
fn an_assigned_partition_is_read_in_order_from_where_it_was_asked() {
    simulation::run(1, |simulation| async move {
        let cluster = FakeCluster::new(3);
        let id = topic(&cluster, 2, 10);
        let client = cluster.client(&simulation);
        let mut consumer = Consumer::new(&client, ConsumerSettings::default()).unwrap();
        let from = [(flights(0), SeekTo::Offset(Offset(4))), (flights(1), SeekTo::Timestamp(7))];
        consumer.assign(from).await.unwrap();
        append(&cluster, at(id, 0), 5);
        let taken = take(&mut consumer, 11 + 3).await;
        assert_eq!(taken[&0], (4..15).collect::<Vec<_>>());
        assert_eq!(taken[&1].last(), Some(&9));
        consumer.seek(&flights(0), SeekTo::Beginning).unwrap();
        assert_eq!(take(&mut consumer, 15).await[&0], (0..15).collect::<Vec<_>>());
        assert_eq!(consumer.position(&flights(0)).unwrap(), Some(Offset(15)));
    });
}

#[test]
fn the_end_means_what_comes_later() {
    simulation::run(1, |simulation| async move {
        let cluster = FakeCluster::new(1);
        let id = topic(&cluster, 1, 10);
        let mut consumer = Consumer::new(&cluster.client(&simulation), ConsumerSettings::default()).unwrap();
        consumer.assign([(flights(0), SeekTo::End)]).await.unwrap();
        tokio::time::sleep(Duration::from_secs(1)).await;
        append(&cluster, at(id, 0), 2);
        assert_eq!(take(&mut consumer, 2).await[&0], [10, 11]);
    });
}

#[test]
fn reading_goes_on_at_the_new_leader() {
    simulation::run(1, |simulation| async move {
        let cluster = FakeCluster::new(3);
        let id = topic(&cluster, 1, 10);
        let mut consumer = Consumer::new(&cluster.client(&simulation), ConsumerSettings::default()).unwrap();
        consumer.assign([(flights(0), SeekTo::Beginning)]).await.unwrap();
        assert_eq!(take(&mut consumer, 10).await[&0].len(), 10);
        cluster.move_leader(at(id, 0), None);
        tokio::time::sleep(Duration::from_secs(1)).await;
        cluster.move_leader(at(id, 0), Some(3));
        append(&cluster, at(id, 0), 3);
        assert_eq!(take(&mut consumer, 3).await[&0], [10, 11, 12]);
    });
}

#[test]
fn without_a_reset_policy_a_missing_offset_is_an_error_that_a_seek_ends() {
    simulation::run(1, |simulation| async move {
        let cluster = FakeCluster::new(1);
        topic(&cluster, 1, 10);
        let settings = ConsumerSettings { offset_reset: OffsetReset::None, ..ConsumerSettings::default() };
        let mut consumer = Consumer::new(&cluster.client(&simulation), settings).unwrap();
        consumer.assign([(flights(0), SeekTo::Offset(Offset(99)))]).await.unwrap();
        let error = consumer.next().await.unwrap_err();
        assert_eq!(error.code(), Some(ErrorCode::OffsetOutOfRange));
        consumer.seek(&flights(0), SeekTo::Offset(Offset(8))).unwrap();
        assert_eq!(take(&mut consumer, 2).await[&0], [8, 9]);
    });
}

#[test]
fn a_group_goes_on_where_it_committed() {
    simulation::run(1, |simulation| async move {
        let cluster = FakeCluster::new(2);
        let id = topic(&cluster, 2, 10);
        let client = cluster.client(&simulation);
        let mut first = Consumer::new(&client, earliest("g")).unwrap();
        first.subscribe(["flights"]).unwrap();
        assert!(matches!(first.next().await.unwrap(), ConsumerEvent::Assigned(two) if two.len() == 2));
        take(&mut first, 20).await;
        first.commit().await.unwrap();
        first.close().await;
        append(&cluster, at(id, 1), 1);
        let mut second = Consumer::new(&client, earliest("g")).unwrap();
        second.subscribe(["flights"]).unwrap();
        assert_eq!(take(&mut second, 1).await, BTreeMap::from([(1, vec![10])]));
    });
}

#[test]
fn what_was_processed_is_committed_when_a_partition_goes_to_another_member() {
    simulation::run(1, |simulation| async move {
        let cluster = FakeCluster::new(2);
        let id = topic(&cluster, 2, 10);
        let client = cluster.client(&simulation);
        let mut first = Consumer::new(&client, earliest("g")).unwrap();
        first.subscribe(["flights"]).unwrap();
        take(&mut first, 20).await;
        let mut second = Consumer::new(&client, earliest("g")).unwrap();
        second.subscribe(["flights"]).unwrap();
        let revoked = loop {
            if let ConsumerEvent::Revoked(partitions) = first.next().await.unwrap() {
                break partitions;
            }
        };
        assert_eq!(revoked.len(), 1);
        // Letting go happens with the next call, which then waits: nothing else comes.
        let mut waiting = Box::pin(first.next());
        let assigned = tokio::select! {
            biased;
            event = &mut waiting => panic!("{event:?}"),
            event = second.next() => event.unwrap(),
        };
        assert!(matches!(assigned, ConsumerEvent::Assigned(partitions) if partitions == revoked));
        let given = at(id, revoked[0].partition);
        assert_eq!(cluster.lock().group.committed[&given].offset, Offset(10));
        append(&cluster, given, 1);
        drop(waiting);
        assert_eq!(take(&mut second, 1).await, BTreeMap::from([(revoked[0].partition, vec![10])]));
        let kept: BTreeSet<_> = first.assignment().into_iter().collect();
        assert!(!kept.contains(&revoked[0]) && kept.len() == 1);
    });
}

#[test]
fn a_fenced_member_is_told_that_it_lost_its_partitions_and_joins_again() {
    simulation::run(1, |simulation| async move {
        let cluster = FakeCluster::new(1);
        topic(&cluster, 2, 1);
        let mut consumer = Consumer::new(&cluster.client(&simulation), earliest("g")).unwrap();
        consumer.subscribe(["flights"]).unwrap();
        take(&mut consumer, 2).await;
        cluster.change(|state| state.group.members.clear());
        assert!(matches!(consumer.next().await.unwrap(), ConsumerEvent::Lost(two) if two.len() == 2));
        assert!(matches!(consumer.next().await.unwrap(), ConsumerEvent::Assigned(two) if two.len() == 2));
    });
}

#[test]
fn a_member_whose_application_asks_for_nothing_leaves_in_time_and_joins_again_when_it_asks() {
    simulation::run(1, |simulation| async move {
        let cluster = FakeCluster::new(2);
        let id = topic(&cluster, 2, 10);
        let client = cluster.client(&simulation);
        let settings = ConsumerSettings { max_poll_interval: Duration::from_secs(10), ..earliest("g") };
        let mut busy = Consumer::new(&client, settings).unwrap();
        busy.subscribe(["flights"]).unwrap();
        take(&mut busy, 20).await;
        let begun = tokio::time::Instant::now();
        tokio::time::sleep(Duration::from_secs(9)).await;
        assert_eq!(cluster.lock().group.members.len(), 1, "it may work for so long");

        let mut other = Consumer::new(&client, earliest("g")).unwrap();
        other.subscribe(["flights"]).unwrap();
        let mut read_on = BTreeSet::new();
        while read_on.len() < 2 {
            if let ConsumerEvent::Assigned(partitions) = other.next().await.unwrap() {
                read_on.extend(partitions);
            }
        }
        let waited = begun.elapsed();
        assert!((Duration::from_secs(10)..Duration::from_secs(12)).contains(&waited), "{waited:?}");
        assert!(busy.assignment().is_empty() && cluster.lock().group.members.len() == 1);

        assert!(matches!(busy.next().await.unwrap(), ConsumerEvent::Lost(two) if two.len() == 2));
        let (again, revoked) = tokio::join!(busy.next(), async {
            let revoked = loop {
                if let ConsumerEvent::Revoked(partitions) = other.next().await.unwrap() {
                    break partitions;
                }
            };
            // Lets go of it.
            let _ = tokio::time::timeout(Duration::from_secs(5), other.next()).await;
            revoked
        });
        assert!(matches!(again.unwrap(), ConsumerEvent::Assigned(partitions) if partitions == revoked));
        append(&cluster, at(id, revoked[0].partition), 1);
        assert_eq!(take(&mut busy, 1).await.keys().collect::<Vec<_>>(), [&revoked[0].partition]);
    });
}

#[test]
fn an_application_that_waits_for_an_event_asks_for_one_however_long_that_takes() {
    simulation::run(1, |simulation| async move {
        let cluster = FakeCluster::new(1);
        let id = topic(&cluster, 1, 1);
        let settings = ConsumerSettings { max_poll_interval: Duration::from_secs(10), ..earliest("g") };
        let mut consumer = Consumer::new(&cluster.client(&simulation), settings).unwrap();
        consumer.subscribe(["flights"]).unwrap();
        take(&mut consumer, 1).await;
        let late = async {
            tokio::time::sleep(Duration::from_secs(60)).await;
            append(&cluster, at(id, 0), 1);
        };
        let (event, ()) = tokio::join!(consumer.next(), late);
        assert!(matches!(event.unwrap(), ConsumerEvent::Records(_)));
        assert_eq!(cluster.lock().group.epoch, 1, "it never left");
    });
}

#[test]
fn a_paused_partition_waits_and_others_go_on() {
    simulation::run(1, |simulation| async move {
        let cluster = FakeCluster::new(1);
        let id = topic(&cluster, 2, 0);
        let mut consumer = Consumer::new(&cluster.client(&simulation), ConsumerSettings::default()).unwrap();
        consumer.assign([(flights(0), SeekTo::Beginning), (flights(1), SeekTo::Beginning)]).await.unwrap();
        consumer.pause(&flights(0)).unwrap();
        tokio::time::sleep(Duration::from_secs(2)).await;
        append(&cluster, at(id, 0), 1);
        append(&cluster, at(id, 1), 1);
        assert_eq!(take(&mut consumer, 1).await.keys().collect::<Vec<_>>(), [&1]);
        consumer.resume(&flights(0)).unwrap();
        assert_eq!(take(&mut consumer, 1).await.keys().collect::<Vec<_>>(), [&0]);
    });
}

#[test]
fn what_was_read_ahead_of_a_paused_partition_comes_when_it_is_resumed_and_once() {
    simulation::run(1, |simulation| async move {
        let cluster = FakeCluster::new(1);
        let id = topic(&cluster, 2, 0);
        let mut consumer = Consumer::new(&cluster.client(&simulation), ConsumerSettings::default()).unwrap();
        consumer.assign([(flights(0), SeekTo::Beginning), (flights(1), SeekTo::Beginning)]).await.unwrap();
        append(&cluster, at(id, 0), 5);
        tokio::time::sleep(Duration::from_secs(1)).await;
        consumer.pause(&flights(0)).unwrap();
        append(&cluster, at(id, 1), 2);
        assert_eq!(take(&mut consumer, 2).await, BTreeMap::from([(1, vec![0, 1])]));
        append(&cluster, at(id, 0), 1);
        assert!(tokio::time::timeout(Duration::from_secs(5), consumer.next()).await.is_err());
        consumer.resume(&flights(0)).unwrap();
        assert_eq!(take(&mut consumer, 6).await, BTreeMap::from([(0, (0..6).collect())]));
        let elsewhere = consumer.pause(&TopicPartition::new("flights", 7)).unwrap_err();
        assert_eq!(elsewhere.code(), Some(ErrorCode::UnknownTopicOrPartition));
    });
}

#[test]
fn a_time_is_sought_at_its_first_record_and_one_to_come_behind_the_last() {
    simulation::run(1, |simulation| async move {
        let cluster = FakeCluster::new(1);
        // Timestamps are offsets.
        let id = topic(&cluster, 1, 10);
        let mut consumer = Consumer::new(&cluster.client(&simulation), ConsumerSettings::default()).unwrap();
        consumer.assign([(flights(0), SeekTo::Beginning)]).await.unwrap();
        take(&mut consumer, 10).await;
        consumer.seek(&flights(0), SeekTo::Timestamp(6)).unwrap();
        assert_eq!(take(&mut consumer, 4).await[&0], [6, 7, 8, 9]);
        consumer.seek(&flights(0), SeekTo::Timestamp(1_000)).unwrap();
        tokio::time::sleep(Duration::from_secs(1)).await;
        assert_eq!(consumer.position(&flights(0)).unwrap(), Some(Offset(10)));
        append(&cluster, at(id, 0), 1);
        assert_eq!(take(&mut consumer, 1).await[&0], [10]);
    });
}

#[test]
fn a_pattern_subscribes_to_all_topics_that_match_it() {
    simulation::run(1, |simulation| async move {
        let cluster = FakeCluster::new(1);
        for name in ["flights", "flights-late", "trains"] {
            let id = cluster.topic(name, 1);
            append(&cluster, at(id, 0), 1);
        }
        let mut consumer = Consumer::new(&cluster.client(&simulation), earliest("g")).unwrap();
        consumer.subscribe_pattern("flights.*").unwrap();
        take(&mut consumer, 2).await;
        let topics: Vec<_> =
            consumer.assignment().into_iter().map(|partition| partition.topic.to_string()).collect();
        assert_eq!(topics, ["flights", "flights-late"]);
        let alone = Consumer::new(&cluster.client(&simulation), ConsumerSettings::default()).unwrap();
        assert!(alone.subscribe_pattern("flights").unwrap_err().to_string().contains("group.id"));
    });
}

#[test]
fn offsets_are_committed_one_by_one_and_read_back() {
    simulation::run(1, |simulation| async move {
        let cluster = FakeCluster::new(1);
        topic(&cluster, 2, 10);
        let settings = ConsumerSettings { auto_commit: None, ..earliest("g") };
        let mut consumer = Consumer::new(&cluster.client(&simulation), settings).unwrap();
        consumer.subscribe(["flights"]).unwrap();
        take(&mut consumer, 20).await;
        assert_eq!(consumer.committed(&[flights(0), flights(1)]).await.unwrap(), []);
        consumer.commit_offsets([(flights(0), Offset(4))]).await.unwrap();
        let committed = consumer.committed(&[flights(0), flights(1)]).await.unwrap();
        assert_eq!(committed, [(flights(0), Offset(4))]);
        consumer.commit().await.unwrap();
        let committed = consumer.committed(&[flights(0), flights(1)]).await.unwrap();
        assert_eq!(committed, [(flights(0), Offset(10)), (flights(1), Offset(10))]);
    });
}

#[test]
fn a_commit_in_the_background_waits_for_nothing_is_done_all_the_same_and_tells_who_asks() {
    simulation::run(1, |simulation| async move {
        let cluster = FakeCluster::new(1);
        let id = topic(&cluster, 1, 10);
        let settings = ConsumerSettings { auto_commit: None, ..earliest("g") };
        let mut consumer = Consumer::new(&cluster.client(&simulation), settings).unwrap();
        consumer.subscribe(["flights"]).unwrap();
        take(&mut consumer, 10).await;
        let begun = tokio::time::Instant::now();
        drop(consumer.commit_async());
        assert!(begun.elapsed().is_zero());
        tokio::time::sleep(Duration::from_millis(100)).await;
        assert_eq!(cluster.lock().group.committed[&at(id, 0)].offset, Offset(10));

        append(&cluster, at(id, 0), 1);
        take(&mut consumer, 1).await;
        consumer.commit_async().await.unwrap();
        assert_eq!(cluster.lock().group.committed[&at(id, 0)].offset, Offset(11));
        cluster.change(|state| state.group.members.clear());
        assert_eq!(consumer.commit_async().await.unwrap_err().code(), Some(ErrorCode::UnknownMemberId));
    });
}

#[test]
fn a_commit_that_is_tried_again_does_not_overtake_a_later_one() {
    simulation::run(1, |simulation| async move {
        let cluster = FakeCluster::new(1);
        let id = topic(&cluster, 1, 10);
        let settings = ConsumerSettings { auto_commit: None, ..earliest("g") };
        let mut consumer = Consumer::new(&cluster.client(&simulation), settings).unwrap();
        consumer.subscribe(["flights"]).unwrap();
        take(&mut consumer, 10).await;
        cluster.change(|state| state.group.refusals = vec![ErrorCode::CoordinatorLoadInProgress]);
        let (earlier, later) = tokio::join!(
            consumer.commit_offsets([(flights(0), Offset(4))]),
            consumer.commit_offsets([(flights(0), Offset(5))]),
        );
        earlier.unwrap();
        later.unwrap();
        let offsets: Vec<i64> = cluster.lock().group.commits.iter().map(|commit| commit.2).collect();
        assert_eq!((offsets, cluster.lock().group.committed[&at(id, 0)].offset), (vec![4, 5], Offset(5)));
    });
}

#[test]
fn what_could_not_be_committed_is_committed_with_the_next_interval_and_at_the_end() {
    simulation::run(1, |simulation| async move {
        let cluster = FakeCluster::new(1);
        let id = topic(&cluster, 1, 10);
        cluster.change(|state| state.group.heartbeat_interval_ms = 60_000);
        let interval = Duration::from_secs(1);
        let settings = ConsumerSettings { auto_commit: Some(interval), ..earliest("g") };
        let mut consumer = Consumer::new(&cluster.client(&simulation), settings).unwrap();
        consumer.subscribe(["flights"]).unwrap();
        take(&mut consumer, 10).await;
        cluster.change(|state| state.group.refusals = vec![ErrorCode::UnknownServerError]);
        let asking = tokio::time::timeout(5 * interval / 2, async {
            loop {
                consumer.next().await.unwrap();
            }
        });
        assert!(asking.await.is_err());
        assert_eq!(cluster.lock().group.committed[&at(id, 0)].offset, Offset(10));
    });
}

#[test]
fn a_consumer_closed_during_a_commit_commits_the_last_offsets_all_the_same_and_soon() {
    simulation::run(1, |simulation| async move {
        let cluster = FakeCluster::new(1);
        let id = topic(&cluster, 1, 10);
        cluster.change(|state| state.latency = Duration::from_millis(80));
        let settings = ConsumerSettings { auto_commit: Some(Duration::from_millis(100)), ..earliest("g") };
        let mut consumer = Consumer::new(&cluster.client(&simulation), settings).unwrap();
        consumer.subscribe(["flights"]).unwrap();
        take(&mut consumer, 10).await;
        for _ in 0..20 {
            append(&cluster, at(id, 0), 1);
            take(&mut consumer, 1).await;
        }
        let begun = tokio::time::Instant::now();
        consumer.close().await;
        assert!(begun.elapsed() < Duration::from_secs(1), "{:?}", begun.elapsed());
        assert_eq!(cluster.lock().group.committed[&at(id, 0)].offset, Offset(30));
    });
}

#[test]
fn reading_ahead_is_bounded() {
    simulation::run(1, |simulation| async move {
        let cluster = FakeCluster::new(1);
        let id = topic(&cluster, 1, 0);
        for _ in 0..200 {
            append(&cluster, at(id, 0), 100);
        }
        let settings = ConsumerSettings {
            prefetch_bytes: 4096,
            partition_fetch_bytes: 2048,
            ..ConsumerSettings::default()
        };
        let mut consumer = Consumer::new(&cluster.client(&simulation), settings).unwrap();
        consumer.assign([(flights(0), SeekTo::Beginning)]).await.unwrap();
        tokio::time::sleep(Duration::from_secs(30)).await;
        assert!(cluster.lock().fetches < 10, "{} fetches", cluster.lock().fetches);
        assert_eq!(take(&mut consumer, 20_000).await[&0].len(), 20_000);
    });
}

#[test]
fn one_that_assigns_partitions_itself_keeps_its_positions_in_a_group_and_rests_meanwhile() {
    simulation::run(1, |simulation| async move {
        let cluster = FakeCluster::new(1);
        topic(&cluster, 1, 10);
        let client = cluster.client(&simulation);
        let mut consumer =
            Consumer::new(&client, ConsumerSettings { auto_commit: None, ..earliest("g") }).unwrap();
        consumer.assign([(flights(0), SeekTo::Committed)]).await.unwrap();
        assert_eq!(take(&mut consumer, 10).await[&0], (0..10).collect::<Vec<_>>());
        consumer.commit_offsets([(flights(0), Offset(4))]).await.unwrap();
        consumer.unassign([flights(0)]);
        assert!(consumer.assignment().is_empty());
        // Virtual time goes on only while nothing is left to do: a task that never rests would keep it here.
        tokio::time::sleep(Duration::from_secs(1800)).await;
        consumer.assign([(flights(0), SeekTo::Committed)]).await.unwrap();
        assert_eq!(take(&mut consumer, 6).await[&0], (4..10).collect::<Vec<_>>());
    });
}

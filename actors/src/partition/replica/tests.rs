//! One replica on one simulated node: produce → sync → acknowledge → fetch.

use std::collections::BTreeMap;
use std::path::Path;
use std::rc::Rc;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use bytes::Bytes;
use millstream_transport::world::simulation::{self, Simulation};
use millstream_transport::world::{DiskCall, SimulatedDisk, World};

use super::*;
use crate::ids::ProducerId;
use crate::image::assignment::Assignment;
use crate::log::{DirectorySettings, LogDirectory};
use crate::partition::directory::{ReplicaDirectory, ReplicaHandle};
use crate::partition::following::{FollowerEnds, FollowerLog};
use crate::partition::front::Front;
use crate::partition::memory::Budget;
use crate::partition::message::{
    Acks, Fetch, FetchPart, Fetched, ListOffsets, ListedOffset, OffsetSpec, Produce, ProducePart, Produced,
};
use crate::partition::state::fixture::{assignment, life, partition};
use crate::partition::state::{InSyncChange, ResignReason};
use crate::record::{BatchBuilder, Compression, ProducerStamp, batches};
use crate::topic_config::TopicConfig;

mod compacted;
mod offsets;
mod transactions;
mod trims;

#[derive(Debug, Default)]
struct Watcher(Mutex<Vec<String>>);

impl Warden for Watcher {
    fn propose(&self, _: PartitionId, change: InSyncChange) {
        self.0.lock().unwrap().push(format!("propose {}", change.members.len()));
    }

    fn resign(&self, _: PartitionId, _: LeaderEpoch, reason: ResignReason) {
        self.0.lock().unwrap().push(format!("resign {reason:?}"));
    }

    fn down(&self, _: PartitionId, _: u64, clean: bool) {
        self.0.lock().unwrap().push(format!("down {clean}"));
    }
}

#[derive(Debug)]
struct NoLinks;

impl LeaderLinks for NoLinks {
    fn open(&self, _: NodeId, _: PartitionId, _: Member, _: LeaderEpoch, _: FollowerLog) {}
    fn leave(&self, _: NodeId, _: PartitionId, _: Member, _: LeaderEpoch) {}
    fn close(&self, _: PartitionId) {}
    fn report(&self, _: PartitionId, _: LeaderEpoch, _: FollowerEnds) {}
}

/// A node with one replica.
struct Node {
    world: World,
    directory: Arc<LogDirectory>,
    front: Front,
    replicas: ReplicaDirectory,
    watcher: Arc<Watcher>,
    inbox: Inbox,
    me: Member,
    verifier: VerifierDoor,
    cold_reads: Budget,
    unpackings: Unpackings,
    timed_looks: Budget,
    timed_unpackings: Unpackings,
}

impl Node {
    fn start(simulation: &Simulation, disk: &SimulatedDisk, incarnation: u64) -> Self {
        let world = World::simulated(simulation, disk);
        let events = Events::uncounted();
        let settings = DirectorySettings::default();
        let directory = LogDirectory::open(&world, Path::new("/data"), settings, events.clone()).unwrap();
        let (log, recovery) = directory.open_log(partition(), &TopicConfig::default()).unwrap();
        let producers = producers_of(&log, ProducerLimits::default(), world.clock.wall_ms()).unwrap();
        let mut me = life(1, incarnation);
        me.directory = directory.id();
        let watcher = Arc::new(Watcher::default());
        let inbox = Inbox::default();
        let verifier = VerifierDoor::default();
        let (cold_reads, timed_looks) = (Budget::new(64 << 20), Budget::new(1 << 20));
        let (unpackings, timed_unpackings) = (Unpackings::default(), Unpackings::default());
        let shared = ReplicaShared {
            series: PartitionSeries::of(&events),
            events,
            settings: Settings::default(),
            upkeep: UpkeepSettings::default(),
            producers: ProducerLimits::default(),
            quarantine: Arc::default(),
            warden: watcher.clone(),
            verifier: verifier.clone(),
            threads: world.threads.clone(),
            cold_reads: cold_reads.clone(),
            unpackings: unpackings.clone(),
            timed_looks: timed_looks.clone(),
            timed_unpackings: timed_unpackings.clone(),
        };
        let parts = ReplicaParts {
            partition: partition(),
            me,
            log,
            high_watermark: recovery.high_watermark,
            damage: recovery.damage,
            producers,
            floor: None,
            life: 1,
            inbox: inbox.clone(),
            bench: Arc::default(),
            shared: Arc::new(shared),
        };
        let clock = CoreClock::start(world.clock.clone());
        let address = Replica::new(parts, Box::new(NoLinks), Rc::clone(&clock)).start();
        let replicas = ReplicaDirectory::default();
        replicas.put(partition(), ReplicaHandle { address, inbox: inbox.clone(), core: 0, life: 1 });
        let front = Front::new(replicas.clone(), Budget::new(64 << 20), Budget::new(64 << 20));
        Self {
            world,
            directory,
            front,
            replicas,
            watcher,
            inbox,
            me,
            verifier,
            cold_reads,
            unpackings,
            timed_looks,
            timed_unpackings,
        }
    }

    async fn assign(&self, assigned: Assignment) {
        self.inbox.put(|completions| completions.assignment = Some(assigned));
        // So that it is taken in before what is asked next.
        tokio::time::sleep(Duration::from_millis(1)).await;
    }

    /// Leads alone.
    async fn lead(&self, epoch: i32) {
        self.lead_with(epoch, TopicConfig::default()).await;
    }

    async fn lead_with(&self, epoch: i32, config: TopicConfig) {
        let version = u32::try_from(epoch).unwrap();
        let mut assigned = assignment(epoch, Some(self.me), &[self.me], version);
        assigned.config = Arc::new(config);
        self.assign(assigned).await;
    }

    async fn produce(&self, acks: Acks, batches: Bytes) -> Result<Produced, Refusal> {
        let part = ProducePart { partition: partition(), leader_epoch: None, batches, transaction: None };
        let (send, receive) = tokio::sync::oneshot::channel();
        let produce = Produce { acks, timeout_ms: 1000, parts: vec![part] };
        self.front.produce(produce, move |answer| send.send(answer).unwrap());
        receive.await.unwrap().parts.remove(0).1
    }

    async fn fetch(&self, offset: i64, max_wait_ms: u32) -> Result<Fetched, Refusal> {
        let part = FetchPart {
            partition: partition(),
            leader_epoch: None,
            last_fetched_epoch: None,
            offset: Offset(offset),
            max_bytes: 1 << 20,
            stable_only: false,
            nearby: Default::default(),
        };
        let (send, receive) = tokio::sync::oneshot::channel();
        let fetch = Fetch { max_wait_ms, min_bytes: 1, max_bytes: 1 << 20, parts: vec![part] };
        self.front.fetch(fetch, move |answer| send.send(answer).unwrap());
        receive.await.unwrap().parts.remove(0).1
    }

    async fn list(&self, spec: OffsetSpec) -> Result<ListedOffset, Refusal> {
        let (send, receive) = tokio::sync::oneshot::channel();
        let list = ListOffsets { parts: vec![(partition(), spec)] };
        self.front.list_offsets(list, move |answer| send.send(answer).unwrap());
        receive.await.unwrap().parts.remove(0).1
    }

    async fn stop(self) {
        let (send, receive) = tokio::sync::oneshot::channel();
        let reply = Reply::new(move |answer| drop(send.send(answer)));
        self.replicas.get(partition()).unwrap().address.do_send(Stop(reply));
        receive.await.unwrap().unwrap();
        tokio::time::sleep(Duration::from_millis(10)).await;
        self.directory.close_cleanly().unwrap();
    }
}

/// When simulations begin.
const NOW_MS: i64 = 1_767_225_600_000;

fn batch(count: usize, after_ms: i64) -> Bytes {
    stamped(count, after_ms, None)
}

fn stamped(count: usize, after_ms: i64, stamp: Option<ProducerStamp>) -> Bytes {
    let mut builder = BatchBuilder::new(1 << 20, Compression::NONE);
    for index in 0..count {
        builder
            .push(NOW_MS + after_ms, Some(b"key"), Some(format!("value {index}").as_bytes()), &[])
            .unwrap();
    }
    builder.finish(stamp)
}

fn sequence(base_sequence: i32) -> Option<ProducerStamp> {
    Some(ProducerStamp { id: ProducerId(77), epoch: 0, base_sequence })
}

fn offsets(fetched: &Fetched) -> Vec<i64> {
    batches(&fetched.batches).map(|batch| batch.unwrap().header.base_offset.0).collect()
}

fn simulate<F: Future<Output = ()>>(scenario: impl FnOnce(Simulation, SimulatedDisk) -> F) {
    simulation::run(11, |simulation| {
        let disk = SimulatedDisk::new(5);
        scenario(simulation, disk)
    });
}

#[test]
fn what_is_produced_is_synced_acknowledged_and_fetched() {
    simulate(|simulation, disk| async move {
        let node = Node::start(&simulation, &disk, 1);
        node.lead(1).await;
        let produced = node.produce(Acks::All, batch(3, 1000)).await.unwrap();
        assert_eq!(produced.base_offset, Offset(0));
        let produced = node.produce(Acks::Leader, batch(2, 2000)).await.unwrap();
        assert_eq!(produced.base_offset, Offset(3));
        let fetched = node.fetch(1, 0).await.unwrap();
        assert_eq!((offsets(&fetched), fetched.high_watermark), (vec![0, 3], Offset(5)));
        let fetched = node.fetch(3, 0).await.unwrap();
        assert_eq!(offsets(&fetched), [3]);
        assert_eq!(node.fetch(6, 0).await.unwrap_err().code, ErrorCode::OffsetOutOfRange);
    });
}

#[test]
fn what_was_acknowledged_is_there_after_a_power_cut() {
    simulate(|simulation, disk| async move {
        let node = Node::start(&simulation, &disk, 1);
        node.lead(1).await;
        for _ in 0..20 {
            node.produce(Acks::All, batch(5, 1000)).await.unwrap();
        }
        disk.cut_power();
        drop(node);
        let node = Node::start(&simulation, &disk, 2);
        node.lead(2).await;
        let mut next = 0;
        while next < 100 {
            let fetched = node.fetch(next, 1000).await.unwrap();
            next =
                batches(&fetched.batches).map(|batch| batch.unwrap().header.next_offset().0).max().unwrap();
        }
        assert_eq!(next, 100);
    });
}

#[test]
fn a_fetch_waits_for_the_next_record_and_no_longer_than_it_said() {
    simulate(|simulation, disk| async move {
        let node = Rc::new(Node::start(&simulation, &disk, 1));
        node.lead(1).await;
        let began = node.world.clock.now();
        let fetched = node.fetch(0, 300).await.unwrap();
        assert!(fetched.batches.is_empty());
        let waited = node.world.clock.now() - began;
        assert!(waited >= Duration::from_millis(300) && waited < Duration::from_millis(320), "{waited:?}");

        let waiting = actix_rt::spawn({
            let node = Rc::clone(&node);
            async move { node.fetch(0, 60_000).await.unwrap() }
        });
        tokio::time::sleep(Duration::from_millis(50)).await;
        node.produce(Acks::All, batch(1, 0)).await.unwrap();
        assert_eq!(offsets(&waiting.await.unwrap()), [0]);
    });
}

#[test]
fn a_batch_sent_again_is_answered_with_its_first_offset_even_after_a_restart() {
    simulate(|simulation, disk| async move {
        let node = Node::start(&simulation, &disk, 1);
        node.lead(1).await;
        node.produce(Acks::All, stamped(3, 0, sequence(0))).await.unwrap();
        let again = node.produce(Acks::All, stamped(3, 0, sequence(0))).await.unwrap();
        assert_eq!(again.base_offset, Offset(0));
        let next = node.produce(Acks::All, stamped(2, 0, sequence(3))).await.unwrap();
        assert_eq!(next.base_offset, Offset(3));
        let gap = node.produce(Acks::All, stamped(2, 0, sequence(9))).await.unwrap_err();
        assert_eq!(gap.code, ErrorCode::OutOfOrderSequenceNumber);
        node.stop().await;

        let node = Node::start(&simulation, &disk, 2);
        node.lead(2).await;
        let again = node.produce(Acks::All, stamped(2, 0, sequence(3))).await.unwrap();
        assert_eq!(again.base_offset, Offset(3));
        disk.kill();
        drop(node);

        let node = Node::start(&simulation, &disk, 3);
        node.lead(3).await;
        let again = node.produce(Acks::All, stamped(3, 0, sequence(0))).await.unwrap();
        assert_eq!(again.base_offset, Offset(0));
        assert_eq!(node.list(OffsetSpec::Latest).await.unwrap().offset, Some(Offset(5)));
    });
}

#[test]
fn many_requests_of_one_wake_up_make_one_write() {
    simulate(|simulation, disk| async move {
        let node = Rc::new(Node::start(&simulation, &disk, 1));
        node.lead(1).await;
        node.produce(Acks::All, batch(1, 0)).await.unwrap();
        let before = disk.counts().writes;
        let waiting: Vec<_> = (0..50)
            .map(|_| {
                let node = Rc::clone(&node);
                actix_rt::spawn(
                    async move { node.produce(Acks::All, batch(1, 0)).await.unwrap().base_offset.0 },
                )
            })
            .collect();
        let mut offsets = Vec::new();
        for one in waiting {
            offsets.push(one.await.unwrap());
        }
        assert_eq!(offsets, (1..51).collect::<Vec<_>>());
        let writes = disk.counts().writes - before;
        assert!(writes <= 5, "{writes} writes for 50 requests");
    });
}

#[test]
fn offsets_are_found_by_end_and_by_time() {
    simulate(|simulation, disk| async move {
        let node = Node::start(&simulation, &disk, 1);
        node.lead(1).await;
        for at in 1..4 {
            node.produce(Acks::All, batch(2, at * 1000)).await.unwrap();
        }
        assert_eq!(node.list(OffsetSpec::Earliest).await.unwrap().offset, Some(Offset(0)));
        assert_eq!(node.list(OffsetSpec::Latest).await.unwrap().offset, Some(Offset(6)));
        let found = node.list(OffsetSpec::Timestamp(NOW_MS + 1500)).await.unwrap();
        assert_eq!((found.offset, found.timestamp_ms), (Some(Offset(2)), Some(NOW_MS + 2000)));
        assert_eq!(node.list(OffsetSpec::Timestamp(NOW_MS + 9000)).await.unwrap().offset, None);
    });
}

#[test]
fn a_replica_that_does_not_lead_refuses_and_epochs_fence() {
    simulate(|simulation, disk| async move {
        let node = Node::start(&simulation, &disk, 1);
        let refused = node.produce(Acks::All, batch(1, 0)).await.unwrap_err();
        assert_eq!(refused.code, ErrorCode::NotLeaderOrFollower);
        node.lead(4).await;
        let ask = |epoch| {
            let part = ProducePart {
                partition: partition(),
                leader_epoch: Some(LeaderEpoch(epoch)),
                batches: batch(1, 0),
                transaction: None,
            };
            let (send, receive) = tokio::sync::oneshot::channel();
            let produce = Produce { acks: Acks::All, timeout_ms: 1000, parts: vec![part] };
            node.front.produce(produce, move |answer| send.send(answer).unwrap());
            async { receive.await.unwrap().parts.remove(0).1.map_err(|refusal| refusal.code) }
        };
        assert_eq!(ask(3).await.unwrap_err(), ErrorCode::FencedLeaderEpoch);
        assert_eq!(ask(5).await.unwrap_err(), ErrorCode::UnknownLeaderEpoch);
        assert!(ask(4).await.is_ok());
    });
}

#[test]
fn too_few_members_in_sync_refuse_before_the_append() {
    simulate(|simulation, disk| async move {
        let node = Node::start(&simulation, &disk, 1);
        node.lead_with(1, TopicConfig { min_insync_replicas: 2, ..TopicConfig::default() }).await;
        let refused = node.produce(Acks::All, batch(1, 0)).await.unwrap_err();
        assert_eq!(refused.code, ErrorCode::NotEnoughReplicas);
        assert_eq!(node.produce(Acks::Leader, batch(1, 0)).await.unwrap().base_offset, Offset(0));
    });
}

#[test]
fn what_is_not_committed_in_time_is_refused_and_what_waits_at_the_end_of_an_epoch_too() {
    simulate(|simulation, disk| async move {
        let node = Rc::new(Node::start(&simulation, &disk, 1));
        let other = life(2, 1);
        let assigned = assignment(1, Some(node.me), &[node.me, other], 1);
        node.assign(assigned).await;
        let late = node.produce(Acks::All, batch(1, 0)).await.unwrap_err();
        assert_eq!(late.code, ErrorCode::RequestTimedOut);
        assert!(node.fetch(0, 0).await.unwrap().batches.is_empty(), "not committed, not shown");
        let latest = node.list(OffsetSpec::Latest).await.unwrap();
        assert_eq!(
            latest.offset,
            Some(Offset(0)),
            "the log was empty when the epoch began: no more is committed"
        );

        let waiting = actix_rt::spawn({
            let node = Rc::clone(&node);
            async move { node.produce(Acks::All, batch(1, 0)).await.unwrap_err().code }
        });
        tokio::time::sleep(Duration::from_millis(50)).await;
        node.assign(assignment(2, Some(other), &[node.me, other], 2)).await;
        assert_eq!(waiting.await.unwrap(), ErrorCode::NotLeaderOrFollower);
    });
}

#[test]
fn a_failed_sync_takes_the_replica_offline_and_acknowledges_nothing() {
    simulate(|simulation, disk| async move {
        let node = Node::start(&simulation, &disk, 1);
        node.lead(1).await;
        node.produce(Acks::All, batch(1, 0)).await.unwrap();
        disk.fail(DiskCall::Sync, Path::new("/data"), 1);
        let refused = node.produce(Acks::All, batch(1, 0)).await.unwrap_err();
        assert_eq!(refused.code, ErrorCode::KafkaStorageError);
        let refused = node.fetch(0, 0).await.unwrap_err();
        assert_eq!(refused.code, ErrorCode::KafkaStorageError);
        let said = node.watcher.0.lock().unwrap().clone();
        assert!(said.contains(&"resign Failed(Directory)".to_owned()), "{said:?}");
    });
}

#[test]
fn a_full_disk_refuses_and_heals() {
    simulate(|simulation, disk| async move {
        let node = Node::start(&simulation, &disk, 1);
        node.lead(1).await;
        node.produce(Acks::All, stamped(1, 0, sequence(0))).await.unwrap();
        disk.set_full(true);
        let mut refused = None;
        for index in 0..200_i32 {
            let produced = node.produce(Acks::All, stamped(1000, 0, sequence(1 + 1000 * index))).await;
            if let Err(refusal) = produced {
                refused = Some((index, refusal.code));
                break;
            }
        }
        let (index, code) = refused.expect("the disk is full");
        assert_eq!(code, ErrorCode::ThrottlingQuotaExceeded);
        disk.set_full(false);
        node.produce(Acks::All, stamped(1000, 0, sequence(1 + 1000 * index))).await.unwrap();
    });
}

#[test]
fn with_os_an_append_is_acknowledged_without_a_sync_and_flush_messages_syncs() {
    simulate(|simulation, disk| async move {
        let node = Node::start(&simulation, &disk, 1);
        let config = TopicConfig::parse(&BTreeMap::from([
            ("flush.policy".to_owned(), "os".to_owned()),
            ("flush.messages".to_owned(), "10".to_owned()),
        ]));
        node.lead_with(1, config.unwrap()).await;
        tokio::time::sleep(Duration::from_millis(100)).await;
        let before = disk.counts().syncs;
        for _ in 0..3 {
            node.produce(Acks::All, batch(3, 0)).await.unwrap();
        }
        assert_eq!(disk.counts().syncs, before);
        node.produce(Acks::All, batch(3, 0)).await.unwrap();
        tokio::time::sleep(Duration::from_millis(100)).await;
        assert!(disk.counts().syncs > before);
    });
}

#[test]
fn a_damaged_batch_is_not_served_and_a_lone_leader_goes_on() {
    simulate(|simulation, disk| async move {
        let node = Node::start(&simulation, &disk, 1);
        node.lead(1).await;
        for _ in 0..3 {
            node.produce(Acks::All, batch(10, 0)).await.unwrap();
        }
        node.stop().await;
        let segment = disk.disk().list(Path::new("/data")).unwrap();
        let log =
            segment.iter().find(|path| path.extension().is_none() && path.to_string_lossy().contains("-0"));
        let files = disk.disk().list(log.expect("the partition's directory")).unwrap();
        let log =
            files.iter().find(|path| path.extension().is_some_and(|extension| extension == "log")).unwrap();
        disk.flip_bit(log, 300, 2).unwrap();
        disk.evict_cache();

        let node = Node::start(&simulation, &disk, 2);
        node.lead(2).await;
        let mut refused = None;
        for offset in (0..30).step_by(10) {
            if let Err(refusal) = node.fetch(offset, 0).await {
                refused = Some(refusal.code);
            }
        }
        assert_eq!(refused, Some(ErrorCode::KafkaStorageError));
        let said = node.watcher.0.lock().unwrap().clone();
        assert!(said.iter().all(|said| !said.starts_with("resign")), "nobody else could lead: {said:?}");
    });
}

#[test]
fn a_stopped_replica_says_that_it_ended_cleanly() {
    simulate(|simulation, disk| async move {
        let node = Node::start(&simulation, &disk, 1);
        node.lead(1).await;
        node.produce(Acks::All, batch(1, 0)).await.unwrap();
        let watcher = Arc::clone(&node.watcher);
        node.stop().await;
        assert_eq!(*watcher.0.lock().unwrap(), ["down true"]);
    });
}

#[test]
fn a_full_mailbox_refuses_requests_and_holds_up_no_completion() {
    simulate(|simulation, disk| async move {
        let node = Node::start(&simulation, &disk, 1);
        node.lead(1).await;
        let answers: Arc<Mutex<Vec<Option<ErrorCode>>>> = Arc::default();
        for _ in 0..20_000 {
            let part = ProducePart {
                partition: partition(),
                leader_epoch: None,
                batches: batch(1, 0),
                transaction: None,
            };
            let answers = Arc::clone(&answers);
            node.front.produce(
                Produce { acks: Acks::All, timeout_ms: 5000, parts: vec![part] },
                move |answer| {
                    let code = answer.parts[0].1.as_ref().err().map(|refusal| refusal.code);
                    answers.lock().unwrap().push(code);
                },
            );
        }
        tokio::time::sleep(Duration::from_secs(5)).await;
        let answers = std::mem::take(&mut *answers.lock().unwrap());
        assert_eq!(answers.len(), 20_000, "every request got exactly one answer");
        let taken = answers.iter().filter(|code| code.is_none()).count();
        assert!(taken >= REPLICA.mailbox_max, "{taken} were taken");
        let throttled = Some(ErrorCode::ThrottlingQuotaExceeded);
        assert!(answers.iter().all(|code| code.is_none() || *code == throttled));
        node.produce(Acks::All, batch(1, 0)).await.unwrap();
    });
}

#[test]
fn what_is_not_in_the_tail_cache_is_read_from_the_disk() {
    simulate(|simulation, disk| async move {
        let node = Node::start(&simulation, &disk, 1);
        node.lead(1).await;
        for _ in 0..10 {
            node.produce(Acks::All, batch(10, 0)).await.unwrap();
        }
        node.stop().await;
        let node = Node::start(&simulation, &disk, 2);
        node.lead(2).await;
        let fetched = node.fetch(35, 0).await.unwrap();
        assert_eq!(offsets(&fetched), (30..100).step_by(10).collect::<Vec<_>>());
    });
}

#[test]
fn a_leader_tells_how_it_stands() {
    simulate(|simulation, disk| async move {
        let node = Node::start(&simulation, &disk, 1);
        node.lead(3).await;
        node.produce(Acks::All, batch(4, 0)).await.unwrap();
        node.lead(5).await;
        let (send, receive) = tokio::sync::oneshot::channel();
        node.front.standing(partition(), move |answer| send.send(answer).unwrap());
        let standing = receive.await.unwrap().unwrap();
        assert_eq!((standing.epoch, standing.epoch_start), (LeaderEpoch(5), Offset(4)));
        assert_eq!((standing.high_watermark, standing.is_confirmed), (Offset(4), true));
    });
}

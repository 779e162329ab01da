//! Coordinators over a log in memory, in paused time.

mod coordination;
mod failures;
mod following;
mod histories;
mod lag;
mod migration;
mod streams;
mod transactions;

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use futures::FutureExt;
use futures::future::BoxFuture;
use millstream_transport::world::Clock;
use millstream_transport::world::watch;

use super::doors::{
    CoordinatorLog, Coordinators, GroupDoors, LogEnd, LogEnds, OwnershipLease, PartOfTransaction, Replay,
    Replaying,
};
use super::fakes::FakeTopics;
use super::front::{GroupFront, GroupMessage};
use super::message::GroupHeartbeatAnswer;
use super::pending::OfProducer;
use super::records::LogRecord;
use super::settings::GroupSettings;
use super::topics::TopicsView;
use crate::error::{ErrorCode, Refusal};
use crate::events::Events;
use crate::ids::{LeaderEpoch, NodeId, Offset, PartitionId, ProducerId};
use crate::record::EndMarker;

/// `__consumer_offsets` in memory, with as many nodes at it as a test likes.
#[derive(Clone, Debug, Default)]
pub(super) struct FakeLog(Arc<Mutex<Shelf>>);

#[derive(Debug, Default)]
struct Shelf {
    records: BTreeMap<i32, Vec<(LogRecord, Option<OfProducer>)>>,
    epochs: BTreeMap<i32, LeaderEpoch>,
    latency: Duration,
    /// Appends are in the log, and refused all the same.
    refuses: Option<ErrorCode>,
    loads_refused: u32,
    /// What the coordinator of transactions says to each.
    not_in_transaction: Option<ErrorCode>,
    /// How long it takes to say anything.
    admission: Duration,
    /// What it says to the one that asks, and not to its append.
    not_admitted: Option<ErrorCode>,
    appends: usize,
    /// The last thing in the log.
    ended: Option<EndMarker>,
}

impl FakeLog {
    fn with<A>(&self, step: impl FnOnce(&mut Shelf) -> A) -> A {
        step(&mut self.0.lock().unwrap())
    }

    fn slow(&self, ms: u64) {
        self.with(|shelf| shelf.latency = Duration::from_millis(ms));
    }

    fn appends(&self) -> usize {
        self.with(|shelf| shelf.appends)
    }

    /// A new leader is elected.
    fn elect(&self, partition: i32) -> LeaderEpoch {
        self.with(|shelf| {
            let epoch = shelf.epochs.entry(partition).or_default();
            epoch.0 += 1;
            *epoch
        })
    }
}

fn refusal(code: ErrorCode) -> Refusal {
    Refusal::new(code, "as the test will have it")
}

impl FakeLog {
    fn append_of(
        &self,
        partition: i32,
        epoch: LeaderEpoch,
        records: Vec<LogRecord>,
        producer: Option<OfProducer>,
    ) -> BoxFuture<'static, Result<(), Refusal>> {
        let (latency, result) = self.with(|shelf| {
            if shelf.epochs.get(&partition) != Some(&epoch) {
                return (shelf.latency, Err(refusal(ErrorCode::NotLeaderOrFollower)));
            }
            shelf.appends += 1;
            let records = records.into_iter().map(|record| (record, producer));
            shelf.records.entry(partition).or_default().extend(records);
            (shelf.latency, shelf.refuses.map_or(Ok(()), |code| Err(refusal(code))))
        });
        async move {
            tokio::time::sleep(latency).await;
            result
        }
        .boxed()
    }
}

impl CoordinatorLog for FakeLog {
    fn append(
        &self,
        partition: i32,
        epoch: LeaderEpoch,
        records: Vec<LogRecord>,
    ) -> BoxFuture<'static, Result<(), Refusal>> {
        self.append_of(partition, epoch, records, None)
    }

    fn append_in(
        &self,
        partition: i32,
        epoch: LeaderEpoch,
        transaction: PartOfTransaction,
        records: Vec<LogRecord>,
    ) -> BoxFuture<'static, Result<(), Refusal>> {
        if let Some(code) = self.with(|shelf| shelf.not_in_transaction) {
            return std::future::ready(Err(refusal(code))).boxed();
        }
        let PartOfTransaction { producer_id, producer_epoch, .. } = transaction;
        let of = OfProducer { id: producer_id, epoch: producer_epoch };
        self.append_of(partition, epoch, records, Some(of))
    }

    fn admit(&self, _: i32, _: LeaderEpoch, _: PartOfTransaction) -> BoxFuture<'static, Result<(), Refusal>> {
        let (admission, not_admitted) = self.with(|shelf| (shelf.admission, shelf.not_admitted));
        async move {
            tokio::time::sleep(admission).await;
            not_admitted.map_or(Ok(()), |code| Err(refusal(code)))
        }
        .boxed()
    }

    fn load(
        &self,
        partition: i32,
        _: LeaderEpoch,
        mut replay: Replay,
    ) -> BoxFuture<'static, Result<Replay, Refusal>> {
        let ended = self.with(|shelf| shelf.ended);
        let (latency, records) = self.with(|shelf| {
            let refused = shelf.loads_refused > 0;
            shelf.loads_refused = shelf.loads_refused.saturating_sub(1);
            (shelf.latency, (!refused).then(|| shelf.records.get(&partition).cloned().unwrap_or_default()))
        });
        async move {
            tokio::time::sleep(latency).await;
            for (record, producer) in records.ok_or_else(|| refusal(ErrorCode::OffsetNotAvailable))? {
                replay.record(record.timestamp_ms, Some(&record.key), record.value.as_deref(), producer);
            }
            ended.iter().for_each(|marker| replay.ended(marker));
            Ok(replay)
        }
        .boxed()
    }
}

#[derive(Debug)]
struct FakeLease {
    holds: AtomicBool,
    confirms: AtomicBool,
}

impl OwnershipLease for FakeLease {
    fn holds(&self) -> bool {
        self.holds.load(Ordering::Relaxed)
    }

    fn confirm(&self) -> BoxFuture<'static, Result<(), Refusal>> {
        let confirms = self.confirms.load(Ordering::Relaxed);
        async move {
            tokio::time::sleep(Duration::from_millis(7)).await;
            if confirms { Ok(()) } else { Err(refusal(ErrorCode::NotLeaderOrFollower)) }
        }
        .boxed()
    }
}

#[derive(Debug)]
struct FakeCoordinators(AtomicBool);

impl Coordinators for FakeCoordinators {
    fn partitions(&self) -> Option<i32> {
        self.0.load(Ordering::Relaxed).then_some(1)
    }

    fn leader(&self, _partition: i32) -> Option<NodeId> {
        Some(NodeId(7))
    }

    fn create(&self) -> BoxFuture<'static, Result<(), Refusal>> {
        self.0.store(true, Ordering::Relaxed);
        std::future::ready(Ok(())).boxed()
    }
}

/// Every log ends at 100.
#[derive(Debug)]
struct FakeEnds;

impl LogEnds for FakeEnds {
    fn ends(&self, at: Vec<(PartitionId, Offset)>) -> BoxFuture<'static, BTreeMap<PartitionId, LogEnd>> {
        let end = LogEnd { start: Offset(0), end: Offset(100), waiting_since_ms: Some(1_000_000) };
        std::future::ready(at.into_iter().map(|(partition, _)| (partition, end)).collect()).boxed()
    }
}

/// A node that coordinates groups.
pub(super) struct Node {
    front: GroupFront,
    lease: Arc<FakeLease>,
    topics: watch::Sender<Arc<dyn TopicsView>>,
    coordinators: Arc<FakeCoordinators>,
    log: FakeLog,
    epoch: LeaderEpoch,
}

impl Node {
    /// Starts, and leads the only partition.
    async fn leading(log: &FakeLog, topics: &FakeTopics) -> Self {
        Self::leading_with(log, topics, GroupSettings::default(), Events::uncounted()).await
    }

    async fn leading_with(
        log: &FakeLog,
        topics: &FakeTopics,
        settings: GroupSettings,
        events: Events,
    ) -> Self {
        let view: Arc<dyn TopicsView> = Arc::new(topics.clone());
        let (sender, receiver) = watch::channel(view);
        let coordinators = Arc::new(FakeCoordinators(AtomicBool::new(true)));
        let doors = GroupDoors {
            log: Arc::new(log.clone()),
            coordinators: Arc::<FakeCoordinators>::clone(&coordinators),
            ends: Arc::new(FakeEnds),
            topics: receiver,
            settings: watch::channel(Arc::new(settings)).1,
            clock: Clock::simulated(1_000_000),
            events,
        };
        let front = GroupFront::start(doors, None).await.unwrap();
        let lease = Arc::new(FakeLease { holds: AtomicBool::new(true), confirms: AtomicBool::new(true) });
        let epoch = log.elect(0);
        front.lead(0, epoch, Arc::<FakeLease>::clone(&lease));
        Self { front, lease, topics: sender, coordinators, log: log.clone(), epoch }
    }

    async fn ask<M: GroupMessage>(&self, message: M) -> M::Answer {
        self.front.handle("10.0.0.1", message).await
    }

    /// Asks until the coordinator has read its log.
    async fn ask_patiently<T, M: GroupMessage<Answer = Result<T, Refusal>> + Clone>(
        &self,
        message: M,
    ) -> Result<T, ErrorCode> {
        loop {
            match self.ask(message.clone()).await {
                Err(refusal) if refusal.code == ErrorCode::CoordinatorLoadInProgress => {
                    tokio::time::sleep(Duration::from_millis(10)).await;
                }
                other => return other.map_err(|refusal| refusal.code),
            }
        }
    }

    fn set_topics(&self, topics: &FakeTopics) {
        self.topics.send_replace(Arc::new(topics.clone()));
    }
}

fn count(answer: &GroupHeartbeatAnswer) -> Option<usize> {
    answer.assigned.as_ref().map(Vec::len)
}

async fn pass(ms: u64) {
    tokio::time::sleep(Duration::from_millis(ms)).await;
}

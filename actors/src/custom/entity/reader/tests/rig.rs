use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use bytes::Bytes;
use futures::FutureExt;
use futures::future::BoxFuture;
use metrics::{Counter, Gauge, Histogram, Key, KeyName, Metadata, Recorder, SharedString, Unit};
use millstream_transport::world::{World, watch};
use ractor::{Actor, ActorRef};
use uuid::Uuid;

use super::super::super::doors::{
    Begun, EntityDoors, EntityLanes, EntityLog, EntityProducers, EntityTopics, ReplicaAnswer, ReplicaRead,
    TopicLog,
};
use super::super::super::message::{Applied, DeliverToEntities, FeedEntities, PositionOfSource, Unread};
use super::super::super::publisher::LastSequence;
use super::super::super::records::Source;
use super::super::super::settings::EntitySettings;
use super::super::super::table::Table;
use super::super::super::topics::{KnownTopic, KnownTopics};
use super::super::actor::{ReaderMessage, TopicReader, Work};
use super::super::declared::Declared;
use super::super::placed::{Assignment, ReaderKey};
use crate::custom::{CallError, UserThreads, UserThreadsSettings};
use crate::error::{ErrorCode, Refusal};
use crate::events::Events;
use crate::group::records::LogRecord;
use crate::ids::{LeaderEpoch, NodeId, Offset, PartitionId, ProducerId, TopicId};
use crate::partition::message::Fetched;
use crate::record::{BatchBuilder, Compression, HEADER_BYTES, ProducerStamp, assign, assign_producer};

/// What the rest of the node is to a reader.
#[derive(Debug, Default)]
pub(super) struct Node {
    pub(super) values: Vec<&'static str>,
    pub(super) start: i64,
    pub(super) position: u64,
    /// Deliveries, by receiver; answered so.
    pub(super) fed: Vec<FeedEntities>,
    pub(super) answers_no: bool,
    pub(super) never_answers: bool,
    /// What is read from the beginning is whole and cannot be unpacked.
    pub(super) garbles: bool,
    pub(super) reads: usize,
    pub(super) reads_open: usize,
    pub(super) feeds_open: usize,
}

#[derive(Clone, Debug, Default)]
pub(super) struct Shared(Arc<Mutex<Node>>);

impl Shared {
    pub(super) fn with<T>(&self, look: impl FnOnce(&mut Node) -> T) -> T {
        look(&mut self.0.lock().unwrap())
    }
}

impl EntityLog for Shared {
    fn append(
        &self,
        _: PartitionId,
        _: LeaderEpoch,
        _: Vec<LogRecord>,
    ) -> BoxFuture<'static, Result<Offset, Refusal>> {
        unreachable!("a reader writes nothing")
    }

    fn read(
        &self,
        _: PartitionId,
        _: LeaderEpoch,
        _: Vec<Offset>,
    ) -> BoxFuture<'static, Result<Vec<Bytes>, Refusal>> {
        unreachable!("a reader reads no entity")
    }

    fn replay(
        &self,
        _: PartitionId,
        _: LeaderEpoch,
        _: Table,
        _: Option<LeaderEpoch>,
    ) -> BoxFuture<'static, (Table, Result<(), Refusal>)> {
        unreachable!("a reader reads no entity")
    }

    fn read_replica(&self, _: ReplicaRead, _: ReplicaAnswer) {
        unreachable!("a reader reads no entity")
    }
}

impl EntityLanes for Shared {
    fn partitions(&self, _: &str) -> Option<u32> {
        Some(2)
    }

    fn deliver(&self, _: DeliverToEntities) -> BoxFuture<'static, Result<(), CallError>> {
        unreachable!("a reader delivers from topics")
    }

    fn feed(&self, feed: FeedEntities) -> BoxFuture<'static, Result<(), CallError>> {
        let (no, never) = self.with(|node| {
            node.feeds_open += 1;
            node.fed.push(feed);
            (node.answers_no, node.never_answers)
        });
        let shared = self.clone();
        async move {
            if never {
                return std::future::pending().await;
            }
            shared.with(|node| node.feeds_open -= 1);
            if no { Err(CallError::Stopped("it panicked".to_owned())) } else { Ok(()) }
        }
        .boxed()
    }

    fn position(&self, _: PositionOfSource) -> BoxFuture<'static, Result<Applied, CallError>> {
        let position = self.with(|node| node.position);
        async move { Ok(Applied(position)) }.boxed()
    }
}

impl TopicLog for Shared {
    fn read(&self, _: PartitionId, from: Offset, _: u32) -> BoxFuture<'static, Result<Fetched, Refusal>> {
        let fetched = self.with(|node| {
            node.reads += 1;
            node.reads_open += 1;
            assert_eq!(node.reads_open, 1, "one read at a time");
            node.fetched(from)
        });
        let shared = self.clone();
        async move {
            tokio::time::sleep(Duration::from_millis(1)).await;
            shared.with(|node| node.reads_open -= 1);
            fetched
        }
        .boxed()
    }

    fn start(&self, _: PartitionId) -> BoxFuture<'static, Result<Offset, Refusal>> {
        let start = self.with(|node| node.start);
        async move { Ok(Offset(start)) }.boxed()
    }
}

impl Node {
    /// A batch of at most ten records.
    fn fetched(&self, from: Offset) -> Result<Fetched, Refusal> {
        let end = i64::try_from(self.values.len()).unwrap();
        if from.0 < self.start || from.0 > end {
            return Err(Refusal::new(ErrorCode::OffsetOutOfRange, "not there"));
        }
        let first = usize::try_from(from.0).unwrap();
        let mut builder = BatchBuilder::new(4 << 20, Compression::NONE);
        let mut count = 0;
        for value in self.values.iter().skip(first).take(10) {
            builder.push(0, None, Some(value.as_bytes()), &[]).unwrap();
            count += 1;
        }
        let mut batches = Vec::new();
        if count > 0 {
            batches = builder.finish(None).to_vec();
            assign(&mut batches, from, LeaderEpoch(1)).unwrap();
        }
        if self.garbles && from.0 == 0 {
            batches[HEADER_BYTES..].fill(0xff);
            let nobody = ProducerStamp { id: ProducerId(-1), epoch: -1, base_sequence: -1 };
            assign_producer(&mut batches, nobody).unwrap();
        }
        Ok(Fetched {
            high_watermark: Offset(end),
            log_start_offset: Offset(self.start),
            diverging: None,
            preferred: None,
            last_stable_offset: Offset(end),
            aborted: Vec::new(),
            batches: batches.into(),
        })
    }

    /// What was sent to be buried, in order, each once.
    pub(super) fn unread(&self) -> Vec<Unread> {
        let messages = self.fed.iter().flat_map(|feed| &feed.messages);
        let unread = messages.filter_map(|message| Some((message.sequence, Unread::of(&message.message)?)));
        unread.collect::<BTreeMap<_, _>>().into_values().collect()
    }

    /// The sequences that were sent, each delivery once, without those that come again.
    pub(super) fn sequences(&self) -> Vec<u64> {
        let mut all: Vec<u64> =
            self.fed.iter().flat_map(|feed| feed.messages.iter().map(|message| message.sequence)).collect();
        all.sort_unstable();
        all.dedup();
        all
    }
}

/// Counts what is counted, by the name of the series.
#[derive(Clone, Debug, Default)]
struct Counts(Arc<Mutex<BTreeMap<String, Arc<AtomicU64>>>>);

impl Recorder for Counts {
    fn describe_counter(&self, _: KeyName, _: Option<Unit>, _: SharedString) {}
    fn describe_gauge(&self, _: KeyName, _: Option<Unit>, _: SharedString) {}
    fn describe_histogram(&self, _: KeyName, _: Option<Unit>, _: SharedString) {}
    fn register_counter(&self, key: &Key, _: &Metadata<'_>) -> Counter {
        let mut counts = self.0.lock().unwrap();
        Counter::from_arc(Arc::clone(counts.entry(key.name().to_owned()).or_default()))
    }
    fn register_gauge(&self, _: &Key, _: &Metadata<'_>) -> Gauge {
        Gauge::noop()
    }
    fn register_histogram(&self, _: &Key, _: &Metadata<'_>) -> Histogram {
        Histogram::noop()
    }
}

impl KnownTopics for Shared {
    fn named(&self, _: &str) -> Option<(u64, KnownTopic)> {
        unreachable!("a reader publishes nothing")
    }

    fn of(&self, _: TopicId) -> (u64, Option<KnownTopic>) {
        unreachable!("a reader publishes nothing")
    }
}

impl EntityTopics for Shared {
    fn producer_id(&self) -> BoxFuture<'static, Result<ProducerId, Refusal>> {
        unreachable!("a reader publishes nothing")
    }

    fn last_sequence(
        &self,
        _: PartitionId,
        _: ProducerId,
    ) -> BoxFuture<'static, Result<Option<LastSequence>, Refusal>> {
        unreachable!("a reader publishes nothing")
    }

    fn append(&self, _: PartitionId, _: Bytes) -> BoxFuture<'static, Result<(), Refusal>> {
        unreachable!("a reader publishes nothing")
    }
}

impl EntityProducers for Shared {
    fn begin(&self, _: &str, _: PartitionId) -> BoxFuture<'static, Result<Begun, Refusal>> {
        unreachable!("a reader publishes nothing")
    }
}

/// A reader with a node around it.
pub(super) struct Rig {
    pub(super) node: Shared,
    counts: Counts,
    pub(super) reader: ActorRef<ReaderMessage>,
}

impl Rig {
    pub(super) async fn begin(world: &World, node: Node, input: Arc<Declared>) -> Self {
        let node = Shared(Arc::new(Mutex::new(node)));
        let counts = Counts::default();
        let events = Events::new(NodeId(1), Arc::new(counts.clone()));
        let doors = EntityDoors {
            log: Arc::new(node.clone()),
            lanes: Arc::new(node.clone()),
            sources: Arc::new(node.clone()),
            topics: Arc::new(node.clone()),
            producers: Arc::new(node.clone()),
            threads: UserThreads::start(world, UserThreadsSettings::default(), events.clone()),
            settings: watch::channel(Arc::new(EntitySettings::default())).1,
            clock: world.clock.clone(),
            events,
        };
        let topic = |number| TopicId(Uuid::from_u128(number));
        let key = ReaderKey { kind: Arc::from("listener"), source: Source { topic: topic(1), partition: 0 } };
        let beside = PartitionId { topic: topic(2), index: 0 };
        let assignment = Assignment { beside, epoch: LeaderEpoch(1), receivers: 2, input };
        let work = Work { key, assignment, doors };
        let (reader, _) = Actor::spawn(None, TopicReader, work).await.unwrap();
        Self { node, counts, reader }
    }

    pub(super) fn told(&self, name: &str) -> u64 {
        self.counts.0.lock().unwrap().get(name).map_or(0, |count| count.load(Ordering::Relaxed))
    }
}

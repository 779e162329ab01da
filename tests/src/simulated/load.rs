//! Clients at work on a cluster while things happen to it: producers, readers by offset, members of a group. All they
//! do and see is noted.

use std::cell::{Cell, RefCell};
use std::collections::{BTreeMap, BTreeSet};
use std::rc::Rc;
use std::time::Duration;

use actix_rt::task::JoinHandle;
use millstream::{
    Client, Consumer, ConsumerEvent, ConsumerSettings, Delivery, Fetched, OffsetReset, ProduceError,
    Producer, ProducerRecord, ProducerSettings, SeekTo, TopicPartition,
};
use millstream_actors::ids::{Offset, PartitionId, TopicId};
use tokio::sync::Notify;
use tokio::time::Instant;

use super::{GROUP, SimulatedCluster, TOPIC, until};
use crate::history::{History, Sent, Tag};

/// How much work.
#[derive(Clone, Copy, Debug)]
pub struct LoadSettings {
    /// Partitions of the topic.
    pub partitions: i32,
    /// Producers, each of which writes to all partitions in turn.
    pub producers: u32,
    /// Records that a producer sends at once.
    pub burst: usize,
    /// The time between two bursts.
    pub pace: Duration,
    /// Members of the group.
    pub members: usize,
}

impl Default for LoadSettings {
    fn default() -> Self {
        Self { partitions: 3, producers: 2, burst: 12, pace: Duration::from_millis(50), members: 2 }
    }
}

/// What the tasks of a load share.
#[derive(Debug)]
pub(super) struct Shared {
    pub(super) history: RefCell<History>,
    /// What the members of the group have read, together.
    pub(super) by_group: RefCell<BTreeMap<PartitionId, BTreeSet<Offset>>>,
    /// Where the reader by offset is.
    pub(super) positions: RefCell<BTreeMap<PartitionId, Offset>>,
    stop_producing: Cell<bool>,
    stop_reading: Cell<bool>,
    stopping: Notify,
    /// By partition: the latest acknowledgement, and the longest time between two.
    gaps: RefCell<BTreeMap<PartitionId, (Instant, Duration)>>,
    topic: TopicId,
}

impl Shared {
    fn partition(&self, index: i32) -> PartitionId {
        PartitionId { topic: self.topic, index }
    }

    fn ended(&self, partition: PartitionId, tag: Tag, sent: Sent) {
        if matches!(sent, Sent::Acknowledged(_)) {
            let mut gaps = self.gaps.borrow_mut();
            let (last, longest) = gaps.entry(partition).or_insert((Instant::now(), Duration::ZERO));
            *longest = last.elapsed().max(*longest);
            *last = Instant::now();
        }
        self.history.borrow_mut().sent(partition, tag, sent);
    }

    /// Notes what was read; calls `see` with each offset.
    fn read(&self, fetched: &Fetched, mut see: impl FnMut(PartitionId, Offset)) {
        let partition = self.partition(fetched.partition.partition);
        for record in fetched.records() {
            let record = record.expect("records are whole");
            let tag = record.value.as_deref().and_then(Tag::from_bytes).expect("each record carries its tag");
            self.history.borrow_mut().read(partition, record.offset, tag);
            see(partition, record.offset);
        }
    }
}

/// Clients at work.
#[derive(Debug)]
pub struct Load {
    pub(super) client: Client,
    pub(super) shared: Rc<Shared>,
    pub(super) settings: LoadSettings,
    producers: Vec<JoinHandle<()>>,
    readers: Vec<JoinHandle<()>>,
}

impl Load {
    /// Makes the topic and sets the clients to work.
    pub async fn start(cluster: &mut SimulatedCluster, settings: LoadSettings) -> Self {
        let client = cluster.client();
        let topic = cluster.make_topic(&client, TOPIC, settings.partitions).await;
        let shared = Rc::new(Shared {
            history: RefCell::default(),
            by_group: RefCell::default(),
            positions: RefCell::default(),
            stop_producing: Cell::new(false),
            stop_reading: Cell::new(false),
            stopping: Notify::new(),
            gaps: RefCell::default(),
            topic,
        });
        let mut load = Self { client, shared, settings, producers: Vec::new(), readers: Vec::new() };
        load.forget_gaps();
        load.start_readers(cluster).await;
        for id in 1..=settings.producers {
            let client = cluster.client();
            let shared = Rc::clone(&load.shared);
            load.producers.push(actix_rt::spawn(produce(client, id, shared, settings)));
        }
        load
    }

    async fn start_readers(&mut self, cluster: &mut SimulatedCluster) {
        for _ in 0..self.settings.members {
            let settings =
                ConsumerSettings { offset_reset: OffsetReset::Earliest, ..ConsumerSettings::group(GROUP) };
            let consumer = Consumer::new(&cluster.client(), settings).expect("a member's settings are right");
            consumer.subscribe([TOPIC]).expect("a member subscribes");
            self.readers.push(actix_rt::spawn(read_in_group(consumer, Rc::clone(&self.shared))));
        }
        let consumer = Consumer::new(&cluster.client(), ConsumerSettings::default());
        let consumer = consumer.expect("a reader's settings are right");
        let all = (0..self.settings.partitions)
            .map(|partition| (TopicPartition::new(TOPIC, partition), SeekTo::Beginning));
        consumer.assign(all).await.expect("the topic is known");
        self.readers.push(actix_rt::spawn(read_by_offset(consumer, Rc::clone(&self.shared))));
    }

    /// The client that made the topic.
    #[must_use]
    pub const fn client(&self) -> &Client {
        &self.client
    }

    /// How many records were acknowledged so far.
    #[must_use]
    pub fn acknowledged(&self) -> usize {
        self.shared.history.borrow().acknowledged()
    }

    /// The longest time so far in which nothing of one partition was acknowledged.
    #[must_use]
    pub fn longest_gap(&self) -> Duration {
        let gaps = self.shared.gaps.borrow();
        gaps.values().map(|(last, longest)| last.elapsed().max(*longest)).max().unwrap_or_default()
    }

    /// Measures gaps anew.
    pub fn forget_gaps(&self) {
        let partitions = (0..self.settings.partitions).map(|index| self.shared.partition(index));
        let now = Instant::now();
        self.shared.gaps.replace(partitions.map(|partition| (partition, (now, Duration::ZERO))).collect());
    }

    /// Waits until every partition acknowledges again, from now on.
    pub async fn flows(&self) {
        let since = Instant::now();
        let all = || self.shared.gaps.borrow().values().all(|(last, _)| *last > since);
        until("every partition acknowledges", all).await;
    }

    /// Records that the group has read, each counted once.
    #[must_use]
    pub fn read_by_group(&self) -> usize {
        self.shared.by_group.borrow().values().map(BTreeSet::len).sum()
    }

    /// Runs for so long.
    pub async fn run(&self, time: Duration) {
        tokio::time::sleep(time).await;
    }

    pub(super) async fn stop_producing(&mut self) {
        self.shared.stop_producing.set(true);
        for producer in self.producers.drain(..) {
            producer.await.expect("a producer does not panic");
        }
    }

    pub(super) async fn stop_reading(&mut self) {
        self.shared.stop_reading.set(true);
        self.shared.stopping.notify_waiters();
        for reader in self.readers.drain(..) {
            reader.await.expect("a reader does not panic");
        }
    }
}

/// What follows the tag in every record.
const PADDING: [u8; 88] = [b'.'; 88];

async fn produce(client: Client, id: u32, shared: Rc<Shared>, settings: LoadSettings) {
    let timing =
        ProducerSettings { delivery_timeout: Duration::from_secs(300), ..ProducerSettings::default() };
    let producer = client.producer(timing).await.expect("a producer's settings are right");
    let mut sending = Sending { producer, id, shared, numbers: BTreeMap::new(), waiting: Vec::new() };
    let mut partitions = (0..settings.partitions).cycle();
    while !sending.shared.stop_producing.get() {
        for partition in partitions.by_ref().take(settings.burst) {
            sending.send(partition).await;
        }
        tokio::time::sleep(settings.pace).await;
    }
    for waiting in sending.waiting {
        waiting.await.expect("waiting for a delivery does not panic");
    }
    sending.producer.close(Duration::from_secs(1)).await;
}

struct Sending {
    producer: Producer,
    id: u32,
    shared: Rc<Shared>,
    numbers: BTreeMap<i32, u64>,
    waiting: Vec<JoinHandle<()>>,
}

impl Sending {
    async fn send(&mut self, index: i32) {
        let number = self.numbers.entry(index).or_default();
        let tag = Tag { producer: self.id, number: *number };
        *number += 1;
        let value = [&tag.to_bytes()[..], &PADDING].concat();
        let partition = self.shared.partition(index);
        match self.producer.send(ProducerRecord::to(TOPIC).partition(index).value(&value)).await {
            Ok(delivery) => self.waiting.push(actix_rt::spawn({
                let shared = Rc::clone(&self.shared);
                async move { shared.ended(partition, tag, outcome(delivery).await) }
            })),
            // Never given to the router.
            Err(_) => self.shared.ended(partition, tag, Sent::Refused),
        }
    }
}

async fn outcome(delivery: Delivery) -> Sent {
    match delivery.await {
        Ok(written) => match written.offset {
            Some(offset) => Sent::Acknowledged(offset),
            None => Sent::Unknown,
        },
        Err(ProduceError::TooLarge { .. } | ProduceError::UnknownPartition { .. }) => Sent::Refused,
        // A refusal may be of the second try, after the first was appended and its answer lost.
        Err(_) => Sent::Unknown,
    }
}

async fn read_by_offset(mut consumer: Consumer, shared: Rc<Shared>) {
    while let Some(event) = next(&mut consumer, &shared).await {
        if let ConsumerEvent::Records(fetched) = event {
            shared.read(&fetched, |_, _| ());
            let partition = shared.partition(fetched.partition.partition);
            let before = shared.positions.borrow_mut().insert(partition, fetched.next_offset());
            assert!(before <= Some(fetched.next_offset()), "{partition} is read backwards");
        }
    }
    consumer.close().await;
}

async fn read_in_group(mut consumer: Consumer, shared: Rc<Shared>) {
    while let Some(event) = next(&mut consumer, &shared).await {
        if let ConsumerEvent::Records(fetched) = event {
            shared.read(&fetched, |partition, offset| {
                shared.by_group.borrow_mut().entry(partition).or_default().insert(offset);
            });
        }
    }
    consumer.close().await;
}

/// The next event; `None` when reading is to stop.
async fn next(consumer: &mut Consumer, shared: &Shared) -> Option<ConsumerEvent> {
    loop {
        if shared.stop_reading.get() {
            return None;
        }
        tokio::select! {
            biased;
            () = shared.stopping.notified() => {}
            event = consumer.next() => match event {
                Ok(event) => return Some(event),
                Err(millstream::ClientError::Closed) => return None,
                // Told once; reading goes on where it can, and the end of a scenario sees whether it did.
                Err(_) => {}
            }
        }
    }
}

//! Reads the partitions of a process's tasks, with one consumer, and puts what comes into their inboxes.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use ractor::ActorRef;
use tokio::sync::mpsc;
use tokio::time::MissedTickBehavior;

use super::host::HostMessage;
use super::inbox::Inbox;
use super::worker::WorkerMessage;
use crate::client::{Client, ClientError, TopicPartition};
use crate::consumer::{
    Consumer, ConsumerEvent, ConsumerSettings, Fetched, IsolationLevel, OffsetReset, SeekTo,
};
use crate::ids::Offset;

/// What a partition is read for.
#[derive(Clone, Debug)]
pub(super) struct ReadFor {
    pub(super) topic: usize,
    pub(super) inbox: Arc<Inbox>,
    pub(super) worker: ActorRef<WorkerMessage>,
}

/// How often it is looked whether a partition has gone on without records.
const LOOK_EVERY: Duration = Duration::from_millis(20);

/// Partitions to be read, from there.
pub(super) type Reads = BTreeMap<TopicPartition, (SeekTo, ReadFor)>;

enum Order {
    /// There is room for a partition that was paused.
    Resume(TopicPartition),
    Read(Reads),
    Forget(Vec<TopicPartition>),
}

/// The way to it; it ends when all of these are dropped.
#[derive(Clone, Debug)]
pub(super) struct Reader {
    /// Each partition is resumed once at most: it is paused before it can be resumed again. All else is as often as tasks come and go.
    orders: mpsc::UnboundedSender<Order>,
}

impl Reader {
    /// Reads nothing yet. What fails is told to the host.
    pub(super) fn begin(
        client: &Client,
        host: ActorRef<HostMessage>,
        generation: u64,
    ) -> Result<Self, ClientError> {
        let settings = ConsumerSettings {
            isolation: IsolationLevel::ReadCommitted,
            // A position that is not there any more is not silently passed.
            offset_reset: OffsetReset::None,
            auto_commit: None,
            ..ConsumerSettings::default()
        };
        let consumer = Consumer::new(client, settings)?;
        let (orders, taken) = mpsc::unbounded_channel();
        let reading = Reading { consumer, targets: Targets::new() };
        tokio::spawn(async move {
            if let Err(error) = reading.run(taken).await {
                let error = format!("reading: {error}");
                let _ended = host.cast(HostMessage::Failed { generation, error });
            }
        });
        Ok(Self { orders })
    }

    /// Reads these too.
    pub(super) fn read(&self, reads: Reads) {
        self.order(Order::Read(reads));
    }

    /// Reads these no more.
    pub(super) fn forget(&self, partitions: Vec<TopicPartition>) {
        self.order(Order::Forget(partitions));
    }

    /// There is room for a partition that was paused.
    pub(super) fn resume(&self, partition: TopicPartition) {
        self.order(Order::Resume(partition));
    }

    fn order(&self, order: Order) {
        // Where it has ended the host was told so.
        let _ended = self.orders.send(order);
    }
}

/// What partitions are read for, and up to where they were handed over.
type Targets = BTreeMap<TopicPartition, (ReadFor, Option<Offset>)>;

struct Reading {
    consumer: Consumer,
    targets: Targets,
}

impl Reading {
    async fn run(mut self, mut orders: mpsc::UnboundedReceiver<Order>) -> Result<(), ClientError> {
        let ended = self.read(&mut orders).await;
        self.consumer.close().await;
        ended
    }

    async fn read(&mut self, orders: &mut mpsc::UnboundedReceiver<Order>) -> Result<(), ClientError> {
        let mut looks = tokio::time::interval(LOOK_EVERY);
        looks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            let next = tokio::select! {
                biased;
                _ = looks.tick() => {
                    look(&self.consumer, &mut self.targets);
                    continue;
                }
                order = orders.recv() => {
                    let Some(order) = order else { return Ok(()) };
                    self.take(order).await?;
                    continue;
                }
                next = self.consumer.next() => next,
            };
            match next {
                Ok(ConsumerEvent::Records(fetched)) => put(&self.consumer, &mut self.targets, fetched),
                Ok(_) => {}
                Err(error) if error.is_retriable() => {}
                Err(error) => return Err(error),
            }
        }
    }

    async fn take(&mut self, order: Order) -> Result<(), ClientError> {
        match order {
            // Where it is not read any more there is nothing to resume.
            Order::Resume(partition) => drop(self.consumer.resume(&partition)),
            Order::Read(reads) => {
                let from: Vec<_> = reads.iter().map(|(of, (from, _))| (of.clone(), *from)).collect();
                self.targets.extend(reads.into_iter().map(|(of, (_, target))| (of, (target, None))));
                self.consumer.assign(from).await?;
            }
            Order::Forget(partitions) => {
                partitions.iter().for_each(|of| drop(self.targets.remove(of)));
                self.consumer.unassign(partitions);
            }
        }
        Ok(())
    }
}

fn put(consumer: &Consumer, targets: &mut Targets, fetched: Fetched) {
    let Some((target, handed)) = targets.get_mut(&fetched.partition) else { return };
    *handed = Some(fetched.next_offset());
    let partition = fetched.partition.clone();
    let put = target.inbox.put(target.topic, fetched);
    if put.is_full {
        let _known = consumer.pause(&partition);
    }
    if put.wakes {
        // A worker that has ended is told of by its supervisor.
        let _ended = target.worker.cast(WorkerMessage::Work);
    }
}

/// Tells of partitions that have gone on without records: a task waits for those of which there is more.
fn look(consumer: &Consumer, targets: &mut Targets) {
    for (of, (target, handed)) in targets {
        let Ok(Some(at)) = consumer.position(of) else { continue };
        if handed.is_none_or(|handed| at > handed) {
            *handed = Some(at);
            if target.inbox.put_nothing(target.topic, at.0) {
                // A worker that has ended is told of by its supervisor.
                let _ended = target.worker.cast(WorkerMessage::Work);
            }
        }
    }
}

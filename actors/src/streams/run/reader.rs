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

/// The way to it; it ends when all of these are dropped.
#[derive(Clone, Debug)]
pub(super) struct Reader {
    resumed: mpsc::UnboundedSender<TopicPartition>,
}

impl Reader {
    /// Reads these partitions from there. What fails is told to the host.
    pub(super) async fn begin(
        client: &Client,
        reads: BTreeMap<TopicPartition, (SeekTo, ReadFor)>,
        host: ActorRef<HostMessage>,
        generation: u64,
    ) -> Result<Self, ClientError> {
        let consumer = Consumer::new(
            client,
            ConsumerSettings {
                isolation: IsolationLevel::ReadCommitted,
                // A position that is not there any more is not silently passed.
                offset_reset: OffsetReset::None,
                auto_commit: None,
                ..ConsumerSettings::default()
            },
        )?;
        let from: Vec<_> = reads.iter().map(|(of, (from, _))| (of.clone(), *from)).collect();
        consumer.assign(from).await?;
        // Each partition is in it once at most: it is paused before it can be resumed again.
        let (resumed, resumes) = mpsc::unbounded_channel();
        let targets = reads.into_iter().map(|(of, (_, target))| (of, (target, None))).collect();
        tokio::spawn(read(consumer, targets, resumes, host, generation));
        Ok(Self { resumed })
    }

    /// There is room for a partition that was paused.
    pub(super) fn resume(&self, partition: TopicPartition) {
        // Where it has ended nothing is read.
        let _ended = self.resumed.send(partition);
    }
}

/// What partitions are read for, and up to where they were handed over.
type Targets = BTreeMap<TopicPartition, (ReadFor, Option<Offset>)>;

async fn read(
    mut consumer: Consumer,
    mut targets: Targets,
    mut resumes: mpsc::UnboundedReceiver<TopicPartition>,
    host: ActorRef<HostMessage>,
    generation: u64,
) {
    let mut looks = tokio::time::interval(LOOK_EVERY);
    looks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        let next = tokio::select! {
            biased;
            _ = looks.tick() => {
                look(&consumer, &mut targets);
                continue;
            }
            resumed = resumes.recv() => {
                let Some(partition) = resumed else { break };
                // It is read by this consumer, which was asked to pause it.
                let _known = consumer.resume(&partition);
                continue;
            }
            next = consumer.next() => next,
        };
        match next {
            Ok(ConsumerEvent::Records(fetched)) => put(&consumer, &mut targets, fetched),
            Ok(_) => {}
            Err(error) if error.is_retriable() => {}
            Err(error) => {
                let error = format!("reading: {error}");
                let _ended = host.cast(HostMessage::Failed { generation, error });
                break;
            }
        }
    }
    consumer.close().await;
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

//! The actor of one task: gives records to it, and what comes of them to the transactor.
//!
//! When a commit is prepared, all that the task has done belongs to it; what it does then is held back until the commit is
//! over, so that the task need not stand still meanwhile.

mod commit;
mod queries;

use std::collections::BTreeMap;
use std::sync::Arc;

use millstream_transport::world::Clock;
use ractor::{Actor, ActorProcessingErr, ActorRef, RpcReplyPort};

use super::super::graph::{PartitionCounts, Topology};
use super::super::operator::RawRecord;
use super::super::query::Asked;
use super::super::scope::{Outgoing, StreamError};
use super::super::store::ByteStore;
use super::super::task::{Inputs, Remedy, Task, TaskId};
use super::host::HostMessage;
use super::inbox::{Came, Inbox};
use super::reader::Reader;
use super::settings::StreamsSettings;
use super::transactor::{Destined, Ends, Transactor};
use crate::events::{Events, StreamsTaskMetrics};
use crate::record::Record;
pub(super) use queries::AtStore;

/// Records processed before other messages of the actor are looked at.
const STEP_MAX: usize = 1_000;

/// Of so many records one is timed.
const MEASURE_EVERY: u64 = 64;

/// Records that are held back while a commit is under way; at so many the task stands still.
const HELD_MAX: usize = 100_000;

pub(super) enum WorkerMessage {
    /// There is something in the inbox, or there was more than one step's.
    Work,
    /// A commit begins: what was done belongs to it. After the last one nothing more is done.
    Prepare { is_last: bool },
    /// It is done.
    Committed(Arc<Ends>),
    /// The clock went on.
    Clock,
    /// A store is asked.
    Query(Asked, AtStore),
    /// What is committed of the stores is handed back, where they are of use, and the actor ends.
    End(RpcReplyPort<Option<Vec<Box<dyn ByteStore>>>>),
}

impl ractor::Message for WorkerMessage {}

impl std::fmt::Debug for WorkerMessage {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.write_str("WorkerMessage")
    }
}

/// What a worker begins with.
pub(super) struct Begins {
    pub(super) topology: Topology,
    pub(super) counts: PartitionCounts,
    pub(super) task: Task,
    /// The next offset of each topic that it reads.
    pub(super) positions: BTreeMap<usize, i64>,
    /// Up to where there is something to be read of each, as far as is known.
    pub(super) ends: BTreeMap<usize, i64>,
    pub(super) inbox: Arc<Inbox>,
    pub(super) transactor: Transactor,
    pub(super) reader: Reader,
    pub(super) host: ActorRef<HostMessage>,
    pub(super) generation: u64,
    pub(super) settings: StreamsSettings,
    pub(super) clock: Clock,
    pub(super) events: Events,
}

/// Whether anything is done. A record that was left out had cost a transaction: nothing more is done before it is behind a
/// commit, so that the next one that fails does not bring it back.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Standstill {
    /// They are.
    No,
    /// No commit has begun since.
    UntilPrepared,
    /// The commit that it is part of is under way.
    UntilCommitted,
    /// The task is given up: what it would do is another's.
    ForEver,
}

pub(super) struct Worker;

pub(super) struct Working {
    of: Begins,
    myself: ActorRef<WorkerMessage>,
    id: TaskId,
    inputs: Inputs,
    /// Bytes taken into the inputs since all of them were processed.
    taken_bytes: usize,
    /// A commit is under way, for what was read up to here.
    sealed: Option<BTreeMap<usize, i64>>,
    held: Vec<Destined>,
    /// Of their keys and values.
    held_bytes: usize,
    /// The positions of the last commit, with their words.
    said: BTreeMap<usize, (i64, String)>,
    /// The time that was told in each topic that another task reads.
    told_ms: BTreeMap<Arc<str>, i64>,
    /// Something was done since the last commit.
    is_dirty: bool,
    /// Something was processed since the last commit.
    has_worked: bool,
    /// An early commit was asked for.
    has_asked: bool,
    standstill: Standstill,
    /// Why it is of no use any more.
    failure: Option<StreamError>,
    /// What there is to be done about a failure of a flush.
    remedy: Option<Remedy>,
    metrics: StreamsTaskMetrics,
    /// Commits until the size of the stores is looked at again.
    until_sized: u32,
}

impl Actor for Worker {
    type Msg = WorkerMessage;
    type State = Working;
    type Arguments = Begins;

    async fn pre_start(
        &self,
        myself: ActorRef<WorkerMessage>,
        of: Begins,
    ) -> Result<Working, ActorProcessingErr> {
        let id = of.task.id();
        let metrics = StreamsTaskMetrics::of(&of.events, of.topology.application(), &id.to_string());
        Ok(Working {
            of,
            myself,
            id,
            inputs: Inputs::default(),
            taken_bytes: 0,
            sealed: None,
            held: Vec::new(),
            held_bytes: 0,
            said: BTreeMap::new(),
            told_ms: BTreeMap::new(),
            is_dirty: false,
            has_worked: false,
            has_asked: false,
            standstill: Standstill::No,
            failure: None,
            remedy: None,
            metrics,
            until_sized: 0,
        })
    }

    async fn handle(
        &self,
        myself: ActorRef<WorkerMessage>,
        message: WorkerMessage,
        working: &mut Working,
    ) -> Result<(), ActorProcessingErr> {
        let done = match message {
            WorkerMessage::End(reply) => {
                // Who does not wait any more builds them anew.
                let _ = reply.send(working.take_stores());
                myself.stop(None);
                return Ok(());
            }
            // It is to be begun again: what it would do counts no more.
            _ if working.failure.is_some() => return Ok(()),
            WorkerMessage::Work => working.work().await,
            WorkerMessage::Clock => working.clock().await,
            WorkerMessage::Prepare { is_last } => working.prepare(is_last).await,
            WorkerMessage::Query(asked, at) => {
                working.answer(asked, at);
                Ok(())
            }
            WorkerMessage::Committed(ends) => working.committed(&ends).await,
        };
        if let Err(error) = done {
            working.failed(error);
        }
        Ok(())
    }
}

impl Working {
    fn failed(&mut self, error: StreamError) {
        let (generation, task) = (self.of.generation, self.id);
        let remedy = self.remedy.take().or_else(|| self.of.task.remedy(&error));
        let message = match remedy {
            Some(remedy) => {
                let topics = self.of.task.topics().to_vec();
                HostMessage::Poisoned { generation, task, topics, remedy }
            }
            None => {
                let error = format!("task {task}: {error}");
                HostMessage::Failed { generation, error }
            }
        };
        self.failure = Some(error);
        // A host that has ended ends its workers.
        let _ended = self.of.host.cast(message);
    }

    /// The stores, without what was not committed. After one has failed they are to be opened again; they are closed then.
    fn take_stores(&mut self) -> Option<Vec<Box<dyn ByteStore>>> {
        let stores = self.of.task.take_bases();
        (!matches!(self.failure, Some(StreamError::Store(_)))).then_some(stores)
    }

    /// One step: what is here, but not for too long at once.
    async fn work(&mut self) -> Result<(), StreamError> {
        let mut done = 0;
        while done < STEP_MAX && self.may_hold_more() {
            done += self.drain(STEP_MAX - done)?;
            if self.standstill != Standstill::No {
                self.give().await;
                if self.standstill == Standstill::UntilPrepared {
                    self.ask_for_commit();
                }
                return Ok(());
            }
            if done >= STEP_MAX {
                break;
            }
            let (next, resumed) = self.of.inbox.take();
            resumed.into_iter().for_each(|partition| self.of.reader.resume(partition));
            let Some((topic, came)) = next else {
                self.give().await;
                return Ok(());
            };
            let fetched = match came {
                Came::Records(fetched) => fetched,
                Came::Nothing { next } => {
                    let position = self.of.positions.entry(topic).or_insert(next);
                    *position = (*position).max(next);
                    continue;
                }
            };
            self.is_dirty = true;
            self.taken_bytes = self.taken_bytes.saturating_add(fetched.bytes());
            for record in fetched.records() {
                // A batch whose bytes are wrong was refused by who read it; what is wrong here was made so by its producer.
                let record = record.map_err(|error| StreamError::Failed(error.to_string()))?;
                self.of.task.take_in(&mut self.inputs, topic, record.into())?;
            }
            self.of.positions.insert(topic, fetched.next_offset().0);
            self.of.ends.insert(topic, fetched.high_watermark.0);
            // What is held back goes on as it comes, and not all at the end.
            if self.sealed.is_none() {
                self.give().await;
            }
        }
        self.give().await;
        if self.may_hold_more() {
            let _ended = self.myself.cast(WorkerMessage::Work);
        }
        Ok(())
    }

    /// Processes what is here, as far as nothing earlier may still come, and so many records at most.
    fn drain(&mut self, most: usize) -> Result<usize, StreamError> {
        let mut done = 0;
        while done < most && self.standstill == Standstill::No && !self.waits_for_more() {
            let left_out = self.of.task.left_out();
            let is_measured = self.of.task.counts().processed.is_multiple_of(MEASURE_EVERY);
            let began = is_measured.then(|| self.of.clock.now());
            if !self.of.task.step(&mut self.inputs)? {
                self.taken_bytes = 0;
                break;
            }
            began.iter().for_each(|began| self.metrics.processed_in(began.elapsed()));
            if self.of.task.left_out() < left_out {
                self.standstill = Standstill::UntilPrepared;
            }
            self.has_worked = true;
            done += 1;
        }
        Ok(done)
    }

    /// Whether a topic of which nothing is here has more, which may be earlier than what is here of others. Where that is much
    /// already, it goes on.
    fn waits_for_more(&self) -> bool {
        if self.taken_bytes >= self.of.settings.input_max_bytes {
            return false;
        }
        let has_more = |(topic, next): (&usize, &i64)| {
            self.inputs.is_empty(*topic) && self.of.ends.get(topic).is_some_and(|end| next < end)
        };
        self.of.positions.iter().any(has_more)
    }

    async fn clock(&mut self) -> Result<(), StreamError> {
        if self.standstill == Standstill::ForEver {
            return Ok(());
        }
        self.of.task.clock(self.of.clock.wall_ms())?;
        self.give().await;
        Ok(())
    }

    /// Gives on what was made, or holds it back.
    async fn give(&mut self) {
        let sent = self.of.task.take_sent();
        self.is_dirty |= !sent.is_empty();
        let sent = sent.into_iter().map(destined);
        if self.sealed.is_some() {
            for record in sent {
                self.held_bytes = self.held_bytes.saturating_add(record.bytes());
                self.held.push(record);
            }
        } else {
            // A transactor that has ended is told of by the next commit.
            self.of.transactor.send(sent.collect()).await;
        }
        if self.of.task.uncommitted_bytes() >= self.of.settings.uncommitted_max_bytes {
            self.ask_for_commit();
        }
    }

    fn may_hold_more(&self) -> bool {
        self.held.len() < HELD_MAX && self.held_bytes < self.of.settings.uncommitted_max_bytes
    }

    fn ask_for_commit(&mut self) {
        if !std::mem::replace(&mut self.has_asked, true) {
            let _ended = self.of.host.cast(HostMessage::CommitEarly { generation: self.of.generation });
        }
    }
}

impl From<Record> for RawRecord {
    fn from(record: Record) -> Self {
        Self {
            offset: record.offset.0,
            timestamp_ms: record.timestamp_ms,
            key: record.key,
            value: record.value,
            headers: record.headers.into(),
        }
    }
}

fn destined(outgoing: Outgoing) -> Destined {
    let Outgoing { topic, partition, key, value, timestamp_ms, headers } = outgoing;
    let timestamp_ms = Some(timestamp_ms);
    Destined { topic, partition, key, value, timestamp_ms, headers, is_change: false }
}

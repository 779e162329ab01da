//! Puts tasks together: where they had come, their stores, their actors.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use futures::future::join_all;
use futures::stream::{self, StreamExt};
use ractor::{Actor, ActorCell, ActorRef};

use super::super::task::{Task, TaskId, inputs_of};
use super::super::time::TimeLeft;
use super::StreamsError;
use super::cancel::Cancelled;
use super::ground::{Ground, Partitions};
use super::host::{Application, HostMessage};
use super::inbox::Inbox;
use super::positions::{committed, time_left};
use super::reader::{ReadFor, Reads};
use super::remedies::Remedies;
use super::restore::{Until, bounds};
use super::standby::Standby;
use super::stores::{BringUp, Kept, Stores, StoresOf};
use super::worker::{Begins, Worker, WorkerMessage};
use crate::client::TopicPartition;
use crate::consumer::SeekTo;
use crate::ids::Offset;
use crate::partition::message::OffsetSpec;

/// Tasks of one process whose stores are brought up at a time.
const AT_ONCE: usize = 8;

/// What tasks begin with.
pub(super) struct Handed {
    pub(super) kept: Kept,
    /// Copies that were held of them.
    pub(super) copies: BTreeMap<TaskId, Standby>,
    pub(super) remedies: Remedies,
}

/// The actors of the tasks.
pub(super) type Workers = BTreeMap<TaskId, ActorRef<WorkerMessage>>;

/// Tasks that are put together, and what is to be read for them; stores of those that are not wanted any more.
#[derive(Default)]
pub(super) struct Begun {
    pub(super) workers: Workers,
    pub(super) reads: Reads,
    pub(super) kept: Kept,
}

/// Puts tasks together, over what is handed on, each as soon as its stores are brought up: the host is told of each. Nothing is
/// read for them yet.
pub(super) async fn begin(
    application: &Application,
    ground: &Ground,
    tasks: BTreeMap<TaskId, Cancelled>,
    mut handed: Handed,
    host: ActorRef<HostMessage>,
) {
    let ids: BTreeSet<TaskId> = tasks.keys().copied().collect();
    let copies = std::mem::take(&mut handed.copies).into_iter();
    let stopped = join_all(copies.map(|(id, copy)| async move { Some((id, copy.stop().await?)) })).await;
    handed.kept.extend(stopped.into_iter().flatten());
    let assembling = &Assembling { application, ground, host };
    let known = match assembling.known(&ids).await {
        Ok(known) => known,
        Err(error) => {
            // It is tried again with what was handed on.
            assembling.tell(Vec::new(), Ok(Begun { kept: handed.kept, ..Begun::default() }));
            return assembling.tell(ids.into_iter().collect(), Err(error));
        }
    };
    let (known, remedies) = (&known, &handed.remedies);
    let each = tasks.into_iter().map(|(id, cancelled)| {
        let stores = handed.kept.remove(&id);
        async move { (id, assembling.begin(id, stores, known, (remedies, &cancelled)).await) }
    });
    let mut each = stream::iter(each).buffer_unordered(AT_ONCE);
    while let Some((id, result)) = each.next().await {
        assembling.tell(vec![id], result);
    }
}

async fn spawn(begins: Begins, host: ActorCell) -> Result<ActorRef<WorkerMessage>, StreamsError> {
    let spawned = Actor::spawn_linked(None, Worker, begins, host).await;
    spawned.map(|(worker, _)| worker).map_err(|error| StreamsError::Failed(error.to_string()))
}

/// What is known of partitions.
struct Known {
    committed: BTreeMap<TopicPartition, (Offset, String)>,
    /// Where those begin of which nothing is committed.
    begins: BTreeMap<TopicPartition, Offset>,
    ends: BTreeMap<TopicPartition, Offset>,
}

impl Known {
    /// Where a task goes on in a partition. One that begins says with its first commit where, so that it is not new any more.
    fn next(&self, name: &TopicPartition) -> Option<Offset> {
        self.committed.get(name).map(|(next, _)| *next).or(self.begins.get(name).copied())
    }
}

struct Assembling<'a> {
    application: &'a Application,
    ground: &'a Ground,
    host: ActorRef<HostMessage>,
}

impl Assembling<'_> {
    async fn known(&self, ids: &BTreeSet<TaskId>) -> Result<Known, StreamsError> {
        let of: Vec<_> = ids.iter().flat_map(|id| self.ground.partitions(*id).into_values()).collect();
        let client = &self.application.client;
        let committed = committed(client, self.ground.topology.application(), &of).await?;
        let new: Vec<_> = of.iter().filter(|of| !committed.contains_key(*of)).cloned().collect();
        let begins = bounds(client, new, OffsetSpec::Earliest).await?;
        let ends = bounds(client, of, OffsetSpec::LastStable).await?;
        Ok(Known { committed, begins, ends })
    }

    fn tell(&self, tasks: Vec<TaskId>, result: Result<Begun, StreamsError>) {
        let workers = result.as_ref().map_or_else(|_| Workers::new(), |begun| begun.workers.clone());
        let (generation, result) = (self.ground.generation, Box::new(result));
        if self.host.cast(HostMessage::Begun { generation, tasks, result }).is_err() {
            workers.values().for_each(|worker| worker.stop(None));
        }
    }

    async fn begin(
        &self,
        id: TaskId,
        stores: Option<Stores>,
        known: &Known,
        (remedies, cancelled): (&Remedies, &Cancelled),
    ) -> Result<Begun, StreamsError> {
        let of = self.ground.partitions(id);
        let next = |name| known.next(name);
        let positions = of.iter().filter_map(|(topic, name)| Some((*topic, next(name)?.0))).collect();
        let named = of.values().filter_map(|name| Some((Arc::clone(&name.topic), next(name)?)));
        let of_stores = StoresOf { application: self.application, ground: self.ground, id };
        let mut bases = of_stores.open(stores).await?;
        let way = BringUp { positions: &named.collect(), until: Until::End, cancelled };
        if let Err(error) = of_stores.bring_up(&mut bases, way).await {
            if matches!(error, StreamsError::Client(_)) {
                // What was read before the cluster did not answer is there.
                self.tell(Vec::new(), Ok(Begun { kept: Kept::from([(id, bases)]), ..Begun::default() }));
            }
            return Err(error);
        }
        let mut begun = Begun::default();
        if cancelled.is_set() {
            begun.kept.insert(id, bases);
            return Ok(begun);
        }
        let begins = self.task((id, positions), bases, &of, known, remedies)?;
        let (positions, inbox) = (begins.positions.clone(), Arc::clone(&begins.inbox));
        let worker = spawn(begins, self.host.get_cell()).await?;
        for (topic, name) in of {
            let from = SeekTo::Offset(Offset(positions.get(&topic).copied().unwrap_or(0)));
            let target = ReadFor { topic, inbox: Arc::clone(&inbox), worker: worker.clone() };
            begun.reads.insert(name, (from, target));
        }
        begun.workers.insert(id, worker);
        Ok(begun)
    }

    fn task(
        &self,
        (id, positions): (TaskId, BTreeMap<usize, i64>),
        bases: Stores,
        of: &Partitions,
        known: &Known,
        remedies: &Remedies,
    ) -> Result<Begins, StreamsError> {
        let (Application { client, settings, .. }, ground) = (self.application, self.ground);
        let ends = of.iter().filter_map(|(topic, name)| Some((*topic, known.ends.get(name)?.0))).collect();
        let clock_ms = client.world.clock.wall_ms();
        let idle_ms = settings.idle_max.map(|idle| i64::try_from(idle.as_millis()).unwrap_or(i64::MAX));
        let left = self.time_left(id, of, known)?;
        let globals = &ground.feeding.tables;
        let mut task = Task::new(&ground.topology, id, bases, globals, &left, (clock_ms, idle_ms))?;
        remedies.tell(&mut task, &positions);
        Ok(Begins {
            topology: ground.topology.clone(),
            counts: ground.counts.clone(),
            task,
            positions,
            ends,
            inbox: Arc::new(Inbox::new(settings.input_max_bytes)),
            transactor: ground.transactor.clone(),
            reader: ground.reader.clone(),
            host: self.host.clone(),
            generation: ground.generation,
            settings: settings.clone(),
            clock: client.world.clock.clone(),
            events: client.events.clone(),
        })
    }

    /// What the task knew of time. An input that is new to one that has worked before (a topic came that a pattern takes) is
    /// where stream time is.
    fn time_left(&self, id: TaskId, of: &Partitions, known: &Known) -> Result<TimeLeft, StreamsError> {
        let mut had = TimeLeft::default();
        for (topic, name) in of {
            let Some((_, words)) = known.committed.get(name) else { continue };
            let TimeLeft { reached, idle, ahead_ms } = time_left(*topic, words)?;
            had.reached.extend(reached);
            had.idle.extend(idle);
            had.ahead_ms = had.ahead_ms.max(ahead_ms);
        }
        let all = inputs_of(&self.ground.topology, &self.ground.counts, id);
        Ok(had.over(all, had.now_ms()))
    }
}

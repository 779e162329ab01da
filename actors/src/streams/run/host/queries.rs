//! Questions to stores: which task has what is asked for.

use tokio::sync::oneshot;

use super::super::super::graph::{PartitionCounts, Topology};
use super::super::super::query::message::{StoreShape, TaskShape};
use super::super::super::query::{Asked, Place, QueryRefusal, StoreAnswered, find};
use super::super::super::task::TaskId;
use super::super::ground::Ground;
use super::super::worker::{AtStore, WorkerMessage};
use super::Hosting;
use super::tasks::Tasks;
use crate::record::key_hash::partition_for_key;

/// What runs in this process; nothing while it begins.
#[derive(Debug, Default)]
pub(in super::super) struct Here {
    /// The name of the process.
    pub(in super::super) instance: String,
    pub(in super::super) tasks: Vec<TaskShape>,
    pub(in super::super) stores: Vec<StoreShape>,
}

impl Hosting {
    /// Gives a question to the actor that has the store.
    pub(super) fn query(&self, asked: Asked) {
        let Some(ground) = &self.ground else {
            let text = "its stores are being brought up; ask again".to_owned();
            return asked.answer(Err(QueryRefusal::NotRunning(text)));
        };
        match find(&ground.topology, &ground.counts, &asked.query.store) {
            Err(refusal) => asked.answer(Err(refusal)),
            Ok(Place::Global(id)) => {
                let Some(table) = ground.feeding.tables.get(id.0).cloned() else {
                    let text = format!("{:?} is not fed here", asked.query.store);
                    return asked.answer(Err(QueryRefusal::UnknownStore(text)));
                };
                // Not by this actor, which commits for all.
                tokio::spawn(async move {
                    let sealed = table.ask(&asked.query).and_then(|page| page.sealed());
                    let answered = |body| StoreAnswered { partition: 0, next_partition: None, body };
                    asked.answer(sealed.map(answered));
                });
            }
            Ok(Place::Tasks { part, place, form, partitions }) => {
                let partition = wanted(&self.tasks, &asked, (part, partitions));
                let task = TaskId { part, partition };
                let with_copies = asked.query.allows_standby;
                let next_partition = following(&self.tasks, task, with_copies);
                let at = AtStore { place, form, next_partition };
                let copy = self.tasks.copies().get(&task).filter(|_| with_copies);
                match (self.tasks.workers().get(&task), copy) {
                    // Of one that has ended the question is dropped, which tells who asks.
                    (Some(worker), _) => drop(worker.cast(WorkerMessage::Query(asked, at))),
                    (None, Some(copy)) => copy.ask(asked, at),
                    (None, None) => {
                        let text = format!("this process does not run task {task}");
                        asked.answer(Err(QueryRefusal::NotHere(text)));
                    }
                }
            }
        }
    }

    pub(super) fn show(&self, reply: oneshot::Sender<Here>) {
        let mut here = self.ground.as_ref().map(|ground| here(ground, &self.tasks)).unwrap_or_default();
        here.instance = self.identity.as_ref().map(|identity| identity.instance.clone()).unwrap_or_default();
        // Who does not wait any more needs no answer.
        let _ = reply.send(here);
    }
}

/// The partition that is meant: the one that is named, that of the key, or the first here.
fn wanted(tasks: &Tasks, asked: &Asked, (part, partitions): (usize, i32)) -> i32 {
    let of_key = || {
        let count = u32::try_from(partitions).unwrap_or(0);
        let key = asked.query.ask.key()?;
        i32::try_from(partition_for_key(key, count)).ok()
    };
    let first = || following(tasks, TaskId { part, partition: -1 }, asked.query.allows_standby);
    asked.query.partition.or_else(of_key).or_else(first).unwrap_or(0)
}

/// The next partition of a sub-topology that is here, as a task or, if that will do, as a copy of its stores.
fn following(tasks: &Tasks, behind: TaskId, with_copies: bool) -> Option<i32> {
    let first = TaskId { partition: behind.partition.checked_add(1)?, ..behind };
    let task = tasks.workers().range(first..).next().map(|(id, _)| *id);
    let copy = tasks.copies().range(first..).next().map(|(id, _)| *id).filter(|_| with_copies);
    let next = task.into_iter().chain(copy).min()?;
    (next.part == behind.part).then_some(next.partition)
}

fn number(part: usize) -> u32 {
    u32::try_from(part).unwrap_or(u32::MAX)
}

fn here(ground: &Ground, running: &Tasks) -> Here {
    let shape =
        |id: &TaskId, is_standby| TaskShape { part: number(id.part), partition: id.partition, is_standby };
    let active = running.workers().keys().map(|id| shape(id, false));
    let tasks = active.chain(running.copies().keys().map(|id| shape(id, true)));
    Here { instance: String::new(), tasks: tasks.collect(), stores: ground.shapes.clone() }
}

/// The stores of a topology that can be asked.
pub(in super::super) fn shapes(topology: &Topology, counts: &PartitionCounts) -> Vec<StoreShape> {
    let stores = topology.graph.forms.keys().filter_map(|name| {
        let (part, partitions) = match find(topology, counts, name).ok()? {
            Place::Global(_) => (None, 1),
            Place::Tasks { part, partitions, .. } => (Some(number(part)), partitions),
        };
        Some(StoreShape { name: name.to_string(), part, partitions })
    });
    stores.collect()
}

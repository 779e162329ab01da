//! Commits, of all tasks at once, and what is done from time to time between them.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use tokio::time::Instant;

use super::super::super::task::TaskId;
use super::super::positions::Position;
use super::super::topics::{has_patterns, purge, resolve};
use super::super::transactor::Ends;
use super::super::worker::WorkerMessage;
use super::{HostMessage, Hosting};
use crate::client::TopicPartition;
use crate::ids::Offset;

/// How often what was read of the library's own topics is removed (`repartition.purge.interval.ms` of Kafka Streams).
const PURGE_EVERY: Duration = Duration::from_secs(30);

/// How often topics are looked for that a pattern takes.
const LOOK_EVERY: Duration = Duration::from_secs(30);

/// How long what the metadata say of a topic may lag behind what the group says of it.
const GROWN_WITHIN: Duration = Duration::from_secs(5);

/// A commit that is being prepared or is under way.
pub(super) struct Commit {
    began: Instant,
    left: BTreeSet<TaskId>,
    positions: Vec<Position>,
    reached: BTreeMap<TopicPartition, Offset>,
    is_dirty: bool,
    /// Tasks that have processed something.
    worked: BTreeSet<TaskId>,
    /// Tasks that end with it.
    given_up: BTreeSet<TaskId>,
    /// All tasks end with it, to begin again.
    is_last: bool,
}

impl Commit {
    /// Of these tasks, whose parts are to come.
    fn of(left: BTreeSet<TaskId>, given_up: BTreeSet<TaskId>) -> Self {
        Self {
            began: Instant::now(),
            left,
            positions: Vec::new(),
            reached: BTreeMap::new(),
            is_dirty: false,
            worked: BTreeSet::new(),
            given_up,
            is_last: false,
        }
    }
}

impl Hosting {
    pub(super) fn tick(&mut self) {
        self.tell(|_| WorkerMessage::Clock);
        self.prepare();
        self.purge();
        self.look_for_topics();
        self.tick_later();
    }

    /// Begins a commit, unless one is under way. Tasks that are given up do nothing more after their part of it.
    pub(super) fn prepare(&mut self) {
        if self.ground.is_none() || self.commit.is_some() {
            return;
        }
        let left: BTreeSet<TaskId> = self.tasks.workers().keys().copied().collect();
        let given_up: BTreeSet<TaskId> = left.iter().copied().filter(|id| self.is_given_up(*id)).collect();
        self.tell(|id| WorkerMessage::Prepare { is_last: given_up.contains(&id) });
        let is_empty = left.is_empty();
        self.commit = Some(Commit::of(left, given_up));
        if is_empty {
            self.committed(&Arc::new(Ends::new()));
        }
    }

    /// A task has processed something that the commit is of.
    pub(super) fn worked(&mut self, task: TaskId) {
        self.commit.iter_mut().for_each(|commit| _ = commit.worked.insert(task));
    }

    pub(super) fn prepared(&mut self, task: TaskId, positions: Vec<Position>, is_dirty: bool) {
        let (Some(commit), Some(ground)) = (&mut self.commit, &self.ground) else { return };
        commit.left.remove(&task);
        commit.is_dirty |= is_dirty || !positions.is_empty();
        commit.positions.extend(positions);
        if !commit.left.is_empty() {
            return;
        }
        if !commit.is_dirty {
            return self.committed(&Arc::new(Ends::new()));
        }
        let positions = std::mem::take(&mut commit.positions);
        commit.reached = positions.iter().map(|it| (it.of.clone(), it.next)).collect();
        let transactor = ground.transactor.clone();
        let (myself, generation) = (self.myself.clone(), self.generation);
        tokio::spawn(async move {
            let result = transactor.commit(positions).await.map(Arc::new);
            let _ended = myself.cast(HostMessage::Settled { generation, result });
        });
    }

    /// Whether a commit is under way that a task's part is in already: what the task does after that is of no matter for it, and
    /// all end once it is over. Broken off, it would have to be done again together with what failed now, over and over.
    pub(super) fn ends_after_commit(&mut self, task: TaskId) -> bool {
        let commit = self.commit.as_mut().filter(|commit| !commit.left.contains(&task));
        commit.is_some_and(|commit| {
            commit.is_last = true;
            true
        })
    }

    pub(super) fn committed(&mut self, ends: &Arc<Ends>) {
        let Some(commit) = self.commit.take() else { return };
        let Commit { began, reached, worked, given_up, is_dirty, is_last, .. } = commit;
        if is_dirty {
            self.metrics.committed(began.elapsed());
        }
        if !worked.is_empty() {
            self.failures = 0;
        }
        self.remedies.committed(&worked, |task, topic, offset| {
            let of = TopicPartition::new(topic, task.partition);
            reached.get(&of).is_some_and(|next| next.0 > offset)
        });
        let repartitions = &self.application.topology.graph.repartitions;
        self.read.extend(reached.into_iter().filter(|(of, _)| repartitions.contains_key(&of.topic)));
        self.tell(|_| WorkerMessage::Committed(Arc::clone(ends)));
        if is_last {
            return self.end_generation();
        }
        if !given_up.is_empty() {
            self.end_given_up(&given_up);
        }
        self.start_ready();
        self.reconcile();
    }

    fn purge(&mut self) {
        if self.read.is_empty() || self.is_purging || self.purged.elapsed() < PURGE_EVERY {
            return;
        }
        (self.is_purging, self.purged) = (true, Instant::now());
        let (client, read) = (self.application.client.clone(), std::mem::take(&mut self.read));
        let myself = self.myself.clone();
        tokio::spawn(async move {
            purge(client, read).await;
            let _ended = myself.cast(HostMessage::Purged);
        });
    }

    /// Begins anew where the group has tasks for this process of partitions that it does not know of yet.
    pub(super) fn look_for_growth(&mut self) {
        let (Some(ground), Some(wanted)) = (&self.ground, &self.wanted) else { return };
        if self.looked.elapsed() < GROWN_WITHIN || wanted.active.iter().all(|id| ground.has(*id)) {
            return;
        }
        self.looked = Instant::now();
        let generation = self.generation;
        let _ended = self.myself.cast(HostMessage::TopicsCame { generation });
    }

    fn look_for_topics(&mut self) {
        let Some(ground) = &self.ground else { return };
        if self.looked.elapsed() < LOOK_EVERY || !has_patterns(&ground.topology) {
            return;
        }
        self.looked = Instant::now();
        let (client, before) = (self.application.client.clone(), ground.topology.clone());
        let (myself, generation) = (self.myself.clone(), self.generation);
        tokio::spawn(async move {
            match resolve(&client, &before).await {
                Ok(now) if now.parts == before.parts => {}
                Ok(_) => {
                    let _ended = myself.cast(HostMessage::TopicsCame { generation });
                }
                Err(error) => tracing::warn!(%error, "topics that a pattern takes are not looked for"),
            }
        });
    }
}

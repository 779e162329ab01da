//! Which tasks run here, and which are to: they come and go one by one, and all others go on meanwhile.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use ractor::ActorId;

use super::super::super::task::TaskId;
use super::super::assembly::{self, Begun, Handed, Workers};
use super::super::cancel::Cancel;
use super::super::member::{Running, Wanted};
use super::super::standby::Standby;
use super::super::stores::Kept;
use super::super::worker::WorkerMessage;
use super::super::{StreamsError, StreamsState};
use super::generation::pause_after;
use super::{HostMessage, Hosting};

/// How long a worker may take to hand back its stores.
const END_WITHIN: Duration = Duration::from_secs(5);

/// Tasks of a process.
#[derive(Default)]
pub(super) struct Tasks {
    workers: Workers,
    /// Those that are being put together.
    beginning: BTreeMap<TaskId, Cancel>,
    /// No task is to begin before some time has passed.
    pub(super) waits: bool,
    /// How often in a row tasks could not be put together.
    failures: u32,
    /// Those that were put together and wait for the end of a commit.
    ready: Begun,
    /// Those that were given up and have not ended yet.
    ending: BTreeSet<TaskId>,
    copies: BTreeMap<TaskId, Standby>,
    /// Stores that nobody uses now.
    kept: Kept,
}

impl Tasks {
    pub(super) const fn workers(&self) -> &Workers {
        &self.workers
    }

    pub(super) const fn copies(&self) -> &BTreeMap<TaskId, Standby> {
        &self.copies
    }

    pub(super) fn has_worker(&self, id: ActorId) -> bool {
        let mut all = self.workers.values().chain(self.ready.workers.values());
        all.any(|known| known.get_id() == id)
    }

    pub(super) fn are_beginning(&self) -> bool {
        !self.beginning.is_empty()
    }

    fn are_none(&self) -> bool {
        self.workers.is_empty()
            && self.ready.workers.is_empty()
            && self.beginning.is_empty()
            && self.ending.is_empty()
            && self.copies.is_empty()
    }

    /// All that may still do something for a task.
    fn active(&self) -> BTreeSet<TaskId> {
        let begun = self.workers.keys().chain(self.ready.workers.keys());
        begun.chain(&self.ending).chain(self.beginning.keys()).copied().collect()
    }

    /// All workers; what is being put together is of no use any more.
    pub(super) fn take_workers(&mut self) -> Workers {
        self.waits = false;
        self.beginning.values().for_each(Cancel::cancel);
        let mut workers = std::mem::take(&mut self.workers);
        workers.extend(std::mem::take(&mut self.ready).workers);
        workers
    }

    pub(super) fn take_copies(&mut self) -> BTreeMap<TaskId, Standby> {
        std::mem::take(&mut self.copies)
    }

    pub(super) fn keep(&mut self, kept: Kept) {
        self.kept.extend(kept);
    }

    pub(super) fn forget_kept(&mut self) {
        self.kept.clear();
    }
}

/// Ends workers, and takes what they had committed.
pub(super) async fn end(workers: Workers) -> Kept {
    let mut kept = Kept::new();
    for (id, worker) in workers {
        match worker.call(WorkerMessage::End, Some(END_WITHIN)).await {
            Ok(ractor::rpc::CallResult::Success(stores)) => kept.extend(stores.map(|stores| (id, stores))),
            // It has died, or hangs: its stores are built anew.
            _ => worker.kill(),
        }
    }
    kept
}

impl Hosting {
    pub(super) fn assigned(&mut self, number: u64, wanted: Wanted) {
        self.heard = number;
        // What it said before it put this member out counts no more.
        if !self.is_out {
            self.wanted = Some(wanted);
            self.reconcile();
        }
    }

    /// The tasks that are to run here, and of which there is one here.
    fn to_run(&self) -> Option<Wanted> {
        if self.is_to_end() {
            return Some(Wanted::default());
        }
        let (wanted, ground) = (self.wanted.as_ref()?, self.ground.as_ref()?);
        // One of a partition that is not known here yet comes with the next generation.
        let mut wanted = wanted.clone();
        wanted.active.retain(|id| ground.has(*id));
        wanted.copies.retain(|id| ground.has(*id) && !wanted.active.contains(id));
        Some(wanted)
    }

    /// Whether a task that runs here is given up with the next commit.
    pub(super) fn is_given_up(&self, id: TaskId) -> bool {
        self.is_to_end() || self.wanted.as_ref().is_some_and(|wanted| !wanted.active.contains(&id))
    }

    /// Brings what runs here to what is to run here, as far as that can be done now.
    pub(super) fn reconcile(&mut self) {
        if self.is_to_end() && self.commit.is_none() && self.tasks.are_none() && !self.is_ending() {
            return self.leave();
        }
        let Some(wanted) = self.to_run() else { return };
        self.look_for_growth();
        if self.tasks.workers.keys().any(|id| !wanted.active.contains(id)) {
            self.prepare();
        }
        self.begin_tasks(&wanted);
        self.mind_copies(&wanted);
        // What is not to be used here is closed.
        self.tasks.kept.retain(|id, _| wanted.active.contains(id));
        let missing = wanted.active.iter().any(|id| !self.tasks.workers.contains_key(id));
        if !missing && !self.is_to_end() {
            self.state.send_if_modified(|state| {
                let changes = *state != StreamsState::Running;
                *state = StreamsState::Running;
                changes
            });
        }
        self.tell_what_runs();
    }

    fn begin_tasks(&mut self, wanted: &Wanted) {
        let unwanted = self.tasks.beginning.iter().filter(|(id, _)| !wanted.active.contains(id));
        unwanted.for_each(|(_, cancel)| cancel.cancel());
        let Some(ground) = self.ground.clone().filter(|_| !self.tasks.waits) else { return };
        let active = self.tasks.active();
        let missing: Vec<TaskId> = wanted.active.difference(&active).copied().collect();
        if missing.is_empty() {
            return;
        }
        let remedies = self.remedies.clone();
        let mut handed = Handed { kept: Kept::new(), copies: BTreeMap::new(), remedies };
        let mut signs = BTreeMap::new();
        for id in missing {
            handed.kept.extend(self.tasks.kept.remove_entry(&id));
            handed.copies.extend(self.tasks.copies.remove_entry(&id));
            let cancel = Cancel::default();
            signs.insert(id, cancel.sign());
            self.tasks.beginning.insert(id, cancel);
        }
        let (application, myself) = (Arc::clone(&self.application), self.myself.clone());
        tokio::spawn(async move {
            assembly::begin(&application, &ground, signs, handed, myself).await;
        });
    }

    pub(super) fn begun(&mut self, generation: u64, tasks: &[TaskId], result: Result<Begun, StreamsError>) {
        tasks.iter().for_each(|id| drop(self.tasks.beginning.remove(id)));
        if generation != self.generation {
            let Begun { workers, kept, .. } = result.unwrap_or_default();
            self.tasks.keep(kept);
            return self.end_late(workers);
        }
        match result {
            Ok(Begun { workers, reads, kept }) => {
                if !workers.is_empty() {
                    self.tasks.failures = 0;
                }
                self.tasks.ready.workers.extend(workers);
                self.tasks.ready.reads.extend(reads);
                self.tasks.keep(kept);
                self.start_ready();
                self.reconcile();
            }
            Err(error) if error.is_final() => self.give_up(&error),
            Err(error) => self.begin_again(&error.to_string()),
        }
    }

    /// Tasks that cannot begin are tried again alone: all others go on.
    fn begin_again(&mut self, error: &str) {
        let application = self.application.topology.application();
        tracing::warn!(application, error, "tasks do not begin yet");
        // What failed with others is tried again with them, and counts once.
        if self.tasks.waits {
            return;
        }
        self.tasks.failures += 1;
        let failures = self.tasks.failures;
        if self.gives_up_after(failures, error) {
            return;
        }
        self.tasks.waits = true;
        let (myself, generation, pause) = (self.myself.clone(), self.generation, pause_after(failures));
        tokio::spawn(async move {
            tokio::time::sleep(pause).await;
            let _ended = myself.cast(HostMessage::BeginAgain { generation });
        });
    }

    /// Lets those go that were put together: not while a commit is under way, which they have no part in. Those that are not
    /// wanted any more have done nothing, and end.
    pub(super) fn start_ready(&mut self) {
        let Some(ground) = self.ground.clone().filter(|_| self.commit.is_none()) else { return };
        let Begun { workers, mut reads, .. } = std::mem::take(&mut self.tasks.ready);
        let (unwanted, workers): (Workers, Workers) =
            workers.into_iter().partition(|(id, _)| self.is_given_up(*id));
        let not_read: BTreeSet<_> =
            unwanted.keys().flat_map(|id| ground.partitions(*id).into_values()).collect();
        reads.retain(|of, _| !not_read.contains(of));
        self.tasks.workers.extend(workers);
        if !reads.is_empty() {
            ground.reader.read(reads);
        }
        if !unwanted.is_empty() {
            self.end_alone(unwanted);
        }
    }

    /// Ends workers that were given up, whose last commit is over.
    pub(super) fn end_given_up(&mut self, ids: &BTreeSet<TaskId>) {
        let mut workers = Workers::new();
        for id in ids {
            workers.extend(self.tasks.workers.remove_entry(id));
        }
        if let Some(ground) = &self.ground {
            let read = workers.keys().flat_map(|id| ground.partitions(*id).into_values());
            ground.reader.forget(read.collect());
        }
        self.end_alone(workers);
    }

    /// Ends workers while others go on.
    fn end_alone(&mut self, workers: Workers) {
        let tasks: Vec<TaskId> = workers.keys().copied().collect();
        self.tasks.ending.extend(&tasks);
        let myself = self.myself.clone();
        tokio::spawn(async move {
            let kept = end(workers).await;
            let _ended = myself.cast(HostMessage::GaveUp { tasks, kept });
        });
    }

    pub(super) fn gave_up(&mut self, tasks: &[TaskId], kept: Kept) {
        tasks.iter().for_each(|id| _ = self.tasks.ending.remove(id));
        self.tasks.keep(kept);
        self.reconcile();
    }

    fn mind_copies(&mut self, wanted: &Wanted) {
        let unwanted: Vec<TaskId> =
            self.tasks.copies.keys().filter(|id| !wanted.copies.contains(id)).copied().collect();
        for id in unwanted {
            let Some(copy) = self.tasks.copies.remove(&id) else { continue };
            self.tasks.ending.insert(id);
            let myself = self.myself.clone();
            tokio::spawn(async move {
                let kept = copy.stop().await.map(|stores| (id, stores)).into_iter().collect();
                let _ended = myself.cast(HostMessage::GaveUp { tasks: vec![id], kept });
            });
        }
        let Some(ground) = &self.ground else { return };
        let active = self.tasks.active();
        for id in wanted.copies.difference(&active) {
            if !self.tasks.copies.contains_key(id) {
                let kept = self.tasks.kept.remove(id);
                let copy = Standby::begin(Arc::clone(&self.application), Arc::clone(ground), *id, kept);
                self.tasks.copies.insert(*id, copy);
            }
        }
    }

    fn tell_what_runs(&self) {
        if let Some(member) = &self.member {
            member.lacks(self.tasks.copies.iter().map(|(id, copy)| (*id, copy.lag())));
            let copies = self.tasks.copies.keys().copied().collect();
            // What is to run and does not yet may begin at any moment.
            let mut active = self.tasks.active();
            active.extend(self.wanted.iter().flat_map(|wanted| &wanted.active));
            member.runs(Running { active, copies, heard: self.heard });
        }
        self.metrics.tasks(self.tasks.workers.len());
    }

    pub(super) fn tell(&self, mut message: impl FnMut(TaskId) -> WorkerMessage) {
        for (id, worker) in &self.tasks.workers {
            // One that has ended is told of by supervision.
            let _ended = worker.cast(message(*id));
        }
    }
}

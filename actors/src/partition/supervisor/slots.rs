//! One place for each partition that the image has on this node.

use std::sync::Arc;
use std::time::Duration;

use actix::Addr;
use ractor::ActorRef;

use super::super::directory::ReplicaHandle;
use super::super::host::Begin;
use super::super::inbox::Inbox;
use super::super::replica::{Replica, ReplicaParts, Stop};
use super::super::reply::Reply;
use super::super::warden::{OnTheBench, ReplicaKilled};
use super::logs::OpenedLog;
use super::{State, SupervisorMessage};
use crate::events::ActorRestarted;
use crate::events::partition::RequestQuarantined;
use crate::ids::{LeaderEpoch, Member, NodeId, PartitionId};
use crate::image::assignment::Assignment;
use crate::kinds::REPLICA;
use crate::log::{LogDirectory, LogError};
use crate::supervision::Deaths;

/// How often a log that is still open is tried to be removed, and how long after the last try.
const DELETE_TRIES: u32 = 100;
const DELETE_AGAIN_AFTER: Duration = Duration::from_millis(50);

/// A partition's place on this node.
#[derive(Debug)]
pub(super) struct Slot {
    pub(super) core: usize,
    pub(super) life: u64,
    pub(super) stage: Stage,
    pub(super) assignment: Assignment,
    /// Epochs up to this one it never leads in again (rule 1).
    floor: Option<LeaderEpoch>,
    pub(super) inbox: Inbox,
    bench: Arc<OnTheBench>,
    deaths: Deaths,
    pub(super) directory: Option<Arc<LogDirectory>>,
    /// The image has it here no more: its log is removed once it has ended.
    removed: bool,
}

/// How far a replica is.
#[derive(Debug)]
pub(super) enum Stage {
    /// Its log waits to be opened, or is being opened. Leads to `Beginning`, or to `Resting`.
    Opening,
    /// Its core begins it. Leads to `Running`.
    Beginning,
    /// It works. Leads to `Ending`, or by a death to `Resting`.
    Running(Addr<Replica>),
    /// It was told to stop. Leads to `Deleting` or `Kept`, or to `Opening` where the image has it here again.
    Ending,
    /// It is gone, and its log stays as long as nobody leads the partition. Leads to `Deleting`, or to `Opening` where the
    /// image has it here again.
    Kept,
    /// It is gone, and its log is being removed. Leads out of the slots, or to `Opening` where the image has it here
    /// again.
    Deleting,
    /// It died, or its log could not be opened, and is begun anew later; or never, without a process that starts
    /// again.
    Resting,
}

impl State {
    /// The image has this partition here.
    pub(super) fn assign(&mut self, assignment: Assignment) {
        let partition = assignment.partition;
        if let Some(slot) = self.slots.get_mut(&partition) {
            slot.assignment = assignment;
            slot.removed = false;
            let assignment = slot.assignment.clone();
            slot.inbox.put(|completions| completions.assignment = Some(assignment));
            if self.kept.remove(&partition) {
                self.open_again(partition);
            }
            return;
        }
        let core = self.emptiest_core();
        self.lives += 1;
        let slot = Slot {
            core,
            life: self.lives,
            stage: Stage::Opening,
            assignment,
            floor: None,
            inbox: Inbox::default(),
            bench: Arc::default(),
            deaths: Deaths::default(),
            directory: None,
            removed: false,
        };
        self.slots.insert(partition, slot);
        self.to_open.push_back(partition);
    }

    fn emptiest_core(&self) -> usize {
        let mut counts = vec![0_usize; self.hosts.len().max(1)];
        for slot in self.slots.values() {
            if let Some(count) = counts.get_mut(slot.core) {
                *count += 1;
            }
        }
        counts.iter().enumerate().min_by_key(|(_, count)| **count).map_or(0, |(core, _)| core)
    }

    /// The image has this partition here no more.
    pub(super) fn remove(&mut self, myself: &ActorRef<SupervisorMessage>, partition: PartitionId) {
        let Some(slot) = self.slots.get_mut(&partition) else { return };
        slot.removed = true;
        match &slot.stage {
            Stage::Running(address) => {
                end(address);
                slot.stage = Stage::Ending;
                self.parts.replicas.remove(partition, slot.life);
            }
            Stage::Resting => self.forget(myself, partition),
            // It is ended when it has begun.
            Stage::Opening | Stage::Beginning | Stage::Ending | Stage::Kept | Stage::Deleting => {}
        }
    }

    /// The replica is gone, and its log goes, now or once the partition is led. Its place stays until then: a log that
    /// comes back is not to be removed.
    fn forget(&mut self, myself: &ActorRef<SupervisorMessage>, partition: PartitionId) {
        self.to_open.retain(|waiting| *waiting != partition);
        let may_go = self.may_go(partition);
        let Some(slot) = self.slots.get_mut(&partition) else { return };
        if !may_go && slot.directory.is_some() {
            slot.stage = Stage::Kept;
            self.kept.insert(partition);
            return;
        }
        slot.stage = Stage::Deleting;
        if let Some(directory) = slot.directory.take() {
            // Off this thread: removing large files may take a while.
            let threads = self.world.threads.clone();
            let (actor, life) = (myself.clone(), slot.life);
            tokio::spawn(async move {
                let mut tries_left = DELETE_TRIES;
                let removed = loop {
                    let directory = Arc::clone(&directory);
                    let removed = threads.run_blocking(move || directory.delete_log(partition)).await;
                    tries_left -= 1;
                    if !matches!(removed, Err(LogError::AlreadyOpen { .. })) || tries_left == 0 {
                        break removed;
                    }
                    // Its replica has stopped and is about to be dropped, on another thread.
                    tokio::time::sleep(DELETE_AGAIN_AFTER).await;
                };
                if let Err(error) = removed {
                    tracing::warn!(%partition, %error, "a log that is not needed any more could not be removed");
                }
                // A supervisor that is gone has no places.
                let _ = actor.cast(SupervisorMessage::Deleted { partition, life });
            });
        } else {
            self.slots.remove(&partition);
        }
    }

    /// Whether a log that the image has here no more may go: its topic is gone, or the partition is led by one that is
    /// there and beyond doubt. Else it may be all that there is.
    fn may_go(&self, partition: PartitionId) -> bool {
        self.seen.partition(partition).is_none_or(|known| known.is_led(self.seen.nodes()))
    }

    /// Removes logs that were kept until their partitions are led.
    pub(super) fn drop_kept(&mut self, myself: &ActorRef<SupervisorMessage>) {
        let kept: Vec<PartitionId> =
            self.kept.iter().copied().filter(|partition| self.may_go(*partition)).collect();
        for partition in kept {
            self.kept.remove(&partition);
            self.forget(myself, partition);
        }
    }

    /// The log is gone, or stays for good.
    pub(super) fn deleted(&mut self, partition: PartitionId, life: u64) {
        let Some(slot) = self.slots.get(&partition).filter(|slot| slot.life == life) else { return };
        if !matches!(slot.stage, Stage::Deleting) {
            return;
        }
        if slot.removed {
            self.slots.remove(&partition);
        } else {
            self.open_again(partition);
        }
    }

    /// The image has a replica here again that was to go: it begins anew, with the log that there is.
    fn open_again(&mut self, partition: PartitionId) {
        let Some(slot) = self.slots.get_mut(&partition) else { return };
        self.lives += 1;
        slot.life = self.lives;
        slot.stage = Stage::Opening;
        self.to_open.push_back(partition);
    }

    pub(super) fn log_opened(
        &mut self,
        myself: &ActorRef<SupervisorMessage>,
        partition: PartitionId,
        life: u64,
        opened: Result<OpenedLog, LogError>,
    ) {
        self.opening = self.opening.saturating_sub(1);
        let is_wanted = self.slots.get(&partition).is_some_and(|slot| slot.life == life);
        if !is_wanted || self.stopping.is_some() {
            return;
        }
        if self.slots.get(&partition).is_some_and(|slot| slot.removed) {
            let directory = opened.map(|opened| opened.directory).ok();
            if let (Some(slot), Some(directory)) = (self.slots.get_mut(&partition), directory) {
                slot.directory = Some(directory);
            }
            return self.forget(myself, partition);
        }
        match opened {
            Ok(opened) => self.begin(myself, partition, opened),
            Err(error) => self.rest(myself, partition, error.to_string()),
        }
    }

    fn begin(&mut self, myself: &ActorRef<SupervisorMessage>, partition: PartitionId, opened: OpenedLog) {
        let Some(slot) = self.slots.get_mut(&partition) else { return };
        let Some(host) = self.hosts.get(slot.core) else { return };
        let OpenedLog { directory, log, recovery, producers } = opened;
        let me =
            Member { node: self.parts.node, directory: directory.id(), incarnation: self.parts.incarnation };
        slot.directory = Some(directory);
        slot.stage = Stage::Beginning;
        slot.inbox = Inbox::default();
        slot.bench = Arc::default();
        let assignment = slot.assignment.clone();
        slot.inbox.put(|completions| completions.assignment = Some(assignment));
        let parts = ReplicaParts {
            partition,
            me,
            log,
            high_watermark: recovery.high_watermark,
            damage: recovery.damage,
            producers,
            floor: slot.floor,
            life: slot.life,
            inbox: slot.inbox.clone(),
            bench: Arc::clone(&slot.bench),
            shared: Arc::clone(&self.shared),
        };
        let (actor, life) = (myself.clone(), slot.life);
        let begun = move |address| {
            // A supervisor that is gone wants no replicas.
            let _ = actor.cast(SupervisorMessage::Begun { partition, life, address });
        };
        host.do_send(Begin { parts: Box::new(parts), begun: Box::new(begun) });
    }

    pub(super) fn begun(&mut self, partition: PartitionId, life: u64, address: Addr<Replica>) {
        let Some(slot) = self.slots.get_mut(&partition).filter(|slot| slot.life == life) else {
            return end(&address);
        };
        if slot.removed || self.stopping.is_some() {
            slot.stage = Stage::Ending;
            return end(&address);
        }
        let handle =
            ReplicaHandle { address: address.clone(), inbox: slot.inbox.clone(), core: slot.core, life };
        slot.stage = Stage::Running(address);
        self.parts.replicas.put(partition, handle);
    }

    pub(super) fn down(
        &mut self,
        myself: &ActorRef<SupervisorMessage>,
        partition: PartitionId,
        life: u64,
        clean: bool,
    ) {
        self.parts.replicas.remove(partition, life);
        let Some(slot) = self.slots.get_mut(&partition).filter(|slot| slot.life == life) else { return };
        // Whatever it led or followed in, it was there: nobody leads in these epochs after it in this life.
        slot.floor = slot.floor.max(Some(slot.assignment.epoch));
        if slot.removed {
            slot.stage = Stage::Resting;
            return self.forget(myself, partition);
        }
        if self.stopping.is_some() {
            slot.stage = Stage::Resting;
            return;
        }
        if clean {
            return self.open_again(partition);
        }
        if let Some(fingerprint) = slot.bench.suspect() {
            let me = self.parts.node;
            let others: Vec<_> =
                slot.assignment.replicas.iter().copied().filter(|node| *node != me).collect();
            self.died_of(ReplicaKilled { partition, fingerprint }, &others);
        }
        self.rest(myself, partition, "it panicked; the log line before this tells where".to_owned());
    }

    /// A replica died of a request: the others are not to (rule 10).
    fn died_of(&self, killed: ReplicaKilled, others: &[NodeId]) {
        for node in others {
            self.parts.warnings.warn(*node, killed);
        }
        if self.parts.quarantine.killed(killed) {
            let ReplicaKilled { partition, fingerprint } = killed;
            self.parts.events.emit(RequestQuarantined { partition, fingerprint });
        }
    }

    /// A replica died or could not be begun: it is begun anew after a while, unless that happens too often.
    fn rest(&mut self, myself: &ActorRef<SupervisorMessage>, partition: PartitionId, cause: String) {
        let now = self.now();
        let Some(slot) = self.slots.get_mut(&partition) else { return };
        slot.stage = Stage::Resting;
        self.lives += 1;
        slot.life = self.lives;
        let Some(after) = slot.deaths.died(now, &REPLICA.restarts) else {
            tracing::error!(%partition, cause, "a replica died too often and stays away until the node is restarted");
            let epoch = slot.assignment.epoch;
            return self.give_up(partition, epoch);
        };
        let name = format!("{}-{}", slot.assignment.topic, partition.index);
        self.parts.events.emit(ActorRestarted { kind: REPLICA.name, name: &name, cause, after });
        let (actor, life) = (myself.clone(), slot.life);
        tokio::spawn(async move {
            tokio::time::sleep(after).await;
            let _ = actor.cast(SupervisorMessage::Retry { partition, life });
        });
    }

    pub(super) fn retry(&mut self, partition: PartitionId, life: u64) {
        let slot = self.slots.get_mut(&partition).filter(|slot| slot.life == life);
        if let Some(slot) = slot
            && matches!(slot.stage, Stage::Resting)
            && self.stopping.is_none()
        {
            slot.stage = Stage::Opening;
            self.to_open.push_back(partition);
        }
    }

    /// Ends all replicas.
    pub(super) fn stop(&mut self, stopped: tokio::sync::oneshot::Sender<()>) {
        self.stopping = Some(stopped);
        self.to_open.clear();
        for (partition, slot) in &mut self.slots {
            if let Stage::Running(address) = &slot.stage {
                end(address);
                self.parts.replicas.remove(*partition, slot.life);
                slot.stage = Stage::Ending;
            }
        }
    }

    pub(super) fn finish_stop(&mut self, myself: &ActorRef<SupervisorMessage>) {
        let busy = |slot: &Slot| matches!(slot.stage, Stage::Beginning | Stage::Ending | Stage::Running(_));
        if self.stopping.is_none() || self.opening > 0 || self.slots.values().any(busy) {
            return;
        }
        if let Some(stopped) = self.stopping.take() {
            // Who waits may have given up.
            let _ = stopped.send(());
            myself.stop(None);
        }
    }
}

/// Tells a replica to stop. It is heard of when it is down.
fn end(address: &Addr<Replica>) {
    // A completion: one at most is ever sent to a replica.
    address.do_send(Stop(Reply::new(|_| ())));
}

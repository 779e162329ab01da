//! Looks after the replicas of a node: begins them where the image has them, ends them where it has not, hears of
//! their deaths, and speaks for them to the controller.
//!
//! Runs on the control thread. Logs are opened off it, a few at a time. Each replica has a core for its whole life,
//! the one that had fewest then; a replica begun anew after a death stays there.

mod handle;
mod logs;
mod proposals;
mod resignations;
mod said;
mod slots;

#[cfg(test)]
mod tests;

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::sync::Arc;
use std::time::Duration;

use actix::Addr;
use millstream_transport::world::World;
use millstream_transport::world::watch;
use ractor::{Actor, ActorProcessingErr, ActorRef};
use tokio::sync::oneshot;

pub use handle::{CannotSupervise, ReplicaSupervisor, SupervisorParts};
pub use logs::{RecoveredLogs, recover};

use self::logs::OpenedLog;
use self::proposals::Proposals;
use self::resignations::Resignations;
use self::said::Said;
use self::slots::Slot;
use super::controller_link::Altered;
use super::host::CoreHost;
use super::replica::{Replica, ReplicaShared};
use crate::ids::PartitionId;
use crate::image::{Image, delta};
use crate::log::LogError;
use crate::supervision::roster::Seat;

/// What the supervisor hears.
#[derive(Debug)]
enum SupervisorMessage {
    /// The image has changed. Answered when it was looked at, so that one wake-up at most is under way.
    ImageChanged(oneshot::Sender<()>),
    /// A log was opened, or not.
    LogOpened { partition: PartitionId, life: u64, opened: Box<Result<OpenedLog, LogError>> },
    /// A replica was begun.
    Begun { partition: PartitionId, life: u64, address: Addr<Replica> },
    /// A replica is gone.
    Down { partition: PartitionId, life: u64, clean: bool },
    /// The log of a replica that the image has here no more is removed, or cannot be.
    Deleted { partition: PartitionId, life: u64 },
    /// The wait after a death is over.
    Retry { partition: PartitionId, life: u64 },
    /// Replicas have said something: it is taken from [`Said`].
    Said,
    /// What became of the changes under way.
    Altered(Altered),
    /// End all replicas cleanly, then say so.
    Stop(oneshot::Sender<()>),
}

impl ractor::Message for SupervisorMessage {}

/// The supervisor's actor.
#[derive(Debug)]
struct Supervisor;

/// The supervisor's state.
#[derive(Debug)]
struct State {
    parts: SupervisorParts,
    world: World,
    hosts: Vec<Addr<CoreHost>>,
    shared: Arc<ReplicaShared>,
    images: watch::Receiver<Arc<Image>>,
    seen: Arc<Image>,
    slots: BTreeMap<PartitionId, Slot>,
    recovered: RecoveredLogs,
    /// Partitions whose log waits to be opened, and how many are being opened.
    to_open: VecDeque<PartitionId>,
    opening: usize,
    /// Partitions in [`Stage::Kept`](slots::Stage::Kept).
    kept: BTreeSet<PartitionId>,
    lives: u64,
    said: Arc<Said>,
    proposals: Proposals,
    resignations: Resignations,
    stopping: Option<oneshot::Sender<()>>,
    seat: Seat,
}

impl Actor for Supervisor {
    type Msg = SupervisorMessage;
    type State = State;
    type Arguments = State;

    async fn pre_start(&self, _: ActorRef<Self::Msg>, state: State) -> Result<State, ActorProcessingErr> {
        Ok(state)
    }

    async fn handle(
        &self,
        myself: ActorRef<Self::Msg>,
        message: SupervisorMessage,
        state: &mut State,
    ) -> Result<(), ActorProcessingErr> {
        let _turn = state.seat.turn();
        match message {
            SupervisorMessage::ImageChanged(seen) => {
                state.image_changed(&myself);
                // Who asked may be gone.
                let _ = seen.send(());
            }
            SupervisorMessage::LogOpened { partition, life, opened } => {
                state.log_opened(&myself, partition, life, *opened);
            }
            SupervisorMessage::Begun { partition, life, address } => state.begun(partition, life, address),
            SupervisorMessage::Down { partition, life, clean } => state.down(&myself, partition, life, clean),
            SupervisorMessage::Deleted { partition, life } => state.deleted(partition, life),
            SupervisorMessage::Retry { partition, life } => state.retry(partition, life),
            SupervisorMessage::Said => state.listen(),
            SupervisorMessage::Altered(altered) => state.altered(altered),
            SupervisorMessage::Stop(stopped) => state.stop(stopped),
        }
        state.open_logs(&myself);
        state.propose(&myself);
        state.finish_stop(&myself);
        Ok(())
    }
}

impl State {
    fn now(&self) -> Duration {
        self.world.clock.now().saturating_duration_since(self.parts.origin)
    }

    /// Takes what replicas have said.
    fn listen(&mut self) {
        let heard = self.said.take();
        for (partition, change) in heard.proposals {
            self.proposals.put(partition, change);
        }
        for (partition, (epoch, reason)) in heard.resignations {
            self.resigned(partition, epoch, reason);
        }
    }

    /// Brings the replicas in line with what the image says of this node.
    fn image_changed(&mut self, myself: &ActorRef<SupervisorMessage>) {
        let image = Arc::clone(&self.images.borrow_and_update());
        let delta = delta(&self.seen, &image, self.parts.node);
        self.seen = image;
        if self.stopping.is_some() {
            return;
        }
        for partition in delta.removed {
            self.remove(myself, partition);
        }
        for assignment in delta.changed {
            self.assign(assignment);
        }
        self.drop_kept(myself);
        self.drop_strays();
    }
}

//! The entrance: what is asked of transaction coordinators, from any thread of a node.

use std::sync::Arc;

use futures::FutureExt;
use futures::future::BoxFuture;
use ractor::{Actor, ActorCell, ActorRef, SpawnErr};
use tokio::sync::{Semaphore, oneshot};

use super::doors::TransactionDoors;
pub use super::request::ListedTransaction;
use super::request::TransactionRequest;
use super::state::{Beginning, Ending, ProducerEpoch, TopicPartition, Transaction};
use super::supervisor::{SupervisorMessage, TransactionSupervisor, not_coordinator};
use crate::error::{ErrorCode, Refusal};
use crate::group::doors::{OwnershipLease, find_coordinator};
use crate::group::front::coordinator_partition;
use crate::group::request::Reply;
use crate::ids::{LeaderEpoch, NodeId};
use crate::kinds::TRANSACTION_SUPERVISOR;
use crate::supervision::roster::{Entry, waiting};

/// The longest transactional id, in bytes.
const MAX_ID_BYTES: usize = 1_024;

type Answer<T> = BoxFuture<'static, Result<T, Refusal>>;

/// The transaction coordinators of a node. Cheap to clone; any thread may ask.
#[derive(Clone, Debug)]
pub struct TransactionFront {
    doors: TransactionDoors,
    supervisor: ActorRef<SupervisorMessage>,
    places: Arc<Semaphore>,
}

impl TransactionFront {
    /// Starts the supervisor of the node's coordinators, under `parent` if there is one. On the control thread.
    pub async fn start(doors: TransactionDoors, parent: Option<ActorCell>) -> Result<Self, SpawnErr> {
        let places = Arc::new(Semaphore::new(doors.settings.borrow().max_waiting));
        let entry = Entry::new(TRANSACTION_SUPERVISOR, "").waiting(waiting([&places]));
        let arguments = (doors.clone(), doors.events.seat(entry));
        let started = match parent {
            Some(parent) => Actor::spawn_linked(None, TransactionSupervisor, arguments, parent).await,
            None => Actor::spawn(None, TransactionSupervisor, arguments).await,
        };
        started.map(|(supervisor, _)| Self { doors, supervisor, places })
    }

    /// This node leads a partition of `__transaction_state` in this epoch. A later epoch ends what an earlier one began.
    pub fn lead(&self, partition: i32, epoch: LeaderEpoch, lease: Arc<dyn OwnershipLease>) {
        self.tell(SupervisorMessage::Lead { partition, epoch, lease });
    }

    /// This node does not lead the partition any more, in this epoch or an earlier one.
    pub fn resign(&self, partition: i32, epoch: LeaderEpoch) {
        self.tell(SupervisorMessage::Resign { partition, epoch });
    }

    /// Ends all coordinators; what waits is refused.
    pub async fn stop(&self) {
        // It has ended already if this fails.
        let _ended = self.supervisor.stop_and_wait(None, None).await;
    }

    /// Which node coordinates a transactional id. Makes `__transaction_state` where it is not there.
    pub fn find(&self, id: &str) -> Answer<NodeId> {
        let (checked, coordinators) = (check_id(id), Arc::clone(&self.doors.coordinators));
        let id = id.to_owned();
        async move {
            checked?;
            find_coordinator(&*coordinators, &id, "__transaction_state").await
        }
        .boxed()
    }

    /// Which node coordinates a transactional id, if that is known here now.
    #[must_use]
    pub fn known_coordinator(&self, id: &str) -> Option<NodeId> {
        let partition = coordinator_partition(id, self.doors.coordinators.partitions()?);
        self.doors.coordinators.leader(partition)
    }

    /// A producer begins: gets its id and epoch.
    pub fn begin(&self, id: &str, beginning: Beginning) -> Answer<ProducerEpoch> {
        self.ask(id, |reply| TransactionRequest::Begin { beginning, fresh: None, reply })
    }

    /// Partitions become part of the open transaction.
    pub fn add(
        &self,
        id: &str,
        producer: ProducerEpoch,
        partitions: Vec<TopicPartition>,
        client_version: i16,
    ) -> Answer<()> {
        self.ask(id, |reply| TransactionRequest::Add { producer, partitions, client_version, reply })
    }

    /// Whether partitions are part of the open transaction.
    pub fn verify(&self, id: &str, producer: ProducerEpoch, partitions: Vec<TopicPartition>) -> Answer<()> {
        self.ask(id, |reply| TransactionRequest::Verify { producer, partitions, reply })
    }

    /// A producer ends its transaction. Answered when the outcome is decided, with what it goes on with.
    pub fn end(&self, id: &str, ending: Ending) -> Answer<ProducerEpoch> {
        self.ask(id, |reply| TransactionRequest::End { ending, fresh: None, reply })
    }

    /// How a transactional id stands.
    pub fn describe(&self, id: &str) -> Answer<Transaction> {
        self.ask(id, |reply| TransactionRequest::Describe { reply })
    }

    /// The transactional ids that this node coordinates.
    pub fn list(&self) -> Answer<Vec<ListedTransaction>> {
        self.place(|reply| SupervisorMessage::List { reply })
    }

    fn ask<T: Send + 'static>(
        &self,
        id: &str,
        wrap: impl FnOnce(Reply<Result<T, Refusal>>) -> TransactionRequest,
    ) -> Answer<T> {
        let partitions = self.doors.coordinators.partitions().ok_or_else(|| not_coordinator(0));
        match check_id(id).and(partitions) {
            Ok(partitions) => {
                let (partition, id) = (coordinator_partition(id, partitions), Arc::from(id));
                self.place(|reply| SupervisorMessage::Request { partition, id, request: wrap(reply) })
            }
            Err(refusal) => std::future::ready(Err(refusal)).boxed(),
        }
    }

    /// Sends what `wrap` makes of the place for its answer, and waits for that.
    fn place<T: Send + 'static>(
        &self,
        wrap: impl FnOnce(Reply<Result<T, Refusal>>) -> SupervisorMessage,
    ) -> Answer<T> {
        let Ok(place) = Arc::clone(&self.places).try_acquire_owned() else {
            let text = "as many requests of transactions wait here as may; try again later";
            return std::future::ready(Err(Refusal::new(ErrorCode::ThrottlingQuotaExceeded, text))).boxed();
        };
        let (to, from) = oneshot::channel();
        self.tell(wrap(Reply::new(to, place)));
        let ended = "the coordinator ended before it answered; find it again and ask again";
        let refusal = Refusal::new(ErrorCode::CoordinatorNotAvailable, ended);
        from.map(move |answer| answer.unwrap_or(Err(refusal))).boxed()
    }

    fn tell(&self, message: SupervisorMessage) {
        // Fails only when the supervisor has ended, and then there is nothing to coordinate.
        let _ended = self.supervisor.cast(message);
    }
}

fn check_id(id: &str) -> Result<(), Refusal> {
    if id.is_empty() || id.len() > MAX_ID_BYTES {
        let text =
            format!("a transactional.id has between 1 and {MAX_ID_BYTES} bytes, this one {}", id.len());
        return Err(Refusal::new(ErrorCode::InvalidRequest, text));
    }
    Ok(())
}

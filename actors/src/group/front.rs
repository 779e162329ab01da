//! The entrance: what clients ask of groups, from any thread of a node.

mod streams;
mod transactional;

use std::collections::BTreeSet;
use std::sync::Arc;

use futures::FutureExt;
use futures::future::BoxFuture;
use millstream_transport::message::Message;
use ractor::{Actor, ActorCell, ActorRef, SpawnErr};
use tokio::sync::{Semaphore, oneshot};

use super::classic::{
    ClassicDescription, Committer, EachLeft, Heartbeat, JoinGroup, LeaveGroup, SyncGroup, Synced,
};
pub use super::classic_part::JoinAnswer;
pub use super::coordinator::ShownGroup;
pub use super::doors::coordinator_partition;
use super::doors::{GroupDoors, OwnershipLease, PartOfTransaction, find_coordinator};
use super::following::OFFSETS_TOPIC;
use super::message::{
    DeleteGroup, DescribeGroup, FindCoordinator, GroupHeartbeat, ListGroups, OffsetCommit, OffsetDelete,
    OffsetFetch,
};
pub use super::request::Described;
use super::request::{ClassicRequest, GroupRequest, Reply};
use super::supervision::SupervisorMessage;
use super::supervisor::{GroupSupervisor, not_coordinator};
use super::topics::TopicRights;
use crate::error::{ErrorCode, Refusal};
use crate::ids::{LeaderEpoch, NodeId, PartitionId, ProducerId};
use crate::kinds::GROUP_SUPERVISOR;
use crate::record::EndMarker;
use crate::supervision::roster::{Entry, waiting};

/// The longest name of a group, in bytes.
const MAX_GROUP_BYTES: usize = 1_024;

/// The group coordinators of a node. Cheap to clone; any thread may ask.
#[derive(Clone, Debug)]
pub struct GroupFront {
    doors: GroupDoors,
    supervisor: ActorRef<SupervisorMessage>,
    places: Arc<Semaphore>,
    /// For those that may wait as long as a rebalance: they leave the others their places.
    long_places: Arc<Semaphore>,
}

/// A message to groups.
pub trait GroupMessage: Message {
    /// Asks it; `host` is where it comes from.
    fn ask(self, front: &GroupFront, host: &str) -> BoxFuture<'static, Self::Answer>;
}

impl GroupFront {
    /// Starts the supervisor of the node's coordinators, under `parent` if there is one. On the control thread.
    pub async fn start(doors: GroupDoors, parent: Option<ActorCell>) -> Result<Self, SpawnErr> {
        let places = || Arc::new(Semaphore::new(doors.settings.borrow().max_waiting));
        let (places, long_places) = (places(), places());
        let entry = Entry::new(GROUP_SUPERVISOR, "").waiting(waiting([&places, &long_places]));
        let arguments = (doors.clone(), doors.events.seat(entry));
        let started = match parent {
            Some(parent) => Actor::spawn_linked(None, GroupSupervisor, arguments, parent).await,
            None => Actor::spawn(None, GroupSupervisor, arguments).await,
        };
        started.map(|(supervisor, _)| Self { doors, supervisor, places, long_places })
    }

    /// This node leads a partition of `__consumer_offsets` in this epoch: its groups are read and coordinated here. A
    /// later epoch ends what an earlier one began.
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

    /// Asks. Every question gets one answer; how long one may take is up to who asks.
    pub fn handle<M: GroupMessage>(&self, host: &str, message: M) -> BoxFuture<'static, M::Answer> {
        message.ask(self, host)
    }

    fn tell(&self, message: SupervisorMessage) {
        // Fails only when the supervisor has ended, and then there is nothing to coordinate.
        let _ended = self.supervisor.cast(message);
    }

    /// Sends what `wrap` makes of the place for its answer, and waits for that.
    fn ask<T: Send + 'static>(
        &self,
        wrap: impl FnOnce(Reply<Result<T, Refusal>>) -> SupervisorMessage,
    ) -> BoxFuture<'static, Result<T, Refusal>> {
        self.place(&self.places, wrap).map(Result::flatten).boxed()
    }

    /// The same for any answer.
    fn place<T: Send + 'static>(
        &self,
        places: &Arc<Semaphore>,
        wrap: impl FnOnce(Reply<T>) -> SupervisorMessage,
    ) -> BoxFuture<'static, Result<T, Refusal>> {
        let Ok(place) = Arc::clone(places).try_acquire_owned() else {
            let text = "as many requests of groups wait here as may; try again later";
            return std::future::ready(Err(Refusal::new(ErrorCode::ThrottlingQuotaExceeded, text))).boxed();
        };
        let (to, from) = oneshot::channel();
        self.tell(wrap(Reply::new(to, place)));
        let ended = "the coordinator ended before it answered; find it again and ask again";
        let refusal = Refusal::new(ErrorCode::CoordinatorNotAvailable, ended);
        from.map(move |answer| answer.map_err(|_| refusal)).boxed()
    }

    fn ask_group<T: Send + 'static>(
        &self,
        group: &str,
        wrap: impl FnOnce(Reply<Result<T, Refusal>>) -> GroupRequest,
    ) -> BoxFuture<'static, Result<T, Refusal>> {
        match self.partition_of(group) {
            Ok(partition) => {
                self.ask(|reply| SupervisorMessage::Request { partition, request: Box::new(wrap(reply)) })
            }
            Err(refusal) => std::future::ready(Err(refusal)).boxed(),
        }
    }

    fn partition_of(&self, group: &str) -> Result<i32, Refusal> {
        check_name(group)?;
        let partitions = self.doors.coordinators.partitions().ok_or_else(|| not_coordinator(0))?;
        Ok(coordinator_partition(group, partitions))
    }
}

/// The classic protocol: what Kafka's clients ask through their own listener.
impl GroupFront {
    /// A member joins. Answered when all have joined: it may take as long as the longest rebalance timeout.
    pub fn join(&self, group: &str, request: JoinGroup) -> BoxFuture<'static, JoinAnswer> {
        let asking = self.ask_as(&self.long_places, group, |reply| ClassicRequest::Join { request, reply });
        asking.map(|answer| answer.unwrap_or_else(|refusal| ("".into(), Err(refusal)))).boxed()
    }

    /// A member asks for its assignment.
    pub fn sync(&self, group: &str, request: SyncGroup) -> BoxFuture<'static, Result<Synced, Refusal>> {
        let asking = self.ask_as(&self.long_places, group, |reply| ClassicRequest::Sync { request, reply });
        asking.map(Result::flatten).boxed()
    }

    /// A member lives.
    pub fn classic_heartbeat(
        &self,
        group: &str,
        request: Heartbeat,
    ) -> BoxFuture<'static, Result<(), Refusal>> {
        self.ask_as(&self.places, group, |reply| ClassicRequest::Heartbeat { request, reply })
            .map(Result::flatten)
            .boxed()
    }

    /// Members leave.
    pub fn leave(&self, group: &str, request: LeaveGroup) -> BoxFuture<'static, Result<EachLeft, Refusal>> {
        self.ask_as(&self.places, group, |reply| ClassicRequest::Leave { request, reply })
            .map(Result::flatten)
            .boxed()
    }

    /// The groups that this node coordinates, of both protocols.
    pub fn list(&self) -> BoxFuture<'static, Result<Vec<(String, ShownGroup)>, Refusal>> {
        self.ask(|reply| SupervisorMessage::List { reply })
    }

    /// Everything about a group of the classic protocol.
    pub fn describe_classic(&self, group: &str) -> BoxFuture<'static, Result<ClassicDescription, Refusal>> {
        self.ask_as(&self.places, group, |reply| ClassicRequest::Describe { reply })
            .map(Result::flatten)
            .boxed()
    }

    /// Everything about a group of KIP-848, and which protocol its members speak.
    pub fn describe(&self, group: &str) -> BoxFuture<'static, Result<Described, Refusal>> {
        let request = DescribeGroup { group: group.to_owned() };
        self.ask_group(group, |reply| GroupRequest::Describe { request, reply })
    }

    /// Commits offsets, from a member of either protocol or from outside.
    pub fn commit(
        &self,
        request: OffsetCommit,
        committer: Committer,
    ) -> BoxFuture<'static, <OffsetCommit as Message>::Answer> {
        let group = request.group.clone();
        self.ask_group(&group, |reply| GroupRequest::Commit { request, committer: Some(committer), reply })
    }

    /// Reads committed offsets for a member, which has to be one, in its epoch; a group of the classic protocol does not
    /// ask who reads.
    pub fn fetch_as(
        &self,
        request: OffsetFetch,
        reader: Option<(String, i32)>,
    ) -> BoxFuture<'static, <OffsetFetch as Message>::Answer> {
        let group = request.group.clone();
        self.ask_group(&group, |reply| GroupRequest::Fetch { request, reader, reply })
    }

    /// Commits offsets as part of a producer's transaction (KIP-447).
    pub fn commit_in_transaction(
        &self,
        request: OffsetCommit,
        committer: Committer,
        transaction: PartOfTransaction,
    ) -> BoxFuture<'static, <OffsetCommit as Message>::Answer> {
        let group = request.group.clone();
        self.ask_group(&group, |reply| GroupRequest::CommitInTransaction {
            request,
            committer,
            transaction,
            reply,
        })
    }

    /// A heartbeat of a member of KIP-848 from `host` which may know of the topics that `rights` show; of all without.
    pub fn heartbeat(
        &self,
        host: &str,
        request: GroupHeartbeat,
        rights: Option<Arc<dyn TopicRights>>,
    ) -> BoxFuture<'static, <GroupHeartbeat as Message>::Answer> {
        let (group, host) = (request.group.clone(), host.to_owned());
        self.ask_group(&group, |reply| GroupRequest::Heartbeat { request, host, rights, reply })
    }

    /// The partitions for which a group has offsets in transactions that are open.
    pub fn unstable(&self, group: &str) -> BoxFuture<'static, Result<BTreeSet<PartitionId>, Refusal>> {
        self.ask_group(group, |reply| GroupRequest::Unstable { group: group.to_owned(), reply })
    }

    /// A producer's transaction ended in a partition of `__consumer_offsets` that is led here: its marker is committed.
    /// With the last epoch that it ends, which is below the marker's own where every end gives another one.
    pub fn transaction_ended(&self, partition: i32, ended: EndMarker) {
        self.tell(SupervisorMessage::TransactionEnded { partition, marker: ended });
    }

    /// Nobody knows whether a marker of a producer is, or will be, committed in a partition of `__consumer_offsets` that is
    /// led here: groups with offsets in its transactions are read back once all of the log is committed.
    pub fn transaction_unknown(&self, partition: i32, producer: ProducerId) {
        self.tell(SupervisorMessage::TransactionUnknown { partition, producer });
    }

    /// The partition of `__consumer_offsets` that holds a group, if there is such a topic.
    #[must_use]
    pub fn partition_holding(&self, group: &str) -> Option<i32> {
        Some(coordinator_partition(group, self.doors.coordinators.partitions()?))
    }

    fn ask_as<T: Send + 'static>(
        &self,
        places: &Arc<Semaphore>,
        group: &str,
        wrap: impl FnOnce(Reply<T>) -> ClassicRequest,
    ) -> BoxFuture<'static, Result<T, Refusal>> {
        let partition = match self.partition_of(group) {
            Ok(partition) => partition,
            Err(refusal) => return std::future::ready(Err(refusal)).boxed(),
        };
        let group = group.to_owned();
        self.place(places, |reply| {
            let request = Box::new(GroupRequest::Classic { group, request: wrap(reply) });
            SupervisorMessage::Request { partition, request }
        })
    }
}

fn check_name(group: &str) -> Result<(), Refusal> {
    if group.is_empty() || group.len() > MAX_GROUP_BYTES {
        let text = format!(
            "the name of a group has between 1 and {MAX_GROUP_BYTES} bytes, this one {}",
            group.len()
        );
        return Err(Refusal::new(ErrorCode::InvalidGroupId, text));
    }
    Ok(())
}

async fn find(doors: GroupDoors, group: String) -> Result<NodeId, Refusal> {
    check_name(&group)?;
    find_coordinator(&*doors.coordinators, &group, OFFSETS_TOPIC).await
}

impl GroupMessage for FindCoordinator {
    fn ask(self, front: &GroupFront, _host: &str) -> BoxFuture<'static, Self::Answer> {
        find(front.doors.clone(), self.group).boxed()
    }
}

impl GroupMessage for GroupHeartbeat {
    fn ask(self, front: &GroupFront, host: &str) -> BoxFuture<'static, Self::Answer> {
        front.heartbeat(host, self, None)
    }
}

impl GroupMessage for OffsetCommit {
    fn ask(self, front: &GroupFront, _host: &str) -> BoxFuture<'static, Self::Answer> {
        front.ask_group(&self.group.clone(), |reply| GroupRequest::Commit {
            request: self,
            committer: None,
            reply,
        })
    }
}

impl GroupMessage for OffsetFetch {
    fn ask(self, front: &GroupFront, _host: &str) -> BoxFuture<'static, Self::Answer> {
        front.fetch_as(self, None)
    }
}

impl GroupMessage for ListGroups {
    fn ask(self, front: &GroupFront, _host: &str) -> BoxFuture<'static, Self::Answer> {
        let listing = front.list();
        let states = |listed: Vec<(String, ShownGroup)>| {
            listed.into_iter().map(|(group, shown)| (group, shown.state)).collect()
        };
        listing.map(move |listed| listed.map(states)).boxed()
    }
}

impl GroupMessage for DescribeGroup {
    fn ask(self, front: &GroupFront, _host: &str) -> BoxFuture<'static, Self::Answer> {
        front.describe(&self.group).map(|described| described.map(|described| described.group)).boxed()
    }
}

impl GroupMessage for DeleteGroup {
    fn ask(self, front: &GroupFront, _host: &str) -> BoxFuture<'static, Self::Answer> {
        front.ask_group(&self.group.clone(), |reply| GroupRequest::Delete { request: self, reply })
    }
}

impl GroupMessage for OffsetDelete {
    fn ask(self, front: &GroupFront, _host: &str) -> BoxFuture<'static, Self::Answer> {
        front.ask_group(&self.group.clone(), |reply| GroupRequest::DeleteOffsets { request: self, reply })
    }
}

//! The cluster as every node offers it: metadata from its own image, everything else from the controller.
//!
//! Who asks need not know which node is the controller. A request is passed on to it, and again to the next one where it
//! has moved or cannot be reached, until a deadline. Since an answer may get lost on the way, a request may be carried out
//! twice; those for which that would show say so to their asker only once (a topic is made under an id drawn here).

use std::ops::Range;
use std::sync::Arc;
use std::time::Duration;

use millstream_transport::peer::AskError;
use millstream_transport::world::watch;
use millstream_transport::world::{Clock, Random};
use tokio::sync::{Mutex, Semaphore};
use tokio::time::{Instant, timeout, timeout_at};

use super::controller::ControllerHandle;
use super::election::is_needed;
use super::message::nodes::{ClientAnswer, ClientRequest};
use super::message::voters::{DescribeQuorum, QuorumDescription};
use super::message::{
    AlterTopicConfig, CreatePartitions, CreateTopic, DeleteTopic, ElectReplica, ElectionKind, Metadata,
    MetadataAnswer,
};
use super::metadata;
use super::peers::Peers;
use super::request::ToController;
use crate::error::{ErrorCode, Refusal};
use crate::ids::{NodeId, PartitionId, ProducerId, TopicId};
use crate::image::Image;

mod access;
mod hand_over;
mod placed;
mod quotas;
mod reassignment;
mod served;

pub use placed::{check_partitions_placed, check_topic_placed};

/// Elections asked for at a time: together with what else a controller has to do, they fit into one entry.
const ELECTIONS_A_REQUEST: usize = 4000;

/// How a front works.
#[derive(Clone, Copy, Debug)]
pub struct FrontSettings {
    /// How long a client's request may take in all.
    pub request_timeout: Duration,
    /// How long one controller may take to answer before it is asked again.
    pub attempt_timeout: Duration,
    /// Between two attempts, unless the controller changes earlier.
    pub retry_wait: Duration,
    /// Producer ids fetched at a time.
    pub producer_id_block: u32,
    /// Clients that wait for a newer image at a time; more are answered at once.
    pub waiters_max: usize,
    /// The longest that a client may wait for a newer image.
    pub wait_max: Duration,
    /// After so long without a known controller nobody waits here for a newer image.
    pub news_lost_after: Duration,
}

impl Default for FrontSettings {
    fn default() -> Self {
        Self {
            request_timeout: Duration::from_secs(10),
            attempt_timeout: Duration::from_secs(2),
            retry_wait: Duration::from_millis(50),
            producer_id_block: 1000,
            waiters_max: 10_000,
            wait_max: Duration::from_secs(60),
            news_lost_after: Duration::from_millis(500),
        }
    }
}

/// What a front works with.
#[derive(Debug)]
pub struct FrontParts<P> {
    /// This node.
    pub me: NodeId,
    /// How.
    pub settings: FrontSettings,
    /// The time.
    pub clock: Clock,
    /// Topic ids are drawn from it.
    pub random: Random,
    /// This node's images.
    pub images: watch::Receiver<Arc<Image>>,
    /// Who leads the quorum, as far as this node knows.
    pub leadership: watch::Receiver<Option<NodeId>>,
    /// This node's own controller.
    pub controller: ControllerHandle,
    /// The voters.
    pub voters: watch::Receiver<Vec<NodeId>>,
    /// The other nodes.
    pub peers: P,
}

/// The cluster, from one node. Cheap to clone; any thread may use it.
#[derive(Debug)]
pub struct ClusterFront<P>(Arc<Inner<P>>);

#[derive(Debug)]
struct Inner<P> {
    parts: FrontParts<P>,
    producer_ids: Mutex<Range<i64>>,
    waiters: Semaphore,
}

impl<P> Clone for ClusterFront<P> {
    fn clone(&self) -> Self {
        Self(Arc::clone(&self.0))
    }
}

/// An answer of the controller, and whether an earlier attempt may have been carried out.
struct Answered<T> {
    answer: Result<T, Refusal>,
    repeated: bool,
}

impl<P: Peers> ClusterFront<P> {
    /// A front.
    #[must_use]
    pub fn new(parts: FrontParts<P>) -> Self {
        let waiters = Semaphore::new(parts.settings.waiters_max);
        Self(Arc::new(Inner { parts, producer_ids: Mutex::new(0..0), waiters }))
    }

    /// This node's image.
    #[must_use]
    pub fn image(&self) -> Arc<Image> {
        Arc::clone(&self.parts().images.borrow())
    }

    /// The node that has the controller, as far as this one knows.
    #[must_use]
    pub fn controller(&self) -> Option<NodeId> {
        *self.parts().leadership.borrow()
    }

    fn parts(&self) -> &FrontParts<P> {
        &self.0.parts
    }

    fn deadline(&self) -> Instant {
        self.parts().clock.now() + self.parts().settings.request_timeout
    }

    /// What this node knows of nodes and topics; where a newer image is waited for, as soon as what was asked for has
    /// changed.
    pub async fn metadata(&self, request: Metadata) -> MetadataAnswer {
        let names = request.topics.as_deref();
        let mut images = self.parts().images.clone();
        let mut image = Arc::clone(&images.borrow_and_update());
        if let (Some(known), Ok(_place)) = (request.newer_than, self.0.waiters.try_acquire()) {
            let wait = Duration::from_millis(request.max_wait_ms.into()).min(self.parts().settings.wait_max);
            let first = Arc::clone(&image);
            let over = self.wait_over(wait);
            tokio::pin!(over);
            while image.version() <= known
                || (image.version() > first.version() && !metadata::differs(&first, &image, names))
            {
                tokio::select! {
                    biased;
                    changed = images.changed() => if changed.is_err() { break },
                    () = &mut over => break,
                }
                image = Arc::clone(&images.borrow_and_update());
            }
        }
        metadata::answer(&image, self.controller(), names)
    }

    /// Returns after this time, and soon after no controller is known: a node that is cut off hears no news, and who
    /// waits for some is to ask another.
    async fn wait_over(&self, wait: Duration) {
        let until = self.parts().clock.now() + wait;
        let mut leadership = self.parts().leadership.clone();
        loop {
            let is_led = leadership.borrow_and_update().is_some();
            let lost_at = self.parts().clock.now() + self.parts().settings.news_lost_after;
            let wake_at = if is_led { until } else { until.min(lost_at) };
            if !matches!(timeout_at(wake_at, leadership.changed()).await, Ok(Ok(()))) {
                return;
            }
        }
    }

    /// Makes a topic; its id.
    pub async fn create_topic(&self, request: CreateTopic) -> Result<TopicId, Refusal> {
        let id = TopicId(self.parts().random.uuid());
        self.make(ClientRequest::CreateTopic(id, request)).await
    }

    /// Removes a topic.
    pub async fn delete_topic(&self, request: DeleteTopic) -> Result<(), Refusal> {
        let answered = self.client(ClientRequest::DeleteTopic(request)).await;
        done(answered, |refusal| refusal.code == ErrorCode::UnknownTopicOrPartition)
    }

    /// Adds partitions.
    pub async fn create_partitions(&self, request: CreatePartitions) -> Result<(), Refusal> {
        let (name, total) = (request.name.clone(), request.total);
        self.grow((&name, total), ClientRequest::CreatePartitions(request)).await
    }

    /// Changes settings.
    pub async fn alter_topic_config(&self, request: AlterTopicConfig) -> Result<(), Refusal> {
        done(self.client(ClientRequest::AlterTopicConfig(request)).await, |_| false)
    }

    /// Elects a replica for a partition that has no leader.
    pub async fn elect_replica(&self, request: ElectReplica) -> Result<(), Refusal> {
        let (name, index, node) = (request.topic.clone(), request.partition, request.node);
        let answered = self.client(ClientRequest::ElectReplica(request)).await;
        let image = self.image();
        let partition = image.topics().named(&name).and_then(|topic| topic.partition(index));
        let leads = partition.and_then(|state| state.leader).is_some_and(|leader| leader.node == node);
        done(answered, |_| leads)
    }

    /// Forgets a node that is away for good and has no replicas.
    pub async fn forget_node(&self, node: NodeId) -> Result<(), Refusal> {
        let answered = self.client(ClientRequest::ForgetNode(node)).await;
        done(answered, |refusal| refusal.code == ErrorCode::BrokerIdNotRegistered)
    }

    /// Elects leaders; what became of each. Many are asked for in several requests: once one of them is refused, so are
    /// those that it and the rest would have been for.
    pub async fn elect_leaders(
        &self,
        partitions: Vec<PartitionId>,
        kind: ElectionKind,
    ) -> Result<Vec<(PartitionId, Result<(), Refusal>)>, Refusal> {
        let mut each = Vec::with_capacity(partitions.len());
        for some in partitions.chunks(ELECTIONS_A_REQUEST) {
            match self.elect_some(some, kind).await {
                Ok(elected) => each.extend(elected),
                Err(refusal) if each.is_empty() => return Err(refusal),
                Err(refusal) => {
                    let left = partitions.iter().skip(each.len());
                    each.extend(left.map(|id| (*id, Err(refusal.clone()))));
                    break;
                }
            }
        }
        Ok(each)
    }

    async fn elect_some(
        &self,
        partitions: &[PartitionId],
        kind: ElectionKind,
    ) -> Result<Vec<(PartitionId, Result<(), Refusal>)>, Refusal> {
        let before = self.image();
        let answered = self.client(ClientRequest::ElectLeaders(partitions.to_vec(), kind)).await;
        let repeated = answered.repeated;
        match answered.answer? {
            ClientAnswer::Elected(mut each) => {
                for (id, result) in &mut each {
                    // An earlier attempt, whose answer was lost, has done it, if it was to be done.
                    let was_needed = before.partition(*id).is_some_and(|state| is_needed(state, kind));
                    let is_done = |refusal: &mut Refusal| refusal.code == ErrorCode::ElectionNotNeeded;
                    if repeated && was_needed && result.as_mut().err().is_some_and(is_done) {
                        *result = Ok(());
                    }
                }
                Ok(each)
            }
            other => Err(unexpected(&other)),
        }
    }

    /// The quorum as its leader, another node, sees it.
    pub async fn describe_quorum(&self) -> Result<QuorumDescription, Refusal> {
        let unknown =
            || Refusal::new(ErrorCode::NotLeaderOrFollower, "no leader of the quorum is known; try again");
        let leader = self.controller().ok_or_else(unknown)?;
        let most = self.parts().settings.attempt_timeout;
        let asked = self.parts().peers.ask(leader, DescribeQuorum {}, most).await;
        asked.unwrap_or_else(|error| {
            let text = format!("the leader of the quorum, node {leader}, did not answer: {error}; try again");
            Err(Refusal::new(ErrorCode::RequestTimedOut, text))
        })
    }

    /// A producer id that nobody has had, from this node's block.
    pub async fn init_producer_id(&self) -> Result<ProducerId, Refusal> {
        // Held while a block is fetched: who comes meanwhile takes from the same block. Each waits no longer than a
        // request may take.
        let deadline = self.deadline();
        let mut block = timeout_at(deadline, self.0.producer_ids.lock()).await.map_err(|_| {
            Refusal::new(ErrorCode::RequestTimedOut, "no block of producer ids came in time; try again")
        })?;
        if let Some(id) = block.next() {
            return Ok(ProducerId(id));
        }
        let count = self.parts().settings.producer_id_block;
        match self.send(ClientRequest::AllocateProducerIds(count), deadline).await.answer? {
            ClientAnswer::ProducerIds { first, count } => {
                *block = first.0..first.0.saturating_add(count.into());
                block.next().map(ProducerId).ok_or_else(|| unexpected(&"an empty block"))
            }
            other => Err(unexpected(&other)),
        }
    }

    /// Asks the controller, whoever it is, until `deadline`.
    pub async fn ask_controller<M: ToController>(
        &self,
        message: M,
        deadline: Instant,
    ) -> Result<M::Granted, Refusal> {
        self.send(message, deadline).await.answer
    }

    async fn client(&self, request: ClientRequest) -> Answered<ClientAnswer> {
        self.send(request, self.deadline()).await
    }

    async fn send<M: ToController>(&self, message: M, deadline: Instant) -> Answered<M::Granted> {
        let mut leadership = self.parts().leadership.clone();
        let (mut repeated, mut last) = (false, "no controller is known".to_owned());
        loop {
            let left = deadline.saturating_duration_since(self.parts().clock.now());
            if left.is_zero() {
                let text = format!("no controller answered in time, last: {last}; try again");
                return Answered { answer: Err(Refusal::new(ErrorCode::RequestTimedOut, text)), repeated };
            }
            let controller = *leadership.borrow_and_update();
            if let Some(node) = controller {
                let most = self.parts().settings.attempt_timeout.min(left);
                match self.attempt(node, message.clone(), most).await {
                    Ok(Err(refusal)) if refusal.code == ErrorCode::NotController => last = refusal.text,
                    Ok(answer) => return Answered { answer, repeated },
                    Err(unanswered) => {
                        repeated = true;
                        last = unanswered;
                    }
                }
            }
            let wait = self.parts().settings.retry_wait.min(left);
            // Whether the controller changed or the time is over, it is asked again.
            drop(timeout(wait, leadership.changed()).await);
        }
    }

    /// The controller's answer, or why there is none.
    async fn attempt<M: ToController>(
        &self,
        node: NodeId,
        message: M,
        most: Duration,
    ) -> Result<Result<M::Granted, Refusal>, String> {
        if node == self.parts().me {
            let called = timeout(most, self.parts().controller.call(message)).await;
            return called.map_err(|_| format!("node {node} (this one) did not answer"));
        }
        match self.parts().peers.ask(node, message, most).await {
            Ok(answer) => Ok(answer),
            // It never fits, whoever is asked.
            Err(error @ AskError::Unsendable(_)) => {
                Ok(Err(Refusal::new(ErrorCode::InvalidRequest, error.to_string())))
            }
            Err(error) => Err(error.to_string()),
        }
    }
}

/// Done; also where it was refused because an earlier attempt, whose answer was lost, had done it.
fn done(answered: Answered<ClientAnswer>, before: impl FnOnce(&Refusal) -> bool) -> Result<(), Refusal> {
    match answered.answer {
        Ok(_) => Ok(()),
        Err(refusal) if answered.repeated && before(&refusal) => Ok(()),
        Err(refusal) => Err(refusal),
    }
}

fn unexpected(answer: &impl std::fmt::Debug) -> Refusal {
    let text = format!("the controller answered something else than was asked: {answer:?}");
    Refusal::new(ErrorCode::UnknownServerError, text)
}

#[cfg(test)]
mod tests;

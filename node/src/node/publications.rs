//! The way of what entities publish, to the leaders of partitions of topics on any node.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use futures::FutureExt;
use futures::future::{BoxFuture, Either, select};
use millstream_actors::cluster::front::ClusterFront;
use millstream_actors::custom::entity::doors::EntityTopics;
use millstream_actors::custom::entity::message::{AskLastSequence, KnownSequence};
use millstream_actors::custom::entity::publisher::LastSequence;
use millstream_actors::custom::entity::topics::{KnownTopic, KnownTopics};
use millstream_actors::error::{ErrorCode, Refusal};
use millstream_actors::ids::{NodeId, Offset, PartitionId, ProducerId, TopicId};
use millstream_actors::image::Image;
use millstream_actors::partition::append::ActiveProducer;
use millstream_actors::partition::front::Front;
use millstream_actors::partition::message::{Acks, Produce, ProduceAnswer, ProducePart};
use millstream_transport::message::Message;
use millstream_transport::peer::{Answering, Endpoint, Handlers, Lane};
use millstream_transport::world::watch;
use tokio::sync::oneshot;

use super::coordinator_log::read_batches;

/// How long a batch may take to be committed.
const COMMIT_WITHIN: Duration = Duration::from_secs(5);

/// How long a leader may take to answer: longer than the batch.
const ASK_WITHIN: Duration = Duration::from_secs(6);

type Images = watch::Receiver<Arc<Image>>;

/// The topics of a node's entities.
#[derive(Clone, Debug)]
pub(super) struct LeaderTopics {
    pub(super) me: NodeId,
    pub(super) images: Images,
    pub(super) endpoint: Endpoint,
    pub(super) front: Front,
    pub(super) cluster: ClusterFront<Endpoint>,
}

impl KnownTopics for LeaderTopics {
    fn named(&self, name: &str) -> Option<(u64, KnownTopic)> {
        self.images.named(name)
    }

    fn of(&self, id: TopicId) -> (u64, Option<KnownTopic>) {
        self.images.of(id)
    }
}

impl EntityTopics for LeaderTopics {
    fn producer_id(&self) -> BoxFuture<'static, Result<ProducerId, Refusal>> {
        let cluster = self.cluster.clone();
        async move { cluster.init_producer_id().await }.boxed()
    }

    fn last_sequence(
        &self,
        target: PartitionId,
        producer: ProducerId,
    ) -> BoxFuture<'static, Result<Option<LastSequence>, Refusal>> {
        let asked = AskLastSequence { partition: target, producer };
        let front = self.front.clone();
        let here = async move {
            let answered = tokio::time::timeout(ASK_WITHIN, last_sequence(&front, asked)).await;
            answered.unwrap_or_else(|_| Err(late()))
        };
        let answered = self.at_leader(target, asked, here.boxed());
        async move { answered.await?.map(|known| known.last) }.boxed()
    }

    fn append(&self, target: PartitionId, batch: Bytes) -> BoxFuture<'static, Result<(), Refusal>> {
        let part = ProducePart { partition: target, leader_epoch: None, batches: batch, transaction: None };
        let timeout_ms = u32::try_from(COMMIT_WITHIN.as_millis()).unwrap_or(u32::MAX);
        let produce = Produce { acks: Acks::All, timeout_ms, parts: vec![part] };
        let (front, here) = (self.front.clone(), produce.clone());
        let here = async move {
            let (tell, told) = oneshot::channel();
            front.produce(here, move |answer| {
                // Who does not wait any more needs no answer.
                let _ = tell.send(answer);
            });
            // Without an answer nobody knows.
            told.await.unwrap_or_else(|_| ProduceAnswer { parts: Vec::new() })
        };
        let answered = self.at_leader(target, produce, here.boxed());
        async move {
            let part = answered.await?.parts.into_iter().next();
            part.map_or_else(|| Err(late()), |(_, produced)| produced.map(|_| ()))
        }
        .boxed()
    }
}

impl LeaderTopics {
    fn leader(&self, target: PartitionId) -> Option<NodeId> {
        Some(self.images.borrow().partition(target)?.leader?.node)
    }

    /// The answer of the leader, which may be this node; given up early where another leads before it comes.
    fn at_leader<M: Message>(
        &self,
        target: PartitionId,
        message: M,
        here: BoxFuture<'static, M::Answer>,
    ) -> BoxFuture<'static, Result<M::Answer, Refusal>> {
        let Some(leader) = self.leader(target) else {
            let text = format!("{target} has no leader now");
            return std::future::ready(Err(Refusal::new(ErrorCode::LeaderNotAvailable, text))).boxed();
        };
        let mut answered = if leader == self.me {
            async move { Ok(here.await) }.boxed()
        } else {
            let asked = self.endpoint.peer(leader).ask(Lane::Data, message, ASK_WITHIN);
            let unknown = |error| Refusal::new(ErrorCode::RequestTimedOut, format!("{error}"));
            async move { asked.await.map_err(unknown) }.boxed()
        };
        let topics = self.clone();
        async move {
            let mut images = topics.images.clone();
            loop {
                drop(images.borrow_and_update());
                if topics.leader(target) != Some(leader) {
                    let text = format!("{target} has another leader now, or none");
                    return Err(Refusal::new(ErrorCode::NotLeaderOrFollower, text));
                }
                // Images end with the node.
                let news = images.changed_or_never().boxed();
                match select(answered, news).await {
                    Either::Left((answer, _)) => return answer,
                    Either::Right(((), pending)) => answered = pending,
                }
            }
        }
        .boxed()
    }
}

/// What other nodes' entities ask of the leaders here.
pub(super) fn handlers(front: &Front) -> Handlers {
    let front = front.clone();
    Handlers::new().on_nodes(move |_, asked: AskLastSequence, answering: Answering<AskLastSequence>| {
        let front = front.clone();
        tokio::spawn(async move {
            let answered = tokio::time::timeout(ASK_WITHIN, last_sequence(&front, asked)).await;
            answering.answer(answered.unwrap_or_else(|_| Err(late())));
        });
    })
}

/// The last sequence of a producer in a partition led here, once it is committed. What was appended and is not committed may
/// be gone with the leadership: it must not be taken for there.
async fn last_sequence(front: &Front, asked: AskLastSequence) -> Result<KnownSequence, Refusal> {
    let AskLastSequence { partition, producer } = asked;
    let epoch = told(|tell| front.standing(partition, tell)).await?.epoch;
    let producers: Vec<ActiveProducer> = told(|tell| front.producers(partition, tell)).await?;
    // Asked for behind the producers, in the epoch that it was before them: all that they have lies before it.
    let end = front.log_end(partition, epoch).await?;
    let known = producers.into_iter().find(|known| known.id == producer);
    let last =
        known.and_then(|known| Some(LastSequence { epoch: known.epoch, sequence: known.last_sequence? }));
    let before = Offset(end.0.saturating_sub(1)).max(Offset::ZERO);
    if last.is_some() {
        read_batches(front, partition, epoch, (before, end), |_| Ok(())).await?;
    }
    Ok(KnownSequence { last })
}

/// The answer of a replica.
async fn told<T: Send + 'static>(
    ask: impl FnOnce(Box<dyn FnOnce(Result<T, Refusal>) + Send>),
) -> Result<T, Refusal> {
    let (tell, told) = oneshot::channel();
    ask(Box::new(move |answer| {
        // Who does not wait any more needs no answer.
        let _ = tell.send(answer);
    }));
    told.await.unwrap_or_else(|_| Err(late()))
}

fn late() -> Refusal {
    Refusal::new(ErrorCode::RequestTimedOut, "the leader has not answered in time")
}

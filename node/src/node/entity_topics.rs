//! Topics as they are read for entities: from whichever node leads their partitions.

use std::sync::Arc;
use std::time::Duration;

use futures::FutureExt;
use futures::future::BoxFuture;
use millstream_actors::custom::entity::doors::TopicLog;
use millstream_actors::error::{ErrorCode, Refusal};
use millstream_actors::ids::{LeaderEpoch, NodeId, Offset, PartitionId};
use millstream_actors::image::Image;
use millstream_actors::partition::front::Front;
use millstream_actors::partition::message::transactional::FetchStable;
use millstream_actors::partition::message::{
    Fetch, FetchAnswer, FetchPart, Fetched, ListOffsets, ListOffsetsAnswer, OffsetSpec,
};
use millstream_transport::message::Message;
use millstream_transport::peer::{Endpoint, Lane};
use millstream_transport::world::watch;
use tokio::sync::{Semaphore, oneshot};

/// How long a read waits where there is nothing new.
const READ_WAIT: Duration = Duration::from_millis(500);

/// How long a leader may take beyond that.
const ASK_WITHIN: Duration = Duration::from_secs(5);

/// Reads of one node open at a time; more wait for their turn. Fewer than what a link may have unanswered.
const READS_OPEN_MAX: usize = 256;

/// The way to the leaders of topics' partitions.
#[derive(Clone, Debug)]
pub(super) struct NodeTopics {
    me: NodeId,
    images: watch::Receiver<Arc<Image>>,
    front: Front,
    endpoint: Endpoint,
    places: Arc<Semaphore>,
}

impl NodeTopics {
    pub(super) fn new(
        me: NodeId,
        images: watch::Receiver<Arc<Image>>,
        front: Front,
        endpoint: Endpoint,
    ) -> Self {
        Self { me, images, front, endpoint, places: Arc::new(Semaphore::new(READS_OPEN_MAX)) }
    }

    fn leader(&self, partition: PartitionId) -> Result<(NodeId, LeaderEpoch), Refusal> {
        let image = self.images.borrow();
        let topic = image.topics().get(partition.topic);
        let known = topic.and_then(|topic| topic.partition(partition.index)).ok_or_else(|| {
            Refusal::new(ErrorCode::UnknownTopicOrPartition, format!("{partition} is not there"))
        })?;
        let none = || Refusal::new(ErrorCode::LeaderNotAvailable, format!("{partition} has no leader now"));
        known.leader.map(|leader| (leader.node, known.leader_epoch)).ok_or_else(none)
    }

    async fn fetch(&self, partition: PartitionId, from: Offset, max_bytes: u32) -> Result<Fetched, Refusal> {
        let (leader, epoch) = self.leader(partition)?;
        let part = FetchPart {
            partition,
            leader_epoch: Some(epoch),
            last_fetched_epoch: None,
            offset: from,
            max_bytes,
            stable_only: true,
            nearby: Default::default(),
        };
        let max_wait_ms = u32::try_from(READ_WAIT.as_millis()).unwrap_or(u32::MAX);
        let message = Fetch { max_wait_ms, min_bytes: 1, max_bytes, parts: vec![part] };
        let answer: FetchAnswer = if leader == self.me {
            let (tell, told) = oneshot::channel();
            self.front.fetch(message, move |answer| {
                // Who does not wait any more needs no answer.
                let _ = tell.send(answer);
            });
            told.await.map_err(|_| gone(partition))?
        } else {
            self.ask(leader, FetchStable(message), READ_WAIT + ASK_WITHIN).await?.into()
        };
        answer.parts.into_iter().next().ok_or_else(|| gone(partition))?.1
    }

    async fn list(&self, partition: PartitionId) -> Result<Offset, Refusal> {
        let (leader, _) = self.leader(partition)?;
        let message = ListOffsets { parts: vec![(partition, OffsetSpec::Earliest)] };
        let answer: ListOffsetsAnswer = if leader == self.me {
            let (tell, told) = oneshot::channel();
            self.front.list_offsets(message, move |answer| {
                let _ = tell.send(answer);
            });
            told.await.map_err(|_| gone(partition))?
        } else {
            self.ask(leader, message, ASK_WITHIN).await?
        };
        let (_, listed) = answer.parts.into_iter().next().ok_or_else(|| gone(partition))?;
        listed?.offset.ok_or_else(|| gone(partition))
    }

    async fn ask<M: Message>(
        &self,
        leader: NodeId,
        message: M,
        within: Duration,
    ) -> Result<M::Answer, Refusal> {
        let asked = self.endpoint.peer(leader).ask(Lane::Data, message, within);
        asked.await.map_err(|error| Refusal::new(ErrorCode::LeaderNotAvailable, error.to_string()))
    }
}

impl TopicLog for NodeTopics {
    fn read(
        &self,
        partition: PartitionId,
        from: Offset,
        max_bytes: u32,
    ) -> BoxFuture<'static, Result<Fetched, Refusal>> {
        let topics = self.clone();
        async move {
            let place = topics.places.acquire().await.map_err(|_| gone(partition))?;
            let fetched = topics.fetch(partition, from, max_bytes).await;
            drop(place);
            fetched
        }
        .boxed()
    }

    fn start(&self, partition: PartitionId) -> BoxFuture<'static, Result<Offset, Refusal>> {
        let topics = self.clone();
        async move { topics.list(partition).await }.boxed()
    }
}

fn gone(partition: PartitionId) -> Refusal {
    Refusal::new(ErrorCode::NotLeaderOrFollower, format!("the replica of {partition} has stopped"))
}

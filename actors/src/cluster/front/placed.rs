//! Topics and partitions as every node makes them, whoever places their replicas.

use super::{ClusterFront, done, unexpected};
use crate::cluster::message::nodes::{ClientAnswer, ClientRequest};
use crate::cluster::message::{CreatePartitions, CreateTopic};
use crate::cluster::peers::Peers;
use crate::cluster::placed;
use crate::error::{ErrorCode, Refusal};
use crate::ids::{NodeId, TopicId};
use crate::image::{Features, Image};

/// Refuses replicas of a new topic that could not be had, as this image has it.
pub fn check_topic_placed(
    image: &Image,
    request: &CreateTopic,
    given: &[(i32, Vec<NodeId>)],
) -> Result<(), Refusal> {
    image.features().require(Features::PLACED)?;
    placed::of_topic(image, request, given).map(drop)
}

/// Refuses replicas of more partitions that could not be had, as this image has it.
pub fn check_partitions_placed(
    image: &Image,
    request: &CreatePartitions,
    given: &[Vec<NodeId>],
) -> Result<(), Refusal> {
    image.features().require(Features::PLACED)?;
    let topic = image.topics().named(&request.name);
    let total = usize::try_from(request.total).unwrap_or(0);
    topic.map_or(Ok(()), |topic| placed::of_more(image, topic, total, given))
}

impl<P: Peers> ClusterFront<P> {
    /// Makes a topic whose partitions have these replicas, as pairs of a partition and its nodes; its id.
    pub async fn create_topic_placed(
        &self,
        request: CreateTopic,
        given: Vec<(i32, Vec<NodeId>)>,
    ) -> Result<TopicId, Refusal> {
        // What a node may not understand or is too long is not passed on; the rest is the controller's to judge, whose image is the newest.
        self.image().features().require(Features::PLACED)?;
        placed::check_named(given.iter().map(|(_, nodes)| nodes.len()))?;
        let id = TopicId(self.parts().random.uuid());
        self.make(ClientRequest::CreateTopicPlaced(id, request, given)).await
    }

    /// Adds partitions with these replicas.
    pub async fn create_partitions_placed(
        &self,
        request: CreatePartitions,
        given: Vec<Vec<NodeId>>,
    ) -> Result<(), Refusal> {
        self.image().features().require(Features::PLACED)?;
        placed::check_named(given.iter().map(Vec::len))?;
        let (name, total) = (request.name.clone(), request.total);
        self.grow((&name, total), ClientRequest::CreatePartitionsPlaced(request, given)).await
    }

    pub(super) async fn make(&self, request: ClientRequest) -> Result<TopicId, Refusal> {
        match self.client(request).await.answer? {
            ClientAnswer::Topic(id) => Ok(id),
            other => Err(unexpected(&other)),
        }
    }

    pub(super) async fn grow(
        &self,
        (name, total): (&str, i32),
        request: ClientRequest,
    ) -> Result<(), Refusal> {
        let total = usize::try_from(total).unwrap_or(0);
        let answered = self.client(request).await;
        let image = self.image();
        let there = image.topics().named(name).is_some_and(|topic| topic.partitions.len() == total);
        done(answered, |refusal| refusal.code == ErrorCode::InvalidPartitions && there)
    }
}

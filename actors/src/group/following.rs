//! Coordinators follow the image: the topics there are, and which partitions of `__consumer_offsets` this node leads.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use futures::FutureExt;
use futures::future::BoxFuture;
use millstream_transport::world::watch;

use super::doors::{Coordinators, OwnershipLease};
use super::front::GroupFront;
use super::topics::{TopicShape, TopicsView};
use crate::error::{ErrorCode, Refusal};
use crate::ids::{Incarnation, LeaderEpoch, NodeId, PartitionId, TopicId};
use crate::image::{Image, Topic, Topics};

/// The topic that holds what groups decide.
pub const OFFSETS_TOPIC: &str = "__consumer_offsets";

/// How long the image may take to tell of a topic that was just made.
const CREATED_WITHIN: Duration = Duration::from_secs(5);

/// The topics of an image.
#[derive(Clone, Debug)]
pub struct ImageTopics {
    version: u64,
    topics: Arc<Topics>,
}

impl ImageTopics {
    /// The topics of this image.
    #[must_use]
    pub fn of(image: &Image) -> Self {
        Self { version: image.version(), topics: Arc::clone(image.topics()) }
    }

    /// Whether groups see the same topics: by name, id and number of partitions. Who leads is not their concern.
    fn is_like(&self, topics: &Arc<Topics>) -> bool {
        let alike = |(old, new): (&Arc<Topic>, &Arc<Topic>)| {
            Arc::ptr_eq(old, new)
                || (old.id == new.id && old.name == new.name && old.partitions.len() == new.partitions.len())
        };
        Arc::ptr_eq(&self.topics, topics)
            || (self.topics.len() == topics.len() && self.topics.iter().zip(topics.iter()).all(alike))
    }
}

impl TopicsView for ImageTopics {
    fn version(&self) -> u64 {
        self.version
    }

    fn named(&self, name: &str) -> Option<TopicShape> {
        let topic = self.topics.named(name)?;
        Some(TopicShape { id: topic.id, partitions: count(topic) })
    }

    fn identified(&self, id: TopicId) -> Option<(Arc<str>, i32)> {
        let topic = self.topics.get(id)?;
        Some((Arc::clone(&topic.name), count(topic)))
    }

    fn names(&self) -> Vec<Arc<str>> {
        self.topics.by_name().map(|topic| Arc::clone(&topic.name)).collect()
    }
}

fn count(topic: &Topic) -> i32 {
    i32::try_from(topic.partitions.len()).unwrap_or(i32::MAX)
}

/// The leaders of a coordinators' topic by the image, and how that topic is made.
pub struct ImageCoordinators {
    images: watch::Receiver<Arc<Image>>,
    topic: &'static str,
    create: Box<dyn Fn() -> BoxFuture<'static, Result<(), Refusal>> + Send + Sync>,
}

impl ImageCoordinators {
    /// `create` asks the controller for the topic; that it exists already is no error of it.
    #[must_use]
    pub fn new(
        images: watch::Receiver<Arc<Image>>,
        topic: &'static str,
        create: impl Fn() -> BoxFuture<'static, Result<(), Refusal>> + Send + Sync + 'static,
    ) -> Self {
        Self { images, topic, create: Box::new(create) }
    }
}

impl Coordinators for ImageCoordinators {
    fn partitions(&self) -> Option<i32> {
        self.images.borrow().topics().named(self.topic).map(|topic| count(topic))
    }

    fn leader(&self, partition: i32) -> Option<NodeId> {
        let image = self.images.borrow();
        Some(image.topics().named(self.topic)?.partition(partition)?.leader?.node)
    }

    fn create(&self) -> BoxFuture<'static, Result<(), Refusal>> {
        let (created, mut images, name) = ((self.create)(), self.images.clone(), self.topic);
        async move {
            created.await?;
            let known = images.wait_for(|image| image.topics().named(name).is_some());
            match tokio::time::timeout(CREATED_WITHIN, known).await {
                Ok(Ok(_)) => Ok(()),
                _ => {
                    let text = format!("topic {name} was made, but is not known here yet; try again");
                    Err(Refusal::new(ErrorCode::CoordinatorNotAvailable, text))
                }
            }
        }
        .boxed()
    }
}

impl fmt::Debug for ImageCoordinators {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.debug_struct("ImageCoordinators").finish_non_exhaustive()
    }
}

/// The partitions of a coordinators' topic that this node leads in this life, and in which epochs.
#[must_use]
pub fn led_by(
    image: &Image,
    topic: &str,
    node: NodeId,
    incarnation: Incarnation,
) -> BTreeMap<i32, (PartitionId, LeaderEpoch)> {
    let Some(topic) = image.topics().named(topic) else { return BTreeMap::new() };
    let led = topic.ids().filter(|(_, partition)| {
        partition.leader.is_some_and(|leader| leader.node == node && leader.incarnation == incarnation)
    });
    led.map(|(id, partition)| (id.index, (id, partition.leader_epoch))).collect()
}

/// Keeps a node's coordinators at what the image says, until the image ends: first the topics, then who leads, so that
/// no coordinator starts with older topics than the election that made it.
///
/// `lease` gives the lease on a partition led in an epoch.
pub async fn follow(
    front: GroupFront,
    mut images: watch::Receiver<Arc<Image>>,
    topics: watch::Sender<Arc<dyn TopicsView>>,
    me: (NodeId, Incarnation),
    lease: impl Fn(PartitionId, LeaderEpoch) -> Arc<dyn OwnershipLease> + Send,
) {
    let mut seen = ImageTopics { version: 0, topics: Arc::default() };
    let mut led: BTreeMap<i32, (PartitionId, LeaderEpoch)> = BTreeMap::new();
    loop {
        let image = Arc::clone(&images.borrow_and_update());
        if !seen.is_like(image.topics()) {
            seen = ImageTopics::of(&image);
            topics.send_replace(Arc::new(seen.clone()));
        }
        let leads = led_by(&image, OFFSETS_TOPIC, me.0, me.1);
        for (index, (_, epoch)) in led.iter().filter(|(index, was)| leads.get(index) != Some(was)) {
            front.resign(*index, *epoch);
        }
        for (index, (id, epoch)) in leads.iter().filter(|(index, is)| led.get(index) != Some(is)) {
            front.lead(*index, *epoch, lease(*id, *epoch));
        }
        led = leads;
        if images.changed().await.is_err() {
            return;
        }
    }
}

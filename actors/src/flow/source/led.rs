//! The partitions that are led on a node.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use millstream_transport::world::watch;
use tokio::time::Instant;

use crate::client::TopicPartition;
use crate::ids::{NodeId, PartitionId};
use crate::image::Image;

/// The pause before a partition that could not be begun is tried again.
const AGAIN_AFTER: Duration = Duration::from_secs(1);

/// What a source reads that follows the leaderships of its node.
#[derive(Debug)]
pub(super) struct Led {
    images: watch::Receiver<Arc<Image>>,
    node: NodeId,
    topics: BTreeSet<String>,
    /// By their ids: a topic that is made anew is another.
    reading: BTreeSet<PartitionId>,
    again_at: Option<Instant>,
}

/// What is to be read other than before.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Change {
    pub(super) begin: BTreeMap<PartitionId, TopicPartition>,
    pub(super) end: BTreeSet<PartitionId>,
}

impl Led {
    pub(super) fn new(images: watch::Receiver<Arc<Image>>, node: NodeId, topics: BTreeSet<String>) -> Self {
        // The first look is due at once.
        Self { images, node, topics, reading: BTreeSet::new(), again_at: Some(Instant::now()) }
    }

    /// Done when [`Self::change`] may tell something else.
    pub(super) async fn news(&mut self) {
        match self.again_at {
            Some(at) => {
                let changed = self.images.changed_or_never();
                drop(tokio::time::timeout_at(at, changed).await);
            }
            None => self.images.changed_or_never().await,
        }
    }

    /// What has changed since then.
    pub(super) fn change(&mut self) -> Change {
        self.again_at = None;
        let mut begin = led(&self.images.borrow_and_update(), self.node, &self.topics);
        let end = self.reading.iter().filter(|id| !begin.contains_key(id)).copied().collect();
        begin.retain(|id, _| !self.reading.contains(id));
        Change { begin, end }
    }

    /// Whether the node leads this partition now.
    pub(super) fn leads(&self, partition: PartitionId) -> bool {
        let image = self.images.borrow();
        let known = image.partition(partition);
        known.is_some_and(|known| known.leader.is_some_and(|leader| leader.node == self.node))
    }

    pub(super) fn began(&mut self, partition: PartitionId) {
        self.reading.insert(partition);
    }

    pub(super) fn ended(&mut self, partition: PartitionId) {
        self.reading.remove(&partition);
    }

    /// It could not be begun: it is tried again after a while.
    pub(super) fn failed(&mut self) {
        self.again_at = Some(Instant::now() + AGAIN_AFTER);
    }
}

/// What a node leads of some topics.
fn led(image: &Image, node: NodeId, topics: &BTreeSet<String>) -> BTreeMap<PartitionId, TopicPartition> {
    let of_topic = |name: &String| {
        let topic = image.topics().named(name)?;
        let led =
            topic.ids().filter(move |(_, known)| known.leader.is_some_and(|leader| leader.node == node));
        Some(led.map(|(id, _)| (id, TopicPartition::new(Arc::clone(&topic.name), id.index))))
    };
    topics.iter().filter_map(of_topic).flatten().collect()
}

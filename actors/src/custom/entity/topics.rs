//! What is known of the topics that entities publish to.

use std::fmt;
use std::sync::Arc;

use millstream_transport::world::watch;

use crate::ids::TopicId;
use crate::image::{Image, Topic};

/// A topic, for those who write to it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct KnownTopic {
    /// Its id.
    pub id: TopicId,
    /// Its name.
    pub name: Arc<str>,
    /// How many partitions it has.
    pub partitions: u32,
    /// `max.message.bytes`: bytes of one batch.
    pub message_max_bytes: usize,
    /// It is compacted: records have keys.
    pub needs_keys: bool,
    /// Nobody but the system writes to it.
    pub is_internal: bool,
}

/// The topics of some image.
pub trait KnownTopics: fmt::Debug + Send + Sync {
    /// The topic of this name, and the version of the image that has it.
    fn named(&self, name: &str) -> Option<(u64, KnownTopic)>;

    /// The topic of this id, and the version of the image that has it or has it not.
    fn of(&self, id: TopicId) -> (u64, Option<KnownTopic>);
}

impl KnownTopics for watch::Receiver<Arc<Image>> {
    fn named(&self, name: &str) -> Option<(u64, KnownTopic)> {
        let image = self.borrow();
        image.topics().named(name).map(|topic| (image.version(), known(topic)))
    }

    fn of(&self, id: TopicId) -> (u64, Option<KnownTopic>) {
        let image = self.borrow();
        (image.version(), image.topics().get(id).map(|topic| known(topic)))
    }
}

fn known(topic: &Topic) -> KnownTopic {
    KnownTopic {
        id: topic.id,
        name: Arc::clone(&topic.name),
        partitions: u32::try_from(topic.partitions.len()).unwrap_or(u32::MAX),
        message_max_bytes: usize::try_from(topic.config.max_message_bytes).unwrap_or(usize::MAX),
        needs_keys: topic.config.compact,
        is_internal: topic.internal,
    }
}

/// No topics: for partitions that publish nothing.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct NoTopics;

impl KnownTopics for NoTopics {
    fn named(&self, _: &str) -> Option<(u64, KnownTopic)> {
        None
    }

    fn of(&self, _: TopicId) -> (u64, Option<KnownTopic>) {
        (0, None)
    }
}

//! What a coordinator knows of topics.

use std::fmt;
use std::sync::Arc;

use crate::access::Acls;
use crate::ids::TopicId;

/// A topic as a group sees it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TopicShape {
    /// Which topic carries the name.
    pub id: TopicId,
    /// How many partitions it has.
    pub partitions: i32,
}

/// The topics there are.
///
/// A view handed to a coordinator is at least as new as the image that made its node the coordinator: a topic that is
/// not in it was deleted, and what groups have committed for it goes.
pub trait TopicsView: fmt::Debug + Send + Sync {
    /// Greater after every change of what this view tells.
    fn version(&self) -> u64;
    /// The topic of this name.
    fn named(&self, name: &str) -> Option<TopicShape>;
    /// Name and number of partitions of this topic.
    fn identified(&self, id: TopicId) -> Option<(Arc<str>, i32)>;
    /// All names, in order.
    fn names(&self) -> Vec<Arc<str>>;
}

/// Which topics a member may know of: a regular expression finds it no others (KIP-848).
pub trait TopicRights: fmt::Debug + Send + Sync {
    /// Whose they are: under these lists, who has the same name has the same rights.
    fn name(&self, lists: &Acls) -> Arc<str>;
    /// The access control lists as they are now.
    fn lists(&self) -> Arc<Acls>;
    /// Whether these lists let it describe this topic.
    fn may_describe(&self, lists: &Acls, topic: &str) -> bool;
}

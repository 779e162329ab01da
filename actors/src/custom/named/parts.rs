//! What a node's actors work with, and their bounds.

use std::sync::Arc;

use millstream_transport::world::{Clock, watch};

use super::doors::{Mail, NameRegistry};
use crate::cluster::agent::NodeHealth;
use crate::cluster::lease::Lease;
use crate::custom::threads::UserThreads;
use crate::events::Events;
use crate::ids::{Incarnation, NodeId};
use crate::image::Image;
use crate::kinds::USER_ACTOR;

/// The bounds of a node's actors.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct NamedSettings {
    /// `actors.max`: actors on this node.
    pub actors_max: usize,
    /// `actors.mailbox.max`: messages that may wait for one actor, unless it says otherwise.
    pub mailbox_max: usize,
    /// `actors.mailbox.bytes`: bytes of messages that wait for all actors of the node.
    pub mailbox_bytes: usize,
    /// `actors.message.max.bytes`: the longest message, and the longest answer.
    pub message_bytes_max: usize,
}

impl Default for NamedSettings {
    fn default() -> Self {
        Self {
            actors_max: 10_000,
            mailbox_max: USER_ACTOR.mailbox_max,
            mailbox_bytes: 64 << 20,
            message_bytes_max: 1 << 20,
        }
    }
}

/// What a node's actors work with.
#[derive(Clone, Debug)]
pub struct NamedParts {
    /// The node.
    pub node: NodeId,
    /// Its life.
    pub incarnation: Incarnation,
    /// Its bounds.
    pub settings: NamedSettings,
    /// This node's images.
    pub images: watch::Receiver<Arc<Image>>,
    /// The node's lease.
    pub lease: Lease,
    /// How the node stands to its cluster.
    pub health: watch::Receiver<NodeHealth>,
    /// The way to the quorum.
    pub registry: Arc<dyn NameRegistry>,
    /// The way to other nodes.
    pub mail: Arc<dyn Mail>,
    /// Where users' code runs.
    pub threads: UserThreads,
    /// The time.
    pub clock: Clock,
    /// Where events go.
    pub events: Events,
}

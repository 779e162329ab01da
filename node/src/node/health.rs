//! How a node is, told to whoever asks over HTTP.

use std::sync::Arc;

use millstream_actors::cluster::agent::NodeHealth;
use millstream_actors::image::Image;
use millstream_actors::log::DirectoryHealth;
use millstream_transport::world::watch;

use crate::http::{Health, HealthReport};

/// A node's state, as its parts tell it.
#[derive(Debug)]
pub(super) struct NodeState {
    images: watch::Receiver<Arc<Image>>,
    agent: watch::Receiver<NodeHealth>,
    directory: watch::Receiver<DirectoryHealth>,
}

impl NodeState {
    pub(super) fn new(
        images: watch::Receiver<Arc<Image>>,
        agent: watch::Receiver<NodeHealth>,
        directory: watch::Receiver<DirectoryHealth>,
    ) -> Self {
        Self { images, agent, directory }
    }
}

impl Health for NodeState {
    fn report(&self) -> HealthReport {
        let agent = *self.agent.borrow();
        let failed_directory = match &*self.directory.borrow() {
            DirectoryHealth::Failed(reason) => Some(reason.to_string()),
            DirectoryHealth::Well | DirectoryHealth::Closed => None,
        };
        HealthReport {
            // Logs are recovered before a node listens at all.
            recovered: true,
            followed_quorum: agent.quorum_seen,
            joined: agent.was_live,
            quorum: agent.quorum_seen && !agent.quorum_lost,
            image_version: self.images.borrow().version(),
            failed_directory,
        }
    }
}

//! A member of an application of streams, and its group's coordinator.

use std::time::Duration;

use super::Client;
use super::coordinator::Coordinator;
use super::error::ClientError;
use crate::group::message::streams::{StreamsHeartbeat, StreamsHeartbeatAnswer};

/// The way to the coordinator of an application's group.
#[derive(Debug)]
pub struct StreamsGroup {
    coordinator: Coordinator,
}

impl StreamsGroup {
    /// Of the group of this name, which need not be there.
    #[must_use]
    pub fn new(client: &Client, group: impl Into<String>) -> Self {
        Self { coordinator: Coordinator::new(client.clone(), group) }
    }

    /// Sends a heartbeat to whoever coordinates the group, again while nobody answers or another node does: an error that
    /// asking again would not change, or [`ClientError::TimedOut`].
    pub async fn heartbeat(
        &self,
        heartbeat: StreamsHeartbeat,
        within: Duration,
    ) -> Result<StreamsHeartbeatAnswer, ClientError> {
        self.coordinator.ask("telling the group what runs here", heartbeat, within).await
    }
}

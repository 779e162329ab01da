//! Finds the node that coordinates a group, and asks it.

use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use millstream_transport::message::Message;

use super::error::ClientError;
use super::link::{Asks, Cluster, Target};
use super::{Client, Tries};
use crate::error::{ErrorCode, Refusal};
use crate::group::message::FindCoordinator;
use crate::ids::NodeId;

/// The coordinator of one group, as far as known.
#[derive(Debug)]
pub(crate) struct Coordinator {
    client: Client,
    group: String,
    node: Mutex<Option<NodeId>>,
}

impl Coordinator {
    pub(crate) fn new(client: Client, group: impl Into<String>) -> Self {
        Self { client, group: group.into(), node: Mutex::new(None) }
    }

    /// Asks until there is an answer that will not change by asking again, or the time is up.
    pub(crate) async fn ask<M, T>(&self, what: &str, message: M, within: Duration) -> Result<T, ClientError>
    where
        M: Message<Answer = Result<T, Refusal>> + Clone,
        dyn Cluster: Asks<M>,
    {
        let mut tries = Tries::begin(what, within);
        loop {
            match self.ask_once(message.clone(), tries.left()).await {
                Ok(done) => return Ok(done),
                Err(error) => tries.failed(error)?,
            }
            tries.pause().await?;
        }
    }

    /// Asks once; who is asked is looked up first where it is not known.
    pub(crate) async fn ask_once<M, T>(&self, message: M, within: Duration) -> Result<T, ClientError>
    where
        M: Message<Answer = Result<T, Refusal>>,
        dyn Cluster: Asks<M>,
    {
        let deadline = within.min(self.client.settings.request_timeout);
        let node = self.find(deadline).await?;
        let answer = Asks::<M>::ask(&*self.client.link, &Target::Node(node), message, deadline).await;
        match answer {
            Ok(Ok(done)) => Ok(done),
            Ok(Err(refusal)) => {
                if matches!(refusal.code, ErrorCode::NotCoordinator | ErrorCode::CoordinatorNotAvailable) {
                    self.set(None);
                }
                Err(refusal.into())
            }
            Err(error) => {
                self.set(None);
                Err(error.into())
            }
        }
    }

    async fn find(&self, within: Duration) -> Result<NodeId, ClientError> {
        let known = *self.node.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(node) = known {
            return Ok(node);
        }
        let view = self.client.metadata.ready(within).await?;
        let nodes = u64::try_from(view.nodes.len()).unwrap_or(0);
        let place = usize::try_from(self.client.world.random.range(0, nodes)).unwrap_or(0);
        let target = view.nodes.keys().nth(place).map(|node| Target::Node(*node));
        let none = || Refusal::new(ErrorCode::CoordinatorNotAvailable, "the cluster shows no live node");
        let find = FindCoordinator { group: self.group.clone() };
        let asking =
            Asks::<FindCoordinator>::ask(&*self.client.link, &target.ok_or_else(none)?, find, within);
        let asked = asking.await;
        if asked.is_err() {
            self.client.metadata.refresh();
        }
        let node = asked??;
        self.set(Some(node));
        Ok(node)
    }

    fn set(&self, node: Option<NodeId>) {
        *self.node.lock().unwrap_or_else(PoisonError::into_inner) = node;
    }
}

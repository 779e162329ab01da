//! Finds the node that coordinates a group or a transactional id, and asks it.

use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use millstream_transport::message::Message;

use super::error::ClientError;
use super::link::{Asking, Asks, Cluster, Target};
use super::{Client, Tries};
use crate::error::{ErrorCode, Refusal};
use crate::group::message::FindCoordinator;
use crate::ids::NodeId;
use crate::transaction::message::FindTransactionCoordinator;

/// What is coordinated.
#[derive(Clone, Debug)]
enum Coordinated {
    Group(String),
    Transactions(String),
}

impl Coordinated {
    fn find(self, link: &dyn Cluster, target: &Target, within: Duration) -> Asking<Result<NodeId, Refusal>> {
        match self {
            Self::Group(group) => {
                Asks::<FindCoordinator>::ask(link, target, FindCoordinator { group }, within)
            }
            Self::Transactions(id) => Asks::<FindTransactionCoordinator>::ask(
                link,
                target,
                FindTransactionCoordinator { id },
                within,
            ),
        }
    }
}

/// The coordinator of one group or of one transactional id, as far as known.
#[derive(Debug)]
pub(crate) struct Coordinator {
    client: Client,
    of: Coordinated,
    node: Mutex<Option<NodeId>>,
}

impl Coordinator {
    /// Of a group.
    pub(crate) fn new(client: Client, group: impl Into<String>) -> Self {
        Self { client, of: Coordinated::Group(group.into()), node: Mutex::new(None) }
    }

    /// Of a transactional id.
    pub(crate) fn of_transactions(client: Client, id: impl Into<String>) -> Self {
        Self { client, of: Coordinated::Transactions(id.into()), node: Mutex::new(None) }
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
        let asked = self.of.clone().find(&*self.client.link, &target.ok_or_else(none)?, within).await;
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

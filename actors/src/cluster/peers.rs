//! The other nodes, as far as the cluster's control needs them.

use std::collections::BTreeSet;
use std::fmt;
use std::future::Future;
use std::time::Duration;

use millstream_transport::message::Message;
use millstream_transport::peer::{AskError, Endpoint, Lane};
use millstream_transport::world::watch;

use crate::ids::NodeId;

/// Asks other nodes.
pub trait Peers: Clone + fmt::Debug + Send + Sync + 'static {
    /// Asks a node, on the lane that never waits behind data.
    fn ask<M: Message>(
        &self,
        node: NodeId,
        message: M,
        deadline: Duration,
    ) -> impl Future<Output = Result<M::Answer, AskError>> + Send;

    /// Where a node is found from now on.
    fn found_at(&self, node: NodeId, address: &str);

    /// The nodes that have said goodbye and were not met again.
    fn departed(&self) -> watch::Receiver<BTreeSet<NodeId>>;
}

impl Peers for Endpoint {
    fn ask<M: Message>(
        &self,
        node: NodeId,
        message: M,
        deadline: Duration,
    ) -> impl Future<Output = Result<M::Answer, AskError>> + Send {
        self.peer(node).ask(Lane::Control, message, deadline)
    }

    fn found_at(&self, node: NodeId, address: &str) {
        self.directory().set(node, address);
    }

    fn departed(&self) -> watch::Receiver<BTreeSet<NodeId>> {
        self.departed()
    }
}

//! Where nodes are found.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};

use tokio::sync::Notify;

use super::lock;
use crate::identity::NodeId;

/// Node → `host:port`. Names are resolved anew at every dial. Clones are handles to the same directory.
#[derive(Clone, Debug)]
pub struct Directory {
    addresses: Arc<Mutex<BTreeMap<NodeId, String>>>,
    changes: Arc<Notify>,
}

impl Directory {
    pub(super) fn new() -> Self {
        Self { addresses: Arc::default(), changes: Arc::default() }
    }

    /// Where this node is found from now on. A link that stands is kept; one that is being dialled in vain starts over.
    pub fn set(&self, node: NodeId, host_port: impl Into<String>) {
        let host_port = host_port.into();
        let before = lock(&self.addresses).insert(node, host_port.clone());
        if before.as_ref() != Some(&host_port) {
            self.changes.notify_waiters();
        }
    }

    /// Forgets where this node is found. A link that stands is kept.
    pub fn remove(&self, node: NodeId) {
        lock(&self.addresses).remove(&node);
    }

    /// Where this node is found.
    #[must_use]
    pub fn get(&self, node: NodeId) -> Option<String> {
        lock(&self.addresses).get(&node).cloned()
    }

    /// Returns when an address changes from now on.
    pub(super) async fn changed(&self) {
        self.changes.notified().await;
    }
}

//! Where the clients of Kafka's protocol find each node, by the name of the listener (`advertised.listeners`).

use std::collections::{BTreeMap, BTreeSet};

use serde::{Deserialize, Serialize};

use crate::ids::NodeId;

/// The most listeners of a node.
const LISTENERS_MAX: usize = 16;

/// The longest name and host, in bytes.
const TEXT_BYTES_MAX: usize = 255;

/// A listener as clients are told of it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct AdvertisedListener {
    /// Its name, the same on all nodes: who came in by it is told the others' addresses of the same name.
    pub name: String,
    /// The host, without the brackets of IPv6.
    pub host: String,
    /// The port.
    pub port: u16,
}

/// Listeners that no node has.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum InvalidListeners {
    /// There are too many.
    #[error("{0} listeners of one node; {LISTENERS_MAX} are the most")]
    TooMany(usize),
    /// A name or host is empty or too long.
    #[error("the name and the host of a listener have from 1 to {TEXT_BYTES_MAX} bytes")]
    Text,
    /// Two have one name.
    #[error("two listeners of one node are called {0}")]
    Twice(String),
}

/// An error unless a node can have these.
pub fn check_listeners(listeners: &[AdvertisedListener]) -> Result<(), InvalidListeners> {
    if listeners.len() > LISTENERS_MAX {
        return Err(InvalidListeners::TooMany(listeners.len()));
    }
    let mut names = BTreeSet::new();
    for listener in listeners {
        if [&listener.name, &listener.host].iter().any(|text| !(1..=TEXT_BYTES_MAX).contains(&text.len())) {
            return Err(InvalidListeners::Text);
        }
        if !names.insert(&listener.name) {
            return Err(InvalidListeners::Twice(listener.name.clone()));
        }
    }
    Ok(())
}

/// The listeners of all nodes that have told theirs.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Listeners(BTreeMap<NodeId, Vec<AdvertisedListener>>);

impl Listeners {
    /// A node's listeners; `None` where it has told none.
    #[must_use]
    pub fn of_node(&self, node: NodeId) -> Option<&[AdvertisedListener]> {
        self.0.get(&node).map(Vec::as_slice)
    }

    /// Whether no node has told any.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// A node has told its own.
    pub fn set(&mut self, node: NodeId, listeners: Vec<AdvertisedListener>) {
        self.0.insert(node, listeners);
    }

    /// A node's listeners are not known any more; false if they were not.
    pub fn forget(&mut self, node: NodeId) -> bool {
        self.0.remove(&node).is_some()
    }
}

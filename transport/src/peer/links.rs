//! News of links: who can be reached, in which life, and who no longer.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Mutex;

use tokio::sync::broadcast;

use super::{Lane, lock};
use crate::identity::NodeId;
use crate::world::watch;

/// News kept for a listener that is late; beyond it the listener is told that it missed some.
const KEPT: usize = 1024;

/// A link to or from a node came up or went down. Clients' links are not told.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LinkEvent {
    /// The node at the other end.
    pub node: NodeId,
    /// The life of its process.
    pub incarnation: u64,
    /// Which lane.
    pub lane: Lane,
    /// Who dialled.
    pub direction: Direction,
    /// What happened.
    pub change: LinkChange,
}

/// Who dialled a link.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Direction {
    /// This side.
    Dialled,
    /// The other side.
    Accepted,
}

/// What happened to a link.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum LinkChange {
    /// Greeted, ready.
    Up {
        /// The life in which this node was met last, where it was another one: it has been restarted since.
        previous: Option<u64>,
    },
    /// Gone; nothing more comes or goes by it.
    Down {
        /// Why.
        reason: String,
        /// The node said goodbye: it is being stopped in order.
        goodbye: bool,
    },
}

/// Tells the listeners, and remembers in which life each node was met last, and whether it has said goodbye in it.
#[derive(Debug)]
pub(super) struct Links {
    news: broadcast::Sender<LinkEvent>,
    met: Mutex<BTreeMap<NodeId, u64>>,
    departed: watch::Sender<BTreeSet<NodeId>>,
}

impl Links {
    pub(super) fn new() -> Self {
        let departed = watch::Sender::new(BTreeSet::new());
        Self { news: broadcast::Sender::new(KEPT), met: Mutex::default(), departed }
    }

    pub(super) fn departed(&self) -> watch::Receiver<BTreeSet<NodeId>> {
        self.departed.subscribe()
    }

    pub(super) fn listen(&self) -> broadcast::Receiver<LinkEvent> {
        self.news.subscribe()
    }

    pub(super) fn up(&self, node: NodeId, incarnation: u64, lane: Lane, direction: Direction) {
        let before = lock(&self.met).insert(node, incarnation);
        let previous = before.filter(|before| *before != incarnation);
        self.departed.send_if_modified(|departed| departed.remove(&node));
        self.tell(LinkEvent { node, incarnation, lane, direction, change: LinkChange::Up { previous } });
    }

    pub(super) fn tell(&self, event: LinkEvent) {
        tracing::debug!(?event, "link");
        let last_met = || lock(&self.met).get(&event.node) == Some(&event.incarnation);
        if matches!(event.change, LinkChange::Down { goodbye: true, .. }) && last_met() {
            self.departed.send_if_modified(|departed| departed.insert(event.node));
        }
        // Nobody listening is no error.
        let _ = self.news.send(event);
    }
}

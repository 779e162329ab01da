//! Peers: who is asked, how links to them live and die, and how what they ask is served.
//!
//! An [`Endpoint`] is a node's (or client's) one UDP socket. [`Endpoint::peer`] gives a handle to another node; the
//! first message through it dials. A peer has two lanes, each a QUIC connection of its own: [`Lane::Control`] is
//! driven on the thread that started the endpoint and never waits behind data; [`Lane::Data`] is driven on a core.
//! Who dials asks, who is dialled answers: two nodes that ask each other have links both ways, so there is nothing
//! to decide when both dial at once, and a cut in one direction shows in that direction.
//!
//! What holds:
//! - Messages through one peer and lane arrive in the order in which they were sent: they share one ordered stream.
//!   Answers come in any order. Bulk transfers open streams of their own ([`Channel`]).
//! - A message is never sent twice. When a link dies, all that was asked over it fails at once; whether it had been
//!   carried out is not known then ([`AskError::Closed`]).
//! - Every request is answered once: by its handler, with "dropped" if the handler lets go of it, or with the link's end.
//! - Every queue has a bound. What would go over it is refused to who asks ([`AskError::Full`]); the side that is asked
//!   stops reading when too much is unanswered, which holds the sender up through QUIC's flow control. An answer always
//!   has room: it was reserved when its request was read.
//! - Nobody without a certificate of the cluster gets further than the handshake, and not many at a time get that far.

mod answers;
mod closing;
mod counters;
mod dial;
mod directory;
mod drive;
mod endpoint;
mod error;
mod handlers;
mod hello;
mod links;
mod outbox;
mod reader;
mod serve;
mod session;
mod stream;
#[cfg(test)]
mod tests;
mod tuning;

use std::net::SocketAddr;
use std::sync::Arc;

use serde::{Deserialize, Serialize};

use crate::identity::NodeId;

pub use counters::{PeerCounters, PeerCounts};
pub use directory::Directory;
pub use endpoint::{Endpoint, EndpointConfig};
pub use error::{AskError, EndpointError, Fault, FaultCode};
pub use handlers::{Answering, Handlers, Request, Responder, Service};
pub use links::{Direction, LinkChange, LinkEvent};
pub use session::Peer;
pub use stream::{Channel, ChannelError, ChannelOffer, ChannelReceiver, ChannelSender, Offer};
pub use tuning::{LaneTuning, Limits, Mtu, Tuning};

/// Which of a peer's two connections a message takes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub enum Lane {
    /// Decisions: small, urgent, driven on the control thread.
    Control,
    /// Bytes: driven on a core.
    Data,
}

/// Who asks.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Caller {
    /// The node, by its certificate; `None` for a client.
    pub node: Option<NodeId>,
    /// The client's name, by its certificate; `None` for a node.
    pub client: Option<Arc<str>>,
    /// The life of the caller's process, as it told.
    pub incarnation: u64,
    /// Where it comes from.
    pub address: SocketAddr,
    /// The lane it came by.
    pub lane: Lane,
}

impl std::fmt::Display for Caller {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match (&self.node, &self.client) {
            (Some(node), _) => write!(formatter, "node {node} at {}", self.address),
            (None, Some(name)) => write!(formatter, "client {name:?} at {}", self.address),
            (None, None) => write!(formatter, "somebody at {}", self.address),
        }
    }
}

/// Locks a mutex whose holder never leaves its data half-changed, so that a panic elsewhere does not matter.
fn lock<T>(mutex: &std::sync::Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(std::sync::PoisonError::into_inner)
}

//! A client inside a node: it speaks over the node's own endpoint, as the node, and ends with it.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use millstream_transport::message::Message;
use millstream_transport::peer::Endpoint;
use millstream_transport::world::World;

use super::link::{Asking, Asks, Cluster, Target};
use super::{Client, ClientSettings, QuicLink};
use crate::events::Events;
use crate::ids::NodeId;

/// The client of a node: one for all who ask, begun with the first of them. Cheap to clone.
#[derive(Clone, Debug)]
pub struct NodeClient {
    shared: Arc<Shared>,
}

#[derive(Debug)]
struct Shared {
    world: World,
    endpoint: Endpoint,
    events: Events,
    settings: ClientSettings,
    begun: OnceLock<Client>,
}

impl NodeClient {
    /// The client of the node whose endpoint and events these are. Nothing is begun yet.
    #[must_use]
    pub fn new(world: &World, endpoint: &Endpoint, events: &Events) -> Self {
        let node = events.node();
        let listens_at = reachable(endpoint.local_address()).to_string();
        // The image tells a node where the others are, not where it is itself.
        if endpoint.directory().get(node).is_none() {
            endpoint.directory().set(node, &listens_at);
        }
        let settings =
            ClientSettings { client_id: format!("node-{node}"), ..ClientSettings::new([listens_at]) };
        let (world, endpoint, events) = (world.clone(), endpoint.clone(), events.clone());
        Self { shared: Arc::new(Shared { world, endpoint, events, settings, begun: OnceLock::new() }) }
    }

    /// A client of the cluster. Its [`Client::close`] ends nothing: others have the same.
    #[must_use]
    pub fn get(&self) -> Client {
        self.shared.begun.get_or_init(|| self.shared.begin()).clone()
    }

    /// Ends it with its node: what is made from it from now on says that it is closed.
    pub fn end(&self) {
        self.get().metadata.close();
    }
}

impl Shared {
    fn begin(&self) -> Client {
        let quic = QuicLink::new(self.endpoint.clone());
        let first = self.settings.bootstrap.first().cloned().unwrap_or_default();
        let link = Arc::new(NodeLink { quic, node: self.events.node(), listens_at: first });
        let events = self.events.clone();
        Client { is_lent: true, events, ..Client::begin(self.world.clone(), link, self.settings.clone()) }
    }
}

/// Where a socket is reached from its own machine.
fn reachable(mut address: SocketAddr) -> SocketAddr {
    match address.ip() {
        IpAddr::V4(ip) if ip.is_unspecified() => address.set_ip(Ipv4Addr::LOCALHOST.into()),
        IpAddr::V6(ip) if ip.is_unspecified() => address.set_ip(Ipv6Addr::LOCALHOST.into()),
        _ => {}
    }
    address
}

/// The way over the endpoint of a node. Where the others are is told by its image and not by answers to a client, which may
/// be older.
#[derive(Debug)]
struct NodeLink {
    quic: QuicLink,
    node: NodeId,
    listens_at: String,
}

impl<M: Message> Asks<M> for NodeLink {
    fn ask(&self, to: &Target, message: M, deadline: Duration) -> Asking<M::Answer> {
        match to {
            // One link to itself, and not one by address beside it.
            Target::Address(address) if *address == self.listens_at => {
                self.quic.ask(&Target::Node(self.node), message, deadline)
            }
            other => self.quic.ask(other, message, deadline),
        }
    }
}

impl Cluster for NodeLink {
    fn learn(&self, _: NodeId, _: &str) {}
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_socket_at_any_address_is_reached_by_the_loopback_of_its_family() {
        for (listens, reached) in
            [("0.0.0.0:9092", "127.0.0.1:9092"), ("[::]:9092", "[::1]:9092"), ("10.0.0.1:9", "10.0.0.1:9")]
        {
            assert_eq!(reachable(listens.parse().unwrap()).to_string(), reached);
        }
    }
}

//! The way to the nodes over QUIC.
//!
//! Records, and calls to actors, entities and stores of users, travel on the data lane, everything else on the control lane. The control
//! lane is kept up only to nodes that are being asked something there: the one that holds the client's metadata request, and a
//! group's coordinator. So the death of that node is noticed within the control lane's idle time, the deaths of others are told
//! by it.

use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use futures::FutureExt;
use millstream_transport::identity::Credentials;
use millstream_transport::message::Message;
use millstream_transport::peer::{
    AskError, Endpoint, EndpointConfig, EndpointError, FaultCode, Handlers, Lane,
};
use millstream_transport::wire::{RealWire, RealWireSettings, Wire};
use millstream_transport::world::{Threads, World};
use tokio::sync::oneshot;

use super::link::{Asking, Asks, Closing, Cluster, LinkError, Target};
use super::{Client, ClientError, ClientSettings};
use crate::ids::NodeId;

/// Kinds of messages that carry records, or ask for them: what clients ask of partitions' leaders.
const DATA_KINDS: std::ops::RangeInclusive<u16> = 100..=149;

/// Calls to actors of users by name, to entities, and to stores of streams: how many there are is up to users.
const CALL_KINDS: [std::ops::RangeInclusive<u16>; 3] = [401..=402, 430..=459, 460..=461];

/// The way to the nodes over QUIC.
#[derive(Clone, Debug)]
pub struct QuicLink {
    endpoint: Endpoint,
}

impl QuicLink {
    /// Over an endpoint that is started.
    #[must_use]
    pub const fn new(endpoint: Endpoint) -> Self {
        Self { endpoint }
    }
}

impl<M: Message> Asks<M> for QuicLink {
    fn ask(&self, to: &Target, message: M, deadline: Duration) -> Asking<M::Answer> {
        let peer = match to {
            Target::Node(node) => self.endpoint.peer(*node),
            Target::Address(address) => self.endpoint.at(address),
        };
        let is_data =
            DATA_KINDS.contains(&M::KIND) || CALL_KINDS.iter().any(|kinds| kinds.contains(&M::KIND));
        let lane = if is_data { Lane::Data } else { Lane::Control };
        // Sent by this call, not by the first poll: that keeps the order.
        Box::pin(peer.ask(lane, message, deadline).map(|answer| answer.map_err(link_error)))
    }
}

impl Cluster for QuicLink {
    fn learn(&self, node: NodeId, address: &str) {
        self.endpoint.directory().set(node, address);
    }

    fn close(&self) -> Closing {
        let endpoint = self.endpoint.clone();
        Box::pin(async move { endpoint.close().await })
    }
}

fn link_error(error: AskError) -> LinkError {
    let text = error.to_string();
    match error {
        AskError::Unreachable { .. } | AskError::Full { .. } => LinkError::NotSent(text),
        AskError::Closed { .. } | AskError::TimedOut { .. } | AskError::Dropped { .. } => {
            LinkError::NoAnswer(text)
        }
        AskError::Refused { fault, .. } if fault.code == FaultCode::Dropped => LinkError::NoAnswer(text),
        AskError::Refused { .. } | AskError::Unsendable(_) | AskError::Unreadable { .. } => {
            LinkError::Refused(text)
        }
    }
}

impl Client {
    /// A client of a cluster over the machine's network, with threads of its own: it works from any tokio program. The
    /// threads end when the client and all that was made from it are dropped.
    ///
    /// Waits for the first answer of a node, for at most `default.api.timeout.ms`.
    pub async fn connect(credentials: Credentials, settings: ClientSettings) -> Result<Self, ClientError> {
        settings.check()?;
        let started = |error: std::io::Error| ClientError::Start(error.to_string());
        let (world, arbiters) = World::real(settings.cores.saturating_add(1)).map_err(started)?;
        // The last thread is for the socket and the control lanes: decisions do not wait behind records.
        let mut cores = world.threads.cores().to_vec();
        let control = cores.pop().ok_or(ClientError::Closed)?;
        let world = World { threads: Threads::real(cores), ..world };
        let (sender, endpoint) = oneshot::channel();
        let (its_world, its_settings) = (world.clone(), settings.clone());
        control.spawn(move || async move {
            let _ = sender.send(open(its_world, credentials, &its_settings));
        });
        let endpoint = endpoint.await.map_err(|_| ClientError::Closed)?;
        let endpoint = endpoint.map_err(|error| ClientError::Start(error.to_string()))?;
        let mut client = Self::over(world, Arc::new(QuicLink::new(endpoint)), settings)?;
        client.threads = Some(Arc::new(arbiters));
        client.metadata.ready(client.settings.api_timeout).await?;
        Ok(client)
    }
}

fn open(
    world: World,
    credentials: Credentials,
    settings: &ClientSettings,
) -> Result<Endpoint, EndpointError> {
    let mtu_bytes = settings.mtu.upper_bytes();
    let wire: Arc<dyn Wire> =
        Arc::new(RealWire::new(RealWireSettings { mtu_bytes, ..RealWireSettings::default() }));
    let incarnation = world.random.next_u64();
    let start = |address: SocketAddr| {
        let mut config = EndpointConfig::new(address, credentials.clone(), incarnation);
        config.tuning.mtu = settings.mtu;
        config.watch_peers = false;
        Endpoint::start(config, world.clone(), Arc::clone(&wire), Arc::new(Handlers::new()))
    };
    // Both families where the machine has both.
    start((Ipv6Addr::UNSPECIFIED, 0).into()).or_else(|_| start((Ipv4Addr::UNSPECIFIED, 0).into()))
}

#[cfg(test)]
mod tests;

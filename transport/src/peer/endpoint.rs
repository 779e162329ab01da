//! A node's or client's one socket: dials peers, takes their links, closes.

use std::collections::{BTreeMap, BTreeSet};
use std::future::Future;
use std::net::SocketAddr;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use quinn::{TransportConfig, ValidationTokenConfig};
use tokio::runtime::Handle;
use tokio::sync::broadcast;
use tokio::time::timeout;

use super::closing::Closing;
use super::counters::PeerCounters;
use super::directory::Directory;
use super::error::{EndpointError, code};
use super::handlers::Service;
use super::links::{LinkEvent, Links};
use super::serve::{Strangers, take_links};
use super::session::{Peer, Target};
use super::tuning::{Limits, Role, Tuning};
use super::{Lane, lock};
use crate::identity::{Credentials, Holder, NodeId, server_config};
use crate::intake::{Intake, Shortage};
use crate::wire::Wire;
use crate::world::{World, watch};

/// Largest UDP payload that peers may send: as much as their MTU setting lets them.
const LARGEST_PAYLOAD: u16 = 65_527;

/// What requests of clients may occupy together, unless told otherwise.
const INTAKE_BYTES: u32 = 128 << 20;

/// How long [`Endpoint::close`] waits for its goodbyes to be heard.
const GOODBYE_TIME: Duration = Duration::from_millis(200);

/// What an endpoint is started with.
#[derive(Clone, Debug)]
pub struct EndpointConfig {
    /// The address of its socket; port 0 for any. A client listens on none, but its socket too has an address.
    pub listen: SocketAddr,
    /// Who it is.
    pub credentials: Credentials,
    /// The life of this process; another one at every start.
    pub incarnation: u64,
    /// How links are tuned.
    pub tuning: Tuning,
    /// What links may occupy.
    pub limits: Limits,
    /// What requests of clients may occupy together.
    pub intake: Intake,
    /// When clients that do not take their answers are let go.
    pub shortage: Shortage,
    /// Keeps the control lane up beside every data lane, so that a peer's death is noticed on both within a second.
    /// Costs a small packet each way per keep-alive interval and peer; a thousand idle clients would be felt.
    pub watch_peers: bool,
}

impl EndpointConfig {
    /// The defaults, for this holder of credentials.
    #[must_use]
    pub fn new(listen: SocketAddr, credentials: Credentials, incarnation: u64) -> Self {
        let (tuning, limits) = (Tuning::default(), Limits::default());
        let intake = Intake::new(INTAKE_BYTES);
        let shortage = Shortage::default();
        Self { listen, credentials, incarnation, tuning, limits, intake, shortage, watch_peers: true }
    }
}

/// What all links of an endpoint share.
#[derive(Debug)]
pub(super) struct Shared {
    pub(super) config: EndpointConfig,
    pub(super) quic: quinn::Endpoint,
    pub(super) world: World,
    pub(super) wire: Arc<dyn Wire>,
    pub(super) directory: Directory,
    pub(super) counters: Arc<PeerCounters>,
    pub(super) links: Links,
    pub(super) strangers: Strangers,
    pub(super) closing: Closing,
    control: Handle,
    dialling: [Arc<TransportConfig>; 2],
    core: AtomicUsize,
}

impl Shared {
    pub(super) fn dialling(&self, lane: Lane) -> &Arc<TransportConfig> {
        let [control, data] = &self.dialling;
        match lane {
            Lane::Control => control,
            Lane::Data => data,
        }
    }

    /// Cores in turn, for links that belong to none.
    pub(super) fn next_core(&self) -> usize {
        self.core.fetch_add(1, Ordering::Relaxed)
    }

    /// Runs a task on the thread of a lane: the control thread, or a core (the control thread again where there are none).
    /// False if that thread has stopped.
    pub(super) fn spawn<Start, F>(&self, lane: Lane, core: usize, start: Start) -> bool
    where
        Start: FnOnce() -> F + Send + 'static,
        F: Future<Output = ()> + Send + 'static,
    {
        let cores = self.world.threads.cores();
        let core = core.checked_rem(cores.len()).and_then(|index| cores.get(index));
        match (lane, core) {
            (Lane::Data, Some(core)) => core.spawn(start),
            _ => {
                self.control.spawn(start());
                true
            }
        }
    }
}

/// A node's or client's end of all its links. Clones are handles to the same endpoint; any thread may use them.
#[derive(Clone, Debug)]
pub struct Endpoint {
    shared: Arc<Shared>,
    peers: Arc<Mutex<BTreeMap<Target, Peer>>>,
    address: SocketAddr,
}

impl Endpoint {
    /// Opens the socket and, with a node's credentials, takes links. To be called on the control thread, inside its tokio
    /// runtime: the socket and the control lanes live there.
    pub fn start(
        config: EndpointConfig,
        world: World,
        wire: Arc<dyn Wire>,
        service: Arc<dyn Service>,
    ) -> Result<Self, EndpointError> {
        let dialling = [Lane::Control, Lane::Data].map(|lane| config.transport(lane, Role::Dials));
        let [control, data] = dialling;
        let dialling = [control?, data?];
        let servers = match config.credentials.identity().holder {
            Holder::Node(_) => {
                Some([server(&config, &world, Lane::Control)?, server(&config, &world, Lane::Data)?])
            }
            Holder::Client(_) | Holder::Authority => None,
        };
        let socket = wire.bind(config.listen)?;
        let address = socket.local_addr()?;
        let default_server = servers.as_ref().map(|[control, _]| control.as_ref().clone());
        let runtime = Arc::new(quinn::TokioRuntime);
        let quic =
            quinn::Endpoint::new_with_abstract_socket(quic_config(&world)?, default_server, socket, runtime)?;
        let shared = Arc::new(Shared {
            quic,
            world,
            wire,
            directory: Directory::new(),
            counters: Arc::default(),
            links: Links::new(),
            strangers: Strangers::new(config.limits.strangers),
            closing: Closing::default(),
            control: Handle::current(),
            dialling,
            core: AtomicUsize::new(0),
            config,
        });
        if let Some(servers) = servers {
            tokio::spawn(take_links(Arc::clone(&shared), servers, service));
        }
        Ok(Self { shared, peers: Arc::default(), address })
    }

    /// The address of its socket, with the port it got.
    #[must_use]
    pub fn local_address(&self) -> SocketAddr {
        self.address
    }

    /// Where nodes are found.
    #[must_use]
    pub fn directory(&self) -> &Directory {
        &self.shared.directory
    }

    /// A node, at the address that the directory has for it. Nothing is dialled before something is sent.
    #[must_use]
    pub fn peer(&self, node: NodeId) -> Peer {
        self.target(Target::Node(node))
    }

    /// Whichever node of the cluster is at this `host:port`.
    #[must_use]
    pub fn at(&self, host_port: &str) -> Peer {
        self.target(Target::Address(host_port.to_owned()))
    }

    fn target(&self, target: Target) -> Peer {
        let mut peers = lock(&self.peers);
        peers.entry(target).or_insert_with_key(|target| Peer::new(&self.shared, target)).clone()
    }

    /// News of links to and from nodes, from now on.
    #[must_use]
    pub fn links(&self) -> broadcast::Receiver<LinkEvent> {
        self.shared.links.listen()
    }

    /// The nodes that have said goodbye in the life in which they were met last: they are being stopped in order, or were.
    #[must_use]
    pub fn departed(&self) -> watch::Receiver<BTreeSet<NodeId>> {
        self.shared.links.departed()
    }

    /// What it has counted.
    #[must_use]
    pub fn counters(&self) -> Arc<PeerCounters> {
        Arc::clone(&self.shared.counters)
    }

    /// Says goodbye on all links, fails what waits, and closes the socket. Waits at most a fifth of a second to be heard: a
    /// goodbye is sent at once, and what is still being dialled would hold the wait up to its end.
    pub async fn close(&self) {
        self.shared.closing.say();
        // Links say goodbye themselves as their tasks see the word; what is still in a handshake is ended here.
        tokio::task::yield_now().await;
        self.abandon();
        let _ = timeout(GOODBYE_TIME, self.shared.quic.wait_idle()).await;
    }

    /// Ends everything without waiting: goodbyes are sent once and may be lost. For a simulated node that dies, after
    /// its socket was taken away from it: then nobody hears of it.
    pub fn abandon(&self) {
        self.shared.closing.say();
        self.shared.quic.close(code::GOODBYE, b"goodbye");
        lock(&self.peers).clear();
    }
}

/// QUIC of the whole socket. In a simulation its randomness comes from the world's seed.
fn quic_config(world: &World) -> Result<quinn::EndpointConfig, EndpointError> {
    let mut config = quinn::EndpointConfig::default();
    config
        .max_udp_payload_size(LARGEST_PAYLOAD)
        .map_err(|error| EndpointError::Handshake(error.to_string()))?;
    if world.threads.simulated_delay().is_some() {
        let mut seed = [0; 32];
        for part in seed.chunks_exact_mut(8) {
            part.copy_from_slice(&world.random.next_u64().to_le_bytes());
        }
        config.rng_seed(Some(seed));
    }
    Ok(config)
}

/// What a link of this lane is offered when it comes in.
fn server(
    config: &EndpointConfig,
    world: &World,
    lane: Lane,
) -> Result<Arc<quinn::ServerConfig>, EndpointError> {
    let tls = server_config(&config.credentials, &world.clock)?;
    let crypto = quinn::crypto::rustls::QuicServerConfig::try_from(tls)
        .map_err(|error| EndpointError::Handshake(error.to_string()))?;
    let mut server = quinn::ServerConfig::with_crypto(Arc::new(crypto));
    let mut tokens = ValidationTokenConfig::default();
    // Addresses prove themselves within a handshake, by retry, or not at all: no tokens for later.
    tokens.sent(0);
    server
        .transport_config(config.transport(lane, Role::IsDialled)?)
        .validation_token_config(tokens)
        .max_incoming(config.limits.strangers.saturating_mul(4))
        .incoming_buffer_size(64 << 10)
        .incoming_buffer_size_total(16 << 20);
    Ok(Arc::new(server))
}

//! Endpoints that talk to each other: over the simulated network, and over real sockets on loopback.

mod asking;
mod channels;
mod hostile;
mod links;
mod real;

use std::net::{IpAddr, SocketAddr};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use bytes::Bytes;
use serde::{Deserialize, Serialize};

use super::*;
use crate::identity::{ClusterAuthority, Credentials, NodeId};
use crate::message::{Answer, BodyMismatch, Message};
use crate::wire::SimulatedNetwork;
use crate::world::simulation::Simulation;
use crate::world::{SimulatedDisk, World};

/// Answered with the same text and body.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
struct Echo {
    number: u32,
    #[serde(skip)]
    body: Bytes,
}

impl Message for Echo {
    const KIND: u16 = 90;
    type Answer = Echoed;

    fn take_bodies(&mut self) -> Vec<Bytes> {
        vec![std::mem::take(&mut self.body)]
    }

    fn put_bodies(&mut self, bodies: Vec<Bytes>) -> Result<(), BodyMismatch> {
        let found = bodies.len();
        let [body] = <[Bytes; 1]>::try_from(bodies).map_err(|_| BodyMismatch { expected: 1, found })?;
        self.body = body;
        Ok(())
    }
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
struct Echoed(Echo);

impl Answer for Echoed {
    fn take_bodies(&mut self) -> Vec<Bytes> {
        self.0.take_bodies()
    }

    fn put_bodies(&mut self, bodies: Vec<Bytes>) -> Result<(), BodyMismatch> {
        self.0.put_bodies(bodies)
    }
}

/// Noted, not answered.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
struct Note(u32);

impl Message for Note {
    const KIND: u16 = 91;
    type Answer = ();
}

/// Noted and never answered.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
struct Forever(u32, #[serde(skip)] Bytes);

impl Message for Forever {
    const KIND: u16 = 92;
    type Answer = ();

    fn take_bodies(&mut self) -> Vec<Bytes> {
        vec![std::mem::take(&mut self.1)]
    }

    fn put_bodies(&mut self, bodies: Vec<Bytes>) -> Result<(), BodyMismatch> {
        BodyMismatch::check(1, bodies.len())
    }
}

/// Let go of by its handler.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
struct LetGo;

impl Message for LetGo {
    const KIND: u16 = 93;
    type Answer = ();
}

/// No handler has it.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
struct Unheard;

impl Message for Unheard {
    const KIND: u16 = 94;
    type Answer = ();
}

/// An [`Echo`] of a version to come.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
struct NextEcho;

impl Message for NextEcho {
    const KIND: u16 = Echo::KIND;
    const VERSION: u16 = 2;
    type Answer = ();
}

/// Only for nodes.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
struct Secret;

impl Message for Secret {
    const KIND: u16 = 95;
    type Answer = ();
}

/// Opens a channel that sends back what it gets.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
struct Mirror(u32);

impl Message for Mirror {
    const KIND: u16 = 96;
    type Answer = Vec<u32>;
}

/// Opens a channel that nobody reads.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
struct Deaf;

impl Message for Deaf {
    const KIND: u16 = 97;
    type Answer = ();
}

/// What the handlers of one node saw and kept.
#[derive(Clone, Debug, Default)]
struct Seen {
    notes: Arc<Mutex<Vec<u32>>>,
    callers: Arc<Mutex<Vec<Caller>>>,
    kept: Arc<Mutex<Vec<Answering<Forever>>>>,
    channels: Arc<Mutex<Vec<Channel>>>,
}

fn handlers(seen: &Seen) -> Handlers {
    let (echo, note, forever, deaf) = (seen.clone(), seen.clone(), seen.clone(), seen.clone());
    Handlers::new()
        .on::<Echo>(move |caller, message, answering| {
            lock(&echo.notes).push(message.number);
            lock(&echo.callers).push(caller.clone());
            answering.answer(Echoed(message));
        })
        .on::<Note>(move |_, message, _| lock(&note.notes).push(message.0))
        .on::<Forever>(move |_, message, answering| {
            lock(&forever.notes).push(message.0);
            lock(&forever.kept).push(answering);
        })
        .on::<LetGo>(|_, _, answering| drop(answering))
        .on_nodes::<Secret>(|_, _, answering| answering.answer(()))
        .on_channel::<Mirror>(|_, message, offer| {
            tokio::spawn(async move {
                let Ok(channel) = offer.accept(vec![message.0]).await else { return };
                let (mut sender, mut receiver) = channel.split();
                while let Ok(Some(frame)) = receiver.receive().await {
                    sender.send(frame.decode::<Echo>().unwrap()).await.unwrap();
                }
                sender.finish();
            });
        })
        .on_channel::<Deaf>(move |_, _, offer| {
            let channels = Arc::clone(&deaf.channels);
            tokio::spawn(async move {
                let channel = offer.accept(()).await.unwrap();
                lock(&channels).push(channel);
            });
        })
}

/// A simulated network with an authority for who is on it.
struct Town {
    simulation: Simulation,
    network: SimulatedNetwork,
    world: World,
    authority: ClusterAuthority,
}

impl Town {
    fn new(simulation: Simulation) -> Self {
        let network = SimulatedNetwork::new(simulation.seed_of("network"));
        let world = World::simulated(&simulation, &SimulatedDisk::new(simulation.seed_of("disk")));
        let authority = ClusterAuthority::create(&world.clock, &world.random).unwrap();
        Self { simulation, network, world, authority }
    }

    fn node_config(&self, node: u32) -> EndpointConfig {
        let credentials = self.authority.issue_node(NodeId(node), &[]).unwrap();
        EndpointConfig::new(address(node), credentials, u64::from(node) * 1000)
    }

    fn client_config(&self, host: u32, name: &str) -> EndpointConfig {
        EndpointConfig::new(address(host), self.authority.issue_client(name).unwrap(), 7)
    }

    /// Starts what this configuration says, at its address.
    fn start(&self, config: EndpointConfig) -> Inhabitant {
        let seen = Seen::default();
        let wire = self.network.wire(config.listen.ip());
        let world = World::simulated(&self.simulation, &SimulatedDisk::new(1));
        let endpoint = Endpoint::start(config, world, wire, Arc::new(handlers(&seen))).unwrap();
        for node in 1..10 {
            endpoint.directory().set(NodeId(node), address(node).to_string());
        }
        Inhabitant { endpoint, seen }
    }

    fn node(&self, node: u32) -> Inhabitant {
        self.start(self.node_config(node))
    }

    /// Credentials that another authority issued.
    fn stranger(&self, node: u32) -> Credentials {
        let other = ClusterAuthority::create(&self.world.clock, &self.world.random).unwrap();
        other.issue_node(NodeId(node), &[]).unwrap()
    }
}

struct Inhabitant {
    endpoint: Endpoint,
    seen: Seen,
}

impl Inhabitant {
    fn counts(&self) -> PeerCounts {
        self.endpoint.counters().snapshot()
    }

    fn notes(&self) -> Vec<u32> {
        lock(&self.seen.notes).clone()
    }
}

fn host(number: u32) -> IpAddr {
    IpAddr::from([10, 0, 0, u8::try_from(number).unwrap()])
}

fn address(number: u32) -> SocketAddr {
    SocketAddr::new(host(number), 9000)
}

fn echo(number: u32, bytes: usize) -> Echo {
    Echo { number, body: Bytes::from(vec![u8::try_from(number % 251).unwrap(); bytes]) }
}

const SECOND: Duration = Duration::from_secs(1);
const LANES: [Lane; 2] = [Lane::Control, Lane::Data];

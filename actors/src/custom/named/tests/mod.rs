//! Nodes with actors in one process: a quorum that is an image, mail that is a call.

mod calling;
mod lives;
mod singletons;
mod watching;

use std::collections::{BTreeMap, BTreeSet};
use std::future::Future;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use futures::FutureExt;
use futures::future::{BoxFuture, ready};
use millstream_transport::world::simulation::{Simulation, run};
use millstream_transport::world::{SimulatedDisk, World, watch};
use serde::{Deserialize, Serialize};
use tokio::time::{Instant, sleep, timeout};

use super::doors::{Answering, Mail, NameRegistry, NoAnswer};
use super::message::{ActorEnd, AskActor, TellActor, WatchActor};
use super::{ActorContext, ActorSettings, Handled, NamedActor, NamedParts, NamedSettings, NodeActors};
use crate::cluster::agent::NodeHealth;
use crate::cluster::lease::Lease;
use crate::cluster::message::nodes::NodeStanding;
use crate::custom::call::CallError;
use crate::custom::envelope::{ActorMessage, Answered};
use crate::custom::threads::{UserThreads, UserThreadsSettings};
use crate::error::{ErrorCode, Refusal};
use crate::events::Events;
use crate::ids::{Incarnation, NodeId};
use crate::image::fixture::{fence, registration, unfence};
use crate::image::{Command, Features, Image, NameAlteration, Outcome, Registration};
use crate::supervision::listing::{ActorPage, ListActors};

const SECOND: Duration = Duration::from_secs(1);

/// The metadata quorum: applies at once, publishes to all nodes.
#[derive(Clone, Debug)]
struct Quorum {
    image: Arc<Mutex<Image>>,
    published: watch::Sender<Arc<Image>>,
    lost: Arc<Mutex<BTreeSet<NodeId>>>,
}

impl Quorum {
    fn new(nodes: u32) -> Self {
        let quorum = Self {
            image: Arc::default(),
            published: watch::Sender::new(Arc::default()),
            lost: Arc::default(),
        };
        for node in 1..=nodes {
            let registration = Registration { feature_level: Features::NAMES, ..registration(node, 1) };
            quorum.decide(Command::RegisterNode(registration)).unwrap();
            quorum.decide(unfence(node, 1)).unwrap();
        }
        quorum.decide(Command::SetFeatureLevel { level: Features::NAMES }).unwrap();
        quorum
    }

    fn decide(&self, command: Command) -> Result<(), Refusal> {
        let decided = self.decide_unseen(command);
        self.published.send_replace(Arc::new(self.image.lock().unwrap().clone()));
        decided
    }

    /// Decides something of which no node hears yet.
    fn decide_unseen(&self, command: Command) -> Result<(), Refusal> {
        let mut image = self.image.lock().unwrap();
        let index = image.version() + 1;
        match image.apply(index, &command) {
            Outcome::Refused(refusal) => Err(refusal),
            _ => Ok(()),
        }
    }

    /// Makes a change for an actor of a node.
    fn alter(&self, node: u32, alteration: NameAlteration) {
        let (node, incarnation, most) = (NodeId(node), Incarnation(1), 100);
        self.decide(Command::AlterNames { node, incarnation, alteration, most }).unwrap();
    }

    /// A node does not reach the quorum from now on, or does again.
    fn lose(&self, node: u32, is_lost: bool) {
        let mut lost = self.lost.lock().unwrap();
        match is_lost {
            true => lost.insert(NodeId(node)),
            false => lost.remove(&NodeId(node)),
        };
    }
}

/// One node's way to the quorum.
#[derive(Clone, Debug)]
struct Registry {
    quorum: Quorum,
    node: NodeId,
}

impl NameRegistry for Registry {
    fn alter(&self, alteration: NameAlteration, _: Duration) -> BoxFuture<'static, Result<(), Refusal>> {
        let Self { quorum, node } = self.clone();
        async move {
            sleep(Duration::from_millis(1)).await;
            if quorum.lost.lock().unwrap().contains(&node) {
                return Err(Refusal::new(ErrorCode::RequestTimedOut, "no controller answered in time"));
            }
            let most = 100;
            quorum.decide(Command::AlterNames { node, incarnation: Incarnation(1), alteration, most })
        }
        .boxed()
    }
}

/// The nodes by number, and which cannot be reached.
#[derive(Clone, Debug, Default)]
struct Post(Arc<Mutex<BTreeMap<NodeId, NodeActors>>>, Arc<Mutex<BTreeSet<NodeId>>>);

impl Post {
    fn to<T: Send + 'static>(
        &self,
        node: NodeId,
        act: impl FnOnce(NodeActors) -> BoxFuture<'static, T>,
    ) -> Answering<T> {
        let cut = self.1.lock().unwrap().contains(&node);
        match self.0.lock().unwrap().get(&node).filter(|_| !cut) {
            Some(actors) => act(actors.clone()).map(Ok).boxed(),
            None => ready(Err(NoAnswer::NotSent(format!("{node} cannot be reached")))).boxed(),
        }
    }
}

impl Mail for Post {
    fn ask(&self, node: NodeId, message: AskActor, _: Duration) -> Answering<Result<Answered, CallError>> {
        self.to(node, |actors| async move { Arc::clone(&actors.host).asked(message).await }.boxed())
    }

    fn tell(&self, node: NodeId, message: TellActor, _: Duration) -> Answering<Result<(), CallError>> {
        self.to(node, |actors| ready(actors.host.told(message)).boxed())
    }

    fn watch(&self, node: NodeId, message: WatchActor, _: Duration) -> Answering<Option<ActorEnd>> {
        self.to(node, |actors| Arc::clone(&actors.host).watch(message).boxed())
    }

    fn list(&self, node: NodeId, message: ListActors, _: Duration) -> Answering<ActorPage> {
        self.to(node, |actors| ready(actors.page(&message)).boxed())
    }
}

/// The nodes, numbered from 1.
struct Nodes {
    quorum: Quorum,
    post: Post,
    nodes: BTreeMap<u32, NodeActors>,
    leases: BTreeMap<u32, Lease>,
    health: BTreeMap<u32, watch::Sender<NodeHealth>>,
}

impl Nodes {
    async fn start(simulation: &Simulation, count: u32, settings: NamedSettings) -> Self {
        let (quorum, post) = (Quorum::new(count), Post::default());
        let mut all =
            Self { quorum, post, nodes: BTreeMap::new(), leases: BTreeMap::new(), health: BTreeMap::new() };
        for number in 1..=count {
            let world = World::simulated(simulation, &SimulatedDisk::new(number.into()));
            let lease = Lease::new(Instant::now());
            lease.granted(Instant::now(), Duration::from_secs(3600));
            let healthy = NodeHealth {
                standing: NodeStanding::Live,
                quorum_seen: true,
                was_live: true,
                quorum_lost: false,
            };
            let (told, health) = watch::channel(healthy);
            let (node, events) = (NodeId(number), Events::uncounted());
            let parts = NamedParts {
                node,
                incarnation: Incarnation(1),
                settings,
                images: all.quorum.published.subscribe(),
                lease: lease.clone(),
                health,
                registry: Arc::new(Registry { quorum: all.quorum.clone(), node }),
                mail: Arc::new(all.post.clone()),
                threads: UserThreads::start(&world, UserThreadsSettings::default(), events.clone()),
                clock: world.clock.clone(),
                events,
            };
            let actors = NodeActors::start(parts, None).await.unwrap();
            all.post.0.lock().unwrap().insert(node, actors.clone());
            all.nodes.insert(number, actors);
            all.leases.insert(number, lease);
            all.health.insert(number, told);
        }
        all
    }

    fn on(&self, node: u32) -> &NodeActors {
        &self.nodes[&node]
    }

    /// The quorum takes a node for lost.
    fn lose(&self, node: u32) {
        self.quorum.decide(fence(node, 1)).unwrap();
    }

    fn cut(&self, node: u32) {
        self.post.1.lock().unwrap().insert(NodeId(node));
    }
}

/// Runs a test over nodes in virtual time.
fn with_nodes<F: Future<Output = ()>>(count: u32, test: impl FnOnce(Nodes) -> F) {
    run(1, |simulation| async move {
        test(Nodes::start(&simulation, count, NamedSettings::default()).await).await;
    });
}

#[derive(Debug, Serialize, Deserialize)]
enum Sum {
    Add(u64),
    Wait(u64),
    Panic,
    Refuse,
    AddAndFail(u64),
    Stop,
    Where,
}

impl ActorMessage for Sum {
    const NAME: &'static str = "sum";
    const VERSION: u16 = 2;
    type Answer = u64;

    fn from_earlier(_: u16, body: &[u8]) -> Option<Result<Self, String>> {
        Some(Ok(Self::Add(body[7].into())))
    }

    fn label(&self) -> &'static str {
        match self {
            Self::Add(_) => "add",
            Self::Panic => "panic",
            _ => "other",
        }
    }
}

/// Adds numbers.
#[derive(Default)]
struct Adder(u64);

impl NamedActor for Adder {
    const KIND: &'static str = "adder";
    type Message = Sum;

    async fn handle(&mut self, message: Sum, context: &ActorContext) -> Handled<Sum> {
        match message {
            Sum::Add(number) => self.0 += number,
            Sum::Wait(ms) => sleep(Duration::from_millis(ms)).await,
            Sum::Panic => panic!("asked to"),
            Sum::Refuse => return Err(CallError::Refused("not today".to_owned())),
            Sum::AddAndFail(number) => {
                self.0 += number;
                return Err(CallError::NotOwner("said another that it asked".to_owned()));
            }
            Sum::Stop => context.stop(),
            Sum::Where => return Ok(context.actor().node.0.into()),
        }
        Ok(self.0)
    }
}

//! Replicas that do as little as a fetch session needs: a leader with a list of batches, a follower that notes what it is
//! told.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use actix::{Actor, Addr, AsyncContext, Context, Handler, Message, Recipient, ResponseFuture};
use bytes::{Bytes, BytesMut};
use millstream_transport::world::simulation::Simulation;
use millstream_transport::world::{Core, Random, SimulatedDisk, Threads, World};
use tokio::sync::watch;

use super::memory::MemoryNetwork;
use crate::events::Events;
use crate::ids::{DirectoryId, Incarnation, LeaderEpoch, Member, NodeId, Offset, PartitionId, TopicId};
use crate::partition::following::*;
use crate::partition::host::LinkMaker;
use crate::replication::links::{Links, LinksSetup};
use crate::replication::message::OpenSession;
use crate::replication::ports::{Ports, ReplicaPort};
use crate::replication::sessions::FeedSessions;
use crate::replication::settings::FetchSettings;

pub(super) const LEADER: NodeId = NodeId(1);
pub(super) const FOLLOWER: NodeId = NodeId(2);
pub(super) const EPOCH: LeaderEpoch = LeaderEpoch(5);
pub(super) const LIFE: Incarnation = Incarnation(77);

pub(super) fn partition(index: i32) -> PartitionId {
    PartitionId { topic: TopicId(uuid::Uuid::from_u128(9)), index }
}

pub(super) fn member() -> Member {
    Member { node: FOLLOWER, directory: DirectoryId(uuid::Uuid::from_u128(4)), incarnation: LIFE }
}

/// A batch of one record: its offset, then as many bytes as wanted.
pub(super) fn batch(partition: PartitionId, offset: i64, bytes: usize) -> Bytes {
    let mut batch = BytesMut::with_capacity(bytes.max(12));
    batch.extend_from_slice(&u32::try_from(bytes.max(12)).unwrap().to_le_bytes());
    batch.extend_from_slice(&offset.to_le_bytes());
    batch.resize(bytes.max(12), u8::try_from(partition.index % 251).unwrap());
    batch.freeze()
}

/// The offsets of batches that stand one behind the other.
pub(super) fn offsets(mut batches: &[u8]) -> Vec<i64> {
    let mut offsets = Vec::new();
    while !batches.is_empty() {
        let length = u32::from_le_bytes(batches[..4].try_into().unwrap()) as usize;
        offsets.push(i64::from_le_bytes(batches[4..12].try_into().unwrap()));
        batches = &batches[length..];
    }
    offsets
}

/// What has been said to a leader.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Heard {
    Opened(LeaderEpoch),
    Reported(Offset),
    Detached(LeaderEpoch),
}

#[derive(Debug)]
pub(super) struct Leads {
    pub(super) epoch: Option<LeaderEpoch>,
    pub(super) log: Vec<Bytes>,
    pub(super) high_watermark: Offset,
    pub(super) opening: Option<Opening>,
    pub(super) lets_leave: bool,
    pub(super) heard: Vec<Heard>,
    pub(super) reads: usize,
    feed: Option<(Member, LeaderEpoch, Box<dyn FeedWaker>)>,
}

/// A leading replica.
#[derive(Clone, Debug)]
pub(super) struct Leader {
    pub(super) partition: PartitionId,
    pub(super) state: Arc<Mutex<Leads>>,
}

impl Leader {
    pub(super) fn append(&self, bytes: usize) {
        let mut state = self.state.lock().unwrap();
        let offset = i64::try_from(state.log.len()).unwrap();
        state.log.push(batch(self.partition, offset, bytes));
        state.wake(self.partition);
    }

    pub(super) fn commit(&self, high_watermark: i64) {
        let mut state = self.state.lock().unwrap();
        state.high_watermark = Offset(high_watermark);
        state.wake(self.partition);
    }

    pub(super) fn lead(&self, epoch: Option<LeaderEpoch>) {
        let mut state = self.state.lock().unwrap();
        state.epoch = epoch;
        state.wake(self.partition);
    }

    pub(super) fn log(&self) -> Bytes {
        self.state.lock().unwrap().log.concat().into()
    }

    pub(super) fn heard(&self) -> Vec<Heard> {
        self.state.lock().unwrap().heard.clone()
    }

    pub(super) fn is_fed(&self) -> bool {
        self.state.lock().unwrap().feed.is_some()
    }
}

impl Leads {
    fn wake(&self, partition: PartitionId) {
        if let Some((_, _, waker)) = &self.feed {
            waker.wake(partition);
        }
    }
}

struct LeaderActor(Leader);

impl Actor for LeaderActor {
    type Context = Context<Self>;
}

impl Handler<OpenFeed> for LeaderActor {
    type Result = Result<Opening, FeedRefusal>;

    fn handle(&mut self, open: OpenFeed, _: &mut Context<Self>) -> Self::Result {
        let mut state = self.0.state.lock().unwrap();
        if state.epoch != Some(open.epoch) {
            return Err(FeedRefusal::NotLeading);
        }
        state.heard.push(Heard::Opened(open.epoch));
        let accepted = Opening::Accepted {
            end: open.log.end,
            high_watermark: state.high_watermark,
            log_start: Offset::ZERO,
        };
        let opening = state.opening.unwrap_or(accepted);
        if let Opening::Accepted { .. } = opening {
            state.feed = Some((open.member, open.epoch, open.waker));
        }
        Ok(opening)
    }
}

impl Handler<ReadFeed> for LeaderActor {
    type Result = Result<Feed, FeedRefusal>;

    fn handle(&mut self, read: ReadFeed, _: &mut Context<Self>) -> Self::Result {
        let mut state = self.0.state.lock().unwrap();
        state.reads += 1;
        if state.epoch != Some(read.epoch) {
            return Err(FeedRefusal::NotLeading);
        }
        if state.feed.as_ref().is_none_or(|feed| (feed.0, feed.1) != (read.member, read.epoch)) {
            return Err(FeedRefusal::NotOpen);
        }
        let mut next = usize::try_from(read.from.0).unwrap();
        let mut batches = Vec::new();
        let mut bytes = 0;
        while let Some(batch) = state.log.get(next) {
            if !batches.is_empty() && bytes + batch.len() > read.max_bytes {
                break;
            }
            bytes += batch.len();
            batches.push(batch.clone());
            next += 1;
        }
        // One batch is passed on as it stands, more are joined, as a segment would have them.
        let batches = if batches.len() == 1 { batches.remove(0) } else { batches.concat().into() };
        Ok(Feed {
            batches,
            next: Offset(i64::try_from(next).unwrap()),
            end: Offset(i64::try_from(state.log.len()).unwrap()),
            high_watermark: state.high_watermark,
            log_start: Offset::ZERO,
        })
    }
}

impl Handler<FollowerReported> for LeaderActor {
    type Result = ();

    fn handle(&mut self, reported: FollowerReported, _: &mut Context<Self>) {
        self.0.state.lock().unwrap().heard.push(Heard::Reported(reported.durable_end));
    }
}

impl Handler<FollowerDetached> for LeaderActor {
    type Result = ();

    fn handle(&mut self, detached: FollowerDetached, _: &mut Context<Self>) {
        let mut state = self.0.state.lock().unwrap();
        state.heard.push(Heard::Detached(detached.epoch));
        state.feed.take_if(|feed| (feed.0, feed.1) == (detached.member, detached.epoch));
    }
}

impl Handler<LeaveSet> for LeaderActor {
    type Result = Result<bool, FeedRefusal>;

    fn handle(&mut self, _: LeaveSet, _: &mut Context<Self>) -> Self::Result {
        Ok(self.0.state.lock().unwrap().lets_leave)
    }
}

/// The leading replicas of a node.
#[derive(Clone, Debug, Default)]
pub(super) struct FakePorts(Arc<Mutex<BTreeMap<PartitionId, ReplicaPort>>>);

impl Ports for FakePorts {
    fn port(&self, partition: PartitionId) -> Option<ReplicaPort> {
        self.0.lock().unwrap().get(&partition).cloned()
    }
}

impl FakePorts {
    /// Starts a leading replica on a core.
    pub(super) fn lead(&self, index: i32, core: usize) -> Leader {
        let leads = Leads {
            epoch: Some(EPOCH),
            log: Vec::new(),
            high_watermark: Offset::ZERO,
            opening: None,
            lets_leave: true,
            heard: Vec::new(),
            reads: 0,
            feed: None,
        };
        let leader = Leader { partition: partition(index), state: Arc::new(Mutex::new(leads)) };
        let address = LeaderActor(leader.clone()).start();
        let port = ReplicaPort {
            core,
            open: address.clone().recipient(),
            read: address.clone().recipient(),
            reported: address.clone().recipient(),
            detached: address.clone().recipient(),
            leave: address.recipient(),
        };
        self.0.lock().unwrap().insert(leader.partition, port);
        leader
    }
}

/// What a following replica was told, in short.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Noted {
    Opened(Opening),
    Interrupted,
    LeftSet,
}

#[derive(Debug)]
pub(super) struct Follows {
    pub(super) log: Vec<u8>,
    pub(super) end: i64,
    pub(super) high_watermark: Offset,
    pub(super) noted: Vec<Noted>,
    /// Batches that came and were taken in.
    pub(super) fed: usize,
    /// Bytes that came, taken in or not.
    pub(super) come: usize,
}

/// A following replica.
#[derive(Clone, Debug)]
pub(super) struct Replica {
    pub(super) state: Arc<Mutex<Follows>>,
    address: Addr<FollowerActor>,
    stands_still: Arc<watch::Sender<bool>>,
}

#[derive(Debug)]
pub(super) struct FollowerActor {
    partition: PartitionId,
    state: Arc<Mutex<Follows>>,
    links: Box<dyn LeaderLinks>,
    stands_still: watch::Receiver<bool>,
}

type Act = Box<dyn FnOnce(&dyn LeaderLinks, PartitionId, &Mutex<Follows>) + Send>;

/// Something to do with a replica's links.
#[derive(Message)]
#[rtype(result = "()")]
struct Do(Act);

/// Ends a replica.
#[derive(Message)]
#[rtype(result = "()")]
struct Die;

impl Replica {
    pub(super) async fn links(
        &self,
        act: impl FnOnce(&dyn LeaderLinks, PartitionId, &Mutex<Follows>) + Send + 'static,
    ) {
        self.address.send(Do(Box::new(act))).await.unwrap();
    }

    pub(super) async fn open(&self, epoch: LeaderEpoch) {
        self.links(move |links, partition, state| {
            let end = Offset(state.lock().unwrap().end);
            let log = FollowerLog { end, durable_end: end, last_epoch: None };
            links.open(LEADER, partition, member(), epoch, log);
        })
        .await;
    }

    pub(super) async fn close(&self) {
        self.links(|links, partition, _| links.close(partition)).await;
    }

    pub(super) async fn leave(&self) {
        self.links(|links, partition, _| links.leave(LEADER, partition, member(), EPOCH)).await;
    }

    pub(super) async fn die(&self) {
        self.address.send(Die).await.unwrap();
    }

    /// Takes nothing in any more, or goes on.
    pub(super) fn stand_still(&self, stands_still: bool) {
        self.stands_still.send_replace(stands_still);
    }

    pub(super) fn noted(&self) -> Vec<Noted> {
        self.state.lock().unwrap().noted.clone()
    }

    pub(super) fn take_noted(&self) -> Vec<Noted> {
        std::mem::take(&mut self.state.lock().unwrap().noted)
    }

    pub(super) fn end(&self) -> i64 {
        self.state.lock().unwrap().end
    }

    pub(super) fn log(&self) -> Bytes {
        self.state.lock().unwrap().log.clone().into()
    }
}

impl Actor for FollowerActor {
    type Context = Context<Self>;
}

impl Handler<Do> for FollowerActor {
    type Result = ();

    fn handle(&mut self, act: Do, _: &mut Context<Self>) {
        (act.0)(&*self.links, self.partition, &self.state);
    }
}

impl Handler<Die> for FollowerActor {
    type Result = ();

    fn handle(&mut self, _: Die, context: &mut Context<Self>) {
        actix::ActorContext::stop(context);
    }
}

/// Taken in at last.
#[derive(Message)]
#[rtype(result = "()")]
struct Take(LeaderEpoch, Bytes, Offset);

impl Handler<FromLeader> for FollowerActor {
    type Result = ResponseFuture<()>;

    fn handle(&mut self, from: FromLeader, context: &mut Context<Self>) -> Self::Result {
        let mut state = self.state.lock().unwrap();
        match from.told {
            Told::Opened(opening) => state.noted.push(Noted::Opened(opening)),
            Told::Interrupted => state.noted.push(Noted::Interrupted),
            Told::LeftSet => state.noted.push(Noted::LeftSet),
            Told::Fed { batches, high_watermark, .. } => {
                state.come += batches.len();
                let (me, mut stands_still) = (context.address(), self.stands_still.clone());
                return Box::pin(async move {
                    let _ = stands_still.wait_for(|stands_still| !stands_still).await;
                    me.send(Take(from.epoch, batches, high_watermark)).await.unwrap();
                });
            }
        }
        Box::pin(async {})
    }
}

impl Handler<Take> for FollowerActor {
    type Result = ();

    fn handle(&mut self, Take(epoch, batches, high_watermark): Take, _: &mut Context<Self>) {
        let mut state = self.state.lock().unwrap();
        state.high_watermark = high_watermark;
        let offsets = offsets(&batches);
        let goes_on = offsets.first().is_none_or(|first| *first == state.end);
        if goes_on && !offsets.is_empty() {
            state.log.extend_from_slice(&batches);
            state.end += i64::try_from(offsets.len()).unwrap();
            state.fed += 1;
            self.links.report(self.partition, epoch, Offset(state.end));
        }
    }
}

/// A leader's node and a follower's node.
#[derive(Debug)]
pub(super) struct Rig {
    pub(super) network: MemoryNetwork,
    pub(super) ports: FakePorts,
    pub(super) links: Links,
    pub(super) settings: FetchSettings,
}

/// A world whose cores are so many names for the one thread.
pub(super) fn world(simulation: &Simulation, cores: usize) -> World {
    let cores = (0..cores).map(|index| Core::new(index, actix_rt::Arbiter::current())).collect();
    World {
        threads: Threads::real(cores),
        ..World::simulated(simulation, &SimulatedDisk::new(simulation.seed_of("disk")))
    }
}

impl Rig {
    pub(super) fn new(simulation: &Simulation, settings: FetchSettings) -> Self {
        let (network, ports, world) = (MemoryNetwork::default(), FakePorts::default(), world(simulation, 2));
        let served: Arc<dyn Ports> = Arc::new(ports.clone());
        network.serve(LEADER, FeedSessions::new(served, settings, world.clone(), Events::uncounted()));
        let setup = setup(&network, settings, world.random);
        Self { network, ports, links: Links::new(0, setup), settings }
    }

    /// What links of the same follower's node, as if it were started again, need.
    pub(super) fn setup(&self, settings: FetchSettings) -> LinksSetup {
        setup(&self.network, settings, Random::seeded(1))
    }

    /// Starts a following replica.
    pub(super) fn follow(&self, index: i32) -> Replica {
        follow(&self.links, index)
    }

    /// Starts a leading and a following replica of the same partition, the latter subscribed.
    pub(super) async fn pair(&self, index: i32) -> (Leader, Replica) {
        let (leader, replica) = (self.ports.lead(index, 0), self.follow(index));
        replica.open(EPOCH).await;
        (leader, replica)
    }

    pub(super) fn opening(&self) -> OpenSession {
        OpenSession {
            follower: FOLLOWER,
            incarnation: LIFE,
            core: 0,
            leader_core: 0,
            window_bytes: self.settings.window_bytes,
            partition_window_bytes: self.settings.partition_window_bytes,
        }
    }
}

fn setup(network: &MemoryNetwork, settings: FetchSettings, random: Random) -> LinksSetup {
    let dial = Arc::new(network.clone());
    LinksSetup { node: FOLLOWER, incarnation: LIFE, dial, settings, random, events: Events::uncounted() }
}

/// Starts a following replica with these links.
pub(super) fn follow(links: &Links, index: i32) -> Replica {
    start(index, |told| links.of(told))
}

/// Starts a following replica on a core.
pub(super) fn follow_on(links: &dyn LinkMaker, core: usize, index: i32) -> Replica {
    start(index, |told| links.links(core, told))
}

fn start(index: i32, links: impl FnOnce(Recipient<FromLeader>) -> Box<dyn LeaderLinks>) -> Replica {
    let follows =
        Follows { log: Vec::new(), end: 0, high_watermark: Offset::ZERO, noted: Vec::new(), fed: 0, come: 0 };
    let state = Arc::new(Mutex::new(follows));
    let (stands_still, is_still) = watch::channel(false);
    let kept = Arc::clone(&state);
    let address = FollowerActor::create(|context| FollowerActor {
        partition: partition(index),
        state: kept,
        links: links(context.address().recipient()),
        stands_still: is_still,
    });
    Replica { state, address, stands_still: Arc::new(stands_still) }
}

/// Waits until something is so; the simulation's limit ends the test if it never is.
pub(super) async fn until(mut is_so: impl FnMut() -> bool) {
    while !is_so() {
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
}

/// Lets everything that is under way happen.
pub(super) async fn settle() {
    tokio::time::sleep(Duration::from_millis(50)).await;
}

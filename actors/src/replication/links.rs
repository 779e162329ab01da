//! How the replicas of one core reach their leaders: who of them is served by which follower.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use actix::{Addr, Recipient};
use millstream_transport::world::Random;

use super::channel::Dial;
use super::follower::{Asker, Desk, Follower, SessionKey};
use super::message::Question;
use super::settings::FetchSettings;
use crate::events::{Events, ReplicationMetrics, SessionSide};
use crate::ids::{Incarnation, LeaderEpoch, Member, NodeId, PartitionId};
use crate::partition::following::{FollowerEnds, FollowerLog, FromLeader, LeaderLinks};

/// What the links of all cores of a node share.
#[derive(Clone, Debug)]
pub struct LinksSetup {
    /// This node.
    pub node: NodeId,
    /// The life of its process.
    pub incarnation: Incarnation,
    /// Opens sessions.
    pub dial: Arc<dyn Dial>,
    /// Their bounds.
    pub settings: FetchSettings,
    /// For pauses.
    pub random: Random,
    /// Where events go.
    pub events: Events,
}

/// The links of the replicas of one core. To be used on that core only: followers are started where they are first needed.
#[derive(Clone, Debug)]
pub struct Links(Arc<LinksCore>);

impl Links {
    /// The links of core `core`, with no session yet.
    #[must_use]
    pub fn new(core: usize, setup: LinksSetup) -> Self {
        let LinksSetup { node, incarnation, dial, settings, random, events } = setup;
        Self(Arc::new(LinksCore {
            core: u32::try_from(core).unwrap_or(u32::MAX),
            node,
            incarnation,
            dial,
            settings,
            random,
            metrics: ReplicationMetrics::new(&events, SessionSide::Follower),
            events,
            routes: Mutex::default(),
        }))
    }

    /// The links of one replica, which hears by `told`. When they are dropped, nothing more is read for it.
    #[must_use]
    pub fn of(&self, told: Recipient<FromLeader>) -> Box<dyn LeaderLinks> {
        let mut routes = self.0.routes();
        routes.replicas += 1;
        Box::new(ReplicaLinks { replica: routes.replicas, told, core: Arc::clone(&self.0) })
    }
}

/// The links of one core.
#[derive(Debug)]
pub(super) struct LinksCore {
    pub(super) core: u32,
    pub(super) node: NodeId,
    pub(super) incarnation: Incarnation,
    pub(super) dial: Arc<dyn Dial>,
    pub(super) settings: FetchSettings,
    pub(super) random: Random,
    pub(super) events: Events,
    pub(super) metrics: ReplicationMetrics,
    routes: Mutex<Routes>,
}

#[derive(Debug, Default)]
struct Routes {
    followers: BTreeMap<SessionKey, Served>,
    partitions: BTreeMap<PartitionId, Route>,
    /// Replicas that were given links.
    replicas: u64,
}

#[derive(Debug)]
struct Served {
    follower: Addr<Follower>,
    desk: Arc<Desk>,
}

/// Where a partition's leader was found last.
#[derive(Clone, Copy, Debug)]
struct Route {
    key: SessionKey,
    /// Who reads it.
    replica: u64,
    is_open: bool,
}

impl LinksCore {
    fn routes(&self) -> MutexGuard<'_, Routes> {
        self.routes.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The desk of a follower; a new one's, if there is none alive.
    fn desk(self: &Arc<Self>, routes: &mut Routes, key: SessionKey) -> Arc<Desk> {
        if let Some(served) = routes.followers.get(&key)
            && served.follower.connected()
        {
            return Arc::clone(&served.desk);
        }
        let (follower, desk) = Follower::begin(key, Arc::clone(self));
        routes.followers.insert(key, Served { follower, desk: Arc::clone(&desk) });
        desk
    }

    /// A leader said that it has this replica on another core.
    pub(super) fn ask_elsewhere(self: &Arc<Self>, from: SessionKey, core: u32, asker: Asker) {
        let to = SessionKey { core, ..from };
        let desk = {
            let mut routes = self.routes();
            if let Question::Subscribe(_) = asker.question() {
                match routes.partitions.get_mut(&asker.partition()) {
                    Some(route) if route.is_open && route.key == from => route.key = to,
                    // It reads from another leader by now, or not at all.
                    _ => return asker.silence(),
                }
            }
            self.desk(&mut routes, to)
        };
        desk.ask(asker);
    }

    /// A leader cannot be reached at this core. Should it come back with fewer cores, its first one knows.
    pub(super) fn forget_core(&self, key: SessionKey) {
        let mut routes = self.routes();
        for route in routes.partitions.values_mut().filter(|route| route.key == key) {
            route.key.core = 0;
        }
    }
}

/// The links of one replica.
#[derive(Debug)]
struct ReplicaLinks {
    replica: u64,
    told: Recipient<FromLeader>,
    core: Arc<LinksCore>,
}

impl ReplicaLinks {
    /// Where a partition is read now, if this replica reads it.
    fn open_route(&self, routes: &Routes, partition: PartitionId) -> Option<SessionKey> {
        let route = routes.partitions.get(&partition)?;
        (route.is_open && route.replica == self.replica).then_some(route.key)
    }

    fn reading_desk(&self, partition: PartitionId) -> Option<Arc<Desk>> {
        let routes = self.core.routes();
        let key = self.open_route(&routes, partition)?;
        routes.followers.get(&key).map(|served| Arc::clone(&served.desk))
    }
}

impl LeaderLinks for ReplicaLinks {
    fn open(
        &self,
        leader: NodeId,
        partition: PartitionId,
        member: Member,
        epoch: LeaderEpoch,
        log: FollowerLog,
    ) {
        let told = self.told.clone();
        let asker = Asker::new(partition, member, epoch, Question::Subscribe(log), told);
        let (before, desk) = {
            let mut routes = self.core.routes();
            let known = routes.partitions.get(&partition).copied();
            let core = known.filter(|known| known.key.leader == leader).map_or(0, |known| known.key.core);
            let key = SessionKey { leader, core };
            let before = known.filter(|known| known.is_open && known.key != key);
            let before = before.and_then(|before| routes.followers.get(&before.key));
            let before = before.map(|served| Arc::clone(&served.desk));
            routes.partitions.insert(partition, Route { key, replica: self.replica, is_open: true });
            (before, self.core.desk(&mut routes, key))
        };
        if let Some(before) = before {
            before.close(partition);
        }
        desk.ask(asker);
    }

    fn leave(&self, leader: NodeId, partition: PartitionId, member: Member, epoch: LeaderEpoch) {
        let asker = Asker::new(partition, member, epoch, Question::Leave, self.told.clone());
        let desk = {
            let mut routes = self.core.routes();
            let known = routes.partitions.get(&partition).filter(|known| known.key.leader == leader);
            let core = known.map_or(0, |known| known.key.core);
            self.core.desk(&mut routes, SessionKey { leader, core })
        };
        desk.ask(asker);
    }

    fn close(&self, partition: PartitionId) {
        let desk = self.reading_desk(partition);
        if let Some(route) = self.core.routes().partitions.get_mut(&partition)
            && route.replica == self.replica
        {
            route.is_open = false;
        }
        if let Some(desk) = desk {
            desk.close(partition);
        }
    }

    fn report(&self, partition: PartitionId, epoch: LeaderEpoch, ends: FollowerEnds) {
        if let Some(desk) = self.reading_desk(partition) {
            desk.report(partition, epoch, ends);
        }
    }
}

impl Drop for ReplicaLinks {
    fn drop(&mut self) {
        let mut routes = self.core.routes();
        let own = routes.partitions.iter().filter(|(_, route)| route.replica == self.replica);
        let own: Vec<_> = own.map(|(partition, route)| (*partition, *route)).collect();
        let mut desks = Vec::new();
        for (partition, route) in own {
            routes.partitions.remove(&partition);
            let served = routes.followers.get(&route.key).filter(|_| route.is_open);
            desks.extend(served.map(|served| (partition, Arc::clone(&served.desk))));
        }
        drop(routes);
        for (partition, desk) in desks {
            desk.close(partition);
        }
    }
}

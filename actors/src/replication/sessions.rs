//! The leader's end: takes the sessions that followers open and starts a feeder for each.
//!
//! A session is between one core of the follower's node and one core of the leader's: its feeder lives on the core of the
//! replicas that it reads from, its follower on the core of those that it delivers to, so that nothing but the frame
//! itself ever changes threads. The price is cores × cores channels between two nodes, and smaller frames; the other
//! way, one session for each core of the follower and a hop to the replica's core for each read, costs two wake-ups of
//! another thread (5 to 15 µs each) a frame and core. A follower learns where a replica lives by asking: core 0 first,
//! which sends it on, once for each partition and leader.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use actix::Addr;
use millstream_transport::peer::{Caller, Fault, FaultCode, Handlers, Offer};
use millstream_transport::world::World;

use super::channel::LeaderChannel;
use super::feeder::{Feeder, FeederSetup, Replaced};
use super::message::{OpenSession, SessionOpened};
use super::ports::Ports;
use super::settings::FetchSettings;
use crate::events::Events;
use crate::ids::{Incarnation, NodeId};

/// Channels that one link must allow for the sessions of two nodes with so many cores at most
/// (`Limits::channels` of the transport).
#[must_use]
pub fn channels_between(cores: usize) -> usize {
    cores.saturating_mul(cores)
}

/// Takes sessions. Clones are handles to the same.
#[derive(Clone, Debug)]
pub struct FeedSessions(Arc<Shared>);

#[derive(Debug)]
struct Shared {
    ports: Arc<dyn Ports>,
    settings: FetchSettings,
    world: World,
    events: Events,
    feeders: Mutex<BTreeMap<Ends, Fed>>,
}

/// The two ends of a session: the follower's node and core, the leader's core.
type Ends = (NodeId, u32, u32);

/// Who feeds a follower, and in which life of the follower's process.
#[derive(Debug)]
struct Fed {
    incarnation: Incarnation,
    feeder: Addr<Feeder>,
}

impl FeedSessions {
    /// Feeds followers from these replicas.
    #[must_use]
    pub fn new(ports: Arc<dyn Ports>, settings: FetchSettings, world: World, events: Events) -> Self {
        Self(Arc::new(Shared { ports, settings, world, events, feeders: Mutex::default() }))
    }

    /// Serves what followers open, in a table of handlers.
    #[must_use]
    pub fn serve(&self, handlers: Handlers) -> Handlers {
        let sessions = self.clone();
        handlers.on_node_channel::<OpenSession>(move |caller, opening, offer| {
            sessions.offered(caller, opening, offer);
        })
    }

    fn offered(&self, caller: &Caller, opening: OpenSession, offer: Offer<OpenSession>) {
        let who = (opening.follower, opening.incarnation.0);
        if (caller.node, caller.incarnation) != (Some(who.0), who.1) {
            let text = format!("{caller} cannot open a session of node {} in life {}", who.0, who.1);
            return offer.refuse(Fault::new(FaultCode::NotAllowed, text));
        }
        let cores = self.0.world.threads.cores();
        let core = usize::try_from(opening.leader_core).ok().and_then(|index| cores.get(index));
        let Some(core) = core else {
            let text = format!("core {} of {}", opening.leader_core, cores.len());
            return offer.refuse(Fault::new(FaultCode::NotAllowed, text));
        };
        let sessions = self.clone();
        core.spawn(move || async move {
            match offer.accept(sessions.answer(&opening)).await {
                Ok(channel) => sessions.begin(opening, channel.into()).await,
                Err(error) => {
                    tracing::debug!(follower = %opening.follower, %error, "fetch session not opened")
                }
            }
        });
    }

    /// What a follower is answered.
    pub(super) fn answer(&self, opening: &OpenSession) -> SessionOpened {
        let settings = &self.0.settings;
        SessionOpened {
            cores: u32::try_from(self.0.world.threads.cores().len()).unwrap_or(u32::MAX),
            window_bytes: settings.window_bytes.min(opening.window_bytes),
            partition_window_bytes: settings.partition_window_bytes.min(opening.partition_window_bytes),
        }
    }

    /// Feeds a session from here on; on the core that it names. An older session of the same follower's core lets go of
    /// every replica before, so that its end cannot be taken for the new one's.
    pub(super) async fn begin(&self, opening: OpenSession, channel: LeaderChannel) {
        let ends = (opening.follower, opening.core, opening.leader_core);
        let incarnation = opening.incarnation;
        while let Some(older) = self.take_older(ends) {
            if older.incarnation > incarnation {
                self.feeders().entry(ends).or_insert(older);
                return;
            }
            let _ = older.feeder.send(Replaced).await;
        }
        let Shared { ports, settings, world, events, .. } = &*self.0;
        let feeder = Feeder::begin(FeederSetup {
            core: usize::try_from(opening.leader_core).unwrap_or(usize::MAX),
            opening,
            channel,
            ports: Arc::clone(ports),
            settings: *settings,
            clock: world.clock.clone(),
            events: events.clone(),
        });
        self.feeders().insert(ends, Fed { incarnation, feeder });
    }

    fn take_older(&self, ends: Ends) -> Option<Fed> {
        self.feeders().remove(&ends)
    }

    fn feeders(&self) -> MutexGuard<'_, BTreeMap<Ends, Fed>> {
        self.0.feeders.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

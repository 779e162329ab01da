//! The actors of users on one node: begun here, known here by name, and looked after.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::fmt;
use std::marker::PhantomData;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};
use std::time::Duration;

use millstream_transport::world::watch;
use ractor::{Actor, ActorCell, ActorProcessingErr, ActorRef, SpawnErr, SupervisionEvent};
use tokio::runtime::Handle;
use tokio::sync::{Notify, Semaphore};

use super::actor::{ActorContext, ActorSettings, NamedActor};
use super::beginning::{Beginning, Ending};
use super::calls::ActorCalls;
use super::cell::{Cell, Gate, KindSeries};
use super::following::{GivenUp, Singleton};
use super::handle::ActorHandle;
use super::mailbox::Mailbox;
use super::message::{ActorEnd, StopReason};
use super::parts::NamedParts;
use super::runner::{Factory, Runner, RunnerParts};
use super::way::NodeWay;
use crate::custom::call::CallError;
use crate::custom::metrics::UserMetrics;
use crate::error::Refusal;
use crate::ids::{ActorId, NodeId};
use crate::image::{Image, NameAlteration};
use crate::kinds::{USER_ACTOR, USER_SUPERVISOR};
use crate::partition::memory::Budget;
use crate::supervision::roster::{Entry, Seat};

/// How long a change of names is tried.
pub(super) const ALTER_WITHIN: Duration = Duration::from_secs(10);

/// Asks of other nodes and of clients open at a time: half of what one link may have unanswered.
const OPEN_ASKS_MAX: usize = 512;

/// Waits of theirs for ends of actors and changes of names.
const OPEN_WAITS_MAX: usize = 256;

/// Ended actors whose reason is remembered.
const ENDED_MAX: usize = 1024;

/// All actors of users on a node.
pub(super) struct Host {
    pub(super) parts: NamedParts,
    pub(super) table: Mutex<Table>,
    pub(super) closed: AtomicBool,
    is_too_late: Arc<AtomicBool>,
    next: AtomicU64,
    bytes: Budget,
    supervisor: ActorRef<Nothing>,
    /// Where changes of names are asked for, and the image is followed.
    pub(super) control: Handle,
    calls: OnceLock<ActorCalls>,
    emptied: Notify,
    /// Something is to be looked at that no image tells.
    pub(super) look_again: Arc<Notify>,
    /// Asks of other nodes and of clients that are open: a link is not read on while too much on it is unanswered.
    pub(super) asks: Arc<Semaphore>,
    /// Waits of theirs for ends and changes.
    pub(super) waits: Arc<Semaphore>,
}

/// Which actors there are.
#[derive(Default)]
pub(super) struct Table {
    pub(super) cells: BTreeMap<u64, Arc<Cell>>,
    pub(super) names: BTreeMap<Arc<str>, u64>,
    /// Actors that are being begun: whose names are theirs already, perhaps.
    pub(super) pending: BTreeSet<u64>,
    pub(super) singletons: BTreeMap<String, Singleton>,
    /// What the quorum is being asked to take back.
    pub(super) giving_up: BTreeSet<GivenUp>,
    ended: VecDeque<(u64, ActorEnd)>,
    kinds: BTreeSet<Arc<str>>,
}

impl fmt::Debug for Host {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let actors = self.table().cells.len();
        formatter.debug_struct("Host").field("node", &self.parts.node).field("actors", &actors).finish()
    }
}

/// The actors of users on a node: begins them, and calls others wherever they are. Cheap to clone; any thread may use it.
#[derive(Clone, Debug)]
pub struct NodeActors {
    pub(super) host: Arc<Host>,
    calls: ActorCalls,
}

impl std::ops::Deref for NodeActors {
    type Target = ActorCalls;

    fn deref(&self) -> &ActorCalls {
        &self.calls
    }
}

/// Hears of the ends of users' actors, and survives them all.
struct UserSupervisor;

/// What it is told: nothing.
#[derive(Debug)]
pub(super) enum Nothing {}

impl ractor::Message for Nothing {}

impl Actor for UserSupervisor {
    type Msg = Nothing;
    type State = Seat;
    type Arguments = Seat;

    async fn pre_start(&self, _: ActorRef<Nothing>, seat: Seat) -> Result<Seat, ActorProcessingErr> {
        Ok(seat)
    }

    async fn handle_supervisor_evt(
        &self,
        _: ActorRef<Nothing>,
        _: SupervisionEvent,
        seat: &mut Seat,
    ) -> Result<(), ActorProcessingErr> {
        let _turn = seat.turn();
        // What an end means is done as the actor's state is dropped, on whatever way it ended.
        Ok(())
    }
}

impl NodeActors {
    /// Starts what looks after users' actors, under `supervisor` if there is one. On the control thread.
    pub async fn start(parts: NamedParts, supervisor: Option<ActorCell>) -> Result<Self, SpawnErr> {
        let seat = parts.events.seat(Entry::new(USER_SUPERVISOR, ""));
        let started = match supervisor {
            Some(supervisor) => Actor::spawn_linked(None, UserSupervisor, seat, supervisor).await?,
            None => Actor::spawn(None, UserSupervisor, seat).await?,
        };
        let host = Arc::new(Host {
            table: Mutex::default(),
            closed: AtomicBool::new(false),
            is_too_late: Arc::default(),
            next: AtomicU64::new(1),
            bytes: Budget::new(parts.settings.mailbox_bytes),
            supervisor: started.0,
            control: Handle::current(),
            calls: OnceLock::new(),
            emptied: Notify::new(),
            look_again: Arc::default(),
            asks: Arc::new(Semaphore::new(OPEN_ASKS_MAX)),
            waits: Arc::new(Semaphore::new(OPEN_WAITS_MAX)),
            parts,
        });
        let calls = ActorCalls::new(Arc::new(NodeWay(Arc::downgrade(&host))));
        // Set once, here.
        let _ = host.calls.set(calls.clone());
        tokio::spawn(super::following::follow(Arc::downgrade(&host), host.parts.images.clone()));
        Ok(Self { host, calls })
    }

    /// Calls to actors, to be kept by whoever needs nothing else.
    #[must_use]
    pub const fn calls(&self) -> &ActorCalls {
        &self.calls
    }

    /// The node they are on.
    #[must_use]
    pub fn node(&self) -> NodeId {
        self.host.parts.node
    }

    /// Metrics of the user's own, in this node's scrape.
    #[must_use]
    pub fn metrics(&self) -> UserMetrics {
        UserMetrics::new(self.host.parts.events.clone())
    }

    /// Begins an actor on this node under a name that nobody in the cluster has.
    ///
    /// `make` makes it, now and after each panic. An error where the name belongs to another, where there are as many names
    /// or actors as may be, or where the quorum does not answer within ten seconds. Where this is dropped before it is
    /// done, the actor ends, and its name is free again.
    pub async fn spawn<A: NamedActor>(
        &self,
        name: &str,
        settings: ActorSettings,
        make: impl Fn() -> A + Send + Sync + 'static,
    ) -> Result<ActorHandle, CallError> {
        let beginning = Beginning::of(&self.host, Some(name));
        let spawned = self.host.spawn(beginning.serial(), name, settings, Arc::new(make)).await;
        if spawned.is_ok() {
            beginning.succeeded();
        }
        spawned.map(|cell| self.handle(cell))
    }

    /// Begins an actor on this node that has no name: it is found by its id, or in a group. Where this is dropped before it is
    /// done, the actor ends.
    pub async fn spawn_unnamed<A: NamedActor>(
        &self,
        settings: ActorSettings,
        make: impl Fn() -> A + Send + Sync + 'static,
    ) -> Result<ActorHandle, CallError> {
        let beginning = Beginning::of(&self.host, None);
        let begun = self.host.begin(beginning.serial(), None, settings, Arc::new(make)).await;
        if begun.is_ok() {
            beginning.succeeded();
        }
        begun.map(|cell| self.handle(cell))
    }

    /// This node may host an actor that exists once in the cluster: it runs on the first node that says so, and when that
    /// one dies or stops on the next, in the order in which they said so.
    ///
    /// `make` is called only where it is to run. Returns when this node stands for the name; an error where it cannot. Where
    /// this is dropped before it is done, the node does not stand. A node on which it cannot be begun leaves it to the next,
    /// and stands again after a while.
    pub async fn host_singleton<A: NamedActor>(
        &self,
        name: &str,
        settings: ActorSettings,
        make: impl Fn() -> A + Send + Sync + 'static,
    ) -> Result<(), CallError> {
        self.host.stand_for(name, settings, Arc::new(make)).await
    }

    fn handle(&self, cell: Arc<Cell>) -> ActorHandle {
        ActorHandle { cell, host: Arc::downgrade(&self.host) }
    }

    /// Ends all actors of this node, each after the message that it handles now; those that have not ended in time are left.
    /// The names go with the node's leaving. The users' threads go on: entities are on them, too.
    pub async fn stop(&self, within: Duration) {
        self.host.close();
        let empty = async {
            while !self.host.table().cells.is_empty() {
                self.host.emptied.notified().await;
            }
        };
        // Who does not end in time is told by the watch on long handlers.
        drop(tokio::time::timeout(within, empty).await);
        self.host.is_too_late.store(true, Ordering::Release);
        self.host.supervisor.stop(None);
    }

    /// Ends all at once, as a kill would.
    pub fn abandon(&self) {
        self.host.is_too_late.store(true, Ordering::Release);
        self.host.close();
        self.host.supervisor.stop(None);
    }
}

/// What a refusal of the quorum means to a user.
pub(super) fn refused(refusal: Refusal) -> CallError {
    if refusal.code.is_retriable() {
        return CallError::NoQuorum(refusal.text);
    }
    CallError::Refused(refusal.text)
}

impl Host {
    pub(super) fn table(&self) -> MutexGuard<'_, Table> {
        self.table.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// All actors: none of them is dealt with while the table is locked.
    pub(super) fn cells(&self) -> Vec<Arc<Cell>> {
        self.table().cells.values().cloned().collect()
    }

    pub(super) fn image(&self) -> Arc<Image> {
        Arc::clone(&self.parts.images.borrow())
    }

    pub(super) fn next_serial(&self) -> u64 {
        self.next.fetch_add(1, Ordering::Relaxed)
    }

    pub(super) fn id(&self, serial: u64) -> ActorId {
        ActorId { node: self.parts.node, incarnation: self.parts.incarnation, serial }
    }

    pub(super) fn is_closed(&self) -> bool {
        self.closed.load(Ordering::Acquire)
    }

    /// Registers a name, and begins its actor once this node sees that the name is its own.
    async fn spawn<A: NamedActor>(
        self: &Arc<Self>,
        serial: u64,
        name: &str,
        settings: ActorSettings,
        factory: Factory<A>,
    ) -> Result<Arc<Cell>, CallError> {
        let register = NameAlteration::Register { name: name.to_owned(), kind: A::KIND.to_owned(), serial };
        self.parts.registry.alter(register, ALTER_WITHIN).await.map_err(refused)?;
        let mut images = self.parts.images.clone();
        let own = self.id(serial);
        let seen = images.wait_for(|image| image.names().owner(name).is_some_and(|owner| owner.actor == own));
        if !matches!(tokio::time::timeout(ALTER_WITHIN, seen).await, Ok(Ok(_))) {
            let text = format!("this node has not heard in time that {name:?} was registered");
            return Err(CallError::NoQuorum(text));
        }
        self.begin(serial, Some(Arc::from(name)), settings, factory).await
    }

    /// Begins an actor, whose name is its own already.
    pub(super) async fn begin<A: NamedActor>(
        self: &Arc<Self>,
        serial: u64,
        name: Option<Arc<str>>,
        settings: ActorSettings,
        factory: Factory<A>,
    ) -> Result<Arc<Cell>, CallError> {
        let (cell, seat) = self.cell::<A>(serial, name, settings);
        self.admit(&cell)?;
        let context = ActorContext {
            actor: cell.actor,
            name: cell.name.clone(),
            calls: self.calls.get().cloned().ok_or_else(stops)?,
            metrics: UserMetrics::new(self.parts.events.clone()),
            stop: Arc::default(),
        };
        let parts = RunnerParts {
            factory,
            restarts: settings.restarts,
            context,
            gate: cell.gate.clone(),
            cell: Arc::clone(&cell),
            threads: self.parts.threads.clone(),
            answer_bytes_max: self.parts.settings.message_bytes_max,
            events: self.parts.events.clone(),
            origin: self.parts.clock.now(),
            seat,
            _ending: Ending::of(self, serial),
        };
        let supervisor = self.supervisor.get_cell();
        let spawning = async move { Actor::spawn_linked(None, Runner(PhantomData), parts, supervisor).await };
        let spawned =
            self.parts.threads.spawn(spawning).map_err(|error| CallError::Refused(error.to_string()));
        match spawned?.await {
            Ok(Ok(_)) => Ok(cell),
            Ok(Err(error)) => Err(CallError::Stopped(error.to_string())),
            Err(_) => Err(stops()),
        }
    }

    fn cell<A: NamedActor>(
        &self,
        serial: u64,
        name: Option<Arc<str>>,
        settings: ActorSettings,
    ) -> (Arc<Cell>, Seat) {
        let actor = self.id(serial);
        let parts = &self.parts;
        let label = name.clone().unwrap_or_else(|| Arc::from(actor.to_string()));
        let gate = Gate {
            actor,
            name: name.clone(),
            lease: parts.lease.clone(),
            clock: parts.clock.clone(),
            images: parts.images.clone(),
            is_too_late: Arc::clone(&self.is_too_late),
        };
        let most = settings.mailbox_max.unwrap_or(parts.settings.mailbox_max);
        let mailbox = Mailbox::new(most, self.bytes.clone());
        let seen = mailbox.clone();
        let entry = Entry::new(USER_ACTOR, &*label).of_type(A::KIND).with_id(actor);
        let seat = parts.events.seat(entry.waiting(move || seen.waiting()));
        let cell = Cell {
            actor,
            kind: Arc::from(A::KIND),
            name,
            label,
            since: self.image().version(),
            mailbox,
            asks: Arc::default(),
            series: KindSeries::new(&parts.events, A::KIND),
            gate,
            runner: OnceLock::new(),
            ended: watch::Sender::new(None),
        };
        (Arc::new(cell), seat)
    }

    fn admit(&self, cell: &Arc<Cell>) -> Result<(), CallError> {
        let mut table = self.table();
        if self.is_closed() {
            return Err(stops());
        }
        let most = self.parts.settings.actors_max;
        if table.cells.len() >= most {
            let text = format!("{most} actors of users run on this node, as many as may (actors.max)");
            return Err(CallError::Busy(text));
        }
        let serial = cell.actor.serial;
        table.cells.insert(serial, Arc::clone(cell));
        table.kinds.insert(Arc::clone(&cell.kind));
        if let Some(name) = &cell.name {
            table.names.insert(Arc::clone(name), serial);
        }
        Ok(())
    }

    /// An actor is gone: its name and its memberships are given up.
    pub(super) fn ended(self: &Arc<Self>, serial: u64) {
        let mut table = self.table();
        let Some(cell) = table.cells.remove(&serial) else { return };
        cell.end(ActorEnd::Stopped(StopReason::GaveUp("it failed as it started or stopped".to_owned())));
        let end = cell.ended.borrow().clone().unwrap_or(ActorEnd::Stopped(StopReason::Forgotten));
        if let Some(name) = cell.name.as_ref().filter(|name| table.names.get(*name) == Some(&serial)) {
            table.names.remove(name);
        }
        table.ended.push_back((serial, end.clone()));
        if table.ended.len() > ENDED_MAX {
            table.ended.pop_front();
        }
        let is_empty = table.cells.is_empty();
        // Of one that could not be begun whoever began it decides what becomes of its name.
        let is_beginning = table.pending.contains(&serial);
        let was_singleton = !is_beginning
            && cell.name.as_ref().is_some_and(|name| table.forget_singleton(name, serial, &end));
        drop(table);
        if is_empty {
            self.emptied.notify_one();
        }
        if self.is_closed() || is_beginning {
            return;
        }
        if let Some(name) = cell.name.as_deref().map(ToOwned::to_owned) {
            self.give_up(match was_singleton {
                true => NameAlteration::Withdraw { name, serial },
                false => NameAlteration::Release { name, serial },
            });
        }
        for group in self.image().names().groups_of(cell.actor) {
            self.give_up(NameAlteration::Leave { group: group.to_owned(), serial });
        }
    }

    /// Gives something up, soon. Where that does not come to be, the image goes on showing it, and it is tried again for as
    /// long as it does.
    pub(super) fn give_up(self: &Arc<Self>, alteration: NameAlteration) {
        let Some(given_up) = GivenUp::by(&alteration) else { return };
        if !self.table().giving_up.insert(given_up.clone()) {
            return;
        }
        let altering = self.parts.registry.alter(alteration, ALTER_WITHIN);
        let (node, host) = (self.parts.node, Arc::downgrade(self));
        self.control.spawn(async move {
            if let Err(refusal) = altering.await {
                tracing::debug!(%node, %refusal, "a name was not given up; it is tried again");
            }
            if let Some(host) = host.upgrade() {
                host.table().giving_up.remove(&given_up);
            }
        });
        self.look_again.notify_one();
    }

    /// How an actor of this life ended, if it has.
    pub(super) fn end_of(&self, serial: u64) -> Option<ActorEnd> {
        let table = self.table();
        let ended = table.ended.iter().find(|(other, _)| *other == serial);
        ended.map(|(_, end)| end.clone())
    }

    fn close(&self) {
        self.closed.store(true, Ordering::Release);
        for cell in self.cells() {
            cell.stop(ActorEnd::Stopped(StopReason::NodeStopped));
        }
    }

    /// Tells how many actors of each kind there are, and what waits for them.
    pub(super) fn gauge(&self) {
        let table = self.table();
        for kind in &table.kinds {
            let of_kind = table.cells.values().filter(|cell| cell.kind == *kind);
            let (count, waiting) =
                of_kind.fold((0_u32, 0_usize), |(n, w), cell| (n + 1, w + cell.mailbox.waiting()));
            let labels = || vec![metrics::Label::new("kind", kind.to_string())];
            let waiting = u32::try_from(waiting).unwrap_or(u32::MAX);
            self.parts.events.gauge("millstream_user_actors", labels()).set(count);
            self.parts.events.gauge("millstream_user_mailbox_messages", labels()).set(waiting);
        }
    }
}

fn stops() -> CallError {
    CallError::Stopped("the node stops".to_owned())
}

//! A peer as who asks sees it: a handle with two lanes, dialled when they are first used.

use std::fmt;
use std::future::Future;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, OnceLock, Weak};
use std::time::Duration;

use quinn::{Connection, ConnectionError};
use tokio::sync::{Notify, oneshot};
use tokio::time::{sleep, timeout};

use super::drive::drive;
use super::endpoint::Shared;
use super::error::AskError;
use super::outbox::{Answered, Opened, Opening, Outbox};
use super::stream::Channel;
use super::{Lane, lock};
use crate::frame::{Encoded, Form, Frame, Head, encode};
use crate::identity::NodeId;
use crate::message::Message;

/// Whom a peer handle stands for.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Target {
    /// A node, wherever the directory says it is.
    Node(NodeId),
    /// Whichever node is at this address.
    Address(String),
}

impl fmt::Display for Target {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Node(node) => write!(formatter, "node {node}"),
            Self::Address(address) => write!(formatter, "the node at {address}"),
        }
    }
}

/// A handle to a peer. Clones share its links; any thread may use it. The links stay when the handles go.
#[derive(Clone, Debug)]
pub struct Peer {
    control: Arc<PeerLane>,
    data: Arc<PeerLane>,
}

impl Peer {
    pub(super) fn new(shared: &Arc<Shared>, target: &Target) -> Self {
        let lane = |lane| Arc::new(PeerLane::new(Arc::clone(shared), target.clone(), lane));
        let peer = Self { control: lane(Lane::Control), data: lane(Lane::Data) };
        // Set once, here, so it cannot have been set before.
        let _ = peer.control.sibling.set(Arc::downgrade(&peer.data));
        let _ = peer.data.sibling.set(Arc::downgrade(&peer.control));
        peer
    }

    fn lane(&self, lane: Lane) -> &Arc<PeerLane> {
        match lane {
            Lane::Control => &self.control,
            Lane::Data => &self.data,
        }
    }

    /// Which node it is; for a peer known by address only once it has been met.
    #[must_use]
    pub fn node(&self) -> Option<NodeId> {
        match &self.control.target {
            Target::Node(node) => Some(*node),
            Target::Address(_) => self.data.met().or_else(|| self.control.met()),
        }
    }

    /// Sends a request, now; the future ends with its answer, or when `deadline` has passed. Dropping the future gives the
    /// answer up; the request is then still carried out unless it had not been sent.
    ///
    /// Requests and one-way messages of one lane arrive in the order of these calls.
    pub fn ask<M: Message>(
        &self,
        lane: Lane,
        message: M,
        deadline: Duration,
    ) -> impl Future<Output = Result<M::Answer, AskError>> + Send + use<M> {
        let asked = self.lane(lane).ask(message);
        async move {
            let frame = asked?.answer(deadline).await?;
            let (peer, frame) = frame;
            frame
                .decode_answer::<M>()
                .map_err(|error| AskError::Unreadable { peer, reason: error.to_string() })
        }
    }

    /// Sends a one-way message: queued now, lost if there is no link and none can be made.
    pub fn tell<M: Message<Answer = ()>>(&self, lane: Lane, message: M) -> Result<(), AskError> {
        self.lane(lane).tell(message)
    }

    /// Opens a channel; the future ends with the answer to `opening` and the channel.
    pub fn open<M: Message>(
        &self,
        lane: Lane,
        opening: M,
        deadline: Duration,
    ) -> impl Future<Output = Result<(M::Answer, Channel), AskError>> + Send + use<M> {
        let asked = self.lane(lane).open(opening);
        async move {
            let (lane, reply) = asked?;
            let peer = lane.outbox.peer.clone();
            let (frame, channel) = match timeout(deadline, reply).await {
                Ok(opened) => opened.unwrap_or_else(|_| Err(lane.ended()))?,
                Err(_) => return Err(lane.timed_out(deadline)),
            };
            let answer = frame
                .decode_answer::<M>()
                .map_err(|error| AskError::Unreadable { peer, reason: error.to_string() })?;
            Ok((answer, channel))
        }
    }
}

/// One lane of a peer.
#[derive(Debug)]
pub(super) struct PeerLane {
    pub(super) shared: Arc<Shared>,
    pub(super) target: Target,
    pub(super) lane: Lane,
    pub(super) outbox: Outbox,
    /// The other lane of the same peer.
    sibling: OnceLock<Weak<Self>>,
    driven: AtomicBool,
    /// Dialled though nothing is to be sent: the control lane watches over a data lane.
    wanted: AtomicBool,
    link: Mutex<LinkState>,
    suspected: Notify,
}

#[derive(Debug, Default)]
struct LinkState {
    met: Option<NodeId>,
    /// In which life of the peer the link is; `None` without a link.
    incarnation: Option<u64>,
    suspicion: Option<Suspicion>,
}

/// What the other lane knows of this lane's peer.
#[derive(Clone, Debug)]
enum Suspicion {
    /// It gave no sign of life there.
    Silent,
    /// It lives another life by now.
    Restarted,
}

impl PeerLane {
    fn new(shared: Arc<Shared>, target: Target, lane: Lane) -> Self {
        let limits = shared.config.limits;
        Self {
            outbox: Outbox::new(target.to_string(), limits.asked, limits.queued_bytes),
            shared,
            target,
            lane,
            sibling: OnceLock::new(),
            driven: AtomicBool::new(false),
            wanted: AtomicBool::new(false),
            link: Mutex::default(),
            suspected: Notify::new(),
        }
    }

    fn ask<M: Message>(self: &Arc<Self>, message: M) -> Result<Asked, AskError> {
        let (waiter, answer) = oneshot::channel();
        let correlation = self.put(Form::Request, message, Some(waiter))?;
        self.shared.counters.asks.add_one();
        Ok(Asked { lane: Arc::clone(self), correlation, answer })
    }

    fn tell<M: Message>(self: &Arc<Self>, message: M) -> Result<(), AskError> {
        self.put(Form::OneWay, message, None).map(drop)
    }

    fn put<M: Message>(
        self: &Arc<Self>,
        form: Form,
        message: M,
        waiter: Option<oneshot::Sender<Answered>>,
    ) -> Result<u64, AskError> {
        let correlation = self.outbox.next_correlation();
        let frame = self.encode(form, correlation, message)?;
        self.admitted(self.outbox.put(correlation, frame, waiter))?;
        Ok(correlation)
    }

    fn open<M: Message>(
        self: &Arc<Self>,
        message: M,
    ) -> Result<(Arc<Self>, oneshot::Receiver<Opened>), AskError> {
        let (reply, opened) = oneshot::channel();
        let correlation = self.outbox.next_correlation();
        let frame = self.encode(Form::Open, correlation, message)?;
        self.admitted(self.outbox.put_opening(correlation, Opening { frame, reply }))?;
        Ok((Arc::clone(self), opened))
    }

    fn encode<M: Message>(&self, form: Form, correlation: u64, mut message: M) -> Result<Encoded, AskError> {
        let head = Head { form, kind: M::KIND, version: M::VERSION, correlation };
        let bodies = message.take_bodies();
        encode(head, &message, bodies, self.shared.config.limits.frame_bytes).map_err(AskError::Unsendable)
    }

    /// Sees to it that the lane is driven, or counts the refusal.
    fn admitted(self: &Arc<Self>, put: Result<(), AskError>) -> Result<(), AskError> {
        match &put {
            Ok(()) => self.ensure_driven(),
            Err(_) => self.shared.counters.refused_full.add_one(),
        }
        put
    }

    fn ensure_driven(self: &Arc<Self>) {
        if self.driven.load(Ordering::Acquire) || self.driven.swap(true, Ordering::AcqRel) {
            return;
        }
        let lane = Arc::clone(self);
        let core = match &self.target {
            Target::Node(node) => usize::try_from(node.0).unwrap_or(0),
            Target::Address(_) => self.shared.next_core(),
        };
        if !self.shared.spawn(self.lane, core, move || drive(lane)) {
            self.outbox.close("the thread of this lane has stopped");
        }
    }

    fn ended(&self) -> AskError {
        AskError::Closed { peer: self.outbox.peer.clone(), reason: "ended by this side".into() }
    }

    fn timed_out(&self, after: Duration) -> AskError {
        self.shared.counters.timed_out.add_one();
        AskError::TimedOut { peer: self.outbox.peer.clone(), after }
    }

    fn met(&self) -> Option<NodeId> {
        lock(&self.link).met
    }

    fn sibling(&self) -> Option<Arc<Self>> {
        self.sibling.get().and_then(Weak::upgrade)
    }

    pub(super) fn is_wanted(&self) -> bool {
        self.wanted.load(Ordering::Acquire)
    }

    fn want(self: &Arc<Self>, wanted: bool) {
        self.wanted.store(wanted, Ordering::Release);
        if wanted {
            self.ensure_driven();
            self.outbox.nudge();
        }
    }

    /// The link of this lane is up: the lanes watch each other.
    pub(super) fn came_up(&self, node: NodeId, incarnation: u64) {
        let mut link = lock(&self.link);
        *link = LinkState { met: Some(node), incarnation: Some(incarnation), suspicion: None };
        drop(link);
        let Some(sibling) = self.sibling() else { return };
        match self.lane {
            Lane::Data if self.shared.config.watch_peers => sibling.want(true),
            Lane::Data => {}
            Lane::Control => sibling.suspect(Suspicion::Restarted, |theirs| theirs != incarnation),
        }
    }

    /// The link of this lane is gone.
    pub(super) fn went_down(&self, error: &ConnectionError) {
        lock(&self.link).incarnation = None;
        let Some(sibling) = self.sibling() else { return };
        match (self.lane, error) {
            (Lane::Data, _) => sibling.want(false),
            (Lane::Control, ConnectionError::TimedOut) => sibling.suspect(Suspicion::Silent, |_| true),
            (Lane::Control, ConnectionError::Reset) => sibling.suspect(Suspicion::Restarted, |_| true),
            (Lane::Control, _) => {}
        }
    }

    fn suspect(&self, suspicion: Suspicion, is_meant: impl Fn(u64) -> bool) {
        let mut link = lock(&self.link);
        if link.incarnation.is_some_and(is_meant) {
            link.suspicion = Some(suspicion);
            self.suspected.notify_one();
        }
    }

    /// Returns when the other lane has found the peer dead and this lane's link shows no sign of life either; with the
    /// reason. A peer whose data still flows is not dead, its control thread is only late.
    pub(super) async fn found_dead(&self, connection: &Connection) -> String {
        loop {
            let suspicion = lock(&self.link).suspicion.take();
            match suspicion {
                None => self.suspected.notified().await,
                Some(Suspicion::Restarted) => return "the peer was started anew".into(),
                Some(Suspicion::Silent) => {
                    let before = connection.stats().udp_rx.datagrams;
                    sleep(self.shared.config.tuning.control.idle_timeout).await;
                    if connection.stats().udp_rx.datagrams == before {
                        return "the peer does not answer any more on either lane".into();
                    }
                }
            }
        }
    }
}

/// A request that was sent. Dropped, it is forgotten.
struct Asked {
    lane: Arc<PeerLane>,
    correlation: u64,
    answer: oneshot::Receiver<Answered>,
}

impl Asked {
    /// The answer, and the peer's name for messages about it.
    async fn answer(mut self, deadline: Duration) -> Result<(String, Frame), AskError> {
        match timeout(deadline, &mut self.answer).await {
            Ok(answered) => {
                let frame = answered.unwrap_or_else(|_| Err(self.lane.ended()))?;
                Ok((self.lane.outbox.peer.clone(), frame))
            }
            Err(_) => Err(self.lane.timed_out(deadline)),
        }
    }
}

impl Drop for Asked {
    fn drop(&mut self) {
        self.lane.outbox.forget(self.correlation);
    }
}

//! Calls to named actors from anywhere: nobody needs to know where an actor runs.
//!
//! A call is carried out at most once. What was certainly not carried out (the name has moved, the link could not be made)
//! is tried again until its time is over; where that is not known, the caller is told so.

use std::collections::VecDeque;
use std::future::Future;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use futures::future::join_all;
use tokio::time::{Instant, timeout};

use super::doors::{Answering, Listed, NoAnswer, Way};
use super::message::{ActorEnd, Address, AskActor, FoundName, OwnerChange, TellActor, WatchActor, WatchName};
use crate::custom::call::{CallError, Deadline};
use crate::custom::envelope::{ActorMessage, Answered, Envelope, open_answer};
use crate::ids::{ActorId, NodeId};
use crate::supervision::listing::{ActorPage, ListActors};

/// How long a name that nobody has may still appear: it may just have been registered, or be on its way to another owner.
const NAME_GRACE: Duration = Duration::from_secs(1);

/// How long one wait at a node for the end of an actor, or for news of a name, may take.
const WATCH_WITHIN_MS: u32 = 20_000;

/// The pause after a wait that came to nothing.
const WATCH_PAUSE: Duration = Duration::from_millis(100);

/// Calls to actors, by name, by id, or by group. Cheap to clone; works from any tokio program.
#[derive(Clone, Debug)]
pub struct ActorCalls {
    way: Arc<dyn Way>,
    /// Whose turn it is in round robin.
    turn: Arc<AtomicUsize>,
}

/// What a call needs to be sent.
struct Call {
    to: Address,
    deadline: Deadline,
    within: Duration,
    way: Arc<dyn Way>,
    /// When the name was first missed.
    missed_at: Option<Instant>,
}

/// What became of a message to each member of a group.
pub type EachTold = Vec<(ActorId, Result<(), CallError>)>;

/// A message, ready to be sent or not.
type Sealed = Result<Envelope, CallError>;

impl ActorCalls {
    /// Calls that go this way.
    #[must_use]
    pub fn new(way: Arc<dyn Way>) -> Self {
        Self { way, turn: Arc::default() }
    }

    /// Asks the actor of this name. One answer, or one error, at the latest after `within`.
    ///
    /// The answer comes from the owner's memory, under its node's lease.
    pub fn ask<M: ActorMessage>(
        &self,
        name: &str,
        message: &M,
        within: Duration,
    ) -> impl Future<Output = Result<M::Answer, CallError>> + Send + use<M> {
        self.ask_at::<M>(Address::Name(name.to_owned()), self.sealed(message), within, false)
    }

    /// Asks the actor of this name; the answer leaves once the metadata quorum has confirmed that it still has it. Costs an
    /// entry of the quorum, and does not rest on any clock.
    ///
    /// Why that makes the answer linearizable: the entry is proposed after the handler has ended, and is decided in the
    /// order of the quorum's log. An actor that has lost its name never has it again (its id is of one beginning), so one
    /// that has it when the entry is decided has had it since it began. The handler's reads and changes, and those of all
    /// messages before it that it may have seen, so lie at a moment between the ask and its answer at which no other actor
    /// had the name; another owner begins after the entry. A confirmation before the handler would not do: the name might
    /// be lost while the message waits, and an answer of an old owner would come after one of the new.
    ///
    /// Where the quorum does not confirm it, [`CallError::Unsure`]: the message was handled.
    pub fn ask_linearizable<M: ActorMessage>(
        &self,
        name: &str,
        message: &M,
        within: Duration,
    ) -> impl Future<Output = Result<M::Answer, CallError>> + Send + use<M> {
        self.ask_at::<M>(Address::Name(name.to_owned()), self.sealed(message), within, true)
    }

    /// Asks this very actor: a member of a group, or the owner of a name at some time.
    pub fn ask_actor<M: ActorMessage>(
        &self,
        actor: ActorId,
        message: &M,
        within: Duration,
    ) -> impl Future<Output = Result<M::Answer, CallError>> + Send + use<M> {
        self.ask_at::<M>(Address::Id(actor), self.sealed(message), within, false)
    }

    fn ask_at<M: ActorMessage>(
        &self,
        to: Address,
        sealed: Sealed,
        within: Duration,
        is_linearizable: bool,
    ) -> impl Future<Output = Result<M::Answer, CallError>> + Send + use<M> {
        let (way, call) = (Arc::clone(&self.way), self.call(to.clone(), within));
        async move {
            let envelope = sealed?;
            let deadline = call.deadline;
            let ask = |node, left| {
                let within_ms = deadline.left_ms(Instant::now());
                let (to, envelope) = (to.clone(), envelope.clone());
                way.ask(node, AskActor { to, within_ms, is_linearizable, envelope }, left)
            };
            let answered: Answered = call.send(ask).await?;
            open_answer(&answered)
        }
    }

    /// Tells the actor of this name. Done once the message is in its mailbox; whether it is handled is not told.
    pub fn tell<M: ActorMessage>(
        &self,
        name: &str,
        message: &M,
        within: Duration,
    ) -> impl Future<Output = Result<(), CallError>> + Send + use<M> {
        self.tell_at(Address::Name(name.to_owned()), self.sealed(message), within)
    }

    /// Tells this very actor.
    pub fn tell_actor<M: ActorMessage>(
        &self,
        actor: ActorId,
        message: &M,
        within: Duration,
    ) -> impl Future<Output = Result<(), CallError>> + Send + use<M> {
        self.tell_at(Address::Id(actor), self.sealed(message), within)
    }

    fn tell_at(
        &self,
        to: Address,
        sealed: Sealed,
        within: Duration,
    ) -> impl Future<Output = Result<(), CallError>> + Send + use<> {
        let (way, call) = (Arc::clone(&self.way), self.call(to.clone(), within));
        async move {
            let envelope = sealed?;
            let tell =
                |node, left| way.tell(node, TellActor { to: to.clone(), envelope: envelope.clone() }, left);
            call.send(tell).await
        }
    }

    fn sealed<M: ActorMessage>(&self, message: &M) -> Sealed {
        Envelope::seal(message, self.way.message_bytes_max())
    }

    fn call(&self, to: Address, within: Duration) -> Call {
        let deadline = Deadline::after(Instant::now(), within);
        Call { to, deadline, within, way: Arc::clone(&self.way), missed_at: None }
    }

    /// Who has a name now, as far as the node asked knows.
    pub async fn find(&self, name: &str, within: Duration) -> Result<Option<ActorId>, CallError> {
        let found = self.found(name, within).await?;
        Ok(found.owner.map(|(actor, _)| actor))
    }

    async fn found(&self, name: &str, within: Duration) -> Result<FoundName, CallError> {
        self.way.forget(name);
        self.way.find(name, within).await.map_err(|error| unsent(error, within))
    }

    /// Waits for the end of the actor that has this name now, or within a second. Where the node that asks has stopped, or
    /// the client is closed, [`CallError::Refused`], or [`ActorEnd::Unsure`] if that happens meanwhile.
    pub async fn watch(&self, name: &str) -> Result<ActorEnd, CallError> {
        let until = Instant::now() + NAME_GRACE;
        loop {
            let found = self.found(name, NAME_GRACE).await?;
            if let Some((actor, since)) = found.owner {
                return Ok(self.watch_since(actor, since).await);
            }
            if Instant::now() >= until {
                return Err(CallError::NoSuchName(name.to_owned()));
            }
            self.way.changed().await;
        }
    }

    /// Waits for the end of this very actor, as [`ActorCalls::watch`] does.
    pub async fn watch_actor(&self, actor: ActorId) -> Result<ActorEnd, CallError> {
        // The version from which on a loss of its node counts.
        let found = self.found("", NAME_GRACE).await?;
        Ok(self.watch_since(actor, found.version).await)
    }

    async fn watch_since(&self, actor: ActorId, since: u64) -> ActorEnd {
        loop {
            match self.way.watch(WatchActor { actor, since, within_ms: WATCH_WITHIN_MS }).await {
                Ok(Some(end)) => return end,
                // The own node has stopped, or the client is closed: nobody will ever tell.
                Err(NoAnswer::Refused(_)) => return ActorEnd::Unsure,
                Ok(None) | Err(NoAnswer::NotSent(_) | NoAnswer::Unknown(_)) => {
                    tokio::time::sleep(WATCH_PAUSE).await;
                }
            }
        }
    }

    /// Tells who has a name, and every change of that, in order.
    #[must_use]
    pub fn watch_name(&self, name: &str) -> NameWatch {
        NameWatch { way: Arc::clone(&self.way), name: name.to_owned(), seen: None, ready: VecDeque::new() }
    }

    /// The members of a group.
    pub async fn members(&self, group: &str, within: Duration) -> Result<Vec<ActorId>, CallError> {
        self.way.members(group, within).await.map_err(|error| unsent(error, within))
    }

    /// Tells every member of a group; what became of each. At most as many as the group has members at the call.
    pub fn broadcast<M: ActorMessage>(
        &self,
        group: &str,
        message: &M,
        within: Duration,
    ) -> impl Future<Output = Result<EachTold, CallError>> + Send + use<M> {
        let (calls, sealed, group) = (self.clone(), self.sealed(message), group.to_owned());
        async move {
            let envelope = sealed?;
            let members = calls.members(&group, within).await?;
            let told = members.into_iter().map(|actor| {
                let telling = calls.tell_at(Address::Id(actor), Ok(envelope.clone()), within);
                async move { (actor, telling.await) }
            });
            Ok(join_all(told).await)
        }
    }

    /// Asks one member of a group: another one with each call, in turn.
    pub fn ask_next<M: ActorMessage>(
        &self,
        group: &str,
        message: &M,
        within: Duration,
    ) -> impl Future<Output = Result<M::Answer, CallError>> + Send + use<M> {
        let (calls, sealed, group) = (self.clone(), self.sealed(message), group.to_owned());
        async move {
            let members = calls.members(&group, within).await?;
            let turn = calls.turn.fetch_add(1, Ordering::Relaxed);
            let place = turn.checked_rem(members.len()).unwrap_or(0);
            match members.get(place) {
                Some(actor) => calls.ask_at::<M>(Address::Id(*actor), sealed, within, false).await,
                None => Err(CallError::NoSuchName(format!("group {group}"))),
            }
        }
    }

    /// The actors of all nodes, of users and of the system; of a node that does not answer, why.
    pub async fn list(&self, asked: &ListActors, within: Duration) -> Result<Listed, CallError> {
        let nodes = self.way.nodes(within).await.map_err(|error| unsent(error, within))?;
        let listing = nodes.into_iter().map(|node| {
            let listed = self.way.list(node, asked.clone(), within);
            async move { (node, listed.await) }
        });
        Ok(join_all(listing).await)
    }

    /// The actors of one node.
    pub async fn list_on(
        &self,
        node: NodeId,
        asked: &ListActors,
        within: Duration,
    ) -> Result<ActorPage, CallError> {
        self.way.list(node, asked.clone(), within).await.map_err(|error| unsent(error, within))
    }
}

impl Call {
    /// Sends it to where its receiver is, again where that was certainly in vain.
    async fn send<T>(
        mut self,
        send: impl Fn(NodeId, Duration) -> Answering<Result<T, CallError>>,
    ) -> Result<T, CallError> {
        let mut last = CallError::Retry("nothing was tried".to_owned());
        loop {
            let left = self.deadline.left(Instant::now());
            if left.is_zero() {
                return Err(last);
            }
            last = match self.node(left).await {
                Ok(node) => match send(node, left).await {
                    Ok(Ok(answer)) => return Ok(answer),
                    Ok(Err(error @ (CallError::NotOwner(_) | CallError::NoQuorum(_)))) => error,
                    Ok(Err(error)) => return Err(error),
                    Err(NoAnswer::NotSent(reason)) => CallError::Retry(reason),
                    Err(error) => {
                        self.forget();
                        return Err(unsent(error, self.within));
                    }
                },
                Err(Missing::ForNow(error)) => error,
                Err(Missing::ForGood(error)) => return Err(error),
            };
            self.forget();
            // Whether something changed or the time is over, the loop finds out.
            drop(timeout(self.deadline.left(Instant::now()), self.way.changed()).await);
        }
    }

    /// Where the name was found is not to be believed any more.
    fn forget(&self) {
        if let Address::Name(name) = &self.to {
            self.way.forget(name);
        }
    }

    /// On which node the receiver is.
    async fn node(&mut self, left: Duration) -> Result<NodeId, Missing> {
        let name = match &self.to {
            Address::Id(actor) => return Ok(actor.node),
            Address::Name(name) => name,
        };
        match self.way.find(name, left).await {
            Ok(FoundName { owner: Some((actor, _)), .. }) => {
                self.missed_at = None;
                Ok(actor.node)
            }
            Ok(FoundName { owner: None, .. }) => {
                let now = Instant::now();
                let since = now.saturating_duration_since(*self.missed_at.get_or_insert(now));
                let error = CallError::NoSuchName(name.clone());
                Err(if since < NAME_GRACE { Missing::ForNow(error) } else { Missing::ForGood(error) })
            }
            // Nothing was carried out by asking for a name.
            Err(NoAnswer::Refused(reason)) => Err(Missing::ForGood(CallError::Refused(reason))),
            Err(error) => Err(Missing::ForNow(CallError::Retry(error.to_string()))),
        }
    }
}

/// The receiver was not found.
enum Missing {
    /// It may be soon.
    ForNow(CallError),
    /// It will not be.
    ForGood(CallError),
}

fn unsent(error: NoAnswer, within: Duration) -> CallError {
    match error {
        NoAnswer::NotSent(reason) => CallError::Retry(reason),
        NoAnswer::Unknown(last) => {
            CallError::Timeout { after_ms: u32::try_from(within.as_millis()).unwrap_or(u32::MAX), last }
        }
        NoAnswer::Refused(reason) => CallError::Refused(reason),
    }
}

/// Tells who has a name, and every change of that.
#[derive(Debug)]
pub struct NameWatch {
    way: Arc<dyn Way>,
    name: String,
    seen: Option<(u64, Option<ActorId>)>,
    ready: VecDeque<OwnerChange>,
}

impl NameWatch {
    /// The next change; the first call tells who has the name now. Waits while no node can be asked.
    pub async fn next(&mut self) -> OwnerChange {
        loop {
            if let Some(change) = self.ready.pop_front() {
                return change;
            }
            let (name, seen) = (self.name.clone(), self.seen);
            match self.way.news(WatchName { name, seen, within_ms: WATCH_WITHIN_MS }).await {
                Ok(news) => {
                    let owner = news.changes.last().map(|change| change.owner);
                    let known = self.seen.and_then(|(_, owner)| owner);
                    self.seen = Some((news.next, owner.unwrap_or(known)));
                    if news.changes.is_empty() {
                        tokio::time::sleep(WATCH_PAUSE).await;
                    }
                    self.ready.extend(news.changes);
                }
                Err(_) => tokio::time::sleep(WATCH_PAUSE).await,
            }
        }
    }
}

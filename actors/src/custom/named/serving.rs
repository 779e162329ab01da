//! What a node answers about its actors: to itself, to other nodes, to clients.

use std::collections::BTreeMap;
use std::future::Future;
use std::sync::Arc;
use std::time::Duration;

use millstream_transport::message::Message;
use millstream_transport::peer::{Answering, Handlers};
use tokio::sync::{OwnedSemaphorePermit, oneshot};
use tokio::time::{Instant, timeout};

use super::cell::{AskPlace, Cell};
use super::host::{ALTER_WITHIN, Host, NodeActors};
use super::mailbox::CallReply;
use super::message::{
    Address, AskActor, FindName, FoundName, GroupMembers, TellActor, WatchActor, WatchName, Watched,
};
use crate::custom::call::{CallError, Deadline};
use crate::custom::envelope::Answered;
use crate::ids::ActorId;
use crate::image::NameAlteration;
use crate::kinds::USER_ACTOR;
use crate::supervision::listing::{ACTORS_MAX, ActorLine, ActorPage, ListActors};

impl NodeActors {
    /// Handlers of the kinds 401 to 406 and 408, for nodes and clients. How many may wait for their answer at a time is bounded, so that nobody's
    /// link is full of them.
    #[must_use]
    pub fn handlers(&self) -> Handlers {
        let host = Arc::clone(&self.host);
        let handlers = Handlers::new();
        let asked = Arc::clone(&self.host);
        let handlers = handlers.on(move |_, message: AskActor, answering: Answering<AskActor>| {
            let host = Arc::clone(&asked);
            match host.places(&message.to) {
                Ok(places) => drop(tokio::spawn(async move {
                    answering.answer(host.asked(message).await);
                    drop(places);
                })),
                Err(error) => answering.answer(Err(error)),
            }
        });
        let handlers = handlers.on(move |_, message: TellActor, answering: Answering<TellActor>| {
            answering.answer(host.told(message));
        });
        let handlers = self.on(handlers, |host, message: FindName| async move { host.find(&message.name) });
        let handlers = self.on(handlers, |host, message: WatchActor| async move {
            // Who finds no place asks again.
            let place = Arc::clone(&host.waits).try_acquire_owned();
            let end = match &place {
                Ok(_) => host.watch(message).await,
                Err(_) => None,
            };
            Watched { end }
        });
        let handlers = self.on(handlers, |host, mut message: WatchName| async move {
            let place = Arc::clone(&host.waits).try_acquire_owned();
            if place.is_err() {
                message.within_ms = 0;
            }
            host.news(message).await
        });
        let handlers = self.on(handlers, |host, message: GroupMembers| async move {
            host.image().names().members(&message.group).collect()
        });
        self.on(handlers, |host, message: ListActors| async move { host.page(&message) })
    }

    fn on<M: Message, F>(
        &self,
        handlers: Handlers,
        serve: impl Fn(Arc<Host>, M) -> F + Send + Sync + 'static,
    ) -> Handlers
    where
        F: Future<Output = M::Answer> + Send + 'static,
    {
        let host = Arc::clone(&self.host);
        handlers.on(move |_, message: M, answering: Answering<M>| {
            let served = serve(Arc::clone(&host), message);
            tokio::spawn(async move { answering.answer(served.await) });
        })
    }

    /// The actors of users on this node, as many as one page has.
    #[must_use]
    pub fn here(&self) -> Vec<ActorLine> {
        let asked = ListActors { kind: Some(USER_ACTOR.name.to_owned()), after: None, most: ACTORS_MAX };
        self.host.page(&asked).actors
    }

    /// The actors of this node, of users and of the system.
    #[must_use]
    pub fn page(&self, asked: &ListActors) -> ActorPage {
        self.host.page(asked)
    }

    /// Moves the series that tell how many actors there are: looked at when somebody reads the metrics.
    pub fn gauge(&self) {
        self.host.gauge();
    }
}

impl Host {
    pub(super) fn find(&self, name: &str) -> FoundName {
        let image = self.image();
        let owner = image.names().owner(name);
        FoundName { owner: owner.map(|owner| (owner.actor, owner.since)), version: image.version() }
    }

    pub(super) fn page(&self, asked: &ListActors) -> ActorPage {
        let image = self.image();
        let mut groups: BTreeMap<ActorId, Vec<&str>> = BTreeMap::new();
        for (group, actor) in image.names().memberships_of(self.parts.node, self.parts.incarnation) {
            groups.entry(actor).or_default().push(group);
        }
        let groups =
            |actor| groups.get(&actor).into_iter().flatten().map(|group| (*group).to_owned()).collect();
        self.parts.events.roster().page(asked, groups)
    }

    /// Places for an ask of another node or of a client: of the node, and of the actor.
    pub(super) fn places(&self, to: &Address) -> Result<(OwnedSemaphorePermit, Option<AskPlace>), CallError> {
        let Ok(place) = Arc::clone(&self.asks).try_acquire_owned() else {
            let text = "as many asks of other nodes and clients are open on this node as may be";
            return Err(CallError::Busy(text.to_owned()));
        };
        // Of one that is not here the asker is told soon.
        let Ok(cell) = self.local(to) else { return Ok((place, None)) };
        match cell.place(self.asks.available_permits()) {
            Some(of_actor) => Ok((place, Some(of_actor))),
            None => {
                cell.refused();
                let text = format!("{to} has not answered as many asks of other nodes and clients as it may");
                Err(CallError::Busy(text))
            }
        }
    }

    /// Asks an actor of this node. Answers at the latest when the asker has stopped waiting: an actor that never answers
    /// holds up nobody's link.
    pub(super) async fn asked(self: Arc<Self>, message: AskActor) -> Result<Answered, CallError> {
        let AskActor { to, within_ms, is_linearizable, envelope } = message;
        envelope.check(self.parts.settings.message_bytes_max)?;
        let within = Duration::from_millis(within_ms.into());
        let deadline = Deadline::after(Instant::now(), within);
        let cell = self.local(&to)?;
        let (sender, answered) = oneshot::channel();
        // Who has stopped waiting needs no answer.
        let reply = CallReply::new(move |answer| drop(sender.send(answer)));
        if let Err((reply, error)) = cell.deliver(envelope, Some(deadline), reply) {
            // Nobody waits at its other end.
            reply.send(Err(error.clone()));
            return Err(error);
        }
        let Ok(answered) = timeout(deadline.left(Instant::now()), answered).await else {
            let last = format!("{to} has not answered; it may still handle the message");
            return Err(CallError::Timeout { after_ms: within_ms, last });
        };
        let answer = answered.unwrap_or_else(|_| Err(CallError::Stopped("it was lost".to_owned())));
        match &answer {
            Ok(_) | Err(CallError::Refused(_)) if is_linearizable => {
                self.confirm(&cell, deadline.left(Instant::now())).await?;
                answer
            }
            _ => answer,
        }
    }

    /// Tells an actor of this node.
    pub(super) fn told(&self, message: TellActor) -> Result<(), CallError> {
        let TellActor { to, envelope } = message;
        envelope.check(self.parts.settings.message_bytes_max)?;
        self.local(&to)?.deliver(envelope, None, CallReply::of_tell()).map_err(|(_, error)| error)
    }

    /// The actor that is meant, if it is here.
    fn local(&self, to: &Address) -> Result<Arc<Cell>, CallError> {
        let table = self.table();
        let serial = match to {
            Address::Id(actor) if *actor != self.id(actor.serial) => {
                // Its node has been started anew since: it is gone.
                return Err(CallError::Stopped(format!("{actor} is of an earlier life of its node")));
            }
            Address::Id(actor) => Some(actor.serial),
            Address::Name(name) => table.names.get(name.as_str()).copied(),
        };
        let found = serial.and_then(|serial| table.cells.get(&serial)).cloned();
        match (found, to) {
            (Some(cell), _) => Ok(cell),
            (None, Address::Id(actor)) => Err(CallError::Stopped(format!("{actor} has ended"))),
            (None, Address::Name(name)) => {
                Err(CallError::NotOwner(format!("{name:?} is not on node {}", self.parts.node)))
            }
        }
    }

    /// The quorum confirms that an actor still has its name, after it has handled what its answer rests on.
    async fn confirm(&self, cell: &Cell, within: Duration) -> Result<(), CallError> {
        let Some(name) = &cell.name else { return Ok(()) };
        let confirm = NameAlteration::Confirm { name: name.to_string(), serial: cell.actor.serial };
        let asked = timeout(within, self.parts.registry.alter(confirm, within.min(ALTER_WITHIN))).await;
        match asked {
            Ok(Ok(())) => Ok(()),
            Ok(Err(refusal)) => Err(CallError::Unsure(refusal.text)),
            Err(_) => Err(CallError::Unsure("the quorum has not confirmed the name in time".to_owned())),
        }
    }
}

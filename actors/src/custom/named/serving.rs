//! What a node answers about its actors: to itself, to other nodes, to clients.

use std::future::Future;
use std::sync::Arc;
use std::time::Duration;

use millstream_transport::message::Message;
use millstream_transport::peer::{Answering, Handlers};
use tokio::sync::oneshot;
use tokio::time::{Instant, timeout};

use super::cell::Cell;
use super::host::{ALTER_WITHIN, Host, NodeActors, refused};
use super::mailbox::CallReply;
use super::message::{
    ActorLine, Address, AskActor, FindName, FoundName, GroupMembers, ListActors, TellActor, WatchActor,
    WatchName, Watched,
};
use crate::custom::call::{CallError, Deadline};
use crate::custom::envelope::Answered;
use crate::image::NameAlteration;

impl NodeActors {
    /// Handlers of the kinds 401 to 407, for nodes and clients. How many may wait for their answer at a time is bounded, so that nobody's
    /// link is full of them.
    #[must_use]
    pub fn handlers(&self) -> Handlers {
        let host = Arc::clone(&self.host);
        let handlers = Handlers::new();
        let asked = Arc::clone(&self.host);
        let handlers = handlers.on(move |_, message: AskActor, answering: Answering<AskActor>| {
            let host = Arc::clone(&asked);
            match Arc::clone(&host.asks).try_acquire_owned() {
                Ok(place) => drop(tokio::spawn(async move {
                    answering.answer(host.asked(message).await);
                    drop(place);
                })),
                Err(_) => {
                    let text = "as many asks of other nodes and clients are open on this node as may be";
                    answering.answer(Err(CallError::Busy(text.to_owned())));
                }
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
        self.on(handlers, |host, _: ListActors| async move { host.lines() })
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

    /// The actors of users on this node.
    #[must_use]
    pub fn here(&self) -> Vec<ActorLine> {
        self.host.lines()
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

    pub(super) fn lines(&self) -> Vec<ActorLine> {
        let image = self.image();
        self.cells().iter().map(|cell| cell.line(&image)).collect()
    }

    /// Asks an actor of this node. Answers at the latest when the asker has stopped waiting: an actor that never answers
    /// holds up nobody's link.
    pub(super) async fn asked(self: Arc<Self>, message: AskActor) -> Result<Answered, CallError> {
        let AskActor { to, within_ms, is_linearizable, envelope } = message;
        envelope.check(self.parts.settings.message_bytes_max)?;
        let within = Duration::from_millis(within_ms.into());
        let deadline = Deadline::after(Instant::now(), within);
        let cell = self.local(&to)?;
        if is_linearizable {
            self.confirm(&cell, within).await?;
        }
        let (sender, answered) = oneshot::channel();
        // Who has stopped waiting needs no answer.
        let reply = CallReply::new(move |answer| drop(sender.send(answer)));
        if let Err((reply, error)) = cell.deliver(envelope, Some(deadline), reply) {
            // Nobody waits at its other end.
            reply.send(Err(error.clone()));
            return Err(error);
        }
        match timeout(deadline.left(Instant::now()), answered).await {
            Ok(answered) => answered.unwrap_or_else(|_| Err(CallError::Stopped("it was lost".to_owned()))),
            Err(_) => {
                let last = format!("{to} has not answered; it may still handle the message");
                Err(CallError::Timeout { after_ms: within_ms, last })
            }
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

    /// The quorum confirms that an actor has its name.
    async fn confirm(&self, cell: &Cell, within: Duration) -> Result<(), CallError> {
        let Some(name) = &cell.name else { return Ok(()) };
        let confirm = NameAlteration::Confirm { name: name.to_string(), serial: cell.actor.serial };
        self.parts.registry.alter(confirm, within.min(ALTER_WITHIN)).await.map_err(|refusal| {
            match refused(refusal) {
                CallError::Refused(text) => CallError::NotOwner(text),
                other => other,
            }
        })
    }
}

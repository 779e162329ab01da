//! Who serves what is asked: a service, or a table of typed handlers.

use std::collections::BTreeMap;
use std::fmt;
use std::marker::PhantomData;
use std::sync::Arc;

use serde::Serialize;

use super::Caller;
use super::answers::Answers;
use super::counters::PeerCounters;
use super::error::{Fault, FaultCode};
use super::stream::{ChannelOffer, Offer};
use crate::frame::{Encoded, Form, Frame, FrameError, Head, Unreadable, encode};
use crate::intake::Held;
use crate::message::{Answer, Message};

/// Serves what others ask of this endpoint. Called on the thread of the link, one message after the other: what takes
/// long is to be started here and answered later.
pub trait Service: Send + Sync + 'static {
    /// A request or one-way message.
    fn request(&self, caller: &Caller, request: Request);
    /// Somebody wants to open a channel; `opening` says what for.
    fn channel(&self, caller: &Caller, opening: Frame, offer: ChannelOffer);
}

/// A request to be answered.
#[derive(Debug)]
pub struct Request {
    /// The message.
    pub frame: Frame,
    /// Where its answer goes.
    pub responder: Responder,
}

/// Answers one request, from any thread, once. Dropped without an answer it tells the asker so.
#[derive(Debug)]
pub struct Responder {
    /// Gone when answered. A one-way message has one too: it counts as unanswered while its handler keeps this.
    place: Option<Place>,
}

/// The room reserved for an answer.
#[derive(Debug)]
struct Place {
    answers: Arc<Answers>,
    counters: Arc<PeerCounters>,
    head: Head,
    request_bytes: usize,
    /// Its place among the requests of all clients.
    _held: Option<Held>,
    limit: usize,
}

impl Responder {
    pub(super) fn new(
        answers: Arc<Answers>,
        counters: Arc<PeerCounters>,
        head: Head,
        (request_bytes, held): (usize, Option<Held>),
        limit: usize,
    ) -> Self {
        answers.admit(request_bytes);
        Self { place: Some(Place { answers, counters, head, request_bytes, _held: held, limit }) }
    }

    /// Sends the answer.
    pub fn answer<A: Answer>(mut self, mut answer: A) {
        if let Some(place) = self.place.take() {
            let bodies = answer.take_bodies();
            let encoded = encode(Head { form: Form::Answer, ..place.head }, &answer, bodies, place.limit);
            place.fill(encoded);
        }
    }

    /// Sends a fault instead of an answer.
    pub fn refuse(mut self, fault: Fault) {
        if let Some(place) = self.place.take() {
            place.counters.refused_messages.add_one();
            tracing::debug!(kind = place.head.kind, %fault, "message refused");
            place.fault(&fault);
        }
    }
}

impl Drop for Responder {
    fn drop(&mut self) {
        if let Some(place) = self.place.take() {
            place.fault(&Fault::new(FaultCode::Dropped, "nobody answered"));
        }
    }
}

impl Place {
    fn fault(self, fault: &Fault) {
        let encoded = encode(Head { form: Form::Error, ..self.head }, fault, Vec::new(), self.limit);
        self.fill(encoded);
    }

    fn fill(self, encoded: Result<Encoded, FrameError>) {
        match encoded {
            _ if self.head.form == Form::OneWay => self.answers.put(self.request_bytes, None),
            Ok(answer) => self.answers.put(self.request_bytes, Some(answer)),
            Err(error) => {
                let fault = Fault::new(FaultCode::TooLong, format!("the answer cannot be sent: {error}"));
                let instead = encode_fault(self.head, &fault, self.limit);
                self.answers.put(self.request_bytes, instead);
            }
        }
    }
}

fn encode_fault<F: Serialize>(head: Head, fault: &F, limit: usize) -> Option<Encoded> {
    encode(Head { form: Form::Error, ..head }, fault, Vec::new(), limit).ok()
}

/// Answers one request of a known type.
#[derive(Debug)]
pub struct Answering<M: Message> {
    responder: Responder,
    message: PhantomData<fn() -> M>,
}

impl<M: Message> Answering<M> {
    /// Sends the answer.
    pub fn answer(self, answer: M::Answer) {
        self.responder.answer(answer);
    }

    /// Sends a fault instead of an answer.
    pub fn refuse(self, fault: Fault) {
        self.responder.refuse(fault);
    }
}

/// Who may send a message.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Allowed {
    Everybody,
    Nodes,
}

type OnRequest = Box<dyn Fn(&Caller, Request) + Send + Sync>;
type OnChannel = Box<dyn Fn(&Caller, Frame, ChannelOffer) + Send + Sync>;

/// A table of handlers by message. Handlers run on the thread of the link and must not block.
#[derive(Default)]
pub struct Handlers {
    requests: BTreeMap<u16, (Allowed, OnRequest)>,
    channels: BTreeMap<u16, (Allowed, OnChannel)>,
}

impl Handlers {
    /// An empty table: everything is refused.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Serves `M`, from nodes and clients.
    #[must_use]
    pub fn on<M: Message>(self, handler: impl Fn(&Caller, M, Answering<M>) + Send + Sync + 'static) -> Self {
        self.insert(Allowed::Everybody, handler)
    }

    /// Serves `M`, from nodes only; clients are refused.
    #[must_use]
    pub fn on_nodes<M: Message>(
        self,
        handler: impl Fn(&Caller, M, Answering<M>) + Send + Sync + 'static,
    ) -> Self {
        self.insert(Allowed::Nodes, handler)
    }

    /// Serves channels that are opened with `M`, from nodes and clients.
    #[must_use]
    pub fn on_channel<M: Message>(
        self,
        handler: impl Fn(&Caller, M, Offer<M>) + Send + Sync + 'static,
    ) -> Self {
        self.insert_channel(Allowed::Everybody, handler)
    }

    /// Serves channels that are opened with `M`, from nodes only; clients are refused.
    #[must_use]
    pub fn on_node_channel<M: Message>(
        self,
        handler: impl Fn(&Caller, M, Offer<M>) + Send + Sync + 'static,
    ) -> Self {
        self.insert_channel(Allowed::Nodes, handler)
    }

    /// This table and another in one. Of a message that stands in both, the other's handler is taken.
    #[must_use]
    pub fn and(mut self, other: Self) -> Self {
        self.requests.extend(other.requests);
        self.channels.extend(other.channels);
        self
    }

    fn insert<M: Message>(
        mut self,
        allowed: Allowed,
        handler: impl Fn(&Caller, M, Answering<M>) + Send + Sync + 'static,
    ) -> Self {
        let call = move |caller: &Caller, request: Request| match request.frame.decode::<M>() {
            Ok(message) => {
                handler(caller, message, Answering { responder: request.responder, message: PhantomData });
            }
            Err(error) => request.responder.refuse(unreadable(&error)),
        };
        let before = self.requests.insert(M::KIND, (allowed, Box::new(call)));
        debug_assert!(before.is_none(), "two handlers for message {}", M::KIND);
        self
    }

    fn insert_channel<M: Message>(
        mut self,
        allowed: Allowed,
        handler: impl Fn(&Caller, M, Offer<M>) + Send + Sync + 'static,
    ) -> Self {
        let call = move |caller: &Caller, opening: Frame, offer: ChannelOffer| match opening.decode::<M>() {
            Ok(message) => handler(caller, message, Offer::new(offer)),
            Err(error) => offer.refuse(unreadable(&error)),
        };
        let before = self.channels.insert(M::KIND, (allowed, Box::new(call)));
        debug_assert!(before.is_none(), "two handlers for channels of message {}", M::KIND);
        self
    }
}

impl Service for Handlers {
    fn request(&self, caller: &Caller, request: Request) {
        let kind = request.frame.head.kind;
        match self.requests.get(&kind) {
            None => request.responder.refuse(unknown(kind)),
            Some((allowed, _)) if !allowed.includes(caller) => request.responder.refuse(not_allowed(kind)),
            Some((_, handler)) => handler(caller, request),
        }
    }

    fn channel(&self, caller: &Caller, opening: Frame, offer: ChannelOffer) {
        let kind = opening.head.kind;
        match self.channels.get(&kind) {
            None => offer.refuse(unknown(kind)),
            Some((allowed, _)) if !allowed.includes(caller) => offer.refuse(not_allowed(kind)),
            Some((_, handler)) => handler(caller, opening, offer),
        }
    }
}

impl Allowed {
    fn includes(self, caller: &Caller) -> bool {
        self == Self::Everybody || caller.node.is_some()
    }
}

impl fmt::Debug for Handlers {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter
            .debug_struct("Handlers")
            .field("requests", &self.requests.keys().collect::<Vec<_>>())
            .field("channels", &self.channels.keys().collect::<Vec<_>>())
            .finish()
    }
}

fn unknown(kind: u16) -> Fault {
    Fault::new(
        FaultCode::UnknownKind,
        format!("message {kind} is not served here; are both sides of one version?"),
    )
}

fn not_allowed(kind: u16) -> Fault {
    Fault::new(
        FaultCode::NotAllowed,
        format!("message {kind} is for nodes; a client's certificate may not send it"),
    )
}

fn unreadable(error: &Unreadable) -> Fault {
    let code = match error {
        Unreadable::Kind { .. } => FaultCode::UnknownKind,
        Unreadable::Version { .. } => FaultCode::UnknownVersion,
        Unreadable::Form { .. } => FaultCode::Unreadable,
    };
    Fault::new(code, error.to_string())
}

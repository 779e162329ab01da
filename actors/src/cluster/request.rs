//! Requests to the controller, and their one answer.

use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use millstream_transport::message::{Answer, Message};
use tokio::sync::oneshot;

use super::message::CreateTopic;
use super::message::access::RegisterListeners;
use super::message::names::AlterNames;
use super::message::nodes::{
    AlterInSync, ClientAnswer, ClientRequest, HandOver, HeartbeatAnswer, NodeEntities, NodeHeartbeat,
    NodeRack, RegisterNode, ReportDoubts, Resign,
};
use crate::access::Acl;
use crate::access::acl::REMOVED_BYTES_MAX;
use crate::error::{ErrorCode, Refusal};
use crate::ids::{Incarnation, NodeId, PartitionId};
use crate::image::QuotaAlteration;

type Answering<T> = Box<dyn FnOnce(Result<T, Refusal>) + Send>;

/// Where the answer to a request goes. Dropped unsent, it refuses: no request is left without an answer.
pub struct Reply<T> {
    send: Option<Answering<T>>,
    _place: Option<Place>,
}

impl<T> Reply<T> {
    /// A reply that calls `send` once.
    #[must_use]
    pub fn new(send: impl FnOnce(Result<T, Refusal>) + Send + 'static) -> Self {
        Self { send: Some(Box::new(send)), _place: None }
    }

    /// A reply to be awaited.
    #[must_use]
    pub fn channel() -> (Self, oneshot::Receiver<Result<T, Refusal>>)
    where
        T: Send + 'static,
    {
        let (sender, receiver) = oneshot::channel();
        // Who has stopped waiting needs no answer.
        (Self::new(move |answer| drop(sender.send(answer))), receiver)
    }

    /// Answers.
    pub fn send(mut self, answer: Result<T, Refusal>) {
        if let Some(send) = self.send.take() {
            send(answer);
        }
    }

    /// Holds a place in the controller's bound of open requests until answered.
    pub(super) fn holding(mut self, place: Place) -> Self {
        self._place = Some(place);
        self
    }
}

impl<T> Drop for Reply<T> {
    fn drop(&mut self) {
        if let Some(send) = self.send.take() {
            let text = "the controller stopped before it answered; ask again";
            send(Err(Refusal::new(ErrorCode::NotController, text)));
        }
    }
}

impl<T> fmt::Debug for Reply<T> {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.debug_struct("Reply").field("open", &self.send.is_some()).finish_non_exhaustive()
    }
}

/// A bound of open requests.
#[derive(Clone, Debug)]
pub(super) struct Places {
    taken: Arc<AtomicUsize>,
    most: usize,
}

/// One of them, free again when dropped.
#[derive(Debug)]
pub(super) struct Place(Arc<AtomicUsize>);

impl Places {
    pub(super) fn new(most: usize) -> Self {
        Self { taken: Arc::new(AtomicUsize::new(0)), most }
    }

    /// So many are taken.
    pub(super) fn taken(&self) -> usize {
        self.taken.load(Ordering::Relaxed)
    }

    pub(super) fn take(&self) -> Result<Place, Refusal> {
        // The place is taken first: it is given back by its drop where there was none left.
        let taken = self.taken.fetch_add(1, Ordering::Relaxed);
        let place = Place(Arc::clone(&self.taken));
        if taken < self.most {
            return Ok(place);
        }
        let text = format!("the controller has {} requests open, as many as it takes; try again", self.most);
        Err(Refusal::new(ErrorCode::ThrottlingQuotaExceeded, text))
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }
}

/// A request with its reply.
#[derive(Debug)]
pub enum Request {
    /// A node has started.
    Register(RegisterNode, Reply<()>),
    /// A node is there.
    Heartbeat(NodeHeartbeat, Reply<HeartbeatAnswer>),
    /// A leader changes in-sync sets.
    AlterInSync(AlterInSync, Reply<Vec<(PartitionId, Result<u32, Refusal>)>>),
    /// A node doubts its replicas.
    ReportDoubts(ReportDoubts, Reply<()>),
    /// A leader resigns.
    Resign(Resign, Reply<()>),
    /// A node is about to stop.
    HandOver(HandOver, Reply<()>),
    /// A node says where it stands.
    Rack(NodeRack, Reply<()>),
    /// A client's request.
    Client(ClientRequest, Reply<ClientAnswer>),
    /// A node has started, and says where clients of Kafka's protocol find it.
    RegisterListeners(RegisterListeners, Reply<()>),
    /// A node says which types of users' entities it hosts.
    Entities(NodeEntities, Reply<()>),
    /// A node changes names of its actors.
    Names(AlterNames, Reply<()>),
}

impl Request {
    /// How much of an entry it takes.
    pub(super) fn weight(&self) -> usize {
        let items = match self {
            Self::Register(request, _) => request.doubts.len() / 4,
            Self::RegisterListeners(request, _) => {
                request.register.doubts.len() / 4 + request.listeners.len()
            }
            Self::AlterInSync(request, _) => request.changes.len(),
            Self::ReportDoubts(request, _) => request.doubts.len() / 4,
            Self::Resign(request, _) => request.partitions.len() / 2,
            // The bytes of names and settings, and of the replicas of up to 10,000 partitions.
            Self::Client(ClientRequest::CreateTopic(_, request), _) => {
                let partitions =
                    request.partitions.map_or(0, |count| usize::try_from(count / 4).unwrap_or(0));
                partitions + settings(request) / 100
            }
            Self::Client(ClientRequest::CreateTopicPlaced(_, request, given), _) => {
                let named: usize = given.iter().map(|(_, nodes)| nodes.len()).sum();
                given.len() / 8 + named / 20 + settings(request) / 100
            }
            Self::Client(ClientRequest::CreatePartitionsPlaced(_, given), _) => {
                given.len() / 8 + given.iter().map(Vec::len).sum::<usize>() / 20
            }
            Self::Client(ClientRequest::CreatePartitions(request), _) => {
                usize::try_from(request.total / 4).unwrap_or(0)
            }
            Self::Client(ClientRequest::AlterTopicConfig(request), _) => {
                let bytes = |value: &Option<String>| value.as_ref().map_or(0, String::len);
                request.changes.iter().map(|(name, value)| name.len() + bytes(value)).sum::<usize>() / 100
            }
            Self::Client(ClientRequest::ElectLeaders(partitions, _), _) => partitions.len() / 2,
            // Keys and salts, and the texts of entries.
            Self::Client(ClientRequest::AlterScram(changes), _) => changes.len() * 4,
            Self::Client(ClientRequest::CreateAcls(acls), _) => {
                let bytes = |acl: &Acl| acl.name.len() + acl.principal.len() + acl.host.len();
                acls.len() + acls.iter().map(bytes).sum::<usize>() / 100
            }
            // What they find, which is bounded.
            Self::Client(ClientRequest::DeleteAcls(filters), _) => {
                filters.len() * 4 + REMOVED_BYTES_MAX / 100
            }
            Self::Client(ClientRequest::AlterQuotas(alterations), _) => {
                alterations.iter().map(QuotaAlteration::bytes).sum::<usize>() / 100
            }
            Self::Client(ClientRequest::Reassign(wishes, _), _) => {
                let named: usize = wishes.iter().flat_map(|wish| &wish.replicas).map(Vec::len).sum();
                wishes.len() / 2 + named / 20
            }
            Self::Entities(request, _) => {
                request.types.iter().map(|hosted| hosted.kind.len() + 6).sum::<usize>() / 100
            }
            Self::Names(request, _) => request.alteration.bytes() / 100,
            Self::Rack(request, _) => request.rack.as_ref().map_or(0, String::len) / 100,
            Self::Client(..) | Self::Heartbeat(..) | Self::HandOver(..) => 0,
        };
        items.saturating_add(1)
    }

    /// The node that has started, and its life, where it says that.
    pub(super) const fn registering(&self) -> Option<(NodeId, Incarnation)> {
        match self {
            Self::Register(request, _) => Some((request.node, request.incarnation)),
            Self::RegisterListeners(request, _) => {
                Some((request.register.node, request.register.incarnation))
            }
            _ => None,
        }
    }

    /// Refuses it.
    pub fn refuse(self, refusal: Refusal) {
        match self {
            Self::Register(_, reply)
            | Self::RegisterListeners(_, reply)
            | Self::ReportDoubts(_, reply)
            | Self::Resign(_, reply)
            | Self::Rack(_, reply)
            | Self::Entities(_, reply)
            | Self::Names(_, reply)
            | Self::HandOver(_, reply) => reply.send(Err(refusal)),
            Self::Heartbeat(_, reply) => reply.send(Err(refusal)),
            Self::AlterInSync(_, reply) => reply.send(Err(refusal)),
            Self::Client(_, reply) => reply.send(Err(refusal)),
        }
    }
}

/// The bytes of a new topic's settings.
fn settings(request: &CreateTopic) -> usize {
    request.config.iter().map(|(name, value)| name.len() + value.len()).sum()
}

/// A message that the controller answers.
pub trait ToController: Message<Answer = Result<Self::Granted, Refusal>> + Clone {
    /// What it is answered with when it is not refused.
    type Granted: Answer;

    /// Whether clients send it, as many as they like. Their places are not those of nodes, whose life hangs on theirs.
    const IS_OF_CLIENTS: bool;

    /// The message as a request.
    fn request(self, reply: Reply<Self::Granted>) -> Request;
}

macro_rules! to_controller {
    ($($message:ty => $granted:ty, $variant:ident, $is_of_clients:literal;)*) => {
        $(impl ToController for $message {
            type Granted = $granted;

            const IS_OF_CLIENTS: bool = $is_of_clients;

            fn request(self, reply: Reply<Self::Granted>) -> Request {
                Request::$variant(self, reply)
            }
        })*
    };
}

to_controller! {
    RegisterNode => (), Register, false;
    NodeHeartbeat => HeartbeatAnswer, Heartbeat, false;
    AlterInSync => Vec<(PartitionId, Result<u32, Refusal>)>, AlterInSync, false;
    ReportDoubts => (), ReportDoubts, false;
    Resign => (), Resign, false;
    HandOver => (), HandOver, false;
    NodeRack => (), Rack, false;
    ClientRequest => ClientAnswer, Client, true;
    RegisterListeners => (), RegisterListeners, false;
    NodeEntities => (), Entities, false;
    AlterNames => (), Names, true;
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_dropped_reply_refuses() {
        let (reply, mut answer) = Reply::<()>::channel();
        drop(reply);
        assert_eq!(answer.try_recv().unwrap().unwrap_err().code, ErrorCode::NotController);
    }

    #[test]
    fn a_place_is_free_again_after_the_answer() {
        let places = Places::new(1);
        let (reply, mut answer) = Reply::<()>::channel();
        let reply = reply.holding(places.take().unwrap());
        assert_eq!(places.take().unwrap_err().code, ErrorCode::ThrottlingQuotaExceeded);
        reply.send(Ok(()));
        assert!(answer.try_recv().unwrap().is_ok());
        assert!(places.take().is_ok());
    }
}

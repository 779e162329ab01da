//! What named actors see of the rest of their node, and how calls travel.

use std::fmt;
use std::time::Duration;

use futures::future::BoxFuture;

use super::message::{ActorEnd, AskActor, FoundName, NameNews, TellActor, WatchActor, WatchName};
use crate::custom::call::CallError;
use crate::custom::envelope::Answered;
use crate::error::Refusal;
use crate::ids::{ActorId, NodeId};
use crate::image::NameAlteration;
use crate::supervision::listing::{ActorPage, ListActors};

/// Why a node gave no answer.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum NoAnswer {
    /// Nothing was sent.
    #[error("not sent: {0}")]
    NotSent(String),
    /// It may or may not have been carried out.
    #[error("no answer: {0}")]
    Unknown(String),
    /// The other side never will: another version, or not allowed.
    #[error("{0}")]
    Refused(String),
}

/// An answer under way.
pub type Answering<T> = BoxFuture<'static, Result<T, NoAnswer>>;

/// The actors of each node; where one does not answer, why.
pub type Listed = Vec<(NodeId, Result<ActorPage, NoAnswer>)>;

/// Asks other nodes.
pub trait Mail: fmt::Debug + Send + Sync {
    /// Asks an actor of another node.
    fn ask(
        &self,
        node: NodeId,
        message: AskActor,
        within: Duration,
    ) -> Answering<Result<Answered, CallError>>;

    /// Tells an actor of another node.
    fn tell(&self, node: NodeId, message: TellActor, within: Duration) -> Answering<Result<(), CallError>>;

    /// Waits at another node for the end of an actor of its own.
    fn watch(&self, node: NodeId, message: WatchActor, within: Duration) -> Answering<Option<ActorEnd>>;

    /// The actors of another node.
    fn list(&self, node: NodeId, message: ListActors, within: Duration) -> Answering<ActorPage>;
}

/// Puts changes of names into the metadata quorum.
pub trait NameRegistry: fmt::Debug + Send + Sync {
    /// Asks for a change for an actor of this node. It may be made twice, which is the same as once.
    fn alter(&self, alteration: NameAlteration, within: Duration) -> BoxFuture<'static, Result<(), Refusal>>;
}

/// How calls find their way from where they are made: a node, or a client.
pub trait Way: fmt::Debug + Send + Sync {
    /// Who has a name; perhaps as it was found before.
    fn find(&self, name: &str, within: Duration) -> Answering<FoundName>;

    /// What was found of a name is not to be believed any more.
    fn forget(&self, name: &str);

    /// Asks an actor of a node.
    fn ask(
        &self,
        node: NodeId,
        message: AskActor,
        within: Duration,
    ) -> Answering<Result<Answered, CallError>>;

    /// Tells an actor of a node.
    fn tell(&self, node: NodeId, message: TellActor, within: Duration) -> Answering<Result<(), CallError>>;

    /// Waits for the end of an actor; `None` if it has not ended in the time given.
    fn watch(&self, message: WatchActor) -> Answering<Option<ActorEnd>>;

    /// Waits for changes of a name's owner.
    fn news(&self, message: WatchName) -> Answering<NameNews>;

    /// The members of a group.
    fn members(&self, group: &str, within: Duration) -> Answering<Vec<ActorId>>;

    /// The nodes that may answer.
    fn nodes(&self, within: Duration) -> Answering<Vec<NodeId>>;

    /// The actors of a node.
    fn list(&self, node: NodeId, message: ListActors, within: Duration) -> Answering<ActorPage>;

    /// Returns when it is worth trying again: something changed, or a while has passed.
    fn changed(&self) -> BoxFuture<'static, ()>;

    /// The most bytes of a message.
    fn message_bytes_max(&self) -> usize;
}

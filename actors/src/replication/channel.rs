//! The door between a fetch session and what carries it: a channel of the transport, or one in memory for tests.

use std::fmt::Debug;
use std::future::Future;
use std::pin::Pin;

use millstream_transport::frame::Unreadable;
use millstream_transport::message::Message;
use millstream_transport::peer::{
    AskError, Channel, ChannelError, ChannelReceiver, ChannelSender, Endpoint, Lane,
};

use super::message::{FollowerTurn, LeaderTurn, OpenSession, SessionOpened};
use crate::ids::NodeId;

/// What is under way.
pub type Pending<'a, T> = Pin<Box<dyn Future<Output = T> + Send + 'a>>;

/// Why a session carries nothing more.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum SessionError {
    /// Its channel ended.
    #[error(transparent)]
    Channel(#[from] ChannelError),
    /// What came is not what belongs into a session.
    #[error("the other side sent what does not belong into a fetch session: {0}")]
    Garbage(String),
    /// It could not be opened.
    #[error(transparent)]
    Open(#[from] AskError),
    /// The other side ended it in order.
    #[error("ended by the other side")]
    Finished,
}

impl From<Unreadable> for SessionError {
    fn from(error: Unreadable) -> Self {
        Self::Garbage(error.to_string())
    }
}

/// The sending end of a session.
pub trait TurnSender<T>: Debug + Send {
    /// Sends a turn; waits while the other side has too much to read. Batches are not copied.
    fn send(&mut self, turn: T) -> Pending<'_, Result<(), SessionError>>;
}

/// The receiving end of a session.
pub trait TurnReceiver<T>: Debug + Send {
    /// The next turn; `None` when the other side has finished.
    fn receive(&mut self) -> Pending<'_, Result<Option<T>, SessionError>>;
}

/// Both ends of a session, as one of its sides has them: sends `Out`, receives `In`.
#[derive(Debug)]
pub struct SessionChannel<Out, In> {
    /// For what is sent.
    pub sender: Box<dyn TurnSender<Out>>,
    /// For what is received.
    pub receiver: Box<dyn TurnReceiver<In>>,
}

/// The leader's side of a session.
pub type LeaderChannel = SessionChannel<LeaderTurn, FollowerTurn>;

/// The follower's side of a session.
pub type FollowerChannel = SessionChannel<FollowerTurn, LeaderTurn>;

impl<Out: Message, In: Message> From<Channel> for SessionChannel<Out, In> {
    fn from(channel: Channel) -> Self {
        let (sender, receiver) = channel.split();
        Self { sender: Box::new(sender), receiver: Box::new(receiver) }
    }
}

impl<T: Message> TurnSender<T> for ChannelSender {
    fn send(&mut self, turn: T) -> Pending<'_, Result<(), SessionError>> {
        Box::pin(async move { Ok(Self::send(self, turn).await?) })
    }
}

impl<T: Message> TurnReceiver<T> for ChannelReceiver {
    fn receive(&mut self) -> Pending<'_, Result<Option<T>, SessionError>> {
        Box::pin(async move {
            match Self::receive(self).await? {
                Some(frame) => Ok(Some(frame.decode()?)),
                None => Ok(None),
            }
        })
    }
}

/// Opens sessions with leaders.
pub trait Dial: Debug + Send + Sync {
    /// Opens one with `leader`.
    fn dial(
        &self,
        leader: NodeId,
        opening: OpenSession,
    ) -> Pending<'static, Result<(SessionOpened, FollowerChannel), SessionError>>;
}

/// Opens sessions over the data lane of an endpoint.
#[derive(Clone, Debug)]
pub struct EndpointDial {
    endpoint: Endpoint,
    timeout: std::time::Duration,
}

impl EndpointDial {
    /// Sessions from this endpoint; opening one may take so long.
    #[must_use]
    pub fn new(endpoint: Endpoint, timeout: std::time::Duration) -> Self {
        Self { endpoint, timeout }
    }
}

impl Dial for EndpointDial {
    fn dial(
        &self,
        leader: NodeId,
        opening: OpenSession,
    ) -> Pending<'static, Result<(SessionOpened, FollowerChannel), SessionError>> {
        let opened = self.endpoint.peer(leader).open(Lane::Data, opening, self.timeout);
        Box::pin(async move {
            let (answer, channel) = opened.await?;
            Ok((answer, channel.into()))
        })
    }
}

//! What nodes and clients say to each other about actors of users. Kinds 401 to 406.

use bytes::Bytes;
use millstream_transport::message::{Answer, BodyMismatch, Message};
use serde::{Deserialize, Serialize};

use crate::custom::call::CallError;
use crate::custom::envelope::{Answered, Envelope};
use crate::ids::ActorId;

/// Who is meant.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Address {
    /// Whoever has this name.
    Name(String),
    /// This very actor.
    Id(ActorId),
}

impl std::fmt::Display for Address {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Name(name) => write!(formatter, "{name:?}"),
            Self::Id(actor) => write!(formatter, "actor {actor}"),
        }
    }
}

/// Asks an actor of the node that gets this.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct AskActor {
    /// Who is asked.
    pub to: Address,
    /// How long the asker waits, in milliseconds.
    pub within_ms: u32,
    /// The quorum is to confirm, once it is handled, that the actor still has its name.
    pub is_linearizable: bool,
    /// The message.
    pub envelope: Envelope,
}

impl Message for AskActor {
    const KIND: u16 = 401;
    type Answer = Result<Answered, CallError>;

    fn take_bodies(&mut self) -> Vec<Bytes> {
        self.envelope.take_bodies()
    }

    fn put_bodies(&mut self, bodies: Vec<Bytes>) -> Result<(), BodyMismatch> {
        self.envelope.put_bodies(bodies)
    }
}

/// Puts a message into the mailbox of an actor of the node that gets this. Answered when it is in there.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct TellActor {
    /// Who is told.
    pub to: Address,
    /// The message.
    pub envelope: Envelope,
}

impl Message for TellActor {
    const KIND: u16 = 402;
    type Answer = Result<(), CallError>;

    fn take_bodies(&mut self) -> Vec<Bytes> {
        self.envelope.take_bodies()
    }

    fn put_bodies(&mut self, bodies: Vec<Bytes>) -> Result<(), BodyMismatch> {
        self.envelope.put_bodies(bodies)
    }
}

/// Asks who has a name, as far as the receiver knows.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct FindName {
    /// The name.
    pub name: String,
}

/// Who has a name.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct FoundName {
    /// Its owner, and since which version of the image; `None` if nobody has it.
    pub owner: Option<(ActorId, u64)>,
    /// The version of the image that says so.
    pub version: u64,
}

impl Message for FindName {
    const KIND: u16 = 403;
    type Answer = FoundName;
}

impl Answer for FoundName {}

/// Waits for the end of an actor, wherever it runs.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct WatchActor {
    /// The actor.
    pub actor: ActorId,
    /// The version of an image in which its node was not lost.
    pub since: u64,
    /// How long to wait, in milliseconds.
    pub within_ms: u32,
}

/// How an actor ended.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum ActorEnd {
    /// It stopped, and its node says why.
    Stopped(StopReason),
    /// The quorum took its node for lost, in this version of the image: the same for all who watch.
    NodeLost(u64),
    /// The watcher's own node lost the quorum or stopped, or its client was closed: the actor may have ended or not.
    Unsure,
}

/// Why an actor stopped.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum StopReason {
    /// Its user said so, or it did itself.
    Asked,
    /// Its handler panicked more often than its restart policy allows; the last panic.
    GaveUp(String),
    /// Its node stopped in order.
    NodeStopped,
    /// It had stopped before anybody asked, too long ago for the reason to be remembered.
    Forgotten,
}

/// The answer to [`WatchActor`].
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Watched {
    /// How it ended; `None` if it had not in the time given.
    pub end: Option<ActorEnd>,
}

impl Message for WatchActor {
    const KIND: u16 = 404;
    type Answer = Watched;
}

impl Answer for Watched {}

/// Waits for changes of a name's owner.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct WatchName {
    /// The name.
    pub name: String,
    /// The number of the first event not seen, and the owner as seen last; `None` to begin with who has it now.
    pub seen: Option<(u64, Option<ActorId>)>,
    /// How long to wait, in milliseconds.
    pub within_ms: u32,
}

/// A name has another owner, or none.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct OwnerChange {
    /// Who has it now.
    pub owner: Option<ActorId>,
    /// The version of the first image that says so.
    pub version: u64,
    /// Changes before this one were forgotten before the watcher asked for them.
    pub is_after_gap: bool,
}

/// What happened to a name.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct NameNews {
    /// The changes, in order; none if there was none in the time given.
    pub changes: Vec<OwnerChange>,
    /// The number of the first event not looked at.
    pub next: u64,
}

impl Message for WatchName {
    const KIND: u16 = 405;
    type Answer = NameNews;
}

impl Answer for NameNews {}

/// Asks for the members of a group, as far as the receiver knows.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct GroupMembers {
    /// The group.
    pub group: String,
}

impl Message for GroupMembers {
    const KIND: u16 = 406;
    type Answer = Vec<ActorId>;
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ids::{Incarnation, NodeId};

    fn hex(value: &impl Serialize) -> String {
        postcard::to_stdvec(value).unwrap().iter().map(|byte| format!("{byte:02x}")).collect()
    }

    fn actor() -> ActorId {
        ActorId { node: NodeId(2), incarnation: Incarnation(300), serial: 7 }
    }

    #[test]
    fn the_bytes_of_messages_stay() {
        let envelope = Envelope { name: "n".to_owned(), version: 1, body: Bytes::from_static(b"x") };
        let name = || Address::Name("a".to_owned());
        let ask = AskActor { to: name(), within_ms: 300, is_linearizable: true, envelope: envelope.clone() };
        let tell = TellActor { to: Address::Id(actor()), envelope };
        let change = OwnerChange { owner: Some(actor()), version: 5, is_after_gap: true };
        let told = [
            hex(&ask),
            hex(&tell),
            hex(&FindName { name: "a".to_owned() }),
            hex(&FoundName { owner: Some((actor(), 9)), version: 11 }),
            hex(&WatchActor { actor: actor(), since: 1, within_ms: 2 }),
            hex(&Watched { end: Some(ActorEnd::Stopped(StopReason::Asked)) }),
            hex(&Watched { end: Some(ActorEnd::Stopped(StopReason::GaveUp("p".to_owned()))) }),
            hex(&Watched { end: Some(ActorEnd::Stopped(StopReason::NodeStopped)) }),
            hex(&Watched { end: Some(ActorEnd::Stopped(StopReason::Forgotten)) }),
            hex(&Watched { end: Some(ActorEnd::NodeLost(4)) }),
            hex(&Watched { end: Some(ActorEnd::Unsure) }),
            hex(&WatchName { name: "a".to_owned(), seen: Some((3, None)), within_ms: 2 }),
            hex(&NameNews { changes: vec![change], next: 6 }),
            hex(&GroupMembers { group: "g".to_owned() }),
        ];
        let golden = [
            "000161ac0201016e01",
            "0102ac0207016e01",
            "0161",
            "0102ac0207090b",
            "02ac02070102",
            "010000",
            "0100010170",
            "010002",
            "010003",
            "010104",
            "0102",
            "016101030002",
            "010102ac0207050106",
            "0167",
        ];
        assert_eq!(told.as_slice(), golden);
    }

    #[test]
    fn the_body_travels_beside_the_header() {
        let envelope = Envelope { name: "n".to_owned(), version: 1, body: Bytes::from_static(b"x") };
        let mut tell = TellActor { to: Address::Name("a".to_owned()), envelope };
        let bodies = tell.take_bodies();
        assert_eq!((bodies.len(), tell.envelope.body.len()), (1, 0));
        assert!(tell.put_bodies(Vec::new()).is_err());
        tell.put_bodies(bodies).unwrap();
        assert_eq!(&*tell.envelope.body, b"x");
    }
}

//! What members and tools ask of a classic group, and what they are answered.

use std::sync::Arc;

use bytes::Bytes;

use crate::error::Refusal;

/// A request that waits for its answer. Chosen by the caller, each once; answered exactly once.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Ticket(pub u64);

/// A protocol (an assignor, say) that a member can speak, and what it says in it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Protocol {
    /// Its name.
    pub name: Arc<str>,
    /// What the member says in it: of type `consumer`, its subscription.
    pub metadata: Bytes,
}

/// JoinGroup.
#[derive(Clone, Debug)]
pub struct JoinGroup {
    /// The version of the request: from 4 a dynamic member is given its id first (KIP-394), from 9 a leader may be
    /// told to skip its assignment (KIP-814), and 0 has no rebalance timeout.
    pub version: i16,
    /// The member; empty if it has no id.
    pub member: Arc<str>,
    /// The id it is to get if it has none: `<client id or instance id>-<uuid>`, never one given before.
    pub new_member: Arc<str>,
    /// `group.instance.id` of a static member (KIP-345).
    pub instance: Option<Arc<str>>,
    /// `client.id`, for people.
    pub client_id: Arc<str>,
    /// Where it is, for people.
    pub client_host: Arc<str>,
    /// How long it may be silent.
    pub session_timeout_ms: i32,
    /// How long it may take to join again.
    pub rebalance_timeout_ms: i32,
    /// `consumer`, `connect`, or whatever its kind is called.
    pub protocol_type: Arc<str>,
    /// What it can speak, the best first.
    pub protocols: Vec<Protocol>,
    /// Why it joins, in its own words (KIP-800).
    pub reason: Option<String>,
}

impl JoinGroup {
    /// How long the member may take to join again: version 0 does not say, and means as long as it may be silent.
    #[must_use]
    pub const fn patience_ms(&self) -> i32 {
        if self.version == 0 { self.session_timeout_ms } else { self.rebalance_timeout_ms }
    }
}

/// SyncGroup.
#[derive(Clone, Debug)]
pub struct SyncGroup {
    /// The member.
    pub member: Arc<str>,
    /// Its generation.
    pub generation: i32,
    /// `group.instance.id` of a static member.
    pub instance: Option<Arc<str>>,
    /// What it takes the group's protocol type for (KIP-559).
    pub protocol_type: Option<Arc<str>>,
    /// What it takes the group's protocol for (KIP-559).
    pub protocol: Option<Arc<str>>,
    /// From the leader: what every member is to do.
    pub assignments: Vec<(Arc<str>, Bytes)>,
}

/// Heartbeat.
#[derive(Clone, Debug)]
pub struct Heartbeat {
    /// The member.
    pub member: Arc<str>,
    /// Its generation.
    pub generation: i32,
    /// `group.instance.id` of a static member.
    pub instance: Option<Arc<str>>,
}

/// LeaveGroup.
#[derive(Clone, Debug)]
pub struct LeaveGroup {
    /// Who leaves; before version 3, one.
    pub members: Vec<Leaver>,
}

/// Who leaves.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Leaver {
    /// The member; empty where an administrator puts an instance out.
    pub member: Arc<str>,
    /// `group.instance.id` of a static member.
    pub instance: Option<Arc<str>>,
    /// Why, in its own words (KIP-800).
    pub reason: Option<String>,
}

/// Who commits offsets.
#[derive(Clone, Debug)]
pub struct Committer {
    /// The version of the request: from 9 an OffsetCommit is told of a group that there is not by another code.
    pub version: i16,
    /// The member; empty from outside.
    pub member: Arc<str>,
    /// Its generation; negative from outside.
    pub generation: i32,
    /// `group.instance.id` of a static member.
    pub instance: Option<Arc<str>>,
}

impl Committer {
    /// Whether it says that it is a member.
    #[must_use]
    pub fn is_named(&self) -> bool {
        self.generation >= 0 || !self.member.is_empty() || self.instance.is_some()
    }
}

/// Who was to leave, and whether it did.
pub type EachLeft = Vec<(Leaver, Result<(), Refusal>)>;

/// What a ticket is answered.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Answer {
    /// To a [`JoinGroup`].
    Join {
        /// The member's id, or the one that it is to come with.
        member: Arc<str>,
        /// Its generation.
        result: Result<Joined, Refusal>,
    },
    /// To a [`SyncGroup`].
    Sync(Result<Synced, Refusal>),
    /// To a [`LeaveGroup`]: in the order of the request. Before version 3 the one member's error is the request's.
    Leave(Result<EachLeft, Refusal>),
    /// To the end of the group.
    Delete(Result<(), Refusal>),
}

impl Answer {
    /// The same, refused.
    #[must_use]
    pub fn refused(self, refusal: Refusal) -> Self {
        match self {
            Self::Join { member, .. } => Self::Join { member, result: Err(refusal) },
            Self::Sync(_) => Self::Sync(Err(refusal)),
            Self::Leave(_) => Self::Leave(Err(refusal)),
            Self::Delete(_) => Self::Delete(Err(refusal)),
        }
    }
}

/// A member is in a generation.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Joined {
    /// The generation.
    pub generation: i32,
    /// The group's protocol type (told from version 7, KIP-559).
    pub protocol_type: Option<Arc<str>>,
    /// The protocol that was voted for.
    pub protocol: Option<Arc<str>>,
    /// Who assigns.
    pub leader: Arc<str>,
    /// To the leader: the assignment stands, there is none to be made (KIP-814).
    pub skip_assignment: bool,
    /// To the leader: all members. To others: none.
    pub members: Vec<JoinedMember>,
}

/// A member, as the leader sees it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct JoinedMember {
    /// Its id.
    pub member: Arc<str>,
    /// `group.instance.id` of a static member.
    pub instance: Option<Arc<str>>,
    /// What it says in the protocol that was voted for.
    pub metadata: Bytes,
}

/// What a member is to do.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Synced {
    /// The group's protocol type (told from version 5, KIP-559).
    pub protocol_type: Option<Arc<str>>,
    /// The protocol that was voted for.
    pub protocol: Option<Arc<str>>,
    /// The leader's assignment.
    pub assignment: Bytes,
}

/// A group, described (DescribeGroups).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ClassicDescription {
    /// The state's name, as Kafka prints it.
    pub state: &'static str,
    /// The protocol type; empty if the group never had one.
    pub protocol_type: Arc<str>,
    /// The protocol voted for while the group is stable, else empty.
    pub protocol: Arc<str>,
    /// Its members by id.
    pub members: Vec<DescribedMember>,
}

/// A member, described.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DescribedMember {
    /// Its id.
    pub member: Arc<str>,
    /// `group.instance.id` of a static member.
    pub instance: Option<Arc<str>>,
    /// `client.id`.
    pub client_id: Arc<str>,
    /// Where it is.
    pub client_host: Arc<str>,
    /// What it says in the group's protocol while that is stable, else empty.
    pub metadata: Bytes,
    /// Its assignment.
    pub assignment: Bytes,
}

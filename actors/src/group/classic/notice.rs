//! What is worth telling of a classic group.

use std::sync::Arc;

use crate::error::ErrorCode;

/// Characters kept of a reason that a client gives; Kafka's clients send no more (KIP-800).
const MAX_REASON: usize = 255;

/// Something that happened to a group.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Notice {
    /// A member without an id was given one to join with.
    IdGiven {
        /// The id.
        member: Arc<str>,
    },
    /// A member was added.
    Joined {
        /// The member.
        member: Arc<str>,
        /// Why, in its own words.
        reason: Option<String>,
    },
    /// A static member came back under another id.
    Replaced {
        /// Its instance.
        instance: Arc<str>,
        /// The id it had.
        old: Arc<str>,
        /// The id it has.
        new: Arc<str>,
    },
    /// A member is out.
    Left {
        /// The member.
        member: Arc<str>,
        /// Why.
        how: Leaving,
        /// Why, in its own words.
        reason: Option<String>,
    },
    /// All members are to join again.
    Rebalancing {
        /// The generation that ends.
        generation: i32,
        /// Why.
        why: Why,
    },
    /// Nobody joined again in time: the members kept have another rebalance timeout.
    Postponed {
        /// The generation that goes on.
        generation: i32,
    },
    /// A generation began; its leader is to assign.
    Began {
        /// The generation.
        generation: i32,
        /// Members.
        members: usize,
        /// The protocol voted for.
        protocol: Option<Arc<str>>,
        /// Who assigns.
        leader: Arc<str>,
    },
    /// The leader named no assignment for so many members: they have an empty one.
    Unassigned {
        /// The generation.
        generation: i32,
        /// Members.
        members: usize,
    },
    /// The assignment is committed and told.
    Stable {
        /// The generation.
        generation: i32,
        /// Members.
        members: usize,
    },
    /// The last member is out.
    Emptied {
        /// The generation.
        generation: i32,
    },
    /// The group is no more.
    Forgotten,
    /// A record could not be committed.
    WriteFailed {
        /// What the log said.
        code: ErrorCode,
    },
}

/// Why a group rebalances.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Why {
    /// What happened.
    pub cause: Cause,
    /// To whom, if it was one.
    pub member: Option<Arc<str>>,
    /// Why, in its own words.
    pub reason: Option<String>,
}

impl Why {
    pub(super) fn of(cause: Cause) -> Self {
        Self { cause, member: None, reason: None }
    }

    pub(super) fn member(cause: Cause, member: &Arc<str>, reason: Option<&str>) -> Self {
        Self { cause, member: Some(Arc::clone(member)), reason: bounded(reason) }
    }
}

/// What makes a group rebalance.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Cause {
    /// A member was added.
    Joined,
    /// The leader joined again: it wants to assign anew.
    LeaderRejoined,
    /// A member speaks other protocols, or says other things in them.
    MetadataChanged,
    /// A static member came back, and what it was must not be built upon.
    Replaced,
    /// Members left.
    Left,
    /// Members were silent too long.
    SessionTimeout,
    /// Members joined but did not sync.
    SyncTimeout,
    /// The assignment could not be written.
    WriteFailed,
    /// The group was read back with more members than it may have now.
    OverCapacity,
    /// The group came over from KIP-848: nobody has assigned in it yet.
    Downgraded,
}

impl Cause {
    /// Its label in metrics and logs.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Joined => "joined",
            Self::LeaderRejoined => "leader_rejoined",
            Self::MetadataChanged => "metadata_changed",
            Self::Replaced => "replaced",
            Self::Left => "left",
            Self::SessionTimeout => "session_timeout",
            Self::SyncTimeout => "sync_timeout",
            Self::WriteFailed => "write_failed",
            Self::OverCapacity => "over_capacity",
            Self::Downgraded => "downgraded",
        }
    }
}

/// Why a member is out.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Leaving {
    /// It said so, or an administrator did.
    Left,
    /// It was not heard of for a session's time.
    SessionTimeout,
    /// It did not join again in time.
    RebalanceTimeout,
    /// It joined but did not sync in time.
    SyncTimeout,
    /// The group has as many members as it may have.
    NoRoom,
}

impl Leaving {
    /// Its label in metrics and logs.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Left => "left",
            Self::SessionTimeout => "session_timeout",
            Self::RebalanceTimeout => "rebalance_timeout",
            Self::SyncTimeout => "sync_timeout",
            Self::NoRoom => "no_room",
        }
    }
}

/// A client's own words, as many as are kept.
pub(super) fn bounded(reason: Option<&str>) -> Option<String> {
    reason.filter(|reason| !reason.is_empty()).map(|reason| reason.chars().take(MAX_REASON).collect())
}

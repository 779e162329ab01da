//! A group of Kafka's classic protocol (JoinGroup, SyncGroup, Heartbeat, LeaveGroup), as a pure state machine: `(now,
//! input)` to records, answers and notices.
//!
//! Members join, and wait until all have; one of them, the leader, is told who they are, assigns, and syncs; when its
//! assignment is committed, all who sync are told theirs. That is a *generation*. Whenever members come, go or want
//! something else, they have to join again, which they hear from their heartbeats. What the members share out, and how,
//! is theirs: the group only counts which *protocols* they all speak, and lets them vote for one.
//!
//! ```text
//!            a join                 all joined,               the assignment
//!                                   or time is up             is committed
//!   Empty ─────────▶ PreparingRebalance ─────▶ CompletingRebalance ─────▶ Stable
//!     ▲                 │       ▲                        │                  │
//!     └─────────────────┘       └────────────────────────┴──────────────────┘
//!      nobody is left              a member comes, goes, or changes
//! ```
//!
//! A request that waits has a [`Ticket`]; every ticket is answered exactly once, in the [`Decision`] of whatever ends
//! the wait. What was written is spoken of by its [`Token`]: answers that need a record are held here until
//! [`ClassicGroup::committed`], and refused at [`ClassicGroup::failed`]. Answers in a decision can be given at once.
//!
//! Static members (KIP-345) come back under a new id and keep their place; ids are given before they are used
//! (KIP-394); protocol names are checked (KIP-559); reasons go to notices (KIP-800); a leader that came back is told
//! that its assignment stands (KIP-814); transactional commits are fenced by generation (KIP-447).
//!
//! What survives the coordinator is the assignment of the last generation that got one. Ids that were promised, joins
//! that wait, and generations without an assignment do not: so a generation's number may be given again by the next
//! coordinator, as in Kafka.

mod check;
mod clock;
mod commit;
mod convert;
mod describe;
mod end;
mod join;
mod leave;
mod member;
mod members;
mod message;
mod notice;
mod record;
pub(in crate::group) mod refusal;
mod replace;
mod replay;
mod round;
mod settings;
mod size;
mod state;
mod sync;
mod tally;
mod turn;
mod write;

#[cfg(test)]
mod tests;

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::sync::Arc;

pub use commit::KeptFrom;
pub use convert::{Moving, MovingMember};
pub use message::{
    Answer, ClassicDescription, Committer, DescribedMember, EachLeft, Heartbeat, JoinGroup, Joined,
    JoinedMember, LeaveGroup, Leaver, Protocol, SyncGroup, Synced, Ticket,
};
pub use notice::{Cause, Leaving, Notice, Why};
pub use record::{ClassicMember, ClassicMetadata, ClassicRecord, Token};
pub use settings::ClassicSettings;
pub use state::ClassicState;
pub(in crate::group) use tally::Tally;

use crate::error::Refusal;
use crate::group::modern::Now;
use members::Members;
use round::Round;
use turn::Turn;
use write::Writes;

/// The protocol type of consumers: of their groups it is known what they subscribe to.
pub const CONSUMER: &str = "consumer";

/// Reads what members of type `consumer` subscribe to.
pub trait Subscriptions: fmt::Debug {
    /// The topics in a member's metadata; `None` if it is not a subscription.
    fn topics(&self, metadata: &[u8]) -> Option<Vec<Arc<str>>>;
}

/// What a decision may depend on besides the group.
#[derive(Clone, Copy, Debug)]
pub struct Surroundings<'a> {
    /// When.
    pub now: Now,
    /// How groups are coordinated.
    pub settings: &'a ClassicSettings,
    /// How subscriptions are read.
    pub subscriptions: &'a dyn Subscriptions,
}

/// What was decided.
#[derive(Debug, Default)]
#[must_use]
pub struct Decision {
    /// To be appended, in order.
    pub records: Vec<ClassicRecord>,
    /// To be given now. None of them tells of a record that is not committed.
    pub answers: Vec<(Ticket, Answer)>,
    /// What is worth telling.
    pub notices: Vec<Notice>,
}

/// A group of the classic protocol, its deadlines, and who waits for it.
#[derive(Debug)]
pub struct ClassicGroup {
    id: Arc<str>,
    state: ClassicState,
    /// Since when, in milliseconds since 1970; old records do not tell.
    state_since_ms: Option<i64>,
    generation: i32,
    protocol_type: Option<Arc<str>>,
    protocol: Option<Arc<str>>,
    /// One of the members; `None` only while there are none.
    leader: Option<Arc<str>>,
    members: Members,
    /// Ids that were given and not come with yet, and until when they are waited for.
    promised: BTreeMap<Arc<str>, u64>,
    /// Members of the generation that have not synced yet.
    unsynced: BTreeSet<Arc<str>>,
    /// Until when they have to.
    sync_ends_ms: u64,
    /// What joins wait for while the group prepares a rebalance.
    round: Option<Round>,
    /// What consumers subscribe to, as of the generation; `None` if it is not known.
    topics: Option<BTreeSet<Arc<str>>>,
    writes: Writes,
    /// Whether the log may hold a record of it.
    is_written: bool,
    /// No deadline is earlier. Not exact, because deadlines move with every heartbeat.
    wake_ms: u64,
}

impl ClassicGroup {
    /// A group of which nothing is written, or as its last record told it: then members have a whole session from now,
    /// and if they are more than there may be now, they rebalance.
    pub fn replay(
        id: Arc<str>,
        written: Option<ClassicMetadata>,
        around: &Surroundings<'_>,
    ) -> (Self, Decision) {
        let mut group = Self::nothing(id);
        let decision = group.decide(around, |turn| {
            if let Some(written) = written {
                turn.read_back(written);
            }
        });
        (group, decision)
    }

    /// A member joins. Its answer may come much later.
    pub fn join(&mut self, around: &Surroundings<'_>, ticket: Ticket, request: &JoinGroup) -> Decision {
        self.decide(around, |turn| turn.join(ticket, request))
    }

    /// A member asks for its assignment, the leader with all assignments. Its answer may come much later.
    pub fn sync(&mut self, around: &Surroundings<'_>, ticket: Ticket, request: &SyncGroup) -> Decision {
        self.decide(around, |turn| turn.sync(ticket, request))
    }

    /// A member lives. `RebalanceInProgress` tells it to join again.
    pub fn heartbeat(&mut self, around: &Surroundings<'_>, request: &Heartbeat) -> Result<(), Refusal> {
        self.check_heartbeat(request)?;
        self.touch(&request.member, around.now);
        match self.state {
            ClassicState::PreparingRebalance => Err(refusal::rebalancing(&self.id)),
            _ => Ok(()),
        }
    }

    /// Members leave. Answered at once, or when it is written that nobody is left.
    pub fn leave(&mut self, around: &Surroundings<'_>, ticket: Ticket, request: &LeaveGroup) -> Decision {
        self.decide(around, |turn| turn.leave(ticket, request))
    }

    /// Whether offsets may be committed; it is a sign of life of the member. `has_offsets`: whether the group has
    /// committed offsets, and so exists although it may never have had members.
    pub fn check_commit(
        &mut self,
        around: &Surroundings<'_>,
        committer: &Committer,
        has_offsets: bool,
    ) -> Result<(), Refusal> {
        self.check_committer(committer, has_offsets)?;
        if matches!(self.state, ClassicState::Stable | ClassicState::PreparingRebalance) {
            self.touch(&committer.member, around.now);
        }
        Ok(())
    }

    /// Time went by.
    pub fn tick(&mut self, around: &Surroundings<'_>) -> Decision {
        self.decide(around, |turn| turn.tick())
    }

    /// Before when [`Self::tick`] has nothing to do, in milliseconds of the monotonic clock; `None` until something
    /// else is decided.
    #[must_use]
    pub fn wake_at(&self) -> Option<u64> {
        (self.wake_ms != u64::MAX).then_some(self.wake_ms)
    }

    /// A record is committed.
    pub fn committed(&mut self, around: &Surroundings<'_>, token: Token) -> Decision {
        self.decide(around, |turn| turn.committed(token))
    }

    /// A record is not in the log, or nobody knows whether it is; `error` is the log's.
    pub fn failed(&mut self, around: &Surroundings<'_>, token: Token, error: &Refusal) -> Decision {
        self.decide(around, |turn| turn.failed(token, error))
    }

    /// Ends a group that has no members. The caller appends the tombstones of its offsets with the record. Until that
    /// is committed the group is dead; then it is as if it had never been.
    pub fn delete(&mut self, around: &Surroundings<'_>, ticket: Ticket, has_offsets: bool) -> Decision {
        self.decide(around, |turn| turn.delete(ticket, has_offsets))
    }

    /// Forgets a group of which nothing is left: no members, no promised ids, no offsets. For the caller's periodic
    /// cleaning; does nothing to others.
    pub fn forget(&mut self, around: &Surroundings<'_>, has_offsets: bool) -> Decision {
        self.decide(around, |turn| turn.forget(has_offsets))
    }

    /// The partition goes elsewhere: all who wait are told so, and nothing is decided any more.
    pub fn unload(&mut self, around: &Surroundings<'_>) -> Decision {
        self.decide(around, |turn| turn.unload())
    }

    /// The group's id.
    #[must_use]
    pub fn id(&self) -> &Arc<str> {
        &self.id
    }

    /// Where it stands.
    #[must_use]
    pub fn state(&self) -> ClassicState {
        self.state
    }

    /// The generation; 0 before the first.
    #[must_use]
    pub fn generation(&self) -> i32 {
        self.generation
    }

    /// Whether there is nothing to know of it: no members, none to come, no record. The actor may end.
    #[must_use]
    pub fn is_nothing(&self) -> bool {
        self.state == ClassicState::Empty
            && self.promised.is_empty()
            && self.writes.is_empty()
            && !self.is_written
    }

    fn nothing(id: Arc<str>) -> Self {
        Self {
            id,
            state: ClassicState::Empty,
            state_since_ms: None,
            generation: 0,
            protocol_type: None,
            protocol: None,
            leader: None,
            members: Members::default(),
            promised: BTreeMap::new(),
            unsynced: BTreeSet::new(),
            sync_ends_ms: u64::MAX,
            round: None,
            topics: None,
            writes: Writes::default(),
            is_written: false,
            wake_ms: u64::MAX,
        }
    }

    fn decide(&mut self, around: &Surroundings<'_>, step: impl FnOnce(&mut Turn<'_>)) -> Decision {
        let mut turn = Turn { machine: self, around, decision: Decision::default() };
        step(&mut turn);
        turn.decision
    }

    /// Begins a member's session anew.
    fn touch(&mut self, member: &str, now: Now) {
        if let Some(ends_ms) = self.members.touch(member, now.monotonic_ms) {
            self.wake_by(ends_ms);
        }
    }

    fn wake_by(&mut self, at_ms: u64) {
        self.wake_ms = self.wake_ms.min(at_ms);
    }

    fn is_leader(&self, member: &str) -> bool {
        self.leader.as_deref() == Some(member)
    }

    /// Whether nobody is waited for.
    fn have_all_joined(&self) -> bool {
        self.members.joining() == self.members.len() && self.promised.is_empty()
    }
}

//! The part of a group's coordinator that speaks the classic protocol: whose requests wait, and for which records.

use std::collections::BTreeMap;
use std::sync::Arc;

use super::classic::{
    Answer, ClassicGroup, ClassicMetadata, Decision, EachLeft, Joined, Moving, Subscriptions, Surroundings,
    Synced, Ticket, Token,
};
use super::doors::Leadership;
use super::embedded;
use super::request::Reply;
use crate::error::Refusal;

/// Where the answer of a request of the classic protocol goes.
pub(super) enum ClassicReply {
    /// To a join: the member's id, or the one that it is to come with.
    Join(Reply<JoinAnswer>),
    /// To a sync.
    Sync(Reply<Result<Synced, Refusal>>),
    /// To members that leave.
    Leave(Reply<Result<EachLeft, Refusal>>),
}

/// What a join is answered.
pub type JoinAnswer = (Arc<str>, Result<Joined, Refusal>);

impl ClassicReply {
    /// Answers; a refusal goes instead of what was decided.
    pub(super) fn give(self, answer: Answer, refusal: Option<Refusal>) {
        let answer = match refusal {
            Some(refusal) => answer.refused(refusal),
            None => answer,
        };
        match (self, answer) {
            (Self::Join(reply), Answer::Join { member, result }) => reply.give((member, result)),
            (Self::Sync(reply), Answer::Sync(result)) => reply.give(result),
            (Self::Leave(reply), Answer::Leave(result)) => reply.give(result),
            // A ticket is answered as what it was given for. Dropped, the reply says to try again.
            _ => debug_assert!(false, "an answer of another kind than its question"),
        }
    }

    /// Answers with a refusal.
    pub(super) fn refuse(self, refusal: Refusal) {
        match self {
            Self::Join(reply) => reply.give(("".into(), Err(refusal))),
            Self::Sync(reply) => reply.give(Err(refusal)),
            Self::Leave(reply) => reply.give(Err(refusal)),
        }
    }
}

/// The group, and who waits for it.
pub(super) struct ClassicPart {
    pub(super) group: ClassicGroup,
    waiting: BTreeMap<Ticket, ClassicReply>,
    tickets: u64,
    /// Records under way, by the number of what waits for them.
    pub(super) records: BTreeMap<u64, Token>,
}

impl ClassicPart {
    /// A group, new or as its record told it.
    pub(super) fn new(
        id: &Arc<str>,
        written: Option<ClassicMetadata>,
        leadership: &Leadership,
    ) -> (Self, Decision) {
        let (group, decision) =
            within(leadership, |around| ClassicGroup::replay(Arc::clone(id), written, around));
        (Self { group, waiting: BTreeMap::new(), tickets: 0, records: BTreeMap::new() }, decision)
    }

    /// A group that came from KIP-848.
    pub(super) fn downgraded(
        id: &Arc<str>,
        written: ClassicMetadata,
        moving: Moving,
        leadership: &Leadership,
    ) -> (Self, Decision) {
        let (group, decision) =
            within(leadership, |around| ClassicGroup::downgraded(Arc::clone(id), written, moving, around));
        (Self { group, waiting: BTreeMap::new(), tickets: 0, records: BTreeMap::new() }, decision)
    }

    /// Takes a request in.
    pub(super) fn ticket(&mut self, reply: ClassicReply) -> Ticket {
        self.tickets += 1;
        let ticket = Ticket(self.tickets);
        self.waiting.insert(ticket, reply);
        ticket
    }

    /// Whose answer it is.
    pub(super) fn reply(&mut self, ticket: Ticket) -> Option<ClassicReply> {
        self.waiting.remove(&ticket)
    }

    /// Whether nobody waits and nothing is being written.
    pub(super) fn is_settled(&self) -> bool {
        self.waiting.is_empty() && self.records.is_empty()
    }

    /// Whether nothing is to be known of it, and nobody waits.
    pub(super) fn is_nothing(&self) -> bool {
        self.group.is_nothing() && self.is_settled()
    }
}

/// Carries a step out in the present surroundings.
pub(super) fn within<T>(leadership: &Leadership, step: impl FnOnce(&Surroundings<'_>) -> T) -> T {
    let (now, settings) = (leadership.now(), leadership.settings());
    step(&Surroundings { now, settings: &settings.classic, subscriptions: &ConsumerSubscriptions })
}

/// What consumers say to each other, in Kafka's own schema.
#[derive(Clone, Copy, Debug)]
struct ConsumerSubscriptions;

impl Subscriptions for ConsumerSubscriptions {
    fn topics(&self, metadata: &[u8]) -> Option<Vec<Arc<str>>> {
        embedded::subscription(metadata).map(|subscription| subscription.topics.into_iter().collect())
    }
}

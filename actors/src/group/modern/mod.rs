//! A consumer group of KIP-848, as a pure state machine: `(now, input)` to records, an answer and notices.
//!
//! Three epochs tell what happens. The *group's* counts changes of members, subscriptions and topics. The *target's*
//! is the group epoch for which it was last computed what everybody is to own. A *member's* is the target it has
//! reached; it comes with it in every heartbeat, commits with it, and is refused with any other. Between two targets
//! a partition is told to its new owner only when the old one has said that it gave it up, or is out.
//!
//! What survives the coordinator is in the records. Deadlines do not: whoever takes over gives everybody a new one.

mod check;
mod commit;
mod describe;
mod downgrade;
mod heartbeat;
mod hosted;
mod mixed;
mod of_streams;
mod pattern;
mod reconcile;
mod session;
mod shown;
mod state;
mod turn;
pub(in crate::group) mod upgrade;

#[cfg(test)]
mod tests;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

pub use state::{AWAY_EPOCH, Group};

use super::classic::{KeptFrom, Moving};
use super::message::{
    CommittedOffset, DeleteGroup, GroupDescription, GroupHeartbeat, GroupHeartbeatAnswer, GroupState,
    OffsetCommit, OffsetDelete, OffsetFetch,
};
use super::pending::{OfProducer, Put};
use super::records::GroupRecord;
use super::settings::GroupSettings;
use super::streams::{self, Live};
use super::topics::{TopicRights, TopicsView};
use crate::error::Refusal;
use crate::ids::PartitionId;
use crate::invariant::Broken;
use crate::record::EndMarker;
use commit::PerPartition;
use pattern::Patterns;
use session::Session;
use turn::Turn;

/// The two times.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Now {
    /// Milliseconds of the monotonic clock, from any beginning: for deadlines.
    pub monotonic_ms: u64,
    /// Milliseconds since 1970: for what is written down.
    pub wall_ms: i64,
}

/// What a decision may depend on besides the group.
#[derive(Clone, Copy, Debug)]
pub struct Surroundings<'a> {
    /// When.
    pub now: Now,
    /// The topics there are.
    pub topics: &'a dyn TopicsView,
    /// How groups are coordinated.
    pub settings: &'a GroupSettings,
}

/// Who sends a heartbeat, beside what it says itself.
#[derive(Debug)]
pub struct Sender<'a> {
    /// From where.
    pub host: &'a str,
    /// Which topics it may know of; `None` where nobody is asked, and it may know of all. Taken in only where the heartbeat is
    /// not refused.
    pub rights: Option<Arc<dyn TopicRights>>,
}

/// What was decided. The answer may be given once the records are committed, and with those of all earlier decisions.
#[derive(Debug)]
#[must_use]
pub struct Decision<A> {
    /// To be appended, in order. Empty if the answer is a refusal.
    pub records: Vec<GroupRecord>,
    /// The answer.
    pub answer: Result<A, Refusal>,
    /// What is worth telling.
    pub notices: Vec<Notice>,
}

/// Something that happened to a group.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Notice {
    /// A member joined, or came back.
    Joined {
        /// The member.
        member: Arc<str>,
    },
    /// A member is out.
    Left {
        /// The member.
        member: Arc<str>,
        /// Why.
        reason: Leaving,
    },
    /// It was computed anew what everybody is to own.
    Retargeted {
        /// The group's epoch.
        epoch: i32,
        /// Members.
        members: usize,
        /// Partitions of all topics subscribed to.
        partitions: usize,
        /// Members that are to own something else than before.
        affected: usize,
    },
    /// Offsets of so many partitions were forgotten.
    Forgotten {
        /// Partitions.
        partitions: usize,
    },
    /// Only members of the classic protocol are left, and the group stays one of KIP-848.
    NotDowngraded {
        /// Why.
        why: &'static str,
    },
    /// A promise was found broken; what would have broken it was not done.
    Broken(Broken),
}

/// Why a member is out.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Leaving {
    /// It said so.
    Left,
    /// It said that it comes back (static member).
    Away,
    /// It came back under another id.
    Replaced,
    /// It was not heard of for a session's time.
    SessionTimeout,
    /// It did not give partitions up in time.
    RebalanceTimeout,
}

impl Leaving {
    /// Its label in metrics and logs.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Left => "left",
            Self::Away => "away",
            Self::Replaced => "replaced",
            Self::SessionTimeout => "session_timeout",
            Self::RebalanceTimeout => "rebalance_timeout",
        }
    }
}

/// A consumer group and its deadlines.
#[derive(Debug)]
pub struct ConsumerGroup {
    id: Arc<str>,
    group: Group,
    sessions: BTreeMap<Arc<str>, Session>,
    patterns: Patterns,
    topics_seen: Option<u64>,
    /// Since when it waits for topics, before it comes over from the classic protocol.
    upgrade_waits_since_ms: Option<u64>,
    retention_check_ms: u64,
    /// What was heard of members of an application of streams.
    live: Live,
    /// The group as it went over to the classic protocol, until somebody takes it.
    downgraded: Option<Moving>,
    /// No deadline is earlier. Not exact, because deadlines move with every heartbeat.
    wake_ms: u64,
}

impl ConsumerGroup {
    /// A group, new or as its records told it. Members have a whole session from now.
    #[must_use]
    pub fn new(id: Arc<str>, group: Group, around: &Surroundings<'_>) -> Self {
        let retention_check_ms = around.now.monotonic_ms + around.settings.offsets_retention_check_ms;
        let mut fresh = Self {
            id,
            group,
            sessions: BTreeMap::new(),
            patterns: Patterns::default(),
            topics_seen: None,
            upgrade_waits_since_ms: None,
            retention_check_ms,
            live: Live::default(),
            downgraded: None,
            wake_ms: retention_check_ms,
        };
        let members: Vec<_> = fresh.group.members.keys().cloned().collect();
        for member in members {
            fresh.touch(&member, around);
        }
        fresh
    }

    /// The group's id.
    #[must_use]
    pub fn id(&self) -> &Arc<str> {
        &self.id
    }

    /// The group as its records tell it.
    #[must_use]
    pub fn group(&self) -> &Group {
        &self.group
    }

    /// A member's heartbeat: joining, leaving, or going on.
    pub fn heartbeat(
        &mut self,
        around: &Surroundings<'_>,
        sender: Sender<'_>,
        request: &GroupHeartbeat,
    ) -> Decision<GroupHeartbeatAnswer> {
        self.decide(around, |turn| {
            turn.machine.check_no_streams()?;
            let answer = turn.heartbeat(sender, request)?;
            // Who leaves may leave a group of the classic protocol behind.
            if !turn.group().members.is_empty() {
                turn.leave_classic();
            }
            Ok(answer)
        })
    }

    /// Makes up for a decision of which only a part was read back: one of many records is appended in several batches, and the
    /// last of them may be lost with the coordinator.
    pub fn make_whole(&mut self, around: &Surroundings<'_>) -> Decision<()> {
        self.decide(around, |turn| {
            if turn.group().streams.is_there() {
                // The last of the records with which it became one of an application may be lost.
                turn.leave_modern();
                turn.leave_classic();
                turn.with_streams(|streams| streams.make_whole());
            } else {
                turn.make_whole();
            }
            Ok(())
        })
    }

    /// Time went by: members that are overdue are out, offsets that are too old are forgotten.
    /// `kept_from` is what the group says as one of the classic protocol: it may have members of which no record tells yet.
    pub fn tick(&mut self, around: &Surroundings<'_>, kept_from: KeptFrom) -> Decision<()> {
        let decision = self.decide(around, |turn| {
            turn.expire_members();
            turn.with_streams(|streams| streams.expire());
            turn.forget_old_offsets(kept_from);
            Ok(())
        });
        let deadlines = self.sessions.values().map(Session::earliest_ms);
        self.wake_ms = deadlines.min().unwrap_or(u64::MAX).min(self.retention_check_ms);
        decision
    }

    /// Topics came, went or grew.
    pub fn topics_changed(&mut self, around: &Surroundings<'_>) -> Decision<()> {
        self.decide(around, |turn| {
            turn.follow_topics();
            Ok(())
        })
    }

    /// Commits offsets, from a member or from outside.
    pub fn commit(
        &mut self,
        around: &Surroundings<'_>,
        request: &OffsetCommit,
    ) -> Decision<Vec<(PartitionId, Result<(), Refusal>)>> {
        self.decide(around, |turn| -> Result<PerPartition, Refusal> { turn.commit(request) })
    }

    /// Commits offsets for a committer that the caller has checked.
    pub fn commit_checked(
        &mut self,
        around: &Surroundings<'_>,
        request: &OffsetCommit,
    ) -> Decision<Vec<(PartitionId, Result<(), Refusal>)>> {
        self.decide(around, |turn| -> Result<PerPartition, Refusal> { Ok(turn.commit_checked(request)) })
    }

    /// Takes offsets in as part of a producer's transaction, for a committer that the caller has checked. The records are
    /// to be appended as part of it; with what was put, for [`Self::take_back`].
    pub fn commit_in_transaction(
        &mut self,
        around: &Surroundings<'_>,
        request: &OffsetCommit,
        of: OfProducer,
    ) -> (Decision<PerPartition>, Vec<Put>) {
        let mut put = Vec::new();
        let decision = self.decide(around, |turn| -> Result<PerPartition, Refusal> {
            Ok(turn.commit_pending(request, of, &mut put))
        });
        (decision, put)
    }

    /// What was put into a transaction was not appended.
    pub fn take_back(&mut self, of: OfProducer, put: Vec<Put>) {
        self.group.pending.take_back(of, put);
    }

    /// Whether a member may commit in a transaction, or somebody from outside.
    pub fn check_transactional_commit(
        &mut self,
        around: &Surroundings<'_>,
        request: &OffsetCommit,
    ) -> Result<(), Refusal> {
        self.decide(around, |turn| turn.check_transactional_committer(request)).answer
    }

    /// A producer's transaction ended.
    pub fn end_transaction(&mut self, marker: &EndMarker) {
        self.group.end_transaction(marker);
    }

    /// The partitions whose offsets are part of open transactions.
    #[must_use]
    pub fn unstable(&self) -> BTreeSet<PartitionId> {
        self.group.pending.partitions()
    }

    /// Deletes committed offsets of topics that no member subscribes to. Where nothing is recorded of the group, it is
    /// refused, unless it is known otherwise that there is such a group.
    pub fn delete_offsets(
        &mut self,
        around: &Surroundings<'_>,
        request: &OffsetDelete,
        is_known: bool,
    ) -> Decision<Vec<(PartitionId, Result<(), Refusal>)>> {
        self.decide(around, |turn| -> Result<PerPartition, Refusal> {
            turn.delete_offsets(request, is_known)
        })
    }

    /// Ends a group that has no members.
    pub fn delete(&mut self, around: &Surroundings<'_>, request: &DeleteGroup) -> Decision<()> {
        self.decide(around, |turn| turn.delete(request))
    }

    /// Committed offsets; of a group that there is not, none.
    #[must_use]
    pub fn fetch(
        &self,
        topics: &dyn TopicsView,
        request: &OffsetFetch,
    ) -> Vec<(PartitionId, CommittedOffset)> {
        commit::fetch(&self.group, topics, request)
    }

    /// Whether a member that reads offsets is one, and speaks in its epoch. Groups without a history of members have none
    /// to ask for.
    pub fn check_reader(&self, member: &str, epoch: i32) -> Result<(), Refusal> {
        commit::check_reader(&self.group, &self.id, member, epoch)
    }

    /// Before when [`Self::tick`] has nothing to do, in milliseconds of the monotonic clock.
    #[must_use]
    pub fn next_deadline_ms(&self) -> u64 {
        self.wake_ms.min(self.live.wake_ms())
    }

    /// Where the group stands.
    #[must_use]
    pub fn state(&self) -> GroupState {
        if self.group.streams.is_there() {
            return streams::shown_state(&self.group.streams);
        }
        describe::state(&self.group)
    }

    /// Everything about the group, if there is one.
    pub fn describe(&self, settings: &GroupSettings) -> Result<GroupDescription, Refusal> {
        if self.group.is_nothing() {
            return Err(commit::not_found(&self.id));
        }
        self.check_no_streams()?;
        Ok(describe::describe(&self.group, settings))
    }

    fn decide<A>(
        &mut self,
        around: &Surroundings<'_>,
        step: impl FnOnce(&mut Turn<'_>) -> Result<A, Refusal>,
    ) -> Decision<A> {
        self.patterns.renew(around.now.monotonic_ms);
        let mut turn = Turn { machine: self, around, records: Vec::new(), notices: Vec::new() };
        let answer = step(&mut turn);
        let Turn { records, notices, .. } = turn;
        debug_assert!(answer.is_ok() || records.is_empty(), "a refusal changes nothing");
        Decision { records, answer, notices }
    }
}

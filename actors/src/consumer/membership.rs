//! A member's side of KIP-848: what to tell the coordinator, and what to own. Pure.

use std::collections::BTreeSet;
use std::time::Duration;

use crate::error::ErrorCode;
use crate::group::message::{GroupHeartbeat, GroupHeartbeatAnswer};
use crate::ids::PartitionId;

/// What a member subscribes to.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Subscription {
    /// By name.
    pub(crate) topics: Vec<String>,
    /// By regular expression; empty for none.
    pub(crate) pattern: String,
}

/// Tells what a member is, and does not change in its life.
#[derive(Clone, Debug)]
pub(crate) struct Identity {
    pub(crate) group: String,
    pub(crate) member: String,
    pub(crate) instance: Option<String>,
    pub(crate) client_id: String,
    pub(crate) assignor: Option<String>,
    pub(crate) rebalance_timeout: Duration,
}

/// What to do with partitions after an answer.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Reconciliation {
    /// To be given up, and told by [`Membership::gave_up`] when that is done.
    pub(crate) revoke: BTreeSet<PartitionId>,
    /// To be read from now on.
    pub(crate) add: BTreeSet<PartitionId>,
}

/// How often heartbeats are tried before the coordinator has said how often it wants them.
const FIRST_INTERVAL: Duration = Duration::from_secs(1);

/// A member.
#[derive(Debug)]
pub(crate) struct Membership {
    identity: Identity,
    subscription: Subscription,
    /// An earlier subscription had a pattern, which an empty one ends.
    had_pattern: bool,
    epoch: i32,
    interval: Duration,
    owned: BTreeSet<PartitionId>,
    target: BTreeSet<PartitionId>,
    /// To be sent with the next heartbeat, because it changed or the coordinator may not know it.
    tell_subscription: bool,
    tell_owned: bool,
}

impl Membership {
    pub(crate) fn new(identity: Identity) -> Self {
        Self {
            identity,
            subscription: Subscription::default(),
            had_pattern: false,
            epoch: 0,
            interval: FIRST_INTERVAL,
            owned: BTreeSet::new(),
            target: BTreeSet::new(),
            tell_subscription: true,
            tell_owned: true,
        }
    }

    pub(crate) fn epoch(&self) -> i32 {
        self.epoch
    }

    pub(crate) fn interval(&self) -> Duration {
        self.interval
    }

    /// Subscribes to something else. True if a heartbeat is due at once.
    pub(crate) fn subscribe(&mut self, subscription: Subscription) -> bool {
        let changed = self.subscription != subscription;
        self.had_pattern |= !self.subscription.pattern.is_empty();
        self.subscription = subscription;
        self.tell_subscription |= changed;
        changed
    }

    pub(crate) fn subscription(&self) -> &Subscription {
        &self.subscription
    }

    /// Whether there is something to tell that should not wait for the interval.
    pub(crate) fn is_urgent(&self) -> bool {
        self.epoch == 0 || self.tell_subscription || self.tell_owned
    }

    /// The heartbeat to send now.
    pub(crate) fn heartbeat(&mut self) -> GroupHeartbeat {
        let joins = self.epoch == 0;
        let with_subscription = std::mem::take(&mut self.tell_subscription) || joins;
        let with_owned = std::mem::take(&mut self.tell_owned) || joins;
        let with_pattern = self.had_pattern || !self.subscription.pattern.is_empty();
        let timeout_ms = u32::try_from(self.identity.rebalance_timeout.as_millis()).unwrap_or(u32::MAX);
        GroupHeartbeat {
            group: self.identity.group.clone(),
            member: self.identity.member.clone(),
            member_epoch: self.epoch,
            instance: self.identity.instance.clone(),
            client_id: self.identity.client_id.clone(),
            rebalance_timeout_ms: timeout_ms,
            topics: with_subscription.then(|| self.subscription.topics.clone()),
            topic_pattern: (with_subscription && with_pattern).then(|| self.subscription.pattern.clone()),
            assignor: self.identity.assignor.clone().filter(|_| with_subscription),
            owned: with_owned.then(|| self.owned.iter().copied().collect()),
        }
    }

    /// The heartbeat that leaves the group; a static member keeps its place.
    pub(crate) fn leave(&mut self) -> GroupHeartbeat {
        let epoch = if self.identity.instance.is_some() { -2 } else { -1 };
        GroupHeartbeat {
            member_epoch: epoch,
            topics: None,
            topic_pattern: None,
            owned: None,
            ..self.heartbeat()
        }
    }

    /// The coordinator answered.
    pub(crate) fn answered(&mut self, answer: GroupHeartbeatAnswer) -> Reconciliation {
        self.epoch = answer.member_epoch;
        self.interval = Duration::from_millis(u64::from(answer.heartbeat_interval_ms.max(10)));
        if let Some(assigned) = answer.assigned {
            self.target = assigned.into_iter().collect();
            // Told again even where nothing changed: that is how the coordinator learns that it is so.
            self.tell_owned = true;
        }
        let revoke: BTreeSet<_> = self.owned.difference(&self.target).copied().collect();
        let add: BTreeSet<_> = self.target.difference(&self.owned).copied().collect();
        self.owned.extend(&add);
        // What is being given up is owned until the application has let go of it.
        self.tell_owned &= revoke.is_empty();
        Reconciliation { revoke, add }
    }

    /// The application has let go of these. True if a heartbeat is due at once.
    pub(crate) fn gave_up(&mut self, partitions: impl IntoIterator<Item = PartitionId>) -> bool {
        let before = self.owned.len();
        for partition in partitions {
            self.owned.remove(&partition);
        }
        let changed = self.owned.len() != before;
        self.tell_owned |= changed;
        changed
    }

    /// The coordinator refused. True if the membership is lost and the member joins anew.
    pub(crate) fn refused(&mut self, code: ErrorCode) -> bool {
        let is_lost = match code {
            ErrorCode::UnknownMemberId | ErrorCode::FencedMemberEpoch => true,
            // Its session ended, and without it the group went over to the classic protocol: joining takes it back.
            ErrorCode::GroupIdNotFound => self.epoch > 0,
            _ => false,
        };
        self.unanswered();
        if is_lost {
            self.begin_anew();
        }
        is_lost
    }

    /// Out of the group: the next heartbeat joins it with nothing.
    pub(crate) fn begin_anew(&mut self) {
        self.unanswered();
        self.epoch = 0;
        self.owned.clear();
        self.target.clear();
    }

    /// There was no answer: everything is told again.
    pub(crate) fn unanswered(&mut self) {
        self.tell_subscription = true;
        self.tell_owned = true;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ids::TopicId;

    fn partitions(indexes: &[i32]) -> Vec<PartitionId> {
        let topic = TopicId(uuid::Uuid::nil());
        indexes.iter().map(|index| PartitionId { topic, index: *index }).collect()
    }

    fn joined(indexes: &[i32]) -> Membership {
        let mut member = Membership::new(Identity {
            group: "g".into(),
            member: "m".into(),
            instance: None,
            client_id: "c".into(),
            assignor: None,
            rebalance_timeout: Duration::from_secs(60),
        });
        member.subscribe(Subscription { topics: vec!["t".into()], pattern: String::new() });
        let first = member.heartbeat();
        assert_eq!((first.member_epoch, first.topics.as_deref()), (0, Some(&["t".to_owned()][..])));
        member.answered(answer(1, Some(indexes)));
        member
    }

    fn answer(epoch: i32, assigned: Option<&[i32]>) -> GroupHeartbeatAnswer {
        GroupHeartbeatAnswer {
            member_epoch: epoch,
            heartbeat_interval_ms: 1000,
            assigned: assigned.map(partitions),
        }
    }

    #[test]
    fn what_is_new_is_told_at_once_and_what_is_known_is_not_told_again() {
        let mut member = joined(&[0, 1]);
        assert!(member.is_urgent());
        assert_eq!(member.heartbeat().owned, Some(partitions(&[0, 1])));
        assert!(!member.is_urgent());
        let quiet = member.heartbeat();
        assert_eq!((quiet.topics, quiet.owned, quiet.member_epoch), (None, None, 1));
    }

    #[test]
    fn a_revoked_partition_is_owned_until_it_is_given_up() {
        let mut member = joined(&[0, 1]);
        member.heartbeat();
        let todo = member.answered(answer(1, Some(&[1, 2])));
        assert_eq!(todo.revoke, partitions(&[0]).into_iter().collect());
        assert_eq!(todo.add, partitions(&[2]).into_iter().collect());
        assert!(!member.is_urgent());
        assert!(member.gave_up(partitions(&[0])));
        assert_eq!(member.heartbeat().owned, Some(partitions(&[1, 2])));
    }

    #[test]
    fn a_fenced_member_joins_anew_with_nothing() {
        let mut member = joined(&[0]);
        assert!(member.refused(ErrorCode::GroupIdNotFound));
        assert!(!member.refused(ErrorCode::GroupIdNotFound), "who joins is told what the matter is");
        member.answered(answer(1, Some(&[])));
        assert!(member.refused(ErrorCode::FencedMemberEpoch));
        let again = member.heartbeat();
        assert_eq!((again.member_epoch, again.owned), (0, Some(Vec::new())));
        assert!(again.topics.is_some());
        assert!(!member.refused(ErrorCode::CoordinatorLoadInProgress));
    }
}

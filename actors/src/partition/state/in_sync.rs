//! The in-sync set as the leader sees it, with changes under way (rule 2).
//!
//! A change is an *attempt*: a whole new set, based on one version of the old one. The quorum applies at most one
//! attempt on each version. What has to be counted for the high watermark is every set that may be in force now:
//! the committed one, the one proposed, and those of earlier attempts whose outcome nobody knows. A removal counts
//! only once committed, so the union of all of them is taken.
//!
//! An attempt of unknown outcome stops lingering when a newer version is seen. If there is nothing else to change,
//! the same set is proposed again: that moves the version on and makes the lost attempt harmless.

use std::collections::BTreeSet;
use std::time::Duration;

use crate::ids::Member;

/// How long the leader waits before it proposes again after a refusal or a lost answer.
const RETRY_AFTER: Duration = Duration::from_millis(250);

/// What became of an attempt.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ChangeOutcome {
    /// It is in the image, as this version.
    Committed {
        /// The set's new version.
        set_version: u32,
    },
    /// It is not in the image and never will be.
    Refused,
    /// Nobody knows: the answer was lost.
    Unknown,
}

/// The members of a partition that must have a record before it is committed.
#[derive(Clone, Debug)]
pub struct InSyncSet {
    version: u32,
    committed: BTreeSet<Member>,
    proposed: Option<(u64, BTreeSet<Member>)>,
    lingering: BTreeSet<Member>,
    unsettled: bool,
    refused: bool,
    attempts: u64,
    not_before: Duration,
}

impl InSyncSet {
    /// The set as the image has it.
    #[must_use]
    pub fn new(version: u32, committed: impl IntoIterator<Item = Member>) -> Self {
        Self {
            version,
            committed: committed.into_iter().collect(),
            proposed: None,
            lingering: BTreeSet::new(),
            unsettled: false,
            refused: false,
            attempts: 0,
            not_before: Duration::ZERO,
        }
    }

    /// The version changes are based on.
    #[must_use]
    pub fn version(&self) -> u32 {
        self.version
    }

    /// The members in the image.
    #[must_use]
    pub fn committed(&self) -> &BTreeSet<Member> {
        &self.committed
    }

    /// Every member that the high watermark has to wait for.
    pub fn counted(&self) -> impl Iterator<Item = Member> + '_ {
        let proposed = self.proposed.iter().flat_map(|(_, members)| members.difference(&self.committed));
        let lingering = self.lingering.difference(&self.committed);
        self.committed.iter().chain(proposed).chain(lingering).copied()
    }

    /// Whether a set that may come into force without further notice names this member.
    #[must_use]
    pub fn may_contain(&self, member: Member) -> bool {
        self.counted().any(|counted| counted == member)
    }

    /// Whether nothing is under way, nothing may still come into force, and nothing was refused that may have to be
    /// tried again.
    #[must_use]
    pub fn is_settled(&self) -> bool {
        self.proposed.is_none() && !self.unsettled && !self.refused
    }

    /// Takes a newer set from the image. All attempts on older versions are void with it.
    pub fn adopt(&mut self, version: u32, committed: impl IntoIterator<Item = Member>) -> bool {
        if version <= self.version {
            return false;
        }
        let attempts = self.attempts;
        *self = Self::new(version, committed);
        self.attempts = attempts;
        true
    }

    /// Starts an attempt at `desired`, if there is something to change and none is under way. From here on its
    /// additions count. The number tells it from others.
    pub fn propose(&mut self, now: Duration, desired: BTreeSet<Member>) -> Option<u64> {
        if self.proposed.is_some() || now < self.not_before {
            return None;
        }
        self.refused = false;
        if desired == self.committed && !self.unsettled {
            return None;
        }
        self.attempts += 1;
        self.proposed = Some((self.attempts, desired));
        Some(self.attempts)
    }

    /// The set of the attempt under way, if it is this one.
    #[must_use]
    pub fn attempt(&self, attempt: u64) -> Option<&BTreeSet<Member>> {
        self.proposed.as_ref().filter(|(number, _)| *number == attempt).map(|(_, members)| members)
    }

    /// Takes the outcome of an attempt. One that is not under way any more is of no interest.
    pub fn settle(&mut self, now: Duration, attempt: u64, outcome: ChangeOutcome) {
        if self.proposed.as_ref().is_none_or(|(number, _)| *number != attempt) {
            return;
        }
        let Some((_, members)) = self.proposed.take() else { return };
        match outcome {
            ChangeOutcome::Committed { set_version } => {
                self.adopt(set_version, members);
            }
            ChangeOutcome::Refused => {
                self.refused = true;
                self.not_before = now + RETRY_AFTER;
            }
            ChangeOutcome::Unknown => {
                self.lingering.extend(members);
                self.unsettled = true;
                self.not_before = now + RETRY_AFTER;
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::partition::state::fixture::member;

    const NOW: Duration = Duration::from_secs(5);

    fn counted(set: &InSyncSet) -> Vec<u32> {
        set.counted().map(|member| member.node.0).collect()
    }

    fn of(nodes: &[u32]) -> BTreeSet<Member> {
        nodes.iter().map(|node| member(*node)).collect()
    }

    #[test]
    fn an_addition_counts_when_proposed_and_a_removal_only_when_committed() {
        let mut set = InSyncSet::new(4, of(&[1, 2]));
        let attempt = set.propose(NOW, of(&[1, 3])).unwrap();
        assert_eq!(counted(&set), [1, 2, 3]);
        set.settle(NOW, attempt, ChangeOutcome::Committed { set_version: 5 });
        assert_eq!(counted(&set), [1, 3]);
        assert_eq!(set.version(), 5);
    }

    #[test]
    fn a_refused_addition_no_longer_counts() {
        let mut set = InSyncSet::new(4, of(&[1]));
        let attempt = set.propose(NOW, of(&[1, 2])).unwrap();
        set.settle(NOW, attempt, ChangeOutcome::Refused);
        assert_eq!(counted(&set), [1]);
    }

    #[test]
    fn a_refused_change_is_not_settled_before_it_was_looked_at_again() {
        let mut set = InSyncSet::new(4, of(&[1]));
        let attempt = set.propose(NOW, of(&[1, 2])).unwrap();
        set.settle(NOW, attempt, ChangeOutcome::Refused);
        assert_eq!(set.propose(NOW, of(&[1])), None);
        assert!(!set.is_settled(), "what is wanted now may be something else after the pause");
        assert_eq!(set.propose(NOW + RETRY_AFTER, of(&[1])), None);
        assert!(set.is_settled());
    }

    #[test]
    fn an_addition_of_unknown_outcome_counts_until_the_version_moves_on() {
        let mut set = InSyncSet::new(4, of(&[1]));
        let attempt = set.propose(NOW, of(&[1, 2])).unwrap();
        set.settle(NOW, attempt, ChangeOutcome::Unknown);
        assert_eq!(counted(&set), [1, 2]);

        assert_eq!(set.propose(NOW, of(&[1])), None, "not before the pause is over");
        let again = set.propose(NOW + RETRY_AFTER, of(&[1])).unwrap();
        assert_eq!(counted(&set), [1, 2]);
        set.settle(NOW, again, ChangeOutcome::Committed { set_version: 5 });
        assert_eq!(counted(&set), [1]);
        assert!(set.is_settled());
    }

    #[test]
    fn an_older_set_and_a_late_outcome_are_ignored() {
        let mut set = InSyncSet::new(4, of(&[1, 2]));
        let attempt = set.propose(NOW, of(&[1])).unwrap();
        assert!(!set.adopt(4, of(&[1])));
        assert!(set.adopt(6, of(&[1, 3])));
        set.settle(NOW, attempt, ChangeOutcome::Committed { set_version: 5 });
        assert_eq!(counted(&set), [1, 3]);
        assert_eq!(set.version(), 6);
    }
}

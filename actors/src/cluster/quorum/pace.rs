//! Whether a leader's disk is so slow that another should lead: pure.
//!
//! The quorum goes at the pace of its leader's disk, because openraft's leader writes an entry before it sends it. So a
//! leader whose writes have been slow for a while lets go, where those of a majority without it are not.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::time::Duration;

use tokio::time::Instant;

use super::types::{Vote, VoterId};

/// A write that takes longer is slow. Half of what a voter waits for a leader's word; a sync of a healthy disk takes a
/// tenth of it.
const SLOW: Duration = Duration::from_millis(150);
/// So many writes are remembered, ...
const REMEMBERED: usize = 8;
/// ... for so long ...
const LATELY: Duration = Duration::from_secs(60);
/// ... and fewer say nothing.
const ENOUGH: usize = 4;
/// A leader that let go keeps a leadership won after that for so long, however slow its disk.
const REST: Duration = Duration::from_secs(60);

/// How long the last writes took.
#[derive(Clone, Debug, Default)]
struct Recent(VecDeque<(Instant, Duration)>);

impl Recent {
    fn note(&mut self, now: Instant, took: Duration) {
        if self.0.len() >= REMEMBERED {
            self.0.pop_front();
        }
        self.0.push_back((now, took));
    }

    /// The late ones, the last one first; none where they are too few.
    fn lately(&self, now: Instant) -> Vec<Duration> {
        let late = self.0.iter().rev().take_while(|(at, _)| now.duration_since(*at) <= LATELY);
        let took: Vec<Duration> = late.map(|(_, took)| *took).collect();
        if took.len() < ENOUGH { Vec::new() } else { took }
    }

    /// What more than half of them took at least.
    fn usual(&self, now: Instant) -> Option<Duration> {
        let mut took = self.lately(now);
        took.sort_unstable();
        took.get(took.len().saturating_sub(1) / 2).copied()
    }

    /// What the slowest of the last few took. One that has just become slow shows it at once.
    fn longest(&self, now: Instant) -> Option<Duration> {
        self.lately(now).into_iter().take(ENOUGH).max()
    }
}

/// How long writes of the quorum's log take: here, and at the voters that this one leads.
#[derive(Debug, Default)]
pub(super) struct Pace {
    own: Recent,
    led: Option<Vote>,
    others: BTreeMap<VoterId, Recent>,
    /// When, and of which leadership.
    let_go: Option<(Instant, Vote)>,
}

impl Pace {
    /// Entries were written and synced here.
    pub(super) fn wrote(&mut self, now: Instant, took: Duration) {
        self.own.note(now, took);
    }

    /// Another has taken entries of the leader with this vote, after so long since they were first sent.
    pub(super) fn took(&mut self, now: Instant, by: VoterId, vote: Vote, took: Duration) {
        if self.led != Some(vote) {
            self.led = Some(vote);
            self.others.clear();
        }
        self.others.entry(by).or_default().note(now, took);
    }

    /// Whether the leadership by this vote was let go.
    pub(super) fn has_let_go(&self, vote: Vote) -> bool {
        self.let_go.is_some_and(|(_, of)| of == vote)
    }

    /// Whether the leader with this vote should let go; what its writes usually take, if so. It is then taken to have
    /// done so. A voter counts as quick whose last few writes all took less than half of that, and which is among `heard`:
    /// those that have lately agreed that it leads. Nothing else tells that a quick one is not there any more.
    pub(super) fn lets_go(
        &mut self,
        now: Instant,
        me: VoterId,
        vote: Vote,
        voters: &[BTreeSet<VoterId>],
        heard: &BTreeSet<VoterId>,
    ) -> Option<Duration> {
        let own = self.own.usual(now).filter(|own| *own > SLOW)?;
        if self.let_go.is_some_and(|(at, _)| now < at + REST) || self.led != Some(vote) {
            return None;
        }
        let is_quick = |voter: &&VoterId| {
            let longest = self.others.get(voter).and_then(|recent| recent.longest(now));
            **voter != me
                && heard.contains(voter)
                && longest.is_some_and(|longest| longest < SLOW && longest < own / 2)
        };
        let enough = |set: &BTreeSet<VoterId>| 2 * set.iter().filter(is_quick).count() > set.len();
        if voters.is_empty() || !voters.iter().all(enough) {
            return None;
        }
        self.let_go = Some((now, vote));
        Some(own)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const STEP: Duration = Duration::from_millis(500);

    struct Leader {
        pace: Pace,
        now: Instant,
        vote: Vote,
    }

    impl Leader {
        fn new() -> Self {
            Self { pace: Pace::default(), now: Instant::now(), vote: Vote::new_committed(1, 1.into()) }
        }

        /// So many entries, which take so long here and at the voters from 2 on.
        fn writes(&mut self, times: usize, own_ms: u64, others_ms: &[u64]) {
            for _ in 0..times {
                self.now += STEP;
                self.pace.wrote(self.now, Duration::from_millis(own_ms));
                for (voter, ms) in (2_u64..).zip(others_ms) {
                    self.pace.took(self.now, voter.into(), self.vote, Duration::from_millis(*ms));
                }
            }
        }

        fn lets_go(&mut self, sets: &[&[u64]]) -> bool {
            self.lets_go_if_heard(sets, &[2, 3, 4, 5])
        }

        fn lets_go_if_heard(&mut self, sets: &[&[u64]], heard: &[u64]) -> bool {
            let of = |ids: &[u64]| ids.iter().map(|id| VoterId::from(*id)).collect::<BTreeSet<_>>();
            let sets: Vec<_> = sets.iter().map(|set| of(set)).collect();
            self.pace.lets_go(self.now, 1.into(), self.vote, &sets, &of(heard)).is_some()
        }
    }

    #[test]
    fn a_slow_leader_of_quick_voters_lets_go() {
        let mut leader = Leader::new();
        leader.writes(8, 400, &[5, 9]);
        assert!(leader.lets_go(&[&[1, 2, 3]]));
    }

    #[test]
    fn a_few_slow_writes_among_quick_ones_mean_nothing() {
        let mut leader = Leader::new();
        leader.writes(3, 900, &[5, 5]);
        assert!(!leader.lets_go(&[&[1, 2, 3]]), "too few to tell");
        leader.writes(4, 5, &[5, 5]);
        assert!(!leader.lets_go(&[&[1, 2, 3]]));
        leader.writes(1, 900, &[5, 5]);
        assert!(!leader.lets_go(&[&[1, 2, 3]]), "half of them are quick");
    }

    #[test]
    fn where_others_are_slow_too_the_leader_stays() {
        let mut leader = Leader::new();
        leader.writes(8, 400, &[380, 300]);
        assert!(!leader.lets_go(&[&[1, 2, 3]]));
        leader.writes(8, 400, &[5, 300]);
        assert!(!leader.lets_go(&[&[1, 2, 3]]), "the slow ones would still be a majority");
        leader.writes(4, 400, &[5, 5]);
        leader.writes(1, 400, &[5, 300]);
        assert!(!leader.lets_go(&[&[1, 2, 3]]), "they have become slow as well");
        leader.writes(8, 200, &[120, 120]);
        assert!(!leader.lets_go(&[&[1, 2, 3]]), "not by much");
    }

    #[test]
    fn a_quick_voter_that_is_not_there_any_more_does_not_count() {
        let mut leader = Leader::new();
        leader.writes(8, 400, &[5, 5]);
        assert!(!leader.lets_go_if_heard(&[&[1, 2, 3]], &[3]));
        assert!(!leader.lets_go_if_heard(&[&[1, 2, 3]], &[]));
        assert!(leader.lets_go_if_heard(&[&[1, 2, 3]], &[2, 3]));
    }

    #[test]
    fn a_majority_of_every_set_has_to_be_quick() {
        let mut leader = Leader::new();
        leader.writes(8, 400, &[5, 5, 300]);
        assert!(!leader.lets_go(&[&[1, 2]]), "one of two is no majority");
        assert!(!leader.lets_go(&[&[1]]));
        assert!(!leader.lets_go(&[]));
        assert!(!leader.lets_go(&[&[1, 2, 3], &[1, 3, 4]]));
        assert!(!leader.lets_go(&[&[1, 2, 5]]), "of voter 5 nothing is known");
        assert!(leader.lets_go(&[&[1, 2, 3], &[2, 3, 4]]));
    }

    #[test]
    fn who_let_go_does_not_so_again_soon() {
        let mut leader = Leader::new();
        leader.writes(8, 400, &[5, 5]);
        assert!(leader.lets_go(&[&[1, 2, 3]]));
        leader.vote = Vote::new_committed(3, 1.into());
        for _ in 0..14 {
            leader.writes(8, 400, &[5, 5]);
            assert!(!leader.lets_go(&[&[1, 2, 3]]));
        }
        leader.writes(8, 400, &[5, 5]);
        assert!(leader.lets_go(&[&[1, 2, 3]]));
    }

    #[test]
    fn what_is_long_ago_or_of_another_leadership_does_not_count() {
        let mut leader = Leader::new();
        leader.writes(8, 400, &[5, 5]);
        leader.vote = Vote::new_committed(3, 1.into());
        assert!(!leader.lets_go(&[&[1, 2, 3]]));
        leader.writes(3, 400, &[5, 5]);
        assert!(!leader.lets_go(&[&[1, 2, 3]]));
        leader.now += LATELY;
        leader.writes(1, 400, &[5, 5]);
        assert!(!leader.lets_go(&[&[1, 2, 3]]));
    }
}

//! Where two logs part: by leader epoch, not by high watermark, and however often leaders changed in between.
//!
//! Two logs that have a record of the same epoch at the same offset are equal up to there. So the follower tells the
//! epoch of its last batch and its end; the leader accepts that if it has this epoch and its own records of it reach
//! as far. If not, it answers with its greatest epoch up to that one and where it ends, the follower cuts its log to
//! where it can still be equal, and asks again. Each round gives up at least one epoch or the surplus of one.

use super::LogFacts;
use crate::ids::{LeaderEpoch, Offset};

/// The leader's answer to a follower that wants to go on at the end of its log.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// The follower's log is a beginning of the leader's.
    Accepted,
    /// It is not, or cannot be known to be: the leader's greatest epoch up to the follower's last, and its end.
    Diverged {
        /// The epoch; `None` if all of the leader's are later.
        epoch: Option<LeaderEpoch>,
        /// Where it ends in the leader's log.
        end: Offset,
    },
    /// The leader's log starts after the follower's ends.
    OutOfRange {
        /// Where it starts.
        start: Offset,
    },
}

/// Looks up the greatest epoch up to the one asked for, and the offset after its last record.
pub trait EpochEnds {
    /// `None` if all epochs of the log are later, or there are none.
    fn end_of(&self, epoch: LeaderEpoch) -> Option<(LeaderEpoch, Offset)>;
}

impl<F: Fn(LeaderEpoch) -> Option<(LeaderEpoch, Offset)>> EpochEnds for F {
    fn end_of(&self, epoch: LeaderEpoch) -> Option<(LeaderEpoch, Offset)> {
        self(epoch)
    }
}

/// What the leader answers to a follower whose log ends at `end` with a batch of `last_epoch`.
#[must_use]
pub fn judge(
    leader: LogFacts,
    epochs: &impl EpochEnds,
    last_epoch: Option<LeaderEpoch>,
    end: Offset,
) -> Verdict {
    if end < leader.start || (last_epoch.is_none() && end > leader.end) {
        return Verdict::OutOfRange { start: leader.start };
    }
    // What the leader no longer has was committed before it was forgotten: there is nothing to compare.
    let Some(last_epoch) = last_epoch.filter(|_| end > leader.start) else { return Verdict::Accepted };
    match epochs.end_of(last_epoch) {
        Some((epoch, epoch_end)) if epoch == last_epoch && end <= epoch_end => Verdict::Accepted,
        Some((epoch, epoch_end)) => Verdict::Diverged { epoch: Some(epoch), end: epoch_end },
        None => Verdict::Diverged { epoch: None, end: leader.start },
    }
}

/// Where a follower cuts its log after [`Verdict::Diverged`]: the end of what can still be equal.
#[must_use]
pub fn cut_point(
    own: LogFacts,
    epochs: &impl EpochEnds,
    leader_epoch: Option<LeaderEpoch>,
    leader_end: Offset,
) -> Offset {
    let own_end = match leader_epoch {
        None => own.end,
        Some(epoch) => epochs.end_of(epoch).map_or(own.start, |(_, end)| end),
    };
    own_end.min(leader_end).min(own.end)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// A log as the epochs of its records.
    fn ends_of(log: &[i32]) -> impl EpochEnds + '_ {
        move |epoch: LeaderEpoch| {
            let upto = log.iter().rposition(|of| *of <= epoch.0)?;
            Some((LeaderEpoch(log[upto]), Offset(i64::try_from(upto).unwrap() + 1)))
        }
    }

    fn facts_of(log: &[i32]) -> LogFacts {
        let end = Offset(i64::try_from(log.len()).unwrap());
        LogFacts {
            start: Offset::ZERO,
            end,
            durable_end: end,
            last_epoch: log.last().map(|epoch| LeaderEpoch(*epoch)),
        }
    }

    fn settle(leader: &[i32], follower: &mut Vec<i32>) -> usize {
        for round in 0.. {
            let own = facts_of(follower);
            match judge(facts_of(leader), &ends_of(leader), own.last_epoch, own.end) {
                Verdict::Accepted => return round,
                Verdict::Diverged { epoch, end } => {
                    let at = cut_point(own, &ends_of(follower), epoch, end);
                    assert!(at < own.end, "every round cuts something");
                    follower.truncate(usize::try_from(at.0).unwrap());
                }
                Verdict::OutOfRange { .. } => panic!("both start at 0"),
            }
        }
        0
    }

    #[test]
    fn a_follower_that_has_more_of_the_last_epoch_is_cut_to_the_leader() {
        let mut follower = vec![1, 1, 2, 2, 2];
        assert_eq!(settle(&[1, 1, 2], &mut follower), 1);
        assert_eq!(follower, [1, 1, 2]);
    }

    #[test]
    fn logs_that_parted_several_leaders_ago_are_cut_to_what_they_share() {
        let mut follower = vec![1, 1, 1, 3, 3];
        settle(&[1, 1, 2, 2, 4, 4, 4], &mut follower);
        assert_eq!(follower, [1, 1]);
    }

    #[test]
    fn an_empty_follower_is_accepted() {
        assert_eq!(settle(&[1, 2], &mut Vec::new()), 0);
    }

    #[test]
    fn a_follower_older_than_the_leaders_start_begins_anew() {
        let leader = LogFacts { start: Offset(50), end: Offset(90), ..LogFacts::default() };
        let epochs = |_| Some((LeaderEpoch(3), Offset(90)));
        let verdict = judge(leader, &epochs, Some(LeaderEpoch(2)), Offset(49));
        assert_eq!(verdict, Verdict::OutOfRange { start: Offset(50) });
        assert_eq!(judge(leader, &epochs, Some(LeaderEpoch(2)), Offset(50)), Verdict::Accepted);
    }

    #[test]
    fn an_empty_follower_beyond_the_leaders_end_begins_anew() {
        let leader = LogFacts { end: Offset(9), ..LogFacts::default() };
        let verdict = judge(leader, &|_| None, None, Offset(12));
        assert_eq!(verdict, Verdict::OutOfRange { start: Offset(0) });
    }

    /// Logs as leaders make them: each leader copies a beginning of some log that was there before and appends
    /// records of its own, greater epoch.
    fn histories() -> impl Strategy<Value = Vec<Vec<i32>>> {
        proptest::collection::vec(
            (any::<prop::sample::Index>(), any::<prop::sample::Index>(), 0..4_usize),
            2..12,
        )
        .prop_map(|leaders| {
            let mut logs: Vec<Vec<i32>> = vec![Vec::new()];
            for (epoch, (from, upto, count)) in leaders.into_iter().enumerate() {
                let source = &logs[from.index(logs.len())];
                let mut log = source[..upto.index(source.len() + 1)].to_vec();
                log.extend(std::iter::repeat_n(i32::try_from(epoch).unwrap(), count));
                logs.push(log);
            }
            logs
        })
    }

    proptest! {
        #[test]
        fn what_is_left_is_the_longest_beginning_shared(
            logs in histories(),
            one in any::<prop::sample::Index>(),
            other in any::<prop::sample::Index>(),
        ) {
            let leader = &logs[one.index(logs.len())];
            let mut follower = logs[other.index(logs.len())].clone();
            let shared = leader.iter().zip(&follower).take_while(|(own, others)| own == others).count();
            settle(leader, &mut follower);
            prop_assert_eq!(follower.len(), shared);
        }
    }
}

//! Deletions of records that wait until no in-sync member has them any more, on its disk (`DeleteRecords`). Pure.
//!
//! A leader that only had moved its own log start would, when it dies, be followed by one that serves again what a client
//! was told is gone.

use std::collections::BTreeMap;
use std::time::Duration;

use super::reply::Reply;
use crate::error::{ErrorCode, Refusal};
use crate::ids::{Member, Offset};

/// Deletions that may wait at one partition.
const WAITING_MAX: usize = 1024;

/// What is known of log starts on disks, and who waits for them.
#[derive(Debug)]
pub struct Trims {
    waiting: Vec<Waiting>,
    /// The own log start that is on disk, and the one that was asked to be.
    kept: Offset,
    asked: Offset,
    /// Those of followers, in the present epoch.
    followers: BTreeMap<Member, Offset>,
}

#[derive(Debug)]
struct Waiting {
    before: Offset,
    deadline: Duration,
    /// Answered with the least log start of the in-sync members.
    reply: Reply<Offset>,
}

impl Trims {
    /// For a log that begins at `start` on disk.
    #[must_use]
    pub fn new(start: Offset) -> Self {
        Self { waiting: Vec::new(), kept: start, asked: start, followers: BTreeMap::new() }
    }

    /// The own log start that is on disk.
    #[must_use]
    pub fn kept(&self) -> Offset {
        self.kept
    }

    /// How many wait.
    #[must_use]
    pub fn len(&self) -> usize {
        self.waiting.len()
    }

    /// Whether none waits.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.waiting.is_empty()
    }

    /// Whether one more may wait.
    #[must_use]
    pub fn has_room(&self) -> bool {
        self.waiting.len() < WAITING_MAX
    }

    /// Takes one in: nothing before this offset is to be anywhere.
    pub fn wait(&mut self, before: Offset, deadline: Duration, reply: Reply<Offset>) {
        self.waiting.push(Waiting { before, deadline, reply });
    }

    /// The log begins at `start`: true if that is to be brought to the disk.
    #[must_use]
    pub fn begins_at(&mut self, start: Offset) -> bool {
        let is_news = start > self.asked;
        self.asked = self.asked.max(start);
        is_news
    }

    /// The own log start is on disk up to here.
    pub fn is_kept(&mut self, start: Offset) {
        // What was asked for before the log began anew, lower, says nothing of the new one.
        self.kept = self.kept.max(start.min(self.asked));
    }

    /// The log was begun anew and begins at `start`, which may be lower than before.
    pub fn restart(&mut self, start: Offset) {
        self.asked = self.asked.min(start);
        self.kept = self.kept.min(start);
    }

    /// A follower has so much on disk.
    pub fn reported(&mut self, member: Member, start: Offset) {
        self.followers.insert(member, start);
    }

    /// Another epoch: followers report anew in it.
    pub fn forget_followers(&mut self) {
        self.followers.clear();
    }

    /// Answers those for which every one of these members has come so far. The log start that they were answered with, if
    /// there were any.
    pub fn release(&mut self, me: Member, members: impl Iterator<Item = Member>) -> Option<Offset> {
        if self.waiting.is_empty() {
            return None;
        }
        let start = |member: Member| match self.followers.get(&member) {
            _ if member == me => self.kept,
            Some(start) => *start,
            None => Offset::ZERO,
        };
        let least = members.map(start).min().unwrap_or(self.kept).min(self.kept);
        let mut answered = None;
        for done in self.waiting.extract_if(.., |waiting| waiting.before <= least) {
            done.reply.send(Ok(least));
            answered = Some(least);
        }
        answered
    }

    /// Refuses those whose time is up. The log start has moved nevertheless.
    pub fn expire(&mut self, now: Duration) {
        for late in self.waiting.extract_if(.., |waiting| waiting.deadline <= now) {
            let text =
                "not every in-sync replica has deleted the records in time; they may be gone nevertheless";
            late.reply.refuse(ErrorCode::RequestTimedOut, text);
        }
    }

    /// Refuses all.
    pub fn refuse_all(&mut self, refusal: &Refusal) {
        for waiting in self.waiting.drain(..) {
            waiting.reply.send(Err(refusal.clone()));
        }
    }

    /// When the next one's time is up.
    #[must_use]
    pub fn next_deadline(&self) -> Option<Duration> {
        self.waiting.iter().map(|waiting| waiting.deadline).min()
    }
}

#[cfg(test)]
mod tests {
    use std::sync::mpsc::{Receiver, channel};

    use super::*;
    use crate::partition::state::fixture::life;

    type Answer = Result<Offset, Refusal>;

    fn waits(trims: &mut Trims, before: i64, deadline_ms: u64) -> Receiver<Answer> {
        let (to, from) = channel();
        let reply = Reply::new(move |answer| to.send(answer).unwrap());
        trims.wait(Offset(before), Duration::from_millis(deadline_ms), reply);
        from
    }

    #[test]
    fn a_deletion_waits_for_the_disks_of_all_in_sync_members() {
        let (me, other) = (life(1, 1), life(2, 1));
        let mut trims = Trims::new(Offset(0));
        let answer = waits(&mut trims, 5, 100);
        assert!(trims.begins_at(Offset(5)));
        assert!(!trims.begins_at(Offset(5)), "asked for already");
        trims.release(me, [me, other].into_iter());
        trims.is_kept(Offset(6));
        trims.release(me, [me, other].into_iter());
        trims.reported(other, Offset(4));
        trims.release(me, [me, other].into_iter());
        assert!(answer.try_recv().is_err(), "the other has not come so far");
        trims.reported(other, Offset(5));
        trims.release(me, [me, other].into_iter());
        assert_eq!(answer.try_recv(), Ok(Ok(Offset(5))));
    }

    #[test]
    fn a_log_begun_anew_with_a_lower_start_counts_from_there() {
        let mut trims = Trims::new(Offset(3));
        assert!(trims.begins_at(Offset(9)));
        trims.restart(Offset(2));
        trims.is_kept(Offset(9));
        assert_eq!(trims.kept(), Offset(2), "what was kept is another log's");
        assert!(trims.begins_at(Offset(5)));
        trims.is_kept(Offset(5));
        assert_eq!(trims.kept(), Offset(5));
    }

    #[test]
    fn who_is_no_member_is_not_waited_for_and_another_life_has_reported_nothing() {
        let (me, other) = (life(1, 1), life(2, 1));
        let mut trims = Trims::new(Offset(7));
        trims.reported(life(2, 9), Offset(7));
        let answer = waits(&mut trims, 7, 100);
        trims.release(me, [me, other].into_iter());
        assert!(answer.try_recv().is_err());
        trims.release(me, [me].into_iter());
        assert_eq!(answer.try_recv(), Ok(Ok(Offset(7))));
    }

    #[test]
    fn a_deletion_is_refused_when_its_time_is_up_or_the_leader_is_none_any_more() {
        let mut trims = Trims::new(Offset(0));
        let (first, second) = (waits(&mut trims, 5, 100), waits(&mut trims, 5, 200));
        assert_eq!(trims.next_deadline(), Some(Duration::from_millis(100)));
        trims.expire(Duration::from_millis(100));
        assert_eq!(first.try_recv().unwrap().unwrap_err().code, ErrorCode::RequestTimedOut);
        trims.refuse_all(&Refusal::new(ErrorCode::NotLeaderOrFollower, "gone"));
        assert_eq!(second.try_recv().unwrap().unwrap_err().code, ErrorCode::NotLeaderOrFollower);
        assert!(trims.is_empty());
    }
}

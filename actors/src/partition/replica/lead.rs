//! The leader's side of replication: opening, reading and reporting for followers.

use actix::Handler;

use super::super::following::{
    Feed, FeedRefusal, FeedWaker, FollowerDetached, FollowerReported, LeaveSet, OpenFeed, Opening, ReadFeed,
};
use super::super::state::truncate::{Verdict, judge};
use super::super::state::{Input, Joined, Role};
use super::Replica;
use crate::ids::{LeaderEpoch, Member, Offset};
use crate::record::BatchHeader;

/// A follower that is fed.
#[derive(Debug)]
pub(super) struct Fed {
    member: Member,
    waker: Box<dyn FeedWaker>,
}

impl Replica {
    fn leads_in(&self, epoch: LeaderEpoch) -> bool {
        matches!(self.state.role(), Role::Leader(leader) if leader.epoch() == epoch)
    }

    fn feeds_to(&self, member: Member) -> bool {
        self.feeds.get(&member.node).is_some_and(|fed| fed.member == member)
    }

    /// There is something new for every follower.
    pub(super) fn wake_feeds(&self) {
        for fed in self.feeds.values() {
            fed.waker.wake(self.partition);
        }
    }

    fn open_feed(&mut self, open: OpenFeed) -> Result<Opening, FeedRefusal> {
        let OpenFeed { member, epoch, log, waker } = open;
        if !self.leads_in(epoch) {
            return Err(FeedRefusal::NotLeading);
        }
        let facts = self.facts();
        let epochs = |epoch| self.log.epochs().end_offset_for(epoch);
        match judge(facts, &epochs, log.last_epoch, log.end) {
            Verdict::Diverged { epoch, end } => Ok(Opening::Diverged { epoch, end }),
            Verdict::OutOfRange { start } => Ok(Opening::OutOfRange { start }),
            Verdict::Accepted => {
                self.feeds.insert(member.node, Fed { member, waker });
                let joined = Joined { member, end: log.end, durable_end: log.durable_end };
                self.step(Input::Joined(epoch, joined));
                if !self.is_known(member) {
                    self.feeds.remove(&member.node);
                    return Err(FeedRefusal::NotLeading);
                }
                Ok(Opening::Accepted {
                    end: log.end,
                    high_watermark: self.state.high_watermark().value(),
                    log_start: facts.start,
                })
            }
        }
    }

    fn is_known(&self, member: Member) -> bool {
        match self.state.role() {
            Role::Leader(leader) => leader.follower(member.node).is_some_and(|known| known.member == member),
            Role::Follower(_) | Role::Offline(_) => false,
        }
    }

    fn read_feed(&mut self, read: ReadFeed) -> Result<Feed, FeedRefusal> {
        if !self.leads_in(read.epoch) {
            return Err(FeedRefusal::NotLeading);
        }
        if !self.feeds_to(read.member) {
            return Err(FeedRefusal::NotOpen);
        }
        let end = self.log.end();
        let batches = if read.from < end {
            match self.log.read(read.from, end, read.max_bytes) {
                Ok(batches) => batches,
                Err(error) => {
                    // What is damaged is served to nobody: the follower waits until another leads.
                    self.log_failed(&error);
                    return Err(FeedRefusal::NotOpen);
                }
            }
        } else {
            bytes::Bytes::new()
        };
        Ok(Feed {
            next: next_offset(&batches).unwrap_or(read.from),
            batches,
            end,
            high_watermark: self.state.high_watermark().value(),
            log_start: self.log.start(),
        })
    }
}

/// The offset after the last batch.
fn next_offset(batches: &[u8]) -> Option<Offset> {
    let (mut rest, mut next) = (batches, None);
    while let Ok(header) = BatchHeader::parse(rest) {
        next = Some(header.next_offset());
        rest = rest.get(header.total_bytes()..).unwrap_or_default();
    }
    next
}

impl Handler<OpenFeed> for Replica {
    type Result = Result<Opening, FeedRefusal>;

    fn handle(&mut self, open: OpenFeed, _: &mut Self::Context) -> Self::Result {
        let opening = self.open_feed(open);
        self.settle();
        opening
    }
}

impl Handler<ReadFeed> for Replica {
    type Result = Result<Feed, FeedRefusal>;

    fn handle(&mut self, read: ReadFeed, _: &mut Self::Context) -> Self::Result {
        self.read_feed(read)
    }
}

impl Handler<FollowerReported> for Replica {
    type Result = ();

    fn handle(&mut self, reported: FollowerReported, _: &mut Self::Context) {
        self.step(Input::Reported(reported.epoch, reported.member, reported.durable_end));
        self.settle();
    }
}

impl Handler<FollowerDetached> for Replica {
    type Result = ();

    fn handle(&mut self, detached: FollowerDetached, _: &mut Self::Context) {
        if self.feeds_to(detached.member) {
            self.feeds.remove(&detached.member.node);
        }
        self.step(Input::Detached(detached.epoch, detached.member));
        self.settle();
    }
}

impl Handler<LeaveSet> for Replica {
    type Result = Result<bool, FeedRefusal>;

    fn handle(&mut self, leave: LeaveSet, _: &mut Self::Context) -> Self::Result {
        if !self.leads_in(leave.epoch) {
            return Err(FeedRefusal::NotLeading);
        }
        if self.feeds_to(leave.member) {
            self.feeds.remove(&leave.member.node);
        }
        self.left_set = false;
        self.step(Input::Left(leave.epoch, leave.member));
        self.settle();
        Ok(self.left_set)
    }
}

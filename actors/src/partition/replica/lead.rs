//! The leader's side of replication: opening, reading and reporting for followers.

use actix::fut::{self, ActorFutureExt};
use actix::{Handler, ResponseActFuture, WrapFuture};
use bytes::Bytes;

use super::super::following::{
    Feed, FeedRefusal, FeedWaker, FollowerDetached, FollowerReported, LeaveSet, OpenFeed, Opening, ReadFeed,
};
use super::super::state::truncate::{Verdict, judge};
use super::super::state::{Input, Joined, Role};
use super::Replica;
use super::fetch::one_buffer;
use crate::ids::{LeaderEpoch, Member, Offset};
use crate::log::{Batches, LogError};
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

    fn read_feed(&mut self, read: ReadFeed) -> Result<Batches, FeedRefusal> {
        if !self.leads_in(read.epoch) {
            return Err(FeedRefusal::NotLeading);
        }
        if !self.feeds_to(read.member) {
            return Err(FeedRefusal::NotOpen);
        }
        self.log.read_batches(read.from, self.log.end(), read.max_bytes).map_err(|error| self.not_fed(&error))
    }

    /// What is damaged is served to nobody: the follower waits until another leads.
    fn not_fed(&mut self, error: &LogError) -> FeedRefusal {
        self.log_failed(error);
        FeedRefusal::NotOpen
    }

    fn feed(&self, from: Offset, batches: Bytes) -> Feed {
        Feed {
            next: next_offset(&batches).unwrap_or(from),
            batches,
            end: self.log.end(),
            high_watermark: self.state.high_watermark().value(),
            log_start: self.log.start(),
        }
    }

    /// A read of the disk has ended; meanwhile the epoch may have, too.
    fn fed(&mut self, asked: ReadFeed, read: Result<Bytes, LogError>) -> Result<Feed, FeedRefusal> {
        if !self.leads_in(asked.epoch) {
            return Err(FeedRefusal::NotLeading);
        }
        match read {
            Ok(batches) => Ok(self.feed(asked.from, batches)),
            Err(error) => Err(self.not_fed(&error)),
        }
    }
}

/// The offset after the last batch.
pub(super) fn next_offset(batches: &[u8]) -> Option<Offset> {
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
        let _turn = self.turn();
        let opening = self.open_feed(open);
        self.settle();
        opening
    }
}

impl Handler<ReadFeed> for Replica {
    type Result = ResponseActFuture<Self, Result<Feed, FeedRefusal>>;

    fn handle(&mut self, asked: ReadFeed, _: &mut Self::Context) -> Self::Result {
        let _turn = self.turn();
        match self.read_feed(asked) {
            Ok(Batches::Ready(buffers)) => {
                Box::pin(fut::ready(Ok(self.feed(asked.from, one_buffer(buffers)))))
            }
            Ok(Batches::Cold(cold)) => {
                let threads = self.shared.threads.clone();
                let read = async move { threads.run_blocking(move || cold.run()).await };
                Box::pin(read.into_actor(self).map(move |read, replica, _| replica.fed(asked, read)))
            }
            Err(refusal) => Box::pin(fut::ready(Err(refusal))),
        }
    }
}

impl Handler<FollowerReported> for Replica {
    type Result = ();

    fn handle(&mut self, reported: FollowerReported, _: &mut Self::Context) {
        let _turn = self.turn();
        let FollowerReported { member, epoch, ends } = reported;
        if self.leads_in(epoch) {
            self.trims.reported(member, ends.log_start);
            self.step(Input::Begins(epoch, member, ends.log_start));
        }
        self.step(Input::Reported(epoch, member, ends.durable_end));
        self.settle();
    }
}

impl Handler<FollowerDetached> for Replica {
    type Result = ();

    fn handle(&mut self, detached: FollowerDetached, _: &mut Self::Context) {
        let _turn = self.turn();
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
        let _turn = self.turn();
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

//! Deleting records from the beginning of the log, where a client asks for it.

use std::time::Duration;

use actix::{Handler, Message};

use super::super::following::FollowerEnds;
use super::super::reply::Reply;
use super::super::state::{Failure, Input, Phase, Role};
use super::Replica;
use super::fetch::read_refusal;
use crate::error::{ErrorCode, Refusal};
use crate::ids::Offset;
use crate::image::Topic;
use crate::log::LogError;

/// Deletes what lies before an offset.
#[derive(Debug, Message)]
#[rtype(result = "()")]
pub struct DeleteOne {
    /// Which; the high watermark if none is named.
    pub before: Option<Offset>,
    /// How long the in-sync members may take.
    pub timeout: Duration,
    /// Answered with the least log start of the in-sync members.
    pub reply: Reply<Offset>,
}

impl Handler<DeleteOne> for Replica {
    type Result = ();

    fn handle(&mut self, message: DeleteOne, _: &mut Self::Context) {
        let _turn = self.turn();
        let DeleteOne { before, timeout, reply } = message;
        match self.trim(before) {
            Ok(before) => self.trims.wait(before, self.now() + timeout, reply),
            Err(refusal) => reply.send(Err(refusal)),
        }
        self.settle();
    }
}

impl Replica {
    /// Moves the log start; where to.
    fn trim(&mut self, before: Option<Offset>) -> Result<Offset, Refusal> {
        self.check_leads(None)?;
        self.check_may_trim()?;
        let mark = self.state.high_watermark();
        let to = before.unwrap_or(mark.value());
        if to > mark.value() && !mark.is_confirmed() {
            let text = "the new leader does not know yet how much is committed; try again";
            return Err(Refusal::new(ErrorCode::OffsetNotAvailable, text));
        }
        if to < Offset::ZERO || to > mark.value() {
            let text = format!("records before {to} cannot be deleted; {} is committed", mark.value());
            return Err(Refusal::new(ErrorCode::OffsetOutOfRange, text));
        }
        if to > self.log.start() {
            if let Err(error) = self.log.advance_start(to) {
                self.log_failed(&error);
                return Err(read_refusal(&error));
            }
            self.step(Input::LogChanged(self.facts()));
            self.wake_feeds();
        }
        Ok(to)
    }

    fn check_may_trim(&self) -> Result<(), Refusal> {
        if Topic::is_internal_name(&self.topic) {
            let text = format!("{} is the cluster's own: its records are not deleted by a call", self.topic);
            return Err(Refusal::new(ErrorCode::InvalidTopic, text));
        }
        let config = self.state.assignment().map(|assigned| &assigned.config);
        if config.is_some_and(|config| config.compact && !config.delete) {
            let text = format!(
                "topic {} is compacted (cleanup.policy=compact): its records are deleted by tombstones",
                self.topic
            );
            return Err(Refusal::new(ErrorCode::PolicyViolation, text));
        }
        if !self.trims.has_room() {
            let text = "too many deletions wait for this partition; try again";
            return Err(Refusal::new(ErrorCode::ThrottlingQuotaExceeded, text));
        }
        Ok(())
    }

    /// A log start that has moved, for whatever reason, is brought to the disk; who waits for the disks of all members
    /// is answered when it is there.
    pub(super) fn settle_trims(&mut self) {
        let start = self.log.start();
        if self.trims.begins_at(start) {
            let inbox = self.inbox.clone();
            self.log.keep_start(Box::new(move |kept| inbox.kept_start(kept.map(|()| start))));
        }
        if let Role::Leader(leader) = self.state.role() {
            let epoch = leader.epoch();
            if let Some(promised) = self.trims.release(self.me, leader.in_sync().counted()) {
                self.step(Input::Promised(epoch, promised));
            }
        }
    }

    /// A log start is on disk: a leader counts on it, and is told if it is another.
    pub(super) fn start_kept(&mut self, kept: Result<Offset, LogError>) {
        let Ok(start) = kept else { return self.step(Input::Failed(Failure::Directory)) };
        self.trims.is_kept(start);
        if let Role::Follower(follower) = self.state.role()
            && follower.phase() == Phase::Streaming
        {
            self.links.report(self.partition, follower.epoch(), self.ends(self.state.log().durable_end));
        }
    }

    /// What this replica reports of its disk.
    pub(super) fn ends(&self, durable_end: Offset) -> FollowerEnds {
        FollowerEnds { durable_end, log_start: self.trims.kept() }
    }
}

//! Looking offsets up: the ends of the log, by time, and where an epoch ends.

use actix::{Handler, Message};

use super::super::message::{EpochEnd, ListedOffset, OffsetSpec};
use super::super::reply::Reply;
use super::Replica;
use super::fetch::read_refusal;
use crate::error::{ErrorCode, Refusal};
use crate::ids::{LeaderEpoch, Offset};
use crate::log::{LogError, TimedOffset};

/// Asks for one offset.
#[derive(Debug, Message)]
#[rtype(result = "()")]
pub struct ListOne {
    /// The epoch that the asker knows.
    pub leader_epoch: Option<LeaderEpoch>,
    /// Which.
    pub spec: OffsetSpec,
    /// Where the answer goes.
    pub reply: Reply<ListedOffset>,
}

/// Asks where an epoch ends.
#[derive(Debug, Message)]
#[rtype(result = "()")]
pub struct EpochOne {
    /// The epoch that the asker knows.
    pub leader_epoch: Option<LeaderEpoch>,
    /// The epoch asked about.
    pub epoch: LeaderEpoch,
    /// Where the answer goes.
    pub reply: Reply<Option<EpochEnd>>,
}

impl Handler<ListOne> for Replica {
    type Result = ();

    fn handle(&mut self, message: ListOne, _: &mut Self::Context) {
        let ListOne { leader_epoch, spec, reply } = message;
        reply.send(self.list(leader_epoch, spec));
        self.settle();
    }
}

impl Handler<EpochOne> for Replica {
    type Result = ();

    fn handle(&mut self, message: EpochOne, _: &mut Self::Context) {
        let EpochOne { leader_epoch, epoch, reply } = message;
        let found = self.check_leads(leader_epoch).map(|_| {
            let found = self.log.epochs().end_as_asked(epoch);
            found.map(|(epoch, end)| EpochEnd { epoch, end })
        });
        reply.send(found);
        self.settle();
    }
}

impl Replica {
    fn list(&mut self, epoch: Option<LeaderEpoch>, spec: OffsetSpec) -> Result<ListedOffset, Refusal> {
        let current = self.check_leads(epoch)?;
        let mark = self.state.high_watermark();
        let end =
            |offset| ListedOffset { offset: Some(offset), timestamp_ms: None, leader_epoch: Some(current) };
        match spec {
            OffsetSpec::Earliest => Ok(self.listed(self.log.start(), None)),
            OffsetSpec::Latest | OffsetSpec::LastStable if !mark.is_confirmed() => Err(not_known_yet()),
            OffsetSpec::Latest => Ok(end(mark.value())),
            OffsetSpec::LastStable => Ok(end(self.last_stable())),
            OffsetSpec::Timestamp(timestamp_ms) => {
                let found = self.log.offset_for_time(timestamp_ms, mark.value());
                self.timed(found)
            }
            OffsetSpec::StableTimestamp(timestamp_ms) => {
                let found = self.log.offset_for_time(timestamp_ms, self.last_stable());
                self.timed(found)
            }
            OffsetSpec::MaxTimestamp => {
                let found = self.log.offset_of_max_timestamp(mark.value());
                self.timed(found)
            }
            OffsetSpec::Tiered => Ok(NOTHING),
        }
    }

    fn timed(&mut self, found: Result<Option<TimedOffset>, LogError>) -> Result<ListedOffset, Refusal> {
        match found {
            Ok(Some(found)) => Ok(self.listed(found.offset, Some(found.timestamp_ms))),
            Ok(None) if !self.state.high_watermark().is_confirmed() => Err(not_known_yet()),
            Ok(None) => Ok(NOTHING),
            Err(error) => {
                self.log_failed(&error);
                Err(read_refusal(&error))
            }
        }
    }

    fn listed(&self, offset: Offset, timestamp_ms: Option<i64>) -> ListedOffset {
        ListedOffset { offset: Some(offset), timestamp_ms, leader_epoch: self.log.epochs().epoch_of(offset) }
    }
}

/// No offset is what was asked for.
const NOTHING: ListedOffset = ListedOffset { offset: None, timestamp_ms: None, leader_epoch: None };

pub(super) fn not_known_yet() -> Refusal {
    let text = "the new leader does not know yet how much is committed; try again";
    Refusal::new(ErrorCode::OffsetNotAvailable, text)
}

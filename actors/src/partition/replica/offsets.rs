//! Looking offsets up: the ends of the log, by time, and where an epoch ends.

use actix::{Handler, Message};
use millstream_transport::world::Threads;

use super::super::memory::Permit;
use super::super::message::{EpochEnd, ListedOffset, OffsetSpec};
use super::super::reply::Reply;
use super::Replica;
use super::fetch::read_refusal;
use super::keyed::Unpackings;
use crate::error::{ErrorCode, Refusal};
use crate::ids::{LeaderEpoch, Offset};
use crate::log::{LogError, TimedOffset, TimedRead, TimedStep};

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
        let _turn = self.turn();
        let ListOne { leader_epoch, spec, reply } = message;
        match spec {
            OffsetSpec::MaxTimestamp | OffsetSpec::Timestamp(_) | OffsetSpec::StableTimestamp(_) => {
                self.list_timed(leader_epoch, spec, false, reply);
            }
            OffsetSpec::Earliest | OffsetSpec::Latest | OffsetSpec::LastStable | OffsetSpec::Tiered => {
                reply.send(self.list(leader_epoch, spec));
            }
        }
        self.settle();
    }
}

impl Handler<EpochOne> for Replica {
    type Result = ();

    fn handle(&mut self, message: EpochOne, _: &mut Self::Context) {
        let _turn = self.turn();
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
            // Records are looked for off this thread.
            OffsetSpec::Timestamp(_)
            | OffsetSpec::StableTimestamp(_)
            | OffsetSpec::MaxTimestamp
            | OffsetSpec::Tiered => Ok(NOTHING),
        }
    }

    /// Looks for a record by its time, off this thread: it may take the indexes of all segments, and a batch is unpacked.
    fn list_timed(
        &mut self,
        epoch: Option<LeaderEpoch>,
        spec: OffsetSpec,
        again: bool,
        reply: Reply<ListedOffset>,
    ) {
        let epoch = match self.check_leads(epoch) {
            Ok(epoch) => epoch,
            Err(refusal) => return reply.send(Err(refusal)),
        };
        let Some(myself) = self.myself.clone() else { return };
        let Some(permit) = self.shared.timed_looks.take(TIMED_BYTES) else {
            let text = "too many offsets are looked for by time on this node; try again";
            return reply.refuse(ErrorCode::ThrottlingQuotaExceeded, text);
        };
        let committed = self.state.high_watermark().value();
        let read = match spec {
            OffsetSpec::Timestamp(timestamp_ms) => self.log.since(timestamp_ms, committed),
            OffsetSpec::StableTimestamp(timestamp_ms) => self.log.since(timestamp_ms, self.last_stable()),
            _ => self.log.newest(committed),
        };
        let (threads, turns) = (self.shared.threads.clone(), self.shared.timed_unpackings.clone());
        actix_rt::spawn(async move {
            let found = look(read, &threads, &turns).await;
            // A completion: as many as were asked for.
            myself.do_send(TimedDone { epoch, spec, again, found, reply, permit });
        });
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

/// Takes all steps of a look; those that unpack when it is their turn.
async fn look(
    mut read: TimedRead,
    threads: &Threads,
    turns: &Unpackings,
) -> Result<Option<TimedOffset>, LogError> {
    loop {
        let turn = if read.unpacks() { turns.turn().await } else { None };
        let step = move || {
            let _until_it_is_done = turn;
            read.step()
        };
        match threads.run_blocking(step).await? {
            TimedStep::More(next) => read = next,
            TimedStep::Found(found) => return Ok(found),
        }
    }
}

/// A record was looked for by its time.
#[derive(Debug, Message)]
#[rtype(result = "()")]
pub(super) struct TimedDone {
    epoch: LeaderEpoch,
    spec: OffsetSpec,
    /// For the second time.
    again: bool,
    found: Result<Option<TimedOffset>, LogError>,
    reply: Reply<ListedOffset>,
    permit: Permit,
}

impl Handler<TimedDone> for Replica {
    type Result = ();

    fn handle(&mut self, done: TimedDone, _: &mut Self::Context) {
        let _turn = self.turn();
        let TimedDone { epoch, spec, again, found, reply, permit } = done;
        drop(permit);
        match self.check_leads(Some(epoch)) {
            Err(refusal) => reply.send(Err(refusal)),
            // It was removed meanwhile: another is the one now.
            Ok(_)
                if found.as_ref().is_ok_and(|found| found.is_some_and(|it| it.offset < self.log.start())) =>
            {
                self.list_timed(Some(epoch), spec, again, reply);
            }
            // A segment may have been removed under its hands.
            Ok(_) if !again && matches!(found, Err(LogError::Io { .. })) => {
                self.list_timed(Some(epoch), spec, true, reply);
            }
            Ok(_) => reply.send(self.timed(found)),
        }
        self.settle();
    }
}

/// What a look for a record by its time counts for: headers, and which segments there are. A batch is read and unpacked only
/// when it is the look's turn.
const TIMED_BYTES: usize = 64 << 10;

/// No offset is what was asked for.
const NOTHING: ListedOffset = ListedOffset { offset: None, timestamp_ms: None, leader_epoch: None };

pub(super) fn not_known_yet() -> Refusal {
    let text = "the new leader does not know yet how much is committed; try again";
    Refusal::new(ErrorCode::OffsetNotAvailable, text)
}

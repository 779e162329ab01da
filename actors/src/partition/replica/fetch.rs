//! Reading for consumers: the very bytes the producer sent, below the high watermark only.

use std::time::Duration;

use actix::{Handler, Message};
use bytes::{Bytes, BytesMut};

use super::super::deliver::{Parked, check_served};
use super::super::join::{FetchPlace, Visit};
use super::super::memory::Permit;
use super::super::message::{EpochEnd, FetchPart, Fetched};
use super::super::reply::Reply;
use super::Replica;
use super::lead::next_offset;
use super::offsets::not_known_yet;
use crate::error::{ErrorCode, Refusal};
use crate::ids::{LeaderEpoch, Offset};
use crate::log::{Batches, ColdRead, LogError};

/// One part of a fetch.
#[derive(Debug, Message)]
#[rtype(result = "()")]
pub struct FetchOne {
    /// What to read.
    pub part: FetchPart,
    /// How long to wait for more.
    pub max_wait: Duration,
    /// Where the answer goes.
    pub place: FetchPlace,
}

/// Asks for the end of the log, committed or not: behind everything whose append was asked for before. What coordinators of
/// this node have asked for and waits to be verified is refused then, so that it does not come behind that end.
#[derive(Debug, Message)]
#[rtype(result = "()")]
pub struct EndOne {
    /// The epoch that the asker counts on.
    pub epoch: LeaderEpoch,
    /// Where the answer goes.
    pub reply: Reply<Offset>,
}

impl Handler<EndOne> for Replica {
    type Result = ();

    fn handle(&mut self, message: EndOne, _: &mut Self::Context) {
        let _turn = self.turn();
        if let Some(message) = self.waits_for_looks(message) {
            self.tell_end(message);
        }
        self.settle();
    }
}

impl Handler<FetchOne> for Replica {
    type Result = ();

    fn handle(&mut self, message: FetchOne, _: &mut Self::Context) {
        let _turn = self.turn();
        let FetchOne { part, max_wait, place } = message;
        let deadline = self.now() + max_wait;
        let waits = !max_wait.is_zero() && self.deliveries.has_room();
        self.look(part, place, deadline, waits);
        self.settle();
    }
}

impl Replica {
    /// Everything asked for before is in the log, or refused.
    pub(super) fn tell_end(&mut self, asked: EndOne) {
        self.write_gathered();
        let end = self.check_leads(Some(asked.epoch)).map(|_| self.log.end());
        if end.is_ok() {
            self.unverified.refuse_coordinators();
        }
        asked.reply.send(end);
    }

    /// Looks for what a part wants; parks it if it is to wait for more. What lies on disk is read off this thread.
    fn look(&mut self, part: FetchPart, place: FetchPlace, deadline: Duration, may_wait: bool) {
        match self.visit(&part, &place) {
            Looked::Now(visit) => self.visited(part, place, deadline, may_wait, visit),
            Looked::Cold(cold, grant) => {
                let Some(myself) = self.myself.clone() else { return };
                let Some(permit) = self.shared.cold_reads.take(grant.bytes) else {
                    place.join().settle(grant.bytes, 0);
                    let text = "too many reads of the disk are under way on this node; try again";
                    return place.refuse(Refusal::new(ErrorCode::ThrottlingQuotaExceeded, text));
                };
                let (epoch, forgotten) = (self.state.epoch(), self.upkeep.aborted_forgotten);
                let cuts = self.upkeep.cuts;
                let threads = self.shared.threads.clone();
                actix_rt::spawn(async move {
                    let read = threads.run_blocking(move || cold.run()).await;
                    // A completion: as many as fetches were admitted.
                    myself.do_send(ColdReadDone {
                        part,
                        place,
                        deadline,
                        may_wait,
                        grant,
                        epoch,
                        forgotten,
                        cuts,
                        read,
                        permit,
                    });
                });
            }
        }
    }

    /// A part has been looked at, at last.
    fn visited(
        &mut self,
        part: FetchPart,
        place: FetchPlace,
        deadline: Duration,
        may_wait: bool,
        mut visit: Visit,
    ) {
        let seen = self.end_for(&part);
        visit.waits &= may_wait && self.deliveries.has_room();
        let read = visit.now.as_ref().map_or(0, |fetched| fetched.batches.len());
        let Some(place) = place.look(visit) else { return };
        // What it read is read again, with what has come by then.
        place.join().settle(read, 0);
        self.deliveries.park(Parked { part, place, seen, deadline });
    }

    fn visit(&mut self, part: &FetchPart, place: &FetchPlace) -> Looked {
        let refuse = |refusal, waits| Looked::Now(Visit { now: Err(refusal), waits });
        match self.check_leads(part.leader_epoch) {
            Err(_) if self.may_serve_nearby(part) => return self.visit_nearby(part, place),
            Err(refusal) => return refuse(refusal, false),
            Ok(_) => {}
        }
        let (log, mark) = (self.state.log(), self.state.high_watermark());
        let out_of_range = || {
            let text = format!("offset {} is not in {}..{}", part.offset, log.start, log.end);
            Refusal::new(ErrorCode::OffsetOutOfRange, text)
        };
        if part.offset < log.start {
            return refuse(out_of_range(), false);
        }
        // One who read beyond the end, in an epoch that ended earlier here, is told where: only so it goes back there.
        let is_unknown = part.offset > mark.value() && !mark.is_confirmed();
        match self.divergence(part) {
            Ok(None) if is_unknown => return refuse(not_known_yet(), true),
            Ok(None) if part.offset > log.end => return refuse(out_of_range(), false),
            Ok(None) => {}
            Err(_) if is_unknown => return refuse(not_known_yet(), true),
            Ok(diverging) => {
                let now = Ok(Fetched { diverging, ..self.fetched(part, Bytes::new()) });
                return Looked::Now(Visit { now, waits: false });
            }
            Err(refusal) => return refuse(refusal, false),
        }
        if let preferred @ Some(_) = self.nearer(part) {
            let now = Ok(Fetched { preferred, ..self.fetched(part, Bytes::new()) });
            return Looked::Now(Visit { now, waits: false });
        }
        self.read_on(part, place)
    }

    /// Reads what there is, up to where this part may.
    pub(super) fn read_on(&mut self, part: &FetchPart, place: &FetchPlace) -> Looked {
        let end = self.end_for(part);
        if part.offset >= end {
            return Looked::Now(Visit { now: Ok(self.fetched(part, Bytes::new())), waits: true });
        }
        let wanted = usize::try_from(part.max_bytes).unwrap_or(usize::MAX);
        let granted = place.join().reserve(wanted);
        if granted == 0 {
            return Looked::Now(Visit { now: Ok(self.fetched(part, Bytes::new())), waits: false });
        }
        let grant = Grant { bytes: granted, began: self.now() };
        match self.log.read_batches(part.offset, end, granted) {
            Ok(Batches::Cold(cold)) => Looked::Cold(cold, grant),
            Ok(Batches::Ready(buffers)) => {
                Looked::Now(self.read(part, place, grant, Ok(one_buffer(buffers))))
            }
            Err(error) => Looked::Now(self.read(part, place, grant, Err(error))),
        }
    }

    /// Where the history of the one who asks leaves this log, if it does.
    pub(super) fn divergence(&self, part: &FetchPart) -> Result<Option<EpochEnd>, Refusal> {
        let Some(last) = part.last_fetched_epoch else { return Ok(None) };
        let Some((epoch, end)) = self.log.epochs().end_as_asked(last) else {
            let text =
                format!("the leader has no record of epoch {last}, in which offset {} was read", part.offset);
            return Err(Refusal::new(ErrorCode::OffsetOutOfRange, text));
        };
        Ok((epoch < last || end < part.offset).then_some(EpochEnd { epoch, end }))
    }

    /// Up to where a part may read.
    fn end_for(&self, part: &FetchPart) -> Offset {
        if part.stable_only { self.last_stable() } else { self.state.high_watermark().value() }
    }

    /// Up to where readers of committed records may read.
    pub(super) fn last_stable(&self) -> Offset {
        self.producers.last_stable(self.state.high_watermark().value()).max(self.log.start())
    }

    /// What became of a read for a part.
    fn read(
        &mut self,
        part: &FetchPart,
        place: &FetchPlace,
        grant: Grant,
        read: Result<Bytes, LogError>,
    ) -> Visit {
        place.join().settle(grant.bytes, read.as_ref().map_or(0, Bytes::len));
        if let Ok(batches) = &read
            && let Err(broken) = check_served(batches, part.offset, self.end_for(part))
        {
            self.broke(&broken);
            let refusal = self.check_leads(None).err().unwrap_or_else(|| self.not_leader());
            return Visit { now: Err(refusal), waits: false };
        }
        match read {
            Ok(batches) => {
                let took = self.now().saturating_sub(grant.began);
                self.shared.series.fetch_seconds.record(took.as_secs_f64());
                self.shared.series.bytes_out.increment(u64::try_from(batches.len()).unwrap_or(0));
                let waits = batches.len() < grant.bytes;
                Visit { now: Ok(self.fetched(part, batches)), waits }
            }
            Err(error) => {
                self.log_failed(&error);
                Visit { now: Err(read_refusal(&error)), waits: false }
            }
        }
    }

    pub(super) fn fetched(&self, part: &FetchPart, batches: Bytes) -> Fetched {
        let read = next_offset(&batches).filter(|_| part.stable_only);
        Fetched {
            high_watermark: self.state.high_watermark().value(),
            log_start_offset: self.log.start(),
            diverging: None,
            preferred: None,
            last_stable_offset: self.last_stable(),
            aborted: read.map(|next| self.producers.aborted_in(part.offset, next)).unwrap_or_default(),
            batches,
        }
    }

    /// The high watermark has moved or was confirmed: those that wait look again.
    pub(super) fn wake_fetches(&mut self) {
        let mark = self.state.high_watermark();
        let newly_confirmed =
            mark.is_confirmed() && !std::mem::replace(&mut self.upkeep.confirmed, mark.is_confirmed());
        let awake = if newly_confirmed {
            self.deliveries.take_all()
        } else {
            self.deliveries.wake(mark.value(), self.last_stable())
        };
        for Parked { part, place, deadline, .. } in awake {
            if place.join().is_open() {
                self.look(part, place, deadline, true);
            }
        }
    }
}

/// What looking for a part came to.
pub(super) enum Looked {
    /// It is known what there is.
    Now(Visit),
    /// It lies on disk.
    Cold(ColdRead, Grant),
}

/// Leave to read.
#[derive(Clone, Copy, Debug)]
pub(super) struct Grant {
    bytes: usize,
    began: Duration,
}

/// A read of the disk has ended.
#[derive(Debug, Message)]
#[rtype(result = "()")]
pub(super) struct ColdReadDone {
    part: FetchPart,
    place: FetchPlace,
    deadline: Duration,
    may_wait: bool,
    grant: Grant,
    epoch: LeaderEpoch,
    /// How often aborted transactions had been forgotten when it began.
    forgotten: u64,
    /// How often the log had been cut when it began.
    cuts: u64,
    read: Result<Bytes, LogError>,
    permit: Permit,
}

impl Handler<ColdReadDone> for Replica {
    type Result = ();

    fn handle(&mut self, done: ColdReadDone, _: &mut Self::Context) {
        let _turn = self.turn();
        let ColdReadDone { part, place, deadline, may_wait, grant, epoch, forgotten, cuts, read, permit } =
            done;
        let is_forgotten = part.stable_only && forgotten != self.upkeep.aborted_forgotten;
        if is_forgotten || cuts != self.upkeep.cuts {
            // What was read may hold records of aborted transactions that nobody knows any more, or what a follower has cut
            // since, as may its high watermark have been: it is read again, as it lies there now.
            place.join().settle(grant.bytes, 0);
            drop(permit);
            self.look(part, place, deadline, may_wait);
            return self.settle();
        }
        let _until_it_is_answered = permit;
        let visit = match self.check_serves(&part, epoch) {
            Ok(()) => self.read(&part, &place, grant, read),
            Err(refusal) => Visit { now: Err(refusal), waits: false },
        };
        self.visited(part, place, deadline, may_wait, visit);
        self.settle();
    }
}

/// One buffer of several. Those that stand behind each other in one append are one already.
pub(super) fn one_buffer(mut buffers: Vec<Bytes>) -> Bytes {
    if buffers.len() <= 1 {
        return buffers.pop().unwrap_or_default();
    }
    let mut all = BytesMut::with_capacity(buffers.iter().map(Bytes::len).sum());
    buffers.iter().for_each(|buffer| all.extend_from_slice(buffer));
    all.freeze()
}

pub(super) fn read_refusal(error: &LogError) -> Refusal {
    let code = match error {
        LogError::OutOfRange { .. } => ErrorCode::OffsetOutOfRange,
        _ => ErrorCode::KafkaStorageError,
    };
    Refusal::new(code, error.to_string())
}

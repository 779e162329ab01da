//! Appending what producers send: checked, numbered, gathered, written with one call per wake-up.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use actix::{AsyncContext, Handler, Message};
use bytes::Bytes;

use super::super::acknowledge::{WaitFor, Waiting};
use super::super::append::{Check, Sequencer, Validated, validate};
use super::super::memory::Permit;
use super::super::message::{Acks, ProducePart, Produced};
use super::super::reply::Reply;
use super::super::state::Input;
use super::super::warden::ReplicaKilled;
use super::Replica;
use crate::error::{ErrorCode, Refusal};
use crate::ids::{Offset, ProducerId};
use crate::log::LogError;
use crate::record::{Batch, BatchHeader, EndMarker, HEADER_BYTES};
use crate::topic_config::{FlushPolicy, TimestampType};

/// One part of a produce request.
#[derive(Debug, Message)]
#[rtype(result = "()")]
pub struct ProduceOne {
    /// When to answer.
    pub acks: Acks,
    /// How long that may take.
    pub timeout: Duration,
    /// What to append.
    pub part: ProducePart,
    /// The memory it holds until it is appended.
    pub permit: Permit,
    /// Where the answer goes.
    pub reply: Reply<Produced>,
}

/// What came in one wake-up and is not written yet.
#[derive(Debug, Default)]
pub(super) struct Gathered {
    batches: Vec<Bytes>,
    headers: Vec<BatchHeader>,
    /// The markers among them, by offset.
    markers: BTreeMap<Offset, EndMarker>,
    producers: BTreeSet<ProducerId>,
    end: Option<Offset>,
    permits: Vec<Permit>,
    answers: Vec<(Acks, Waiting)>,
    write_planned: bool,
}

impl Gathered {
    pub(super) fn refuse_all(&mut self, refusal: &Refusal) {
        for (_, waiting) in self.answers.drain(..) {
            waiting.reply.send(Err(refusal.clone()));
        }
        *self = Self { write_planned: self.write_planned, ..Self::default() };
    }

    /// How many requests wait to be written.
    pub(super) fn len(&self) -> usize {
        self.answers.len()
    }

    /// Whether batches of this producer are among them.
    pub(super) fn holds(&self, id: ProducerId) -> bool {
        self.producers.contains(&id)
    }

    /// The batch at this offset is a marker.
    pub(super) fn marks(&mut self, at: Offset, marker: EndMarker) {
        self.markers.insert(at, marker);
    }

    /// This answer waits for what was gathered last.
    pub(super) fn await_write(&mut self, acks: Acks, waiting: Waiting) {
        self.answers.push((acks, waiting));
    }

    fn names(&self, headers: &[BatchHeader]) -> bool {
        !self.producers.is_empty()
            && headers.iter().filter_map(BatchHeader::producer).any(|id| self.producers.contains(&id))
    }
}

/// Writes what was gathered, after the messages that were there.
#[derive(Debug, Message)]
#[rtype(result = "()")]
pub(super) struct WriteGathered;

impl Handler<ProduceOne> for Replica {
    type Result = ();

    fn handle(&mut self, message: ProduceOne, context: &mut Self::Context) {
        let _turn = self.turn();
        if let Some(one) = self.waits_to_be_looked_at(message) {
            self.begin(one);
        }
        self.plan_write(|message| context.notify(message));
    }
}

impl Handler<WriteGathered> for Replica {
    type Result = ();

    fn handle(&mut self, _: WriteGathered, _: &mut Self::Context) {
        let _turn = self.turn();
        self.gathered.write_planned = false;
        self.write_gathered();
        self.settle();
    }
}

/// What became of one part.
struct Taken {
    is_new: bool,
    upto: Offset,
    produced: Produced,
}

impl Replica {
    /// Takes a request in whose records need no look any more, now or when its transaction is verified.
    pub(super) fn begin(&mut self, one: ProduceOne) {
        if let Some(one) = self.waits_to_be_verified(one) {
            self.take(one, None);
        }
    }

    /// Takes a request in; `verified` is the producer and epoch of which their coordinator has said that the partition is
    /// part of their transaction.
    pub(super) fn take(&mut self, one: ProduceOne, verified: Option<(ProducerId, i16)>) {
        let ProduceOne { acks, timeout, part, permit, reply } = one;
        let fingerprint = fingerprint(&part.batches);
        let suspect = ReplicaKilled { partition: self.partition, fingerprint };
        if self.shared.quarantine.holds(suspect) {
            let text = "this batch killed the partition's replica twice and is not taken any more";
            return reply.refuse(ErrorCode::InvalidRequest, text);
        }
        self.bench.put(fingerprint);
        #[cfg(test)]
        tests::die_if_told(&part.batches);
        let since = self.now();
        match self.gather(acks, part, permit, verified) {
            Ok(gathered) => {
                let waiting = Waiting {
                    upto: gathered.upto,
                    deadline: since + timeout,
                    since,
                    produced: gathered.produced,
                    reply,
                };
                if gathered.is_new {
                    self.gathered.await_write(acks, waiting);
                } else {
                    self.wait(acks, waiting);
                    self.settle();
                }
            }
            Err(refusal) => reply.send(Err(refusal)),
        }
        self.bench.clear();
    }

    /// What was gathered is written after the messages that are there.
    pub(super) fn plan_write(&mut self, notify: impl FnOnce(WriteGathered)) {
        if !self.gathered.answers.is_empty() && !self.gathered.write_planned {
            self.gathered.write_planned = true;
            notify(WriteGathered);
        }
    }

    /// Takes a part: all of it, or none.
    fn gather(
        &mut self,
        acks: Acks,
        part: ProducePart,
        permit: Permit,
        verified: Option<(ProducerId, i16)>,
    ) -> Result<Taken, Refusal> {
        let epoch = self.check_leads(part.leader_epoch)?;
        self.check_room(acks)?;
        let Some(assigned) = self.state.assignment() else { return Err(self.not_leader()) };
        let config = assigned.config.clone();
        let now_ms = self.clock.wall_ms();
        let validated = validate(part.batches, part.transaction.as_ref(), &config, now_ms)?;

        if self.gathered.names(&validated.headers) {
            // Only what is appended is known of a producer: an append that fails must leave no trace.
            self.write_gathered();
            self.check_leads(Some(epoch))?;
        }
        self.check_opened(&validated.headers, verified)?;
        let checks = self.producers.check(&validated.headers)?;
        let known = checks.iter().take_while(|check| matches!(check, Check::Duplicate { .. })).count();
        let first_known = checks.first().and_then(known_span);
        if checks.iter().skip(known).any(|check| matches!(check, Check::Duplicate { .. })) {
            let text = "a batch that was appended before stands behind one that was not";
            return Err(Refusal::new(ErrorCode::OutOfOrderSequenceNumber, text));
        }
        let append_time = (config.timestamp_type == TimestampType::LogAppendTime).then_some(now_ms);
        let log_start_offset = self.log.start();
        if let (Some((first, _)), true) = (first_known, known == checks.len()) {
            self.shared.series.duplicates.increment(u64::try_from(known).unwrap_or(0));
            let last = checks.last().and_then(known_span).map_or(first, |(_, last)| last);
            let produced = Produced { base_offset: first, log_append_time_ms: append_time, log_start_offset };
            return Ok(Taken { is_new: false, upto: last.plus(1), produced });
        }
        let (base, upto) = self.number(validated.skip(known), epoch, append_time)?;
        self.gathered.permits.push(permit);
        let base_offset = first_known.map_or(base, |(first, _)| first);
        let produced = Produced { base_offset, log_append_time_ms: append_time, log_start_offset };
        Ok(Taken { is_new: true, upto, produced })
    }

    /// Of what was not verified nothing opens a transaction.
    fn check_opened(
        &self,
        headers: &[BatchHeader],
        verified: Option<(ProducerId, i16)>,
    ) -> Result<(), Refusal> {
        let parts = headers.iter().filter(|header| header.attributes.is_transactional());
        let mut unopened = parts.filter_map(|header| Some((header.producer()?, header.producer_epoch)));
        let is_unopened = |of: &(ProducerId, i16)| {
            let is_told = Some(*of) == verified || self.unverified.admits(of.0, of.1);
            !is_told && !self.producers.is_open(of.0, of.1)
        };
        match unopened.find(is_unopened) {
            None => Ok(()),
            Some((id, epoch)) => {
                let text = format!("producer {id} has no transaction open here in epoch {epoch}");
                Err(Refusal::new(ErrorCode::InvalidTxnState, text))
            }
        }
    }

    pub(super) fn check_room(&self, acks: Acks) -> Result<(), Refusal> {
        if acks == Acks::All && !self.has_enough_in_sync() {
            let text = "fewer replicas are in sync than min.insync.replicas; nothing was appended; try again";
            return Err(Refusal::new(ErrorCode::NotEnoughReplicas, text));
        }
        if !self.acks.has_room_beside(self.gathered.len() + self.unverified.len() + self.unlooked.len()) {
            self.shared.series.throttled.increment(1);
            let text = "too many requests wait for this partition's acknowledgements; try again";
            return Err(Refusal::new(ErrorCode::ThrottlingQuotaExceeded, text));
        }
        Ok(())
    }

    /// Gives offsets, in place.
    pub(super) fn number(
        &mut self,
        validated: Validated,
        epoch: crate::ids::LeaderEpoch,
        append_time_ms: Option<i64>,
    ) -> Result<(Offset, Offset), Refusal> {
        let end = self.gathered.end.unwrap_or_else(|| self.log.end());
        let mut sequencer = Sequencer::new(end, epoch, append_time_ms);
        let sequenced = sequencer
            .assign(validated)
            .map_err(|error| Refusal::new(ErrorCode::CorruptMessage, error.to_string()))?;
        self.gathered.batches.extend(sequenced.batches);
        self.gathered.producers.extend(sequenced.headers.iter().filter_map(BatchHeader::producer));
        self.gathered.headers.extend(sequenced.headers);
        self.gathered.end = Some(sequencer.end());
        Ok((sequenced.base_offset, sequencer.end()))
    }

    /// One write for all that was gathered.
    pub(super) fn write_gathered(&mut self) {
        if self.gathered.batches.is_empty() {
            return;
        }
        let planned = self.gathered.write_planned;
        let gathered = std::mem::take(&mut self.gathered);
        self.gathered.write_planned = planned;
        let began = self.now();
        match self.log.append(gathered.batches) {
            Ok(appended) => {
                self.written(&gathered.headers, &gathered.markers, gathered.answers, began);
                if appended.rolled {
                    self.keep_producers();
                }
            }
            Err(error) => {
                let refusal = append_refusal(&error);
                for (_, waiting) in gathered.answers {
                    waiting.reply.send(Err(refusal.clone()));
                }
                self.log_failed(&error);
            }
        }
    }

    fn written(
        &mut self,
        headers: &[BatchHeader],
        markers: &BTreeMap<Offset, EndMarker>,
        answers: Vec<(Acks, Waiting)>,
        began: Duration,
    ) {
        let now_ms = self.clock.wall_ms();
        let series = &self.shared.series;
        let bytes: usize = headers.iter().map(BatchHeader::total_bytes).sum();
        let records: u64 = headers.iter().filter_map(|header| u64::try_from(header.count).ok()).sum();
        series.append_seconds.record(self.clock.now().saturating_sub(began).as_secs_f64());
        series.bytes_in.increment(u64::try_from(bytes).unwrap_or(0));
        series.records_in.increment(records);
        for header in headers {
            self.producers.record(header, markers.get(&header.base_offset).copied(), now_ms);
        }
        for (acks, waiting) in answers {
            self.wait(acks, waiting);
        }
        self.uncommitted.appended(self.log.end(), self.now());
        self.step(Input::LogChanged(self.facts()));
        self.make_durable(records);
        self.wake_feeds();
    }

    /// What was appended is synced, or is to be synced some time, as the topic wants it.
    pub(super) fn make_durable(&mut self, records: u64) {
        match self.policy {
            FlushPolicy::Sync => self.request_sync(),
            FlushPolicy::Os => {
                let config = self.state.assignment().map(|assigned| assigned.config.clone());
                if let Some(config) = config
                    && self.upkeep.appended_unsynced(self.now(), records, &config)
                {
                    self.request_sync();
                }
            }
        }
    }

    fn wait(&mut self, acks: Acks, waiting: Waiting) {
        match acks {
            Acks::None => waiting.reply.send(Ok(waiting.produced)),
            Acks::Leader => self.acks.wait(WaitFor::DurableEnd, waiting),
            Acks::All => self.acks.wait(WaitFor::HighWatermark, waiting),
        }
    }
}

/// The markers among batches, by offset.
pub(super) fn markers_in(batches: &[Bytes], headers: &[BatchHeader]) -> BTreeMap<Offset, EndMarker> {
    let batches = batches.iter().zip(headers).filter(|(_, header)| header.attributes.is_control());
    let marker = |(bytes, header): (&Bytes, &BatchHeader)| {
        Some((header.base_offset, EndMarker::of(&Batch { header: *header, bytes: bytes.clone() })?))
    };
    batches.filter_map(marker).collect()
}

fn known_span(check: &Check) -> Option<(Offset, Offset)> {
    match check {
        Check::Duplicate { first, last } => Some((*first, *last)),
        Check::Fresh => None,
    }
}

fn append_refusal(error: &LogError) -> Refusal {
    let code = match error {
        LogError::NoSpace { .. } => ErrorCode::ThrottlingQuotaExceeded,
        _ => ErrorCode::KafkaStorageError,
    };
    Refusal::new(code, error.to_string())
}

/// Tells a request from others: the header of its first batch as the client sent it, which holds the checksum.
pub(super) fn fingerprint(batches: &[u8]) -> u64 {
    let head = batches.get(..HEADER_BYTES).unwrap_or(batches);
    let mut digest = crc_fast::Digest::new(crc_fast::CrcAlgorithm::Crc64Nvme);
    digest.update(head);
    // 0 says that there is none.
    digest.finalize() | 1
}

#[cfg(test)]
pub(crate) mod tests {
    /// A batch that holds this kills the replica that takes it.
    pub(crate) const DEADLY: &[u8] = b"dies of this";

    pub(super) fn die_if_told(batches: &[u8]) {
        assert!(batches.windows(DEADLY.len()).all(|window| window != DEADLY), "told to die");
    }
}

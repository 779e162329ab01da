//! Where clients' requests meet the replicas: each is split by partition once, and joined once.

use std::time::Duration;

use actix::dev::ToEnvelope;
use actix::prelude::SendError;
use actix::{Addr, Handler, Message};
use bytes::Bytes;
use tokio::sync::oneshot;

use super::append::ActiveProducer;
use super::directory::ReplicaDirectory;
use super::join::{FetchBounds, FetchJoin, FetchPlace, Join};
use super::memory::{Budget, Permit};
use super::message::{
    DeleteRecords, DeleteRecordsAnswer, EpochEnd, EpochPart, Fetch, FetchAnswer, ListOffsets,
    ListOffsetsAnswer, ListPart, Produce, ProduceAnswer, Produced,
};
use super::replica::{
    AdmitOne, DeleteOne, EndOne, EpochOne, FetchOne, ListOne, MarkOne, ProduceOne, ProducersOne, Replica,
    SizeOf, Standing, StandingOf,
};
use super::reply::Reply;
use super::verify::Verification;
use crate::error::{ErrorCode, Refusal};
use crate::ids::{LeaderEpoch, Offset, PartitionId};
use crate::record::EndMarker;

/// The longest a request may wait, whatever it asks for.
const WAIT_MAX: Duration = Duration::from_secs(300);

/// The parts of a request may name so many partitions.
pub const PARTS_MAX: usize = 100_000;

/// Where epochs end, for each partition asked about; `None` where its log knows nothing of the epoch.
pub type EpochEnds = Vec<(PartitionId, Result<Option<EpochEnd>, Refusal>)>;

/// The door to the replicas of one node. Cheap to clone, from any thread.
#[derive(Clone, Debug)]
pub struct Front {
    replicas: ReplicaDirectory,
    memory: Budget,
    fetched: Budget,
}

impl Front {
    /// A door to these replicas. `memory` is what produce requests under way may hold together; `fetched` what answers
    /// to fetches may, from the reading of their batches until they have left. Once that is used up, each fetch gives one
    /// batch, as one with the least `max_bytes` does.
    #[must_use]
    pub fn new(replicas: ReplicaDirectory, memory: Budget, fetched: Budget) -> Self {
        Self { replicas, memory, fetched }
    }

    /// Appends. `answer` is called once, when every part is answered, on any thread; it must not block. With
    /// `acks=0` that is when all is appended.
    pub fn produce(&self, produce: Produce, answer: impl FnOnce(ProduceAnswer) + Send + 'static) {
        let Produce { acks, timeout_ms, parts } = produce;
        let timeout = Duration::from_millis(timeout_ms.into()).min(WAIT_MAX);
        let partitions = parts.iter().map(|part| part.partition).take(PARTS_MAX);
        let replies = Join::start(partitions, |parts| answer(ProduceAnswer { parts }));
        for (part, reply) in parts.into_iter().zip(replies) {
            let Some(permit) = self.memory.take(part.batches.len()) else {
                let text = "the node's memory for produce requests is full; try again";
                reply.refuse(ErrorCode::ThrottlingQuotaExceeded, text);
                continue;
            };
            let Some(replica) = self.replicas.get(part.partition) else {
                reply.send(Err(unknown(part.partition)));
                continue;
            };
            let one = ProduceOne { acks, timeout, part, permit, reply };
            give(&replica.address, one, |one| one.reply);
        }
    }

    /// Whether answers to fetches hold all that they may: who does not take theirs then is to be let go.
    #[must_use]
    pub fn is_short_of_memory(&self) -> bool {
        self.fetched.is_used_up()
    }

    /// Reads. `answer` is called once, when there are bytes enough or the time is up, on any thread; it must not block.
    pub fn fetch(&self, fetch: Fetch, answer: impl FnOnce(FetchAnswer) + Send + 'static) {
        let Fetch { max_wait_ms, min_bytes, max_bytes, parts } = fetch;
        let max_wait = Duration::from_millis(max_wait_ms.into()).min(WAIT_MAX);
        let bytes = |count: u32| usize::try_from(count).unwrap_or(usize::MAX);
        let partitions = parts.iter().map(|part| part.partition).take(PARTS_MAX);
        let fetched = self.fetched.clone();
        let charged = move |mut given: FetchAnswer| {
            charge(&fetched, &mut given);
            answer(given);
        };
        let bounds = FetchBounds {
            min_bytes: bytes(min_bytes),
            max_bytes: bytes(max_bytes),
            memory: self.fetched.clone(),
        };
        let join = FetchJoin::new(partitions, bounds, charged);
        for (place, part) in parts.into_iter().take(PARTS_MAX).enumerate() {
            let place = FetchPlace::new(std::sync::Arc::clone(&join), place);
            let Some(replica) = self.replicas.get(part.partition) else {
                place.refuse(unknown(part.partition));
                continue;
            };
            let one = FetchOne { part, max_wait, place };
            if let Err(SendError::Full(one) | SendError::Closed(one)) = replica.address.try_send(one) {
                one.place.refuse(full());
            }
        }
    }

    /// Asks for offsets. `answer` is called once, on any thread; it must not block.
    pub fn list_offsets(&self, list: ListOffsets, answer: impl FnOnce(ListOffsetsAnswer) + Send + 'static) {
        let part = |(partition, spec)| ListPart { partition, leader_epoch: None, spec };
        self.list_offsets_of(list.parts.into_iter().map(part).collect(), answer);
    }

    /// The same for askers that say which leader epochs they know.
    pub fn list_offsets_of(
        &self,
        parts: Vec<ListPart>,
        answer: impl FnOnce(ListOffsetsAnswer) + Send + 'static,
    ) {
        let partitions = parts.iter().map(|part| part.partition).take(PARTS_MAX);
        let replies = Join::start(partitions, |parts| answer(ListOffsetsAnswer { parts }));
        for (ListPart { partition, leader_epoch, spec }, reply) in parts.into_iter().zip(replies) {
            match self.replicas.get(partition) {
                Some(replica) => {
                    give(&replica.address, ListOne { leader_epoch, spec, reply }, |one| one.reply)
                }
                None => reply.send(Err(unknown(partition))),
            }
        }
    }

    /// Deletes records. `answer` is called once, when every part is answered, on any thread; it must not block.
    pub fn delete_records(
        &self,
        delete: DeleteRecords,
        answer: impl FnOnce(DeleteRecordsAnswer) + Send + 'static,
    ) {
        let timeout = Duration::from_millis(delete.timeout_ms.into()).min(WAIT_MAX);
        let partitions = delete.parts.iter().map(|(partition, _)| *partition).take(PARTS_MAX);
        let replies = Join::start(partitions, |parts| answer(DeleteRecordsAnswer { parts }));
        for ((partition, before), reply) in delete.parts.into_iter().zip(replies) {
            match self.replicas.get(partition) {
                Some(replica) => {
                    give(&replica.address, DeleteOne { before, timeout, reply }, |one| one.reply);
                }
                None => reply.send(Err(unknown(partition))),
            }
        }
    }

    /// Asks where epochs end. `answer` is called once, on any thread; it must not block.
    pub fn epoch_ends(&self, parts: Vec<EpochPart>, answer: impl FnOnce(EpochEnds) + Send + 'static) {
        let partitions = parts.iter().map(|part| part.partition).take(PARTS_MAX);
        let replies = Join::start(partitions, answer);
        for (EpochPart { partition, leader_epoch, epoch }, reply) in parts.into_iter().zip(replies) {
            match self.replicas.get(partition) {
                Some(replica) => {
                    give(&replica.address, EpochOne { leader_epoch, epoch, reply }, |one| one.reply)
                }
                None => reply.send(Err(unknown(partition))),
            }
        }
    }
}

impl Front {
    /// The end of a partition's log, committed or not, if it is led here in this epoch: for who writes to it and must
    /// read back all of that. The request is made now, behind every append asked for before.
    pub fn log_end(
        &self,
        partition: PartitionId,
        epoch: LeaderEpoch,
    ) -> impl Future<Output = Result<Offset, Refusal>> + Send + use<> {
        let (tell, told) = oneshot::channel();
        let reply = Reply::new(move |answer| {
            // Who does not wait any more needs no answer.
            let _ = tell.send(answer);
        });
        match self.replicas.get(partition) {
            Some(replica) => give(&replica.address, EndOne { epoch, reply }, |one| one.reply),
            None => reply.send(Err(unknown(partition))),
        }
        async move { told.await.unwrap_or_else(|_| Err(unknown(partition))) }
    }
}

impl Front {
    /// Whether a partition led here is part of a transaction, as its coordinator says; what the producer appends in this
    /// epoch is then taken without asking again, until the transaction's marker. What is produced once this is answered
    /// lies in the order of the calls.
    pub fn admit(
        &self,
        asked: Verification,
        epoch: LeaderEpoch,
    ) -> impl Future<Output = Result<(), Refusal>> + Send + use<> {
        let partition = asked.partition;
        let (tell, told) = oneshot::channel();
        let reply = Reply::new(move |answer| {
            // Who does not wait any more needs no answer.
            let _ = tell.send(answer);
        });
        match self.replicas.get(partition) {
            Some(replica) => give(&replica.address, AdmitOne { epoch, asked, reply }, |one| one.reply),
            None => reply.send(Err(unknown(partition))),
        }
        async move { told.await.unwrap_or_else(|_| Err(unknown(partition))) }
    }

    /// Ends transactions in partitions led here; `bumps` if every end gives the producer another epoch. `answer` is called
    /// once, when every marker is committed or refused, on any thread; it must not block.
    pub fn mark(
        &self,
        markers: Vec<(PartitionId, EndMarker)>,
        bumps: bool,
        timeout: Duration,
        answer: impl FnOnce(Vec<(PartitionId, Result<Produced, Refusal>)>) + Send + 'static,
    ) {
        let partitions = markers.iter().map(|(partition, _)| *partition).take(PARTS_MAX);
        let replies = Join::start(partitions, answer);
        for ((partition, marker), reply) in markers.into_iter().zip(replies) {
            match self.replicas.get(partition) {
                Some(replica) => {
                    give(&replica.address, MarkOne { marker, bumps, timeout, reply }, |one| one.reply);
                }
                None => reply.send(Err(unknown(partition))),
            }
        }
    }

    /// The producers that the leader of a partition knows. `answer` is called once, on any thread; it must not block.
    pub fn producers(
        &self,
        partition: PartitionId,
        answer: impl FnOnce(Result<Vec<ActiveProducer>, Refusal>) + Send + 'static,
    ) {
        let reply = Reply::new(answer);
        match self.replicas.get(partition) {
            Some(replica) => give(&replica.address, ProducersOne(reply), |asked| asked.0),
            None => reply.send(Err(unknown(partition))),
        }
    }

    /// How the leader of a partition stands. `answer` is called once, on any thread; it must not block.
    pub fn standing(
        &self,
        partition: PartitionId,
        answer: impl FnOnce(Result<Standing, Refusal>) + Send + 'static,
    ) {
        let reply = Reply::new(answer);
        match self.replicas.get(partition) {
            Some(replica) => give(&replica.address, StandingOf(reply), |asked| asked.0),
            None => reply.send(Err(unknown(partition))),
        }
    }

    /// How many bytes the logs of these partitions have here, whether they are led here or not. `answer` is called once,
    /// on any thread; it must not block.
    pub fn log_sizes(
        &self,
        partitions: Vec<PartitionId>,
        answer: impl FnOnce(Vec<(PartitionId, Result<u64, Refusal>)>) + Send + 'static,
    ) {
        let replies = Join::start(partitions.iter().copied(), answer);
        for (partition, reply) in partitions.into_iter().zip(replies) {
            match self.replicas.get(partition) {
                Some(replica) => give(&replica.address, SizeOf(reply), |asked| asked.0),
                None => reply.send(Err(unknown(partition))),
            }
        }
    }
}

/// The batches of an answer count until nobody holds them: what waits in a link's or a socket's buffers is memory too.
fn charge(fetched: &Budget, answer: &mut FetchAnswer) {
    for (_, part) in &mut answer.parts {
        if let Ok(part) = part
            && !part.batches.is_empty()
        {
            let permit = fetched.charge(part.batches.len());
            part.batches =
                Bytes::from_owner(Charged { batches: std::mem::take(&mut part.batches), _permit: permit });
        }
    }
}

/// Batches, and the memory that they count for.
struct Charged {
    batches: Bytes,
    _permit: Permit,
}

impl AsRef<[u8]> for Charged {
    fn as_ref(&self) -> &[u8] {
        &self.batches
    }
}

/// Gives a request to a replica, or refuses it.
fn give<M, T>(replica: &Addr<Replica>, message: M, reply: impl FnOnce(M) -> Reply<T>)
where
    M: Message<Result = ()> + Send + 'static,
    Replica: Handler<M>,
    <Replica as actix::Actor>::Context: ToEnvelope<Replica, M>,
{
    match replica.try_send(message) {
        Ok(()) => {}
        Err(SendError::Full(message)) => reply(message).send(Err(full())),
        // Dropped, the reply says that the replica is gone.
        Err(SendError::Closed(message)) => drop(reply(message)),
    }
}

fn full() -> Refusal {
    let text = "too many requests wait for this partition; try again";
    Refusal::new(ErrorCode::ThrottlingQuotaExceeded, text)
}

fn unknown(partition: PartitionId) -> Refusal {
    let text =
        format!("this node has no working replica of partition {partition}; refresh metadata and try again");
    Refusal::new(ErrorCode::NotLeaderOrFollower, text)
}

//! The log of coordinators: partitions of `__consumer_offsets` and of `__transaction_state` that this node leads.

use std::time::Duration;

use bytes::Bytes;
use futures::FutureExt;
use futures::future::BoxFuture;
use millstream_actors::error::{ErrorCode, Refusal};
use millstream_actors::group::doors::{CoordinatorLog, PartOfTransaction, Replaying};
use millstream_actors::group::pending::OfProducer;
use millstream_actors::group::records::LogRecord;
use millstream_actors::ids::{LeaderEpoch, Offset, PartitionId};
use millstream_actors::image::Image;
use millstream_actors::partition::front::Front;
use millstream_actors::partition::message::{
    Acks, Fetch, FetchPart, ListOffsets, OffsetSpec, Produce, ProducePart,
};
use millstream_actors::partition::verify::{InTransaction, Verification};
use millstream_actors::record::{
    Batch, BatchBuilder, BatchError, Compression, EndMarker, MAX_UNPACKED_BYTES, ProducerStamp,
    make_transactional, records, whole_batches,
};
use millstream_transport::world::Core;
use millstream_transport::world::watch;
use tokio::sync::oneshot;

use super::groups::coordinators_partition;

/// Bytes of one batch of decisions; more go into several.
const BATCH_BYTES: usize = 512 << 10;

/// How long a decision may wait to be committed before its members are told to ask again.
const COMMIT_WITHIN: Duration = Duration::from_secs(5);

/// How long one read of a load may wait, and how many bytes it takes.
const LOAD_WAIT: Duration = Duration::from_millis(500);
const LOAD_BYTES: u32 = 4 << 20;

/// How long a load may take without getting on.
const LOAD_STALLS_MAX: u32 = 60;

#[derive(Debug)]
pub(super) struct ReplicaLog {
    pub(super) front: Front,
    pub(super) images: watch::Receiver<std::sync::Arc<Image>>,
    /// The topic.
    pub(super) topic: &'static str,
    /// Loads read on this core, not on the control thread.
    pub(super) core: Core,
}

impl ReplicaLog {
    fn partition(&self, index: i32) -> Result<PartitionId, Refusal> {
        coordinators_partition(&self.images.borrow(), self.topic, index)
    }
}

impl ReplicaLog {
    fn append_part(
        &self,
        partition: i32,
        epoch: LeaderEpoch,
        batches: Bytes,
        transaction: Option<InTransaction>,
    ) -> BoxFuture<'static, Result<(), Refusal>> {
        let partition = match self.partition(partition) {
            Ok(partition) => partition,
            Err(refusal) => return std::future::ready(Err(refusal)).boxed(),
        };
        let part = ProducePart { partition, leader_epoch: Some(epoch), batches, transaction };
        let timeout_ms = u32::try_from(COMMIT_WITHIN.as_millis()).unwrap_or(u32::MAX);
        let (tell, told) = oneshot::channel();
        // Handed in now, not when the future is first polled: that is what keeps the order of decisions.
        self.front.produce(Produce { acks: Acks::All, timeout_ms, parts: vec![part] }, move |answer| {
            // Who does not wait any more needs no answer.
            let _ = tell.send(answer);
        });
        async move {
            let gone = || Refusal::new(ErrorCode::NotCoordinator, "the partition's replica has stopped");
            let answer = told.await.map_err(|_| gone())?;
            let (_, result) = answer.parts.into_iter().next().ok_or_else(gone)?;
            result.map(|_| ())
        }
        .boxed()
    }
}

impl<R: Replaying> CoordinatorLog<R> for ReplicaLog {
    fn append(
        &self,
        partition: i32,
        epoch: LeaderEpoch,
        records: Vec<LogRecord>,
    ) -> BoxFuture<'static, Result<(), Refusal>> {
        self.append_part(partition, epoch, pack(&records, None), None)
    }

    fn append_in(
        &self,
        partition: i32,
        epoch: LeaderEpoch,
        transaction: PartOfTransaction,
        records: Vec<LogRecord>,
    ) -> BoxFuture<'static, Result<(), Refusal>> {
        let PartOfTransaction { id, producer_id, producer_epoch, adds, knows_abortable } = transaction;
        let stamp = ProducerStamp { id: producer_id, epoch: producer_epoch, base_sequence: -1 };
        let transaction = InTransaction { id, adds, knows_abortable, by_coordinator: true };
        self.append_part(partition, epoch, pack(&records, Some(stamp)), Some(transaction))
    }

    fn admit(
        &self,
        partition: i32,
        epoch: LeaderEpoch,
        transaction: PartOfTransaction,
    ) -> BoxFuture<'static, Result<(), Refusal>> {
        let PartOfTransaction { id, producer_id, producer_epoch, adds, knows_abortable } = transaction;
        let partition = match self.partition(partition) {
            Ok(partition) => partition,
            Err(refusal) => return std::future::ready(Err(refusal)).boxed(),
        };
        let transaction = InTransaction { id, adds, knows_abortable, by_coordinator: true };
        self.front.admit(Verification { transaction, producer_id, producer_epoch, partition }, epoch).boxed()
    }

    fn load(&self, partition: i32, epoch: LeaderEpoch, replay: R) -> BoxFuture<'static, Result<R, Refusal>> {
        let partition = match self.partition(partition) {
            Ok(partition) => partition,
            Err(refusal) => return std::future::ready(Err(refusal)).boxed(),
        };
        let (front, (tell, told)) = (self.front.clone(), oneshot::channel());
        // The end is asked for now: it lies behind every append made before this call.
        let end = front.log_end(partition, epoch);
        self.core.spawn(move || async move {
            let loaded = match end.await {
                Ok(end) => read_all(&front, partition, epoch, end, replay).await,
                Err(refusal) => Err(refusal),
            };
            let _ = tell.send(loaded);
        });
        let stopped = || Refusal::new(ErrorCode::CoordinatorNotAvailable, "the node is stopping");
        async move { told.await.unwrap_or_else(|_| Err(stopped())) }.boxed()
    }
}

/// Batches of these records, as part of a transaction where a producer is given. Each record goes into a batch even where
/// it alone is larger than the bound.
fn pack(records: &[LogRecord], producer: Option<ProducerStamp>) -> Bytes {
    let mut packed = Vec::new();
    let mut builder = BatchBuilder::new(BATCH_BYTES, Compression::NONE);
    for record in records {
        let push = |builder: &mut BatchBuilder| {
            builder.push(record.timestamp_ms, Some(&record.key), record.value.as_deref(), &[])
        };
        if push(&mut builder).is_err() {
            let full = std::mem::replace(&mut builder, BatchBuilder::new(BATCH_BYTES, Compression::NONE));
            packed.extend_from_slice(&finish(full, producer));
            // A first record is only refused where no batch could hold it; the append then says so.
            let _ = push(&mut builder);
        }
    }
    packed.extend_from_slice(&finish(builder, producer));
    packed.into()
}

fn finish(builder: BatchBuilder, producer: Option<ProducerStamp>) -> Vec<u8> {
    let mut batch = builder.finish(None).to_vec();
    if let Some(stamp) = producer {
        // Fails for bytes that are no batch only.
        let _whole = make_transactional(&mut batch, stamp);
    }
    batch
}

async fn read_all<R: Replaying>(
    front: &Front,
    partition: PartitionId,
    epoch: LeaderEpoch,
    end: Offset,
    mut replay: R,
) -> Result<R, Refusal> {
    read_batches(front, partition, epoch, (Offset::ZERO, end), |batch| {
        if let Some(marker) = EndMarker::of(batch) {
            replay.ended(&marker);
            return Ok(());
        }
        let is_part = batch.header.attributes.is_transactional();
        let epoch = batch.header.producer_epoch;
        let producer = batch.header.producer().filter(|_| is_part);
        let producer = producer.map(|id| OfProducer { id, epoch });
        for record in records(batch, MAX_UNPACKED_BYTES)? {
            let record = record?;
            replay.record(record.timestamp_ms, record.key.as_deref(), record.value.as_deref(), producer);
        }
        Ok(())
    })
    .await?;
    Ok(replay)
}

/// Shows every batch from one offset to another, once the high watermark has passed that.
pub(super) async fn read_batches(
    front: &Front,
    partition: PartitionId,
    epoch: LeaderEpoch,
    (from, end): (Offset, Offset),
    mut show: impl FnMut(&Batch) -> Result<(), BatchError>,
) -> Result<(), Refusal> {
    let mut offset = from;
    let mut stalls = 0;
    while offset < end {
        let (batches, start) = match fetch(front, partition, epoch, offset, LOAD_BYTES).await {
            Ok(fetched) => fetched,
            // A new leader does not know its high watermark yet, or records were deleted meanwhile.
            Err(refusal) if refusal.code == ErrorCode::OffsetNotAvailable && stalls < LOAD_STALLS_MAX => {
                stalls += 1;
                tokio::time::sleep(LOAD_WAIT / 10).await;
                continue;
            }
            Err(refusal) if refusal.code == ErrorCode::OffsetOutOfRange && stalls < LOAD_STALLS_MAX => {
                stalls += 1;
                offset = log_start(front, partition).await?;
                continue;
            }
            Err(refusal) => return Err(refusal),
        };
        let before = offset;
        for batch in whole_batches(&batches) {
            let damaged = |error| Refusal::new(ErrorCode::CorruptMessage, format!("{partition}: {error}"));
            let batch = batch.map_err(damaged)?;
            offset = batch.header.next_offset();
            show(&batch).map_err(damaged)?;
        }
        offset = offset.max(start);
        stalls = if offset > before { 0 } else { stalls + 1 };
        if stalls > LOAD_STALLS_MAX {
            let text = format!("{partition}: the high watermark has not reached {end} in time");
            return Err(Refusal::new(ErrorCode::CoordinatorLoadInProgress, text));
        }
    }
    Ok(())
}

/// The first offset still there.
async fn log_start(front: &Front, partition: PartitionId) -> Result<Offset, Refusal> {
    let (tell, told) = oneshot::channel();
    front.list_offsets(ListOffsets { parts: vec![(partition, OffsetSpec::Earliest)] }, move |answer| {
        let _ = tell.send(answer);
    });
    let gone = || Refusal::new(ErrorCode::NotCoordinator, "the partition's replica has stopped");
    let answer = told.await.map_err(|_| gone())?;
    let (_, listed) = answer.parts.into_iter().next().ok_or_else(gone)?;
    listed?.offset.ok_or_else(gone)
}

pub(super) async fn fetch(
    front: &Front,
    partition: PartitionId,
    epoch: LeaderEpoch,
    offset: Offset,
    max_bytes: u32,
) -> Result<(Bytes, Offset), Refusal> {
    let part = FetchPart {
        partition,
        leader_epoch: Some(epoch),
        last_fetched_epoch: None,
        offset,
        max_bytes,
        stable_only: false,
        nearby: Default::default(),
    };
    let max_wait_ms = u32::try_from(LOAD_WAIT.as_millis()).unwrap_or(500);
    let (tell, told) = oneshot::channel();
    let message = Fetch { max_wait_ms, min_bytes: 1, max_bytes, parts: vec![part] };
    front.fetch(message, move |answer| {
        let _ = tell.send(answer);
    });
    let gone = || Refusal::new(ErrorCode::NotCoordinator, "the partition's replica has stopped");
    let answer = told.await.map_err(|_| gone())?;
    let (_, result) = answer.parts.into_iter().next().ok_or_else(gone)?;
    let fetched = result?;
    Ok((fetched.batches, fetched.log_start_offset))
}

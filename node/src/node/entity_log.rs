//! The log of partitions of entities: what their leaders write and read, and what their followers read of their replicas.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use futures::FutureExt;
use futures::future::BoxFuture;
use millstream_actors::custom::entity::doors::{EntityLog, ReplicaAnswer, ReplicaRead, ReplicaRecords};
use millstream_actors::custom::entity::table::Table;
use millstream_actors::error::{ErrorCode, Refusal};
use millstream_actors::group::records::LogRecord;
use millstream_actors::ids::{LeaderEpoch, Offset, PartitionId};
use millstream_actors::image::ENTITY_BATCH_BYTES;
use millstream_actors::partition::front::Front;
use millstream_actors::partition::message::{
    Acks, EpochPart, Fetch, FetchAnswer, FetchPart, Nearby, Produce, ProducePart,
};
use millstream_actors::record::{
    BatchBuilder, BatchError, Compression, MAX_UNPACKED_BYTES, records, whole_batches,
};
use millstream_transport::world::Core;
use tokio::sync::{Semaphore, oneshot};

use super::coordinator_log::{fetch, read_batches};

/// How long turns may wait to be committed before those who wait are told to ask again.
const COMMIT_WITHIN: Duration = Duration::from_secs(5);

/// How long a read of a replica waits for something new.
const REPLICA_WAIT: Duration = Duration::from_secs(300);

/// Entities that are read at a time on one core: each holds one batch beside its own records.
const LOADS_PER_CORE: usize = 8;

/// A core on which logs are read, not on the users' threads.
#[derive(Debug)]
struct Reader {
    core: Core,
    loads: Arc<Semaphore>,
}

/// The log of partitions of entities on this node.
#[derive(Debug)]
pub(super) struct ReplicaEntityLog {
    front: Front,
    /// Partitions are spread over them; never none.
    readers: Vec<Reader>,
}

impl ReplicaEntityLog {
    /// Reads on these cores; `None` if there is none.
    pub(super) fn new(front: Front, cores: &[Core]) -> Option<Self> {
        let reader =
            |core: &Core| Reader { core: core.clone(), loads: Arc::new(Semaphore::new(LOADS_PER_CORE)) };
        let readers: Vec<Reader> = cores.iter().map(reader).collect();
        (!readers.is_empty()).then_some(Self { front, readers })
    }

    fn reader(&self, partition: PartitionId) -> Option<&Reader> {
        let place = usize::try_from(partition.index).ok()?.checked_rem(self.readers.len())?;
        self.readers.get(place)
    }

    /// Runs on the partition's core.
    fn on_core<T: Send + 'static, F>(
        &self,
        partition: PartitionId,
        work: impl FnOnce(Front, Arc<Semaphore>) -> F + Send + 'static,
    ) -> BoxFuture<'static, Result<T, Refusal>>
    where
        F: Future<Output = Result<T, Refusal>> + 'static,
    {
        let (front, (tell, told)) = (self.front.clone(), oneshot::channel());
        if let Some(Reader { core, loads }) = self.reader(partition) {
            let loads = Arc::clone(loads);
            core.spawn(move || async move {
                // Who does not wait any more needs no answer.
                let _ = tell.send(work(front, loads).await);
            });
        }
        async move { told.await.unwrap_or_else(|_| Err(gone())) }.boxed()
    }
}

impl EntityLog for ReplicaEntityLog {
    fn append(
        &self,
        partition: PartitionId,
        epoch: LeaderEpoch,
        records: Vec<LogRecord>,
    ) -> BoxFuture<'static, Result<Offset, Refusal>> {
        let batches = match pack(&records) {
            Ok(batches) => batches,
            Err(refusal) => return std::future::ready(Err(refusal)).boxed(),
        };
        let part = ProducePart { partition, leader_epoch: Some(epoch), batches, transaction: None };
        let timeout_ms = u32::try_from(COMMIT_WITHIN.as_millis()).unwrap_or(u32::MAX);
        let (tell, told) = oneshot::channel();
        // Handed in now, not when the future is first polled: that is what keeps the order.
        self.front.produce(Produce { acks: Acks::All, timeout_ms, parts: vec![part] }, move |answer| {
            // Who does not wait any more needs no answer.
            let _ = tell.send(answer);
        });
        async move {
            let answer = told.await.map_err(|_| gone())?;
            let (_, produced) = answer.parts.into_iter().next().ok_or_else(gone)?;
            produced.map(|produced| produced.base_offset)
        }
        .boxed()
    }

    fn read(
        &self,
        partition: PartitionId,
        epoch: LeaderEpoch,
        offsets: Vec<Offset>,
    ) -> BoxFuture<'static, Result<Vec<Bytes>, Refusal>> {
        self.on_core(partition, move |front, loads| async move {
            let _place = loads.acquire_owned().await.map_err(|_| gone())?;
            read_at(offsets, async |offset| {
                fetch(&front, partition, epoch, offset, 1).await.map(|(bytes, _)| bytes)
            })
            .await
        })
    }

    fn replay(
        &self,
        partition: PartitionId,
        epoch: LeaderEpoch,
        mut table: Table,
        after: Option<LeaderEpoch>,
    ) -> BoxFuture<'static, (Table, Result<(), Refusal>)> {
        // The end is asked for now: it lies behind every append made before this call.
        let end = self.front.log_end(partition, epoch);
        let replayed = self.on_core(partition, move |front, _| async move {
            let shown = match (end.await, goes_on(&front, partition, epoch, (&table, after)).await) {
                (Ok(end), Ok(goes_on)) => {
                    if !goes_on {
                        table = Table::default();
                    }
                    show(&front, partition, epoch, end, &mut table).await
                }
                (Err(refusal), _) | (_, Err(refusal)) => Err(refusal),
            };
            Ok((table, shown))
        });
        // Without the core the table is gone, and all is read again.
        async move { replayed.await.unwrap_or_else(|refusal| (Table::default(), Err(refusal))) }.boxed()
    }

    fn read_replica(&self, read: ReplicaRead, answer: ReplicaAnswer) {
        let ReplicaRead { partition, from, after, max_bytes, waits } = read;
        let part = FetchPart {
            partition,
            // Whoever leads: what is committed is the same.
            leader_epoch: None,
            last_fetched_epoch: after,
            offset: from,
            max_bytes,
            stable_only: false,
            nearby: Nearby { from_follower: true, preferred: Vec::new() },
        };
        let wait = if waits { REPLICA_WAIT } else { Duration::ZERO };
        let max_wait_ms = u32::try_from(wait.as_millis()).unwrap_or(u32::MAX);
        let message = Fetch { max_wait_ms, min_bytes: 1, max_bytes, parts: vec![part] };
        self.front.fetch(message, move |fetched| answer(of_replica(fetched)));
    }
}

fn of_replica(answer: FetchAnswer) -> Result<ReplicaRecords, Refusal> {
    let (_, fetched) = answer.parts.into_iter().next().ok_or_else(gone)?;
    let fetched = fetched?;
    Ok(ReplicaRecords {
        batches: fetched.batches,
        start: fetched.log_start_offset,
        end: fetched.high_watermark,
        has_parted: fetched.diverging.is_some(),
    })
}

/// Whether the log goes on where a table ends that was filled before this leadership, `after` a record of an earlier epoch.
async fn goes_on(
    front: &Front,
    partition: PartitionId,
    epoch: LeaderEpoch,
    (table, after): (&Table, Option<LeaderEpoch>),
) -> Result<bool, Refusal> {
    let Some(after) = after else { return Ok(true) };
    let (tell, told) = oneshot::channel();
    let asked = EpochPart { partition, leader_epoch: Some(epoch), epoch: after };
    front.epoch_ends(vec![asked], move |answer| {
        // Who does not wait any more needs no answer.
        let _ = tell.send(answer);
    });
    let (_, end) = told.await.map_err(|_| gone())?.into_iter().next().ok_or_else(gone)?;
    Ok(end?.is_some_and(|known| known.epoch == after && known.end >= table.end()))
}

/// Shows a table what the log has from its end to `end`.
async fn show(
    front: &Front,
    partition: PartitionId,
    epoch: LeaderEpoch,
    end: Offset,
    table: &mut Table,
) -> Result<(), Refusal> {
    read_batches(front, partition, epoch, (table.end(), end), |batch| table.take_batch(batch)).await
}

/// One batch of these records.
fn pack(all: &[LogRecord]) -> Result<Bytes, Refusal> {
    let most = usize::try_from(ENTITY_BATCH_BYTES).unwrap_or(usize::MAX);
    let mut builder = BatchBuilder::new(most, Compression::NONE);
    for record in all {
        let pushed = builder.push(record.timestamp_ms, Some(&record.key), record.value.as_deref(), &[]);
        // Turns are held to their bound before: they may not be split.
        pushed.map_err(|full| Refusal::new(ErrorCode::MessageTooLarge, full.to_string()))?;
    }
    Ok(builder.finish(None))
}

/// The values of the records at these offsets, in their order. `fetch` gives the batch that holds an offset. Each is read
/// once, and one at a time is in memory.
async fn read_at(
    offsets: Vec<Offset>,
    fetch: impl AsyncFn(Offset) -> Result<Bytes, Refusal>,
) -> Result<Vec<Bytes>, Refusal> {
    let damaged = |error: BatchError| Refusal::new(ErrorCode::CorruptMessage, error.to_string());
    let missing = |offset: Offset| {
        Refusal::new(ErrorCode::CorruptMessage, format!("there is no record with a value at offset {offset}"))
    };
    let mut wanted: Vec<(Offset, usize)> = offsets.into_iter().zip(0..).collect();
    wanted.sort_unstable();
    let mut values = vec![Bytes::new(); wanted.len()];
    let mut wanted = wanted.into_iter().peekable();
    while let Some((offset, _)) = wanted.peek().copied() {
        let bytes = fetch(offset).await?;
        let batch = whole_batches(&bytes).next().ok_or_else(|| missing(offset))?.map_err(damaged)?;
        for record in records(&batch, MAX_UNPACKED_BYTES).map_err(damaged)? {
            let record = record.map_err(damaged)?;
            while let Some((_, place)) = wanted.next_if(|(offset, _)| *offset == record.offset) {
                let value = record.value.as_ref().ok_or_else(|| missing(record.offset))?;
                if let Some(found) = values.get_mut(place) {
                    // A copy: a slice would keep the whole batch.
                    *found = Bytes::copy_from_slice(value);
                }
            }
        }
        if wanted.peek().is_some_and(|(next, _)| *next == offset) {
            return Err(missing(offset));
        }
    }
    Ok(values)
}

fn gone() -> Refusal {
    Refusal::new(ErrorCode::NotLeaderOrFollower, "the partition's replica has stopped")
}

#[cfg(test)]
mod tests {
    use std::cell::RefCell;

    use millstream_actors::record::assign;

    use super::*;

    /// A batch of so many records, each with its offset as value.
    fn batch(base: i64, records: i64) -> Bytes {
        let mut builder = BatchBuilder::new(10_000, Compression::NONE);
        for offset in base..base + records {
            builder.push(0, None, Some(offset.to_string().as_bytes()), &[]).unwrap();
        }
        let mut batch = builder.finish(None).to_vec();
        assign(&mut batch, Offset(base), LeaderEpoch(1)).unwrap();
        batch.into()
    }

    #[tokio::test]
    async fn each_batch_is_read_once_whatever_the_order_of_the_offsets() {
        let asked = RefCell::new(Vec::new());
        let offsets = [25, 1, 12, 3, 11, 20, 1].map(Offset).to_vec();
        let values = read_at(offsets, async |offset| {
            asked.borrow_mut().push(offset.0);
            Ok(batch(offset.0 / 10 * 10, 10))
        });
        let values = values.await.unwrap();
        assert_eq!(values, ["25", "1", "12", "3", "11", "20", "1"]);
        assert_eq!(*asked.borrow(), [1, 11, 20]);
    }

    #[tokio::test]
    async fn an_offset_without_a_record_is_an_error_and_no_endless_search() {
        let read = read_at(vec![Offset(5)], async |_| Ok(batch(10, 3))).await;
        assert_eq!(read.unwrap_err().code, ErrorCode::CorruptMessage);
        let read = read_at(vec![Offset(5)], async |_| Ok(Bytes::new())).await;
        assert_eq!(read.unwrap_err().code, ErrorCode::CorruptMessage);
    }
}

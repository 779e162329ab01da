//! Brings a store to the end of its changelog: only what it lacks is read.

use std::collections::BTreeMap;
use std::time::Duration;

use bytes::Bytes;
use tokio::time::Instant;

use super::super::scope::StreamError;
use super::super::store::{ByteStore, Checkpoint};
use super::StreamsError;
use crate::client::{Client, ClientError, TopicPartition};
use crate::consumer::{
    Consumer, ConsumerEvent, ConsumerSettings, Fetched, IsolationLevel, OffsetReset, SeekTo,
};
use crate::events::StreamsRestoreMetrics;
use crate::ids::Offset;
use crate::partition::message::OffsetSpec;

/// Changes that are applied at once.
const CHUNK: usize = 5_000;

/// How long no record may come while there are some to come.
pub(super) const SILENT_MAX: Duration = Duration::from_mins(1);

/// How often it is looked whether what is left are only marks of transactions.
pub(super) const LOOK_EVERY: Duration = Duration::from_millis(20);

/// A change as it lies in a store.
pub(super) type Change = (Bytes, Option<Bytes>);

/// Makes a change of a store of a record's key and value.
pub(super) type LiesIn<'a> = &'a (dyn Fn(&Bytes, Option<&Bytes>) -> Result<Change, StreamError> + Sync);

/// Restores a store from a partition, up to `end` (of all that is committed, where none is given), and tells how that goes on. How
/// many changes were read.
pub(super) async fn restore(
    client: &Client,
    of: &TopicPartition,
    (store, progress): (&mut dyn ByteStore, &StreamsRestoreMetrics),
    end: Option<Offset>,
    lies_in: LiesIn<'_>,
) -> Result<u64, StreamsError> {
    let first = bound(client, of, OffsetSpec::Earliest).await?;
    let end = match end {
        Some(end) => end,
        None => bound(client, of, OffsetSpec::LastStable).await?,
    };
    let from = match store.checkpoint() {
        Some(Checkpoint(at)) if at > end.0 => {
            return Err(StreamsError::Failed(format!(
                "a state store has read {of} up to offset {at}, where it ends at {end}: the topic was made anew; remove the \
                 task's directory in state.dir"
            )));
        }
        // What was removed meanwhile is of no use any more.
        Some(Checkpoint(at)) => Offset(at).max(first),
        None => first,
    };
    if from >= end {
        return Ok(0);
    }
    let settings = ConsumerSettings {
        isolation: IsolationLevel::ReadCommitted,
        offset_reset: OffsetReset::Earliest,
        auto_commit: None,
        ..ConsumerSettings::default()
    };
    let mut consumer = Consumer::new(client, settings)?;
    consumer.assign([(of.clone(), SeekTo::Offset(from))]).await?;
    let read = read(&mut consumer, of, (store, progress), end, lies_in).await;
    consumer.close().await;
    read
}

async fn read(
    consumer: &mut Consumer,
    of: &TopicPartition,
    (store, progress): (&mut dyn ByteStore, &StreamsRestoreMetrics),
    end: Offset,
    lies_in: LiesIn<'_>,
) -> Result<u64, StreamsError> {
    let mut count = 0;
    let left = |from: Offset| progress.left(u64::try_from(end.0.saturating_sub(from.0)).unwrap_or(0));
    consumer.position(of)?.into_iter().for_each(left);
    while consumer.position(of)?.is_none_or(|at| at < end) {
        if let Some(fetched) = next_records(consumer, of, |consumer: &Consumer| {
            Ok(consumer.position(of)?.is_some_and(|at| at >= end))
        })
        .await?
        {
            let restored = take(of, store, &fetched, end, lies_in)?;
            count += restored;
            progress.restored(restored);
            left(fetched.next_offset());
        }
    }
    Ok(count)
}

/// The next records; `None` where there is nothing left to come, as `is_done` says. An error where nothing comes for too long.
pub(super) async fn next_records(
    consumer: &mut Consumer,
    of: &impl std::fmt::Display,
    is_done: impl Fn(&Consumer) -> Result<bool, ClientError>,
) -> Result<Option<Fetched>, StreamsError> {
    let heard = Instant::now();
    while !is_done(consumer)? {
        let Ok(event) = tokio::time::timeout(LOOK_EVERY, consumer.next()).await else {
            if heard.elapsed() < SILENT_MAX {
                continue;
            }
            let (what, within) = (format!("restoring from {of}"), SILENT_MAX);
            return Err(ClientError::TimedOut { what, within, last: None }.into());
        };
        match event {
            Ok(ConsumerEvent::Records(fetched)) => return Ok(Some(fetched)),
            Ok(_) => {}
            Err(error) if error.is_retriable() => {}
            Err(error) => return Err(error.into()),
        }
    }
    Ok(None)
}

/// Takes records into a store; how many changes they are.
fn take(
    of: &TopicPartition,
    store: &mut dyn ByteStore,
    fetched: &Fetched,
    end: Offset,
    lies_in: LiesIn<'_>,
) -> Result<u64, StreamsError> {
    let (mut count, mut changes) = (0, Vec::new());
    for record in fetched.records() {
        let record = record.map_err(|error| StreamsError::Failed(format!("{of}: {error}")))?;
        if record.offset >= end {
            break;
        }
        if let Some(key) = record.key {
            changes.push(lies_in(&key, record.value.as_ref())?);
        }
        if changes.len() >= CHUNK {
            count += apply(store, &mut changes, record.offset.plus(1))?;
        }
    }
    Ok(count + apply(store, &mut changes, fetched.next_offset().min(end))?)
}

fn apply(store: &mut dyn ByteStore, changes: &mut Vec<Change>, reached: Offset) -> Result<u64, StreamsError> {
    let mut each = changes.iter().map(|(key, value)| (key, value.as_ref()));
    let applied = store.apply(&mut each, &[], Checkpoint(reached.0));
    applied.map_err(|error| StreamsError::Stream(error.into()))?;
    let count = u64::try_from(changes.len()).unwrap_or(u64::MAX);
    changes.clear();
    Ok(count)
}

/// The offsets at a place of partitions.
pub(super) async fn bounds(
    client: &Client,
    of: Vec<TopicPartition>,
    spec: OffsetSpec,
) -> Result<BTreeMap<TopicPartition, Offset>, StreamsError> {
    let wanted: Vec<_> = of.into_iter().map(|of| (of, spec)).collect();
    let found = client.admin().offsets(&wanted).await?;
    let each = wanted.into_iter().map(|(of, _)| {
        let offset = found.get(&of).and_then(|listed| listed.offset);
        let offset = offset.ok_or_else(|| StreamsError::Failed(format!("{of} has no offsets")))?;
        Ok((of, offset))
    });
    each.collect()
}

async fn bound(client: &Client, of: &TopicPartition, spec: OffsetSpec) -> Result<Offset, StreamsError> {
    let found = bounds(client, vec![of.clone()], spec).await?;
    found.into_values().next().ok_or_else(|| StreamsError::Failed(format!("{of} has no offsets")))
}

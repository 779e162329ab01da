//! Brings a store to the end of its changelog: only what it lacks is read.

use std::collections::BTreeMap;
use std::time::Duration;

use bytes::Bytes;
use tokio::time::Instant;

use super::super::scope::StreamError;
use super::super::store::{ByteStore, Checkpoint};
use super::StreamsError;
use super::cancel::Cancelled;
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

/// Up to where a store is restored.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Until {
    /// The end of the partition. What was committed just before may lie behind the mark of a transaction that is still to be
    /// written: who is to process records waits for that.
    End,
    /// What is surely committed: whoever writes there has always a transaction open.
    Stable,
    /// This offset.
    At(Offset),
}

/// What is restored from.
pub(super) struct Source<'a> {
    pub(super) client: &'a Client,
    pub(super) of: &'a TopicPartition,
    pub(super) until: Until,
    pub(super) lies_in: LiesIn<'a>,
    /// It ends early, with what was restored so far.
    pub(super) cancelled: &'a Cancelled,
    pub(super) progress: &'a StreamsRestoreMetrics,
}

/// Restores a store, and tells how that goes on. How many changes were read.
pub(super) async fn restore(store: &mut dyn ByteStore, source: &Source<'_>) -> Result<u64, StreamsError> {
    let Source { client, of, until, .. } = source;
    let first = bound(client, of, OffsetSpec::Earliest).await?;
    let end = match until {
        Until::End => bound(client, of, OffsetSpec::Latest).await?,
        Until::Stable => bound(client, of, OffsetSpec::LastStable).await?,
        Until::At(end) => *end,
    };
    let from = match store.checkpoint() {
        // It has what is committed, and the mark of an older transaction is still to come.
        Some(Checkpoint(at)) if at > end.0 && *until == Until::Stable => return Ok(0),
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
    consumer.assign([((*of).clone(), SeekTo::Offset(from))]).await?;
    let read = read(&mut consumer, store, source, end).await;
    consumer.close().await;
    read
}

async fn read(
    consumer: &mut Consumer,
    store: &mut dyn ByteStore,
    source: &Source<'_>,
    end: Offset,
) -> Result<u64, StreamsError> {
    let Source { of, lies_in, cancelled, progress, .. } = source;
    let mut count = 0;
    let left = |from: Offset| progress.left(u64::try_from(end.0.saturating_sub(from.0)).unwrap_or(0));
    let is_done =
        |consumer: &Consumer| Ok(cancelled.is_set() || consumer.position(of)?.is_some_and(|at| at >= end));
    consumer.position(of)?.into_iter().for_each(left);
    while let Some(fetched) = next_records(consumer, of, is_done).await? {
        let restored = take(of, store, &fetched, end, lies_in)?;
        count += restored;
        progress.restored(restored);
        left(fetched.next_offset());
    }
    if !cancelled.is_set() {
        // The marks of transactions behind the last change are read too.
        apply(store, &mut Vec::new(), end)?;
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

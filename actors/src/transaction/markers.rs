//! Writes the markers of one transaction to all its partitions, until each has one.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use millstream_transport::world::Clock;
use tokio::sync::Semaphore;
use tokio::time::Instant;

use super::doors::{Marked, MarkerWriter};
use super::state::TopicPartition;
use crate::error::{ErrorCode, Refusal};
use crate::events::{Events, MarkersDelayed};
use crate::record::EndMarker;

/// The wait before markers are tried again, at first; it doubles up to [`AGAIN_MOST`].
const AGAIN: Duration = Duration::from_millis(20);
const AGAIN_MOST: Duration = Duration::from_secs(1);

/// A partition that nobody knows for so long was deleted: before, its making may not have been heard of here.
const UNKNOWN_FOR: Duration = Duration::from_secs(30);

/// Tries from which on it is told that markers are late, and every so many after.
const TOLD_EVERY: u32 = 30;

/// A decided outcome, to be told to partitions.
#[derive(Clone, Copy, Debug)]
pub(super) struct Outcome {
    pub(super) marker: EndMarker,
    /// The end gave the producer another epoch.
    pub(super) bumps: bool,
}

/// Returns when every partition has the marker or is gone. A place is held only while markers are on their way: what one
/// partition refuses holds up no other transaction.
pub(super) async fn mark(
    writer: Arc<dyn MarkerWriter>,
    places: Arc<Semaphore>,
    Outcome { marker, bumps }: Outcome,
    partitions: BTreeSet<TopicPartition>,
    clock: Clock,
    events: Events,
) {
    let mut left = partitions;
    let mut unknown: BTreeMap<TopicPartition, Instant> = BTreeMap::new();
    let (mut wait, mut tries) = (AGAIN, 0_u32);
    while !left.is_empty() {
        let Ok(place) = places.acquire().await else { return };
        let written = writer.write(marker, bumps, left.iter().cloned().collect()).await;
        drop(place);
        let (mut last, now) = (None, clock.now());
        for (partition, marked) in written {
            if marked != Marked::Unknown {
                unknown.remove(&partition);
            }
            match marked {
                Marked::Done => {
                    left.remove(&partition);
                }
                Marked::Unknown => {
                    let since = *unknown.entry(partition.clone()).or_insert(now);
                    if now.saturating_duration_since(since) >= UNKNOWN_FOR {
                        left.remove(&partition);
                    }
                }
                // Where a newer coordinator leads, this one is about to end, and this with it. Else the partition knows
                // of an epoch that there was not: that is told, and the others get their markers all the same.
                Marked::Fenced => {
                    let text = format!("{}-{} has a marker of a newer coordinator", partition.0, partition.1);
                    last = Some(Refusal::new(ErrorCode::TransactionCoordinatorFenced, text));
                }
                Marked::Again(refusal) => last = Some(refusal),
            }
        }
        if left.is_empty() {
            return;
        }
        tries = tries.saturating_add(1);
        if tries.is_multiple_of(TOLD_EVERY) {
            let producer = marker.producer_id;
            events.emit(MarkersDelayed { producer, partitions: left.len(), refusal: last.as_ref() });
        }
        tokio::time::sleep(wait).await;
        wait = (wait * 2).min(AGAIN_MOST);
    }
}

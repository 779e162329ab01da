//! Writes the markers of one transaction to all its partitions, until each has one.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use millstream_transport::world::Clock;

use super::doors::{Marked, MarkerWriter};
use super::state::TopicPartition;
use crate::events::{Events, MarkersDelayed};
use crate::record::EndMarker;

/// The wait before markers are tried again, at first; it doubles up to [`AGAIN_MOST`].
const AGAIN: Duration = Duration::from_millis(20);
const AGAIN_MOST: Duration = Duration::from_secs(1);

/// A partition that nobody knows for so long was deleted: before, its making may not have been heard of here.
const UNKNOWN_FOR: Duration = Duration::from_secs(30);

/// Tries from which on it is told that markers are late, and every so many after.
const TOLD_EVERY: u32 = 30;

/// Returns when every partition has the marker or is gone. False if a newer coordinator has taken over: it finishes.
pub(super) async fn mark(
    writer: Arc<dyn MarkerWriter>,
    marker: EndMarker,
    partitions: BTreeSet<TopicPartition>,
    clock: Clock,
    events: Events,
) -> bool {
    let since = clock.now();
    let mut left = partitions;
    let (mut wait, mut tries) = (AGAIN, 0_u32);
    while !left.is_empty() {
        let mut last = None;
        for (partition, marked) in writer.write(marker, left.iter().cloned().collect()).await {
            match marked {
                Marked::Done => {
                    left.remove(&partition);
                }
                Marked::Unknown if clock.now().saturating_duration_since(since) >= UNKNOWN_FOR => {
                    left.remove(&partition);
                }
                Marked::Unknown => {}
                Marked::Fenced => return false,
                Marked::Again(refusal) => last = Some(refusal),
            }
        }
        if left.is_empty() {
            return true;
        }
        tries = tries.saturating_add(1);
        if tries.is_multiple_of(TOLD_EVERY) {
            let producer = marker.producer_id;
            events.emit(MarkersDelayed { producer, partitions: left.len(), refusal: last.as_ref() });
        }
        tokio::time::sleep(wait).await;
        wait = (wait * 2).min(AGAIN_MOST);
    }
    true
}

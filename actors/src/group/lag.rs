//! How far groups are behind, computed by the broker from offsets and ends of one moment: never negative, and in
//! seconds too where the record that waits tells its time.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex, PoisonError};

use super::doors::{Leadership, LogEnd};
use super::modern::ConsumerGroup;
use crate::events::{Events, GroupLag, GroupOwnership};
use crate::ids::{Offset, PartitionId};

/// How far a group is behind in one partition.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Lag {
    /// Records not read.
    pub records: i64,
    /// How long the first of them has waited; 0 if there is none, `None` if it does not tell.
    pub seconds: Option<f64>,
}

/// How far a reader that resumes at `committed` is behind. What retention has removed is not counted: it cannot be read.
#[must_use]
pub fn lag(committed: Offset, end: &LogEnd, now_ms: i64) -> Lag {
    let records = end.end.0.saturating_sub(committed.0.max(end.start.0)).max(0);
    if records == 0 {
        return Lag { records, seconds: Some(0.0) };
    }
    let seconds = end.waiting_since_ms.map(|since_ms| {
        let waited_ms = u64::try_from(now_ms.saturating_sub(since_ms)).unwrap_or(0);
        std::time::Duration::from_millis(waited_ms).as_secs_f64()
    });
    Lag { records, seconds }
}

/// A topic's name and the index of a partition.
type Series = (Arc<str>, i32);

/// The lag of one group, and which series it is told in.
#[derive(Debug)]
pub(super) struct LagWatch {
    group: Arc<str>,
    /// Series that were told and have to end when there is nothing to tell any more.
    told: Arc<Mutex<BTreeSet<Series>>>,
}

impl LagWatch {
    pub(super) fn of(group: &Arc<str>) -> Self {
        Self { group: Arc::clone(group), told: Arc::default() }
    }

    /// Asks for the ends and tells the lag when they come.
    pub(super) fn measure(&self, machine: &ConsumerGroup, leadership: &Arc<Leadership>) {
        let group = machine.group();
        let doors = &leadership.doors;
        doors.events.emit(GroupOwnership {
            group: &self.group,
            members: group.members.len()
                + group.classic.as_ref().map_or(0, |classic| classic.members.len())
                + group.streams.members.len(),
            unowned: if group.members.is_empty() { 0 } else { group.unowned() },
        });
        let topics = leadership.topics();
        let offsets: BTreeMap<PartitionId, (Arc<str>, Offset)> = group
            .offsets
            .iter()
            .filter_map(|(name, index, value)| {
                let topic = topics.named(name)?.id;
                let same = value.topic.is_none_or(|committed_for| committed_for == topic);
                same.then(|| (PartitionId { topic, index }, (Arc::clone(name), value.offset)))
            })
            .collect();
        let at = offsets.iter().map(|(partition, (_, offset))| (*partition, *offset)).collect();
        let ends = doors.ends.ends(at);
        let (group, told, doors) = (Arc::clone(&self.group), Arc::clone(&self.told), doors.clone());
        tokio::spawn(async move {
            let ends = ends.await;
            let now_ms = doors.clock.wall_ms();
            let mut told = told.lock().unwrap_or_else(PoisonError::into_inner);
            let mut over = std::mem::take(&mut *told);
            for (partition, (topic, offset)) in offsets {
                let series = (topic, partition.index);
                over.remove(&series);
                if let Some(end) = ends.get(&partition) {
                    let lag = lag(offset, end, now_ms);
                    tell(&group, &series, lag, &doors.events);
                }
                told.insert(series);
            }
            tell_none(&group, over, &doors.events);
        });
    }

    /// This node does not coordinate the group any more, or it is gone: its series here say nothing.
    pub(super) fn end(&self, events: &Events) {
        let over = std::mem::take(&mut *self.told.lock().unwrap_or_else(PoisonError::into_inner));
        tell_none(&self.group, over, events);
        events.emit(GroupOwnership { group: &self.group, members: 0, unowned: 0 });
    }
}

fn tell_none(group: &str, series: BTreeSet<Series>, events: &Events) {
    for series in series {
        tell(group, &series, Lag { records: 0, seconds: Some(0.0) }, events);
    }
}

fn tell(group: &str, (topic, partition): &Series, lag: Lag, events: &Events) {
    let Lag { records, seconds } = lag;
    events.emit(GroupLag { group, topic, partition: *partition, records, seconds });
}

#[cfg(test)]
mod tests {
    use super::*;

    fn end(start: i64, end: i64, waiting_since_ms: Option<i64>) -> LogEnd {
        LogEnd { start: Offset(start), end: Offset(end), waiting_since_ms }
    }

    #[test]
    fn lag_is_what_can_still_be_read_and_how_long_it_waited() {
        let behind = Lag { records: 7, seconds: Some(2.5) };
        assert_eq!(lag(Offset(3), &end(0, 10, Some(1_500)), 4_000), behind);
        assert_eq!(lag(Offset(3), &end(5, 10, None), 4_000), Lag { records: 5, seconds: None });
    }

    #[test]
    fn lag_is_never_negative() {
        let none = Lag { records: 0, seconds: Some(0.0) };
        assert_eq!(lag(Offset(10), &end(0, 10, Some(1)), 4_000), none);
        assert_eq!(lag(Offset(11), &end(0, 10, Some(1)), 4_000), none);
        assert_eq!(lag(Offset(3), &end(0, 4, Some(9_000)), 4_000).seconds, Some(0.0));
    }
}

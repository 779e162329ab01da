//! What replicas do: the hot series as handles, the rare happenings as events.

use metrics::{Counter, Gauge, Histogram, Label};
use std::fmt;

use super::{Event, Events};
use crate::ids::{LeaderEpoch, Offset, PartitionId};

/// The series that move with every request. One per node; never per partition.
pub struct PartitionSeries {
    /// Time from a produce request's arrival at its replica to its answer.
    pub produce_seconds: Histogram,
    /// Time of one append: sequencing and the write.
    pub append_seconds: Histogram,
    /// Time from a batch's append at the leader to its being committed.
    pub commit_seconds: Histogram,
    /// Time to find and read what a fetch asks for; its wait for new records is not counted.
    pub fetch_seconds: Histogram,
    /// Records appended by leaders.
    pub records_in: Counter,
    /// Bytes appended by leaders.
    pub bytes_in: Counter,
    /// Bytes read for consumers.
    pub bytes_out: Counter,
    /// Bytes appended by followers.
    pub replicated_bytes: Counter,
    /// Duplicates of batches that were answered from memory.
    pub duplicates: Counter,
    /// Requests refused because a bound was reached.
    pub throttled: Counter,
    /// Partitions led here.
    pub led: Gauge,
    /// Partitions led here whose in-sync set lacks a replica.
    pub under_replicated: Gauge,
    /// Partitions led here with fewer members in sync than `min.insync.replicas`.
    pub under_min_in_sync: Gauge,
    /// Replicas here that serve nobody.
    pub offline: Gauge,
    /// Fetches that wait for more.
    pub fetches_waiting: Gauge,
}

impl PartitionSeries {
    /// The handles of a node.
    #[must_use]
    pub fn of(events: &Events) -> Self {
        let histogram = |name| events.histogram(name, Vec::new());
        let counter = |name| events.counter(name, Vec::new());
        let gauge = |name| events.gauge(name, Vec::new());
        Self {
            produce_seconds: histogram("millstream_produce_seconds"),
            append_seconds: histogram("millstream_append_seconds"),
            commit_seconds: histogram("millstream_commit_seconds"),
            fetch_seconds: histogram("millstream_fetch_seconds"),
            records_in: counter("millstream_records_in_total"),
            bytes_in: counter("millstream_in_bytes_total"),
            bytes_out: counter("millstream_out_bytes_total"),
            replicated_bytes: counter("millstream_replicated_bytes_total"),
            duplicates: counter("millstream_duplicate_batches_total"),
            throttled: counter("millstream_produce_throttled_total"),
            led: gauge("millstream_partitions_led"),
            under_replicated: gauge("millstream_partitions_under_replicated"),
            under_min_in_sync: gauge("millstream_partitions_under_min_in_sync"),
            offline: gauge("millstream_partitions_offline"),
            fetches_waiting: gauge("millstream_fetches_waiting"),
        }
    }
}

impl fmt::Debug for PartitionSeries {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("PartitionSeries")
    }
}

/// A replica leads in a new epoch.
#[derive(Debug)]
pub struct EpochOpened<'a> {
    /// The topic, for people.
    pub topic: &'a str,
    /// The partition.
    pub partition: PartitionId,
    /// The epoch.
    pub epoch: LeaderEpoch,
    /// Where its records begin.
    pub start: Offset,
}

impl Event for EpochOpened<'_> {
    fn tell(&self, events: &Events) {
        events.counter("millstream_epochs_opened_total", Vec::new()).increment(1);
        let Self { topic, partition, epoch, start } = self;
        tracing::info!(node = %events.node(), topic, index = partition.index, %epoch, %start, "leads");
    }
}

/// A leader leads no more.
#[derive(Debug)]
pub struct SteppedDown<'a> {
    /// The topic, for people.
    pub topic: &'a str,
    /// The partition.
    pub partition: PartitionId,
    /// The epoch that ended.
    pub epoch: LeaderEpoch,
}

impl Event for SteppedDown<'_> {
    fn tell(&self, events: &Events) {
        let Self { topic, partition, epoch } = self;
        tracing::info!(node = %events.node(), topic, index = partition.index, %epoch, "leads no more");
    }
}

/// A replica asks for another leader.
#[derive(Debug)]
pub struct Resigned<'a> {
    /// The partition.
    pub partition: PartitionId,
    /// The epoch given up.
    pub epoch: LeaderEpoch,
    /// Why, as a label.
    pub reason: &'static str,
    /// Why, for people.
    pub text: &'a str,
}

impl Event for Resigned<'_> {
    fn tell(&self, events: &Events) {
        let labels = vec![Label::new("reason", self.reason)];
        events.counter("millstream_resignations_total", labels).increment(1);
        let Self { partition, epoch, text, .. } = self;
        tracing::warn!(node = %events.node(), %partition, %epoch, text, "asks for another leader");
    }
}

/// A follower's log was cut because the leader's differs.
#[derive(Debug)]
pub struct Truncated<'a> {
    /// The topic, for people.
    pub topic: &'a str,
    /// The partition.
    pub partition: PartitionId,
    /// Where it ended.
    pub from: Offset,
    /// Where it ends now.
    pub to: Offset,
    /// What was known to be committed.
    pub high_watermark: Offset,
}

impl Event for Truncated<'_> {
    fn tell(&self, events: &Events) {
        let below = self.to < self.high_watermark;
        let labels = vec![Label::new("committed", if below { "true" } else { "false" })];
        events.counter("millstream_truncations_total", labels).increment(1);
        let Self { topic, partition, from, to, high_watermark } = self;
        if below {
            tracing::warn!(node = %events.node(), topic, index = partition.index, %from, %to, %high_watermark,
                "a log is cut below what was committed, to be fetched again from the leader");
        } else {
            tracing::info!(node = %events.node(), topic, index = partition.index, %from, %to, "a log is cut to the leader's");
        }
    }
}

/// A replica found bytes that are not what was written.
#[derive(Debug)]
pub struct DamageFound<'a> {
    /// The topic, for people.
    pub topic: &'a str,
    /// The partition.
    pub partition: PartitionId,
    /// From here on.
    pub from: Offset,
    /// What was found, and where.
    pub found: &'a str,
}

impl Event for DamageFound<'_> {
    fn tell(&self, events: &Events) {
        events.counter("millstream_damaged_logs_total", Vec::new()).increment(1);
        let Self { topic, partition, from, found } = self;
        tracing::error!(node = %events.node(), topic, index = partition.index, %from, found,
            "a log is damaged: nothing of the damaged part is served; it is fetched again from another replica");
    }
}

/// How many of a partition's replicas are outside of its in-sync set changed, or who tells it.
#[derive(Debug)]
pub struct ReplicasMissing<'a> {
    /// The topic.
    pub topic: &'a str,
    /// The partition.
    pub partition: PartitionId,
    /// So many; none where this node does not lead it.
    pub missing: usize,
}

impl Event for ReplicasMissing<'_> {
    fn tell(&self, events: &Events) {
        let labels = vec![
            Label::new("topic", self.topic.to_owned()),
            Label::new("partition", self.partition.index.to_string()),
        ];
        let missing = u32::try_from(self.missing).unwrap_or(u32::MAX);
        events.gauge("millstream_partition_missing_replicas", labels).set(missing);
    }
}

/// A replica serves nobody from now on.
#[derive(Debug)]
pub struct WentOffline<'a> {
    /// The topic, for people.
    pub topic: &'a str,
    /// The partition.
    pub partition: PartitionId,
    /// Why, and what to do.
    pub reason: &'a str,
}

impl Event for WentOffline<'_> {
    fn tell(&self, events: &Events) {
        let Self { topic, partition, reason } = self;
        tracing::error!(node = %events.node(), topic, index = partition.index, reason, "a replica is offline");
    }
}

/// What the leader sent is refused by its follower.
#[derive(Debug)]
pub struct FeedRejected<'a> {
    /// The partition.
    pub partition: PartitionId,
    /// What was wrong with it.
    pub found: &'a str,
}

impl Event for FeedRejected<'_> {
    fn tell(&self, events: &Events) {
        events.counter("millstream_feeds_rejected_total", Vec::new()).increment(1);
        let Self { partition, found } = self;
        tracing::warn!(node = %events.node(), %partition, found, "what the leader sent cannot be appended; asking again");
    }
}

/// A request killed a replica for the second time and is refused from now on.
#[derive(Debug)]
pub struct RequestQuarantined {
    /// The partition.
    pub partition: PartitionId,
    /// The request's fingerprint.
    pub fingerprint: u64,
}

impl Event for RequestQuarantined {
    fn tell(&self, events: &Events) {
        events.counter("millstream_requests_quarantined_total", Vec::new()).increment(1);
        let Self { partition, fingerprint } = self;
        tracing::error!(node = %events.node(), %partition, fingerprint = format!("{fingerprint:016x}"),
            "a request killed a replica twice; it is refused from now on");
    }
}

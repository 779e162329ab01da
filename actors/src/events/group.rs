//! Consumer groups.

use std::time::Duration;

use metrics::Label;

use super::{Event, Events};
use crate::error::Refusal;
use crate::kinds::GROUP_COORDINATOR;

/// A coordinator has read its partition of `__consumer_offsets`.
#[derive(Debug)]
pub struct GroupsLoaded {
    /// The partition.
    pub partition: i32,
    /// Groups found.
    pub groups: usize,
    /// Records read.
    pub records: u64,
    /// Records that could not be understood.
    pub undecodable: u64,
    /// How long it took.
    pub took: Duration,
}

impl Event for GroupsLoaded {
    fn tell(&self, events: &Events) {
        events.histogram("millstream_group_load_seconds", vec![]).record(self.took);
        let (partition, groups, records) = (self.partition, self.groups, self.records);
        tracing::info!(node = %events.node(), partition, groups, records, took = ?self.took, "groups are coordinated here");
        if self.undecodable > 0 {
            let undecodable = self.undecodable;
            events.counter("millstream_group_records_undecodable_total", vec![]).increment(undecodable);
            tracing::error!(node = %events.node(), partition, undecodable, "records of groups could not be understood");
        }
    }
}

/// A coordinator could not read its partition; it tries again.
#[derive(Debug)]
pub struct GroupLoadFailed<'a> {
    /// The partition.
    pub partition: i32,
    /// Why.
    pub refusal: &'a Refusal,
}

impl Event for GroupLoadFailed<'_> {
    fn tell(&self, events: &Events) {
        events.counter("millstream_group_loads_failed_total", vec![]).increment(1);
        tracing::warn!(node = %events.node(), partition = self.partition, refusal = %self.refusal, "groups cannot be read from their log; trying again");
    }
}

/// A decision was not committed: the group is read back from the log.
#[derive(Debug)]
pub struct GroupBroken<'a> {
    /// The group.
    pub group: &'a str,
    /// Why.
    pub refusal: &'a Refusal,
}

impl Event for GroupBroken<'_> {
    fn tell(&self, events: &Events) {
        events.counter("millstream_group_decisions_lost_total", vec![]).increment(1);
        tracing::warn!(node = %events.node(), group = self.group, refusal = %self.refusal, "a decision was not committed; the group is read back");
    }
}

/// The actor of a group panicked: it is started again from the log.
#[derive(Debug)]
pub struct CoordinatorPanicked<'a> {
    /// The group.
    pub group: &'a str,
    /// What it said.
    pub reason: &'a str,
    /// Whether it did so before and is left alone for a while now.
    pub quarantined: bool,
}

impl Event for CoordinatorPanicked<'_> {
    fn tell(&self, events: &Events) {
        events.count_restart(GROUP_COORDINATOR.name);
        events.roster().begun_anew(GROUP_COORDINATOR.name, self.group);
        tracing::error!(node = %events.node(), group = self.group, reason = self.reason, quarantined = self.quarantined, "the coordinator of a group panicked");
    }
}

/// A member joined, or came back.
#[derive(Debug)]
pub struct MemberJoined<'a> {
    /// The group.
    pub group: &'a str,
    /// The member.
    pub member: &'a str,
}

impl Event for MemberJoined<'_> {
    fn tell(&self, events: &Events) {
        events.counter("millstream_group_members_joined_total", vec![]).increment(1);
        tracing::info!(node = %events.node(), group = self.group, member = self.member, "member joined");
    }
}

/// A member is out.
#[derive(Debug)]
pub struct MemberLeft<'a> {
    /// The group.
    pub group: &'a str,
    /// The member.
    pub member: &'a str,
    /// Why.
    pub reason: &'static str,
}

impl Event for MemberLeft<'_> {
    fn tell(&self, events: &Events) {
        let labels = vec![Label::new("reason", self.reason)];
        events.counter("millstream_group_members_left_total", labels).increment(1);
        tracing::info!(node = %events.node(), group = self.group, member = self.member, reason = self.reason, "member left");
    }
}

/// It was computed anew what the members of a group are to own.
#[derive(Debug)]
pub struct GroupRetargeted<'a> {
    /// The group.
    pub group: &'a str,
    /// Its epoch.
    pub epoch: i32,
    /// Members.
    pub members: usize,
    /// Partitions.
    pub partitions: usize,
    /// Members that are to own something else than before.
    pub affected: usize,
}

impl Event for GroupRetargeted<'_> {
    fn tell(&self, events: &Events) {
        events.counter("millstream_group_rebalances_total", vec![]).increment(1);
        let Self { group, epoch, members, partitions, affected } = self;
        tracing::info!(node = %events.node(), group, epoch, members, partitions, affected, "partitions are assigned anew");
    }
}

/// A group with members went over to the other protocol.
#[derive(Debug)]
pub struct GroupConverted<'a> {
    /// The group.
    pub group: &'a str,
    /// `consumer` (KIP-848) or `classic`.
    pub to: &'static str,
    /// Members that it took along.
    pub members: usize,
}

impl Event for GroupConverted<'_> {
    fn tell(&self, events: &Events) {
        let labels = vec![Label::new("to", self.to)];
        events.counter("millstream_group_conversions_total", labels).increment(1);
        tracing::info!(node = %events.node(), group = self.group, to = self.to, members = self.members, "the group went over to the other protocol");
    }
}

/// A group has only members of the classic protocol left, and stays one of KIP-848.
#[derive(Debug)]
pub struct GroupNotDowngraded<'a> {
    /// The group.
    pub group: &'a str,
    /// Why.
    pub why: &'static str,
}

impl Event for GroupNotDowngraded<'_> {
    fn tell(&self, events: &Events) {
        tracing::info!(node = %events.node(), group = self.group, why = self.why, "a group without members of KIP-848 stays one of that");
    }
}

/// Offsets were forgotten: their retention is over or their topic is gone.
#[derive(Debug)]
pub struct OffsetsForgotten<'a> {
    /// The group.
    pub group: &'a str,
    /// Partitions.
    pub partitions: usize,
}

impl Event for OffsetsForgotten<'_> {
    fn tell(&self, events: &Events) {
        let count = u64::try_from(self.partitions).unwrap_or(u64::MAX);
        events.counter("millstream_group_offsets_forgotten_total", vec![]).increment(count);
        tracing::info!(node = %events.node(), group = self.group, partitions = self.partitions, "offsets are forgotten");
    }
}

/// How far a group is behind in a partition.
#[derive(Debug)]
pub struct GroupLag<'a> {
    /// The group.
    pub group: &'a str,
    /// The topic.
    pub topic: &'a str,
    /// The partition.
    pub partition: i32,
    /// Records not read.
    pub records: i64,
    /// How long the first of them has waited, if it tells.
    pub seconds: Option<f64>,
}

impl Event for GroupLag<'_> {
    fn tell(&self, events: &Events) {
        let labels = || {
            vec![
                Label::new("group", self.group.to_owned()),
                Label::new("topic", self.topic.to_owned()),
                Label::new("partition", self.partition.to_string()),
            ]
        };
        #[expect(
            clippy::cast_precision_loss,
            reason = "a gauge is a float; above 2^53 records nobody counts"
        )]
        let records = self.records as f64;
        events.gauge("millstream_group_lag_records", labels()).set(records);
        if let Some(seconds) = self.seconds {
            events.gauge("millstream_group_lag_seconds", labels()).set(seconds);
        }
    }
}

/// Who reads what a group subscribes to.
#[derive(Debug)]
pub struct GroupOwnership<'a> {
    /// The group.
    pub group: &'a str,
    /// Members.
    pub members: usize,
    /// Partitions subscribed to that nobody owns now.
    pub unowned: usize,
}

impl Event for GroupOwnership<'_> {
    fn tell(&self, events: &Events) {
        let labels = || vec![Label::new("group", self.group.to_owned())];
        let count = |count: usize| u32::try_from(count).unwrap_or(u32::MAX);
        events.gauge("millstream_group_members", labels()).set(count(self.members));
        events.gauge("millstream_group_unowned_partitions", labels()).set(count(self.unowned));
    }
}

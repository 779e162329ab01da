//! The settings of group coordinators, by Kafka's names.

use super::assignor::Assignor;
use super::classic::ClassicSettings;
use super::migration::MigrationPolicy;
use super::streams::StreamsGroupSettings;
use crate::kinds::GROUP_SUPERVISOR;

/// How a node coordinates groups.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct GroupSettings {
    /// `group.consumer.session.timeout.ms`: a member not heard of for so long is out. Kafka waits 45 s, because its
    /// members stop heart-beating when their process pauses; here a heartbeat depends on nothing that the user's code
    /// does, so that 6 s of silence mean a dead process.
    pub session_timeout_ms: u64,
    /// `group.consumer.heartbeat.interval.ms`: what members are told. It is also how long the others may take to
    /// hear that a dead member's partitions are theirs; with 500 ms they read them well within a second.
    pub heartbeat_interval_ms: u32,
    /// The interval told to a member that waits for a partition another still has to give up, in milliseconds.
    pub waiting_interval_ms: u32,
    /// What a member that names no rebalance timeout has to give partitions up, in milliseconds.
    pub rebalance_timeout_ms: u32,
    /// `group.consumer.max.size`: members of a group.
    pub max_members: usize,
    /// Topics that a member may name.
    pub max_topics: usize,
    /// `group.consumer.assignors`, the first of it: for groups whose members have no choice.
    pub assignor: Assignor,
    /// `offset.metadata.max.bytes`: a committer's own words.
    pub offset_metadata_max_bytes: usize,
    /// `offsets.retention.minutes`, in milliseconds: how long an offset outlives its commit and its last member.
    pub offsets_retention_ms: u64,
    /// `offsets.retention.check.interval.ms`.
    pub offsets_retention_check_ms: u64,
    /// `group.lag.interval.ms`: how often the lag of groups is computed.
    pub lag_interval_ms: u64,
    /// `group.consumer.migration.policy`.
    pub migration: MigrationPolicy,
    /// Whether access control lists say which topics a member may know of (`authorizer.class.name`): where they do not, of a
    /// member that was not heard yet it is known that its expression finds all that match.
    pub has_authorizer: bool,
    /// Groups of the classic protocol.
    pub classic: ClassicSettings,
    /// Groups of applications of streams.
    pub streams: StreamsGroupSettings,
    /// Requests of one coordinator partition that may wait for their answer; more are refused.
    pub max_waiting: usize,
}

impl Default for GroupSettings {
    fn default() -> Self {
        Self {
            session_timeout_ms: 6_000,
            heartbeat_interval_ms: 500,
            waiting_interval_ms: 100,
            rebalance_timeout_ms: 60_000,
            max_members: 10_000,
            max_topics: 10_000,
            assignor: Assignor::Sticky,
            offset_metadata_max_bytes: 4_096,
            offsets_retention_ms: 7 * 24 * 60 * 60 * 1_000,
            offsets_retention_check_ms: 600_000,
            lag_interval_ms: 5_000,
            migration: MigrationPolicy::default(),
            has_authorizer: false,
            classic: ClassicSettings::default(),
            streams: StreamsGroupSettings::default(),
            max_waiting: GROUP_SUPERVISOR.mailbox_max,
        }
    }
}

//! The settings of an application of streams, by Kafka Streams' names where it has one.

use std::path::PathBuf;
use std::time::Duration;

use super::super::store::DiskBudget;
use crate::client::ClientError;

/// What is promised of each record.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Guarantee {
    /// Its effects, in state, in output and in what counts as read, are there once, whatever is killed when: readers of
    /// committed records see nothing else. By transactions.
    #[default]
    ExactlyOnce,
    /// Its effects are there, and after a failure perhaps twice. No transactions.
    AtLeastOnce,
}

/// The settings. Change the fields, or take the defaults.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StreamsSettings {
    /// `processing.guarantee`.
    pub guarantee: Guarantee,
    /// `commit.interval.ms`: how often what was done is committed; 100 ms by default, 1 ms to one hour.
    pub commit_interval: Duration,
    /// Bytes of state that one task may write without a commit: then one comes early; 64 MiB by default. With so many bytes of
    /// records held back while a commit is under way a task stands still.
    pub uncommitted_max_bytes: usize,
    /// Bytes of records that wait for one task; it reads no more while it has so many; 8 MiB by default.
    pub input_max_bytes: usize,
    /// `idle.max.ms`: a partition that is silent for so long, by the clock, is left out of stream time until it says something;
    /// what it says then that is older than stream time may be late. Which are left out is committed, so that time does not
    /// wait for them anew when a task moves or begins again. `None` (never) by default: only so no result depends on a clock.
    pub idle_max: Option<Duration>,
    /// `replication.factor` of the topics that the library makes; the cluster's default by default.
    pub replication_factor: Option<i16>,
    /// `state.dir`: state stores lie in a directory of each task in it, which no other process may use; after a restart only
    /// what is newer is read from their changelogs. `None` by default: they lie in memory.
    pub state_dir: Option<PathBuf>,
    /// The memory that the stores of each task on disk take.
    pub disk_budget: DiskBudget,
    /// `windowstore.changelog.additional.retention.ms`: for how long, beyond the retention of its window, an entry stays in a
    /// windowed changelog after it was written. An application that stands still for longer, and whose stores are lost then,
    /// lacks what it had in windows that were open; 7 days by default.
    pub windowed_changelog_spare: Duration,
    /// The name of the process among those of the application, part of its `transactional.id`; 1 to 200 bytes. One that starts
    /// under the name of another takes its place at once; without, the tasks of one that died are dealt out after the session
    /// time-out of its group (10 s). `None` by default: the name is drawn, and kept in `state_dir` where there is one.
    pub instance: Option<String>,
    /// Which version of its topology the process runs; 0 by default. All processes of one number have the same topology; those of
    /// a lower one are given no tasks once there is one of a higher one.
    pub topology_epoch: u32,
    /// `num.standby.replicas`: copies of each task's stores in other processes, kept near to their changelogs; 0 by default.
    pub standbys: u16,
    /// `max.warmup.replicas`: how many tasks are brought up at a time in the process that they are to move to; 2 by default.
    pub warm_up_max: u16,
    /// `acceptable.recovery.lag`: a process that lacks no more records of a task's changelogs may be given it; 10,000 by default.
    pub acceptable_lag_records: u64,
    /// `transaction.timeout.ms`: how long a commit may take; 60 s by default.
    pub transaction_timeout: Duration,
    /// How often in a row an application begins again from its last commit after a failure, before it gives up; 20.
    pub retries_max: u32,
}

impl Default for StreamsSettings {
    fn default() -> Self {
        Self {
            guarantee: Guarantee::ExactlyOnce,
            commit_interval: Duration::from_millis(100),
            uncommitted_max_bytes: 64 << 20,
            input_max_bytes: 8 << 20,
            idle_max: None,
            replication_factor: None,
            state_dir: None,
            disk_budget: DiskBudget::default(),
            windowed_changelog_spare: Duration::from_hours(7 * 24),
            instance: None,
            topology_epoch: 0,
            standbys: 0,
            warm_up_max: 2,
            acceptable_lag_records: 10_000,
            transaction_timeout: Duration::from_secs(60),
            retries_max: 20,
        }
    }
}

impl StreamsSettings {
    /// Says which setting cannot be taken, and why.
    pub fn check(&self) -> Result<(), ClientError> {
        let wrong = |name, reason: &str| Err(ClientError::setting(name, reason));
        if self.commit_interval.is_zero() || self.commit_interval > Duration::from_hours(1) {
            return wrong("commit.interval.ms", "must be from 1 to 3600000");
        }
        if self.uncommitted_max_bytes < 1 << 20 || self.input_max_bytes < 1 << 20 {
            return wrong("uncommitted.max.bytes", "and input.max.bytes must be at least 1048576");
        }
        if self.instance.as_ref().is_some_and(|name| name.is_empty() || name.len() > 200) {
            return wrong("instance", "must have 1 to 200 bytes");
        }
        if self.warm_up_max == 0 {
            return wrong("max.warmup.replicas", "must be at least 1");
        }
        if self.idle_max.is_some_and(|idle| idle.is_zero()) {
            return wrong("idle.max.ms", "must be at least 1");
        }
        Ok(())
    }
}

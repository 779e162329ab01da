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
    /// Bytes of state that one task may write without a commit: then one comes early; 64 MiB by default.
    pub uncommitted_max_bytes: usize,
    /// Bytes of records that wait for one task; it reads no more while it has so many; 8 MiB by default.
    pub input_max_bytes: usize,
    /// `idle.max.ms`: a partition that is silent for so long is left out of stream time; `None` (never) by default.
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
    /// Tells the processes of an application apart that are not of one group: part of its `transactional.id`.
    pub instance: String,
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
            instance: "0".to_owned(),
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
        if self.instance.is_empty() || self.instance.len() > 200 {
            return wrong("instance", "must have 1 to 200 bytes");
        }
        if self.idle_max.is_some_and(|idle| idle.is_zero()) {
            return wrong("idle.max.ms", "must be at least 1");
        }
        Ok(())
    }
}

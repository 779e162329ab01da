//! The consumer's settings, by Kafka's names.

use std::time::Duration;

use crate::client::ClientError;

/// Where to begin where nothing is committed, or where the offset wanted is not there any more.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum OffsetReset {
    /// At the first record that is there.
    Earliest,
    /// Behind the last record.
    Latest,
    /// Nowhere: [`super::Consumer::next`] returns an error.
    None,
}

/// Which records of transactions are handed out.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum IsolationLevel {
    /// All records below the high watermark, also those of transactions that are open or were aborted.
    #[default]
    ReadUncommitted,
    /// Only records of no transaction, or of one that has committed. Reading goes on only to the last stable offset: up
    /// to the first record of a transaction that is open.
    ReadCommitted,
}

/// The consumer's settings. Change the fields, or take the defaults.
#[derive(Clone, Debug)]
pub struct ConsumerSettings {
    /// `group.id`: the group to share partitions and offsets with; `None` reads alone and commits nothing.
    pub group: Option<String>,
    /// `group.instance.id`: a name that a static member keeps over restarts.
    pub instance: Option<String>,
    /// `group.remote.assignor`: `range`, `uniform` or `sticky`; `None` leaves it to the coordinator.
    pub assignor: Option<String>,
    /// `auto.offset.reset`; `Latest` by default.
    pub offset_reset: OffsetReset,
    /// `auto.commit.interval.ms`: how often what was processed is committed; 5 s by default, `None` for never
    /// (`enable.auto.commit=false`). Records count as processed when the next event is asked for.
    pub auto_commit: Option<Duration>,
    /// `fetch.min.bytes`: a fetch waits for so much; 1 by default.
    pub fetch_min_bytes: u32,
    /// `fetch.max.wait.ms`: or for so long; 500 ms by default.
    pub fetch_max_wait: Duration,
    /// `fetch.max.bytes`: bytes a fetch brings at most; 8 MiB by default, at most 48 MiB.
    pub fetch_max_bytes: u32,
    /// `max.partition.fetch.bytes`: bytes of one partition in it; 1 MiB by default. A first batch comes whole even if larger.
    pub partition_fetch_bytes: u32,
    /// Bytes read ahead of the application, in all; 32 MiB by default.
    pub prefetch_bytes: usize,
    /// `max.poll.interval.ms`: how long a member may go without asking for an event; 300 s by default. Then it leaves
    /// its group, so that others read on, and joins again when it asks next. So long, too, may it take to give a revoked
    /// partition up.
    pub max_poll_interval: Duration,
    /// `isolation.level`; `ReadUncommitted` by default, as Kafka has it. Committed offsets are read as `ReadCommitted`
    /// wants it in any case: one that waits for the end of a transaction is waited for (KIP-447).
    pub isolation: IsolationLevel,
    /// `check.crcs`: whether checksums are verified once more here; true by default.
    pub check_crcs: bool,
}

impl Default for ConsumerSettings {
    fn default() -> Self {
        Self {
            group: None,
            instance: None,
            assignor: None,
            offset_reset: OffsetReset::Latest,
            auto_commit: Some(Duration::from_secs(5)),
            fetch_min_bytes: 1,
            fetch_max_wait: Duration::from_millis(500),
            fetch_max_bytes: 8 << 20,
            partition_fetch_bytes: 1 << 20,
            prefetch_bytes: 32 << 20,
            max_poll_interval: Duration::from_secs(300),
            isolation: IsolationLevel::default(),
            check_crcs: true,
        }
    }
}

impl ConsumerSettings {
    /// Settings of a member of this group.
    #[must_use]
    pub fn group(group: impl Into<String>) -> Self {
        Self { group: Some(group.into()), ..Self::default() }
    }

    /// Says which setting cannot be taken, and why.
    pub fn check(&self) -> Result<(), ClientError> {
        let wrong = |name, reason: &str| Err(ClientError::setting(name, reason));
        if self.group.as_ref().is_some_and(|group| group.is_empty() || group.len() > 249) {
            return wrong("group.id", "must have 1 to 249 bytes");
        }
        if self.group.is_none() && self.instance.is_some() {
            return wrong("group.instance.id", "needs group.id");
        }
        if !(1..=48 << 20).contains(&self.fetch_max_bytes) {
            return wrong("fetch.max.bytes", "must be from 1 to 50331648");
        }
        if !(1..=self.fetch_max_bytes).contains(&self.partition_fetch_bytes) {
            return wrong("max.partition.fetch.bytes", "must be from 1 to fetch.max.bytes");
        }
        if self.fetch_max_wait > Duration::from_secs(20) {
            return wrong("fetch.max.wait.ms", "must be at most 20000");
        }
        if self.auto_commit.is_some_and(|interval| interval < Duration::from_millis(10)) {
            return wrong("auto.commit.interval.ms", "must be at least 10");
        }
        if self.max_poll_interval.is_zero() || self.max_poll_interval > MAX_POLL_INTERVAL_MOST {
            return wrong("max.poll.interval.ms", "must be from 1 to 2147483647");
        }
        Ok(())
    }
}

/// What a heartbeat can say.
const MAX_POLL_INTERVAL_MOST: Duration = Duration::from_millis(0x7fff_ffff);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_defaults_are_within_their_bounds() {
        assert_eq!(ConsumerSettings::default().check(), Ok(()));
        assert_eq!(ConsumerSettings::group("flights").check(), Ok(()));
    }

    #[test]
    fn what_does_not_go_together_is_refused_by_name() {
        let refused = |settings: ConsumerSettings| settings.check().unwrap_err().to_string();
        let alone = ConsumerSettings { instance: Some("a".into()), ..ConsumerSettings::default() };
        assert!(refused(alone).contains("group.instance.id"));
        let wide = ConsumerSettings { partition_fetch_bytes: 9 << 20, ..ConsumerSettings::default() };
        assert!(refused(wide).contains("max.partition.fetch.bytes"));
        let hasty = ConsumerSettings { max_poll_interval: Duration::ZERO, ..ConsumerSettings::default() };
        assert!(refused(hasty).contains("max.poll.interval.ms"));
    }
}

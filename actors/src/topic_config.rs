//! The settings of a topic, by Kafka's names.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

/// When an append counts as durable.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum FlushPolicy {
    /// Past an `fdatasync`.
    Sync,
    /// In the operating system's page cache, as Kafka has it by default.
    Os,
}

/// Where a record's timestamp comes from.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum TimestampType {
    /// The producer.
    CreateTime,
    /// The broker, at the append.
    LogAppendTime,
}

/// A topic's settings in force.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct TopicConfig {
    /// `flush.policy`: `sync` (default) or `os`.
    pub flush_policy: FlushPolicy,
    /// `flush.messages`: with `os`, a sync after so many records; `None` leaves it to the system.
    pub flush_messages: Option<u64>,
    /// `flush.ms`: with `os`, a sync after so many milliseconds; `None` leaves it to the system.
    pub flush_ms: Option<u64>,
    /// `retention.ms`: how long a record is kept; `None` for ever.
    pub retention_ms: Option<u64>,
    /// `retention.bytes`: how much a partition keeps; `None` for no bound.
    pub retention_bytes: Option<u64>,
    /// `segment.bytes`: a segment is closed when it would become larger.
    pub segment_bytes: u32,
    /// `segment.ms`: a segment is closed when its first record is so old.
    pub segment_ms: u64,
    /// `max.message.bytes`: the largest batch taken.
    pub max_message_bytes: u32,
    /// `min.insync.replicas`: members that must have a record of `acks=all`.
    pub min_insync_replicas: u32,
    /// `message.timestamp.type`.
    pub timestamp_type: TimestampType,
    /// `cleanup.policy` contains `compact`.
    pub compact: bool,
    /// `cleanup.policy` contains `delete`.
    pub delete: bool,
    /// `delete.retention.ms`: how long a tombstone is kept after it was first cleaned.
    pub delete_retention_ms: u64,
    /// `min.cleanable.dirty.ratio`, in millionths: a log is cleaned when more of it than this was not cleaned before.
    pub min_cleanable_dirty_ppm: u32,
    /// `min.compaction.lag.ms`: a record is not cleaned before it is so old.
    pub min_compaction_lag_ms: u64,
    /// `max.compaction.lag.ms`: a record is cleaned when it is so old, however little of the log is dirty; `None` for no
    /// bound.
    pub max_compaction_lag_ms: Option<u64>,
    /// `unclean.leader.election.enable`.
    pub unclean_leader_election: bool,
    /// `leader.replication.throttled.replicas`: kept and told; what is copied is not throttled by it.
    pub throttled_leaders: String,
    /// `follower.replication.throttled.replicas`: as the one for leaders.
    pub throttled_followers: String,
}

impl Default for TopicConfig {
    fn default() -> Self {
        Self {
            flush_policy: FlushPolicy::Sync,
            flush_messages: None,
            flush_ms: None,
            retention_ms: Some(7 * 24 * 60 * 60 * 1000),
            retention_bytes: None,
            segment_bytes: 1 << 30,
            segment_ms: 7 * 24 * 60 * 60 * 1000,
            max_message_bytes: 1_048_588,
            min_insync_replicas: 1,
            timestamp_type: TimestampType::CreateTime,
            compact: false,
            delete: true,
            delete_retention_ms: 24 * 60 * 60 * 1000,
            min_cleanable_dirty_ppm: 500_000,
            min_compaction_lag_ms: 0,
            max_compaction_lag_ms: None,
            unclean_leader_election: false,
            throttled_leaders: String::new(),
            throttled_followers: String::new(),
        }
    }
}

/// A setting that cannot be taken.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("topic setting {name}={value}: {reason}")]
pub struct InvalidSetting {
    /// The setting's name.
    pub name: String,
    /// The value given.
    pub value: String,
    /// What is wrong, and what would be right.
    pub reason: String,
}

impl TopicConfig {
    /// The settings that these overrides (Kafka's names) give; all others have their defaults.
    pub fn parse(overrides: &BTreeMap<String, String>) -> Result<Self, InvalidSetting> {
        let mut config = Self::default();
        for (name, value) in overrides {
            config.set(name, value).map_err(|reason| InvalidSetting {
                name: name.clone(),
                value: value.clone(),
                reason,
            })?;
        }
        Ok(config)
    }

    /// All settings in force, by the names and in the words of [`TopicConfig::parse`].
    #[must_use]
    pub fn entries(&self) -> [(&'static str, String); 18] {
        let unlimited = |number: Option<u64>| number.map_or_else(|| "-1".to_owned(), |n| n.to_string());
        let bounded = |number: Option<u64>| number.unwrap_or(i64::MAX.unsigned_abs()).to_string();
        let flush_policy = match self.flush_policy {
            FlushPolicy::Sync => "sync",
            FlushPolicy::Os => "os",
        };
        let timestamp_type = match self.timestamp_type {
            TimestampType::CreateTime => "CreateTime",
            TimestampType::LogAppendTime => "LogAppendTime",
        };
        let cleanup_policy = match (self.compact, self.delete) {
            (true, true) => "compact,delete",
            (true, false) => "compact",
            (false, _) => "delete",
        };
        let ppm = self.min_cleanable_dirty_ppm;
        let ratio = format!("{}.{:06}", ppm / 1_000_000, ppm % 1_000_000);
        [
            ("flush.policy", flush_policy.to_owned()),
            ("flush.messages", bounded(self.flush_messages)),
            ("flush.ms", bounded(self.flush_ms)),
            ("retention.ms", unlimited(self.retention_ms)),
            ("retention.bytes", unlimited(self.retention_bytes)),
            ("segment.bytes", self.segment_bytes.to_string()),
            ("segment.ms", self.segment_ms.to_string()),
            ("max.message.bytes", self.max_message_bytes.to_string()),
            ("min.insync.replicas", self.min_insync_replicas.to_string()),
            ("message.timestamp.type", timestamp_type.to_owned()),
            ("cleanup.policy", cleanup_policy.to_owned()),
            (UNCLEAN_LEADER_ELECTION, self.unclean_leader_election.to_string()),
            ("delete.retention.ms", self.delete_retention_ms.to_string()),
            ("min.cleanable.dirty.ratio", ratio.trim_end_matches('0').trim_end_matches('.').to_owned()),
            ("min.compaction.lag.ms", self.min_compaction_lag_ms.to_string()),
            ("max.compaction.lag.ms", bounded(self.max_compaction_lag_ms)),
            (THROTTLED_LEADERS, self.throttled_leaders.clone()),
            (THROTTLED_FOLLOWERS, self.throttled_followers.clone()),
        ]
    }

    fn set(&mut self, name: &str, value: &str) -> Result<(), String> {
        match name {
            "flush.policy" => self.flush_policy = flush_policy(value)?,
            "flush.messages" => self.flush_messages = bounded(value)?,
            "flush.ms" => self.flush_ms = bounded(value)?,
            "retention.ms" => self.retention_ms = unlimited(value)?,
            "retention.bytes" => self.retention_bytes = unlimited(value)?,
            "segment.bytes" => self.segment_bytes = between(value, 1 << 20, i32::MAX.unsigned_abs())?,
            "segment.ms" => self.segment_ms = between(value, 1, i64::MAX.unsigned_abs())?,
            "max.message.bytes" => self.max_message_bytes = between(value, 61, 48 << 20)?,
            "min.insync.replicas" => self.min_insync_replicas = between(value, 1, 1000)?,
            "message.timestamp.type" => self.timestamp_type = timestamp_type(value)?,
            "cleanup.policy" => (self.compact, self.delete) = cleanup_policy(value)?,
            UNCLEAN_LEADER_ELECTION => self.unclean_leader_election = truth(value)?,
            "delete.retention.ms" => self.delete_retention_ms = between(value, 0, i64::MAX.unsigned_abs())?,
            "min.cleanable.dirty.ratio" => self.min_cleanable_dirty_ppm = ratio(value)?,
            "min.compaction.lag.ms" => {
                self.min_compaction_lag_ms = between(value, 0, i64::MAX.unsigned_abs())?
            }
            "max.compaction.lag.ms" => self.max_compaction_lag_ms = bounded(value)?,
            THROTTLED_LEADERS => self.throttled_leaders = throttled(value)?,
            THROTTLED_FOLLOWERS => self.throttled_followers = throttled(value)?,
            _ => return Err(format!("there is no such setting; did you mean {}?", nearest(name))),
        }
        Ok(())
    }
}

/// The name of [`TopicConfig::unclean_leader_election`].
pub const UNCLEAN_LEADER_ELECTION: &str = "unclean.leader.election.enable";

/// The name of [`TopicConfig::throttled_leaders`].
const THROTTLED_LEADERS: &str = "leader.replication.throttled.replicas";

/// The name of [`TopicConfig::throttled_followers`].
const THROTTLED_FOLLOWERS: &str = "follower.replication.throttled.replicas";

/// The longest list of throttled replicas, in bytes: it travels with the topic's settings.
const THROTTLED_BYTES_MAX: usize = 32 << 10;

/// Whether a setting is a list, to which words may be added.
#[must_use]
pub fn is_list(name: &str) -> bool {
    matches!(name, "cleanup.policy" | THROTTLED_LEADERS | THROTTLED_FOLLOWERS)
}

/// The names of all settings that a topic has.
pub const NAMES: [&str; 18] = [
    "flush.policy",
    "flush.messages",
    "flush.ms",
    "retention.ms",
    "retention.bytes",
    "segment.bytes",
    "segment.ms",
    "max.message.bytes",
    "min.insync.replicas",
    "message.timestamp.type",
    "cleanup.policy",
    UNCLEAN_LEADER_ELECTION,
    "delete.retention.ms",
    "min.cleanable.dirty.ratio",
    "min.compaction.lag.ms",
    "max.compaction.lag.ms",
    THROTTLED_LEADERS,
    THROTTLED_FOLLOWERS,
];

fn nearest(name: &str) -> &'static str {
    NAMES
        .into_iter()
        .min_by_key(|candidate| strsim::damerau_levenshtein(name, candidate))
        .unwrap_or("retention.ms")
}

fn flush_policy(value: &str) -> Result<FlushPolicy, String> {
    match value {
        "sync" => Ok(FlushPolicy::Sync),
        "os" => Ok(FlushPolicy::Os),
        _ => Err("must be sync or os".to_owned()),
    }
}

fn timestamp_type(value: &str) -> Result<TimestampType, String> {
    match value {
        "CreateTime" => Ok(TimestampType::CreateTime),
        "LogAppendTime" => Ok(TimestampType::LogAppendTime),
        _ => Err("must be CreateTime or LogAppendTime".to_owned()),
    }
}

fn cleanup_policy(value: &str) -> Result<(bool, bool), String> {
    let (mut compact, mut delete) = (false, false);
    for word in value.split(',').map(str::trim) {
        match word {
            "compact" => compact = true,
            "delete" => delete = true,
            _ => return Err("must be delete, compact or compact,delete".to_owned()),
        }
    }
    Ok((compact, delete))
}

/// A part of a whole, in millionths.
fn ratio(value: &str) -> Result<u32, String> {
    let wrong = || "must be a number from 0 to 1 with at most six digits behind the point".to_owned();
    let (whole, part) = value.split_once('.').unwrap_or((value, ""));
    if !part.bytes().all(|byte| byte.is_ascii_digit()) || part.len() > 6 {
        return Err(wrong());
    }
    let whole: u32 = whole.parse().map_err(|_| wrong())?;
    let part: u32 = format!("{part:0<6}").parse().map_err(|_| wrong())?;
    whole
        .checked_mul(1_000_000)
        .and_then(|ppm| ppm.checked_add(part))
        .filter(|ppm| *ppm <= 1_000_000)
        .ok_or_else(wrong)
}

/// Replicas as `partition:node`, or `*` for all (KIP-73).
fn throttled(value: &str) -> Result<String, String> {
    let is_number = |text: &str| text.parse::<u32>().is_ok();
    let is_replica = |text: &str| {
        text.trim().split_once(':').is_some_and(|(one, other)| is_number(one) && is_number(other))
    };
    if value.len() > THROTTLED_BYTES_MAX {
        return Err(format!(
            "must not be longer than {THROTTLED_BYTES_MAX} bytes; * stands for all replicas"
        ));
    }
    if value.is_empty() || value == "*" || value.split(',').all(is_replica) {
        return Ok(value.to_owned());
    }
    Err("must be a list of PARTITION:NODE, or * for all replicas, or empty".to_owned())
}

fn truth(value: &str) -> Result<bool, String> {
    value.parse().map_err(|_| "must be true or false".to_owned())
}

fn between<T>(value: &str, least: T, most: T) -> Result<T, String>
where
    T: std::str::FromStr + PartialOrd + std::fmt::Display + Copy,
{
    let number: T = value.parse().map_err(|_| format!("must be a whole number from {least} to {most}"))?;
    if number < least || number > most {
        return Err(format!("must be from {least} to {most}"));
    }
    Ok(number)
}

/// A number where -1 means no limit.
fn unlimited(value: &str) -> Result<Option<u64>, String> {
    let number: i64 = between(value, -1, i64::MAX)?;
    Ok(u64::try_from(number).ok())
}

/// A number where Kafka's largest value means no limit.
fn bounded(value: &str) -> Result<Option<u64>, String> {
    let number: u64 = between(value, 1, i64::MAX.unsigned_abs())?;
    Ok((number < i64::MAX.unsigned_abs()).then_some(number))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn one(name: &str, value: &str) -> Result<TopicConfig, InvalidSetting> {
        TopicConfig::parse(&BTreeMap::from([(name.to_owned(), value.to_owned())]))
    }

    #[test]
    fn what_is_in_force_is_told_in_the_words_it_is_given_in() {
        let told = |config: &TopicConfig| {
            config.entries().into_iter().map(|(name, value)| (name.to_owned(), value)).collect()
        };
        let given = [
            ("flush.policy", "os"),
            ("retention.ms", "-1"),
            ("cleanup.policy", "compact,delete"),
            ("min.cleanable.dirty.ratio", "0.25"),
            ("max.compaction.lag.ms", "77"),
            ("message.timestamp.type", "LogAppendTime"),
        ];
        let given = given.map(|(name, value)| (name.to_owned(), value.to_owned()));
        for config in [TopicConfig::default(), TopicConfig::parse(&given.into()).unwrap()] {
            assert_eq!(TopicConfig::parse(&told(&config)).unwrap(), config);
        }
        let names: Vec<_> = TopicConfig::default().entries().map(|(name, _)| name).into();
        assert_eq!(names, NAMES);
    }

    #[test]
    fn a_setting_is_taken_by_its_kafka_name() {
        assert_eq!(one("retention.ms", "-1").unwrap().retention_ms, None);
        assert_eq!(one("retention.ms", "1000").unwrap().retention_ms, Some(1000));
        assert!(one("cleanup.policy", "compact,delete").unwrap().compact);
        assert_eq!(one("flush.policy", "os").unwrap().flush_policy, FlushPolicy::Os);
    }

    #[test]
    fn an_unknown_setting_is_refused_with_the_nearest_name() {
        let error = one("retention.mz", "1").unwrap_err();
        assert!(error.to_string().contains("retention.ms"), "{error}");
    }

    #[test]
    fn a_value_out_of_bounds_is_refused_with_the_bounds() {
        let error = one("segment.bytes", "5").unwrap_err();
        assert!(error.to_string().contains("1048576"), "{error}");
        assert!(one("flush.policy", "never").is_err());
        assert!(one("min.insync.replicas", "0").is_err());
    }

    #[test]
    fn a_ratio_is_read_exactly() {
        let ratio =
            |value| one("min.cleanable.dirty.ratio", value).map(|config| config.min_cleanable_dirty_ppm);
        let read = [("0.5", 500_000), ("0", 0), ("1", 1_000_000), ("1.0", 1_000_000), ("0.000001", 1)];
        for (value, ppm) in read {
            assert_eq!(ratio(value).unwrap(), ppm, "{value}");
        }
        for wrong in ["1.000001", "-0.5", "0.0000001", "half", "0.5e1", ".", "0.+5"] {
            assert!(ratio(wrong).is_err(), "{wrong}");
        }
    }

    #[test]
    fn replicas_that_a_tool_would_throttle_are_kept_as_given() {
        for value in ["", "*", "0:1", "0:1,1:2"] {
            assert_eq!(one(THROTTLED_LEADERS, value).unwrap().throttled_leaders, value);
        }
        for wrong in ["0", "0:a", "0:1,", "*,0:1", "-1:2"] {
            assert!(one(THROTTLED_FOLLOWERS, wrong).is_err(), "{wrong}");
        }
    }

    #[test]
    fn every_listed_name_is_known() {
        for name in NAMES {
            let known = one(name, "not a value").unwrap_err();
            assert!(!known.reason.contains("no such setting"), "{name}");
        }
    }
}

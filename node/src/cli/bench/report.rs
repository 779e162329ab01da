//! What a run came to, as one JSON line.

use std::time::Duration;

use millstream_actors::client::TopicView;
use serde::Serialize;

use super::super::quantity::{mb_per_s, ms, per_second, thousandth};
use super::super::{Failure, say};
use super::histogram::Histogram;
use super::topic::{flush_policy, replicas};

/// What was run, and what came out. Without a value a key is left out.
#[derive(Debug, Default, Serialize)]
pub(super) struct Report {
    pub(super) bench: &'static str,
    pub(super) topic: String,
    pub(super) partitions: usize,
    pub(super) replicas: usize,
    pub(super) flush_policy: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) acks: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) size: Option<usize>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) producers: Option<usize>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) rate: Option<u64>,
    pub(super) secs: f64,
    pub(super) records: u64,
    pub(super) records_per_s: f64,
    pub(super) mb_per_s: f64,
    /// How long it took: to the acknowledgement, to the consumer, between two fetches.
    #[serde(flatten)]
    pub(super) times: Times,
    pub(super) errors: u64,
    /// The longest time with something under way and nothing coming back.
    pub(super) longest_gap_ms: f64,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) acknowledged: Option<Times>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) loopback_mb_per_s: Option<f64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) of_loopback: Option<f64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) cpu_s_per_gb: Option<f64>,
    pub(super) own_cpu_s_per_gb: f64,
}

/// Times at ranks.
#[derive(Clone, Copy, Debug, Default, Serialize)]
pub(super) struct Times {
    p50_ms: f64,
    p99_ms: f64,
    p999_ms: f64,
    max_ms: f64,
}

impl From<&Histogram> for Times {
    fn from(times: &Histogram) -> Self {
        Self {
            p50_ms: times.per_mille_ms(500),
            p99_ms: times.per_mille_ms(990),
            p999_ms: times.per_mille_ms(999),
            max_ms: times.longest_ms(),
        }
    }
}

impl Report {
    /// A report of a run on this topic.
    pub(super) fn on(bench: &'static str, view: &TopicView) -> Self {
        Self {
            bench,
            topic: view.name.to_string(),
            partitions: view.partitions.len(),
            replicas: replicas(view),
            flush_policy: flush_policy(view),
            ..Self::default()
        }
    }

    /// So many records of so many bytes in so much time.
    pub(super) fn rates(&mut self, records: u64, bytes: u64, time: Duration) {
        self.secs = thousandth(time.as_secs_f64());
        self.records = records;
        self.records_per_s = thousandth(per_second(records, time));
        self.mb_per_s = thousandth(mb_per_s(bytes, time));
        self.of_loopback =
            self.loopback_mb_per_s.filter(|of| *of > 0.0).map(|of| thousandth(self.mb_per_s / of));
    }

    /// The longest gap.
    pub(super) fn gap(&mut self, longest: Duration) {
        self.longest_gap_ms = ms(longest);
    }

    /// Prints it.
    pub(super) fn print(&self) -> Result<(), Failure> {
        say(&serde_json::to_string(self)?)
    }
}

/// CPU seconds for every billion bytes; 0 without any.
pub(super) fn cpu_s_per_gb(cpu: Duration, bytes: u64) -> f64 {
    if bytes == 0 { 0.0 } else { thousandth(cpu.as_secs_f64() * 1e9 / bytes as f64) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_report_is_one_line_of_json_with_what_is_known() {
        let mut times = Histogram::default();
        times.add(Duration::from_millis(2));
        let mut report = Report {
            bench: "produce",
            times: (&times).into(),
            loopback_mb_per_s: Some(4.0),
            ..Report::default()
        };
        report.rates(1_000, 2_000_000, Duration::from_secs(2));
        let line = serde_json::to_string(&report).unwrap();
        assert!(!line.contains('\n'));
        let value: serde_json::Value = serde_json::from_str(&line).unwrap();
        assert_eq!(value["records_per_s"], 500.0);
        assert_eq!(value["mb_per_s"], 1.0);
        assert_eq!(value["p99_ms"], 2.0);
        assert_eq!(value["of_loopback"], 0.25);
        assert!(value.get("rate").is_none() && value.get("acknowledged").is_none());
    }

    #[test]
    fn cpu_is_told_per_billion_bytes() {
        assert_eq!(cpu_s_per_gb(Duration::from_secs(3), 2_000_000_000), 1.5);
        assert_eq!(cpu_s_per_gb(Duration::from_secs(3), 0), 0.0);
    }
}

//! Metrics of users in the scrape of their node.

use metrics::Label;
pub use metrics::{Counter, Gauge, Histogram};

use crate::events::Events;
use crate::events::catalogue::Kind;

/// Makes series of the user's own. Cheap to clone; handles too, and those are best kept.
#[derive(Clone, Debug)]
pub struct UserMetrics(Events);

/// A series that cannot be made.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{name:?} cannot be the name of a series of a user's: {reason}")]
pub struct WrongSeries {
    /// The name.
    pub name: &'static str,
    /// What is wrong with it.
    pub reason: &'static str,
}

impl UserMetrics {
    /// Series beside those of these events.
    #[must_use]
    pub const fn new(events: Events) -> Self {
        Self(events)
    }

    /// A counter, told at zero from now on, with this sentence above it. Its name ends in `_total`; a label is a name and a
    /// value, and each value makes a series that is kept as long as the node runs.
    pub fn counter(
        &self,
        name: &'static str,
        help: &'static str,
        labels: &[(&'static str, &str)],
    ) -> Result<Counter, WrongSeries> {
        check(name, true)?;
        self.0.explain(name, Kind::Counter, help);
        Ok(self.0.counter(name, owned(labels)))
    }

    /// A gauge.
    pub fn gauge(
        &self,
        name: &'static str,
        help: &'static str,
        labels: &[(&'static str, &str)],
    ) -> Result<Gauge, WrongSeries> {
        check(name, false)?;
        self.0.explain(name, Kind::Gauge, help);
        Ok(self.0.gauge(name, owned(labels)))
    }

    /// A histogram; one whose name ends in `_seconds` has the buckets of the node's latencies.
    pub fn histogram(
        &self,
        name: &'static str,
        help: &'static str,
        labels: &[(&'static str, &str)],
    ) -> Result<Histogram, WrongSeries> {
        check(name, false)?;
        self.0.explain(name, Kind::Histogram, help);
        Ok(self.0.histogram(name, owned(labels)))
    }
}

fn owned(labels: &[(&'static str, &str)]) -> Vec<Label> {
    labels.iter().map(|(name, value)| Label::new(*name, (*value).to_owned())).collect()
}

fn check(name: &'static str, is_counter: bool) -> Result<(), WrongSeries> {
    let wrong = |reason| Err(WrongSeries { name, reason });
    let is_word = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'_';
    if !name.bytes().all(is_word) || !name.starts_with(|first: char| first.is_ascii_lowercase()) {
        return wrong("it is lower case letters, digits and underscores, a letter first");
    }
    if name.strip_prefix("millstream").is_some_and(|rest| rest.starts_with('_')) {
        return wrong("names with millstream_ are the node's own");
    }
    if is_counter != name.ends_with("_total") {
        return wrong("counters end in _total, and nothing else does");
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_prometheus_and_not_the_nodes_own() {
        let metrics = UserMetrics::new(Events::uncounted());
        assert!(metrics.counter("orders_total", "Orders.", &[("shop", "north")]).is_ok());
        assert!(metrics.gauge("orders_open", "Orders.", &[]).is_ok());
        assert!(metrics.histogram("order_seconds", "Time.", &[]).is_ok());
        for name in [concat!("millstream", "_orders_total"), "Orders_total", "orders", "", "1_total"] {
            assert!(metrics.counter(name, "Orders.", &[]).is_err(), "{name}");
        }
        let error = metrics.gauge("orders_total", "Orders.", &[]).unwrap_err();
        assert!(error.to_string().contains("_total"), "{error}");
    }
}

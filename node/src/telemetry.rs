//! Log lines and metrics of a process and of a node.

use std::io::IsTerminal;
use std::sync::{Arc, OnceLock};

use metrics::Recorder;
use metrics_exporter_prometheus::{
    BuildError, Matcher, PrometheusBuilder, PrometheusHandle, PrometheusRecorder,
};
use millstream_actors::events::Events;
use millstream_actors::ids::NodeId;
use tracing_subscriber::Layer;
use tracing_subscriber::filter::{LevelFilter, Targets};
use tracing_subscriber::layer::SubscriberExt;
use tracing_subscriber::util::SubscriberInitExt;

/// The metrics of one node: its own recorder, because several nodes may live in one process.
#[derive(Clone)]
pub struct Metrics {
    recorder: Arc<PrometheusRecorder>,
    handle: PrometheusHandle,
    vitals: Arc<OnceLock<Arc<dyn Vitals>>>,
}

/// What is looked at before the series are rendered.
pub trait Vitals: Send + Sync {
    /// Looks, and moves the series. On the thread of who renders.
    fn look(&self);
}

/// Upper bounds of the latency histograms' buckets, in seconds: 50 µs to 10 s, about two a doubling at the low end.
const LATENCY_BUCKETS_SECONDS: [f64; 20] = [
    0.000_05, 0.000_1, 0.000_2, 0.000_35, 0.000_5, 0.000_75, 0.001, 0.001_5, 0.002, 0.003_5, 0.005, 0.01,
    0.02, 0.04, 0.08, 0.16, 0.4, 1.0, 3.0, 10.0,
];

impl Metrics {
    /// An empty recorder.
    pub fn new() -> Result<Self, BuildError> {
        let recorder = PrometheusBuilder::new()
            .set_buckets_for_metric(Matcher::Suffix("_seconds".to_owned()), &LATENCY_BUCKETS_SECONDS)?
            .build_recorder();
        let handle = recorder.handle();
        Ok(Self { recorder: Arc::new(recorder), handle, vitals: Arc::default() })
    }

    /// What counts here: for a client outside a node, see [`Client::counted_by`].
    ///
    /// [`Client::counted_by`]: millstream_actors::client::Client::counted_by
    #[must_use]
    pub fn recorder(&self) -> Arc<dyn Recorder + Send + Sync> {
        Arc::clone(&self.recorder) as _
    }

    /// Events of `node`, counted here. Every series of the catalogue is described from now on.
    #[must_use]
    pub fn events(&self, node: NodeId) -> Events {
        let events = Events::new(node, self.recorder());
        events.announce();
        events
    }

    /// Has this look before every rendering: for what is cheaper asked for than told whenever it moves.
    pub fn look_before_rendering(&self, vitals: Arc<dyn Vitals>) {
        // A node has one set of vitals, from its start on.
        let _ = self.vitals.set(vitals);
    }

    /// All series in Prometheus' text format.
    #[must_use]
    pub fn render(&self) -> String {
        if let Some(vitals) = self.vitals.get() {
            vitals.look();
        }
        self.handle.render()
    }

    /// Folds histograms together; called now and then so that they do not grow between scrapes.
    pub fn upkeep(&self) {
        self.handle.run_upkeep();
    }
}

impl std::fmt::Debug for Metrics {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.debug_struct("Metrics").finish_non_exhaustive()
    }
}

/// Writes log lines to standard error from now on: this program's from `level` on (by name), libraries' from `warn` on;
/// for people or as JSON. Called once a process; later calls change nothing.
pub fn log_to_standard_error(level: &str, json: bool) {
    let level: LevelFilter = level.parse().unwrap_or(LevelFilter::INFO);
    let targets = Targets::new()
        .with_default(level.min(LevelFilter::WARN))
        .with_target("millstream", level)
        // The quorum's library calls every silence of another voter an error; ours tells what came of it.
        .with_target("openraft", LevelFilter::OFF);
    let layer = tracing_subscriber::fmt::layer()
        .with_writer(std::io::stderr)
        .with_ansi(std::io::stderr().is_terminal())
        .with_target(false);
    let registry = tracing_subscriber::registry();
    // A second call finds a subscriber installed, which is what it wants.
    let _ = if json {
        registry.with(layer.json().with_filter(targets)).try_init()
    } else {
        registry.with(layer.with_filter(targets)).try_init()
    };
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn two_nodes_in_one_process_count_apart() {
        let (one, two) = (Metrics::new().unwrap(), Metrics::new().unwrap());
        one.events(NodeId(1)).counter("millstream_epochs_opened_total", Vec::new()).increment(3);
        two.events(NodeId(2)).counter("millstream_epochs_opened_total", Vec::new()).increment(5);
        assert!(one.render().contains("millstream_epochs_opened_total 3"), "{}", one.render());
        assert!(two.render().contains("millstream_epochs_opened_total 5"), "{}", two.render());
    }

    #[test]
    fn latencies_are_histograms_with_buckets() {
        let metrics = Metrics::new().unwrap();
        metrics.events(NodeId(1)).histogram("millstream_produce_seconds", Vec::new()).record(0.003);
        assert!(metrics.render().contains("millstream_produce_seconds_bucket{le=\"0.0035\"} 1"));
    }
}

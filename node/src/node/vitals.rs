//! What of a node is looked at when its metrics are read: its links, its disk, its health.

use std::path::PathBuf;
use std::sync::Arc;

use metrics::{Counter, Gauge, Label};
use millstream_actors::custom::named::NodeActors;
use millstream_actors::events::Events;
use millstream_transport::peer::{PeerCounters, PeerCounts};
use millstream_transport::world::Disk;

use super::health::NodeState;
use crate::http::Health;
use crate::telemetry::Vitals;

/// Looks at a node.
pub(super) struct NodeVitals {
    counters: Arc<PeerCounters>,
    peers: PeerSeries,
    disk: DiskSeries,
    state: Arc<NodeState>,
    actors: NodeActors,
    events: Events,
    ready: Gauge,
}

impl NodeVitals {
    /// The vitals of the node whose events these are.
    pub(super) fn new(
        events: &Events,
        counters: Arc<PeerCounters>,
        (disk, directory): (Arc<dyn Disk>, PathBuf),
        state: Arc<NodeState>,
        actors: NodeActors,
    ) -> Self {
        let labels = vec![
            Label::new("node", events.node().to_string()),
            Label::new("version", env!("CARGO_PKG_VERSION")),
        ];
        events.gauge("millstream_node_info", labels).set(1.0);
        Self {
            counters,
            peers: PeerSeries::new(events),
            disk: DiskSeries::new(events, disk, directory),
            state,
            actors,
            events: events.clone(),
            ready: events.gauge("millstream_node_ready", Vec::new()),
        }
    }
}

impl Vitals for NodeVitals {
    fn look(&self) {
        let report = self.state.report();
        self.ready.set(if report.is_ready() { 1.0 } else { 0.0 });
        self.actors.gauge();
        self.events.tell_actors();
        self.peers.tell(self.counters.snapshot());
        self.disk.tell(report.failed_directory.is_some());
    }
}

/// The disk of the log directory.
struct DiskSeries {
    disk: Arc<dyn Disk>,
    directory: PathBuf,
    free_bytes: Gauge,
    size_bytes: Gauge,
    failed: Gauge,
}

impl DiskSeries {
    fn new(events: &Events, disk: Arc<dyn Disk>, directory: PathBuf) -> Self {
        Self {
            disk,
            directory,
            free_bytes: events.gauge("millstream_log_directory_free_bytes", Vec::new()),
            size_bytes: events.gauge("millstream_log_directory_size_bytes", Vec::new()),
            failed: events.gauge("millstream_log_directory_failed", Vec::new()),
        }
    }

    #[expect(clippy::cast_precision_loss, reason = "a gauge is a float; disks stay far below 2^53 bytes")]
    fn tell(&self, failed: bool) {
        self.failed.set(if failed { 1.0 } else { 0.0 });
        // A disk that cannot be measured keeps its last figures; that it fails is told by what writes to it.
        if let Ok((free_bytes, size_bytes)) = self.disk.space(&self.directory) {
            self.free_bytes.set(free_bytes as f64);
            self.size_bytes.set(size_bytes as f64);
        }
    }
}

/// What the endpoint counts, as series.
struct PeerSeries {
    links: Gauge,
    links_opened: Counter,
    links_closed: Counter,
    dials: Counter,
    dials_failed: Counter,
    refused_strangers: Counter,
    refused_identity: Counter,
    cut_half_open: Counter,
    cut_garbage: Counter,
    cut_slow: Counter,
    messages_refused: Counter,
    requests: Counter,
    tells: Counter,
    asks: Counter,
    asks_refused: Counter,
    asks_timed_out: Counter,
    late_answers: Counter,
    channels: Counter,
    sent_bytes: Counter,
    received_bytes: Counter,
}

impl PeerSeries {
    fn new(events: &Events) -> Self {
        let counter = |name| events.counter(name, Vec::new());
        let by_reason = |name, reason| events.counter(name, vec![Label::new("reason", reason)]);
        Self {
            links: events.gauge("millstream_peer_links", Vec::new()),
            links_opened: counter("millstream_peer_links_opened_total"),
            links_closed: counter("millstream_peer_links_closed_total"),
            dials: counter("millstream_peer_dials_total"),
            dials_failed: counter("millstream_peer_dials_failed_total"),
            refused_strangers: by_reason("millstream_peer_connections_refused_total", "strangers"),
            refused_identity: by_reason("millstream_peer_connections_refused_total", "identity"),
            cut_half_open: by_reason("millstream_peer_connections_cut_total", "half_open"),
            cut_garbage: by_reason("millstream_peer_connections_cut_total", "garbage"),
            cut_slow: by_reason("millstream_peer_connections_cut_total", "slow"),
            messages_refused: counter("millstream_peer_messages_refused_total"),
            requests: counter("millstream_peer_requests_total"),
            tells: counter("millstream_peer_tells_total"),
            asks: counter("millstream_peer_asks_total"),
            asks_refused: counter("millstream_peer_asks_refused_total"),
            asks_timed_out: counter("millstream_peer_asks_timed_out_total"),
            late_answers: counter("millstream_peer_late_answers_total"),
            channels: counter("millstream_peer_channels_total"),
            sent_bytes: counter("millstream_peer_sent_bytes_total"),
            received_bytes: counter("millstream_peer_received_bytes_total"),
        }
    }

    /// A counter that is new over there does not compile here until it is told.
    fn tell(&self, counts: PeerCounts) {
        let PeerCounts {
            dials,
            failed_dials,
            links_up,
            links_down,
            refused_strangers,
            refused_links,
            cut_half_open,
            cut_garbage,
            cut_slow,
            refused_messages,
            requests,
            tells,
            asks,
            refused_full,
            timed_out,
            late_answers,
            channels,
            sent_bytes,
            received_bytes,
        } = counts;
        // The two are not read at one moment.
        let links = u32::try_from(links_up.saturating_sub(links_down)).unwrap_or(u32::MAX);
        self.links.set(links);
        for (series, count) in [
            (&self.links_opened, links_up),
            (&self.links_closed, links_down),
            (&self.dials, dials),
            (&self.dials_failed, failed_dials),
            (&self.refused_strangers, refused_strangers),
            (&self.refused_identity, refused_links),
            (&self.cut_half_open, cut_half_open),
            (&self.cut_garbage, cut_garbage),
            (&self.cut_slow, cut_slow),
            (&self.messages_refused, refused_messages),
            (&self.requests, requests),
            (&self.tells, tells),
            (&self.asks, asks),
            (&self.asks_refused, refused_full),
            (&self.asks_timed_out, timed_out),
            (&self.late_answers, late_answers),
            (&self.channels, channels),
            (&self.sent_bytes, sent_bytes),
            (&self.received_bytes, received_bytes),
        ] {
            series.absolute(count);
        }
    }
}

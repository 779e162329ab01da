//! Every series a node tells, here and in `data` and `users`: its name, kind, labels, and the sentence that `/metrics` prints above it.
//!
//! Names follow Prometheus: `millstream_` first, the unit last (`_seconds`, `_bytes`), counters end in `_total`. A series
//! that is not here fails a test of this file; so does one that is here and nobody tells. Nothing is told per partition
//! but the lag of groups and of entities, tasks of streams, and the replicas that it lacks.

mod data;
mod users;

use metrics::{KeyName, Label, SharedString, Unit};

use super::Events;
use data::{LOG, PARTITIONS, REPLICATION};
use users::{ENTITIES, ENTITY_INDEXES, ENTITY_INPUT, ENTITY_WORK, STREAMS, USERS};

/// How a series moves.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// It only grows.
    Counter,
    /// It goes up and down.
    Gauge,
    /// It counts by size.
    Histogram,
}

/// What tells the series of one name apart.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Labels {
    /// Nothing: there is one, from the start.
    None,
    /// One label whose values are known: all are there from the start.
    Known(&'static str, &'static [&'static str]),
    /// Labels whose values come with the work.
    Open(&'static [&'static str]),
}

impl Labels {
    /// Their names.
    #[must_use]
    pub fn names(&self) -> &[&'static str] {
        match self {
            Self::None => &[],
            Self::Known(name, _) => std::slice::from_ref(name),
            Self::Open(names) => names,
        }
    }

    /// The combinations that are known at the start.
    fn at_start(&self) -> Vec<Vec<Label>> {
        match self {
            Self::None => vec![Vec::new()],
            Self::Known(name, values) => values.iter().map(|value| vec![Label::new(*name, *value)]).collect(),
            Self::Open(_) => Vec::new(),
        }
    }
}

/// The series of one name.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Series {
    /// Its name.
    pub name: &'static str,
    /// How it moves.
    pub kind: Kind,
    /// What tells several of them apart.
    pub labels: Labels,
    /// What it tells, in one sentence.
    pub help: &'static str,
}

impl Series {
    /// What it counts or measures: its name says so.
    #[must_use]
    pub fn unit(&self) -> Unit {
        let bare = self.name.strip_suffix("_total").unwrap_or(self.name);
        if bare.ends_with("_seconds") {
            Unit::Seconds
        } else if bare.ends_with("_bytes") {
            Unit::Bytes
        } else {
            Unit::Count
        }
    }

    const fn by(mut self, label: &'static str, values: &'static [&'static str]) -> Self {
        self.labels = Labels::Known(label, values);
        self
    }

    const fn of_each(mut self, labels: &'static [&'static str]) -> Self {
        self.labels = Labels::Open(labels);
        self
    }
}

const fn counter(name: &'static str, help: &'static str) -> Series {
    Series { name, kind: Kind::Counter, labels: Labels::None, help }
}

const fn gauge(name: &'static str, help: &'static str) -> Series {
    Series { name, kind: Kind::Gauge, labels: Labels::None, help }
}

const fn histogram(name: &'static str, help: &'static str) -> Series {
    Series { name, kind: Kind::Histogram, labels: Labels::None, help }
}

const ACTORS: &[&str] = &[
    "node",
    "quorum",
    "replica",
    "core_host",
    "feeder",
    "follower",
    "replica_supervisor",
    "controller",
    "node_agent",
    "group_supervisor",
    "group_coordinator",
    "transaction_supervisor",
    "transaction_coordinator",
    "entity_supervisor",
    "entity_host",
    "entity_reader_supervisor",
    "entity_reader",
    "entity_standby",
    "producer_router",
    "user_supervisor",
    "user_actor",
];
const INVARIANTS: &[&str] = &[
    "acknowledged_is_on_disk",
    "nothing_acknowledged_is_lost",
    "leader_is_fenced",
    "corrupt_is_never_served",
    "one_answer",
    "no_transaction_hangs",
    "cost_is_flat",
    "no_one_gets_in",
    "seed_decides",
];
const ELECTIONS: &[&str] = &["clean", "nobody", "stale", "in_doubt", "unclean", "operator"];
const LEAVING: &[&str] = &["left", "away", "replaced", "session_timeout", "rebalance_timeout"];
const LAG: &[&str] = &["group", "topic", "partition"];

/// The node itself.
const NODE: &[Series] = &[
    gauge("millstream_node_info", "Always 1; the labels say which node this is and what it runs.")
        .of_each(&["node", "version"]),
    gauge(
        "millstream_node_ready",
        "1 if clients may be sent here: recovered, and the quorum was followed once.",
    ),
    gauge(
        "millstream_node_quorum_lost",
        "1 while no controller answers; data goes on, elections and changes wait.",
    ),
    gauge("millstream_actor_alive", "Actors that live on this node, by kind.").by("kind", ACTORS),
    counter("millstream_actor_handled_total", "Messages that actors have handled, by kind.")
        .by("kind", ACTORS),
    counter("millstream_actor_restarts_total", "Actors that died and were begun anew, by kind.")
        .by("kind", ACTORS),
    gauge(
        "millstream_actor_mailbox_messages_max",
        "Requests not answered of the actor that has most of them, by kind, of users' actors messages in the mailbox; zero \
         where nobody counts them.",
    )
    .by("kind", ACTORS),
    histogram(
        "millstream_actor_handler_seconds",
        "Time of one message in its actor; on the data plane every sixteenth is measured.",
    )
    .by("kind", ACTORS),
    gauge(
        "millstream_actor_running_max_seconds",
        "How long the handler has run that runs longest now, by kind; on the data plane of those that are measured, every \
         sixteenth.",
    )
    .by("kind", ACTORS),
    counter("millstream_invariant_broken_total", "Promises found broken: each is a defect of the program.")
        .by("invariant", INVARIANTS),
];

/// The cluster; who is not the controller tells zeros.
const CLUSTER: &[Series] = &[
    gauge("millstream_controller_active", "1 on the node that is the controller."),
    gauge("millstream_cluster_partitions", "Partitions of the cluster, told by the controller."),
    gauge("millstream_cluster_offline_partitions", "Partitions without a leader, told by the controller."),
    gauge(
        "millstream_cluster_under_replicated_partitions",
        "Partitions with fewer members in sync than replicas, told by the controller.",
    ),
    gauge(
        "millstream_cluster_not_preferred_leaders",
        "Partitions led by another than their preferred leader, told by the controller.",
    ),
    gauge("millstream_cluster_live_nodes", "Nodes that are heard of, told by the controller."),
    counter(
        "millstream_nodes_died_total",
        "Nodes that were not heard of for too long, seen by this controller.",
    ),
    counter("millstream_elections_total", "Elections of leaders by this controller, by how they ended.")
        .by("kind", ELECTIONS),
    counter(
        "millstream_controller_proposals_failed_total",
        "Entries of the controller that the quorum did not take.",
    ),
];

/// The metadata quorum.
const QUORUM: &[Series] = &[
    counter("millstream_quorum_leader_changes_total", "Times this node saw the quorum's leader change."),
    counter(
        "millstream_quorum_slow_leaders_total",
        "Times this node let go of the quorum because its disk was much slower than the other voters'.",
    ),
    histogram(
        "millstream_quorum_commit_seconds",
        "Time until an entry proposed here was committed and applied.",
    ),
    gauge("millstream_quorum_term", "The quorum's term as this node knows it."),
    gauge("millstream_quorum_log_bytes", "Size of the quorum's log on this node."),
    gauge("millstream_quorum_applied_index", "The last entry of the quorum that was applied on this node."),
    gauge(
        "millstream_quorum_failed",
        "1 if the quorum's directory has failed: see to the disk, start the node again.",
    ),
];

/// Consumer groups; a group is told by the node that coordinates it.
const GROUPS: &[Series] = &[
    gauge("millstream_group_lag_records", "Committed records a group has not read, told by its coordinator.")
        .of_each(LAG),
    gauge("millstream_group_lag_seconds", "How long the first record a group has not read has waited.")
        .of_each(LAG),
    gauge("millstream_group_members", "Members of a group.").of_each(&["group"]),
    gauge(
        "millstream_group_unowned_partitions",
        "Partitions a group subscribes to and nobody in it owns now.",
    )
    .of_each(&["group"]),
    counter("millstream_group_members_joined_total", "Members that joined groups coordinated here."),
    counter("millstream_group_members_left_total", "Members that left groups coordinated here, by reason.")
        .by("reason", LEAVING),
    counter("millstream_group_rebalances_total", "Times it was computed anew what members are to own."),
    counter(
        "millstream_group_conversions_total",
        "Groups with members that went over to the other protocol, by which.",
    )
    .by("to", &["consumer", "classic"]),
    histogram("millstream_group_load_seconds", "Time a coordinator took to read its partition."),
    counter("millstream_group_loads_failed_total", "Times a coordinator could not read its partition."),
    counter("millstream_group_records_undecodable_total", "Records of groups that could not be understood."),
    counter(
        "millstream_group_decisions_lost_total",
        "Decisions that were not committed; the group was read back.",
    ),
    counter(
        "millstream_group_offsets_forgotten_total",
        "Committed offsets forgotten: too old, or their topic is gone.",
    ),
];

/// Transactions; one is told by the node that coordinates it.
const TRANSACTIONS: &[Series] = &[
    gauge("millstream_transactions_open", "Transactions that are open and coordinated here."),
    counter("millstream_transactions_committed_total", "Transactions whose commit was decided here."),
    counter("millstream_transactions_aborted_total", "Transactions whose abort was decided here."),
    counter(
        "millstream_transactions_timed_out_total",
        "Transactions aborted here because they were open for longer than their producer allowed.",
    ),
    counter(
        "millstream_transactions_fenced_total",
        "Requests refused because another producer with the same transactional.id has taken over, or a time-out.",
    ),
    histogram(
        "millstream_transactions_seconds",
        "Time of a transaction from its first partition until all its markers were written.",
    ),
    histogram(
        "millstream_transactions_marker_seconds",
        "Time from the decision of a transaction until all its markers were written.",
    ),
];

/// Kafka's listener.
const KAFKA: &[Series] = &[
    gauge("millstream_fetch_sessions", "Fetch sessions of Kafka clients that are kept."),
    gauge("millstream_fetch_session_partitions", "Partitions of all fetch sessions."),
    counter(
        "millstream_fetch_session_evictions_total",
        "Fetch sessions that went because another needed the place.",
    ),
    counter("millstream_kafka_clients_admitted_total", "Connections of Kafka clients that were let in."),
    counter(
        "millstream_kafka_clients_refused_total",
        "Connections of Kafka clients that were not: TLS, login, or too slow at it.",
    ),
];

/// Links to other nodes and to clients.
const PEERS: &[Series] = &[
    gauge("millstream_peer_links", "Links up now, to nodes and clients."),
    counter("millstream_peer_links_opened_total", "Links that came up."),
    counter("millstream_peer_links_closed_total", "Links that went down."),
    counter("millstream_peer_dials_total", "Dials begun."),
    counter("millstream_peer_dials_failed_total", "Dials that led to no link."),
    counter(
        "millstream_peer_connections_refused_total",
        "Connections refused: too many strangers at once, or a wrong certificate, version or lane.",
    )
    .by("reason", &["strangers", "identity"]),
    counter(
        "millstream_peer_connections_cut_total",
        "Connections cut: the other end did not say in time who it is, sent garbage, or did not take its answers while \
         memory was short.",
    )
    .by("reason", &["half_open", "garbage", "slow"]),
    counter(
        "millstream_peer_messages_refused_total",
        "Messages refused: unknown, unreadable or not allowed.",
    ),
    counter("millstream_peer_requests_total", "Requests read."),
    counter("millstream_peer_tells_total", "One-way messages read."),
    counter("millstream_peer_asks_total", "Requests sent."),
    counter("millstream_peer_asks_refused_total", "Requests not sent because too much waited already."),
    counter(
        "millstream_peer_asks_timed_out_total",
        "Requests sent and given up because their time had passed.",
    ),
    counter("millstream_peer_late_answers_total", "Answers that came after their time."),
    counter("millstream_peer_channels_total", "Streams opened or accepted."),
    counter("millstream_peer_sent_bytes_total", "Bytes of frames sent."),
    counter("millstream_peer_received_bytes_total", "Bytes of frames received."),
];

/// All of them.
pub fn all() -> impl Iterator<Item = &'static Series> {
    [
        NODE,
        CLUSTER,
        QUORUM,
        PARTITIONS,
        REPLICATION,
        LOG,
        GROUPS,
        TRANSACTIONS,
        USERS,
        ENTITIES,
        ENTITY_INPUT,
        ENTITY_INDEXES,
        ENTITY_WORK,
        STREAMS,
        KAFKA,
        PEERS,
    ]
    .into_iter()
    .flatten()
}

impl Events {
    /// Describes every series, and tells those at zero whose labels are known: a dashboard has data at once.
    pub fn announce(&self) {
        for series in all() {
            self.describe(series);
            for labels in series.labels.at_start() {
                // Registering is enough to be told; the handle is fetched again where the series moves.
                match series.kind {
                    Kind::Counter => drop(self.counter(series.name, labels)),
                    Kind::Gauge => drop(self.gauge(series.name, labels)),
                    Kind::Histogram => drop(self.histogram(series.name, labels)),
                }
            }
        }
    }

    /// Describes the series of streams: all that a client outside a node tells.
    pub fn announce_streams(&self) {
        STREAMS.iter().for_each(|series| self.describe(series));
    }

    /// Says what a series means that is not in the catalogue: one of a user's.
    pub fn explain(&self, name: &'static str, kind: Kind, help: &'static str) {
        self.describe(&Series { name, kind, labels: Labels::None, help });
    }

    fn describe(&self, series: &Series) {
        let (name, unit) = (KeyName::from_const_str(series.name), Some(series.unit()));
        let help = SharedString::const_str(series.help);
        match series.kind {
            Kind::Counter => self.recorder.describe_counter(name, unit, help),
            Kind::Gauge => self.recorder.describe_gauge(name, unit, help),
            Kind::Histogram => self.recorder.describe_histogram(name, unit, help),
        }
    }
}

#[cfg(test)]
mod tests;

//! Every series a node tells, on one page: its name, kind, labels, and the sentence that `/metrics` prints above it.
//!
//! Names follow Prometheus: `millstream_` first, the unit last (`_seconds`, `_bytes`), counters end in `_total`. A series
//! that is not here fails a test of this file; so does one that is here and nobody tells. Nothing is told per partition
//! but the lag of groups and of entities, tasks of streams, and the replicas that it lacks.

use metrics::{KeyName, Label, SharedString, Unit};

use super::Events;

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
const RESIGNATIONS: &[&str] = &["begun_anew", "sync_lag", "damaged", "failed"];
const LEAVING: &[&str] = &["left", "away", "replaced", "session_timeout", "rebalance_timeout"];
const SIDES: &[&str] = &["leader", "follower"];
const USER_KIND: &[&str] = &["kind"];
const INPUT: &[&str] = &["kind", "topic"];
const SINK_TOPIC: &[&str] = &["topic"];
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

/// What clients write and read.
const PARTITIONS: &[Series] = &[
    histogram(
        "millstream_produce_seconds",
        "Time from a produce request's arrival at its replica to its answer.",
    ),
    histogram("millstream_append_seconds", "Time a leader took for one write of all batches that waited."),
    histogram(
        "millstream_commit_seconds",
        "Time from the append of a batch at the leader to its being committed.",
    ),
    histogram(
        "millstream_fetch_seconds",
        "Time to find and read the records of a fetch; waits for new ones not counted.",
    ),
    counter("millstream_records_in_total", "Records appended by leaders."),
    counter("millstream_in_bytes_total", "Bytes of batches appended by leaders."),
    counter("millstream_out_bytes_total", "Bytes of batches read for consumers."),
    counter("millstream_replicated_bytes_total", "Bytes of batches appended by followers."),
    counter("millstream_duplicate_batches_total", "Batches that came again and were answered from memory."),
    counter("millstream_produce_throttled_total", "Produce requests refused because a bound was reached."),
    gauge("millstream_partitions_led", "Partitions led by this node."),
    gauge("millstream_partitions_under_replicated", "Partitions led here whose in-sync set lacks a replica."),
    gauge(
        "millstream_partitions_under_min_in_sync",
        "Partitions led here with fewer in sync than min.insync.replicas: acks=all is refused.",
    ),
    gauge(
        "millstream_partition_missing_replicas",
        "Replicas of a partition outside of its in-sync set, told by its leader.",
    )
    .of_each(&["topic", "partition"]),
    gauge("millstream_partitions_offline", "Replicas on this node that serve nobody."),
    gauge("millstream_fetches_waiting", "Fetches that wait for new records."),
    counter("millstream_epochs_opened_total", "Times a replica of this node began to lead."),
    counter("millstream_resignations_total", "Times a leader on this node asked for another, by reason.")
        .by("reason", RESIGNATIONS),
    counter(
        "millstream_truncations_total",
        "Times a follower's log was cut to the leader's, by whether below what it knew to be committed.",
    )
    .by("committed", &["false", "true"]),
    counter(
        "millstream_damaged_logs_total",
        "Times a replica found damage; it is fetched again from another.",
    ),
    counter("millstream_feeds_rejected_total", "Batches from a leader that its follower refused."),
    counter(
        "millstream_requests_quarantined_total",
        "Requests refused for good because they killed a replica twice.",
    ),
];

/// Leaders to followers.
const REPLICATION: &[Series] = &[
    counter("millstream_replication_sent_bytes_total", "Bytes of batches sent to followers."),
    counter("millstream_replication_received_bytes_total", "Bytes of batches received from leaders."),
    histogram(
        "millstream_replication_durable_seconds",
        "Time from sending a batch to a follower to its report that the batch is on disk.",
    ),
    gauge("millstream_replication_sessions", "Fetch sessions open on this node, by its side of them.")
        .by("side", SIDES),
    counter("millstream_replication_sessions_lost_total", "Fetch sessions that ended out of order, by side.")
        .by("side", SIDES),
    counter("millstream_replication_sessions_not_opened_total", "Fetch sessions that could not be opened."),
];

/// Log directories and the disks under them.
const LOG: &[Series] = &[
    histogram("millstream_log_append_seconds", "Time of one write to a log, to the page cache."),
    counter("millstream_log_appended_bytes_total", "Bytes written to logs, by leaders and followers."),
    histogram("millstream_log_sync_seconds", "Time of one log's sync to disk."),
    counter("millstream_log_sync_rounds_total", "Rounds of group sync."),
    counter("millstream_log_synced_files_total", "Files synced; by rounds, how many share one."),
    counter("millstream_log_cold_read_bytes_total", "Bytes read from files, not from memory."),
    counter(
        "millstream_log_no_space_total",
        "Appends refused because the disk is full, to be tried again: by leaders to producers, by followers.",
    ),
    counter("millstream_log_directory_failures_total", "Log directories that have failed since the start."),
    gauge(
        "millstream_log_directory_failed",
        "1 if the log directory has failed: see to the disk, start the node again.",
    ),
    gauge("millstream_log_directory_free_bytes", "Bytes free for new data on the disk of the log directory."),
    gauge("millstream_log_directory_size_bytes", "Size of the disk of the log directory."),
    counter("millstream_log_recoveries_total", "Logs recovered after an unclean stop."),
    counter("millstream_log_recovery_scanned_bytes_total", "Bytes read to recover logs."),
    counter(
        "millstream_log_recovery_cut_bytes_total",
        "Bytes cut off in recovery, none known to have been durable.",
    ),
    counter(
        "millstream_log_doubts_total",
        "Logs recovered that may lack records; they do not lead unless asked.",
    ),
    counter("millstream_log_truncations_total", "Times the end of a log was cut off."),
    counter("millstream_log_corruptions_total", "Corrupt places found in logs; they are not served."),
    counter(
        "millstream_log_cleaner_cleaned_bytes_total",
        "Bytes of compacted logs that were written anew, as they were before.",
    ),
    histogram("millstream_log_cleaner_seconds", "Time of one cleaning of one compacted log."),
    gauge(
        "millstream_log_cleaner_dirty_ratio_max",
        "How much of the dirtiest compacted log was not cleaned when it was last looked at, 0 to 1.",
    ),
    counter(
        "millstream_log_cleaner_failures_total",
        "Cleanings of compacted logs that failed; the log stays as it was.",
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

/// Actors of users; told by the node they run on, by the kind that the user gave them.
const USERS: &[Series] = &[
    gauge("millstream_user_actors", "Actors of users that run on this node.").of_each(USER_KIND),
    gauge("millstream_user_mailbox_messages", "Messages that wait for actors of users.").of_each(USER_KIND),
    counter("millstream_user_messages_handled_total", "Messages that actors of users have handled.")
        .of_each(USER_KIND),
    counter(
        "millstream_user_messages_refused_total",
        "Messages that actors of users were not given: mailbox full, not understood, or not the owner.",
    )
    .of_each(USER_KIND),
    histogram("millstream_user_handler_seconds", "Time of one handler of a user's actor.").of_each(USER_KIND),
    counter("millstream_user_actor_panics_total", "Panics in handlers of users' actors.").of_each(USER_KIND),
    counter(
        "millstream_user_handlers_slow_total",
        "Handlers of users' actors that ran longer than actors.handler.slow.ms.",
    )
    .of_each(USER_KIND),
    counter("millstream_source_records_total", "Records that handlers of sources have handled.")
        .of_each(USER_KIND),
    counter("millstream_source_failures_total", "Times that records were handed to a handler again.")
        .of_each(USER_KIND),
    counter("millstream_sink_records_total", "Records of sinks that were acknowledged.").of_each(SINK_TOPIC),
    counter("millstream_sink_failures_total", "Records of sinks that were not, or not known to be.")
        .of_each(SINK_TOPIC),
];

/// Topics that entities read; told by the node whose entities the reader lives beside, by type.
const ENTITY_INPUT: &[Series] = &[
    counter("millstream_entity_input_records_total", "Records of topics that entities have applied.")
        .of_each(INPUT),
    gauge(
        "millstream_entity_input_lag_records",
        "Committed records of a topic that entities have not applied; 0 where it is not read here any more.",
    )
    .of_each(&["kind", "topic", "partition"]),
    counter(
        "millstream_entity_input_missed_total",
        "Records of topics that were deleted before entities have read them.",
    )
    .of_each(INPUT),
    counter(
        "millstream_entity_input_left_out_total",
        "Records of topics that could not be understood and were left out, as their type wants it.",
    )
    .of_each(INPUT),
    counter(
        "millstream_entity_input_stands_total",
        "Times a topic was not read on for entities because a record was not understood or not taken.",
    )
    .of_each(INPUT),
];

/// Entities; told by the node that leads their partition, by their type.
const ENTITIES: &[Series] = &[
    gauge(
        "millstream_entity_publications_waiting",
        "Records that entities published and that are not known to be in their topics yet.",
    )
    .of_each(USER_KIND),
    counter("millstream_entity_publications_total", "Records of entities that are in their topics.")
        .of_each(USER_KIND),
    counter(
        "millstream_entity_publications_refused_total",
        "Records of entities that their topics will never take: left out, or dead letters.",
    )
    .of_each(USER_KIND),
    counter(
        "millstream_entity_publications_dropped_total",
        "Records of entities on their way to topics that were deleted.",
    )
    .of_each(USER_KIND),
    counter(
        "millstream_entity_publications_lost_total",
        "Times that a topic had lost records which entities had published.",
    )
    .of_each(USER_KIND),
    counter("millstream_entity_dead_letters_total", "Messages to entities that went to the dead letters.")
        .of_each(USER_KIND),
    counter(
        "millstream_entity_dead_letters_failed_total",
        "Messages to entities that could not go to the dead letters: no topic, or no room.",
    )
    .of_each(USER_KIND),
];

/// Entities, told by each node of what it leads and follows.
const ENTITY_INDEXES: &[Series] = &[
    gauge("millstream_entities_indexed", "Entities whose place in the log is known on this node.")
        .by("role", &["leader", "standby"]),
    gauge("millstream_entities_index_bytes", "Memory that this takes, as estimated.")
        .by("role", &["leader", "standby"]),
    counter(
        "millstream_entity_records_replayed_total",
        "Records of entities that new leaders on this node had to read before they could be asked.",
    ),
];

/// The work of entities; told by the node that leads their partition, by their type.
const ENTITY_WORK: &[Series] = &[
    gauge("millstream_entity_partitions_led", "Partitions of entities led by this node.").of_each(USER_KIND),
    gauge("millstream_entity_known", "Entities that the partitions led here know of.").of_each(USER_KIND),
    gauge("millstream_entity_live", "Entities in memory.").of_each(USER_KIND),
    gauge(
        "millstream_entity_waiting_bytes",
        "Bytes of messages and turns that wait for their entity or for the log.",
    )
    .of_each(USER_KIND),
    gauge("millstream_entity_timers", "Timers of entities that are set.").of_each(USER_KIND),
    gauge("millstream_entity_outbox_messages", "Messages of entities to others that are not delivered.")
        .of_each(USER_KIND),
    histogram(
        "millstream_entity_turn_seconds",
        "Time of one handler of an entity; their count is that of turns.",
    )
    .of_each(USER_KIND),
    histogram(
        "millstream_entity_commit_seconds",
        "Time from the append of a batch of turns until it is committed; their count is that of batches.",
    )
    .of_each(USER_KIND),
    counter(
        "millstream_entity_requests_refused_total",
        "Requests of entities refused because a bound was reached.",
    )
    .of_each(USER_KIND),
    counter("millstream_entity_loads_total", "Entities read from the log into memory.").of_each(USER_KIND),
    counter(
        "millstream_entity_reloads_total",
        "Times when turns were not committed and a partition's log was read on.",
    )
    .of_each(USER_KIND),
    counter("millstream_entity_panics_total", "Panics in handlers of entities.").of_each(USER_KIND),
];

const APPLICATION: &[&str] = &["application"];

/// A task of an application of streams: its sub-topology and its partition.
const TASK: &[&str] = &["application", "task"];

/// Applications of streams that run with the client of a node, or with one that was given a recorder.
const STREAMS: &[Series] = &[
    gauge("millstream_streams_tasks", "Tasks of an application that process records here.")
        .of_each(APPLICATION),
    histogram(
        "millstream_streams_commit_seconds",
        "Time from the beginning of a commit of all tasks of an application here to its end.",
    )
    .of_each(APPLICATION),
    counter(
        "millstream_streams_restarts_total",
        "Times that an application began again from its last commit: a failure, or a record that it could not process.",
    )
    .of_each(&["application", "because"]),
    counter("millstream_streams_processed_total", "Records that a task has processed.").of_each(TASK),
    histogram("millstream_streams_process_seconds", "Time of a record in its task; every 64th is measured.")
        .of_each(APPLICATION),
    counter(
        "millstream_streams_late_total",
        "Records that came after a window of theirs had closed, counted for each operator that left them out.",
    )
    .of_each(TASK),
    counter(
        "millstream_streams_dropped_total",
        "Records that could not be processed and were left out, or went to the dead letters.",
    )
    .of_each(TASK),
    gauge(
        "millstream_streams_lag_records",
        "Offsets of what a task reads that it has not processed; 0 where it does not run any more.",
    )
    .of_each(TASK),
    gauge(
        "millstream_streams_state_bytes",
        "Bytes of a task's stores, on disk or in memory; 0 where it does not run any more.",
    )
    .of_each(TASK),
    gauge(
        "millstream_streams_restore_left_records",
        "Offsets of changelogs that are to be read before a task can begin.",
    )
    .of_each(TASK),
    counter("millstream_streams_restored_total", "Changes that were read from changelogs into a task's stores.")
        .of_each(TASK),
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

//! The series of users' programs: their actors, their entities, and their applications of streams.

use super::{Series, counter, gauge, histogram};

const USER_KIND: &[&str] = &["kind"];
const INPUT: &[&str] = &["kind", "topic"];
const SINK_TOPIC: &[&str] = &["topic"];

/// Actors of users; told by the node they run on, by the kind that the user gave them.
pub(super) const USERS: &[Series] = &[
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
pub(super) const ENTITY_INPUT: &[Series] = &[
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
pub(super) const ENTITIES: &[Series] = &[
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
pub(super) const ENTITY_INDEXES: &[Series] = &[
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
pub(super) const ENTITY_WORK: &[Series] = &[
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
pub(super) const STREAMS: &[Series] = &[
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

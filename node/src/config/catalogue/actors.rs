//! Actors of users.

use super::{DAY_MS, setting, whole};
use crate::config::setting::Applies::AtRestart;
use crate::config::setting::Setting;

pub(super) const ACTORS: &[Setting] = &[
    setting(
        "actors.threads",
        whole(0, 1024, "threads"),
        "0",
        AtRestart,
        "Threads on which actors of users run, begun with the first of them; 0 for as many as the machine has.",
    ),
    setting(
        "actors.max",
        whole(0, 10_000_000, "actors"),
        "10000",
        AtRestart,
        "Actors of users that run on this node at most.",
    ),
    setting(
        "actors.names.max",
        whole(0, 100_000, "names"),
        "10000",
        AtRestart,
        "Names and memberships in groups of users' actors in the whole cluster. Each is kept by the metadata quorum, and \
         costs an entry of its log. What is set on the controller counts: give all voters the same.",
    ),
    setting(
        "actors.mailbox.max",
        whole(1, 10_000_000, "messages"),
        "1000",
        AtRestart,
        "Messages that may wait for one actor, unless it was begun with a bound of its own; one more is refused.",
    ),
    setting(
        "actors.mailbox.bytes",
        whole(1 << 20, 1 << 40, "bytes"),
        "67108864",
        AtRestart,
        "Bytes of messages that may wait for all actors of this node together; more are refused.",
    ),
    setting(
        "actors.message.max.bytes",
        whole(1024, 8 << 20, "bytes"),
        "1048576",
        AtRestart,
        "The longest message to an actor, and the longest answer.",
    ),
    setting(
        "actors.handler.slow.ms",
        whole(4, 3_600_000, "ms"),
        "1000",
        AtRestart,
        "A handler that runs longer is told in the log, with its actor and message, and counted.",
    ),
    // Entities.
    setting(
        "entity.partitions",
        whole(1, 1000, "partitions"),
        "16",
        AtRestart,
        "Partitions of the topic of a type of entities. Read when that topic is made, and fixed for its life.",
    ),
    setting(
        "entity.dedupe.ms",
        // Not below `DEDUPE_LEAST`: callers rely on it.
        whole(60_000, 7 * DAY_MS, "ms"),
        "600000",
        AtRestart,
        "How long a request to an entity is remembered with its answer, so that it is applied once however often it is sent.",
    ),
    setting(
        "entity.idle.ms",
        whole(1000, DAY_MS, "ms"),
        "60000",
        AtRestart,
        "How long an entity that nobody asks stays in memory.",
    ),
];

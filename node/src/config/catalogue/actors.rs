//! Actors of users.

use super::{DAY_MS, setting, whole};
use crate::config::setting::Applies::AtRestart;
use crate::config::setting::Setting;

pub(super) const ACTORS: &[Setting] = &[
    setting(
        "entity.partitions",
        whole(1, 1000, "partitions"),
        "16",
        AtRestart,
        "Partitions of the topic of a type of entities. Read when that topic is made, and fixed for its life.",
    ),
    setting(
        "entity.dedupe.ms",
        whole(1000, 7 * DAY_MS, "ms"),
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

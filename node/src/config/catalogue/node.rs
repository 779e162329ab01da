//! The node itself.

use super::{setting, whole};
use crate::config::setting::Applies::AtRestart;
use crate::config::setting::{Kind, Setting};

pub(super) const NODE: &[Setting] = &[
    setting(
        "node.id",
        whole(1, 1_000_000, "id"),
        "1",
        AtRestart,
        "The node's number; unique in the cluster, the same for its whole life.",
    ),
    setting(
        "data.dir",
        Kind::Path,
        "millstream-data",
        AtRestart,
        "Where the node keeps everything: log directory, quorum, certificates. Used by one process at a time.",
    ),
    setting(
        "node.cores",
        whole(0, 1024, "threads"),
        "0",
        AtRestart,
        "Threads of the data plane; 0 for as many as the machine has.",
    ),
    setting(
        "log.format",
        Kind::Choice(&["people", "json"]),
        "people",
        AtRestart,
        "How log lines are written to standard error.",
    ),
    setting(
        "log.level",
        Kind::Choice(&["error", "warn", "info", "debug", "trace"]),
        "info",
        AtRestart,
        "The least important log lines that are written.",
    ),
    setting(
        "shutdown.timeout.ms",
        whole(100, 600_000, "ms"),
        "10000",
        AtRestart,
        "How long a clean stop may take to hand leaders over and sync before the process ends anyway.",
    ),
];

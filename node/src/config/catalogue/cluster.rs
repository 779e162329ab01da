//! The quorum, and who lives.

use super::{setting, whole};
use crate::config::setting::Applies::AtRestart;
use crate::config::setting::{Kind, Setting};

pub(super) const CLUSTER: &[Setting] = &[
    setting(
        "quorum.voters",
        Kind::Text,
        "",
        AtRestart,
        "The first voters as id@host:port, separated by commas: 1 or 3. Empty: this node alone. Read at the first start only.",
    ),
    setting(
        "liveness.heartbeat.ms",
        whole(10, 60_000, "ms"),
        "100",
        AtRestart,
        "How often a node tells every voter that it lives.",
    ),
    setting(
        "liveness.lease.ms",
        whole(30, 180_000, "ms"),
        "300",
        AtRestart,
        "How long after a heartbeat was sent its sender may still answer from memory as an owner.",
    ),
    setting(
        "liveness.dead.ms",
        whole(40, 240_000, "ms"),
        "400",
        AtRestart,
        "How long without a heartbeat until a node counts as dead. Above liveness.lease.ms.",
    ),
];

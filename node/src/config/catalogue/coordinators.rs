//! Transactions and consumer groups.

use super::{DAY_MS, setting, whole};
use crate::config::setting::Applies::AtRestart;
use crate::config::setting::{Kind, Setting};

pub(super) const COORDINATORS: &[Setting] = &[
    setting(
        "transaction.state.log.num.partitions",
        whole(1, 1000, "partitions"),
        "16",
        AtRestart,
        "Partitions of __transaction_state, and so of coordinators. Read when that topic is made.",
    ),
    setting(
        "transaction.max.timeout.ms",
        whole(1000, 86_400_000, "ms"),
        "900000",
        AtRestart,
        "The longest time-out of transactions that a producer may ask for.",
    ),
    setting(
        "transactional.id.expiration.ms",
        whole(1000, 365 * DAY_MS, "ms"),
        "604800000",
        AtRestart,
        "How long a transactional.id is known of which nothing is heard.",
    ),
    // Consumer groups.
    setting(
        "offsets.topic.num.partitions",
        whole(1, 1000, "partitions"),
        "16",
        AtRestart,
        "Partitions of __consumer_offsets, and so of coordinators. Read when that topic is made.",
    ),
    setting(
        "group.consumer.session.timeout.ms",
        whole(100, 3_600_000, "ms"),
        "6000",
        AtRestart,
        "How long without a heartbeat until a member is removed from its group.",
    ),
    setting(
        "group.consumer.migration.policy",
        Kind::Choice(&["disabled", "upgrade", "downgrade", "bidirectional"]),
        "bidirectional",
        AtRestart,
        "Which way groups of consumers go while they have members: upgrade, from the classic protocol to KIP-848 when a \
         member of that joins; downgrade, back when its last one leaves.",
    ),
    setting(
        "group.consumer.heartbeat.interval.ms",
        whole(10, 600_000, "ms"),
        "500",
        AtRestart,
        "How often members heartbeat.",
    ),
    setting(
        "group.streams.session.timeout.ms",
        whole(100, 3_600_000, "ms"),
        "10000",
        AtRestart,
        "How long without a heartbeat until a member of an application of streams is removed, and its tasks go to others.",
    ),
    setting(
        "group.streams.heartbeat.interval.ms",
        whole(10, 600_000, "ms"),
        "1000",
        AtRestart,
        "How often members of an application of streams heartbeat.",
    ),
    setting(
        "offsets.retention.minutes",
        whole(1, 5_256_000, "minutes"),
        "10080",
        AtRestart,
        "How long offsets of a group without members are kept.",
    ),
];

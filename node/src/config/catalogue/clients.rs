//! What Kafka's clients may occupy.

use super::{DAY_MS, setting, whole};
use crate::config::setting::Applies::AtRestart;
use crate::config::setting::{Kind, Setting};

pub(super) const CLIENTS: &[Setting] = &[
    setting(
        "socket.request.max.bytes",
        whole(1024, 1 << 30, "bytes"),
        "104857600",
        AtRestart,
        "The longest request that a Kafka client may send.",
    ),
    setting(
        "max.connections",
        whole(1, 1 << 24, "connections"),
        "100000",
        AtRestart,
        "Connections of Kafka clients in all; more are refused.",
    ),
    setting(
        "max.connections.per.ip",
        whole(1, 1 << 24, "connections"),
        "100000",
        AtRestart,
        "Connections of Kafka clients from one address (of IPv6, from one network of 64 bits); more are refused.",
    ),
    setting(
        "connections.max.idle.ms",
        whole(100, DAY_MS, "ms"),
        "600000",
        AtRestart,
        "A Kafka client that says nothing for so long, and waits for nothing, is disconnected.",
    ),
    setting(
        "auto.create.topics.enable",
        Kind::Flag,
        "true",
        AtRestart,
        "Whether a topic that a Kafka client asks for and that does not exist is made.",
    ),
    // Memory.
    setting(
        "queued.max.request.bytes",
        whole(1 << 20, 2 << 30, "bytes"),
        "134217728",
        AtRestart,
        "What requests of all clients may occupy together, until they are answered. A client whose request finds no room is \
         not read until there is; one longer than all of it is let in alone.",
    ),
    setting(
        "queued.max.fetch.bytes",
        whole(1 << 20, 1 << 40, "bytes"),
        "268435456",
        AtRestart,
        "What fetched batches may occupy together, until the clients have taken them. Once it is used up each fetch brings one \
         batch.",
    ),
    // Kafka's fetch sessions.
    setting(
        "max.incremental.fetch.session.cache.slots",
        whole(0, 1 << 20, "sessions"),
        "1000",
        AtRestart,
        "Fetch sessions of Kafka clients that are kept. Clients without one name all partitions in every request.",
    ),
];

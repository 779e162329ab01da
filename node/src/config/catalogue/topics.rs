//! What topics are made with.

use super::{setting, whole};
use crate::config::setting::Applies::ToNewTopics;
use crate::config::setting::{Kind, Setting};

pub(super) const TOPICS: &[Setting] = &[
    setting(
        "num.partitions",
        whole(1, 10_000, "partitions"),
        "6",
        ToNewTopics,
        "Partitions of a topic made without a number.",
    ),
    setting(
        "default.replication.factor",
        whole(-1, 100, "replicas"),
        "-1",
        ToNewTopics,
        "Replicas of a topic made without a number; -1 for 3, or as many nodes as there are when fewer.",
    ),
    setting(
        "min.insync.replicas",
        whole(1, 100, "replicas"),
        "1",
        ToNewTopics,
        "Members that must have a record of acks=all on disk.",
    ),
    setting(
        "flush.policy",
        Kind::Choice(&["sync", "os"]),
        "sync",
        ToNewTopics,
        "sync: acknowledged means past an fdatasync. os: in the page cache; a power cut may lose it.",
    ),
    setting(
        "retention.ms",
        whole(-1, i64::MAX, "ms"),
        "604800000",
        ToNewTopics,
        "How long records are kept; -1 for ever.",
    ),
    setting(
        "retention.bytes",
        whole(-1, i64::MAX, "bytes"),
        "-1",
        ToNewTopics,
        "How much a partition keeps; -1 for no bound.",
    ),
    setting(
        "segment.bytes",
        whole(1 << 20, i32::MAX as i64, "bytes"),
        "1073741824",
        ToNewTopics,
        "A segment is closed when it would become larger.",
    ),
    setting(
        "segment.ms",
        whole(1, i64::MAX, "ms"),
        "604800000",
        ToNewTopics,
        "A segment is closed when its first record is so old.",
    ),
    setting(
        "max.message.bytes",
        whole(61, 48 << 20, "bytes"),
        "1048588",
        ToNewTopics,
        "The largest record batch taken.",
    ),
];

//! Logs and their replication.

use super::{DAY_MS, setting, whole};
use crate::config::setting::Applies::AtRestart;
use crate::config::setting::Setting;

pub(super) const LOG: &[Setting] = &[
    setting(
        "log.tail.cache.bytes",
        whole(1 << 20, 1 << 40, "bytes"),
        "67108864",
        AtRestart,
        "Memory for the newest batches of all partitions together, from which consumers at the head and followers read.",
    ),
    setting(
        "log.open.files.max",
        whole(16, 1_000_000, "files"),
        "4096",
        AtRestart,
        "Files open to be read; files with unsynced bytes come on top.",
    ),
    setting(
        "log.retention.check.interval.ms",
        whole(100, DAY_MS, "ms"),
        "30000",
        AtRestart,
        "How often old segments are looked for, and compacted logs with something to clean.",
    ),
    setting(
        "log.cleaner.dedupe.buffer.size",
        whole(1 << 20, 1 << 40, "bytes"),
        "67108864",
        AtRestart,
        "Memory for the keys of the one compacted log that is being cleaned, 24 bytes each. More keys take several cleanings.",
    ),
    setting(
        "log.cleaner.io.max.bytes.per.second",
        whole(1 << 16, 1 << 40, "bytes per second"),
        "67108864",
        AtRestart,
        "How fast compacted logs are cleaned, read and written bytes together.",
    ),
    setting(
        "producer.id.expiration.ms",
        whole(1000, 365 * DAY_MS, "ms"),
        "86400000",
        AtRestart,
        "How long a partition remembers an idempotent producer that sends it nothing.",
    ),
    setting(
        "producer.ids.max",
        whole(1000, 100_000_000, "producers"),
        "200000",
        AtRestart,
        "Idempotent producers that all partitions of the node remember together, about 300 bytes each (10,000 of one \
         partition at most). Above it a partition forgets the one that was silent for longest for each that comes.",
    ),
    // Replication.
    setting(
        "replica.lag.time.max.ms",
        whole(100, 3_600_000, "ms"),
        "10000",
        AtRestart,
        "How long a follower may stay behind before it leaves the in-sync set. A dead node leaves it at once.",
    ),
    setting(
        "leader.sync.lag.max.ms",
        whole(10, 3_600_000, "ms"),
        "500",
        AtRestart,
        "How far a leader's own sync may fall behind its followers before it resigns.",
    ),
];

//! Every setting of a node on one page.

use super::setting::Applies::{AtRestart, ToNewTopics};
use super::setting::{Applies, Kind, Setting};

const fn setting(
    name: &'static str,
    kind: Kind,
    default: &'static str,
    applies: Applies,
    about: &'static str,
) -> Setting {
    Setting { name, kind, default, applies, about }
}

const fn whole(least: i64, most: i64, unit: &'static str) -> Kind {
    Kind::Whole { least, most, unit }
}

/// The name under which Kafka's clients read from leaders only.
const LEADER_SELECTOR: &str = "org.apache.kafka.common.replica.LeaderSelector";

/// The name under which they read from a replica of their own rack.
pub(super) const RACK_AWARE_SELECTOR: &str = "org.apache.kafka.common.replica.RackAwareReplicaSelector";

const DAY_MS: i64 = 24 * 60 * 60 * 1000;

/// Every setting, area by area.
pub const SETTINGS: &[Setting] = &[
    // The node.
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
    // The network.
    setting(
        "quic.listen",
        Kind::Address,
        "127.0.0.1:9092",
        AtRestart,
        "Where nodes and native clients reach this node (UDP); port 0 for any free one. Every connection needs a \
         certificate of the cluster.",
    ),
    setting(
        "quic.advertised",
        Kind::Address,
        "",
        AtRestart,
        "The address told to others; empty for quic.listen, which must then be one that others can reach. Port 0 stands \
         for the port that quic.listen got. Names are resolved again at every dial.",
    ),
    setting(
        "quic.mtu.bytes",
        whole(1200, 65_000, "bytes"),
        "16384",
        AtRestart,
        "The largest datagram that path discovery may find. Larger saves CPU (1,452 costs about 2.7 times the CPU of \
         16,384); paths that carry less are found and used at what they carry.",
    ),
    setting(
        "quic.stream.window.bytes",
        whole(64 << 10, 1 << 30, "bytes"),
        "4194304",
        AtRestart,
        "What may be under way on one stream of data without having been read: round-trip time times bandwidth, or it is \
         the limit. Costs so much memory for each stream whose reader stands still.",
    ),
    setting(
        "quic.link.window.bytes",
        whole(64 << 10, 1 << 30, "bytes"),
        "16777216",
        AtRestart,
        "The same over all streams of a link together.",
    ),
    setting(
        "quic.send.window.bytes",
        whole(64 << 10, 1 << 30, "bytes"),
        "16777216",
        AtRestart,
        "What a link may have sent and not yet acknowledged. Costs so much memory for each link at worst.",
    ),
    setting(
        "quic.socket.buffer.bytes",
        whole(64 << 10, 1 << 30, "bytes"),
        "4194304",
        AtRestart,
        "The kernel's buffers of the UDP socket, each way. With the kernel's own 208 KiB a burst loses packets (1,300 in a \
         transfer instead of at most 40) and halves the rate each time. Without CAP_NET_ADMIN capped at \
         net.core.rmem_max and wmem_max. Packets are always handed to the kernel in segments (GSO) of up to 64 KiB: \
         without, a transfer costs four times the CPU.",
    ),
    setting(
        "http.listen",
        Kind::Address,
        "127.0.0.1:9093",
        AtRestart,
        "Where /metrics, /livez and /readyz are served (TCP, plain); port 0 for any free one, told at the start.",
    ),
    setting(
        "tls.authority",
        Kind::Path,
        "",
        AtRestart,
        "The cluster's authority certificate (PEM). Empty: certs/ in data.dir, made there for a cluster of one.",
    ),
    setting(
        "tls.certificate",
        Kind::Path,
        "",
        AtRestart,
        "This node's certificate (PEM), made by millstream certs. Empty as for tls.authority.",
    ),
    setting("tls.key", Kind::Path, "", AtRestart, "The key of tls.certificate (PEM)."),
    // Kafka's protocol.
    setting(
        "listeners",
        Kind::Text,
        "",
        AtRestart,
        "Where Kafka's clients reach this node (TCP), as NAME://host:port, several separated by commas; none for nowhere. A name \
         is one of PLAINTEXT, SSL, SASL_PLAINTEXT and SASL_SSL, or one of listener.security.protocol.map; port 0 for any free one. \
         Empty: PLAINTEXT at the address of quic.listen where that is on loopback, and nowhere else or at port 0. Who comes in \
         by a listener is told the addresses of the listeners of the same name of other nodes.",
    ),
    setting(
        "advertised.listeners",
        Kind::Text,
        "",
        AtRestart,
        "What clients are told of listeners, as NAME://host:port, several separated by commas. A listener that is not named is \
         told as it stands in listeners, which must then be an address that others can reach. Port 0 stands for the port that \
         the listener got.",
    ),
    setting(
        "listener.security.protocol.map",
        Kind::Text,
        "PLAINTEXT:PLAINTEXT,SSL:SSL,SASL_PLAINTEXT:SASL_PLAINTEXT,SASL_SSL:SASL_SSL",
        AtRestart,
        "The security protocol of each name of a listener, as NAME:PROTOCOL, several separated by commas.",
    ),
    setting(
        "broker.rack",
        Kind::Text,
        "",
        AtRestart,
        "Where this node stands: a rack, a zone. Where all nodes say so, the replicas of a partition lie in as many of them \
         as possible; at most 255 bytes.",
    ),
    setting(
        "replica.selector.class",
        Kind::Choice(&["", LEADER_SELECTOR, RACK_AWARE_SELECTOR]),
        "",
        AtRestart,
        "From which replica Kafka's clients read: the leader, or, by the name of Kafka's RackAwareReplicaSelector, one in \
         sync in the client.rack that they say. It says whom a leader names; followers serve readers of their rack.",
    ),
    setting(
        "allow.unauthenticated",
        Kind::Flag,
        "false",
        AtRestart,
        "Whether listeners may be open to other machines though their clients need not say who they are: PLAINTEXT, and SSL \
         unless ssl.client.auth is required.",
    ),
    setting(
        "ssl.keystore.location",
        Kind::Path,
        "",
        AtRestart,
        "The certificate that SSL and SASL_SSL listeners show, with those that lead to its authority (PEM), and its key unless \
         ssl.key.location names it. Not one of the cluster's own: clients are to know its authority.",
    ),
    setting(
        "ssl.key.location",
        Kind::Path,
        "",
        AtRestart,
        "The key of that certificate (PEM, not encrypted). Empty: it stands in ssl.keystore.location.",
    ),
    setting(
        "ssl.truststore.location",
        Kind::Path,
        "",
        AtRestart,
        "The authorities whose certificates clients may show (PEM). Needed unless ssl.client.auth is none.",
    ),
    setting(
        "ssl.client.auth",
        Kind::Choice(&["none", "requested", "required"]),
        "none",
        AtRestart,
        "Whether clients of SSL listeners show a certificate (X.509 version 3); its subject is then who they are.",
    ),
    setting(
        "ssl.principal.mapping.rules",
        Kind::Text,
        "DEFAULT",
        AtRestart,
        "How the subject of a certificate (RFC 2253) becomes a name: RULE:pattern/replacement/ (with L or U behind for lower or \
         upper case), several separated by commas, the first that fits; DEFAULT for the subject as it is.",
    ),
    setting(
        "sasl.enabled.mechanisms",
        Kind::Text,
        "SCRAM-SHA-256,SCRAM-SHA-512",
        AtRestart,
        "How clients of SASL listeners may log in, separated by commas: SCRAM-SHA-256, SCRAM-SHA-512, PLAIN. With PLAIN the \
         password itself is sent: on SASL_PLAINTEXT anybody on the way can read it.",
    ),
    setting(
        "sasl.server.max.receive.size",
        whole(1024, 1 << 20, "bytes"),
        "65536",
        AtRestart,
        "The longest request of a client that has not logged in yet.",
    ),
    setting(
        "connections.authentication.timeout.ms",
        whole(100, 600_000, "ms"),
        "10000",
        AtRestart,
        "How long a client may take for TLS and to log in, in all; it is disconnected then.",
    ),
    setting(
        "connection.failed.authentication.delay.ms",
        whole(0, 60_000, "ms"),
        "100",
        AtRestart,
        "How long a client that gave a wrong password waits for the answer, so that guessing takes time.",
    ),
    setting(
        "connections.max.reauth.ms",
        whole(0, i64::MAX, "ms"),
        "0",
        AtRestart,
        "How long a login lasts; a client that has not logged in again by then (KIP-368) is disconnected at its next request. 0 \
         for as long as the connection.",
    ),
    setting(
        "authorizer.class.name",
        Kind::Choice(&["", "acl", "org.apache.kafka.metadata.authorizer.StandardAuthorizer"]),
        "",
        AtRestart,
        "Whether access control lists say what clients of Kafka's protocol may do: acl, or the name that Kafka has for it. Empty: \
         everybody may do everything, and calls about lists are answered with SECURITY_DISABLED. The same on all nodes.",
    ),
    setting(
        "super.users",
        Kind::Text,
        "",
        AtRestart,
        "Who may do everything whatever lists say, as User:name, several separated by semicolons.",
    ),
    setting(
        "allow.everyone.if.no.acl.found",
        Kind::Flag,
        "false",
        AtRestart,
        "Whether everybody may do everything with what no list speaks of.",
    ),
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
        "Connections of Kafka clients from one address; more are refused.",
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
    // The quorum.
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
    // Topics.
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
    // The log.
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
    // Transactions.
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
        "offsets.retention.minutes",
        whole(1, 5_256_000, "minutes"),
        "10080",
        AtRestart,
        "How long offsets of a group without members are kept.",
    ),
];

/// The setting of this name.
#[must_use]
pub fn find(name: &str) -> Option<&'static Setting> {
    SETTINGS.iter().find(|setting| setting.name == name)
}

/// The name nearest to a wrong one, by edits.
#[must_use]
pub fn nearest(name: &str) -> &'static str {
    SETTINGS
        .iter()
        .map(|setting| setting.name)
        .min_by_key(|known| strsim::damerau_levenshtein(name, known))
        .unwrap_or("node.id")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_default_is_within_its_own_bounds() {
        for setting in SETTINGS {
            assert_eq!(setting.check(setting.default), Ok(()), "{}", setting.name);
        }
    }

    #[test]
    fn names_are_unique() {
        let names: std::collections::BTreeSet<_> = SETTINGS.iter().map(|setting| setting.name).collect();
        assert_eq!(names.len(), SETTINGS.len());
    }
}

//! The network between nodes, and the ports for people and certificates.

use super::{setting, whole};
use crate::config::setting::Applies::AtRestart;
use crate::config::setting::{Kind, Setting};

pub(super) const NETWORK: &[Setting] = &[
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
];

//! Where Kafka's clients come in.

use super::{LEADER_SELECTOR, RACK_AWARE_SELECTOR, setting};
use crate::config::setting::Applies::AtRestart;
use crate::config::setting::{Kind, Setting};

pub(super) const LISTENERS: &[Setting] = &[
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
];

//! Who Kafka's clients are, and what they may do.

use super::{setting, whole};
use crate::config::setting::Applies::AtRestart;
use crate::config::setting::{Kind, Setting};

pub(super) const SECURITY: &[Setting] = &[
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
];

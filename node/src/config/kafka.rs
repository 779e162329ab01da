//! The settings of Kafka's listener, typed.

use std::net::SocketAddr;
use std::time::Duration;

use super::ConfigError;
use super::catalogue::SETTINGS;
use super::typed::Reader;

/// The value of `listeners` for no listener.
const NONE: &str = "none";

/// What a listener's address begins with.
const PLAINTEXT: &str = "PLAINTEXT://";

/// How Kafka's clients are served.
#[derive(Clone, Debug, PartialEq, Eq)]
#[allow(missing_docs, reason = "each field is the setting of its name; the catalogue documents it")]
pub struct KafkaConfig {
    /// Where; `None` for nowhere.
    pub listen: Option<SocketAddr>,
    /// Whether it is open to other machines, and its clients are not asked who they are: said at every start.
    pub is_open: bool,
    pub request_max_bytes: usize,
    pub connections_max: usize,
    pub connections_per_ip_max: usize,
    pub connections_idle_max: Duration,
    pub auto_create_topics: bool,
    pub fetch_session_slots: usize,
    /// Every setting in force, to be told to those who ask by Kafka's call.
    pub told: Vec<(&'static str, String)>,
}

impl KafkaConfig {
    pub(super) fn read(reader: &Reader<'_>, quic: SocketAddr) -> Result<Self, ConfigError> {
        let listen = listen(reader, quic)?;
        let is_open = listen.is_some_and(|address| !address.ip().is_loopback());
        if is_open && !reader.flag("allow.unauthenticated")? {
            return Err(reader.wrong(
                "listeners",
                "is open to other machines, and its clients are not asked who they are: listen on 127.0.0.1, or set \
                 allow.unauthenticated = true",
            ));
        }
        Ok(Self {
            listen,
            is_open,
            request_max_bytes: reader.number("socket.request.max.bytes")?,
            connections_max: reader.number("max.connections")?,
            connections_per_ip_max: reader.number("max.connections.per.ip")?,
            connections_idle_max: reader.duration_ms("connections.max.idle.ms")?,
            auto_create_topics: reader.flag("auto.create.topics.enable")?,
            fetch_session_slots: reader.number("max.incremental.fetch.session.cache.slots")?,
            told: SETTINGS
                .iter()
                .map(|setting| (setting.name, reader.text(setting.name).to_owned()))
                .collect(),
        })
    }
}

fn listen(reader: &Reader<'_>, quic: SocketAddr) -> Result<Option<SocketAddr>, ConfigError> {
    let given = reader.text("listeners");
    if given.is_empty() {
        // Where the node is for others to reach, clients would be told an address at which nobody listens.
        return Ok(Some(quic).filter(|address| address.port() > 0 && address.ip().is_loopback()));
    }
    if given == NONE {
        return Ok(None);
    }
    let form = "must be one PLAINTEXT://host:port, or none";
    let address = given.strip_prefix(PLAINTEXT).ok_or_else(|| reader.wrong("listeners", form))?;
    let address = reader.resolve("listeners", address)?;
    if address.port() != quic.port() {
        let text = "must have the port of quic.listen: clients are told the host and port of quic.advertised";
        return Err(reader.wrong("listeners", text));
    }
    Ok(Some(address))
}

#[cfg(test)]
mod tests {
    use super::super::{ConfigError, NodeConfig, Settings};

    fn with(pairs: &[(&str, &str)]) -> Result<super::KafkaConfig, ConfigError> {
        let mut settings = Settings::default();
        for (name, value) in pairs {
            settings = settings.set(name, value)?;
        }
        NodeConfig::new(&settings).map(|config| config.kafka)
    }

    #[test]
    fn kafka_is_served_on_loopback_at_the_port_of_quic_unless_told_otherwise() {
        let listen = |pairs: &[(&str, &str)]| with(pairs).unwrap().listen.map(|address| address.to_string());
        assert_eq!(listen(&[]).as_deref(), Some("127.0.0.1:9092"));
        assert_eq!(listen(&[("quic.listen", "127.0.0.2:7")]).as_deref(), Some("127.0.0.2:7"));
        let open = [("quic.listen", "0.0.0.0:7"), ("quic.advertised", "host:7")];
        assert_eq!(listen(&open), None);
        assert_eq!(listen(&[("quic.listen", "127.0.0.1:0")]), None);
        assert_eq!(listen(&[("listeners", "none")]), None);
        assert_eq!(listen(&[("listeners", "PLAINTEXT://127.0.0.3:9092")]).as_deref(), Some("127.0.0.3:9092"));
    }

    #[test]
    fn a_listener_open_to_others_needs_a_word_for_it() {
        let open = ("listeners", "PLAINTEXT://0.0.0.0:9092");
        let error = with(&[open]).unwrap_err().to_string();
        assert!(error.contains("allow.unauthenticated = true"), "{error}");
        assert!(with(&[open, ("allow.unauthenticated", "true")]).unwrap().is_open);
        assert!(!with(&[]).unwrap().is_open);
    }

    #[test]
    fn what_is_no_listener_is_refused_with_the_setting_and_what_it_should_be() {
        for wrong in ["9092", "SSL://127.0.0.1:9092", "PLAINTEXT://127.0.0.1", "PLAINTEXT://127.0.0.1:9999"] {
            let error = with(&[("listeners", wrong)]).unwrap_err().to_string();
            assert!(error.starts_with("listeners = "), "{error}");
        }
    }
}

//! The settings of Kafka's listeners, typed.

use std::net::SocketAddr;
use std::time::Duration;

use super::ConfigError;
use super::catalogue::{self, RACK_AWARE_SELECTOR};
use super::listeners::{self, ListenerConfig, SecurityProtocol};
use super::security::{self, AuthorizerConfig, ClientAuth, SaslConfig, SslConfig};
use super::typed::Reader;

/// How Kafka's clients are served.
#[derive(Clone, Debug, PartialEq, Eq)]
#[allow(missing_docs, reason = "each field is the setting of its name; the catalogue documents it")]
pub struct KafkaConfig {
    /// Where; empty for nowhere.
    pub listeners: Vec<ListenerConfig>,
    /// TLS, where a listener has it.
    pub ssl: Option<SslConfig>,
    pub sasl: SaslConfig,
    pub authorizer: AuthorizerConfig,
    pub request_max_bytes: usize,
    pub connections_max: usize,
    pub connections_per_ip_max: usize,
    pub connections_idle_max: Duration,
    pub auto_create_topics: bool,
    pub fetch_session_slots: usize,
    /// Whether readers are told a replica of their own rack, and followers serve them.
    pub reads_nearby: bool,
    /// Every setting in force, to be told to those who ask by Kafka's call.
    pub told: Vec<(&'static str, String)>,
}

impl KafkaConfig {
    pub(super) fn read(
        reader: &Reader<'_>,
        quic: SocketAddr,
        quic_advertised: &str,
    ) -> Result<Self, ConfigError> {
        let listeners = listeners::read(reader, quic, quic_advertised)?;
        let has_tls = listeners.iter().any(|listener| listener.protocol.has_tls());
        let config = Self {
            ssl: security::ssl(reader, has_tls)?,
            sasl: security::sasl(reader)?,
            authorizer: security::authorizer(reader)?,
            listeners,
            request_max_bytes: reader.number("socket.request.max.bytes")?,
            connections_max: reader.number("max.connections")?,
            connections_per_ip_max: reader.number("max.connections.per.ip")?,
            connections_idle_max: reader.duration_ms("connections.max.idle.ms")?,
            auto_create_topics: reader.flag("auto.create.topics.enable")?,
            fetch_session_slots: reader.number("max.incremental.fetch.session.cache.slots")?,
            reads_nearby: reader.text("replica.selector.class") == RACK_AWARE_SELECTOR,
            told: catalogue::all()
                .map(|setting| (setting.name, reader.text(setting.name).to_owned()))
                .collect(),
        };
        let open = config.listeners.iter().find(|listener| config.is_open(listener));
        match open {
            Some(open) if !reader.flag("allow.unauthenticated")? => Err(reader.wrong(
                "listeners",
                &format!(
                    "{} is open to other machines, and its clients need not say who they are: listen on 127.0.0.1, take \
                     SASL_SSL, or SSL with ssl.client.auth = required, or set allow.unauthenticated = true",
                    open.name
                ),
            )),
            _ => Ok(config),
        }
    }

    /// Whether a listener is open to other machines, and its clients need not say who they are.
    #[must_use]
    pub fn is_open(&self, listener: &ListenerConfig) -> bool {
        let is_known = match listener.protocol {
            SecurityProtocol::Plaintext => false,
            SecurityProtocol::Ssl => {
                self.ssl.as_ref().is_some_and(|ssl| ssl.client_auth == ClientAuth::Required)
            }
            SecurityProtocol::SaslPlaintext | SecurityProtocol::SaslSsl => true,
        };
        !is_known && !listener.address.ip().is_loopback()
    }
}

#[cfg(test)]
mod tests {
    use super::super::{ConfigError, NodeConfig, Settings};
    use super::*;

    fn with(pairs: &[(&str, &str)]) -> Result<KafkaConfig, ConfigError> {
        let mut settings = Settings::default();
        for (name, value) in pairs {
            settings = settings.set(name, value)?;
        }
        NodeConfig::new(&settings).map(|config| config.kafka)
    }

    /// Where it listens and what is told, of each listener.
    fn places(pairs: &[(&str, &str)]) -> Vec<String> {
        let config = with(pairs).unwrap();
        let place = |listener: &ListenerConfig| {
            let told = &listener.advertised;
            format!("{listener} {} {}:{}", listener.protocol.name(), told.host, told.port)
        };
        config.listeners.iter().map(place).collect()
    }

    #[test]
    fn kafka_is_served_on_loopback_at_the_port_of_quic_unless_told_otherwise() {
        assert_eq!(places(&[]), ["PLAINTEXT://127.0.0.1:9092 PLAINTEXT 127.0.0.1:9092"]);
        let quic = [("quic.listen", "127.0.0.2:7"), ("quic.advertised", "here:8")];
        assert_eq!(places(&quic), ["PLAINTEXT://127.0.0.2:7 PLAINTEXT here:8"]);
        assert!(places(&[("quic.listen", "0.0.0.0:7"), ("quic.advertised", "host:7")]).is_empty());
        assert!(places(&[("quic.listen", "127.0.0.1:0")]).is_empty());
        assert!(places(&[("listeners", "none")]).is_empty());
    }

    #[test]
    fn listeners_have_names_protocols_and_what_clients_are_told() {
        let several = [
            ("listeners", "IN://127.0.0.1:9092, OUT://0.0.0.0:9093, SIX://[::1]:0"),
            ("listener.security.protocol.map", "IN:PLAINTEXT,OUT:SASL_PLAINTEXT,SIX:PLAINTEXT"),
            ("advertised.listeners", "OUT://kafka.example:19093"),
        ];
        let expected = [
            "IN://127.0.0.1:9092 PLAINTEXT 127.0.0.1:9092",
            "OUT://0.0.0.0:9093 SASL_PLAINTEXT kafka.example:19093",
            "SIX://[::1]:0 PLAINTEXT ::1:0",
        ];
        assert_eq!(places(&several), expected);
    }

    #[test]
    fn an_address_that_nobody_can_be_told_stops_the_start() {
        for listen in
            ["SASL_PLAINTEXT://0.0.0.0:9092", "SASL_PLAINTEXT://:9092", "SASL_PLAINTEXT://[::]:9092"]
        {
            let error = with(&[("listeners", listen)]).unwrap_err().to_string();
            assert!(error.contains("set advertised.listeners"), "{error}");
        }
    }

    #[test]
    fn a_listener_open_to_others_needs_clients_that_say_who_they_are_or_a_word_for_it() {
        let open = |protocol: &str| format!("{protocol}://0.0.0.0:9092");
        let told = |protocol: &str| format!("{protocol}://host:9092");
        let try_with = |protocol: &str, more: &[(&str, &str)]| {
            let (open, told) = (open(protocol), told(protocol));
            let mut pairs = vec![("listeners", open.as_str()), ("advertised.listeners", told.as_str())];
            pairs.extend([("ssl.keystore.location", "k"), ("ssl.truststore.location", "t")]);
            pairs.extend(more);
            with(&pairs).map(|_| ()).map_err(|error| error.to_string())
        };
        for (protocol, more) in
            [("PLAINTEXT", &[][..]), ("SSL", &[]), ("SSL", &[("ssl.client.auth", "requested")])]
        {
            let error = try_with(protocol, more).unwrap_err();
            assert!(error.contains("allow.unauthenticated = true"), "{error}");
            let mut allowed = more.to_vec();
            allowed.push(("allow.unauthenticated", "true"));
            assert_eq!(try_with(protocol, &allowed), Ok(()));
        }
        assert_eq!(try_with("SSL", &[("ssl.client.auth", "required")]), Ok(()));
        assert_eq!(try_with("SASL_SSL", &[]), Ok(()));
        assert_eq!(try_with("SASL_PLAINTEXT", &[]), Ok(()));
    }

    #[test]
    fn what_is_wrong_is_refused_with_the_setting_and_what_it_should_be() {
        for (setting, wrong, more) in [
            ("listeners", "9092", &[][..]),
            ("listeners", "PLAINTEXT://127.0.0.1", &[]),
            ("listeners", "OTHER://127.0.0.1:1", &[]),
            ("listeners", "PLAINTEXT://127.0.0.1:1,PLAINTEXT://127.0.0.1:2", &[]),
            ("ssl.keystore.location", "", &[("listeners", "SSL://127.0.0.1:9092")]),
            ("advertised.listeners", "OTHER://a:1", &[("listeners", "PLAINTEXT://127.0.0.1:1")]),
            ("listener.security.protocol.map", "A:TLS", &[("listeners", "A://127.0.0.1:1")]),
            ("sasl.enabled.mechanisms", "GSSAPI", &[]),
            ("super.users", "alice", &[]),
            ("ssl.principal.mapping.rules", "RULE:(/x/", &[]),
        ] {
            let mut pairs = more.to_vec();
            pairs.push((setting, wrong));
            let error = with(&pairs).unwrap_err().to_string();
            assert!(error.starts_with(&format!("{setting} = ")), "{error}");
        }
    }
}

//! Kafka's listeners: name, security protocol, where they listen, and what clients are told.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::net::SocketAddr;

use millstream_actors::access::AdvertisedListener;

use super::ConfigError;
use super::typed::Reader;

/// The value of `listeners` for no listener.
const NONE: &str = "none";

/// How the clients of a listener are spoken to, and how they say who they are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SecurityProtocol {
    /// Plain, and they do not.
    Plaintext,
    /// TLS, by a certificate if at all.
    Ssl,
    /// Plain, and they log in.
    SaslPlaintext,
    /// TLS, and they log in.
    SaslSsl,
}

impl SecurityProtocol {
    const ALL: [Self; 4] = [Self::Plaintext, Self::Ssl, Self::SaslPlaintext, Self::SaslSsl];

    /// Kafka's name of it.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Plaintext => "PLAINTEXT",
            Self::Ssl => "SSL",
            Self::SaslPlaintext => "SASL_PLAINTEXT",
            Self::SaslSsl => "SASL_SSL",
        }
    }

    /// Whether there is TLS.
    #[must_use]
    pub const fn has_tls(self) -> bool {
        matches!(self, Self::Ssl | Self::SaslSsl)
    }

    /// Whether clients log in.
    #[must_use]
    pub const fn has_sasl(self) -> bool {
        matches!(self, Self::SaslPlaintext | Self::SaslSsl)
    }

    fn named(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|protocol| protocol.name() == name)
    }
}

/// A listener.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ListenerConfig {
    /// Its name.
    pub name: String,
    /// How clients are spoken to.
    pub protocol: SecurityProtocol,
    /// Where it listens.
    pub address: SocketAddr,
    /// What clients are told; port 0 for the one that it gets.
    pub advertised: AdvertisedListener,
}

impl fmt::Display for ListenerConfig {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "{}://{}", self.name, self.address)
    }
}

/// One `NAME://host:port`.
struct Endpoint<'a> {
    name: &'a str,
    host: &'a str,
    port: u16,
}

fn endpoints<'a>(reader: &'a Reader<'_>, setting: &str) -> Result<Vec<Endpoint<'a>>, ConfigError> {
    let wrong = || reader.wrong(setting, "must be NAME://host:port, several separated by commas");
    let parsed = reader.text(setting).split(',').map(str::trim).map(|text| {
        let (name, address) = text.split_once("://")?;
        let (host, port) = address.rsplit_once(':')?;
        let host = host.strip_prefix('[').and_then(|host| host.strip_suffix(']')).unwrap_or(host);
        let is_name = !name.is_empty()
            && name.chars().all(|letter| letter.is_ascii_alphanumeric() || "_-".contains(letter));
        (is_name && !host.contains(['/', ' '])).then_some(Endpoint { name, host, port: port.parse().ok()? })
    });
    let parsed = parsed.collect::<Option<Vec<_>>>().ok_or_else(wrong)?;
    let names: BTreeSet<&str> = parsed.iter().map(|endpoint| endpoint.name).collect();
    if names.len() == parsed.len() {
        Ok(parsed)
    } else {
        Err(reader.wrong(setting, "names a listener twice"))
    }
}

fn protocols(reader: &Reader<'_>) -> Result<BTreeMap<String, SecurityProtocol>, ConfigError> {
    const SETTING: &str = "listener.security.protocol.map";
    let mut map = BTreeMap::new();
    for pair in reader.text(SETTING).split(',').map(str::trim).filter(|pair| !pair.is_empty()) {
        let found = pair.split_once(':').and_then(|(name, protocol)| {
            Some((name.trim().to_owned(), SecurityProtocol::named(protocol.trim())?))
        });
        let form = "must be NAME:PROTOCOL, separated by commas; protocols are PLAINTEXT, SSL, SASL_PLAINTEXT and SASL_SSL";
        let (name, protocol) = found.ok_or_else(|| reader.wrong(SETTING, form))?;
        if map.insert(name, protocol).is_some() {
            return Err(reader.wrong(SETTING, "names a listener twice"));
        }
    }
    Ok(map)
}

/// The listeners that the settings name. Where they name none, the one beside QUIC on loopback: it is told as `quic.advertised`.
pub(super) fn read(
    reader: &Reader<'_>,
    quic: SocketAddr,
    quic_advertised: &str,
) -> Result<Vec<ListenerConfig>, ConfigError> {
    match reader.text("listeners") {
        NONE => Ok(Vec::new()),
        "" => {
            // Where the node is for others to reach, clients would be told an address at which nobody listens.
            if quic.port() == 0 || !quic.ip().is_loopback() {
                return Ok(Vec::new());
            }
            let protocol = SecurityProtocol::Plaintext;
            let (host, port) = quic_advertised.rsplit_once(':').unwrap_or((quic_advertised, ""));
            let host = host.trim_start_matches('[').trim_end_matches(']').to_owned();
            let name = protocol.name().to_owned();
            let port = port.parse().ok().filter(|port| *port > 0).unwrap_or(quic.port());
            let advertised = AdvertisedListener { name: name.clone(), host, port };
            Ok(vec![ListenerConfig { name, protocol, address: quic, advertised }])
        }
        _ => named(reader),
    }
}

fn named(reader: &Reader<'_>) -> Result<Vec<ListenerConfig>, ConfigError> {
    let protocols = protocols(reader)?;
    let given = endpoints(reader, "listeners")?;
    let told = match reader.text("advertised.listeners") {
        "" => Vec::new(),
        _ => endpoints(reader, "advertised.listeners")?,
    };
    if let Some(stranger) = told.iter().find(|told| !given.iter().any(|given| given.name == told.name)) {
        let text = format!("names {}, which listeners does not", stranger.name);
        return Err(reader.wrong("advertised.listeners", &text));
    }
    let mut listeners = Vec::with_capacity(given.len());
    for endpoint in given {
        let Some(protocol) = protocols.get(endpoint.name).copied() else {
            let text = format!("{} has no protocol in listener.security.protocol.map", endpoint.name);
            return Err(reader.wrong("listeners", &text));
        };
        // Kafka's word for every address of the machine is no host at all.
        let host = if endpoint.host.is_empty() { "0.0.0.0" } else { endpoint.host };
        let place = if host.contains(':') {
            format!("[{host}]:{}", endpoint.port)
        } else {
            format!("{host}:{}", endpoint.port)
        };
        let address = reader.resolve("listeners", &place)?;
        let told = told.iter().find(|told| told.name == endpoint.name);
        let (setting, host, port) = match told {
            Some(told) => ("advertised.listeners", told.host, told.port),
            None => ("listeners", host, endpoint.port),
        };
        let is_anywhere = host.parse::<std::net::IpAddr>().is_ok_and(|ip| ip.is_unspecified());
        if host.is_empty() || is_anywhere {
            let text = format!(
                "{} is every address of this machine and none that clients can be told: set advertised.listeners to one",
                endpoint.name
            );
            return Err(reader.wrong(setting, &text));
        }
        let name = endpoint.name.to_owned();
        let advertised = AdvertisedListener { name: name.clone(), host: host.to_owned(), port };
        listeners.push(ListenerConfig { name, protocol, address, advertised });
    }
    let all: Vec<_> = listeners.iter().map(|listener| listener.advertised.clone()).collect();
    millstream_actors::access::check_listeners(&all)
        .map_err(|wrong| reader.wrong("listeners", &wrong.to_string()))?;
    Ok(listeners)
}

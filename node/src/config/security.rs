//! Settings of TLS, logins and access control lists of Kafka's listeners, typed.

use std::collections::BTreeSet;
use std::path::PathBuf;
use std::time::Duration;

use millstream_actors::access::ScramMechanism;

use super::ConfigError;
use super::typed::Reader;
use crate::security::mapping::MappingRules;

/// Whether clients show certificates.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ClientAuth {
    /// They are not asked.
    None,
    /// They are asked, and may come without.
    Requested,
    /// They must.
    Required,
}

/// The files of TLS.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SslConfig {
    /// `ssl.keystore.location`.
    pub keystore: PathBuf,
    /// `ssl.key.location`.
    pub key: Option<PathBuf>,
    /// `ssl.truststore.location`.
    pub truststore: Option<PathBuf>,
    /// `ssl.client.auth`.
    pub client_auth: ClientAuth,
    /// `ssl.principal.mapping.rules`.
    pub mapping: MappingRules,
}

/// A mechanism of SASL.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SaslMechanism {
    /// RFC 5802, 7677.
    Scram(ScramMechanism),
    /// RFC 4616.
    Plain,
}

impl SaslMechanism {
    const ALL: [Self; 3] =
        [Self::Scram(ScramMechanism::Sha256), Self::Scram(ScramMechanism::Sha512), Self::Plain];

    /// Its registered name.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Scram(mechanism) => mechanism.name(),
            Self::Plain => "PLAIN",
        }
    }
}

/// How clients log in.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SaslConfig {
    /// `sasl.enabled.mechanisms`.
    pub mechanisms: Vec<SaslMechanism>,
    /// `sasl.server.max.receive.size`.
    pub request_max_bytes: usize,
    /// `connections.authentication.timeout.ms`.
    pub within: Duration,
    /// `connection.failed.authentication.delay.ms`.
    pub failed_delay: Duration,
    /// `connections.max.reauth.ms`.
    pub lasts: Option<Duration>,
}

/// What access control lists mean here.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct AuthorizerConfig {
    /// `authorizer.class.name`: whether they are asked at all.
    pub is_on: bool,
    /// `super.users`.
    pub super_users: BTreeSet<String>,
    /// `allow.everyone.if.no.acl.found`.
    pub everyone_if_none: bool,
}

/// TLS, if a listener has it.
pub(super) fn ssl(reader: &Reader<'_>, is_needed: bool) -> Result<Option<SslConfig>, ConfigError> {
    let path = |name: &str| Some(reader.text(name)).filter(|path| !path.is_empty()).map(PathBuf::from);
    let mapping = MappingRules::parse(reader.text("ssl.principal.mapping.rules"))
        .map_err(|wrong: String| reader.wrong("ssl.principal.mapping.rules", &wrong))?;
    if !is_needed {
        return Ok(None);
    }
    let Some(keystore) = path("ssl.keystore.location") else {
        let text = "must name the certificate that listeners of SSL and SASL_SSL show";
        return Err(reader.wrong("ssl.keystore.location", text));
    };
    let client_auth = match reader.text("ssl.client.auth") {
        "required" => ClientAuth::Required,
        "requested" => ClientAuth::Requested,
        _ => ClientAuth::None,
    };
    let truststore = path("ssl.truststore.location");
    if client_auth != ClientAuth::None && truststore.is_none() {
        let text = "must name the authorities of clients' certificates, since ssl.client.auth asks for them";
        return Err(reader.wrong("ssl.truststore.location", text));
    }
    Ok(Some(SslConfig { keystore, key: path("ssl.key.location"), truststore, client_auth, mapping }))
}

pub(super) fn sasl(reader: &Reader<'_>) -> Result<SaslConfig, ConfigError> {
    const MECHANISMS: &str = "sasl.enabled.mechanisms";
    let mut mechanisms = Vec::new();
    for name in reader.text(MECHANISMS).split(',').map(str::trim) {
        let known = SaslMechanism::ALL.into_iter().find(|mechanism| mechanism.name() == name);
        let form = "must be some of SCRAM-SHA-256, SCRAM-SHA-512 and PLAIN, separated by commas";
        mechanisms.push(known.ok_or_else(|| reader.wrong(MECHANISMS, form))?);
    }
    Ok(SaslConfig {
        mechanisms,
        request_max_bytes: reader.number("sasl.server.max.receive.size")?,
        within: reader.duration_ms("connections.authentication.timeout.ms")?,
        failed_delay: reader.duration_ms("connection.failed.authentication.delay.ms")?,
        lasts: Some(reader.duration_ms("connections.max.reauth.ms")?).filter(|lasts| !lasts.is_zero()),
    })
}

pub(super) fn authorizer(reader: &Reader<'_>) -> Result<AuthorizerConfig, ConfigError> {
    const USERS: &str = "super.users";
    let mut super_users = BTreeSet::new();
    for user in reader.text(USERS).split(';').map(str::trim).filter(|user| !user.is_empty()) {
        if !user.split_once(':').is_some_and(|(kind, name)| kind == "User" && !name.is_empty()) {
            return Err(reader.wrong(USERS, "must be User:name, several separated by semicolons"));
        }
        super_users.insert(user.to_owned());
    }
    Ok(AuthorizerConfig {
        is_on: !reader.text("authorizer.class.name").is_empty(),
        super_users,
        everyone_if_none: reader.flag("allow.everyone.if.no.acl.found")?,
    })
}

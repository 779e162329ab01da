//! Who is who: node ids, the cluster's certificate authority, certificates of nodes and clients.
//!
//! Every link is mutual TLS 1.3. A certificate names its holder and its cluster in one URI,
//! `millstream://CLUSTER/node/3` or `millstream://CLUSTER/client/NAME`; host names play no part, so that a node may
//! move. Whoever dials node 3 must find a certificate of node 3; a client's certificate opens no server.

mod authority;
mod credentials;
#[cfg(test)]
mod tests;
mod tls;
mod verify;

use std::fmt;
use std::str::FromStr;

use rustls::pki_types::CertificateDer;
use serde::{Deserialize, Serialize};
use uuid::Uuid;
use x509_parser::extensions::GeneralName;

pub use authority::{ClusterAuthority, VALIDITY_DAYS};
pub use credentials::Credentials;
pub(crate) use tls::{client_config, server_config};

/// A node of the cluster, by number (1 and up; Kafka's broker id).
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct NodeId(pub u32);

impl fmt::Display for NodeId {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "{}", self.0)
    }
}

/// A cluster for its whole life: drawn when its authority is made.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct ClusterId(pub Uuid);

impl fmt::Display for ClusterId {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(formatter)
    }
}

/// Whom a certificate stands for.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Holder {
    /// The cluster's authority itself.
    Authority,
    /// A node.
    Node(NodeId),
    /// A client, by name.
    Client(String),
}

impl fmt::Display for Holder {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Authority => write!(formatter, "the authority"),
            Self::Node(node) => write!(formatter, "node {node}"),
            Self::Client(name) => write!(formatter, "client {name:?}"),
        }
    }
}

/// What a certificate says: its holder, and the cluster the holder belongs to.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Identity {
    /// The cluster.
    pub cluster: ClusterId,
    /// The holder.
    pub holder: Holder,
}

const SCHEME: &str = "millstream://";

impl fmt::Display for Identity {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "{SCHEME}{}", self.cluster)?;
        match &self.holder {
            Holder::Authority => Ok(()),
            Holder::Node(node) => write!(formatter, "/node/{node}"),
            Holder::Client(name) => write!(formatter, "/client/{name}"),
        }
    }
}

impl FromStr for Identity {
    type Err = IdentityError;

    fn from_str(uri: &str) -> Result<Self, IdentityError> {
        let unreadable = || IdentityError::NotOfMillstream(format!("the name {uri:?} is not of its form"));
        let path = uri.strip_prefix(SCHEME).ok_or_else(unreadable)?;
        let (cluster, holder) = path.split_once('/').map_or((path, None), |(id, rest)| (id, Some(rest)));
        let cluster = ClusterId(Uuid::try_parse(cluster).map_err(|_| unreadable())?);
        let holder = match holder.map(|holder| holder.split_once('/')) {
            None => Holder::Authority,
            Some(Some(("node", id))) => Holder::Node(NodeId(id.parse().map_err(|_| unreadable())?)),
            Some(Some(("client", name))) => Holder::Client(checked_client_name(name)?.to_owned()),
            Some(_) => return Err(unreadable()),
        };
        Ok(Self { cluster, holder })
    }
}

impl Identity {
    /// What this certificate says of its holder; the signature is not checked here.
    pub fn of(certificate: &CertificateDer<'_>) -> Result<Self, IdentityError> {
        let unreadable = |error: &dyn fmt::Display| IdentityError::NotOfMillstream(error.to_string());
        let (_, parsed) =
            x509_parser::parse_x509_certificate(certificate).map_err(|error| unreadable(&error))?;
        let names = parsed.subject_alternative_name().map_err(|error| unreadable(&error))?;
        let uri = names.iter().flat_map(|names| &names.value.general_names).find_map(|name| match name {
            GeneralName::URI(uri) if uri.starts_with(SCHEME) => Some(*uri),
            _ => None,
        });
        uri.ok_or_else(|| unreadable(&"it holds no millstream:// name"))?.parse()
    }
}

/// A client's name as it may stand in a certificate.
fn checked_client_name(name: &str) -> Result<&str, IdentityError> {
    let allowed = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'.' | b'_' | b'-' | b'@');
    if name.is_empty() || name.len() > 255 || !name.bytes().all(allowed) {
        return Err(IdentityError::ClientName(name.to_owned()));
    }
    Ok(name)
}

/// Why a certificate, a key or an authority cannot be used.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum IdentityError {
    /// A name that cannot stand in a certificate.
    #[error("{0:?} is no client name: use 1 to 255 letters, digits, '.', '_', '-' or '@'")]
    ClientName(String),
    /// Not a certificate of ours.
    #[error("not a Millstream certificate: {0}; make certificates with `millstream certs`")]
    NotOfMillstream(String),
    /// The text is not the PEM expected.
    #[error("no {what} in the PEM text: {error}")]
    Pem {
        /// What was looked for.
        what: &'static str,
        /// Why it was not found.
        error: String,
    },
    /// Certificate, key and authority do not belong together, or the certificate is out of date.
    #[error("{holder}'s certificate cannot be used: {reason}")]
    Unusable {
        /// Whose it is.
        holder: String,
        /// Why.
        reason: String,
    },
    /// The library that makes certificates failed.
    #[error("the certificate could not be made: {0}")]
    Making(String),
}

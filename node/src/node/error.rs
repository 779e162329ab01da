//! Why a node does not start.

use std::path::PathBuf;

use millstream_actors::cluster::quorum;
use millstream_actors::log::LogError;
use millstream_actors::partition::supervisor::CannotSupervise;
use millstream_transport::peer::EndpointError;

use crate::certificates::CertificateError;
use crate::config::ConfigError;
use crate::security::tls::TlsError;

/// Why a node does not start.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// A setting is wrong.
    #[error(transparent)]
    Config(#[from] ConfigError),
    /// A certificate cannot be used.
    #[error(transparent)]
    Certificate(#[from] CertificateError),
    /// The data directory cannot be used.
    #[error("data.dir {}: {error}", path.display())]
    Directory {
        /// The directory.
        path: PathBuf,
        /// Why.
        error: std::io::Error,
    },
    /// The logs cannot be used.
    #[error(transparent)]
    Log(#[from] LogError),
    /// The network cannot be used.
    #[error(transparent)]
    Endpoint(#[from] EndpointError),
    /// The quorum cannot be taken part in.
    #[error(transparent)]
    Quorum(#[from] quorum::StartError),
    /// The replicas cannot be looked after.
    #[error(transparent)]
    Replicas(#[from] CannotSupervise),
    /// An actor did not start.
    #[error("an actor did not start: {0}")]
    Actor(#[from] ractor::SpawnErr),
    /// Kafka's clients cannot be served.
    #[error("listeners: {address} cannot be listened on: {error}; another process may use the port")]
    Kafka {
        /// The address.
        address: std::net::SocketAddr,
        /// Why.
        error: std::io::Error,
    },
    /// TLS of Kafka's listeners cannot be set up.
    #[error(transparent)]
    Tls(#[from] TlsError),
    /// Clients cannot be told apart.
    #[error("{0}")]
    Security(String),
    /// Metrics or HTTP cannot be served.
    #[error("{0}")]
    Http(String),
    /// There is no thread for the data plane.
    #[error("node.cores: there is no thread for the data plane")]
    NoCores,
    /// Threads cannot be started.
    #[error("threads cannot be started: {0}")]
    Threads(std::io::Error),
}

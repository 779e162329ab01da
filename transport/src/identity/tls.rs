//! Mutual TLS 1.3 for a link: both sides show a certificate of the cluster.

use std::sync::Arc;
use std::time::Duration;

use rustls::client::Resumption;
use rustls::crypto::{CryptoProvider, ring};
use rustls::pki_types::UnixTime;
use rustls::time_provider::TimeProvider;
use rustls::{ClientConfig, RootCertStore, ServerConfig};

use super::verify::{MemberVerifier, NodeVerifier};
use super::{Credentials, IdentityError, NodeId};
use crate::world::Clock;

/// The protocol's name in the handshake; whoever speaks another is refused there.
const PROTOCOL: &[u8] = b"millstream";

/// The world's clock for the check of validity, so that it follows simulated time.
#[derive(Debug)]
struct WorldTime(Clock);

impl WorldTime {
    fn now(&self) -> UnixTime {
        let ms = u64::try_from(self.0.wall_ms()).unwrap_or(0);
        UnixTime::since_unix_epoch(Duration::from_millis(ms))
    }
}

impl TimeProvider for WorldTime {
    fn current_time(&self) -> Option<UnixTime> {
        Some(self.now())
    }
}

/// What a side that is dialled shows and demands.
pub(crate) fn server_config(credentials: &Credentials, clock: &Clock) -> Result<ServerConfig, IdentityError> {
    let failed = |error: rustls::Error| unusable(credentials, &error);
    let provider = provider();
    let cluster = credentials.identity().cluster;
    let verifier =
        MemberVerifier::new(cluster, roots(credentials)?, Arc::clone(&provider)).map_err(failed)?;
    let mut config = ServerConfig::builder_with_details(provider, Arc::new(WorldTime(clock.clone())))
        .with_protocol_versions(&[&rustls::version::TLS13])
        .map_err(failed)?
        .with_client_cert_verifier(Arc::new(verifier))
        .with_single_cert(vec![credentials.certificate.clone()], credentials.key.clone_key())
        .map_err(failed)?;
    config.alpn_protocols = vec![PROTOCOL.to_vec()];
    // No resumption: a link lives for hours, and a resumed one would skip the check of the certificate.
    config.send_tls13_tickets = 0;
    Ok(config)
}

/// What a side that dials shows and demands: a node's certificate, and `expected`'s where it is known.
pub(crate) fn client_config(
    credentials: &Credentials,
    clock: &Clock,
    expected: Option<NodeId>,
) -> Result<ClientConfig, IdentityError> {
    let failed = |error: rustls::Error| unusable(credentials, &error);
    let provider = provider();
    let algorithms = provider.signature_verification_algorithms;
    let cluster = credentials.identity().cluster;
    let verifier = NodeVerifier::new(cluster, roots(credentials)?, algorithms, expected);
    let mut config = ClientConfig::builder_with_details(provider, Arc::new(WorldTime(clock.clone())))
        .with_protocol_versions(&[&rustls::version::TLS13])
        .map_err(failed)?
        .dangerous()
        .with_custom_certificate_verifier(Arc::new(verifier))
        .with_client_auth_cert(vec![credentials.certificate.clone()], credentials.key.clone_key())
        .map_err(failed)?;
    config.alpn_protocols = vec![PROTOCOL.to_vec()];
    config.enable_sni = false;
    config.resumption = Resumption::disabled();
    Ok(config)
}

/// AES-128 first: half the cost of ChaCha20 on every machine with AES instructions.
fn provider() -> Arc<CryptoProvider> {
    let mut provider = ring::default_provider();
    provider.cipher_suites = vec![
        ring::cipher_suite::TLS13_AES_128_GCM_SHA256,
        ring::cipher_suite::TLS13_AES_256_GCM_SHA384,
        ring::cipher_suite::TLS13_CHACHA20_POLY1305_SHA256,
    ];
    Arc::new(provider)
}

fn roots(credentials: &Credentials) -> Result<Arc<RootCertStore>, IdentityError> {
    let mut roots = RootCertStore::empty();
    roots.add(credentials.authority.clone()).map_err(|error| unusable(credentials, &error))?;
    Ok(Arc::new(roots))
}

fn unusable(credentials: &Credentials, error: &rustls::Error) -> IdentityError {
    IdentityError::Unusable { holder: credentials.identity().holder.to_string(), reason: error.to_string() }
}

//! TLS of listeners: the certificate they show, and those that their clients may show.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use rustls::crypto::ring;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::server::WebPkiClientVerifier;
use rustls::server::danger::ClientCertVerifier;
use rustls::{RootCertStore, ServerConfig};
use tokio_rustls::TlsAcceptor;

use super::mapping::MappingRules;
use super::principal::Principal;
use super::subject::subject;
use crate::config::{ClientAuth, SslConfig};

/// Files of TLS that cannot be used.
#[derive(Debug, thiserror::Error)]
#[error("{setting} = {}: {reason}", path.display())]
pub struct TlsError {
    setting: &'static str,
    path: PathBuf,
    reason: String,
}

/// What listeners with TLS work with. Cheap to clone.
#[derive(Clone)]
pub(crate) struct Tls {
    /// Of the listeners whose clients are known by certificates.
    by_certificate: TlsAcceptor,
    /// Of those whose clients log in: no certificate is asked for.
    by_login: TlsAcceptor,
    mapping: MappingRules,
}

impl std::fmt::Debug for Tls {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.debug_struct("Tls").field("mapping", &self.mapping).finish_non_exhaustive()
    }
}

impl Tls {
    /// Reads the files.
    pub(crate) fn load(config: &SslConfig) -> Result<Self, TlsError> {
        let wrong = |setting: &'static str, path: &Path| {
            let path = path.to_owned();
            move |reason: String| TlsError { setting, path, reason }
        };
        let chain =
            certificates(&config.keystore).map_err(wrong("ssl.keystore.location", &config.keystore))?;
        let (setting, path) = match &config.key {
            Some(key) => ("ssl.key.location", key),
            None => ("ssl.keystore.location", &config.keystore),
        };
        let key = PrivateKeyDer::from_pem_file(path)
            .map_err(|error| wrong(setting, path)(format!("has no key that can be read: {error}")))?;
        let of = |verifier: Option<Arc<dyn ClientCertVerifier>>| {
            server(verifier, chain.clone(), key.clone_key())
                .map_err(|error| wrong("ssl.keystore.location", &config.keystore)(error.to_string()))
        };
        let verifier = match (config.client_auth, &config.truststore) {
            (ClientAuth::None, _) | (_, None) => None,
            (asked, Some(path)) => {
                Some(verifier(path, asked).map_err(wrong("ssl.truststore.location", path))?)
            }
        };
        Ok(Self { by_certificate: of(verifier)?, by_login: of(None)?, mapping: config.mapping.clone() })
    }

    /// What accepts connections; `logs_in` says whether clients log in afterwards.
    pub(crate) const fn acceptor(&self, logs_in: bool) -> &TlsAcceptor {
        if logs_in { &self.by_login } else { &self.by_certificate }
    }

    /// Who the holder of the first of these certificates is; anonymous without one. The error says why nobody.
    pub(crate) fn principal(&self, shown: Option<&[CertificateDer<'_>]>) -> Result<Principal, String> {
        let Some(certificate) = shown.and_then(|shown| shown.first()) else {
            return Ok(Principal::anonymous());
        };
        let subject = subject(certificate)?;
        let name = self.mapping.name(&subject);
        name.map(|name| Principal::user(&name))
            .ok_or_else(|| format!("no rule of ssl.principal.mapping.rules fits {subject}"))
    }
}

fn server(
    verifier: Option<Arc<dyn ClientCertVerifier>>,
    chain: Vec<CertificateDer<'static>>,
    key: PrivateKeyDer<'static>,
) -> Result<TlsAcceptor, rustls::Error> {
    let builder = ServerConfig::builder_with_provider(Arc::new(ring::default_provider()))
        .with_safe_default_protocol_versions()?;
    let builder = match verifier {
        Some(verifier) => builder.with_client_cert_verifier(verifier),
        None => builder.with_no_client_auth(),
    };
    Ok(TlsAcceptor::from(Arc::new(builder.with_single_cert(chain, key)?)))
}

fn verifier(path: &Path, asked: ClientAuth) -> Result<Arc<dyn ClientCertVerifier>, String> {
    let mut roots = RootCertStore::empty();
    for authority in certificates(path)? {
        roots.add(authority).map_err(|error| error.to_string())?;
    }
    let provider = Arc::new(ring::default_provider());
    let builder = WebPkiClientVerifier::builder_with_provider(Arc::new(roots), provider);
    let builder = if asked == ClientAuth::Required { builder } else { builder.allow_unauthenticated() };
    builder.build().map_err(|error| error.to_string())
}

fn certificates(path: &Path) -> Result<Vec<CertificateDer<'static>>, String> {
    let unreadable = |error: rustls::pki_types::pem::Error| format!("cannot be read: {error}");
    let found: Result<Vec<_>, _> = CertificateDer::pem_file_iter(path).map_err(unreadable)?.collect();
    let found = found.map_err(unreadable)?;
    if found.is_empty() { Err("has no certificate (PEM)".to_owned()) } else { Ok(found) }
}

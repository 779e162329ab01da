//! What a node or client shows on a link: certificate, key, and the authority it believes.

use std::fmt;

use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};

use super::{Holder, Identity, IdentityError};

/// A certificate with its key, and the certificate of the cluster's authority.
pub struct Credentials {
    pub(super) identity: Identity,
    authority_pem: String,
    certificate_pem: String,
    key_pem: String,
    pub(super) authority: CertificateDer<'static>,
    pub(super) certificate: CertificateDer<'static>,
    pub(super) key: PrivateKeyDer<'static>,
}

impl Credentials {
    /// From three PEM texts: the authority's certificate, the holder's certificate, the holder's key.
    ///
    /// An error says which of them cannot be read or belongs to another cluster.
    pub fn from_pem(authority: &str, certificate: &str, key: &str) -> Result<Self, IdentityError> {
        let authority_der = certificate_in(authority, "certificate of the authority")?;
        let certificate_der = certificate_in(certificate, "certificate")?;
        let key_der = PrivateKeyDer::from_pem_slice(key.as_bytes())
            .map_err(|error| IdentityError::Pem { what: "private key", error: error.to_string() })?;
        let identity = Identity::of(&certificate_der)?;
        let cluster = Identity::of(&authority_der)?.cluster;
        if identity.cluster != cluster {
            let reason = format!("it is of cluster {}, the authority of cluster {cluster}", identity.cluster);
            return Err(IdentityError::Unusable { holder: identity.holder.to_string(), reason });
        }
        if identity.holder == Holder::Authority {
            let reason =
                "an authority's certificate is for signing; issue one for the node or client".to_owned();
            return Err(IdentityError::Unusable { holder: identity.holder.to_string(), reason });
        }
        Ok(Self {
            identity,
            authority_pem: authority.to_owned(),
            certificate_pem: certificate.to_owned(),
            key_pem: key.to_owned(),
            authority: authority_der,
            certificate: certificate_der,
            key: key_der,
        })
    }

    /// What the certificate says.
    #[must_use]
    pub fn identity(&self) -> &Identity {
        &self.identity
    }

    /// The certificate of the authority, in PEM.
    #[must_use]
    pub fn authority_pem(&self) -> &str {
        &self.authority_pem
    }

    /// The holder's certificate, in PEM.
    #[must_use]
    pub fn certificate_pem(&self) -> &str {
        &self.certificate_pem
    }

    /// The holder's private key, in PEM: to be written where only the holder reads.
    #[must_use]
    pub fn key_pem(&self) -> &str {
        &self.key_pem
    }
}

impl Clone for Credentials {
    fn clone(&self) -> Self {
        Self {
            identity: self.identity.clone(),
            authority_pem: self.authority_pem.clone(),
            certificate_pem: self.certificate_pem.clone(),
            key_pem: self.key_pem.clone(),
            authority: self.authority.clone(),
            certificate: self.certificate.clone(),
            key: self.key.clone_key(),
        }
    }
}

impl fmt::Debug for Credentials {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.debug_struct("Credentials").field("identity", &self.identity).finish_non_exhaustive()
    }
}

fn certificate_in(text: &str, what: &'static str) -> Result<CertificateDer<'static>, IdentityError> {
    CertificateDer::from_pem_slice(text.as_bytes())
        .map_err(|error| IdentityError::Pem { what, error: error.to_string() })
}

#[cfg(test)]
impl Credentials {
    /// Believes this authority from now on, whoever issued the certificate.
    pub(crate) fn trust(&mut self, authority: &str) {
        self.authority = certificate_in(authority, "certificate").unwrap();
        self.identity.cluster = Identity::of(&self.authority).unwrap().cluster;
    }
}

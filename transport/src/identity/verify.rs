//! Whether a certificate opens a link: signed by the cluster's authority, in date, of this cluster, and of the node dialled.

use std::sync::Arc;

use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::client::verify_server_cert_signed_by_trust_anchor;
use rustls::crypto::WebPkiSupportedAlgorithms;
use rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use rustls::server::danger::{ClientCertVerified, ClientCertVerifier};
use rustls::server::{ParsedCertificate, WebPkiClientVerifier};
use rustls::{
    CertificateError, DigitallySignedStruct, DistinguishedName, Error, RootCertStore, SignatureScheme,
};

use super::{ClusterId, Holder, Identity, NodeId};

/// Why a certificate was not accepted; the text goes to the log here and, with the end of the link, to the other side.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub(super) enum Rejection {
    #[error(
        "it is not signed by the authority of cluster {cluster}{says}; use a certificate made by this cluster's `millstream certs`"
    )]
    OtherAuthority { cluster: ClusterId, says: String },
    #[error("it expired {} s before this side's clock; issue a new one or set the clock", .seconds)]
    Expired { seconds: u64 },
    #[error("it becomes valid only {} s after this side's clock; set the clock", .seconds)]
    NotYetValid { seconds: u64 },
    #[error("it belongs to cluster {found}, this is cluster {expected}")]
    WrongCluster { found: ClusterId, expected: ClusterId },
    #[error("it is of {found}, but node {expected} was dialled; correct the address of node {expected}")]
    WrongNode { found: Holder, expected: NodeId },
    #[error("it is of {0}, which is not a node")]
    NotANode(Holder),
    #[error("{0}")]
    Other(String),
}

impl From<Rejection> for Error {
    fn from(rejection: Rejection) -> Self {
        // Not `InvalidCertificate`: that one is told to the other side without its text.
        Self::General(format!("certificate refused: {rejection}"))
    }
}

/// What dialled and dialling side both check.
#[derive(Debug)]
struct Membership {
    cluster: ClusterId,
    algorithms: WebPkiSupportedAlgorithms,
}

impl Membership {
    /// Turns what the chain check found wrong into words.
    fn explain(&self, error: Error, certificate: &CertificateDer<'_>) -> Rejection {
        let Error::InvalidCertificate(error) = error else { return Rejection::Other(error.to_string()) };
        match error {
            CertificateError::ExpiredContext { time, not_after } => {
                Rejection::Expired { seconds: time.as_secs().saturating_sub(not_after.as_secs()) }
            }
            CertificateError::NotValidYetContext { time, not_before } => {
                Rejection::NotYetValid { seconds: not_before.as_secs().saturating_sub(time.as_secs()) }
            }
            CertificateError::UnknownIssuer | CertificateError::BadSignature => {
                let other =
                    Identity::of(certificate).ok().filter(|identity| identity.cluster != self.cluster);
                let says = other.map_or(String::new(), |identity| {
                    format!(" (it says that it belongs to cluster {})", identity.cluster)
                });
                Rejection::OtherAuthority { cluster: self.cluster, says }
            }
            error => Rejection::Other(error.to_string()),
        }
    }

    fn holder(&self, certificate: &CertificateDer<'_>) -> Result<Holder, Rejection> {
        let identity = Identity::of(certificate).map_err(|error| Rejection::Other(error.to_string()))?;
        if identity.cluster != self.cluster {
            return Err(Rejection::WrongCluster { found: identity.cluster, expected: self.cluster });
        }
        Ok(identity.holder)
    }

    fn signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        rustls::crypto::verify_tls13_signature(message, certificate, signed, &self.algorithms)
    }
}

fn only_tls13() -> Error {
    Error::General("only TLS 1.3 is spoken here".into())
}

/// Used by who dials: the certificate must be of a node, and of the node expected where one is.
#[derive(Debug)]
pub(super) struct NodeVerifier {
    membership: Membership,
    roots: Arc<RootCertStore>,
    expected: Option<NodeId>,
}

impl NodeVerifier {
    pub(super) fn new(
        cluster: ClusterId,
        roots: Arc<RootCertStore>,
        algorithms: WebPkiSupportedAlgorithms,
        expected: Option<NodeId>,
    ) -> Self {
        Self { membership: Membership { cluster, algorithms }, roots, expected }
    }

    pub(super) fn check(
        &self,
        certificate: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        now: UnixTime,
    ) -> Result<(), Rejection> {
        let parsed =
            ParsedCertificate::try_from(certificate).map_err(|error| Rejection::Other(error.to_string()))?;
        let algorithms = self.membership.algorithms.all;
        verify_server_cert_signed_by_trust_anchor(&parsed, &self.roots, intermediates, now, algorithms)
            .map_err(|error| self.membership.explain(error, certificate))?;
        match (self.membership.holder(certificate)?, self.expected) {
            (Holder::Node(found), Some(expected)) if found != expected => {
                Err(Rejection::WrongNode { found: Holder::Node(found), expected })
            }
            (Holder::Node(_), _) => Ok(()),
            (holder, _) => Err(Rejection::NotANode(holder)),
        }
    }
}

impl ServerCertVerifier for NodeVerifier {
    fn verify_server_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        _server_name: &ServerName<'_>,
        _ocsp_response: &[u8],
        now: UnixTime,
    ) -> Result<ServerCertVerified, Error> {
        self.check(end_entity, intermediates, now)?;
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        _message: &[u8],
        _cert: &CertificateDer<'_>,
        _dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        Err(only_tls13())
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        self.membership.signature(message, cert, dss)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.membership.algorithms.supported_schemes()
    }
}

/// Used by who is dialled: the certificate must be of a node or client of the cluster.
#[derive(Debug)]
pub(super) struct MemberVerifier {
    membership: Membership,
    chain: Arc<dyn ClientCertVerifier>,
}

impl MemberVerifier {
    pub(super) fn new(
        cluster: ClusterId,
        roots: Arc<RootCertStore>,
        provider: Arc<rustls::crypto::CryptoProvider>,
    ) -> Result<Self, Error> {
        let algorithms = provider.signature_verification_algorithms;
        let chain = WebPkiClientVerifier::builder_with_provider(roots, provider)
            .build()
            .map_err(|error| Error::General(error.to_string()))?;
        Ok(Self { membership: Membership { cluster, algorithms }, chain })
    }
}

impl ClientCertVerifier for MemberVerifier {
    fn root_hint_subjects(&self) -> &[DistinguishedName] {
        // No hint: a certificate of another authority shall arrive, so that the refusal can say what is wrong with it.
        &[]
    }

    fn verify_client_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        now: UnixTime,
    ) -> Result<ClientCertVerified, Error> {
        let verified = self
            .chain
            .verify_client_cert(end_entity, intermediates, now)
            .map_err(|error| self.membership.explain(error, end_entity))?;
        self.membership.holder(end_entity)?;
        Ok(verified)
    }

    fn verify_tls12_signature(
        &self,
        _message: &[u8],
        _cert: &CertificateDer<'_>,
        _dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        Err(only_tls13())
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        self.membership.signature(message, cert, dss)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.membership.algorithms.supported_schemes()
    }
}

//! A QUIC client that believes everybody, and shows no certificate or any.

use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Arc;

use millstream_tests::Outcome;
use millstream_transport::identity::Credentials;
use quinn::crypto::rustls::QuicClientConfig;
use quinn::{ClientConfig, Connection, ConnectionError, Endpoint};
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::crypto::{CryptoProvider, ring};
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName, UnixTime};
use rustls::{DigitallySignedStruct, Error, SignatureScheme};

/// Believes every certificate.
#[derive(Debug)]
struct Credulous(Arc<CryptoProvider>);

impl ServerCertVerifier for Credulous {
    fn verify_server_cert(
        &self,
        _: &CertificateDer<'_>,
        _: &[CertificateDer<'_>],
        _: &ServerName<'_>,
        _: &[u8],
        _: UnixTime,
    ) -> Result<ServerCertVerified, Error> {
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        _: &[u8],
        _: &CertificateDer<'_>,
        _: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        Ok(HandshakeSignatureValid::assertion())
    }

    fn verify_tls13_signature(
        &self,
        _: &[u8],
        _: &CertificateDer<'_>,
        _: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        Ok(HandshakeSignatureValid::assertion())
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.0.signature_verification_algorithms.supported_schemes()
    }
}

/// A socket of such a client.
pub(crate) fn endpoint(shown: Option<&Credentials>) -> Outcome<Endpoint> {
    let provider = Arc::new(ring::default_provider());
    let tls = rustls::ClientConfig::builder_with_provider(Arc::clone(&provider))
        .with_protocol_versions(&[&rustls::version::TLS13])?
        .dangerous()
        .with_custom_certificate_verifier(Arc::new(Credulous(provider)));
    let mut tls = match shown {
        None => tls.with_no_client_auth(),
        Some(credentials) => {
            let certificate = CertificateDer::from_pem_slice(credentials.certificate_pem().as_bytes())?;
            let key = PrivateKeyDer::from_pem_slice(credentials.key_pem().as_bytes())?;
            tls.with_client_auth_cert(vec![certificate], key)?
        }
    };
    tls.alpn_protocols = vec![b"millstream".to_vec()];
    let mut endpoint = Endpoint::client((Ipv4Addr::UNSPECIFIED, 0).into())?;
    endpoint.set_default_client_config(ClientConfig::new(Arc::new(QuicClientConfig::try_from(tls)?)));
    Ok(endpoint)
}

/// Why the other side ends the link of such a client.
pub(crate) async fn refusal(address: SocketAddr, shown: Option<&Credentials>) -> Outcome<String> {
    let endpoint = endpoint(shown)?;
    let error = match endpoint.connect(address, "x")?.await {
        Ok(connection) => ended(&connection).await,
        Err(error) => error,
    };
    Ok(error.to_string())
}

async fn ended(connection: &Connection) -> ConnectionError {
    connection.closed().await
}

//! QUIC endpoints over either side of the door, and what they exchange.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use quinn::crypto::rustls::{QuicClientConfig, QuicServerConfig};
use quinn::{
    ClientConfig, Connection, Endpoint, EndpointConfig, MtuDiscoveryConfig, ServerConfig, TokioRuntime,
    TransportConfig,
};
use rustls::pki_types::{CertificateDer, PrivateKeyDer};

use super::{RealWire, RealWireSettings, Wire};

pub(super) struct Credentials {
    certificate: CertificateDer<'static>,
    key: Vec<u8>,
}

pub(super) fn credentials() -> Credentials {
    let key = rcgen::KeyPair::generate().unwrap();
    let certificate =
        rcgen::CertificateParams::new(vec!["node".to_owned()]).unwrap().self_signed(&key).unwrap();
    Credentials { certificate: certificate.der().clone(), key: key.serialize_der() }
}

pub(super) fn bind_endpoint(
    wire: &dyn Wire,
    address: SocketAddr,
    seed: u8,
    mtu_bytes: u16,
    credentials: &Credentials,
) -> Endpoint {
    let mut transport = TransportConfig::default();
    transport.max_idle_timeout(Some(Duration::from_secs(5).try_into().unwrap()));
    transport.keep_alive_interval(Some(Duration::from_secs(1)));
    let mut discovery = MtuDiscoveryConfig::default();
    discovery.upper_bound(mtu_bytes);
    transport.mtu_discovery_config(Some(discovery));
    let transport = Arc::new(transport);
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let server = rustls::ServerConfig::builder_with_provider(Arc::clone(&provider))
        .with_protocol_versions(&[&rustls::version::TLS13])
        .unwrap()
        .with_no_client_auth()
        .with_single_cert(
            vec![credentials.certificate.clone()],
            PrivateKeyDer::Pkcs8(credentials.key.clone().into()),
        )
        .unwrap();
    let mut server = ServerConfig::with_crypto(Arc::new(QuicServerConfig::try_from(server).unwrap()));
    server.transport_config(Arc::clone(&transport));
    let mut roots = rustls::RootCertStore::empty();
    roots.add(credentials.certificate.clone()).unwrap();
    let client = rustls::ClientConfig::builder_with_provider(provider)
        .with_protocol_versions(&[&rustls::version::TLS13])
        .unwrap()
        .with_root_certificates(roots)
        .with_no_client_auth();
    let mut client = ClientConfig::new(Arc::new(QuicClientConfig::try_from(client).unwrap()));
    client.transport_config(transport);
    let mut config = EndpointConfig::default();
    config.rng_seed(Some([seed; 32]));
    config.max_udp_payload_size(65_527).unwrap();
    let socket = wire.bind(address).unwrap();
    let mut endpoint =
        Endpoint::new_with_abstract_socket(config, Some(server), socket, Arc::new(TokioRuntime)).unwrap();
    endpoint.set_default_client_config(client);
    endpoint
}

/// Answers each stream with the number of its bytes.
pub(super) fn serve(endpoint: Endpoint) {
    tokio::spawn(async move {
        while let Some(incoming) = endpoint.accept().await {
            tokio::spawn(async move {
                let connection = incoming.await?;
                while let Ok((mut sender, mut receiver)) = connection.accept_bi().await {
                    let bytes = receiver.read_to_end(1 << 24).await.unwrap_or_default();
                    if sender.write_all(&(bytes.len() as u64).to_le_bytes()).await.is_ok() {
                        let _ = sender.finish();
                    }
                }
                Ok::<_, quinn::ConnectionError>(())
            });
        }
    });
}

pub(super) async fn exchange(connection: &Connection, bytes: usize) -> u64 {
    let (mut sender, mut receiver) = connection.open_bi().await.unwrap();
    sender.write_all(&vec![7; bytes]).await.unwrap();
    sender.finish().unwrap();
    u64::from_le_bytes(receiver.read_to_end(8).await.unwrap().try_into().unwrap())
}

/// Segments beyond what one send may carry would be refused by the kernel and taken for a path that lost its MTU.
#[tokio::test]
async fn real_sockets_carry_bulk_at_a_large_mtu_without_falling_back() {
    let credentials = credentials();
    let loopback = SocketAddr::from(([127, 0, 0, 1], 0));
    let mtu_bytes = 9000;
    let wire = RealWire::new(RealWireSettings { mtu_bytes, ..RealWireSettings::default() });
    let one = bind_endpoint(&wire, loopback, 1, mtu_bytes, &credentials);
    let two = bind_endpoint(&wire, loopback, 2, mtu_bytes, &credentials);
    serve(two.clone());
    let connection = one.connect(two.local_addr().unwrap(), "node").unwrap().await.unwrap();
    assert_eq!(exchange(&connection, 8 << 20).await, 8 << 20);
    assert_eq!(exchange(&connection, 8 << 20).await, 8 << 20);
    let path = connection.stats().path;
    assert_eq!(path.black_holes_detected, 0);
    assert!(path.current_mtu > 8000, "{}", path.current_mtu);
}

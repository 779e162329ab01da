use std::net::Ipv4Addr;

use quinn::crypto::rustls::{QuicClientConfig, QuicServerConfig};
use quinn::{
    ClientConfig, Connection, Endpoint, EndpointConfig, ServerConfig, TokioRuntime, TransportConfig,
};
use rustls::pki_types::{CertificateDer, PrivateKeyDer};

use super::*;
use crate::world::simulation;

const ONE: IpAddr = IpAddr::V4(Ipv4Addr::new(10, 0, 0, 1));
const TWO: IpAddr = IpAddr::V4(Ipv4Addr::new(10, 0, 0, 2));
const THREE: IpAddr = IpAddr::V4(Ipv4Addr::new(10, 0, 0, 3));

struct Credentials {
    certificate: CertificateDer<'static>,
    key: Vec<u8>,
}

fn credentials() -> Credentials {
    let key = rcgen::KeyPair::generate().unwrap();
    let certificate =
        rcgen::CertificateParams::new(vec!["node".to_owned()]).unwrap().self_signed(&key).unwrap();
    Credentials { certificate: certificate.der().clone(), key: key.serialize_der() }
}

fn endpoint(wire: &dyn Wire, port: u16, seed: u8, credentials: &Credentials) -> Endpoint {
    let mut transport = TransportConfig::default();
    transport.max_idle_timeout(Some(Duration::from_secs(5).try_into().unwrap()));
    transport.keep_alive_interval(Some(Duration::from_secs(1)));
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
    let socket = wire.bind(SocketAddr::from(([0, 0, 0, 0], port))).unwrap();
    let mut endpoint =
        Endpoint::new_with_abstract_socket(config, Some(server), socket, Arc::new(TokioRuntime)).unwrap();
    endpoint.set_default_client_config(client);
    endpoint
}

/// Answers each stream with the number of its bytes.
fn serve(endpoint: Endpoint) {
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

async fn exchange(connection: &Connection, bytes: usize) -> u64 {
    let (mut sender, mut receiver) = connection.open_bi().await.unwrap();
    sender.write_all(&vec![7; bytes]).await.unwrap();
    sender.finish().unwrap();
    u64::from_le_bytes(receiver.read_to_end(8).await.unwrap().try_into().unwrap())
}

async fn dial(from: &Endpoint, to: &Endpoint) -> Connection {
    from.connect(to.local_addr().unwrap(), "node").unwrap().await.unwrap()
}

fn history(seed: u64, credentials: &Credentials) -> (u64, NetworkCounts, i64) {
    simulation::run(seed, |simulation| async move {
        let network = SimulatedNetwork::new(simulation.seed_of("network"));
        network.loss(0.02);
        let one = endpoint(&*network.wire(ONE), 0, 1, credentials);
        let two = endpoint(&*network.wire(TWO), 9092, 2, credentials);
        serve(two.clone());
        let connection = dial(&one, &two).await;
        assert_eq!(exchange(&connection, 1 << 20).await, 1 << 20);
        (network.trace_hash(), network.counts(), simulation.clock().wall_ms())
    })
}

#[test]
fn the_same_seed_gives_the_same_history_and_another_seed_another() {
    let credentials = credentials();
    let first = history(1, &credentials);
    assert!(first.1.sent > 500 && first.1.dropped > 0, "{first:?}");
    assert_eq!(first, history(1, &credentials));
    // Keys and certificates are random even in a simulation: they must not show.
    assert_eq!(first, history(1, &self::credentials()));
    assert_ne!(first.0, history(2, &credentials).0);
}

#[test]
fn a_partition_idles_a_connection_out_and_healing_lets_it_be_dialled_again() {
    let credentials = &credentials();
    simulation::run(3, |simulation| async move {
        let network = SimulatedNetwork::new(simulation.seed());
        let one = endpoint(&*network.wire(ONE), 9092, 1, credentials);
        let two = endpoint(&*network.wire(TWO), 9092, 2, credentials);
        let three = endpoint(&*network.wire(THREE), 9092, 3, credentials);
        serve(two.clone());
        serve(three.clone());
        let (to_two, to_three) = (dial(&one, &two).await, dial(&one, &three).await);
        network.partition(&[&[ONE], &[TWO]]);
        let cut_at = simulation.clock().now();
        assert_eq!(to_two.closed().await, quinn::ConnectionError::TimedOut);
        let noticed_after = cut_at.elapsed();
        assert!(
            (Duration::from_secs(3)..Duration::from_secs(8)).contains(&noticed_after),
            "{noticed_after:?}"
        );
        // A host in no group of the partition is not touched by it.
        assert_eq!(exchange(&to_three, 10_000).await, 10_000);
        network.heal();
        assert_eq!(exchange(&dial(&one, &two).await, 10_000).await, 10_000);
    });
}

#[test]
fn a_one_way_cut_stops_only_one_direction() {
    let credentials = &credentials();
    simulation::run(4, |simulation| async move {
        let network = SimulatedNetwork::new(simulation.seed());
        let one = endpoint(&*network.wire(ONE), 9092, 1, credentials);
        let two = endpoint(&*network.wire(TWO), 9092, 2, credentials);
        serve(two.clone());
        let connection = dial(&one, &two).await;
        network.one_way(TWO, ONE);
        network.keep_trace(1000);
        assert_eq!(connection.closed().await, quinn::ConnectionError::TimedOut);
        let trace = network.trace();
        assert!(trace.iter().any(|datagram| datagram.from.ip() == ONE));
        assert!(trace.iter().all(|datagram| datagram.dropped == (datagram.from.ip() == TWO)));
    });
}

#[test]
fn a_dead_host_is_silent_and_its_address_is_free_for_its_next_life() {
    let credentials = &credentials();
    simulation::run(5, |simulation| async move {
        let network = SimulatedNetwork::new(simulation.seed());
        let one = endpoint(&*network.wire(ONE), 9092, 1, credentials);
        let dead = endpoint(&*network.wire(TWO), 9092, 2, credentials);
        serve(dead.clone());
        let connection = dial(&one, &dead).await;
        assert_eq!(network.unbind_host(TWO), 1);
        network.keep_trace(1000);
        assert_eq!(connection.closed().await, quinn::ConnectionError::TimedOut);
        assert!(network.trace().iter().all(|datagram| datagram.from.ip() == ONE));
        let alive = endpoint(&*network.wire(TWO), 9092, 3, credentials);
        serve(alive.clone());
        drop(dead);
        assert_eq!(exchange(&dial(&one, &alive).await, 10_000).await, 10_000);
    });
}

#[test]
fn addresses_and_names_are_kept_apart_by_host() {
    simulation::run(6, |simulation| async move {
        let network = SimulatedNetwork::new(simulation.seed());
        let wire = network.wire(ONE);
        let any_port = SocketAddr::from(([0, 0, 0, 0], 0));
        let (first, second) = (wire.bind(any_port).unwrap(), wire.bind(any_port).unwrap());
        assert_ne!(first.local_addr().unwrap(), second.local_addr().unwrap());
        let taken = wire.bind(first.local_addr().unwrap()).unwrap_err();
        assert_eq!(taken.kind(), io::ErrorKind::AddrInUse);
        let foreign = wire.bind(SocketAddr::new(TWO, 9092)).unwrap_err();
        assert_eq!(foreign.kind(), io::ErrorKind::AddrNotAvailable);
        network.name("broker", &[TWO, THREE]);
        let found = wire.resolve("broker:9092").await.unwrap();
        assert_eq!(found, [SocketAddr::new(TWO, 9092), SocketAddr::new(THREE, 9092)]);
        assert_eq!(wire.resolve("10.0.0.3:1").await.unwrap(), [SocketAddr::new(THREE, 1)]);
        assert_eq!(wire.resolve("nobody:9092").await.unwrap_err().kind(), io::ErrorKind::NotFound);
    });
}

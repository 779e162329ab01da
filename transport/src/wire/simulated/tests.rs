use std::net::Ipv4Addr;

use quinn::{Connection, Endpoint};

use super::*;
use crate::wire::quic_tests::{Credentials, bind_endpoint, credentials, exchange, serve};
use crate::world::simulation;

const ONE: IpAddr = IpAddr::V4(Ipv4Addr::new(10, 0, 0, 1));
const TWO: IpAddr = IpAddr::V4(Ipv4Addr::new(10, 0, 0, 2));
const THREE: IpAddr = IpAddr::V4(Ipv4Addr::new(10, 0, 0, 3));

fn endpoint(wire: &dyn Wire, port: u16, seed: u8, credentials: &Credentials) -> Endpoint {
    bind_endpoint(wire, SocketAddr::from(([0, 0, 0, 0], port)), seed, 1452, credentials)
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
    assert_eq!(first, history(1, &crate::wire::quic_tests::credentials()));
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

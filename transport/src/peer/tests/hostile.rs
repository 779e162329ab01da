use std::collections::BTreeSet;
use std::sync::atomic::{AtomicBool, Ordering};

use quinn::{Connection, ConnectionError};

use super::*;
use crate::frame::{Form, Head, encode};
use crate::identity::client_config;
use crate::intake::Shortage;
use crate::world::simulation::run;

/// What the dialler of a refused link hears.
async fn refused(from: &Inhabitant, to: u32) -> String {
    let error = from.endpoint.peer(NodeId(to)).ask(Lane::Control, Secret, 10 * SECOND).await.unwrap_err();
    assert!(matches!(error, AskError::Unreachable { .. }), "{error}");
    error.to_string()
}

/// A QUIC socket of somebody who does not follow our protocol, with or without a certificate.
struct Intruder {
    quic: quinn::Endpoint,
    config: quinn::ClientConfig,
}

impl Intruder {
    fn new(town: &Town, host_number: u32, credentials: &Credentials, shows_it: bool) -> Self {
        let mut tls = client_config(credentials, &town.world.clock, None).unwrap();
        if !shows_it {
            tls.client_auth_cert_resolver = Arc::new(NoCertificate);
        }
        let crypto = quinn::crypto::rustls::QuicClientConfig::try_from(tls).unwrap();
        let socket = town.network.wire(host(host_number)).bind(address(host_number)).unwrap();
        let runtime = Arc::new(quinn::TokioRuntime);
        let mut config = quinn::EndpointConfig::default();
        config.rng_seed(Some([5; 32]));
        let quic = quinn::Endpoint::new_with_abstract_socket(config, None, socket, runtime).unwrap();
        let mut config = quinn::ClientConfig::new(Arc::new(crypto));
        // As others choose them, and never, by chance, as those do who dial the control lane.
        let random = town.world.random.clone();
        config.initial_dst_cid_provider(Arc::new(move || {
            let mut id = random.next_u64().to_le_bytes();
            id[0] = 0;
            quinn::ConnectionId::new(&id)
        }));
        Self { quic, config }
    }

    async fn connect(&self, node: u32) -> Result<Connection, ConnectionError> {
        self.quic.connect_with(self.config.clone(), address(node), "x").unwrap().await
    }
}

#[derive(Debug)]
struct NoCertificate;

impl rustls::client::ResolvesClientCert for NoCertificate {
    fn resolve(
        &self,
        _root_hint_subjects: &[&[u8]],
        _sigschemes: &[rustls::SignatureScheme],
    ) -> Option<Arc<rustls::sign::CertifiedKey>> {
        None
    }

    fn has_certs(&self) -> bool {
        false
    }
}

fn hello(oldest: u16, newest: u16, lane: Lane) -> Vec<Bytes> {
    let message = hello::Hello { oldest, newest, lane, incarnation: 1 };
    let head = Head { form: Form::Request, kind: hello::Hello::KIND, version: 1, correlation: 0 };
    encode(head, &message, Vec::new(), 4096).unwrap().chunks
}

/// How a connection was ended by the other side, for people.
async fn end_of(connection: &Connection) -> String {
    match connection.closed().await {
        ConnectionError::ApplicationClosed(close) => String::from_utf8_lossy(&close.reason).into_owned(),
        ConnectionError::ConnectionClosed(close) => String::from_utf8_lossy(&close.reason).into_owned(),
        error => error.to_string(),
    }
}

#[test]
fn who_shows_no_certificate_is_refused_and_told_so() {
    run(1, |simulation| async move {
        let town = Town::new(simulation);
        let node = town.node(1);
        let credentials = town.authority.issue_client("c").unwrap();
        let naked = Intruder::new(&town, 20, &credentials, false);
        let reason = match naked.connect(1).await {
            Ok(connection) => end_of(&connection).await,
            Err(error) => error.to_string(),
        };
        assert!(reason.contains("no certificates"), "{reason}");
        tokio::time::sleep(SECOND).await;
        assert_eq!((node.counts().refused_links, node.counts().links_up), (1, 0));
    });
}

#[test]
fn a_certificate_of_another_authority_is_refused_on_both_sides() {
    run(1, |simulation| async move {
        let town = Town::new(simulation);
        let node = town.node(1);
        let mut config = town.node_config(2);
        config.credentials = town.stranger(2);
        let stranger = town.start(config);
        // The stranger does not believe node 1 either, and ends the handshake first.
        let heard = refused(&stranger, 1).await;
        assert!(heard.contains("not signed by the authority of cluster"), "{heard}");
        // One that believes everybody is refused by node 1, and told why.
        let intruder = Intruder::new(&town, 20, &trusting(&town), true);
        let heard = match intruder.connect(1).await {
            Ok(connection) => end_of(&connection).await,
            Err(error) => error.to_string(),
        };
        assert!(heard.contains("not signed by the authority of cluster"), "{heard}");
        assert!(heard.contains("millstream certs"), "{heard}");
        tokio::time::sleep(SECOND).await;
        assert_eq!((node.counts().refused_links, node.counts().links_up), (2, 0));
        let heard = refused(&node, 2).await;
        assert!(heard.contains("not signed by the authority of cluster"), "{heard}");
    });
}

/// Another authority's certificate, by somebody who trusts ours.
fn trusting(town: &Town) -> Credentials {
    let mut credentials = town.stranger(5);
    credentials.trust(town.authority.certificate_pem());
    credentials
}

#[test]
fn a_node_other_than_the_one_dialled_is_refused() {
    run(1, |simulation| async move {
        let town = Town::new(simulation);
        let (one, two) = (town.node(1), town.node(2));
        one.endpoint.directory().set(NodeId(3), address(2).to_string());
        let heard = refused(&one, 3).await;
        assert!(heard.contains("it is of node 2, but node 3 was dialled"), "{heard}");
        tokio::time::sleep(SECOND).await;
        assert_eq!((two.counts().refused_links, two.counts().links_up), (1, 0));
    });
}

#[test]
fn a_version_that_nobody_here_speaks_is_refused_with_words() {
    run(1, |simulation| async move {
        let town = Town::new(simulation);
        let node = town.node(1);
        let intruder = Intruder::new(&town, 20, &town.authority.issue_client("c").unwrap(), true);
        for (oldest, newest) in [(0, 0), (7, 9)] {
            let connection = intruder.connect(1).await.unwrap();
            let (mut send, _receive) = connection.open_bi().await.unwrap();
            send.write_all_chunks(&mut hello(oldest, newest, Lane::Data)).await.unwrap();
            let reason = end_of(&connection).await;
            assert!(reason.contains("no common protocol"), "{reason}");
            assert!(reason.contains(&format!("the other {oldest} to {newest}")), "{reason}");
        }
        assert_eq!(node.counts().refused_links, 2);
    });
}

#[test]
fn who_does_not_say_who_it_is_is_cut_after_two_seconds() {
    run(1, |simulation| async move {
        let town = Town::new(simulation);
        let node = town.node(1);
        let intruder = Intruder::new(&town, 20, &town.authority.issue_client("c").unwrap(), true);
        let mute = intruder.connect(1).await.unwrap();
        let slow = intruder.connect(1).await.unwrap();
        let (mut send, _receive) = slow.open_bi().await.unwrap();
        let greeting = hello(1, 1, Lane::Data);
        send.write_all(&greeting[0][..10]).await.unwrap();
        let connected = tokio::time::Instant::now();
        for connection in [mute, slow] {
            let reason = end_of(&connection).await;
            assert!(reason.contains("no greeting came in time"), "{reason}");
        }
        assert!(connected.elapsed() <= 2 * SECOND + SECOND / 10, "{:?}", connected.elapsed());
        assert_eq!(node.counts().cut_half_open, 2);
    });
}

#[test]
fn garbage_on_a_stream_ends_that_link_only() {
    run(1, |simulation| async move {
        let town = Town::new(simulation);
        let (one, two) = (town.node(1), town.node(2));
        let peer = two.endpoint.peer(NodeId(1));
        peer.ask(Lane::Data, echo(1, 10), SECOND).await.unwrap();
        let intruder = Intruder::new(&town, 20, &town.authority.issue_client("c").unwrap(), true);
        let not_greeted = intruder.connect(1).await.unwrap();
        let (mut send, _receive) = not_greeted.open_bi().await.unwrap();
        send.write_all(b"GET / HTTP/1.1\r\nHost: millstream\r\n\r\n").await.unwrap();
        let reason = end_of(&not_greeted).await;
        assert!(reason.contains("over the limit of 4096"), "{reason}");
        for garbage in
            [&[0xff; 64][..], &[0; 64], b"\x20\0\0\0\x10\0\0\0........................................"]
        {
            let greeted = intruder.connect(1).await.unwrap();
            let (mut send, mut receive) = greeted.open_bi().await.unwrap();
            send.write_all_chunks(&mut hello(1, 1, Lane::Data)).await.unwrap();
            receive.read(&mut [0; 100]).await.unwrap();
            send.write_all(garbage).await.unwrap();
            end_of(&greeted).await;
        }
        assert_eq!((one.counts().cut_garbage, one.counts().refused_links), (3, 1));
        peer.ask(Lane::Data, echo(1, 10), SECOND).await.unwrap();
        assert_eq!(two.counts().links_down, 0);
    });
}

#[test]
fn a_channel_that_begins_with_garbage_ends_alone() {
    run(1, |simulation| async move {
        let town = Town::new(simulation);
        let one = town.node(1);
        let intruder = Intruder::new(&town, 20, &town.authority.issue_client("c").unwrap(), true);
        let connection = intruder.connect(1).await.unwrap();
        let (mut requests, mut answers) = connection.open_bi().await.unwrap();
        requests.write_all_chunks(&mut hello(1, 1, Lane::Data)).await.unwrap();
        answers.read(&mut [0; 100]).await.unwrap();
        let (mut send, mut receive) = connection.open_bi().await.unwrap();
        send.write_all(&[0xff; 100]).await.unwrap();
        assert_eq!(receive.read(&mut [0; 10]).await.unwrap(), None);
        let (mut mute, mut nothing) = connection.open_bi().await.unwrap();
        mute.write_all(&[1]).await.unwrap();
        assert_eq!(nothing.read(&mut [0; 10]).await.unwrap(), None);
        assert_eq!((one.counts().cut_garbage, one.counts().cut_half_open), (1, 1));
        assert_eq!(connection.close_reason(), None);
    });
}

#[test]
fn who_asks_and_never_reads_the_answers_is_served_only_so_much() {
    run(1, |simulation| async move {
        let town = Town::new(simulation);
        let mut config = town.node_config(1);
        config.limits.answer_bytes = 1_000_000;
        config.tuning.data.send_window_bytes = 1_000_000;
        let one = town.start(config);
        let intruder = Intruder::new(&town, 20, &town.authority.issue_client("c").unwrap(), true);
        let connection = intruder.connect(1).await.unwrap();
        let (mut send, _never_read) = connection.open_bi().await.unwrap();
        send.write_all_chunks(&mut hello(1, 1, Lane::Data)).await.unwrap();
        let asking = async {
            for number in 0..300 {
                let head = Head { form: Form::Request, kind: Echo::KIND, version: 1, correlation: 9 };
                let mut message = echo(number, 100_000);
                let bodies = message.take_bodies();
                send.write_all_chunks(&mut encode(head, &message, bodies, 1 << 20).unwrap().chunks)
                    .await
                    .unwrap();
            }
        };
        assert!(tokio::time::timeout(2 * SECOND, asking).await.is_err());
        let served = one.notes().len();
        // Its own window takes 1.25 MB of them, the node's send window 1 MB, the writer's hands 1, the queue 1.
        assert!((10..50).contains(&served), "{served}");
        assert_eq!(connection.close_reason(), None);
    });
}

#[test]
fn a_client_that_takes_no_answers_is_let_go_once_memory_is_short() {
    run(1, |simulation| async move {
        let town = Town::new(simulation);
        let is_short = Arc::new(AtomicBool::new(false));
        let told = Arc::clone(&is_short);
        let mut config = town.node_config(1);
        config.shortage = Shortage::when(move || told.load(Ordering::Relaxed));
        config.tuning.data.send_window_bytes = 1_000_000;
        let one = town.start(config);
        let mut intruder = Intruder::new(&town, 20, &town.authority.issue_client("c").unwrap(), true);
        let mut transport = quinn::TransportConfig::default();
        transport.keep_alive_interval(Some(SECOND));
        intruder.config.transport_config(Arc::new(transport));
        let connection = intruder.connect(1).await.unwrap();
        let (mut send, _never_read) = connection.open_bi().await.unwrap();
        send.write_all_chunks(&mut hello(1, 1, Lane::Data)).await.unwrap();
        for number in 0..30 {
            let head = Head { form: Form::Request, kind: Echo::KIND, version: 1, correlation: 9 };
            let mut message = echo(number, 100_000);
            let bodies = message.take_bodies();
            let mut request = encode(head, &message, bodies, 1 << 20).unwrap();
            send.write_all_chunks(&mut request.chunks).await.unwrap();
        }
        let alive = tokio::time::timeout(60 * SECOND, connection.closed());
        assert!(alive.await.is_err(), "while there is memory a slow reader slows only itself");
        is_short.store(true, Ordering::Relaxed);
        tokio::time::timeout(SECOND, connection.closed()).await.unwrap();
        assert_eq!(one.counts().cut_slow, 1);
    });
}

#[test]
fn garbage_datagrams_hurt_nobody() {
    run(1, |simulation| async move {
        let town = Town::new(simulation);
        let (one, two) = (town.node(1), town.node(2));
        let socket = town.network.wire(host(20)).bind(address(20)).unwrap();
        let peer = two.endpoint.peer(NodeId(1));
        for round in 0..300_u32 {
            let length = usize::try_from(town.world.random.range(1, 1400)).unwrap();
            let mut contents =
                (0..length).map(|_| town.world.random.next_u64().to_le_bytes()[0]).collect::<Vec<_>>();
            if round % 2 == 0 {
                // The look of a first packet of QUIC version 1.
                contents.splice(0..length.min(5), [0xc0, 0, 0, 0, 1].into_iter().take(length));
                contents.resize(1200, 0);
            }
            let transmit = quinn::udp::Transmit {
                destination: address(1),
                ecn: None,
                contents: &contents,
                segment_size: None,
                src_ip: None,
            };
            socket.try_send(&transmit).unwrap();
            if round % 50 == 0 {
                peer.ask(Lane::Control, echo(round, 10), SECOND).await.unwrap();
            }
        }
        tokio::time::sleep(5 * SECOND).await;
        peer.ask(Lane::Control, echo(1, 10), SECOND).await.unwrap();
        assert_eq!((one.counts().links_down, two.counts().links_down), (0, 0));
    });
}

#[test]
fn a_crowd_of_strangers_is_bounded_and_members_still_get_in() {
    run(1, |simulation| async move {
        let town = Town::new(simulation);
        let mut config = town.node_config(1);
        config.limits.strangers = 8;
        let node = town.start(config);
        let intruder = Intruder::new(&town, 20, &town.authority.issue_client("c").unwrap(), true);
        let connecting = (0..40)
            .map(|_| intruder.quic.connect_with(intruder.config.clone(), address(1), "x").unwrap())
            .collect::<Vec<_>>();
        let connected = futures::future::join_all(connecting).await;
        let ends = connected.iter().filter(|connection| connection.is_err()).count();
        assert!(ends >= 30, "{ends}");
        assert!(node.counts().refused_strangers >= 30, "{:?}", node.counts());
        tokio::time::sleep(3 * SECOND).await;
        let two = town.node(2);
        two.endpoint.peer(NodeId(1)).ask(Lane::Control, echo(1, 10), 5 * SECOND).await.unwrap();
    });
}

#[test]
fn a_greeting_for_another_lane_than_the_link_s_is_refused() {
    run(1, |simulation| async move {
        let town = Town::new(simulation);
        let _node = town.node(1);
        let intruder = Intruder::new(&town, 20, &town.authority.issue_client("c").unwrap(), true);
        let mut heard = BTreeSet::new();
        for lane in LANES {
            let connection = intruder.connect(1).await.unwrap();
            let (mut send, mut receive) = connection.open_bi().await.unwrap();
            send.write_all_chunks(&mut hello(1, 1, lane)).await.unwrap();
            heard.insert(receive.read(&mut [0; 100]).await.is_ok());
        }
        // Its connection ids are not those of the control lane, so its links are taken for the data lane's.
        assert_eq!(heard, BTreeSet::from([false, true]));
    });
}

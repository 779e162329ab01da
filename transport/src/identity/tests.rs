use std::sync::Arc;

use rustls::pki_types::ServerName;
use rustls::{ClientConfig, ClientConnection, ServerConfig, ServerConnection};

use super::*;
use crate::world::{Clock, Random};

const NOW_MS: i64 = 1_800_000_000_000;
const DAY_MS: i64 = 86_400_000;

struct Place {
    clock: Clock,
    random: Random,
}

/// Time is tokio's: the tests run inside a runtime whose clock stands still.
fn place() -> Place {
    Place { clock: Clock::simulated(NOW_MS), random: Random::seeded(7) }
}

fn authority(place: &Place) -> ClusterAuthority {
    ClusterAuthority::create(&place.clock, &place.random).unwrap()
}

/// Runs the handshake in memory; what each side says at its end.
fn handshake(client: ClientConfig, server: ServerConfig) -> (Result<(), String>, Result<(), String>) {
    let name = ServerName::try_from("node").unwrap();
    let mut client = ClientConnection::new(Arc::new(client), name).unwrap();
    let mut server = ServerConnection::new(Arc::new(server)).unwrap();
    let (mut client_says, mut server_says) = (Ok(()), Ok(()));
    for _ in 0..8 {
        let mut wire = Vec::new();
        while client.wants_write() {
            client.write_tls(&mut wire).unwrap();
        }
        server.read_tls(&mut wire.as_slice()).unwrap();
        server_says =
            server_says.and(server.process_new_packets().map(drop).map_err(|error| error.to_string()));
        let mut wire = Vec::new();
        while server.wants_write() {
            server.write_tls(&mut wire).unwrap();
        }
        client.read_tls(&mut wire.as_slice()).unwrap();
        client_says =
            client_says.and(client.process_new_packets().map(drop).map_err(|error| error.to_string()));
    }
    (client_says, server_says)
}

fn dial(
    place: &Place,
    from: &Credentials,
    to: &Credentials,
    expected: Option<NodeId>,
) -> (Result<(), String>, Result<(), String>) {
    handshake(client_config(from, &place.clock, expected).unwrap(), server_config(to, &place.clock).unwrap())
}

#[track_caller]
fn assert_says(said: Result<(), String>, words: &[&str]) {
    let said = said.unwrap_err();
    for word in words {
        assert!(said.contains(word), "{word:?} is not in {said:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn node_and_client_of_one_cluster_meet_a_node() {
    let place = place();
    let authority = authority(&place);
    let node = authority.issue_node(NodeId(3), &["host-3".into(), "10.0.0.3".into()]).unwrap();
    let other = authority.issue_node(NodeId(4), &[]).unwrap();
    let client = authority.issue_client("loader@west").unwrap();
    assert_eq!(node.identity().to_string(), format!("millstream://{}/node/3", authority.cluster()));
    assert_eq!(client.identity().holder, Holder::Client("loader@west".into()));
    assert_eq!(dial(&place, &other, &node, Some(NodeId(3))), (Ok(()), Ok(())));
    assert_eq!(dial(&place, &client, &node, None), (Ok(()), Ok(())));
}

#[tokio::test(start_paused = true)]
async fn an_authority_loaded_from_its_files_issues_for_the_same_cluster() {
    let place = place();
    let first = authority(&place);
    let again = ClusterAuthority::load(first.certificate_pem(), first.key_pem(), &place.clock, &place.random)
        .unwrap();
    let (old, new) = (first.issue_node(NodeId(1), &[]).unwrap(), again.issue_node(NodeId(2), &[]).unwrap());
    assert_eq!(first.cluster(), again.cluster());
    assert_eq!(dial(&place, &old, &new, Some(NodeId(2))), (Ok(()), Ok(())));
    let copy = Credentials::from_pem(new.authority_pem(), new.certificate_pem(), new.key_pem()).unwrap();
    assert_eq!(dial(&place, &old, &copy, Some(NodeId(2))), (Ok(()), Ok(())));
}

#[tokio::test(start_paused = true)]
async fn who_shows_no_certificate_is_refused() {
    let place = place();
    let node = authority(&place).issue_node(NodeId(1), &[]).unwrap();
    let mut naked = client_config(&node, &place.clock, None).unwrap();
    naked.client_auth_cert_resolver = Arc::new(NoCertificate);
    let (_, server) = handshake(naked, server_config(&node, &place.clock).unwrap());
    assert_says(server, &["no certificates"]);
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

#[tokio::test(start_paused = true)]
async fn a_certificate_of_another_authority_is_refused_on_both_sides() {
    let place = place();
    let (ours, theirs) = (authority(&place), authority(&place));
    let node = ours.issue_node(NodeId(1), &[]).unwrap();
    let stranger = theirs.issue_node(NodeId(2), &[]).unwrap();
    let (ours_id, theirs_id) = (ours.cluster().to_string(), theirs.cluster().to_string());
    let (client, _) = dial(&place, &stranger, &node, None);
    assert_says(
        client,
        &["not signed by the authority of cluster", &theirs_id, &ours_id, "millstream certs"],
    );
    // A dialler that trusts the node all the same is refused by the node.
    let mut trusting = stranger;
    trusting.authority = node.authority.clone();
    trusting.identity.cluster = ours.cluster();
    let (_, server) = dial(&place, &trusting, &node, None);
    assert_says(server, &["not signed by the authority of cluster", &ours_id, &theirs_id]);
}

#[tokio::test(start_paused = true)]
async fn a_certificate_that_names_another_cluster_is_refused_though_our_authority_signed_it() {
    let place = place();
    let ours = authority(&place);
    let node = ours.issue_node(NodeId(1), &[]).unwrap();
    let mut forger =
        ClusterAuthority::load(ours.certificate_pem(), ours.key_pem(), &place.clock, &place.random).unwrap();
    forger.misname(ClusterId(Uuid::from_u128(5)));
    let (certificate, key) = forger.issue_unchecked(NodeId(2)).unwrap();
    let error = Credentials::from_pem(ours.certificate_pem(), &certificate, &key).unwrap_err();
    assert!(error.to_string().contains("it is of cluster 00000000-0000-0000-0000-000000000005"), "{error}");
    let mut forged =
        Credentials::from_pem(forger.certificate_pem(), node.certificate_pem(), node.key_pem()).unwrap();
    forged.certificate = rustls::pki_types::pem::PemObject::from_pem_slice(certificate.as_bytes()).unwrap();
    forged.key = rustls::pki_types::pem::PemObject::from_pem_slice(key.as_bytes()).unwrap();
    let (_, server) = dial(&place, &forged, &node, None);
    assert_says(server, &["belongs to cluster 00000000-0000-0000-0000-000000000005", "this is cluster"]);
    let (client, _) = dial(&place, &node, &forged, None);
    assert_says(client, &["belongs to cluster 00000000-0000-0000-0000-000000000005"]);
}

#[tokio::test(start_paused = true)]
async fn a_node_other_than_the_one_dialled_is_refused() {
    let place = place();
    let authority = authority(&place);
    let (one, two) =
        (authority.issue_node(NodeId(1), &[]).unwrap(), authority.issue_node(NodeId(2), &[]).unwrap());
    let (client, _) = dial(&place, &one, &two, Some(NodeId(3)));
    assert_says(client, &["it is of node 2, but node 3 was dialled"]);
}

#[tokio::test(start_paused = true)]
async fn a_client_s_certificate_makes_no_server() {
    let place = place();
    let authority = authority(&place);
    let (node, client) =
        (authority.issue_node(NodeId(1), &[]).unwrap(), authority.issue_client("c").unwrap());
    let (dialler, _) = dial(&place, &node, &client, None);
    assert!(dialler.is_err());
}

#[tokio::test(start_paused = true)]
async fn validity_follows_the_clock_of_the_world() {
    let place = place();
    let authority = authority(&place);
    let (one, two) =
        (authority.issue_node(NodeId(1), &[]).unwrap(), authority.issue_node(NodeId(2), &[]).unwrap());
    let lifetime_ms = i64::try_from(VALIDITY_DAYS).unwrap() * DAY_MS;
    for (skew_ms, words) in [
        (lifetime_ms + 5_000, ["expired 5 s before", "issue a new one"]),
        (-DAY_MS - 9_000, ["becomes valid only 9 s after", "set the clock"]),
    ] {
        place.clock.skew(skew_ms);
        assert_says(dial(&place, &one, &two, None).0, &words);
        let good = Place { clock: Clock::simulated(NOW_MS), random: place.random.clone() };
        let dialler = client_config(&one, &good.clock, None).unwrap();
        assert_says(handshake(dialler, server_config(&two, &place.clock).unwrap()).1, &words);
    }
    for skew_ms in [lifetime_ms - 1_000, -DAY_MS] {
        place.clock.skew(skew_ms);
        assert_eq!(dial(&place, &one, &two, None), (Ok(()), Ok(())));
    }
}

#[tokio::test(start_paused = true)]
async fn every_certificate_of_a_cluster_s_nodes_has_one_length() {
    let place = place();
    let authority = authority(&place);
    let length = |node| authority.issue_node(NodeId(node), &[]).unwrap().certificate.len();
    for node in 2..9 {
        assert_eq!(length(1), length(node));
    }
}

#[test]
fn identities_are_read_as_they_are_written() {
    let cluster = ClusterId(Uuid::from_u128(1));
    for holder in [Holder::Authority, Holder::Node(NodeId(12)), Holder::Client("a.b".into())] {
        let identity = Identity { cluster, holder };
        assert_eq!(identity.to_string().parse::<Identity>().unwrap(), identity);
    }
    for wrong in [
        "http://x",
        "millstream://x/node/1",
        "millstream://00000000-0000-0000-0000-000000000001/node/x",
        "millstream://00000000-0000-0000-0000-000000000001/robot/1",
        "millstream://00000000-0000-0000-0000-000000000001/client/a b",
    ] {
        assert!(wrong.parse::<Identity>().is_err(), "{wrong}");
    }
}

#[tokio::test(start_paused = true)]
async fn files_that_do_not_belong_together_are_named() {
    let place = place();
    let (ours, theirs) = (authority(&place), authority(&place));
    let node = ours.issue_node(NodeId(1), &[]).unwrap();
    let other = ours.issue_node(NodeId(2), &[]).unwrap();
    let error =
        Credentials::from_pem(theirs.certificate_pem(), node.certificate_pem(), node.key_pem()).unwrap_err();
    assert!(error.to_string().contains("it is of cluster"), "{error}");
    let error = Credentials::from_pem("nothing", node.certificate_pem(), node.key_pem()).unwrap_err();
    assert!(error.to_string().contains("no certificate of the authority in the PEM text"), "{error}");
    let error =
        Credentials::from_pem(ours.certificate_pem(), ours.certificate_pem(), ours.key_pem()).unwrap_err();
    assert!(error.to_string().contains("an authority's certificate is for signing"), "{error}");
    let mixed =
        Credentials::from_pem(ours.certificate_pem(), node.certificate_pem(), other.key_pem()).unwrap();
    let error = server_config(&mixed, &place.clock).unwrap_err();
    assert!(error.to_string().contains("node 1's certificate cannot be used"), "{error}");
    assert!(authority(&place).issue_client("with space").is_err());
}

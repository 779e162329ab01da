//! What people see of a node's actors: tests against a node on threads of its own.

use std::collections::BTreeMap;
use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::sync::{Mutex, MutexGuard, PoisonError, mpsc};
use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::thread::any_ports;
use crate::{
    ActorContext, ActorMessage, ActorSettings, Entity, EntityTypes, Handled, NamedActor, Node, Refused, Turn,
};

pub(super) fn get(address: SocketAddr, path: &str) -> String {
    let mut stream = TcpStream::connect(address).unwrap();
    write!(stream, "GET {path} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n").unwrap();
    let mut text = String::new();
    stream.read_to_string(&mut text).unwrap();
    text
}

#[derive(Serialize, Deserialize)]
enum Reading {
    Add(u64),
    /// Holds up its thread until this gate is open.
    Block(u64),
}

impl ActorMessage for Reading {
    const NAME: &'static str = "meter";
    type Answer = u64;

    fn label(&self) -> &'static str {
        match self {
            Self::Add(_) => "add",
            Self::Block(_) => "block",
        }
    }
}

/// The gates that are closed: each opens when its sender is dropped.
static GATES: Mutex<BTreeMap<u64, mpsc::Receiver<()>>> = Mutex::new(BTreeMap::new());

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

fn gate(number: u64) -> mpsc::Sender<()> {
    let (open, gate) = mpsc::channel();
    lock(&GATES).insert(number, gate);
    open
}

#[derive(Default, Serialize, Deserialize)]
struct Meter(u64);

impl Meter {
    fn take(&mut self, message: Reading) -> u64 {
        match message {
            Reading::Add(number) => self.0 += number,
            Reading::Block(gate) => {
                let gate = lock(&GATES).remove(&gate).unwrap();
                // An error says that its sender is gone, which is what opens it.
                let _ = gate.recv_timeout(WITHIN);
            }
        }
        self.0
    }
}

impl Entity for Meter {
    const TYPE: &'static str = "meter";
    type Key = u64;
    type Message = Reading;

    fn new(_: &u64) -> Self {
        Self::default()
    }

    fn handle(&mut self, message: Reading, _: &mut Turn<'_, Self>) -> Result<u64, Refused> {
        Ok(self.take(message))
    }
}

impl NamedActor for Meter {
    const KIND: &'static str = "named_meter";
    type Message = Reading;

    async fn handle(&mut self, message: Reading, _: &ActorContext) -> Handled<Reading> {
        Ok(self.take(message))
    }
}

fn hosting(directory: &tempfile::TempDir) -> Node {
    let settings = any_ports(directory).set("actors.handler.slow.ms", "100");
    let settings = settings.and_then(|settings| settings.set("entity.partitions", "1")).unwrap();
    Node::start_hosting(&settings, EntityTypes::new().and::<Meter>().unwrap()).unwrap()
}

/// Looks until all of these are there.
async fn until_told(address: SocketAddr, path: &str, expected: &[&str]) -> String {
    let until = tokio::time::Instant::now() + Duration::from_secs(10);
    loop {
        let told = get(address, path);
        if expected.iter().all(|part| told.contains(part)) {
            return told;
        }
        assert!(tokio::time::Instant::now() < until, "{path} lacks one of {expected:?}: {told}");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

const WITHIN: Duration = Duration::from_secs(10);

#[tokio::test]
async fn entities_are_seen_in_the_tree_and_in_the_metrics_of_their_type() {
    let directory = tempfile::tempdir().unwrap();
    let node = hosting(&directory);
    assert!(node.wait_until_ready(WITHIN).await);
    for key in [1, 2] {
        node.entities().entity::<Meter>(&key).ask(&Reading::Add(key), WITHIN).await.unwrap();
    }
    let http = node.http_address().unwrap();
    let expected =
        ["\"name\":\"meter-0\"", "\"about\":\"2 of 2 entities in memory\"", "\"kind\":\"entity_supervisor\""];
    until_told(http, "/actors", &expected).await;
    let expected = [
        "millstream_entity_partitions_led{kind=\"meter\"} 1",
        "millstream_entity_known{kind=\"meter\"} 2",
        "millstream_entity_live{kind=\"meter\"} 2",
        "millstream_entity_waiting_bytes{kind=\"meter\"} 0",
        "millstream_entity_turn_seconds_count{kind=\"meter\"} 2",
        "millstream_entity_panics_total{kind=\"meter\"} 0",
        "millstream_entity_requests_refused_total{kind=\"meter\"} 0",
        "millstream_actor_alive{kind=\"entity_host\"} 1",
    ];
    let told = until_told(http, "/metrics", &expected).await;
    assert!(!told.contains("millstream_entity_commit_seconds_count{kind=\"meter\"} 0"), "{told}");
    node.stop().unwrap();
}

#[tokio::test]
async fn a_handler_that_holds_up_its_thread_is_seen_while_it_does_of_entities_and_named_actors_alike() {
    let directory = tempfile::tempdir().unwrap();
    let node = hosting(&directory);
    assert!(node.wait_until_ready(WITHIN).await);
    node.actors().spawn("named", ActorSettings::default(), Meter::default).await.unwrap();
    let http = node.http_address().unwrap();
    let (named, entities) = (node.actors().calls().clone(), node.entities().clone());
    let open = gate(1);
    let named = tokio::spawn(async move { named.ask("named", &Reading::Block(1), WITHIN).await });
    until_told(http, "/metrics", &["millstream_user_handlers_slow_total{kind=\"named_meter\"} 1"]).await;
    // It is told while it runs.
    drop(open);
    assert_eq!(named.await.unwrap().unwrap(), 0);
    let entity = entities.entity::<Meter>(&1);
    let open = gate(2);
    let entity = tokio::spawn(async move { entity.ask(&Reading::Block(2), WITHIN).await });
    until_told(http, "/metrics", &["millstream_user_handlers_slow_total{kind=\"meter\"} 1"]).await;
    let told = until_told(http, "/actors?kind=entity_host", &["\"name\":\"meter-0\""]).await;
    let (_, of_actor) = told.split_once("\"name\":\"meter-0\"").unwrap();
    assert!(of_actor.contains("\"running_ms\":") && !of_actor.contains("\"running_ms\":null"), "{told}");
    drop(open);
    assert_eq!(entity.await.unwrap().unwrap(), 0);
    node.stop().unwrap();
}

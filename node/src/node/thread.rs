//! A node on threads of its own, for any program.

use std::net::{SocketAddr, TcpListener};
use std::sync::Arc;
use std::thread::{self, JoinHandle};
use std::time::Duration;

use millstream_actors::client::{Client, NodeClient};
use millstream_actors::custom::entity::{EntityCaller, EntityTypes};
use millstream_actors::custom::named::NodeActors;
use millstream_actors::flow::Flows;
use millstream_actors::ids::NodeId;
use millstream_transport::identity::Credentials;
use millstream_transport::wire::{RealWire, RealWireSettings};
use millstream_transport::world::{Arbiters, World};
use tokio::sync::oneshot;

use super::assembly::{Ingredients, Running};
use super::error::StartError;
use super::health::NodeState;
use super::vitals::NodeVitals;
use crate::certificates::{self, CertificateFolder};
use crate::config::{NodeConfig, Settings};
use crate::http::{Health, HealthReport, HttpServer, Listed};
use crate::security::tls::Tls;
use crate::telemetry::Metrics;

/// A node of a cluster, or a cluster of one. Works on threads of its own; dropped, it ends as if killed.
#[derive(Debug)]
pub struct Node {
    id: NodeId,
    quic: SocketAddr,
    kafka: Vec<(String, SocketAddr)>,
    certificates: CertificateFolder,
    metrics: Metrics,
    state: Arc<NodeState>,
    entities: EntityCaller,
    actors: NodeActors,
    client: NodeClient,
    flows: Flows,
    http: Option<HttpServer>,
    end: Option<oneshot::Sender<End>>,
    control: Option<JoinHandle<Result<(), String>>>,
}

/// How a node is to end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum End {
    Cleanly,
    AtOnce,
}

/// A node that did not end cleanly: its next start recovers, and loses nothing.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the node did not end cleanly: {0}")]
pub struct StopError(String);

/// What the control thread tells when the node is up.
struct Up {
    quic: SocketAddr,
    entities: EntityCaller,
    state: Arc<NodeState>,
    actors: NodeActors,
    client: NodeClient,
    flows: Flows,
    vitals: NodeVitals,
}

impl Node {
    /// Starts a node and waits until it listens and its logs are recovered. Whether it is ready, and so part of its
    /// cluster, tells [`Node::health`].
    ///
    /// A node that is a cluster of one, and has no certificates, makes them.
    pub fn start(settings: &Settings) -> Result<Self, StartError> {
        Self::start_hosting(settings, EntityTypes::new())
    }

    /// The same for a node that hosts these types of entities. All nodes that host a type should have the same code of it.
    pub fn start_hosting(settings: &Settings, entities: EntityTypes) -> Result<Self, StartError> {
        let config = NodeConfig::new(settings)?;
        let certificates = CertificateFolder::new(config.data_dir.join("certs"));
        let metrics = Metrics::new().map_err(|error| StartError::Http(error.to_string()))?;
        let cores = match config.cores {
            0 => thread::available_parallelism().map_or(1, std::num::NonZero::get),
            cores => cores,
        };
        let (world, arbiters) = World::real(cores).map_err(StartError::Threads)?;
        let credentials = credentials(&config, &certificates, &world)?;
        let http_listen = config.http_listen;
        let (id, events) = (config.node_id, metrics.events(config.node_id));
        let wire = RealWire::new(RealWireSettings {
            receive_buffer_bytes: config.quic_socket_buffer_bytes,
            send_buffer_bytes: config.quic_socket_buffer_bytes,
            mtu_bytes: config.quic_mtu_bytes,
        });
        let (kafka, config) = kafka(config)?;
        let tls = config.kafka.ssl.as_ref().map(Tls::load).transpose()?;
        let addresses = addresses(&config, &kafka);
        let (tell, told) = std::sync::mpsc::channel();
        let (end, ended) = oneshot::channel();
        let control = thread::Builder::new().name(format!("control-{id}")).spawn(move || {
            let wire = Arc::new(wire);
            let ingredients = Ingredients { world, wire, kafka, tls, config, credentials, events, entities };
            control(ingredients, arbiters, &tell, ended)
        });
        let control = control.map_err(StartError::Threads)?;
        let gone = || StartError::Http("the control thread ended while the node started".to_owned());
        let up = told.recv().map_err(|_| gone())??;
        metrics.look_before_rendering(Arc::new(up.vitals));
        let health: Arc<dyn Health> = Arc::clone(&up.state) as _;
        let listed =
            Listed { actors: Arc::new(up.actors.clone()), applications: Arc::new(up.client.clone()) };
        let http = HttpServer::start(http_listen, metrics.clone(), health, listed)
            .map_err(|error| StartError::Http(error.to_string()));
        let mut node = Self {
            id,
            quic: up.quic,
            kafka: addresses,
            certificates,
            metrics,
            state: up.state,
            entities: up.entities,
            actors: up.actors,
            client: up.client,
            flows: up.flows,
            http: None,
            end: Some(end),
            control: Some(control),
        };
        // On an error the node is dropped, and ends.
        node.http = Some(http?);
        Ok(node)
    }

    /// Its number.
    #[must_use]
    pub fn id(&self) -> NodeId {
        self.id
    }

    /// Where nodes and native clients reach it.
    #[must_use]
    pub fn quic_address(&self) -> SocketAddr {
        self.quic
    }

    /// Where it serves Kafka's clients: each listener by its name.
    #[must_use]
    pub fn kafka_addresses(&self) -> &[(String, SocketAddr)] {
        &self.kafka
    }

    /// Where it serves metrics and health.
    #[must_use]
    pub fn http_address(&self) -> Option<SocketAddr> {
        self.http.as_ref().map(HttpServer::address)
    }

    /// The certificates in its data directory.
    #[must_use]
    pub fn certificates(&self) -> &CertificateFolder {
        &self.certificates
    }

    /// Asks entities of the cluster from here.
    #[must_use]
    pub const fn entities(&self) -> &EntityCaller {
        &self.entities
    }

    /// Its series.
    #[must_use]
    pub fn metrics(&self) -> &Metrics {
        &self.metrics
    }

    /// Actors of users: begins them on this node, and calls them wherever they run.
    #[must_use]
    pub fn actors(&self) -> &NodeActors {
        &self.actors
    }

    /// A client of the cluster from inside of this node: it makes producers, consumers and changes to topics.
    ///
    /// It speaks over the node's own endpoint, as the node: there is no certificate and no socket beside the node's. Its
    /// work runs on the cores of the node, and ends with it. All calls give the same client, so closing one ends nothing.
    #[must_use]
    pub fn client(&self) -> Client {
        self.client.get()
    }

    /// Sources and sinks: actors between topics and what you write.
    #[must_use]
    pub const fn flows(&self) -> &Flows {
        &self.flows
    }

    /// How it is.
    #[must_use]
    pub fn health(&self) -> HealthReport {
        self.state.report()
    }

    /// Waits until it is ready, for at most `within`; whether it is.
    pub async fn wait_until_ready(&self, within: Duration) -> bool {
        let ready = async {
            while !self.health().is_ready() {
                tokio::time::sleep(Duration::from_millis(5)).await;
            }
        };
        tokio::time::timeout(within, ready).await.is_ok()
    }

    /// Whether it has ended by itself, because it could not go on: [`Node::stop`] then says why.
    #[must_use]
    pub fn has_failed(&self) -> bool {
        self.control.as_ref().is_none_or(JoinHandle::is_finished)
    }

    /// Ends it cleanly, within `shutdown.timeout.ms`: leaderships are handed over, logs synced and closed.
    pub fn stop(mut self) -> Result<(), StopError> {
        self.end(End::Cleanly)
    }

    /// Ends it as a kill of its process would: nobody is told, nothing is synced.
    pub fn kill(mut self) {
        // There is no clean end to fail at.
        let _ = self.end(End::AtOnce);
    }

    fn end(&mut self, how: End) -> Result<(), StopError> {
        self.http = None;
        if let Some(end) = self.end.take() {
            // It may have ended by itself; joining tells.
            let _ = end.send(how);
        }
        match self.control.take().map(JoinHandle::join) {
            None | Some(Ok(Ok(()))) => Ok(()),
            Some(Ok(Err(reason))) => Err(StopError(reason)),
            Some(Err(_)) => Err(StopError("its control thread panicked".to_owned())),
        }
    }
}

impl Drop for Node {
    fn drop(&mut self) {
        // There is no clean end to fail at.
        let _ = self.end(End::AtOnce);
    }
}

/// The sockets for Kafka's clients, and the configuration with the ports that they got where any free one was asked for.
/// Those who come while the node starts wait in their queues.
fn kafka(mut config: NodeConfig) -> Result<(Vec<TcpListener>, NodeConfig), StartError> {
    let mut sockets = Vec::with_capacity(config.kafka.listeners.len());
    for listener in &config.kafka.listeners {
        if config.kafka.is_open(listener) {
            tracing::warn!(node = %config.node_id, %listener,
                "clients of Kafka's protocol from other machines are served without being asked who they are");
        }
    }
    for listener in &mut config.kafka.listeners {
        let address = listener.address;
        let failed = |error| StartError::Kafka { address, error };
        let socket = TcpListener::bind(address).map_err(failed)?;
        let port = socket.local_addr().map_err(failed)?.port();
        if listener.advertised.port == 0 {
            listener.advertised.port = port;
        }
        sockets.push(socket);
    }
    Ok((sockets, config))
}

/// Where each listener is, by its name.
fn addresses(config: &NodeConfig, sockets: &[TcpListener]) -> Vec<(String, SocketAddr)> {
    let each = config.kafka.listeners.iter().zip(sockets);
    each.filter_map(|(listener, socket)| Some((listener.name.clone(), socket.local_addr().ok()?))).collect()
}

fn control(
    ingredients: Ingredients,
    arbiters: Arbiters,
    tell: &std::sync::mpsc::Sender<Result<Up, StartError>>,
    ended: oneshot::Receiver<End>,
) -> Result<(), String> {
    let within = ingredients.config.shutdown_timeout;
    let events = ingredients.events.clone();
    let runtime = match tokio::runtime::Builder::new_current_thread().enable_all().build() {
        Ok(runtime) => runtime,
        Err(error) => {
            // Who starts the node waits for this.
            let _ = tell.send(Err(StartError::Threads(error)));
            return Ok(());
        }
    };
    let result = runtime.block_on(async {
        let running = match Running::start(ingredients).await {
            Ok(running) => running,
            Err(error) => {
                let _ = tell.send(Err(error));
                return Ok(());
            }
        };
        let up = Up {
            quic: running.endpoint.local_address(),
            entities: running.caller.clone(),
            state: Arc::clone(&running.state),
            actors: running.actors.clone(),
            client: running.client.clone(),
            flows: running.flows.clone(),
            vitals: running.vitals(&events),
        };
        let _ = tell.send(Ok(up));
        let mut fatal = running.fatal.subscribe();
        let how = tokio::select! {
            biased;
            // A handle that is dropped means the same as a kill.
            how = ended => how.unwrap_or(End::AtOnce),
            why = fatal.wait_for(Option::is_some) => {
                let why = why.ok().and_then(|why| why.clone()).unwrap_or_default();
                running.endpoint.abandon();
                running.flows.abandon();
                running.actors.abandon();
                return Err(why);
            }
        };
        match how {
            End::Cleanly => tokio::time::timeout(within, running.stop())
                .await
                .unwrap_or_else(|_| Err(format!("not done within {} ms", within.as_millis()))),
            End::AtOnce => {
                running.endpoint.abandon();
                running.flows.abandon();
                running.actors.abandon();
                Ok(())
            }
        }
    });
    // Tasks of the control thread go first: none of them then waits for an actor that is gone.
    drop(runtime);
    arbiters.stop();
    result
}

fn credentials(
    config: &NodeConfig,
    folder: &CertificateFolder,
    world: &World,
) -> Result<Credentials, StartError> {
    if let Some(files) = &config.tls {
        return Ok(certificates::load(files)?);
    }
    let files = folder.node_files(config.node_id);
    let alone = config.voters.iter().all(|voter| voter.node == config.node_id);
    if alone && !files.certificate.exists() {
        let authority = folder.authority(&world.clock, &world.random)?;
        folder.issue_node(&authority, config.node_id, &["localhost".to_owned()])?;
    }
    Ok(certificates::load(&files)?)
}

/// A node of one core at any free ports.
#[cfg(test)]
pub(super) fn at_any_ports(directory: &tempfile::TempDir) -> Node {
    Node::start(&any_ports(directory)).unwrap()
}

/// The settings of such a node.
#[cfg(test)]
pub(super) fn any_ports(directory: &tempfile::TempDir) -> Settings {
    let settings = Settings::default()
        .set("data.dir", &directory.path().to_string_lossy())
        .and_then(|settings| settings.set("node.cores", "1"))
        .and_then(|settings| settings.set("quic.listen", "127.0.0.1:0"))
        .and_then(|settings| settings.set("http.listen", "127.0.0.1:0"));
    settings.unwrap()
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::*;
    use crate::certificates::LOCAL_CLIENT;
    use crate::{Client, ClientError, ClientSettings, CreateTopic, Offset, ProducerRecord, ProducerSettings};

    #[tokio::test]
    async fn a_node_at_any_free_ports_says_which_it_got_and_is_found_there() {
        let directory = tempfile::tempdir().unwrap();
        let node = at_any_ports(&directory);
        assert!(node.quic_address().port() > 0 && node.http_address().unwrap().port() > 0);
        assert!(node.wait_until_ready(Duration::from_secs(10)).await);
        let credentials = node.certificates().client(LOCAL_CLIENT).unwrap();
        let bootstrap = ClientSettings::new([node.quic_address().to_string()]);
        let client = Client::connect(credentials, bootstrap).await.unwrap();
        let producer = client.producer(ProducerSettings::default()).await.unwrap();
        let topic = CreateTopic {
            name: "thoughts".to_owned(),
            partitions: Some(1),
            replication_factor: Some(1),
            config: BTreeMap::new(),
        };
        client.admin().create_topic(topic.clone()).await.unwrap();
        // The partition's leader is asked at the address that the node told the cluster.
        let delivery = producer.send(ProducerRecord::to("thoughts").value("here")).await.unwrap();
        delivery.await.unwrap();
        let told = client.metadata().view().nodes.get(&node.id()).cloned();
        assert_eq!(told, Some(node.quic_address().to_string()));
        producer.close(Duration::from_secs(1)).await;
        client.close().await;

        // And from inside, without a certificate or a socket of its own.
        let inside = node.client();
        let producer = inside.producer(ProducerSettings::default()).await.unwrap();
        let delivery = producer.send(ProducerRecord::to("thoughts").value("there")).await.unwrap();
        assert_eq!(delivery.await.unwrap().offset, Some(Offset(1)));
        producer.close(Duration::from_secs(1)).await;
        node.stop().unwrap();
        let late = inside.admin().create_topic(topic).await.unwrap_err();
        assert_eq!(late, ClientError::Closed);
    }
}

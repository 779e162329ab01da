use std::net::IpAddr;

use millstream_transport::identity::ClusterAuthority;
use millstream_transport::peer::{Answering, Mtu};
use millstream_transport::wire::SimulatedNetwork;
use millstream_transport::world::simulation;
use millstream_transport::world::{Clock, Random};

use super::*;
use crate::client::fake::{FakeCluster, at, world};
use crate::cluster::message::{InitProducerId, Metadata};
use crate::partition::message::{Fetch, Produce};
use crate::producer::{ProducerRecord, ProducerSettings};

/// Handlers of a node of the cluster in memory.
fn handlers(cluster: &FakeCluster, node: NodeId) -> Handlers {
    let handlers = Handlers::new();
    let handlers = serve::<Metadata>(handlers, cluster, node);
    let handlers = serve::<InitProducerId>(handlers, cluster, node);
    let handlers = serve::<Produce>(handlers, cluster, node);
    serve::<Fetch>(handlers, cluster, node)
}

fn serve<M: Message>(handlers: Handlers, cluster: &FakeCluster, node: NodeId) -> Handlers
where
    FakeCluster: Asks<M>,
{
    let cluster = cluster.clone();
    handlers.on::<M>(move |_, message, answering: Answering<M>| {
        let asked = Asks::<M>::ask(&cluster, &Target::Node(node), message, Duration::from_secs(60));
        tokio::spawn(async move {
            if let Ok(answer) = asked.await {
                answering.answer(answer);
            }
        });
    })
}

async fn write_and_check(cluster: &FakeCluster, client: &Client) {
    let topic = cluster.topic("t", 1);
    let producer = client.producer(ProducerSettings::default()).await.unwrap();
    let mut deliveries = Vec::new();
    for number in 0..1000 {
        let value = number.to_string();
        deliveries.push(producer.send(ProducerRecord::to("t").value(&value)).await.unwrap());
    }
    for delivery in deliveries {
        delivery.await.unwrap();
    }
    let values: Vec<String> = (0..1000).map(|number| number.to_string()).collect();
    assert_eq!(cluster.values(at(topic, 0)), values);
    producer.close(Duration::from_secs(1)).await;
    client.close().await;
}

#[test]
fn a_producer_writes_over_quic_in_simulation() {
    simulation::run(1, |run| async move {
        let network = SimulatedNetwork::new(run.seed_of("network"));
        let node_world = world(&run);
        let authority = ClusterAuthority::create(&node_world.clock, &node_world.random).unwrap();
        let cluster = FakeCluster::new(1);
        let ip: IpAddr = "10.0.0.1".parse().unwrap();
        let listen = SocketAddr::new(ip, 9092);
        cluster.address.set(listen.to_string()).unwrap();
        let node = NodeId(1);
        let config = EndpointConfig::new(listen, authority.issue_node(node, &[]).unwrap(), 1);
        let service = Arc::new(handlers(&cluster, node));
        let _node = Endpoint::start(config, node_world, network.wire(ip), service).unwrap();
        let ip: IpAddr = "10.0.0.9".parse().unwrap();
        let config = EndpointConfig::new(SocketAddr::new(ip, 1), authority.issue_client("c").unwrap(), 2);
        let endpoint =
            Endpoint::start(config, world(&run), network.wire(ip), Arc::new(Handlers::new())).unwrap();
        let link = Arc::new(QuicLink::new(endpoint));
        let client = Client::over(world(&run), link, ClientSettings::new([listen.to_string()])).unwrap();
        write_and_check(&cluster, &client).await;
    });
}

#[test]
fn a_client_with_threads_of_its_own_writes_over_the_machines_network() {
    let (node_world, _arbiters) = World::real(1).unwrap();
    let authority = ClusterAuthority::create(&Clock::real(), &Random::real()).unwrap();
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    runtime.block_on(async {
        let cluster = FakeCluster::new(1);
        let listen = SocketAddr::from(([127, 0, 0, 1], 0));
        let wire = Arc::new(RealWire::new(RealWireSettings::default()));
        let credentials = authority.issue_node(NodeId(1), &["localhost".to_owned()]).unwrap();
        let config = EndpointConfig::new(listen, credentials, 1);
        let service = Arc::new(handlers(&cluster, NodeId(1)));
        let node = Endpoint::start(config, node_world.clone(), wire, service).unwrap();
        let address = node.local_address().to_string();
        cluster.address.set(address.clone()).unwrap();
        let settings = ClientSettings { mtu: Mtu::UpTo(1452), ..ClientSettings::new([address]) };
        let client = Client::connect(authority.issue_client("c").unwrap(), settings).await.unwrap();
        write_and_check(&cluster, &client).await;
        node.close().await;
    });
}

#[test]
fn what_may_have_arrived_is_told_from_what_did_not() {
    let peer = || "node 1".to_owned();
    let closed = AskError::Closed { peer: peer(), reason: "cut".to_owned() };
    assert!(matches!(link_error(closed), LinkError::NoAnswer(_)));
    let unreachable = AskError::Unreachable { peer: peer(), reason: "gone".to_owned() };
    assert!(matches!(link_error(unreachable), LinkError::NotSent(_)));
}

//! Three nodes in this process.

use std::collections::BTreeMap;
use std::error::Error;
use std::net::UdpSocket;
use std::time::Duration;

use millstream::certificates::{CertificateFolder, LOCAL_CLIENT};
use millstream::config::Settings;
use millstream::{Client, ClientSettings, Clock, CreateTopic, Node, NodeId, Random};

/// The topic.
pub const TOPIC: &str = "flights";
/// Its partitions.
pub const PARTITIONS: i32 = 6;
const REPLICAS: i16 = 3;

/// How long the nodes may take to find each other, and to catch up at the end.
const PATIENCE: Duration = Duration::from_secs(20);

/// Nodes 1 to 3, their certificates and disks.
pub struct Cluster {
    directory: tempfile::TempDir,
    settings: BTreeMap<u32, Settings>,
    nodes: BTreeMap<u32, Node>,
}

impl Cluster {
    /// Makes certificates, starts the nodes, and waits until all are ready.
    pub async fn start() -> Result<Self, Box<dyn Error>> {
        let directory = tempfile::tempdir()?;
        let certificates = CertificateFolder::new(directory.path().join("certs"));
        let authority = certificates.authority(&Clock::real(), &Random::real())?;
        let sockets = (1..=3).map(|_| UdpSocket::bind("127.0.0.1:0")).collect::<Result<Vec<_>, _>>()?;
        let addresses: Vec<_> = sockets
            .iter()
            .map(|socket| socket.local_addr().map(|address| address.to_string()))
            .collect::<Result<_, _>>()?;
        let voters: Vec<_> = (1..).zip(&addresses).map(|(id, address)| format!("{id}@{address}")).collect();
        let mut settings = BTreeMap::new();
        for (id, address) in (1_u32..).zip(&addresses) {
            certificates.issue_node(&authority, NodeId(id), &["localhost".to_owned()])?;
            let files = certificates.node_files(NodeId(id));
            let data = directory.path().join(format!("node-{id}"));
            let of_node = Settings::default()
                .set("node.id", &id.to_string())?
                .set("node.cores", "1")?
                .set("data.dir", &data.to_string_lossy())?
                .set("quic.listen", address)?
                .set("http.listen", "127.0.0.1:0")?
                .set("quorum.voters", &voters.join(","))?
                .set("tls.authority", &files.authority.to_string_lossy())?
                .set("tls.certificate", &files.certificate.to_string_lossy())?
                .set("tls.key", &files.key.to_string_lossy())?;
            settings.insert(id, of_node);
        }
        // Held until here, so that nobody else was given these ports.
        drop(sockets);
        let mut cluster = Self { directory, settings, nodes: BTreeMap::new() };
        for id in 1..=3 {
            cluster.start_again(id)?;
        }
        for node in cluster.nodes.values() {
            if !node.wait_until_ready(PATIENCE).await {
                return Err(format!("node {} is not ready: {:?}", node.id(), node.health()).into());
            }
        }
        Ok(cluster)
    }

    /// A client of the cluster, once it sees all nodes: each is to get a replica of every partition.
    pub async fn client(&self) -> Result<Client, Box<dyn Error>> {
        let certificates = CertificateFolder::new(self.directory.path().join("certs"));
        let bootstrap = self.nodes.values().map(|node| node.quic_address().to_string());
        let client =
            Client::connect(certificates.client(LOCAL_CLIENT)?, ClientSettings::new(bootstrap)).await?;
        let all = self.nodes.len();
        let metadata = client.metadata();
        metadata
            .wait("all nodes to be live", PATIENCE, |view| (view.nodes.len() == all).then_some(()))
            .await?;
        Ok(client)
    }

    /// Starts a node, for the first time or after its death.
    pub fn start_again(&mut self, id: u32) -> Result<(), Box<dyn Error>> {
        let settings = self.settings.get(&id).ok_or("no such node")?;
        self.nodes.insert(id, Node::start(settings)?);
        Ok(())
    }

    /// Kills the node that leads a partition, as `kill -9` would; says which it was.
    pub async fn kill_leader_of(&mut self, client: &Client, partition: i32) -> Result<u32, Box<dyn Error>> {
        let topic = client.admin().describe_topic(TOPIC).await?;
        let leader = topic.partitions.get(usize::try_from(partition)?).and_then(|partition| partition.leader);
        let leader = leader.ok_or("the busiest partition has no leader")?.0;
        self.nodes.remove(&leader).ok_or("the leader does not run")?.kill();
        Ok(leader)
    }

    /// Stops all nodes cleanly.
    pub fn stop(self) {
        for node in self.nodes.into_values() {
            if let Err(error) = node.stop() {
                eprintln!("{error}");
            }
        }
    }
}

/// Makes the topic. The flights left in 2001, which is what their records' timestamps say: they are kept for ever, as
/// the default retention of a week would remove them at once.
pub async fn make_topic(client: &Client) -> Result<(), Box<dyn Error>> {
    let config = [("min.insync.replicas", "2"), ("retention.ms", "-1")];
    let config = config.map(|(name, value)| (name.to_owned(), value.to_owned())).into();
    let topic = CreateTopic {
        name: TOPIC.to_owned(),
        partitions: Some(PARTITIONS),
        replication_factor: Some(REPLICAS),
        config,
    };
    client.admin().create_topic(topic).await?;
    Ok(())
}

/// Waits until every replica of every partition is in sync; how many are.
pub async fn wait_in_sync(client: &Client) -> usize {
    let deadline = tokio::time::Instant::now() + PATIENCE;
    let all = usize::try_from(PARTITIONS).unwrap_or(0) * usize::try_from(REPLICAS).unwrap_or(0);
    loop {
        client.metadata().refresh();
        let topic = client.admin().describe_topic(TOPIC).await;
        let in_sync =
            topic.map_or(0, |topic| topic.partitions.iter().map(|partition| partition.in_sync.len()).sum());
        if in_sync >= all || tokio::time::Instant::now() > deadline {
            return in_sync;
        }
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
}

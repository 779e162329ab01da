//! The nodes, and what is measured on them.

use std::collections::BTreeMap;
use std::net::{Ipv4Addr, UdpSocket};
use std::time::Duration;

use futures::StreamExt;
use futures::stream::FuturesUnordered;
use millstream::certificates::CertificateFolder;
use millstream::config::Settings;
use millstream::{
    ActorSettings, Client, Clock, CreateTopic, EntityRef, EntityTypes, Node, NodeId, Producer,
    ProducerRecord, ProducerSettings, Random,
};
use millstream_actors::image::entity_topic;
use millstream_tests::Outcome;
use tokio::time::Instant;

use super::users::{Book, Note, Ping, Ponger};
use super::{How, Rate, Trips};

const WITHIN: Duration = Duration::from_secs(10);

/// Partitions of the topics that rates are measured on, and of the entities'.
const PARTITIONS: i32 = 6;

/// Entities that rates are measured on.
const BOOKS: u64 = 1_000;

/// Nodes in this process, with disks of their own in a temporary directory.
pub(crate) struct Cluster {
    nodes: Vec<Node>,
    /// Dropped after the nodes.
    _directory: tempfile::TempDir,
}

impl Cluster {
    pub(crate) async fn start(count: u32) -> Outcome<Self> {
        let directory = tempfile::tempdir()?;
        let certificates = CertificateFolder::new(directory.path().join("certs"));
        let authority = certificates.authority(&Clock::real(), &Random::real())?;
        // Sockets that are closed just before their nodes open them: all are to know all addresses.
        let sockets = (0..count).map(|_| UdpSocket::bind((Ipv4Addr::LOCALHOST, 0)));
        let sockets = sockets.collect::<Result<Vec<_>, _>>()?;
        let addresses = sockets.iter().map(UdpSocket::local_addr).collect::<Result<Vec<_>, _>>()?;
        let voters = (1..).zip(&addresses).map(|(id, address)| format!("{id}@{address}"));
        let voters = voters.collect::<Vec<String>>().join(",");
        drop(sockets);
        let mut nodes = Vec::new();
        for (id, address) in (1..).zip(&addresses) {
            certificates.issue_node(&authority, NodeId(id), &["localhost".to_owned()])?;
            let files = certificates.node_files(NodeId(id));
            let settings = Settings::default()
                .set("node.id", &id.to_string())?
                .set("node.cores", "1")?
                .set("data.dir", &directory.path().join(format!("node-{id}")).to_string_lossy())?
                .set("entity.partitions", &PARTITIONS.to_string())?
                .set("quic.listen", &address.to_string())?
                .set("http.listen", "127.0.0.1:0")?
                .set("quorum.voters", &voters)?
                .set("tls.authority", &files.authority.to_string_lossy())?
                .set("tls.certificate", &files.certificate.to_string_lossy())?
                .set("tls.key", &files.key.to_string_lossy())?;
            nodes.push(Node::start_hosting(&settings, EntityTypes::new().and::<Book>()?)?);
        }
        for node in &nodes {
            if !node.wait_until_ready(Duration::from_secs(30)).await {
                return Err(format!("node {} is not ready", node.id()).into());
            }
        }
        let this = Self { nodes, _directory: directory };
        this.make_topic("one", 1).await?;
        this.make_topic("many", PARTITIONS).await?;
        Ok(this)
    }

    fn first(&self) -> Outcome<&Node> {
        Ok(self.nodes.first().ok_or("no node")?)
    }

    async fn make_topic(&self, name: &str, partitions: i32) -> Outcome {
        let topic = CreateTopic {
            name: name.to_owned(),
            partitions: Some(partitions),
            replication_factor: Some(i16::try_from(self.nodes.len())?),
            config: BTreeMap::new(),
        };
        Ok(self.first()?.client().admin().create_topic(topic).await.map(drop)?)
    }

    /// A node that does not lead this partition, if there are several.
    async fn other_than_leader(&self, topic: &str, index: i32) -> Outcome<&Node> {
        let client = self.first()?.client();
        let found = client.metadata().topic(topic, WITHIN).await?;
        let partition = found.partition(index).ok_or("no such partition")?;
        let led = client.metadata().wait("a leader", WITHIN, |view| view.leader(partition)).await?.0;
        let other = self.nodes.iter().find(|node| node.id() != led);
        other.map_or_else(|| self.first(), Ok)
    }

    pub(crate) async fn ask_named(&self, how: How) -> Outcome<Trips> {
        let (owner, asker) = (self.first()?, self.nodes.last().ok_or("no node")?);
        owner.actors().spawn("ponger", ActorSettings::default(), Ponger::default).await?;
        let (calls, ping) = (asker.actors().calls(), Ping(vec![7; how.bytes]));
        Trips::of(how.time, async || Ok(calls.ask("ponger", &ping, WITHIN).await.map(drop)?)).await
    }

    /// Asks an entity from a node that does not lead it.
    pub(crate) async fn ask_entity(&self, how: How, writes: bool) -> Outcome<Trips> {
        let key = 7_u64;
        // The first message makes the topic.
        let here: EntityRef<Book> = self.first()?.entities().entity(&key);
        here.ask(&Note::Write(Vec::new()), WITHIN).await?;
        let partitions = u32::try_from(PARTITIONS)?;
        let index = millstream::partition_for_key(&millstream::EntityKey::to_bytes(&key), partitions);
        let asker = self.other_than_leader(&entity_topic("book"), i32::try_from(index)?).await?;
        let book: EntityRef<Book> = asker.entities().entity(&key);
        let note = note(how, writes);
        Trips::of(how.time, async || Ok(book.ask(&note, WITHIN).await.map(drop)?)).await
    }

    /// Produces to a partition from a node that does not lead it.
    pub(crate) async fn produce(&self, how: How) -> Outcome<Trips> {
        let producer = producer(&self.other_than_leader("one", 0).await?.client()).await?;
        let value = vec![7; how.bytes];
        let trips = Trips::of(how.time, async || {
            let delivery = producer.send(ProducerRecord::to("one").value(&value)).await?;
            Ok(delivery.await.map(drop)?)
        });
        let trips = trips.await?;
        producer.close(WITHIN).await;
        Ok(trips)
    }

    /// Records a second, so many under way, each awaited by itself.
    pub(crate) async fn produce_rate(&self, how: How) -> Outcome<Rate> {
        let producer = producer(&self.first()?.client()).await?;
        let value = vec![7; how.bytes];
        let rate = rate(how, |number| {
            let (producer, value) = (producer.clone(), value.clone());
            async move {
                let partition = i32::try_from(number % u64::try_from(PARTITIONS)?)?;
                let record = ProducerRecord::to("many").partition(partition).value(&value);
                Ok(producer.send(record).await?.await.map(drop)?)
            }
        });
        let rate = rate.await?;
        producer.close(WITHIN).await;
        Ok(rate)
    }

    /// Turns of entities a second, so many under way.
    pub(crate) async fn turn_rate(&self, how: How, writes: bool) -> Outcome<Rate> {
        let entities = self.first()?.entities();
        rate(how, |number| {
            let (book, note) = (entities.entity::<Book>(&(number % BOOKS)), note(how, writes));
            async move { Ok(book.tell(&note, WITHIN).await?) }
        })
        .await
    }

    pub(crate) fn stop(self) -> Outcome {
        for node in self.nodes {
            node.stop()?;
        }
        Ok(())
    }
}

fn note(how: How, writes: bool) -> Note {
    let bytes = vec![7; how.bytes];
    if writes { Note::Write(bytes) } else { Note::Read(bytes) }
}

async fn producer(client: &Client) -> Outcome<Producer> {
    Ok(client.producer(ProducerSettings::default()).await?)
}

/// Keeps so many under way, after as much to warm up as a fifth of the time.
async fn rate<F>(how: How, act: impl Fn(u64) -> F) -> Outcome<Rate>
where
    F: Future<Output = Outcome>,
{
    let mut under_way = FuturesUnordered::new();
    let mut number = 0;
    let mut next = || {
        number += 1;
        act(number)
    };
    under_way.extend((0..how.in_flight).map(|_| next()));
    let warm = Instant::now() + how.time / 5;
    while Instant::now() < warm {
        under_way.next().await.ok_or("nothing is under way")??;
        under_way.push(next());
    }
    let (began, cpu, mut done) = (Instant::now(), cpu_time()?, 0_u32);
    while began.elapsed() < how.time {
        under_way.next().await.ok_or("nothing is under way")??;
        under_way.push(next());
        done += 1;
    }
    let (took, used) = (began.elapsed(), cpu_time()?.saturating_sub(cpu));
    while let Some(ended) = under_way.next().await {
        ended?;
    }
    let done = f64::from(done);
    Ok(Rate { per_second: done / took.as_secs_f64(), per_cpu_second: done / used.as_secs_f64() })
}

/// User and system time of this process, which the kernel counts in hundredths of a second (proc_pid_stat(5)).
fn cpu_time() -> Outcome<Duration> {
    let line = std::fs::read_to_string("/proc/self/stat")?;
    let (_, fields) = line.rsplit_once(')').ok_or("no name")?;
    let mut fields = fields.split_whitespace().skip(11);
    let mut ticks = || -> Outcome<u64> { Ok(fields.next().ok_or("too short")?.parse()?) };
    Ok(Duration::from_millis(10 * (ticks()? + ticks()?)))
}

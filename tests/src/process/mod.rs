//! A cluster of real processes: real disks, real QUIC on loopback, real signals.

mod address;
mod child;
mod commands;
pub mod http;
mod namespace;
mod network;
mod small_disk;

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::fmt::Write as _;
use std::fs::{self, OpenOptions};
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitStatus, Stdio};

use millstream::certificates::{CertificateFolder, LOCAL_CLIENT};
use millstream::{Client, ClientSettings, Clock, NodeId, Random};
use rustix::process::Signal;

use self::address::Address;
pub use self::child::Child;
pub use self::namespace::{NotAllowed, left_out};
pub use self::network::{Network, OUTSIDE};
pub use self::small_disk::SmallDisk;
use crate::{Outcome, until};

/// Further ports of a node, beyond those of the first nodes.
const EXTRA_FROM: u32 = 100;
const EXTRA_COUNT: u32 = 4;

/// Lines of each node's log that are shown when a test fails.
const SHOWN_LINES: usize = 60;

/// Nodes 1 to n, each a process; their certificates, disks and logs are in one temporary directory. Dropped, it ends
/// all processes that it started.
#[derive(Debug)]
pub struct ProcessCluster {
    program: PathBuf,
    directory: tempfile::TempDir,
    address: Address,
    surroundings: Surroundings,
    nodes: BTreeMap<u32, Child>,
}

/// What the nodes of a cluster are put into; by default the machine as it is.
#[derive(Debug, Default)]
pub struct Surroundings {
    /// A network of its own for each node.
    pub network: Option<Network>,
    /// Small disks for the data directories of these nodes.
    pub small_disks: BTreeMap<u32, SmallDisk>,
}

/// Whose turn it is to have processes.
static TURN: tokio::sync::Mutex<()> = tokio::sync::Mutex::const_new(());

impl ProcessCluster {
    /// Starts `nodes` processes of `program`, all of them voters, with these settings beside the necessary ones, and
    /// waits until all are ready.
    pub async fn start(program: &Path, nodes: u32, settings: &[(&str, &str)]) -> Outcome<Self> {
        Self::start_in(Surroundings::default(), program, nodes, settings).await
    }

    async fn start_in(
        surroundings: Surroundings,
        program: &Path,
        nodes: u32,
        settings: &[(&str, &str)],
    ) -> Outcome<Self> {
        let mut cluster = Self::prepare_in(surroundings, program, nodes, settings)?;
        for id in 1..=nodes {
            cluster.start_node(id)?;
        }
        for id in 1..=nodes {
            cluster.wait_ready(id).await?;
        }
        cluster.wait_all_live(nodes).await?;
        Ok(cluster)
    }

    /// Waits until the controller hears of so many nodes: topics made before would leave the others out.
    async fn wait_all_live(&self, nodes: u32) -> Outcome {
        until("all nodes live", async || {
            for id in self.running() {
                let live = self.series(id, "millstream_cluster_live_nodes").await?;
                if live == Some(f64::from(nodes)) {
                    return Ok(Some(()));
                }
            }
            Ok(None)
        })
        .await
    }

    /// The value of a series without labels but the node's own; `None` where the node does not tell it.
    pub async fn series(&self, id: u32, name: &str) -> Outcome<Option<f64>> {
        let scrape = http::get(self.http(id), "/metrics").await?;
        let is_it = |line: &&str| line.strip_prefix(name).is_some_and(|rest| rest.starts_with(['{', ' ']));
        let value = scrape.lines().find(is_it).and_then(|line| line.rsplit(' ').next());
        Ok(value.map(str::parse).transpose()?)
    }

    /// Certificates and configuration files, and no process yet.
    pub fn prepare(program: &Path, nodes: u32, settings: &[(&str, &str)]) -> Outcome<Self> {
        Self::prepare_in(Surroundings::default(), program, nodes, settings)
    }

    fn prepare_in(
        surroundings: Surroundings,
        program: &Path,
        nodes: u32,
        settings: &[(&str, &str)],
    ) -> Outcome<Self> {
        let directory = tempfile::Builder::new().prefix("millstream-test-").tempdir()?;
        let address = Address::reserve()?;
        let certificates = CertificateFolder::new(directory.path().join("certs"));
        let authority = certificates.authority(&Clock::real(), &Random::real())?;
        let (program, nodes_up) = (program.to_owned(), BTreeMap::new());
        let cluster = Self { program, directory, address, surroundings, nodes: nodes_up };
        let voters: Vec<_> = (1..=nodes).map(|id| format!("{id}@{}", cluster.quic(id))).collect();
        for id in 1..=nodes {
            certificates.issue_node(&authority, NodeId(id), &["localhost".to_owned()])?;
            let files = certificates.node_files(NodeId(id));
            let mut text = format!(
                "node.id = {id}\nnode.cores = 1\ndata.dir = {:?}\nquic.listen = \"{}\"\nhttp.listen = \"{}\"\n\
                 quorum.voters = {:?}\ntls.authority = {:?}\ntls.certificate = {:?}\ntls.key = {:?}\n",
                cluster.own_data_dir(id),
                cluster.quic(id),
                cluster.http(id),
                voters.join(","),
                files.authority,
                files.certificate,
                files.key,
            );
            for (name, value) in settings {
                writeln!(text, "{name} = {:?}", cluster.for_node(id, value))?;
            }
            fs::write(cluster.config_file(id), text)?;
        }
        Ok(cluster)
    }

    /// Runs `test` with a cluster; a failure shows the ends of the nodes' logs, and leaves the directory for a look.
    ///
    /// # Panics
    /// If the test fails.
    pub async fn run(
        program: &str,
        nodes: u32,
        settings: &[(&str, &str)],
        test: impl AsyncFnOnce(&mut Self) -> Outcome,
    ) {
        Self::run_in(Surroundings::default(), program, nodes, settings, test).await;
    }

    /// As [`run`](Self::run), in these surroundings.
    ///
    /// # Panics
    /// If the test fails.
    pub async fn run_in(
        surroundings: Surroundings,
        program: &str,
        nodes: u32,
        settings: &[(&str, &str)],
        test: impl AsyncFnOnce(&mut Self) -> Outcome,
    ) {
        // One cluster of processes at a time: several would starve each other's heartbeats on a small machine.
        let _turn = TURN.lock().await;
        let mut cluster = match Self::start_in(surroundings, Path::new(program), nodes, settings).await {
            Ok(cluster) => cluster,
            Err(error) => panic!("the cluster does not start: {error}"),
        };
        if let Err(error) = test(&mut cluster).await {
            let logs = cluster.ends_of_logs();
            cluster.directory.disable_cleanup(true);
            panic!("{error}\nwhat the nodes left is in {}\n{logs}", cluster.directory.path().display());
        }
    }

    /// Starts a node's process, for the first time or again.
    pub fn start_node(&mut self, id: u32) -> Outcome {
        let log = OpenOptions::new().create(true).append(true).open(self.log_file(id))?;
        let mut command = self.command_beside(id);
        command.arg("--config").arg(self.config_file(id));
        command.stdin(Stdio::piped()).stdout(log.try_clone()?).stderr(log);
        self.nodes.insert(id, Child::start(&mut command)?);
        Ok(())
    }

    /// The program, in the surroundings of a node.
    fn command_beside(&self, id: u32) -> Command {
        let Surroundings { network, small_disks } = &self.surroundings;
        let mut words: Vec<OsString> = Vec::new();
        words.extend(network.iter().flat_map(|network| network.prefix(id)));
        words.extend(small_disks.get(&id).map(SmallDisk::prefix).unwrap_or_default());
        words.push(self.program.clone().into_os_string());
        let mut words = words.into_iter();
        let mut command = Command::new(words.next().unwrap_or_default());
        command.args(words);
        command
    }

    /// Starts a node again and waits until it is ready.
    pub async fn restart_node(&mut self, id: u32) -> Outcome {
        self.start_node(id)?;
        self.wait_ready(id).await
    }

    /// Waits until a node says at `/readyz` that it is.
    pub async fn wait_ready(&mut self, id: u32) -> Outcome {
        let address = self.http(id);
        let node = self.nodes.get_mut(&id).ok_or("no such node")?;
        let log = self.directory.path().join(format!("node-{id}.log"));
        until(&format!("node {id} ready"), async || {
            if let Some(status) = node.ended()? {
                let text = fs::read_to_string(&log).unwrap_or_default();
                return Err(format!("node {id} ended with {status}\n{}", end_of(&text)).into());
            }
            let answer = http::get(address, "/readyz").await;
            Ok(answer.is_ok_and(|answer| answer.starts_with("HTTP/1.1 200")).then_some(()))
        })
        .await
    }

    /// Ends a node's process with SIGKILL.
    pub fn kill_9(&mut self, id: u32) -> Outcome {
        self.nodes.remove(&id).ok_or("the node does not run")?.kill()
    }

    /// Stops a node's process where it stands (SIGSTOP).
    pub fn pause(&self, id: u32) -> Outcome {
        self.node(id)?.signal(Signal::STOP)
    }

    /// Lets a node's process that was stopped go on (SIGCONT).
    pub fn resume(&self, id: u32) -> Outcome {
        self.node(id)?.signal(Signal::CONT)
    }

    /// Asks a node to end (SIGTERM), and waits until it has.
    pub async fn terminate(&mut self, id: u32) -> Outcome<ExitStatus> {
        let mut node = self.nodes.remove(&id).ok_or("the node does not run")?;
        node.signal(Signal::TERM)?;
        until(&format!("the clean end of node {id}"), async || node.ended()).await
    }

    /// Ends all nodes cleanly.
    pub async fn terminate_all(&mut self) -> Outcome {
        let running: Vec<_> = self.nodes.keys().copied().collect();
        for id in &running {
            self.node(*id)?.signal(Signal::TERM)?;
        }
        for id in running {
            let mut node = self.nodes.remove(&id).ok_or("the node does not run")?;
            until(&format!("the clean end of node {id}"), async || node.ended()).await?;
        }
        Ok(())
    }

    /// The nodes that were started and not ended.
    #[must_use]
    pub fn running(&self) -> Vec<u32> {
        self.nodes.keys().copied().collect()
    }

    /// A client of the cluster, with a certificate of it.
    pub async fn client(&self) -> Outcome<Client> {
        let bootstrap = self.nodes.keys().map(|id| self.quic(*id).to_string());
        let credentials = self.certificates().client(LOCAL_CLIENT)?;
        Ok(Client::connect(credentials, ClientSettings::new(bootstrap)).await?)
    }

    /// The cluster's certificates.
    #[must_use]
    pub fn certificates(&self) -> CertificateFolder {
        CertificateFolder::new(self.directory.path().join("certs"))
    }

    /// A node's process.
    pub fn pid(&self, id: u32) -> Outcome<u32> {
        Ok(self.node(id)?.pid())
    }

    /// Where nodes and clients reach a node.
    #[must_use]
    pub fn quic(&self, id: u32) -> SocketAddr {
        self.port(id, 2 * id)
    }

    /// Where Kafka's clients reach a node.
    #[must_use]
    pub fn kafka(&self, id: u32) -> SocketAddr {
        self.quic(id)
    }

    /// Further addresses of a node, from 0: what `{extra0}` to `{extra3}` in a setting's value stand for.
    #[must_use]
    pub fn extra(&self, id: u32, number: u32) -> SocketAddr {
        self.port(id, EXTRA_FROM + EXTRA_COUNT * id + number)
    }

    fn for_node(&self, id: u32, value: &str) -> String {
        let place = |value: String, number: u32| {
            value.replace(&format!("{{extra{number}}}"), &self.extra(id, number).to_string())
        };
        (0..EXTRA_COUNT).fold(value.replace("{node}", &id.to_string()), place)
    }

    /// Where a node serves metrics and health.
    #[must_use]
    pub fn http(&self, id: u32) -> SocketAddr {
        self.port(id, 2 * id + 1)
    }

    fn port(&self, id: u32, number: u32) -> SocketAddr {
        let mut address = self.address.port(number);
        if let Some(network) = &self.surroundings.network {
            address.set_ip(network.ip(id));
        }
        address
    }

    /// What the nodes were put into.
    #[must_use]
    pub const fn surroundings(&self) -> &Surroundings {
        &self.surroundings
    }

    /// A node's data directory.
    #[must_use]
    pub fn data_dir(&self, id: u32) -> PathBuf {
        let own = self.own_data_dir(id);
        self.surroundings.small_disks.get(&id).map_or(own.clone(), |disk| disk.seen_from_outside(&own))
    }

    /// A node's data directory as the node itself finds it.
    fn own_data_dir(&self, id: u32) -> PathBuf {
        let disk = self.surroundings.small_disks.get(&id).map(|disk| disk.path().join("data"));
        disk.unwrap_or_else(|| self.directory.path().join(format!("node-{id}")))
    }

    /// A node's log directory.
    #[must_use]
    pub fn log_dir(&self, id: u32) -> PathBuf {
        self.data_dir(id).join("log")
    }

    /// A node's configuration file.
    #[must_use]
    pub fn config_file(&self, id: u32) -> PathBuf {
        self.directory.path().join(format!("node-{id}.toml"))
    }

    /// What a node has written to standard output and error, in all its lives.
    pub fn log_text(&self, id: u32) -> Outcome<String> {
        Ok(fs::read_to_string(self.log_file(id))?)
    }

    fn log_file(&self, id: u32) -> PathBuf {
        self.directory.path().join(format!("node-{id}.log"))
    }

    fn node(&self, id: u32) -> Outcome<&Child> {
        Ok(self.nodes.get(&id).ok_or("the node does not run")?)
    }

    fn ends_of_logs(&self) -> String {
        let mut shown = String::new();
        for id in (1..).take_while(|id| self.config_file(*id).exists()) {
            let text = self.log_text(id).unwrap_or_default();
            // Into a string, which does not fail.
            let _ = writeln!(shown, "---- node {id} ----\n{}", end_of(&text));
        }
        shown
    }
}

fn end_of(text: &str) -> String {
    let lines: Vec<_> = text.lines().collect();
    lines.iter().skip(lines.len().saturating_sub(SHOWN_LINES)).map(|line| format!("{line}\n")).collect()
}

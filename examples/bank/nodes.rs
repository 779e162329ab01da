//! The nodes of a cluster, each a process of this very program.

use std::error::Error;
use std::fmt::Write as _;
use std::fs::OpenOptions;
use std::net::UdpSocket;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

use millstream::certificates::{CertificateFolder, LOCAL_CLIENT};
use millstream::config::Settings;
use millstream::{Client, ClientSettings, Clock, EntityTypes, Node, NodeId, Random};

/// Processes that are killed with this.
pub struct Nodes {
    directory: PathBuf,
    certificates: CertificateFolder,
    /// Where they are reached.
    pub addresses: Vec<String>,
    processes: Vec<Option<Child>>,
}

impl Nodes {
    /// Starts so many, all of them voters, with their data in this directory.
    pub fn start(directory: &Path, count: u32) -> Result<Self, Box<dyn Error>> {
        let folder = directory.join("certs");
        let certificates = CertificateFolder::new(&folder);
        let authority = certificates.authority(&Clock::real(), &Random::real())?;
        let mut free = Vec::new();
        for _ in 0..count {
            free.push(UdpSocket::bind("127.0.0.1:0")?);
        }
        let addresses: Result<Vec<String>, _> =
            free.iter().map(|socket| socket.local_addr().map(|address| address.to_string())).collect();
        let addresses = addresses?;
        drop(free);
        let voters = (1..).zip(&addresses).map(|(node, address): (u32, _)| format!("{node}@{address}"));
        let voters = voters.collect::<Vec<_>>().join(",");
        for (node, address) in (1..).zip(&addresses) {
            certificates.issue_node(&authority, NodeId(node), &["localhost".to_owned()])?;
            let of_node = |end: &str| folder.join(format!("node-{node}.{end}")).display().to_string();
            let data = directory.join(format!("node-{node}")).display().to_string();
            let mut text = String::new();
            for (name, value) in [
                ("node.id", node.to_string()),
                ("data.dir", data),
                ("quic.listen", address.clone()),
                ("http.listen", "127.0.0.1:0".to_owned()),
                ("listeners", "none".to_owned()),
                ("quorum.voters", voters.clone()),
                ("tls.authority", folder.join("authority.pem").display().to_string()),
                ("tls.certificate", of_node("pem")),
                ("tls.key", of_node("key")),
            ] {
                writeln!(text, "{name} = {value:?}")?;
            }
            std::fs::write(directory.join(format!("node-{node}.toml")), text)?;
        }
        let processes = (0..count).map(|_| None).collect();
        let mut nodes = Self { directory: directory.to_owned(), certificates, addresses, processes };
        for node in 1..=count {
            nodes.start_one(node)?;
        }
        Ok(nodes)
    }

    /// Starts a node, for the first time or after its death.
    pub fn start_one(&mut self, node: u32) -> Result<(), Box<dyn Error>> {
        let settings = self.directory.join(format!("node-{node}.toml"));
        let process = this_program(&["node".as_ref(), &settings], &self.log(node))?;
        *self.process(node)? = Some(process);
        Ok(())
    }

    /// SIGKILL: the process has no say in it.
    pub fn kill(&mut self, node: u32) -> Result<(), Box<dyn Error>> {
        if let Some(mut process) = self.process(node)?.take() {
            process.kill()?;
            process.wait()?;
        }
        Ok(())
    }

    pub async fn client(&self) -> Result<Client, Box<dyn Error>> {
        let credentials = self.certificates.client(LOCAL_CLIENT)?;
        Ok(Client::connect(credentials, ClientSettings::new(self.addresses.clone())).await?)
    }

    pub fn log(&self, node: u32) -> PathBuf {
        self.directory.join(format!("node-{node}.log"))
    }

    fn process(&mut self, node: u32) -> Result<&mut Option<Child>, Box<dyn Error>> {
        let place = usize::try_from(node)?.checked_sub(1);
        place.and_then(|place| self.processes.get_mut(place)).ok_or_else(|| "no such node".into())
    }
}

impl Drop for Nodes {
    fn drop(&mut self) {
        for mut process in self.processes.drain(..).flatten() {
            // It may have ended by itself.
            let _ = process.kill();
            let _ = process.wait();
        }
    }
}

/// Starts this very program once more, its log appended to a file.
pub fn this_program(arguments: &[&Path], log: &Path) -> Result<Child, Box<dyn Error>> {
    let process = Command::new(std::env::current_exe()?)
        .args(arguments)
        // It ends when we do: it reads this until then.
        .stdin(Stdio::piped())
        .stdout(Stdio::null())
        .stderr(OpenOptions::new().create(true).append(true).open(log)?)
        .spawn()?;
    Ok(process)
}

/// One node's process, which hosts these types of entities.
pub fn run(settings: &Path, types: EntityTypes) -> Result<(), Box<dyn Error>> {
    millstream::telemetry::log_to_standard_error("info", false);
    let settings = Settings::default().file(settings)?;
    let node = Node::start_hosting(&settings, types)?;
    let mut nothing = String::new();
    // Ends when the parent does.
    std::io::stdin().read_line(&mut nothing)?;
    node.kill();
    Ok(())
}

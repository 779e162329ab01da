//! Which node has which ports, files and settings.

use std::error::Error;
use std::fmt::Write as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

/// Between the QUIC ports of two nodes.
const PORTS_PER_NODE: u32 = 10;

/// A cluster's nodes, and the settings that they get beside their own.
#[derive(Debug)]
pub struct Plan {
    directory: PathBuf,
    nodes: u32,
    base_port: u32,
    settings: Vec<(String, String)>,
}

impl Plan {
    pub fn new(directory: PathBuf, nodes: u32, base_port: u16, settings: &[String]) -> Result<Self, String> {
        let base_port = u32::from(base_port);
        let last = base_port + PORTS_PER_NODE * nodes - 1;
        if base_port == 0 || last > u32::from(u16::MAX) {
            return Err(format!(
                "--base-port {base_port}: {nodes} nodes need the ports from there to {last}"
            ));
        }
        let pairs = settings.iter().map(|text| {
            let pair = text.split_once('=').ok_or_else(|| format!("--set {text}: must be KEY=VALUE"))?;
            Ok((pair.0.trim().to_owned(), pair.1.trim().to_owned()))
        });
        Ok(Self { directory, nodes, base_port, settings: pairs.collect::<Result<_, String>>()? })
    }

    pub fn nodes(&self) -> impl Iterator<Item = u32> + use<> {
        1..=self.nodes
    }

    fn port(&self, node: u32) -> u32 {
        self.base_port + PORTS_PER_NODE * (node - 1)
    }

    pub fn quic(&self, node: u32) -> String {
        format!("127.0.0.1:{}", self.port(node))
    }

    /// Where Kafka's clients find the node, unless they were turned away by `--set listeners=none`.
    pub fn kafka(&self, node: u32) -> Option<String> {
        let given = self.settings.iter().rev().find(|(name, _)| name == "listeners");
        match given.map(|(_, value)| value.as_str()) {
            None | Some("") => Some(self.quic(node)),
            Some("none") => None,
            Some(listeners) => Some(filled(listeners, node, self.port(node))),
        }
    }

    pub fn http(&self, node: u32) -> String {
        format!("127.0.0.1:{}", self.port(node) + 1)
    }

    pub fn settings_file(&self, node: u32) -> PathBuf {
        self.directory.join(format!("node-{node}.toml"))
    }

    pub fn log_file(&self, node: u32) -> PathBuf {
        self.directory.join(format!("node-{node}.log"))
    }

    pub fn log_file_pattern(&self) -> String {
        quoted(&self.directory.join("node-N.log"))
    }

    pub fn certificates(&self) -> PathBuf {
        self.directory.join("certs")
    }

    /// The first three nodes vote; of two, the first alone, as two need each other as one needs itself.
    fn voters(&self) -> String {
        let voters = if self.nodes < 3 { 1 } else { 3 };
        (1..=voters).map(|node| format!("{node}@{}", self.quic(node))).collect::<Vec<_>>().join(",")
    }

    /// A node's settings, in order; a later one goes over an earlier one of the same name.
    fn settings(&self, node: u32) -> Vec<(String, String)> {
        let path = |path: PathBuf| path.to_string_lossy().into_owned();
        let certificate = |end: &str| path(self.certificates().join(format!("node-{node}.{end}")));
        let mut settings = vec![
            ("node.id", node.to_string()),
            ("data.dir", path(self.directory.join(format!("node-{node}")))),
            ("quic.listen", self.quic(node)),
            ("http.listen", self.http(node)),
            ("quorum.voters", self.voters()),
            ("tls.authority", path(self.certificates().join("authority.pem"))),
            ("tls.certificate", certificate("pem")),
            ("tls.key", certificate("key")),
        ]
        .into_iter()
        .map(|(name, value)| (name.to_owned(), value))
        .collect::<Vec<_>>();
        for (name, value) in &self.settings {
            settings.retain(|(known, _)| known != name);
            settings.push((name.clone(), filled(value, node, self.port(node))));
        }
        settings
    }

    fn toml(&self, node: u32) -> String {
        let mut text = String::from("# Written by the example `cluster` at each of its starts.\n");
        for (name, value) in self.settings(node) {
            let value = value.replace('\\', "\\\\").replace('"', "\\\"");
            // Writing to a text cannot fail.
            let _ = writeln!(text, "{name} = \"{value}\"");
        }
        text
    }

    /// Writes each node's configuration file.
    pub fn write_settings(&self) -> std::io::Result<()> {
        self.nodes().try_for_each(|node| std::fs::write(self.settings_file(node), self.toml(node)))
    }

    /// Makes what certificates are missing, by `millstream certs`, which this program is too.
    pub fn write_certificates(&self, program: &Path) -> Result<(), Box<dyn Error>> {
        let mut command = Command::new(program);
        command.arg("certs").arg("--certs").arg(self.certificates()).stdout(Stdio::null());
        for node in self.nodes() {
            if !self.certificates().join(format!("node-{node}.pem")).exists() {
                command.arg("--node").arg(format!("{node},localhost"));
            }
        }
        let status = command.status()?;
        if status.success() { Ok(()) } else { Err("the certificates could not be made".into()) }
    }
}

/// A value with `{node}`, `{port}` and `{port+N}` filled in; other braces stay.
fn filled(value: &str, node: u32, port: u32) -> String {
    let (mut filled, mut rest) = (String::new(), value);
    while let Some(begin) = rest.find('{') {
        filled.push_str(&rest[..begin]);
        rest = &rest[begin..];
        // What is not closed is no placeholder.
        let Some(end) = rest.find('}').map(|end| end + 1) else { break };
        let replacement = match rest[..end].trim_matches(['{', '}']) {
            "node" => Some(node),
            "port" => Some(port),
            other => {
                other.strip_prefix("port+").and_then(|plus| plus.parse::<u32>().ok()).map(|plus| port + plus)
            }
        };
        match replacement {
            Some(number) => filled.push_str(&number.to_string()),
            None => filled.push_str(&rest[..end]),
        }
        rest = &rest[end..];
    }
    filled + rest
}

/// A path as a shell takes it.
pub fn quoted(path: &Path) -> String {
    let text = path.to_string_lossy();
    let is_plain = |letter: char| letter.is_ascii_alphanumeric() || "/._-+:,@%".contains(letter);
    if !text.is_empty() && text.chars().all(is_plain) {
        return text.into_owned();
    }
    format!("'{}'", text.replace('\'', "'\\''"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn plan(nodes: u32, settings: &[&str]) -> Plan {
        let settings: Vec<String> = settings.iter().map(|text| (*text).to_owned()).collect();
        Plan::new("/data".into(), nodes, 9092, &settings).unwrap()
    }

    #[test]
    fn nodes_are_ten_ports_apart_with_http_beside_quic() {
        let plan = plan(3, &[]);
        assert_eq!((plan.quic(1), plan.http(1)), ("127.0.0.1:9092".into(), "127.0.0.1:9093".into()));
        assert_eq!((plan.quic(3), plan.http(3)), ("127.0.0.1:9112".into(), "127.0.0.1:9113".into()));
    }

    #[test]
    fn kafkas_clients_find_a_node_at_the_port_of_quic_unless_turned_away() {
        assert_eq!(plan(3, &[]).kafka(2), Some(plan(3, &[]).quic(2)));
        assert_eq!(plan(3, &["listeners=none"]).kafka(2), None);
        let named = plan(3, &["listeners=SASL_SSL://127.0.0.1:{port+1000}"]).kafka(2).unwrap();
        let port = plan(3, &[]).port(2) + 1000;
        assert_eq!(named, format!("SASL_SSL://127.0.0.1:{port}"));
    }

    #[test]
    fn three_vote_or_one() {
        assert_eq!(plan(5, &[]).voters(), "1@127.0.0.1:9092,2@127.0.0.1:9102,3@127.0.0.1:9112");
        assert_eq!(plan(2, &[]).voters(), "1@127.0.0.1:9092");
    }

    #[test]
    fn a_setting_goes_over_the_clusters_own_and_is_filled_in_for_each_node() {
        let plan = plan(
            3,
            &["log.level=debug", "quic.advertised=host-{node}:{port}", "http.listen=0.0.0.0:{port+5}"],
        );
        let text = plan.toml(2);
        assert!(text.contains("quic.advertised = \"host-2:9102\"\n"), "{text}");
        assert!(text.contains("http.listen = \"0.0.0.0:9107\"\n"), "{text}");
        assert_eq!(text.matches("http.listen").count(), 1);
    }

    #[test]
    fn only_what_is_known_is_filled_in() {
        assert_eq!(filled("{node}{port}{port+3}", 7, 100), "7100103");
        assert_eq!(filled("a{b}{port+x}{node", 7, 100), "a{b}{port+x}{node");
        assert_eq!(filled("plain", 7, 100), "plain");
    }

    #[test]
    fn ports_that_do_not_exist_are_refused() {
        assert!(Plan::new("/d".into(), 3, 65_530, &[]).unwrap_err().contains("--base-port"));
        assert!(Plan::new("/d".into(), 1, 1, &["x".into()]).unwrap_err().contains("KEY=VALUE"));
    }

    #[test]
    fn a_path_is_as_a_shell_takes_it() {
        assert_eq!(quoted(Path::new("/a/b-1.toml")), "/a/b-1.toml");
        assert_eq!(quoted(Path::new("/it's here")), "'/it'\\''s here'");
    }
}

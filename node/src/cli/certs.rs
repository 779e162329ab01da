//! `millstream certs`: makes the cluster's authority, and certificates of nodes and clients.

use std::path::PathBuf;

use clap::{Arg, ArgAction, ArgMatches, Command};
use millstream_transport::identity::NodeId;
use millstream_transport::world::{Clock, Random};

use super::{Failure, folder_argument, say};
use crate::certificates::CertificateFolder;

pub(super) fn command() -> Command {
    Command::new("certs")
        .about("Make certificates: the cluster's authority where there is none, nodes, clients")
        .long_about(
            "Make certificates. The folder's authority (authority.pem, authority.key) is made where there is none. \
             A node needs authority.pem, node-ID.pem and node-ID.key; a client authority.pem, client-NAME.pem and \
             client-NAME.key. Keep authority.key off the nodes: whoever has it can join the cluster.",
        )
        .arg(folder_argument())
        .arg(
            Arg::new("node")
                .long("node")
                .value_name("ID[,NAME...]")
                .action(ArgAction::Append)
                .help("A node to make a certificate for, with the host names it is known by"),
        )
        .arg(
            Arg::new("client")
                .long("client")
                .value_name("NAME")
                .action(ArgAction::Append)
                .help("A client to make a certificate for"),
        )
}

pub(super) fn run(matches: &ArgMatches) -> Result<(), Failure> {
    let path = matches.get_one::<PathBuf>("folder").cloned().unwrap_or_default();
    let folder = CertificateFolder::new(&path);
    let authority = folder.authority(&Clock::real(), &Random::real())?;
    say(&format!("cluster {}  {}", authority.cluster().0, path.join("authority.pem").display()))?;
    for text in matches.get_many::<String>("node").into_iter().flatten() {
        let (node, names) = node_and_names(text)?;
        folder.issue_node(&authority, node, &names)?;
        say(&format!("node {node}  {}", folder.node_files(node).certificate.display()))?;
    }
    for name in matches.get_many::<String>("client").into_iter().flatten() {
        folder.issue_client(&authority, name)?;
        say(&format!("client {name}  {}", path.join(format!("client-{name}.pem")).display()))?;
    }
    Ok(())
}

fn node_and_names(text: &str) -> Result<(NodeId, Vec<String>), String> {
    let mut words = text.split(',').map(str::trim);
    let id = words.next().and_then(|id| id.parse().ok()).filter(|id| *id > 0);
    let id = id.ok_or_else(|| {
        format!("--node {text}: must start with the node's id (a whole number from 1), as in 3,host.example")
    })?;
    Ok((NodeId(id), words.map(str::to_owned).collect()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_node_is_given_by_id_and_names() {
        assert_eq!(node_and_names("3,a,b"), Ok((NodeId(3), vec!["a".into(), "b".into()])));
        assert!(node_and_names("a").unwrap_err().contains("from 1"));
        assert!(node_and_names("0").is_err());
    }
}

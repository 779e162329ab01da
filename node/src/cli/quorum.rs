//! `millstream quorum`: shows who votes on the cluster's metadata, and changes it live; what is done on the disk of a node
//! that does not run is in [`recovery`](super::recovery).

use clap::{Arg, ArgAction, ArgMatches, Command, value_parser};
use millstream_actors::cluster::message::voters::QuorumDescription;
use millstream_actors::ids::NodeId;

use super::connection::{arguments, with_client};
use super::table::Table;
use super::{Failure, recovery, say};

pub(super) fn command() -> Command {
    arguments(Command::new("quorum"))
        .about("Show and change who votes on the cluster's metadata")
        .long_about(
            "Show and change who votes on the cluster's metadata. A majority of the voters must live for elections and \
             changes of topics; producing and consuming go on without. Take an odd number: 1 survives no death of a \
             voter, 2 none either, 3 one, 5 two.",
        )
        .subcommand_required(true)
        .arg_required_else_help(true)
        .subcommand(Command::new("status").about("Show the leader, the voters and the learners"))
        .subcommand(
            Command::new("add")
                .about("Make a running node a voter; waits until it has caught up")
                .arg(node()),
        )
        .subcommand(
            Command::new("remove").about("Make a voter a learner again").arg(node()).arg(
                Arg::new("forget")
                    .long("forget")
                    .action(ArgAction::SetTrue)
                    .help("No learner either: for a node that does not come back"),
            ),
        )
        .subcommand(recovery::inspect_command())
        .subcommand(recovery::recover_command())
}

fn node() -> Arg {
    Arg::new("node")
        .value_name("NODE")
        .required(true)
        .value_parser(value_parser!(u32).range(1..))
        .help("The node's id")
}

pub(super) fn run(matches: &ArgMatches) -> Result<(), Failure> {
    let Some((command, matches)) = matches.subcommand() else {
        return Err("no such command; see millstream quorum --help".into());
    };
    match command {
        "inspect" => return recovery::inspect(matches),
        "recover" => return recovery::recover(matches),
        _ => {}
    }
    with_client(matches, async |client| {
        let admin = client.admin();
        let node = || NodeId(matches.get_one("node").copied().unwrap_or_default());
        match command {
            "add" => {
                admin.add_voter(node()).await?;
                say(&format!("node {} votes", node()))?;
            }
            "remove" => {
                let forget = matches.get_flag("forget");
                admin.remove_voter(node(), forget).await?;
                let done = if forget { "is no member" } else { "does not vote" };
                say(&format!("node {} {done}", node()))?;
            }
            _ => {}
        }
        show(&admin.describe_quorum().await?).iter().try_for_each(|line| say(line))
    })
}

fn show(quorum: &QuorumDescription) -> Vec<String> {
    let leader = quorum.leader.map_or("nobody leads".to_owned(), |leader| format!("node {leader} leads"));
    let mut lines = vec![format!("{leader}  term {}  as node {} sees it", quorum.term, quorum.node)];
    let mut table = Table::new(["node", "role", "behind", "address", "directory"]);
    for member in &quorum.members {
        table.row([
            member.node.to_string(),
            if member.is_voter { "voter" } else { "learner" }.to_owned(),
            member.behind.map_or(String::new(), |behind| behind.to_string()),
            member.address.clone(),
            member.directory.to_string(),
        ]);
    }
    lines.extend(table.lines());
    lines
}

#[cfg(test)]
mod tests {
    use millstream_actors::cluster::message::voters::QuorumMember;

    use super::*;

    #[test]
    fn a_quorum_is_shown_with_its_leader_and_members() {
        let member = |node, is_voter, behind| QuorumMember {
            node: NodeId(node),
            directory: uuid::Uuid::from_u128(node.into()),
            address: format!("a:{node}"),
            is_voter,
            behind,
        };
        let quorum = QuorumDescription {
            node: NodeId(2),
            leader: Some(NodeId(2)),
            term: 7,
            last_log_index: 9,
            last_applied: 9,
            members: vec![member(1, true, Some(3)), member(4, false, None)],
        };
        let lines = show(&quorum);
        assert_eq!(lines[0], "node 2 leads  term 7  as node 2 sees it");
        assert_eq!(lines[2], "1     voter    3       a:1      00000000-0000-0000-0000-000000000001");
        assert!(lines[3].starts_with("4     learner  -"), "{}", lines[3]);
    }

    #[test]
    fn a_node_is_named_by_its_id() {
        let parsed = |line: &str| command().try_get_matches_from(line.split(' '));
        assert!(parsed("quorum add 3").is_ok());
        assert!(parsed("quorum remove 3 --forget").is_ok());
        for wrong in ["quorum add", "quorum add 0", "quorum add one"] {
            assert!(parsed(wrong).is_err(), "{wrong}");
        }
    }
}

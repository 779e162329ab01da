//! `millstream topic`: makes, shows, changes and deletes topics.

use std::collections::BTreeMap;

use clap::{Arg, ArgAction, ArgGroup, ArgMatches, Command, value_parser};
use millstream_actors::client::{Admin, Client, ClientError, TopicPartition, TopicView};
use millstream_actors::cluster::message::reassignment::ReassignPartition;
use millstream_actors::cluster::message::{CreateTopic, ElectReplica};
use millstream_actors::error::ErrorCode;
use millstream_actors::ids::{NodeId, Offset};
use millstream_actors::partition::message::OffsetSpec;

use super::connection::{arguments, with_client};
use super::table::{Table, joined};
use super::{Failure, say};

pub(super) fn command() -> Command {
    arguments(Command::new("topic"))
        .about("Make, show, change and delete topics")
        .subcommand_required(true)
        .arg_required_else_help(true)
        .subcommand(create_command())
        .subcommand(
            Command::new("list")
                .about("List topics")
                .arg(flag("internal", "Also the system's own, such as __consumer_offsets")),
        )
        .subcommand(
            Command::new("describe")
                .about("Show a topic's settings, and each partition's leader, replicas and offsets")
                .arg(name()),
        )
        .subcommand(
            Command::new("delete")
                .about("Delete topics with all that is in them; there is no way back")
                .arg(name().action(ArgAction::Append).num_args(1..)),
        )
        .subcommand(
            Command::new("alter")
                .about("Change settings of a topic while it is in use")
                .arg(name())
                .arg(setting("set", "SETTING=VALUE").help("A new value, as in retention.ms=3600000"))
                .arg(setting("unset", "SETTING").help("Back to the default")),
        )
        .subcommand(
            Command::new("add-partitions")
                .about("Raise a topic's number of partitions; keys then map to other partitions than before")
                .arg(name())
                .arg(
                    Arg::new("total")
                        .long("total")
                        .value_name("N")
                        .required(true)
                        .value_parser(value_parser!(i32).range(1..))
                        .help("The new number in all"),
                ),
        )
        .subcommand(delete_records_command())
        .subcommand(elect_command())
        .subcommand(reassign_command())
}

fn delete_records_command() -> Command {
    Command::new("delete-records")
        .about("Delete the records of a partition that lie before an offset; there is no way back")
        .arg(name())
        .arg(partition())
        .arg(
            Arg::new("before")
                .long("before")
                .value_name("OFFSET")
                .value_parser(value_parser!(i64).range(0..))
                .help("The first offset that is kept"),
        )
        .arg(flag("all", "All records that are committed").conflicts_with("before"))
        .group(ArgGroup::new("which").args(["before", "all"]).required(true))
}

fn elect_command() -> Command {
    Command::new("elect")
        .about("Let a replica lead a partition that has no leader; records that it lacks are lost")
        .long_about(
            "Let a replica lead a partition that has no leader. A partition is without a leader while every in-sync replica \
             is away or has lost records. Without --unclean nothing is done, and what is known of each replica is shown. \
             With it the replica named leads as it is: acknowledged records that it lacks are lost for good, also where \
             another replica that has them comes back later.",
        )
        .arg(name())
        .arg(partition())
        .arg(
            Arg::new("node")
                .long("node")
                .value_name("NODE")
                .required(true)
                .value_parser(value_parser!(u32).range(1..))
                .help("The node whose replica is to lead"),
        )
        .arg(flag("unclean", "Do it, although acknowledged records may be lost"))
}

fn reassign_command() -> Command {
    Command::new("reassign")
        .about("Give a partition other replicas while it is in use, or give that up")
        .long_about(
            "Give a partition other replicas while it is in use. Until all of them are in sync it has those that it had as \
             well; `topic describe` shows all of them meanwhile.",
        )
        .arg(name())
        .arg(partition())
        .arg(
            Arg::new("replicas")
                .long("replicas")
                .value_name("NODES")
                .value_delimiter(',')
                .value_parser(value_parser!(u32))
                .help("The nodes, as in 1,2,3; the first is the preferred leader"),
        )
        .arg(flag("cancel", "Go back to the replicas before").conflicts_with("replicas"))
        .group(ArgGroup::new("what").args(["replicas", "cancel"]).required(true))
}

fn create_command() -> Command {
    Command::new("create")
        .about("Make a topic")
        .arg(name())
        .arg(
            Arg::new("partitions")
                .long("partitions")
                .value_name("N")
                .value_parser(value_parser!(i32).range(1..))
                .help("Number of partitions; without it the cluster's num.partitions"),
        )
        .arg(
            Arg::new("replication-factor")
                .long("replication-factor")
                .value_name("N")
                .value_parser(value_parser!(i16).range(1..))
                .help("Replicas of each; without it the cluster's default.replication.factor"),
        )
        .arg(setting("set", "SETTING=VALUE").help("A setting of the topic, as in flush.policy=os"))
        .arg(flag("if-not-exists", "Success where the topic exists already, as it is"))
}

fn partition() -> Arg {
    Arg::new("partition")
        .long("partition")
        .value_name("N")
        .required(true)
        .value_parser(value_parser!(i32).range(0..))
        .help("Which partition")
}

fn name() -> Arg {
    Arg::new("name").value_name("TOPIC").required(true).help("The topic's name")
}

fn setting(long: &'static str, value: &'static str) -> Arg {
    Arg::new(long).long(long).value_name(value).action(ArgAction::Append)
}

fn flag(long: &'static str, help: &'static str) -> Arg {
    Arg::new(long).long(long).action(ArgAction::SetTrue).help(help)
}

pub(super) fn run(matches: &ArgMatches) -> Result<(), Failure> {
    let Some((command, matches)) = matches.subcommand() else {
        return Err("no such command; see millstream topic --help".into());
    };
    match command {
        "create" => {
            let topic = to_create(matches)?;
            with_client(matches, async |client| {
                create(&client.admin(), topic, matches.get_flag("if-not-exists")).await
            })
        }
        "list" => {
            with_client(matches, async |client| list(&client.admin(), matches.get_flag("internal")).await)
        }
        "describe" => with_client(matches, async |client| describe(&client, named(matches)).await),
        "delete" => with_client(matches, async |client| delete(&client.admin(), matches).await),
        "alter" => {
            let changes = changes(matches)?;
            with_client(matches, async |client| {
                client.admin().alter_topic(named(matches), changes).await?;
                say(&format!("{} changed", named(matches)))
            })
        }
        "delete-records" => with_client(matches, async |client| {
            let (of, before) = to_delete(matches);
            let start = client.admin().delete_records(&of, before).await?;
            say(&format!("{of} begins at offset {start}"))
        }),
        "elect" => with_client(matches, async |client| {
            let election = to_elect(matches);
            let done = format!(
                "{}-{} is led by node {}; replicas that have more stay offline until \
                 unclean.leader.election.enable is true for the topic",
                election.topic, election.partition, election.node
            );
            client.admin().elect_replica(election).await?;
            say(&done)
        }),
        "reassign" => with_client(matches, async |client| {
            let wish = to_reassign(matches);
            let done = match &wish.replicas {
                Some(nodes) => format!("{}-{} goes to nodes {}", wish.topic, wish.partition, joined(nodes)),
                None => format!("{}-{} keeps the replicas that it had", wish.topic, wish.partition),
            };
            client.admin().reassign_partition(wish).await?;
            say(&done)
        }),
        _ => with_client(matches, async |client| {
            let total = matches.get_one::<i32>("total").copied().unwrap_or(0);
            client.admin().create_partitions(named(matches), total).await?;
            say(&format!("{} has {total} partitions", named(matches)))
        }),
    }
}

fn named(matches: &ArgMatches) -> &str {
    matches.get_one::<String>("name").map_or("", String::as_str)
}

/// The partition, and the first offset that is kept; none where all committed records go.
fn to_delete(matches: &ArgMatches) -> (TopicPartition, Option<Offset>) {
    let partition = matches.get_one::<i32>("partition").copied().unwrap_or(0);
    let before = matches.get_one::<i64>("before").copied();
    (TopicPartition::new(named(matches), partition), before.map(Offset))
}

fn to_elect(matches: &ArgMatches) -> ElectReplica {
    ElectReplica {
        topic: named(matches).to_owned(),
        partition: matches.get_one("partition").copied().unwrap_or_default(),
        node: NodeId(matches.get_one("node").copied().unwrap_or_default()),
        is_confirmed: matches.get_flag("unclean"),
    }
}

fn to_reassign(matches: &ArgMatches) -> ReassignPartition {
    let nodes = matches.get_many::<u32>("replicas");
    ReassignPartition {
        topic: named(matches).to_owned(),
        partition: matches.get_one("partition").copied().unwrap_or_default(),
        replicas: nodes.map(|nodes| nodes.copied().map(NodeId).collect()),
    }
}

fn to_create(matches: &ArgMatches) -> Result<CreateTopic, Failure> {
    Ok(CreateTopic {
        name: named(matches).to_owned(),
        partitions: matches.get_one("partitions").copied(),
        replication_factor: matches.get_one("replication-factor").copied(),
        config: pairs(matches, "set")?,
    })
}

/// `NAME=VALUE` pairs of an argument that may stand several times.
pub(super) fn pairs(matches: &ArgMatches, id: &str) -> Result<BTreeMap<String, String>, String> {
    let given = matches.get_many::<String>(id).into_iter().flatten();
    given
        .map(|text| {
            let (name, value) =
                text.split_once('=').ok_or_else(|| format!("--{id} {text}: must be SETTING=VALUE"))?;
            Ok((name.trim().to_owned(), value.trim().to_owned()))
        })
        .collect()
}

fn changes(matches: &ArgMatches) -> Result<BTreeMap<String, Option<String>>, Failure> {
    let set = pairs(matches, "set")?.into_iter().map(|(name, value)| (name, Some(value)));
    let mut changes: BTreeMap<_, _> = set.collect();
    for name in matches.get_many::<String>("unset").into_iter().flatten() {
        if changes.insert(name.clone(), None).is_some() {
            return Err(format!("{name} is both set and unset").into());
        }
    }
    if changes.is_empty() {
        return Err("nothing to change: give --set SETTING=VALUE or --unset SETTING".into());
    }
    Ok(changes)
}

async fn create(admin: &Admin, topic: CreateTopic, exists_is_fine: bool) -> Result<(), Failure> {
    let name = topic.name.clone();
    match admin.create_topic(topic).await {
        Ok(id) => say(&format!("{name} made, id {id}")),
        Err(ClientError::Refused(refusal))
            if exists_is_fine && refusal.code == ErrorCode::TopicAlreadyExists =>
        {
            say(&format!("{name} exists"))
        }
        Err(error) => Err(error.into()),
    }
}

async fn delete(admin: &Admin, matches: &ArgMatches) -> Result<(), Failure> {
    for name in matches.get_many::<String>("name").into_iter().flatten() {
        admin.delete_topic(name).await?;
        say(&format!("{name} deleted"))?;
    }
    Ok(())
}

async fn list(admin: &Admin, internal: bool) -> Result<(), Failure> {
    let topics = admin.list_topics().await?;
    let mut table = Table::new(["topic", "partitions", "replicas", "settings"]);
    for topic in topics.iter().filter(|topic| internal || !topic.internal) {
        let replicas = topic.partitions.first().map_or(0, |partition| partition.replicas.len());
        table.row([
            topic.name.to_string(),
            topic.partitions.len().to_string(),
            replicas.to_string(),
            settings(topic),
        ]);
    }
    table.lines().iter().try_for_each(|line| say(line))
}

fn settings(topic: &TopicView) -> String {
    joined(topic.config.iter().map(|(name, value)| format!("{name}={value}")))
}

async fn describe(client: &Client, name: &str) -> Result<(), Failure> {
    let topic = client.admin().describe_topic(name).await?;
    say(&format!("topic {name}  id {}  settings {}", topic.id, or_defaults(settings(&topic))))?;
    // A partition without a leader has no offsets to tell; it must not keep the others from being shown.
    let led: Vec<TopicPartition> = (0..)
        .zip(&topic.partitions)
        .filter(|(_, partition)| partition.leader.is_some())
        .map(|(index, _)| TopicPartition::new(name, index))
        .collect();
    let first = offsets(client, &led, OffsetSpec::Earliest).await?;
    let next = offsets(client, &led, OffsetSpec::Latest).await?;
    let mut table =
        Table::new(["partition", "leader", "epoch", "replicas", "in sync", "first offset", "next offset"]);
    for (index, partition) in (0..).zip(&topic.partitions) {
        let at = |offsets: &BTreeMap<i32, i64>| offsets.get(&index).map_or(String::new(), i64::to_string);
        table.row([
            index.to_string(),
            partition.leader.map_or("none".to_owned(), |leader| leader.to_string()),
            partition.leader_epoch.to_string(),
            joined(&partition.replicas),
            joined(&partition.in_sync),
            at(&first),
            at(&next),
        ]);
    }
    table.lines().iter().try_for_each(|line| say(line))
}

fn or_defaults(settings: String) -> String {
    if settings.is_empty() { "all at their defaults".to_owned() } else { settings }
}

/// The offsets of a place, by partition.
async fn offsets(
    client: &Client,
    partitions: &[TopicPartition],
    spec: OffsetSpec,
) -> Result<BTreeMap<i32, i64>, ClientError> {
    let wanted: Vec<_> = partitions.iter().map(|partition| (partition.clone(), spec)).collect();
    let found = client.admin().offsets(&wanted).await?;
    Ok(found.into_iter().filter_map(|(name, listed)| Some((name.partition, listed.offset?.0))).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parsed(line: &str) -> Result<ArgMatches, clap::Error> {
        command().try_get_matches_from(line.split(' '))
    }

    fn of<'a>(matches: &'a ArgMatches, name: &str) -> &'a ArgMatches {
        matches.subcommand_matches(name).unwrap()
    }

    #[test]
    fn a_topic_is_made_with_the_clusters_defaults_or_with_what_is_said() {
        let matches = parsed("topic create a").unwrap();
        let plain = to_create(of(&matches, "create")).unwrap();
        assert_eq!((plain.partitions, plain.replication_factor, plain.config.len()), (None, None, 0));
        let line = "topic create a --partitions 12 --replication-factor 3 --set flush.policy=os \
                    --set retention.ms=-1";
        let matches = parsed(line).unwrap();
        let topic = to_create(of(&matches, "create")).unwrap();
        assert_eq!((topic.partitions, topic.replication_factor), (Some(12), Some(3)));
        assert_eq!(topic.config.get("retention.ms").map(String::as_str), Some("-1"));
    }

    #[test]
    fn numbers_that_no_topic_can_have_are_refused() {
        for line in ["topic create a --partitions 0", "topic create a --replication-factor 0", "topic create"]
        {
            assert!(parsed(line).is_err(), "{line}");
        }
        assert!(parsed("topic add-partitions a").unwrap_err().to_string().contains("--total"));
    }

    #[test]
    fn a_change_is_a_value_or_a_way_back_and_not_both() {
        let matches = parsed("topic alter a --set segment.ms=5 --unset retention.ms").unwrap();
        let changes = changes(of(&matches, "alter")).unwrap();
        assert_eq!(changes.get("segment.ms"), Some(&Some("5".to_owned())));
        assert_eq!(changes.get("retention.ms"), Some(&None));
        let wrong = |line: &str| super::changes(of(&parsed(line).unwrap(), "alter")).unwrap_err().to_string();
        assert!(wrong("topic alter a").contains("nothing to change"));
        assert!(wrong("topic alter a --set x=1 --unset x").contains("both"));
        assert!(wrong("topic alter a --set x").contains("SETTING=VALUE"));
    }

    #[test]
    fn an_election_is_confirmed_by_a_flag_only() {
        let elects = |line: &str| to_elect(of(&parsed(line).unwrap(), "elect"));
        let election = elects("topic elect a --partition 0 --node 3");
        assert_eq!((election.partition, election.node, election.is_confirmed), (0, NodeId(3), false));
        assert!(elects("topic elect a --partition 0 --node 3 --unclean").is_confirmed);
        assert!(parsed("topic elect a --partition 0").is_err());
    }

    #[test]
    fn a_partition_goes_to_other_nodes_or_stays_and_one_of_both_is_said() {
        let reassigns = |line: &str| to_reassign(of(&parsed(line).unwrap(), "reassign"));
        let moved = reassigns("topic reassign a --partition 2 --replicas 3,1");
        assert_eq!((moved.partition, moved.replicas), (2, Some(vec![NodeId(3), NodeId(1)])));
        assert_eq!(reassigns("topic reassign a --partition 2 --cancel").replicas, None);
        for wrong in ["", " --replicas x", " --replicas 1 --cancel"] {
            assert!(parsed(&format!("topic reassign a --partition 2{wrong}")).is_err(), "{wrong}");
        }
    }

    #[test]
    fn records_are_deleted_before_an_offset_or_all_and_one_of_both_is_said() {
        let deletes = |line: &str| to_delete(of(&parsed(line).unwrap(), "delete-records"));
        let line = "topic delete-records a --partition 2";
        let (partition, before) = deletes(&format!("{line} --before 9"));
        assert_eq!((partition, before), (TopicPartition::new("a", 2), Some(Offset(9))));
        assert_eq!(deletes(&format!("{line} --all")).1, None);
        for wrong in ["", " --before -1", " --before 9 --all"] {
            assert!(parsed(&format!("{line}{wrong}")).is_err(), "{wrong}");
        }
    }

    #[test]
    fn several_topics_are_deleted_at_once() {
        let matches = parsed("topic delete a b").unwrap();
        let names: Vec<_> = of(&matches, "delete").get_many::<String>("name").unwrap().collect();
        assert_eq!(names, ["a", "b"]);
    }
}

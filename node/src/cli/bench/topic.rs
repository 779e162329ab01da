//! The topic of a bench: made where there is none, taken as it is where it is as asked for.

use std::collections::BTreeMap;
use std::sync::Arc;

use clap::{Arg, ArgAction, ArgMatches, Command, builder::PossibleValuesParser, value_parser};
use millstream_actors::client::{Admin, Client, ClientError, TopicView};
use millstream_actors::cluster::message::CreateTopic;
use millstream_actors::error::ErrorCode;

use super::super::Failure;
use super::super::topic::pairs;

/// Partitions of a topic made without a number.
const PARTITIONS: i32 = 6;

/// Adds what says which topic, and how it is made.
pub(super) fn arguments(command: Command) -> Command {
    command
        .arg(topic_argument())
        .arg(
            Arg::new("partitions")
                .long("partitions")
                .value_name("N")
                .value_parser(value_parser!(i32).range(1..=10_000))
                .help("Partitions of the topic; 6 where it is made here"),
        )
        .arg(
            Arg::new("replication-factor")
                .long("replication-factor")
                .value_name("N")
                .value_parser(value_parser!(i16).range(1..))
                .help("Replicas; the cluster's default where the topic is made here"),
        )
        .arg(
            Arg::new("flush-policy")
                .long("flush-policy")
                .value_name("POLICY")
                .value_parser(PossibleValuesParser::new(["sync", "os"]))
                .help("When records count as on disk; the cluster's default where the topic is made here"),
        )
        .arg(
            Arg::new("set")
                .long("set")
                .value_name("SETTING=VALUE")
                .action(ArgAction::Append)
                .help("Another setting of the topic, where it is made here"),
        )
        .arg(Arg::new("delete").long("delete").action(ArgAction::SetTrue).help("Delete the topic afterwards"))
}

/// `--topic`.
pub(super) fn topic_argument() -> Arg {
    Arg::new("topic").long("topic").value_name("TOPIC").default_value("bench").help("The topic")
}

/// What `--topic` says.
pub(super) fn name(matches: &ArgMatches) -> String {
    matches.get_one::<String>("topic").cloned().unwrap_or_default()
}

/// A topic as it is asked for.
#[derive(Debug)]
pub(super) struct Wish {
    name: String,
    partitions: Option<i32>,
    replication_factor: Option<i16>,
    config: BTreeMap<String, String>,
    delete: bool,
}

impl Wish {
    pub(super) fn read(matches: &ArgMatches) -> Result<Self, String> {
        let mut config = pairs(matches, "set")?;
        if let Some(policy) = matches.get_one::<String>("flush-policy") {
            config.insert("flush.policy".to_owned(), policy.clone());
        }
        Ok(Self {
            name: name(matches),
            partitions: matches.get_one("partitions").copied(),
            replication_factor: matches.get_one("replication-factor").copied(),
            config,
            delete: matches.get_flag("delete"),
        })
    }

    /// Makes the topic where there is none; an error where there is another than asked for.
    pub(super) async fn prepare(&self, client: &Client) -> Result<Arc<TopicView>, Failure> {
        let admin = client.admin();
        let topic = CreateTopic {
            name: self.name.clone(),
            partitions: Some(self.partitions.unwrap_or(PARTITIONS)),
            replication_factor: self.replication_factor,
            config: self.config.clone(),
        };
        match admin.create_topic(topic).await {
            Ok(_) => {}
            Err(ClientError::Refused(refusal)) if refusal.code == ErrorCode::TopicAlreadyExists => {}
            Err(error) => return Err(error.into()),
        }
        let view = admin.describe_topic(&self.name).await?;
        self.check(&view)?;
        Ok(view)
    }

    fn check(&self, view: &TopicView) -> Result<(), String> {
        let differs = |what: String| {
            Err(format!("topic {} exists with {what}: delete it, or choose another by --topic", self.name))
        };
        let (partitions, replicas) = (view.partitions.len(), replicas(view));
        if self.partitions.is_some_and(|wanted| usize::try_from(wanted) != Ok(partitions)) {
            return differs(format!("{partitions} partitions"));
        }
        if self.replication_factor.is_some_and(|wanted| usize::try_from(wanted) != Ok(replicas)) {
            return differs(format!("{replicas} replicas"));
        }
        for (name, wanted) in &self.config {
            // What is not told is at its default.
            let told = view.config.get(name).map(String::as_str);
            let has = told.or((name == "flush.policy").then_some("sync"));
            if let Some(has) = has.filter(|has| has != wanted) {
                return differs(format!("{name}={has}"));
            }
        }
        Ok(())
    }

    /// Deletes the topic, if that was asked for.
    pub(super) async fn clean_up(&self, admin: &Admin) -> Result<(), Failure> {
        if self.delete {
            admin.delete_topic(&self.name).await?;
        }
        Ok(())
    }
}

/// Replicas of a topic's first partition.
pub(super) fn replicas(view: &TopicView) -> usize {
    view.partitions.first().map_or(0, |partition| partition.replicas.len())
}

/// The topic's `flush.policy`.
pub(super) fn flush_policy(view: &TopicView) -> String {
    view.config.get("flush.policy").cloned().unwrap_or_else(|| "sync".to_owned())
}

#[cfg(test)]
mod tests {
    use millstream_actors::cluster::message::PartitionMetadata;
    use millstream_actors::ids::{LeaderEpoch, NodeId, TopicId};

    use super::*;

    fn view(partitions: usize, config: &[(&str, &str)]) -> TopicView {
        let partition = PartitionMetadata {
            leader: Some(NodeId(1)),
            leader_epoch: LeaderEpoch(1),
            replicas: vec![NodeId(1)],
            in_sync: vec![NodeId(1)],
        };
        TopicView {
            name: "bench".into(),
            id: TopicId(uuid::Uuid::nil()),
            internal: false,
            partitions: vec![partition; partitions],
            config: config.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect(),
        }
    }

    fn wish(line: &str) -> Wish {
        let command = arguments(Command::new("bench"));
        Wish::read(&command.try_get_matches_from(line.split(' ')).unwrap()).unwrap()
    }

    #[test]
    fn a_topic_that_is_there_is_taken_where_nothing_else_was_asked_for() {
        assert_eq!(wish("bench").check(&view(3, &[("flush.policy", "os")])), Ok(()));
        assert_eq!(wish("bench --partitions 3 --flush-policy sync").check(&view(3, &[])), Ok(()));
    }

    #[test]
    fn a_topic_that_is_there_and_differs_is_refused() {
        let refused = |line: &str, view: &TopicView| wish(line).check(view).unwrap_err();
        assert!(refused("bench --partitions 6", &view(3, &[])).contains("3 partitions"));
        assert!(refused("bench --replication-factor 3", &view(3, &[])).contains("1 replicas"));
        assert!(refused("bench --flush-policy os", &view(3, &[])).contains("flush.policy=sync"));
    }
}

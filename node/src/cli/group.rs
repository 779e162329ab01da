//! `millstream group`: shows consumer groups, sets where they resume, deletes them.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use clap::{Arg, ArgAction, ArgMatches, Command};
use millstream_actors::client::{Client, TopicPartition, View};
use millstream_actors::group::message::{GroupDescription, GroupState};
use millstream_actors::ids::{Offset, PartitionId};
use millstream_actors::partition::message::OffsetSpec;

use super::connection::{arguments, now_ms, with_client};
use super::place::{FORMS, Place};
use super::table::{Table, joined};
use super::{Failure, say};

pub(super) fn command() -> Command {
    arguments(Command::new("group"))
        .about("Show consumer groups, set where they resume, delete them")
        .subcommand_required(true)
        .arg_required_else_help(true)
        .subcommand(Command::new("list").about("List groups and their states"))
        .subcommand(
            Command::new("describe")
                .about("Show a group's members, what each owns, and its lag per partition")
                .arg(name()),
        )
        .subcommand(reset_command())
        .subcommand(
            Command::new("delete")
                .about("Delete groups without members, and their offsets")
                .arg(name().action(ArgAction::Append).num_args(1..)),
        )
}

fn reset_command() -> Command {
    Command::new("reset")
        .about("Set the offsets at which a group without members resumes")
        .arg(name())
        .arg(
            Arg::new("to")
                .long("to")
                .value_name("PLACE")
                .required(true)
                .value_parser(|text: &str| text.parse::<Place>())
                .help(format!("Where to resume: {FORMS}")),
        )
        .arg(
            Arg::new("topic")
                .long("topic")
                .value_name("TOPIC[:PARTITION,...]")
                .action(ArgAction::Append)
                .help("Only of these topics or partitions; without it, wherever the group has committed"),
        )
        .arg(
            Arg::new("dry-run")
                .long("dry-run")
                .action(ArgAction::SetTrue)
                .help("Only show what would be set"),
        )
}

fn name() -> Arg {
    Arg::new("name").value_name("GROUP").required(true).help("The group's name")
}

fn named(matches: &ArgMatches) -> &str {
    matches.get_one::<String>("name").map_or("", String::as_str)
}

pub(super) fn run(matches: &ArgMatches) -> Result<(), Failure> {
    let Some((command, matches)) = matches.subcommand() else {
        return Err("no such command; see millstream group --help".into());
    };
    match command {
        "list" => with_client(matches, async |client| list(&client).await),
        "describe" => with_client(matches, async |client| describe(&client, named(matches)).await),
        "delete" => with_client(matches, async |client| {
            for group in matches.get_many::<String>("name").into_iter().flatten() {
                client.admin().delete_group(group).await?;
                say(&format!("{group} deleted"))?;
            }
            Ok(())
        }),
        _ => {
            let wishes = matches.get_many::<String>("topic").into_iter().flatten();
            let wishes = wishes.map(|text| Wish::read(text)).collect::<Result<Vec<_>, _>>()?;
            let place = matches.get_one::<Place>("to").copied().unwrap_or(Place::End);
            let only_show = matches.get_flag("dry-run");
            with_client(matches, async |client| {
                reset(&client, named(matches), &wishes, place, only_show).await
            })
        }
    }
}

async fn list(client: &Client) -> Result<(), Failure> {
    let mut table = Table::new(["group", "state"]);
    for (group, state) in client.admin().list_groups().await? {
        table.row([group, state_name(state).to_owned()]);
    }
    table.lines().iter().try_for_each(|line| say(line))
}

const fn state_name(state: GroupState) -> &'static str {
    match state {
        GroupState::Empty => "empty",
        GroupState::Assigning => "assigning",
        GroupState::Reconciling => "reconciling",
        GroupState::Stable => "stable",
        GroupState::PreparingRebalance => "preparing rebalance",
        GroupState::CompletingRebalance => "completing rebalance",
    }
}

/// A view that shows all topics, as committed offsets speak of topics by their ids.
async fn full_view(client: &Client) -> Result<Arc<View>, Failure> {
    client.admin().list_topics().await?;
    Ok(client.metadata().view())
}

async fn describe(client: &Client, group: &str) -> Result<(), Failure> {
    let description = client.admin().describe_group(group).await?;
    let view = full_view(client).await?;
    say(&format!(
        "group {group}  state {}  epoch {}  assignor {}",
        state_name(description.state),
        description.epoch,
        description.assignor
    ))?;
    if !description.members.is_empty() {
        members(&view, &description).lines().iter().try_for_each(|line| say(line))?;
        say("")?;
    }
    let committed = client.admin().committed(group).await?;
    let committed: BTreeMap<PartitionId, Offset> =
        committed.into_iter().map(|(partition, at)| (partition, at.offset)).collect();
    let owned = description.members.values().flat_map(|member| &member.assigned).copied();
    let partitions: BTreeSet<PartitionId> = committed.keys().copied().chain(owned).collect();
    // A partition without a leader cannot tell its end; it must not keep the others from being shown.
    let led = partitions.iter().filter(|partition| view.leader(**partition).is_some());
    let wanted = led.filter_map(|partition| Some((view.name(*partition)?, OffsetSpec::Latest)));
    let wanted: Vec<_> = wanted.collect();
    let ends = client.admin().offsets(&wanted).await?;
    let ends: BTreeMap<PartitionId, Offset> =
        ends.into_iter().filter_map(|(name, listed)| Some((view.id(&name)?, listed.offset?))).collect();
    let lags = lags(&view, &description, &partitions, &committed, &ends);
    lags.lines().iter().try_for_each(|line| say(line))
}

fn members(view: &View, description: &GroupDescription) -> Table {
    let mut table = Table::new(["member", "client", "instance", "epoch", "owns", "on its way to"]);
    for (id, member) in &description.members {
        let target =
            if member.target == member.assigned { String::new() } else { named_all(view, &member.target) };
        table.row([
            id.clone(),
            member.client_id.clone(),
            member.instance.clone().unwrap_or_default(),
            member.epoch.to_string(),
            named_all(view, &member.assigned),
            target,
        ]);
    }
    table
}

fn named_all(view: &View, partitions: &[PartitionId]) -> String {
    joined(partitions.iter().map(|partition| shown(view, *partition)))
}

/// As people call it; by its topic's id where that topic is gone.
fn shown(view: &View, partition: PartitionId) -> String {
    view.name(partition).map_or_else(|| partition.to_string(), |name| name.to_string())
}

fn lags(
    view: &View,
    description: &GroupDescription,
    partitions: &BTreeSet<PartitionId>,
    committed: &BTreeMap<PartitionId, Offset>,
    ends: &BTreeMap<PartitionId, Offset>,
) -> Table {
    let mut table = Table::new(["partition", "committed", "end", "lag", "owner"]);
    for partition in partitions {
        let (at, end) = (committed.get(partition), ends.get(partition));
        let lag = at.zip(end).map(|(at, end)| end.0.saturating_sub(at.0).max(0).to_string());
        let owner = description.members.iter().find(|(_, member)| member.assigned.contains(partition));
        table.row([
            shown(view, *partition),
            at.map_or(String::new(), Offset::to_string),
            end.map_or(String::new(), Offset::to_string),
            lag.unwrap_or_default(),
            owner.map_or(String::new(), |(id, _)| id.clone()),
        ]);
    }
    table
}

/// Partitions as people ask for them: a topic, all of it or some.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Wish {
    topic: String,
    partitions: Vec<i32>,
}

impl Wish {
    fn read(text: &str) -> Result<Self, String> {
        let (topic, partitions) = text.split_once(':').unwrap_or((text, ""));
        let wrong = || format!("--topic {text}: must be TOPIC or TOPIC:PARTITION,..., as in flights:0,3");
        let partitions = partitions.split(',').map(str::trim).filter(|index| !index.is_empty());
        let partitions = partitions.map(|index| index.parse().ok().filter(|index| *index >= 0));
        let partitions: Option<Vec<i32>> = partitions.collect();
        match partitions {
            Some(partitions) if !topic.is_empty() => Ok(Self { topic: topic.to_owned(), partitions }),
            _ => Err(wrong()),
        }
    }

    fn names(&self, count: usize) -> Vec<TopicPartition> {
        let all = i32::try_from(count).unwrap_or(i32::MAX);
        let chosen = if self.partitions.is_empty() { (0..all).collect() } else { self.partitions.clone() };
        let topic: Arc<str> = self.topic.as_str().into();
        chosen.into_iter().map(|index| TopicPartition::new(Arc::clone(&topic), index)).collect()
    }
}

async fn reset(
    client: &Client,
    group: &str,
    wishes: &[Wish],
    place: Place,
    only_show: bool,
) -> Result<(), Failure> {
    let admin = client.admin();
    let view = full_view(client).await?;
    let before = admin.committed(group).await?;
    let mut partitions = Vec::new();
    for wish in wishes {
        let topic = admin.describe_topic(&wish.topic).await?;
        partitions.extend(wish.names(topic.partitions.len()));
    }
    if wishes.is_empty() {
        partitions.extend(before.keys().filter_map(|partition| view.name(*partition)));
    }
    if partitions.is_empty() {
        return Err(format!("group {group} has committed nothing; say what to set with --topic").into());
    }
    let targets = targets(client, &partitions, place).await?;
    let mut table = Table::new(["partition", "before", "after"]);
    let mut after = BTreeMap::new();
    for (name, offset) in &targets {
        let id = client.metadata().view().id(name).ok_or_else(|| format!("{name} does not exist"))?;
        let before = before.get(&id).map_or(String::new(), |at| at.offset.to_string());
        table.row([name.to_string(), before, offset.to_string()]);
        after.insert(id, *offset);
    }
    if !only_show {
        admin.reset_offsets(group, after).await?;
    }
    table.lines().iter().try_for_each(|line| say(line))
}

/// The offset of each partition at this place, and never outside of what is there.
async fn targets(
    client: &Client,
    partitions: &[TopicPartition],
    place: Place,
) -> Result<BTreeMap<TopicPartition, Offset>, Failure> {
    let first = listed(client, partitions, OffsetSpec::Earliest).await?;
    let next = listed(client, partitions, OffsetSpec::Latest).await?;
    let wanted = match place.spec(now_ms()) {
        Ok(spec) => listed(client, partitions, spec).await?,
        Err(offset) => partitions.iter().map(|name| (name.clone(), offset)).collect(),
    };
    Ok(within(&wanted, &first, &next))
}

async fn listed(
    client: &Client,
    partitions: &[TopicPartition],
    spec: OffsetSpec,
) -> Result<BTreeMap<TopicPartition, Offset>, Failure> {
    let wanted: Vec<_> = partitions.iter().map(|name| (name.clone(), spec)).collect();
    let found = client.admin().offsets(&wanted).await?;
    Ok(found.into_iter().filter_map(|(name, listed)| Some((name, listed.offset?))).collect())
}

/// What is wanted, moved into what is there; where nothing is that late, behind the last record.
fn within(
    wanted: &BTreeMap<TopicPartition, Offset>,
    first: &BTreeMap<TopicPartition, Offset>,
    next: &BTreeMap<TopicPartition, Offset>,
) -> BTreeMap<TopicPartition, Offset> {
    let mut found = BTreeMap::new();
    for (name, next) in next {
        let first = first.get(name).copied().unwrap_or(Offset::ZERO).min(*next);
        let offset = wanted.get(name).copied().unwrap_or(*next);
        found.insert(name.clone(), offset.clamp(first, *next));
    }
    found
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_reset_is_of_a_topic_or_some_of_its_partitions() {
        let wish = |topic: &str, partitions: &[i32]| {
            Ok(Wish { topic: topic.to_owned(), partitions: partitions.to_vec() })
        };
        assert_eq!(Wish::read("flights"), wish("flights", &[]));
        assert_eq!(Wish::read("flights:0, 3"), wish("flights", &[0, 3]));
        for wrong in ["", ":1", "flights:x", "flights:-1"] {
            assert!(Wish::read(wrong).unwrap_err().contains("flights:0,3"), "{wrong}");
        }
        assert_eq!(
            Wish::read("a").unwrap().names(2),
            [TopicPartition::new("a", 0), TopicPartition::new("a", 1)]
        );
        assert_eq!(Wish::read("a:1").unwrap().names(2), [TopicPartition::new("a", 1)]);
    }

    #[test]
    fn nobody_resumes_outside_of_what_is_there() {
        let at = |offsets: &[(i32, i64)]| -> BTreeMap<TopicPartition, Offset> {
            offsets.iter().map(|(index, at)| (TopicPartition::new("a", *index), Offset(*at))).collect()
        };
        let (first, next) = (at(&[(0, 5), (1, 0), (2, 3)]), at(&[(0, 9), (1, 4), (2, 3)]));
        let wanted = at(&[(0, 2), (1, 7)]);
        assert_eq!(within(&wanted, &first, &next), at(&[(0, 5), (1, 4), (2, 3)]));
    }

    #[test]
    fn a_reset_needs_a_place() {
        let parsed = |line: &str| command().try_get_matches_from(line.split(' '));
        assert!(parsed("group reset g").unwrap_err().to_string().contains("--to"));
        let wrong = parsed("group reset g --to nowhere").unwrap_err().to_string();
        assert!(wrong.contains("nowhere is no place"), "{wrong}");
        let matches = parsed("group reset g --to 15m --topic a --topic b:1 --dry-run").unwrap();
        let matches = matches.subcommand_matches("reset").unwrap();
        assert!(matches!(matches.get_one::<Place>("to"), Some(Place::Age(_))));
        assert_eq!(matches.get_many::<String>("topic").unwrap().count(), 2);
    }
}

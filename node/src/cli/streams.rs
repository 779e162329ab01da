//! `millstream streams`: shows applications of streams, and puts them back to where they begin.

use clap::{Arg, ArgAction, ArgGroup, ArgMatches, Command};
use millstream_actors::client::Client;
use millstream_actors::streams::{Reset, ResetDone, ResetTo};

use super::connection::{arguments, now_ms, with_client};
use super::place::{FORMS, Place};
use super::table::{Table, joined};
use super::{Failure, say};
use crate::http::streams::{ApplicationReport, report};

pub(super) fn command() -> Command {
    arguments(Command::new("streams"))
        .about("Show applications of streams: members, tasks, lag, stores; reset them")
        .subcommand_required(true)
        .arg_required_else_help(true)
        .subcommand(Command::new("list").about("List the applications that run").arg(json()))
        .subcommand(
            Command::new("describe")
                .about("Show the processes of an application, their tasks, its lag per partition, and its stores")
                .arg(application())
                .arg(json()),
        )
        .subcommand(reset_command())
}

fn reset_command() -> Command {
    let flag = |name: &'static str, help: &'static str| {
        Arg::new(name).long(name).action(ArgAction::SetTrue).help(help)
    };
    Command::new("reset")
        .about("Put an application that has ended back to where it begins")
        .long_about(
            "Put an application that has ended back to where it begins: set the offsets of its inputs, and delete its \
             changelog and repartition topics. Without --execute it is only told what would be done. The state \
             directories of its processes are to be deleted, too: streams::clean_up does it in a program.",
        )
        .arg(application())
        .arg(flag("to-earliest", "Read the inputs from their first records (where nothing else is said)"))
        .arg(flag("to-latest", "Read the inputs from behind their last records"))
        .arg(
            Arg::new("to-datetime")
                .long("to-datetime")
                .value_name("TIME")
                .value_parser(time)
                .help("Read the inputs from their first records of this time or later, as 2026-01-31T18:00:00Z"),
        )
        .group(ArgGroup::new("to").args(["to-earliest", "to-latest", "to-datetime"]))
        .arg(
            Arg::new("input")
                .long("input")
                .value_name("TOPIC,...")
                .value_delimiter(',')
                .action(ArgAction::Append)
                .required(true)
                .help("The topics that it reads and whose offsets are to be set"),
        )
        .arg(flag("dry-run", "Only show what would be done (where nothing else is said)").conflicts_with("execute"))
        .arg(flag("execute", "Do it"))
}

fn application() -> Arg {
    Arg::new("application").value_name("APPLICATION").required(true).help("The application's id")
}

fn json() -> Arg {
    Arg::new("json").long("json").action(ArgAction::SetTrue).help("As JSON, an array of applications")
}

fn time(text: &str) -> Result<i64, String> {
    match text.parse::<Place>() {
        Ok(Place::Time(time_ms)) => Ok(time_ms),
        Ok(Place::Age(age)) => {
            Ok(now_ms().saturating_sub(i64::try_from(age.as_millis()).unwrap_or(i64::MAX)))
        }
        _ => Err(format!("{text} is no time; of these forms give a time or an age: {FORMS}")),
    }
}

pub(super) fn run(matches: &ArgMatches) -> Result<(), Failure> {
    let Some((command, matches)) = matches.subcommand() else {
        return Err("no such command; see millstream streams --help".into());
    };
    let is_json = || matches.get_flag("json");
    match command {
        "list" => with_client(matches, async |client| {
            let reports = report(&client, None).await?;
            if is_json() { shown_as_json(&reports) } else { shown(&list(&reports)) }
        }),
        "describe" => with_client(matches, async |client| {
            let reports = report(&client, Some(named(matches))).await?;
            if is_json() { shown_as_json(&reports) } else { describe(&reports) }
        }),
        _ => with_client(matches, async |client| reset(&client, matches).await),
    }
}

fn named(matches: &ArgMatches) -> &str {
    matches.get_one::<String>("application").map_or("", String::as_str)
}

fn shown(table: &Table) -> Result<(), Failure> {
    table.lines().iter().try_for_each(|line| say(line))
}

fn shown_as_json(reports: &[ApplicationReport]) -> Result<(), Failure> {
    say(&serde_json::to_string(reports)?)
}

fn list(reports: &[ApplicationReport]) -> Table {
    let mut table = Table::new(["application", "processes", "tasks", "lag", "stores"]);
    for report in reports {
        let tasks: usize = report.members.iter().map(|member| member.tasks.len()).sum();
        table.row([
            report.application.clone(),
            report.members.len().to_string(),
            tasks.to_string(),
            lag(report).map_or(String::new(), |lag| lag.to_string()),
            report.stores.len().to_string(),
        ]);
    }
    table
}

/// Of all its inputs; not known where that of one is not, or nothing was committed yet.
fn lag(report: &ApplicationReport) -> Option<i64> {
    if report.inputs.is_empty() {
        return None;
    }
    report.inputs.iter().map(|input| input.lag).sum()
}

fn describe(reports: &[ApplicationReport]) -> Result<(), Failure> {
    for report in reports {
        if report.members.is_empty() {
            say(&format!("{} does not run", report.application))?;
        } else {
            shown(&members(report))?;
        }
        if !report.inputs.is_empty() {
            say("")?;
            shown(&inputs(report))?;
        }
        if !report.stores.is_empty() {
            say("")?;
            shown(&stores(report))?;
        }
    }
    Ok(())
}

fn members(report: &ApplicationReport) -> Table {
    let mut table = Table::new(["process", "host", "heard", "tasks", "standbys", "queries"]);
    for member in &report.members {
        table.row([
            member.instance.clone(),
            member.host.clone(),
            format!("{} ms ago", member.heard_ms),
            joined(&member.tasks),
            joined(&member.standbys),
            member.waiting_queries.to_string(),
        ]);
    }
    table
}

fn inputs(report: &ApplicationReport) -> Table {
    let mut table = Table::new(["partition", "committed", "end", "lag"]);
    for input in &report.inputs {
        let row =
            [input.partition.clone(), input.committed.to_string(), number(input.end), number(input.lag)];
        table.row(row);
    }
    table
}

/// A number, or nothing where it is not known.
fn number(number: Option<impl ToString>) -> String {
    number.map_or(String::new(), |number| number.to_string())
}

fn stores(report: &ApplicationReport) -> Table {
    let mut table = Table::new(["store", "sub-topology", "partitions", "entries", "bytes"]);
    for store in &report.stores {
        let part = store.sub_topology.map_or_else(|| "global".to_owned(), |part| part.to_string());
        let (entries, bytes) = (number(store.entries), number(store.bytes));
        table.row([store.store.clone(), part, store.partitions.to_string(), entries, bytes]);
    }
    table
}

fn wanted(matches: &ArgMatches) -> Reset {
    let to = match matches.get_one::<i64>("to-datetime") {
        Some(time_ms) => ResetTo::Time(*time_ms),
        None if matches.get_flag("to-latest") => ResetTo::Latest,
        None => ResetTo::Earliest,
    };
    Reset {
        application: named(matches).to_owned(),
        inputs: matches.get_many::<String>("input").into_iter().flatten().cloned().collect(),
        to,
        is_dry_run: !matches.get_flag("execute"),
    }
}

async fn reset(client: &Client, matches: &ArgMatches) -> Result<(), Failure> {
    let wanted = wanted(matches);
    let done = wanted.run(client).await?;
    told(&done, wanted.is_dry_run).iter().try_for_each(|line| say(line))
}

fn told(done: &ResetDone, is_dry_run: bool) -> Vec<String> {
    let mut table = Table::new(["partition", "before", "after"]);
    for (of, (before, after)) in &done.offsets {
        table.row([of.to_string(), before.map_or(String::new(), |at| at.to_string()), after.to_string()]);
    }
    let mut lines = table.lines();
    let deleted = if is_dry_run { "would be deleted" } else { "deleted" };
    lines.extend(done.deleted.iter().map(|topic| format!("topic {topic} {deleted}")));
    let left = done.left.iter();
    lines.extend(left.map(|(topic, other)| format!("topic {topic} stays: it may be that of {other}")));
    if is_dry_run {
        lines.push("nothing was done; --execute does it".to_owned());
    }
    lines
}

#[cfg(test)]
mod tests {
    use millstream_actors::client::TopicPartition;
    use millstream_actors::ids::Offset;

    use super::*;

    fn parsed(line: &str) -> Result<Reset, clap::Error> {
        let matches = command().try_get_matches_from(line.split(' '))?;
        Ok(wanted(matches.subcommand_matches("reset").unwrap()))
    }

    #[test]
    fn a_reset_does_nothing_before_it_is_told_to_and_goes_to_the_beginning() {
        let reset = parsed("streams reset app --input a,b --input c").unwrap();
        assert_eq!(
            (reset.application.as_str(), reset.to, reset.is_dry_run),
            ("app", ResetTo::Earliest, true)
        );
        assert_eq!(reset.inputs, ["a", "b", "c"]);
        let reset = parsed("streams reset app --to-latest --input a --execute").unwrap();
        assert_eq!((reset.to, reset.is_dry_run), (ResetTo::Latest, false));
        let reset = parsed("streams reset app --to-datetime 1970-01-02 --input a").unwrap();
        assert_eq!(reset.to, ResetTo::Time(86_400_000));
        for wrong in [
            "streams reset app",
            "streams reset app --input a --execute --dry-run",
            "streams reset app --input a --to-latest --to-earliest",
            "streams reset app --input a --to-datetime earliest",
        ] {
            assert!(parsed(wrong).is_err(), "{wrong}");
        }
    }

    #[test]
    fn what_a_reset_did_is_said() {
        let offsets = [(TopicPartition::new("in", 0), (Some(Offset(7)), Offset(0)))].into();
        let done = ResetDone {
            offsets,
            deleted: vec!["app-s-changelog".to_owned()],
            left: vec![("app-b-s-changelog".to_owned(), "app-b".to_owned())],
        };
        let lines = [
            "PARTITION  BEFORE  AFTER",
            "in-0       7       0",
            "topic app-s-changelog deleted",
            "topic app-b-s-changelog stays: it may be that of app-b",
        ];
        assert_eq!(told(&done, false), lines);
        assert_eq!(told(&done, true).last().unwrap(), "nothing was done; --execute does it");
    }
}

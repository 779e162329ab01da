//! `millstream actors`: the actors of users, node by node.

use std::time::Duration;

use clap::{Arg, ArgAction, ArgMatches, Command};
use millstream_actors::client::Client;
use millstream_actors::custom::named::{ActorLine, Listed};

use super::connection::{arguments, with_client};
use super::table::{Table, joined};
use super::{Failure, quantity, say};

/// How long a node may take to answer.
const ANSWER_WITHIN: Duration = Duration::from_secs(3);

pub(super) fn command() -> Command {
    arguments(Command::new("actors"))
        .about("Show the actors of users: kind, name, node, mailbox, handled, restarts, age")
        .arg(
            Arg::new("follow")
                .long("follow")
                .action(ArgAction::SetTrue)
                .help("Show them again and again, until interrupted"),
        )
        .arg(
            Arg::new("every")
                .long("every")
                .value_name("TIME")
                .value_parser(quantity::duration)
                .default_value("1s")
                .help("How often, with --follow"),
        )
}

pub(super) fn run(matches: &ArgMatches) -> Result<(), Failure> {
    let follows = matches.get_flag("follow");
    let every = matches.get_one::<Duration>("every").copied().unwrap_or(Duration::from_secs(1));
    with_client(matches, async |client: Client| {
        loop {
            let listed = client.actors().list(ANSWER_WITHIN).await;
            lines(&listed).iter().try_for_each(|line| say(line))?;
            if !follows {
                return Ok(());
            }
            say("")?;
            tokio::time::sleep(every).await;
        }
    })
}

/// The tree: under each node its actors, those of a kind together, by name.
fn lines(listed: &Listed) -> Vec<String> {
    let mut table = Table::new(["kind", "name", "node", "mailbox", "handled", "restarts", "age", "groups"]);
    let mut silent = Vec::new();
    for (node, answer) in listed {
        match answer {
            Ok(actors) => {
                let mut actors: Vec<&ActorLine> = actors.iter().collect();
                actors.sort_by(|a, b| (&a.kind, &a.name, a.actor).cmp(&(&b.kind, &b.name, b.actor)));
                actors.into_iter().for_each(|actor| row(&mut table, actor));
            }
            Err(error) => silent.push(format!("node {node}: {error}")),
        }
    }
    let mut lines = table.lines();
    lines.extend(silent);
    lines
}

fn row(table: &mut Table, line: &ActorLine) {
    table.row([
        line.kind.clone(),
        line.name.clone().unwrap_or_else(|| line.actor.to_string()),
        line.actor.node.to_string(),
        line.mailbox.to_string(),
        line.handled.to_string(),
        line.restarts.to_string(),
        age(Duration::from_millis(line.age_ms)),
        joined(&line.groups),
    ]);
}

/// How long, in its two largest units.
fn age(age: Duration) -> String {
    let seconds = age.as_secs();
    match seconds {
        0..60 => format!("{seconds}s"),
        60..3_600 => format!("{}m{}s", seconds / 60, seconds % 60),
        3_600..86_400 => format!("{}h{}m", seconds / 3_600, seconds % 3_600 / 60),
        _ => format!("{}d{}h", seconds / 86_400, seconds % 86_400 / 3_600),
    }
}

#[cfg(test)]
mod tests {
    use millstream_actors::custom::named::NoAnswer;
    use millstream_actors::ids::{ActorId, Incarnation, NodeId};

    use super::*;

    fn line(serial: u64, kind: &str, name: Option<&str>) -> ActorLine {
        ActorLine {
            actor: ActorId { node: NodeId(2), incarnation: Incarnation(7), serial },
            kind: kind.to_owned(),
            name: name.map(ToOwned::to_owned),
            groups: vec!["tills".to_owned()],
            mailbox: 1,
            handled: 20,
            restarts: 3,
            age_ms: 61_000,
        }
    }

    #[test]
    fn actors_are_shown_by_kind_and_name_and_a_silent_node_says_why() {
        let listed = vec![
            (NodeId(2), Ok(vec![line(9, "till", Some("b")), line(8, "clerk", None)])),
            (NodeId(3), Err(NoAnswer::NotSent("away".to_owned()))),
        ];
        let expected = [
            "KIND   NAME   NODE  MAILBOX  HANDLED  RESTARTS  AGE   GROUPS",
            "clerk  2.7.8  2     1        20       3         1m1s  tills",
            "till   b      2     1        20       3         1m1s  tills",
            "node 3: not sent: away",
        ];
        assert_eq!(lines(&listed), expected);
    }

    #[test]
    fn ages_are_told_in_two_units() {
        let told = |seconds| age(Duration::from_secs(seconds));
        assert_eq!([told(5), told(3_725), told(90_000)], ["5s", "1h2m", "1d1h"]);
    }
}

//! `millstream actors`: the actors of the cluster, node by node, as a tree.

mod tree;

use std::io::IsTerminal;
use std::time::Duration;

use clap::{Arg, ArgAction, ArgMatches, Command, value_parser};
use millstream_actors::client::Client;
use millstream_actors::custom::named::{Listed, NoAnswer};
use millstream_actors::supervision::listing::{ACTORS_MAX, ListActors};

use super::connection::{arguments, with_client};
use super::{Failure, quantity, say};
use crate::http::actors::report;

/// How long a node may take to answer.
const ANSWER_WITHIN: Duration = Duration::from_secs(3);

/// To the top left corner of a terminal, and all below it gone.
const ANEW: &str = "\u{1b}[H\u{1b}[J";

pub(super) fn command() -> Command {
    arguments(Command::new("actors"))
        .about("Show the actors of all nodes: kind, name, mailbox, handled, restarts, age")
        .long_about(
            "Show the actors of all nodes, of users and of the system, as the tree of who looks after whom. Of a kind of \
             which more than 20 live on a node only the sums are shown; --kind shows them one by one.",
        )
        .arg(
            Arg::new("kind")
                .long("kind")
                .value_name("KIND")
                .help("Only actors of this kind, or of this type of yours, one by one"),
        )
        .arg(
            Arg::new("most")
                .long("most")
                .value_name("COUNT")
                .value_parser(value_parser!(u32).range(1..))
                .default_value("1000")
                .help("Actors of each node to show at most"),
        )
        .arg(Arg::new("json").long("json").action(ArgAction::SetTrue).help("As JSON, an array of nodes a line"))
        .arg(
            Arg::new("follow")
                .long("follow")
                .visible_alias("watch")
                .action(ArgAction::SetTrue)
                .help("Show them again and again, until interrupted; in place on a terminal"),
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
    let (follows, json) = (matches.get_flag("follow"), matches.get_flag("json"));
    let every = matches.get_one::<Duration>("every").copied().unwrap_or(Duration::from_secs(1));
    let most = matches.get_one::<u32>("most").copied().unwrap_or(ACTORS_MAX);
    let kind = matches.get_one::<String>("kind").cloned();
    let in_place = follows && !json && std::io::stdout().is_terminal();
    with_client(matches, async |client: Client| {
        loop {
            let listed = listed(&client, kind.as_deref(), most).await?;
            let lines = match json {
                true => vec![serde_json::to_string(&report(&listed))?],
                false => tree::lines(&listed, kind.is_some()),
            };
            if in_place {
                say(&format!("{ANEW}{}", lines.join("\n")))?;
            } else {
                lines.iter().try_for_each(|line| say(line))?;
            }
            if !follows {
                return Ok(());
            }
            if !json && !in_place {
                say("")?;
            }
            tokio::time::sleep(every).await;
        }
    })
}

/// The actors of all nodes: of each page after page, up to so many.
async fn listed(client: &Client, kind: Option<&str>, most: u32) -> Result<Listed, Failure> {
    let calls = client.actors();
    let mut asked = ListActors { kind: kind.map(ToOwned::to_owned), after: None, most };
    let mut listed = calls.list(&asked, ANSWER_WITHIN).await?;
    for (node, page) in &mut listed {
        let Ok(first) = page else { continue };
        while let Some(next) = first.next {
            let has = u32::try_from(first.actors.len()).unwrap_or(u32::MAX);
            if has >= most {
                break;
            }
            (asked.after, asked.most) = (Some(next), most - has);
            match calls.list_on(*node, &asked, ANSWER_WITHIN).await {
                Ok(page) => {
                    let is_last = page.actors.is_empty();
                    first.actors.extend(page.actors);
                    first.next = page.next;
                    // Whatever another machine says of more: who tells of none is not asked on.
                    if is_last {
                        break;
                    }
                }
                Err(error) => {
                    *page = Err(NoAnswer::Unknown(error.to_string()));
                    break;
                }
            }
        }
    }
    Ok(listed)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn actors_are_followed_by_either_word_and_bounded() {
        let parsed = |line: &str| command().try_get_matches_from(line.split(' '));
        assert!(parsed("actors --watch").unwrap().get_flag("follow"));
        assert!(parsed("actors --follow --json --kind replica --most 5000").is_ok());
        assert!(parsed("actors --most 0").is_err());
    }
}

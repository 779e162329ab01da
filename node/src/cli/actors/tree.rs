//! The tree of actors in columns: under each actor those that it looks after.

use std::collections::BTreeSet;
use std::time::Duration;

use millstream_actors::custom::named::Listed;
use millstream_actors::ids::NodeId;
use millstream_actors::kinds::NODE;
use millstream_actors::supervision::listing::{ActorLine, ActorPage, KindLine};

use super::super::table::{Table, cut, harmless};

/// Characters of a kind or a name that are shown: one of another machine's leaves the other columns on the screen.
const NAME_MAX: usize = 64;

/// Characters that are shown of what else there is to say.
const ABOUT_MAX: usize = 256;

/// The lines for people; `flat` where one kind was asked for.
pub(super) fn lines(listed: &Listed, flat: bool) -> Vec<String> {
    let mut table = Table::new(["kind", "name", "node", "mailbox", "handled", "restarts", "age", "about"]);
    let mut remarks = Vec::new();
    for (node, answer) in listed {
        match answer {
            Ok(page) => {
                let mut tree = Tree { node: *node, page, table: &mut table, shown: BTreeSet::new() };
                if flat {
                    page.actors.iter().for_each(|actor| tree.actor(0, actor));
                } else {
                    tree.kinds(0, |line| line.kind == NODE.name);
                }
                if page.next.is_some() {
                    remarks.push(format!("node {node} has more; --most shows them"));
                }
            }
            Err(error) => {
                remarks.push(format!("node {node}: {}", cut(&harmless(&error.to_string()), ABOUT_MAX)));
            }
        }
    }
    let mut lines = table.lines();
    lines.extend(remarks);
    lines
}

/// The tree of one node as it is written down.
struct Tree<'t> {
    node: NodeId,
    page: &'t ActorPage,
    table: &'t mut Table,
    /// Kinds that are in the table: what is told comes from another machine, and need be no tree.
    shown: BTreeSet<(&'t str, Option<&'t str>)>,
}

impl<'t> Tree<'t> {
    /// Those kinds, and under each of them what it looks after.
    fn kinds(&mut self, depth: usize, are_meant: impl Fn(&KindLine) -> bool) {
        let page = self.page;
        for line in page.kinds.iter().filter(|line| are_meant(line)) {
            if self.shown.insert((&line.kind, line.type_name.as_deref())) {
                self.kind(depth, line);
            }
        }
    }

    fn kind(&mut self, depth: usize, line: &'t KindLine) {
        let page = self.page;
        let is_it = |actor: &&ActorLine| actor.kind == line.kind && actor.type_name == line.type_name;
        let each: Vec<&ActorLine> = page.actors.iter().filter(is_it).collect();
        match u64::try_from(each.len()).is_ok_and(|listed| listed >= line.alive) {
            true => each.into_iter().for_each(|actor| self.actor(depth, actor)),
            false => self.sum(depth, line),
        }
        let is_root = line.kind == NODE.name;
        // Whoever is looked after by somebody who is no actor of this node stands under the node.
        let has_nobody = |supervisor: &str| !page.kinds.iter().any(|line| line.kind == supervisor);
        self.kinds(depth + 1, |below| {
            below.supervisor == line.kind || (is_root && has_nobody(&below.supervisor))
        });
    }

    fn actor(&mut self, depth: usize, line: &ActorLine) {
        let age = age(Duration::from_millis(line.age_ms));
        let about = about(line);
        let counts = [line.mailbox, Some(line.handled), Some(line.restarts)];
        let kind = indented(depth, line.type_name.as_ref().unwrap_or(&line.kind));
        self.row([kind, line.name.clone()], counts, age, about);
    }

    /// All of a kind together.
    fn sum(&mut self, depth: usize, line: &KindLine) {
        let kind = indented(depth, line.type_name.as_ref().unwrap_or(&line.kind));
        let counts = [line.mailbox, Some(line.handled), Some(line.restarts)];
        let about = line.running_ms.filter(|ms| *ms >= SLOW_MS).map(running).unwrap_or_default();
        self.row([kind, format!("×{}", line.alive)], counts, String::new(), about);
    }

    fn row(&mut self, [kind, name]: [String; 2], counts: [Option<u64>; 3], age: String, about: String) {
        let [mailbox, handled, restarts] =
            counts.map(|count| count.map_or(String::new(), |count| count.to_string()));
        let (kind, name, about) = (cut(&kind, NAME_MAX), cut(&name, NAME_MAX), cut(&about, ABOUT_MAX));
        self.table.row([kind, name, self.node.to_string(), mailbox, handled, restarts, age, about]);
    }
}

fn indented(depth: usize, kind: &str) -> String {
    format!("{:1$}{kind}", "", 2 * depth)
}

/// A handler that has run for so long is worth a word.
const SLOW_MS: u64 = 1_000;

fn running(ms: u64) -> String {
    format!("in a handler for {}", age(Duration::from_millis(ms)))
}

fn about(line: &ActorLine) -> String {
    let groups = (!line.groups.is_empty()).then(|| format!("in {}", line.groups.join(",")));
    let about = (!line.about.is_empty()).then(|| line.about.clone());
    let running = line.running_ms.filter(|ms| *ms >= SLOW_MS).map(running);
    [about, groups, running].into_iter().flatten().collect::<Vec<_>>().join("; ")
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

    use super::*;

    fn kind(kind: &str, type_name: Option<&str>, supervisor: &str, alive: u64) -> KindLine {
        let handled = 10 * alive;
        let (kind, supervisor) = (kind.to_owned(), supervisor.to_owned());
        let type_name = type_name.map(ToOwned::to_owned);
        KindLine { kind, type_name, supervisor, alive, handled, ..KindLine::default() }
    }

    fn actor(kind: &str, type_name: Option<&str>, name: &str) -> ActorLine {
        ActorLine {
            kind: kind.to_owned(),
            type_name: type_name.map(ToOwned::to_owned),
            name: name.to_owned(),
            handled: 20,
            age_ms: 61_000,
            ..ActorLine::default()
        }
    }

    #[test]
    fn who_is_looked_after_stands_under_who_looks_after_it_and_a_silent_node_says_why() {
        let till = ActorLine {
            groups: vec!["tills".to_owned()],
            mailbox: Some(3),
            running_ms: Some(2_500),
            ..actor("user_actor", Some("till"), "north")
        };
        let page = ActorPage {
            kinds: vec![
                kind("feeder", None, "the session's follower", 1),
                kind("node", None, "the process", 1),
                kind("replica", None, "replica_supervisor", 1_000),
                kind("replica_supervisor", None, "node", 1),
                kind("user_actor", Some("till"), "user_supervisor", 1),
                kind("user_supervisor", None, "node", 1),
            ],
            actors: vec![
                actor("node", None, "2"),
                actor("replica_supervisor", None, ""),
                actor("feeder", None, "core 0 to node 1"),
                actor("user_supervisor", None, ""),
                till,
            ],
            next: None,
        };
        let listed = vec![(NodeId(2), Ok(page)), (NodeId(3), Err(NoAnswer::NotSent("away".to_owned())))];
        let expected = [
            "KIND                  NAME              NODE  MAILBOX  HANDLED  RESTARTS  AGE   ABOUT",
            "node                  2                 2     -        20       0         1m1s  -",
            "  feeder              core 0 to node 1  2     -        20       0         1m1s  -",
            "  replica_supervisor  -                 2     -        20       0         1m1s  -",
            "    replica           ×1000             2     -        10000    0         -     -",
            "  user_supervisor     -                 2     -        20       0         1m1s  -",
            "    till              north             2     3        20       0         1m1s  in tills; in a handler for 2s",
            "node 3: not sent: away",
        ];
        assert_eq!(lines(&listed, false), expected);
    }

    #[test]
    fn one_kind_is_shown_flat_and_what_is_no_tree_is_shown_once() {
        let page = ActorPage {
            kinds: vec![kind("a", None, "b", 30), kind("b", None, "a", 30), kind("node", None, "node", 1)],
            actors: vec![actor("a", None, "x")],
            next: Some(7),
        };
        let listed = vec![(NodeId(1), Ok(page))];
        assert_eq!(lines(&listed, false).len(), 3, "the headings, the node, that there are more");
        let flat = lines(&listed, true);
        assert!(flat[1].starts_with("a     x     1"), "{flat:?}");
        assert_eq!(flat[2], "node 1 has more; --most shows them");
    }

    #[test]
    fn a_name_is_shown_cut_and_an_error_without_what_a_terminal_obeys() {
        let long = actor("a", None, &"x".repeat(10_000));
        let page = ActorPage { kinds: Vec::new(), actors: vec![long], next: None };
        let silent = NoAnswer::NotSent("\u{1b}[2J".to_owned());
        let lines = lines(&vec![(NodeId(1), Ok(page)), (NodeId(2), Err(silent))], true);
        assert!(lines[1].contains(&format!("  {}…  1 ", "x".repeat(63))), "{lines:?}");
        assert_eq!(lines[2], "node 2: not sent: \u{fffd}[2J");
    }

    #[test]
    fn ages_are_told_in_two_units() {
        let told = |seconds| age(Duration::from_secs(seconds));
        assert_eq!([told(5), told(3_725), told(90_000)], ["5s", "1h2m", "1d1h"]);
    }
}

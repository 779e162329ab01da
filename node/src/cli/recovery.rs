//! `millstream quorum inspect` and `recover`: on the data directory of a node that does not run, when a majority of the
//! voters has lost its disks.

use std::path::{Path, PathBuf};

use clap::{Arg, ArgMatches, Command, value_parser};
use millstream_actors::cluster::quorum::{EntryId, Role, Seated, Survivor, finish_recovery};
use millstream_actors::cluster::recovery::Findings;
use millstream_transport::world::{DirectoryLock, Disk, Random, RealDisk};

use super::table::{Table, joined};
use super::{Failure, say};
use crate::node::{LOG_DIRECTORY, QUORUM_DIRECTORY};

/// Names of partitions that are shown; of more their number.
const NAMES_SHOWN: usize = 10;

pub(super) fn inspect_command() -> Command {
    Command::new("inspect")
        .about("Show what a stopped node's data directory knows of the quorum; changes nothing")
        .long_about(
            "Show what a stopped node's data directory knows of the quorum; changes nothing. Where a majority of the voters \
             is lost, look at every node that still has its disk, learners too: the one with the greatest last entry \
             (term first, then index) is the one to recover from.",
        )
        .arg(data_dir())
}

pub(super) fn recover_command() -> Command {
    Command::new("recover")
        .about("Make a stopped node the only voter, when a majority of the voters is lost for good")
        .long_about(
            "Make a stopped node the only voter, when a majority of the voters is lost for good: emptied or destroyed. What \
             the lost voters decided last, and this node had not been told, is lost. Without --confirm nothing is done, \
             and what would be is shown. Afterwards start this node: it elects itself. The others join as learners by \
             themselves, and become voters by millstream quorum add. While one majority can come back with its disks, \
             wait for it instead.",
        )
        .arg(data_dir())
        .arg(
            Arg::new("confirm")
                .long("confirm")
                .value_name("TERM-INDEX")
                .value_parser(entry_id)
                .help("Do it: the last entry, as inspect shows it, of the node chosen"),
        )
}

fn data_dir() -> Arg {
    Arg::new("data-dir")
        .long("data-dir")
        .value_name("DIR")
        .env("MILLSTREAM_DATA_DIR")
        .default_value("millstream-data")
        .value_parser(value_parser!(PathBuf))
        .help("The node's data.dir; the node must not run")
}

fn entry_id(text: &str) -> Result<EntryId, String> {
    let parts = text
        .split_once('-')
        .and_then(|(term, index)| Some(EntryId { term: term.parse().ok()?, index: index.parse().ok()? }));
    parts.ok_or_else(|| format!("{text} is no entry: give TERM-INDEX as inspect shows it, as in 7-1234"))
}

/// A data directory that no node uses as long as this lives.
struct Stopped {
    disk: RealDisk,
    data_dir: PathBuf,
    _lock: Option<DirectoryLock>,
}

impl Stopped {
    fn new(matches: &ArgMatches) -> Result<Self, Failure> {
        let disk = RealDisk::new();
        let data_dir = matches.get_one::<PathBuf>("data-dir").cloned().unwrap_or_default();
        let log = data_dir.join(LOG_DIRECTORY);
        // A node that runs has made it.
        let lock = if disk.exists(&log)? { Some(disk.lock_directory(&log)?) } else { None };
        Ok(Self { disk, data_dir, _lock: lock })
    }

    fn quorum(&self) -> PathBuf {
        self.data_dir.join(QUORUM_DIRECTORY)
    }

    fn findings(&self) -> Result<Findings, Failure> {
        Ok(Findings::read(&self.disk, &self.quorum())?)
    }
}

pub(super) fn inspect(matches: &ArgMatches) -> Result<(), Failure> {
    show(&Stopped::new(matches)?.findings()?).iter().try_for_each(|line| say(line))
}

pub(super) fn recover(matches: &ArgMatches) -> Result<(), Failure> {
    let stopped = Stopped::new(matches)?;
    if finish_recovery(&stopped.disk, &stopped.quorum())? {
        return say("a recovery that had been cut short is finished; start the node");
    }
    let findings = stopped.findings()?;
    show(&findings).iter().try_for_each(|line| say(line))?;
    findings.survivor.check()?;
    let last = findings.survivor.last_entry();
    let Some(confirmed) = matches.get_one::<EntryId>("confirm") else {
        return warn(&findings.survivor, &stopped.data_dir).iter().try_for_each(|line| say(line));
    };
    if *confirmed != last {
        let text =
            format!("nothing was done: the last entry here is {last}, not {confirmed}; inspect it again");
        return Err(text.into());
    }
    let kept = findings.recover(&stopped.disk, Random::real().uuid())?;
    say("")?;
    let node = findings.survivor.me().node;
    say(&format!("done: node {node} is the only voter; start it"))?;
    say(&format!(
        "nodes whose disks are new find it by their setting quorum.voters: see that it names node {node}"
    ))?;
    say(&format!("the quorum directory as it was is kept in {}; no node uses it", kept.display()))
}

fn show(findings: &Findings) -> Vec<String> {
    let Findings { survivor, image } = findings;
    let cluster = image.cluster().map_or("unknown".to_owned(), |id| id.to_string());
    let partitions: usize = image.topics().iter().map(|topic| topic.partitions.len()).sum();
    let mut lines = vec![
        format!(
            "node {}  quorum directory {}  cluster {cluster}",
            survivor.me().node,
            survivor.me().directory
        ),
        format!(
            "last entry {}  known to be decided up to {}  term {}",
            survivor.last_entry(),
            survivor.decided(),
            survivor.term()
        ),
        format!(
            "{} nodes, {} topics, {partitions} partitions",
            image.nodes().iter().count(),
            image.topics().len()
        ),
    ];
    let mut table = Table::new(["node", "role", "address", "directory"]);
    for Seated { id, address, role } in survivor.members() {
        let role = if role == Role::Voter { "voter" } else { "learner" };
        let here = if id == survivor.me() { " (here)" } else { "" };
        table.row([id.node.to_string(), role.to_owned(), address, format!("{}{here}", id.directory)]);
    }
    lines.extend(table.lines());
    let elsewhere = findings.held_elsewhere();
    if !elsewhere.is_empty() {
        let more = if elsewhere.len() > NAMES_SHOWN { ", ..." } else { "" };
        let names = joined(elsewhere.iter().take(NAMES_SHOWN));
        lines.push(format!("{} partitions have no in-sync replica here: {names}{more}", elsewhere.len()));
    }
    lines
}

/// What a recovery does, and what it loses at worst.
fn warn(survivor: &Survivor, data_dir: &Path) -> Vec<String> {
    let (last, node) = (survivor.last_entry(), survivor.me().node);
    let mut lines = vec![
        String::new(),
        format!("Nothing was done. A recovery would make node {node} the only voter. It loses what the other voters decided"),
        format!("after entry {last} and this node was not told. At worst:"),
        "- topics made there are gone with their records; topics deleted there are back, without their records;".to_owned(),
        "- changes of settings, partitions and registrations made there are undone;".to_owned(),
        "- where an in-sync set changed there, a replica that was not in sync any more may be elected, and records".to_owned(),
        "  acknowledged since are lost. Every member of each set is asked how far its log reaches first.".to_owned(),
    ];
    let decided = survivor.decided();
    if decided < last {
        lines.push(format!(
            "Entries behind {decided} up to {last} count as decided: the lost voters may have decided them."
        ));
    }
    lines.extend([
        String::new(),
        "Before it: stop all nodes, and run millstream quorum inspect on each that still has its disk, learners too.".to_owned(),
        "Recover on the one with the greatest last entry, on that one only. Voters that are gone must not come back".to_owned(),
        format!("with an old directory {QUORUM_DIRECTORY}: remove it first. Then, to do it:"),
        format!("  millstream quorum recover --data-dir {} --confirm {last}", data_dir.display()),
    ]);
    lines
}

#[cfg(test)]
mod tests {
    use super::*;

    fn run(line: &[&str]) -> Result<(), String> {
        let command = Command::new("quorum").subcommand(inspect_command()).subcommand(recover_command());
        let matches =
            command.try_get_matches_from(["quorum"].iter().chain(line)).map_err(|e| e.to_string())?;
        let done = match matches.subcommand() {
            Some(("inspect", matches)) => inspect(matches),
            Some((_, matches)) => recover(matches),
            None => Ok(()),
        };
        done.map_err(|error| error.to_string())
    }

    #[test]
    fn a_directory_without_a_quorum_is_refused() {
        let directory = tempfile::tempdir().unwrap();
        for command in ["inspect", "recover"] {
            let refused = run(&[command, "--data-dir", &directory.path().display().to_string()]).unwrap_err();
            assert!(refused.contains("there is no quorum directory at"), "{refused}");
        }
        assert_eq!(std::fs::read_dir(directory.path()).unwrap().count(), 0, "nothing was made");
    }

    #[test]
    fn a_directory_in_use_is_refused() {
        let directory = tempfile::tempdir().unwrap();
        let log = directory.path().join(LOG_DIRECTORY);
        std::fs::create_dir(&log).unwrap();
        let _held = RealDisk::new().lock_directory(&log).unwrap();
        for command in ["inspect", "recover"] {
            let refused = run(&[command, "--data-dir", &directory.path().display().to_string()]).unwrap_err();
            assert!(refused.contains("is in use by process"), "{refused}");
        }
    }

    #[test]
    fn an_entry_is_named_by_term_and_index() {
        assert_eq!(entry_id("7-1234"), Ok(EntryId { term: 7, index: 1234 }));
        for wrong in ["", "7", "7-", "-7", "7-x"] {
            assert!(entry_id(wrong).unwrap_err().contains("7-1234"), "{wrong}");
        }
    }
}

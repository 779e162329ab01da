//! The command line: a file per command.

mod actors;
mod bench;
mod certs;
mod connection;
mod consume;
mod deliveries;
mod group;
mod lines;
mod node;
mod pace;
mod place;
mod produce;
mod progress;
mod quantity;
mod quorum;
mod recovery;
mod settings;
mod signals;
mod streams;
mod table;
mod topic;
mod user;

use std::ffi::OsString;
use std::io::Write;
use std::path::PathBuf;
use std::process::ExitCode;

use clap::{ArgMatches, Command};

/// Why a command failed, for people.
pub type Failure = Box<dyn std::error::Error + Send + Sync>;

/// Runs the command line `arguments` (the first is the program's name). 0 is success, 1 failure, 2 wrong usage.
#[must_use]
pub fn run(arguments: impl IntoIterator<Item = OsString>) -> ExitCode {
    let matches = match command().try_get_matches_from(arguments) {
        Ok(matches) => matches,
        Err(error) => {
            // Help and version come this way too, and go to standard output with success.
            let _ = error.print();
            return ExitCode::from(u8::from(error.use_stderr()) * 2);
        }
    };
    match dispatch(&matches) {
        Ok(()) => ExitCode::SUCCESS,
        Err(failure) => {
            let _ = writeln!(std::io::stderr(), "millstream: {failure}");
            ExitCode::FAILURE
        }
    }
}

fn command() -> Command {
    Command::new("millstream")
        .about("A distributed streaming platform: nodes, topics, producers, consumers, groups")
        .version(env!("CARGO_PKG_VERSION"))
        .subcommand_required(true)
        .arg_required_else_help(true)
        .subcommand(node::command())
        .subcommand(topic::command())
        .subcommand(produce::command())
        .subcommand(consume::command())
        .subcommand(group::command())
        .subcommand(quorum::command())
        .subcommand(user::command())
        .subcommand(actors::command())
        .subcommand(streams::command())
        .subcommand(bench::command())
        .subcommand(certs::command())
        .subcommand(settings::command())
}

fn dispatch(matches: &ArgMatches) -> Result<(), Failure> {
    match matches.subcommand() {
        Some(("node", matches)) => node::run(matches),
        Some(("topic", matches)) => topic::run(matches),
        Some(("produce", matches)) => produce::run(matches),
        Some(("consume", matches)) => consume::run(matches),
        Some(("group", matches)) => group::run(matches),
        Some(("quorum", matches)) => quorum::run(matches),
        Some(("user", matches)) => user::run(matches),
        Some(("actors", matches)) => actors::run(matches),
        Some(("streams", matches)) => streams::run(matches),
        Some(("bench", matches)) => bench::run(matches),
        Some(("certs", matches)) => certs::run(matches),
        Some(("settings", matches)) => settings::run(matches),
        _ => Err("no such command; see millstream --help".into()),
    }
}

/// Writes a line to standard output; a closed pipe ends the output without an error of ours.
fn say(line: &str) -> Result<(), Failure> {
    let mut output = std::io::stdout().lock();
    match writeln!(output, "{line}") {
        Err(error) if error.kind() == std::io::ErrorKind::BrokenPipe => std::process::exit(0),
        other => Ok(other?),
    }
}

fn folder_argument() -> clap::Arg {
    clap::Arg::new("folder")
        .long("certs")
        .value_name("FOLDER")
        .default_value("millstream-data/certs")
        .value_parser(clap::value_parser!(PathBuf))
        .help("The folder of certificates")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_command_holds_together_and_has_help() {
        let mut all = command();
        all.build();
        all.clone().debug_assert();
        let mut open = vec![&all];
        while let Some(command) = open.pop() {
            assert!(command.get_about().is_some(), "{}", command.get_name());
            for argument in command.get_arguments() {
                assert!(argument.get_help().is_some(), "{} {}", command.get_name(), argument.get_id());
            }
            open.extend(command.get_subcommands());
        }
    }
}

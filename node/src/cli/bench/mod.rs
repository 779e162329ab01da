//! `millstream bench`: puts a bounded load on a cluster and prints what came out as one JSON line.

mod consume;
mod cpu;
mod histogram;
mod latency;
mod load;
mod loopback;
mod produce;
mod report;
mod sender;
mod topic;

use clap::{ArgMatches, Command};

use super::Failure;
use super::connection::arguments;

pub(super) fn command() -> Command {
    arguments(Command::new("bench"))
        .about("Measure a cluster: one JSON line a run on standard output")
        .subcommand_required(true)
        .arg_required_else_help(true)
        .subcommand(produce::command())
        .subcommand(consume::command())
        .subcommand(latency::command())
        .subcommand(loopback::command())
}

pub(super) fn run(matches: &ArgMatches) -> Result<(), Failure> {
    match matches.subcommand() {
        Some(("produce", matches)) => produce::run(matches),
        Some(("consume", matches)) => consume::run(matches),
        Some(("latency", matches)) => latency::run(matches),
        Some(("loopback", matches)) => loopback::run(matches),
        _ => Err("no such command; see millstream bench --help".into()),
    }
}

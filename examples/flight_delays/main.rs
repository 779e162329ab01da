//! Learn streams in event time: how late flights leave, by the hour, in sliding windows and in a list of the worst, though they
//! come out of order and the application is killed half-way. What comes out is held against what the file says.
//!
//! `cargo run --release --example flight_delays -- --cluster --applications 2 --seconds 20 --runs 10`
//!
//! The application is a process of its own that is sent SIGKILL now and then, and started again. With `--cluster` so are the
//! three nodes.

mod application;
mod batch;
#[path = "../quickstart/flights.rs"]
mod flights;
mod input;
#[path = "../bank/nodes.rs"]
mod nodes;
mod report;
mod results;
mod run;
#[cfg(test)]
mod tests;
mod topology;

use std::path::Path;

use clap::Parser;
use millstream::EntityTypes;

use input::Outcome;

/// Holds what streams make of 30,135 flights against what the file says, while processes are killed.
#[derive(Debug, Parser)]
#[command(name = "flight_delays")]
struct Arguments {
    /// How long flights are published, each time.
    #[arg(long, default_value_t = 15, value_parser = clap::value_parser!(u64).range(1..=3_600))]
    seconds: u64,
    /// How many times, each from the beginning.
    #[arg(long, default_value_t = 1)]
    runs: u64,
    /// How many processes the application has, among which its tasks are dealt out.
    #[arg(long, default_value_t = 1, value_parser = clap::value_parser!(u32).range(1..=10))]
    applications: u32,
    /// Three nodes, which are killed, too.
    #[arg(long)]
    cluster: bool,
}

fn main() -> Outcome {
    // The nodes and the application are this very program.
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    match arguments.iter().map(String::as_str).collect::<Vec<_>>()[..] {
        ["node", settings] => run_node(Path::new(settings)),
        ["application", nodes, certificates, state] => {
            run_application(nodes, Path::new(certificates), Path::new(state))
        }
        _ => run_all(&Arguments::parse()),
    }
}

fn run_node(settings: &Path) -> Outcome {
    nodes::run(settings, EntityTypes::new()).map_err(|error| error.to_string().into())
}

#[tokio::main]
async fn run_application(nodes: &str, certificates: &Path, state: &Path) -> Outcome {
    millstream::telemetry::log_to_standard_error("info", false);
    std::thread::spawn(|| {
        let mut nothing = String::new();
        // Ends when the parent does, however that ends.
        let _ = std::io::stdin().read_line(&mut nothing);
        std::process::abort();
    });
    application::run(nodes, certificates, state).await
}

#[tokio::main]
async fn run_all(arguments: &Arguments) -> Outcome {
    for number in 1..=arguments.runs {
        let directory = tempfile::tempdir()?;
        if let Err(error) = run::run(arguments, number, directory.path()).await {
            println!("{error}");
            return Err(format!("run {number} failed; logs are in {}", directory.keep().display()).into());
        }
    }
    println!("{} of {} runs came to what the file says", arguments.runs, arguments.runs);
    Ok(())
}

//! Learn entities: accounts with transfers between them, in three processes that are killed at random. No money is made,
//! none is lost.
//!
//! `cargo run --release --example bank -- --seconds 60 --accounts 100 --tellers 16`
//!
//! Each process is sent SIGKILL now and then, and started again. At the end every account is asked: the sum of all
//! balances is exact, and every transfer that was acknowledged was applied once.

mod account;
mod nodes;
mod tellers;

use std::error::Error;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use clap::Parser;
use millstream::{EntityTypes, Random};

use account::Order;
use nodes::Nodes;
use tellers::Acknowledged;

/// Moves money between accounts while their nodes are killed.
#[derive(Debug, Parser)]
#[command(name = "bank")]
struct Arguments {
    /// How long.
    #[arg(long, default_value_t = 60)]
    seconds: u64,
    /// How many accounts.
    #[arg(long, default_value_t = 100, value_parser = clap::value_parser!(u64).range(1..=100_000))]
    accounts: u64,
    /// How many transfers are under way at a time.
    #[arg(long, default_value_t = 16, value_parser = clap::value_parser!(u64).range(1..=1_000))]
    tellers: u64,
}

/// How many processes.
const NODES: u32 = 3;

/// How long the first account may take to answer, from the start of the processes.
const OPEN_WITHIN: Duration = Duration::from_secs(60);

fn main() -> Result<(), Box<dyn Error>> {
    // The nodes are this very program.
    let mut arguments = std::env::args_os().skip(1);
    if arguments.next().is_some_and(|first| first == "node") {
        let settings = PathBuf::from(arguments.next().ok_or("node SETTINGS")?);
        return nodes::run(&settings, EntityTypes::new().and::<account::Account>()?);
    }
    run(&Arguments::parse())
}

#[tokio::main]
async fn run(arguments: &Arguments) -> Result<(), Box<dyn Error>> {
    let directory = tempfile::tempdir()?;
    let outcome = bank(arguments, directory.path().to_owned()).await;
    if outcome.is_err() {
        println!("the nodes' logs are in {}", directory.keep().display());
    }
    outcome
}

async fn bank(arguments: &Arguments, directory: PathBuf) -> Result<(), Box<dyn Error>> {
    let mut nodes = Nodes::start(&directory, NODES)?;
    let client = nodes.client().await?;
    let caller = client.entities();
    let began = tokio::time::Instant::now();
    loop {
        // Until all three host accounts, nobody does.
        match caller.entity::<account::Account>(&0).ask(&Order::Look, OPEN_WITHIN).await {
            Ok(_) => break,
            Err(error) if began.elapsed() > OPEN_WITHIN => return Err(error.into()),
            Err(_) => tokio::time::sleep(Duration::from_millis(100)).await,
        }
    }
    println!("{NODES} processes, {} accounts, {} tellers", arguments.accounts, arguments.tellers);

    let (acknowledged, stop) = (Acknowledged::default(), Arc::new(AtomicBool::new(false)));
    let tellers: Vec<_> = (0..arguments.tellers)
        .map(|_| {
            let (acknowledged, stop) = (Arc::clone(&acknowledged), Arc::clone(&stop));
            tokio::spawn(tellers::work(caller.clone(), arguments.accounts, acknowledged, stop))
        })
        .collect();
    let kills = kill_now_and_then(&mut nodes, Duration::from_secs(arguments.seconds)).await?;
    stop.store(true, Ordering::Relaxed);
    for teller in tellers {
        teller.await??;
    }

    let acknowledged = acknowledged.lock().map_err(|_| "a teller panicked")?.clone();
    let count = tellers::count(&caller, arguments.accounts, &acknowledged).await?;
    println!(
        "{kills} kills; {} transfers acknowledged, each applied once; {} cents in all accounts, as at the beginning",
        count.transfers, count.cents
    );
    client.close().await;
    Ok(())
}

/// One node at a time is killed and started again; at the end all run.
async fn kill_now_and_then(nodes: &mut Nodes, time: Duration) -> Result<u32, Box<dyn Error>> {
    let (random, until) = (Random::real(), tokio::time::Instant::now() + time);
    let pause = |least: u64, most: u64| Duration::from_millis(random.range(least, most));
    let mut kills = 0;
    loop {
        let calm = tokio::time::Instant::now() + pause(1_000, 3_000);
        tokio::time::sleep_until(calm.min(until)).await;
        if tokio::time::Instant::now() >= until {
            return Ok(kills);
        }
        let node = u32::try_from(random.range(1, u64::from(NODES) + 1))?;
        nodes.kill(node)?;
        kills += 1;
        println!("node {node} is killed");
        tokio::time::sleep(pause(200, 2_000)).await;
        nodes.start_one(node)?;
    }
}

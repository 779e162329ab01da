//! Learn how a cluster of real processes is run: one command starts its nodes, Ctrl-C or SIGTERM stops them cleanly.
//!
//! `cargo run --release --example cluster -- --nodes 3 --base-port 9092 --data-dir DIR --set KEY=VALUE`
//!
//! Node `i` has QUIC at the base port + 10·(i − 1) and HTTP at the port after it. In the values of `--set`, `{node}` is
//! the node's number, and `{port}`, `{port+5}` are its QUIC port and the fifth after it. Each node's line is followed by
//! the command that starts it alone again: kill one, see the others go on, and bring it back.

mod child;
mod plan;

use std::error::Error;
use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::Duration;

use clap::Parser;
use tokio::signal::unix::{Signal, SignalKind, signal};

use child::Child;
use plan::{Plan, quoted};

/// Starts a cluster of node processes on this machine.
#[derive(Debug, Parser)]
#[command(name = "cluster")]
struct Arguments {
    /// How many nodes; the first three vote, or the first alone where there are fewer.
    #[arg(long, default_value_t = 3, value_parser = clap::value_parser!(u32).range(1..=50))]
    nodes: u32,
    /// QUIC port of node 1; those of the others are 10 apart.
    #[arg(long, default_value_t = 9092)]
    base_port: u16,
    /// Where the nodes keep everything; kept between runs. Without it a temporary directory, removed at the end.
    #[arg(long)]
    data_dir: Option<PathBuf>,
    /// A setting of every node; may stand several times.
    #[arg(long = "set", value_name = "KEY=VALUE")]
    settings: Vec<String>,
    /// How long the nodes may take to be ready.
    #[arg(long, default_value_t = 60, value_name = "SECONDS")]
    patience: u64,
}

fn main() -> ExitCode {
    // The nodes are this very program: `cluster node --config FILE` is `millstream node --config FILE`.
    let arguments: Vec<OsString> = std::env::args_os().collect();
    if arguments.get(1).is_some_and(|command| command == "node" || command == "certs") {
        return millstream::cli::run(arguments);
    }
    match run(&Arguments::parse()) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("cluster: {error}");
            ExitCode::FAILURE
        }
    }
}

#[tokio::main(flavor = "current_thread")]
async fn run(arguments: &Arguments) -> Result<(), Box<dyn Error>> {
    let temporary = arguments.data_dir.is_none().then(tempfile::tempdir).transpose()?;
    let directory = match (&arguments.data_dir, &temporary) {
        (Some(kept), _) => kept.clone(),
        (None, Some(temporary)) => temporary.path().to_owned(),
        (None, None) => return Err("no directory".into()),
    };
    std::fs::create_dir_all(&directory)?;
    let directory = directory.canonicalize()?;
    let plan = Plan::new(directory, arguments.nodes, arguments.base_port, &arguments.settings)?;
    let program = std::env::current_exe()?;
    plan.write_certificates(&program)?;
    plan.write_settings()?;

    let mut stop = Stop::listen()?;
    let mut children = Vec::new();
    for node in plan.nodes() {
        children.push(Child::start(&program, &plan, node)?);
    }
    let started = tokio::select! {
        biased;
        () = stop.wished() => Ok(false),
        ready = all_ready(&mut children, Duration::from_secs(arguments.patience)) => ready.map(|()| true),
    };
    if matches!(started, Ok(true)) {
        show(&children, &plan, &program);
        watch(&mut children, &mut stop).await;
    }
    let stopped = stop_all(&mut children, &mut stop).await;
    started.and(stopped).map_err(Into::into)
}

/// Waits until every node is ready.
async fn all_ready(children: &mut [Child], patience: Duration) -> Result<(), String> {
    let all = async {
        for child in children.iter_mut() {
            child.ready().await?;
        }
        Ok(())
    };
    let late = || Err(format!("the nodes were not ready within {} s: see their logs", patience.as_secs()));
    tokio::time::timeout(patience, all).await.unwrap_or_else(|_| late())
}

fn show(children: &[Child], plan: &Plan, program: &Path) {
    for child in children {
        let node = child.node;
        let (quic, http) = (plan.quic(node), plan.http(node));
        let kafka = plan.kafka(node).map(|address| format!("kafka {address}  ")).unwrap_or_default();
        println!("node {node}  pid {}  {kafka}quic {quic}  http {http}", child.pid);
        println!("    {} node --config {}", quoted(program), quoted(&plan.settings_file(node)));
    }
    println!(
        "clients: --bootstrap {} --certs {}; logs: {}",
        plan.quic(1),
        quoted(&plan.certificates()),
        plan.log_file_pattern()
    );
}

/// Tells of nodes that die, until somebody wants all to stop.
async fn watch(children: &mut [Child], stop: &mut Stop) {
    loop {
        tokio::select! {
            biased;
            () = stop.wished() => return,
            () = tokio::time::sleep(Duration::from_millis(100)) => {}
        }
        for child in children.iter_mut() {
            if let Some(how) = child.has_ended() {
                println!("node {}  pid {}  has ended: {how}; not started again", child.node, child.pid);
            }
        }
    }
}

/// Stops all at once, so that each may still hand over to the others; a second wish ends them without.
async fn stop_all(children: &mut [Child], stop: &mut Stop) -> Result<(), String> {
    let mut failures = Vec::new();
    children.iter_mut().for_each(Child::ask_to_stop);
    for child in children.iter_mut() {
        let ended = tokio::select! {
            biased;
            () = stop.wished() => child.kill().await,
            ended = child.stopped() => ended,
        };
        if let Err(failure) = ended {
            failures.push(format!("node {}: {failure}", child.node));
        }
    }
    if failures.is_empty() { Ok(()) } else { Err(failures.join("; ")) }
}

/// SIGINT and SIGTERM.
struct Stop {
    interrupt: Signal,
    terminate: Signal,
}

impl Stop {
    fn listen() -> std::io::Result<Self> {
        Ok(Self { interrupt: signal(SignalKind::interrupt())?, terminate: signal(SignalKind::terminate())? })
    }

    async fn wished(&mut self) {
        tokio::select! {
            biased;
            _ = self.interrupt.recv() => {}
            _ = self.terminate.recv() => {}
        }
    }
}

//! A node in a process of its own, for tests that kill it: `PROGRAM --config FILE`. With anything else the program is
//! `millstream` itself, for tests of its commands.
//!
//! Prints a line when it is ready, stops cleanly on SIGTERM, and ends at once when its standard input does: so that no
//! node outlives the test that started it, however that one ends.

use std::io::Read;
use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Duration;

use millstream::config::Settings;
use millstream::{EntityTypes, Node};
use tokio::signal::unix::{SignalKind, signal};

use crate::Outcome;

/// The program of a node that hosts these types of entities.
#[must_use]
pub fn main_hosting(entities: EntityTypes) -> ExitCode {
    main_hosting_with(entities, |_| async {})
}

/// The same of a node that does something beside.
#[must_use]
pub fn main_hosting_with<F>(entities: EntityTypes, beside: impl FnOnce(&Node) -> F) -> ExitCode
where
    F: Future<Output = ()> + 'static,
{
    if std::env::args_os().nth(1).is_none_or(|first| first != "--config") {
        return millstream::cli::run(std::env::args_os());
    }
    std::thread::spawn(end_with_the_test);
    ended(run(entities, beside))
}

/// How a program ends with this.
#[expect(clippy::print_stderr, reason = "a program tells its user why it ends")]
#[must_use]
pub fn ended(outcome: Outcome) -> ExitCode {
    match outcome {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("millstream: {error}");
            ExitCode::FAILURE
        }
    }
}

/// Waits until the test that started the process is no more, and ends it: the harness holds the other end of standard input, and
/// writes nothing.
pub fn end_with_the_test() {
    let mut nothing = Vec::new();
    // Whatever ends it: nobody is there any more.
    let _ = std::io::stdin().read_to_end(&mut nothing);
    std::process::abort();
}

fn run<F>(entities: EntityTypes, beside: impl FnOnce(&Node) -> F) -> Outcome
where
    F: Future<Output = ()> + 'static,
{
    let mut arguments = std::env::args_os().skip(1);
    let file = match (arguments.next(), arguments.next()) {
        (Some(flag), Some(file)) if flag == "--config" => PathBuf::from(file),
        _ => return Err("usage: PROGRAM --config FILE".into()),
    };
    let settings = Settings::default().file(&file)?;
    millstream::telemetry::log_to_standard_error(
        settings.value("log.level"),
        settings.value("log.format") == "json",
    );
    let node = Node::start_hosting(&settings, entities)?;
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let beside = beside(&node);
    tokio::task::LocalSet::new().block_on(&runtime, async move {
        tokio::task::spawn_local(beside);
        serve(node).await
    })
}

#[expect(clippy::print_stdout, reason = "a program tells its user that it is ready")]
async fn serve(node: Node) -> Outcome {
    let mut terminate = signal(SignalKind::terminate())?;
    let ready = async {
        while !node.wait_until_ready(Duration::from_secs(1)).await {}
        println!("node {} ready, quic {}", node.id(), node.quic_address());
        std::future::pending::<()>().await;
    };
    tokio::select! {
        biased;
        _ = terminate.recv() => {}
        () = ready => {}
    }
    Ok(node.stop()?)
}

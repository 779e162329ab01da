//! Do real processes keep the promises when they are killed, paused, ended, emptied, damaged, cut off, out of space?

mod actors;
mod disks;
mod entities;
mod kills;
mod pauses;
mod space;
mod splits;
mod streams;
mod streams_commands;
mod transactions;
mod voters;

use millstream_tests::Outcome;
use millstream_tests::disks::same_bytes;
use millstream_tests::load::Report;
use millstream_tests::process::ProcessCluster;

const PROGRAM: &str = env!("CARGO_BIN_EXE_millstream-under-test");

/// Far above the budget: how long it takes is a benchmark's question, that it ends is ours.
const GAP_BOUND: std::time::Duration = std::time::Duration::from_secs(5);

/// Acknowledgements on every partition between two steps of a test, so that each step happens under load.
const FLOW: i64 = 50;

#[expect(clippy::print_stderr, reason = "figures for whoever runs the tests")]
fn tell(line: &str) {
    eprintln!("{line}");
}

fn check_gap(what: &str, report: &Report) -> Outcome {
    let gap = report.longest_gap;
    tell(&format!("{what}: {} acknowledged, longest gap {} ms", report.acknowledged, gap.as_millis()));
    if gap >= GAP_BOUND {
        return Err(format!("{what}: no acknowledgement for {} ms", gap.as_millis()).into());
    }
    Ok(())
}

/// Stops the nodes, and compares what is on their disks.
async fn disks_are_equal(cluster: &mut ProcessCluster, report: &Report) -> Outcome {
    let directories: Vec<_> = cluster.running().into_iter().map(|id| cluster.log_dir(id)).collect();
    cluster.terminate_all().await?;
    same_bytes(&directories, report.history.finals.keys().copied())
}

//! A node in a process of its own, or the application of the example `flight_delays`: `PROGRAM application NODES CERTIFICATES
//! STATE`, which ends on SIGTERM, and at once when its standard input does. See `under_test` and `delays`.

use std::path::Path;
use std::process::ExitCode;

use millstream::EntityTypes;
use millstream_tests::Outcome;
use millstream_tests::delays::application;
use millstream_tests::under_test::{end_with_the_test, ended, main_hosting};

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    match arguments.as_slice() {
        [first, nodes, certificates, state] if first == "application" => {
            std::thread::spawn(end_with_the_test);
            ended(run(nodes, Path::new(certificates), Path::new(state)))
        }
        _ => main_hosting(EntityTypes::new()),
    }
}

fn run(nodes: &str, certificates: &Path, state: &Path) -> Outcome {
    millstream::telemetry::log_to_standard_error("info", false);
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    runtime.block_on(application::run(nodes, certificates, state))
}

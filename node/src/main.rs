//! The binary `millstream`.

use std::process::ExitCode;

fn main() -> ExitCode {
    millstream::cli::run(std::env::args_os())
}

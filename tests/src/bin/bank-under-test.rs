//! A node in a process of its own that hosts the accounts of a bank: see `under_test`.

use std::process::ExitCode;

use millstream_tests::bank::accounts;
use millstream_tests::under_test::main_hosting;

fn main() -> ExitCode {
    main_hosting(accounts())
}

//! A node in a process of its own, or the program `millstream`: see `under_test`.

use std::process::ExitCode;

use millstream::EntityTypes;
use millstream_tests::under_test::main_hosting;

fn main() -> ExitCode {
    main_hosting(EntityTypes::new())
}

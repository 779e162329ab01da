//! Do real processes keep the promises when they are killed, stopped, emptied, damaged?

mod kills;

const PROGRAM: &str = env!("CARGO_BIN_EXE_millstream-under-test");

//! Can the metrics of a cluster be read, and does every panel and alert of `grafana/` find its series in them?

mod cluster;
mod exposition;
mod expressions;
mod files;
mod streams;

const PROGRAM: &str = env!("CARGO_BIN_EXE_millstream-under-test");

//! Millstream: a distributed streaming platform as an actor-based cluster runtime.

pub mod certificates;
pub mod cli;
pub mod config;

pub mod http;
pub mod telemetry;

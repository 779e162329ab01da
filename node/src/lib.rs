//! Millstream: a distributed streaming platform as an actor-based cluster runtime.

pub mod config;

pub mod http;
pub mod telemetry;

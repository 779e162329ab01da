//! Millstream: a distributed streaming platform as an actor-based cluster runtime.

pub mod config;

//! The actors of a Millstream node. Modules stand in the order of dependency; none uses a later one.

pub mod ids;

pub mod error;

pub mod topic_config;

pub mod kinds;

pub mod invariant;

pub mod events;

pub mod supervision;

pub mod record;

pub mod log;

pub mod access;

pub mod image;

pub mod partition;

pub mod replication;

pub mod cluster;

pub mod group;

pub mod transaction;

pub mod custom;

pub mod client;

pub mod producer;

pub mod consumer;

pub mod streams;

pub mod flow;

//! The actors of a Millstream node. Modules stand in the order of dependency; none uses a later one.

pub mod ids;

pub mod error;

pub mod partition;

pub mod cluster;

pub mod group;

//! Fetch sessions between replicas that are not there: over channels in memory, and over the simulated network.

mod bounds;
mod fakes;
mod golden;
mod memory;
mod network;
mod nodes;
mod sessions;

//! Whole nodes of replicas in one thread: supervisors, replicas over simulated disks, fetch sessions in memory, and a
//! controller that applies commands to an image; with kills, power cuts and damage, and a check of every record.

mod client;
mod controller;
mod node;
mod scenarios;

//! The cluster: its metadata quorum, its controller, and what every node needs of both.
//!
//! A node has a [`agent::NodeAgent`], which registers it and keeps its lease, and a [`front::ClusterFront`], which
//! answers metadata from the node's own image and passes everything else to the controller. Every voter has a
//! [`controller::Controller`]; the one on the quorum's leader decides.

pub mod controller;
pub mod election;
#[cfg(test)]
mod fixture;
pub mod liveness;
pub mod machine;
pub mod message;
pub mod placement;
mod plan;
pub mod proposer;
pub mod quorum;
pub mod request;

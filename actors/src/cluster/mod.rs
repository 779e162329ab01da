//! The cluster: its metadata quorum, its controller, and what every node needs of both.
//!
//! A node has a [`agent::AgentHandle`], which registers it and keeps its lease, and a [`front::ClusterFront`], which
//! answers metadata from the node's own image and passes everything else to the controller. Every node has
//! a [`controller::ControllerHandle`]; the one on the quorum's leader decides, those of the other voters listen.

pub mod agent;
pub mod controller;
pub mod election;
#[cfg(test)]
mod fixture;
pub mod front;
pub mod lease;
pub mod liveness;
pub mod machine;
pub mod message;
mod metadata;
pub mod peers;
mod placed;
pub mod placement;
mod plan;
pub mod proposer;
pub mod quorum;
mod reassignment;
pub mod recovery;
pub mod request;
#[cfg(test)]
mod whole;

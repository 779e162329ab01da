//! The cluster: its metadata quorum, its controller.

pub mod election;
pub mod liveness;
pub mod machine;
pub mod message;
pub mod placement;
pub mod quorum;

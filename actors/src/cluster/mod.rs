//! The cluster: its metadata quorum, its controller.

pub mod machine;
pub mod message;
pub mod quorum;

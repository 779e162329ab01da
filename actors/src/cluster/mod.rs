//! The cluster: its metadata quorum, its controller.

pub mod message;

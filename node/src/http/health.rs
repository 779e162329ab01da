//! Whether a node lives, and whether it is ready (design rule: readiness is about this node, not about the quorum).

use serde::Serialize;

/// What a node says of itself.
#[derive(Clone, Debug, Default, Serialize)]
pub struct HealthReport {
    /// All replicas found at the start are open.
    pub recovered: bool,
    /// The node has followed the quorum at least once since its start.
    pub followed_quorum: bool,
    /// The controller has counted the node among the live ones at least once since its start.
    pub joined: bool,
    /// The quorum answers now. Its loss is an alert, never unreadiness: the data path works on.
    pub quorum: bool,
    /// Version of the cluster's metadata known here.
    pub image_version: u64,
    /// Why the log directory has failed, where it has: the process must be started again.
    pub failed_directory: Option<String>,
}

impl HealthReport {
    /// Whether the process is worth keeping. After its log directory has failed only a new process can trust the disk.
    #[must_use]
    pub fn is_live(&self) -> bool {
        self.failed_directory.is_none()
    }

    /// Whether clients may be sent here.
    #[must_use]
    pub fn is_ready(&self) -> bool {
        self.recovered && self.followed_quorum && self.joined
    }
}

/// Tells how a node is.
pub trait Health: std::fmt::Debug + Send + Sync {
    /// As it is now.
    fn report(&self) -> HealthReport;
}

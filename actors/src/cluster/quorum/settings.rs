//! How a quorum is set up.

use std::path::PathBuf;

use openraft::{Config, SnapshotPolicy};

use super::prevote::Timings;
use super::storage::Place;
use crate::ids::NodeId;

/// How this node takes part in the quorum.
#[derive(Clone, Debug)]
pub struct QuorumSettings {
    /// A directory of the quorum's own. It is made if it is not there; a new one is a new member.
    pub directory: PathBuf,
    /// This node.
    pub me: NodeId,
    /// `host:port` where others reach this node.
    pub address: String,
    /// The first voters of the cluster and where they are reached. They bear it together, once, if none of them has
    /// ever held an entry; after that, membership is what the quorum's log says, and this names whom to ask.
    pub voters: Vec<(NodeId, String)>,
    /// The times of elections.
    pub timings: Timings,
    /// Limits.
    pub limits: Limits,
}

/// How large things may become.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Limits {
    /// A snapshot is taken after this many entries ...
    pub snapshot_entries: u64,
    /// ... or when the log has this many bytes.
    pub snapshot_bytes: u64,
    /// Entries kept behind a snapshot, so that one who is a little behind needs no snapshot.
    pub keep_entries: u64,
    /// Space reserved for each of two log files and two snapshot files.
    pub reserve_bytes: u64,
    /// Largest entry.
    pub entry_bytes: usize,
    /// Largest snapshot taken from another.
    pub snapshot_max_bytes: u64,
    /// Proposals under way at once; more are refused.
    pub proposals: usize,
    /// A proposal that has no outcome after this long is uncertain.
    pub propose_ms: u64,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            snapshot_entries: 4096,
            snapshot_bytes: 2 << 20,
            keep_entries: 512,
            reserve_bytes: 4 << 20,
            entry_bytes: 1 << 20,
            snapshot_max_bytes: 256 << 20,
            proposals: 1024,
            propose_ms: 5000,
        }
    }
}

/// What a snapshot is cut into for sending.
const CHUNK_BYTES: u64 = 128 << 10;
/// How long a piece of a snapshot may take; the last one includes loading and syncing it.
const CHUNK_MS: u64 = 5000;

impl QuorumSettings {
    /// The default timings and limits, for this node and these first voters.
    #[must_use]
    pub fn new(directory: PathBuf, me: NodeId, address: String, voters: Vec<(NodeId, String)>) -> Self {
        let (timings, limits) = (Timings::default(), Limits::default());
        Self { directory, me, address, voters, timings, limits }
    }

    pub(crate) fn founders(&self) -> Vec<NodeId> {
        let mut founders: Vec<NodeId> = self.voters.iter().map(|(node, _)| *node).collect();
        founders.sort_unstable();
        founders.dedup();
        founders
    }

    pub(crate) fn place(&self) -> Place {
        Place { directory: self.directory.clone(), reserve_bytes: self.limits.reserve_bytes }
    }

    /// openraft's settings. Its own elections are off; its greatest election timeout is the lease of voters.
    pub(crate) fn raft(&self) -> Result<Config, String> {
        let Timings { heartbeat_ms, lease_ms, .. } = self.timings;
        let config = Config {
            cluster_name: "millstream".into(),
            heartbeat_interval: heartbeat_ms,
            election_timeout_min: lease_ms * 5 / 6,
            election_timeout_max: lease_ms,
            enable_elect: false,
            snapshot_policy: SnapshotPolicy::LogsSinceLast(self.limits.snapshot_entries),
            max_in_snapshot_log_to_keep: self.limits.keep_entries,
            replication_lag_threshold: self.limits.snapshot_entries + self.limits.keep_entries,
            snapshot_max_chunk_size: CHUNK_BYTES,
            install_snapshot_timeout: CHUNK_MS,
            ..Config::default()
        };
        config.validate().map_err(|error| error.to_string())
    }
}

//! What `__consumer_offsets` holds of the group of an application. The schemas are our own, and so are the numbers before
//! their keys, far from those that Kafka gives: its brokers leave such records alone.
//!
//! | key | what | key after the group |
//! |---|---|---|
//! | 21000 | the group's epoch | |
//! | 21001 | the epoch for which tasks were dealt out | |
//! | 21002 | the topology | |
//! | 21003 | what a member said of itself | member |
//! | 21004 | what a member is to run | member |
//! | 21005 | what a member was told to run | member |
//! | 21006 | tasks before which a transaction has to be ended | transactional id |

use std::collections::BTreeSet;
use std::sync::Arc;

use serde::{Deserialize, Serialize};

use crate::group::message::streams::{StreamsTask, StreamsTasks, StreamsTopology};

/// One record of the group of an application; the group's id is beside it. `None` is a tombstone.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum StreamsRecord {
    /// The group's epoch.
    Epoch(Option<i32>),
    /// The epoch for which tasks were dealt out.
    TargetEpoch(Option<i32>),
    /// What the application consists of.
    Topology(Option<StreamsTopology>),
    /// What a member said of itself.
    Member {
        /// The member.
        member: Arc<str>,
        /// What it said.
        value: Option<StreamsMember>,
    },
    /// What a member is to run in the end.
    Target {
        /// The member.
        member: Arc<str>,
        /// The tasks.
        value: Option<StreamsTasks>,
    },
    /// What a member was told to run.
    Current {
        /// The member.
        member: Arc<str>,
        /// What it was told.
        value: Option<StreamsCurrent>,
    },
    /// A member that is out may have left a transaction open.
    Fence {
        /// Its transactional id.
        id: Arc<str>,
        /// The tasks that it had, and that nobody runs since.
        tasks: Option<BTreeSet<StreamsTask>>,
    },
}

/// What a member said of itself.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct StreamsMember {
    /// The name of its process.
    pub instance: String,
    /// `client.id`.
    pub client_id: String,
    /// Where it is.
    pub client_host: String,
    /// The id of its transactional producer.
    pub transactional_id: Option<String>,
    /// How long it may take to give a task up, in milliseconds; 0 if it never said.
    pub rebalance_timeout_ms: u32,
    /// The group's epoch in which it joined.
    pub joined_epoch: i32,
    /// The epoch of the topology that it has.
    pub topology_epoch: u32,
}

/// What a member was told to run.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct StreamsCurrent {
    /// The epoch it was told with.
    pub epoch: i32,
    /// What it was told to run.
    pub tasks: StreamsTasks,
    /// Active tasks that it was told to give up, and has not yet.
    pub revoking: BTreeSet<StreamsTask>,
}

impl StreamsCurrent {
    /// Who has not joined runs nothing.
    pub const NOTHING: Self = Self { epoch: 0, tasks: StreamsTasks::NOTHING, revoking: BTreeSet::new() };

    /// The active tasks that nobody else may have.
    pub fn held(&self) -> impl Iterator<Item = &StreamsTask> {
        self.tasks.active.iter().chain(&self.revoking)
    }
}

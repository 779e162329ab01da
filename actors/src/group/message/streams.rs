//! What members of an application of streams ask of their group's coordinator. Kinds 330 and 331.
//!
//! A member's life is as in KIP-848, with tasks in the place of partitions: it heartbeats with what it runs, and is answered
//! with what it is to run. It gives a task up before another is told to run it; who is not affected never stops.

use std::collections::{BTreeMap, BTreeSet};

use millstream_transport::message::{Answer, Message};
use serde::{Deserialize, Serialize};

use super::GroupState;
use crate::error::Refusal;

/// A task of an application: a part of its topology, at one partition of the topics which that reads.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct StreamsTask {
    /// The part (sub-topology), by its number in the topology.
    pub part: u32,
    /// The partition, from 0.
    pub partition: u32,
}

/// Tasks of one member, by what it does with them. A task is in one of the sets at most.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct StreamsTasks {
    /// It processes their records. A task is active at one member at most.
    pub active: BTreeSet<StreamsTask>,
    /// It keeps copies of their stores, to take over when the one that processes them dies.
    pub standby: BTreeSet<StreamsTask>,
    /// It brings their stores up, to be given them when it has.
    pub warm_up: BTreeSet<StreamsTask>,
}

impl StreamsTasks {
    /// None.
    pub const NOTHING: Self =
        Self { active: BTreeSet::new(), standby: BTreeSet::new(), warm_up: BTreeSet::new() };

    /// Whether there are none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.active.is_empty() && self.standby.is_empty() && self.warm_up.is_empty()
    }

    /// How many there are.
    #[must_use]
    pub fn len(&self) -> usize {
        self.active.len() + self.standby.len() + self.warm_up.len()
    }
}

/// A part of a topology.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct StreamsPart {
    /// Its number in the topology.
    pub part: u32,
    /// How many tasks it has: partitions of the topics that it reads. At least 1; all parts together have at most 10,000.
    pub tasks: u32,
    /// Whether its tasks keep state with a changelog, which has to be restored where they move.
    pub is_stateful: bool,
    /// The topics that it reads, for people.
    pub sources: Vec<String>,
}

/// What an application consists of, and how its tasks are to be dealt out.
///
/// The one with the highest epoch counts, and only members that have said it are given tasks. Members say the same in one
/// epoch: another fingerprint is refused (`InvalidRequest`), and so is an epoch that was, while the group has members.
/// Counts of tasks and [`StreamsTerms`] may change within an epoch, because topics grow and members are configured anew: the
/// newest word counts.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct StreamsTopology {
    /// Counts the versions of the topology, as who writes the application says.
    pub epoch: u32,
    /// Tells one topology from another: a hash of its description, equal in all processes of one version.
    pub fingerprint: u64,
    /// Its parts, each number once.
    pub parts: Vec<StreamsPart>,
    /// How its tasks are dealt out.
    pub terms: StreamsTerms,
}

/// How the tasks of an application are dealt out.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct StreamsTerms {
    /// `num.standby.replicas`: copies of each stateful task beside the active one, as far as there are members for them; 0.
    pub standbys: u16,
    /// `max.warmup.replicas`: how many tasks are brought up elsewhere at a time, to be moved then, at least 1; 2.
    pub warm_up_max: u16,
    /// `acceptable.recovery.lag`: who lacks no more records of a task's changelogs than this may be given it at once; 10,000.
    pub acceptable_lag: u64,
}

impl Default for StreamsTerms {
    fn default() -> Self {
        Self { standbys: 0, warm_up_max: 2, acceptable_lag: 10_000 }
    }
}

/// A heartbeat of a member of an application of streams.
///
/// One that is told `UnknownMemberId` or `FencedMemberEpoch` is out: it stops all its tasks without a commit, ends its
/// producer's transaction and joins again, under a new id. Until then nothing that it commits for the group is taken. All other
/// refusals change nothing; the same is said again later. A member that does not know whether its last heartbeat was heard
/// says everything again.
///
/// A join (epoch 0) under an id that is a member's already is that join come again: it is answered, and changes nothing.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct StreamsHeartbeat {
    /// The group: the application.
    pub group: String,
    /// Chosen by the member: a UUID.
    pub member: String,
    /// 0 to join, -1 to leave (it has let go of all its tasks), else the epoch last told.
    pub epoch: i32,
    /// The name of the member's process. Without transactions an earlier member of the same name is out at once.
    pub instance: String,
    /// `client.id`, for people.
    pub client_id: String,
    /// The id of the member's transactional producer, if it has one. Whoever is given one of its tasks when it is dead is told
    /// to fence that first. Counts with a join: before that the member has ended what an earlier life of it left open, so that
    /// an earlier member with the same id is out at once.
    pub transactional_id: Option<String>,
    /// How long the member may take to give a task up, in milliseconds, of at most 24 days; 0 for the coordinator's choice,
    /// 60 s. Counts with a join.
    pub rebalance_timeout_ms: u32,
    /// What the application consists of: with a join, and when it changes. `None` as before.
    pub topology: Option<StreamsTopology>,
    /// What the member runs now: all tasks that it began, until it has let go of them (an active one: with its commit, or
    /// without one that could still succeed). It begins none that the last answer did not tell. Empty with a join. `None` as
    /// before. Heard only in the epoch last told.
    pub running: Option<StreamsTasks>,
    /// Of how many records of their changelogs the member's stores lack: of stand-bys, of what it warms up, and of tasks of
    /// which it has a checkpoint on its disk. Those that it runs as active and has brought up are not among them. All of
    /// them, every time.
    pub lags: Vec<(StreamsTask, u64)>,
}

/// The answer to a heartbeat.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct StreamsHeartbeatAnswer {
    /// The epoch to heartbeat and to commit with next.
    pub epoch: i32,
    /// When to heartbeat next, in milliseconds; sooner when something of what the member runs has changed.
    pub heartbeat_interval_ms: u32,
    /// What the member is to run, and nothing else.
    pub tasks: StreamsTasks,
    /// Transactional ids of members that are out, and had active tasks that are now this member's. It ends their transactions
    /// (`InitProducerId` with each) before it begins any active task of this answer that it does not run yet, and the input's
    /// offsets are read after that. Told until the member says that it runs the tasks.
    pub fence: Vec<String>,
}

impl Message for StreamsHeartbeat {
    const KIND: u16 = 330;
    type Answer = Result<StreamsHeartbeatAnswer, Refusal>;
}

impl Answer for StreamsHeartbeatAnswer {}

/// Asks for everything about a group of an application of streams.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct DescribeStreamsGroup {
    /// The group.
    pub group: String,
}

/// A group of an application of streams, described.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct StreamsGroupDescription {
    /// Its state: empty, assigning, reconciling or stable.
    pub state: GroupState,
    /// Its epoch.
    pub epoch: i32,
    /// What the application consists of; `None` where no member ever said.
    pub topology: Option<StreamsTopology>,
    /// Members by id.
    pub members: BTreeMap<String, StreamsMemberDescription>,
}

/// A member, described.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct StreamsMemberDescription {
    /// The name of its process.
    pub instance: String,
    /// `client.id`.
    pub client_id: String,
    /// Where it is.
    pub client_host: String,
    /// The id of its transactional producer.
    pub transactional_id: Option<String>,
    /// Its epoch.
    pub epoch: i32,
    /// What it runs, as it said last.
    pub running: StreamsTasks,
    /// What it is to run when all others have given up what they are to give up.
    pub wanted: StreamsTasks,
    /// Of how many records of their changelogs its stores lack, as it said last.
    pub lags: Vec<(StreamsTask, u64)>,
}

impl Message for DescribeStreamsGroup {
    const KIND: u16 = 331;
    /// `GroupIdNotFound` where there is no such group, or one of another type.
    type Answer = Result<StreamsGroupDescription, Refusal>;
}

impl Answer for StreamsGroupDescription {}

#[cfg(test)]
mod tests {
    use super::*;

    fn hex(value: &impl Serialize) -> String {
        postcard::to_stdvec(value).unwrap().iter().map(|byte| format!("{byte:02x}")).collect()
    }

    const TASK: StreamsTask = StreamsTask { part: 1, partition: 2 };

    fn tasks() -> StreamsTasks {
        let other = StreamsTask { part: 0, partition: 3 };
        StreamsTasks { active: [TASK].into(), standby: [other].into(), warm_up: BTreeSet::new() }
    }

    fn topology() -> StreamsTopology {
        StreamsTopology {
            epoch: 4,
            fingerprint: 300,
            parts: vec![StreamsPart { part: 1, tasks: 3, is_stateful: true, sources: vec!["t".to_owned()] }],
            terms: StreamsTerms { standbys: 1, warm_up_max: 2, acceptable_lag: 10 },
        }
    }

    /// Each set: how many, then part and partition of each.
    const TASKS: &str = "01010201000300";
    const TOPOLOGY: &str = "04ac020101030101017401020a";

    #[test]
    fn a_heartbeat() {
        let full = StreamsHeartbeat {
            group: "g".to_owned(),
            member: "m".to_owned(),
            epoch: 5,
            instance: "i".to_owned(),
            client_id: "c".to_owned(),
            transactional_id: Some("x".to_owned()),
            rebalance_timeout_ms: 300,
            topology: Some(topology()),
            running: Some(tasks()),
            lags: vec![(TASK, 200)],
        };
        let words = "0167016d0a01690163010178ac02";
        assert_eq!(hex(&full), format!("{words}01{TOPOLOGY}01{TASKS}010102c801"));
        let answer = StreamsHeartbeatAnswer {
            epoch: 6,
            heartbeat_interval_ms: 500,
            tasks: tasks(),
            fence: vec!["x".to_owned()],
        };
        assert_eq!(hex(&answer), format!("0cf403{TASKS}010178"));
    }

    #[test]
    fn a_description() {
        assert_eq!(hex(&DescribeStreamsGroup { group: "g".to_owned() }), "0167");
        let member = StreamsMemberDescription {
            instance: "i".to_owned(),
            client_id: "c".to_owned(),
            client_host: "h".to_owned(),
            transactional_id: None,
            epoch: 6,
            running: tasks(),
            wanted: StreamsTasks::default(),
            lags: vec![(TASK, 200)],
        };
        let description = StreamsGroupDescription {
            state: GroupState::Reconciling,
            epoch: 6,
            topology: Some(topology()),
            members: BTreeMap::from([("m".to_owned(), member)]),
        };
        let member = format!("016901630168000c{TASKS}000000010102c801");
        assert_eq!(hex(&description), format!("020c01{TOPOLOGY}01016d{member}"));
    }
}

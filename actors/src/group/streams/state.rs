//! What a group of an application is: the sum of its records.
//!
//! [`StreamsState::replay`] is the only thing that changes it, when the group decides and when it is read back from the log
//! alike.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use super::record::{StreamsCurrent, StreamsMember, StreamsRecord};
use crate::error::{ErrorCode, Refusal};
use crate::group::message::OffsetCommit;
use crate::group::message::streams::{StreamsTask, StreamsTasks, StreamsTopology};

/// A group of an application as its records tell it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct StreamsState {
    /// Counts changes of members, of the topology, and of what tasks are to be where. 0 in a group that is of another type.
    pub epoch: i32,
    /// When the epoch began, in milliseconds since 1970.
    pub epoch_since_ms: i64,
    /// The epoch for which tasks were last dealt out.
    pub target_epoch: i32,
    /// What the application consists of.
    pub topology: Option<StreamsTopology>,
    /// What members said of themselves.
    pub members: BTreeMap<Arc<str>, StreamsMember>,
    /// What members are to run when all others have given up what they are to give up.
    pub targets: BTreeMap<Arc<str>, StreamsTasks>,
    /// What members were told to run.
    pub currents: BTreeMap<Arc<str>, StreamsCurrent>,
    /// Whose transactions have to be ended before these tasks begin.
    pub fences: BTreeMap<Arc<str>, BTreeSet<StreamsTask>>,
    /// Who has an active task and has not given it up. From `currents`.
    owners: BTreeMap<StreamsTask, Arc<str>>,
}

impl StreamsState {
    /// Takes a record in, written at `time_ms`.
    pub fn replay(&mut self, time_ms: i64, record: StreamsRecord) {
        match record {
            StreamsRecord::Epoch(epoch) => {
                self.epoch = epoch.unwrap_or_default();
                self.epoch_since_ms = if epoch.is_some() { time_ms } else { 0 };
            }
            StreamsRecord::TargetEpoch(epoch) => self.target_epoch = epoch.unwrap_or_default(),
            StreamsRecord::Topology(topology) => self.topology = topology,
            StreamsRecord::Member { member, value } => set(&mut self.members, member, value),
            StreamsRecord::Target { member, value } => set(&mut self.targets, member, value),
            StreamsRecord::Fence { id, tasks } => set(&mut self.fences, id, tasks),
            StreamsRecord::Current { member, value } => self.replay_current(member, value),
        }
    }

    fn replay_current(&mut self, member: Arc<str>, value: Option<StreamsCurrent>) {
        for task in self.currents.get(&member).into_iter().flat_map(StreamsCurrent::held) {
            // After compaction a later owner's record may stand before the one that gave the task up.
            if self.owners.get(task).is_some_and(|owner| *owner == member) {
                self.owners.remove(task);
            }
        }
        for task in value.iter().flat_map(StreamsCurrent::held) {
            self.owners.insert(*task, Arc::clone(&member));
        }
        set(&mut self.currents, member, value);
    }

    /// Whether it is, or was, a group of an application.
    #[must_use]
    pub fn is_there(&self) -> bool {
        *self != Self::default()
    }

    /// Whether it has members.
    #[must_use]
    pub fn has_members(&self) -> bool {
        !self.members.is_empty()
    }

    /// Who has an active task and has not given it up.
    #[must_use]
    pub fn owner(&self, task: &StreamsTask) -> Option<&Arc<str>> {
        self.owners.get(task)
    }

    /// Whether a member runs tasks that read this topic.
    #[must_use]
    pub fn reads(&self, topic: &str) -> bool {
        let mut parts = self.topology.iter().flat_map(|topology| &topology.parts);
        self.has_members() && parts.any(|part| part.sources.iter().any(|source| source == topic))
    }

    /// What a member was told to run.
    #[must_use]
    pub fn current(&self, member: &str) -> &StreamsCurrent {
        static NOTHING: StreamsCurrent = StreamsCurrent::NOTHING;
        self.currents.get(member).unwrap_or(&NOTHING)
    }

    /// What a member is to run in the end.
    #[must_use]
    pub fn target(&self, member: &str) -> &StreamsTasks {
        static NOTHING: StreamsTasks = StreamsTasks::NOTHING;
        self.targets.get(member).unwrap_or(&NOTHING)
    }

    /// Whether a commit may be taken: of a member, in any epoch since it joined, because who is not affected by a change goes
    /// on; of somebody else only while there are no members. Who was put out is none, and never will be again under its id.
    pub fn check_committer(&self, request: &OffsetCommit) -> Result<(), Refusal> {
        let group = &request.group;
        let Some(member) = self.members.get(request.member.as_str()) else {
            if request.member_epoch < 0 && !self.has_members() {
                return Ok(());
            }
            let text = match request.member_epoch {
                ..0 => format!(
                    "group {group} is of an application that runs; offsets are set from outside only when it does not: stop it"
                ),
                _ => format!(
                    "group {group} has no member {:?}; stop its tasks, and join again",
                    request.member
                ),
            };
            return Err(Refusal::new(ErrorCode::UnknownMemberId, text));
        };
        if (member.joined_epoch..=self.epoch).contains(&request.member_epoch) {
            return Ok(());
        }
        let text = format!(
            "member {} of group {group} commits with epoch {}, it joined in {} and the group has {}: heartbeat, then commit again",
            request.member, request.member_epoch, member.joined_epoch, self.epoch
        );
        Err(Refusal::new(ErrorCode::StaleMemberEpoch, text))
    }

    /// Whether a member has the task that reads a partition, or has not given it up yet: whatever it does with tasks of others
    /// does not count. Topics that no part reads are anybody's.
    pub fn check_owner(&self, request: &OffsetCommit, topic: &str, index: i32) -> Result<(), Refusal> {
        let (Ok(partition), true) = (u32::try_from(index), self.has_members()) else { return Ok(()) };
        let parts = self.topology.iter().flat_map(|topology| &topology.parts);
        let reading = parts
            .filter(|part| partition < part.tasks && part.sources.iter().any(|source| source == topic))
            .map(|part| StreamsTask { part: part.part, partition });
        let mut owners = reading.map(|task| self.owner(&task)).peekable();
        let has_it = |owner: Option<&Arc<str>>| owner.is_some_and(|owner| **owner == *request.member);
        if owners.peek().is_none() || owners.any(has_it) {
            return Ok(());
        }
        let text = format!(
            "member {} of group {} commits for {topic}-{index}, whose task it does not have (any more): stop the task",
            request.member, request.group
        );
        Err(Refusal::new(ErrorCode::IllegalGeneration, text))
    }

    /// The records after which nothing is left.
    #[must_use]
    pub fn tombstones(&self) -> Vec<StreamsRecord> {
        let mut records: Vec<_> = self
            .members
            .keys()
            .map(|id| StreamsRecord::Member { member: Arc::clone(id), value: None })
            .collect();
        records.extend(
            self.targets.keys().map(|id| StreamsRecord::Target { member: Arc::clone(id), value: None }),
        );
        records.extend(
            self.currents.keys().map(|id| StreamsRecord::Current { member: Arc::clone(id), value: None }),
        );
        records.extend(self.fences.keys().map(|id| StreamsRecord::Fence { id: Arc::clone(id), tasks: None }));
        records.extend(self.topology.iter().map(|_| StreamsRecord::Topology(None)));
        if self.target_epoch != 0 {
            records.push(StreamsRecord::TargetEpoch(None));
        }
        if self.epoch != 0 || self.epoch_since_ms != 0 {
            records.push(StreamsRecord::Epoch(None));
        }
        records
    }
}

fn set<T>(of: &mut BTreeMap<Arc<str>, T>, key: Arc<str>, value: Option<T>) {
    match value {
        Some(value) => {
            of.insert(key, value);
        }
        None => {
            of.remove(&key);
        }
    }
}

//! The one group of the cluster in memory: KIP-848 in its simplest form, partitions dealt round to the members.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use super::{FakeCluster, State};
use crate::client::{Asking, Asks, Target};
use crate::error::{ErrorCode, Refusal};
use crate::group::message::{
    CommittedOffset, DeleteGroup, DescribeGroup, FindCoordinator, GroupDescription, GroupHeartbeat,
    GroupHeartbeatAnswer, GroupState, ListGroups, OffsetCommit, OffsetFetch,
};
use crate::ids::{NodeId, PartitionId};

/// The group.
#[derive(Debug)]
pub(crate) struct FakeGroup {
    pub(crate) coordinator: NodeId,
    pub(crate) epoch: i32,
    pub(crate) members: BTreeMap<String, FakeMember>,
    pub(crate) committed: BTreeMap<PartitionId, CommittedOffset>,
    /// Every commit so far, in order.
    pub(crate) commits: Vec<(String, PartitionId, i64)>,
    pub(crate) heartbeat_interval_ms: u32,
    /// What the next requests to the coordinator are refused with.
    pub(crate) refusals: Vec<ErrorCode>,
}

#[derive(Debug, Default)]
pub(crate) struct FakeMember {
    pub(crate) epoch: i32,
    pub(crate) topics: Vec<String>,
    #[allow(dead_code, reason = "looked at by tests of static members")]
    pub(crate) instance: Option<String>,
    pub(crate) target: BTreeSet<PartitionId>,
    /// What it may own: given to nobody else.
    pub(crate) held: BTreeSet<PartitionId>,
    told: Option<BTreeSet<PartitionId>>,
}

impl Default for FakeGroup {
    fn default() -> Self {
        Self {
            coordinator: NodeId(1),
            epoch: 0,
            members: BTreeMap::new(),
            committed: BTreeMap::new(),
            commits: Vec::new(),
            heartbeat_interval_ms: 100,
            refusals: Vec::new(),
        }
    }
}

impl State {
    pub(super) fn coordinating(&mut self, node: NodeId) -> Result<&mut FakeGroup, Refusal> {
        if let Some(code) = self.group.refusals.pop() {
            return Err(Refusal::new(code, "by the test's wish"));
        }
        if self.group.coordinator == node {
            return Ok(&mut self.group);
        }
        Err(Refusal::new(ErrorCode::NotCoordinator, "not here"))
    }

    /// Deals all partitions of the topics that anybody subscribes to.
    fn deal(&mut self) {
        self.group.epoch += 1;
        let mut targets: BTreeMap<String, BTreeSet<PartitionId>> = BTreeMap::new();
        for (name, topic) in &self.topics {
            let takers: Vec<&String> = self
                .group
                .members
                .iter()
                .filter(|(_, member)| member.topics.contains(name))
                .map(|(id, _)| id)
                .collect();
            for (index, taker) in (0..topic.partitions).zip(takers.iter().cycle()) {
                let partition = PartitionId { topic: topic.id, index };
                targets.entry((*taker).clone()).or_default().insert(partition);
            }
        }
        for (id, member) in &mut self.group.members {
            member.target = targets.remove(id).unwrap_or_default();
        }
    }

    fn heartbeat(&mut self, node: NodeId, beat: GroupHeartbeat) -> Result<GroupHeartbeatAnswer, Refusal> {
        self.coordinating(node)?;
        if beat.member_epoch < 0 {
            self.group.members.remove(&beat.member);
            self.deal();
            return Ok(answer(beat.member_epoch, 0, None));
        }
        if beat.member_epoch == 0 {
            let topics = match &beat.topic_pattern {
                Some(pattern) => {
                    let pattern = regex_lite::Regex::new(pattern).unwrap();
                    self.topics.keys().filter(|name| pattern.is_match(name)).cloned().collect()
                }
                None => beat.topics.clone().unwrap_or_default(),
            };
            let member = FakeMember { topics, instance: beat.instance.clone(), ..FakeMember::default() };
            self.group.members.insert(beat.member.clone(), member);
            self.deal();
        }
        let group = &mut self.group;
        let unknown = || Refusal::new(ErrorCode::UnknownMemberId, "no such member");
        let taken: BTreeSet<PartitionId> = group
            .members
            .iter()
            .filter(|(id, _)| **id != beat.member)
            .flat_map(|(_, member)| member.held.iter().copied())
            .collect();
        let member = group.members.get_mut(&beat.member).ok_or_else(unknown)?;
        if beat.member_epoch != 0 && beat.member_epoch != member.epoch {
            return Err(Refusal::new(ErrorCode::FencedMemberEpoch, "another epoch"));
        }
        if let (Some(owned), Some(told)) = (&beat.owned, &member.told)
            && owned.iter().all(|partition| told.contains(partition))
        {
            member.held.clone_from(told);
        }
        let mut told: BTreeSet<_> = member.target.intersection(&member.held).copied().collect();
        if member.held.is_subset(&member.target) {
            told.extend(member.target.difference(&taken));
        }
        member.held.extend(told.iter().copied());
        member.epoch = group.epoch;
        let news = member.told.as_ref() != Some(&told);
        member.told = Some(told.clone());
        Ok(answer(group.epoch, group.heartbeat_interval_ms, news.then(|| told.into_iter().collect())))
    }

    /// Whether the group takes a commit.
    pub(super) fn check_commit(&mut self, node: NodeId, commit: &OffsetCommit) -> Result<(), Refusal> {
        let group = self.coordinating(node)?;
        if !commit.member.is_empty() {
            let unknown = || Refusal::new(ErrorCode::UnknownMemberId, "no such member");
            let member = group.members.get(&commit.member).ok_or_else(unknown)?;
            if member.epoch != commit.member_epoch {
                return Err(Refusal::new(ErrorCode::StaleMemberEpoch, "another epoch"));
            }
        }
        Ok(())
    }

    fn commit(&mut self, node: NodeId, commit: OffsetCommit) -> Result<Vec<Committed>, Refusal> {
        self.check_commit(node, &commit)?;
        let group = &mut self.group;
        let mut done = Vec::new();
        for (partition, offset) in commit.offsets {
            group.commits.push((commit.member.clone(), partition, offset.offset.0));
            group.committed.insert(partition, offset);
            done.push((partition, Ok(())));
        }
        Ok(done)
    }
}

type Committed = (PartitionId, Result<(), Refusal>);

fn answer(epoch: i32, interval_ms: u32, assigned: Option<Vec<PartitionId>>) -> GroupHeartbeatAnswer {
    GroupHeartbeatAnswer { member_epoch: epoch, heartbeat_interval_ms: interval_ms, assigned }
}

impl Asks<FindCoordinator> for FakeCluster {
    fn ask(&self, to: &Target, _: FindCoordinator, _: Duration) -> Asking<Result<NodeId, Refusal>> {
        self.answer(to, |state, _| Ok(Ok(state.group.coordinator)))
    }
}

impl Asks<GroupHeartbeat> for FakeCluster {
    fn ask(
        &self,
        to: &Target,
        message: GroupHeartbeat,
        _: Duration,
    ) -> Asking<Result<GroupHeartbeatAnswer, Refusal>> {
        self.answer(to, |state, node| Ok(state.heartbeat(node, message)))
    }
}

impl Asks<OffsetCommit> for FakeCluster {
    fn ask(
        &self,
        to: &Target,
        message: OffsetCommit,
        _: Duration,
    ) -> Asking<Result<Vec<Committed>, Refusal>> {
        self.answer(to, |state, node| Ok(state.commit(node, message)))
    }
}

impl Asks<OffsetFetch> for FakeCluster {
    fn ask(
        &self,
        to: &Target,
        message: OffsetFetch,
        _: Duration,
    ) -> Asking<Result<Vec<(PartitionId, CommittedOffset)>, Refusal>> {
        self.answer(to, |state, node| {
            let wanted = |id: &PartitionId| message.partitions.as_ref().is_none_or(|ids| ids.contains(id));
            Ok(state.coordinating(node).map(|group| {
                let found = group.committed.iter().filter(|(id, _)| wanted(id));
                found.map(|(id, offset)| (*id, offset.clone())).collect()
            }))
        })
    }
}

impl Asks<ListGroups> for FakeCluster {
    fn ask(
        &self,
        to: &Target,
        _: ListGroups,
        _: Duration,
    ) -> Asking<Result<Vec<(String, GroupState)>, Refusal>> {
        self.answer(to, |state, node| {
            let here = state.group.coordinator == node;
            Ok(Ok(here.then(|| ("group".to_owned(), GroupState::Stable)).into_iter().collect()))
        })
    }
}

impl Asks<DescribeGroup> for FakeCluster {
    fn ask(&self, to: &Target, _: DescribeGroup, _: Duration) -> Asking<Result<GroupDescription, Refusal>> {
        self.answer(to, |state, node| {
            Ok(state.coordinating(node).map(|group| GroupDescription {
                state: GroupState::Stable,
                epoch: group.epoch,
                assignor: "uniform".to_owned(),
                members: BTreeMap::new(),
            }))
        })
    }
}

impl Asks<DeleteGroup> for FakeCluster {
    fn ask(&self, to: &Target, _: DeleteGroup, _: Duration) -> Asking<Result<(), Refusal>> {
        self.answer(to, |state, node| Ok(state.coordinating(node).map(|group| group.committed.clear())))
    }
}

//! Offsets: committed, fetched, deleted, forgotten; and the end of a group.

use std::sync::Arc;

use super::pattern::Patterns;
use super::turn::Turn;
use super::{Group, Notice};
use crate::error::{ErrorCode, Refusal};
use crate::group::classic::{CONSUMER, ClassicMetadata, KeptFrom};
use crate::group::message::{CommittedOffset, DeleteGroup, OffsetCommit, OffsetDelete, OffsetFetch};
use crate::group::pending::{OfProducer, Put};
use crate::group::records::{GroupRecord, OffsetValue};
use crate::group::topics::TopicsView;
use crate::ids::PartitionId;

/// What became of each partition of a request.
pub(super) type PerPartition = Vec<(PartitionId, Result<(), Refusal>)>;

impl Turn<'_> {
    pub(super) fn commit(&mut self, request: &OffsetCommit) -> Result<PerPartition, Refusal> {
        self.check_committer(request)?;
        Ok(self.commit_checked(request))
    }

    pub(super) fn commit_checked(&mut self, request: &OffsetCommit) -> PerPartition {
        self.commit_each(request, Self::write)
    }

    /// Offsets as part of a producer's transaction.
    pub(super) fn commit_pending(
        &mut self,
        request: &OffsetCommit,
        of: OfProducer,
        put: &mut Vec<Put>,
    ) -> PerPartition {
        self.commit_each(request, |turn, record| {
            put.extend(turn.machine.group.replay_pending(of, record.clone()));
            turn.records.push(record);
        })
    }

    fn commit_each(
        &mut self,
        request: &OffsetCommit,
        mut write: impl FnMut(&mut Self, GroupRecord),
    ) -> PerPartition {
        let each = request.offsets.iter().map(|(partition, offset)| {
            let checked = self.check_offset(request, partition, offset).map(|topic| {
                let value = OffsetValue {
                    offset: offset.offset,
                    leader_epoch: offset.leader_epoch,
                    metadata: offset.metadata.clone(),
                    committed_ms: self.around.now.wall_ms,
                    expires_ms: None,
                    topic: Some(partition.topic),
                };
                write(self, GroupRecord::Offset { topic, partition: partition.index, value: Some(value) });
            });
            (*partition, checked)
        });
        each.collect()
    }

    /// As [`Self::check_committer`], in the codes that producers know.
    pub(super) fn check_transactional_committer(&self, request: &OffsetCommit) -> Result<(), Refusal> {
        let is_gone = self.group().is_nothing();
        self.check_committer(request).map_err(|refusal| match refusal.code {
            ErrorCode::StaleMemberEpoch => Refusal { code: ErrorCode::IllegalGeneration, ..refusal },
            _ if is_gone => Refusal { code: ErrorCode::IllegalGeneration, ..refusal },
            _ => refusal,
        })
    }

    /// Members commit in their epoch; others only while there are no members.
    fn check_committer(&self, request: &OffsetCommit) -> Result<(), Refusal> {
        let group = self.group();
        if group.streams.is_there() {
            return group.streams.check_committer(request);
        }
        if request.member_epoch < 0 && group.members.is_empty() {
            return Ok(());
        }
        if !group.members.contains_key(request.member.as_str()) {
            let text = match request.member_epoch {
                ..0 => format!(
                    "group {} has {} members; offsets are set from outside only when it has none: stop them first",
                    request.group,
                    group.members.len()
                ),
                _ => format!(
                    "group {} has no member {:?}; join again (epoch 0)",
                    request.group, request.member
                ),
            };
            return Err(Refusal::new(ErrorCode::UnknownMemberId, text));
        }
        let epoch = group.current(&request.member).epoch;
        if epoch == request.member_epoch {
            return Ok(());
        }
        let text = format!(
            "member {} of group {} commits with epoch {}, it has {epoch}: heartbeat, then commit again",
            request.member, request.group, request.member_epoch
        );
        Err(Refusal::new(stale(group, &request.member), text))
    }

    /// The topic's name, if the offset may be committed.
    fn check_offset(
        &self,
        request: &OffsetCommit,
        partition: &PartitionId,
        offset: &CommittedOffset,
    ) -> Result<Arc<str>, Refusal> {
        let topic = self.topic_of(partition)?;
        let most = self.around.settings.offset_metadata_max_bytes;
        if offset.metadata.len() > most {
            let text = format!(
                "group {}: the metadata for {topic}-{} has {} bytes; at most {most} (offset.metadata.max.bytes)",
                request.group,
                partition.index,
                offset.metadata.len()
            );
            return Err(Refusal::new(ErrorCode::OffsetMetadataTooLarge, text));
        }
        if offset.offset.0 < 0 {
            let text = format!("group {}: offset {} is negative", request.group, offset.offset);
            return Err(Refusal::new(ErrorCode::InvalidRequest, text));
        }
        self.machine.group.streams.check_owner(request, &topic, partition.index)?;
        Ok(topic)
    }

    fn topic_of(&self, partition: &PartitionId) -> Result<Arc<str>, Refusal> {
        match self.around.topics.identified(partition.topic) {
            Some((topic, partitions)) if (0..partitions).contains(&partition.index) => Ok(topic),
            Some((topic, partitions)) => {
                let text =
                    format!("topic {topic} has {partitions} partitions, none with index {}", partition.index);
                Err(Refusal::new(ErrorCode::UnknownTopicOrPartition, text))
            }
            None => {
                let text = format!("no topic has the id {}; it may have been deleted", partition.topic);
                Err(Refusal::new(ErrorCode::UnknownTopicId, text))
            }
        }
    }

    pub(super) fn delete_offsets(
        &mut self,
        request: &OffsetDelete,
        is_known: bool,
    ) -> Result<PerPartition, Refusal> {
        if !is_known {
            self.check_exists(&request.group)?;
        }
        let each = request.partitions.iter().map(|partition| {
            let deleted = self.topic_of(partition).and_then(|topic| {
                if self.group().is_subscribed_to(&topic) {
                    let text =
                        format!("members of group {} subscribe to {topic}; stop them first", request.group);
                    return Err(Refusal::new(ErrorCode::GroupSubscribedToTopic, text));
                }
                if self.group().offsets.get(&topic, partition.index).is_some() {
                    self.write(GroupRecord::Offset { topic, partition: partition.index, value: None });
                }
                Ok(())
            });
            (*partition, deleted)
        });
        Ok(each.collect())
    }

    pub(super) fn delete(&mut self, request: &DeleteGroup) -> Result<(), Refusal> {
        self.check_exists(&request.group)?;
        let classic = self.group().classic.as_ref().map_or(0, |classic| classic.members.len());
        let members = self.group().members.len() + classic + self.group().streams.members.len();
        if members > 0 {
            let text = format!("group {} has {members} members; stop them first", request.group);
            return Err(Refusal::new(ErrorCode::NonEmptyGroup, text));
        }
        self.end();
        Ok(())
    }

    fn check_exists(&self, group: &str) -> Result<(), Refusal> {
        if self.group().is_nothing() { Err(not_found(group)) } else { Ok(()) }
    }

    /// Members of the other protocol have come.
    pub(super) fn leave_classic(&mut self) {
        if self.group().classic.is_some() {
            self.write(GroupRecord::Classic(None));
        }
    }

    pub(super) fn leave_modern(&mut self) {
        let is_kept = |record: &GroupRecord| {
            matches!(record, GroupRecord::Offset { .. } | GroupRecord::Classic(_) | GroupRecord::Streams(_))
        };
        for record in self.group().tombstones().into_iter().filter(|record| !is_kept(record)) {
            self.write(record);
        }
        self.machine.sessions.clear();
        self.machine.patterns = Patterns::default();
    }

    /// Written in this order the group is one of the classic protocol, however much of it lies in the log.
    pub(super) fn begin_classic(&mut self) {
        let group = self.group();
        if !group.was_modern() {
            return;
        }
        if group.classic.is_none() {
            let empty = ClassicMetadata {
                protocol_type: CONSUMER.into(),
                state_since_ms: Some(group.epoch_since_ms).filter(|ms| *ms > 0),
                ..ClassicMetadata::default()
            };
            self.write(GroupRecord::Classic(Some(empty)));
        }
        self.leave_modern();
    }

    fn end(&mut self) {
        for record in self.group().tombstones() {
            self.write(record);
        }
    }

    /// Forgets what was committed for topics that are no more.
    pub(super) fn forget_deleted_topics(&mut self) {
        let topics = self.around.topics;
        self.forget(|_, _, value| value.topic.is_some_and(|topic| topics.identified(topic).is_none()));
    }

    /// When it is time to look: forgets offsets that outlived their retention, and a group of which nothing is left.
    ///
    /// Offsets of topics that members subscribe to stay. Those of a group without members are kept for their
    /// retention from when it lost its last one, so that a partition with few records is not forgotten sooner. Those of a
    /// group of the classic protocol stay while that says so: its members are in no record before they are assigned.
    pub(super) fn forget_old_offsets(&mut self, kept_from: KeptFrom) {
        let (now, settings) = (self.around.now, self.around.settings);
        if now.monotonic_ms < self.machine.retention_check_ms {
            return;
        }
        self.machine.retention_check_ms = now.monotonic_ms + settings.offsets_retention_check_ms;
        if kept_from == KeptFrom::Forever {
            return;
        }
        let retention_ms = i64::try_from(settings.offsets_retention_ms).unwrap_or(i64::MAX);
        self.forget(|group, topic, value| {
            let kept_from_ms = value.committed_ms.max(group.empty_since_ms());
            let ends_ms = value.expires_ms.unwrap_or_else(|| kept_from_ms.saturating_add(retention_ms));
            let is_read = group.is_subscribed_to(topic) || group.has_classic_members();
            !is_read && !group.streams.has_members() && ends_ms <= now.wall_ms
        });
        if !self.group().has_members() && self.group().offsets.is_empty() {
            self.end();
        }
    }

    fn forget(&mut self, is_over: impl Fn(&Group, &Arc<str>, &OffsetValue) -> bool) {
        let group = self.group();
        let over = group.offsets.iter().filter(|(topic, _, value)| is_over(group, topic, value));
        let over: Vec<_> = over.map(|(topic, partition, _)| (Arc::clone(topic), partition)).collect();
        if over.is_empty() {
            return;
        }
        self.notices.push(Notice::Forgotten { partitions: over.len() });
        for (topic, partition) in over {
            self.write(GroupRecord::Offset { topic, partition, value: None });
        }
    }
}

/// The refusal for a group that there is not.
pub(super) fn not_found(group: &str) -> Refusal {
    Refusal::new(ErrorCode::GroupIdNotFound, format!("there is no group {group:?}"))
}

/// Whether this member may read offsets in this epoch.
pub(super) fn check_reader(group: &Group, id: &str, member: &str, epoch: i32) -> Result<(), Refusal> {
    if group.epoch == 0 {
        return Ok(());
    }
    if !group.members.contains_key(member) {
        let text = format!("group {id} has no member {member:?}; join again (epoch 0)");
        return Err(Refusal::new(ErrorCode::UnknownMemberId, text));
    }
    let current = group.current(member).epoch;
    if current == epoch {
        return Ok(());
    }
    let text = format!(
        "member {member} of group {id} reads offsets with epoch {epoch}, it has {current}: heartbeat, then ask again"
    );
    Err(Refusal::new(stale(group, member), text))
}

/// The code for another epoch than the member's: what its protocol calls it.
fn stale(group: &Group, member: &str) -> ErrorCode {
    if group.is_classic(member) { ErrorCode::IllegalGeneration } else { ErrorCode::StaleMemberEpoch }
}

/// The committed offsets asked for. One committed for a topic of the same name that is no more is not among them.
pub(super) fn fetch(
    group: &Group,
    topics: &dyn TopicsView,
    request: &OffsetFetch,
) -> Vec<(PartitionId, CommittedOffset)> {
    let committed = |value: &OffsetValue| CommittedOffset {
        offset: value.offset,
        leader_epoch: value.leader_epoch,
        metadata: value.metadata.clone(),
    };
    match &request.partitions {
        Some(partitions) => partitions
            .iter()
            .filter_map(|partition| {
                let (topic, _) = topics.identified(partition.topic)?;
                let value = group.offsets.get(&topic, partition.index)?;
                let same = value.topic.is_none_or(|topic| topic == partition.topic);
                same.then(|| (*partition, committed(value)))
            })
            .collect(),
        None => group
            .offsets
            .iter()
            .filter_map(|(name, index, value)| {
                let topic = topics.named(name)?.id;
                let same = value.topic.is_none_or(|committed_for| committed_for == topic);
                same.then(|| (PartitionId { topic, index }, committed(value)))
            })
            .collect(),
    }
}

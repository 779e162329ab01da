//! What OffsetCommit and TxnOffsetCommit ask and tell of each partition.

use std::collections::BTreeMap;
use std::sync::Arc;

use millstream_actors::access::{Operation, ResourceType};
use millstream_actors::error::{ErrorCode, Refusal};
use millstream_actors::group::classic::Committer;
use millstream_actors::group::message::{CommittedOffset, OffsetCommit};
use millstream_actors::ids::{LeaderEpoch, Offset, PartitionId};
use millstream_actors::image::Image;
use millstream_transport::kafka::Uuid;

use super::error::{NONE, of_groups};
use super::service::topic;
use crate::security::authorize::Rights;

/// Who commits, as both requests have it.
pub(super) struct Sender<'a> {
    /// Of the request.
    pub(super) version: i16,
    pub(super) group: &'a str,
    pub(super) member: &'a str,
    /// Its generation, or its epoch.
    pub(super) generation: i32,
    pub(super) instance: Option<&'a str>,
}

impl Sender<'_> {
    /// What its group's coordinator is asked.
    pub(super) fn commit(&self, offsets: Vec<(PartitionId, CommittedOffset)>) -> (OffsetCommit, Committer) {
        let committer = Committer {
            version: self.version,
            member: Arc::from(self.member),
            generation: self.generation,
            instance: self.instance.map(Arc::from),
        };
        let commit = OffsetCommit {
            group: self.group.to_owned(),
            member: self.member.to_owned(),
            member_epoch: self.generation,
            offsets,
        };
        (commit, committer)
    }
}

/// The offset of one partition, as both requests have it.
pub(super) struct AskedOffset {
    pub(super) index: i32,
    pub(super) offset: i64,
    /// Negative if it is not known.
    pub(super) leader_epoch: i32,
    pub(super) metadata: String,
}

/// What is committed of the partitions that there are and that the sender may read, and how each topic of the request is
/// to be answered.
pub(super) struct Split<'a> {
    image: &'a Image,
    rights: &'a Rights,
    pub(super) offsets: Vec<(PartitionId, CommittedOffset)>,
    pub(super) asked: Vec<AskedTopic>,
}

impl<'a> Split<'a> {
    /// Of a request whose sender has these rights.
    pub(super) fn new(image: &'a Image, rights: &'a Rights) -> Self {
        Self { image, rights, offsets: Vec::new(), asked: Vec::new() }
    }

    /// Takes a topic of the request in, named by its id or not.
    pub(super) fn take(
        &mut self,
        name: String,
        (id, is_by_id): (Uuid, bool),
        partitions: impl Iterator<Item = AskedOffset>,
    ) {
        let found = topic(self.image, &name, uuid::Uuid::from_bytes(id.0));
        let asked_for = found.map_or(&*name, |topic| &topic.name);
        // An id that there is not names nothing that could be kept from anybody.
        let may =
            (is_by_id && found.is_none()) || self.rights.may(Operation::Read, ResourceType::Topic, asked_for);
        let unknown = match found {
            _ if !may => ErrorCode::TopicAuthorizationFailed,
            None if is_by_id => ErrorCode::UnknownTopicId,
            _ => ErrorCode::UnknownTopicOrPartition,
        };
        let partitions = partitions.map(|asked| {
            let known = found.filter(|topic| may && topic.partition(asked.index).is_some());
            let id = known.map(|topic| PartitionId { topic: topic.id, index: asked.index });
            let epoch = Some(asked.leader_epoch).filter(|epoch| *epoch >= 0);
            let committed = CommittedOffset {
                offset: Offset(asked.offset),
                leader_epoch: epoch.map(LeaderEpoch),
                metadata: asked.metadata,
            };
            self.offsets.extend(id.map(|id| (id, committed)));
            (asked.index, id)
        });
        let partitions = partitions.collect();
        self.asked.push(AskedTopic { name, id, unknown, partitions });
    }
}

/// The answers for topics of a request whose sender is refused as a whole.
pub(super) fn denied(mut asked: Vec<AskedTopic>, code: ErrorCode) -> Vec<AskedTopic> {
    for topic in &mut asked {
        topic.unknown = code;
        topic.partitions.iter_mut().for_each(|(_, id)| *id = None);
    }
    asked
}

/// The topics of an answer: `topic` makes one of its name, its id, and what `partition` makes of indexes and error codes.
pub(super) fn told<T, P>(
    asked: Vec<AskedTopic>,
    codes: &Codes,
    partition: impl Fn(i32, i16) -> P,
    topic: impl Fn(String, Uuid, Vec<P>) -> T,
) -> Vec<T> {
    let told = asked.into_iter().map(|asked| {
        let code = |id: &Option<PartitionId>| codes.of_partition(*id, asked.unknown);
        let partitions = asked.partitions.iter().map(|(index, id)| partition(*index, code(id))).collect();
        topic(asked.name, asked.id, partitions)
    });
    told.collect()
}

/// A topic of a request; partitions are without an id where there is no such topic.
pub(super) struct AskedTopic {
    pub(super) name: String,
    pub(super) id: Uuid,
    /// What is said of partitions without an id.
    pub(super) unknown: ErrorCode,
    pub(super) partitions: Vec<(i32, Option<PartitionId>)>,
}

/// A coordinator's answer.
type Committed = Result<Vec<(PartitionId, Result<(), Refusal>)>, Refusal>;

/// What became of each partition.
pub(super) struct Codes {
    each: BTreeMap<PartitionId, Result<(), Refusal>>,
    all: Option<ErrorCode>,
}

impl Codes {
    /// Of a request that was not passed on.
    pub(super) fn none() -> Self {
        Self { each: BTreeMap::new(), all: None }
    }

    /// Of a coordinator's answer.
    pub(super) fn of(committed: Committed) -> Self {
        match committed {
            Ok(each) => Self { each: each.into_iter().collect(), all: None },
            Err(refusal) => Self { each: BTreeMap::new(), all: Some(refusal.code) },
        }
    }

    /// The number for a partition; `unknown` for one without an id.
    pub(super) fn of_partition(&self, id: Option<PartitionId>, unknown: ErrorCode) -> i16 {
        let Some(id) = id else { return of_groups(unknown) };
        match (self.all, self.each.get(&id)) {
            (Some(code), _) => of_groups(code),
            (None, Some(Err(refusal))) => of_groups(refusal.code),
            (None, Some(Ok(()))) => NONE,
            (None, None) => of_groups(ErrorCode::UnknownServerError),
        }
    }
}

//! What a group is: the sum of its records.
//!
//! [`Group::replay`] is the only thing that changes it, when the group decides and when it is read back from the log
//! alike; so a coordinator that takes over knows what its predecessor knew. The order of records of different keys
//! does not matter where compaction has removed what lay between them.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use crate::group::classic::{ClassicMetadata, Tally};
use crate::group::offsets::Offsets;
use crate::group::pending::{OfProducer, PendingOffsets, Put};
use crate::group::records::{ClassicTerms, CurrentAssignment, GroupRecord, MemberMetadata};
use crate::group::streams::StreamsState;
use crate::group::topics::TopicShape;
use crate::ids::PartitionId;
use crate::record::EndMarker;

/// A member that left and said that it comes back (static membership).
pub const AWAY_EPOCH: i32 = -2;

/// A group as its records tell it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Group {
    /// Counts changes of members, subscriptions and topics.
    pub epoch: i32,
    /// When the epoch began, in milliseconds since 1970.
    pub epoch_since_ms: i64,
    /// The topics subscribed to, as of the epoch.
    pub topics: BTreeMap<Arc<str>, TopicShape>,
    /// What members said of themselves.
    pub members: BTreeMap<Arc<str>, MemberMetadata>,
    /// The epoch that the targets were computed for.
    pub target_epoch: i32,
    /// What members are to own.
    pub targets: BTreeMap<Arc<str>, BTreeSet<PartitionId>>,
    /// What members own.
    pub currents: BTreeMap<Arc<str>, CurrentAssignment>,
    /// The group of the classic protocol that it is, or was without members. While it is one it has no members, epochs and
    /// targets; what of them lies beside in the log is of a way over that was not whole, and does not count.
    pub classic: Option<ClassicMetadata>,
    /// The group of an application of streams that it is. While it is one, it is of no other type.
    pub streams: StreamsState,
    /// What was committed.
    pub offsets: Offsets,
    /// What is committed once transactions that are open do.
    pub pending: PendingOffsets,
    /// Who has a partition and has not given it up. From `currents`.
    owners: BTreeMap<PartitionId, Arc<str>>,
    /// Which member is which instance. From `members`.
    instances: BTreeMap<Arc<str>, Arc<str>>,
    /// How many members speak the classic protocol. From `members`.
    hosted: usize,
    /// What these speak. From `members`.
    spoken: Tally,
}

impl Group {
    /// Takes a record in, written at `time_ms`.
    pub fn replay(&mut self, time_ms: i64, record: GroupRecord) {
        match record {
            GroupRecord::Offset { topic, partition, value } => {
                self.pending.overtaken(&topic, partition);
                self.offsets.replay(&topic, partition, value);
            }
            GroupRecord::Classic(group) => self.classic = group,
            GroupRecord::Epoch(epoch) => {
                self.epoch = epoch.unwrap_or_default();
                self.epoch_since_ms = if epoch.is_some() { time_ms } else { 0 };
            }
            GroupRecord::Topics(topics) => self.topics = topics.unwrap_or_default(),
            GroupRecord::Member { member, value } => self.replay_member(member, value),
            GroupRecord::TargetEpoch(epoch) => self.target_epoch = epoch.unwrap_or_default(),
            GroupRecord::Target { member, value } => {
                match value {
                    Some(target) => self.targets.insert(member, target),
                    None => self.targets.remove(&member),
                };
            }
            GroupRecord::Current { member, value } => self.replay_current(member, value),
            GroupRecord::Streams(record) => self.streams.replay(time_ms, record),
        }
    }

    /// Takes in a record that is part of a producer's transaction. Only offsets ever are.
    pub fn replay_pending(&mut self, of: OfProducer, record: GroupRecord) -> Option<Put> {
        match record {
            GroupRecord::Offset { topic, partition, value: Some(value) } => {
                Some(self.pending.put(of, topic, partition, value))
            }
            _ => None,
        }
    }

    /// A producer's transaction ended.
    pub fn end_transaction(&mut self, marker: &EndMarker) {
        let ended = self.pending.take(marker);
        if !marker.commits {
            return;
        }
        for ((topic, partition), value) in ended {
            self.offsets.replay(&topic, partition, Some(value));
        }
    }

    fn replay_member(&mut self, member: Arc<str>, value: Option<MemberMetadata>) {
        if let Some(instance) = self.members.get(&member).and_then(|old| old.instance.as_ref())
            && self.instances.get(instance).is_some_and(|holder| *holder == member)
        {
            self.instances.remove(instance);
        }
        if let Some(terms) = self.members.get(&member).and_then(|old| old.classic.as_ref()) {
            self.spoken.remove(&terms.protocols);
            self.hosted -= 1;
        }
        let Some(value) = value else {
            self.members.remove(&member);
            return;
        };
        if let Some(instance) = &value.instance {
            self.instances.insert(Arc::clone(instance), Arc::clone(&member));
        }
        if let Some(terms) = &value.classic {
            self.spoken.add(&terms.protocols);
            self.hosted += 1;
        }
        self.members.insert(member, value);
    }

    fn replay_current(&mut self, member: Arc<str>, value: Option<CurrentAssignment>) {
        if let Some(old) = self.currents.get(&member) {
            for partition in old.assigned.iter().chain(&old.revoking) {
                // After compaction a later owner's record may stand before the one that gave the partition up.
                if self.owners.get(partition).is_some_and(|owner| *owner == member) {
                    self.owners.remove(partition);
                }
            }
        }
        let Some(value) = value else {
            self.currents.remove(&member);
            return;
        };
        for partition in value.assigned.iter().chain(&value.revoking) {
            self.owners.insert(*partition, Arc::clone(&member));
        }
        self.currents.insert(member, value);
    }

    /// Who has this partition and has not given it up.
    #[must_use]
    pub fn owner(&self, partition: &PartitionId) -> Option<&Arc<str>> {
        self.owners.get(partition)
    }

    /// Partitions subscribed to that nobody has.
    #[must_use]
    pub fn unowned(&self) -> usize {
        let all = self
            .topics
            .values()
            .flat_map(|shape| (0..shape.partitions).map(|index| PartitionId { topic: shape.id, index }));
        all.filter(|partition| !self.owners.contains_key(partition)).count()
    }

    /// The member that is this instance.
    #[must_use]
    pub fn instance(&self, instance: &str) -> Option<&Arc<str>> {
        self.instances.get(instance)
    }

    /// Whether this member speaks the classic protocol, in a group of KIP-848.
    #[must_use]
    pub fn is_classic(&self, member: &str) -> bool {
        self.members.get(member).is_some_and(|metadata| metadata.classic.is_some())
    }

    /// How many of its members speak KIP-848.
    #[must_use]
    pub fn modern_members(&self) -> usize {
        self.members.len() - self.hosted
    }

    /// Whether one of these protocols is spoken by all members of the classic protocol but `without`.
    #[must_use]
    pub fn speak_one_of<'a>(
        &self,
        names: impl IntoIterator<Item = &'a str>,
        without: BTreeSet<&str>,
    ) -> bool {
        let apart = without.into_iter().filter_map(|id| self.members.get(id)?.classic.as_ref());
        let apart: Vec<_> = apart.collect();
        let others = self.hosted - apart.len();
        names.into_iter().any(|name| {
            let speaks = |terms: &&&ClassicTerms| terms.protocols.iter().any(|spoken| &*spoken.name == name);
            self.spoken.count(name) - apart.iter().filter(speaks).count() == others
        })
    }

    /// Whether every partition subscribed to is somebody's to own.
    #[must_use]
    pub fn is_all_targeted(&self) -> bool {
        let targeted: usize = self.targets.values().map(BTreeSet::len).sum();
        let all = self.topics.values().map(|shape| usize::try_from(shape.partitions).unwrap_or(0));
        targeted == all.sum::<usize>()
    }

    /// What this member owns.
    #[must_use]
    pub fn current(&self, member: &str) -> &CurrentAssignment {
        static NOTHING: CurrentAssignment = CurrentAssignment::NOTHING;
        self.currents.get(member).unwrap_or(&NOTHING)
    }

    /// What this member is to own.
    #[must_use]
    pub fn target(&self, member: &str) -> &BTreeSet<PartitionId> {
        static NOTHING: BTreeSet<PartitionId> = BTreeSet::new();
        self.targets.get(member).unwrap_or(&NOTHING)
    }

    /// Whether a member's names or topics its pattern found contain this topic.
    #[must_use]
    pub fn is_subscribed_to(&self, topic: &str) -> bool {
        (!self.members.is_empty() && self.topics.contains_key(topic)) || self.streams.reads(topic)
    }

    /// Whether it has members, of any type.
    #[must_use]
    pub fn has_members(&self) -> bool {
        !self.members.is_empty() || self.has_classic_members() || self.streams.has_members()
    }

    /// Whether it has members of the classic protocol: what they subscribe to is theirs to know.
    #[must_use]
    pub fn has_classic_members(&self) -> bool {
        self.classic.as_ref().is_some_and(|classic| !classic.members.is_empty())
    }

    /// Whether it has a history as a group of KIP-848, or something of it is left.
    #[must_use]
    pub fn was_modern(&self) -> bool {
        let is_counted = self.epoch != 0 || self.epoch_since_ms != 0 || self.target_epoch != 0;
        let is_left = self.members.is_empty() && self.targets.is_empty() && self.currents.is_empty();
        is_counted || !self.topics.is_empty() || !is_left
    }

    /// Since when it has no members, in milliseconds since 1970, as far as its records tell.
    #[must_use]
    pub fn empty_since_ms(&self) -> i64 {
        match &self.classic {
            _ if self.has_members() => i64::MIN,
            None if self.streams.is_there() => self.streams.epoch_since_ms,
            Some(classic) => classic.state_since_ms.unwrap_or(i64::MIN),
            None => self.epoch_since_ms,
        }
    }

    /// Whether no record speaks of the group any more.
    #[must_use]
    pub fn is_nothing(&self) -> bool {
        *self == Self::default()
    }

    /// The records after which nothing is left.
    #[must_use]
    pub fn tombstones(&self) -> Vec<GroupRecord> {
        let mut records = self.offsets.tombstones();
        records.extend(self.streams.tombstones().into_iter().map(GroupRecord::Streams));
        records.extend(self.classic.iter().map(|_| GroupRecord::Classic(None)));
        records.extend(
            self.currents.keys().map(|id| GroupRecord::Current { member: Arc::clone(id), value: None }),
        );
        records.extend(
            self.targets.keys().map(|id| GroupRecord::Target { member: Arc::clone(id), value: None }),
        );
        records.extend(
            self.members.keys().map(|id| GroupRecord::Member { member: Arc::clone(id), value: None }),
        );
        if self.target_epoch != 0 {
            records.push(GroupRecord::TargetEpoch(None));
        }
        if !self.topics.is_empty() {
            records.push(GroupRecord::Topics(None));
        }
        if self.epoch != 0 || self.epoch_since_ms != 0 {
            records.push(GroupRecord::Epoch(None));
        }
        records
    }
}

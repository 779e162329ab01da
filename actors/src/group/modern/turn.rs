//! One decision under way: what it wrote so far, and the steps that decisions share.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use super::{AWAY_EPOCH, ConsumerGroup, Group, Leaving, Notice, Surroundings, describe};
use crate::group::assignor::{Subscriber, Subscriptions};
use crate::group::records::{CurrentAssignment, GroupRecord};
use crate::group::topics::TopicShape;
use crate::ids::PartitionId;
use crate::invariant::{Broken, Invariant};

pub(super) struct Turn<'a> {
    pub(super) machine: &'a mut ConsumerGroup,
    pub(super) around: &'a Surroundings<'a>,
    pub(super) records: Vec<GroupRecord>,
    pub(super) notices: Vec<Notice>,
}

impl Turn<'_> {
    pub(super) fn group(&self) -> &Group {
        &self.machine.group
    }

    /// Writes a record, which changes the group as it will when it is read back.
    pub(super) fn write(&mut self, record: GroupRecord) {
        let record = match record {
            GroupRecord::Current { member, value: Some(value) } => {
                let value = Some(self.owned_once(&member, value));
                GroupRecord::Current { member, value }
            }
            record => record,
        };
        self.machine.group.replay(self.around.now.wall_ms, record.clone());
        self.records.push(record);
    }

    /// A partition is one member's at a time. One that another has is held back, whatever was decided.
    fn owned_once(&mut self, member: &Arc<str>, mut current: CurrentAssignment) -> CurrentAssignment {
        let group = self.group();
        let elsewhere = |partition: &PartitionId| group.owner(partition).filter(|owner| *owner != member);
        let taken: Vec<_> =
            current.assigned.iter().filter_map(|id| Some((*id, Arc::clone(elsewhere(id)?)))).collect();
        for (partition, owner) in taken {
            current.assigned.remove(&partition);
            let found = format!("{partition} was to be {member}'s, and {owner} has it");
            self.notices.push(Notice::Broken(Broken::new(Invariant::LeaderIsFenced, found)));
        }
        current
    }

    /// Puts those out that are overdue, in one change.
    pub(super) fn expire_members(&mut self) {
        let now_ms = self.around.now.monotonic_ms;
        let overdue: Vec<_> = self
            .machine
            .sessions
            .iter()
            .filter_map(|(member, session)| Some((Arc::clone(member), session.overdue(now_ms)?)))
            .collect();
        self.put_out(&overdue);
    }

    /// Puts members out, in one change. Where none of KIP-848 is left, the group may be one of the classic protocol: when the
    /// last one goes, or later, when what kept the group from it is gone with another.
    pub(super) fn put_out(&mut self, leaving: &[(Arc<str>, Leaving)]) {
        if leaving.is_empty() || self.downgrade_without(leaving) {
            return;
        }
        for (member, reason) in leaving {
            self.remove_member(member, *reason);
        }
        self.regroup();
    }

    /// Goes on to a new epoch, where what is there is not all of a decision: members without a target, or partitions that are
    /// nobody's to own.
    pub(super) fn make_whole(&mut self) {
        let group = self.group();
        let is_whole = group.epoch == group.target_epoch
            && group.members.keys().all(|member| group.targets.contains_key(member))
            && group.is_all_targeted();
        if !group.members.is_empty() && !is_whole {
            self.regroup();
        }
    }

    /// Takes a change of topics in, where it concerns the group.
    pub(super) fn follow_topics(&mut self) {
        if self.machine.topics_seen != Some(self.around.topics.version()) && self.refresh_topics() {
            self.bump();
            self.retarget();
        }
    }

    /// Takes in that a member may know of other topics than before, where it subscribes by a regular expression.
    pub(super) fn follow_rights(&mut self, member: &Arc<str>) {
        let ConsumerGroup { group, patterns, .. } = &mut *self.machine;
        let pattern = group.members.get(member).and_then(|metadata| metadata.pattern.as_ref());
        if pattern.is_some_and(|pattern| patterns.finds_others(group, (member, pattern), self.around)) {
            self.regroup();
        }
    }

    /// Ends a member: all that is known of it.
    pub(super) fn remove_member(&mut self, member: &Arc<str>, reason: Leaving) {
        self.write(GroupRecord::Current { member: Arc::clone(member), value: None });
        self.write(GroupRecord::Target { member: Arc::clone(member), value: None });
        self.write(GroupRecord::Member { member: Arc::clone(member), value: None });
        self.machine.sessions.remove(member);
        self.machine.patterns.forget(member);
        self.notices.push(Notice::Left { member: Arc::clone(member), reason });
    }

    /// After members came or went: topics, epoch and target follow.
    pub(super) fn regroup(&mut self) {
        self.refresh_topics();
        self.bump();
        self.retarget();
    }

    /// Looks at the topics subscribed to again. True if they are others than before.
    pub(super) fn refresh_topics(&mut self) -> bool {
        if self.machine.topics_seen != Some(self.around.topics.version()) {
            self.forget_deleted_topics();
            self.machine.topics_seen = Some(self.around.topics.version());
        }
        let wanted = self.wanted_topics();
        if wanted == self.group().topics {
            return false;
        }
        self.write(GroupRecord::Topics(Some(wanted).filter(|topics| !topics.is_empty())));
        true
    }

    /// The topics that members subscribe to, by name or pattern, of those that exist.
    fn wanted_topics(&mut self) -> BTreeMap<Arc<str>, TopicShape> {
        let ConsumerGroup { group, patterns, .. } = &mut *self.machine;
        let mut wanted = BTreeMap::new();
        let mut want = |name: &Arc<str>| {
            if !wanted.contains_key(name)
                && let Some(shape) = self.around.topics.named(name)
            {
                wanted.insert(Arc::clone(name), shape);
            }
        };
        patterns.keep_only(|pattern| {
            group.members.values().any(|member| member.pattern.as_ref() == Some(pattern))
        });
        for (id, member) in &group.members {
            member.topics.iter().for_each(&mut want);
            if let Some(pattern) = &member.pattern {
                patterns.find(group, (id, pattern), self.around).iter().for_each(&mut want);
            }
        }
        wanted
    }

    /// Counts a change.
    pub(super) fn bump(&mut self) {
        let epoch = self.group().epoch.saturating_add(1);
        self.write(GroupRecord::Epoch(Some(epoch)));
    }

    /// Computes what everybody is to own, if something changed since it was last done.
    pub(super) fn retarget(&mut self) {
        let epoch = self.group().epoch;
        if self.group().members.is_empty() || epoch <= self.group().target_epoch {
            return;
        }
        let subscriptions = self.subscriptions();
        let shares = describe::assignor(self.group(), self.around.settings).assign(&subscriptions);
        let mut affected = 0;
        for (member, share) in shares {
            if self.group().targets.get(&member) != Some(&share) {
                affected += 1;
                self.write(GroupRecord::Target { member, value: Some(share) });
            }
        }
        self.write(GroupRecord::TargetEpoch(Some(epoch)));
        self.release_of_the_away();
        let members = self.group().members.len();
        let partitions =
            subscriptions.topics.values().map(|partitions| usize::try_from(*partitions).unwrap_or(0)).sum();
        self.notices.push(Notice::Retargeted { epoch, members, partitions, affected });
    }

    /// Who is away reads nothing: what is not to wait for it is free at once.
    fn release_of_the_away(&mut self) {
        let group = self.group();
        let away = group.currents.iter().filter(|(_, current)| current.epoch == AWAY_EPOCH);
        let fewer: Vec<_> = away
            .filter_map(|(member, current)| {
                let assigned: BTreeSet<_> =
                    current.assigned.intersection(group.target(member)).copied().collect();
                let shrinks = assigned.len() < current.assigned.len();
                shrinks.then(|| (Arc::clone(member), CurrentAssignment { assigned, ..current.clone() }))
            })
            .collect();
        for (member, current) in fewer {
            self.write(GroupRecord::Current { member, value: Some(current) });
        }
    }

    fn subscriptions(&mut self) -> Subscriptions {
        let ConsumerGroup { group, patterns, .. } = &mut *self.machine;
        let id_of = |name: &Arc<str>| group.topics.get(name).map(|shape| shape.id);
        let (mut members, mut found) = (BTreeMap::new(), BTreeMap::new());
        for (id, metadata) in &group.members {
            let mut topics: BTreeSet<_> = metadata.topics.iter().filter_map(id_of).collect();
            if let Some(pattern) = &metadata.pattern {
                let names = patterns.find(group, (id, pattern), self.around);
                topics.extend(names.iter().filter_map(id_of));
                found.insert(Arc::clone(id), names);
            }
            let subscriber =
                Subscriber { instance: metadata.instance.clone(), topics, owned: group.target(id).clone() };
            members.insert(Arc::clone(id), subscriber);
        }
        patterns.tell(found);
        let topics = group.topics.values().map(|shape| (shape.id, shape.partitions)).collect();
        Subscriptions { topics, members }
    }
}

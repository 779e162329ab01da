//! What tests of groups share.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};

use uuid::Uuid;

use super::message::GroupHeartbeat;
use super::topics::{TopicRights, TopicShape, TopicsView};
use crate::access::Acls;
use crate::ids::{PartitionId, TopicId};

/// A topic that kills who looks at it.
pub(crate) const DEADLY: &str = "deadly";

/// Topics kept in a map.
#[derive(Clone, Debug, Default)]
pub(crate) struct FakeTopics {
    version: u64,
    topics: BTreeMap<Arc<str>, TopicShape>,
}

impl FakeTopics {
    pub(crate) fn of(topics: &[(&str, i32)]) -> Self {
        let mut fake = Self::default();
        for (name, partitions) in topics {
            fake.set(name, *partitions);
        }
        fake
    }

    /// Makes a topic, or changes its size; 0 deletes it.
    pub(crate) fn set(&mut self, name: &str, partitions: i32) {
        self.version += 1;
        let id =
            self.topics.get(name).map_or(TopicId(Uuid::from_u128(self.version.into())), |shape| shape.id);
        if partitions == 0 {
            self.topics.remove(name);
        } else {
            self.topics.insert(name.into(), TopicShape { id, partitions });
        }
    }

    pub(crate) fn partition(&self, name: &str, index: i32) -> PartitionId {
        PartitionId { topic: self.topics[name].id, index }
    }
}

impl TopicsView for FakeTopics {
    fn version(&self) -> u64 {
        self.version
    }

    fn named(&self, name: &str) -> Option<TopicShape> {
        assert_ne!(name, DEADLY, "a defect that a request reaches");
        self.topics.get(name).copied()
    }

    fn identified(&self, id: TopicId) -> Option<(Arc<str>, i32)> {
        let (name, shape) = self.topics.iter().find(|(_, shape)| shape.id == id)?;
        Some((Arc::clone(name), shape.partitions))
    }

    fn names(&self) -> Vec<Arc<str>> {
        self.topics.keys().cloned().collect()
    }
}

/// Rights to topics of these names, under lists that change with them.
#[derive(Debug)]
pub(crate) struct FakeRights {
    name: Arc<str>,
    shown: Mutex<(Arc<Acls>, Vec<&'static str>)>,
    asked: AtomicUsize,
}

impl FakeRights {
    pub(crate) fn of(name: &str, shown: &[&'static str]) -> Arc<Self> {
        let shown = Mutex::new((Arc::default(), shown.to_vec()));
        Arc::new(Self { name: name.into(), shown, asked: AtomicUsize::new(0) })
    }

    /// From now on it may know of these; of everything that begins with what ends in `*`.
    pub(crate) fn set(&self, shown: &[&'static str]) {
        *self.shown.lock().unwrap() = (Arc::default(), shown.to_vec());
    }

    /// How many topics were asked for since this was asked last.
    pub(crate) fn asked(&self) -> usize {
        self.asked.swap(0, Ordering::Relaxed)
    }
}

impl TopicRights for FakeRights {
    fn name(&self, _lists: &Acls) -> Arc<str> {
        Arc::clone(&self.name)
    }

    fn lists(&self) -> Arc<Acls> {
        Arc::clone(&self.shown.lock().unwrap().0)
    }

    fn may_describe(&self, lists: &Acls, topic: &str) -> bool {
        let (now, shown) = &*self.shown.lock().unwrap();
        assert!(std::ptr::eq(&**now, lists), "by the lists that it was asked for");
        self.asked.fetch_add(1, Ordering::Relaxed);
        let fits =
            |shown: &&str| shown.strip_suffix('*').map_or(*shown == topic, |head| topic.starts_with(head));
        shown.iter().any(fits)
    }
}

/// The heartbeat of a member that joins and subscribes to these.
pub(crate) fn joining(group: &str, member: &str, topics: &[&str]) -> GroupHeartbeat {
    GroupHeartbeat {
        group: group.to_owned(),
        member: member.to_owned(),
        member_epoch: 0,
        instance: None,
        client_id: "test".to_owned(),
        rebalance_timeout_ms: 10_000,
        topics: Some(topics.iter().map(|&name| name.to_owned()).collect()),
        topic_pattern: None,
        assignor: None,
        owned: Some(Vec::new()),
    }
}

/// The heartbeat of a member with nothing new to say.
pub(crate) fn beating(group: &str, member: &str, member_epoch: i32) -> GroupHeartbeat {
    GroupHeartbeat { member_epoch, topics: None, owned: None, ..joining(group, member, &[]) }
}

//! Each topic spread evenly, and the whole.
//!
//! A topic of *n* partitions gives each of *m* members *n/m*, and one more to *n* mod *m* of them. Who gets one more
//! is what can be chosen: first those who had one more before, then the choice is evened out over the topics. So the
//! whole differs by one at most, and an even assignment stays as it is.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use super::{Shares, Subscriptions, sticky};
use crate::ids::{PartitionId, TopicId};

pub(super) fn assign(subscriptions: &Subscriptions) -> Shares {
    if !subscriptions.are_alike() {
        return sticky::assign(subscriptions);
    }
    let held = Held::of(subscriptions);
    let mut extras = Extras::default();
    for (topic, partitions, subscribers) in subscriptions.by_topic() {
        let members = i32::try_from(subscribers.len()).unwrap_or(i32::MAX).max(1);
        let base = usize::try_from(partitions / members).unwrap_or(0);
        let count = usize::try_from(partitions % members).unwrap_or(0);
        let mut by_holding: Vec<_> = subscribers.into_iter().collect();
        by_holding.sort_by_key(|member| (held.count(member, topic) <= base, extras.load(member), *member));
        for (place, member) in by_holding.into_iter().enumerate() {
            extras.enter(member);
            if place < count {
                extras.give(member, topic);
            }
        }
    }
    extras.even_out();
    let mut shares = subscriptions.nothing();
    for (topic, partitions, subscribers) in subscriptions.by_topic() {
        share_topic(&mut shares, topic, partitions, &subscribers, &held, &extras);
    }
    shares
}

/// Fills every member's quota of one topic: first with what it held, then with what is left.
fn share_topic(
    shares: &mut Shares,
    topic: TopicId,
    partitions: i32,
    subscribers: &[&Arc<str>],
    held: &Held,
    extras: &Extras<'_>,
) {
    let members = i32::try_from(subscribers.len()).unwrap_or(i32::MAX).max(1);
    let base = usize::try_from(partitions / members).unwrap_or(0);
    let mut free: BTreeSet<i32> = (0..partitions).collect();
    let mut wanting = Vec::new();
    for member in subscribers {
        let quota = base + usize::from(extras.has(member, topic));
        let kept: Vec<i32> =
            held.of_member(member, topic).take(quota).filter(|index| free.remove(index)).collect();
        wanting.push((*member, quota - kept.len()));
        shares
            .entry(Arc::clone(member))
            .or_default()
            .extend(kept.into_iter().map(|index| PartitionId { topic, index }));
    }
    let mut free = free.into_iter();
    for (member, count) in wanting {
        let share = shares.entry(Arc::clone(member)).or_default();
        share.extend(free.by_ref().take(count).map(|index| PartitionId { topic, index }));
    }
}

/// What members held that they may still have, each partition once.
struct Held(BTreeMap<Arc<str>, BTreeMap<TopicId, BTreeSet<i32>>>);

impl Held {
    fn of(subscriptions: &Subscriptions) -> Self {
        let mut taken = BTreeSet::new();
        let mut held: BTreeMap<Arc<str>, BTreeMap<TopicId, BTreeSet<i32>>> = BTreeMap::new();
        for (id, member) in &subscriptions.members {
            let of_member = held.entry(Arc::clone(id)).or_default();
            for partition in &member.owned {
                let size = subscriptions.topics.get(&partition.topic).copied().unwrap_or(0);
                let wanted = member.topics.contains(&partition.topic) && (0..size).contains(&partition.index);
                if wanted && taken.insert(*partition) {
                    of_member.entry(partition.topic).or_default().insert(partition.index);
                }
            }
        }
        Self(held)
    }

    fn count(&self, member: &Arc<str>, topic: TopicId) -> usize {
        self.0.get(member).and_then(|topics| topics.get(&topic)).map_or(0, BTreeSet::len)
    }

    fn of_member(&self, member: &Arc<str>, topic: TopicId) -> impl Iterator<Item = i32> {
        self.0.get(member).and_then(|topics| topics.get(&topic)).into_iter().flatten().copied()
    }
}

/// Who gets one more of which topics.
#[derive(Default)]
struct Extras<'a>(BTreeMap<&'a Arc<str>, BTreeSet<TopicId>>);

impl<'a> Extras<'a> {
    fn enter(&mut self, member: &'a Arc<str>) {
        self.0.entry(member).or_default();
    }

    fn give(&mut self, member: &'a Arc<str>, topic: TopicId) {
        self.0.entry(member).or_default().insert(topic);
    }

    fn load(&self, member: &Arc<str>) -> usize {
        self.0.get(member).map_or(0, BTreeSet::len)
    }

    fn has(&self, member: &Arc<str>, topic: TopicId) -> bool {
        self.0.get(member).is_some_and(|topics| topics.contains(&topic))
    }

    /// Moves extras from who has most to who has fewest until they differ by one at most. There is always one to
    /// move: of two more topics, at least one is not among the fewer.
    fn even_out(&mut self) {
        loop {
            let most = self
                .0
                .iter()
                .max_by_key(|(_, topics)| topics.len())
                .map(|(member, topics)| (*member, topics));
            let fewest = self.0.iter().min_by_key(|(_, topics)| topics.len());
            let (Some((from, more)), Some((to, fewer))) = (most, fewest.map(|(to, topics)| (*to, topics)))
            else {
                return;
            };
            if more.len() <= fewer.len() + 1 {
                return;
            }
            let Some(topic) = more.difference(fewer).next().copied() else { return };
            if let Some(topics) = self.0.get_mut(from) {
                topics.remove(&topic);
            }
            self.give(to, topic);
        }
    }
}

//! The fewest moves to the most even whole.
//!
//! Members keep what they had; what nobody has goes to the least loaded that may have it; then, as long as a chain of
//! moves ends at a member with at least two fewer than where it began, it is made. When no such chain is left, no
//! assignment is more even. Topics with the same subscribers are one class: chains are sought between classes, so that
//! the search costs members × classes, and members that subscribe alike are a single class.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::sync::Arc;

use super::{Shares, Subscriptions};
use crate::ids::{PartitionId, TopicId};

/// Steps of search for the whole of an assignment, some tens of milliseconds: a bound on what a group of thousands of
/// unlike subscriptions may cost the thread that others beat on. What is reached by then is complete and disjoint, if not the most even.
const SEARCH_STEPS: usize = 2_000_000;

pub(super) fn assign(subscriptions: &Subscriptions) -> Shares {
    let mut table = Table::of(subscriptions);
    table.keep(subscriptions);
    table.give_out();
    table.even_out();
    table.shares(subscriptions)
}

/// A place in a vector of [`Table`]: checked like any other.
type Place = usize;

struct Table {
    members: Vec<Row>,
    places: BTreeMap<Arc<str>, Place>,
    classes: Vec<Class>,
    class_of: BTreeMap<TopicId, Place>,
}

#[derive(Default)]
struct Row {
    load: usize,
    classes: Vec<Place>,
    held: BTreeMap<Place, BTreeSet<PartitionId>>,
}

struct Class {
    subscribers: Vec<Place>,
    free: BTreeSet<PartitionId>,
}

/// One move of a chain: a partition of this class from one member to another.
#[derive(Clone, Copy)]
struct Move {
    from: Place,
    class: Place,
    to: Place,
}

impl Table {
    fn of(subscriptions: &Subscriptions) -> Self {
        let places: BTreeMap<Arc<str>, Place> =
            subscriptions.members.keys().enumerate().map(|(place, id)| (Arc::clone(id), place)).collect();
        let mut alike: BTreeMap<Vec<Place>, BTreeSet<PartitionId>> = BTreeMap::new();
        let mut topics = BTreeMap::new();
        for (topic, partitions, subscribers) in subscriptions.by_topic() {
            let subscribers: Vec<Place> =
                subscribers.into_iter().filter_map(|id| places.get(id).copied()).collect();
            topics.insert(topic, subscribers.clone());
            alike
                .entry(subscribers)
                .or_default()
                .extend((0..partitions).map(|index| PartitionId { topic, index }));
        }
        let mut members: Vec<Row> = places.iter().map(|_| Row::default()).collect();
        let mut class_places = BTreeMap::new();
        let mut classes = Vec::with_capacity(alike.len());
        for (class, (subscribers, free)) in alike.into_iter().enumerate() {
            for place in &subscribers {
                if let Some(row) = members.get_mut(*place) {
                    row.classes.push(class);
                }
            }
            class_places.insert(subscribers.clone(), class);
            classes.push(Class { subscribers, free });
        }
        let class_of = topics
            .into_iter()
            .filter_map(|(topic, subscribers)| Some((topic, *class_places.get(&subscribers)?)))
            .collect();
        Self { members, places, classes, class_of }
    }

    /// Lets members keep what they had and may still have; of two that had the same, the first.
    fn keep(&mut self, subscriptions: &Subscriptions) {
        for (id, member) in &subscriptions.members {
            let Some(place) = self.places.get(id).copied() else { continue };
            for partition in member.owned.iter().filter(|partition| member.topics.contains(&partition.topic))
            {
                let Some(class) = self.class_of.get(&partition.topic).copied() else { continue };
                if self.classes.get_mut(class).is_some_and(|class| class.free.remove(partition)) {
                    self.put(place, class, *partition);
                }
            }
        }
    }

    /// Gives what nobody has to the least loaded; classes with the fewest takers first, as these have the least choice.
    fn give_out(&mut self) {
        let mut order: Vec<Place> = (0..self.classes.len()).collect();
        order.sort_by_key(|place| self.classes.get(*place).map_or(0, |class| class.subscribers.len()));
        for place in order {
            let Some(class) = self.classes.get_mut(place) else { continue };
            let free = std::mem::take(&mut class.free);
            let mut takers: BTreeSet<(usize, Place)> =
                class.subscribers.iter().filter_map(|at| Some((self.members.get(*at)?.load, *at))).collect();
            for partition in free {
                let Some((load, member)) = takers.pop_first() else { break };
                takers.insert((load + 1, member));
                self.put(member, place, partition);
            }
        }
    }

    /// Makes chains of moves, each from the most loaded that has one, until nobody has. To take always from the most
    /// loaded is what keeps those from gaining that will lose.
    fn even_out(&mut self) {
        let mut steps = SEARCH_STEPS;
        let mut moved = true;
        while moved && steps > 0 {
            moved = false;
            let mut order: BTreeSet<(usize, Place)> =
                self.members.iter().enumerate().map(|(place, row)| (row.load, place)).collect();
            while let Some((load, from)) = order.pop_last() {
                let Some(chain) = self.chain(from, &mut steps) else { continue };
                let to = chain.first().map_or(from, |last| last.to);
                let was_waiting = order.remove(&(self.load(to), to));
                for one in chain {
                    self.perform(one);
                }
                order.insert((load - 1, from));
                if was_waiting {
                    order.insert((self.load(to), to));
                }
                moved = true;
            }
        }
    }

    /// The shortest chain from `from` to the least loaded that it can reach, if that has at least two fewer.
    fn chain(&self, from: Place, steps: &mut usize) -> Option<Vec<Move>> {
        let bar = self.load(from).checked_sub(2)?;
        let mut arrived_by: BTreeMap<Place, Move> = BTreeMap::new();
        let mut seen_classes = BTreeSet::new();
        let mut queue = VecDeque::from([from]);
        let mut best: Option<(usize, Place)> = None;
        while let Some(at) = queue.pop_front() {
            let row = self.members.get(at)?;
            for (class, held) in &row.held {
                if held.is_empty() || !seen_classes.insert(*class) {
                    continue;
                }
                for to in &self.classes.get(*class)?.subscribers {
                    *steps = steps.checked_sub(1)?;
                    if *to == from || arrived_by.contains_key(to) {
                        continue;
                    }
                    arrived_by.insert(*to, Move { from: at, class: *class, to: *to });
                    queue.push_back(*to);
                    let load = self.load(*to);
                    if load <= bar && best.is_none_or(|(least, _)| load < least) {
                        best = Some((load, *to));
                    }
                }
            }
        }
        let (_, mut at) = best?;
        let mut chain = Vec::new();
        while at != from {
            let step = *arrived_by.get(&at)?;
            chain.push(step);
            at = step.from;
        }
        Some(chain)
    }

    fn load(&self, place: Place) -> usize {
        self.members.get(place).map_or(0, |row| row.load)
    }

    fn put(&mut self, member: Place, class: Place, partition: PartitionId) {
        if let Some(row) = self.members.get_mut(member) {
            row.load += 1;
            row.held.entry(class).or_default().insert(partition);
        }
    }

    /// The last of the class goes: the first ones, which were most likely kept longest, stay.
    fn perform(&mut self, one: Move) {
        let Some(row) = self.members.get_mut(one.from) else { return };
        let Some(partition) = row.held.get_mut(&one.class).and_then(BTreeSet::pop_last) else { return };
        row.load -= 1;
        self.put(one.to, one.class, partition);
    }

    fn shares(self, subscriptions: &Subscriptions) -> Shares {
        let mut shares = subscriptions.nothing();
        for (share, row) in shares.values_mut().zip(self.members) {
            share.extend(row.held.into_values().flatten());
        }
        shares
    }
}

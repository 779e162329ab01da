//! Who reads what: from subscriptions to an assignment. Pure, and the same for the same input.
//!
//! Every partition with a subscriber is given to exactly one of them. The three differ in what they favour:
//!
//! | name | even | keeps |
//! |---|---|---|
//! | `range` | each topic by itself, in runs; topics of equal size and subscribers are cut alike, so that joins find both sides | nothing |
//! | `uniform` | each topic and the whole | what fits |
//! | `sticky` | the whole | as much as an even whole allows |
//!
//! Where members subscribe to different topics, `uniform` and `sticky` give the most even whole that there is.

mod range;
mod sticky;
mod uniform;

#[cfg(test)]
mod tests;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use crate::ids::{PartitionId, TopicId};

/// A way to share partitions out.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Assignor {
    /// Runs of partitions, topic by topic.
    Range,
    /// Each topic spread evenly.
    Uniform,
    /// The fewest moves.
    Sticky,
}

impl Assignor {
    /// All of them. The first is the coordinator's choice where no member has one: who is not affected never stops.
    pub const ALL: [Self; 3] = [Self::Sticky, Self::Uniform, Self::Range];

    /// Its name on the wire.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Range => "range",
            Self::Uniform => "uniform",
            Self::Sticky => "sticky",
        }
    }

    /// The assignor of this name.
    #[must_use]
    pub fn named(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|assignor| assignor.name() == name)
    }

    /// Shares the partitions out. Every member is in the result, if with nothing.
    #[must_use]
    pub fn assign(self, subscriptions: &Subscriptions) -> Shares {
        match self {
            Self::Range => range::assign(subscriptions),
            Self::Uniform => uniform::assign(subscriptions),
            Self::Sticky => sticky::assign(subscriptions),
        }
    }
}

/// What is to be shared out, and among whom.
#[derive(Clone, Debug, Default)]
pub struct Subscriptions {
    /// The topics subscribed to that exist, and how many partitions each has.
    pub topics: BTreeMap<TopicId, i32>,
    /// The members.
    pub members: BTreeMap<Arc<str>, Subscriber>,
}

/// One that wants partitions.
#[derive(Clone, Debug, Default)]
pub struct Subscriber {
    /// `group.instance.id`: orders `range` by names that last, not by member ids, which do not.
    pub instance: Option<Arc<str>>,
    /// What it subscribes to.
    pub topics: BTreeSet<TopicId>,
    /// What it was to own before.
    pub owned: BTreeSet<PartitionId>,
}

/// Partitions by member.
pub type Shares = BTreeMap<Arc<str>, BTreeSet<PartitionId>>;

impl Subscriptions {
    /// Whether all members subscribe to the same topics, of those that exist.
    fn are_alike(&self) -> bool {
        let mut wanted = self.members.values().map(|member| self.existing(member));
        let Some(first) = wanted.next() else { return true };
        wanted.all(|other| other == first)
    }

    fn existing<'a>(&'a self, member: &'a Subscriber) -> BTreeSet<&'a TopicId> {
        member.topics.iter().filter(|topic| self.topics.contains_key(topic)).collect()
    }

    /// The topics, their sizes, and who subscribes to each.
    fn by_topic(&self) -> impl Iterator<Item = (TopicId, i32, Vec<&Arc<str>>)> {
        let mut subscribers: BTreeMap<TopicId, Vec<&Arc<str>>> = BTreeMap::new();
        for (id, member) in &self.members {
            for topic in &member.topics {
                subscribers.entry(*topic).or_default().push(id);
            }
        }
        self.topics.iter().filter_map(move |(topic, partitions)| {
            Some((*topic, *partitions, subscribers.remove(topic)?)).filter(|(_, count, _)| *count > 0)
        })
    }

    /// An assignment of nothing to anyone.
    fn nothing(&self) -> Shares {
        self.members.keys().map(|member| (Arc::clone(member), BTreeSet::new())).collect()
    }
}

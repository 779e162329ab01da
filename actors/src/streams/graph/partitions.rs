//! How many partitions the topics of a topology have, and so how many tasks it has.

use std::collections::BTreeMap;
use std::sync::Arc;

use super::parts::topics_before;
use super::{Part, Partitions, Topology, TopologyError};

/// The partitions of all topics that a topology reads or that the library makes for it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct PartitionCounts(BTreeMap<Arc<str>, i32>);

impl PartitionCounts {
    /// From those of the users' topics. All that does not fit together is told.
    pub(crate) fn new(
        topology: &Topology,
        known: impl Fn(&str) -> Option<i32>,
    ) -> Result<Self, TopologyError> {
        Self::with_made(topology, known, |_| None)
    }

    /// The same where some of the library's topics were made before, of so many.
    pub(crate) fn with_made(
        topology: &Topology,
        known: impl Fn(&str) -> Option<i32>,
        made: impl Fn(&str) -> Option<i32>,
    ) -> Result<Self, TopologyError> {
        let mut counts = BTreeMap::new();
        let mut problems = Vec::new();
        let globals = topology.graph.globals.iter().map(|global| &global.topic);
        for topic in topology.parts.iter().flat_map(|part| &part.sources).chain(globals) {
            if topology.graph.repartitions.contains_key(topic) {
                continue;
            }
            match known(topic) {
                Some(count) => {
                    counts.insert(Arc::clone(topic), count);
                }
                None => problems.push(format!("its source topic {topic:?} does not exist; make it first")),
            }
        }
        let mut counts = Self(counts);
        if problems.is_empty() {
            counts.settle(topology, &made);
            problems.extend(topology.parts.iter().flat_map(|part| counts.differing(part)));
        }
        match problems.is_empty() {
            true => Ok(counts),
            false => Err(TopologyError { application: topology.application().to_owned(), problems }),
        }
    }

    /// Those of the library's topics follow from what flows into them, from one sub-topology to the next.
    fn settle(&mut self, topology: &Topology, made: &impl Fn(&str) -> Option<i32>) {
        let readers = topology.parts.iter().flat_map(|part| part.readers.clone()).collect();
        for _ in 0..=topology.graph.repartitions.len() {
            for part in topology.parts.iter() {
                let tasks = self.tasks(part);
                for topic in &part.repartitions {
                    let wanted = topology.graph.repartitions.get(topic).map(|it| it.partitions);
                    let count = match (made(topic), wanted) {
                        (Some(count), _) | (None, Some(Partitions::Of(count))) => count,
                        (None, Some(Partitions::As(vertex))) => {
                            let topics = topics_before(&topology.graph, vertex, &readers);
                            topics.iter().map(|topic| self.of(topic)).max().unwrap_or(1)
                        }
                        (None, Some(Partitions::AsWriters) | None) => tasks.max(self.of(topic)).max(1),
                    };
                    self.0.insert(Arc::clone(topic), count);
                }
            }
        }
    }

    /// What has to be cut alike and is not.
    fn differing(&self, part: &Part) -> Vec<String> {
        let differ = part.copartitioned.iter().filter_map(|topics| {
            let counts: Vec<_> = topics.iter().map(|topic| (topic.as_ref(), self.of(topic))).collect();
            let first = counts.first()?.1;
            let says = |(topic, count): &(&str, i32)| format!("{topic:?} has {count}");
            (!counts.iter().all(|(_, count)| *count == first)).then(|| {
                let each: Vec<_> = counts.iter().map(says).collect();
                let text = "topics that are joined must have as many partitions as one another";
                format!("{text}: {}; put the stream of one through repartition()", each.join(", "))
            })
        });
        differ.collect()
    }

    /// The partitions of a topic; 0 where it is not of this topology.
    pub(crate) fn of(&self, topic: &str) -> i32 {
        self.0.get(topic).copied().unwrap_or(0)
    }

    /// How many tasks a sub-topology has.
    pub(crate) fn tasks(&self, part: &Part) -> i32 {
        part.sources.iter().map(|topic| self.of(topic)).max().unwrap_or(0)
    }
}

//! Which tasks there are, and who tells each of time.

use super::super::graph::{PartitionCounts, Topology};
use super::super::time::InputId;
use super::TaskId;

/// The tasks of a topology.
pub(crate) fn tasks_of(topology: &Topology, counts: &PartitionCounts) -> Vec<TaskId> {
    let parts = topology.parts.iter().enumerate();
    let of_part = |(part, it)| (0..counts.tasks(it)).map(move |partition| TaskId { part, partition });
    parts.flat_map(of_part).collect()
}

/// The inputs of a task: its partition of each user's topic, and who writes into its partition of each of the library's.
pub(crate) fn inputs_of(topology: &Topology, counts: &PartitionCounts, id: TaskId) -> Vec<InputId> {
    let Some(part) = topology.parts.get(id.part) else { return Vec::new() };
    let mut inputs = Vec::new();
    for (topic, name) in part.sources.iter().enumerate() {
        if counts.of(name) <= id.partition {
            continue;
        }
        if !topology.graph.repartitions.contains_key(name) {
            inputs.push((topic, -1, -1));
            continue;
        }
        for (number, upstream) in topology.parts.iter().enumerate() {
            if upstream.repartitions.contains(name) {
                let number = i32::try_from(number).unwrap_or(i32::MAX);
                inputs.extend((0..counts.tasks(upstream)).map(|task| (topic, number, task)));
            }
        }
    }
    inputs
}

//! The end of a test's input.

use std::collections::BTreeSet;
use std::sync::Arc;

use super::super::control::Control;
use super::super::graph::{Part, Role, Vertex};
use super::super::time::END_MS;
use super::{DriverError, TopologyDriver};

impl TopologyDriver {
    /// No more comes from any topic of the user's: all windows close. A topic that the topology itself writes ends when who
    /// writes it has come to its end.
    pub fn end(&mut self) -> Result<(), DriverError> {
        let mut left: BTreeSet<Arc<str>> =
            self.topology.parts.iter().flat_map(|part| part.sources.clone()).collect();
        left.retain(|topic| !self.topology.graph.repartitions.contains_key(topic));
        while !left.is_empty() {
            self.commit()?;
            let ready: BTreeSet<_> = left.iter().filter(|topic| self.has_ended(topic)).cloned().collect();
            // Those that wait for one another end together.
            let ending = if ready.is_empty() { left.clone() } else { ready };
            left.retain(|topic| !ending.contains(topic));
            for topic in ending {
                self.append_control(&topic, Control::End);
            }
        }
        self.commit()
    }

    /// Whether all tasks that write a topic have come to their end.
    fn has_ended(&self, topic: &Arc<str>) -> bool {
        let is_sink = |vertex: &Vertex| matches!(&vertex.role, Role::Sink { topic: other } if other == topic);
        let writes = |part: &Part| {
            let mut vertices = part.vertices.iter().filter_map(|id| self.topology.graph.vertices.get(id.0));
            vertices.any(is_sink)
        };
        let mut tasks = self.tasks.iter();
        tasks.all(|(id, running)| {
            running.task.time_ms() == END_MS || !self.topology.parts.get(id.part).is_some_and(writes)
        })
    }
}

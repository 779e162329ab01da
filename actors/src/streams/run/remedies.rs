//! What is done about records that cannot be processed and had changed something: the transaction is done again, with care or
//! without them.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use super::super::scope::StreamError;
use super::super::task::{Remedy, Task, TaskId};

/// What the next tasks are told before they begin. Topics go by name: their places may be others then.
#[derive(Clone, Debug, Default)]
pub(super) struct Remedies(BTreeMap<TaskId, Remedied>);

#[derive(Clone, Debug, Default)]
struct Remedied {
    is_careful: bool,
    left_out: BTreeMap<(Arc<str>, i64), StreamError>,
}

impl Remedies {
    /// A task found what there is to be done; `topics` are those that it reads.
    pub(super) fn add(&mut self, task: TaskId, topics: &[Arc<str>], remedy: Remedy) {
        let remedied = self.0.entry(task).or_default();
        match remedy {
            Remedy::Careful => remedied.is_careful = true,
            Remedy::LeaveOut { topic, offset, reason } => {
                if let Some(name) = topics.get(topic) {
                    remedied.left_out.insert((Arc::clone(name), offset), reason);
                }
            }
        }
    }

    /// Tells a task, which begins at these offsets of its topics.
    pub(super) fn tell(&self, task: &mut Task, positions: &BTreeMap<usize, i64>) {
        let Some(remedied) = self.0.get(&task.id()) else { return };
        task.be_careful(remedied.is_careful);
        for (topic, name) in task.topics().to_vec().iter().enumerate() {
            let next = positions.get(&topic).copied().unwrap_or(0);
            let from = (Arc::clone(name), next);
            let of_topic = remedied.left_out.range(from..).take_while(|((of, _), _)| of == name);
            for ((_, offset), reason) in of_topic {
                task.leave_out(topic, *offset, reason.clone());
            }
        }
    }

    /// A commit was made: what was done with care counts, and records that were left out do not come again. Others do. A task that
    /// had done nothing yet is still to be careful.
    pub(super) fn committed(
        &mut self,
        worked: &BTreeSet<TaskId>,
        is_behind: impl Fn(TaskId, &str, i64) -> bool,
    ) {
        self.0.retain(|task, remedied| {
            remedied.is_careful &= !worked.contains(task);
            remedied.left_out.retain(|(topic, offset), _| !is_behind(*task, topic, *offset));
            remedied.is_careful || !remedied.left_out.is_empty()
        });
    }
}

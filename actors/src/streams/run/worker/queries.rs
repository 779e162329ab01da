//! Questions to the stores of a task, answered between its steps.

use super::Working;
use crate::streams::query::{Asked, Form, StoreAnswered};

/// Which store of the task is asked.
#[derive(Clone, Copy, Debug)]
pub(in super::super) struct AtStore {
    pub(in super::super) place: usize,
    pub(in super::super) form: Form,
    /// The next partition of the store that can be asked for.
    pub(in super::super) next_partition: Option<i32>,
}

impl Working {
    pub(super) fn answer(&self, asked: Asked, at: AtStore) {
        let page = self.of.task.ask(at.place, at.form, &asked.query);
        let (partition, next_partition) = (self.id.partition, at.next_partition);
        let sealed = page.and_then(|page| page.sealed());
        asked.answer(sealed.map(|body| StoreAnswered { partition, next_partition, body }));
    }
}

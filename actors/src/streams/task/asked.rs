//! What the stores of a task answer to questions.

use super::Task;
use crate::streams::query::message::StorePage;
use crate::streams::query::{Form, QueryRefusal, StoreQuery, View, read};

impl Task {
    /// What one of its stores answers to a question.
    pub(crate) fn ask(
        &self,
        place: usize,
        form: Form,
        query: &StoreQuery,
    ) -> Result<StorePage, QueryRefusal> {
        let store = self.scope.store(place).map_err(|error| QueryRefusal::Failed(error.to_string()))?;
        let view = if query.is_uncommitted { View::Written(store) } else { View::Committed(store.base()) };
        read(view, form, &[], query)
    }
}

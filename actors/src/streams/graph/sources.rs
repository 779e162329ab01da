//! Tables that are read from topics: how those stand in for their changelogs, and where they cannot.

use std::sync::Arc;

use bytes::Bytes;

use super::super::operator::guarded;
use super::super::poison::Poison;
use super::super::scope::StreamError;
use super::{Changelog, Graph, StoreId, StoreSpec};

/// Makes of a record's key and value those of a table's store, which is restored from the table's source.
pub(crate) type FromSource =
    Arc<dyn Fn(&Bytes, Option<&Bytes>) -> Result<(Bytes, Option<Bytes>), StreamError> + Send + Sync>;

impl Graph {
    /// How a record of a topic that is the changelog of a store lies in the store.
    pub(crate) fn lies_in(
        &self,
        store: StoreId,
        key: &Bytes,
        value: Option<&Bytes>,
    ) -> Result<(Bytes, Option<Bytes>), StreamError> {
        match self.from_sources.get(&store) {
            Some(from_source) => guarded(|| from_source(key, value)),
            None => Ok((key.clone(), value.cloned())),
        }
    }

    /// Where records may be left out, the topic of a table does not hold the same as the table: it has those records, and once
    /// it is compacted it lacks what they took the place of. So each table has a changelog of its own there.
    pub(super) fn part_tables_from_sources(&mut self) {
        if self.poison == Poison::Fail {
            return;
        }
        for number in 0..self.stores.len() {
            let Some(StoreSpec { name, changelog: Changelog::Source(source), .. }) = self.stores.get(number)
            else {
                continue;
            };
            let (source, own) = (Arc::clone(source), self.internal_topic(name, "changelog"));
            if let Some(store) = self.stores.get_mut(number) {
                store.changelog = Changelog::Topic(Arc::clone(&own));
            }
            self.beside_sources.insert(own, source);
        }
        self.from_sources.clear();
    }
}

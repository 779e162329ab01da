//! What a test sees of stores of windows.

use super::super::codec::Coded;
use super::super::graph::StoreId;
use super::super::store::Windows;
use super::super::window::Window;
use super::{DriverError, TopologyDriver};

impl TopologyDriver {
    /// The windows that a store has of a key and that begin between two times (milliseconds since 1970, both included), in
    /// order, what is not committed included; of sessions those that have a time between them.
    pub fn windows<K: Coded, V: Coded>(
        &self,
        store: &str,
        key: &K,
        between_ms: (i64, i64),
    ) -> Result<Vec<(Window, V)>, DriverError> {
        let unknown = || DriverError::Unknown(format!("store {store:?} of windows"));
        let number = self.topology.graph.stores.iter().position(|spec| spec.name.as_ref() == store);
        let number = number.ok_or_else(unknown)?;
        let shape = self.topology.graph.windows.get(&StoreId(number)).ok_or_else(unknown)?;
        let mut all = Vec::new();
        for (id, running) in &self.tasks {
            let part = self.topology.parts.get(id.part);
            let Some(place) = part.and_then(|part| part.stores.iter().position(|it| it.0 == number)) else {
                continue;
            };
            let view = Windows::new(place, *shape, K::codec(), V::codec());
            all.extend(view.of_key(running.task.scope(), key, between_ms, usize::MAX)?);
        }
        Ok(all)
    }
}

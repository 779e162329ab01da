//! What a test sees of stores of windows.

use super::super::codec::Coded;
use super::super::graph::StoreId;
use super::super::query::message::{BYTES_MAX, ENTRIES_MAX};
use super::super::query::{Form, StoreAsk, StoreQuery};
use super::super::scope::StreamError;
use super::super::window::Window;
use super::{DriverError, TopologyDriver};

impl TopologyDriver {
    /// The windows that a store has of a key and that begin between two times (milliseconds since 1970, both included), in
    /// order, what is not committed included; of sessions those that have a time between them.
    pub fn windows<K: Coded, V: Coded>(
        &self,
        store: &str,
        key: &K,
        (from_ms, to_ms): (i64, i64),
    ) -> Result<Vec<(Window, V)>, DriverError> {
        let unknown = || DriverError::Unknown(format!("store {store:?} of windows"));
        let number = self.topology.graph.stores.iter().position(|spec| spec.name.as_ref() == store);
        let number = number.ok_or_else(unknown)?;
        let shape = self.topology.graph.windows.get(&StoreId(number)).ok_or_else(unknown)?;
        let key = K::codec().encode(key).map_err(StreamError::from)?.ok_or(StreamError::NoKey)?;
        let mut query = StoreQuery {
            store: store.to_owned(),
            partition: None,
            ask: StoreAsk::Fetch { key, from_ms, to_ms },
            is_uncommitted: true,
            allows_standby: false,
            after: None,
            entries_max: ENTRIES_MAX,
            bytes_max: BYTES_MAX,
        };
        let (value, mut all) = (V::codec(), Vec::new());
        for (id, running) in &self.tasks {
            let part = self.topology.parts.get(id.part);
            let Some(place) = part.and_then(|part| part.stores.iter().position(|it| it.0 == number)) else {
                continue;
            };
            loop {
                let page = running.task.ask(place, Form::Windows(*shape), &query);
                let page = page.map_err(|refusal| StreamError::Failed(refusal.to_string()))?;
                for entry in page.entries {
                    let (start_ms, end_ms) = entry.window_ms.unwrap_or_default();
                    let value = value.decode(entry.value.as_ref()).map_err(StreamError::State)?;
                    all.push((Window { start_ms, end_ms }, value));
                }
                query.after = page.next;
                if query.after.is_none() {
                    break;
                }
            }
        }
        Ok(all)
    }
}

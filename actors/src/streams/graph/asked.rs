//! Which stores of a topology can be asked.

use std::sync::Arc;

use super::{Graph, StoreId};
use crate::streams::codec::SharedCodec;
use crate::streams::event::Data;
use crate::streams::query::Forms;
use crate::streams::store::Stored;

impl Graph {
    /// A store of an operator of this name that can be asked: see [`Self::add_kept`].
    pub(crate) fn add_stored<K: Data, V: Data>(
        &mut self,
        stored: &Stored<K, V>,
        retention_ms: Option<i64>,
    ) -> StoreId {
        self.can_be_asked(&stored.name, &stored.key, &stored.value);
        self.add_kept((&stored.name, stored.is_logged), retention_ms)
    }

    /// The store or global table of this name has keys and values in these forms.
    pub(crate) fn can_be_asked<K: Data, V: Data>(
        &mut self,
        name: &str,
        key: &SharedCodec<K>,
        value: &SharedCodec<V>,
    ) {
        self.forms.insert(Arc::from(name), Forms::new(key, value));
    }
}

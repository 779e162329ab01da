//! Which store is meant by a name, and what it holds.

use std::any::{Any, type_name};
use std::sync::Arc;

use super::{Form, QueryRefusal};
use crate::streams::codec::SharedCodec;
use crate::streams::event::Data;
use crate::streams::global::GlobalId;
use crate::streams::graph::{Changelog, PartitionCounts, StoreId, Topology};

/// The forms of a store's keys and values, of any types.
#[derive(Clone)]
pub(crate) struct Forms {
    codecs: Arc<dyn Any + Send + Sync>,
    types: (&'static str, &'static str),
}

impl Forms {
    pub(crate) fn new<K: Data, V: Data>(key: &SharedCodec<K>, value: &SharedCodec<V>) -> Self {
        let codecs = Arc::new((Arc::clone(key), Arc::clone(value)));
        Self { codecs, types: (type_name::<K>(), type_name::<V>()) }
    }

    /// The codecs, where these are the types.
    pub(crate) fn codecs<K: Data, V: Data>(
        &self,
        store: &str,
    ) -> Result<(SharedCodec<K>, SharedCodec<V>), QueryRefusal> {
        let codecs = self.codecs.downcast_ref::<(SharedCodec<K>, SharedCodec<V>)>();
        codecs.cloned().ok_or_else(|| {
            let ((key, value), asked) = (self.types, (type_name::<K>(), type_name::<V>()));
            let text = format!(
                "{store:?} has keys of {key} and values of {value}, and was asked for {} and {}",
                asked.0, asked.1
            );
            QueryRefusal::WrongType(text)
        })
    }
}

/// Where a store of a topology is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Place {
    /// In each task of a sub-topology.
    Tasks { part: usize, place: usize, form: Form, partitions: i32 },
    /// In every process, whole.
    Global(GlobalId),
}

/// Finds a store that can be asked by its name.
pub(crate) fn find(topology: &Topology, counts: &PartitionCounts, name: &str) -> Result<Place, QueryRefusal> {
    let graph = &topology.graph;
    if let Some(number) = graph.globals.iter().position(|global| global.name.as_ref() == name) {
        return Ok(Place::Global(GlobalId(number)));
    }
    let unknown = |text: &str| QueryRefusal::UnknownStore(format!("{} {text} {name:?}", graph.application));
    let number = graph.stores.iter().position(|store| store.name.as_ref() == name);
    let number = number.ok_or_else(|| unknown("has no store"))?;
    if !graph.forms.contains_key(name) {
        return Err(unknown("has no store that can be asked, but one of an operator's own,"));
    }
    let store = StoreId(number);
    let found = topology.parts.iter().enumerate().find_map(|(part, known)| {
        Some((part, known, known.stores.iter().position(|other| *other == store)?))
    });
    let (part, known, place) = found.ok_or_else(|| unknown("has no task with a store"))?;
    let partitions = match graph.stores.get(number).map(|spec| &spec.changelog) {
        Some(Changelog::Source(topic)) => counts.of(topic),
        _ => counts.tasks(known),
    };
    let form = Form::of(graph.windows.get(&store).copied());
    Ok(Place::Tasks { part, place, form, partitions })
}

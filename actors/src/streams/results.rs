//! How an aggregate's results go downstream: each at once, or those of a key together, when a commit comes or there are too
//! many.

#[cfg(test)]
mod tests;

use std::collections::BTreeMap;

use bytes::Bytes;

use super::event::{Change, Data, Event};
use super::operator::{Outcome, Outlet};
use super::scope::{Scope, StreamError};
use super::store::KeyValue;

/// What a result that is held back costs beside its bytes.
const HELD_BYTES: usize = 128;

/// Where results go.
pub(crate) struct Results<K, V> {
    outlet: Outlet<K, Change<V>>,
    held: Option<HeldBack<K, V>>,
    /// Whether somebody behind goes by stream time: nothing is held back while it passes.
    is_time_seen: bool,
}

struct HeldBack<K, V> {
    results: BTreeMap<Bytes, Held<K, V>>,
    bytes: usize,
    bytes_max: usize,
}

struct Held<K, V> {
    key: K,
    /// What it is now, and what was last sent.
    change: Change<V>,
    timestamp_ms: i64,
    bytes: usize,
}

impl<K: Data, V: Data> Results<K, V> {
    /// At once, or held back in so many bytes.
    pub(crate) const fn new(
        outlet: Outlet<K, Change<V>>,
        bytes_max: Option<usize>,
        is_time_seen: bool,
    ) -> Self {
        let held = match bytes_max {
            Some(bytes_max) => Some(HeldBack { results: BTreeMap::new(), bytes: 0, bytes_max }),
            None => None,
        };
        Self { outlet, held, is_time_seen }
    }

    pub(crate) const fn holds_back(&self) -> bool {
        self.held.is_some()
    }

    /// Puts what `fold` makes of the value of a key into the store, and gives it on. What is held back need not be read.
    pub(crate) fn update<S>(
        &mut self,
        scope: &mut Scope,
        state: &KeyValue<S, V>,
        at: Bytes,
        (key, timestamp_ms): (K, i64),
        fold: impl FnOnce(&K, Option<V>) -> V,
    ) -> Outcome {
        scope.touch();
        let held = self.held.as_mut();
        if let Some((held, bytes)) = held.and_then(|held| Some((held.results.get_mut(&at)?, &mut held.bytes)))
        {
            let new = fold(&key, held.change.new.take());
            let cost = cost(&at, state.write(scope, at.clone(), Some(&new))?);
            *bytes = bytes.saturating_sub(held.bytes).saturating_add(cost);
            held.bytes = cost;
            held.change.new = Some(new);
            held.timestamp_ms = held.timestamp_ms.max(timestamp_ms);
            return self.check(scope);
        }
        let old = state.get_at(scope, &at)?;
        let new = fold(&key, old.clone());
        let at_hand = self.holds_back().then(|| at.clone());
        let written = state.write(scope, at, Some(&new))?;
        let event = Event { key, value: Change { new: Some(new), old }, timestamp_ms };
        match at_hand {
            Some(at) => self.set(scope, at, event, written),
            None => self.outlet.give(event, scope),
        }
    }

    /// Gives a change on that is in the store, where it has so many bytes.
    pub(crate) fn set(
        &mut self,
        scope: &mut Scope,
        at: Bytes,
        event: Event<K, Change<V>>,
        written: usize,
    ) -> Outcome {
        scope.touch();
        let Some(held) = &mut self.held else { return self.outlet.give(event, scope) };
        let Event { key, value: change, timestamp_ms } = event;
        let bytes = cost(&at, written);
        held.bytes = held.bytes.saturating_add(bytes);
        if let Some(before) = held.results.get_mut(&at) {
            held.bytes = held.bytes.saturating_sub(before.bytes);
            before.bytes = bytes;
            before.change.new = change.new;
            before.timestamp_ms = before.timestamp_ms.max(timestamp_ms);
        } else {
            held.results.insert(at, Held { key, change, timestamp_ms, bytes });
        }
        self.check(scope)
    }

    fn check(&mut self, scope: &mut Scope) -> Outcome {
        match &self.held {
            Some(held) if held.bytes > held.bytes_max => self.flush(scope),
            _ => Ok(()),
        }
    }

    /// Stream time goes on: sends what is held back, where somebody goes by it.
    pub(crate) fn time_passed(&mut self, scope: &mut Scope) -> Outcome {
        match self.is_time_seen {
            true => self.flush(scope),
            false => Ok(()),
        }
    }

    /// Sends what is held back, in the order of the store's keys.
    pub(crate) fn flush(&mut self, scope: &mut Scope) -> Outcome {
        let Some(held) = &mut self.held else { return Ok(()) };
        held.bytes = 0;
        for held in std::mem::take(&mut held.results).into_values() {
            // What came and went in between was never seen downstream.
            if held.change.new.is_some() || held.change.old.is_some() {
                let Held { key, change: value, timestamp_ms, .. } = held;
                self.outlet.give(Event { key, value, timestamp_ms }, scope)?;
            }
        }
        Ok(())
    }

    /// Sends one result at once; nothing of its key is held back.
    pub(crate) fn give(&self, event: Event<K, Change<V>>, scope: &mut Scope) -> Result<(), StreamError> {
        self.outlet.give(event, scope)
    }
}

const fn cost(at: &Bytes, written: usize) -> usize {
    at.len().saturating_add(written).saturating_add(HELD_BYTES)
}

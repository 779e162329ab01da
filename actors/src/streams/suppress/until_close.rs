//! Results of windows that wait until the window has closed: in the order in which windows end, so that those that are due
//! are the first.

use std::sync::Arc;

use bytes::Bytes;

use super::super::codec::SharedCodec;
use super::super::event::{Change, Data, Event};
use super::super::operator::{Hook, Outcome, Outlet, Receive};
use super::super::scope::{Scope, StreamError};
use super::super::store::layout::{ordered, time_of};
use super::super::store::{KeyValue, Stored};
use super::super::table::Get;
use super::super::time::{SeenTime, behind_ms};
use super::super::window::{Closed, Closes, TimeFirst, Window, Windowed, send_all};

/// Where results wait: `end ++ start ++ key`.
struct Waiting<K, V> {
    key: SharedCodec<K>,
    value: SharedCodec<V>,
    state: KeyValue<K, V>,
}

impl<K: Data, V: Data> Waiting<K, V> {
    fn new(place: usize, stored: &Stored<K, V>) -> Self {
        let (key, value) = (Arc::clone(&stored.key), Arc::clone(&stored.value));
        Self { key: Arc::clone(&key), value: Arc::clone(&value), state: KeyValue::new(place, key, value) }
    }

    fn at(&self, windowed: &Windowed<K>) -> Result<Bytes, StreamError> {
        let key = self.state.key(&windowed.key)?;
        let Window { start_ms, end_ms } = windowed.window;
        Ok([&ordered(end_ms)[..], &ordered(start_ms), &key].concat().into())
    }

    fn entry(&self, at: &Bytes, value: &Bytes) -> Result<(Windowed<K>, V), StreamError> {
        let window = Window { start_ms: time_of(at.get(8..).unwrap_or_default())?, end_ms: time_of(at)? };
        let key = self.key.decode(Some(&at.slice(16..)))?;
        Ok((Windowed { key, window }, self.value.decode(Some(value))?))
    }
}

/// Holds results of windows back until they are final.
pub(super) struct UntilClose<K, V> {
    closes: Closes,
    waiting: Waiting<K, V>,
    closed: Closed,
    due: TimeFirst,
    outlet: Outlet<Windowed<K>, Change<V>>,
}

impl<K: Data, V: Data> UntilClose<K, V> {
    pub(super) fn new(
        place: usize,
        stored: &Stored<K, V>,
        (closes, time): (Closes, SeenTime),
        outlet: Outlet<Windowed<K>, Change<V>>,
    ) -> Self {
        let waiting = Waiting::new(place, stored);
        let due = TimeFirst::new(place, closes.after_ms, closes.after_ms);
        Self { closes, waiting, closed: Closed::new(place, time), due, outlet }
    }

    fn send(&self, windowed: Windowed<K>, value: V, scope: &mut Scope) -> Outcome {
        let end_ms = windowed.window.end_ms;
        let timestamp_ms = if self.closes.holds_end { end_ms } else { end_ms.saturating_sub(1) };
        let value = Change { new: Some(value), old: None };
        self.outlet.give(Event { key: windowed, value, timestamp_ms }, scope)
    }

    fn send_due(&mut self, scope: &mut Scope) -> Result<usize, StreamError> {
        let due = self.due.take_due(scope, &self.closed)?;
        for (at, value) in &due {
            let (windowed, value) = self.waiting.entry(at, value)?;
            self.send(windowed, value, scope)?;
        }
        Ok(due.len())
    }

    fn close(&mut self, scope: &mut Scope) -> Outcome {
        let now_ms = self.closed.pass(scope);
        send_all(|| self.send_due(scope))?;
        self.due.forget(scope, now_ms)
    }
}

impl<K: Data, V: Data> Receive<Windowed<K>, Change<V>> for UntilClose<K, V> {
    fn receive(&mut self, event: Event<Windowed<K>, Change<V>>, scope: &mut Scope) -> Outcome {
        scope.touch();
        let Event { key: windowed, value: change, .. } = event;
        let at = self.waiting.at(&windowed)?;
        if !self.due.has_passed(&self.closed, &at) {
            return self.waiting.state.put_at(scope, at, change.new.as_ref());
        }
        // Final already: its window closed before its aggregate came to send it.
        change.new.map_or(Ok(()), |value| self.send(windowed, value, scope))
    }
}

impl<K: Data, V: Data> Hook for UntilClose<K, V> {
    fn begin(&mut self, scope: &mut Scope) -> Outcome {
        self.closed.begin(scope)?;
        self.close(scope)
    }

    fn time_passed(&mut self, scope: &mut Scope) -> Outcome {
        self.close(scope)
    }

    fn flush(&mut self, scope: &mut Scope) -> Outcome {
        self.closed.note(scope)
    }
}

/// Looks up what was sent.
pub(super) struct BufferedWindows<K, V> {
    closes: Closes,
    lag_ms: i64,
    waiting: Waiting<K, V>,
    source: Box<dyn Get<Windowed<K>, V>>,
}

impl<K: Data, V: Data> BufferedWindows<K, V> {
    pub(super) fn new(
        place: usize,
        stored: &Stored<K, V>,
        (closes, lag_ms): (Closes, i64),
        source: Box<dyn Get<Windowed<K>, V>>,
    ) -> Self {
        Self { closes, lag_ms, waiting: Waiting::new(place, stored), source }
    }
}

impl<K: Data, V: Data> Get<Windowed<K>, V> for BufferedWindows<K, V> {
    fn get(&self, scope: &Scope, key: &Windowed<K>) -> Result<Option<V>, StreamError> {
        // What was sent may still lie where it waited.
        let is_open = {
            let closes_ms = key.window.end_ms.saturating_add(self.closes.after_ms);
            closes_ms > behind_ms(scope.time_ms, self.lag_ms)
        };
        if is_open && self.waiting.state.get_at(scope, &self.waiting.at(key)?)?.is_some() {
            return Ok(None);
        }
        self.source.get(scope, key)
    }
}

//! Changes of keys that wait for a time: at most so many, all of them in memory, and in a store to begin again from.

use std::collections::{BTreeMap, BTreeSet};
use std::ops::Bound;
use std::sync::Arc;

use bytes::Bytes;

use super::super::codec::{CodecError, SharedCodec};
use super::super::event::{Change, Data, Event};
use super::super::operator::{Hook, Outcome, Outlet, Receive};
use super::super::scope::{Scope, StreamError};
use super::super::store::Stored;
use super::super::store::layout::{ordered, time_of};
use super::super::table::Get;
use super::super::time::SeenTime;
use super::Buffer;

/// The form of what waits. Others may follow.
const VERSION: u8 = 0;

/// Of a value that may be there: it is not; it is, and is written as none; it is, behind its length.
const ABSENT: u8 = 0;
const EMPTY: u8 = 1;
const PRESENT: u8 = 2;

/// Entries that are read at once when a task begins.
const CHUNK: usize = 256;

/// What waits beside its bytes costs this.
const WAITING_BYTES: usize = 128;

/// How a change waits in the store: `version ++ since ++ time ++ new ++ old`.
struct Form<K, V> {
    place: usize,
    key: SharedCodec<K>,
    value: SharedCodec<V>,
}

impl<K: Data, V: Data> Form<K, V> {
    fn new(place: usize, stored: &Stored<K, V>) -> Self {
        Self { place, key: Arc::clone(&stored.key), value: Arc::clone(&stored.value) }
    }

    fn key(&self, key: &K) -> Result<Bytes, StreamError> {
        self.key.encode(key)?.ok_or(StreamError::NoKey)
    }

    fn encode(&self, waiting: &Waiting<K, V>) -> Result<Bytes, StreamError> {
        let mut bytes = vec![VERSION];
        bytes.extend_from_slice(&ordered(waiting.since_ms));
        bytes.extend_from_slice(&ordered(waiting.timestamp_ms));
        for value in [&waiting.change.new, &waiting.change.old] {
            match value.as_ref().map(|value| self.value.encode(value)).transpose()? {
                None => bytes.push(ABSENT),
                Some(None) => bytes.push(EMPTY),
                Some(Some(value)) => {
                    let length =
                        u32::try_from(value.len()).map_err(|_| CodecError::new("a value of 4 GiB"))?;
                    bytes.push(PRESENT);
                    bytes.extend_from_slice(&length.to_be_bytes());
                    bytes.extend_from_slice(&value);
                }
            }
        }
        Ok(bytes.into())
    }

    fn decode(&self, key: &Bytes, bytes: &Bytes) -> Result<Waiting<K, V>, StreamError> {
        if bytes.first() != Some(&VERSION) {
            return Err(StreamError::Codec(CodecError::new(
                "a change that waits is of a form not known here",
            )));
        }
        let since_ms = time_of(bytes.get(1..).unwrap_or_default())?;
        let timestamp_ms = time_of(bytes.get(9..).unwrap_or_default())?;
        let (new, rest) = self.value(&bytes.slice(17..))?;
        let (old, _) = self.value(&rest)?;
        let key = self.key.decode(Some(key))?;
        let change = Change { new, old };
        Ok(Waiting { key, change, since_ms, timestamp_ms, bytes: 0 })
    }

    fn value(&self, bytes: &Bytes) -> Result<(Option<V>, Bytes), StreamError> {
        let short = || CodecError::new("a change that waits is cut off");
        let (tag, rest) = bytes.split_first().ok_or_else(short)?;
        match *tag {
            ABSENT => Ok((None, bytes.slice(1..))),
            EMPTY => Ok((Some(self.value.decode(None)?), bytes.slice(1..))),
            _ => {
                let length = u32::from_be_bytes(*rest.first_chunk().ok_or_else(short)?);
                let end = usize::try_from(length).ok().and_then(|length| length.checked_add(5));
                let end = end.filter(|end| *end <= bytes.len()).ok_or_else(short)?;
                Ok((Some(self.value.decode(Some(&bytes.slice(5..end)))?), bytes.slice(end..)))
            }
        }
    }
}

/// A key whose change waits.
struct Waiting<K, V> {
    key: K,
    /// What it is now, and what was last sent.
    change: Change<V>,
    /// The time of the first change that waits.
    since_ms: i64,
    timestamp_ms: i64,
    bytes: usize,
}

/// Holds changes back for a time.
pub(super) struct UntilLimit<K, V> {
    form: Form<K, V>,
    limit_ms: i64,
    buffer: Buffer,
    outlet: Outlet<K, Change<V>>,
    time: SeenTime,
    /// Not known before the store was looked at.
    waiting: Option<BTreeMap<Bytes, Waiting<K, V>>>,
    order: BTreeSet<(i64, Bytes)>,
    bytes: usize,
}

impl<K: Data, V: Data> UntilLimit<K, V> {
    pub(super) fn new(
        place: usize,
        stored: &Stored<K, V>,
        (limit_ms, buffer): (i64, Buffer),
        (outlet, time): (Outlet<K, Change<V>>, SeenTime),
    ) -> Self {
        let (form, order) = (Form::new(place, stored), BTreeSet::new());
        Self { form, limit_ms, buffer, outlet, time, waiting: None, order, bytes: 0 }
    }

    /// What waits; the first time, of what was committed.
    fn waiting(&mut self, scope: &Scope) -> Result<&mut BTreeMap<Bytes, Waiting<K, V>>, StreamError> {
        if self.waiting.is_none() {
            let (mut all, store) = (BTreeMap::new(), scope.store(self.form.place)?);
            let mut from = Bound::Unbounded;
            loop {
                let page = store.scan(from.as_ref().map(AsRef::<[u8]>::as_ref), Bound::Unbounded, CHUNK)?;
                let is_last = page.len() < CHUNK;
                if let Some((last, _)) = page.last() {
                    from = Bound::Excluded(last.clone());
                }
                for (at, value) in page {
                    let mut waiting = self.form.decode(&at, &value)?;
                    waiting.bytes = cost(&at, &value);
                    self.bytes = self.bytes.saturating_add(waiting.bytes);
                    self.order.insert((waiting.since_ms, at.clone()));
                    all.insert(at, waiting);
                }
                if is_last {
                    break;
                }
            }
            self.waiting = Some(all);
        }
        Ok(self.waiting.get_or_insert_default())
    }

    /// Takes a key out.
    fn take(&mut self, scope: &mut Scope, at: &Bytes) -> Result<Option<Waiting<K, V>>, StreamError> {
        let Some(waiting) = self.waiting(scope)?.remove(at) else { return Ok(None) };
        self.order.remove(&(waiting.since_ms, at.clone()));
        self.bytes = self.bytes.saturating_sub(waiting.bytes);
        scope.store_mut(self.form.place)?.put(at.clone(), None);
        Ok(Some(waiting))
    }

    /// Sends the key that has waited longest.
    fn send_first(&mut self, scope: &mut Scope) -> Outcome {
        let Some((_, at)) = self.order.first().cloned() else { return Ok(()) };
        let Some(Waiting { key, change: value, timestamp_ms, .. }) = self.take(scope, &at)? else {
            return Ok(());
        };
        self.outlet.give(Event { key, value, timestamp_ms }, scope)
    }

    fn send_due(&mut self, scope: &mut Scope) -> Outcome {
        self.waiting(scope)?;
        while self
            .order
            .first()
            .is_some_and(|(since, _)| since.saturating_add(self.limit_ms) <= self.time.now_ms())
        {
            self.send_first(scope)?;
        }
        Ok(())
    }

    fn is_full(&self) -> bool {
        self.order.len() > self.buffer.records_max || self.bytes > self.buffer.bytes_max
    }
}

impl<K: Data, V: Data> Receive<K, Change<V>> for UntilLimit<K, V> {
    fn receive(&mut self, event: Event<K, Change<V>>, scope: &mut Scope) -> Outcome {
        scope.touch();
        let Event { key, value: change, timestamp_ms } = event;
        let at = self.form.key(&key)?;
        let mut waiting = Waiting { key, change, since_ms: timestamp_ms, timestamp_ms, bytes: 0 };
        if let Some(before) = self.waiting(scope)?.get_mut(&at) {
            waiting.change.old = before.change.old.take();
            waiting.since_ms = before.since_ms;
            waiting.timestamp_ms = before.timestamp_ms.max(timestamp_ms);
            let bytes = before.bytes;
            self.bytes = self.bytes.saturating_sub(bytes);
        }
        // What came and went while it waited was never seen downstream.
        if waiting.change.new.is_none() && waiting.change.old.is_none() {
            self.waiting(scope)?.remove(&at);
            self.order.remove(&(waiting.since_ms, at.clone()));
            scope.store_mut(self.form.place)?.put(at, None);
            return Ok(());
        }
        let value = self.form.encode(&waiting)?;
        waiting.bytes = cost(&at, &value);
        self.bytes = self.bytes.saturating_add(waiting.bytes);
        let is_new = self.order.insert((waiting.since_ms, at.clone()));
        let store = scope.store_mut(self.form.place)?;
        match is_new {
            true => store.put_new(at.clone(), value),
            false => store.put(at.clone(), Some(value)),
        }
        self.waiting(scope)?.insert(at, waiting);
        self.send_due(scope)?;
        while self.is_full() {
            if self.buffer.fails {
                let (records, bytes) = (self.order.len(), self.bytes);
                let text = "more than suppress may hold back; let it hold more, or send early";
                return Err(StreamError::BufferFull(format!("{records} keys of {bytes} bytes wait: {text}")));
            }
            self.send_first(scope)?;
        }
        Ok(())
    }
}

impl<K: Data, V: Data> Hook for UntilLimit<K, V> {
    fn begin(&mut self, scope: &mut Scope) -> Outcome {
        self.time.pass(scope.time_ms);
        Ok(())
    }

    fn time_passed(&mut self, scope: &mut Scope) -> Outcome {
        self.time.pass(scope.time_ms);
        self.send_due(scope)
    }
}

fn cost(at: &Bytes, value: &Bytes) -> usize {
    at.len().saturating_add(value.len()).saturating_add(WAITING_BYTES)
}

/// Looks up what was sent.
pub(super) struct BufferedKeys<K, V> {
    form: Form<K, V>,
    source: Box<dyn Get<K, V>>,
}

impl<K: Data, V: Data> BufferedKeys<K, V> {
    pub(super) fn new(place: usize, stored: &Stored<K, V>, source: Box<dyn Get<K, V>>) -> Self {
        Self { form: Form::new(place, stored), source }
    }
}

impl<K: Data, V: Data> Get<K, V> for BufferedKeys<K, V> {
    fn get(&self, scope: &Scope, key: &K) -> Result<Option<V>, StreamError> {
        let at = self.form.key(key)?;
        match scope.store(self.form.place)?.get(&at)? {
            Some(bytes) => Ok(self.form.decode(&at, &bytes)?.change.old),
            None => self.source.get(scope, key),
        }
    }
}

//! Sliding windows: one that ends with each record, and one that begins right behind it, as far as others are in it (KIP-450).
//!
//! Only aggregates are kept, no records, so that what a new window begins with comes from a neighbour. Between one window and
//! the next in a key's order no record comes or goes, as each would begin or end a window; so the last window before the one
//! that ends with the new record has all that is in that one but the new record, or nothing that is; and the last that
//! begins no later than the new record has all that comes right behind it, or nothing.
//!
//! A record counts while the window that ends with it is open; all others that it is in close later. (Kafka Streams adds a
//! later one to those of its windows that still are; results of neighbours then differ by a record that is in both.)

use std::time::Duration;

use bytes::Bytes;

use super::super::cogroup::CogroupedStream;
use super::super::event::{Change, Data, Event};
use super::super::graph::Graph;
use super::super::grouped::GroupedStream;
use super::super::operator::{Outcome, entered};
use super::super::scope::{Scope, StreamError};
use super::super::store::SlidingStore;
use super::super::store::layout::Found;
use super::aggregate::{Entrance, Fold};
use super::closed::{ByIndex, CHUNK};
use super::forms::Kind;
use super::late::no_window;
use super::output::Ends;
use super::plan::{Lengths, whole_ms, with_lengths};
use super::{TimeWindowed, TimeWindowedCogrouped, Window, Windowed, Windows, sealed, send_all};

/// Windows in which all records are of a key that are no farther apart than this: both ends belong to them.
///
/// ```
/// use std::time::Duration;
///
/// use millstream_actors::streams::window::{Emit, Sliding, Windowed};
/// use millstream_actors::streams::{StreamBuilder, TopologyDriver};
///
/// let builder = StreamBuilder::new("visits");
/// let visits = builder.stream::<String, i64>("visits").group_by_key("visits-by-page");
/// let windows = Sliding::of(Duration::from_secs(60));
/// visits.windowed_by(windows).emit(Emit::OnClose).count("counts").to_stream().to("counts");
/// let mut driver = TopologyDriver::new(&builder.build().unwrap(), 1).unwrap();
/// for at_ms in [100_000, 160_000] {
///     driver.send("visits", &"home".to_owned(), &1_i64, at_ms).unwrap();
/// }
/// driver.end().unwrap();
/// let counts = driver.read::<Windowed<String>, i64>("counts").unwrap();
/// let counts: Vec<_> = counts
///     .iter()
///     .map(|event| (event.key.window.start_ms, event.key.window.end_ms, event.value))
///     .collect();
/// assert_eq!(counts, [(40_000, 100_000, 1), (100_000, 160_000, 2), (100_001, 160_001, 1)]);
/// ```
#[derive(Clone, Copy, Debug)]
pub struct Sliding {
    difference: Duration,
    lengths: Lengths,
}

impl Sliding {
    /// Of this difference between the first time and the last; at least 1 ms, in whole milliseconds.
    #[must_use]
    pub const fn of(difference: Duration) -> Self {
        Self { difference, lengths: Lengths::NONE }
    }

    fn plan(&self, graph: &mut Graph) -> SlidingPlan {
        let difference_ms = whole_ms(graph, "time difference of windows", self.difference, 1);
        // A record is looked for in windows that begin twice the difference, and one more, before it.
        let needed_ms = difference_ms.saturating_mul(2).saturating_add(1);
        let (grace_ms, retention_ms) = self.lengths.plan(graph, needed_ms);
        SlidingPlan { difference_ms, grace_ms, retention_ms }
    }
}

with_lengths! {
    Sliding, lengths,
    /// A window stays open for so long after its end; not at all, where nothing is said.
    grace,
    /// Results stay in the store for so long after their windows began: at least twice the difference, and the grace, which
    /// is what it is where nothing is said.
    retention
}

impl sealed::Sealed for Sliding {}

impl Windows for Sliding {
    type Form<K: Data, V: Data> = TimeWindowed<K, V>;

    fn over<K: Data, V: Data>(self, grouped: &GroupedStream<K, V>) -> TimeWindowed<K, V> {
        let plan = self.plan(&mut entered(&grouped.graph));
        TimeWindowed::new(grouped, Kind::Sliding(plan))
    }

    type Cogrouped<K: Data, A: Data> = TimeWindowedCogrouped<K, A>;

    fn over_all<K: Data, A: Data>(self, streams: CogroupedStream<K, A>) -> TimeWindowedCogrouped<K, A> {
        let plan = self.plan(&mut entered(&streams.graph));
        TimeWindowedCogrouped::new(streams, Kind::Sliding(plan))
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct SlidingPlan {
    pub(super) difference_ms: i64,
    grace_ms: i64,
    pub(super) retention_ms: i64,
}

impl SlidingPlan {
    /// How long after its last time a window closes: that time belongs to it.
    pub(super) const fn closes_after_ms(self) -> i64 {
        self.grace_ms.saturating_add(1)
    }

    /// Where windows begin that hold a time or border on one that does; `None` where a bound is no number of 64 bits.
    fn near(self, time_ms: i64) -> Option<(i64, i64)> {
        let from = time_ms.checked_sub(self.difference_ms.checked_mul(2)?)?.checked_sub(1)?;
        let to = time_ms.checked_add(1)?;
        to.checked_add(self.difference_ms)?.checked_add(self.closes_after_ms())?;
        Some((from, to))
    }

    /// The window that begins here: its start was checked.
    const fn window(self, start_ms: i64) -> Window {
        Window { start_ms, end_ms: start_ms.saturating_add(self.difference_ms) }
    }
}

/// What there is around a record.
#[derive(Default)]
struct Around {
    /// The windows that it is in.
    holding: Vec<Found>,
    starts: Vec<i64>,
    /// The last window before the one that ends with it.
    before: Option<Found>,
    /// The last window that begins no later than it.
    last: Option<Found>,
    /// When the record before it was.
    previous_ms: Option<i64>,
}

/// The aggregate of sliding windows.
pub(crate) struct Slides<K, A> {
    plan: SlidingPlan,
    store: SlidingStore<K, A>,
    due: ByIndex,
    ends: Ends<K, A>,
}

/// A record that is being put into its windows.
struct Adding<'a, K> {
    key: &'a K,
    bytes: &'a [u8],
    timestamp_ms: i64,
}

impl<K: Data, A: Data> Slides<K, A> {
    pub(super) fn new(plan: SlidingPlan, store: SlidingStore<K, A>, ends: Ends<K, A>) -> Self {
        // The index is by where windows begin.
        let due = ByIndex::new(plan.difference_ms.saturating_add(plan.closes_after_ms()));
        Self { plan, store, due, ends }
    }

    pub(super) const fn ends(&mut self) -> &mut Ends<K, A> {
        &mut self.ends
    }

    fn look_around(
        &mut self,
        scope: &Scope,
        key: &[u8],
        time_ms: i64,
        near: (i64, i64),
    ) -> Result<Around, StreamError> {
        let mut around = Around::default();
        let left_ms = time_ms.saturating_sub(self.plan.difference_ms);
        let mut behind: Option<Found> = None;
        loop {
            let page = self.store.segments.page(scope, key, near, behind.as_ref(), CHUNK)?;
            let is_last = page.len() < CHUNK;
            behind = page.last().cloned();
            for found in page {
                let newest_ms = SlidingStore::<K, A>::newest_ms(&found)?;
                if newest_ms < time_ms {
                    around.previous_ms = around.previous_ms.max(Some(newest_ms));
                }
                around.starts.push(found.time_ms);
                if found.time_ms > time_ms {
                    continue;
                }
                if found.time_ms >= left_ms {
                    around.holding.push(found.clone());
                } else {
                    around.before = Some(found.clone());
                }
                around.last = Some(found);
            }
            if is_last {
                return Ok(around);
            }
        }
    }

    /// Puts a record into a window that has this value.
    fn add<V: Data>(
        &mut self,
        adding: &Adding<'_, K>,
        found: Found,
        (value, fold): (V, &Fold<K, V, A>),
        scope: &mut Scope,
    ) -> Outcome {
        let newest_ms = SlidingStore::<K, A>::newest_ms(&found)?.max(adding.timestamp_ms);
        let old = self.store.value(&found.value)?;
        if self.ends.output.is_on_close() {
            let new = fold(adding.key, value, Some(old));
            return self.store.put(scope, found.time_ms, found.at, (newest_ms, &new)).map(|_| ());
        }
        let new = fold(adding.key, value, Some(old.clone()));
        let written = self.store.put(scope, found.time_ms, found.at.clone(), (newest_ms, &new))?;
        let change = Change { new: Some(new), old: Some(old) };
        self.give(adding, (found.time_ms, found.at), change, written, scope)
    }

    /// A window that was not there.
    fn begin(
        &mut self,
        adding: &Adding<'_, K>,
        start_ms: i64,
        (newest_ms, new): (i64, A),
        scope: &mut Scope,
    ) -> Outcome {
        let at = self.store.at(adding.bytes, start_ms);
        let written = self.store.put(scope, start_ms, at.clone(), (newest_ms, &new))?;
        if self.ends.output.is_on_close() {
            let index = self.store.segments.index_at(start_ms, adding.bytes);
            return self.store.segments.put_new(scope, start_ms, index, Bytes::new());
        }
        self.give(adding, (start_ms, at), Change { new: Some(new), old: None }, written, scope)
    }

    fn give(
        &mut self,
        adding: &Adding<'_, K>,
        (start_ms, at): (i64, Bytes),
        value: Change<A>,
        written: usize,
        scope: &mut Scope,
    ) -> Outcome {
        let window = self.plan.window(start_ms);
        let key = Windowed { key: adding.key.clone(), window };
        let event = Event { key, value, timestamp_ms: adding.timestamp_ms };
        self.ends.output.set(scope, at, event, written)
    }

    /// Sends what has closed, and forgets what is no longer kept.
    pub(super) fn close(&mut self, scope: &mut Scope) -> Outcome {
        let now_ms = self.ends.closed.pass(scope);
        self.ends.output.time_passed(scope)?;
        if self.ends.output.is_on_close() {
            send_all(|| self.send_due(scope))?;
        }
        self.store.segments.raise_floor(scope, now_ms.saturating_sub(self.plan.retention_ms))
    }

    fn send_due(&mut self, scope: &mut Scope) -> Result<usize, StreamError> {
        let due = self.due.take_due(scope, &mut self.store.segments, &self.ends.closed)?;
        due.iter().try_for_each(|found| self.send(found, scope))?;
        Ok(due.len())
    }

    fn send(&self, due: &Found, scope: &mut Scope) -> Outcome {
        let at = self.store.at(&due.tail, due.time_ms);
        let Some(value) = self.store.segments.get(scope, &at)? else { return Ok(()) };
        let (key, value) = (self.store.key_of(&due.tail)?, self.store.value(&value)?);
        let window = self.plan.window(due.time_ms);
        self.ends.output.close(Windowed { key, window }, value, window.end_ms, scope)
    }

    /// A record that came by an entrance goes into its windows.
    pub(super) fn take<V: Data>(
        &mut self,
        event: Event<K, V>,
        Entrance { fold, late, .. }: &Entrance<K, V, A>,
        scope: &mut Scope,
    ) -> Outcome {
        let now_ms = self.ends.closed.now_ms();
        let (plan, time_ms) = (self.plan, event.timestamp_ms);
        let near = plan.near(time_ms).ok_or_else(|| no_window(time_ms))?;
        let left_ms = time_ms.saturating_sub(plan.difference_ms);
        if time_ms.saturating_add(plan.closes_after_ms()) <= now_ms {
            return late.note(&event, plan.window(left_ms), (1, 1), now_ms, scope);
        }
        let Event { key, value, .. } = event;
        let bytes = self.store.key(&key)?;
        let around = self.look_around(scope, &bytes, time_ms, near)?;
        let adding = Adding { key: &key, bytes: &bytes, timestamp_ms: time_ms };
        let is_there = |start_ms: i64| around.starts.binary_search(&start_ms).is_ok();
        let (has_left, has_right) = (is_there(left_ms), is_there(near.1));
        // Behind the record before it there was nothing, and now there is this one.
        let behind_previous = around
            .previous_ms
            .and_then(|ms| ms.checked_add(1))
            .filter(|start_ms| *start_ms > left_ms && !is_there(*start_ms));
        for found in around.holding {
            self.add(&adding, found, (value.clone(), fold), scope)?;
        }
        if !has_right && let Some(found) = around.last {
            let newest_ms = SlidingStore::<K, A>::newest_ms(&found)?;
            if newest_ms > time_ms {
                let same = self.store.value(&found.value)?;
                self.begin(&adding, near.1, (newest_ms, same), scope)?;
            }
        }
        if let Some(start_ms) = behind_previous {
            let new = fold(&key, value.clone(), None);
            self.begin(&adding, start_ms, (time_ms, new), scope)?;
        }
        if has_left {
            return Ok(());
        }
        let mut so_far = None;
        if let Some(found) = around.before
            && SlidingStore::<K, A>::newest_ms(&found)? >= left_ms
        {
            so_far = Some(self.store.value(&found.value)?);
        }
        let new = fold(&key, value, so_far);
        self.begin(&adding, left_ms, (time_ms, new), scope)
    }
}

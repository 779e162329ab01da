//! Sessions: records of a key that are no farther apart than a gap. One that comes between two sessions makes them one.

use std::time::Duration;

use bytes::Bytes;

use super::super::cogroup::CogroupedStream;
use super::super::event::{Change, Data, Event};
use super::super::graph::Graph;
use super::super::grouped::GroupedStream;
use super::super::operator::{Outcome, entered};
use super::super::scope::{Scope, StreamError};
use super::super::store::SessionStore;
use super::super::store::layout::{Found, ordered, time_of};
use super::aggregate::{Entrance, Merge};
use super::closed::ByIndex;
use super::late::no_window;
use super::output::Ends;
use super::plan::{Lengths, whole_ms, with_lengths};
use super::{SessionWindowed, SessionWindowedCogrouped, Window, Windowed, Windows, sealed, send_all};

/// Sessions that a key are looked at at once; more than a few are there only where records come far out of order.
const PAGE: usize = 16;

/// Windows from the first to the last of records that are no farther apart than a gap: both ends belong to them.
///
/// ```
/// use std::time::Duration;
///
/// use millstream_actors::streams::window::{Emit, Session, Windowed};
/// use millstream_actors::streams::{StreamBuilder, TopologyDriver};
///
/// let builder = StreamBuilder::new("visits");
/// let visits = builder.stream::<String, i64>("visits").group_by_key("visits-by-page");
/// let windows = Session::gap(Duration::from_secs(60));
/// visits.windowed_by(windows).emit(Emit::OnClose).count("counts").to_stream().to("counts");
/// let mut driver = TopologyDriver::new(&builder.build().unwrap(), 1).unwrap();
/// for at_ms in [5_000, 65_000, 125_001] {
///     driver.send("visits", &"home".to_owned(), &1_i64, at_ms).unwrap();
/// }
/// driver.end().unwrap();
/// let counts = driver.read::<Windowed<String>, i64>("counts").unwrap();
/// let counts: Vec<_> = counts
///     .iter()
///     .map(|event| (event.key.window.start_ms, event.key.window.end_ms, event.value))
///     .collect();
/// assert_eq!(counts, [(5_000, 65_000, 2), (125_001, 125_001, 1)]);
/// ```
#[derive(Clone, Copy, Debug)]
pub struct Session {
    gap: Duration,
    lengths: Lengths,
}

impl Session {
    /// With this gap: two records that are so far apart are still of one session. At least 1 ms, in whole milliseconds.
    #[must_use]
    pub const fn gap(gap: Duration) -> Self {
        Self { gap, lengths: Lengths::NONE }
    }

    fn plan(&self, graph: &mut Graph) -> SessionPlan {
        let gap_ms = whole_ms(graph, "gap of sessions", self.gap, 1);
        let (grace_ms, retention_ms) = self.lengths.plan(graph, gap_ms.saturating_add(1));
        SessionPlan { gap_ms, grace_ms, retention_ms }
    }
}

with_lengths! {
    Session, lengths,
    /// A session that nothing can be added to in order (stream time has passed its end by the gap) stays open for so long;
    /// not at all, where nothing is said.
    grace,
    /// Results stay in the store for so long after their sessions' ends: at least gap and grace, which is what it is where
    /// nothing is said.
    retention
}

impl sealed::Sealed for Session {}

impl Windows for Session {
    type Form<K: Data, V: Data> = SessionWindowed<K, V>;

    fn over<K: Data, V: Data>(self, grouped: &GroupedStream<K, V>) -> SessionWindowed<K, V> {
        let plan = self.plan(&mut entered(&grouped.graph));
        SessionWindowed::new(grouped, plan)
    }

    type Cogrouped<K: Data, A: Data> = SessionWindowedCogrouped<K, A>;

    fn over_all<K: Data, A: Data>(self, streams: CogroupedStream<K, A>) -> SessionWindowedCogrouped<K, A> {
        let plan = self.plan(&mut entered(&streams.graph));
        SessionWindowedCogrouped::new(streams, plan)
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct SessionPlan {
    gap_ms: i64,
    grace_ms: i64,
    pub(super) retention_ms: i64,
}

impl SessionPlan {
    /// How long after its last record a session closes: one at the gap's end is still of it.
    pub(super) const fn closes_after_ms(self) -> i64 {
        self.gap_ms.saturating_add(self.grace_ms).saturating_add(1)
    }

    const fn closes_ms(self, session: Window) -> i64 {
        session.end_ms.saturating_add(self.closes_after_ms())
    }

    /// The times that are no farther from this than the gap; `None` where a bound is no number of 64 bits.
    fn near(self, time_ms: i64) -> Option<(i64, i64)> {
        time_ms.checked_add(self.closes_after_ms())?;
        Some((time_ms.checked_sub(self.gap_ms)?, time_ms.checked_add(self.gap_ms)?))
    }
}

/// The aggregate of sessions.
pub(crate) struct Sessions<K, A> {
    plan: SessionPlan,
    store: SessionStore<K, A>,
    merge: Merge<K, A>,
    due: ByIndex,
    ends: Ends<K, A>,
}

impl<K: Data, A: Data> Sessions<K, A> {
    pub(super) fn new(
        plan: SessionPlan,
        store: SessionStore<K, A>,
        merge: Merge<K, A>,
        ends: Ends<K, A>,
    ) -> Self {
        let due = ByIndex::new(plan.closes_after_ms());
        Self { plan, store, merge, due, ends }
    }

    pub(super) const fn ends(&mut self) -> &mut Ends<K, A> {
        &mut self.ends
    }

    /// The open sessions of a key that a record is of or borders on, the earliest first.
    fn bordering(
        &mut self,
        scope: &Scope,
        key: &[u8],
        (from_ms, to_ms): (i64, i64),
        now_ms: i64,
    ) -> Result<Vec<(Window, Found)>, StreamError> {
        let mut bordering = Vec::new();
        let mut behind: Option<Found> = None;
        loop {
            let page = self.store.segments.page(scope, key, (from_ms, i64::MAX), behind.as_ref(), PAGE)?;
            let is_last = page.len() < PAGE;
            behind = page.last().cloned();
            for found in page {
                let session = SessionStore::<K, A>::session(&found)?;
                // One that is closed may lie within one that is open, which came late and borders on others alone.
                if self.plan.closes_ms(session) <= now_ms {
                    continue;
                }
                // Those that are open do not overlap: what ends later begins later.
                if session.start_ms > to_ms {
                    return Ok(bordering);
                }
                bordering.push((session, found));
            }
            if is_last {
                return Ok(bordering);
            }
        }
    }

    /// Takes a session out that has become part of another.
    fn take_out(
        &mut self,
        key: &K,
        bytes: &[u8],
        session: Window,
        (at, value): (Bytes, A),
        scope: &mut Scope,
    ) -> Outcome {
        self.store.segments.put(scope, session.end_ms, at.clone(), None)?;
        if self.ends.output.is_on_close() {
            let index = self.index(bytes, session);
            return self.store.segments.put(scope, session.end_ms, index, None);
        }
        self.give(key, session, at, (Change { new: None, old: Some(value) }, 0), scope)
    }

    fn index(&self, bytes: &[u8], session: Window) -> Bytes {
        self.store.segments.index_at(session.end_ms, &[&ordered(session.start_ms), bytes].concat())
    }

    fn give(
        &mut self,
        key: &K,
        session: Window,
        at: Bytes,
        (value, written): (Change<A>, usize),
        scope: &mut Scope,
    ) -> Outcome {
        let key = Windowed { key: key.clone(), window: session };
        let event = Event { key, value, timestamp_ms: session.end_ms };
        self.ends.output.set(scope, at, event, written)
    }

    /// Puts a session into the store that has this value, and had that one where it was there.
    fn put(
        &mut self,
        (key, bytes): (&K, &[u8]),
        session: Window,
        (new, old): (A, Option<A>),
        scope: &mut Scope,
    ) -> Outcome {
        let is_new = old.is_none();
        let at = self.store.at(bytes, session);
        let at_hand = (!self.ends.output.is_on_close()).then(|| at.clone());
        let written = self.store.put(scope, session, (at, is_new), &new)?;
        match at_hand {
            Some(at) => self.give(key, session, at, (Change { new: Some(new), old }, written), scope),
            None if is_new => {
                let index = self.index(bytes, session);
                self.store.segments.put_new(scope, session.end_ms, index, Bytes::new())
            }
            None => Ok(()),
        }
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
        let session = Window { start_ms: time_of(&due.tail)?, end_ms: due.time_ms };
        let bytes = due.tail.slice(8..);
        let at = self.store.at(&bytes, session);
        let Some(value) = self.store.segments.get(scope, &at)? else { return Ok(()) };
        let (key, value) = (self.store.key_of(&bytes)?, self.store.value(&value)?);
        self.ends.output.close(Windowed { key, window: session }, value, session.end_ms, scope)
    }

    /// A record that came by an entrance goes into its session.
    pub(super) fn take<V: Data>(
        &mut self,
        event: Event<K, V>,
        entrance: &Entrance<K, V, A>,
        scope: &mut Scope,
    ) -> Outcome {
        let now_ms = self.ends.closed.now_ms();
        let time_ms = event.timestamp_ms;
        let near = self.plan.near(time_ms).ok_or_else(|| no_window(time_ms))?;
        let bytes = self.store.key(&event.key)?;
        let bordering = self.bordering(scope, &bytes, near, now_ms)?;
        let mut session = Window { start_ms: time_ms, end_ms: time_ms };
        if bordering.is_empty() && self.plan.closes_ms(session) <= now_ms {
            return entrance.late.note(&event, session, (1, 1), now_ms, scope);
        }
        for (other, _) in &bordering {
            session.start_ms = session.start_ms.min(other.start_ms);
            session.end_ms = session.end_ms.max(other.end_ms);
        }
        let Event { key, value, .. } = event;
        let (mut so_far, mut old) = (None, None);
        for (other, found) in bordering {
            let part = self.store.value(&found.value)?;
            if other == session {
                old = Some(part.clone());
            } else {
                self.take_out(&key, &bytes, other, (found.at, part.clone()), scope)?;
            }
            so_far = Some(match so_far {
                None => part,
                Some(so_far) => (self.merge)(&key, so_far, part),
            });
        }
        let new = (entrance.fold)(&key, value, so_far);
        self.put((&key, &bytes), session, (new, old), scope)
    }
}

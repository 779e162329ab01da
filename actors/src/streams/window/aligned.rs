//! The aggregate of tumbling and hopping windows: which windows hold a record is known from its time alone, so that each
//! result is looked up exactly.

use super::super::event::{Data, Event};
use super::super::operator::Outcome;
use super::super::scope::{Scope, StreamError};
use super::super::store::{KeyValue, WindowStore};
use super::aggregate::{Entrance, Fold};
use super::hopping::HoppingPlan;
use super::late::no_window;
use super::output::Ends;
use super::{TimeFirst, Windowed, send_all};

/// The aggregate of tumbling and hopping windows.
pub(crate) struct Aligned<K, A> {
    plan: HoppingPlan,
    store: WindowStore<K, A>,
    due: TimeFirst,
    ends: Ends<K, A>,
}

impl<K: Data, A: Data> Aligned<K, A> {
    pub(super) fn new(plan: HoppingPlan, store: WindowStore<K, A>, ends: Ends<K, A>) -> Self {
        let due = TimeFirst::new(store.place(), plan.closes_after_ms(), plan.retention_ms);
        Self { plan, store, due, ends }
    }

    pub(super) const fn ends(&mut self) -> &mut Ends<K, A> {
        &mut self.ends
    }

    fn add<V: Data>(
        &mut self,
        key: K,
        bytes: &[u8],
        (value, fold): (V, &Fold<K, V, A>),
        (start_ms, timestamp_ms): (i64, i64),
        scope: &mut Scope,
    ) -> Outcome {
        let at = WindowStore::<K, A>::at(start_ms, bytes);
        let state: &KeyValue<K, A> = self.store.state();
        if self.ends.output.is_on_close() {
            let so_far = state.get_at(scope, &at)?;
            let new = fold(&key, value, so_far);
            return state.put_at(scope, at, Some(&new));
        }
        let windowed = Windowed { key, window: self.plan.window(start_ms) };
        let fold = |windowed: &Windowed<K>, so_far| fold(&windowed.key, value, so_far);
        self.ends.output.update(scope, (state, at), (windowed, timestamp_ms), fold)
    }

    /// Sends what has closed, and forgets what is no longer kept.
    pub(super) fn close(&mut self, scope: &mut Scope) -> Outcome {
        let now_ms = self.ends.closed.pass(scope);
        self.ends.output.time_passed(scope)?;
        if self.ends.output.is_on_close() {
            send_all(|| self.send_due(scope))?;
        }
        self.due.forget(scope, now_ms)
    }

    fn send_due(&mut self, scope: &mut Scope) -> Result<usize, StreamError> {
        let due = self.due.take_due(scope, &self.ends.closed)?;
        for (at, value) in &due {
            let (start_ms, key, value) = self.store.entry(at, value)?;
            let window = self.plan.window(start_ms);
            self.ends.output.close(
                Windowed { key, window },
                value,
                window.end_ms.saturating_sub(1),
                scope,
            )?;
        }
        Ok(due.len())
    }

    /// A record that came by an entrance goes into its windows.
    pub(super) fn take<V: Data>(
        &mut self,
        event: Event<K, V>,
        Entrance { fold, late, .. }: &Entrance<K, V, A>,
        scope: &mut Scope,
    ) -> Outcome {
        let now_ms = self.ends.closed.now_ms();
        let plan = self.plan;
        let (mut first, last) =
            plan.starts(event.timestamp_ms).ok_or_else(|| no_window(event.timestamp_ms))?;
        let all = last.saturating_sub(first) / plan.advance_ms + 1;
        let mut missed = 0;
        while first <= last && first.saturating_add(plan.closes_after_ms()) <= now_ms {
            missed += 1;
            first = first.saturating_add(plan.advance_ms);
        }
        if missed > 0 {
            let window = plan.window(first.saturating_sub(plan.advance_ms));
            late.note(&event, window, (missed, all), now_ms, scope)?;
        }
        if first > last {
            return Ok(());
        }
        let Event { key, value, timestamp_ms } = event;
        let bytes = self.store.state().key(&key)?;
        while first < last {
            self.add(key.clone(), &bytes, (value.clone(), fold), (first, timestamp_ms), scope)?;
            first = first.saturating_add(plan.advance_ms);
        }
        self.add(key, &bytes, (value, fold), (last, timestamp_ms), scope)
    }
}

//! The aggregate of tumbling and hopping windows: which windows hold a record is known from its time alone, so that each
//! result is looked up exactly.

use super::super::event::{Data, Event};
use super::super::operator::{Hook, Outcome, Receive};
use super::super::scope::{Scope, StreamError};
use super::super::store::{KeyValue, WindowStore};
use super::forms::Fold;
use super::hopping::HoppingPlan;
use super::late::{Late, no_window};
use super::output::Output;
use super::{Closed, TimeFirst, Windowed, send_all};

/// The aggregate of tumbling and hopping windows.
pub(super) struct Aligned<K, V, A> {
    plan: HoppingPlan,
    store: WindowStore<K, A>,
    fold: Fold<K, V, A>,
    late: Late<K, V>,
    closed: Closed,
    due: TimeFirst,
    output: Output<K, A>,
}

impl<K: Data, V: Data, A: Data> Aligned<K, V, A> {
    pub(super) fn new(
        plan: HoppingPlan,
        store: WindowStore<K, A>,
        fold: Fold<K, V, A>,
        late: Late<K, V>,
        (closed, output): (Closed, Output<K, A>),
    ) -> Self {
        let place = store.place();
        let due = TimeFirst::new(place, plan.closes_after_ms(), plan.retention_ms);
        Self { plan, store, fold, late, closed, due, output }
    }

    fn add(
        &mut self,
        key: K,
        bytes: &[u8],
        value: V,
        (start_ms, timestamp_ms): (i64, i64),
        scope: &mut Scope,
    ) -> Outcome {
        let at = WindowStore::<K, A>::at(start_ms, bytes);
        let state: &KeyValue<K, A> = self.store.state();
        let fold = &self.fold;
        if self.output.is_on_close() {
            let so_far = state.get_at(scope, &at)?;
            let new = fold(&key, value, so_far);
            return state.put_at(scope, at, Some(&new));
        }
        let windowed = Windowed { key, window: self.plan.window(start_ms) };
        let fold = |windowed: &Windowed<K>, so_far| fold(&windowed.key, value, so_far);
        self.output.update(scope, (state, at), (windowed, timestamp_ms), fold)
    }

    /// Sends what has closed, and forgets what is no longer kept.
    fn close(&mut self, scope: &mut Scope) -> Outcome {
        let now_ms = self.closed.pass(scope);
        self.output.time_passed(scope)?;
        if self.output.is_on_close() {
            send_all(|| self.send_due(scope))?;
        }
        self.due.forget(scope, now_ms)
    }

    fn send_due(&mut self, scope: &mut Scope) -> Result<usize, StreamError> {
        let due = self.due.take_due(scope, &self.closed)?;
        for (at, value) in &due {
            let (start_ms, key, value) = self.store.entry(at, value)?;
            let window = self.plan.window(start_ms);
            self.output.close(Windowed { key, window }, value, window.end_ms.saturating_sub(1), scope)?;
        }
        Ok(due.len())
    }
}

impl<K: Data, V: Data, A: Data> Receive<K, V> for Aligned<K, V, A> {
    fn receive(&mut self, event: Event<K, V>, scope: &mut Scope) -> Outcome {
        let now_ms = self.closed.now_ms();
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
            self.late.note(&event, window, (missed, all), now_ms, scope)?;
        }
        if first > last {
            return Ok(());
        }
        let Event { key, value, timestamp_ms } = event;
        let bytes = self.store.state().key(&key)?;
        while first < last {
            self.add(key.clone(), &bytes, value.clone(), (first, timestamp_ms), scope)?;
            first = first.saturating_add(plan.advance_ms);
        }
        self.add(key, &bytes, value, (last, timestamp_ms), scope)
    }
}

impl<K: Data, V: Data, A: Data> Hook for Aligned<K, V, A> {
    fn begin(&mut self, scope: &mut Scope) -> Outcome {
        self.closed.begin(scope)?;
        self.close(scope)
    }

    fn time_passed(&mut self, scope: &mut Scope) -> Outcome {
        self.close(scope)
    }

    fn flush(&mut self, scope: &mut Scope) -> Outcome {
        self.output.flush(scope)?;
        self.closed.note(scope)
    }
}

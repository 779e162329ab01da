//! How the results of windows go downstream.

use bytes::Bytes;

use super::super::event::{Change, Data, Event};
use super::super::operator::{Outcome, Outlet};
use super::super::results::Results;
use super::super::scope::Scope;
use super::super::store::KeyValue;
use super::{Closed, Emit, Windowed};

/// How windows end: up to where they are closed, and where their results go.
pub(crate) struct Ends<K, A> {
    pub(super) closed: Closed,
    pub(super) output: Output<K, A>,
}

/// Where the results of windows go, and when.
pub(super) struct Output<K, A> {
    emit: Emit,
    results: Results<Windowed<K>, A>,
}

impl<K: Data, A: Data> Output<K, A> {
    pub(super) const fn new(
        outlet: Outlet<Windowed<K>, Change<A>>,
        emit: Emit,
        held_max: Option<usize>,
        is_time_seen: bool,
    ) -> Self {
        Self { emit, results: Results::new(outlet, held_max, is_time_seen) }
    }

    /// Whether results are sent once, when their windows close.
    pub(super) fn is_on_close(&self) -> bool {
        self.emit == Emit::OnClose
    }

    /// [`Results::update`].
    pub(super) fn update(
        &mut self,
        scope: &mut Scope,
        (state, at): (&KeyValue<K, A>, Bytes),
        (windowed, timestamp_ms): (Windowed<K>, i64),
        fold: impl FnOnce(&Windowed<K>, Option<A>) -> A,
    ) -> Outcome {
        self.results.update(scope, state, at, (windowed, timestamp_ms), fold)
    }

    /// [`Results::set`].
    pub(super) fn set(
        &mut self,
        scope: &mut Scope,
        at: Bytes,
        event: Event<Windowed<K>, Change<A>>,
        written: usize,
    ) -> Outcome {
        self.results.set(scope, at, event, written)
    }

    /// Sends what a window has in the end.
    pub(super) fn close(&self, windowed: Windowed<K>, value: A, last_ms: i64, scope: &mut Scope) -> Outcome {
        let value = Change { new: Some(value), old: None };
        self.results.give(Event { key: windowed, value, timestamp_ms: last_ms }, scope)
    }

    /// [`Results::time_passed`].
    pub(super) fn time_passed(&mut self, scope: &mut Scope) -> Outcome {
        self.results.time_passed(scope)
    }

    /// Sends all that is held back.
    pub(super) fn flush(&mut self, scope: &mut Scope) -> Outcome {
        self.results.flush(scope)
    }
}

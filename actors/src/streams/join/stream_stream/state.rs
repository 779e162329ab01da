//! The join in a task: what becomes of a record of either side, and of stream time that goes on.

use std::sync::Arc;

use bytes::Bytes;

use super::super::super::codec::SharedCodec;
use super::super::super::event::{Data, Event};
use super::super::super::operator::{Hook, Outcome, Outlet};
use super::super::super::scope::{Scope, StreamError};
use super::super::super::time::SeenTime;
use super::super::super::window::send_all;
use super::buffer::{Buffer, Marks, PAGE, tail_of};
use super::unjoined::{Lone, SideId, Unjoined};
use super::{Kind, Spans, With};

/// The join in a task.
pub(super) struct Join<K, L, R, W> {
    pub(super) key: SharedCodec<K>,
    pub(super) left: Buffer<L>,
    pub(super) right: Buffer<R>,
    pub(super) unjoined: Option<Unjoined>,
    pub(super) marks: Marks,
    /// Up to where windows are closed.
    pub(super) time: SeenTime,
    pub(super) kind: Kind,
    pub(super) spans: Spans,
    pub(super) with: Arc<With<K, L, R, W>>,
    pub(super) outlet: Outlet<K, W>,
}

/// What of a side the windows say.
#[derive(Clone, Copy)]
struct Side {
    id: SideId,
    /// Whether its records are results by themselves.
    is_kept: bool,
    /// How much later a record of the other side may be that it meets.
    ahead_ms: i64,
    grace_ms: i64,
}

impl Side {
    /// Once stream time is past this, a record of this time meets no other.
    const fn closes_ms(&self, time_ms: i64) -> i64 {
        time_ms.saturating_add(self.ahead_ms).saturating_add(self.grace_ms)
    }

    /// The first time whose records are in their windows yet.
    const fn open_from_ms(&self, now_ms: i64) -> i64 {
        now_ms.saturating_sub(self.ahead_ms).saturating_sub(self.grace_ms)
    }
}

impl<K: Data, L: Data, R: Data, W: Data> Join<K, L, R, W> {
    pub(super) fn left(&mut self, event: Event<K, L>, scope: &mut Scope) -> Outcome {
        let (left, right) = self.sides();
        let (with, outlet) = (&self.with, &self.outlet);
        let mut arrival = Arrival {
            mine: (left, &mut self.left),
            other: (right, &mut self.right),
            unjoined: self.unjoined.as_mut(),
            marks: &mut self.marks,
            now_ms: self.time.now_ms(),
        };
        arrival.take(&self.key, event, scope, |key, left, right, timestamp_ms, scope| {
            give(outlet, key, with(key, Some(left), Some(right)), timestamp_ms, scope)
        })
    }

    pub(super) fn right(&mut self, event: Event<K, R>, scope: &mut Scope) -> Outcome {
        let (left, right) = self.sides();
        let (with, outlet) = (&self.with, &self.outlet);
        let mut arrival = Arrival {
            mine: (right, &mut self.right),
            other: (left, &mut self.left),
            unjoined: self.unjoined.as_mut(),
            marks: &mut self.marks,
            now_ms: self.time.now_ms(),
        };
        arrival.take(&self.key, event, scope, |key, right, left, timestamp_ms, scope| {
            give(outlet, key, with(key, Some(left), Some(right)), timestamp_ms, scope)
        })
    }

    const fn sides(&self) -> (Side, Side) {
        let Spans { before_ms, after_ms, grace_ms } = self.spans;
        let Kind { keeps_left, keeps_right, .. } = self.kind;
        let left = Side { id: SideId::Left, is_kept: keeps_left, ahead_ms: after_ms, grace_ms };
        (left, Side { id: SideId::Right, is_kept: keeps_right, ahead_ms: before_ms, grace_ms })
    }

    /// Sends what has met none and is closed, all of it: those behind are told of the time next, and what came later would be
    /// late for them. Forgets what meets none any more.
    fn close(&mut self, scope: &mut Scope) -> Outcome {
        send_all(|| self.send_closed(scope))?;
        let ((left, right), now_ms) = (self.sides(), self.time.now_ms());
        self.left.expire(scope, left.open_from_ms(now_ms))?;
        self.right.expire(scope, right.open_from_ms(now_ms))
    }

    fn send_closed(&mut self, scope: &mut Scope) -> Result<usize, StreamError> {
        let Some(unjoined) = &mut self.unjoined else { return Ok(0) };
        let closed = unjoined.take_closed(scope, self.time.now_ms())?;
        let count = closed.len();
        closed.into_iter().try_for_each(|lone| self.send(lone, scope))?;
        Ok(count)
    }

    /// A record whose window has closed is a result by itself.
    fn send(&self, lone: Lone, scope: &mut Scope) -> Outcome {
        let key = self.key.decode(Some(&lone.key))?;
        let (left, right) = self.sides();
        let gone = || StreamError::Broken("a record that met no other is not in its buffer".to_owned());
        let (value, timestamp_ms) = match lone.side {
            SideId::Left => {
                let time_ms = lone.closes_ms.saturating_sub(left.closes_ms(0));
                let value = self.left.get(scope, (&lone.key, time_ms), &lone.tail)?.ok_or_else(gone)?;
                ((self.with)(&key, Some(value), None), time_ms)
            }
            SideId::Right => {
                let time_ms = lone.closes_ms.saturating_sub(right.closes_ms(0));
                let value = self.right.get(scope, (&lone.key, time_ms), &lone.tail)?.ok_or_else(gone)?;
                ((self.with)(&key, None, Some(value)), time_ms)
            }
        };
        let headers = std::mem::replace(&mut scope.origin.headers, lone.headers);
        let outcome = give(&self.outlet, &key, value, timestamp_ms, scope);
        scope.origin.headers = headers;
        outcome
    }
}

impl<K: Data, L: Data, R: Data, W: Data> Hook for Join<K, L, R, W> {
    fn begin(&mut self, scope: &mut Scope) -> Outcome {
        let now_ms = self.marks.begin(scope)?;
        self.time.resume(now_ms);
        Ok(())
    }

    fn time_passed(&mut self, scope: &mut Scope) -> Outcome {
        self.time.pass(scope.time_ms);
        self.close(scope)
    }

    fn flush(&mut self, scope: &mut Scope) -> Outcome {
        self.marks.keep(scope, self.time.now_ms())
    }
}

/// What a record needs that comes: `A` is its side's, `B` the other's.
struct Arrival<'a, A, B> {
    mine: (Side, &'a mut Buffer<A>),
    other: (Side, &'a mut Buffer<B>),
    unjoined: Option<&'a mut Unjoined>,
    marks: &'a mut Marks,
    now_ms: i64,
}

impl<A: Data, B: Data> Arrival<'_, A, B> {
    fn take<K: Data>(
        &mut self,
        codec: &SharedCodec<K>,
        event: Event<K, A>,
        scope: &mut Scope,
        mut meet: impl FnMut(&K, A, B, i64, &mut Scope) -> Outcome,
    ) -> Outcome {
        let Event { key, value, timestamp_ms } = event;
        let at = codec.encode(&key)?.ok_or(StreamError::NoKey)?;
        let mine = self.mine.0;
        if mine.closes_ms(timestamp_ms) < self.now_ms {
            scope.counts.late += 1;
            return Ok(());
        }
        let has_met = self.meet_all(&at, timestamp_ms, scope, |other, other_ms, scope| {
            meet(&key, value.clone(), other, timestamp_ms.max(other_ms), scope)
        })?;
        let tail = self.mine.1.put(scope, (&at, timestamp_ms), self.marks.next(), &value)?;
        match &mut self.unjoined {
            Some(unjoined) if mine.is_kept && !has_met => {
                unjoined.put(scope, (mine.id, mine.closes_ms(timestamp_ms)), tail, &at)
            }
            _ => Ok(()),
        }
    }

    /// Meets all of the other side that are near; whether there was one.
    fn meet_all(
        &mut self,
        key: &Bytes,
        timestamp_ms: i64,
        scope: &mut Scope,
        mut meet: impl FnMut(B, i64, &mut Scope) -> Outcome,
    ) -> Result<bool, StreamError> {
        let (mine, (other, buffer)) = (self.mine.0, &mut self.other);
        let from_ms = timestamp_ms.saturating_sub(other.ahead_ms).max(other.open_from_ms(self.now_ms));
        let to_ms = timestamp_ms.saturating_add(mine.ahead_ms);
        let (mut has_met, mut behind) = (false, None);
        loop {
            let page = buffer.page(scope, key, (from_ms, to_ms), behind.as_ref())?;
            let is_last = page.len() < PAGE;
            for found in &page {
                let tail = tail_of(found)?;
                if let Some(unjoined) = self.unjoined.as_deref().filter(|_| other.is_kept) {
                    unjoined.remove(scope, (other.id, other.closes_ms(found.time_ms)), tail, key)?;
                }
                meet(buffer.value(&tail, &found.value)?, found.time_ms, scope)?;
                has_met = true;
            }
            behind = page.into_iter().last();
            if is_last {
                return Ok(has_met);
            }
        }
    }
}

fn give<K: Data, W: Data>(
    outlet: &Outlet<K, W>,
    key: &K,
    value: Option<W>,
    timestamp_ms: i64,
    scope: &mut Scope,
) -> Outcome {
    match value {
        Some(value) => outlet.give(Event { key: key.clone(), value, timestamp_ms }, scope),
        None => Ok(()),
    }
}

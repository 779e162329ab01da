//! A processor in a task.

use std::marker::PhantomData;
use std::sync::{Arc, Mutex};

use super::super::event::{Data, Event};
use super::super::graph::VertexId;
use super::super::operator::{Assembly, Hook, Outcome, Outlet, entered};
use super::super::scope::{Scope, StreamError};
use super::super::time::{SeenTime, UNKNOWN_MS};
use super::{Access, Context, Processor, Punctuation, ValueContext, ValueProcessor};

/// A processor with when it is to be called.
pub(super) struct Run<K, V, P: Processor<K, V>> {
    processor: P,
    outlet: Outlet<P::Key, P::Value>,
    event_time: Option<EventTime>,
    clock: Option<Clock>,
    time: SeenTime,
    of: PhantomData<fn(K, V)>,
}

impl<K: Data, V: Data, P: Processor<K, V> + 'static> Run<K, V, P> {
    pub(super) fn new(
        processor: P,
        outlet: Outlet<P::Key, P::Value>,
        time: SeenTime,
        (event_time_ms, clock_ms): (Option<i64>, Option<i64>),
    ) -> Self {
        let event_time = event_time_ms.map(|interval_ms| EventTime { interval_ms, last_ms: None });
        let clock = clock_ms.map(|interval_ms| Clock { interval_ms, next_ms: i64::MAX });
        Self { processor, outlet, event_time, clock, time, of: PhantomData }
    }

    pub(super) fn attach(self, from: VertexId, assembly: &mut Assembly<'_>) {
        let run = Arc::new(Mutex::new(self));
        let port = Arc::clone(&run);
        assembly.attach_operator(from, move |event: Event<K, V>, scope: &mut Scope| {
            entered(&port).called(scope, true, |processor, context| processor.process(event, context))
        });
        assembly.hooks.push(run);
    }

    /// Calls the processor. The headers that it sets are for what it forwards now.
    fn called(
        &mut self,
        scope: &mut Scope,
        is_of_record: bool,
        call: impl FnOnce(&mut P, &mut Context<'_, P::Key, P::Value>) -> Outcome,
    ) -> Outcome {
        // The user's processor may hold something in memory.
        scope.touch();
        let headers = Arc::clone(&scope.origin.headers);
        let mut context = Context::new(Access::new(scope, self.time.now_ms(), is_of_record), &self.outlet);
        let outcome = call(&mut self.processor, &mut context);
        scope.origin.headers = headers;
        outcome
    }
}

impl<K: Data, V: Data, P: Processor<K, V> + 'static> Hook for Run<K, V, P> {
    fn begin(&mut self, scope: &mut Scope) -> Outcome {
        self.time.pass(scope.time_ms);
        if let Some(event_time) = &mut self.event_time {
            // What was due up to here was committed with it.
            event_time.due_ms(self.time.now_ms());
        }
        if let Some(clock) = &mut self.clock {
            clock.next_ms = scope.clock_ms.saturating_add(clock.interval_ms);
        }
        Ok(())
    }

    fn time_passed(&mut self, scope: &mut Scope) -> Outcome {
        self.time.pass(scope.time_ms);
        let now_ms = self.time.now_ms();
        match self.event_time.as_mut().and_then(|event_time| event_time.due_ms(now_ms)) {
            Some(at_ms) => self.called(scope, false, |processor, context| {
                processor.punctuate(Punctuation::EventTime(at_ms), context)
            }),
            None => Ok(()),
        }
    }

    fn clock_passed(&mut self, scope: &mut Scope) -> Outcome {
        let now_ms = scope.clock_ms;
        match &mut self.clock {
            Some(clock) if now_ms >= clock.next_ms => {
                clock.next_ms = now_ms.saturating_add(clock.interval_ms);
            }
            Some(_) | None => return Ok(()),
        }
        self.called(scope, false, |processor, context| {
            processor.punctuate(Punctuation::Clock(now_ms), context)
        })
    }
}

/// When event time is due.
#[derive(Debug)]
struct EventTime {
    interval_ms: i64,
    /// The last multiple of the interval that time has come to.
    last_ms: Option<i64>,
}

impl EventTime {
    /// The multiple that time has come to and had not before. What it first comes to is where it begins.
    fn due_ms(&mut self, now_ms: i64) -> Option<i64> {
        if now_ms == UNKNOWN_MS {
            return None;
        }
        let at_ms = now_ms.saturating_sub(now_ms.rem_euclid(self.interval_ms));
        match self.last_ms.replace(at_ms) {
            Some(last_ms) if last_ms < at_ms => Some(at_ms),
            Some(_) | None => None,
        }
    }
}

#[derive(Debug)]
struct Clock {
    interval_ms: i64,
    next_ms: i64,
}

/// A processor of values as one of records.
pub(super) struct Values<P>(pub(super) P);

impl<K: Data, V: Data, P: ValueProcessor<K, V>> Processor<K, V> for Values<P> {
    type Key = K;
    type Value = P::Value;

    fn process(
        &mut self,
        event: Event<K, V>,
        context: &mut Context<'_, K, P::Value>,
    ) -> Result<(), StreamError> {
        let Event { key, value, timestamp_ms } = event;
        self.0.process(value, &mut ValueContext::new(context, &key, timestamp_ms))
    }

    fn punctuate(
        &mut self,
        at: Punctuation,
        context: &mut Context<'_, K, P::Value>,
    ) -> Result<(), StreamError> {
        self.0.punctuate(at, context)
    }
}

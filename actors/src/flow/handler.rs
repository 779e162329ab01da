//! What handles the records of a source: a user's struct, a closure, or a named actor.

use std::future::{Future, ready};
use std::marker::PhantomData;
use std::time::Duration;

use super::record::SourceRecord;
use crate::custom::named::ActorContext;
use crate::custom::{ActorMessage, CallError};

/// Handles the records of a source, one after the other. Runs on the users' threads.
///
/// A panic ends this state of the handler: it is made anew, and goes on behind what was handled.
pub trait SourceHandler: Send + 'static {
    /// What it is called in lists, logs and metrics: one word for all handlers of this type.
    const KIND: &'static str;

    /// Called before the first record, and again after every restart.
    fn started(&mut self, context: &ActorContext) -> impl Future<Output = ()> + Send {
        let _ = context;
        ready(())
    }

    /// Handles a record, which may have been handled before: delivery is at least once. After an error it is handed out again,
    /// after a pause that grows up to a second, for as long as it takes: who wants to skip it says `Ok`.
    fn handle(
        &mut self,
        record: SourceRecord,
        context: &ActorContext,
    ) -> impl Future<Output = Result<(), CallError>> + Send;

    /// Ends what the records handled since the last call have begun: none of them counts as handled before this says `Ok`. A
    /// handler that sends without waiting for each answer waits for all of them here.
    fn flush(&mut self, context: &ActorContext) -> impl Future<Output = Result<(), CallError>> + Send {
        let _ = context;
        ready(Ok(()))
    }
}

/// A closure as a handler; see [`each`].
#[derive(Clone, Debug)]
pub struct Each<F>(F);

/// Handles each record with this closure. Its kind is `source`.
///
/// ```
/// use millstream_actors::flow::each;
///
/// let handler = || {
///     each(|record| async move {
///         println!("{}-{} {}: {:?}", record.topic, record.partition, record.offset, record.value);
///         Ok(())
///     })
/// };
/// # drop(handler());
/// ```
pub fn each<F, R>(handle: F) -> Each<F>
where
    F: FnMut(SourceRecord) -> R + Send + 'static,
    R: Future<Output = Result<(), CallError>> + Send,
{
    Each(handle)
}

impl<F, R> SourceHandler for Each<F>
where
    F: FnMut(SourceRecord) -> R + Send + 'static,
    R: Future<Output = Result<(), CallError>> + Send,
{
    const KIND: &'static str = "source";

    fn handle(
        &mut self,
        record: SourceRecord,
        _: &ActorContext,
    ) -> impl Future<Output = Result<(), CallError>> + Send {
        (self.0)(record)
    }
}

/// Hands records on to a named actor; see [`hand_to`].
#[derive(Debug)]
pub struct HandTo<F, M> {
    actor: String,
    within: Duration,
    message: F,
    of: PhantomData<fn() -> M>,
}

/// Hands each record to the actor of this name, wherever in the cluster it runs, as the message that `message` makes of it.
/// Its kind is `source`.
///
/// The actor is asked, one record at a time, so that it gets them in order and a record counts as handled when it has said
/// so; its answer goes nowhere. While its mailbox is full, or it moves, the source waits. What it refuses, or does not answer
/// `within`, is handed to it again. Return [`CallError::Malformed`] for what cannot be made a message, and the source stands
/// still at it.
pub fn hand_to<M, F>(actor: impl Into<String>, within: Duration, message: F) -> HandTo<F, M>
where
    M: ActorMessage,
    F: FnMut(&SourceRecord) -> Result<M, CallError> + Send + 'static,
{
    HandTo { actor: actor.into(), within, message, of: PhantomData }
}

impl<F, M> SourceHandler for HandTo<F, M>
where
    M: ActorMessage,
    F: FnMut(&SourceRecord) -> Result<M, CallError> + Send + 'static,
{
    const KIND: &'static str = "source";

    fn handle(
        &mut self,
        record: SourceRecord,
        context: &ActorContext,
    ) -> impl Future<Output = Result<(), CallError>> + Send {
        let asked = (self.message)(&record)
            .map(|message| context.calls().ask::<M>(&self.actor, &message, self.within));
        async move { asked?.await.map(drop) }
    }
}

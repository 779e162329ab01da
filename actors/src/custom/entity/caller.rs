//! Finds the leader of an entity's partition and asks it, again with the same request id until there is an answer: from a
//! node, or from a native client.

use std::fmt;
use std::marker::PhantomData;
use std::sync::Arc;
use std::time::Duration;

use futures::future::{BoxFuture, Either, select};
use millstream_transport::world::{Clock, Random};

use super::definition::{Entity, EntityKey};
use super::message::{AskEntity, TRY_WITHIN};
use super::settings::DEDUPE_LEAST;
use crate::custom::{ActorMessage, Answered, CallError, Deadline, Envelope, RequestId, open_answer};
use crate::ids::NodeId;

/// The pause after the first try that failed; it doubles up to [`PAUSE_MOST`]. News of the cluster end it.
const PAUSE: Duration = Duration::from_millis(10);
const PAUSE_MOST: Duration = Duration::from_millis(500);

/// How long after the first try of which nothing is known the last may begin: it has arrived, at two clocks that may differ by
/// seconds, before the request is forgotten where it may have been applied, and would be applied again.
const RETRIED_WITHIN: Duration = DEDUPE_LEAST.saturating_sub(Duration::from_secs(10));

/// How long a type that nobody hosts may still appear: its nodes may be starting.
const NO_HOST_GRACE: Duration = Duration::from_secs(5);

/// Where an entity is asked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Place {
    /// At this node.
    At(NodeId),
    /// Its partition has no leader now, or that is not known.
    Nowhere,
    /// No node hosts the type.
    NoHost,
}

/// The way to the leaders of entities' partitions.
pub trait EntityReach: fmt::Debug + Send + Sync {
    /// Who leads the partition of a key.
    fn place(&self, kind: &str, key: &[u8]) -> Place;

    /// Done when places may be others than now. What is known may be old: it is looked for news.
    fn news(&self) -> BoxFuture<'static, ()>;

    /// Sends a request once; an error where there is no answer.
    fn ask(
        &self,
        node: NodeId,
        ask: AskEntity,
        within: Duration,
    ) -> BoxFuture<'static, Result<Result<Answered, CallError>, String>>;
}

/// Asks entities of any type. Cheap to clone.
#[derive(Clone, Debug)]
pub struct EntityCaller {
    reach: Arc<dyn EntityReach>,
    clock: Clock,
    random: Random,
    message_max_bytes: usize,
}

impl EntityCaller {
    /// Asks over `reach`; a message may have so many bytes.
    #[must_use]
    pub fn new(reach: Arc<dyn EntityReach>, clock: Clock, random: Random, message_max_bytes: usize) -> Self {
        Self { reach, clock, random, message_max_bytes }
    }

    /// The entity of this key, there or not.
    #[must_use]
    pub fn entity<E: Entity>(&self, key: &E::Key) -> EntityRef<E> {
        EntityRef { caller: self.clone(), key: key.clone(), of: PhantomData }
    }

    /// Asks until there is an answer that will not change by asking again, or the time is up.
    async fn call(&self, ask: AskEntity, within: Duration) -> Result<Answered, CallError> {
        let began = self.clock.now();
        let deadline = Deadline::after(began, within);
        let (mut pause, mut last) = (PAUSE, None);
        let mut unknown_since = None;
        loop {
            // From before the look at the place: what changes after that is not missed.
            let news = self.reach.news();
            let tried = self.clock.now();
            let left = deadline.left(tried);
            let (error, is_unknown) = match self.reach.place(&ask.kind, &ask.key) {
                Place::At(node) => match self.try_at(node, &ask, left).await {
                    Ok(answered) => return Ok(answered),
                    Err(error) => {
                        // A leader says "again" also where the log may have what it did not hear of.
                        let is_unknown = matches!(error, CallError::Timeout { .. } | CallError::Retry(_));
                        (error, is_unknown)
                    }
                },
                Place::Nowhere => {
                    (CallError::Retry("the entity's partition has no leader now".to_owned()), false)
                }
                Place::NoHost => (CallError::NoHost(ask.kind.clone()), false),
            };
            let now = self.clock.now();
            let is_young = now.saturating_duration_since(began) < NO_HOST_GRACE;
            let may_pass = match &error {
                CallError::NoHost(_) => is_young,
                CallError::Timeout { .. } => true,
                error => error.is_retriable(),
            };
            let was_unknown = last.is_some_and(|(_, was_unknown)| was_unknown);
            if !may_pass {
                // Said of this try; an earlier one may have been carried out.
                let is_of_entity = matches!(error, CallError::Refused(_));
                return Err(given_up(Some((error, was_unknown && !is_of_entity)), within));
            }
            last = Some((error, was_unknown || is_unknown));
            if is_unknown {
                unknown_since.get_or_insert(tried);
            }
            let is_late = unknown_since
                .is_some_and(|since| now.saturating_duration_since(since) + pause >= RETRIED_WITHIN);
            if is_late || deadline.left(now) <= pause {
                return Err(given_up(last, within.min(now.saturating_duration_since(began) + pause)));
            }
            // Not at once even where there is news: whoever was asked may have said no for a while yet.
            tokio::time::sleep(PAUSE).await;
            let _news_or_time = select(news, Box::pin(tokio::time::sleep(pause.saturating_sub(PAUSE)))).await;
            pause = pause.saturating_mul(2).min(PAUSE_MOST);
        }
    }

    /// One try; given up early where the leader is another meanwhile.
    async fn try_at(&self, node: NodeId, ask: &AskEntity, left: Duration) -> Result<Answered, CallError> {
        let within = TRY_WITHIN.min(left);
        let unknown = |last: String| CallError::Timeout { after_ms: millis(within), last };
        let mut answer = self.reach.ask(node, ask.clone(), within);
        loop {
            let news = self.reach.news();
            if self.reach.place(&ask.kind, &ask.key) != Place::At(node) {
                return Err(unknown(format!("node {node} does not lead the entity's partition any more")));
            }
            match select(answer, news).await {
                Either::Left((Ok(result), _)) => return result,
                Either::Left((Err(error), _)) => return Err(unknown(error)),
                Either::Right(((), pending)) => answer = pending,
            }
        }
    }
}

/// What is said when the time is up: whether anything may have been carried out.
fn given_up(last: Option<(CallError, bool)>, within: Duration) -> CallError {
    match last {
        Some((error, false)) => error,
        Some((CallError::Timeout { last, .. }, true)) => {
            CallError::Timeout { after_ms: millis(within), last }
        }
        Some((error, true)) => CallError::Timeout { after_ms: millis(within), last: error.to_string() },
        None => CallError::Timeout { after_ms: millis(within), last: "nothing was tried".to_owned() },
    }
}

fn millis(duration: Duration) -> u32 {
    u32::try_from(duration.as_millis()).unwrap_or(u32::MAX)
}

/// One entity, wherever it is. Cheap to clone.
pub struct EntityRef<E: Entity> {
    caller: EntityCaller,
    key: E::Key,
    of: PhantomData<fn() -> E>,
}

impl<E: Entity> EntityRef<E> {
    /// Its key.
    #[must_use]
    pub const fn key(&self) -> &E::Key {
        &self.key
    }

    /// Asks; answered when all that the answer rests on is committed. Within `within` the same request is sent as often as it
    /// takes, and applied once. [`CallError::Timeout`] tells that it may or may not have been applied: also before the time is
    /// up, where a first try came to nothing known and is almost as old as requests are remembered at least
    /// ([`DEDUPE_LEAST`]).
    pub async fn ask(
        &self,
        message: &E::Message,
        within: Duration,
    ) -> Result<<E::Message as ActorMessage>::Answer, CallError> {
        self.ask_as(RequestId::draw(&self.caller.random), message, within).await
    }

    /// The same under an id of the caller's: who asks again after a time-out, with the id it had, is answered what it would
    /// have been, for `entity.dedupe.ms`.
    pub async fn ask_as(
        &self,
        request: RequestId,
        message: &E::Message,
        within: Duration,
    ) -> Result<<E::Message as ActorMessage>::Answer, CallError> {
        let message = Envelope::seal(message, self.caller.message_max_bytes)?;
        let ask = AskEntity { kind: E::TYPE.to_owned(), request, message, key: self.key.to_bytes() };
        open_answer(&self.caller.call(ask, within).await?)
    }

    /// Tells: as [`Self::ask`], for those who do not need the answer.
    pub async fn tell(&self, message: &E::Message, within: Duration) -> Result<(), CallError> {
        self.ask(message, within).await.map(|_| ())
    }
}

impl<E: Entity> Clone for EntityRef<E> {
    fn clone(&self) -> Self {
        Self { caller: self.caller.clone(), key: self.key.clone(), of: PhantomData }
    }
}

impl<E: Entity> fmt::Debug for EntityRef<E> {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.debug_struct("EntityRef").field("type", &E::TYPE).field("key", &self.key).finish()
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicU32, Ordering};

    use millstream_transport::world::simulation::run;
    use millstream_transport::world::{SimulatedDisk, World};
    use serde::{Deserialize, Serialize};

    use super::super::definition::{Refused, Turn};
    use super::*;

    #[derive(Serialize, Deserialize)]
    struct Nothing;

    impl ActorMessage for Nothing {
        const NAME: &'static str = "nothing";
        type Answer = ();
    }

    #[derive(Serialize, Deserialize)]
    struct Thing;

    impl Entity for Thing {
        const TYPE: &'static str = "thing";
        type Key = u64;
        type Message = Nothing;

        fn new(_: &u64) -> Self {
            Self
        }

        fn handle(&mut self, _: Nothing, _: &mut Turn<'_, Self>) -> Result<(), Refused> {
            Ok(())
        }
    }

    /// Nodes of which each try hears this.
    #[derive(Debug)]
    struct Reach {
        hears: Result<CallError, String>,
        tries: AtomicU32,
    }

    impl EntityReach for Reach {
        fn place(&self, _: &str, _: &[u8]) -> Place {
            Place::At(NodeId(1))
        }

        fn news(&self) -> BoxFuture<'static, ()> {
            Box::pin(std::future::pending())
        }

        fn ask(
            &self,
            _: NodeId,
            _: AskEntity,
            _: Duration,
        ) -> BoxFuture<'static, Result<Result<Answered, CallError>, String>> {
            self.tries.fetch_add(1, Ordering::Relaxed);
            Box::pin(std::future::ready(self.hears.clone().map(Err)))
        }
    }

    /// What an ask within this time comes to, and how long it took.
    fn asked(hears: Result<CallError, String>, within: Duration) -> (Result<(), CallError>, Duration) {
        run(1, |simulation| async move {
            let world = World::simulated(&simulation, &SimulatedDisk::new(1));
            let reach = Arc::new(Reach { hears, tries: AtomicU32::new(0) });
            let tried = Arc::clone(&reach);
            let caller = EntityCaller::new(reach, world.clock.clone(), world.random.clone(), 1_000);
            let began = world.clock.now();
            let answer = caller.entity::<Thing>(&1).ask(&Nothing, within).await;
            assert!(tried.tries.load(Ordering::Relaxed) > 10);
            (answer, world.clock.now().saturating_duration_since(began))
        })
    }

    #[test]
    fn a_request_that_may_have_been_applied_is_not_sent_again_once_it_may_be_forgotten() {
        let (answer, took) = asked(Err("the link broke".to_owned()), Duration::from_secs(3_600));
        assert!(matches!(&answer, Err(CallError::Timeout { .. })), "{answer:?}");
        assert!(took < DEDUPE_LEAST && took > DEDUPE_LEAST / 2, "{took:?}");
    }

    #[test]
    fn a_request_that_was_certainly_not_applied_is_sent_as_long_as_there_is_time() {
        let no = CallError::NotOwner("not here".to_owned());
        let (answer, took) = asked(Ok(no.clone()), Duration::from_secs(300));
        assert_eq!(answer, Err(no));
        assert!(took > Duration::from_secs(299), "{took:?}");
    }
}

//! The desk of a node as others speak to it: any thread of the node may, each for a moment.

use std::fmt;
use std::future::Future;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use millstream_transport::peer::{Answering, Caller, Handlers};
use millstream_transport::world::Clock;
use tokio::sync::oneshot;
use tokio::time::timeout;

use super::{Desk, Effect, Effects, Ticket, WAIT_MAX};
use crate::error::{ErrorCode, Refusal};
use crate::group::doors::{Coordinators, coordinator_partition};
use crate::ids::NodeId;
use crate::streams::query::message::{AskStore, ListStreams, StreamsPoll, StreamsQueries, StreamsShown};
use crate::streams::query::{QueryRefusal, StoreAnswered};

/// How long a question may wait at most.
const ASK_WITHIN_MAX: Duration = Duration::from_mins(1);

/// How often it is looked whether the member that has a question lives.
const LOOK_EVERY: Duration = Duration::from_millis(500);

/// The longest name of an application, of a member and of a process, in bytes.
const NAME_BYTES_MAX: usize = 1_024;

type Answer = Result<StoreAnswered, QueryRefusal>;
type Polled = Result<StreamsQueries, Refusal>;
type Slots = Desk<oneshot::Sender<Answer>, oneshot::Sender<Polled>>;

/// The desk of a node. Cheap to clone.
#[derive(Clone)]
pub struct StreamsDesk {
    desk: Arc<Mutex<Slots>>,
    coordinators: Arc<dyn Coordinators>,
    me: NodeId,
    clock: Clock,
}

impl fmt::Debug for StreamsDesk {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.debug_struct("StreamsDesk").field("me", &self.me).finish_non_exhaustive()
    }
}

impl StreamsDesk {
    /// The desk of this node, for the applications whose groups it coordinates.
    #[must_use]
    pub fn new(coordinators: Arc<dyn Coordinators>, me: NodeId, clock: Clock) -> Self {
        Self { desk: Arc::default(), coordinators, me, clock }
    }

    /// Handlers of the kinds 460 to 462, for nodes and clients.
    #[must_use]
    pub fn handlers(&self) -> Handlers {
        let (asked, polled, listed) = (self.clone(), self.clone(), self.clone());
        Handlers::new()
            .on(move |_, message: AskStore, answering: Answering<AskStore>| {
                let answer = asked.asked(message);
                tokio::spawn(async move { answering.answer(answer.await) });
            })
            .on(move |caller: &Caller, message: StreamsPoll, answering: Answering<StreamsPoll>| {
                let answer = polled.polled(message, &caller.address.ip().to_string());
                tokio::spawn(async move { answering.answer(answer.await) });
            })
            .on(move |_, message: ListStreams, answering: Answering<ListStreams>| {
                answering.answer(listed.list(message.application.as_deref()));
            })
    }

    /// The applications whose members this node knows.
    #[must_use]
    pub fn list(&self, application: Option<&str>) -> Vec<StreamsShown> {
        let now = self.clock.now();
        self.with(|desk| {
            let effects = desk.expire(now);
            (desk.shown(now, application), effects)
        })
    }

    /// A question; taken in when this is called.
    fn asked(&self, message: AskStore) -> impl Future<Output = Result<Answer, Refusal>> + use<> {
        let AskStore { application, within_ms, query } = message;
        let within = Duration::from_millis(within_ms.into()).min(ASK_WITHIN_MAX);
        let (slot, answer) = oneshot::channel();
        let taken = self.coordinates(&application).map(|()| {
            let now = self.clock.now();
            self.with(|desk| desk.ask(now, &application, query, slot))
        });
        let desk = self.clone();
        async move {
            match taken? {
                Some(ticket) => Ok(desk.wait(ticket, within, answer).await),
                None => Ok(answer.await.unwrap_or_else(|_| Err(dropped()))),
            }
        }
    }

    /// Waits for an answer, and meanwhile looks whether anybody can give it.
    async fn wait(&self, ticket: Ticket, within: Duration, mut answer: oneshot::Receiver<Answer>) -> Answer {
        let until = self.clock.now() + within;
        loop {
            let left = until.saturating_duration_since(self.clock.now());
            match timeout(left.min(LOOK_EVERY), &mut answer).await {
                Ok(answered) => return answered.unwrap_or_else(|_| Err(dropped())),
                Err(_) if left <= LOOK_EVERY => {
                    // Answered between the two, or by this.
                    self.with(|desk| ((), desk.give_up(&ticket)));
                    return answer.await.unwrap_or_else(|_| Err(dropped()));
                }
                Err(_) => {
                    let is_here = self.coordinates(&ticket.application).is_ok();
                    self.with(|desk| match is_here {
                        true => ((), desk.expire(self.clock.now())),
                        false => ((), desk.forget(&ticket.application)),
                    });
                }
            }
        }
    }

    /// A member that fetches; what it says is taken in when this is called.
    fn polled(&self, poll: StreamsPoll, host: &str) -> impl Future<Output = Polled> + use<> {
        let (application, member) = (poll.application.clone(), poll.member.clone());
        let within = Duration::from_millis(poll.wait_ms.into()).min(WAIT_MAX);
        let (slot, mut answer) = oneshot::channel();
        let coordinates = self.coordinates(&application);
        if coordinates.is_err() {
            self.with(|desk| ((), desk.forget(&application)));
        }
        let taken = coordinates.and_then(|()| checked(&poll)).map(|()| {
            let now = self.clock.now();
            self.with(|desk| desk.poll(now, (poll, host), slot))
        });
        let desk = self.clone();
        async move {
            let number = taken?;
            if let Ok(answered) = timeout(within, &mut answer).await {
                return answered.unwrap_or_else(|_| Ok(StreamsQueries::default()));
            }
            let now = desk.clock.now();
            desk.with(|desk| ((), desk.wait_over(now, &application, &member, number)));
            answer.await.unwrap_or_else(|_| Ok(StreamsQueries::default()))
        }
    }

    /// Whether this node coordinates the application's group.
    fn coordinates(&self, application: &str) -> Result<(), Refusal> {
        let partitions = self.coordinators.partitions();
        let leader =
            partitions.and_then(|count| self.coordinators.leader(coordinator_partition(application, count)));
        match leader {
            Some(leader) if leader == self.me => Ok(()),
            _ => {
                let text = format!("node {} does not coordinate the group {application:?}", self.me);
                Err(Refusal::new(ErrorCode::NotCoordinator, text))
            }
        }
    }

    fn with<T>(
        &self,
        act: impl FnOnce(&mut Slots) -> (T, Effects<oneshot::Sender<Answer>, oneshot::Sender<Polled>>),
    ) -> T {
        let (done, effects) = act(&mut self.desk.lock().unwrap_or_else(PoisonError::into_inner));
        for effect in effects {
            // Who does not wait any more needs no answer; a member's questions are asked again then.
            match effect {
                Effect::Answer(slot, answer) => drop(slot.send(answer)),
                Effect::Hand(slot, queries) => drop(slot.send(Ok(queries))),
                Effect::Refuse(slot, refusal) => drop(slot.send(Err(refusal))),
            }
        }
        done
    }
}

fn checked(poll: &StreamsPoll) -> Result<(), Refusal> {
    let names = [&poll.application, &poll.member, &poll.instance].into_iter();
    let mut names = names.chain(poll.stores.iter().map(|store| &store.name));
    if names.any(|name| name.is_empty() || name.len() > NAME_BYTES_MAX) {
        let text =
            format!("applications, members, processes and stores have names of 1 to {NAME_BYTES_MAX} bytes");
        return Err(Refusal::new(ErrorCode::InvalidRequest, text));
    }
    Ok(())
}

fn dropped() -> QueryRefusal {
    QueryRefusal::Retry("the node has stopped".to_owned())
}

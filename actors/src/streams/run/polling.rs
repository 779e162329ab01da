//! Questions of others: the process keeps a request open at the coordinator of its application's group, which hands them out
//! with the answer to that. So a process can be asked that nobody can reach.

use std::sync::OnceLock;
use std::time::Duration;

use futures::future::BoxFuture;
use futures::stream::FuturesUnordered;
use futures::{FutureExt, StreamExt};
use millstream_transport::world::watch;
use ractor::ActorRef;
use tokio::sync::oneshot;

use super::super::graph::Topology;
use super::super::query::message::{PolledAnswer, StreamsPoll, StreamsQueries};
use super::StreamsState;
use super::asking::LocalWay;
use super::host::{Here, HostMessage};
use crate::client::{Client, ClientError, Coordinator};

/// How long the coordinator waits for questions before it answers that there are none. Of a process that has died it is known
/// after twice that.
const WAIT: Duration = Duration::from_secs(2);

/// How much longer the answer may take.
const ANSWER_TIME: Duration = Duration::from_secs(1);

/// How long it is waited for the coordinator to hear that this process ends.
pub(super) const GOODBYE_WITHIN: Duration = Duration::from_millis(500);

/// Requests at the coordinator at a time: each ends the wait of the one before.
const POLLS_MAX: usize = 4;

/// Bytes of answers in one request; one alone may have more.
const BYTES_MAX: usize = 8 << 20;

/// The pause after a request that failed; it doubles up to [`PAUSE_MOST`].
const PAUSE: Duration = Duration::from_millis(50);
const PAUSE_MOST: Duration = Duration::from_secs(1);

/// Requests that failed in a row of which it is told.
const LASTING: u32 = 5;

type Polls<'a> = FuturesUnordered<BoxFuture<'a, Result<StreamsQueries, ClientError>>>;

/// Fetches questions for this process, and brings the answers.
pub(super) struct Polling {
    coordinator: Coordinator,
    application: String,
    member: String,
    /// The name of the process, once it is known.
    instance: OnceLock<String>,
    host: ActorRef<HostMessage>,
    way: LocalWay,
}

impl Polling {
    pub(super) fn new(
        client: &Client,
        topology: &Topology,
        (host, way): (ActorRef<HostMessage>, LocalWay),
    ) -> Self {
        let application = topology.application().to_owned();
        let coordinator = Coordinator::new(client.clone(), application.as_str());
        let (member, instance) = (client.world.random.uuid().to_string(), OnceLock::new());
        Self { coordinator, application, member, instance, host, way }
    }

    /// Until the application ends.
    pub(super) async fn run(self, mut state: watch::Receiver<StreamsState>) {
        let way = &self.way;
        let (mut polls, mut open) = (Polls::new(), FuturesUnordered::new());
        let (mut answers, mut has_news, mut failures) = (Vec::new(), true, 0);
        loop {
            if (has_news || polls.is_empty()) && polls.len() < POLLS_MAX {
                let pause = pause(failures);
                polls.push(self.poll(first(&mut answers), pause).boxed());
                has_news = !answers.is_empty();
            }
            tokio::select! {
                biased;
                changed = state.changed() => {
                    let has_ended = matches!(
                        &*state.borrow_and_update(), StreamsState::Failed { .. } | StreamsState::Closed
                    );
                    if changed.is_err() || has_ended {
                        break;
                    }
                    has_news = true;
                }
                Some(answer) = open.next() => {
                    answers.push(answer);
                    // Those that are there already go with it.
                    while let Some(Some(answer)) = open.next().now_or_never() {
                        answers.push(answer);
                    }
                    has_news = true;
                }
                Some(polled) = polls.next() => match polled {
                    Ok(StreamsQueries { queries }) => {
                        failures = 0;
                        open.extend(queries.into_iter().map(|(number, query)| async move {
                            PolledAnswer { number, result: way.answered(query).await }
                        }));
                    }
                    Err(error) => {
                        failures += 1;
                        let application = &self.application;
                        // One or two are of a coordinator that moves.
                        if failures == LASTING {
                            tracing::warn!(application, %error, "questions to its stores cannot be fetched");
                        } else {
                            tracing::debug!(application, %error, "questions cannot be fetched");
                        }
                    }
                },
            }
        }
        if let Some(instance) = self.instance.get().cloned() {
            let nothing = Here { instance, ..Here::default() };
            let goodbye = self.request(nothing, Vec::new(), Duration::ZERO);
            // Without it the coordinator finds out by itself.
            let _heard = self.coordinator.ask_once(goodbye, GOODBYE_WITHIN).await;
        }
    }

    async fn poll(&self, answers: Vec<PolledAnswer>, pause: Duration) -> Result<StreamsQueries, ClientError> {
        tokio::time::sleep(pause).await;
        let request = self.request(self.here().await?, answers, WAIT);
        self.coordinator.ask_once(request, WAIT + ANSWER_TIME).await
    }

    /// What runs here, once the process has a name.
    async fn here(&self) -> Result<Here, ClientError> {
        loop {
            let (reply, told) = oneshot::channel();
            // A host that has ended drops it.
            let _ended = self.host.cast(HostMessage::Show(reply));
            let here = told.await.map_err(|_| ClientError::Closed)?;
            if !here.instance.is_empty() {
                let _known = self.instance.get_or_init(|| here.instance.clone());
                return Ok(here);
            }
            tokio::time::sleep(PAUSE).await;
        }
    }

    fn request(&self, here: Here, answers: Vec<PolledAnswer>, wait: Duration) -> StreamsPoll {
        let Here { instance, tasks, stores } = here;
        StreamsPoll {
            application: self.application.clone(),
            member: self.member.clone(),
            instance,
            wait_ms: u32::try_from(wait.as_millis()).unwrap_or(u32::MAX),
            tasks,
            stores,
            answers,
        }
    }
}

/// As many answers as one request takes; the others stay.
fn first(answers: &mut Vec<PolledAnswer>) -> Vec<PolledAnswer> {
    let mut bytes = 0_usize;
    let fits = answers.iter().position(|answer| {
        let is_first = bytes == 0;
        bytes =
            bytes.saturating_add(answer.result.as_ref().map_or(64, |answered| answered.body.len().max(64)));
        bytes > BYTES_MAX && !is_first
    });
    let rest = answers.split_off(fits.unwrap_or(answers.len()));
    std::mem::replace(answers, rest)
}

fn pause(failures: u32) -> Duration {
    match failures {
        0 => Duration::ZERO,
        failures => PAUSE.saturating_mul(1 << (failures - 1).min(10)).min(PAUSE_MOST),
    }
}

#[cfg(test)]
mod tests {
    use super::super::super::query::{QueryRefusal, StoreAnswered};
    use super::*;

    fn answer(number: u64, bytes: usize) -> PolledAnswer {
        let body = vec![0; bytes].into();
        PolledAnswer { number, result: Ok(StoreAnswered { partition: 0, next_partition: None, body }) }
    }

    #[test]
    fn a_request_brings_as_many_answers_as_it_has_room_for_and_always_one() {
        let refused = PolledAnswer { number: 2, result: Err(QueryRefusal::Busy(String::new())) };
        let mut answers = vec![answer(0, BYTES_MAX + 1), answer(1, 10), refused, answer(3, BYTES_MAX)];
        let mut numbers = || first(&mut answers).iter().map(|answer| answer.number).collect::<Vec<_>>();
        assert_eq!([numbers(), numbers(), numbers(), numbers()], [vec![0], vec![1, 2], vec![3], vec![]]);
    }
}

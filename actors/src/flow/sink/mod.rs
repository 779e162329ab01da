//! A sink: an actor with a bounded mailbox that publishes what it is sent.
//!
//! Records that wait together are sent together, so that a sender that waits for each answer is as quick as the log, and many
//! senders share its syncs. They are published in the order in which they got their places; the producer is idempotent, so
//! that a batch that is sent again is there once.

mod actor;
mod mailbox;

use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::Bytes;
use tokio::sync::oneshot;

use self::actor::{SinkActor, Take};
use self::mailbox::Mailbox;
use super::lifeline::{Lifeline, Stop, Task, lifeline};
use super::vessel::{Begin, Current, Vessel};
use super::{FlowError, FlowParts};
use crate::client::{Client, ClientError};
use crate::custom::CallError;
use crate::custom::named::{ActorCalls, ActorEnd, ActorSettings};
use crate::ids::ActorId;
use crate::kinds::{RestartBudget, USER_ACTOR};
use crate::producer::{ProduceError, ProducerSettings, RecordMetadata};
use crate::record::Header;

/// What a record that was not published means to a handler that was to publish it: its own record is not handled.
impl From<ProduceError> for CallError {
    fn from(error: ProduceError) -> Self {
        let text = error.to_string();
        match error {
            ProduceError::TimedOut { within, last } => {
                Self::Timeout { after_ms: u32::try_from(within.as_millis()).unwrap_or(u32::MAX), last }
            }
            ProduceError::BufferFull(_) => Self::Busy(text),
            ProduceError::Closed => Self::Stopped(text),
            ProduceError::Client(error) if error.is_retriable() => Self::Retry(text),
            ProduceError::Client(_)
            | ProduceError::TooLarge { .. }
            | ProduceError::UnknownPartition { .. }
            | ProduceError::Refused(_)
            | ProduceError::Aborted => Self::Refused(text),
        }
    }
}

/// How long one wait for the actor may take; one that has not ended by then is waited for again.
const TAKE_WITHIN: Duration = Duration::from_secs(60 * 60);

/// The pause before the actor is asked again; it doubles up to [`PAUSE_MOST`].
const PAUSE: Duration = Duration::from_millis(20);
const PAUSE_MOST: Duration = Duration::from_secs(1);

/// A record to be published.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct SinkRecord {
    /// The key.
    pub key: Option<Bytes>,
    /// The value; none is a tombstone in a compacted topic.
    pub value: Option<Bytes>,
    /// The headers, in order.
    pub headers: Vec<Header>,
    /// The partition; the partitioner's choice where there is none.
    pub partition: Option<i32>,
    /// Milliseconds since 1970; the clock's time where there is none.
    pub timestamp_ms: Option<i64>,
}

impl SinkRecord {
    /// A record with this value.
    #[must_use]
    pub fn of(value: impl Into<Bytes>) -> Self {
        Self { value: Some(value.into()), ..Self::default() }
    }

    /// The same, with a key.
    #[must_use]
    pub fn key(self, key: impl Into<Bytes>) -> Self {
        Self { key: Some(key.into()), ..self }
    }

    /// What it takes in the mailbox.
    fn bytes(&self) -> usize {
        let headers =
            self.headers.iter().map(|header| header.name.len() + header.value.as_ref().map_or(0, Bytes::len));
        let parts = self.key.iter().chain(&self.value).map(Bytes::len);
        size_of::<Self>() + parts.chain(headers).sum::<usize>()
    }
}

/// How a sink publishes, and how its actor is run.
#[derive(Clone, Debug)]
pub struct SinkSettings {
    /// Records without an answer, waiting or sent; who has one more waits. 1,024 by default, at least 1.
    pub mailbox_max: usize,
    /// Bytes of them; 16 MiB by default, 1 KiB to 1 GiB. A larger record is let in alone.
    pub mailbox_bytes: usize,
    /// How often the actor is begun anew after a panic, and how long that waits. Then the sink ends.
    pub restarts: RestartBudget,
    /// How records are sent: those of an idempotent producer by default.
    pub producer: ProducerSettings,
}

impl Default for SinkSettings {
    fn default() -> Self {
        Self {
            mailbox_max: 1_024,
            mailbox_bytes: 16 << 20,
            restarts: USER_ACTOR.restarts,
            producer: ProducerSettings::default(),
        }
    }
}

impl SinkSettings {
    fn check(&self) -> Result<(), ClientError> {
        self.producer.check()?;
        if self.producer.transactional_id.is_some() {
            let text = "a sink publishes outside of transactions: use Client::transactional_producer";
            return Err(ClientError::setting("transactional.id", text));
        }
        if !(1..=1 << 20).contains(&self.mailbox_max) {
            return Err(ClientError::setting("mailbox_max", "must be from 1 to 1048576"));
        }
        if !(1 << 10..=1 << 30).contains(&self.mailbox_bytes) {
            return Err(ClientError::setting("mailbox_bytes", "must be from 1 KiB to 1 GiB"));
        }
        Ok(())
    }
}

/// A sink that was begun here. Cheap to clone; any thread may use it. Dropped, the sink goes on: end it with
/// [`Sink::close`].
#[derive(Clone, Debug)]
pub struct Sink {
    mailbox: Arc<Mailbox>,
    actor: Current,
    lifeline: Lifeline,
}

/// A record that is in the mailbox: await it to learn where it was written. Dropping it does not call the record back.
#[derive(Debug)]
#[must_use = "a record may fail: await it, or drop it on purpose"]
pub struct Publishing(oneshot::Receiver<Result<RecordMetadata, ProduceError>>);

impl Future for Publishing {
    type Output = Result<RecordMetadata, ProduceError>;

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Self::Output> {
        // Nobody answers any more: the sink has ended, and whether the record was written is not known.
        Pin::new(&mut self.0).poll(context).map(|answer| answer.unwrap_or(Err(ProduceError::Closed)))
    }
}

impl Sink {
    /// The actor that publishes. Where its node was taken for lost and was not, another one does from then on.
    #[must_use]
    pub fn actor(&self) -> ActorId {
        self.actor.get().actor()
    }

    /// Puts a record into the mailbox, waiting for a place in it. Records of one sender are published in this order.
    ///
    /// An error says that the sink has ended.
    pub async fn send(&self, record: SinkRecord) -> Result<Publishing, ProduceError> {
        let bytes = record.bytes();
        self.mailbox.put(record, bytes).await.map(Publishing).ok_or(ProduceError::Closed)
    }

    /// The same, for those who need no answer: a record that cannot be published is told by a metric and the log alone.
    pub async fn tell(&self, record: SinkRecord) -> Result<(), ProduceError> {
        self.send(record).await.map(drop)
    }

    /// Publishes a record, and says where it was written once it is acknowledged.
    pub async fn ask(&self, record: SinkRecord) -> Result<RecordMetadata, ProduceError> {
        self.send(record).await?.await
    }

    /// Takes no more, publishes what waits, and ends.
    pub async fn close(&self) {
        self.lifeline.stop(Stop::Cleanly).await;
    }
}

/// Begins one.
pub(super) async fn begin(
    parts: &FlowParts,
    topic: &str,
    settings: SinkSettings,
) -> Result<(Sink, Lifeline), FlowError> {
    settings.check()?;
    let client = parts.client.get();
    client.metadata().topic(topic, settings.producer.max_block).await?;
    let mailbox = Arc::new(Mailbox::new(settings.mailbox_max, settings.mailbox_bytes));
    // Before the actor: without a core nobody would end it.
    let core = client.some_core()?;
    let topic = Arc::<str>::from(topic);
    let begin = beginner(parts, &client, settings, Arc::clone(&topic));
    let vessel = Vessel::begin(begin, Arc::clone(&mailbox), parts.events.clone(), "sink", topic).await?;
    let (lifeline, task) = lifeline();
    let sink = Sink { mailbox: Arc::clone(&mailbox), actor: vessel.current(), lifeline: lifeline.clone() };
    let driver = Driver { mailbox, vessel, calls: parts.actors.calls().clone(), task };
    // Where it is not taken it is dropped, and ends its actor.
    if !core.spawn(move || driver.run()) {
        return Err(ClientError::Closed.into());
    }
    Ok((sink, lifeline))
}

/// Begins its actors.
fn beginner(
    parts: &FlowParts,
    client: &Client,
    settings: SinkSettings,
    topic: Arc<str>,
) -> Begin<Arc<Mailbox>> {
    let (actors, client, events) = (parts.actors.clone(), client.clone(), parts.events.clone());
    let actor_settings = ActorSettings { restarts: settings.restarts, ..ActorSettings::default() };
    Box::new(move |mailbox| {
        let (actors, client, events) = (actors.clone(), client.clone(), events.clone());
        let (producer, topic) = (settings.producer.clone(), Arc::clone(&topic));
        let made = move || {
            let (client, mailbox) = (client.clone(), Arc::clone(&mailbox));
            SinkActor::new(client, producer.clone(), Arc::clone(&topic), mailbox, events.clone())
        };
        Box::pin(async move { actors.spawn_unnamed(actor_settings, made).await })
    })
}

/// The task of a sink: wakes its actor while something waits.
struct Driver {
    mailbox: Arc<Mailbox>,
    vessel: Vessel<Arc<Mailbox>>,
    calls: ActorCalls,
    task: Task,
}

impl Driver {
    async fn run(mut self) {
        let mut pause = PAUSE;
        while self.task.said() != Stop::AtOnce {
            let is_closing = self.task.said() != Stop::No;
            if is_closing {
                // First of all: what is left is an end only where nothing comes in meanwhile.
                self.mailbox.close();
            }
            let actor = self.vessel.actor();
            if self.mailbox.is_empty() {
                if is_closing {
                    break;
                }
                let end = tokio::select! {
                    biased;
                    _ = self.task.stop.wait_for(|stop| *stop != Stop::No) => continue,
                    end = actor.ended() => end,
                    () = self.mailbox.filled() => continue,
                };
                if !self.goes_on(&end).await {
                    break;
                }
                continue;
            }
            let asked = self.calls.ask_actor(actor.actor(), &Take, TAKE_WITHIN);
            let answer = tokio::select! {
                biased;
                answer = asked => answer,
                _ = self.task.stop.wait_for(|stop| *stop == Stop::AtOnce) => break,
            };
            if answer.is_ok() {
                pause = PAUSE;
                continue;
            }
            // It is begun anew, its node has lost its lease, or all is over.
            let end = tokio::select! {
                biased;
                end = actor.ended() => Some(end),
                () = tokio::time::sleep(pause) => None,
            };
            if let Some(end) = end
                && !self.goes_on(&end).await
            {
                break;
            }
            pause = pause.saturating_mul(2).min(PAUSE_MOST);
        }
    }

    /// What waits in the mailbox is the next actor's.
    async fn goes_on(&mut self, end: &ActorEnd) -> bool {
        self.vessel.goes_on(end, &self.mailbox, &mut self.task.stop).await
    }
}

impl Drop for Driver {
    /// Also where the thread under it ends: who waits for a place or an answer is told.
    fn drop(&mut self) {
        self.mailbox.close();
        self.mailbox.clear();
        self.vessel.actor().stop();
    }
}

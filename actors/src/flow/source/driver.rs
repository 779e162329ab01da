//! The task of a source: takes what its consumer has, has it handled, commits behind it.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use futures::FutureExt;
use tokio::time::Instant;

use super::super::lifeline::{Stop, Task};
use super::actor::Take;
use super::desk::{Desk, Progress};
use super::led::Led;
use crate::client::{ClientError, TopicPartition};
use crate::consumer::{Consumer, ConsumerEvent, Fetched, SeekTo};
use crate::custom::named::{ActorCalls, ActorHandle};
use crate::events::{Events, SourceFailed, SourceHindered};
use crate::ids::Offset;

/// How long one wait for a chunk may take; who has not ended by then is waited for again.
const CHUNK_WITHIN: Duration = Duration::from_secs(60 * 60);

/// The pause before records are handed out again; it doubles up to [`PAUSE_MOST`].
const PAUSE: Duration = Duration::from_millis(20);
const PAUSE_MOST: Duration = Duration::from_secs(1);

/// How long a commit may hold a source up.
const COMMIT_WITHIN: Duration = Duration::from_secs(5);

/// What it works with.
pub(super) struct DriverParts {
    pub(super) consumer: Consumer,
    pub(super) desk: Arc<Desk>,
    pub(super) actor: ActorHandle,
    pub(super) calls: ActorCalls,
    pub(super) events: Events,
    pub(super) kind: &'static str,
    pub(super) commit_interval: Duration,
    pub(super) led: Option<Led>,
    pub(super) task: Task,
}

/// The task.
pub(super) struct Driver {
    parts: DriverParts,
    /// Where to go on in each partition.
    handled: BTreeMap<TopicPartition, Offset>,
    /// Of these, what the group has.
    committed: BTreeMap<TopicPartition, Offset>,
    commit_at: Instant,
}

/// Whether a source goes on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Goes {
    On,
    No,
}

enum News {
    Stop,
    Led,
    Event(Result<ConsumerEvent, ClientError>),
    CommitDue,
}

impl Driver {
    pub(super) fn new(parts: DriverParts) -> Self {
        let commit_at = Instant::now() + parts.commit_interval;
        Self { parts, handled: BTreeMap::new(), committed: BTreeMap::new(), commit_at }
    }

    pub(super) async fn run(mut self) {
        while self.turn().await == Goes::On {}
        self.end().await;
    }

    async fn turn(&mut self) -> Goes {
        let news = {
            let DriverParts { consumer, actor, led, task, .. } = &mut self.parts;
            let led_news = async {
                match led {
                    Some(led) => led.news().await,
                    None => std::future::pending().await,
                }
            };
            tokio::select! {
                biased;
                // An error says that nobody can say it any more: its node is gone.
                _ = task.stop.wait_for(|stop| *stop != Stop::No) => News::Stop,
                _ = actor.ended() => News::Stop,
                () = led_news => News::Led,
                event = consumer.next() => News::Event(event),
                () = tokio::time::sleep_until(self.commit_at) => News::CommitDue,
            }
        };
        match news {
            News::Stop => return Goes::No,
            News::Led => self.follow_leaderships().await,
            News::Event(event) => return self.take(event).await,
            News::CommitDue => {
                // All that was handed out is handled; what is passed without records counts, too.
                self.handled.extend(self.parts.consumer.positions());
                self.commit().await;
            }
        }
        Goes::On
    }

    async fn take(&mut self, event: Result<ConsumerEvent, ClientError>) -> Goes {
        match event {
            Ok(ConsumerEvent::Records(fetched)) => return self.hand_out(fetched).await,
            Ok(ConsumerEvent::Assigned(_)) => {}
            Ok(ConsumerEvent::Revoked(partitions)) => {
                // Who reads on begins where this says.
                self.commit().await;
                self.forget(&partitions);
            }
            Ok(ConsumerEvent::Lost(partitions)) => self.forget(&partitions),
            Err(ClientError::Closed) => return Goes::No,
            Err(error) => {
                self.hindered("reading", &error);
                tokio::time::sleep(PAUSE).await;
            }
        }
        Goes::On
    }

    fn forget(&mut self, partitions: &[TopicPartition]) {
        for partition in partitions {
            self.handled.remove(partition);
            self.committed.remove(partition);
        }
    }

    /// Has a fetch handled, chunk by chunk, again what was not.
    async fn hand_out(&mut self, fetched: Fetched) -> Goes {
        self.parts.desk.put(fetched);
        let mut pause = PAUSE;
        loop {
            let before = self.parts.desk.progress();
            let actor = self.parts.actor.actor();
            let asked = self.parts.calls.ask_actor(actor, &Take, CHUNK_WITHIN);
            let answer = tokio::select! {
                biased;
                _ = self.parts.task.stop.wait_for(|stop| *stop == Stop::AtOnce) => return Goes::No,
                answer = asked => answer,
            };
            let Some(after) = self.parts.desk.progress() else { return Goes::On };
            self.handled.insert(after.partition.clone(), after.position);
            if after.is_done {
                self.parts.desk.clear();
                return Goes::On;
            }
            if self.lets_go(&after) {
                self.parts.desk.clear();
                return Goes::On;
            }
            if self.parts.task.said() != Stop::No || self.parts.actor.ended().now_or_never().is_some() {
                return Goes::No;
            }
            if before.is_some_and(|before| before != after) {
                pause = PAUSE;
            }
            if let Err(error) = answer {
                self.parts.desk.failed();
                self.failed(&after, &error.to_string(), pause);
                let stop = self.parts.task.stop.wait_for(|stop| *stop != Stop::No);
                if tokio::time::timeout(pause, stop).await.is_ok() {
                    return Goes::No;
                }
                pause = pause.saturating_mul(2).min(PAUSE_MOST);
            }
            if Instant::now() >= self.commit_at {
                self.commit().await;
            }
        }
    }

    /// Whether what is left of a fetch is not to be handled now: its partition is another's, or others wait for one to be given
    /// up. Then it is read again after that.
    fn lets_go(&self, at: &Progress) -> bool {
        let consumer = &self.parts.consumer;
        let is_led = self.parts.led.as_ref().is_none_or(|led| led.leads(&at.partition));
        if !is_led || consumer.position(&at.partition).is_err() {
            return true;
        }
        if !consumer.is_asked_to_give_up() {
            return false;
        }
        // An error says that it was taken away just now: then there is nothing to be read again.
        let _ = consumer.seek(&at.partition, SeekTo::Offset(at.position));
        true
    }

    /// Begins and ends partitions as their leaderships come and go.
    async fn follow_leaderships(&mut self) {
        let Some(change) = self.parts.led.as_mut().map(Led::change) else { return };
        if !change.end.is_empty() {
            let end: Vec<_> = change.end.into_iter().collect();
            self.handled.extend(self.parts.consumer.positions());
            // Who leads now begins where this says, or a little before it.
            self.commit().await;
            self.parts.consumer.unassign(end.iter().cloned());
            self.forget(&end);
            for partition in &end {
                self.parts.led.as_mut().into_iter().for_each(|led| led.ended(partition));
            }
        }
        for partition in change.begin {
            let begun = self.parts.consumer.assign([(partition.clone(), SeekTo::Committed)]).await;
            let Some(led) = &mut self.parts.led else { return };
            match begun {
                Ok(()) => led.began(partition),
                Err(error) => {
                    led.failed();
                    self.hindered("beginning a partition", &error);
                }
            }
        }
    }

    /// Commits what was handled and is not committed. What cannot be is tried again with the next.
    async fn commit(&mut self) {
        self.commit_at = Instant::now() + self.parts.commit_interval;
        let is_news = |(partition, offset): &(&TopicPartition, &Offset)| {
            self.committed.get(*partition) != Some(*offset)
        };
        let news: Vec<_> = self
            .handled
            .iter()
            .filter(is_news)
            .map(|(partition, offset)| (partition.clone(), *offset))
            .collect();
        if news.is_empty() {
            return;
        }
        let committing = self.parts.consumer.commit_offsets(news.clone());
        let what = || "committing offsets".to_owned();
        let late = |_| ClientError::TimedOut { what: what(), within: COMMIT_WITHIN, last: None };
        match tokio::time::timeout(COMMIT_WITHIN, committing).await.map_err(late) {
            Ok(Ok(())) => self.committed.extend(news),
            Ok(Err(error)) | Err(error) => self.hindered("committing offsets", &error),
        }
    }

    async fn end(mut self) {
        if self.parts.task.said() == Stop::AtOnce {
            return;
        }
        self.commit().await;
        self.parts.consumer.close().await;
        self.parts.actor.stop();
        // The lifeline ends with the task: last of all.
        drop(self.parts.task);
    }

    fn failed(&self, at: &Progress, error: &str, after: Duration) {
        let partition = at.partition.to_string();
        let (kind, offset) = (self.parts.kind, at.position.0);
        self.parts.events.emit(SourceFailed { kind, partition: &partition, offset, error, after });
    }

    fn hindered(&self, what: &'static str, error: &ClientError) {
        let error = error.to_string();
        self.parts.events.emit(SourceHindered { kind: self.parts.kind, what, error: &error });
    }
}

//! The task of a source: takes what its consumer has, has it handled, commits behind it.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use futures::FutureExt;
use tokio::time::Instant;

use super::super::lifeline::{Stop, Task};
use super::super::vessel::Vessel;
use super::actor::Take;
use super::desk::{Desk, Progress};
use super::led::Led;
use crate::client::{ClientError, TopicPartition};
use crate::consumer::{Consumer, ConsumerEvent, Fetched, SeekTo};
use crate::custom::named::{ActorCalls, ActorEnd};
use crate::events::{Events, SourceFailed, SourceHindered};
use crate::ids::{Offset, PartitionId};

/// How long one wait for a chunk may take; who has not ended by then is waited for again.
const CHUNK_WITHIN: Duration = Duration::from_secs(60 * 60);

/// The pause before records are handed out again; it doubles up to [`PAUSE_MOST`].
const PAUSE: Duration = Duration::from_millis(20);
const PAUSE_MOST: Duration = Duration::from_secs(1);

/// The pause before a partition that cannot be read is tried again.
const READ_AGAIN_AFTER: Duration = Duration::from_secs(1);

/// How long a commit may hold a source up.
const COMMIT_WITHIN: Duration = Duration::from_secs(5);

/// What it works with.
pub(super) struct DriverParts {
    pub(super) consumer: Consumer,
    pub(super) desk: Arc<Desk>,
    pub(super) vessel: Vessel<Arc<Desk>>,
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
    handled: BTreeMap<PartitionId, Handled>,
    /// Of these, what the group has.
    committed: BTreeMap<PartitionId, Offset>,
    commit_at: Instant,
    /// When partitions that could not be read are tried again.
    read_again_at: Option<Instant>,
}

/// How far a partition is handled.
struct Handled {
    partition: TopicPartition,
    next: Offset,
}

/// Whether a source goes on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Goes {
    On,
    No,
}

enum News {
    Stop,
    Ended(ActorEnd),
    Led,
    Event(Result<ConsumerEvent, ClientError>),
    Due,
}

impl Driver {
    pub(super) fn new(parts: DriverParts) -> Self {
        let commit_at = Instant::now() + parts.commit_interval;
        Self { parts, handled: BTreeMap::new(), committed: BTreeMap::new(), commit_at, read_again_at: None }
    }

    pub(super) async fn run(mut self) {
        while self.turn().await == Goes::On {}
        self.end().await;
    }

    async fn turn(&mut self) -> Goes {
        let news = {
            let due_at = self.read_again_at.map_or(self.commit_at, |at| at.min(self.commit_at));
            let actor = self.parts.vessel.actor();
            let DriverParts { consumer, led, task, .. } = &mut self.parts;
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
                end = actor.ended() => News::Ended(end),
                // Before the records: where there are always some, it is due all the same.
                () = tokio::time::sleep_until(due_at) => News::Due,
                () = led_news => News::Led,
                event = consumer.next() => News::Event(event),
            }
        };
        match news {
            News::Stop => return Goes::No,
            News::Led => self.follow_leaderships().await,
            News::Event(event) => return self.take(event).await,
            News::Ended(end) => return self.go_on_after(&end).await,
            News::Due => self.due().await,
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
                self.read_again_at.get_or_insert(Instant::now() + READ_AGAIN_AFTER);
            }
        }
        Goes::On
    }

    fn forget(&mut self, partitions: &[TopicPartition]) {
        self.handled.retain(|_, handled| !partitions.contains(&handled.partition));
        self.committed.retain(|id, _| self.handled.contains_key(id));
    }

    /// All that was handed out is handled, or is handed out again: what is passed without records counts, too.
    fn note_positions(&mut self) {
        for (id, partition, next) in self.parts.consumer.positions_of_ids() {
            self.handled.insert(id, Handled { partition, next });
        }
    }

    /// Does what is to be done by now. Nothing lies on the desk.
    async fn due(&mut self) {
        let now = Instant::now();
        let is_due = self.read_again_at.is_some_and(|at| at <= now);
        if is_due || self.commit_at <= now {
            self.note_positions();
        }
        if is_due {
            self.read_again_at = None;
            for id in self.parts.consumer.failed_ids() {
                let to = self.handled.get(&id).map_or(SeekTo::Committed, |at| SeekTo::Offset(at.next));
                self.parts.consumer.seek_id(id, to);
            }
        }
        if self.commit_at <= now {
            self.commit().await;
        }
    }

    /// The actor has ended. What lay on its desk is handed out again by the next one, if there is one.
    async fn go_on_after(&mut self, end: &ActorEnd) -> Goes {
        let desk = Arc::new(self.parts.desk.anew());
        let DriverParts { vessel, task, .. } = &mut self.parts;
        if !vessel.goes_on(end, &desk, &mut task.stop).await {
            return Goes::No;
        }
        self.parts.desk = desk;
        Goes::On
    }

    /// What is not handled of a fetch is read again: nothing that was handed out counts but what was handled.
    fn put_back(&self, at: &Progress) {
        self.parts.desk.clear();
        // Where it is not read any more there is nothing to be read again.
        self.parts.consumer.seek_id(at.id, SeekTo::Offset(at.position));
    }

    /// Has a fetch handled, chunk by chunk, again what was not.
    async fn hand_out(&mut self, fetched: Fetched) -> Goes {
        self.parts.desk.put(fetched);
        let mut pause = PAUSE;
        loop {
            let before = self.parts.desk.progress();
            let actor = self.parts.vessel.actor();
            let asked = self.parts.calls.ask_actor(actor.actor(), &Take, CHUNK_WITHIN);
            let answer = tokio::select! {
                biased;
                _ = self.parts.task.stop.wait_for(|stop| *stop == Stop::AtOnce) => return Goes::No,
                answer = asked => answer,
            };
            let Some(after) = self.parts.desk.progress() else { return Goes::On };
            let handled = Handled { partition: after.partition.clone(), next: after.position };
            self.handled.insert(after.id, handled);
            if after.is_done {
                self.parts.desk.clear();
                self.due().await;
                return Goes::On;
            }
            if self.lets_go(&after) {
                self.put_back(&after);
                return Goes::On;
            }
            if self.parts.task.said() != Stop::No {
                return Goes::No;
            }
            if let Some(end) = actor.ended().now_or_never() {
                self.put_back(&after);
                return self.go_on_after(&end).await;
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
        let is_led = self.parts.led.as_ref().is_none_or(|led| led.leads(at.id));
        !is_led || !consumer.reads(at.id) || consumer.is_asked_to_give_up()
    }

    /// Begins and ends partitions as their leaderships come and go.
    async fn follow_leaderships(&mut self) {
        let Some(change) = self.parts.led.as_mut().map(Led::change) else { return };
        if !change.end.is_empty() {
            self.note_positions();
            // Who leads now begins where this says, or a little before it.
            self.commit().await;
            self.parts.consumer.unassign_ids(&change.end);
            for id in &change.end {
                self.handled.remove(id);
                self.committed.remove(id);
                self.parts.led.as_mut().into_iter().for_each(|led| led.ended(*id));
            }
        }
        for (id, partition) in change.begin {
            let begun = self.parts.consumer.assign_id(id, partition, SeekTo::Committed).await;
            let Some(led) = &mut self.parts.led else { return };
            match begun {
                Ok(()) => led.began(id),
                Err(error) => {
                    led.failed();
                    self.hindered("beginning a partition", &error);
                }
            }
        }
    }

    /// Commits what was handled and is not committed. What cannot be is tried again with the next.
    async fn commit(&mut self) {
        let handled = self.handled.iter().map(|(id, handled)| (*id, handled.next));
        let news: Vec<_> = handled.filter(|(id, next)| self.committed.get(id) != Some(next)).collect();
        if !news.is_empty() {
            self.commit_news(news).await;
        }
        // From here on: commits that take long leave time for records.
        self.commit_at = Instant::now() + self.parts.commit_interval;
    }

    async fn commit_news(&mut self, news: Vec<(PartitionId, Offset)>) {
        let committing = self.parts.consumer.commit_ids(news.clone());
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
        self.parts.vessel.actor().stop();
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

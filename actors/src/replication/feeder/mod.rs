//! The leader's side of a fetch session: an actor on the core of the replicas that it feeds.
//!
//! Woken by replicas, by the follower's turns, and by nothing else: an idle session costs nothing. Reads only while no
//! turn is on its way, so that everything that comes up meanwhile goes into the next one. Its death, like any end of
//! the session, detaches the follower from every replica; the follower opens another session.

mod feeds;
mod opening;
#[cfg(test)]
mod properties;
mod throttle;
mod wake;

use std::collections::BTreeMap;
use std::sync::Arc;

use actix::{
    Actor, ActorContext, ActorFutureExt, AsyncContext, Context, Handler, MailboxError, Message, WrapFuture,
};
use futures::future::join_all;
use millstream_transport::world::Clock;
use tokio::sync::oneshot;

use self::feeds::{Feeds, News, Overdrawn, Read, Subject};
use self::opening::{FeedOpened, OpenFeedGuard, Questions, SetLeft};
use self::wake::{Alarm, Wake};
use super::channel::{LeaderChannel, SessionError, TurnSender};
use super::message::{Ask, FollowerTurn, LeaderTurn, OpenSession, Progress, Question, Reply};
use super::ports::{Ports, ReplicaPort};
use super::reader::{Reader, Received};
use super::session_count::SessionCount;
use super::settings::FetchSettings;
use crate::events::{Events, ReplicationMetrics, SessionLost, SessionSide};
use crate::ids::NodeId;
use crate::partition::following::{
    Feed, FeedRefusal, FollowerReported, LeaveSet, OpenFeed, Opening, ReadFeed,
};

/// Questions and answers of one session under way; above it nothing more is read from the follower.
const MOST_UNANSWERED: usize = 16 << 10;

/// What a feeder is started with.
#[derive(Debug)]
pub(super) struct FeederSetup {
    pub(super) opening: OpenSession,
    pub(super) channel: LeaderChannel,
    pub(super) core: usize,
    pub(super) ports: Arc<dyn Ports>,
    pub(super) settings: FetchSettings,
    pub(super) clock: Clock,
    pub(super) events: Events,
}

/// A newer session of the same follower takes this one's place. Answered when it has let go of every replica.
#[derive(Debug, Message)]
#[rtype(result = "()")]
pub(super) struct Replaced;

/// Feeds one core of one follower's node.
#[derive(Debug)]
pub(super) struct Feeder {
    session: OpenSession,
    core: usize,
    ports: Arc<dyn Ports>,
    feeds: Feeds,
    open: BTreeMap<u32, OpenSlot>,
    questions: Questions,
    last_slot: Option<u32>,
    /// What the next turn says.
    turn: LeaderTurn,
    /// `None` while a turn is on its way.
    sender: Option<Box<dyn TurnSender<LeaderTurn>>>,
    alarm: Option<Arc<Alarm>>,
    reader: Option<Reader>,
    /// Lets the reader go on.
    go_on: Option<oneshot::Sender<()>>,
    is_reading: bool,
    is_news_due: bool,
    has_news_timer: bool,
    has_catch_up_timer: bool,
    clock: Clock,
    events: Events,
    metrics: ReplicationMetrics,
    _count: SessionCount,
}

/// A subscription's replica.
#[derive(Debug)]
struct OpenSlot {
    port: ReplicaPort,
    guard: OpenFeedGuard,
}

type ReadResult = Result<Result<Feed, FeedRefusal>, MailboxError>;

impl Feeder {
    /// Starts feeding, on this core.
    pub(super) fn begin(setup: FeederSetup) -> actix::Addr<Self> {
        Self::create(|context| {
            let FeederSetup { opening, channel, core, ports, settings, clock, events } = setup;
            let metrics = ReplicationMetrics::new(&events, SessionSide::Leader);
            let settings = FetchSettings {
                window_bytes: settings.window_bytes.min(opening.window_bytes),
                partition_window_bytes: settings.partition_window_bytes.min(opening.partition_window_bytes),
                ..settings
            };
            let me = context.address();
            Self {
                feeds: Feeds::new(settings, clock.now()),
                session: opening,
                core,
                ports,
                open: BTreeMap::new(),
                questions: Questions::default(),
                last_slot: None,
                turn: LeaderTurn::default(),
                sender: Some(channel.sender),
                alarm: Some(Alarm::new(me.clone().recipient())),
                reader: Some(Reader::start(0, channel.receiver, me.recipient())),
                go_on: None,
                is_reading: false,
                is_news_due: false,
                has_news_timer: false,
                has_catch_up_timer: false,
                clock,
                _count: SessionCount::new(metrics.sessions.clone()),
                metrics,
                events,
            }
        })
    }

    fn follower(&self) -> NodeId {
        self.session.follower
    }

    fn end(&mut self, error: &SessionError, context: &mut Context<Self>) {
        if *error != SessionError::Finished {
            let partitions = self.feeds.len() + self.questions.len();
            self.events.emit(SessionLost {
                side: SessionSide::Leader,
                peer: self.follower(),
                partitions,
                reason: &error.to_string(),
            });
        }
        self.let_go(context);
    }

    fn let_go(&mut self, context: &mut Context<Self>) {
        self.open.clear();
        self.reader = None;
        self.go_on = None;
        // Wakers that replicas still hold must not keep this actor.
        self.alarm = None;
        context.stop();
    }

    fn take_turn(&mut self, turn: FollowerTurn, context: &mut Context<Self>) -> Result<(), SessionError> {
        for slot in turn.stops {
            self.questions.stop(slot);
            self.stop_feeding(slot);
        }
        for ask in turn.asks {
            self.take_ask(ask, context)?;
        }
        for progress in turn.progress {
            self.take_progress(progress)
                .map_err(|Overdrawn| SessionError::Garbage("credit for bytes that were never sent".into()))?;
        }
        Ok(())
    }

    fn take_progress(&mut self, progress: Progress) -> Result<(), Overdrawn> {
        let Progress { slot, taken_bytes, durable_end } = progress;
        self.feeds.taken(slot, usize::try_from(taken_bytes).unwrap_or(usize::MAX))?;
        let Some(durable_end) = durable_end else { return Ok(()) };
        let Some((subject, took)) = self.feeds.reported(slot, durable_end, self.clock.now()) else {
            return Ok(());
        };
        if let Some(took) = took {
            self.metrics.durable_seconds.record(took.as_secs_f64());
        }
        if let Some(open) = self.open.get(&slot) {
            let Subject { member, epoch, .. } = subject;
            // The replica runs on this thread and has its turn before much more of this can be read.
            open.port.reported.do_send(FollowerReported { member, epoch, durable_end });
        }
        Ok(())
    }

    fn take_ask(&mut self, ask: Ask, context: &mut Context<Self>) -> Result<(), SessionError> {
        let Ask { slot, partition, member, epoch, question } = ask;
        if self.last_slot.is_some_and(|last| slot <= last) {
            return Err(SessionError::Garbage(format!("slot {slot} after {:?}", self.last_slot)));
        }
        self.last_slot = Some(slot);
        if (member.node, member.incarnation) != (self.session.follower, self.session.incarnation) {
            return Err(SessionError::Garbage(format!(
                "{member:?} in a session of node {}",
                self.follower()
            )));
        }
        let subject = Subject { partition, member, epoch };
        let port = match self.ports.port(partition) {
            Some(port) if port.core == self.core => port,
            Some(ReplicaPort { core, .. }) => {
                let core = u32::try_from(core).unwrap_or(u32::MAX);
                self.turn.answers.push((slot, Reply::Elsewhere { core }));
                return Ok(());
            }
            None => {
                self.turn.answers.push((slot, Reply::Refused(FeedRefusal::NotLeading)));
                return Ok(());
            }
        };
        match question {
            Question::Subscribe(_) => {
                if let Some(earlier) = self.feeds.of(partition) {
                    self.stop_feeding(earlier);
                }
                if let Some(ask) = self.questions.open(ask) {
                    self.ask_to_open(&ask, port, context);
                }
            }
            Question::Leave => {
                if self.questions.leave(slot, subject) {
                    ask_to_leave(subject, &port, context);
                }
            }
        }
        Ok(())
    }

    fn ask_to_open(&self, ask: &Ask, port: ReplicaPort, context: &Context<Self>) {
        let (Question::Subscribe(log), Some(alarm)) = (ask.question, &self.alarm) else { return };
        let Ask { slot, partition, member, epoch, .. } = *ask;
        let subject = Subject { partition, member, epoch };
        let asked = port.open.send(OpenFeed { member, epoch, log, waker: alarm.waker(slot) });
        let me = context.address();
        actix_rt::spawn(async move {
            let answer = match asked.await {
                // From here on the guard tells the replica when nobody is fed any more, even if this actor is gone.
                Ok(Ok(opening)) => Ok((opening, OpenFeedGuard::new(&port, subject))),
                Ok(Err(refusal)) => Err(refusal),
                Err(_) => Err(FeedRefusal::NotLeading),
            };
            me.do_send(FeedOpened { slot, subject, port, answer });
        });
    }

    /// Asks again for a question that had to wait for the answer to one before it.
    fn ask_next(&mut self, ask: Ask, context: &Context<Self>) {
        match self.ports.port(ask.partition) {
            Some(port) if port.core == self.core => self.ask_to_open(&ask, port, context),
            _ => {
                let (is_wanted, _) = self.questions.opened(ask.slot, ask.partition);
                if is_wanted {
                    self.turn.answers.push((ask.slot, Reply::Refused(FeedRefusal::NotLeading)));
                }
            }
        }
    }

    fn stop_feeding(&mut self, slot: u32) {
        self.feeds.remove(slot);
        self.open.remove(&slot);
    }

    /// Goes on as far as it can: reads if no turn is on its way, sends what there is to say.
    fn go_on(&mut self, context: &mut Context<Self>) {
        if self.sender.is_some() {
            if !self.is_reading {
                let reads = self.feeds.round();
                self.is_reading = !reads.is_empty();
                self.read_tail(reads, context);
            }
            if let Some(read) = self.feeds.catch_up(self.clock.now()) {
                self.read_behind(read, context);
            }
            if !self.is_reading {
                self.say(context);
            }
        }
        self.set_timers(context);
        let unanswered = self.turn.answers.len() + self.questions.len();
        if unanswered < MOST_UNANSWERED
            && let Some(go_on) = self.go_on.take()
        {
            let _ = go_on.send(());
        }
    }

    fn say(&mut self, context: &mut Context<Self>) {
        let (parts, bytes) = self.feeds.take_parts(self.clock.now(), self.is_news_due);
        self.turn.parts = parts;
        self.is_news_due &= self.feeds.has_untold();
        if self.turn.is_empty() {
            return;
        }
        let Some(mut sender) = self.sender.take() else { return };
        self.metrics.sent_bytes.increment(u64::try_from(bytes).unwrap_or(u64::MAX));
        let turn = std::mem::take(&mut self.turn);
        let sending = async move {
            let sent = sender.send(turn).await;
            (sender, sent)
        };
        let sent = sending.into_actor(self).map(|(sender, sent), feeder, context| match sent {
            Ok(()) => {
                feeder.sender = Some(sender);
                feeder.go_on(context);
            }
            Err(error) => feeder.end(&error, context),
        });
        context.spawn(sent);
    }

    /// Starts one read; `None` if its subscription is over.
    fn start_read(&self, read: Read) -> Option<impl Future<Output = (Read, ReadResult)> + use<>> {
        let Read { member, epoch, from, max_bytes, .. } = read;
        let asked = self.open.get(&read.slot)?.port.read.send(ReadFeed { member, epoch, from, max_bytes });
        Some(async move { (read, asked.await) })
    }

    fn read_tail(&self, reads: Vec<Read>, context: &mut Context<Self>) {
        if reads.is_empty() {
            return;
        }
        let reads: Vec<_> = reads.into_iter().filter_map(|read| self.start_read(read)).collect();
        let all = join_all(reads).into_actor(self).map(|results, feeder, context| {
            feeder.is_reading = false;
            for (read, result) in results {
                feeder.take_read(read, result);
            }
            feeder.go_on(context);
        });
        context.spawn(all);
    }

    fn read_behind(&mut self, read: Read, context: &mut Context<Self>) {
        match self.start_read(read) {
            Some(reading) => {
                let done = reading.into_actor(self).map(|(read, result), feeder, context| {
                    feeder.take_read(read, result);
                    feeder.go_on(context);
                });
                context.spawn(done);
            }
            None => drop(self.feeds.refused(read)),
        }
    }

    fn take_read(&mut self, read: Read, result: ReadResult) {
        match result {
            Ok(Ok(feed)) => self.feeds.read(read, feed),
            // It leads no more, or another session feeds this follower, or it has died: the follower asks again.
            Ok(Err(_)) | Err(_) => {
                if self.feeds.refused(read) {
                    self.turn.ended.push(read.slot);
                    if let Some(open) = self.open.remove(&read.slot) {
                        open.guard.disarm();
                    }
                }
            }
        }
    }

    fn set_timers(&mut self, context: &mut Context<Self>) {
        if self.feeds.has_untold() && !self.is_news_due && !self.has_news_timer {
            self.has_news_timer = true;
            context.run_later(self.feeds.news_delay(), |feeder, context| {
                feeder.has_news_timer = false;
                feeder.is_news_due = true;
                feeder.go_on(context);
            });
        }
        if !self.has_catch_up_timer
            && let Some(pause) = self.feeds.catch_up_pause(self.clock.now())
        {
            self.has_catch_up_timer = true;
            context.run_later(pause, |feeder, context| {
                feeder.has_catch_up_timer = false;
                feeder.go_on(context);
            });
        }
    }
}

fn ask_to_leave(subject: Subject, port: &ReplicaPort, context: &Context<Feeder>) {
    let Subject { member, epoch, .. } = subject;
    let asked = port.leave.send(LeaveSet { member, epoch });
    let me = context.address();
    actix_rt::spawn(async move {
        let answer = asked.await.unwrap_or(Err(FeedRefusal::NotLeading));
        me.do_send(SetLeft { subject, answer });
    });
}

impl Actor for Feeder {
    type Context = Context<Self>;
}

impl Handler<Wake> for Feeder {
    type Result = ();

    fn handle(&mut self, _: Wake, context: &mut Context<Self>) {
        let Some(alarm) = &self.alarm else { return };
        for slot in alarm.take() {
            self.feeds.wake(slot);
        }
        self.go_on(context);
    }
}

impl Handler<Received<FollowerTurn>> for Feeder {
    type Result = ();

    fn handle(&mut self, received: Received<FollowerTurn>, context: &mut Context<Self>) {
        self.go_on = Some(received.go_on);
        let taken = received.turn.and_then(|turn| self.take_turn(turn, context));
        match taken {
            Ok(()) => self.go_on(context),
            Err(error) => self.end(&error, context),
        }
    }
}

impl Handler<FeedOpened> for Feeder {
    type Result = ();

    fn handle(&mut self, opened: FeedOpened, context: &mut Context<Self>) {
        let FeedOpened { slot, subject, port, answer } = opened;
        let (is_wanted, next) = self.questions.opened(slot, subject.partition);
        match answer {
            Ok((Opening::Accepted { .. }, guard)) if !is_wanted => drop(guard),
            Ok((opening @ Opening::Accepted { end, high_watermark, log_start }, guard)) => {
                self.turn.answers.push((slot, Reply::Opened(opening)));
                self.feeds.insert(slot, subject, end, News { high_watermark, log_start });
                self.open.insert(slot, OpenSlot { port, guard });
            }
            Ok((opening, guard)) => {
                guard.disarm();
                if is_wanted {
                    self.turn.answers.push((slot, Reply::Opened(opening)));
                }
            }
            Err(refusal) if is_wanted => self.turn.answers.push((slot, Reply::Refused(refusal))),
            Err(_) => {}
        }
        if let Some(next) = next {
            self.ask_next(next, context);
        }
        self.go_on(context);
    }
}

impl Handler<SetLeft> for Feeder {
    type Result = ();

    fn handle(&mut self, left: SetLeft, context: &mut Context<Self>) {
        if let Some(slot) = self.questions.left(left.subject) {
            let reply = left.answer.map_or_else(Reply::Refused, Reply::Left);
            self.turn.answers.push((slot, reply));
        }
        self.go_on(context);
    }
}

impl Handler<Replaced> for Feeder {
    type Result = ();

    fn handle(&mut self, _: Replaced, context: &mut Context<Self>) {
        self.let_go(context);
    }
}

//! The leader's side of a fetch session: an actor on the core of the replicas that it feeds.
//!
//! Woken by replicas, by the follower's turns, and by nothing else: an idle session costs nothing. Reads only while no
//! turn is on its way, so that everything that comes up meanwhile goes into the next one. Its death, like any end of
//! the session, detaches the follower from every replica; the follower opens another session.

mod asks;
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

use self::feeds::{Feeds, Read};
use self::opening::{OpenFeedGuard, Questions};
use self::wake::{Alarm, Wake};
use super::channel::{LeaderChannel, SessionError, TurnSender};
use super::message::{FollowerTurn, LeaderTurn, OpenSession};
use super::ports::{Ports, ReplicaPort};
use super::reader::{Reader, Received};
use super::session_count::SessionCount;
use super::settings::FetchSettings;
use crate::events::{Events, ReplicationMetrics, SessionLost, SessionSide};
use crate::ids::NodeId;
use crate::kinds::FEEDER;
use crate::partition::following::{Feed, FeedRefusal, ReadFeed};
use crate::supervision::roster::{Entry, Seat};

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
    seat: Seat,
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
            let seat = events.seat(Entry::new(FEEDER, format!("core {core} to node {}", opening.follower)));
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
                seat,
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

impl Actor for Feeder {
    type Context = Context<Self>;
}

impl Handler<Wake> for Feeder {
    type Result = ();

    fn handle(&mut self, _: Wake, context: &mut Context<Self>) {
        let _turn = self.seat.turn();
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
        let _turn = self.seat.turn();
        self.go_on = Some(received.go_on);
        let taken = received.turn.and_then(|turn| self.take_turn(turn, context));
        match taken {
            Ok(()) => self.go_on(context),
            Err(error) => self.end(&error, context),
        }
    }
}

impl Handler<Replaced> for Feeder {
    type Result = ();

    fn handle(&mut self, _: Replaced, context: &mut Context<Self>) {
        let _turn = self.seat.turn();
        self.let_go(context);
    }
}

//! The life of a follower's session: opened, lost, opened again after a pause, closed when nobody uses it.

use std::time::Duration;

use actix::{ActorFutureExt, AsyncContext, Context, SpawnHandle, WrapFuture};

use super::Follower;
use super::table::Table;
use crate::events::{SessionLost, SessionNotOpened, SessionSide};
use crate::replication::channel::{FollowerChannel, SessionError, TurnSender};
use crate::replication::message::{FollowerTurn, OpenSession, SessionOpened};
use crate::replication::reader::Reader;
use crate::replication::session_count::SessionCount;

/// No node has more cores than this.
const MOST_CORES: u32 = 1024;

#[derive(Debug)]
pub(super) enum Phase {
    /// No session, and nobody has asked for one.
    Closed,
    /// No session before a pause has passed.
    Pausing,
    /// Being opened.
    Dialling,
    /// Open.
    Up(Box<Session>),
}

#[derive(Debug)]
pub(super) struct Session {
    pub(super) cores: u32,
    pub(super) table: Table,
    /// `None` while a turn is on its way.
    pub(super) sender: Option<Box<dyn TurnSender<FollowerTurn>>>,
    /// That turn.
    pub(super) sending: Option<SpawnHandle>,
    _reader: Reader,
    _count: SessionCount,
}

impl Follower {
    pub(super) fn dial(&mut self, context: &mut Context<Self>) {
        let settings = &self.links.settings;
        let opening = OpenSession {
            follower: self.links.node,
            incarnation: self.links.incarnation,
            core: self.links.core,
            leader_core: self.key.core,
            window_bytes: settings.window_bytes,
            partition_window_bytes: settings.partition_window_bytes,
        };
        self.phase = Phase::Dialling;
        let dialled = self.links.dial.dial(self.key.leader, opening);
        let opened = dialled.into_actor(self).map(|dialled, follower, context| match dialled {
            Ok((opened, channel)) => follower.opened(opened, channel, context),
            Err(error) => follower.not_opened(&error, context),
        });
        context.spawn(opened);
    }

    fn opened(&mut self, opened: SessionOpened, channel: FollowerChannel, context: &mut Context<Self>) {
        let settings = &self.links.settings;
        if !(self.key.core + 1..=MOST_CORES).contains(&opened.cores) {
            let error = SessionError::Garbage(format!("a node of {} cores", opened.cores));
            return self.not_opened(&error, context);
        }
        let windows = SessionOpened {
            window_bytes: opened.window_bytes.min(settings.window_bytes),
            partition_window_bytes: opened.partition_window_bytes.min(settings.partition_window_bytes),
            ..opened
        };
        self.number += 1;
        self.failures = 0;
        let reader = Reader::start(self.number, channel.receiver, context.address().recipient());
        self.phase = Phase::Up(Box::new(Session {
            cores: opened.cores,
            table: Table::new(windows),
            sender: Some(channel.sender),
            sending: None,
            _reader: reader,
            _count: SessionCount::new(self.links.metrics.sessions.clone()),
        }));
        self.go_on(context);
    }

    fn not_opened(&mut self, error: &SessionError, context: &mut Context<Self>) {
        let partitions = self.subscribes.len() + self.leaves.len();
        let reason = &error.to_string();
        self.links.events.emit(SessionNotOpened { peer: self.key.leader, partitions, reason });
        self.links.forget_core(self.key);
        self.pause(context);
    }

    pub(super) fn lost(&mut self, error: &SessionError, context: &mut Context<Self>) {
        let Phase::Up(session) = &self.phase else { return };
        // A leader that ends a session in order, as when it stops, ends it for nobody who still reads.
        if *error != SessionError::Finished || session.table.len() > 0 {
            self.links.events.emit(SessionLost {
                side: SessionSide::Follower,
                peer: self.key.leader,
                partitions: session.table.len(),
                reason: &error.to_string(),
            });
        }
        self.pause(context);
    }

    /// Leaves a session, if there is one: everybody in it is told, its sender's end tells the other side.
    fn leave_session(&mut self, next: Phase, context: &mut Context<Self>) {
        if let Phase::Up(session) = &self.phase
            && let Some(sending) = session.sending
        {
            context.cancel_future(sending);
        }
        self.phase = next;
    }

    /// Lets everybody know, and opens no session for a while.
    fn pause(&mut self, context: &mut Context<Self>) {
        self.leave_session(Phase::Pausing, context);
        self.subscribes.clear();
        self.leaves.clear();
        let settings = &self.links.settings;
        let longest =
            settings.backoff.saturating_mul(1 << self.failures.min(16)).min(settings.longest_backoff);
        self.failures += 1;
        let longest = u64::try_from(longest.as_micros()).unwrap_or(u64::MAX);
        let pause = self.links.random.range(longest / 2, longest.max(1));
        context.run_later(Duration::from_micros(pause), |follower, context| {
            follower.phase = Phase::Closed;
            follower.go_on(context);
        });
    }

    pub(super) fn watch_idleness(&mut self, context: &mut Context<Self>) {
        if self.has_idle_timer || !self.is_idle() {
            return;
        }
        self.has_idle_timer = true;
        let uses = self.uses;
        context.run_later(self.links.settings.idle_close, move |follower, context| {
            follower.has_idle_timer = false;
            if follower.uses == uses && follower.is_idle() {
                follower.leave_session(Phase::Closed, context);
            } else {
                follower.watch_idleness(context);
            }
        });
    }

    fn is_idle(&self) -> bool {
        matches!(&self.phase, Phase::Up(session) if session.table.len() == 0)
    }
}

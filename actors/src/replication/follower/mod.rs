//! The follower's side of a fetch session: an actor on the core of the replicas that it serves, one for each core of each
//! leader's node that one of them has asked for.
//!
//! Its session is opened when a replica asks and closed when nobody has used it for a while. When the session is lost,
//! every replica that is subscribed or waits hears so, and asks again when it sees fit. Should this actor die, the same
//! happens, and the next question starts another.

mod asker;
mod desk;
mod session;
mod table;

use std::collections::BTreeMap;
use std::sync::Arc;

use actix::{Actor, ActorFutureExt, Addr, AsyncContext, Context, Handler, WrapFuture};

pub(crate) use self::asker::Asker;
use self::desk::Left;
pub(crate) use self::desk::{Desk, Wake};
use self::session::Phase;
use self::table::{After, Garbage};
use super::channel::SessionError;
use super::links::LinksCore;
use super::message::{FollowerTurn, LeaderTurn};
use super::reader::Received;
use crate::ids::{NodeId, PartitionId};
use crate::kinds::FOLLOWER;
use crate::supervision::roster::{Entry, Seat};

/// With whom a session is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct SessionKey {
    pub(crate) leader: NodeId,
    pub(crate) core: u32,
}

/// Serves the replicas of one core that follow leaders on one core of another node.
#[derive(Debug)]
pub(crate) struct Follower {
    key: SessionKey,
    links: Arc<LinksCore>,
    desk: Arc<Desk>,
    /// Counts sessions, so that what comes late from one is told from the next.
    number: u64,
    phase: Phase,
    /// Failures since the last success.
    failures: u32,
    subscribes: BTreeMap<PartitionId, Asker>,
    leaves: BTreeMap<PartitionId, Asker>,
    /// Moves with each use; a timer that finds it where it was finds nobody there.
    uses: u64,
    has_idle_timer: bool,
    seat: Seat,
}

impl Follower {
    /// Starts one, on this core.
    pub(crate) fn begin(key: SessionKey, links: Arc<LinksCore>) -> (Addr<Self>, Arc<Desk>) {
        let mut left_on = None;
        let address = Self::create(|context| {
            let desk = Desk::new(context.address().recipient());
            left_on = Some(Arc::clone(&desk));
            let SessionKey { leader, core } = key;
            let entry = Entry::new(FOLLOWER, format!("of node {leader} core {core}"));
            Self {
                key,
                seat: links.events.seat(entry),
                links,
                desk,
                number: 0,
                phase: Phase::Closed,
                failures: 0,
                subscribes: BTreeMap::new(),
                leaves: BTreeMap::new(),
                uses: 0,
                has_idle_timer: false,
            }
        });
        let desk = left_on.unwrap_or_else(|| Desk::new(address.clone().recipient()));
        (address, desk)
    }

    fn take_left(&mut self, left: Left) {
        let Left { closes, subscribes, leaves, reports, taken, .. } = left;
        self.uses += 1;
        for partition in closes {
            if let Some(asked) = self.subscribes.remove(&partition) {
                asked.silence();
            }
            if let Phase::Up(session) = &mut self.phase {
                session.table.close(partition);
            }
        }
        for (waiting, asked) in [(&mut self.subscribes, subscribes), (&mut self.leaves, leaves)] {
            for (partition, asker) in asked {
                if let Some(earlier) = waiting.insert(partition, asker) {
                    earlier.silence();
                }
            }
        }
        if let Phase::Up(session) = &mut self.phase {
            for (partition, (epoch, ends)) in reports {
                session.table.report(partition, epoch, ends);
            }
        }
        for (number, slot) in taken {
            if number == self.number {
                self.taken(slot);
            }
        }
    }

    fn taken(&mut self, slot: u32) {
        if let Phase::Up(session) = &mut self.phase {
            session.table.taken(slot);
        }
        self.deliver(slot);
    }

    fn deliver(&mut self, slot: u32) {
        let Phase::Up(session) = &mut self.phase else { return };
        let Some(delivery) = session.table.deliver(slot) else { return };
        let (desk, number) = (Arc::clone(&self.desk), self.number);
        let taken_in = delivery.replica.send(delivery.message);
        actix_rt::spawn(async move {
            // A replica that has died takes in nothing more; its subscription is closed with it.
            let _ = taken_in.await;
            desk.taken(number, slot);
        });
    }

    /// Goes on as far as it can: opens a session if somebody waits for one, says what there is to say.
    fn go_on(&mut self, context: &mut Context<Self>) {
        if let Phase::Closed = self.phase
            && !(self.subscribes.is_empty() && self.leaves.is_empty())
        {
            self.dial(context);
        }
        let Phase::Up(session) = &mut self.phase else { return };
        let waiting = std::mem::take(&mut self.subscribes).into_values();
        for asker in waiting.chain(std::mem::take(&mut self.leaves).into_values()) {
            if !session.table.ask(asker) {
                let error = SessionError::Garbage("all its numbers are used up".into());
                return self.lost(&error, context);
            }
        }
        if session.sender.is_some()
            && let Some(turn) = session.table.take_turn()
        {
            self.say(turn, context);
        }
        self.watch_idleness(context);
    }

    fn say(&mut self, turn: FollowerTurn, context: &mut Context<Self>) {
        let Phase::Up(session) = &mut self.phase else { return };
        let Some(mut sender) = session.sender.take() else { return };
        let sending = async move {
            let sent = sender.send(turn).await;
            (sender, sent)
        };
        let sent = sending.into_actor(self).map(|(sender, sent), follower, context| {
            if let Phase::Up(session) = &mut follower.phase {
                session.sender = Some(sender);
                session.sending = None;
            }
            match sent {
                Ok(()) => follower.go_on(context),
                Err(error) => follower.lost(&error, context),
            }
        });
        let sending = context.spawn(sent);
        if let Phase::Up(session) = &mut self.phase {
            session.sending = Some(sending);
        }
    }

    fn take_turn(&mut self, turn: LeaderTurn) -> Result<(), SessionError> {
        self.uses += 1;
        for (slot, reply) in turn.answers {
            let Phase::Up(session) = &mut self.phase else { return Ok(()) };
            let cores = session.cores;
            match session.table.replied(slot, reply).map_err(garbage)? {
                After::Done => {}
                After::Move(core, asker) if core < cores && core != self.key.core => {
                    if let Some(asker) = asker.hop() {
                        self.links.ask_elsewhere(self.key, core, asker);
                    }
                }
                After::Move(core, _) => {
                    return Err(SessionError::Garbage(format!(
                        "sent on from core {} to {core}",
                        self.key.core
                    )));
                }
            }
        }
        let Phase::Up(session) = &mut self.phase else { return Ok(()) };
        for slot in turn.ended {
            session.table.ended(slot);
        }
        let mut bytes = 0;
        for part in turn.parts {
            let slot = part.slot;
            bytes += part.batches.len();
            let Phase::Up(session) = &mut self.phase else { return Ok(()) };
            session.table.fed(part).map_err(garbage)?;
            self.deliver(slot);
        }
        self.links.metrics.received_bytes.increment(u64::try_from(bytes).unwrap_or(u64::MAX));
        Ok(())
    }
}

fn garbage(garbage: Garbage) -> SessionError {
    SessionError::Garbage(garbage.0)
}

impl Actor for Follower {
    type Context = Context<Self>;

    fn stopped(&mut self, _: &mut Context<Self>) {
        self.desk.shut();
    }
}

impl Handler<Wake> for Follower {
    type Result = ();

    fn handle(&mut self, _: Wake, context: &mut Context<Self>) {
        let _turn = self.seat.turn();
        let left = self.desk.clear();
        self.take_left(left);
        self.go_on(context);
    }
}

impl Handler<Received<LeaderTurn>> for Follower {
    type Result = ();

    fn handle(&mut self, received: Received<LeaderTurn>, context: &mut Context<Self>) {
        let _turn = self.seat.turn();
        let Received { session, turn, go_on } = received;
        if session != self.number || !matches!(self.phase, Phase::Up(_)) {
            return;
        }
        match turn.and_then(|turn| self.take_turn(turn)) {
            Ok(()) => {
                let _ = go_on.send(());
                self.go_on(context);
            }
            Err(error) => self.lost(&error, context),
        }
    }
}

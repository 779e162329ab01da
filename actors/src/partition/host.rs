//! Begins replicas on a core's own thread: one actor per core, which also owns the core's timer wheel.

use std::fmt;
use std::rc::Rc;
use std::sync::Arc;

use actix::{Actor, Addr, AsyncContext, Context, Handler, Message, Recipient};
use millstream_transport::world::{Clock, Core};
use tokio::sync::oneshot;

use super::core_clock::CoreClock;
use super::following::{FromLeader, LeaderLinks};
use super::replica::{Replica, ReplicaParts};
use crate::events::Events;
use crate::kinds::CORE_HOST;
use crate::supervision::roster::{Entry, Seat};

/// Makes the links of replicas to their leaders.
pub trait LinkMaker: fmt::Debug + Send + Sync {
    /// The links of a replica of this core, which hears by `told`. Called on that core's thread; the replica drops them
    /// when it ends, and nothing more is read for it then.
    fn links(&self, core: usize, told: Recipient<FromLeader>) -> Box<dyn LeaderLinks>;
}

/// The host of one core.
#[derive(Debug)]
pub struct CoreHost {
    core: usize,
    clock: Rc<CoreClock>,
    links: Arc<dyn LinkMaker>,
    seat: Seat,
}

/// Begin a replica. Answered with its address.
#[derive(Message)]
#[rtype(result = "()")]
pub struct Begin {
    /// What it is begun with.
    pub parts: Box<ReplicaParts>,
    /// Where its address goes.
    pub begun: Box<dyn FnOnce(Addr<Replica>) + Send>,
}

impl CoreHost {
    /// Starts the host on a core; `None` if the core has stopped.
    pub async fn start(
        core: &Core,
        clock: Clock,
        links: Arc<dyn LinkMaker>,
        events: &Events,
    ) -> Option<Addr<Self>> {
        let (send, receive) = oneshot::channel();
        let core_index = core.index;
        let seat = events.seat(Entry::new(CORE_HOST, format!("core {core_index}")));
        core.spawn(move || async move {
            let address = Self { core: core_index, clock: CoreClock::start(clock), links, seat }.start();
            // The receiver waits below.
            let _ = send.send(address);
        });
        receive.await.ok()
    }
}

impl Actor for CoreHost {
    type Context = Context<Self>;

    fn started(&mut self, context: &mut Self::Context) {
        context.set_mailbox_capacity(CORE_HOST.mailbox_max);
    }
}

impl Handler<Begin> for CoreHost {
    type Result = ();

    fn handle(&mut self, begin: Begin, _: &mut Self::Context) {
        let _turn = self.seat.turn();
        let replica = Replica::create(|context| {
            let links = self.links.links(self.core, context.address().recipient());
            Replica::new(*begin.parts, links, Rc::clone(&self.clock))
        });
        (begin.begun)(replica);
    }
}

impl fmt::Debug for Begin {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.debug_struct("Begin").field("partition", &self.parts.partition).finish_non_exhaustive()
    }
}

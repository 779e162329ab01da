//! Begins replicas on a core's own thread: one actor per core, which also owns the core's timer wheel.

use std::fmt;
use std::rc::Rc;

use actix::{Actor, Addr, Context, Handler, Message};
use millstream_transport::world::{Clock, Core};
use tokio::sync::oneshot;

use super::core_clock::CoreClock;
use super::replica::{Replica, ReplicaParts};
use crate::kinds::CORE_HOST;

/// The host of one core.
#[derive(Debug)]
pub struct CoreHost {
    clock: Rc<CoreClock>,
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
    pub async fn start(core: &Core, clock: Clock) -> Option<Addr<Self>> {
        let (send, receive) = oneshot::channel();
        core.spawn(move || async move {
            let address = Self { clock: CoreClock::start(clock) }.start();
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
        let replica = Replica::new(*begin.parts, Rc::clone(&self.clock)).start();
        (begin.begun)(replica);
    }
}

impl fmt::Debug for Begin {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.debug_struct("Begin").field("partition", &self.parts.partition).finish_non_exhaustive()
    }
}

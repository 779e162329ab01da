//! A following replica.

use std::sync::{Arc, Mutex};

use actix::{Actor, Addr, AsyncContext, Context, Handler, Message, Recipient, ResponseFuture};
use bytes::Bytes;
use millstream_transport::world::watch;

use super::{EPOCH, LEADER, member, offsets, partition};
use crate::ids::{LeaderEpoch, Offset, PartitionId};
use crate::partition::following::*;
use crate::partition::host::LinkMaker;
use crate::replication::links::Links;

/// What a following replica was told, in short.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(in crate::replication::tests) enum Noted {
    Opened(Opening),
    Interrupted,
    LeftSet,
}

#[derive(Debug)]
pub(in crate::replication::tests) struct Follows {
    pub(in crate::replication::tests) log: Vec<u8>,
    pub(in crate::replication::tests) end: i64,
    pub(in crate::replication::tests) high_watermark: Offset,
    pub(in crate::replication::tests) noted: Vec<Noted>,
    /// Batches that came and were taken in.
    pub(in crate::replication::tests) fed: usize,
    /// Bytes that came, taken in or not.
    pub(in crate::replication::tests) come: usize,
}

/// A following replica.
#[derive(Clone, Debug)]
pub(in crate::replication::tests) struct Replica {
    pub(in crate::replication::tests) state: Arc<Mutex<Follows>>,
    address: Addr<FollowerActor>,
    stands_still: Arc<watch::Sender<bool>>,
}

#[derive(Debug)]
pub(in crate::replication::tests) struct FollowerActor {
    partition: PartitionId,
    state: Arc<Mutex<Follows>>,
    links: Box<dyn LeaderLinks>,
    stands_still: watch::Receiver<bool>,
}

type Act = Box<dyn FnOnce(&dyn LeaderLinks, PartitionId, &Mutex<Follows>) + Send>;

/// Something to do with a replica's links.
#[derive(Message)]
#[rtype(result = "()")]
struct Do(Act);

/// Ends a replica.
#[derive(Message)]
#[rtype(result = "()")]
struct Die;

impl Replica {
    pub(in crate::replication::tests) async fn links(
        &self,
        act: impl FnOnce(&dyn LeaderLinks, PartitionId, &Mutex<Follows>) + Send + 'static,
    ) {
        self.address.send(Do(Box::new(act))).await.unwrap();
    }

    pub(in crate::replication::tests) async fn open(&self, epoch: LeaderEpoch) {
        self.links(move |links, partition, state| {
            let end = Offset(state.lock().unwrap().end);
            let log = FollowerLog { end, durable_end: end, last_epoch: None };
            links.open(LEADER, partition, member(), epoch, log);
        })
        .await;
    }

    pub(in crate::replication::tests) async fn close(&self) {
        self.links(|links, partition, _| links.close(partition)).await;
    }

    pub(in crate::replication::tests) async fn leave(&self) {
        self.links(|links, partition, _| links.leave(LEADER, partition, member(), EPOCH)).await;
    }

    pub(in crate::replication::tests) async fn die(&self) {
        self.address.send(Die).await.unwrap();
    }

    /// Takes nothing in any more, or goes on.
    pub(in crate::replication::tests) fn stand_still(&self, stands_still: bool) {
        self.stands_still.send_replace(stands_still);
    }

    pub(in crate::replication::tests) fn noted(&self) -> Vec<Noted> {
        self.state.lock().unwrap().noted.clone()
    }

    pub(in crate::replication::tests) fn take_noted(&self) -> Vec<Noted> {
        std::mem::take(&mut self.state.lock().unwrap().noted)
    }

    pub(in crate::replication::tests) fn end(&self) -> i64 {
        self.state.lock().unwrap().end
    }

    pub(in crate::replication::tests) fn log(&self) -> Bytes {
        self.state.lock().unwrap().log.clone().into()
    }
}

impl Actor for FollowerActor {
    type Context = Context<Self>;
}

impl Handler<Do> for FollowerActor {
    type Result = ();

    fn handle(&mut self, act: Do, _: &mut Context<Self>) {
        (act.0)(&*self.links, self.partition, &self.state);
    }
}

impl Handler<Die> for FollowerActor {
    type Result = ();

    fn handle(&mut self, _: Die, context: &mut Context<Self>) {
        actix::ActorContext::stop(context);
    }
}

/// Taken in at last.
#[derive(Message)]
#[rtype(result = "()")]
struct Take(LeaderEpoch, Bytes, Offset);

impl Handler<FromLeader> for FollowerActor {
    type Result = ResponseFuture<()>;

    fn handle(&mut self, from: FromLeader, context: &mut Context<Self>) -> Self::Result {
        let mut state = self.state.lock().unwrap();
        match from.told {
            Told::Opened(opening) => state.noted.push(Noted::Opened(opening)),
            Told::Interrupted => state.noted.push(Noted::Interrupted),
            Told::LeftSet => state.noted.push(Noted::LeftSet),
            Told::Fed { batches, high_watermark, .. } => {
                state.come += batches.len();
                let (me, mut stands_still) = (context.address(), self.stands_still.clone());
                return Box::pin(async move {
                    let _ = stands_still.wait_for(|stands_still| !stands_still).await;
                    me.send(Take(from.epoch, batches, high_watermark)).await.unwrap();
                });
            }
        }
        Box::pin(async {})
    }
}

impl Handler<Take> for FollowerActor {
    type Result = ();

    fn handle(&mut self, Take(epoch, batches, high_watermark): Take, _: &mut Context<Self>) {
        let mut state = self.state.lock().unwrap();
        state.high_watermark = high_watermark;
        let offsets = offsets(&batches);
        let goes_on = offsets.first().is_none_or(|first| *first == state.end);
        if goes_on && !offsets.is_empty() {
            state.log.extend_from_slice(&batches);
            state.end += i64::try_from(offsets.len()).unwrap();
            state.fed += 1;
            let ends = FollowerEnds { durable_end: Offset(state.end), log_start: Offset(0) };
            self.links.report(self.partition, epoch, ends);
        }
    }
}

/// Starts a following replica with these links.
pub(in crate::replication::tests) fn follow(links: &Links, index: i32) -> Replica {
    start(index, |told| links.of(told))
}

/// Starts a following replica on a core.
pub(in crate::replication::tests) fn follow_on(links: &dyn LinkMaker, core: usize, index: i32) -> Replica {
    start(index, |told| links.links(core, told))
}

fn start(index: i32, links: impl FnOnce(Recipient<FromLeader>) -> Box<dyn LeaderLinks>) -> Replica {
    let follows =
        Follows { log: Vec::new(), end: 0, high_watermark: Offset::ZERO, noted: Vec::new(), fed: 0, come: 0 };
    let state = Arc::new(Mutex::new(follows));
    let (stands_still, is_still) = watch::channel(false);
    let kept = Arc::clone(&state);
    let address = FollowerActor::create(|context| FollowerActor {
        partition: partition(index),
        state: kept,
        links: links(context.address().recipient()),
        stands_still: is_still,
    });
    Replica { state, address, stands_still: Arc::new(stands_still) }
}

//! A leading replica.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};

use actix::{Actor, Context, Handler};
use bytes::Bytes;

use super::{EPOCH, batch, partition};
use crate::ids::{LeaderEpoch, Member, Offset, PartitionId};
use crate::partition::following::*;
use crate::replication::ports::{Ports, ReplicaPort};

/// What has been said to a leader.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(in crate::replication::tests) enum Heard {
    Opened(LeaderEpoch),
    Reported(Offset),
    Detached(LeaderEpoch),
}

#[derive(Debug)]
pub(in crate::replication::tests) struct Leads {
    pub(in crate::replication::tests) epoch: Option<LeaderEpoch>,
    pub(in crate::replication::tests) log: Vec<Bytes>,
    pub(in crate::replication::tests) high_watermark: Offset,
    pub(in crate::replication::tests) opening: Option<Opening>,
    pub(in crate::replication::tests) lets_leave: bool,
    pub(in crate::replication::tests) heard: Vec<Heard>,
    pub(in crate::replication::tests) reads: usize,
    feed: Option<(Member, LeaderEpoch, Box<dyn FeedWaker>)>,
}

/// A leading replica.
#[derive(Clone, Debug)]
pub(in crate::replication::tests) struct Leader {
    pub(in crate::replication::tests) partition: PartitionId,
    pub(in crate::replication::tests) state: Arc<Mutex<Leads>>,
}

impl Leader {
    pub(in crate::replication::tests) fn append(&self, bytes: usize) {
        let mut state = self.state.lock().unwrap();
        let offset = i64::try_from(state.log.len()).unwrap();
        state.log.push(batch(self.partition, offset, bytes));
        state.wake(self.partition);
    }

    pub(in crate::replication::tests) fn commit(&self, high_watermark: i64) {
        let mut state = self.state.lock().unwrap();
        state.high_watermark = Offset(high_watermark);
        state.wake(self.partition);
    }

    pub(in crate::replication::tests) fn lead(&self, epoch: Option<LeaderEpoch>) {
        let mut state = self.state.lock().unwrap();
        state.epoch = epoch;
        state.wake(self.partition);
    }

    pub(in crate::replication::tests) fn log(&self) -> Bytes {
        self.state.lock().unwrap().log.concat().into()
    }

    pub(in crate::replication::tests) fn heard(&self) -> Vec<Heard> {
        self.state.lock().unwrap().heard.clone()
    }

    pub(in crate::replication::tests) fn is_fed(&self) -> bool {
        self.state.lock().unwrap().feed.is_some()
    }
}

impl Leads {
    fn wake(&self, partition: PartitionId) {
        if let Some((_, _, waker)) = &self.feed {
            waker.wake(partition);
        }
    }
}

struct LeaderActor(Leader);

impl Actor for LeaderActor {
    type Context = Context<Self>;
}

impl Handler<OpenFeed> for LeaderActor {
    type Result = Result<Opening, FeedRefusal>;

    fn handle(&mut self, open: OpenFeed, _: &mut Context<Self>) -> Self::Result {
        let mut state = self.0.state.lock().unwrap();
        if state.epoch != Some(open.epoch) {
            return Err(FeedRefusal::NotLeading);
        }
        state.heard.push(Heard::Opened(open.epoch));
        let accepted = Opening::Accepted {
            end: open.log.end,
            high_watermark: state.high_watermark,
            log_start: Offset::ZERO,
        };
        let opening = state.opening.unwrap_or(accepted);
        if let Opening::Accepted { .. } = opening {
            state.feed = Some((open.member, open.epoch, open.waker));
        }
        Ok(opening)
    }
}

impl Handler<ReadFeed> for LeaderActor {
    type Result = Result<Feed, FeedRefusal>;

    fn handle(&mut self, read: ReadFeed, _: &mut Context<Self>) -> Self::Result {
        let mut state = self.0.state.lock().unwrap();
        state.reads += 1;
        if state.epoch != Some(read.epoch) {
            return Err(FeedRefusal::NotLeading);
        }
        if state.feed.as_ref().is_none_or(|feed| (feed.0, feed.1) != (read.member, read.epoch)) {
            return Err(FeedRefusal::NotOpen);
        }
        let mut next = usize::try_from(read.from.0).unwrap();
        let mut batches = Vec::new();
        let mut bytes = 0;
        while let Some(batch) = state.log.get(next) {
            if !batches.is_empty() && bytes + batch.len() > read.max_bytes {
                break;
            }
            bytes += batch.len();
            batches.push(batch.clone());
            next += 1;
        }
        // One batch is passed on as it stands, more are joined, as a segment would have them.
        let batches = if batches.len() == 1 { batches.remove(0) } else { batches.concat().into() };
        Ok(Feed {
            batches,
            next: Offset(i64::try_from(next).unwrap()),
            end: Offset(i64::try_from(state.log.len()).unwrap()),
            high_watermark: state.high_watermark,
            log_start: Offset::ZERO,
        })
    }
}

impl Handler<FollowerReported> for LeaderActor {
    type Result = ();

    fn handle(&mut self, reported: FollowerReported, _: &mut Context<Self>) {
        self.0.state.lock().unwrap().heard.push(Heard::Reported(reported.ends.durable_end));
    }
}

impl Handler<FollowerDetached> for LeaderActor {
    type Result = ();

    fn handle(&mut self, detached: FollowerDetached, _: &mut Context<Self>) {
        let mut state = self.0.state.lock().unwrap();
        state.heard.push(Heard::Detached(detached.epoch));
        state.feed.take_if(|feed| (feed.0, feed.1) == (detached.member, detached.epoch));
    }
}

impl Handler<LeaveSet> for LeaderActor {
    type Result = Result<bool, FeedRefusal>;

    fn handle(&mut self, _: LeaveSet, _: &mut Context<Self>) -> Self::Result {
        Ok(self.0.state.lock().unwrap().lets_leave)
    }
}

/// The leading replicas of a node.
#[derive(Clone, Debug, Default)]
pub(in crate::replication::tests) struct FakePorts(Arc<Mutex<BTreeMap<PartitionId, ReplicaPort>>>);

impl Ports for FakePorts {
    fn port(&self, partition: PartitionId) -> Option<ReplicaPort> {
        self.0.lock().unwrap().get(&partition).cloned()
    }
}

impl FakePorts {
    /// Starts a leading replica on a core.
    pub(in crate::replication::tests) fn lead(&self, index: i32, core: usize) -> Leader {
        let leads = Leads {
            epoch: Some(EPOCH),
            log: Vec::new(),
            high_watermark: Offset::ZERO,
            opening: None,
            lets_leave: true,
            heard: Vec::new(),
            reads: 0,
            feed: None,
        };
        let leader = Leader { partition: partition(index), state: Arc::new(Mutex::new(leads)) };
        let address = LeaderActor(leader.clone()).start();
        let port = ReplicaPort {
            core,
            open: address.clone().recipient(),
            read: address.clone().recipient(),
            reported: address.clone().recipient(),
            detached: address.clone().recipient(),
            leave: address.recipient(),
        };
        self.0.lock().unwrap().insert(leader.partition, port);
        leader
    }
}

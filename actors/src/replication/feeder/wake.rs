//! How replicas wake a feeder: each leaves the number of its slot; however many do, one message is under way.

use std::collections::BTreeSet;
use std::sync::{Arc, Mutex, PoisonError};

use actix::{Message, Recipient};

use crate::ids::PartitionId;
use crate::partition::following::FeedWaker;

/// Slots were left in the [`Alarm`].
#[derive(Debug, Message)]
#[rtype(result = "()")]
pub(super) struct Wake;

/// The slots that have something to read.
#[derive(Debug)]
pub(super) struct Alarm {
    rung: Mutex<Rung>,
    feeder: Recipient<Wake>,
}

#[derive(Debug, Default)]
struct Rung {
    slots: BTreeSet<u32>,
    is_under_way: bool,
}

impl Alarm {
    pub(super) fn new(feeder: Recipient<Wake>) -> Arc<Self> {
        Arc::new(Self { rung: Mutex::default(), feeder })
    }

    /// What a replica wakes the feeder with.
    pub(super) fn waker(self: &Arc<Self>, slot: u32) -> Box<dyn FeedWaker> {
        Box::new(SlotWaker { slot, alarm: Arc::clone(self) })
    }

    /// Takes the slots left so far; the next one left sends a message again.
    pub(super) fn take(&self) -> BTreeSet<u32> {
        let mut rung = self.rung.lock().unwrap_or_else(PoisonError::into_inner);
        rung.is_under_way = false;
        std::mem::take(&mut rung.slots)
    }

    fn ring(&self, slot: u32) {
        let mut rung = self.rung.lock().unwrap_or_else(PoisonError::into_inner);
        rung.slots.insert(slot);
        if !std::mem::replace(&mut rung.is_under_way, true) {
            self.feeder.do_send(Wake);
        }
    }
}

#[derive(Debug)]
struct SlotWaker {
    slot: u32,
    alarm: Arc<Alarm>,
}

impl FeedWaker for SlotWaker {
    fn wake(&self, _: PartitionId) {
        self.alarm.ring(self.slot);
    }
}

//! A follower's subscriptions in one session, as seen from its side: pure, but for what dropped questions tell.

use std::collections::{BTreeMap, VecDeque};

use actix::Recipient;
use bytes::Bytes;

use super::asker::Asker;
use crate::ids::{LeaderEpoch, Offset, PartitionId};
use crate::partition::following::{FollowerEnds, FromLeader, Opening, Told};
use crate::replication::message::{FedPart, FollowerTurn, Progress, Question, Reply, SessionOpened};

/// What to do after a reply.
#[derive(Debug)]
pub(super) enum After {
    /// Nothing.
    Done,
    /// Ask in the session of another core.
    Move(u32, Asker),
}

/// Something for a replica.
#[derive(Debug)]
pub(super) struct Delivery {
    pub(super) replica: Recipient<FromLeader>,
    pub(super) message: FromLeader,
}

/// The other side did what it must not; said in words.
#[derive(Debug)]
pub(super) struct Garbage(pub(super) String);

/// All questions and subscriptions of a session.
#[derive(Debug)]
pub(super) struct Table {
    slots: BTreeMap<u32, Subscription>,
    by_partition: BTreeMap<PartitionId, u32>,
    leaves: BTreeMap<u32, Asker>,
    next_slot: u32,
    turn: FollowerTurn,
    progress: BTreeMap<u32, Progress>,
    has_report: bool,
    /// Bytes taken in and not told.
    credit: usize,
    /// Bytes received and not taken in.
    undelivered: usize,
    window: usize,
    partition_window: usize,
}

#[derive(Debug)]
struct Subscription {
    asker: Asker,
    is_open: bool,
    queue: VecDeque<Parcel>,
    /// Bytes of what is being delivered.
    delivering: Option<usize>,
    /// Bytes received and not taken in.
    bytes: usize,
    /// Bytes taken in and not told.
    credit: usize,
}

#[derive(Debug)]
struct Parcel {
    batches: Bytes,
    high_watermark: Offset,
    log_start: Offset,
}

impl Table {
    pub(super) fn new(opened: SessionOpened) -> Self {
        let window = |bytes: u32| usize::try_from(bytes).unwrap_or(usize::MAX).max(1);
        Self {
            slots: BTreeMap::new(),
            by_partition: BTreeMap::new(),
            leaves: BTreeMap::new(),
            next_slot: 0,
            turn: FollowerTurn::default(),
            progress: BTreeMap::new(),
            has_report: false,
            credit: 0,
            undelivered: 0,
            window: window(opened.window_bytes),
            partition_window: window(opened.partition_window_bytes),
        }
    }

    /// Questions and subscriptions.
    pub(super) fn len(&self) -> usize {
        self.slots.len() + self.leaves.len()
    }

    /// Puts a question into the next turn. False if the session has no number left for it.
    pub(super) fn ask(&mut self, asker: Asker) -> bool {
        let slot = self.next_slot;
        let Some(next) = slot.checked_add(1) else { return false };
        self.next_slot = next;
        let partition = asker.partition();
        self.turn.asks.push(asker.ask(slot));
        match asker.question() {
            Question::Subscribe(_) => {
                self.close(partition);
                self.by_partition.insert(partition, slot);
                self.slots.insert(slot, Subscription::new(asker));
            }
            Question::Leave => {
                let earlier = self.leaves.iter().find(|(_, asked)| asked.partition() == partition);
                if let Some(earlier) = earlier.map(|(slot, _)| *slot)
                    && let Some(asked) = self.leaves.remove(&earlier)
                {
                    asked.silence();
                    self.stop(earlier);
                }
                self.leaves.insert(slot, asker);
            }
        }
        true
    }

    /// Ends the subscription to a partition: its replica does not want it any more.
    pub(super) fn close(&mut self, partition: PartitionId) {
        if let Some(slot) = self.by_partition.get(&partition).copied()
            && let Some(closed) = self.remove(slot)
        {
            closed.asker.silence();
            self.stop(slot);
        }
    }

    /// Tells the leader that a number is not in use any more; if it was never told of it, it need not hear of it at all.
    fn stop(&mut self, slot: u32) {
        let before = self.turn.asks.len();
        self.turn.asks.retain(|ask| ask.slot != slot);
        if self.turn.asks.len() == before {
            self.turn.stops.push(slot);
        }
    }

    fn remove(&mut self, slot: u32) -> Option<Subscription> {
        let removed = self.slots.remove(&slot)?;
        self.by_partition.remove(&removed.asker.partition());
        self.undelivered = self.undelivered.saturating_sub(removed.bytes);
        self.credit = self.credit.saturating_sub(removed.credit);
        self.progress.remove(&slot);
        Some(removed)
    }

    /// So much of a partition is on disk: for the next turn, if it is subscribed in this epoch.
    pub(super) fn report(&mut self, partition: PartitionId, epoch: LeaderEpoch, ends: FollowerEnds) {
        let Some(slot) = self.by_partition.get(&partition).copied() else { return };
        let is_current =
            self.slots.get(&slot).is_some_and(|reported| reported.is_open && reported.asker.epoch() == epoch);
        if is_current {
            self.progress_of(slot).ends = Some(ends);
            self.has_report = true;
        }
    }

    fn progress_of(&mut self, slot: u32) -> &mut Progress {
        self.progress.entry(slot).or_insert(Progress { slot, taken_bytes: 0, ends: None })
    }

    /// An answer came.
    pub(super) fn replied(&mut self, slot: u32, reply: Reply) -> Result<After, Garbage> {
        if slot >= self.next_slot {
            return Err(Garbage(format!("an answer for slot {slot}, which was never asked for")));
        }
        if let Some(asker) = self.leaves.remove(&slot) {
            return match reply {
                Reply::Left(true) => {
                    asker.tell(Told::LeftSet);
                    asker.silence();
                    Ok(After::Done)
                }
                Reply::Left(false) | Reply::Refused(_) => Ok(After::Done),
                Reply::Elsewhere { core } => Ok(After::Move(core, asker)),
                Reply::Opened(_) => Err(Garbage("a wish to leave was answered with an opening".into())),
            };
        }
        let Some(asked) = self.slots.get_mut(&slot) else { return Ok(After::Done) };
        if asked.is_open {
            return Err(Garbage(format!("a second answer for slot {slot}")));
        }
        if let Reply::Opened(opening @ Opening::Accepted { .. }) = reply {
            asked.is_open = true;
            asked.asker.tell(Told::Opened(opening));
            return Ok(After::Done);
        }
        let Some(Subscription { asker, .. }) = self.remove(slot) else { return Ok(After::Done) };
        match reply {
            Reply::Opened(opening) => {
                asker.tell(Told::Opened(opening));
                asker.silence();
                Ok(After::Done)
            }
            Reply::Refused(_) => Ok(After::Done),
            Reply::Elsewhere { core } => Ok(After::Move(core, asker)),
            Reply::Left(_) => Err(Garbage("a subscription was answered as a wish to leave".into())),
        }
    }

    /// The leader has ended a subscription: its replica is told.
    pub(super) fn ended(&mut self, slot: u32) {
        drop(self.remove(slot));
    }

    /// News of a subscription came. What is for one that has ended is thrown away.
    pub(super) fn fed(&mut self, part: FedPart) -> Result<(), Garbage> {
        let FedPart { slot, high_watermark, log_start, batches } = part;
        let Some(fed) = self.slots.get_mut(&slot) else {
            return if slot < self.next_slot {
                Ok(())
            } else {
                Err(Garbage(format!("batches for slot {slot}, which was never asked for")))
            };
        };
        if !fed.is_open {
            return Err(Garbage(format!("batches for slot {slot} before its answer")));
        }
        let length = batches.len();
        if length > 0 && (fed.bytes >= self.partition_window || self.undelivered >= self.window) {
            return Err(Garbage(format!(
                "{length} bytes of batches for slot {slot} over its credit: {} of {} bytes are used there, {} of {} in all",
                fed.bytes, self.partition_window, self.undelivered, self.window
            )));
        }
        fed.bytes += length;
        self.undelivered += length;
        match fed.queue.back_mut() {
            Some(last) if length == 0 => {
                last.high_watermark = high_watermark;
                last.log_start = log_start;
            }
            _ => fed.queue.push_back(Parcel { batches, high_watermark, log_start }),
        }
        Ok(())
    }

    /// The next delivery for a slot, if none is under way. One at a time keeps them in order even where the replica's
    /// mailbox is full, and a replica that stands still holds only its own.
    pub(super) fn deliver(&mut self, slot: u32) -> Option<Delivery> {
        let delivered = self.slots.get_mut(&slot)?;
        if delivered.delivering.is_some() {
            return None;
        }
        let replica = delivered.asker.replica()?.clone();
        let Parcel { batches, high_watermark, log_start } = delivered.queue.pop_front()?;
        delivered.delivering = Some(batches.len());
        let told = Told::Fed { batches, high_watermark, log_start };
        Some(Delivery { replica, message: FromLeader { epoch: delivered.asker.epoch(), told } })
    }

    /// The delivery under way for a slot was taken in: credit for the next turn.
    pub(super) fn taken(&mut self, slot: u32) {
        let Some(taken) = self.slots.get_mut(&slot) else { return };
        let bytes = taken.delivering.take().unwrap_or(0);
        if bytes > 0 {
            taken.bytes = taken.bytes.saturating_sub(bytes);
            taken.credit += bytes;
            let told = u32::try_from(taken.credit).unwrap_or(u32::MAX);
            self.undelivered = self.undelivered.saturating_sub(bytes);
            self.credit += bytes;
            // Half of its window back is worth a turn of its own.
            self.has_report |= told >= u32::try_from(self.partition_window / 4).unwrap_or(u32::MAX);
            self.progress_of(slot).taken_bytes = told;
        }
    }

    /// The next turn, if there is one worth sending. Credit waits for something else to say, while most of the window is
    /// still the leader's: reports follow batches anyway, one sync later.
    pub(super) fn take_turn(&mut self) -> Option<FollowerTurn> {
        let is_worth_it = self.has_report || !self.turn.is_empty() || self.credit >= self.window / 8;
        if !is_worth_it {
            return None;
        }
        let mut turn = std::mem::take(&mut self.turn);
        turn.progress = std::mem::take(&mut self.progress).into_values().collect();
        for told in &turn.progress {
            if let Some(told) = self.slots.get_mut(&told.slot) {
                told.credit = 0;
            }
        }
        self.credit = 0;
        self.has_report = false;
        (!turn.is_empty()).then_some(turn)
    }
}

impl Subscription {
    fn new(asker: Asker) -> Self {
        Self { asker, is_open: false, queue: VecDeque::new(), delivering: None, bytes: 0, credit: 0 }
    }
}

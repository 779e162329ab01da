//! What a feeder reads next and what goes into the next frame: pure.
//!
//! Two classes share one channel. *Tail* slots go round robin, each with an equal share of a frame. *Behind* slots, whose
//! followers lack more than the tail cache holds, are read one at a time, a small piece each, at most so many bytes a
//! tick, and only into the first half of the window. A second channel would share the same link and its congestion
//! window, so all that it would save the tail is waiting behind one such piece (about a millisecond at 250 MB/s);
//! for that, a partition that has caught up would have to change channels without its batches overtaking each other.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::time::Duration;

use bytes::Bytes;
use tokio::time::Instant;

use super::throttle::Throttle;
use crate::ids::{LeaderEpoch, Member, Offset, PartitionId};
use crate::partition::following::Feed;
use crate::replication::message::FedPart;
use crate::replication::settings::FetchSettings;

/// A slot's share of a frame is not smaller than this, however many slots are ready.
const LEAST_SHARE: usize = 16 << 10;

/// Bytes read at once for a slot that is far behind.
const BEHIND_READ: usize = 256 << 10;

/// Which partition a slot stands for, and for whom.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Subject {
    pub(super) partition: PartitionId,
    pub(super) member: Member,
    pub(super) epoch: LeaderEpoch,
}

/// Something to be read from a replica.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Read {
    pub(super) slot: u32,
    pub(super) member: Member,
    pub(super) epoch: LeaderEpoch,
    pub(super) from: Offset,
    pub(super) max_bytes: usize,
}

/// The follower told of bytes that were never sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Overdrawn;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct News {
    pub(super) high_watermark: Offset,
    pub(super) log_start: Offset,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Class {
    Tail,
    Behind,
}

#[derive(Debug)]
struct Slot {
    subject: Subject,
    class: Class,
    /// The offset to read from.
    next: Offset,
    news: News,
    /// Bytes sent and not taken in.
    sent: usize,
    /// Bytes read and not sent.
    gathered: usize,
    is_reading: bool,
    is_queued: bool,
    /// There is something to read.
    is_wanted: bool,
    /// About as large as its larger reads are, where single batches are larger than its share.
    largest: usize,
    /// Offset and time of one sending, until its durability is reported.
    probe: Option<(Offset, Instant)>,
}

/// All subscriptions of a session.
#[derive(Debug)]
pub(super) struct Feeds {
    settings: FetchSettings,
    window: usize,
    partition_window: usize,
    slots: BTreeMap<u32, Slot>,
    by_partition: BTreeMap<PartitionId, u32>,
    tail: VecDeque<u32>,
    behind: VecDeque<u32>,
    /// Slot that is far behind and being read.
    behind_reading: Option<u32>,
    throttle: Throttle,
    /// Read and not sent: slot, offset after the last record, batches.
    gathered: VecDeque<(u32, Offset, Bytes)>,
    /// Slots with news and no batches to carry it.
    untold: BTreeSet<u32>,
    /// Bytes sent and not taken in, of all slots.
    sent: usize,
}

impl Feeds {
    pub(super) fn new(settings: FetchSettings, now: Instant) -> Self {
        let window = |bytes: u32| usize::try_from(bytes).unwrap_or(usize::MAX).max(1);
        Self {
            window: window(settings.window_bytes),
            partition_window: window(settings.partition_window_bytes),
            slots: BTreeMap::new(),
            by_partition: BTreeMap::new(),
            tail: VecDeque::new(),
            behind: VecDeque::new(),
            behind_reading: None,
            throttle: Throttle::new(settings.catch_up_bytes, settings.catch_up_tick, now),
            gathered: VecDeque::new(),
            untold: BTreeSet::new(),
            sent: 0,
            settings,
        }
    }

    /// Subscriptions.
    pub(super) fn len(&self) -> usize {
        self.slots.len()
    }

    /// How long news waits for batches to travel with.
    pub(super) fn news_delay(&self) -> Duration {
        self.settings.news_delay
    }

    /// The subscription to a partition.
    pub(super) fn of(&self, partition: PartitionId) -> Option<u32> {
        self.by_partition.get(&partition).copied()
    }

    /// Begins a subscription: from `next` on, `news` being told with the answer.
    pub(super) fn insert(&mut self, slot: u32, subject: Subject, next: Offset, news: News) {
        debug_assert!(self.of(subject.partition).is_none(), "a partition has one slot");
        self.by_partition.insert(subject.partition, slot);
        self.slots.insert(
            slot,
            Slot {
                subject,
                class: Class::Tail,
                next,
                news,
                sent: 0,
                gathered: 0,
                is_reading: false,
                is_queued: false,
                is_wanted: false,
                largest: 0,
                probe: None,
            },
        );
        self.wake(slot);
    }

    /// Ends a subscription. What is on its way will be thrown away on arrival, so its credit is free at once.
    pub(super) fn remove(&mut self, slot: u32) -> bool {
        let Some(removed) = self.slots.remove(&slot) else { return false };
        self.by_partition.remove(&removed.subject.partition);
        self.untold.remove(&slot);
        self.sent = self.sent.saturating_sub(removed.sent);
        true
    }

    /// There is something to read.
    pub(super) fn wake(&mut self, slot: u32) {
        if let Some(woken) = self.slots.get_mut(&slot) {
            woken.is_wanted = true;
            self.enqueue(slot);
        }
    }

    fn enqueue(&mut self, slot: u32) {
        let Some(queued) = self.slots.get_mut(&slot) else { return };
        let has_room = queued.sent + queued.gathered < self.partition_window;
        if queued.is_wanted && has_room && !queued.is_reading && !queued.is_queued {
            queued.is_queued = true;
            match queued.class {
                Class::Tail => self.tail.push_back(slot),
                Class::Behind => self.behind.push_back(slot),
            }
        }
    }

    /// What to read for the next frame, round robin among the tail slots.
    pub(super) fn round(&mut self) -> Vec<Read> {
        let free = self.window.saturating_sub(self.sent);
        // Reads of a few bytes each would give a frame for every batch.
        let is_worth_it = self.sent == 0 || free >= self.window / 8;
        if !self.gathered.is_empty() || !is_worth_it {
            return Vec::new();
        }
        let mut left = free.min(self.settings.frame_bytes);
        let share = left / self.tail.len().max(1);
        let share = share.max(LEAST_SHARE).min(self.settings.read_bytes);
        let mut reads = Vec::new();
        while let Some(slot) = self.tail.front().copied() {
            let reserved = self.slots.get(&slot).map_or(0, |slot| slot.largest.max(share));
            if !reads.is_empty() && reserved > left {
                break;
            }
            self.tail.pop_front();
            if let Some(read) = self.begin_read(slot, share) {
                left = left.saturating_sub(reserved);
                reads.push(read);
            }
        }
        reads
    }

    /// What to read of a slot that is far behind.
    pub(super) fn catch_up(&mut self, now: Instant) -> Option<Read> {
        let may_read =
            self.gathered.is_empty() && self.behind_reading.is_none() && self.sent < self.window.div_ceil(2);
        if !may_read || self.behind.is_empty() || !self.throttle.is_open(now) {
            return None;
        }
        while let Some(slot) = self.behind.pop_front() {
            if let Some(read) = self.begin_read(slot, BEHIND_READ.min(self.settings.read_bytes)) {
                self.behind_reading = Some(slot);
                return Some(read);
            }
        }
        None
    }

    /// How long until a slot that is far behind may be read again, where only the throttle keeps it from that.
    pub(super) fn catch_up_pause(&mut self, now: Instant) -> Option<Duration> {
        let waits = !self.behind.is_empty() && self.behind_reading.is_none() && !self.throttle.is_open(now);
        waits.then(|| self.throttle.pause(now))
    }

    fn begin_read(&mut self, slot: u32, share: usize) -> Option<Read> {
        let reading = self.slots.get_mut(&slot)?;
        let room = self.partition_window.saturating_sub(reading.sent + reading.gathered);
        reading.is_queued = false;
        reading.is_wanted = false;
        reading.is_reading = true;
        let Subject { member, epoch, .. } = reading.subject;
        Some(Read { slot, member, epoch, from: reading.next, max_bytes: share.min(room).max(1) })
    }

    /// What was read.
    pub(super) fn read(&mut self, read: Read, feed: Feed) {
        let length = feed.batches.len();
        if self.behind_reading == Some(read.slot) {
            self.behind_reading = None;
            self.throttle.took(length);
        }
        let Some(slot) = self.slots.get_mut(&read.slot) else { return };
        slot.is_reading = false;
        let news = News { high_watermark: feed.high_watermark, log_start: feed.log_start };
        if length > 0 {
            slot.is_wanted |= feed.end > feed.next;
            slot.largest = if length > read.max_bytes { length } else { slot.largest - slot.largest / 8 };
            slot.class = slot.class_after(&feed, read.from, self.settings.behind_bytes);
            slot.next = feed.next;
            slot.gathered += length;
            self.gathered.push_back((read.slot, feed.next, feed.batches));
        } else if slot.news != news {
            self.untold.insert(read.slot);
        }
        slot.news = news;
        self.enqueue(read.slot);
    }

    /// A read came to nothing, and its subscription is over.
    pub(super) fn refused(&mut self, read: Read) -> bool {
        if self.behind_reading == Some(read.slot) {
            self.behind_reading = None;
        }
        self.remove(read.slot)
    }

    /// Whether there is news that waits for batches to travel with.
    pub(super) fn has_untold(&self) -> bool {
        !self.untold.is_empty()
    }

    /// The parts of the next frame, as far as credit goes. News travels with batches, or alone if it is `due`.
    pub(super) fn take_parts(&mut self, now: Instant, due: bool) -> (Vec<FedPart>, usize) {
        let mut parts = Vec::new();
        let mut bytes = 0;
        while let Some((slot, next, batches)) = self.gathered.pop_front() {
            let Some(fed) = self.slots.get_mut(&slot) else { continue };
            let length = batches.len();
            let is_full = bytes > 0 && bytes + length > self.settings.frame_bytes;
            if is_full || self.sent >= self.window {
                self.gathered.push_front((slot, next, batches));
                break;
            }
            fed.gathered -= length;
            fed.sent += length;
            fed.probe.get_or_insert((next, now));
            self.sent += length;
            bytes += length;
            self.untold.remove(&slot);
            parts.push(fed.part(slot, batches));
        }
        if due || !parts.is_empty() {
            for slot in std::mem::take(&mut self.untold) {
                parts.extend(self.slots.get(&slot).map(|told| told.part(slot, Bytes::new())));
            }
        }
        (parts, bytes)
    }

    /// The follower has taken so many bytes of a slot in.
    pub(super) fn taken(&mut self, slot: u32, bytes: usize) -> Result<(), Overdrawn> {
        let Some(credited) = self.slots.get_mut(&slot) else { return Ok(()) };
        credited.sent = credited.sent.checked_sub(bytes).ok_or(Overdrawn)?;
        self.sent = self.sent.saturating_sub(bytes);
        self.enqueue(slot);
        Ok(())
    }

    /// The follower has so much of a slot on its disk: whose that is, and how long one sending took to get there.
    pub(super) fn reported(
        &mut self,
        slot: u32,
        end: Offset,
        now: Instant,
    ) -> Option<(Subject, Option<Duration>)> {
        let reported = self.slots.get_mut(&slot)?;
        let arrived = reported.probe.take_if(|(probed, _)| *probed <= end);
        Some((reported.subject, arrived.map(|(_, sent)| now.saturating_duration_since(sent))))
    }
}

impl Slot {
    fn part(&self, slot: u32, batches: Bytes) -> FedPart {
        let News { high_watermark, log_start } = self.news;
        FedPart { slot, high_watermark, log_start, batches }
    }

    /// Far behind or not, by what is left to read if its records are as long as those just read.
    fn class_after(&self, feed: &Feed, from: Offset, behind_bytes: usize) -> Class {
        let records = |from: Offset, to: Offset| usize::try_from(to.0.saturating_sub(from.0)).unwrap_or(0);
        let record_bytes = feed.batches.len() / records(from, feed.next).max(1);
        let lag = records(feed.next, feed.end).saturating_mul(record_bytes.max(1));
        let bound = match self.class {
            Class::Tail => behind_bytes,
            Class::Behind => behind_bytes / 2,
        };
        if lag > bound { Class::Behind } else { Class::Tail }
    }
}

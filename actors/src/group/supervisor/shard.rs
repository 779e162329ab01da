//! The groups of one partition of `__consumer_offsets`, while this node leads it.

mod loading;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use futures::future::BoxFuture;
use ractor::{Actor, ActorId, ActorRef};
use tokio::task::JoinHandle;

use self::loading::Load;
use crate::error::{ErrorCode, Refusal};
use crate::events::CoordinatorPanicked;
use crate::group::coordinator::{
    CoordinatorMessage, GroupCoordinator, Shown, ShownGroup, Start, reading_back,
};
use crate::group::doors::Leadership;
use crate::group::modern::Group;
use crate::group::pending::{InTransactions, OfProducer};
use crate::group::request::GroupRequest;
use crate::group::supervision::SupervisorMessage;
use crate::group::supervisor::meanwhile::Meanwhile;
use crate::ids::{LeaderEpoch, ProducerId};
use crate::record::EndMarker;

/// How long a group is left alone whose coordinator panicked twice.
const QUARANTINE_MS: u64 = 60_000;

pub(super) struct Shard {
    leadership: Arc<Leadership>,
    supervisor: ActorRef<SupervisorMessage>,
    groups: BTreeMap<Arc<str>, Slot>,
    /// Groups whose state is only in the log, because their coordinator broke off: being read back or to be.
    unread: BTreeSet<Arc<str>>,
    load: Option<Load>,
    meanwhile: Meanwhile,
    in_transactions: InTransactions,
    panics: BTreeMap<Arc<str>, Panics>,
    /// When which groups want to be woken; without a group, when the lag is to be computed.
    deadlines: BTreeSet<(u64, Option<Arc<str>>)>,
    /// What the timer is set to.
    timer: Option<(u64, JoinHandle<()>)>,
}

struct Slot {
    actor: ActorRef<CoordinatorMessage>,
    /// Requests sent to it.
    sent: u64,
    /// When it will be woken.
    wakes_ms: Option<u64>,
    shown: Arc<Shown>,
}

struct Panics {
    count: u32,
    last_ms: u64,
}

impl Shard {
    /// Begins to read the groups of a partition that this node leads now.
    pub(super) fn load(
        leadership: Leadership,
        supervisor: ActorRef<SupervisorMessage>,
        loads: &mut u64,
    ) -> Self {
        let mut shard = Self {
            leadership: Arc::new(leadership),
            supervisor,
            groups: BTreeMap::new(),
            unread: BTreeSet::new(),
            load: None,
            meanwhile: Meanwhile::default(),
            in_transactions: InTransactions::default(),
            panics: BTreeMap::new(),
            deadlines: BTreeSet::new(),
            timer: None,
        };
        shard.start_load(None, 0, loads);
        let lag_ms = shard.leadership.now().monotonic_ms + shard.leadership.settings().lag_interval_ms;
        shard.insert_deadline(lag_ms, None);
        shard
    }

    pub(super) fn epoch(&self) -> LeaderEpoch {
        self.leadership.epoch
    }

    /// Ends all coordinators: who waits for one is told to look for another.
    pub(super) fn end(&mut self) {
        for (_, slot) in std::mem::take(&mut self.groups) {
            slot.actor.stop(None);
        }
        if let Some(load) = self.load.take() {
            load.task.abort();
        }
        if let Some((_, timer)) = self.timer.take() {
            timer.abort();
        }
    }

    /// Whether the partition's groups are not known yet.
    pub(super) fn is_loading(&self) -> bool {
        self.load.as_ref().is_some_and(|load| load.only.is_none())
    }

    pub(super) fn reading(&self) -> Refusal {
        let text =
            format!("partition {} of __consumer_offsets is being read; try again", self.leadership.partition);
        Refusal::new(ErrorCode::CoordinatorLoadInProgress, text)
    }

    /// Hands a request to its group's coordinator.
    pub(super) async fn request(&mut self, request: Box<GroupRequest>, loads: &mut u64) {
        let group: Arc<str> = request.group().into();
        if self.is_loading() {
            return request.refuse(self.reading());
        }
        if self.is_quarantined(&group) {
            let text =
                format!("the coordinator of group {group} failed twice and rests for a minute; see the log");
            return request.refuse(Refusal::new(ErrorCode::UnknownServerError, text));
        }
        if self.unread.contains(&group) {
            self.reload(loads);
            return request.refuse(reading_back(&group));
        }
        if !self.groups.contains_key(&group) {
            self.start(Arc::clone(&group), Group::default()).await;
        }
        if let Some(slot) = self.groups.get_mut(&group) {
            slot.sent += 1;
            // An actor that has ended drops it, and with it its reply: the asker is told to try again.
            let _ended = slot.actor.cast(CoordinatorMessage::Request { number: slot.sent, request });
        }
    }

    /// Whether a group rests because its coordinator panicked twice.
    fn is_quarantined(&self, group: &Arc<str>) -> bool {
        let until_ms = |panics: &Panics| panics.last_ms + QUARANTINE_MS;
        let panics = self.panics.get(group).filter(|panics| panics.count >= 2);
        panics.is_some_and(|panics| self.leadership.now().monotonic_ms < until_ms(panics))
    }

    async fn start(&mut self, id: Arc<str>, group: Group) {
        let shown = Arc::<Shown>::default();
        let start = Start {
            id: Arc::clone(&id),
            group,
            leadership: Arc::clone(&self.leadership),
            supervisor: self.supervisor.clone(),
            shown: Arc::clone(&shown),
        };
        // Without a name: names are of the whole process, in which other nodes may live.
        let started = Actor::spawn_linked(None, GroupCoordinator, start, self.supervisor.get_cell()).await;
        match started {
            Ok((actor, _)) => {
                self.groups.insert(id, Slot { actor, sent: 0, wakes_ms: None, shown });
            }
            Err(error) => self.note_panic(&id, &error.to_string()),
        }
    }

    /// A group could not commit a decision.
    pub(super) fn broken(&mut self, group: Arc<str>, actor: ActorId, loads: &mut u64) {
        if self.groups.get(&group).is_some_and(|slot| slot.actor.get_id() == actor) {
            if let Some(slot) = self.groups.remove(&group) {
                slot.actor.stop(None);
            }
            self.unread.insert(group);
            self.reload(loads);
        }
    }

    /// An actor panicked; perhaps one of these.
    pub(super) fn panicked(&mut self, actor: ActorId, reason: &str, loads: &mut u64) {
        let found = self.groups.iter().find(|(_, slot)| slot.actor.get_id() == actor);
        let Some(group) = found.map(|(group, _)| Arc::clone(group)) else { return };
        self.note_panic(&group, reason);
        self.broken(group, actor, loads);
    }

    /// What a group's coordinator panicked on stays in the log only; twice in a minute, and it rests.
    fn note_panic(&mut self, group: &Arc<str>, reason: &str) {
        let now_ms = self.leadership.now().monotonic_ms;
        let panics = self.panics.entry(Arc::clone(group)).or_insert(Panics { count: 0, last_ms: now_ms });
        panics.count = if panics.last_ms + QUARANTINE_MS < now_ms { 1 } else { panics.count + 1 };
        panics.last_ms = now_ms;
        let quarantined = panics.count >= 2;
        self.unread.insert(Arc::clone(group));
        self.leadership.doors.events.emit(CoordinatorPanicked { group, reason, quarantined });
    }

    /// Nothing is left of a group: its coordinator ends, if no request is on its way to it.
    pub(super) fn vacant(&mut self, group: &Arc<str>, actor: ActorId, taken: u64) {
        if self.groups.get(group).is_some_and(|slot| slot.actor.get_id() == actor && slot.sent == taken)
            && let Some(slot) = self.groups.remove(group)
        {
            slot.actor.stop(None);
        }
    }

    /// A producer's transaction ended here.
    pub(super) fn transaction_ended(&mut self, marker: EndMarker) {
        if self.load.is_some() {
            self.meanwhile.ended(marker);
        }
        for group in self.in_transactions.ended(&marker) {
            if let Some(slot) = self.groups.get(&group) {
                let _ended = slot.actor.cast(CoordinatorMessage::TransactionEnded(marker));
            }
        }
    }

    /// Offsets of a group become part of a producer's transaction.
    pub(super) fn pending(&mut self, group: Arc<str>, of: OfProducer) {
        self.in_transactions.put(group, of);
    }

    /// Nobody knows whether a producer's transaction ended: the log does, once all of it is committed.
    pub(super) fn transaction_unknown(&mut self, producer: ProducerId, loads: &mut u64) {
        if self.load.is_some() {
            self.meanwhile.unknown(producer);
        }
        for group in self.in_transactions.of(producer) {
            if let Some(slot) = self.groups.remove(&group) {
                slot.actor.stop(None);
                self.unread.insert(group);
            }
        }
        self.reload(loads);
    }

    pub(super) fn topics_changed(&self) {
        for slot in self.groups.values() {
            let _ended = slot.actor.cast(CoordinatorMessage::TopicsChanged);
        }
    }

    pub(super) fn listed(&self) -> Vec<(String, ShownGroup)> {
        let shown = |(id, slot): (&Arc<str>, &Slot)| Some((id.to_string(), slot.shown.group()?));
        self.groups.iter().filter_map(shown).collect()
    }

    /// The confirmation of the lease, if it does not hold.
    pub(super) fn confirmation(&self) -> Option<BoxFuture<'static, Result<(), Refusal>>> {
        let lease = &self.leadership.lease;
        (!lease.holds()).then(|| lease.confirm())
    }

    /// A group wants to be woken.
    pub(super) fn wake_at(&mut self, at_ms: u64, group: Arc<str>) {
        let Some(slot) = self.groups.get_mut(&group) else { return };
        if let Some(later_ms) = slot.wakes_ms.replace(at_ms) {
            self.deadlines.remove(&(later_ms, Some(Arc::clone(&group))));
        }
        self.insert_deadline(at_ms, Some(group));
    }

    fn insert_deadline(&mut self, at_ms: u64, group: Option<Arc<str>>) {
        self.deadlines.insert((at_ms, group));
        self.set_timer();
    }

    /// Sets the timer to the next deadline, if it is not set to an earlier time.
    fn set_timer(&mut self) {
        let Some(at_ms) = self.deadlines.first().map(|(at_ms, _)| *at_ms) else { return };
        if self.timer.as_ref().is_some_and(|(set_to_ms, _)| *set_to_ms <= at_ms) {
            return;
        }
        let Leadership { partition, epoch, origin, .. } = *self.leadership;
        let supervisor = self.supervisor.clone();
        let task = tokio::spawn(async move {
            tokio::time::sleep_until(origin + Duration::from_millis(at_ms)).await;
            let _supervisor_ended = supervisor.cast(SupervisorMessage::Due { partition, epoch });
        });
        if let Some((_, old)) = self.timer.replace((at_ms, task)) {
            old.abort();
        }
    }

    /// Wakes the groups whose deadline has come.
    pub(super) fn due(&mut self, epoch: LeaderEpoch) {
        if epoch != self.leadership.epoch {
            return;
        }
        self.timer = None;
        let now_ms = self.leadership.now().monotonic_ms;
        while self.deadlines.first().is_some_and(|(at_ms, _)| *at_ms <= now_ms) {
            match self.deadlines.pop_first().and_then(|(_, group)| group) {
                Some(group) => {
                    if let Some(slot) = self.groups.get_mut(&group) {
                        slot.wakes_ms = None;
                        let _ended = slot.actor.cast(CoordinatorMessage::Tick);
                    }
                }
                None => self.measure_lag(now_ms),
            }
        }
        self.set_timer();
    }

    fn measure_lag(&mut self, now_ms: u64) {
        for slot in self.groups.values() {
            let _ended = slot.actor.cast(CoordinatorMessage::MeasureLag);
        }
        self.deadlines.insert((now_ms + self.leadership.settings().lag_interval_ms.max(1), None));
    }
}

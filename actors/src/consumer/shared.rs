//! What the application's handle and the consumer's task share.

use std::collections::BTreeMap;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use millstream_transport::world::watch;
use tokio::sync::Notify;
use tokio::time::Instant;

use super::membership::Subscription;
use super::state::State;
use crate::client::{ClientError, GroupMetadata};
use crate::group::message::{CommittedOffset, OffsetCommit};
use crate::ids::{Offset, PartitionId};

#[derive(Debug)]
pub(super) struct Shared {
    group: Option<String>,
    member: String,
    state: Mutex<State>,
    rest: Mutex<Rest>,
    ended: watch::Sender<bool>,
    /// Whose turn it is to commit.
    pub(super) commits: tokio::sync::Mutex<()>,
    /// Wakes the task.
    pub(super) to_driver: Notify,
    /// Wakes the application.
    pub(super) to_application: Notify,
}

#[derive(Debug, Default)]
struct Rest {
    /// -1 outside of the group.
    epoch: Option<i32>,
    subscription: Option<Subscription>,
    /// It has subscribed, ever.
    subscribes: bool,
    failure: Option<ClientError>,
    committed: BTreeMap<PartitionId, Offset>,
    closed: bool,
    asks: Asks,
}

/// Whether the application asks for events.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Asks {
    /// It waits for one.
    Now,
    /// It has had one since then, and not asked again.
    Since(Instant),
    /// It has not asked for so long that the group goes on without it.
    NoMore,
}

impl Default for Asks {
    fn default() -> Self {
        Self::Since(Instant::now())
    }
}

/// The application asks for an event. Dropped, it does not any more.
#[derive(Debug)]
pub(super) struct Asking<'a>(&'a Shared);

impl Drop for Asking<'_> {
    fn drop(&mut self) {
        self.0.rest().asks = Asks::Since(Instant::now());
    }
}

impl Shared {
    pub(super) fn new(group: Option<String>, member: String) -> Self {
        Self {
            group,
            member,
            state: Mutex::default(),
            rest: Mutex::default(),
            ended: watch::Sender::new(false),
            commits: tokio::sync::Mutex::default(),
            to_driver: Notify::new(),
            to_application: Notify::new(),
        }
    }

    pub(super) fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn rest(&self) -> MutexGuard<'_, Rest> {
        self.rest.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The application asks for an event, as long as the guard lives.
    pub(super) fn asks(&self) -> Asking<'_> {
        let before = std::mem::replace(&mut self.rest().asks, Asks::Now);
        if before == Asks::NoMore {
            self.to_driver.notify_one();
        }
        Asking(self)
    }

    /// When the application will have had its last event for `longest`, if it does not ask again.
    pub(super) fn overdue_at(&self, longest: Duration) -> Option<Instant> {
        match self.rest().asks {
            Asks::Since(since) => Some(since + longest),
            Asks::Now | Asks::NoMore => None,
        }
    }

    /// Whether the application has not asked for `longest`: then it is taken not to ask any more, until it does.
    pub(super) fn asks_no_more(&self, longest: Duration) -> bool {
        let mut rest = self.rest();
        if let Asks::Since(since) = rest.asks
            && Instant::now() >= since + longest
        {
            rest.asks = Asks::NoMore;
        }
        rest.asks == Asks::NoMore
    }

    pub(super) fn subscribe(&self, subscription: Subscription) {
        let mut rest = self.rest();
        rest.subscription = Some(subscription);
        rest.subscribes = true;
        drop(rest);
        self.to_driver.notify_one();
    }

    pub(super) fn take_subscription(&self) -> Option<Subscription> {
        self.rest().subscription.take()
    }

    pub(super) fn set_epoch(&self, epoch: i32) {
        self.rest().epoch = Some(epoch).filter(|epoch| *epoch > 0);
    }

    pub(super) fn fail(&self, error: ClientError) {
        self.rest().failure.get_or_insert(error);
        self.to_application.notify_one();
    }

    pub(super) fn take_failure(&self) -> Option<ClientError> {
        self.rest().failure.take()
    }

    pub(super) fn close(&self) {
        self.rest().closed = true;
        self.to_driver.notify_one();
        self.to_application.notify_one();
    }

    pub(super) fn is_closed(&self) -> bool {
        self.rest().closed
    }

    pub(super) fn driver_ended(&self) {
        self.rest().closed = true;
        self.ended.send_replace(true);
        self.to_application.notify_one();
    }

    pub(super) async fn until_driver_ended(&self) {
        // The sender lives in this very value: it cannot be gone.
        let _ = self.ended.subscribe().wait_for(|ended| *ended).await;
    }

    /// What is processed and was not committed before, by this consumer.
    pub(super) fn processed_not_committed(&self) -> Vec<(PartitionId, Offset)> {
        let state = self.state();
        let rest = self.rest();
        let fresh = state.readings().filter_map(|(partition, reading)| {
            let offset = reading.processed?;
            (rest.committed.get(&partition) != Some(&offset)).then_some((partition, offset))
        });
        fresh.collect()
    }

    /// These were committed.
    pub(super) fn note_committed(&self, offsets: Vec<(PartitionId, Offset)>) {
        self.rest().committed.extend(offsets);
    }

    /// All positions.
    pub(super) fn positions(&self) -> Vec<(PartitionId, Offset)> {
        self.state()
            .readings()
            .filter_map(|(partition, reading)| Some((partition, reading.position?)))
            .collect()
    }

    /// Who this is in its group; `None` without one.
    pub(super) fn group_metadata(&self, instance: Option<String>) -> Option<GroupMetadata> {
        let outside = GroupMetadata::without_member(self.group.clone()?);
        // Held while the epoch is looked at: partitions are lost before there is another one.
        let state = self.state();
        let rest = self.rest();
        if rest.epoch.is_none() && !rest.subscribes {
            return Some(outside);
        }
        // One that is to be a member and is none at the moment is not taken for somebody from outside; nor is what was
        // read by a member that was lost taken for what the one that joined in its place has read.
        let member_epoch = rest.epoch.filter(|_| !state.is_losing()).unwrap_or(0);
        Some(GroupMetadata { member: self.member.clone(), member_epoch, instance, ..outside })
    }

    /// The commit of these offsets; `None` without a group.
    pub(super) fn commit_message(&self, offsets: Vec<(PartitionId, Offset)>) -> Option<OffsetCommit> {
        let epoch = self.rest().epoch;
        let committed = |offset| CommittedOffset { offset, leader_epoch: None, metadata: String::new() };
        Some(OffsetCommit {
            group: self.group.clone()?,
            member: if epoch.is_some() { self.member.clone() } else { String::new() },
            member_epoch: epoch.unwrap_or(-1),
            offsets: offsets.into_iter().map(|(partition, offset)| (partition, committed(offset))).collect(),
        })
    }
}

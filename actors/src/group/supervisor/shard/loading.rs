//! Reading groups from the log: all of a partition when its leadership begins, one whose coordinator broke off later.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use tokio::task::JoinHandle;
use tokio::time::Instant;

use super::Shard;
use crate::error::Refusal;
use crate::events::{GroupLoadFailed, GroupsLoaded};
use crate::group::doors::{Leadership, Replay};
use crate::group::supervision::SupervisorMessage;
use crate::group::supervisor::meanwhile::Meanwhile;

/// How long a load that failed waits before the next, at first; it doubles up to [`LOAD_AGAIN_MOST_MS`].
const LOAD_AGAIN_MS: u64 = 100;
const LOAD_AGAIN_MOST_MS: u64 = 5_000;

/// A reading under way, or the pause before the next try.
pub(super) struct Load {
    number: u64,
    /// The groups read back; all if `None`.
    pub(super) only: Option<BTreeSet<Arc<str>>>,
    since: Instant,
    failures: u32,
    pub(super) task: JoinHandle<()>,
}

impl Shard {
    /// Begins to read groups; all of the partition if `only` is `None`.
    pub(super) fn start_load(&mut self, only: Option<BTreeSet<Arc<str>>>, failures: u32, loads: &mut u64) {
        *loads += 1;
        let number = *loads;
        // What was heard before lies in what is read now.
        self.meanwhile = Meanwhile::default();
        let Leadership { partition, epoch, doors, .. } = &*self.leadership;
        let (partition, replay) = (*partition, Replay::of(only.clone()));
        let reading = doors.log.load(partition, *epoch, replay);
        let supervisor = self.supervisor.clone();
        let task = tokio::spawn(async move {
            let result = reading.await;
            let _supervisor_ended =
                supervisor.cast(SupervisorMessage::Loaded { partition, load: number, result });
        });
        self.load = Some(Load { number, only, since: doors.clock.now(), failures, task });
    }

    /// Groups were read, or could not be.
    pub(in crate::group::supervisor) async fn loaded(
        &mut self,
        number: u64,
        result: Result<Replay, Refusal>,
        loads: &mut u64,
    ) {
        let Some(load) = self.load.take_if(|load| load.number == number) else { return };
        match result {
            Ok(replay) => {
                let (records, undecodable) = replay.counts();
                let groups = replay.into_groups();
                let (partition, doors) = (self.leadership.partition, &self.leadership.doors);
                let took = doors.clock.now().saturating_duration_since(load.since);
                doors.events.emit(GroupsLoaded {
                    partition,
                    groups: groups.len(),
                    records,
                    undecodable,
                    took,
                });
                for id in load.only.into_iter().flatten() {
                    self.unread.remove(&id);
                }
                let meanwhile = std::mem::take(&mut self.meanwhile);
                for (id, mut group) in groups {
                    if !meanwhile.tell(&mut group) {
                        self.unread.insert(id);
                        continue;
                    }
                    for of in group.pending.producers() {
                        self.in_transactions.put(Arc::clone(&id), of);
                    }
                    self.start(id, group).await;
                }
                self.reload(loads);
            }
            Err(refusal) => {
                let partition = self.leadership.partition;
                self.leadership.doors.events.emit(GroupLoadFailed { partition, refusal: &refusal });
                self.load_later(load);
            }
        }
    }

    fn load_later(&mut self, mut load: Load) {
        load.failures = load.failures.saturating_add(1);
        let wait_ms = LOAD_AGAIN_MS.saturating_mul(1 << load.failures.min(10)).min(LOAD_AGAIN_MOST_MS);
        let (supervisor, partition, number) =
            (self.supervisor.clone(), self.leadership.partition, load.number);
        load.task = tokio::spawn(async move {
            tokio::time::sleep(Duration::from_millis(wait_ms)).await;
            let _supervisor_ended = supervisor.cast(SupervisorMessage::LoadAgain { partition, load: number });
        });
        self.load = Some(load);
    }

    /// It is time to read again what could not be read.
    pub(in crate::group::supervisor) fn load_again(&mut self, number: u64, loads: &mut u64) {
        if let Some(load) = self.load.take_if(|load| load.number == number) {
            self.start_load(load.only, load.failures, loads);
        }
    }

    /// Reads back what waits for that and does not rest, all in one go, unless something is being read.
    pub(super) fn reload(&mut self, loads: &mut u64) {
        if self.load.is_some() {
            return;
        }
        let only: BTreeSet<_> =
            self.unread.iter().filter(|group| !self.is_quarantined(group)).cloned().collect();
        if !only.is_empty() {
            self.start_load(Some(only), 0, loads);
        }
    }
}

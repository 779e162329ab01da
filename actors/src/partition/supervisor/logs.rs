//! Opening the logs of a node's replicas: before it registers, so that it can say which it doubts, and later one by one.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use millstream_transport::world::World;
use ractor::ActorRef;

use super::super::append::{ProducerLimits, ProducerTable};
use super::super::replica::producers_of;
use super::{State, SupervisorMessage};
use crate::ids::{LeaderEpoch, PartitionId};
use crate::image::{Doubt, DoubtCause, ReportedDoubt};
use crate::log::{DirectoryHealth, Log, LogDirectory, LogError, Recovery};
use crate::topic_config::TopicConfig;

/// Logs opened at the same time.
const OPENING_MAX: usize = 4;

/// A log, and what is known of it.
#[derive(Debug)]
pub(super) struct OpenedLog {
    pub(super) directory: Arc<LogDirectory>,
    pub(super) log: Log,
    pub(super) recovery: Recovery,
    pub(super) producers: ProducerTable,
}

/// The logs found on the disks of a node when it started, recovered.
#[derive(Debug, Default)]
pub struct RecoveredLogs {
    opened: BTreeMap<PartitionId, OpenedLog>,
    /// Those that could not be: their replicas are in doubt, and are tried again like any that died.
    unopened: BTreeSet<PartitionId>,
}

impl RecoveredLogs {
    /// The replicas that are in doubt (rule 5), for the node's registration.
    #[must_use]
    pub fn doubts(&self) -> Vec<ReportedDoubt> {
        let doubted = self.opened.iter().filter(|(_, opened)| opened.recovery.in_doubt);
        let doubted = doubted.map(|(partition, opened)| doubt_of(*partition, opened));
        // How far such a log reaches is told once it could be opened.
        let untold = self.unopened.iter().map(|id| ReportedDoubt { partition: *id, doubt: Doubt::UNTOLD });
        doubted.chain(untold).collect()
    }

    /// How many could be opened.
    #[must_use]
    pub fn len(&self) -> usize {
        self.opened.len()
    }

    /// Takes logs out that pass a test.
    fn take_if(&mut self, goes: impl Fn(PartitionId) -> bool) -> Vec<(PartitionId, OpenedLog)> {
        self.opened.extract_if(.., |partition, _| goes(*partition)).collect()
    }

    /// Whether there is none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.opened.is_empty()
    }

    fn add(&mut self, partition: PartitionId, opened: Result<OpenedLog, LogError>) -> Result<(), LogError> {
        match opened {
            Ok(opened) => {
                self.opened.insert(partition, opened);
            }
            // An older program, which is to stop: it would take this node's replicas out of their sets one after another.
            Err(error @ LogError::NewerFormat { .. }) => return Err(error),
            Err(error) => {
                tracing::error!(%partition, %error, "a log cannot be opened; the node starts without this replica");
                self.unopened.insert(partition);
            }
        }
        Ok(())
    }
}

fn doubt_of(partition: PartitionId, opened: &OpenedLog) -> ReportedDoubt {
    let cause = match opened.recovery.doubt {
        Some(crate::log::Doubt::Cut) => DoubtCause::Cut,
        Some(crate::log::Doubt::OtherBoot) => DoubtCause::OtherBoot,
        Some(crate::log::Doubt::Lost) | None => DoubtCause::EndsEarly,
    };
    let last_epoch = opened.log.epochs().last().unwrap_or(LeaderEpoch(-1));
    ReportedDoubt { partition, doubt: Doubt { cause, last_epoch, end: opened.log.end() } }
}

/// Opens all logs of these directories, several at a time. `config` tells the settings of a partition's topic as far
/// as they are known before the quorum is. A log that cannot be opened is one replica's failure, told by its doubt.
///
/// # Errors
/// [`LogError::NewerFormat`] where a later version of this program wrote a log.
pub async fn recover(
    world: &World,
    directories: &[Arc<LogDirectory>],
    config: impl Fn(PartitionId) -> Arc<TopicConfig>,
    producers: ProducerLimits,
) -> Result<RecoveredLogs, LogError> {
    let mut waiting: Vec<_> = Vec::new();
    for directory in directories {
        waiting.extend(directory.logs().into_iter().map(|partition| (Arc::clone(directory), partition)));
    }
    let mut recovered = RecoveredLogs::default();
    let mut rest = waiting.into_iter().map(|(directory, partition)| {
        let (config, limits, now_ms) = (config(partition), producers.clone(), world.clock.wall_ms());
        let threads = world.threads.clone();
        async move {
            let open = move || open(directory, partition, &config, limits, now_ms);
            (partition, threads.run_blocking(open).await)
        }
    });
    let mut running = futures::stream::FuturesUnordered::new();
    running.extend(rest.by_ref().take(OPENING_MAX));
    while let Some((partition, opened)) = futures::StreamExt::next(&mut running).await {
        recovered.add(partition, opened)?;
        running.extend(rest.next());
    }
    Ok(recovered)
}

fn open(
    directory: Arc<LogDirectory>,
    partition: PartitionId,
    config: &TopicConfig,
    limits: ProducerLimits,
    now_ms: i64,
) -> Result<OpenedLog, LogError> {
    let (log, recovery) = directory.open_log(partition, config)?;
    let producers = producers_of(&log, limits, now_ms)?;
    Ok(OpenedLog { directory, log, recovery, producers })
}

impl State {
    /// Removes logs that were found on the disk of partitions that have no replica here any more: they went while this
    /// node was away. Only where the image is as new as this node's registration and the partition is led by one that is
    /// there and beyond doubt: what is here may be all that there is of one that is not.
    pub(super) fn drop_strays(&mut self) {
        let registered = self.seen.nodes().get(self.parts.node);
        if self.recovered.is_empty()
            || registered.is_none_or(|known| known.incarnation != self.parts.incarnation)
        {
            return;
        }
        let (image, me, slots) = (&self.seen, self.parts.node, &self.slots);
        let is_stray = |partition: PartitionId| {
            let known = image.partition(partition).filter(|known| known.is_led(image.nodes()));
            known.is_some_and(|known| !known.replicas.contains(&me)) && !slots.contains_key(&partition)
        };
        for (partition, opened) in self.recovered.take_if(is_stray) {
            let threads = self.world.threads.clone();
            tokio::spawn(async move {
                let OpenedLog { directory, log, producers, .. } = opened;
                drop((log, producers));
                // Once: should the partition come back meanwhile, its replica has the log open, opens a new one, or is
                // refused the one that goes and tries again.
                let removed = threads.run_blocking(move || directory.delete_log(partition)).await;
                if let Err(error) = removed {
                    tracing::warn!(%partition, %error, "a log that is not needed any more could not be removed");
                }
            });
        }
    }

    /// Opens logs that wait, as long as there are not too many under way.
    pub(super) fn open_logs(&mut self, myself: &ActorRef<SupervisorMessage>) {
        while self.opening < OPENING_MAX {
            let Some(partition) = self.to_open.pop_front() else { return };
            let Some(slot) = self.slots.get(&partition) else { continue };
            let life = slot.life;
            self.opening += 1;
            let actor = myself.clone();
            let say = move |opened| {
                let opened = Box::new(opened);
                let _ = actor.cast(SupervisorMessage::LogOpened { partition, life, opened });
            };
            if let Some(opened) = self.recovered.opened.remove(&partition) {
                say(Ok(opened));
                continue;
            }
            let Some(directory) = self.directory_for(partition, slot.directory.as_ref()) else {
                let directory =
                    self.parts.directories.first().map(|directory| directory.path().to_path_buf());
                say(Err(LogError::Closed { directory: directory.unwrap_or_default() }));
                continue;
            };
            let (config, limits) = (Arc::clone(&slot.assignment.config), self.parts.producers.clone());
            let (threads, now_ms) = (self.world.threads.clone(), self.world.clock.wall_ms());
            tokio::spawn(async move {
                say(threads.run_blocking(move || open(directory, partition, &config, limits, now_ms)).await);
            });
        }
    }

    /// Where the log lies; for a new one the directory that the image names, or that with the fewest replicas of those
    /// that work.
    fn directory_for(
        &self,
        partition: PartitionId,
        known: Option<&Arc<LogDirectory>>,
    ) -> Option<Arc<LogDirectory>> {
        let works = |directory: &&Arc<LogDirectory>| matches!(directory.health(), DirectoryHealth::Well);
        let has = |directory: &&Arc<LogDirectory>| directory.logs().contains(&partition);
        let known = known.or_else(|| self.parts.directories.iter().find(has));
        if let Some(known) = known {
            return Some(known).filter(works).cloned();
        }
        let registered = self.seen.nodes().get(self.parts.node);
        let named = registered.and_then(|node| node.new_member(self.parts.node, partition));
        let is_named =
            |directory: &&Arc<LogDirectory>| named.is_some_and(|named| named.directory == directory.id());
        if let Some(named) = self.parts.directories.iter().find(is_named).filter(works) {
            return Some(Arc::clone(named));
        }
        let count = |directory: &&Arc<LogDirectory>| {
            let id = directory.id();
            let directories = self.slots.values().filter_map(|slot| slot.directory.as_ref());
            directories.filter(|of| of.id() == id).count()
        };
        self.parts.directories.iter().filter(works).min_by_key(count).cloned()
    }
}

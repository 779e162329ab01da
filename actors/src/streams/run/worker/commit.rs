//! A task's part of a commit.

use std::collections::BTreeMap;
use std::sync::Arc;

use super::super::super::control::Control;
use super::super::super::graph::Changelog;
use super::super::super::scope::{Counts, StreamError};
use super::super::super::store::Checkpoint;
use super::super::super::store::layered::Layered;
use super::super::super::task::Logged;
use super::super::super::time::UNKNOWN_MS;
use super::super::host::HostMessage;
use super::super::positions::{Position, words};
use super::super::transactor::{Destined, Ends};
use super::{Standstill, Working};
use crate::client::TopicPartition;
use crate::events::StreamsCounted;
use crate::ids::Offset;

/// Commits between looks at the size of the stores.
const SIZE_EVERY: u32 = 10;

impl Working {
    /// All that was done belongs to the commit that begins.
    pub(super) async fn prepare(&mut self, is_last: bool) -> Result<(), StreamError> {
        if let Err(error) = self.of.task.flush() {
            self.remedy = self.of.task.remedy_of_flush(&error);
            return Err(error);
        }
        // With care until something was done with it.
        let has_worked = std::mem::take(&mut self.has_worked);
        if has_worked {
            self.of.task.be_careful(false);
        }
        self.give().await;
        self.tell_time().await;
        let changes: Vec<Destined> =
            self.of.task.seal().into_iter().map(|change| self.change(change)).collect();
        self.is_dirty |= !changes.is_empty();
        self.of.transactor.send(changes).await;
        let positions = self.positions()?;
        self.tell_metrics();
        let is_dirty = std::mem::take(&mut self.is_dirty);
        let (generation, task) = (self.of.generation, self.id);
        let prepared = HostMessage::Prepared { generation, task, positions, is_dirty, has_worked };
        let _ended = self.of.host.cast(prepared);
        self.has_asked = false;
        match self.standstill {
            _ if is_last => self.standstill = Standstill::ForEver,
            Standstill::UntilPrepared => self.standstill = Standstill::UntilCommitted,
            _ => {}
        }
        Ok(())
    }

    fn tell_metrics(&mut self) {
        let Counts { processed, late, skipped } = self.of.task.counts();
        self.metrics.counted(StreamsCounted { processed, late, dropped: skipped });
        let left = self.sealed.iter().flatten().filter_map(|(topic, next)| {
            let end = self.of.ends.get(topic)?;
            u64::try_from(end.saturating_sub(*next)).ok()
        });
        self.metrics.lag(left.sum());
        match self.until_sized.checked_sub(1) {
            Some(left) => self.until_sized = left,
            None => {
                self.until_sized = SIZE_EVERY;
                let stores = self.of.task.scope().stores().iter();
                self.metrics.state(stores.map(Layered::committed_bytes).sum());
            }
        }
    }

    /// How far it is: those of its positions that are others than at the last commit, of all of them at the first.
    fn positions(&mut self) -> Result<Vec<Position>, StreamError> {
        let (time, mut sealed, mut positions) = (self.of.task.time_left(), BTreeMap::new(), Vec::new());
        for (topic, name) in self.of.task.topics().iter().enumerate() {
            let Some(next) = self.of.positions.get(&topic) else { continue };
            // What was read and is not processed yet is read again after a failure.
            let next = self.inputs.first_offset(topic).unwrap_or(*next);
            sealed.insert(topic, next);
            let words = words(topic, &time).map_err(|error| StreamError::Failed(error.to_string()))?;
            if self.said.get(&topic).is_some_and(|(at, said)| *at == next && *said == words) {
                continue;
            }
            self.said.insert(topic, (next, words.clone()));
            let of = TopicPartition::new(Arc::clone(name), self.id.partition);
            positions.push(Position { of, next: Offset(next), words });
        }
        self.sealed = Some(sealed);
        Ok(positions)
    }

    /// Tells those downstream how far this task has come. What was told is kept to.
    async fn tell_time(&mut self) {
        let Some(part) = self.of.topology.parts.get(self.id.part) else { return };
        let mut told = Vec::new();
        for topic in &part.repartitions {
            let time_ms = self.of.task.told_ms(topic);
            if time_ms <= self.told_ms.get(topic).copied().unwrap_or(UNKNOWN_MS) {
                continue;
            }
            self.told_ms.insert(Arc::clone(topic), time_ms);
            told.extend((0..self.of.counts.of(topic)).map(|partition| Destined {
                topic: Arc::clone(topic),
                partition: Some(partition),
                key: None,
                value: None,
                timestamp_ms: None,
                headers: Arc::from([Control::Time(self.id, time_ms).header()]),
                is_change: false,
            }));
        }
        self.is_dirty |= !told.is_empty();
        self.of.transactor.send(told).await;
    }

    /// With the time at which it is written: see [`super::super::topics`].
    fn change(&self, change: Logged) -> Destined {
        Destined {
            topic: change.topic,
            partition: Some(self.id.partition),
            key: Some(change.key),
            value: change.value,
            timestamp_ms: None,
            headers: Arc::from([]),
            is_change: true,
        }
    }

    pub(super) async fn committed(&mut self, ends: &Ends) -> Result<(), StreamError> {
        let Some(sealed) = self.sealed.take() else { return Ok(()) };
        let checkpoints = self.checkpoints(ends, &sealed);
        self.of.task.committed(&checkpoints)?;
        if self.standstill == Standstill::UntilCommitted {
            self.standstill = Standstill::No;
        }
        let held = std::mem::take(&mut self.held);
        self.held_bytes = 0;
        self.of.transactor.send(held).await;
        self.work().await
    }

    /// How far each store's changelog is in it now.
    fn checkpoints(&self, ends: &Ends, sealed: &BTreeMap<usize, i64>) -> Vec<Checkpoint> {
        let stores = self.of.task.scope().stores().iter();
        let each = stores.zip(self.of.task.changelogs()).map(|(store, changelog)| {
            let before = store.checkpoint().unwrap_or(Checkpoint(0));
            let end = match changelog {
                Changelog::None => None,
                Changelog::Topic(topic) => ends.get(&(Arc::clone(topic), self.id.partition)).copied(),
                Changelog::Source(topic) => {
                    let place = self.of.task.topics().iter().position(|name| name == topic);
                    place.and_then(|place| sealed.get(&place).copied())
                }
            };
            end.map_or(before, Checkpoint)
        });
        each.collect()
    }
}

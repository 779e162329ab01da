//! How a test's topology is run: all that there is, then a commit, until there is nothing new.

use std::collections::BTreeSet;
use std::sync::Arc;

use super::super::control::Control;
use super::super::operator::RawRecord;
use super::super::scope::{Outgoing, StreamError};
use super::super::store::Checkpoint;
use super::super::task::{Remedy, TaskId};
use super::super::time::UNKNOWN_MS;
use super::{Committed, DriverError, Running, TopologyDriver};
use crate::record::key_hash::partition_for_key;

impl Committed {
    /// The work is done again so.
    fn remedy(&mut self, remedy: Remedy) {
        match remedy {
            Remedy::Careful => self.is_careful = true,
            Remedy::LeaveOut { topic, offset, reason } => {
                self.left_out.insert((topic, offset), reason);
            }
        }
    }
}

impl TopologyDriver {
    pub(super) fn go_on(&mut self) -> Result<(), DriverError> {
        if self.commits_itself {
            return self.commit();
        }
        self.process()?;
        Ok(())
    }

    /// Processes all that is there, whether it has to be committed in between or not, and commits it.
    pub fn commit(&mut self) -> Result<(), DriverError> {
        loop {
            self.process()?;
            if self.flush()? && !self.commit_once()? {
                return Ok(());
            }
        }
    }

    /// Forgets all that is not committed and begins again from there, as after a kill.
    pub fn abort(&mut self) -> Result<(), DriverError> {
        self.abort_tasks()?;
        self.go_on()
    }

    pub(super) fn abort_tasks(&mut self) -> Result<(), StreamError> {
        for (id, mut running) in std::mem::take(&mut self.tasks) {
            self.begin(id, running.task.take_bases(), running.committed)?;
        }
        Ok(())
    }

    /// Global tables take all that there is.
    fn feed_globals(&mut self) -> Result<(), StreamError> {
        for task in &mut self.global_tasks {
            for (partition, log) in (0..).zip(self.logs.get(task.topic()).into_iter().flatten()) {
                let next = usize::try_from(task.next_offset(partition)).unwrap_or(usize::MAX);
                let entries = log.get(next..).unwrap_or_default().iter();
                let records = entries.filter(|entry| matches!(Control::read(entry), Ok(None)));
                task.take(partition, &records.cloned().collect::<Vec<_>>())?;
            }
        }
        Ok(())
    }

    /// Processes what is committed of each task's inputs; again from the last commit where a record turns out to be left out.
    fn process(&mut self) -> Result<(), StreamError> {
        self.feed_globals()?;
        let ids: Vec<TaskId> = self.tasks.keys().copied().collect();
        let mut waiting = ids.clone();
        while let Some(id) = waiting.pop() {
            match self.process_task(id) {
                Ok(()) => {}
                Err(error) => {
                    let running = self.tasks.get_mut(&id);
                    let is_remedied = running.is_some_and(|running| {
                        let remedy = running.task.remedy(&error);
                        remedy.map(|remedy| running.committed.remedy(remedy)).is_some()
                    });
                    // As a task that failed is tried again from its last commit.
                    self.abort_tasks()?;
                    if !is_remedied {
                        return Err(error);
                    }
                    waiting.clone_from(&ids);
                }
            }
        }
        Ok(())
    }

    fn process_task(&mut self, id: TaskId) -> Result<(), StreamError> {
        let Some(Running { task, inputs, next, .. }) = self.tasks.get_mut(&id) else { return Ok(()) };
        let topics = task.topics().to_vec();
        for (topic, name) in topics.iter().enumerate() {
            let Ok(partition) = usize::try_from(task.id().partition) else { continue };
            let log = self.logs.get(name).and_then(|partitions| partitions.get(partition));
            let at = next.entry(topic).or_insert(0);
            for record in log.map_or(&[][..], |log| log.get(*at..).unwrap_or_default()) {
                *at += 1;
                task.take_in(inputs, topic, record.clone())?;
            }
        }
        while task.step(inputs)? {}
        Ok(())
    }

    /// Sends what operators hold back. `false` where that failed, so that the tasks have begun again, with what each record
    /// holds back sent after it.
    fn flush(&mut self) -> Result<bool, StreamError> {
        let mut failed = false;
        for running in self.tasks.values_mut() {
            let Err(error) = running.task.flush() else { continue };
            let Some(remedy) = running.task.remedy_of_flush(&error) else {
                self.abort_tasks()?;
                return Err(error);
            };
            running.committed.remedy(remedy);
            failed = true;
        }
        if failed {
            self.abort_tasks()?;
        }
        Ok(!failed)
    }

    /// One transaction of all tasks; whether it left anything to be read.
    fn commit_once(&mut self) -> Result<bool, DriverError> {
        let mut sent = Vec::new();
        let mut told = Vec::new();
        let none = BTreeSet::new();
        for (id, running) in &mut self.tasks {
            let task = &mut running.task;
            task.be_careful(false);
            sent.extend(task.take_sent());
            let logged = task.seal();
            let end = i64::try_from(logged.len()).unwrap_or(i64::MAX);
            self.changelogs.append(*id, logged);
            let stores = task.scope().stores().len();
            task.committed(&vec![Checkpoint(end); stores])?;
            let mut told_ms = std::mem::take(&mut running.committed.told_ms);
            for topic in self.topology.parts.get(id.part).map_or(&none, |part| &part.repartitions) {
                let ms = task.told_ms(topic);
                let before_ms = told_ms.insert(Arc::clone(topic), ms).unwrap_or(UNKNOWN_MS);
                match ms > before_ms {
                    true => told.push((*id, Arc::clone(topic), ms)),
                    // A time that was told is kept to.
                    false => drop(told_ms.insert(Arc::clone(topic), before_ms)),
                }
            }
            let mut left_out = std::mem::take(&mut running.committed.left_out);
            left_out.retain(|(topic, offset), _| {
                let next = running.next.get(topic).copied().unwrap_or(0);
                usize::try_from(*offset).is_ok_and(|offset| offset >= next)
            });
            running.committed = Committed {
                next: running.next.clone(),
                time: running.task.time_left(),
                told_ms,
                counts: running.counted.plus(running.task.counts()),
                left_out,
                is_careful: false,
            };
        }
        let mut left = false;
        for outgoing in &sent {
            self.append(outgoing);
            left |= self.topology.parts.iter().any(|part| part.sources.contains(&outgoing.topic));
        }
        for (id, topic, ms) in told {
            self.append_control(&topic, Control::Time(id, ms));
            left = true;
        }
        Ok(left)
    }

    pub(super) fn append(&mut self, outgoing: &Outgoing) {
        let log = self.log(&outgoing.topic);
        let count = u32::try_from(log.len()).unwrap_or(1);
        let of_key = || partition_for_key(outgoing.key.as_deref().unwrap_or_default(), count);
        let partition = outgoing.partition.and_then(|it| u32::try_from(it).ok()).unwrap_or_else(of_key);
        let Some(log) = usize::try_from(partition).ok().and_then(|it| log.get_mut(it)) else { return };
        log.push(RawRecord {
            offset: i64::try_from(log.len()).unwrap_or(i64::MAX),
            timestamp_ms: outgoing.timestamp_ms,
            key: outgoing.key.clone(),
            value: outgoing.value.clone(),
            headers: Arc::clone(&outgoing.headers),
        });
    }

    /// Into all partitions.
    pub(super) fn append_control(&mut self, topic: &Arc<str>, control: Control) {
        let (timestamp_ms, headers) = (self.clock_ms, Arc::from([control.header()]));
        for log in self.log(topic) {
            let offset = i64::try_from(log.len()).unwrap_or(i64::MAX);
            log.push(RawRecord {
                offset,
                timestamp_ms,
                key: None,
                value: None,
                headers: Arc::clone(&headers),
            });
        }
    }

    fn log(&mut self, topic: &Arc<str>) -> &mut Vec<Vec<RawRecord>> {
        let count = match self.counts.of(topic) {
            0 => self.partitions,
            count => count,
        };
        let count = usize::try_from(count).unwrap_or(1);
        self.logs.entry(Arc::clone(topic)).or_insert_with(|| vec![Vec::new(); count])
    }
}

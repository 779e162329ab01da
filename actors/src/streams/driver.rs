//! A topology run in a test, record by record, with a clock of its own and no cluster.

mod changelogs;
mod end;
mod process;
mod read;
mod windows;

use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use changelogs::Changelogs;

use super::codec::{Coded, SharedCodec};
use super::event::Data;
use super::global::{GlobalStore, GlobalTask, Globals};
use super::graph::{PartitionCounts, Topology, TopologyError};
use super::operator::RawRecord;
use super::scope::{Counts, Outgoing, StreamError};
use super::store::{ByteStore, MemoryStore};
use super::task::{Inputs, Task, TaskId, inputs_of, tasks_of};
use super::time::{InputId, TimeLeft, UNKNOWN_MS};
use crate::record::Header;

/// A test's topology did not do what was asked.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum DriverError {
    /// It cannot be run.
    #[error(transparent)]
    Topology(#[from] TopologyError),
    /// A record could not be processed.
    #[error(transparent)]
    Stream(#[from] StreamError),
    /// There is nothing of this name.
    #[error("the topology has no {0}")]
    Unknown(String),
}

struct Running {
    task: Task,
    inputs: Inputs,
    /// The next to be read of each topic.
    next: BTreeMap<usize, usize>,
    committed: Committed,
    /// What was counted before the task was begun.
    counted: Counts,
}

/// What a task begins from.
#[derive(Clone, Debug, Default)]
struct Committed {
    next: BTreeMap<usize, usize>,
    time: TimeLeft,
    /// The time that was told in each topic that another task reads.
    told_ms: BTreeMap<Arc<str>, i64>,
    counts: Counts,
    /// Records to be left out, by topic and offset.
    left_out: BTreeMap<(usize, i64), StreamError>,
    is_careful: bool,
}

impl Committed {
    /// The same for a task whose topics have other places now. An input that is new is where stream time is, which it so
    /// holds until it says more.
    fn moved(self, place: impl Fn(usize) -> Option<usize>, inputs: Vec<InputId>) -> Self {
        let told_ms = self.told_ms.values().copied().max();
        let new_ms = self.time.now_ms().max(told_ms.unwrap_or(UNKNOWN_MS));
        let input = |(topic, part, task): InputId| Some((place(topic)?, part, task));
        let reached = self.time.reached.into_iter().filter_map(|(of, ms)| Some((input(of)?, ms)));
        let idle = self.time.idle.into_iter().filter_map(input).collect();
        let time = TimeLeft { reached: reached.collect(), idle, ..self.time };
        let left_out = self.left_out.into_iter();
        Self {
            next: self.next.into_iter().filter_map(|(topic, next)| Some((place(topic)?, next))).collect(),
            time: time.over(inputs, new_ms),
            left_out: left_out.filter_map(|((topic, at), it)| Some(((place(topic)?, at), it))).collect(),
            ..self
        }
    }
}

/// A topology in a test. Every task of it runs here, over topics in memory.
///
/// What is sent in is processed and committed at once, unless [`Self::hold_commits`] was called: then when
/// [`Self::commit`] is, and [`Self::abort`] begins again from the last commit, as a killed process does.
/// ```
/// use millstream_actors::streams::{StreamBuilder, TopologyDriver};
///
/// let builder = StreamBuilder::new("word-count");
/// builder
///     .stream::<(), String>("lines")
///     .flat_map(|(), line| line.split(' ').map(|word| (word.to_owned(), ())).collect::<Vec<_>>())
///     .group_by_key("words")
///     .count("counts")
///     .to_stream()
///     .to("word-counts");
/// let mut driver = TopologyDriver::new(&builder.build().unwrap(), 2).unwrap();
/// driver.send("lines", &(), &"to be or not to be".to_owned(), 0).unwrap();
/// assert_eq!(driver.get::<String, i64>("counts", &"be".to_owned()).unwrap(), Some(2));
/// ```
pub struct TopologyDriver {
    topology: Topology,
    counts: PartitionCounts,
    partitions: i32,
    /// The users' topics that it was told of, beside those that the topology names.
    matched: Vec<Arc<str>>,
    logs: BTreeMap<Arc<str>, Vec<Vec<RawRecord>>>,
    shown: BTreeMap<(Arc<str>, usize), usize>,
    tasks: BTreeMap<TaskId, Running>,
    changelogs: Changelogs,
    globals: Globals,
    global_tasks: Vec<GlobalTask>,
    clock_ms: i64,
    idle_max_ms: Option<i64>,
    commits_itself: bool,
}

impl fmt::Debug for TopologyDriver {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.debug_struct("TopologyDriver").field("topology", &self.topology).finish_non_exhaustive()
    }
}

impl TopologyDriver {
    /// A topology over users' topics of so many partitions each.
    pub fn new(topology: &Topology, partitions: i32) -> Result<Self, DriverError> {
        Self::with_topics(topology, partitions, &[])
    }

    /// The same where there are these topics, too, of which patterns of the topology take theirs.
    pub fn with_topics(topology: &Topology, partitions: i32, topics: &[&str]) -> Result<Self, DriverError> {
        let matched: Vec<Arc<str>> = topics.iter().copied().map(Arc::from).collect();
        let topology = topology.over(&matched)?;
        let counts = PartitionCounts::new(&topology, |_| Some(partitions))?;
        let store = || Arc::new(GlobalStore::new(Box::new(MemoryStore::default())));
        let globals: Globals = topology.graph.globals.iter().map(|_| store()).collect();
        let each = topology.graph.globals.iter().zip(globals.iter());
        let global_tasks: Result<Vec<_>, _> =
            each.map(|(global, store)| GlobalTask::new(&global.topic, store)).collect();
        let mut driver = Self {
            topology,
            globals,
            global_tasks: global_tasks?,
            counts,
            partitions,
            matched,
            logs: BTreeMap::new(),
            shown: BTreeMap::new(),
            tasks: BTreeMap::new(),
            changelogs: Changelogs::default(),
            clock_ms: 0,
            idle_max_ms: None,
            commits_itself: true,
        };
        for id in tasks_of(&driver.topology, &driver.counts) {
            driver.begin_new(id)?;
        }
        Ok(driver)
    }

    fn begin_new(&mut self, id: TaskId) -> Result<(), StreamError> {
        let stores = self.topology.parts.get(id.part).map_or(0, |part| part.stores.len());
        let bases: Vec<Box<dyn ByteStore>> =
            (0..stores).map(|_| Box::new(MemoryStore::default()) as Box<dyn ByteStore>).collect();
        let inputs = inputs_of(&self.topology, &self.counts, id);
        let time = TimeLeft::default().over(inputs, UNKNOWN_MS);
        self.begin(id, bases, Committed { time, ..Committed::default() })
    }

    /// A topic is made. Where a pattern takes it, its tasks begin again from their last commit and read it, too; stream time
    /// waits for it where it is.
    pub fn add_topic(&mut self, topic: &str) -> Result<(), DriverError> {
        self.matched.push(Arc::from(topic));
        let topology = self.topology.over(&self.matched)?;
        let made = |topic: &str| Some(self.counts.of(topic)).filter(|count| *count > 0);
        let counts = PartitionCounts::with_made(&topology, |_| Some(self.partitions), made)?;
        let before = std::mem::replace(&mut self.topology, topology);
        self.counts = counts;
        let mut tasks = std::mem::take(&mut self.tasks);
        for id in tasks_of(&self.topology, &self.counts) {
            let Some(mut running) = tasks.remove(&id) else {
                self.begin_new(id)?;
                continue;
            };
            let sources = |topology: &Topology| {
                topology.parts.get(id.part).map_or_else(Vec::new, |part| part.sources.clone())
            };
            let (old, new) = (sources(&before), sources(&self.topology));
            let place = |topic: usize| {
                let name = old.get(topic)?;
                new.iter().position(|other| other == name)
            };
            let committed = running.committed.moved(place, inputs_of(&self.topology, &self.counts, id));
            self.begin(id, running.task.take_bases(), committed)?;
        }
        self.go_on()
    }

    fn begin(
        &mut self,
        id: TaskId,
        bases: Vec<Box<dyn ByteStore>>,
        committed: Committed,
    ) -> Result<(), StreamError> {
        let clock = (self.clock_ms, self.idle_max_ms);
        let mut task = Task::new(&self.topology, id, bases, &self.globals, &committed.time, clock)?;
        for ((topic, offset), reason) in &committed.left_out {
            task.leave_out(*topic, *offset, reason.clone());
        }
        task.be_careful(committed.is_careful);
        let (next, counted) = (committed.next.clone(), committed.counts);
        self.tasks.insert(id, Running { task, inputs: Inputs::default(), next, committed, counted });
        Ok(())
    }

    /// Commits only when [`Self::commit`] is called.
    pub const fn hold_commits(&mut self) {
        self.commits_itself = false;
    }

    /// Leaves an input out of stream time that is silent for so long, as the clock has it (`idle.max.ms`). To be called
    /// before anything is sent.
    pub fn idle_max(&mut self, idle: Duration) -> Result<(), DriverError> {
        self.idle_max_ms = Some(i64::try_from(idle.as_millis()).unwrap_or(i64::MAX));
        Ok(self.abort_tasks()?)
    }

    /// Sends a record to a topic of the user's, to the partition of its key.
    pub fn send<K: Coded, V: Coded>(
        &mut self,
        topic: &str,
        key: &K,
        value: &V,
        timestamp_ms: i64,
    ) -> Result<(), DriverError> {
        self.send_with(topic, (&K::codec(), key), Some((&V::codec(), value)), timestamp_ms)
    }

    /// Sends a record without a value, which deletes its key from a table.
    pub fn delete<K: Coded>(&mut self, topic: &str, key: &K, timestamp_ms: i64) -> Result<(), DriverError> {
        self.send_with::<K, ()>(topic, (&K::codec(), key), None, timestamp_ms)
    }

    /// Sends a record that has headers.
    pub fn send_with_headers<K: Coded, V: Coded>(
        &mut self,
        topic: &str,
        key: &K,
        value: &V,
        timestamp_ms: i64,
        headers: impl Into<Arc<[Header]>>,
    ) -> Result<(), DriverError> {
        let key = K::codec().encode(key).map_err(StreamError::from)?;
        let value = V::codec().encode(value).map_err(StreamError::from)?;
        let (topic, headers) = (self.source(topic)?, headers.into());
        self.append(&Outgoing { topic, partition: None, key, value, timestamp_ms, headers });
        self.go_on()
    }

    /// The same in forms that are not those of the types.
    pub fn send_with<K: Data, V: Data>(
        &mut self,
        topic: &str,
        (key_codec, key): (&SharedCodec<K>, &K),
        value: Option<(&SharedCodec<V>, &V)>,
        timestamp_ms: i64,
    ) -> Result<(), DriverError> {
        let key = key_codec.encode(key).map_err(StreamError::from)?;
        let value = value.map(|(codec, value)| codec.encode(value)).transpose();
        let value = value.map_err(StreamError::from)?.flatten();
        let topic = self.source(topic)?;
        let (partition, headers) = (None, Arc::from([]));
        self.append(&Outgoing { topic, partition, key, value, timestamp_ms, headers });
        self.go_on()
    }

    /// The clock goes on.
    pub fn advance_clock(&mut self, by: Duration) -> Result<(), DriverError> {
        let by_ms = i64::try_from(by.as_millis()).unwrap_or(i64::MAX);
        self.clock_ms = self.clock_ms.saturating_add(by_ms);
        for running in self.tasks.values_mut() {
            running.task.clock(self.clock_ms)?;
        }
        self.go_on()
    }

    fn source(&self, topic: &str) -> Result<Arc<str>, DriverError> {
        let globals = self.global_tasks.iter().map(GlobalTask::topic);
        let mut sources = self.topology.parts.iter().flat_map(|part| &part.sources).chain(globals);
        let found = sources.find(|source| source.as_ref() == topic);
        found.cloned().ok_or_else(|| DriverError::Unknown(format!("source topic {topic:?}")))
    }
}

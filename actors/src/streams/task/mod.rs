//! One task: a sub-topology over one partition of its sources. Pure but for the user's operators: records in; records for
//! topics and changes for changelogs out.

mod asked;
mod inputs;
mod upstream;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex};

use bytes::Bytes;

pub(crate) use inputs::Inputs;
use inputs::Next;
pub(crate) use upstream::{inputs_of, tasks_of};

use super::control::Control;
use super::global::Globals;
use super::graph::{Changelog, StoreId, Topology};
use super::operator::{Assembly, Hook, Outcome, RawRecord, Read, entered, guarded};
use super::poison::Poison;
use super::scope::{Counts, Mark, Origin, Outgoing, Scope, StreamError};
use super::store::layered::Layered;
use super::store::{ByteStore, Checkpoint};
use super::time::{END_MS, InputId, StreamTime, TimeLeft, TimeMark, behind_ms};

/// Which task: its sub-topology and its partition.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct TaskId {
    pub(crate) part: usize,
    pub(crate) partition: i32,
}

impl std::fmt::Display for TaskId {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(formatter, "{}_{}", self.part, self.partition)
    }
}

/// A change of a store for its changelog.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Logged {
    pub(crate) topic: Arc<str>,
    pub(crate) key: Bytes,
    pub(crate) value: Option<Bytes>,
}

/// How the work of a transaction that failed is done again, so that it does not fail for the same reason.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Remedy {
    /// With what each record makes sent after it: see [`Task::be_careful`].
    Careful,
    /// Without this record: see [`Task::leave_out`].
    LeaveOut { topic: usize, offset: i64, reason: StreamError },
}

/// A task.
pub(crate) struct Task {
    id: TaskId,
    topics: Vec<Arc<str>>,
    /// Which of them are the library's own, whose records tell no time.
    internal: BTreeSet<usize>,
    sources: BTreeMap<Arc<str>, Vec<Box<dyn Read>>>,
    /// Who sends is before who receives.
    hooks: Vec<Arc<Mutex<dyn Hook>>>,
    scope: Scope,
    time: StreamTime,
    changelogs: Vec<Changelog>,
    application: Arc<str>,
    poison: Poison,
    /// Records that are left out when they come, by topic and offset.
    left_out: BTreeMap<(usize, i64), StreamError>,
    is_careful: bool,
    in_circles: BTreeMap<Arc<str>, BTreeSet<usize>>,
    /// How far behind its time what it writes to a topic may be.
    topic_lags_ms: BTreeMap<Arc<str>, i64>,
}

impl Task {
    /// A task over what its stores hold, in the order of its part's, and the process's global tables. `left` is what is known of its inputs' time.
    pub(crate) fn new(
        topology: &Topology,
        id: TaskId,
        bases: Vec<Box<dyn ByteStore>>,
        globals: &Globals,
        left: &TimeLeft,
        (clock_ms, idle_max_ms): (i64, Option<i64>),
    ) -> Result<Self, StreamError> {
        let broken = || StreamError::Broken(format!("there is no sub-topology {}", id.part));
        let part = topology.parts.get(id.part).ok_or_else(broken)?;
        let places: BTreeMap<StoreId, usize> = part.stores.iter().copied().zip(0..).collect();
        let mut assembly = Assembly::new(&places, &part.readers, &part.lags_ms);
        for vertex in part.vertices.iter().rev() {
            if let Some(known) = topology.graph.vertices.get(vertex.0) {
                (known.build)(*vertex, &mut assembly)?;
            }
        }
        let Assembly { sources, mut hooks, .. } = assembly;
        hooks.reverse();
        let time = StreamTime::new(left, clock_ms, idle_max_ms);
        let stores = bases.into_iter().map(Layered::new).collect();
        let mut scope = Scope::new(stores, clock_ms).with_globals(globals);
        scope.time_ms = time.now_ms();
        scope.origin.partition = id.partition;
        let specs = part.stores.iter().filter_map(|store| topology.graph.stores.get(store.0));
        let changelogs = specs.map(|store| store.changelog.clone()).collect();
        guarded(|| hooks.iter().try_for_each(|hook| entered(hook).begin(&mut scope)))?;
        let is_internal = |name: &Arc<str>| topology.graph.repartitions.contains_key(name);
        let internal = part.sources.iter().enumerate().filter(|(_, name)| is_internal(name));
        let lag = |topic: &Arc<str>| (Arc::clone(topic), part.topic_lag_ms(&topology.graph, topic));
        Ok(Self {
            id,
            topics: part.sources.clone(),
            internal: internal.map(|(topic, _)| topic).collect(),
            sources,
            hooks,
            scope,
            time,
            changelogs,
            in_circles: part.in_circles.clone(),
            topic_lags_ms: part.repartitions.iter().map(lag).collect(),
            application: Arc::clone(&topology.graph.application),
            poison: topology.graph.poison.clone(),
            left_out: BTreeMap::new(),
            is_careful: false,
        })
    }

    pub(crate) const fn id(&self) -> TaskId {
        self.id
    }

    /// The topics that it reads; a record is of one by its place here.
    pub(crate) fn topics(&self) -> &[Arc<str>] {
        &self.topics
    }

    pub(crate) const fn counts(&self) -> Counts {
        self.scope.counts
    }

    /// Where the changes of its stores go.
    pub(crate) fn changelogs(&self) -> &[Changelog] {
        &self.changelogs
    }

    /// A record of its partition of a topic waits to be processed, or an entry of one that is no record.
    pub(crate) fn take_in(&self, inputs: &mut Inputs, topic: usize, record: RawRecord) -> Outcome {
        let (input, ms) = match Control::read(&record)? {
            None => {
                match self.timestamp_ms(topic, &record) {
                    Err(error) if self.poison.leaves_out(&error) => inputs.push_undated(topic, record, error),
                    told => inputs.push(topic, told?, record),
                }
                return Ok(());
            }
            Some(Control::Time(from, ms)) => {
                let part = i32::try_from(from.part).unwrap_or(i32::MAX);
                ((topic, part, from.partition), ms)
            }
            Some(Control::End) => ((topic, -1, -1), END_MS),
        };
        inputs.push_time(topic, input, ms, record.offset);
        Ok(())
    }

    fn timestamp_ms(&self, topic: usize, record: &RawRecord) -> Result<i64, StreamError> {
        let source = self.topics.get(topic).and_then(|topic| self.sources.get(topic)?.first());
        source.map_or(Ok(record.timestamp_ms), |source| guarded(|| source.timestamp_ms(record)))
    }

    /// Takes the next of what waits. False where nothing does. After an error the task is of no use: what it had not
    /// committed is to be dropped.
    pub(crate) fn step(&mut self, inputs: &mut Inputs) -> Result<bool, StreamError> {
        match inputs.pop() {
            None => return Ok(false),
            Some(Next::Time { input, ms }) => self.reach(input, ms)?,
            Some(Next::Undated { topic, record, error }) => self.skip(topic, &record, &error),
            Some(Next::Record { topic, timestamp_ms, record }) => {
                self.process(topic, &record, timestamp_ms, !self.internal.contains(&topic))?;
            }
        }
        Ok(true)
    }

    /// A record that failed with [`StreamError::Poisoned`] before the transaction was begun again is left out this time.
    pub(crate) fn leave_out(&mut self, topic: usize, offset: i64, reason: StreamError) {
        self.left_out.insert((topic, offset), reason);
    }

    /// How many records are to be left out that have not come yet.
    pub(crate) fn left_out(&self) -> usize {
        self.left_out.len()
    }

    /// What there is to be done about an error of [`Self::step`], if anything. Where operators hold back what they make of
    /// records, a failure may show with another record than its own: whose it is shows once nothing is held back.
    pub(crate) fn remedy(&self, error: &StreamError) -> Option<Remedy> {
        let StreamError::Poisoned { topic, offset, reason } = error else { return None };
        Some(match self.is_careful || self.hooks.is_empty() {
            true => Remedy::LeaveOut { topic: *topic, offset: *offset, reason: (**reason).clone() },
            false => Remedy::Careful,
        })
    }

    /// The same of an error of [`Self::flush`], which is of some record.
    pub(crate) fn remedy_of_flush(&self, error: &StreamError) -> Option<Remedy> {
        (self.poison.leaves_out(error) && !self.is_careful).then_some(Remedy::Careful)
    }

    /// Whether what operators hold back is sent after every record, so that a failure over it is one of the record that
    /// caused it; for a transaction that is done again as one of nobody's failed.
    pub(crate) const fn be_careful(&mut self, is_careful: bool) {
        self.is_careful = is_careful;
    }

    /// Processes a record of the task's partition of a topic, or leaves it out, as the application's policy has it. After an
    /// error the task is of no use: what it had not committed is to be dropped.
    pub(crate) fn process(
        &mut self,
        topic: usize,
        record: &RawRecord,
        timestamp_ms: i64,
        tells_time: bool,
    ) -> Outcome {
        let Some(name) = self.topics.get(topic) else { return Ok(()) };
        if !self.left_out.is_empty()
            && let Some(reason) = self.left_out.remove(&(topic, record.offset))
        {
            self.skip(topic, record, &reason);
            return Ok(());
        }
        let Some(sources) = self.sources.get_mut(name) else { return Ok(()) };
        self.scope.origin = Origin {
            topic: Arc::clone(name),
            partition: self.id.partition,
            offset: record.offset,
            headers: Arc::clone(&record.headers),
        };
        let input = (topic, -1, -1);
        let before = (self.scope.mark(), self.time.mark(input));
        if tells_time {
            self.time.reach(input, timestamp_ms, self.scope.clock_ms);
        }
        let has_passed = self.time.now_ms() > self.scope.time_ms;
        self.scope.time_ms = self.time.now_ms();
        let (scope, hooks, is_careful) = (&mut self.scope, &self.hooks, self.is_careful);
        let read = guarded(|| {
            sources.iter_mut().try_for_each(|source| source.read(record, timestamp_ms, scope))?;
            if is_careful { flush(hooks, scope) } else { Ok(()) }
        });
        if let Err(error) = read {
            return self.failed(topic, record, error, before);
        }
        self.scope.counts.processed += 1;
        if has_passed { self.time_passed() } else { Ok(()) }
    }

    /// A record failed: it is left out in place where it had changed nothing.
    fn failed(
        &mut self,
        topic: usize,
        record: &RawRecord,
        error: StreamError,
        (mark, time): (Mark, TimeMark),
    ) -> Outcome {
        if !self.poison.leaves_out(&error) {
            return Err(error);
        }
        if !self.scope.is_unchanged_since(mark) {
            return Err(StreamError::Poisoned { topic, offset: record.offset, reason: Box::new(error) });
        }
        self.time.take_back(time);
        self.scope.time_ms = self.time.now_ms();
        self.skip(topic, record, &error);
        Ok(())
    }

    fn skip(&mut self, topic: usize, record: &RawRecord, error: &StreamError) {
        self.scope.counts.skipped += 1;
        let name = self.topics.get(topic).map_or("", AsRef::as_ref);
        let from = (name, self.id.partition);
        let task = self.id.to_string();
        let letter = self.poison.letter(record, from, (&self.application, &task), error);
        self.scope.sent.extend(letter);
    }

    /// An input has come this far without a record.
    pub(crate) fn reach(&mut self, input: InputId, ms: i64) -> Outcome {
        self.time.reach(input, ms, self.scope.clock_ms);
        self.look_at_time()
    }

    /// The clock went on.
    pub(crate) fn clock(&mut self, clock_ms: i64) -> Outcome {
        self.scope.forget_headers();
        self.scope.clock_ms = clock_ms;
        let (hooks, scope) = (&self.hooks, &mut self.scope);
        guarded(|| hooks.iter().try_for_each(|hook| entered(hook).clock_passed(scope)))?;
        self.time.settle(clock_ms);
        self.look_at_time()
    }

    fn look_at_time(&mut self) -> Outcome {
        if self.time.now_ms() > self.scope.time_ms {
            self.scope.time_ms = self.time.now_ms();
            return self.time_passed();
        }
        Ok(())
    }

    fn time_passed(&mut self) -> Outcome {
        self.scope.forget_headers();
        let (hooks, scope) = (&self.hooks, &mut self.scope);
        guarded(|| hooks.iter().try_for_each(|hook| entered(hook).time_passed(scope)))
    }

    /// Sends what operators hold back until a commit.
    pub(crate) fn flush(&mut self) -> Outcome {
        self.scope.forget_headers();
        let (hooks, scope) = (&self.hooks, &mut self.scope);
        guarded(|| flush(hooks, scope))
    }

    /// What it sends to topics, since this was last asked.
    pub(crate) fn take_sent(&mut self) -> Vec<Outgoing> {
        std::mem::take(&mut self.scope.sent)
    }

    /// The task's stream time.
    pub(crate) const fn time_ms(&self) -> i64 {
        self.scope.time_ms
    }

    /// What is to be told of its time in a topic that it writes: its stream time, or where that would come back to it
    /// how far the inputs have come whose records reach the topic; less what operators before it may hold back.
    pub(crate) fn told_ms(&self, topic: &str) -> i64 {
        let time_ms = match self.in_circles.get(topic) {
            Some(sources) => self.time.of_ms(sources),
            None => self.scope.time_ms,
        };
        behind_ms(time_ms, self.topic_lags_ms.get(topic).copied().unwrap_or(0))
    }

    /// What it knows of time, to be kept with a commit.
    pub(crate) fn time_left(&self) -> TimeLeft {
        self.time.left(self.scope.clock_ms)
    }

    /// Bytes written to stores that are not committed.
    pub(crate) fn uncommitted_bytes(&self) -> usize {
        self.scope.stores().iter().map(Layered::uncommitted_bytes).sum()
    }

    /// What was written since the last seal belongs to the transaction that is committed now; what of it goes to
    /// changelogs.
    pub(crate) fn seal(&mut self) -> Vec<Logged> {
        let mut logged = Vec::new();
        for (store, changelog) in self.scope.stores_mut().iter_mut().zip(&self.changelogs) {
            let changes = store.seal();
            if let Changelog::Topic(topic) = changelog {
                let each = changes.map(|(key, value)| Logged {
                    topic: Arc::clone(topic),
                    key: key.clone(),
                    value: value.cloned(),
                });
                logged.extend(each);
            }
        }
        logged
    }

    /// The transaction was committed; each store's changelog ends here now.
    pub(crate) fn committed(&mut self, checkpoints: &[Checkpoint]) -> Result<(), StreamError> {
        for (store, checkpoint) in self.scope.stores_mut().iter_mut().zip(checkpoints) {
            store.committed(*checkpoint)?;
        }
        Ok(())
    }

    /// What is committed of its stores; all else is dropped, and the task is of no use any more.
    pub(crate) fn take_bases(&mut self) -> Vec<Box<dyn ByteStore>> {
        self.scope.take_stores().into_iter().map(Layered::into_base).collect()
    }

    pub(crate) const fn scope(&self) -> &Scope {
        &self.scope
    }
}

fn flush(hooks: &[Arc<Mutex<dyn Hook>>], scope: &mut Scope) -> Outcome {
    hooks.iter().try_for_each(|hook| entered(hook).flush(scope))
}

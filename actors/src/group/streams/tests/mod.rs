//! Groups of applications, in time that the test tells.

mod commits;
mod fencing;
mod histories;
mod moving;
mod taking_over;
mod topologies;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use crate::error::ErrorCode;
use crate::group::classic::KeptFrom;
use crate::group::fakes::FakeTopics;
use crate::group::message::GroupState;
use crate::group::message::streams::{
    StreamsGroupDescription, StreamsHeartbeat, StreamsHeartbeatAnswer, StreamsPart, StreamsTask,
    StreamsTasks, StreamsTerms, StreamsTopology,
};
use crate::group::modern::{ConsumerGroup, Decision, Group, Notice, Now, Surroundings};
use crate::group::records::{GroupRecord, decode, encode};
use crate::group::settings::GroupSettings;

/// A group, and the log of what it wrote.
struct Bench {
    group: ConsumerGroup,
    topics: FakeTopics,
    settings: GroupSettings,
    now_ms: u64,
    log: Vec<GroupRecord>,
    notices: Vec<Notice>,
}

impl Bench {
    fn new() -> Self {
        let (topics, settings) = (FakeTopics::of(&[("t", 4)]), GroupSettings::default());
        let around = Surroundings { now: now(1_000), topics: &topics, settings: &settings };
        let group = ConsumerGroup::new("app".into(), Group::default(), &around);
        Self { group, topics, settings, now_ms: 1_000, log: Vec::new(), notices: Vec::new() }
    }

    /// Lets the group decide.
    fn decide<A>(
        &mut self,
        step: impl FnOnce(&mut ConsumerGroup, &Surroundings<'_>) -> Decision<A>,
    ) -> Result<A, ErrorCode> {
        let around = Surroundings { now: now(self.now_ms), topics: &self.topics, settings: &self.settings };
        let Decision { records, answer, notices } = step(&mut self.group, &around);
        self.log.extend(records);
        self.notices.extend(notices);
        answer.map_err(|refusal| refusal.code)
    }

    fn beat(&mut self, request: &StreamsHeartbeat) -> Result<StreamsHeartbeatAnswer, ErrorCode> {
        self.decide(|group, around| group.streams_heartbeat(around, "10.0.0.1", request))
    }

    fn pass(&mut self, ms: u64) {
        self.now_ms += ms;
        if self.group.next_deadline_ms() <= self.now_ms {
            self.decide(|group, around| group.tick(around, KeptFrom::Commit)).unwrap();
        }
    }

    /// The coordinator moves: another reads so much of the log, byte by byte.
    fn read_back(&mut self, records: usize) {
        self.log.truncate(records);
        let mut group = Group::default();
        for record in &self.log {
            let written = encode(0, "app", record);
            let (_, read) = decode(&written.key, written.value.as_deref()).unwrap().unwrap();
            assert_eq!(&read, record);
            group.replay(0, read);
        }
        let around = Surroundings { now: now(self.now_ms), topics: &self.topics, settings: &self.settings };
        self.group = ConsumerGroup::new("app".into(), group, &around);
        self.decide(ConsumerGroup::make_whole).unwrap();
    }

    fn describe(&self) -> StreamsGroupDescription {
        self.group.describe_streams().unwrap()
    }

    fn is_member(&self, worker: &Worker) -> bool {
        self.group.group().streams.members.contains_key(worker.id.as_str())
    }
}

fn now(ms: u64) -> Now {
    Now { monotonic_ms: ms, wall_ms: i64::try_from(ms).unwrap() }
}

fn task(part: u32, partition: u32) -> StreamsTask {
    StreamsTask { part, partition }
}

/// A topology with so many tasks with state in part 0 and without in part 1, where there are any.
fn topology(stateful: u32, stateless: u32) -> StreamsTopology {
    let part =
        |part, tasks, is_stateful| StreamsPart { part, tasks, is_stateful, sources: vec!["t".to_owned()] };
    let parts = [part(0, stateful, true), part(1, stateless, false)];
    StreamsTopology {
        epoch: 1,
        fingerprint: 7,
        parts: parts.into_iter().filter(|part| part.tasks > 0).collect(),
        terms: StreamsTerms::default(),
    }
}

/// A member's process: it does as it is told.
#[derive(Clone, Debug)]
struct Worker {
    id: String,
    transactional_id: String,
    epoch: i32,
    topology: StreamsTopology,
    running: StreamsTasks,
    lags: BTreeMap<StreamsTask, u64>,
    told: StreamsHeartbeatAnswer,
}

impl Worker {
    fn new(id: &str, topology: &StreamsTopology) -> Self {
        Self {
            id: id.to_owned(),
            transactional_id: format!("of-{id}"),
            epoch: 0,
            topology: topology.clone(),
            running: StreamsTasks::default(),
            lags: BTreeMap::new(),
            told: StreamsHeartbeatAnswer::default(),
        }
    }

    fn joined(bench: &mut Bench, id: &str, topology: &StreamsTopology) -> Self {
        let mut worker = Self::new(id, topology);
        worker.step(bench);
        worker
    }

    fn heartbeat(&self) -> StreamsHeartbeat {
        StreamsHeartbeat {
            group: "app".to_owned(),
            member: self.id.clone(),
            epoch: self.epoch,
            instance: "process".to_owned(),
            client_id: "test".to_owned(),
            transactional_id: Some(self.transactional_id.clone()),
            rebalance_timeout_ms: 0,
            topology: (self.epoch == 0).then(|| self.topology.clone()),
            running: Some(self.running.clone()),
            lags: self.lags.iter().map(|(task, lag)| (*task, *lag)).collect(),
        }
    }

    /// Heartbeats, and does as it is told.
    fn step(&mut self, bench: &mut Bench) {
        let answer = bench.beat(&self.heartbeat()).unwrap();
        self.follow(answer);
    }

    fn follow(&mut self, answer: StreamsHeartbeatAnswer) {
        self.epoch = answer.epoch;
        self.running = answer.tasks.clone();
        let copies: BTreeSet<_> = answer.tasks.standby.union(&answer.tasks.warm_up).copied().collect();
        self.lags.retain(|task, _| copies.contains(task));
        for task in copies {
            self.lags.entry(task).or_insert(1_000_000);
        }
        self.told = answer;
    }

    /// Its copies lack nothing any more.
    fn catch_up(&mut self) {
        self.lags.values_mut().for_each(|lag| *lag = 0);
    }
}

/// All of them heartbeat in turn, some times, copies being brought up meanwhile.
fn settle(bench: &mut Bench, workers: &mut [&mut Worker]) {
    for _ in 0..60 {
        bench.pass(100);
        for worker in workers.iter_mut() {
            worker.step(bench);
            worker.catch_up();
        }
    }
    assert_eq!(bench.describe().state, GroupState::Stable, "{:?}", bench.describe());
}

fn active(bench: &Bench) -> BTreeMap<StreamsTask, Arc<str>> {
    let members = bench.group.group().streams.currents.iter();
    members
        .flat_map(|(id, current)| current.tasks.active.iter().map(|task| (*task, Arc::clone(id))))
        .collect()
}

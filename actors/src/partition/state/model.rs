//! A partition on three nodes as a model: the real state machines over logs that are lists, a controller of a few
//! lines, and every order of appends, syncs, messages, deaths, elections and changes of the set.
//!
//! Checked after every step: what a leader commits is on the disk of every member of the quorum's set; the same
//! offset is never committed twice with different records; a new leader has everything committed; the high watermark
//! never goes back. At the end, all is healed and all logs are equal.

use std::collections::{BTreeMap, VecDeque};
use std::time::Duration;

use proptest::prelude::*;

use super::truncate::{Verdict, cut_point, judge};
use crate::ids::{DirectoryId, LeaderEpoch, Member, NodeId, Offset};
use crate::partition::state::fixture::{assignment, life};
use crate::partition::state::{
    Admission, ChangeOutcome, Effect, InSyncChange, Input, Joined, LogFacts, ReplicaState, Role, Settings,
};

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Record {
    epoch: i32,
    id: u64,
}

#[derive(Debug)]
enum Wire {
    Open { epoch: LeaderEpoch, from: Member, log: LogFacts },
    Answer(LeaderEpoch, Verdict, Offset),
    Data { epoch: LeaderEpoch, base: usize, records: Vec<Record>, high_watermark: Offset },
    Report(LeaderEpoch, Member, Offset),
}

#[derive(Debug, Default)]
struct Disk {
    number: u64,
    records: Vec<Record>,
    durable: usize,
    high_watermark: Offset,
}

#[derive(Debug)]
struct Node {
    me: Member,
    disk: Disk,
    state: Option<ReplicaState>,
    /// The next record for each follower attached.
    feeds: BTreeMap<usize, usize>,
}

#[derive(Debug)]
struct Controller {
    epoch: i32,
    leader: Option<Member>,
    set: Vec<Member>,
    version: u32,
}

#[derive(Debug)]
struct Cluster {
    now: Duration,
    nodes: Vec<Node>,
    controller: Controller,
    wire: BTreeMap<(usize, usize), VecDeque<Wire>>,
    proposals: VecDeque<(usize, InSyncChange)>,
    told: Vec<(u32, i32)>,
    committed: BTreeMap<i64, Record>,
    next_id: u64,
}

fn offset(index: usize) -> Offset {
    Offset(i64::try_from(index).unwrap())
}

fn index(offset: Offset) -> usize {
    usize::try_from(offset.0).unwrap()
}

fn facts(disk: &Disk) -> LogFacts {
    LogFacts {
        start: Offset::ZERO,
        end: offset(disk.records.len()),
        durable_end: offset(disk.durable),
        last_epoch: disk.records.last().map(|record| LeaderEpoch(record.epoch)),
    }
}

fn end_of(records: &[Record], epoch: LeaderEpoch) -> Option<(LeaderEpoch, Offset)> {
    let at = records.iter().rposition(|record| record.epoch <= epoch.0)?;
    Some((LeaderEpoch(records[at].epoch), offset(at + 1)))
}

fn identity(node: usize, incarnation: u64, disk: u64) -> Member {
    let mut member = life(u32::try_from(node).unwrap(), incarnation);
    member.directory = DirectoryId(uuid::Uuid::from_u128(u128::from(disk) + 1000 * (node as u128)));
    member
}

impl Cluster {
    fn new() -> Self {
        let nodes: Vec<Node> = (1..=3)
            .map(|node| Node {
                me: identity(node, 1, 0),
                disk: Disk::default(),
                state: None,
                feeds: BTreeMap::new(),
            })
            .collect();
        let set: Vec<Member> = nodes.iter().map(|node| node.me).collect();
        let mut cluster = Self {
            now: Duration::ZERO,
            controller: Controller { epoch: 1, leader: Some(set[0]), set, version: 1 },
            nodes,
            wire: BTreeMap::new(),
            proposals: VecDeque::new(),
            told: vec![(0, 0); 3],
            committed: BTreeMap::new(),
            next_id: 0,
        };
        for node in 0..3 {
            cluster.boot(node);
        }
        cluster
    }

    fn boot(&mut self, at: usize) {
        let node = &mut self.nodes[at];
        let log = facts(&node.disk);
        node.state =
            Some(ReplicaState::new(node.me, Settings::default(), None, log, node.disk.high_watermark));
    }

    fn step(&mut self, at: usize, input: Input) {
        let Some(state) = self.nodes[at].state.as_mut() else { return };
        let before = state.high_watermark().value();
        let effects = state.step(self.now, input);
        let cuts = effects.iter().any(|effect| matches!(effect, Effect::Truncate(_)));
        assert!(state.high_watermark().value() >= before || cuts, "the high watermark never goes back");
        for effect in effects {
            self.perform(at, effect);
        }
    }

    fn send(&mut self, from: usize, to: usize, message: Wire) {
        if self.nodes[to].state.is_some() {
            self.wire.entry((from, to)).or_default().push_back(message);
        }
    }

    fn perform(&mut self, at: usize, effect: Effect) {
        let me = self.nodes[at].me;
        match effect {
            Effect::Opened(..) => {
                self.nodes[at].feeds.clear();
                for (committed, record) in &self.committed {
                    let own = self.nodes[at].disk.records.get(usize::try_from(*committed).unwrap());
                    assert_eq!(own, Some(record), "a new leader has everything committed");
                }
            }
            Effect::SteppedDown(_) => self.nodes[at].feeds.clear(),
            Effect::HighWatermark(upto) => self.commit(at, upto),
            Effect::Propose(change) => self.proposals.push_back((at, change)),
            Effect::Open { leader, epoch, log } => {
                let to = leader.0 as usize - 1;
                self.send(at, to, Wire::Open { epoch, from: me, log });
            }
            Effect::Report(epoch, end) => {
                let leader = self.leader_of(at);
                if let Some(to) = leader {
                    self.send(at, to, Wire::Report(epoch, me, end));
                }
            }
            Effect::Truncate(to) | Effect::Reset(to) => {
                let disk = &mut self.nodes[at].disk;
                disk.records.truncate(index(to));
                disk.durable = disk.durable.min(disk.records.len());
                let log = facts(disk);
                self.step(at, Input::LogChanged(log));
            }
            Effect::Broken(broken) => panic!("{me:?} broke a promise: {broken:?}"),
            Effect::Offline(failure) => panic!("{me:?} went offline: {failure:?}"),
            Effect::Close | Effect::Sync | Effect::Resign { .. } => {}
            Effect::Leave { .. } | Effect::AnswerLeave(..) | Effect::AdvanceStart(_) => unreachable!(),
        }
    }

    fn leader_of(&self, at: usize) -> Option<usize> {
        match self.nodes[at].state.as_ref()?.role() {
            Role::Follower(follower) => follower.leader().map(|leader| leader.0 as usize - 1),
            Role::Leader(_) | Role::Offline(_) => None,
        }
    }

    /// A leader says that everything below `upto` is committed: acknowledged, and shown to readers.
    fn commit(&mut self, at: usize, upto: Offset) {
        for committed in 0..index(upto) {
            let record = self.nodes[at].disk.records[committed];
            let known = self.committed.entry(offset(committed).0).or_insert(record);
            assert_eq!(*known, record, "offset {committed} is committed once");
            for member in &self.controller.set {
                let node = &self.nodes[member.node.0 as usize - 1];
                assert!(
                    node.me.directory != member.directory
                        || (node.disk.durable > committed && node.disk.records[committed] == record),
                    "offset {committed} is on the disk of {member:?}"
                );
            }
        }
    }

    fn append(&mut self, count: usize) {
        for at in 0..3 {
            let Some(Role::Leader(leader)) = self.nodes[at].state.as_ref().map(ReplicaState::role) else {
                continue;
            };
            let epoch = leader.epoch().0;
            for _ in 0..count {
                self.next_id += 1;
                self.nodes[at].disk.records.push(Record { epoch, id: self.next_id });
            }
            let log = facts(&self.nodes[at].disk);
            self.step(at, Input::LogChanged(log));
        }
    }

    fn sync(&mut self, at: usize) {
        if self.nodes[at].state.is_some() {
            let disk = &mut self.nodes[at].disk;
            disk.durable = disk.records.len();
            let end = offset(disk.durable);
            self.step(at, Input::Durable(end));
        }
    }

    fn feed(&mut self, from: usize, to: usize) {
        let node = &self.nodes[from];
        let Some(Role::Leader(leader)) = node.state.as_ref().map(ReplicaState::role) else { return };
        let Some(next) = node.feeds.get(&to).copied() else { return };
        let records = node.disk.records[next..].to_vec();
        let high_watermark = node.state.as_ref().unwrap().high_watermark().value();
        let message = Wire::Data { epoch: leader.epoch(), base: next, records, high_watermark };
        let end = self.nodes[from].disk.records.len();
        self.nodes[from].feeds.insert(to, end);
        self.send(from, to, message);
    }

    fn deliver(&mut self, from: usize, to: usize) {
        let Some(message) = self.wire.get_mut(&(from, to)).and_then(VecDeque::pop_front) else { return };
        match message {
            Wire::Open { epoch, from: member, log } => self.opened(from, to, epoch, member, log),
            Wire::Answer(epoch, verdict, end) => {
                let disk = &self.nodes[to].disk;
                let input = match verdict {
                    Verdict::Accepted => Input::Accepted(epoch, end),
                    Verdict::Diverged { epoch: leaders, end } => {
                        let records = &disk.records;
                        let at = cut_point(facts(disk), &|epoch| end_of(records, epoch), leaders, end);
                        Input::Diverged(epoch, at)
                    }
                    Verdict::OutOfRange { start } => Input::OutOfRange(epoch, start),
                };
                self.step(to, input);
            }
            Wire::Data { epoch, base, records, high_watermark } => {
                let Some(state) = self.nodes[to].state.as_ref() else { return };
                match state.admits(epoch, offset(base)) {
                    Admission::Append => {
                        self.nodes[to].disk.records.extend(records);
                        let log = facts(&self.nodes[to].disk);
                        self.step(to, Input::LogChanged(log));
                        self.step(to, Input::Heard(epoch, high_watermark, Offset::ZERO));
                    }
                    Admission::Gap => self.step(to, Input::Interrupted(epoch)),
                    Admission::Stale => {}
                }
            }
            Wire::Report(epoch, member, end) => self.step(to, Input::Reported(epoch, member, end)),
        }
    }

    fn opened(&mut self, from: usize, to: usize, epoch: LeaderEpoch, member: Member, log: LogFacts) {
        let node = &self.nodes[to];
        let Some(state) = node.state.as_ref() else { return };
        let leads = matches!(state.role(), Role::Leader(leader) if leader.epoch() == epoch);
        if !leads {
            // Refused: the follower asks again at its next tick.
            let node = &self.nodes[from];
            if node.state.as_ref().is_some_and(|state| state.epoch() == epoch) {
                self.step(from, Input::Interrupted(epoch));
            }
            return;
        }
        let records = &node.disk.records;
        let verdict = judge(facts(&node.disk), &|epoch| end_of(records, epoch), log.last_epoch, log.end);
        self.send(to, from, Wire::Answer(epoch, verdict, log.end));
        if verdict == Verdict::Accepted {
            self.nodes[to].feeds.insert(from, index(log.end));
            let joined = Joined { member, end: log.end, durable_end: log.durable_end };
            self.step(to, Input::Joined(epoch, joined));
        }
    }

    fn kill(&mut self, at: usize, with_power: bool) {
        let node = &mut self.nodes[at];
        let Some(state) = node.state.take() else { return };
        node.feeds.clear();
        node.disk.high_watermark = Offset(state.high_watermark().value().0 / 2);
        if with_power {
            node.disk.records.truncate(node.disk.durable);
        }
        self.wire.retain(|(from, to), _| *from != at && *to != at);
        self.proposals.retain(|(from, _)| *from != at);
        for follower in 0..3 {
            if self.leader_of(follower) == Some(at) {
                let epoch = self.nodes[follower].state.as_ref().map(ReplicaState::epoch);
                self.step(follower, Input::Interrupted(epoch.unwrap()));
            }
            let epoch = self.nodes[follower].state.as_ref().map(ReplicaState::epoch);
            if let Some(epoch) = epoch {
                let dead = self.nodes[at].me;
                self.step(follower, Input::Detached(epoch, dead));
            }
        }
    }

    /// The process starts again: it registers its new life, which keeps its place in the set if its disk is the same.
    fn restart(&mut self, at: usize, emptied: bool) {
        if self.nodes[at].state.is_some() {
            return;
        }
        let old = self.nodes[at].me;
        let lone = self.controller.set.len() == 1 && self.controller.set[0].directory == old.directory;
        if emptied && !lone {
            let number = self.nodes[at].disk.number + 1;
            self.nodes[at].disk = Disk { number, ..Disk::default() };
        }
        let disk = self.nodes[at].disk.number;
        self.nodes[at].me = identity(at + 1, old.incarnation.0 + 1, disk);
        let new = self.nodes[at].me;
        let controller = &mut self.controller;
        let place = controller.set.iter().position(|member| member.node == new.node);
        if let Some(place) = place {
            controller.version += 1;
            if controller.set[place].directory == new.directory {
                controller.set[place] = new;
            } else {
                controller.set.remove(place);
            }
        }
        if controller.leader.is_some_and(|leader| leader.node == new.node) {
            controller.leader = None;
            controller.epoch += 1;
        }
        // After a start the log is synced whole before it is believed.
        self.nodes[at].disk.durable = self.nodes[at].disk.records.len();
        self.told[at] = (0, 0);
        self.boot(at);
    }

    /// The controller notices deaths and elects.
    fn control(&mut self) {
        let dead = |nodes: &[Node], member: &Member| {
            nodes.iter().all(|node| node.me != *member || node.state.is_none())
        };
        let controller = &mut self.controller;
        let living = controller.set.iter().filter(|member| !dead(&self.nodes, member)).count();
        if living > 0 && living < controller.set.len() {
            controller.set.retain(|member| !dead(&self.nodes, member));
            controller.version += 1;
        }
        if controller.leader.is_none_or(|leader| dead(&self.nodes, &leader)) {
            let next = controller.set.iter().find(|member| !dead(&self.nodes, member)).copied();
            if next.is_some() || controller.leader.is_some() {
                controller.leader = next;
                controller.epoch += 1;
            }
        }
    }

    fn elect(&mut self, choice: usize) {
        let nodes = &self.nodes;
        let living: Vec<Member> = (self.controller.set.iter())
            .filter(|member| nodes.iter().any(|node| node.me == **member && node.state.is_some()))
            .copied()
            .collect();
        if let Some(next) = living.get(choice % living.len().max(1)) {
            self.controller.leader = Some(*next);
            self.controller.epoch += 1;
        }
    }

    fn tell(&mut self, at: usize) {
        let controller = &self.controller;
        let news = (controller.version, controller.epoch);
        if self.told[at] != news && self.nodes[at].state.is_some() {
            self.told[at] = news;
            let assigned =
                assignment(controller.epoch, controller.leader, &controller.set, controller.version);
            self.step(at, Input::Assigned(assigned));
        }
    }

    fn decide(&mut self, told: bool) {
        let Some((from, change)) = self.proposals.pop_front() else { return };
        let controller = &mut self.controller;
        let lives =
            |member: &Member| self.nodes.iter().any(|node| node.me == *member && node.state.is_some());
        let fresh = change.epoch.0 == controller.epoch
            && change.set_version == controller.version
            && change.members.iter().all(|member| controller.set.contains(member) || lives(member));
        let mut outcome = ChangeOutcome::Refused;
        if fresh {
            controller.version += 1;
            controller.set = change.members;
            outcome = ChangeOutcome::Committed { set_version: controller.version };
        }
        let outcome = if told { outcome } else { ChangeOutcome::Unknown };
        self.step(from, Input::Settled(change.epoch, change.attempt, outcome));
    }

    fn tick(&mut self, by: Duration) {
        self.now += by;
        for at in 0..3 {
            self.step(at, Input::Tick);
        }
    }

    fn act(&mut self, op: Op) {
        match op {
            Op::Append(count) => self.append(count),
            Op::Sync(at) => self.sync(at),
            Op::Feed(from, to) => self.feed(from, to),
            Op::Deliver(from, to) => self.deliver(from, to),
            Op::Kill(at, with_power) => self.kill(at, with_power),
            Op::Restart(at, emptied) => self.restart(at, emptied),
            Op::Control => self.control(),
            Op::Elect(choice) => self.elect(choice),
            Op::Tell(at) => self.tell(at),
            Op::Decide(told) => self.decide(told),
            Op::Tick(by_ms) => self.tick(Duration::from_millis(by_ms)),
            Op::Settle => self.settle(2),
        }
    }

    fn settle(&mut self, rounds: usize) {
        for _ in 0..rounds {
            self.control();
            for at in 0..3 {
                self.tell(at);
            }
            self.tick(Duration::from_millis(300));
            for _ in 0..6 {
                for from in 0..3 {
                    for to in 0..3 {
                        self.feed(from, to);
                        for _ in 0..8 {
                            self.deliver(from, to);
                        }
                    }
                    self.sync(from);
                }
                self.decide(true);
            }
        }
    }

    fn heal(&mut self) {
        for at in 0..3 {
            self.restart(at, false);
        }
        self.settle(10);
        self.append(2);
        self.settle(10);
        for at in 1..3 {
            assert_eq!(
                self.nodes[at].disk.records, self.nodes[0].disk.records,
                "all logs are equal at the end"
            );
        }
        let records = &self.nodes[0].disk.records;
        assert!(self.committed.iter().all(|(at, record)| records[usize::try_from(*at).unwrap()] == *record));
        assert_eq!(self.committed.len(), records.len(), "everything is committed at the end");
        assert_eq!(self.controller.set.len(), 3, "all are in sync at the end");
    }
}

#[derive(Clone, Copy, Debug)]
enum Op {
    Append(usize),
    Sync(usize),
    Feed(usize, usize),
    Deliver(usize, usize),
    Kill(usize, bool),
    Restart(usize, bool),
    Control,
    Elect(usize),
    Tell(usize),
    Decide(bool),
    Tick(u64),
    Settle,
}

fn ops() -> impl Strategy<Value = Vec<Op>> {
    let op = prop_oneof![
        4 => (1..3_usize).prop_map(Op::Append),
        4 => (0..3_usize).prop_map(Op::Sync),
        6 => (0..3_usize, 0..3_usize).prop_map(|(from, to)| Op::Feed(from, to)),
        16 => (0..3_usize, 0..3_usize).prop_map(|(from, to)| Op::Deliver(from, to)),
        1 => (0..3_usize, any::<bool>()).prop_map(|(at, power)| Op::Kill(at, power)),
        2 => (0..3_usize, proptest::bool::weighted(0.2)).prop_map(|(at, emptied)| Op::Restart(at, emptied)),
        2 => Just(Op::Control),
        1 => (0..3_usize).prop_map(Op::Elect),
        6 => (0..3_usize).prop_map(Op::Tell),
        3 => proptest::bool::weighted(0.8).prop_map(Op::Decide),
        2 => prop_oneof![Just(10_u64), Just(300), Just(11_000)].prop_map(Op::Tick),
        2 => Just(Op::Settle),
    ];
    proptest::collection::vec(op, 1..160)
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 400, ..ProptestConfig::default() })]
    #[test]
    fn nothing_committed_is_lost_in_any_order_of_events(ops in ops()) {
        let mut cluster = Cluster::new();
        for op in ops {
            cluster.act(op);
        }
        cluster.heal();
    }
}

#[test]
fn the_leader_of_the_model_is_on_node_one() {
    let mut cluster = Cluster::new();
    cluster.settle(3);
    cluster.append(3);
    cluster.settle(3);
    assert_eq!(cluster.controller.leader.map(|leader| leader.node), Some(NodeId(1)));
    assert_eq!(cluster.committed.len(), 3);
}

mod histories;
mod joining;
mod leaving;
mod limits;
mod offsets;
mod rebalancing;
mod sessions;
mod statics;
mod syncing;
mod takeover;

use std::collections::{BTreeMap, VecDeque};

use bytes::Bytes;

use super::*;
use crate::error::ErrorCode;

/// Metadata is the topics with commas between; one that begins with `!` cannot be read.
#[derive(Debug)]
pub(super) struct FakeSubscriptions;

impl Subscriptions for FakeSubscriptions {
    fn topics(&self, metadata: &[u8]) -> Option<Vec<Arc<str>>> {
        let text = std::str::from_utf8(metadata).ok().filter(|text| !text.starts_with('!'))?;
        Some(text.split(',').filter(|name| !name.is_empty()).map(Arc::from).collect())
    }
}

/// A group, its surroundings, what it answered, and what it wrote.
pub(super) struct Bench {
    pub(super) group: ClassicGroup,
    pub(super) settings: ClassicSettings,
    pub(super) now_ms: u64,
    pub(super) answers: BTreeMap<Ticket, Answer>,
    pub(super) notices: Vec<Notice>,
    /// Records that are appended and not committed.
    pub(super) under_way: VecDeque<ClassicRecord>,
    /// The last record that is committed.
    pub(super) log: Option<ClassicMetadata>,
    pub(super) tickets: u64,
    ids: u64,
}

impl Bench {
    pub(super) fn new() -> Self {
        Self::with(ClassicSettings::default())
    }

    pub(super) fn with(settings: ClassicSettings) -> Self {
        let mut bench = Self {
            group: ClassicGroup::nothing("g".into()),
            settings,
            now_ms: 0,
            answers: BTreeMap::new(),
            notices: Vec::new(),
            under_way: VecDeque::new(),
            log: None,
            tickets: 0,
            ids: 0,
        };
        bench.read_back(None);
        bench
    }

    pub(super) fn decide(&mut self, step: impl FnOnce(&mut ClassicGroup, &Surroundings<'_>) -> Decision) {
        let Decision { records, answers, notices } = self.around(step);
        self.under_way.extend(records);
        for (ticket, answer) in answers {
            assert!(ticket.0 < self.tickets, "{ticket:?} was never given");
            let before = self.answers.insert(ticket, answer);
            assert_eq!(before, None, "{ticket:?} is answered twice");
        }
        self.notices.extend(notices);
    }

    pub(super) fn around<A>(&mut self, step: impl FnOnce(&mut ClassicGroup, &Surroundings<'_>) -> A) -> A {
        let now = Now { monotonic_ms: self.now_ms, wall_ms: i64::try_from(self.now_ms).unwrap() + 1_000_000 };
        let around = Surroundings { now, settings: &self.settings, subscriptions: &FakeSubscriptions };
        step(&mut self.group, &around)
    }

    pub(super) fn ticket(&mut self) -> Ticket {
        self.tickets += 1;
        Ticket(self.tickets - 1)
    }

    pub(super) fn join(&mut self, mut request: JoinGroup) -> Ticket {
        if request.member.is_empty() {
            let owner = request.instance.clone().unwrap_or_else(|| request.client_id.clone());
            request.new_member = format!("{owner}-{}", self.ids).into();
            self.ids += 1;
        }
        let ticket = self.ticket();
        self.decide(|group, around| group.join(around, ticket, &request));
        ticket
    }

    /// A dynamic member gets an id and joins with it.
    pub(super) fn join_with_id(&mut self, request: JoinGroup) -> (Arc<str>, Ticket) {
        let ticket = self.join(request.clone());
        let (member, code) = self.join_error(ticket);
        assert_eq!(code, ErrorCode::MemberIdRequired);
        let ticket = self.join(JoinGroup { member: member.clone(), ..request });
        (member, ticket)
    }

    pub(super) fn sync(&mut self, request: SyncGroup) -> Ticket {
        let ticket = self.ticket();
        self.decide(|group, around| group.sync(around, ticket, &request));
        ticket
    }

    pub(super) fn leave(&mut self, members: &[(&str, Option<&str>)]) -> Ticket {
        let leaver = |(member, instance): &(&str, Option<&str>)| Leaver {
            member: (*member).into(),
            instance: instance.map(Arc::from),
            reason: Some("done".to_owned()),
        };
        let request = LeaveGroup { members: members.iter().map(leaver).collect() };
        let ticket = self.ticket();
        self.decide(|group, around| group.leave(around, ticket, &request));
        ticket
    }

    pub(super) fn beat(&mut self, member: &str, generation: i32) -> Result<(), ErrorCode> {
        self.beat_as(member, generation, None)
    }

    pub(super) fn beat_as(
        &mut self,
        member: &str,
        generation: i32,
        instance: Option<&str>,
    ) -> Result<(), ErrorCode> {
        let request = Heartbeat { member: member.into(), generation, instance: instance.map(Arc::from) };
        self.around(|group, around| group.heartbeat(around, &request)).map_err(|refusal| refusal.code)
    }

    /// Lets time go by; the group is woken whenever it asked to be.
    pub(super) fn wait(&mut self, ms: u64) {
        let until_ms = self.now_ms + ms;
        for _ in 0..1_000_000 {
            match self.group.wake_at().filter(|at_ms| *at_ms <= until_ms) {
                Some(at_ms) => self.now_ms = at_ms.max(self.now_ms),
                None => {
                    self.now_ms = until_ms;
                    return;
                }
            }
            self.decide(ClassicGroup::tick);
        }
        panic!("the group wants to be woken without end");
    }

    /// All records under way are committed.
    pub(super) fn commit(&mut self) {
        while self.commit_one() {}
    }

    pub(super) fn commit_one(&mut self) -> bool {
        let Some(record) = self.under_way.pop_front() else { return false };
        self.log = record.value;
        self.decide(|group, around| group.committed(around, record.token));
        true
    }

    pub(super) fn fail(&mut self, code: ErrorCode) {
        while let Some(record) = self.under_way.pop_front() {
            let error = Refusal::new(code, "the log says no");
            self.decide(|group, around| group.failed(around, record.token, &error));
        }
    }

    /// Another coordinator reads the group back.
    pub(super) fn read_back(&mut self, log: Option<ClassicMetadata>) {
        self.under_way.clear();
        let (group, decision) = self.around(|_, around| ClassicGroup::replay("g".into(), log, around));
        self.group = group;
        self.decide(|_, _| decision);
    }

    pub(super) fn state(&self) -> ClassicState {
        self.group.state()
    }

    pub(super) fn waits(&self, ticket: Ticket) -> bool {
        !self.answers.contains_key(&ticket)
    }

    fn join_answer(&self, ticket: Ticket) -> (Arc<str>, Result<Joined, Refusal>) {
        match self.answers.get(&ticket) {
            Some(Answer::Join { member, result }) => (member.clone(), result.clone()),
            other => panic!("{other:?}"),
        }
    }

    pub(super) fn joined(&self, ticket: Ticket) -> (Arc<str>, Joined) {
        let (member, result) = self.join_answer(ticket);
        (member, result.unwrap())
    }

    pub(super) fn join_error(&self, ticket: Ticket) -> (Arc<str>, ErrorCode) {
        let (member, result) = self.join_answer(ticket);
        (member, result.unwrap_err().code)
    }

    pub(super) fn synced(&self, ticket: Ticket) -> Result<Synced, ErrorCode> {
        match self.answers.get(&ticket) {
            Some(Answer::Sync(result)) => result.clone().map_err(|refusal| refusal.code),
            other => panic!("{other:?}"),
        }
    }

    pub(super) fn assigned(&self, ticket: Ticket) -> Bytes {
        self.synced(ticket).unwrap().assignment
    }

    pub(super) fn left(&self, ticket: Ticket) -> Vec<Result<(), ErrorCode>> {
        match self.answers.get(&ticket) {
            Some(Answer::Leave(Ok(each))) => {
                each.iter().map(|(_, left)| left.clone().map_err(|refusal| refusal.code)).collect()
            }
            other => panic!("{other:?}"),
        }
    }

    /// The leader syncs with an assignment for each of these, and all others sync.
    pub(super) fn sync_all(&mut self, leader: &str, members: &[Arc<str>]) -> Vec<Ticket> {
        let generation = self.group.generation();
        let all = members.iter().map(|member| self.sync(assigning(member, generation, leader, members)));
        all.collect()
    }

    /// A stable group of so many dynamic members; the first leads.
    pub(super) fn stable(&mut self, members: usize) -> Vec<Arc<str>> {
        let joins: Vec<_> = (0..members).map(|_| self.join_with_id(joining())).collect();
        self.stabilize(joins)
    }

    /// A stable group of static members, instances `i0` and so on; the first leads.
    pub(super) fn stable_statics(&mut self, members: usize) -> Vec<Arc<str>> {
        let joins: Vec<_> = (0..members).map(|each| self.join(joining_as(&format!("i{each}")))).collect();
        self.wait(6_000);
        let joins = joins.into_iter().map(|ticket| (self.joined(ticket).0, ticket)).collect();
        self.stabilize(joins)
    }

    fn stabilize(&mut self, joins: Vec<(Arc<str>, Ticket)>) -> Vec<Arc<str>> {
        if self.state() == ClassicState::PreparingRebalance {
            self.wait(6_000);
        }
        let ids: Vec<_> = joins.iter().map(|(id, _)| id.clone()).collect();
        self.sync_all(&ids[0], &ids);
        self.commit();
        assert_eq!(self.state(), ClassicState::Stable);
        ids
    }

    pub(super) fn told(&self, is: impl Fn(&Notice) -> bool) -> bool {
        self.notices.iter().any(is)
    }

    pub(super) fn rebalanced_for(&self, cause: Cause) -> bool {
        self.told(|notice| matches!(notice, Notice::Rebalancing { why, .. } if why.cause == cause))
    }
}

/// A dynamic consumer's join.
pub(super) fn joining() -> JoinGroup {
    JoinGroup {
        version: 9,
        member: "".into(),
        new_member: "".into(),
        instance: None,
        client_id: "c".into(),
        client_host: "/127.0.0.1".into(),
        session_timeout_ms: 10_000,
        rebalance_timeout_ms: 60_000,
        protocol_type: CONSUMER.into(),
        protocols: vec![speaks("range", "t"), speaks("sticky", "t")],
        reason: Some("because".to_owned()),
    }
}

/// A static consumer's join.
pub(super) fn joining_as(instance: &str) -> JoinGroup {
    JoinGroup { instance: Some(instance.into()), ..joining() }
}

pub(super) fn rejoining(member: &str) -> JoinGroup {
    JoinGroup { member: member.into(), ..joining() }
}

pub(super) fn speaks(name: &str, metadata: &'static str) -> Protocol {
    Protocol { name: name.into(), metadata: Bytes::from_static(metadata.as_bytes()) }
}

pub(super) fn syncing(member: &str, generation: i32) -> SyncGroup {
    SyncGroup {
        member: member.into(),
        generation,
        instance: None,
        protocol_type: None,
        protocol: None,
        assignments: Vec::new(),
    }
}

/// A sync; of the leader, with an assignment for each member that tells of its generation.
pub(super) fn assigning(member: &str, generation: i32, leader: &str, members: &[Arc<str>]) -> SyncGroup {
    let each = members.iter().map(|each| (each.clone(), share(each, generation)));
    let assignments = if member == leader { each.collect() } else { Vec::new() };
    SyncGroup { assignments, ..syncing(member, generation) }
}

pub(super) fn share(member: &str, generation: i32) -> Bytes {
    format!("{member} in {generation}").into()
}

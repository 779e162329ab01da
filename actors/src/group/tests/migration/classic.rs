//! A client of the classic protocol, eager or cooperative, as Kafka's consumers are.

use tokio::task::JoinHandle;

use super::*;
use crate::group::classic::{CONSUMER, Heartbeat, JoinGroup, Joined, LeaveGroup, Leaver, SyncGroup, Synced};
use crate::group::embedded;
use crate::group::front::JoinAnswer;

/// What it waits for.
enum Step {
    /// It is to join.
    Out,
    Joining(JoinHandle<JoinAnswer>),
    Syncing(JoinHandle<Result<Synced, Refusal>>),
    Stable,
}

pub(super) struct Classic {
    pub(super) id: Arc<str>,
    pub(super) generation: i32,
    pub(super) reads: BTreeSet<PartitionId>,
    pub(super) heard: Instant,
    instance: Option<Arc<str>>,
    is_cooperative: bool,
    /// Ids it may be given.
    name: String,
    ids: usize,
    step: Step,
    /// When what it waits for was asked: it lives as long as it is not answered.
    asked: Instant,
}

impl Classic {
    pub(super) fn new(name: &str, is_cooperative: bool) -> Self {
        let (id, reads) = (Arc::default(), BTreeSet::new());
        let (heard, step) = (Instant::now(), Step::Out);
        let (instance, generation, ids) = (None, -1, 0);
        let (name, asked) = (name.to_owned(), heard);
        Self { id, generation, reads, heard, instance, is_cooperative, name, ids, step, asked }
    }

    pub(super) fn fixed(name: &str, instance: &str) -> Self {
        Self { instance: Some(instance.into()), ..Self::new(name, false) }
    }

    pub(super) fn is_stable(&self) -> bool {
        matches!(self.step, Step::Stable)
    }

    fn protocols(&self, rig: &Rig) -> Vec<Protocol> {
        let said = subscription(&["t"], &self.reads, &rig.topics, self.generation);
        vec![speaks("shared", said)]
    }

    /// One step: asks, or looks whether it was answered.
    pub(super) async fn act(&mut self, rig: &Rig) {
        match std::mem::replace(&mut self.step, Step::Out) {
            Step::Out => self.join(rig),
            Step::Joining(asked) => self.joining(rig, asked).await,
            Step::Syncing(asked) => self.syncing(rig, asked).await,
            Step::Stable => self.beat(rig).await,
        }
        // An answer that is there at once is taken at once.
        pass(1).await;
        match std::mem::replace(&mut self.step, Step::Out) {
            Step::Joining(asked) => self.joining(rig, asked).await,
            Step::Syncing(asked) => self.syncing(rig, asked).await,
            other => self.step = other,
        }
    }

    fn join(&mut self, rig: &Rig) {
        if !self.is_cooperative {
            self.reads.clear();
        }
        self.ids += 1;
        let request = JoinGroup {
            version: 9,
            member: Arc::clone(&self.id),
            new_member: format!("{}-{}", self.name, self.ids).into(),
            instance: self.instance.clone(),
            client_id: self.name.as_str().into(),
            client_host: "/10.0.0.1".into(),
            session_timeout_ms: i32::try_from(SESSION_MS).unwrap(),
            rebalance_timeout_ms: 10_000,
            protocol_type: CONSUMER.into(),
            protocols: self.protocols(rig),
            reason: None,
        };
        self.asked = Instant::now();
        self.step = Step::Joining(tokio::spawn(rig.node.front.join("g", request)));
    }

    async fn joining(&mut self, rig: &Rig, asked: JoinHandle<JoinAnswer>) {
        if !asked.is_finished() {
            // The coordinator may be gone, and what was asked with it.
            let waits = self.asked.elapsed() < Duration::from_secs(15);
            self.step = if waits { Step::Joining(asked) } else { Step::Out };
            self.heard = if waits { Instant::now() } else { self.heard };
            return;
        }
        let (id, result) = asked.await.unwrap();
        match result {
            Ok(joined) => {
                self.heard = Instant::now();
                (self.id, self.generation) = (id, joined.generation);
                self.sync(rig, &joined);
            }
            Err(refusal) if refusal.code == ErrorCode::MemberIdRequired => self.id = id,
            Err(refusal) => self.refused(refusal.code),
        }
    }

    fn sync(&mut self, rig: &Rig, joined: &Joined) {
        let leads = !joined.leader.is_empty() && joined.leader == self.id;
        let request = SyncGroup {
            member: Arc::clone(&self.id),
            generation: self.generation,
            instance: self.instance.clone(),
            protocol_type: joined.protocol_type.clone(),
            protocol: joined.protocol.clone(),
            assignments: if leads && !joined.skip_assignment { assign(rig, joined) } else { Vec::new() },
        };
        self.asked = Instant::now();
        self.step = Step::Syncing(tokio::spawn(rig.node.front.sync("g", request)));
    }

    async fn syncing(&mut self, rig: &Rig, asked: JoinHandle<Result<Synced, Refusal>>) {
        if !asked.is_finished() {
            let waits = self.asked.elapsed() < Duration::from_secs(15);
            self.step = if waits { Step::Syncing(asked) } else { Step::Out };
            self.heard = if waits { Instant::now() } else { self.heard };
            return;
        }
        match asked.await.unwrap() {
            Ok(synced) => {
                self.heard = Instant::now();
                let assigned = embedded::assignment(&synced.assignment).unwrap();
                let assigned = embedded::identified(&assigned.partitions, &rig.topics);
                // A cooperative one gives up what it was not given again, and joins once more to say so.
                let gives_up = self.is_cooperative && !self.reads.is_subset(&assigned);
                self.reads = assigned;
                self.step = if gives_up { Step::Out } else { Step::Stable };
            }
            Err(refusal) => self.refused(refusal.code),
        }
    }

    async fn beat(&mut self, rig: &Rig) {
        let request = Heartbeat {
            member: Arc::clone(&self.id),
            generation: self.generation,
            instance: self.instance.clone(),
        };
        match rig.node.front.classic_heartbeat("g", request).await {
            Ok(()) => (self.heard, self.step) = (Instant::now(), Step::Stable),
            Err(refusal) => {
                self.step = Step::Stable;
                self.refused(refusal.code);
            }
        }
    }

    fn refused(&mut self, code: ErrorCode) {
        match code {
            ErrorCode::RebalanceInProgress => (self.heard, self.step) = (Instant::now(), Step::Out),
            ErrorCode::UnknownMemberId | ErrorCode::FencedInstanceId => {
                self.reads.clear();
                (self.id, self.generation, self.step) = (Arc::default(), -1, Step::Out);
            }
            ErrorCode::IllegalGeneration => {
                self.reads.clear();
                (self.generation, self.step) = (-1, Step::Out);
            }
            ErrorCode::InconsistentGroupProtocol => panic!("all clients speak one protocol"),
            // Its coordinator moves: what it was about is tried again.
            _ => {}
        }
    }

    pub(super) async fn stop(self, rig: &Rig) {
        // A static member does not say that it goes (KIP-345).
        if self.id.is_empty() || self.instance.is_some() {
            return;
        }
        let leaver = Leaver { member: self.id, instance: None, reason: None };
        let _coordinator_may_move = rig.node.front.leave("g", LeaveGroup { members: vec![leaver] }).await;
    }
}

/// What a leader assigns: to each in turn; of a cooperative protocol not yet what another still owns.
fn assign(rig: &Rig, joined: &Joined) -> Vec<(Arc<str>, Bytes)> {
    let said = joined.members.iter().map(|member| embedded::subscription(&member.metadata).unwrap());
    let owned: Vec<BTreeSet<PartitionId>> =
        said.map(|said| embedded::identified(&said.owned, &rig.topics)).collect();
    let mut shares = vec![BTreeSet::new(); joined.members.len()];
    for (at, partition) in rig.all().into_iter().enumerate() {
        let to = at % shares.len();
        let is_free =
            owned.iter().enumerate().all(|(other, owned)| other == to || !owned.contains(&partition));
        if is_free {
            shares[to].insert(partition);
        }
    }
    let shares = joined.members.iter().zip(shares);
    let encode = |share: BTreeSet<PartitionId>| embedded::assign(b"\x00\x02", share.into_iter(), &rig.topics);
    shares.map(|(member, share)| (Arc::clone(&member.member), encode(share))).collect()
}

//! One decision under way, and the steps that decisions share.

use std::collections::BTreeSet;
use std::sync::Arc;

use super::member::Member;
use super::message::{Answer, Joined, JoinedMember, Ticket};
use super::notice::{Leaving, Notice, bounded};
use super::{CONSUMER, ClassicGroup, ClassicState, Decision, Surroundings, refusal};
use crate::error::Refusal;

pub(super) struct Turn<'a> {
    pub(super) machine: &'a mut ClassicGroup,
    pub(super) around: &'a Surroundings<'a>,
    pub(super) decision: Decision,
}

impl Turn<'_> {
    pub(super) fn now_ms(&self) -> u64 {
        self.around.now.monotonic_ms
    }

    pub(super) fn tell(&mut self, notice: Notice) {
        self.decision.notices.push(notice);
    }

    pub(super) fn answer(&mut self, ticket: Ticket, answer: Answer) {
        self.decision.answers.push((ticket, answer));
    }

    pub(super) fn refuse_join(&mut self, ticket: Ticket, member: &str, refusal: Refusal) {
        self.answer(ticket, Answer::Join { member: member.into(), result: Err(refusal) });
    }

    pub(super) fn enter(&mut self, state: ClassicState) {
        self.machine.state = state;
        self.machine.state_since_ms = Some(self.around.now.wall_ms);
    }

    pub(super) fn touch(&mut self, member: &str) {
        self.machine.touch(member, self.around.now);
    }

    /// Answers the join of a member that waits, with the generation as it is now.
    pub(super) fn answer_joined(&mut self, member: &str) {
        if let Some(ticket) = self.machine.members.set_joining(member, None) {
            let joined = self.joined(member);
            self.answer(ticket, Answer::Join { member: member.into(), result: Ok(joined) });
        }
    }

    pub(super) fn joined(&self, member: &str) -> Joined {
        let ClassicGroup { generation, protocol_type, protocol, leader, members, .. } = &*self.machine;
        let described = |each: &Member| JoinedMember {
            member: Arc::clone(&each.id),
            instance: each.instance.clone(),
            metadata: each.metadata(protocol.as_deref()),
        };
        let is_leader = self.machine.is_leader(member);
        Joined {
            generation: *generation,
            protocol_type: protocol_type.clone(),
            protocol: protocol.clone(),
            leader: leader.clone().unwrap_or_default(),
            skip_assignment: false,
            members: if is_leader { members.iter().map(described).collect() } else { Vec::new() },
        }
    }

    /// Puts a member out. Who waits for an answer to it is told to come as a new member, if it still wants to.
    pub(super) fn remove_member(&mut self, member: &str, how: Leaving, reason: Option<&str>) {
        let Some(removed) = self.machine.members.remove(member) else { return };
        if let Some(ticket) = removed.joining {
            self.refuse_join(ticket, "", refusal::unknown_member(&self.machine.id, member));
        }
        if let Some(ticket) = removed.syncing {
            let refusal = refusal::unknown_member(&self.machine.id, member);
            self.answer(ticket, Answer::Sync(Err(refusal)));
        }
        if self.machine.is_leader(member) {
            self.machine.leader = self.machine.members.iter().next().map(|next| Arc::clone(&next.id));
        }
        self.tell(Notice::Left { member: removed.id, how, reason: bounded(reason) });
    }

    /// Reads again what the members subscribe to, if they are consumers.
    pub(super) fn read_topics(&mut self) {
        let is_consumer = self.machine.protocol_type.as_deref() == Some(CONSUMER);
        self.machine.topics = if is_consumer { self.subscribed() } else { None };
    }

    fn subscribed(&self) -> Option<BTreeSet<Arc<str>>> {
        let mut topics = BTreeSet::new();
        for member in self.machine.members.iter() {
            let metadata = member.metadata(self.machine.protocol.as_deref());
            topics.extend(self.around.subscriptions.topics(&metadata)?);
        }
        Some(topics)
    }
}

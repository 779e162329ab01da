//! A member asks for its assignment; the leader brings all of them.

use std::collections::BTreeMap;
use std::sync::Arc;

use bytes::Bytes;

use super::message::{Answer, SyncGroup, Synced, Ticket};
use super::notice::{Cause, Notice, Why};
use super::turn::Turn;
use super::write::Writing;
use super::{ClassicState, refusal};
use crate::error::{ErrorCode, Refusal};

/// A generation's assignment under way to the log.
#[derive(Debug)]
pub(super) struct Assignment {
    pub(super) generation: i32,
    by_member: BTreeMap<Arc<str>, Bytes>,
}

impl Turn<'_> {
    pub(super) fn sync(&mut self, ticket: Ticket, request: &SyncGroup) {
        if let Err(refusal) = self.try_sync(ticket, request) {
            self.answer(ticket, Answer::Sync(Err(refusal)));
        }
    }

    fn try_sync(&mut self, ticket: Ticket, request: &SyncGroup) -> Result<(), Refusal> {
        self.machine.check_sync(request)?;
        match self.machine.state {
            ClassicState::PreparingRebalance => return Err(refusal::rebalancing(&self.machine.id)),
            ClassicState::CompletingRebalance => {
                self.check_writes()?;
                self.machine.unsynced.remove(&request.member);
                self.wait_for_assignment(ticket, &request.member);
                if self.machine.is_leader(&request.member) {
                    self.write_assignment(request);
                }
            }
            ClassicState::Stable => {
                self.machine.unsynced.remove(&request.member);
                let synced = self.synced(&request.member);
                self.answer(ticket, Answer::Sync(Ok(synced)));
            }
            ClassicState::Empty | ClassicState::Dead => {
                return Err(refusal::unknown_member(&self.machine.id, &request.member));
            }
        }
        Ok(())
    }

    fn wait_for_assignment(&mut self, ticket: Ticket, member: &str) {
        if let Some(before) = self.machine.members.set_syncing(member, Some(ticket)) {
            let refusal = refusal::superseded(&self.machine.id, member);
            self.answer(before, Answer::Sync(Err(refusal)));
        }
    }

    /// A generation is assigned once: a leader that syncs again, because it heard nothing, waits for what it said
    /// first. Else the log could tell of one assignment and the members of another.
    fn write_assignment(&mut self, request: &SyncGroup) {
        let generation = self.machine.generation;
        if self.machine.writes.assigns(generation) {
            return;
        }
        let mut named: BTreeMap<_, _> = request.assignments.iter().cloned().collect();
        let mut by_member = BTreeMap::new();
        let mut unassigned = 0;
        for member in self.machine.members.iter() {
            let assignment = named.remove(&member.id);
            unassigned += usize::from(assignment.is_none());
            by_member.insert(Arc::clone(&member.id), assignment.unwrap_or_default());
        }
        if unassigned > 0 {
            self.tell(Notice::Unassigned { generation, members: unassigned });
        }
        let value = self.machine.metadata(Some(&by_member));
        if !value.fits() {
            let refusal = self.machine.too_long(&value);
            self.tell(Notice::WriteFailed { code: ErrorCode::MessageTooLarge });
            self.drop_assignments(&refusal);
            return self.rebalance(Why::of(Cause::WriteFailed));
        }
        self.write(Writing::Assigned(Assignment { generation, by_member }), Some(value));
    }

    /// The assignment is written. If the group rebalances by now, nobody is told.
    pub(super) fn assigned(&mut self, assignment: Assignment) {
        let Assignment { generation, by_member } = assignment;
        if !self.is_completing(generation) {
            return;
        }
        let members = by_member.len();
        for (member, assignment) in by_member {
            self.machine.members.set_assignment(&member, assignment);
            if let Some(ticket) = self.machine.members.set_syncing(&member, None) {
                let synced = self.synced(&member);
                self.answer(ticket, Answer::Sync(Ok(synced)));
                self.touch(&member);
            }
        }
        self.enter(ClassicState::Stable);
        self.tell(Notice::Stable { generation, members });
    }

    pub(super) fn is_completing(&self, generation: i32) -> bool {
        self.machine.state == ClassicState::CompletingRebalance && self.machine.generation == generation
    }

    fn synced(&self, member: &str) -> Synced {
        let assignment = self.machine.members.get(member).map(|member| member.assignment.clone());
        Synced {
            protocol_type: self.machine.protocol_type.clone(),
            protocol: self.machine.protocol.clone(),
            assignment: assignment.unwrap_or_default(),
        }
    }
}

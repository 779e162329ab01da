//! The end of a group: deleted, forgotten, or coordinated elsewhere.

use std::sync::Arc;

use super::message::{Answer, Ticket};
use super::turn::Turn;
use super::write::Writing;
use super::{ClassicGroup, ClassicState, refusal};
use crate::error::{ErrorCode, Refusal};

impl ClassicGroup {
    /// Whether the group may be deleted: there is one, and it has no members.
    pub fn check_delete(&self, has_offsets: bool) -> Result<(), Refusal> {
        match self.state {
            ClassicState::Dead => Err(refusal::not_found(&self.id)),
            ClassicState::Empty if self.is_nothing() && !has_offsets => Err(refusal::not_found(&self.id)),
            ClassicState::Empty => Ok(()),
            _ => {
                let members = self.members.len();
                let text = format!("group {} has {members} members; stop them first", self.id);
                Err(Refusal::new(ErrorCode::NonEmptyGroup, text))
            }
        }
    }
}

impl Turn<'_> {
    pub(super) fn delete(&mut self, ticket: Ticket, has_offsets: bool) {
        match self.machine.check_delete(has_offsets) {
            Ok(()) => {
                self.end();
                self.answer_when_written(ticket, Answer::Delete(Ok(())));
            }
            Err(refusal) => self.answer(ticket, Answer::Delete(Err(refusal))),
        }
    }

    pub(super) fn forget(&mut self, has_offsets: bool) {
        let machine = &self.machine;
        let is_left = machine.state != ClassicState::Empty || !machine.promised.is_empty() || has_offsets;
        if !is_left && machine.is_written {
            self.end();
        }
    }

    fn end(&mut self) {
        self.machine.promised.clear();
        // Not entered: if it cannot be written, the group is empty for as long as it was.
        self.machine.state = ClassicState::Dead;
        self.write(Writing::Ended, None);
    }

    pub(super) fn unload(&mut self) {
        let refusal = refusal::moved(&self.machine.id);
        self.refuse_waiting(&refusal);
        for (ticket, answer) in self.machine.writes.abandon() {
            self.answer(ticket, answer.refused(refusal.clone()));
        }
        let id = Arc::clone(&self.machine.id);
        *self.machine = ClassicGroup::nothing(id);
        self.enter(ClassicState::Dead);
    }

    /// Refuses all joins and syncs that wait.
    pub(super) fn refuse_waiting(&mut self, refusal: &Refusal) {
        let members: Vec<_> = self.machine.members.iter().map(|member| Arc::clone(&member.id)).collect();
        for member in members {
            if let Some(ticket) = self.machine.members.set_joining(&member, None) {
                self.refuse_join(ticket, &member, refusal.clone());
            }
            if let Some(ticket) = self.machine.members.set_syncing(&member, None) {
                self.answer(ticket, Answer::Sync(Err(refusal.clone())));
            }
        }
    }
}

//! Members leave, by themselves or by an administrator's hand.

use std::sync::Arc;

use super::message::{Answer, EachLeft, LeaveGroup, Leaver, Ticket};
use super::notice::{Cause, Leaving, Why, bounded};
use super::refusal;
use super::turn::Turn;
use crate::error::Refusal;

impl Turn<'_> {
    pub(super) fn leave(&mut self, ticket: Ticket, request: &LeaveGroup) {
        if let Err(refusal) = self.machine.check_alive() {
            return self.answer(ticket, Answer::Leave(Err(refusal)));
        }
        let before = self.machine.members.len();
        let each: EachLeft =
            request.members.iter().map(|leaver| (leaver.clone(), self.leave_one(leaver))).collect();
        if self.machine.members.len() < before {
            let reason = request.members.iter().find_map(|leaver| leaver.reason.as_deref());
            self.rebalance_or_complete(Why { reason: bounded(reason), ..Why::of(Cause::Left) });
        } else {
            // Who had an id and never came with it may have been all that was waited for.
            self.complete_if_joined();
        }
        self.answer_when_written(ticket, Answer::Leave(Ok(each)));
    }

    fn leave_one(&mut self, leaver: &Leaver) -> Result<(), Refusal> {
        let Leaver { member, instance, reason } = leaver;
        let group = &self.machine.id;
        let member = match instance {
            Some(instance) if member.is_empty() => match self.machine.members.holder(instance) {
                Some(holder) => Arc::clone(holder),
                None => return Err(refusal::unknown_instance(group, instance)),
            },
            _ if member.is_empty() => return Err(refusal::unknown_member(group, member)),
            _ => Arc::clone(member),
        };
        if self.machine.promised.remove(&member).is_some() {
            return Ok(());
        }
        self.machine.check_member(&member, instance.as_deref())?;
        self.remove_member(&member, Leaving::Left, reason.as_deref());
        Ok(())
    }
}

//! Members of the classic protocol leave, by themselves or by an administrator's hand.

use std::sync::Arc;

use super::super::Leaving;
use super::super::turn::Turn;
use crate::error::Refusal;
use crate::group::classic::{EachLeft, LeaveGroup, Leaver, refusal};

impl Turn<'_> {
    pub(in super::super) fn leave_hosted(&mut self, request: &LeaveGroup) -> EachLeft {
        let each: EachLeft =
            request.members.iter().map(|leaver| (leaver.clone(), self.leave_one_hosted(leaver))).collect();
        if each.iter().any(|(_, left)| left.is_ok()) {
            self.regroup();
        }
        each
    }

    fn leave_one_hosted(&mut self, leaver: &Leaver) -> Result<(), Refusal> {
        let Leaver { member, instance, .. } = leaver;
        let group = &self.machine.id;
        let id = match instance {
            Some(instance) if member.is_empty() => match self.group().instance(instance) {
                Some(holder) => Arc::clone(holder),
                None => return Err(refusal::unknown_instance(group, instance)),
            },
            _ => Arc::clone(member),
        };
        let member = self.hosted(&id, instance.as_deref())?;
        self.remove_member(&member, Leaving::Left);
        Ok(())
    }
}

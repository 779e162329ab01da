//! Members of the classic protocol leave, by themselves or by an administrator's hand.

use std::collections::BTreeSet;
use std::sync::Arc;

use super::super::Leaving;
use super::super::turn::Turn;
use crate::error::Refusal;
use crate::group::classic::{EachLeft, LeaveGroup, Leaver, refusal};

impl Turn<'_> {
    pub(in super::super) fn leave_hosted(&mut self, request: &LeaveGroup) -> EachLeft {
        let mut gone = BTreeSet::new();
        let each = request.members.iter().map(|leaver| {
            let left = self.leaver(leaver).and_then(|member| {
                let is_first = gone.insert(Arc::clone(&member));
                if is_first { Ok(()) } else { Err(refusal::unknown_member(&self.machine.id, &member)) }
            });
            (leaver.clone(), left)
        });
        let each = each.collect();
        let leaving: Vec<_> = gone.into_iter().map(|member| (member, Leaving::Left)).collect();
        self.put_out(&leaving);
        each
    }

    /// The member of the classic protocol that is to leave.
    fn leaver(&self, leaver: &Leaver) -> Result<Arc<str>, Refusal> {
        let Leaver { member, instance, .. } = leaver;
        let group = &self.machine.id;
        let id = match instance {
            Some(instance) if member.is_empty() => match self.group().instance(instance) {
                Some(holder) => Arc::clone(holder),
                None => return Err(refusal::unknown_instance(group, instance)),
            },
            _ => Arc::clone(member),
        };
        self.hosted(&id, instance.as_deref())
    }
}

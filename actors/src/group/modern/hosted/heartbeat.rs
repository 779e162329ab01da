//! A member of the classic protocol lives, and hears whether there is something to join for.

use std::sync::Arc;

use super::super::turn::Turn;
use crate::error::Refusal;
use crate::group::classic::{Heartbeat, refusal};
use crate::group::records::MemberState;
use crate::ids::PartitionId;

impl Turn<'_> {
    pub(in super::super) fn heartbeat_hosted(&mut self, request: &Heartbeat) -> Result<(), Refusal> {
        let member = self.hosted(&request.member, request.instance.as_deref())?;
        self.check_generation(&member, request.generation)?;
        self.machine.touch(&member, self.around);
        if !self.is_to_join(&member) {
            return Ok(());
        }
        self.machine.expect_join(&member, self.around);
        Err(refusal::rebalancing(&self.machine.id))
    }

    /// Whether a join would bring the member further. What others still have is waited for as a whole: every join may
    /// stop a member from reading.
    fn is_to_join(&self, member: &Arc<str>) -> bool {
        let group = self.group();
        let current = group.current(member);
        let is_free = |partition: &PartitionId| group.owner(partition).is_none_or(|owner| owner == member);
        match current.state {
            _ if current.epoch < group.target_epoch => true,
            MemberState::Unrevoked => true,
            MemberState::Unreleased => group.target(member).difference(&current.assigned).all(is_free),
            MemberState::Stable => false,
        }
    }
}

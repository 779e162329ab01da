//! A group as others see it.

use std::sync::Arc;

use super::member::Member;
use super::message::{ClassicDescription, DescribedMember};
use super::{ClassicGroup, ClassicState, refusal};
use crate::error::Refusal;

impl ClassicGroup {
    /// Everything about the group, if there is one; before version 6 of DescribeGroups, one that there is not is told
    /// as `Dead`.
    pub fn describe(&self, has_offsets: bool) -> Result<ClassicDescription, Refusal> {
        if self.is_nothing() && !has_offsets {
            return Err(refusal::not_found(&self.id));
        }
        // What members say in a protocol makes sense only once it is chosen for good.
        let protocol = self.protocol.as_ref().filter(|_| self.state == ClassicState::Stable);
        let member = |member: &Member| DescribedMember {
            member: Arc::clone(&member.id),
            instance: member.instance.clone(),
            client_id: Arc::clone(&member.client_id),
            client_host: Arc::clone(&member.client_host),
            metadata: member.metadata(protocol.map(|protocol| &**protocol)),
            assignment: member.assignment.clone(),
        };
        Ok(ClassicDescription {
            state: self.state.name(),
            protocol_type: self.protocol_type.clone().unwrap_or_default(),
            protocol: protocol.cloned().unwrap_or_default(),
            members: self.members.iter().map(member).collect(),
        })
    }

    /// For lists of groups: protocol type and state; `None` if there is no such group.
    #[must_use]
    pub fn listed(&self, has_offsets: bool) -> Option<(Arc<str>, ClassicState)> {
        let exists = !self.is_nothing() || has_offsets;
        exists.then(|| (self.protocol_type.clone().unwrap_or_default(), self.state))
    }
}

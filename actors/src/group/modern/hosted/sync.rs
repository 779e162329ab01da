//! A member of the classic protocol asks for its assignment.

use std::sync::Arc;

use super::super::turn::Turn;
use crate::error::{ErrorCode, Refusal};
use crate::group::classic::{CONSUMER, SyncGroup, Synced};
use crate::group::embedded;

impl Turn<'_> {
    pub(in super::super) fn sync_hosted(&mut self, request: &SyncGroup) -> Result<Synced, Refusal> {
        let member = self.hosted(&request.member, request.instance.as_deref())?;
        self.check_generation(&member, request.generation)?;
        self.check_protocol(&member, request)?;
        self.machine.touch(&member, self.around);
        self.machine.has_synced(&member);
        let (spoken, owned) = (self.spoken(&member), &self.group().current(&member).assigned);
        let metadata = spoken.map(|spoken| &*spoken.metadata).unwrap_or_default();
        Ok(Synced {
            protocol_type: Some(CONSUMER.into()),
            protocol: spoken.map(|spoken| Arc::clone(&spoken.name)),
            assignment: embedded::assign(metadata, owned.iter().copied(), self.around.topics),
        })
    }

    fn check_protocol(&self, member: &str, request: &SyncGroup) -> Result<(), Refusal> {
        let spoken = self.spoken(member).map(|spoken| &*spoken.name);
        let is_other = |said: &Option<Arc<str>>, ours| said.as_deref().is_some_and(|said| Some(said) != ours);
        if !is_other(&request.protocol_type, Some(CONSUMER)) && !is_other(&request.protocol, spoken) {
            return Ok(());
        }
        let text = format!(
            "member {member} syncs for {:?} {:?}; group {} answered it in {spoken:?} of type {CONSUMER}",
            request.protocol_type, request.protocol, self.machine.id
        );
        Err(Refusal::new(ErrorCode::InconsistentGroupProtocol, text))
    }
}

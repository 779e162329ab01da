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
        let spoken = self.spoken(&member, request.protocol.as_deref());
        let owned = &self.group().current(&member).assigned;
        let metadata = spoken.map(|spoken| &*spoken.metadata).unwrap_or_default();
        Ok(Synced {
            protocol_type: Some(CONSUMER.into()),
            protocol: spoken.map(|spoken| Arc::clone(&spoken.name)),
            assignment: embedded::assign(metadata, owned.iter().copied(), self.around.topics),
        })
    }

    /// Whether it is a consumer, and speaks the protocol that it syncs for. That need not be the one it would have: its join
    /// may have been answered by the group of the classic protocol that this was, in the one its members voted for.
    fn check_protocol(&self, member: &str, request: &SyncGroup) -> Result<(), Refusal> {
        let is_consumer = request.protocol_type.as_deref().is_none_or(|kind| kind == CONSUMER);
        if is_consumer && self.spoken(member, request.protocol.as_deref()).is_some() {
            return Ok(());
        }
        let text = format!(
            "member {member} syncs for {:?} {:?}; it joined group {} without speaking that, or not as a {CONSUMER}",
            request.protocol_type, request.protocol, self.machine.id
        );
        Err(Refusal::new(ErrorCode::InconsistentGroupProtocol, text))
    }
}

//! What is checked before anything is decided, in Kafka's order: where two things are wrong, clients hear the first.

use super::message::{Heartbeat, JoinGroup, SyncGroup};
use super::{ClassicGroup, ClassicState, refusal};
use crate::error::{ErrorCode, Refusal};

impl ClassicGroup {
    /// Whether it is a member, and its instance's (KIP-345).
    pub(super) fn check_member(&self, member: &str, instance: Option<&str>) -> Result<(), Refusal> {
        if let Some(instance) = instance {
            match self.members.holder(instance) {
                None => return Err(refusal::unknown_instance(&self.id, instance)),
                Some(holder) if **holder != *member => {
                    return Err(refusal::fenced(&self.id, instance, member));
                }
                Some(_) => {}
            }
        }
        if self.members.contains(member) { Ok(()) } else { Err(refusal::unknown_member(&self.id, member)) }
    }

    /// Whether it commits in the generation, or in the epoch in which it came from KIP-848: what it has read it has read.
    pub(super) fn check_generation(&self, member: &str, came_with: i32) -> Result<(), Refusal> {
        if self.members.get(member).is_some_and(|member| member.epoch == Some(came_with)) {
            return Ok(());
        }
        self.check_current_generation(member, came_with)
    }

    /// Whether it is in the generation. One that came from KIP-848 and had not reached its last epoch is not: it has to let
    /// go of what it reads before it joins again, because the others' assignor takes the word of the last generation only.
    fn check_current_generation(&self, member: &str, came_with: i32) -> Result<(), Refusal> {
        if came_with == self.generation {
            return Ok(());
        }
        Err(refusal::generation(&self.id, member, came_with, self.generation))
    }

    fn is_from_modern(&self, member: &str) -> bool {
        self.members.get(member).is_some_and(|member| member.epoch.is_some())
    }

    pub(super) fn check_alive(&self) -> Result<(), Refusal> {
        if self.state == ClassicState::Dead { Err(refusal::dead(&self.id)) } else { Ok(()) }
    }

    pub(super) fn check_heartbeat(&self, request: &Heartbeat) -> Result<(), Refusal> {
        self.check_alive()?;
        self.check_member(&request.member, request.instance.as_deref())?;
        self.check_current_generation(&request.member, request.generation)
    }

    pub(super) fn check_sync(&self, request: &SyncGroup) -> Result<(), Refusal> {
        self.check_alive()?;
        self.check_member(&request.member, request.instance.as_deref())?;
        self.check_current_generation(&request.member, request.generation)?;
        if self.is_from_modern(&request.member) {
            // It was told the protocol that it would have, not one that was voted for; it is to join again.
            return Ok(());
        }
        let differs =
            |theirs: &Option<_>, ours: &Option<_>| theirs.is_some() && ours.is_some() && theirs != ours;
        if differs(&request.protocol_type, &self.protocol_type) || differs(&request.protocol, &self.protocol)
        {
            let text = format!(
                "member {} syncs for {:?} {:?}; group {} has {:?} {:?}",
                request.member,
                request.protocol_type,
                request.protocol,
                self.id,
                self.protocol_type,
                self.protocol
            );
            return Err(Refusal::new(ErrorCode::InconsistentGroupProtocol, text));
        }
        Ok(())
    }

    /// Whether the member could be one: its kind is the group's, and it speaks something that all speak.
    pub(super) fn check_protocols(&self, request: &JoinGroup) -> Result<(), Refusal> {
        let fits = match self.state {
            ClassicState::Empty => !request.protocol_type.is_empty() && !request.protocols.is_empty(),
            _ => {
                let names = request.protocols.iter().map(|protocol| &*protocol.name);
                self.protocol_type.as_ref() == Some(&request.protocol_type)
                    && self.members.speak_one_of(names)
            }
        };
        if fits {
            return Ok(());
        }
        let names: Vec<_> = request.protocols.iter().map(|protocol| &*protocol.name).collect();
        let text = format!(
            "a member that speaks {names:?} of type {:?} cannot join group {} of type {:?}: all members need the \
             same type and a protocol in common",
            request.protocol_type, self.id, self.protocol_type
        );
        Err(Refusal::new(ErrorCode::InconsistentGroupProtocol, text))
    }
}

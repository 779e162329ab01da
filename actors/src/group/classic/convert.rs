//! A group on its way from this protocol to KIP-848, or from there to this one.

use std::sync::Arc;

use bytes::Bytes;

use super::message::{Answer, Protocol};
use super::record::{ClassicMember, ClassicMetadata};
use super::tally::Tally;
use super::turn::Turn;
use super::{CONSUMER, ClassicGroup, ClassicState, Decision, Surroundings, refusal};

/// A group that goes over, with all that its members said.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Moving {
    /// Its generation, or its epoch: the one goes on as the other.
    pub generation: i32,
    /// Whether its members have what the last assignment gave them.
    pub is_stable: bool,
    /// Its members.
    pub members: Vec<MovingMember>,
}

/// A member of the classic protocol, wherever its group is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct MovingMember {
    /// Its id.
    pub member: Arc<str>,
    /// `group.instance.id` of a static member.
    pub instance: Option<Arc<str>>,
    /// `client.id`.
    pub client_id: Arc<str>,
    /// Where it is.
    pub client_host: Arc<str>,
    /// How long it may take to join again.
    pub rebalance_timeout_ms: i32,
    /// How long it may be silent.
    pub session_timeout_ms: i32,
    /// What it can speak, the best first.
    pub protocols: Vec<Protocol>,
    /// What it was last given.
    pub assignment: Bytes,
    /// The generation that it comes with.
    pub generation: i32,
}

impl Moving {
    /// The group as it is written when it comes to this protocol. It has no leader, because nobody has assigned in it:
    /// by that whoever reads it back knows that its members are to join again.
    #[must_use]
    pub fn metadata(&self, now_ms: i64) -> ClassicMetadata {
        let protocol = self.vote();
        let written = |member: &MovingMember| {
            let spoken = member.protocols.iter().find(|spoken| Some(&spoken.name) == protocol.as_ref());
            ClassicMember {
                member: Arc::clone(&member.member),
                instance: member.instance.clone(),
                client_id: Arc::clone(&member.client_id),
                client_host: Arc::clone(&member.client_host),
                rebalance_timeout_ms: member.rebalance_timeout_ms,
                session_timeout_ms: member.session_timeout_ms,
                subscription: spoken.map(|spoken| spoken.metadata.clone()).unwrap_or_default(),
                assignment: member.assignment.clone(),
            }
        };
        ClassicMetadata {
            protocol_type: CONSUMER.into(),
            generation: self.generation,
            leader: None,
            state_since_ms: Some(now_ms),
            members: self.members.iter().map(written).collect(),
            protocol,
        }
    }

    fn vote(&self) -> Option<Arc<str>> {
        let mut tally = Tally::default();
        self.members.iter().for_each(|member| tally.add(&member.protocols));
        tally.elect(self.members.len(), self.members.iter().map(|member| &*member.protocols))
    }
}

impl ClassicGroup {
    /// Whether its members are consumers, which alone KIP-848 is for.
    #[must_use]
    pub fn is_of_consumers(&self) -> bool {
        self.protocol_type.as_deref() == Some(CONSUMER)
    }

    /// How many members it has.
    #[must_use]
    pub fn members(&self) -> usize {
        self.members.len()
    }

    /// The group, as it goes over to KIP-848.
    #[must_use]
    pub fn moving(&self) -> Moving {
        let members = self.members.iter().map(|member| MovingMember {
            member: Arc::clone(&member.id),
            instance: member.instance.clone(),
            client_id: Arc::clone(&member.client_id),
            client_host: Arc::clone(&member.client_host),
            rebalance_timeout_ms: member.terms.rebalance_timeout_ms,
            session_timeout_ms: member.terms.session_timeout_ms,
            protocols: member.terms.protocols.clone(),
            assignment: member.assignment.clone(),
            generation: member.epoch.unwrap_or(self.generation),
        });
        Moving {
            generation: self.generation,
            is_stable: self.state == ClassicState::Stable,
            members: members.collect(),
        }
    }

    /// It went over to KIP-848: who waits for a generation is told to join again, and finds its group there; who waits
    /// for a record has been decided on before. Nothing is left of it here.
    pub fn moved_over(&mut self, around: &Surroundings<'_>) -> Decision {
        self.decide(around, |turn| turn.move_over())
    }

    /// A group that came from KIP-848 as it is written: its members are to join again, and may commit until then in the
    /// epochs that they have.
    pub fn downgraded(
        id: Arc<str>,
        written: ClassicMetadata,
        moving: Moving,
        around: &Surroundings<'_>,
    ) -> (Self, Decision) {
        let (mut group, decision) = Self::replay(id, Some(written), around);
        for member in moving.members {
            group.members.set_epoch(&member.member, member.generation, member.protocols);
        }
        (group, decision)
    }
}

impl Turn<'_> {
    fn move_over(&mut self) {
        let refusal = refusal::rebalancing(&self.machine.id);
        self.refuse_waiting(&refusal);
        let held: Vec<(_, Answer)> = self.machine.writes.abandon();
        self.decision.answers.extend(held);
        let id = Arc::clone(&self.machine.id);
        *self.machine = ClassicGroup::nothing(id);
    }
}

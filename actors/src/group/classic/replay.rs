//! The group as its record, and back.

use std::collections::BTreeMap;
use std::sync::Arc;

use bytes::Bytes;

use super::member::{Member, Terms};
use super::message::Protocol;
use super::notice::{Cause, Why};
use super::record::{ClassicMember, ClassicMetadata};
use super::turn::Turn;
use super::{ClassicGroup, ClassicState};

impl ClassicGroup {
    /// What is written of the group, with these assignments in place of those that members have.
    pub(super) fn metadata(&self, assignments: Option<&BTreeMap<Arc<str>, Bytes>>) -> ClassicMetadata {
        let member = |member: &Member| ClassicMember {
            member: Arc::clone(&member.id),
            instance: member.instance.clone(),
            client_id: Arc::clone(&member.client_id),
            client_host: Arc::clone(&member.client_host),
            rebalance_timeout_ms: member.terms.rebalance_timeout_ms,
            session_timeout_ms: member.terms.session_timeout_ms,
            subscription: member.metadata(self.protocol.as_deref()),
            assignment: match assignments {
                Some(assignments) => assignments.get(&member.id).cloned().unwrap_or_default(),
                None => member.assignment.clone(),
            },
        };
        ClassicMetadata {
            protocol_type: self.protocol_type.clone().unwrap_or_default(),
            generation: self.generation,
            protocol: self.protocol.clone(),
            leader: self.leader.clone(),
            state_since_ms: self.state_since_ms,
            members: self.members.iter().map(member).collect(),
        }
    }
}

impl Turn<'_> {
    /// Takes the last record in. Members are stable with what it says, and speak the one protocol that it tells of. Where
    /// it names no leader the group came over from KIP-848, and its members are to join again.
    pub(super) fn read_back(&mut self, written: ClassicMetadata) {
        let machine = &mut *self.machine;
        let (protocol, is_assigned) = (written.protocol, written.leader.is_some());
        for member in written.members {
            let epoch = (!is_assigned).then_some(written.generation);
            machine.members.insert(Member { epoch, ..member_of(member, protocol.as_ref()) });
        }
        machine.is_written = true;
        machine.state = if machine.members.is_empty() { ClassicState::Empty } else { ClassicState::Stable };
        machine.state_since_ms = written.state_since_ms;
        machine.generation = written.generation;
        machine.protocol_type = Some(written.protocol_type).filter(|kind| !kind.is_empty());
        machine.protocol = protocol;
        // Never another than a member: who leads is asked to assign.
        let first = machine.members.iter().next().map(|first| Arc::clone(&first.id));
        machine.leader = written.leader.filter(|leader| machine.members.contains(leader)).or(first);
        self.read_topics();
        let members: Vec<_> = self.machine.members.iter().map(|member| Arc::clone(&member.id)).collect();
        for member in &members {
            self.touch(member);
        }
        if members.len() > self.around.settings.max_members {
            self.rebalance(Why::of(Cause::OverCapacity));
        } else if !is_assigned && !members.is_empty() {
            self.rebalance(Why::of(Cause::Downgraded));
        }
    }
}

fn member_of(written: ClassicMember, protocol: Option<&Arc<str>>) -> Member {
    let rebalance_timeout_ms = match written.rebalance_timeout_ms {
        -1 => written.session_timeout_ms,
        said => said,
    };
    let spoken = Protocol { name: protocol.cloned().unwrap_or_default(), metadata: written.subscription };
    Member {
        id: written.member,
        instance: written.instance,
        client_id: written.client_id,
        client_host: written.client_host,
        terms: Terms {
            rebalance_timeout_ms,
            session_timeout_ms: written.session_timeout_ms,
            protocols: vec![spoken],
        },
        assignment: written.assignment,
        joining: None,
        syncing: None,
        is_new: false,
        epoch: None,
        ends_ms: 0,
    }
}

//! A group of KIP-848 that has only members of the classic protocol left becomes a group of that.
//!
//! The record of the group that it becomes is written first: once that lies in the log, whoever reads it back finds that
//! group, whatever else of the one before is there still.

use std::sync::Arc;

use super::turn::Turn;
use super::{Leaving, Notice};
use crate::group::classic::{Moving, MovingMember};
use crate::group::embedded;
use crate::group::records::{GroupRecord, MemberMetadata};

impl Turn<'_> {
    /// Makes the group without these members one of the classic protocol, if only members of that are left and it may be.
    /// True if it is.
    pub(super) fn downgrade_without(&mut self, leaving: &[(Arc<str>, Leaving)]) -> bool {
        let settings = self.around.settings;
        let moving = self.moving(leaving);
        let members = moving.members.len();
        let is_classic = members > 0 && members + leaving.len() == self.group().members.len();
        if !is_classic || !settings.migration.downgrades() || members > settings.classic.max_members {
            return false;
        }
        let written = moving.metadata(self.around.now.wall_ms);
        self.write(GroupRecord::Classic(Some(written)));
        self.leave_modern();
        self.machine.downgraded = Some(moving);
        for (member, reason) in leaving {
            self.notices.push(Notice::Left { member: Arc::clone(member), reason: *reason });
        }
        true
    }

    /// Those of the classic protocol, as they go over.
    fn moving(&self, leaving: &[(Arc<str>, Leaving)]) -> Moving {
        let members = self.group().members.iter();
        let members = members.filter(|(id, _)| !leaving.iter().any(|(gone, _)| gone == *id));
        Moving {
            generation: self.group().epoch,
            is_stable: false,
            members: members.filter_map(|(id, metadata)| self.moving_member(id, metadata)).collect(),
        }
    }

    fn moving_member(&self, id: &Arc<str>, metadata: &MemberMetadata) -> Option<MovingMember> {
        let terms = metadata.classic.as_ref()?;
        let current = self.group().current(id);
        // All that it may still read.
        let owned = current.assigned.union(&current.revoking).copied();
        let said = terms.protocols.first().map(|protocol| &*protocol.metadata).unwrap_or_default();
        Some(MovingMember {
            member: Arc::clone(id),
            instance: metadata.instance.clone(),
            client_id: metadata.client_id.as_str().into(),
            client_host: metadata.client_host.as_str().into(),
            rebalance_timeout_ms: metadata.rebalance_timeout_ms,
            session_timeout_ms: terms.session_timeout_ms,
            protocols: terms.protocols.clone(),
            assignment: embedded::assign(said, owned, self.around.topics),
            generation: current.epoch,
        })
    }
}

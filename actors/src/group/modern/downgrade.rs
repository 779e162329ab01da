//! A group of KIP-848 that has only members of the classic protocol left becomes a group of that.
//!
//! The record of the group that it becomes is written first: once that lies in the log, whoever reads it back finds that
//! group, whatever else of the one before is there still.

use std::collections::BTreeSet;
use std::sync::Arc;

use super::turn::Turn;
use super::{Leaving, Notice};
use crate::group::classic::{Moving, MovingMember};
use crate::group::embedded;
use crate::group::records::{GroupRecord, MAX_RECORD_BYTES, MemberMetadata, encode};

impl Turn<'_> {
    /// Makes the group without these members one of the classic protocol, if only members of that are left and it may be.
    /// True if it is.
    pub(super) fn downgrade_without(&mut self, leaving: &[(Arc<str>, Leaving)]) -> bool {
        let group = self.group();
        let gone: BTreeSet<&Arc<str>> = leaving.iter().map(|(id, _)| id).collect();
        let loses = gone.iter().filter(|id| !group.is_classic(id)).count();
        if group.modern_members() > loses || group.members.len() == gone.len() {
            return false;
        }
        let staying = || group.members.iter().filter(|(id, _)| !gone.contains(id));
        let moving = Moving {
            generation: group.epoch,
            is_stable: false,
            members: staying().filter_map(|(id, metadata)| self.moving_member(id, metadata)).collect(),
        };
        let written = GroupRecord::Classic(Some(moving.metadata(self.around.now.wall_ms)));
        if let Some(why) = self.kept_from_downgrade(moving.members.len(), &written) {
            // Told once, and not again with each of the others that goes.
            if loses > 0 || leaving.is_empty() {
                self.notices.push(Notice::NotDowngraded { why });
            }
            return false;
        }
        self.write(written);
        self.leave_modern();
        self.machine.downgraded = Some(moving);
        for (member, reason) in leaving {
            self.notices.push(Notice::Left { member: Arc::clone(member), reason: *reason });
        }
        true
    }

    fn kept_from_downgrade(&self, members: usize, written: &GroupRecord) -> Option<&'static str> {
        let settings = self.around.settings;
        if !settings.migration.downgrades() {
            return Some("group.consumer.migration.policy does not allow it");
        }
        if members > settings.classic.max_members {
            return Some("it has more members than one of the classic protocol may have (group.max.size)");
        }
        let bytes = encode(0, &self.machine.id, written).value.map_or(0, |value| value.len());
        (bytes > MAX_RECORD_BYTES).then_some("what its members say does not fit into one record")
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

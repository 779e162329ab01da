//! What a group is asked while members of both protocols are in it, and on its way from one to the other.

use std::collections::BTreeSet;

use super::{ConsumerGroup, Decision, Now, Sender, Surroundings, check};
use crate::error::Refusal;
use crate::group::classic::{
    ClassicMetadata, Committer, EachLeft, Heartbeat, JoinGroup, Joined, LeaveGroup, Moving, SyncGroup,
    Synced, refusal,
};
use crate::group::message::{GroupHeartbeat, GroupHeartbeatAnswer};
use crate::group::records::GroupRecord;

impl ConsumerGroup {
    /// The group comes over from the classic protocol for a member of KIP-848 that joins. Refused, it stays what it was.
    pub fn upgrade(
        &mut self,
        around: &Surroundings<'_>,
        sender: Sender<'_>,
        request: &GroupHeartbeat,
        moving: &Moving,
    ) -> Decision<GroupHeartbeatAnswer> {
        self.decide(around, |turn| {
            check::check(around, request)?;
            turn.upgrade(sender, request, moving)
        })
    }

    /// Whether who commits still is the instance that it says it is: of two processes with one `group.instance.id` only the
    /// one that joined last is (KIP-345).
    pub fn check_instance(&self, committer: &Committer) -> Result<(), Refusal> {
        let Some(instance) = &committer.instance else { return Ok(()) };
        match self.group.instance(instance) {
            Some(holder) if *holder != committer.member => {
                Err(refusal::fenced(&self.id, instance, &committer.member))
            }
            // Whether there is such a member at all is said where its epoch is looked at.
            Some(_) | None => Ok(()),
        }
    }

    /// Takes in what was decided of it as a group of the classic protocol, to be appended by the caller.
    pub fn note_classic(&mut self, now: Now, record: Option<ClassicMetadata>) -> GroupRecord {
        let record = GroupRecord::Classic(record);
        self.group.replay(now.wall_ms, record.clone());
        record
    }

    /// Members of the classic protocol have come, and nobody else is in it: what it was is forgotten, but for its offsets and
    /// since when it has been empty, from which these are kept.
    pub fn begin_classic(&mut self, around: &Surroundings<'_>) -> Decision<()> {
        self.decide(around, |turn| {
            turn.begin_classic();
            Ok(())
        })
    }

    /// It goes over to the classic protocol: what it was without members is forgotten, but for its offsets.
    pub fn leave_modern(&mut self, around: &Surroundings<'_>) -> Decision<()> {
        self.decide(around, |turn| {
            turn.leave_modern();
            Ok(())
        })
    }

    /// The members of a group that went over to the classic protocol since this was last asked.
    pub fn take_downgraded(&mut self) -> Option<Moving> {
        self.downgraded.take()
    }

    /// Whether members of the classic protocol that join are to join here: the group has members of KIP-848, or had when
    /// they came.
    #[must_use]
    pub fn is_hosting(&self) -> bool {
        !self.group.members.is_empty()
    }

    /// A member of the classic protocol joins. It is answered at once. `MemberIdRequired` tells it to come with the id that
    /// the request has for it.
    pub fn join_classic(&mut self, around: &Surroundings<'_>, request: &JoinGroup) -> Decision<Joined> {
        self.decide(around, |turn| turn.join_hosted(request))
    }

    /// A member of the classic protocol asks for its assignment.
    pub fn sync_classic(&mut self, around: &Surroundings<'_>, request: &SyncGroup) -> Decision<Synced> {
        self.decide(around, |turn| turn.sync_hosted(request))
    }

    /// A member of the classic protocol lives. `RebalanceInProgress` tells it to join again.
    pub fn heartbeat_classic(&mut self, around: &Surroundings<'_>, request: &Heartbeat) -> Decision<()> {
        self.decide(around, |turn| turn.heartbeat_hosted(request))
    }

    /// Members of the classic protocol leave.
    pub fn leave_classic(&mut self, around: &Surroundings<'_>, request: &LeaveGroup) -> Decision<EachLeft> {
        self.decide(around, |turn| -> Result<EachLeft, Refusal> { Ok(turn.leave_hosted(request)) })
    }

    /// The members that speak the classic protocol.
    #[must_use]
    pub fn classic_members(&self) -> BTreeSet<String> {
        let members = self.group.members.iter().filter(|(_, metadata)| metadata.classic.is_some());
        members.map(|(id, _)| id.to_string()).collect()
    }
}

//! Groups on their way from one protocol to the other, and members of the classic protocol in a group of KIP-848.

use std::sync::Arc;

use super::super::classic::{ClassicGroup, ClassicState};
use super::super::classic_part::ClassicPart;
use super::super::message::{GroupHeartbeat, GroupHeartbeatAnswer};
use super::super::modern::Sender;
use super::super::modern::upgrade::refused;
use super::super::request::{ClassicRequest, Reply};
use super::Coordinator;
use crate::error::{ErrorCode, Refusal};
use crate::events::GroupConverted;

impl Coordinator {
    /// A heartbeat of a member of KIP-848. One that joins a group of the classic protocol takes it along, if it may.
    pub(super) fn heartbeat(
        &mut self,
        request: &GroupHeartbeat,
        sender: Sender<'_>,
        reply: Reply<Result<GroupHeartbeatAnswer, Refusal>>,
    ) {
        let populated = self.classic.as_ref().filter(|classic| classic.group.state() != ClassicState::Empty);
        let Some(classic) = populated else {
            self.decide(Some(reply), |machine, around| machine.heartbeat(around, sender, request));
            return self.end_classic();
        };
        if let Err(refusal) = self.check_upgrade(classic, request) {
            return reply.give(Err(refusal));
        }
        let moving = classic.group.moving();
        self.decide(Some(reply), |machine, around| machine.upgrade(around, sender, request, &moving));
        if self.machine.is_hosting() {
            let (group, members) = (&**self.machine.id(), moving.members.len());
            self.leadership.doors.events.emit(GroupConverted { group, to: "consumer", members });
        }
        self.end_classic();
    }

    /// Where a member of KIP-848 came in, the group is none of the classic protocol any more: who waits for it is told so,
    /// behind what was written of that.
    fn end_classic(&mut self) {
        if self.machine.is_hosting() {
            self.decide_classic(ClassicGroup::moved_over);
            self.classic = None;
        } else if self.classic.as_ref().is_some_and(ClassicPart::is_nothing) {
            self.classic = None;
        }
    }

    fn check_upgrade(&self, classic: &ClassicPart, request: &GroupHeartbeat) -> Result<(), Refusal> {
        let settings = self.leadership.settings();
        let (policy, members) = (settings.migration, classic.group.members());
        let why = if !classic.group.is_of_consumers() {
            "its members are no consumers; join another group".to_owned()
        } else if request.member_epoch != 0 {
            "only who joins (epoch 0) takes it over to KIP-848".to_owned()
        } else if !policy.upgrades() {
            format!("group.consumer.migration.policy is {}; stop its members first", policy.name())
        } else if members > settings.max_members {
            let most = settings.max_members;
            format!("it has {members} members, one of KIP-848 at most {most} (group.consumer.max.size)")
        } else {
            return Ok(());
        };
        Err(refused(self.machine.id(), &why))
    }

    /// Where the last member of KIP-848 went and others stay, the group goes on as one of the classic protocol.
    pub(super) fn follow_downgrade(&mut self) {
        let Some(moving) = self.machine.take_downgraded() else { return };
        let Some(written) = self.machine.group().classic.clone() else { return };
        let (group, members) = (self.machine.id(), moving.members.len());
        self.leadership.doors.events.emit(GroupConverted { group, to: "classic", members });
        let (part, decision) = ClassicPart::downgraded(group, written, moving, &self.leadership);
        self.classic = Some(part);
        self.carry_out(decision);
    }

    /// A member of the classic protocol asks, and its group is one of KIP-848.
    pub(super) fn serve_hosted(&mut self, request: ClassicRequest) {
        match request {
            ClassicRequest::Join { request, reply } => {
                let (id, new) = (Arc::clone(&request.member), Arc::clone(&request.new_member));
                let give = move |joined: Result<_, Refusal>| {
                    let is_told = |refusal: &Refusal| refusal.code == ErrorCode::MemberIdRequired;
                    let has_new = id.is_empty() && joined.as_ref().err().is_none_or(is_told);
                    reply.give((if has_new { new } else { id }, joined));
                };
                self.decide_for(Some(give), |machine, around| machine.join_classic(around, &request));
            }
            ClassicRequest::Sync { request, reply } => {
                self.decide(Some(reply), |machine, around| machine.sync_classic(around, &request));
            }
            ClassicRequest::Heartbeat { request, reply } => {
                self.decide(Some(reply), |machine, around| machine.heartbeat_classic(around, &request));
            }
            ClassicRequest::Leave { request, reply } => {
                self.decide(Some(reply), |machine, around| machine.leave_classic(around, &request));
            }
            ClassicRequest::Describe { reply } => {
                let refusal = self.not_classic();
                self.give(move |lost| reply.give(Err(lost.map_or(refusal, super::as_coordinator))));
            }
        }
    }
}

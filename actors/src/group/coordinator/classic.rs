//! What the coordinator does for members of the classic protocol. Its group decides; here it is carried out.

use std::collections::BTreeMap;

use super::super::classic::{
    Answer, ClassicGroup, ClassicMetadata, ClassicState, Committer, Decision, KeptFrom, Leaving, Notice,
    Surroundings, Ticket,
};
use super::super::classic_part::{ClassicPart, ClassicReply, within};
use super::super::message::{GroupState, OffsetDelete};
use super::super::modern::ConsumerGroup;
use super::super::release::Waits;
use super::super::request::{ClassicRequest, PerPartition, Reply};
use super::{Coordinator, ShownGroup, as_coordinator};
use crate::error::{ErrorCode, Refusal};
use crate::events::{GroupRetargeted, MemberJoined, MemberLeft};
use crate::ids::PartitionId;

impl Coordinator {
    pub(super) fn shown_group(&mut self) -> ShownGroup {
        let Some(classic) = &self.classic else {
            let state = *self.state.get_or_insert_with(|| self.machine.state());
            return ShownGroup { state, classic: None, is_of_streams: self.machine.is_of_streams() };
        };
        let state = match classic.group.state() {
            ClassicState::Empty | ClassicState::Dead => GroupState::Empty,
            ClassicState::PreparingRebalance => GroupState::PreparingRebalance,
            ClassicState::CompletingRebalance => GroupState::CompletingRebalance,
            ClassicState::Stable => GroupState::Stable,
        };
        let has_offsets = !self.machine.group().offsets.is_empty();
        let listed = classic.group.listed(has_offsets);
        let protocol_type = listed.map(|(protocol_type, _)| protocol_type).unwrap_or_default();
        ShownGroup { state, classic: Some(protocol_type), is_of_streams: false }
    }

    /// Time went by.
    pub(super) fn tick(&mut self) {
        let classic = self.classic.as_ref();
        let kept_from = classic.map_or(KeptFrom::Commit, |classic| classic.group.offsets_kept_from());
        self.decide(None, |machine, around| machine.tick(around, kept_from));
        let has_offsets = !self.machine.group().offsets.is_empty();
        self.decide_classic(ClassicGroup::tick);
        self.decide_classic(|group, around| group.forget(around, has_offsets));
    }

    /// Why a group of the classic protocol must not be deleted now.
    pub(super) fn deletion_refused(&self) -> Option<Refusal> {
        let classic = self.classic.as_ref()?;
        let has_offsets = !self.machine.group().offsets.is_empty();
        let refusal = classic.group.check_delete(has_offsets).err()?;
        // Whether there is such a group at all is known better where its offsets are.
        (refusal.code != ErrorCode::GroupIdNotFound).then_some(refusal)
    }

    pub(super) fn begin_classic(&mut self, written: Option<ClassicMetadata>) {
        let (part, decision) = ClassicPart::new(self.machine.id(), written, &self.leadership);
        self.classic = Some(part);
        self.carry_out(decision);
    }

    fn ensure_classic(&mut self) {
        if self.classic.is_none() {
            self.begin_classic(None);
        }
    }

    /// A group without members is one of whoever comes. Who only knocks changes nothing: what it was as one of KIP-848 is
    /// forgotten when somebody is let in, and not before.
    pub(super) fn follow_classic(&mut self) {
        let Some(classic) = &self.classic else { return };
        if !self.machine.group().was_modern() {
            return;
        }
        if classic.group.members() > 0 {
            self.decide(None, ConsumerGroup::begin_classic);
        } else if classic.is_nothing() {
            self.classic = None;
        }
    }

    pub(super) fn serve_classic(&mut self, request: ClassicRequest) {
        if self.machine.is_of_streams() {
            return self.refuse_classic(request);
        }
        if self.classic.is_none() && self.machine.is_hosting() {
            return self.serve_hosted(request);
        }
        match request {
            ClassicRequest::Join { request, reply } => {
                self.ensure_classic();
                self.take_ticket(ClassicReply::Join(reply), |group, around, ticket| {
                    group.join(around, ticket, &request)
                });
            }
            ClassicRequest::Sync { request, reply } => {
                self.take_ticket(ClassicReply::Sync(reply), |group, around, ticket| {
                    group.sync(around, ticket, &request)
                });
            }
            ClassicRequest::Leave { request, reply } => {
                self.take_ticket(ClassicReply::Leave(reply), |group, around, ticket| {
                    group.leave(around, ticket, &request)
                });
            }
            ClassicRequest::Heartbeat { request, reply } => {
                let lives = match &mut self.classic {
                    Some(classic) => {
                        within(&self.leadership, |around| classic.group.heartbeat(around, &request))
                    }
                    None => Err(self.no_classic()),
                };
                self.give(move |refusal| reply.give(refusal.map(as_coordinator).map_or(lives, Err)));
            }
            ClassicRequest::Describe { reply } => {
                let has_offsets = !self.machine.group().offsets.is_empty();
                let described = match &self.classic {
                    Some(classic) => classic.group.describe(has_offsets),
                    None => Err(self.not_classic()),
                };
                self.give(move |refusal| reply.give(refusal.map(as_coordinator).map_or(described, Err)));
            }
        }
    }

    /// Deletes committed offsets, but not those of topics that members of the classic protocol read.
    pub(super) fn delete_offsets(&mut self, mut request: OffsetDelete, reply: Reply<PerPartition>) {
        let kept = match self.kept_from_deletion(&request) {
            Ok(kept) => kept,
            Err(refusal) => return reply.give(Err(refusal)),
        };
        request.partitions.retain(|partition| !kept.contains_key(partition));
        // Of a group that has members of the classic protocol and no commits, no record may speak yet.
        let is_known = self.classic.is_some();
        self.decide(Some(reply), |machine, around| {
            let mut decision = machine.delete_offsets(around, &request, is_known);
            if let Ok(each) = &mut decision.answer {
                each.extend(kept.into_iter().map(|(partition, refusal)| (partition, Err(refusal))));
            }
            decision
        });
    }

    fn kept_from_deletion(&self, request: &OffsetDelete) -> Result<BTreeMap<PartitionId, Refusal>, Refusal> {
        let mut kept = BTreeMap::new();
        let Some(classic) = &self.classic else { return Ok(kept) };
        // Once for the whole, also where no topic of it is known.
        classic.group.check_offsets_delete(!self.machine.group().offsets.is_empty())?;
        let topics = self.leadership.topics();
        for partition in &request.partitions {
            let Some((topic, _)) = topics.identified(partition.topic) else { continue };
            if let Err(refusal) = classic.group.check_topic_delete(&topic) {
                kept.insert(*partition, refusal);
            }
        }
        Ok(kept)
    }

    pub(super) fn not_classic(&self) -> Refusal {
        let text = format!("{:?} is no group of the classic protocol", self.machine.id());
        Refusal::new(ErrorCode::GroupIdNotFound, text)
    }

    fn no_classic(&self) -> Refusal {
        let text = format!("group {} has no members of the classic protocol; join first", self.machine.id());
        Refusal::new(ErrorCode::UnknownMemberId, text)
    }

    pub(super) fn check_classic_commit(&mut self, committer: &Committer) -> Result<(), Refusal> {
        let has_offsets = !self.machine.group().offsets.is_empty();
        let Some(classic) = &mut self.classic else { return Ok(()) };
        within(&self.leadership, |around| classic.group.check_commit(around, committer, has_offsets))
    }

    fn take_ticket(
        &mut self,
        reply: ClassicReply,
        step: impl FnOnce(&mut ClassicGroup, &Surroundings<'_>, Ticket) -> Decision,
    ) {
        let refusal = self.no_classic();
        let Some(classic) = &mut self.classic else { return reply.refuse(refusal) };
        let ticket = classic.ticket(reply);
        self.decide_classic(|group, around| step(group, around, ticket));
    }

    pub(super) fn decide_classic(
        &mut self,
        step: impl FnOnce(&mut ClassicGroup, &Surroundings<'_>) -> Decision,
    ) {
        let Some(classic) = &mut self.classic else { return };
        let decision = within(&self.leadership, |around| step(&mut classic.group, around));
        self.carry_out(decision);
    }

    /// Appends what was written, and gives the answers that wait for nothing written.
    pub(super) fn carry_out(&mut self, decision: Decision) {
        let now = self.leadership.now();
        for written in decision.records {
            let record = self.machine.note_classic(now, written.value);
            let number = self.answers.push(Waits::ForRecords, Box::new(|_| ()));
            if let Some(classic) = &mut self.classic {
                classic.records.insert(number, written.token);
            }
            self.start_waiting(number, Waits::ForRecords, now.wall_ms, &[record]);
        }
        for (ticket, answer) in decision.answers {
            let reply = self.classic.as_mut().and_then(|classic| classic.reply(ticket));
            if let Some(reply) = reply {
                self.answer_classic(reply, answer);
            }
        }
        self.tell_classic(decision.notices);
    }

    fn answer_classic(&mut self, reply: ClassicReply, answer: Answer) {
        self.give(move |refusal| reply.give(answer, refusal.map(as_coordinator)));
    }

    /// Gives an answer from memory: only while the lease holds, or once it is confirmed.
    pub(super) fn give(&mut self, release: impl FnOnce(Option<Refusal>) + Send + 'static) {
        let waits = if self.leadership.lease.holds() { Waits::No } else { Waits::ForLease };
        let now_ms = self.leadership.now().wall_ms;
        let number = self.answers.push(waits, Box::new(release));
        self.start_waiting(number, waits, now_ms, &[]);
    }

    fn tell_classic(&self, notices: Vec<Notice>) {
        let (events, group) = (&self.leadership.doors.events, &**self.machine.id());
        for notice in notices {
            match notice {
                Notice::Joined { member, .. } => {
                    events.emit(MemberJoined { group, member: &member });
                }
                Notice::Left { member, how, .. } => {
                    let reason = match how {
                        // It joins again as another: the same as one that was silent.
                        Leaving::SyncTimeout | Leaving::SessionTimeout => "session_timeout",
                        Leaving::RebalanceTimeout => "rebalance_timeout",
                        Leaving::Left | Leaving::NoRoom => "left",
                    };
                    events.emit(MemberLeft { group, member: &member, reason });
                }
                Notice::Stable { generation, members } => {
                    events.emit(GroupRetargeted {
                        group,
                        epoch: generation,
                        members,
                        partitions: 0,
                        affected: members,
                    });
                }
                other => tracing::debug!(group, ?other, "classic group"),
            }
        }
    }
}

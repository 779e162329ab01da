//! A member's heartbeat: joining, going on, leaving.

use std::collections::BTreeSet;
use std::sync::Arc;

use super::reconcile::{Target, reconcile};
use super::turn::Turn;
use super::{AWAY_EPOCH, Leaving, Notice, Sender, check, describe};
use crate::error::{ErrorCode, Refusal};
use crate::group::message::{GroupHeartbeat, GroupHeartbeatAnswer};
use crate::group::records::{CurrentAssignment, GroupRecord, MemberMetadata, MemberState};
use crate::ids::PartitionId;

/// What a heartbeat means, once it is known who it comes from.
pub(super) enum Standing {
    /// A member joins that was not there.
    New,
    /// A member joins that was there: it has given everything up.
    Back,
    /// A static member joins under another id than the one that it left with.
    Replaces(Arc<str>),
    /// A member goes on.
    Known,
}

impl Turn<'_> {
    pub(super) fn heartbeat(
        &mut self,
        sender: Sender<'_>,
        request: &GroupHeartbeat,
    ) -> Result<GroupHeartbeatAnswer, Refusal> {
        check::check(self.around, request)?;
        if request.member_epoch < 0 { self.leave(request) } else { self.join_or_go_on(sender, request) }
    }

    fn join_or_go_on(
        &mut self,
        Sender { host, rights }: Sender<'_>,
        request: &GroupHeartbeat,
    ) -> Result<GroupHeartbeatAnswer, Refusal> {
        let standing = self.standing(request)?;
        let member: Arc<str> = request.member.as_str().into();
        let known_epoch = self.group().current(&member).epoch;
        if let Standing::Replaces(old) = &standing {
            self.replace(old, &member);
        }
        self.machine.patterns.hear(&member, rights);
        self.update_member(&member, host, request);
        self.follow_topics();
        self.follow_rights(&member);

        let joins = !matches!(standing, Standing::Known);
        let owned = owned(request);
        let changed = self.reconcile_member(&member, &standing, owned.as_ref());
        self.machine.touch(&member, self.around);
        if joins {
            self.notices.push(Notice::Joined { member: Arc::clone(&member) });
        }
        let current = self.group().current(&member);
        let knows_less =
            owned.is_some_and(|owned| owned != current.assigned) || request.member_epoch != known_epoch;
        Ok(self.answer(&member, joins || changed || knows_less))
    }

    fn answer(&self, member: &Arc<str>, told: bool) -> GroupHeartbeatAnswer {
        let (settings, current) = (self.around.settings, self.group().current(member));
        let waits = current.state == MemberState::Unreleased || self.machine.patterns.is_looking(member);
        let heartbeat_interval_ms = if waits {
            settings.waiting_interval_ms.min(settings.heartbeat_interval_ms)
        } else {
            settings.heartbeat_interval_ms
        };
        let assigned = told.then(|| current.assigned.iter().copied().collect());
        GroupHeartbeatAnswer { member_epoch: current.epoch, heartbeat_interval_ms, assigned }
    }

    /// Brings the member nearer to its target. True if what it is to own now is not what it was.
    pub(super) fn reconcile_member(
        &mut self,
        member: &Arc<str>,
        standing: &Standing,
        owned: Option<&BTreeSet<PartitionId>>,
    ) -> bool {
        let group = self.group();
        // Who joins owns nothing, whatever is written of it; who takes an instance over gets what that had.
        let from = match standing {
            Standing::New | Standing::Back => &CurrentAssignment::NOTHING,
            Standing::Replaces(_) | Standing::Known => group.current(member),
        };
        let target = Target { epoch: group.target_epoch, partitions: group.target(member) };
        let is_free = |partition: &PartitionId| group.owner(partition).is_none_or(|owner| owner == member);
        let Some(next) = reconcile(from, &target, owned, is_free) else { return false };
        let changed = next.assigned != group.current(member).assigned;
        self.write(GroupRecord::Current { member: Arc::clone(member), value: Some(next) });
        changed
    }

    /// Who a heartbeat comes from, or why it is refused.
    fn standing(&self, request: &GroupHeartbeat) -> Result<Standing, Refusal> {
        let joins = request.member_epoch == 0;
        let is_member = self.group().members.contains_key(request.member.as_str());
        if let Some(instance) = &request.instance {
            match self.group().instance(instance) {
                Some(holder) if **holder == *request.member => {}
                Some(holder) if !joins => return Err(self.fenced_instance(request, instance, holder)),
                // One of the classic protocol that stops does not say whether it comes back (KIP-345).
                Some(holder)
                    if self.group().current(holder).epoch == AWAY_EPOCH
                        || self.group().is_classic(holder) =>
                {
                    return Ok(Standing::Replaces(Arc::clone(holder)));
                }
                Some(holder) => return Err(self.unreleased_instance(request, instance, holder)),
                None if !joins => return Err(self.unknown_member(request)),
                None => {}
            }
        }
        match (joins, is_member) {
            (true, true) => Ok(Standing::Back),
            (true, false) => self.check_room(self.group().members.len()).map(|()| Standing::New),
            (false, true) if self.group().is_classic(&request.member) => Err(self.unknown_member(request)),
            (false, false) => Err(self.unknown_member(request)),
            (false, true) => self.check_member_epoch(request).map(|()| Standing::Known),
        }
    }

    /// Whether one more may be beside so many members.
    pub(super) fn check_room(&self, members: usize) -> Result<(), Refusal> {
        let (group, most) = (&self.machine.id, self.around.settings.max_members);
        if members < most {
            return Ok(());
        }
        let text = format!(
            "group {group} has {members} members, at most {most} it may have (group.consumer.max.size)"
        );
        Err(Refusal::new(ErrorCode::GroupMaxSizeReached, text))
    }

    /// A member comes with the epoch it was last told, or with the one before if it never heard of that: then it may
    /// own no more than what is written of it.
    fn check_member_epoch(&self, request: &GroupHeartbeat) -> Result<(), Refusal> {
        let current = self.group().current(&request.member);
        let missed_an_answer = || {
            let within = |partition: &PartitionId| {
                current.assigned.contains(partition) || current.revoking.contains(partition)
            };
            request.member_epoch == current.previous_epoch
                && request.owned.as_ref().is_some_and(|owned| owned.iter().all(within))
        };
        if request.member_epoch == current.epoch || missed_an_answer() {
            return Ok(());
        }
        let text = format!(
            "member {} of group {} came with epoch {}, the coordinator has {}: give all partitions up and join again",
            request.member, request.group, request.member_epoch, current.epoch
        );
        Err(Refusal::new(ErrorCode::FencedMemberEpoch, text))
    }

    fn unknown_member(&self, request: &GroupHeartbeat) -> Refusal {
        let text = format!(
            "group {} has no member {}: its session ended or it never joined; join again (epoch 0)",
            request.group, request.member
        );
        Refusal::new(ErrorCode::UnknownMemberId, text)
    }

    fn fenced_instance(&self, request: &GroupHeartbeat, instance: &str, holder: &str) -> Refusal {
        let text = format!(
            "member {} of group {} lost its place: group.instance.id {instance} is now member {holder}",
            request.member, request.group
        );
        Refusal::new(ErrorCode::FencedInstanceId, text)
    }

    fn unreleased_instance(&self, request: &GroupHeartbeat, instance: &str, holder: &str) -> Refusal {
        let text = format!(
            "group {}: group.instance.id {instance} is in use by member {holder}; try again when that left or after its \
             session of {} ms",
            request.group, self.around.settings.session_timeout_ms
        );
        Refusal::new(ErrorCode::UnreleasedInstanceId, text)
    }

    /// Lets a static member have under its new id what it had under the old one.
    pub(super) fn replace(&mut self, old: &Arc<str>, new: &Arc<str>) {
        let metadata = self.group().members.get(old).cloned().unwrap_or_default();
        let target = self.group().target(old).clone();
        let current = CurrentAssignment { epoch: 0, previous_epoch: 0, ..self.group().current(old).clone() };
        self.remove_member(old, Leaving::Replaced);
        self.write(GroupRecord::Member { member: Arc::clone(new), value: Some(metadata) });
        self.write(GroupRecord::Target { member: Arc::clone(new), value: Some(target) });
        self.write(GroupRecord::Current { member: Arc::clone(new), value: Some(current) });
    }

    /// Takes in what the member says of itself; where that changes who may own what, the group goes on to a new epoch.
    fn update_member(&mut self, member: &Arc<str>, host: &str, request: &GroupHeartbeat) {
        let old = self.group().members.get(member).cloned();
        self.describe_member(member, described(old.unwrap_or_default(), host, request));
    }

    /// The same, as it is to be written.
    pub(super) fn describe_member(&mut self, member: &Arc<str>, new: MemberMetadata) {
        let old = self.group().members.get(member).cloned();
        if old.as_ref() == Some(&new) {
            return;
        }
        let changes = old.is_none_or(|old| (&old.topics, &old.pattern) != (&new.topics, &new.pattern));
        let votes_anew = self.group().members.get(member).is_some_and(|old| old.assignor != new.assignor);
        // Whose vote stays what it was changes nothing, and all votes are counted for that.
        let elected =
            |turn: &Self| votes_anew.then(|| describe::assignor(turn.group(), turn.around.settings));
        let before = elected(self);
        self.write(GroupRecord::Member { member: Arc::clone(member), value: Some(new) });
        if changes || elected(self) != before {
            self.regroup();
        }
    }

    fn leave(&mut self, request: &GroupHeartbeat) -> Result<GroupHeartbeatAnswer, Refusal> {
        if let Some(instance) = &request.instance {
            match self.group().instance(instance) {
                Some(holder) if **holder == *request.member => {}
                Some(holder) => return Err(self.fenced_instance(request, instance, holder)),
                None => return Err(self.unknown_member(request)),
            }
        }
        let Some((member, _)) = self.group().members.get_key_value(request.member.as_str()) else {
            return Err(self.unknown_member(request));
        };
        let member = Arc::clone(member);
        if self.group().is_classic(&member) {
            return Err(self.unknown_member(request));
        }
        if request.member_epoch == AWAY_EPOCH {
            self.go_away(&member);
        } else {
            self.put_out(&[(member, Leaving::Left)]);
        }
        Ok(GroupHeartbeatAnswer {
            member_epoch: request.member_epoch,
            heartbeat_interval_ms: 0,
            assigned: None,
        })
    }

    /// A static member leaves and comes back: its partitions wait for it until its session ends.
    fn go_away(&mut self, member: &Arc<str>) {
        let current = self.group().current(member);
        let away = CurrentAssignment {
            epoch: AWAY_EPOCH,
            previous_epoch: current.epoch,
            state: MemberState::Stable,
            assigned: current.assigned.intersection(self.group().target(member)).copied().collect(),
            revoking: BTreeSet::new(),
        };
        self.write(GroupRecord::Current { member: Arc::clone(member), value: Some(away) });
        self.machine.touch(member, self.around);
        self.notices.push(Notice::Left { member: Arc::clone(member), reason: Leaving::Away });
    }
}

fn owned(request: &GroupHeartbeat) -> Option<BTreeSet<PartitionId>> {
    request.owned.as_ref().map(|owned| owned.iter().copied().collect())
}

/// What the member says of itself, over what it said before.
fn described(mut metadata: MemberMetadata, host: &str, request: &GroupHeartbeat) -> MemberMetadata {
    if let Some(instance) = &request.instance {
        metadata.instance = Some(instance.as_str().into());
    }
    if let Some(topics) = &request.topics {
        let names: BTreeSet<&str> = topics.iter().map(String::as_str).collect();
        metadata.topics = names.into_iter().map(Arc::from).collect();
    }
    if let Some(pattern) = &request.topic_pattern {
        metadata.pattern = (!pattern.is_empty()).then(|| pattern.as_str().into());
    }
    if let Some(assignor) = &request.assignor {
        metadata.assignor = Some(assignor.clone());
    }
    metadata.rebalance_timeout_ms = match i32::try_from(request.rebalance_timeout_ms) {
        Ok(0) if metadata.rebalance_timeout_ms == 0 => -1,
        Ok(0) | Err(_) => metadata.rebalance_timeout_ms,
        Ok(timeout_ms) => timeout_ms,
    };
    metadata.client_id.clone_from(&request.client_id);
    host.clone_into(&mut metadata.client_host);
    // It speaks KIP-848 now, whatever it was before.
    metadata.classic = None;
    metadata
}

//! A group of the classic protocol comes over to KIP-848, with all its members.
//!
//! The record of the group that it was is removed last: until that lies in the log, whoever reads it back finds the
//! group that it was, however much of the rest is there. So the way over is one step, of however many batches.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use super::turn::Turn;
use super::{Sender, Surroundings, check};
use crate::error::{ErrorCode, Refusal};
use crate::group::classic::{Moving, MovingMember};
use crate::group::embedded::{self, Subscription};
use crate::group::message::{GroupHeartbeat, GroupHeartbeatAnswer};
use crate::group::records::{ClassicTerms, CurrentAssignment, GroupRecord, MemberMetadata, MemberState};
use crate::ids::PartitionId;

/// How long a group waits for topics of which its coordinator has not heard, in milliseconds: news of them take less than one
/// second unless the quorum is gone.
const TOPICS_WAIT_MS: u64 = 5_000;

/// After how long without being asked again a wait is forgotten, in milliseconds.
const WAIT_FORGOTTEN_MS: u64 = 30_000;

/// A member that comes over, as it is understood.
struct Arrival<'a> {
    member: &'a MovingMember,
    said: Subscription,
    assigned: BTreeSet<PartitionId>,
    /// What it may still read, though it was not given it last.
    leftover: BTreeSet<PartitionId>,
    /// A partition that it reads, and that is not known here.
    unknown: Option<String>,
}

impl Turn<'_> {
    /// Takes the group over, and lets the member in that it comes over for. Its heartbeat has been checked.
    pub(super) fn upgrade(
        &mut self,
        sender: Sender<'_>,
        request: &GroupHeartbeat,
        moving: &Moving,
    ) -> Result<GroupHeartbeatAnswer, Refusal> {
        let arrivals = self.arrivals(moving)?;
        // All that may be refused is refused here, before anything is written.
        self.check_joining(request, moving)?;
        self.wait_for_topics(&arrivals)?;
        for arrival in &arrivals {
            let value = Some(metadata_of(arrival));
            self.write(GroupRecord::Member { member: Arc::clone(&arrival.member.member), value });
        }
        self.write(GroupRecord::Epoch(Some(moving.generation)));
        self.refresh_topics();
        for arrival in &arrivals {
            let value = Some(arrival.assigned.clone());
            self.write(GroupRecord::Target { member: Arc::clone(&arrival.member.member), value });
        }
        self.write(GroupRecord::TargetEpoch(Some(moving.generation)));
        for arrival in arrivals {
            self.arrive(arrival);
        }
        // Who comes as a new member makes the group go on to a new epoch. Who takes a place does not: where members waited
        // for an assignment, or the last one left something out, that is made up for here.
        if self.is_known(request) && !(moving.is_stable && self.group().is_all_targeted()) {
            self.bump();
            self.retarget();
        }
        let answer = self.heartbeat(sender, request)?;
        self.leave_classic();
        Ok(answer)
    }

    fn arrive(&mut self, arrival: Arrival<'_>) {
        let Arrival { member, assigned, leftover, .. } = arrival;
        let state = if leftover.is_empty() { MemberState::Stable } else { MemberState::Unrevoked };
        let (epoch, id) = (member.generation, Arc::clone(&member.member));
        let value = CurrentAssignment { epoch, previous_epoch: epoch, state, assigned, revoking: leftover };
        self.write(GroupRecord::Current { member: Arc::clone(&id), value: Some(value) });
        self.machine.touch(&id, self.around);
    }

    /// Whether there is room for who joins, unless it takes the place of one that comes over.
    fn check_joining(&self, request: &GroupHeartbeat, moving: &Moving) -> Result<(), Refusal> {
        let instance = request.instance.as_deref();
        let is_its_place = |member: &MovingMember| {
            *member.member == *request.member
                || (instance.is_some() && member.instance.as_deref() == instance)
        };
        if moving.members.iter().any(is_its_place) {
            return Ok(());
        }
        self.check_room(moving.members.len())
    }

    /// Members may own partitions that this node has not heard of yet: who came over without them would read them still when
    /// they are another's. Those of topics that are no more it will never hear of, so that it waits only so long.
    fn wait_for_topics(&mut self, arrivals: &[Arrival<'_>]) -> Result<(), Refusal> {
        let now_ms = self.around.now.monotonic_ms;
        let Some(unknown) = arrivals.iter().find_map(|arrival| arrival.unknown.as_deref()) else {
            self.machine.upgrade_waits_since_ms = None;
            return Ok(());
        };
        let since_ms = self.machine.upgrade_waits_since_ms;
        let since_ms = since_ms.filter(|since_ms| now_ms < since_ms + WAIT_FORGOTTEN_MS).unwrap_or(now_ms);
        self.machine.upgrade_waits_since_ms = Some(since_ms);
        if now_ms >= since_ms + TOPICS_WAIT_MS {
            return Ok(());
        }
        let text = format!(
            "group {}: members read {unknown}, of which its coordinator has not heard yet; try again",
            self.machine.id
        );
        Err(Refusal::new(ErrorCode::CoordinatorLoadInProgress, text))
    }

    fn is_known(&self, request: &GroupHeartbeat) -> bool {
        let group = self.group();
        let holder = request.instance.as_ref().and_then(|instance| group.instance(instance));
        holder.is_some() || group.members.contains_key(request.member.as_str())
    }

    /// What the members said and own.
    ///
    /// A partition is the one's to whom it was assigned last. One that was not, and that a member had when it joined last,
    /// is that one's to give up: a member of a cooperative protocol may still read it.
    fn arrivals<'m>(&self, moving: &'m Moving) -> Result<Vec<Arrival<'m>>, Refusal> {
        let read = moving.members.iter().map(|member| read(member, self.around, &self.machine.id));
        let mut arrivals = read.collect::<Result<Vec<_>, _>>()?;
        for arrival in &arrivals {
            let (group, metadata) = (&self.machine.id, metadata_of(arrival));
            check::check_hosted(self.around, group, &arrival.member.member, &metadata)
                .map_err(|refusal| refused(group, &refusal.text))?;
        }
        let mut owners: BTreeMap<PartitionId, &Arc<str>> = BTreeMap::new();
        for arrival in &mut arrivals {
            let member: &'m MovingMember = arrival.member;
            let id = &member.member;
            arrival.assigned.retain(|partition| *owners.entry(*partition).or_insert(id) == id);
        }
        // Who joined later knows better.
        arrivals.sort_by_key(|arrival| std::cmp::Reverse(arrival.said.generation));
        for arrival in &mut arrivals {
            let member: &'m MovingMember = arrival.member;
            let id = &member.member;
            let owned = std::mem::take(&mut arrival.leftover);
            let leftover = owned.into_iter().filter(|partition| !arrival.assigned.contains(partition));
            arrival.leftover =
                leftover.filter(|partition| *owners.entry(*partition).or_insert(id) == id).collect();
        }
        Ok(arrivals)
    }
}

fn read<'m>(
    member: &'m MovingMember,
    around: &Surroundings<'_>,
    group: &str,
) -> Result<Arrival<'m>, Refusal> {
    let said = member.protocols.first().and_then(|protocol| embedded::subscription(&protocol.metadata));
    let Some((said, given)) = said.zip(embedded::assignment(&member.assignment)) else {
        let why = format!("what member {} subscribes to or was assigned cannot be read", member.member);
        return Err(refused(group, &why));
    };
    check::check_record_key(group, &member.member).map_err(|refusal| refused(group, &refusal.text))?;
    if given.has_user_data {
        let why = format!(
            "the assignment of member {} has data of an assignor of its own, which a coordinator cannot make",
            member.member
        );
        return Err(refused(group, &why));
    }
    let topics = around.topics;
    let mut all = given.partitions.iter().chain(&said.owned);
    let unknown = all.find(|named| embedded::identified([*named], topics).is_empty());
    let unknown = unknown.map(|(name, index)| format!("{name}-{index}"));
    let assigned = embedded::identified(&given.partitions, topics);
    let leftover = embedded::identified(&said.owned, topics);
    Ok(Arrival { member, said, assigned, leftover, unknown })
}

fn metadata_of(arrival: &Arrival<'_>) -> MemberMetadata {
    let Arrival { member, said, .. } = arrival;
    MemberMetadata {
        instance: member.instance.clone(),
        rack: said.rack.clone(),
        client_id: member.client_id.to_string(),
        client_host: member.client_host.to_string(),
        topics: said.topics.iter().cloned().collect(),
        pattern: None,
        rebalance_timeout_ms: member.rebalance_timeout_ms,
        assignor: None,
        classic: Some(ClassicTerms {
            session_timeout_ms: member.session_timeout_ms,
            protocols: member.protocols.clone(),
        }),
    }
}

/// The refusal of who would make a group of the classic protocol one of KIP-848, and may not. Kafka has no code of its
/// own for it: there is no such group of KIP-848.
pub(in crate::group) fn refused(group: &str, why: &str) -> Refusal {
    let text = format!("group {group} is one of the classic protocol and stays one: {why}");
    Refusal::new(ErrorCode::GroupIdNotFound, text)
}

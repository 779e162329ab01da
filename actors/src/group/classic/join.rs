//! A member joins.

use std::sync::Arc;

use super::member::{Member, Terms};
use super::message::{Answer, JoinGroup, Ticket};
use super::notice::{Cause, Leaving, Notice, Why, bounded};
use super::round::Round;
use super::turn::Turn;
use super::{ClassicState, refusal};
use crate::error::{ErrorCode, Refusal};

/// From this version of JoinGroup, a dynamic member joins with an id that it was given before (KIP-394): one that gives
/// up waiting and comes again is the same member.
const ID_FIRST: i16 = 4;

/// A join refused, and the member's id as it is told then.
struct Refused {
    member: Arc<str>,
    refusal: Refusal,
}

impl Turn<'_> {
    pub(super) fn join(&mut self, ticket: Ticket, request: &JoinGroup) {
        if let Err(Refused { member, refusal }) = self.try_join(ticket, request) {
            self.answer(ticket, Answer::Join { member, result: Err(refusal) });
        }
    }

    fn try_join(&mut self, ticket: Ticket, request: &JoinGroup) -> Result<(), Refused> {
        let echo = |refusal| Refused { member: Arc::clone(&request.member), refusal };
        let settings = self.around.settings;
        settings.check_session_timeout(&self.machine.id, request.session_timeout_ms).map_err(echo)?;
        self.check_writes().map_err(echo)?;
        if self.machine.is_nothing() && !request.member.is_empty() {
            return Err(echo(refusal::unknown_member(&self.machine.id, &request.member)));
        }
        if !self.has_room_for(request) {
            self.machine.promised.remove(&request.member);
            self.remove_member(&request.member, Leaving::NoRoom, request.reason.as_deref());
            return Err(Refused { member: Arc::default(), refusal: self.full() });
        }
        self.machine.check_alive().map_err(echo)?;
        self.machine.check_protocols(request).map_err(echo)?;
        self.machine.check_size(request).map_err(echo)?;
        if request.member.is_empty() {
            self.join_new(ticket, request)
        } else if self.machine.promised.contains_key(&request.member) {
            self.join_promised(ticket, request).map_err(echo)
        } else {
            self.join_known(ticket, request).map_err(echo)
        }
    }

    /// Whether the member does not make the group larger than it may be. While members join again those count that
    /// have, so that the last ones of a group that is too large are out.
    fn has_room_for(&self, request: &JoinGroup) -> bool {
        let members = &self.machine.members;
        // Who comes back as an instance takes the place that it has.
        let holder = request.instance.as_ref().and_then(|instance| members.holder(instance));
        let place = if request.member.is_empty() { holder } else { Some(&request.member) };
        let place = place.and_then(|id| members.get(id));
        let most = self.around.settings.max_members;
        match self.machine.state {
            ClassicState::Empty | ClassicState::Dead => true,
            ClassicState::PreparingRebalance => {
                place.is_some_and(|member| member.joining.is_some()) || members.joining() < most
            }
            ClassicState::CompletingRebalance | ClassicState::Stable => {
                place.is_some() || members.len() < most
            }
        }
    }

    fn full(&self) -> Refusal {
        let text = format!(
            "group {} has as many members as it may have: {} (group.max.size)",
            self.machine.id, self.around.settings.max_members
        );
        Refusal::new(ErrorCode::GroupMaxSizeReached, text)
    }

    fn join_new(&mut self, ticket: Ticket, request: &JoinGroup) -> Result<(), Refused> {
        let id = Arc::clone(&request.new_member);
        if id.is_empty() || self.machine.members.contains(&id) || self.machine.promised.contains_key(&id) {
            let text =
                format!("group {}: the coordinator gave the id {id:?} twice; join again", self.machine.id);
            let refusal = Refusal::new(ErrorCode::UnknownServerError, text);
            return Err(Refused { member: Arc::default(), refusal });
        }
        if let Some(instance) = &request.instance {
            match self.machine.members.holder(instance).cloned() {
                Some(holder) => self.replace(ticket, request, &holder),
                None => self.add(ticket, request, id),
            }
        } else if request.version >= ID_FIRST {
            self.promise(&id, request);
            let text = format!("group {}: join again with the id {id}", self.machine.id);
            return Err(Refused { member: id, refusal: Refusal::new(ErrorCode::MemberIdRequired, text) });
        } else {
            self.add(ticket, request, id);
        }
        Ok(())
    }

    /// Gives an id. Until its session ends, a rebalance waits for who has it.
    fn promise(&mut self, id: &Arc<str>, request: &JoinGroup) {
        let promised = &mut self.machine.promised;
        if promised.len() >= self.around.settings.max_promised_ids
            && let Some((first, _)) = promised.iter().min_by_key(|(_, ends_ms)| **ends_ms)
        {
            let first = Arc::clone(first);
            promised.remove(&first);
        }
        let session_timeout_ms = u64::try_from(request.session_timeout_ms).unwrap_or_default();
        let ends_ms = self.now_ms().saturating_add(session_timeout_ms);
        self.machine.promised.insert(Arc::clone(id), ends_ms);
        self.machine.wake_by(ends_ms);
        self.tell(Notice::IdGiven { member: Arc::clone(id) });
    }

    fn join_promised(&mut self, ticket: Ticket, request: &JoinGroup) -> Result<(), Refusal> {
        if let Some(instance) = &request.instance {
            let text = format!(
                "group {}: {} joins as {instance:?}, but its id was given to a member without group.instance.id",
                self.machine.id, request.member
            );
            return Err(Refusal::new(ErrorCode::UnknownServerError, text));
        }
        self.add(ticket, request, Arc::clone(&request.member));
        Ok(())
    }

    pub(super) fn add(&mut self, ticket: Ticket, request: &JoinGroup, id: Arc<str>) {
        if let Some(Round::Initial { has_grown, .. }) = &mut self.machine.round {
            *has_grown = true;
        }
        if self.machine.members.is_empty() {
            self.machine.protocol_type = Some(Arc::clone(&request.protocol_type));
        }
        let ends_ms = self.now_ms().saturating_add(self.around.settings.new_member_join_timeout_ms);
        self.machine.promised.remove(&id);
        self.machine.members.insert(Member::new(Arc::clone(&id), request, ticket, ends_ms));
        self.machine.wake_by(ends_ms);
        self.machine.leader.get_or_insert_with(|| Arc::clone(&id));
        let reason = request.reason.as_deref();
        self.tell(Notice::Joined { member: Arc::clone(&id), reason: bounded(reason) });
        self.rebalance_or_complete(Why::member(Cause::Joined, &id, reason));
    }

    fn join_known(&mut self, ticket: Ticket, request: &JoinGroup) -> Result<(), Refusal> {
        let id = &request.member;
        self.machine.check_member(id, request.instance.as_deref())?;
        let member = self.machine.members.get(id);
        let is_changed = member.is_some_and(|member| member.terms.protocols != request.protocols);
        let leads = self.machine.is_leader(id);
        match self.machine.state {
            // Members do not come here without one of the states below.
            ClassicState::Empty | ClassicState::Dead => {
                return Err(refusal::unknown_member(&self.machine.id, id));
            }
            ClassicState::PreparingRebalance => {
                self.join_again(ticket, request);
                self.complete_if_joined();
            }
            // What the leader assigns by may have changed although what it says has not: it is not asked.
            ClassicState::Stable if leads => self.join_anew(ticket, request, Cause::LeaderRejoined),
            ClassicState::CompletingRebalance | ClassicState::Stable if is_changed => {
                self.join_anew(ticket, request, Cause::MetadataChanged);
            }
            // It has not heard the answer to its last join.
            ClassicState::CompletingRebalance | ClassicState::Stable => {
                let answer = Answer::Join { member: Arc::clone(id), result: Ok(self.joined(id)) };
                self.answer(ticket, answer);
            }
        }
        Ok(())
    }

    fn join_anew(&mut self, ticket: Ticket, request: &JoinGroup, cause: Cause) {
        self.join_again(ticket, request);
        self.rebalance(Why::member(cause, &request.member, request.reason.as_deref()));
    }

    fn join_again(&mut self, ticket: Ticket, request: &JoinGroup) {
        let id = &request.member;
        self.machine.members.set_terms(id, Terms::of(request));
        if let Some(before) = self.machine.members.set_joining(id, Some(ticket)) {
            self.refuse_join(before, id, refusal::superseded(&self.machine.id, id));
        }
    }
}

//! A static member comes back under another id (KIP-345): it takes the place of the one that it was.
//!
//! In a stable group nobody else notices, as long as the vote for the protocol stays what it is: even a changed
//! subscription is only seen when the next generation begins. The new id is written before it is told.

use std::sync::Arc;

use super::ClassicState;
use super::member::{Member, Terms};
use super::message::{Answer, JoinGroup, Ticket};
use super::notice::{Cause, Notice, Why};
use super::turn::Turn;
use super::write::Writing;
use super::{ClassicGroup, refusal};
use crate::error::Refusal;

/// From this version of JoinGroup, a leader that comes back is told that it leads and has nothing to assign (KIP-814).
/// Others are told the leader's old id, so that they do not find themselves leading.
const SKIPS_ASSIGNMENT: i16 = 9;

/// A replacement under way to the log.
#[derive(Debug)]
pub(super) struct Replacement {
    generation: i32,
    /// The member as it was, without its tickets.
    old: Member,
    new: Arc<str>,
    ticket: Ticket,
    old_leader: Option<Arc<str>>,
    skips_assignment: bool,
}

impl Turn<'_> {
    pub(super) fn replace(&mut self, ticket: Ticket, request: &JoinGroup, old: &str) {
        let new = &request.new_member;
        let Some(mut old) = self.machine.members.remove(old) else {
            return self.add(ticket, request, Arc::clone(new));
        };
        self.fence(&mut old);
        let old_leader = self.machine.leader.clone();
        self.machine.members.insert(Member {
            id: Arc::clone(new),
            client_id: Arc::clone(&request.client_id),
            client_host: Arc::clone(&request.client_host),
            terms: Terms::of(request),
            joining: Some(ticket),
            is_new: false,
            ..old.clone()
        });
        self.machine.rename(&old.id, new);
        self.touch(new);
        let instance = request.instance.clone().unwrap_or_default();
        self.tell(Notice::Replaced { instance, old: Arc::clone(&old.id), new: Arc::clone(new) });
        let why = Why::member(Cause::Replaced, new, request.reason.as_deref());
        let is_kept = self.machine.state == ClassicState::Stable
            && self.machine.members.vote() == self.machine.protocol
            && self.machine.metadata(None).fits();
        match self.machine.state {
            ClassicState::Stable if is_kept => {
                let generation = self.machine.generation;
                let skips_assignment = request.version >= SKIPS_ASSIGNMENT;
                let new = Arc::clone(new);
                let replacement = Replacement { generation, old, new, ticket, old_leader, skips_assignment };
                self.read_topics();
                let value = self.machine.metadata(None);
                self.write(Writing::Replaced(replacement), Some(value));
            }
            // The leader may be assigning to the old id.
            ClassicState::Stable | ClassicState::CompletingRebalance => self.rebalance(why),
            _ => self.complete_if_joined(),
        }
    }

    /// Tells whoever waits under the old id that it is not the instance any more.
    fn fence(&mut self, old: &mut Member) {
        let instance = old.instance.as_deref().unwrap_or_default();
        let refusal = refusal::fenced(&self.machine.id, instance, &old.id);
        if let Some(ticket) = old.joining.take() {
            self.refuse_join(ticket, &old.id, refusal.clone());
        }
        if let Some(ticket) = old.syncing.take() {
            self.answer(ticket, Answer::Sync(Err(refusal)));
        }
    }

    /// The new id is written. If the group rebalances by now, the member's join is one of that rebalance.
    pub(super) fn replaced(&mut self, replacement: &Replacement) {
        let Replacement { generation, new, ticket, old_leader, skips_assignment, .. } = replacement;
        let is_current = self.machine.state == ClassicState::Stable && self.machine.generation == *generation;
        if !is_current || !self.waits(replacement) {
            return;
        }
        self.machine.members.set_joining(new, None);
        let mut joined = self.joined(new);
        if *skips_assignment {
            joined.skip_assignment = self.machine.is_leader(new);
        } else {
            joined.leader = old_leader.clone().unwrap_or_default();
            joined.members.clear();
        }
        self.answer(*ticket, Answer::Join { member: Arc::clone(new), result: Ok(joined) });
        self.touch(new);
    }

    /// The new id could not be written: if the member still waits, it is again what it was.
    pub(super) fn not_replaced(&mut self, replacement: Replacement, refusal: Refusal) {
        if !self.waits(&replacement) {
            return;
        }
        let Replacement { old, new, ticket, .. } = replacement;
        self.refuse_join(ticket, "", refusal);
        self.machine.members.remove(&new);
        self.machine.rename(&new, &old.id);
        let id = Arc::clone(&old.id);
        self.machine.members.insert(old);
        self.read_topics();
        self.touch(&id);
    }

    fn waits(&self, replacement: &Replacement) -> bool {
        let member = self.machine.members.get(&replacement.new);
        member.is_some_and(|member| member.joining == Some(replacement.ticket))
    }
}

impl ClassicGroup {
    /// Calls a member by another id where the group speaks of it.
    fn rename(&mut self, old: &str, new: &Arc<str>) {
        if self.is_leader(old) {
            self.leader = Some(Arc::clone(new));
        }
        if self.unsynced.remove(old) {
            self.unsynced.insert(Arc::clone(new));
        }
    }
}

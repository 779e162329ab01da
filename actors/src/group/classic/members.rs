//! The members of a classic group, and what is counted of them.

use std::collections::BTreeMap;
use std::sync::Arc;

use bytes::Bytes;

use super::member::{Member, Terms};
use super::message::{Protocol, Ticket};
use super::tally::Tally;

#[derive(Debug, Default)]
pub(super) struct Members {
    by_id: BTreeMap<Arc<str>, Member>,
    /// Which member is which instance.
    instances: BTreeMap<Arc<str>, Arc<str>>,
    tally: Tally,
    /// Members whose join waits.
    joining: usize,
    /// What they add to the group's record at most, without assignments.
    bytes: usize,
}

impl Members {
    pub(super) fn get(&self, id: &str) -> Option<&Member> {
        self.by_id.get(id)
    }

    pub(super) fn contains(&self, id: &str) -> bool {
        self.by_id.contains_key(id)
    }

    pub(super) fn iter(&self) -> impl Iterator<Item = &Member> {
        self.by_id.values()
    }

    pub(super) fn len(&self) -> usize {
        self.by_id.len()
    }

    pub(super) fn is_empty(&self) -> bool {
        self.by_id.is_empty()
    }

    /// What they add to the group's record at most, without assignments.
    pub(super) fn bytes(&self) -> usize {
        self.bytes
    }

    /// Members whose join waits.
    pub(super) fn joining(&self) -> usize {
        self.joining
    }

    /// The member that is this instance.
    pub(super) fn holder(&self, instance: &str) -> Option<&Arc<str>> {
        self.instances.get(instance)
    }

    /// Whether there is a protocol among these that all members speak.
    pub(super) fn speak_one_of<'a>(&self, mut names: impl Iterator<Item = &'a str>) -> bool {
        names.any(|name| self.tally.is_common(name, self.len()))
    }

    /// The protocol they vote for.
    pub(super) fn vote(&self) -> Option<Arc<str>> {
        self.tally.elect(self.len(), self.iter().map(|member| &*member.terms.protocols))
    }

    /// The longest that one of them may take to join again.
    pub(super) fn rebalance_timeout_ms(&self) -> u64 {
        let longest = self.iter().map(|member| member.terms.rebalance_timeout_ms).max();
        longest.and_then(|ms| u64::try_from(ms).ok()).unwrap_or_default()
    }

    pub(super) fn insert(&mut self, member: Member) {
        self.remove(&Arc::clone(&member.id));
        if let Some(instance) = &member.instance {
            self.instances.insert(Arc::clone(instance), Arc::clone(&member.id));
        }
        self.tally.add(&member.terms.protocols);
        self.joining += usize::from(member.joining.is_some());
        self.bytes += member.bytes();
        self.by_id.insert(Arc::clone(&member.id), member);
    }

    pub(super) fn remove(&mut self, id: &str) -> Option<Member> {
        let member = self.by_id.remove(id)?;
        if let Some(instance) = &member.instance {
            self.instances.remove(instance);
        }
        self.tally.remove(&member.terms.protocols);
        self.joining -= usize::from(member.joining.is_some());
        self.bytes -= member.bytes();
        Some(member)
    }

    /// Lets a join wait, or none; the one that waited until now.
    pub(super) fn set_joining(&mut self, id: &str, ticket: Option<Ticket>) -> Option<Ticket> {
        let member = self.by_id.get_mut(id)?;
        let before = std::mem::replace(&mut member.joining, ticket);
        self.joining += usize::from(ticket.is_some());
        self.joining -= usize::from(before.is_some());
        before
    }

    /// Lets a sync wait, or none; the one that waited until now.
    pub(super) fn set_syncing(&mut self, id: &str, ticket: Option<Ticket>) -> Option<Ticket> {
        let member = self.by_id.get_mut(id)?;
        std::mem::replace(&mut member.syncing, ticket)
    }

    pub(super) fn set_terms(&mut self, id: &str, terms: Terms) {
        if let Some(member) = self.by_id.get_mut(id) {
            self.tally.remove(&member.terms.protocols);
            self.tally.add(&terms.protocols);
            self.bytes -= member.bytes();
            member.terms = terms;
            self.bytes += member.bytes();
        }
    }

    pub(super) fn set_assignment(&mut self, id: &str, assignment: Bytes) {
        if let Some(member) = self.by_id.get_mut(id) {
            member.assignment = assignment;
        }
    }

    /// It is in a generation.
    pub(super) fn set_settled(&mut self, id: &str) {
        if let Some(member) = self.by_id.get_mut(id) {
            member.is_new = false;
            member.epoch = None;
        }
    }

    /// It came from KIP-848 in this epoch, and can speak these protocols.
    pub(super) fn set_epoch(&mut self, id: &str, epoch: i32, protocols: Vec<Protocol>) {
        if let Some(member) = self.by_id.get_mut(id) {
            self.tally.remove(&member.terms.protocols);
            self.tally.add(&protocols);
            self.bytes -= member.bytes();
            member.terms.protocols = protocols;
            self.bytes += member.bytes();
            member.epoch = Some(epoch);
        }
    }

    /// Begins its session anew; when that ends.
    pub(super) fn touch(&mut self, id: &str, now_ms: u64) -> Option<u64> {
        let member = self.by_id.get_mut(id)?;
        member.ends_ms = now_ms.saturating_add(member.session_timeout_ms());
        Some(member.ends_ms)
    }
}

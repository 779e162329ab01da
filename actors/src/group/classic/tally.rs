//! Which protocols all members speak, and which of them they vote for.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use super::message::Protocol;

/// How many members speak a protocol.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(in crate::group) struct Tally(BTreeMap<Arc<str>, usize>);

impl Tally {
    pub(in crate::group) fn add(&mut self, protocols: &[Protocol]) {
        for name in names(protocols) {
            *self.0.entry(Arc::clone(name)).or_default() += 1;
        }
    }

    pub(in crate::group) fn remove(&mut self, protocols: &[Protocol]) {
        for name in names(protocols) {
            let Some(count) = self.0.get_mut(name) else { continue };
            *count -= 1;
            if *count == 0 {
                self.0.remove(name);
            }
        }
    }

    /// How many members speak it.
    pub(in crate::group) fn count(&self, name: &str) -> usize {
        self.0.get(name).copied().unwrap_or_default()
    }

    /// Whether all of so many members speak it.
    pub(super) fn is_common(&self, name: &str, members: usize) -> bool {
        self.count(name) == members
    }

    /// The protocol with most votes, of those that all speak: every member votes for the first in its list. Of as many
    /// votes, the first by name.
    pub(super) fn elect<'a>(
        &self,
        members: usize,
        ballots: impl Iterator<Item = &'a [Protocol]>,
    ) -> Option<Arc<str>> {
        let mut votes: BTreeMap<&Arc<str>, usize> = BTreeMap::new();
        for ballot in ballots {
            let vote = ballot.iter().map(|protocol| &protocol.name);
            if let Some(vote) = vote.into_iter().find(|name| self.is_common(name, members)) {
                *votes.entry(vote).or_default() += 1;
            }
        }
        let most = votes.values().max().copied()?;
        votes.into_iter().find(|(_, count)| *count == most).map(|(name, _)| Arc::clone(name))
    }
}

/// Each name once: a member that names a protocol twice is still one member that speaks it.
fn names(protocols: &[Protocol]) -> BTreeSet<&Arc<str>> {
    protocols.iter().map(|protocol| &protocol.name).collect()
}

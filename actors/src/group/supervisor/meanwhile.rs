//! What is heard of transactions while groups are being read: it may lie behind what is read.

use std::collections::{BTreeMap, BTreeSet};

use crate::group::modern::Group;
use crate::ids::ProducerId;
use crate::record::EndMarker;

/// What was heard since a load began, which has read everything from before. An entry a producer, however many transactions
/// it ends.
#[derive(Debug, Default)]
pub(super) struct Meanwhile {
    /// One marker of each producer.
    ended: BTreeMap<ProducerId, EndMarker>,
    /// Producers of which the log has to be asked: a marker of theirs may be there or not, or there were several.
    unknown: BTreeSet<ProducerId>,
}

impl Meanwhile {
    /// A producer's transaction ended.
    pub(super) fn ended(&mut self, marker: EndMarker) {
        // Which of several ended what is read of a group depends on how far that was read.
        if self.ended.insert(marker.producer_id, marker).is_some_and(|before| before != marker) {
            self.unknown.insert(marker.producer_id);
        }
    }

    /// Nobody knows whether a producer's transaction ended.
    pub(super) fn unknown(&mut self, producer: ProducerId) {
        self.unknown.insert(producer);
    }

    /// Tells a group that was read of it. False if it has to be read again instead.
    #[must_use]
    pub(super) fn tell(&self, group: &mut Group) -> bool {
        let producers: BTreeSet<_> = group.pending.producers().map(|of| of.id).collect();
        if !producers.is_disjoint(&self.unknown) {
            return false;
        }
        for marker in producers.iter().filter_map(|producer| self.ended.get(producer)) {
            group.end_transaction(marker);
        }
        true
    }
}

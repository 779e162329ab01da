//! How many producers all partitions of a node remember together.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

/// The producers of all tables of a node. Clones share the count.
///
/// Above the bound each table forgets one for each that comes: so many are remembered at most, and one more for each
/// partition and for each open transaction.
#[derive(Clone, Debug)]
pub struct NodeProducers(Arc<Count>);

#[derive(Debug)]
struct Count {
    most: usize,
    now: AtomicUsize,
}

impl NodeProducers {
    /// So many and no more.
    #[must_use]
    pub fn up_to(most: usize) -> Self {
        Self(Arc::new(Count { most, now: AtomicUsize::new(0) }))
    }

    /// How many are remembered.
    #[must_use]
    pub fn now(&self) -> usize {
        self.0.now.load(Ordering::Relaxed)
    }

    pub(super) fn is_over(&self) -> bool {
        self.now() > self.0.most
    }
}

impl Default for NodeProducers {
    fn default() -> Self {
        Self::up_to(200_000)
    }
}

/// Tables are equal if what they remember is, wherever it is counted.
impl PartialEq for NodeProducers {
    fn eq(&self, _: &Self) -> bool {
        true
    }
}

impl Eq for NodeProducers {}

/// What one table counts for; nothing once it is dropped.
#[derive(Debug, Default)]
pub(super) struct Counted {
    node: NodeProducers,
    count: usize,
}

impl Counted {
    pub(super) fn in_node(node: NodeProducers) -> Self {
        Self { node, count: 0 }
    }

    /// The table holds so many now. True if they are more than before.
    pub(super) fn has_grown_to(&mut self, count: usize) -> bool {
        let before = std::mem::replace(&mut self.count, count);
        match count.checked_sub(before) {
            Some(more) => self.node.0.now.fetch_add(more, Ordering::Relaxed),
            None => self.node.0.now.fetch_sub(before - count, Ordering::Relaxed),
        };
        count > before
    }
}

impl Clone for Counted {
    fn clone(&self) -> Self {
        let mut clone = Self::in_node(self.node.clone());
        clone.has_grown_to(self.count);
        clone
    }
}

impl PartialEq for Counted {
    fn eq(&self, _: &Self) -> bool {
        true
    }
}

impl Eq for Counted {}

impl Drop for Counted {
    fn drop(&mut self) {
        self.has_grown_to(0);
    }
}

//! What a coordinator knows of its transactional ids, and what it knew before each decision whose record is on its way to
//! the log. Pure.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use crate::transaction::state::Transaction;

/// The transactional ids of a coordinator.
#[derive(Debug, Default)]
pub(super) struct Known {
    transactions: BTreeMap<Arc<str>, Transaction>,
    /// Until when the open ones may take, in milliseconds since 1970.
    deadlines: BTreeSet<(i64, Arc<str>)>,
    /// Decisions that are not committed, by the number of their answer.
    undecided: BTreeMap<u64, Before>,
    /// The last such decision of each id.
    last: BTreeMap<Arc<str>, u64>,
}

/// What was known of an id before a decision.
#[derive(Debug)]
struct Before {
    id: Arc<str>,
    transaction: Option<Transaction>,
    /// Something else was said or decided of the id since then: to take the decision back would belie that.
    is_built_on: bool,
}

impl Known {
    /// What was read from the log.
    pub(super) fn new(transactions: BTreeMap<Arc<str>, Transaction>) -> Self {
        let ends =
            |(id, transaction): (&Arc<str>, &Transaction)| Some((transaction.ends_ms()?, Arc::clone(id)));
        let deadlines = transactions.iter().filter_map(ends).collect();
        Self { transactions, deadlines, ..Self::default() }
    }

    pub(super) fn get(&self, id: &str) -> Option<&Transaction> {
        self.transactions.get(id)
    }

    /// What is known of an id, for an answer that counts on it.
    pub(super) fn look(&mut self, id: &str) -> Option<&Transaction> {
        if let Some(before) = self.last.get(id).and_then(|number| self.undecided.get_mut(number)) {
            before.is_built_on = true;
        }
        self.transactions.get(id)
    }

    pub(super) fn iter(&self) -> impl Iterator<Item = (&Arc<str>, &Transaction)> {
        self.transactions.iter()
    }

    pub(super) fn len(&self) -> usize {
        self.transactions.len()
    }

    /// How many transactions are open.
    pub(super) fn open(&self) -> usize {
        self.deadlines.len()
    }

    /// What an id is from now on, by the decision of this number; forgotten if nothing.
    pub(super) fn decide(&mut self, number: u64, id: &Arc<str>, next: Option<Transaction>) {
        let _built_on = self.look(id);
        let transaction = self.set(id, next);
        self.undecided.insert(number, Before { id: Arc::clone(id), transaction, is_built_on: false });
        self.last.insert(Arc::clone(id), number);
    }

    fn set(&mut self, id: &Arc<str>, next: Option<Transaction>) -> Option<Transaction> {
        let ends_ms = next.as_ref().and_then(Transaction::ends_ms);
        let before = match next {
            Some(next) => self.transactions.insert(Arc::clone(id), next),
            None => self.transactions.remove(id),
        };
        if let Some(ends_ms) = before.as_ref().and_then(Transaction::ends_ms) {
            self.deadlines.remove(&(ends_ms, Arc::clone(id)));
        }
        self.deadlines.extend(ends_ms.map(|ends_ms| (ends_ms, Arc::clone(id))));
        before
    }

    fn settled(&mut self, number: u64) -> Option<Before> {
        let before = self.undecided.remove(&number)?;
        if self.last.get(&before.id) == Some(&number) {
            self.last.remove(&before.id);
        }
        Some(before)
    }

    /// A decision is committed.
    pub(super) fn committed(&mut self, number: u64) {
        let _before = self.settled(number);
    }

    /// A decision is not in the log, and will not be: its id is what it was before. `None` where something was built on it
    /// or it is not known, and nothing is changed.
    pub(super) fn take_back(&mut self, number: u64) -> Option<Arc<str>> {
        if self.undecided.get(&number).is_none_or(|before| before.is_built_on) {
            return None;
        }
        let Before { id, transaction, .. } = self.settled(number)?;
        self.set(&id, transaction);
        Some(id)
    }

    /// The aborts of transactions that have been open for too long, of at most so many.
    pub(super) fn overdue(&self, now_ms: i64, most: usize) -> Vec<(Arc<str>, Transaction)> {
        let due = self.deadlines.iter().take_while(|(ends_ms, _)| *ends_ms <= now_ms);
        let aborts = due.filter_map(|(_, id)| Some((Arc::clone(id), self.get(id)?.time_out(now_ms)?)));
        aborts.take(most).collect()
    }

    /// Ids of which nothing was heard for so long that they are forgotten, at most so many.
    pub(super) fn expired(&self, now_ms: i64, expiration_ms: i64, most: usize) -> Vec<Arc<str>> {
        let expired = self.iter().filter(|(_, transaction)| transaction.is_expired(now_ms, expiration_ms));
        expired.map(|(id, _)| Arc::clone(id)).take(most).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ids::ProducerId;
    use crate::transaction::state::{Beginning, Decided, begin_new};

    fn begun() -> Transaction {
        let beginning = Beginning { timeout_ms: 1_000, has: None };
        let Decided::Write(begun, _) = begin_new(&beginning, Some(ProducerId(1)), 0) else { panic!() };
        *begun
    }

    fn open(from: &Transaction, now_ms: i64, index: i32) -> Transaction {
        let added = from.add(from.producer(), &[("t".into(), index)], 2, now_ms).unwrap();
        let Decided::Write(open, _) = added else { panic!() };
        *open
    }

    #[test]
    fn a_decision_on_which_nothing_was_built_is_taken_back() {
        let (mut known, id) = (Known::default(), Arc::from("copy"));
        known.decide(0, &id, Some(begun()));
        known.committed(0);
        known.decide(1, &id, Some(open(&begun(), 5, 0)));
        assert_eq!((known.open(), known.overdue(2_000, 9).len()), (1, 1));
        assert_eq!(known.take_back(1), Some(Arc::clone(&id)));
        assert_eq!((known.get("copy"), known.open()), (Some(&begun()), 0));
        assert_eq!(known.take_back(1), None);
    }

    #[test]
    fn a_decision_that_something_was_said_of_or_decided_on_is_not_taken_back() {
        let (mut known, id) = (Known::default(), Arc::from("copy"));
        let first = open(&begun(), 5, 0);
        known.decide(0, &id, Some(first.clone()));
        known.look("copy");
        assert_eq!(known.take_back(0), None);
        known.committed(0);
        known.decide(1, &id, Some(open(&first, 5, 1)));
        known.decide(2, &id, Some(open(&open(&first, 5, 1), 5, 2)));
        assert_eq!(known.take_back(1), None, "the second decision holds what the first decided");
        assert_eq!(known.take_back(2), Some(id));
        assert_eq!(known.get("copy").unwrap().partitions.len(), 2);
    }

    #[test]
    fn the_one_that_began_first_is_overdue_first() {
        let mut known = Known::default();
        for (number, (id, now_ms)) in (0_u64..).zip([("b", 20), ("a", 30), ("c", 10)]) {
            known.decide(number, &Arc::from(id), Some(open(&begun(), now_ms, 0)));
        }
        let overdue = |now_ms, most| {
            let aborts = known.overdue(now_ms, most);
            aborts.into_iter().map(|(id, _)| id.to_string()).collect::<Vec<_>>()
        };
        assert_eq!(overdue(1_009, 9), Vec::<String>::new());
        assert_eq!(overdue(1_020, 9), ["c", "b"]);
        assert_eq!(overdue(9_000, 1), ["c"]);
    }
}

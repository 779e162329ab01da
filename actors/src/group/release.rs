//! Answers that wait for their records.
//!
//! A decision is taken at once and seen by the next one; its answer is given when its records are committed and all
//! earlier answers are given. So nobody hears of a state that a later coordinator might not know.

use std::collections::VecDeque;

use crate::error::Refusal;

/// Gives an answer: the one decided, or this refusal instead.
pub(crate) type Release = Box<dyn FnOnce(Option<Refusal>) + Send>;

/// What an answer waits for, besides those before it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Waits {
    /// For nothing.
    No,
    /// For its records.
    ForRecords,
    /// For the owner's lease to be confirmed.
    ForLease,
}

/// The answers of a group, in the order of their decisions.
#[derive(Default)]
pub(crate) struct Answers {
    waiting: VecDeque<Waiting>,
    next: u64,
}

struct Waiting {
    number: u64,
    waits: Waits,
    release: Release,
}

impl Answers {
    /// How many wait.
    pub(crate) fn waiting(&self) -> usize {
        self.waiting.len()
    }

    /// Takes an answer; gives it at once if nothing is before it. The number is for [`Self::settle`].
    pub(crate) fn push(&mut self, waits: Waits, release: Release) -> u64 {
        let number = self.next;
        self.next += 1;
        self.waiting.push_back(Waiting { number, waits, release });
        self.give();
        number
    }

    /// What an answer waited for has come, or not. A refusal of records is a refusal of all answers, as every one was
    /// decided on them or on what they were decided on; then it is returned.
    pub(crate) fn settle(&mut self, number: u64, result: Result<(), Refusal>) -> Option<Refusal> {
        let place = self.waiting.iter().position(|waiting| waiting.number == number)?;
        match result {
            Ok(()) => {
                if let Some(waiting) = self.waiting.get_mut(place) {
                    waiting.waits = Waits::No;
                }
            }
            Err(refusal) => {
                let waiting = self.waiting.remove(place)?;
                (waiting.release)(Some(refusal.clone()));
                if waiting.waits == Waits::ForRecords {
                    for waiting in self.waiting.drain(..) {
                        (waiting.release)(Some(refusal.clone()));
                    }
                    return Some(refusal);
                }
            }
        }
        self.give();
        None
    }

    /// Refuses one answer alone: nothing was decided on what it waited for.
    pub(crate) fn refuse(&mut self, number: u64, refusal: Refusal) {
        let Some(place) = self.waiting.iter().position(|waiting| waiting.number == number) else { return };
        if let Some(waiting) = self.waiting.remove(place) {
            (waiting.release)(Some(refusal));
        }
        self.give();
    }

    /// Whether all are given.
    pub(crate) fn is_empty(&self) -> bool {
        self.waiting.is_empty()
    }

    fn give(&mut self) {
        while self.waiting.front().is_some_and(|first| first.waits == Waits::No) {
            if let Some(first) = self.waiting.pop_front() {
                (first.release)(None);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::{Arc, Mutex};

    use super::*;
    use crate::error::ErrorCode;

    #[derive(Clone, Default)]
    struct Heard(Arc<Mutex<Vec<(u32, bool)>>>);

    impl Heard {
        fn of(&self, name: u32) -> Release {
            let heard = self.clone();
            Box::new(move |refused| heard.0.lock().unwrap().push((name, refused.is_none())))
        }

        fn all(&self) -> Vec<(u32, bool)> {
            self.0.lock().unwrap().clone()
        }
    }

    fn refusal() -> Refusal {
        Refusal::new(ErrorCode::NotLeaderOrFollower, "led elsewhere")
    }

    #[test]
    fn answers_come_in_the_order_of_their_decisions() {
        let (mut answers, heard) = (Answers::default(), Heard::default());
        answers.push(Waits::No, heard.of(0));
        assert_eq!(heard.all(), [(0, true)]);
        let first = answers.push(Waits::ForRecords, heard.of(1));
        let second = answers.push(Waits::ForRecords, heard.of(2));
        answers.push(Waits::No, heard.of(3));
        assert_eq!(answers.settle(second, Ok(())), None);
        assert_eq!(heard.all().len(), 1);
        answers.settle(first, Ok(()));
        assert_eq!(heard.all(), [(0, true), (1, true), (2, true), (3, true)]);
        assert!(answers.is_empty());
    }

    #[test]
    fn refused_records_refuse_everything_that_waits() {
        let (mut answers, heard) = (Answers::default(), Heard::default());
        answers.push(Waits::ForRecords, heard.of(1));
        let second = answers.push(Waits::ForRecords, heard.of(2));
        answers.push(Waits::No, heard.of(3));
        assert_eq!(answers.settle(second, Err(refusal())), Some(refusal()));
        assert_eq!(heard.all(), [(2, false), (1, false), (3, false)]);
        assert!(answers.is_empty());
    }

    #[test]
    fn a_lease_that_is_not_confirmed_refuses_one_answer() {
        let (mut answers, heard) = (Answers::default(), Heard::default());
        let first = answers.push(Waits::ForLease, heard.of(1));
        answers.push(Waits::No, heard.of(2));
        assert_eq!(answers.settle(first, Err(refusal())), None);
        assert_eq!(heard.all(), [(1, false), (2, true)]);
    }
}

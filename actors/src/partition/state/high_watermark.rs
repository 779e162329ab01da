//! The high watermark: what is below it is on the disk of every in-sync member, and readers may see it.
//!
//! It never goes back. A new leader starts with what it had persisted or heard and *confirms* it once every member
//! counted has reported in its epoch (rule 6): until then the true one may be greater.

use crate::ids::Offset;

/// The high watermark as one replica knows it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct HighWatermark {
    value: Offset,
    confirmed: bool,
}

impl HighWatermark {
    /// A value persisted or heard, not confirmed.
    #[must_use]
    pub const fn heard(value: Offset) -> Self {
        Self { value, confirmed: false }
    }

    /// The value.
    #[must_use]
    pub const fn value(self) -> Offset {
        self.value
    }

    /// Whether no greater value was ever told to a reader.
    #[must_use]
    pub const fn is_confirmed(self) -> bool {
        self.confirmed
    }

    /// A new epoch begins: the value stays, the confirmation ends.
    pub fn reopen(&mut self) {
        self.confirmed = false;
    }

    /// This replica leads from `epoch_start` on, where its log ends. A member of the set has everything that is committed:
    /// where that ends is known at once if the value has come so far.
    pub fn opens_at(&mut self, epoch_start: Offset) {
        self.confirmed |= self.value == epoch_start;
    }

    /// The leader's value came with its data; it counts up to the end of the own log. True if it moved.
    pub fn hear(&mut self, leaders: Offset, own_end: Offset) -> bool {
        self.raise(leaders.min(own_end))
    }

    /// The durable ends of all members counted, `None` where one has not reported in this epoch. True if anything
    /// moved: the value or the confirmation.
    pub fn count(&mut self, durable_ends: impl IntoIterator<Item = Option<Offset>>) -> bool {
        let mut least: Option<Offset> = None;
        for end in durable_ends {
            let Some(end) = end else { return false };
            least = Some(least.map_or(end, |least| least.min(end)));
        }
        let Some(least) = least else { return false };
        let newly_confirmed = !self.confirmed;
        self.confirmed = true;
        self.raise(least) || newly_confirmed
    }

    /// The log was cut below the value: by an operator's unclean election, or to heal a damaged replica that is out
    /// of the in-sync set and serves nobody.
    pub fn cut(&mut self, end: Offset) {
        self.value = self.value.min(end);
    }

    /// The log begins at `start` now.
    pub fn starts_at(&mut self, start: Offset) {
        self.raise(start);
    }

    fn raise(&mut self, to: Offset) -> bool {
        let moved = to > self.value;
        if moved {
            self.value = to;
        }
        moved
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn it_is_the_least_durable_end_and_confirmed_when_all_have_reported() {
        let mut mark = HighWatermark::heard(Offset(3));
        assert!(!mark.count([Some(Offset(9)), None]));
        assert!(!mark.is_confirmed());
        assert!(mark.count([Some(Offset(9)), Some(Offset(7))]));
        assert_eq!((mark.value(), mark.is_confirmed()), (Offset(7), true));
    }

    #[test]
    fn nobody_counted_moves_nothing() {
        let mut mark = HighWatermark::heard(Offset(3));
        assert!(!mark.count([]));
    }

    proptest! {
        #[test]
        fn it_never_goes_back(steps in proptest::collection::vec((0_i64..50, 0_i64..50, any::<bool>()), 1..40)) {
            let mut mark = HighWatermark::heard(Offset(5));
            for (one, other, counts) in steps {
                let before = mark.value();
                if counts {
                    mark.count([Some(Offset(one)), Some(Offset(other))]);
                } else {
                    mark.hear(Offset(one), Offset(other));
                }
                prop_assert!(mark.value() >= before);
            }
        }
    }
}

//! The promises by name. A broken one panics in debug builds; in release it is told as an event, and a replica that
//! broke one of the first four resigns.

use std::fmt;

/// What always holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Invariant {
    /// What was acknowledged is on disk (promise 1).
    AcknowledgedIsOnDisk,
    /// Nothing acknowledged is lost or reordered (promise 2).
    NothingAcknowledgedIsLost,
    /// A leader is fenced by its epoch (promise 3).
    LeaderIsFenced,
    /// A corrupt byte is never served (promise 4).
    CorruptIsNeverServed,
    /// Every request gets exactly one answer (promise 5).
    OneAnswer,
    /// No transaction hangs (promise 6).
    NoTransactionHangs,
    /// Cost does not grow with what is stored (promise 7).
    CostIsFlat,
    /// No one gets in where they do not belong (promise 8).
    NoOneGetsIn,
    /// The same seed gives the same history (promise 9).
    SeedDecides,
}

impl Invariant {
    /// All of them, in the order of the promises.
    pub const ALL: [Self; 9] = [
        Self::AcknowledgedIsOnDisk,
        Self::NothingAcknowledgedIsLost,
        Self::LeaderIsFenced,
        Self::CorruptIsNeverServed,
        Self::OneAnswer,
        Self::NoTransactionHangs,
        Self::CostIsFlat,
        Self::NoOneGetsIn,
        Self::SeedDecides,
    ];

    /// Its label in metrics and logs.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::AcknowledgedIsOnDisk => "acknowledged_is_on_disk",
            Self::NothingAcknowledgedIsLost => "nothing_acknowledged_is_lost",
            Self::LeaderIsFenced => "leader_is_fenced",
            Self::CorruptIsNeverServed => "corrupt_is_never_served",
            Self::OneAnswer => "one_answer",
            Self::NoTransactionHangs => "no_transaction_hangs",
            Self::CostIsFlat => "cost_is_flat",
            Self::NoOneGetsIn => "no_one_gets_in",
            Self::SeedDecides => "seed_decides",
        }
    }

    /// What it means in a release build that it was found broken. In a debug build the process panics before.
    #[must_use]
    pub const fn consequence(self) -> Consequence {
        match self {
            Self::AcknowledgedIsOnDisk
            | Self::NothingAcknowledgedIsLost
            | Self::LeaderIsFenced
            | Self::CorruptIsNeverServed => Consequence::Resign,
            Self::OneAnswer
            | Self::NoTransactionHangs
            | Self::CostIsFlat
            | Self::NoOneGetsIn
            | Self::SeedDecides => Consequence::Count,
        }
    }
}

/// What a broken promise means for who broke it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Consequence {
    /// It resigns, goes offline and says why: what it would do next may cost acknowledged records.
    Resign,
    /// It is counted and told; everything goes on.
    Count,
}

/// A promise that was found broken: a defect of this program.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Broken {
    /// Which.
    pub invariant: Invariant,
    /// What was seen.
    pub found: String,
}

impl Broken {
    /// A promise broken, and what was seen of it.
    #[must_use]
    pub fn new(invariant: Invariant, found: impl Into<String>) -> Self {
        Self { invariant, found: found.into() }
    }
}

impl fmt::Display for Invariant {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(self.name())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_broken_promise_of_safety_ends_a_leadership() {
        let ends = |invariant: &Invariant| invariant.consequence() == Consequence::Resign;
        let of_safety: Vec<_> = Invariant::ALL.into_iter().filter(ends).collect();
        assert_eq!(of_safety, Invariant::ALL[..4]);
    }
}

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

    /// Whether a replica that breaks it must resign.
    #[must_use]
    pub const fn is_safety(self) -> bool {
        matches!(
            self,
            Self::AcknowledgedIsOnDisk
                | Self::NothingAcknowledgedIsLost
                | Self::LeaderIsFenced
                | Self::CorruptIsNeverServed
        )
    }
}

impl fmt::Display for Invariant {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(self.name())
    }
}

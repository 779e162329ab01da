//! The states of a classic group.

use std::fmt;

/// Where a group stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum ClassicState {
    /// No members; offsets may be there.
    Empty,
    /// Members are to join again, and wait for each other.
    PreparingRebalance,
    /// All have joined; the leader is to assign.
    CompletingRebalance,
    /// All have their assignment, or can ask for it.
    Stable,
    /// It is being removed, or coordinated elsewhere.
    Dead,
}

impl ClassicState {
    /// Its name, as Kafka prints it.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Empty => "Empty",
            Self::PreparingRebalance => "PreparingRebalance",
            Self::CompletingRebalance => "CompletingRebalance",
            Self::Stable => "Stable",
            Self::Dead => "Dead",
        }
    }

    /// Whether a rebalance can begin.
    pub(super) const fn can_rebalance(self) -> bool {
        matches!(self, Self::Empty | Self::CompletingRebalance | Self::Stable)
    }
}

impl fmt::Display for ClassicState {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(self.name())
    }
}

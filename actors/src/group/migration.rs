//! Which groups may go over to the other protocol while they have members (`group.consumer.migration.policy`).

/// What of the two ways is open.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum MigrationPolicy {
    /// Neither.
    Disabled,
    /// From the classic protocol to KIP-848: when a member of that joins.
    Upgrade,
    /// From KIP-848 to the classic protocol: when the last member of KIP-848 leaves.
    Downgrade,
    /// Both, as in Kafka by default.
    #[default]
    Bidirectional,
}

impl MigrationPolicy {
    /// All of them.
    pub const ALL: [Self; 4] = [Self::Disabled, Self::Upgrade, Self::Downgrade, Self::Bidirectional];

    /// Its name, as Kafka has it.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Disabled => "disabled",
            Self::Upgrade => "upgrade",
            Self::Downgrade => "downgrade",
            Self::Bidirectional => "bidirectional",
        }
    }

    /// The policy of this name, in any case of letters.
    #[must_use]
    pub fn named(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|policy| policy.name().eq_ignore_ascii_case(name))
    }

    /// Whether groups of the classic protocol may go over to KIP-848.
    #[must_use]
    pub const fn upgrades(self) -> bool {
        matches!(self, Self::Upgrade | Self::Bidirectional)
    }

    /// Whether groups of KIP-848 may go over to the classic protocol.
    #[must_use]
    pub const fn downgrades(self) -> bool {
        matches!(self, Self::Downgrade | Self::Bidirectional)
    }
}

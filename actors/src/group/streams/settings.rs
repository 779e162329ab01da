//! The settings of groups of applications of streams, by Kafka's names.

/// How a node coordinates applications of streams.
///
/// A first deal does not wait for more members (Kafka's `group.streams.initial.rebalance.delay.ms` is as 0): a task that
/// nobody has state of costs nothing to move as long as it has processed little, one of which a later member has the state
/// goes there at once as far as that is even, and a single process begins without a pause.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StreamsGroupSettings {
    /// `group.streams.session.timeout.ms`: a member not heard of for so long is out. Kafka waits 45 s, because its members
    /// may be silent while users' code runs; here heartbeats depend on nothing that users' code does.
    pub session_timeout_ms: u64,
    /// `group.streams.heartbeat.interval.ms`: what members are told.
    pub heartbeat_interval_ms: u32,
    /// The interval told to a member that waits for a task another still has to give up, in milliseconds.
    pub waiting_interval_ms: u32,
    /// What a member that names no rebalance timeout has to give tasks up, in milliseconds.
    pub rebalance_timeout_ms: u32,
    /// `group.streams.max.size`: members of a group.
    pub max_members: usize,
}

impl Default for StreamsGroupSettings {
    fn default() -> Self {
        Self {
            session_timeout_ms: 10_000,
            heartbeat_interval_ms: 1_000,
            waiting_interval_ms: 100,
            rebalance_timeout_ms: 60_000,
            max_members: 1_000,
        }
    }
}

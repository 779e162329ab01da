//! The settings of classic groups, by Kafka's names. To be a field of `GroupSettings`.

use crate::error::{ErrorCode, Refusal};

/// How a node coordinates groups of the classic protocol.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ClassicSettings {
    /// `group.initial.rebalance.delay.ms`: how long a group's first generation waits for more members after each one
    /// that comes, at most for the rebalance timeout.
    pub initial_rebalance_delay_ms: u64,
    /// `group.min.session.timeout.ms`.
    pub min_session_timeout_ms: i32,
    /// `group.max.session.timeout.ms`.
    pub max_session_timeout_ms: i32,
    /// `group.max.size`: members of a group.
    pub max_members: usize,
    /// How long a member that never was in a generation may wait for one. Kafka has no setting for it: it cannot
    /// heartbeat yet, and who gave up and came again as another would be waited for without end.
    pub new_member_join_timeout_ms: u64,
    /// Ids given to members that have not joined with them yet; of more, the one that ends first is forgotten.
    pub max_promised_ids: usize,
    /// Records of one group that may wait to be committed; while there are as many, nothing is begun.
    pub max_writes: usize,
}

impl ClassicSettings {
    /// Whether a member may be silent for so long.
    pub fn check_session_timeout(&self, group: &str, session_timeout_ms: i32) -> Result<(), Refusal> {
        let (least, most) = (self.min_session_timeout_ms, self.max_session_timeout_ms);
        if (least..=most).contains(&session_timeout_ms) {
            return Ok(());
        }
        let text = format!(
            "group {group}: a session timeout of {session_timeout_ms} ms; it has to be between {least} \
             (group.min.session.timeout.ms) and {most} (group.max.session.timeout.ms)"
        );
        Err(Refusal::new(ErrorCode::InvalidSessionTimeout, text))
    }
}

impl Default for ClassicSettings {
    fn default() -> Self {
        Self {
            initial_rebalance_delay_ms: 3_000,
            min_session_timeout_ms: 6_000,
            max_session_timeout_ms: 1_800_000,
            max_members: 10_000,
            new_member_join_timeout_ms: 300_000,
            max_promised_ids: 10_000,
            max_writes: 1_000,
        }
    }
}

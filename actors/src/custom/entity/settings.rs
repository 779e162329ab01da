//! The settings of entities.

use std::time::Duration;

/// The least that `entity.dedupe.ms` may be: for so long a request may be sent again wherever it is applied.
pub const DEDUPE_LEAST: Duration = Duration::from_secs(60);

/// How the entities of one partition are kept.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct EntitySettings {
    /// `entity.dedupe.ms`: how long a request is remembered with its answer.
    pub dedupe_ms: i64,
    /// Bytes of the requests remembered by one partition; what would change an entity is refused beyond.
    pub dedupe_max_bytes: usize,
    /// `entity.idle.ms`: how long an entity that nobody asks stays in memory.
    pub idle_ms: i64,
    /// Entities of one partition in memory; beyond, those that nobody asked for longest are put to rest.
    pub live_max: usize,
    /// Bytes of the records of one turn, its state included.
    pub turn_max_bytes: usize,
    /// Bytes of turns that share one batch.
    pub batch_bytes: usize,
    /// Events after which a state is written whole.
    pub snapshot_events: usize,
    /// Bytes of one partition that wait for their entity or for the log; more are refused.
    pub waiting_max_bytes: usize,
    /// Bytes of the messages to other entities of one partition that are not delivered; asks whose turns would send more
    /// are refused, and at twice as much the turns of messages and timers, too.
    pub outbox_max_bytes: usize,
    /// Bytes of the records of one partition that are not in their topics yet; as with messages, asks whose turns would
    /// publish more are refused, and at twice as much the turns of messages and timers, too.
    pub publications_max_bytes: usize,
    /// Bytes of the timers of one partition; turns that would set more are refused.
    pub timers_max_bytes: usize,
    /// How often a message may panic its handler before the policy of its type decides.
    pub panics_max: u32,
}

impl Default for EntitySettings {
    fn default() -> Self {
        Self {
            dedupe_ms: 600_000,
            dedupe_max_bytes: 64 << 20,
            idle_ms: 60_000,
            live_max: 10_000,
            turn_max_bytes: 1_000_000,
            batch_bytes: 512 << 10,
            snapshot_events: 100,
            waiting_max_bytes: 32 << 20,
            outbox_max_bytes: 16 << 20,
            publications_max_bytes: 16 << 20,
            timers_max_bytes: 16 << 20,
            panics_max: 3,
        }
    }
}

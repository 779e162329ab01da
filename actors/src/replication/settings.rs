//! Bounds of fetch sessions.

use std::time::Duration;

/// How much a fetch session carries, and how fast. The same settings serve both sides; the smaller window of the two
/// counts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct FetchSettings {
    /// Bytes of one session sent and not taken in by the follower's replicas. Costs that much memory at the follower for
    /// each session whose replicas stand still.
    pub window_bytes: u32,
    /// The same for one partition of it: a replica that stands still holds up no other.
    pub partition_window_bytes: u32,
    /// Bytes of batches in one frame; a frame may be longer by one batch.
    pub frame_bytes: usize,
    /// Bytes read for one partition at once; one batch is whole even if larger.
    pub read_bytes: usize,
    /// A partition whose follower lacks more than about these bytes is caught up at a limited rate. As large as what the
    /// tail cache holds of one log.
    pub behind_bytes: usize,
    /// Bytes read in one [`FetchSettings::catch_up_tick`] for all such partitions of a session.
    pub catch_up_bytes: usize,
    /// See [`FetchSettings::catch_up_bytes`].
    pub catch_up_tick: Duration,
    /// How long a new high watermark or log start waits for batches to travel with.
    pub news_delay: Duration,
    /// How long opening a session may take.
    pub open_timeout: Duration,
    /// A session that nobody has used for so long is closed.
    pub idle_close: Duration,
    /// Pause after the first failed opening of a session; it doubles with each.
    pub backoff: Duration,
    /// Longest pause. Short, because a leader that is back is waited for; the peer's own dialling has pauses too.
    pub longest_backoff: Duration,
}

impl Default for FetchSettings {
    fn default() -> Self {
        Self {
            window_bytes: 16 << 20,
            partition_window_bytes: 4 << 20,
            frame_bytes: 2 << 20,
            read_bytes: 1 << 20,
            behind_bytes: 8 << 20,
            catch_up_bytes: 4 << 20,
            catch_up_tick: Duration::from_millis(10),
            news_delay: Duration::from_millis(5),
            open_timeout: Duration::from_secs(2),
            idle_close: Duration::from_secs(30),
            backoff: Duration::from_millis(40),
            longest_backoff: Duration::from_millis(250),
        }
    }
}

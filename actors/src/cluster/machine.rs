//! What the quorum drives: entries in, outcomes out, both opaque bytes to it.

/// The state that the quorum's log builds. Deterministic: the same entries give the same state and outcomes everywhere.
pub trait Machine: Send {
    /// Applies the entry at `index` of the log; its outcome goes to whoever proposed it.
    fn apply(&mut self, index: u64, entry: &[u8]) -> Vec<u8>;

    /// The state as bytes, for a node that is too far behind and for cutting the log.
    fn snapshot(&self) -> Vec<u8>;

    /// Takes over a state that [`Machine::snapshot`] gave after the entry at `index`; an error leaves the state as it was.
    fn restore(&mut self, index: u64, snapshot: &[u8]) -> Result<(), String>;
}

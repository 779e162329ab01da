//! Records that come after their windows have closed.

use std::sync::Arc;

use super::super::builder::Produced;
use super::super::event::{Data, Event};
use super::super::operator::Outcome;
use super::super::scope::{Outgoing, Scope, StreamError};
use super::Window;
use crate::record::Header;

/// Counts what is late, and sends it aside where that is asked.
pub(crate) struct Late<K, V>(pub(crate) Option<Arc<Produced<K, V>>>);

impl<K: Data, V: Data> Late<K, V> {
    /// A record is too late for `missed` of its windows, the last of which is this.
    pub(crate) fn note(
        &self,
        event: &Event<K, V>,
        window: Window,
        missed: (i64, i64),
        now_ms: i64,
        scope: &mut Scope,
    ) -> Outcome {
        scope.counts.late += 1;
        let Some(produced) = &self.0 else { return Ok(()) };
        let headers = [
            ("late.reason", "its window has closed".to_owned()),
            ("late.window.start.ms", window.start_ms.to_string()),
            ("late.window.end.ms", window.end_ms.to_string()),
            ("late.windows", format!("{} of {}", missed.0, missed.1)),
            ("late.stream.time.ms", now_ms.to_string()),
        ];
        let headers = headers.into_iter().map(|(name, value)| Header::new(name, value));
        let outgoing = Outgoing {
            topic: Arc::clone(&produced.topic),
            partition: None,
            key: produced.key.encode(&event.key)?,
            value: produced.value.encode(&event.value)?,
            timestamp_ms: event.timestamp_ms,
            headers: scope.origin.headers.iter().cloned().chain(headers).collect(),
        };
        scope.sent.push(outgoing);
        Ok(())
    }
}

/// Of a record whose windows cannot be written.
pub(crate) fn no_window(timestamp_ms: i64) -> StreamError {
    StreamError::Failed(format!(
        "a record of the time {timestamp_ms} ms has a window whose bounds are no numbers of 64 bits; give it another time"
    ))
}

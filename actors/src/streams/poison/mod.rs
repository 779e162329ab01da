//! Records that cannot be processed: what an application does with them.
//!
//! A record is poisoned if its bytes are not of the form that is read, or if an operator fails or panics over it. Nothing of it
//! counts then: where it had changed nothing yet, which is so of all that cannot be read, it is left out in place; where it had,
//! the transaction is aborted and done again without it, so that what follows a failure is as right as without one, and a record
//! that is processed pays nothing for it. (A journal of each record's changes, to take them back, would cost every record some
//! per cent, and could not reach what operators hold in memory.) So a poisoned record that had changed something costs the work
//! of its transaction a second time. Where operators hold back what they make of records, a failure may be one of another
//! record: there the transaction is first done again with each record's sent after it, by which it shows whose it is. What fails
//! as time passes is none of a record: the task fails, whatever the policy.
//!
//! Where records may be left out, a table's topic is not the table's changelog: see [`super::StreamBuilder::on_poison`].

use std::sync::Arc;

use bytes::Bytes;

use super::operator::RawRecord;
use super::scope::{Outgoing, StreamError};
use crate::record::Header;

/// What becomes of a record that cannot be processed.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum Poison {
    /// The task fails, and is tried again with the record, until somebody has mended what is wrong. Nothing is lost.
    #[default]
    Fail,
    /// The record is left out and counted ([`super::Counts::skipped`]).
    Skip,
    /// The record is left out and counted, and put into this topic as it was, with headers that say why, in the same
    /// transaction. The topic must be there.
    ///
    /// The headers are those of Kafka Streams (KIP-1034), texts all of them: `__streams.errors.exception` (`codec`, `no-key`,
    /// `failed` or `panic`), `__streams.errors.message`, `__streams.errors.topic`, `__streams.errors.partition`,
    /// `__streams.errors.offset`; and `__millstream.application` and `__millstream.task` (sub-topology, `_`, partition). They
    /// stand behind those of the record.
    DeadLetter(Arc<str>),
}

impl Poison {
    /// Into this topic.
    #[must_use]
    pub fn dead_letter(topic: impl AsRef<str>) -> Self {
        Self::DeadLetter(Arc::from(topic.as_ref()))
    }

    /// Whether the policy says what becomes of a record that failed so. An error of a store or of Millstream is no property of
    /// the record: the next one would meet it, too.
    pub(crate) fn leaves_out(&self, error: &StreamError) -> bool {
        *self != Self::Fail && kind(error).is_some()
    }

    /// What is sent for a record that is left out.
    pub(crate) fn letter(
        &self,
        record: &RawRecord,
        (topic, partition): (&str, i32),
        (application, task): (&str, &str),
        error: &StreamError,
    ) -> Option<Outgoing> {
        let Self::DeadLetter(to) = self else { return None };
        let said: [(&str, String); 7] = [
            ("__streams.errors.exception", kind(error).unwrap_or_default().to_owned()),
            ("__streams.errors.message", error.to_string()),
            ("__streams.errors.topic", topic.to_owned()),
            ("__streams.errors.partition", partition.to_string()),
            ("__streams.errors.offset", record.offset.to_string()),
            ("__millstream.application", application.to_owned()),
            ("__millstream.task", task.to_owned()),
        ];
        let said = said.into_iter().map(|(name, text)| Header::new(name, Bytes::from(text)));
        Some(Outgoing {
            topic: Arc::clone(to),
            partition: None,
            key: record.key.clone(),
            value: record.value.clone(),
            timestamp_ms: record.timestamp_ms,
            headers: record.headers.iter().cloned().chain(said).collect(),
        })
    }
}

/// What is wrong with a record; `None` where the error is not one of a record.
const fn kind(error: &StreamError) -> Option<&'static str> {
    match error {
        StreamError::Codec(_) => Some("codec"),
        StreamError::NoKey => Some("no-key"),
        StreamError::Failed(_) => Some("failed"),
        StreamError::Panicked(_) => Some("panic"),
        StreamError::State(_)
        | StreamError::Store(_)
        | StreamError::Poisoned { .. }
        | StreamError::Control(_)
        | StreamError::BufferFull(_)
        | StreamError::Broken(_) => None,
    }
}

#[cfg(test)]
mod tests;

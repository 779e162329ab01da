//! What operators of a task share while a record passes: the stores, the time, where the record came from, what is sent.

use std::sync::Arc;

use bytes::Bytes;

use super::codec::CodecError;
use super::global::{GlobalId, GlobalStore, Globals};
use super::store::StoreError;
use super::store::layered::Layered;
use super::time::UNKNOWN_MS;
use crate::record::Header;

/// Why a record could not be processed. Nothing of it counts then: what becomes of it is the application's policy.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum StreamError {
    /// A key or a value is not of its form.
    #[error("a record is not of the form that is read here: {0}")]
    Codec(#[from] CodecError),
    /// An operator that keeps something for each key was given a record without one.
    #[error(
        "a record has no key, and an operator keeps its state by key; read the key as an Option and filter, or select one"
    )]
    NoKey,
    /// A state store failed.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// What is in a state store is not of its form: the form was changed, and the store was not reset.
    #[error("a state store holds what is not of the form that is read here: {0}")]
    State(CodecError),
    /// A record failed after it had changed something: the transaction is to be aborted and done again without the record,
    /// which whoever runs the task tells it before. No application sees this.
    #[error("the record of place {topic} at offset {offset} is to be left out: {reason}")]
    Poisoned {
        /// The place of its topic among those of the task.
        topic: usize,
        /// Its offset.
        offset: i64,
        /// What is wrong with it.
        reason: Box<Self>,
    },
    /// What is held back is more than may be, and none of it is to be sent early. To leave the record out would not help.
    #[error("{0}")]
    BufferFull(String),
    /// The user's operator says no.
    #[error("{0}")]
    Failed(String),
    /// The user's operator panicked.
    #[error("an operator panicked: {0}")]
    Panicked(String),
    /// An entry of a later version stands in a topic.
    #[error("a topic has a control entry that is not known here: {0}; run the version that wrote it")]
    Control(String),
    /// The topology was put together wrongly, which its builder should have seen.
    #[error("the topology is broken: {0}; this is a fault of Millstream")]
    Broken(String),
}

/// Where the record that is being processed came from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Origin {
    /// Its topic.
    pub topic: Arc<str>,
    /// Its partition.
    pub partition: i32,
    /// Its offset.
    pub offset: i64,
    /// Its headers; those of the record that caused this one, where operators made it.
    pub headers: Arc<[Header]>,
}

/// A record for a topic.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Outgoing {
    pub(crate) topic: Arc<str>,
    /// `None`: that of its key.
    pub(crate) partition: Option<i32>,
    pub(crate) key: Option<Bytes>,
    pub(crate) value: Option<Bytes>,
    pub(crate) timestamp_ms: i64,
    pub(crate) headers: Arc<[Header]>,
}

/// What a task counts.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counts {
    /// Records processed.
    pub processed: u64,
    /// Records that came after their window had closed.
    pub late: u64,
    /// Records left out, as the application's policy has it.
    pub skipped: u64,
}

impl Counts {
    /// Both together.
    #[must_use]
    pub const fn plus(self, other: Self) -> Self {
        Self {
            processed: self.processed + other.processed,
            late: self.late + other.late,
            skipped: self.skipped + other.skipped,
        }
    }
}

/// What operators of a task share.
pub(crate) struct Scope {
    stores: Vec<Layered>,
    globals: Globals,
    /// The task's stream time, milliseconds since 1970; `i64::MIN` before any record.
    pub(crate) time_ms: i64,
    /// The clock, milliseconds since 1970.
    pub(crate) clock_ms: i64,
    pub(crate) origin: Origin,
    pub(crate) sent: Vec<Outgoing>,
    pub(crate) counts: Counts,
    /// How often something was changed that a record may not leave half done.
    touches: u64,
}

/// Where a record began.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Mark {
    touches: u64,
    sent: usize,
    counts: Counts,
}

impl Scope {
    pub(crate) fn new(stores: Vec<Layered>, clock_ms: i64) -> Self {
        let nowhere = Origin { topic: Arc::from(""), partition: 0, offset: 0, headers: Arc::from([]) };
        let (sent, counts) = (Vec::new(), Counts::default());
        let globals = Globals::from([]);
        let time_ms = UNKNOWN_MS;
        Self { stores, globals, time_ms, clock_ms, origin: nowhere, sent, counts, touches: 0 }
    }

    /// With the global tables of the process.
    pub(crate) fn with_globals(mut self, globals: &Globals) -> Self {
        self.globals = Arc::clone(globals);
        self
    }

    pub(crate) fn global(&self, id: GlobalId) -> Result<&GlobalStore, StreamError> {
        let global = self.globals.get(id.0).map(AsRef::as_ref);
        global.ok_or_else(|| StreamError::Broken(format!("it has no global table {}", id.0)))
    }

    /// What is sent from now on is caused by time, and by no record.
    pub(crate) fn forget_headers(&mut self) {
        if !self.origin.headers.is_empty() {
            self.origin.headers = Arc::from([]);
        }
    }

    pub(crate) fn store(&self, place: usize) -> Result<&Layered, StreamError> {
        self.stores.get(place).ok_or_else(|| no_store(place))
    }

    pub(crate) fn store_mut(&mut self, place: usize) -> Result<&mut Layered, StreamError> {
        self.touch();
        self.stores.get_mut(place).ok_or_else(|| no_store(place))
    }

    /// To be called before an operator changes what it holds in memory: a record that fails after that cannot be left out in
    /// place. Stores and what is sent are watched without that.
    pub(crate) const fn touch(&mut self) {
        self.touches = self.touches.wrapping_add(1);
    }

    pub(crate) const fn mark(&self) -> Mark {
        Mark { touches: self.touches, sent: self.sent.len(), counts: self.counts }
    }

    /// Whether nothing was changed since; what was counted is then counted no more.
    pub(crate) fn is_unchanged_since(&mut self, mark: Mark) -> bool {
        let is_unchanged = self.touches == mark.touches && self.sent.len() == mark.sent;
        if is_unchanged {
            self.counts = mark.counts;
        }
        is_unchanged
    }

    pub(crate) fn stores(&self) -> &[Layered] {
        &self.stores
    }

    pub(crate) fn stores_mut(&mut self) -> &mut [Layered] {
        &mut self.stores
    }

    pub(crate) fn take_stores(&mut self) -> Vec<Layered> {
        std::mem::take(&mut self.stores)
    }
}

fn no_store(place: usize) -> StreamError {
    StreamError::Broken(format!("it has no store {place}"))
}

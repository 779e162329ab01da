//! What is asked of stores, and how it travels. Kinds 460 to 462.

use std::collections::BTreeMap;
use std::ops::Bound;

use bytes::Bytes;
use millstream_transport::message::{Answer, BodyMismatch, Message};
use serde::{Deserialize, Serialize};

use super::QueryRefusal;
use crate::error::Refusal;

/// The most entries of an answer.
pub const ENTRIES_MAX: u32 = 10_000;

/// The most bytes of keys and values of an answer; a first entry that alone has more is answered all the same.
pub const BYTES_MAX: u32 = 4 << 20;

/// What is asked of a store. Keys are in the store's form.
///
/// Told between nodes by place: variants are only ever appended.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum StoreAsk {
    /// The value of a key.
    Get {
        /// The key.
        key: Bytes,
    },
    /// The entries between two keys, in the order of their bytes.
    Range {
        /// From here.
        from: Bound<Bytes>,
        /// To here.
        to: Bound<Bytes>,
    },
    /// The windows of a key that begin between two times, both included, in order; of sessions those that have a time
    /// between them.
    Fetch {
        /// The key.
        key: Bytes,
        /// Milliseconds since 1970.
        from_ms: i64,
        /// Milliseconds since 1970.
        to_ms: i64,
    },
    /// The same of all keys.
    FetchAll {
        /// Milliseconds since 1970.
        from_ms: i64,
        /// Milliseconds since 1970.
        to_ms: i64,
    },
    /// How much is in it, about: one entry, whose value is the number of entries and that of bytes (8 bytes each, big-endian).
    Size {},
}

impl StoreAsk {
    /// The key that says which partition is meant.
    pub(crate) const fn key(&self) -> Option<&Bytes> {
        match self {
            Self::Get { key } | Self::Fetch { key, .. } => Some(key),
            Self::Range { .. } | Self::FetchAll { .. } | Self::Size {} => None,
        }
    }

    /// Bytes of its keys.
    fn bytes(&self) -> usize {
        let of = |bound: &Bound<Bytes>| match bound {
            Bound::Included(key) | Bound::Excluded(key) => key.len(),
            Bound::Unbounded => 0,
        };
        match self {
            Self::Get { key } | Self::Fetch { key, .. } => key.len(),
            Self::Range { from, to } => of(from).saturating_add(of(to)),
            Self::FetchAll { .. } | Self::Size {} => 0,
        }
    }
}

impl StoreQuery {
    /// The bytes that it has itself.
    pub(crate) fn bytes(&self) -> usize {
        let after = self.after.as_ref().map_or(0, Bytes::len);
        self.store.len().saturating_add(self.ask.bytes()).saturating_add(after)
    }
}

/// A question to a store.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct StoreQuery {
    /// The store's name.
    pub store: String,
    /// The partition; `None` for that of the key, or for the first.
    pub partition: Option<i32>,
    /// What is asked.
    pub ask: StoreAsk,
    /// Also of what is not committed.
    pub is_uncommitted: bool,
    /// A standby may answer, which may be behind.
    pub allows_standby: bool,
    /// Goes on where an earlier answer ended.
    pub after: Option<Bytes>,
    /// Entries at most, up to [`ENTRIES_MAX`].
    pub entries_max: u32,
    /// Bytes of keys and values at most, up to [`BYTES_MAX`].
    pub bytes_max: u32,
}

/// An entry of an answer, in the store's forms.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct StoreEntry {
    /// Its key.
    pub key: Bytes,
    /// Where its window begins and ends, in milliseconds since 1970.
    pub window_ms: Option<(i64, i64)>,
    /// Its value; `None` is that which is written as none.
    pub value: Option<Bytes>,
}

/// What a store answers: the bytes of a [`StorePage`], and of which partition it is.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct StoreAnswered {
    /// The partition.
    pub partition: i32,
    /// The next one that can be asked for; `None` behind the last.
    pub next_partition: Option<i32>,
    /// The page in postcard.
    #[serde(skip)]
    pub body: Bytes,
}

/// A part of what was asked for.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct StorePage {
    /// The entries.
    pub entries: Vec<StoreEntry>,
    /// What to go on after; `None` where there is no more.
    pub next: Option<Bytes>,
}

impl StorePage {
    /// Its bytes.
    pub(crate) fn sealed(&self) -> Result<Bytes, QueryRefusal> {
        let failed = |error: postcard::Error| QueryRefusal::Failed(error.to_string());
        postcard::to_stdvec(self).map(Bytes::from).map_err(failed)
    }

    /// The page in these bytes.
    pub(crate) fn opened(bytes: &[u8]) -> Result<Self, QueryRefusal> {
        postcard::from_bytes(bytes).map_err(|error| QueryRefusal::Failed(format!("no page: {error}")))
    }
}

impl Answer for StoreAnswered {
    fn take_bodies(&mut self) -> Vec<Bytes> {
        vec![std::mem::take(&mut self.body)]
    }

    fn put_bodies(&mut self, bodies: Vec<Bytes>) -> Result<(), BodyMismatch> {
        let found = bodies.len();
        let [body] = <[Bytes; 1]>::try_from(bodies).map_err(|_| BodyMismatch { expected: 1, found })?;
        self.body = body;
        Ok(())
    }
}

/// Asks a store of an application, wherever its task runs. Asked of the coordinator of the application's group, which hands it
/// to the member that has the task.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct AskStore {
    /// The application.
    pub application: String,
    /// How long the asker waits, in milliseconds.
    pub within_ms: u32,
    /// The question.
    pub query: StoreQuery,
}

impl Message for AskStore {
    const KIND: u16 = 460;
    /// A refusal of the coordinator, or the answer of the member.
    type Answer = Result<Result<StoreAnswered, QueryRefusal>, Refusal>;
}

/// A task that a member runs.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct TaskShape {
    /// Its sub-topology.
    pub part: u32,
    /// Its partition.
    pub partition: i32,
    /// It only follows the one that processes records.
    pub is_standby: bool,
}

/// A store that a member's tasks have.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct StoreShape {
    /// Its name.
    pub name: String,
    /// The sub-topology of its tasks; `None` of a global table, which every member has whole.
    pub part: Option<u32>,
    /// How many partitions it has.
    pub partitions: i32,
}

/// The answer of a member to a question that it was handed.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct PolledAnswer {
    /// The number of the question.
    pub number: u64,
    /// The answer.
    pub result: Result<StoreAnswered, QueryRefusal>,
}

/// A member of an application says what it runs and answers what it was asked, and waits for questions. A later one of the same
/// member ends the wait of an earlier one.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct StreamsPoll {
    /// The application.
    pub application: String,
    /// Chosen by the member, one for each of its lives: a UUID.
    pub member: String,
    /// What people call the process.
    pub instance: String,
    /// How long to wait for questions, in milliseconds. A member that does not ask again for as long after that is dead.
    pub wait_ms: u32,
    /// The tasks that it runs; none while it begins.
    pub tasks: Vec<TaskShape>,
    /// Their stores.
    pub stores: Vec<StoreShape>,
    /// What it answers.
    pub answers: Vec<PolledAnswer>,
}

/// Questions to a member, by their numbers.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct StreamsQueries {
    /// The questions.
    pub queries: Vec<(u64, StoreQuery)>,
}

impl Answer for StreamsQueries {}

impl Message for StreamsPoll {
    const KIND: u16 = 461;
    type Answer = Result<StreamsQueries, Refusal>;

    fn take_bodies(&mut self) -> Vec<Bytes> {
        let answers = self.answers.iter_mut().filter_map(|answer| answer.result.as_mut().ok());
        answers.map(|answered| std::mem::take(&mut answered.body)).collect()
    }

    fn put_bodies(&mut self, bodies: Vec<Bytes>) -> Result<(), BodyMismatch> {
        let answers: Vec<_> =
            self.answers.iter_mut().filter_map(|answer| answer.result.as_mut().ok()).collect();
        let (expected, found) = (answers.len(), bodies.len());
        if expected != found {
            return Err(BodyMismatch { expected, found });
        }
        answers.into_iter().zip(bodies).for_each(|(answered, body)| answered.body = body);
        Ok(())
    }
}

/// Asks for the applications whose members poll the node that gets this.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ListStreams {
    /// Only of this application.
    pub application: Option<String>,
}

impl Message for ListStreams {
    const KIND: u16 = 462;
    type Answer = Vec<StreamsShown>;
}

/// An application that runs.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct StreamsShown {
    /// The application.
    pub application: String,
    /// Its members.
    pub members: BTreeMap<String, MemberShown>,
}

/// A member of an application.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct MemberShown {
    /// What people call the process.
    pub instance: String,
    /// Where it speaks from.
    pub host: String,
    /// How long ago it was heard, in milliseconds.
    pub heard_ms: u64,
    /// The tasks that it runs.
    pub tasks: Vec<TaskShape>,
    /// Their stores.
    pub stores: Vec<StoreShape>,
    /// Questions that wait for it.
    pub waiting: u32,
}

//! State stores: what a task knows, by key.
//!
//! Below is a [`ByteStore`], in memory or on disk, which holds what is committed; above it, in `layered`, what was written
//! since, in layers that go down when their transaction is committed and are dropped when it is not.

mod disk;
mod key_value;
pub(crate) mod layered;
pub(crate) mod layout;
mod memory;
mod segmented;
mod session;
mod shape;
mod sliding;
mod window;

use std::ops::Bound;

use bytes::Bytes;

use super::codec::{Coded, SharedCodec};
pub use disk::{DiskBudget, DiskStore, Opened};
pub use key_value::KeyValue;
pub use memory::MemoryStore;
pub(crate) use session::SessionStore;
pub(crate) use shape::Shape;
pub(crate) use sliding::{SlidingStore, sliding_value};
pub(crate) use window::WindowStore;

/// The longest key, in bytes, that an operator keeps anything by: a store that is kept by two of them and a time takes it, too.
pub const MAX_KEY_BYTES: usize = 28_000;

/// A key and its value.
pub type Entry = (Bytes, Bytes);

/// A store cannot be read or written.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("state store {store:?}: {reason}")]
pub struct StoreError {
    /// The store's name.
    pub store: String,
    /// What is wrong, and what to do.
    pub reason: String,
}

/// Up to where the changelog of a store is in it: the offset of the next record.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Checkpoint(pub i64);

/// How much is in a store, about.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct StoreSize {
    /// Entries; on disk those count, too, that were deleted or written anew and are not cleaned away yet.
    pub entries: u64,
    /// Bytes of keys and values; on disk, of files, so that what was written last is not in it.
    pub bytes: u64,
}

/// Keys in the order of their bytes, with what is committed of them.
pub trait ByteStore: Send {
    /// The value of a key.
    fn get(&self, key: &[u8]) -> Result<Option<Bytes>, StoreError>;

    /// The first entries between two keys, in order, at most `max`.
    fn scan(&self, from: Bound<&[u8]>, to: Bound<&[u8]>, max: usize) -> Result<Vec<Entry>, StoreError>;

    /// Takes changes (`None` deletes), forgets all keys below `floor`, for ever, and notes the checkpoint: all of it, or nothing.
    fn apply(
        &mut self,
        changes: &mut dyn Iterator<Item = (&Bytes, Option<&Bytes>)>,
        floor: &[u8],
        checkpoint: Checkpoint,
    ) -> Result<(), StoreError>;

    /// The last checkpoint; `None` where there was none: all of the changelog is to be read.
    fn checkpoint(&self) -> Option<Checkpoint>;

    /// How much is in it, about; costs nothing.
    fn size(&self) -> StoreSize;

    /// The greatest floor that was applied: what is put below is forgotten at once.
    fn floor(&self) -> Bytes;
}

/// How a store is kept.
#[derive(Debug)]
pub struct Stored<K, V> {
    pub(crate) name: String,
    pub(crate) key: SharedCodec<K>,
    pub(crate) value: SharedCodec<V>,
    pub(crate) is_logged: bool,
    /// Bytes of results that are held back; `None` sends each update.
    pub(crate) held_max: Option<usize>,
}

impl<K, V> Stored<K, V> {
    /// A store of this name (unique in its topology, and the same for ever: its changelog topic is called after it) whose
    /// keys and values lie in it in these forms.
    #[must_use]
    pub fn with(name: impl Into<String>, key: SharedCodec<K>, value: SharedCodec<V>) -> Self {
        Self { name: name.into(), key, value, is_logged: true, held_max: None }
    }

    /// Without a changelog: what is in it does not survive a move of its task. It says nothing of a table that is read from a
    /// topic, whose state comes back in any case.
    #[must_use]
    pub fn without_changelog(mut self) -> Self {
        self.is_logged = false;
        self
    }

    /// Of an aggregate: results of a key that change often go downstream as one, when a commit comes, or when all that is held back has more than so many bytes in a task. Without it each update is sent.
    #[must_use]
    pub const fn cached(mut self, bytes_max: usize) -> Self {
        self.held_max = Some(bytes_max);
        self
    }
}

impl<K: Coded, V: Coded> From<&str> for Stored<K, V> {
    fn from(name: &str) -> Self {
        Self::with(name, K::codec(), V::codec())
    }
}

//! A store that is asked, typed.

use std::fmt;
use std::ops::{Bound, RangeBounds, RangeInclusive};
use std::sync::Arc;

use bytes::Bytes;
use serde::{Deserialize, Serialize};

use super::message::{BYTES_MAX, StoreEntry, StorePage};
use super::{QueryError, QueryRefusal, QueryWay, StoreAsk, StoreQuery};
use crate::streams::codec::{CodecError, SharedCodec};
use crate::streams::event::Data;
use crate::streams::store::{MAX_KEY_BYTES, StoreSize};
use crate::streams::window::{Window, Windowed};

/// Entries of a page, where nobody says how many.
const ENTRIES: u32 = 1_000;

/// Bytes of a page, where nobody says how many.
const BYTES: u32 = 1 << 20;

/// A part of what was asked for. It may be empty and not the last: a bounded number of entries is looked at for each.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Page<T> {
    /// In the order of the bytes of their keys, or of their windows, in each partition.
    pub entries: Vec<T>,
    /// What to go on after; `None` where there is no more.
    pub next: Option<PageToken>,
}

/// Where a page ended: to be given with the same question again.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct PageToken {
    partition: i32,
    after: Option<Bytes>,
}

/// A state store of an application that runs, to be asked. Cheap to clone.
///
/// An answer is of what is committed when it is made, each page for itself. Of the application's own process
/// ([`Streams::store`]) `range`, `all` and `fetch_all` are of the tasks that the process has; through a client
/// ([`StreamsClient`]), of all.
///
/// [`Streams::store`]: crate::streams::Streams::store
/// [`StreamsClient`]: crate::client::StreamsClient
pub struct QueriedStore<K, V> {
    way: Arc<dyn QueryWay>,
    name: Arc<str>,
    key: SharedCodec<K>,
    value: SharedCodec<V>,
    is_uncommitted: bool,
    allows_standby: bool,
    entries_max: u32,
    bytes_max: u32,
}

impl<K, V> Clone for QueriedStore<K, V> {
    fn clone(&self) -> Self {
        Self {
            way: Arc::clone(&self.way),
            name: Arc::clone(&self.name),
            key: Arc::clone(&self.key),
            value: Arc::clone(&self.value),
            ..*self
        }
    }
}

impl<K, V> fmt::Debug for QueriedStore<K, V> {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter
            .debug_struct("QueriedStore")
            .field("name", &self.name)
            .field("way", &self.way)
            .finish_non_exhaustive()
    }
}

impl<K: Data, V: Data> QueriedStore<K, V> {
    pub(crate) fn new(
        way: Arc<dyn QueryWay>,
        name: &str,
        (key, value): (SharedCodec<K>, SharedCodec<V>),
    ) -> Self {
        Self {
            way,
            name: Arc::from(name),
            key,
            value,
            is_uncommitted: false,
            allows_standby: false,
            entries_max: ENTRIES,
            bytes_max: BYTES,
        }
    }

    /// Also what is not committed yet, and may never be.
    #[must_use]
    pub const fn uncommitted(mut self) -> Self {
        self.is_uncommitted = true;
        self
    }

    /// A standby may answer, which may be behind.
    #[must_use]
    pub const fn allow_standby(mut self) -> Self {
        self.allows_standby = true;
        self
    }

    /// Pages of so many entries, and so many bytes of keys and values, at most; 1,000 and 1 MiB where nothing is said, up to
    /// 10,000 and 4 MiB.
    #[must_use]
    pub const fn pages_of(mut self, entries_max: u32, bytes_max: u32) -> Self {
        (self.entries_max, self.bytes_max) = (entries_max, bytes_max);
        self
    }

    /// The value of a key, of a store without windows.
    pub async fn get(&self, key: &K) -> Result<Option<V>, QueryError> {
        let ask = StoreAsk::Get { key: self.key(key)? };
        // One value, however long.
        let query = StoreQuery { bytes_max: BYTES_MAX, ..self.query(ask, None) };
        let (page, _) = self.page(query).await?;
        let found = page.entries.into_iter().next();
        found.map(|entry| self.value.decode(entry.value.as_ref())).transpose().map_err(QueryError::Codec)
    }

    /// The entries of a range of keys, by the order of the bytes of keys, of a store without windows.
    pub async fn range(
        &self,
        keys: impl RangeBounds<K>,
        after: Option<&PageToken>,
    ) -> Result<Page<(K, V)>, QueryError> {
        let (from, to) = (self.bound(keys.start_bound())?, self.bound(keys.end_bound())?);
        let (page, next) = self.page(self.query(StoreAsk::Range { from, to }, after)).await?;
        let each = page.entries.into_iter();
        let entries = each
            .map(|entry| Ok((self.key.decode(Some(&entry.key))?, self.value.decode(entry.value.as_ref())?)));
        Ok(Page { entries: entries.collect::<Result<_, CodecError>>()?, next })
    }

    /// All entries of a store without windows.
    pub async fn all(&self, after: Option<&PageToken>) -> Result<Page<(K, V)>, QueryError> {
        self.range((Bound::<K>::Unbounded, Bound::<K>::Unbounded), after).await
    }

    /// The windows of a key that begin between two times (milliseconds since 1970), in order; of sessions those that have a
    /// time between them.
    pub async fn fetch(
        &self,
        key: &K,
        between_ms: RangeInclusive<i64>,
        after: Option<&PageToken>,
    ) -> Result<Page<(Window, V)>, QueryError> {
        let (from_ms, to_ms) = between_ms.into_inner();
        let ask = StoreAsk::Fetch { key: self.key(key)?, from_ms, to_ms };
        let (page, next) = self.page(self.query(ask, after)).await?;
        let entries = page.entries.iter().map(|entry| Ok((window(entry)?, self.decoded(entry)?)));
        Ok(Page { entries: entries.collect::<Result<_, QueryError>>()?, next })
    }

    /// The same of all keys. Of tumbling and hopping windows in their order, of others in that of keys, within stretches of time.
    pub async fn fetch_all(
        &self,
        between_ms: RangeInclusive<i64>,
        after: Option<&PageToken>,
    ) -> Result<Page<(Windowed<K>, V)>, QueryError> {
        let (from_ms, to_ms) = between_ms.into_inner();
        let (page, next) = self.page(self.query(StoreAsk::FetchAll { from_ms, to_ms }, after)).await?;
        let entries = page.entries.iter().map(|entry| {
            let key = self.key.decode(Some(&entry.key))?;
            Ok((Windowed { key, window: window(entry)? }, self.decoded(entry)?))
        });
        Ok(Page { entries: entries.collect::<Result<_, QueryError>>()?, next })
    }

    /// How much the store has, about, of what is committed.
    pub async fn size(&self) -> Result<StoreSize, QueryError> {
        let (mut size, mut after) = (StoreSize::default(), None);
        loop {
            let (page, next) = self.page(self.query(StoreAsk::Size {}, after.as_ref())).await?;
            let found = page.entries.first().and_then(|entry| entry.value.as_ref());
            let numbers = found.and_then(|value| value.as_chunks::<8>().0.first_chunk::<2>());
            let [entries, bytes] = *numbers.ok_or_else(|| QueryRefusal::Failed("no size".to_owned()))?;
            size.entries = size.entries.saturating_add(u64::from_be_bytes(entries));
            size.bytes = size.bytes.saturating_add(u64::from_be_bytes(bytes));
            after = next;
            if after.is_none() {
                return Ok(size);
            }
        }
    }

    fn decoded(&self, entry: &StoreEntry) -> Result<V, CodecError> {
        self.value.decode(entry.value.as_ref())
    }

    fn key(&self, key: &K) -> Result<Bytes, CodecError> {
        let bytes =
            self.key.encode(key)?.ok_or_else(|| CodecError::new("a key without bytes is in no store"))?;
        match bytes.len() {
            ..=MAX_KEY_BYTES => Ok(bytes),
            long => {
                let text = format!("a key has {long} bytes, and state is kept by at most {MAX_KEY_BYTES}");
                Err(CodecError::new(text))
            }
        }
    }

    fn bound(&self, of: Bound<&K>) -> Result<Bound<Bytes>, CodecError> {
        Ok(match of {
            Bound::Included(key) => Bound::Included(self.key(key)?),
            Bound::Excluded(key) => Bound::Excluded(self.key(key)?),
            Bound::Unbounded => Bound::Unbounded,
        })
    }

    fn query(&self, ask: StoreAsk, after: Option<&PageToken>) -> StoreQuery {
        StoreQuery {
            store: self.name.to_string(),
            partition: after.map(|after| after.partition),
            ask,
            is_uncommitted: self.is_uncommitted,
            allows_standby: self.allows_standby,
            after: after.and_then(|after| after.after.clone()),
            entries_max: self.entries_max,
            bytes_max: self.bytes_max,
        }
    }

    /// What is answered, and where that ended.
    async fn page(&self, query: StoreQuery) -> Result<(StorePage, Option<PageToken>), QueryError> {
        let is_of_key = query.ask.key().is_some();
        let answered = self.way.ask(query).await?;
        let mut page = StorePage::opened(&answered.body)?;
        let next = match page.next.take() {
            Some(after) => Some(PageToken { partition: answered.partition, after: Some(after) }),
            None => {
                let following = answered.next_partition.filter(|_| !is_of_key);
                following.map(|partition| PageToken { partition, after: None })
            }
        };
        Ok((page, next))
    }
}

fn window(entry: &StoreEntry) -> Result<Window, QueryRefusal> {
    let window = entry.window_ms.map(|(start_ms, end_ms)| Window { start_ms, end_ms });
    window.ok_or_else(|| QueryRefusal::Failed("an entry of a window is without one".to_owned()))
}

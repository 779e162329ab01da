//! Fetch sessions (KIP-227): a client says once what it reads, then only what has changed, and is told only what is new.
//!
//! [`session`] and [`cache`] decide; here they are put behind locks: connections live on several cores, and a client may
//! go on with its session on another connection.

mod cache;
mod session;

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use millstream_actors::events::kafka::FetchSessionSeries;
use millstream_actors::partition::front::PARTS_MAX;
use millstream_transport::kafka::ErrorCode;
use millstream_transport::kafka::messages::fetch::response::Partition;
use millstream_transport::world::World;
use tokio::time::Instant;

use self::cache::Cache;
use self::session::Session;
pub(super) use self::session::{Key, TopicKey, Wanted};

/// The session of those that have none.
pub(super) const NO_SESSION: i32 = 0;

/// The epoch of a request that names everything and wants a session.
const INITIAL_EPOCH: i32 = 0;

/// The epoch of a request that names everything and wants none.
const FINAL_EPOCH: i32 = -1;

/// The sessions of a node.
#[derive(Debug)]
pub(crate) struct FetchSessions {
    cache: Mutex<Cache>,
    series: FetchSessionSeries,
    world: World,
    origin: Instant,
}

/// What a request says of its session.
#[derive(Debug)]
pub(super) struct Ask {
    /// The session, or [`NO_SESSION`].
    pub(super) id: i32,
    pub(super) epoch: i32,
    /// Whether topics are named by id.
    pub(super) by_id: bool,
    pub(super) wanted: Vec<(Key, Wanted)>,
    pub(super) forgotten: Vec<Key>,
}

/// A request with the session that it belongs to: everything that is to be read for it.
#[derive(Debug)]
pub(super) struct Context {
    pub(super) parts: Vec<(Key, Wanted)>,
    kind: Kind,
}

#[derive(Debug)]
enum Kind {
    /// It has none and wants none.
    None,
    /// It names everything, and a session may begin with it.
    New { by_id: bool },
    /// It goes on with one, which is at this epoch as long as no later request has come.
    Going { id: i32, epoch: i32, session: Arc<Mutex<Session>> },
}

/// What is answered: the session, and of its partitions those that have news.
#[derive(Debug)]
pub(super) struct Told {
    pub(super) error_code: i16,
    pub(super) session_id: i32,
    pub(super) partitions: Vec<(Key, Partition<'static>)>,
}

impl FetchSessions {
    /// For so many sessions.
    pub(crate) fn new(slots: usize, series: FetchSessionSeries, world: World) -> Self {
        let origin = world.clock.now();
        Self { cache: Mutex::new(Cache::new(slots)), series, world, origin }
    }

    /// Finds what is to be read for a request, or why its session cannot go on.
    pub(super) fn begin(&self, ask: Ask) -> Result<Context, ErrorCode> {
        let Ask { id, epoch, by_id, wanted, forgotten } = ask;
        if epoch == INITIAL_EPOCH || epoch == FINAL_EPOCH {
            // Who names everything is done with the session before.
            if id != NO_SESSION {
                self.change(|cache| cache.remove(id));
            }
            if wanted.len() > PARTS_MAX {
                return Err(ErrorCode::InvalidRequest);
            }
            let kind = if epoch == FINAL_EPOCH { Kind::None } else { Kind::New { by_id } };
            return Ok(Context { parts: wanted, kind });
        }
        let session = self.lock().get(id).ok_or(ErrorCode::FetchSessionIdNotFound)?;
        let mut going = session.lock().unwrap_or_else(PoisonError::into_inner);
        going.go_on(epoch, by_id, wanted, &forgotten)?;
        let (parts, size, next_epoch) = (going.parts(), going.size(), going.epoch());
        if parts.is_empty() {
            self.change(|cache| cache.remove(id));
            return Ok(Context { parts, kind: Kind::None });
        }
        if parts.len() > PARTS_MAX {
            self.change(|cache| cache.remove(id));
            return Err(ErrorCode::InvalidRequest);
        }
        // While the session is held: else a later request's size could be counted before this one's.
        let now = self.now();
        if !self.change(|cache| cache.touch(now, id, size)) {
            // The client begins anew, and gets a session if there is room then.
            return Err(ErrorCode::FetchSessionIdNotFound);
        }
        drop(going);
        Ok(Context { parts, kind: Kind::Going { id, epoch: next_epoch, session } })
    }

    /// What is answered, after everything was read.
    pub(super) fn finish(&self, context: Context, mut read: Vec<(Key, Partition<'static>)>) -> Told {
        match context.kind {
            Kind::None => Told { error_code: 0, session_id: NO_SESSION, partitions: read },
            Kind::New { by_id } => {
                let mut session = Session::new(by_id, context.parts);
                for (key, partition) in &read {
                    session.is_news(key, partition);
                }
                Told { error_code: 0, session_id: self.keep(session), partitions: read }
            }
            Kind::Going { id, epoch, session } => {
                let mut session = session.lock().unwrap_or_else(PoisonError::into_inner);
                if session.epoch() != epoch {
                    let error_code = ErrorCode::InvalidFetchSessionEpoch.code();
                    return Told { error_code, session_id: id, partitions: Vec::new() };
                }
                read.retain(|(key, partition)| session.is_news(key, partition));
                Told { error_code: 0, session_id: id, partitions: read }
            }
        }
    }

    fn keep(&self, session: Session) -> i32 {
        let now = self.now();
        let random = || self.world.random.range(1, 1 << 31);
        let kept = self.change(|cache| cache.keep(now, random, session));
        if kept.has_evicted {
            self.series.evictions.increment(1);
        }
        kept.id
    }

    fn now(&self) -> Duration {
        self.world.clock.now().saturating_duration_since(self.origin)
    }

    fn lock(&self) -> MutexGuard<'_, Cache> {
        self.cache.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn change<T>(&self, change: impl FnOnce(&mut Cache) -> T) -> T {
        let mut cache = self.lock();
        let changed = change(&mut cache);
        let gauge = |count: usize| f64::from(u32::try_from(count).unwrap_or(u32::MAX));
        self.series.sessions.set(gauge(cache.len()));
        self.series.partitions.set(gauge(cache.partitions()));
        changed
    }
}

#[cfg(test)]
mod tests;

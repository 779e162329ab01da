//! Which sessions are kept: a bounded number of bounded size. Pure.
//!
//! For a new one that finds no room, the one that was unused the longest goes, if that is two minutes; else the smallest
//! of those that are older than that, unless the new one is smaller still. A session that has just begun is safe, so that
//! clients do not take each other's in turn. (Kafka prefers the sessions of its followers; here they fetch another way.)

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use super::NO_SESSION;
use super::session::{Session, Size};

/// A session is left alone for so long after it began, and goes first when it was not used for longer.
const SAFE: Duration = Duration::from_secs(120);

/// The memory of all sessions together, in bytes.
const BYTES_MAX: usize = 64 << 20;

/// The sessions that are kept.
#[derive(Debug)]
pub(super) struct Cache {
    slots: usize,
    bytes_max: usize,
    kept: BTreeMap<i32, Entry>,
    by_use: BTreeSet<(Duration, i32)>,
    /// Those that are not safe, the smallest first.
    by_size: BTreeSet<(usize, i32)>,
    total: Size,
}

#[derive(Debug)]
struct Entry {
    session: Arc<Mutex<Session>>,
    began: Duration,
    used: Duration,
    size: Size,
}

/// What became of a new session.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Kept {
    /// Its id; none if there is no room for it.
    pub(super) id: i32,
    /// Whether another had to go.
    pub(super) has_evicted: bool,
}

impl Cache {
    /// Room for so many.
    pub(super) fn new(slots: usize) -> Self {
        Self {
            slots,
            bytes_max: BYTES_MAX,
            kept: BTreeMap::new(),
            by_use: BTreeSet::new(),
            by_size: BTreeSet::new(),
            total: Size::default(),
        }
    }

    pub(super) fn len(&self) -> usize {
        self.kept.len()
    }

    /// Partitions of all sessions.
    pub(super) fn partitions(&self) -> usize {
        self.total.partitions
    }

    pub(super) fn get(&self, id: i32) -> Option<Arc<Mutex<Session>>> {
        self.kept.get(&id).map(|entry| Arc::clone(&entry.session))
    }

    /// Keeps a new session, under an id made of these random numbers, if there is room.
    pub(super) fn keep(&mut self, now: Duration, random: impl Fn() -> u64, session: Session) -> Kept {
        let size = session.size();
        let mut kept = Kept { id: NO_SESSION, has_evicted: false };
        let has_place = |cache: &Self| cache.kept.len() < cache.slots;
        if size.partitions == 0 || size.bytes > self.bytes_max {
            return kept;
        }
        if !(has_place(self) && self.has_bytes_for(size)) {
            let victim = self.victim(now, size).filter(|victim| self.has_room_without(*victim, size));
            let Some(victim) = victim else { return kept };
            self.remove(victim);
            kept.has_evicted = true;
        }
        kept.id = self.new_id(random);
        let entry = Entry { session: Arc::new(Mutex::new(session)), began: now, used: now, size };
        self.by_use.insert((now, kept.id));
        self.kept.insert(kept.id, entry);
        self.count(size);
        kept
    }

    /// A session was used and has this size now. False if there is none, or no room for it any more: then it goes.
    pub(super) fn touch(&mut self, now: Duration, id: i32, size: Size) -> bool {
        let Some(mut entry) = self.take(id) else { return false };
        if !self.has_bytes_for(size) {
            return false;
        }
        (entry.used, entry.size) = (now, size);
        self.by_use.insert((now, id));
        if is_over(entry.began, now) {
            self.by_size.insert((size.partitions, id));
        }
        self.kept.insert(id, entry);
        self.count(size);
        true
    }

    pub(super) fn remove(&mut self, id: i32) {
        drop(self.take(id));
    }

    fn take(&mut self, id: i32) -> Option<Entry> {
        let entry = self.kept.remove(&id)?;
        self.by_use.remove(&(entry.used, id));
        self.by_size.remove(&(entry.size.partitions, id));
        self.total.partitions -= entry.size.partitions;
        self.total.bytes -= entry.size.bytes;
        Some(entry)
    }

    fn count(&mut self, size: Size) {
        self.total.partitions += size.partitions;
        self.total.bytes += size.bytes;
    }

    fn has_bytes_for(&self, size: Size) -> bool {
        self.total.bytes + size.bytes <= self.bytes_max
    }

    /// Whether this one's going makes room enough.
    fn has_room_without(&self, victim: i32, size: Size) -> bool {
        let freed = self.kept.get(&victim).map_or(0, |entry| entry.size.bytes);
        self.kept.len() <= self.slots && self.total.bytes - freed + size.bytes <= self.bytes_max
    }

    /// Whose place a new session of this size may have.
    fn victim(&self, now: Duration, size: Size) -> Option<i32> {
        let (used, unused) = self.by_use.first()?;
        if is_over(*used, now) {
            return Some(*unused);
        }
        let (partitions, smallest) = self.by_size.first()?;
        (*partitions < size.partitions).then_some(*smallest)
    }

    fn new_id(&self, random: impl Fn() -> u64) -> i32 {
        loop {
            let id = i32::try_from(random()).unwrap_or(NO_SESSION);
            if id > NO_SESSION && !self.kept.contains_key(&id) {
                return id;
            }
        }
    }
}

fn is_over(since: Duration, now: Duration) -> bool {
    now.saturating_sub(since) > SAFE
}

#[cfg(test)]
mod tests {
    use std::cell::Cell;

    use super::super::session::{Key, TopicKey, Wanted};
    use super::*;

    fn session(partitions: i32) -> Session {
        let wanted = Wanted { leader_epoch: -1, last_epoch: -1, offset: 0, max_bytes: 1 };
        let key = |index| Key { topic: TopicKey::Id(uuid::Uuid::nil()), index };
        Session::new(true, (0..partitions).map(|index| (key(index), wanted)).collect())
    }

    /// A cache, its sessions numbered from 1.
    struct Bench {
        cache: Cache,
        numbers: Cell<u64>,
    }

    impl Bench {
        fn new(slots: usize) -> Self {
            Self { cache: Cache::new(slots), numbers: Cell::new(0) }
        }

        fn keep(&mut self, secs: u64, partitions: i32) -> (i32, bool) {
            let numbers = &self.numbers;
            let next = || {
                numbers.set(numbers.get() + 1);
                numbers.get()
            };
            let kept = self.cache.keep(Duration::from_secs(secs), next, session(partitions));
            (kept.id, kept.has_evicted)
        }

        fn touch(&mut self, secs: u64, id: i32, partitions: i32) -> bool {
            self.cache.touch(Duration::from_secs(secs), id, session(partitions).size())
        }

        fn ids(&self) -> Vec<i32> {
            self.cache.kept.keys().copied().collect()
        }
    }

    #[test]
    fn one_that_was_not_used_for_two_minutes_goes_first() {
        let mut bench = Bench::new(2);
        assert_eq!((bench.keep(0, 9), bench.keep(1, 1)), ((1, false), (2, false)));
        assert!(bench.touch(100, 2, 1));
        assert_eq!(bench.keep(120, 1), (NO_SESSION, false), "nobody may go yet");
        assert_eq!(bench.keep(121, 1), (3, true));
        assert_eq!(bench.ids(), [2, 3]);
    }

    #[test]
    fn of_those_in_use_an_old_one_goes_that_is_smaller() {
        let mut bench = Bench::new(2);
        bench.keep(0, 5);
        bench.keep(0, 3);
        for id in [1, 2] {
            assert!(bench.touch(121, id, if id == 1 { 5 } else { 3 }));
        }
        assert_eq!(bench.keep(122, 2), (NO_SESSION, false), "smaller than all");
        assert_eq!(bench.keep(122, 3), (NO_SESSION, false), "two of one size would take turns");
        assert_eq!(bench.keep(122, 4), (3, true));
        assert_eq!(bench.ids(), [1, 3]);
        assert_eq!(bench.keep(123, 5), (NO_SESSION, false), "the new one is safe, the old one larger");
    }

    #[test]
    fn memory_is_bounded_however_few_the_sessions_are() {
        let mut bench = Bench::new(100);
        bench.cache.bytes_max = session(10).size().bytes;
        assert_eq!(bench.keep(0, 11), (NO_SESSION, false));
        assert_eq!(bench.keep(0, 6), (1, false));
        assert_eq!(bench.keep(0, 5), (NO_SESSION, false));
        assert_eq!(bench.keep(0, 4), (2, false));
        assert!(bench.touch(1, 2, 3), "it has become smaller");
        assert!(!bench.touch(1, 1, 8), "one that grows beyond the bound goes");
        assert_eq!((bench.ids(), bench.cache.partitions()), (vec![2], 3));
        assert!(!bench.touch(1, 1, 1));
    }

    #[test]
    fn without_slots_nothing_is_kept_and_what_is_removed_leaves_nothing() {
        assert_eq!(Bench::new(0).keep(0, 1), (NO_SESSION, false));
        let mut bench = Bench::new(1);
        bench.keep(0, 3);
        bench.touch(500, 1, 2);
        bench.cache.remove(1);
        let cache = &bench.cache;
        assert_eq!((cache.total, cache.by_use.len(), cache.by_size.len()), (Size::default(), 0, 0));
        assert_eq!(bench.keep(500, 0), (NO_SESSION, false), "a session of nothing");
    }
}

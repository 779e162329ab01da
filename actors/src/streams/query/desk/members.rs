//! What the desk knows of one member.

use std::collections::BTreeMap;
use std::time::Duration;

use tokio::time::Instant;

use super::{Effect, HANDED_MAX, MemberShown, QueryRefusal, StoreAnswered, StoreQuery, StreamsQueries};
use crate::streams::query::message::{StoreShape, TaskShape};

/// A member of an application.
pub(super) struct Member<A, P> {
    /// Later members have greater ones.
    pub(super) number: u64,
    instance: String,
    host: String,
    pub(super) heard_at: Instant,
    /// How long it lets the desk wait, and may be silent after that.
    pub(super) wait: Duration,
    pub(super) tasks: Vec<TaskShape>,
    stores: Vec<StoreShape>,
    pub(super) open: BTreeMap<u64, Open<A>>,
    pub(super) parked: Option<Parked<P>>,
}

/// A question to a member.
pub(super) struct Open<A> {
    /// Until it is handed out.
    pub(super) query: Option<StoreQuery>,
    pub(super) bytes: usize,
    /// How many partitions the store has.
    pub(super) partitions: i32,
    pub(super) slot: A,
}

/// A member that waits for questions.
pub(super) struct Parked<P> {
    pub(super) number: u64,
    pub(super) slot: P,
}

/// A member knows the partitions that it has; who asks through the desk may ask for all of so many.
pub(super) fn with_partitions(
    result: Result<StoreAnswered, QueryRefusal>,
    partitions: i32,
) -> Result<StoreAnswered, QueryRefusal> {
    result.map(|answered| {
        let next = answered.partition.saturating_add(1);
        StoreAnswered { next_partition: (next < partitions).then_some(next), ..answered }
    })
}

impl<A, P> Member<A, P> {
    pub(super) const fn new(number: u64, now: Instant) -> Self {
        Self {
            number,
            instance: String::new(),
            host: String::new(),
            heard_at: now,
            wait: Duration::ZERO,
            tasks: Vec::new(),
            stores: Vec::new(),
            open: BTreeMap::new(),
            parked: None,
        }
    }

    /// It says what it runs.
    pub(super) fn heard(
        &mut self,
        now: Instant,
        (instance, host): (String, &str),
        mut tasks: Vec<TaskShape>,
        mut stores: Vec<StoreShape>,
    ) {
        tasks.sort_unstable();
        stores.sort_unstable();
        (self.instance, self.host, self.heard_at) = (instance, host.to_owned(), now);
        (self.tasks, self.stores) = (tasks, stores);
    }

    /// Gives it what waits for it, where it waits for something. It may be silent for as long as ever after that.
    pub(super) fn hand(&mut self, now: Instant) -> Option<Effect<A, P>> {
        let parked = self.parked.take_if(|_| self.open.values().any(|open| open.query.is_some()))?;
        self.heard_at = now;
        let waiting = self.open.iter_mut().filter(|(_, open)| open.query.is_some()).take(HANDED_MAX);
        let queries = waiting.filter_map(|(number, open)| Some((*number, open.query.take()?)));
        Some(Effect::Hand(parked.slot, StreamsQueries { queries: queries.collect() }))
    }

    pub(super) fn is_dead(&self, now: Instant) -> bool {
        self.parked.is_none() && now.saturating_duration_since(self.heard_at) > self.wait
    }

    pub(super) fn store(&self, name: &str) -> Option<&StoreShape> {
        let place = self.stores.binary_search_by(|store| store.name.as_str().cmp(name));
        place.ok().and_then(|place| self.stores.get(place))
    }

    pub(super) fn runs(&self, part: u32, partition: i32, is_standby: bool) -> bool {
        self.tasks.binary_search(&TaskShape { part, partition, is_standby }).is_ok()
    }

    /// Its tasks and stores.
    pub(super) const fn shapes(&self) -> usize {
        self.tasks.len().saturating_add(self.stores.len())
    }

    pub(super) fn shown(&self, now: Instant) -> MemberShown {
        let heard_ms = now.saturating_duration_since(self.heard_at).as_millis();
        MemberShown {
            instance: self.instance.clone(),
            host: self.host.clone(),
            heard_ms: u64::try_from(heard_ms).unwrap_or(u64::MAX),
            tasks: self.tasks.clone(),
            stores: self.stores.clone(),
            waiting: u32::try_from(self.open.len()).unwrap_or(u32::MAX),
        }
    }
}

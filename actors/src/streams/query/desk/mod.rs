//! The desk of a node: where questions to stores wait for the members that fetch them, of the applications whose groups the
//! node coordinates. Pure.
//!
//! Who asks and who fetches leave a slot each; every slot comes back once, in an `Effect`. What members said is all that the
//! desk knows: it is told again within seconds to whoever coordinates next, so nothing of it is kept in a log.

mod front;
mod members;
mod waiting;

#[cfg(test)]
mod tests;

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use tokio::time::Instant;

pub use front::StreamsDesk;
use members::{Member, Open, Parked, with_partitions};
use waiting::Waiting;

use super::QueryRefusal;
use super::message::{MemberShown, StoreAnswered, StoreQuery, StreamsPoll, StreamsQueries, StreamsShown};
use crate::error::{ErrorCode, Refusal};
use crate::record::key_hash::partition_for_key;

/// Questions that may wait at a node, and their bytes.
const ASKED_MAX: usize = 4_096;
const ASKED_BYTES_MAX: usize = 64 << 20;

/// Bytes of one: more than two keys, a store's name and what to go on after can have.
const QUERY_BYTES_MAX: usize = 128 << 10;

/// Questions that may wait for one member: fewer than what one link may leave unanswered, so that a member that hangs holds up
/// nobody else.
const OPEN_MAX: usize = 512;

/// Questions that are handed out at once.
const HANDED_MAX: usize = 64;

/// Members of all applications of a node, and all the tasks and stores that they may say they have.
const MEMBERS_MAX: usize = 10_000;
const SHAPES_MAX: usize = 100_000;

/// The longest that a member may let the desk wait, and so the longest that one which has died is believed in.
const WAIT_MAX: Duration = Duration::from_secs(10);

/// How often it is looked which members are dead.
const LOOK_EVERY: Duration = Duration::from_millis(100);

/// What becomes of a slot.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Effect<A, P> {
    /// Who asked is answered.
    Answer(A, Result<StoreAnswered, QueryRefusal>),
    /// Who fetches is given these; none where its time is over.
    Hand(P, StreamsQueries),
    /// Who fetches is refused.
    Refuse(P, Refusal),
}

/// What the desk says to somebody.
pub(super) type Effects<A, P> = Vec<Effect<A, P>>;

/// The desk, with slots of those who ask and of those who fetch.
pub(super) struct Desk<A, P> {
    applications: BTreeMap<Arc<str>, BTreeMap<String, Member<A, P>>>,
    /// Numbers questions and members.
    last: u64,
    asked: Waiting,
    members: usize,
    /// Tasks and stores of all members.
    shapes: usize,
    /// When it was last looked which members are dead.
    looked: Option<Instant>,
}

impl<A, P> Default for Desk<A, P> {
    fn default() -> Self {
        Self {
            applications: BTreeMap::new(),
            last: 0,
            asked: Waiting::default(),
            members: 0,
            shapes: 0,
            looked: None,
        }
    }
}

impl<A, P> Desk<A, P> {
    /// A member answers, says what it runs, and waits for questions: by a number, until [`Self::wait_over`].
    pub(super) fn poll(
        &mut self,
        now: Instant,
        (poll, host): (StreamsPoll, &str),
        slot: P,
    ) -> (u64, Effects<A, P>) {
        let mut effects = self.expire(now);
        let number = self.number();
        let StreamsPoll { application, member, instance, wait_ms, tasks, stores, answers } = poll;
        let application: Arc<str> = application.into();
        let known = self.applications.get(&application).and_then(|members| members.get(&member));
        let (is_known, had) = (known.is_some(), known.map_or(0, Member::shapes));
        let shapes = self.shapes.saturating_sub(had).saturating_add(tasks.len()).saturating_add(stores.len());
        if shapes > SHAPES_MAX || (!is_known && self.members >= MEMBERS_MAX) {
            let text = "more members, tasks or stores than a node keeps the questions of";
            effects.push(Effect::Refuse(slot, Refusal::new(ErrorCode::ThrottlingQuotaExceeded, text)));
            return (number, effects);
        }
        self.shapes = shapes;
        self.members += usize::from(!is_known);
        let members = self.applications.entry(Arc::clone(&application)).or_default();
        let known = members.entry(member.clone()).or_insert_with(|| Member::new(number, now));
        for answer in answers {
            if let Some(open) = known.open.remove(&answer.number) {
                let Open { partitions, slot, bytes, .. } = open;
                self.asked.end(bytes);
                effects.push(Effect::Answer(slot, with_partitions(answer.result, partitions)));
            }
        }
        known.heard(now, (instance, host), tasks, stores);
        known.wait = Duration::from_millis(wait_ms.into()).min(WAIT_MAX);
        if let Some(earlier) = known.parked.take() {
            effects.push(Effect::Hand(earlier.slot, StreamsQueries::default()));
        }
        if known.wait.is_zero() {
            effects.push(Effect::Hand(slot, StreamsQueries::default()));
            effects.extend(self.remove(&application, &member, "its process has ended"));
            return (number, effects);
        }
        known.parked = Some(Parked { number, slot });
        effects.extend(known.hand(now));
        (number, effects)
    }

    /// A member has waited for long enough.
    pub(super) fn wait_over(
        &mut self,
        now: Instant,
        application: &str,
        member: &str,
        number: u64,
    ) -> Effects<A, P> {
        let members = self.applications.get_mut(application);
        let Some(known) = members.and_then(|members| members.get_mut(member)) else { return Vec::new() };
        let parked = known.parked.take_if(|parked| parked.number == number);
        if parked.is_some() {
            known.heard_at = now;
        }
        parked.map(|parked| Effect::Hand(parked.slot, StreamsQueries::default())).into_iter().collect()
    }

    /// A question to a store: the number by which it may be given up, unless it is answered at once.
    pub(super) fn ask(
        &mut self,
        now: Instant,
        application: &str,
        query: StoreQuery,
        slot: A,
    ) -> (Option<Ticket>, Effects<A, P>) {
        let mut effects = self.expire(now);
        let number = self.number();
        let chosen = match self.choose(application, &query) {
            Ok(chosen) => chosen,
            Err(refusal) => {
                effects.push(Effect::Answer(slot, Err(refusal)));
                return (None, effects);
            }
        };
        let bytes = query.bytes();
        let members = self.applications.get_mut(application);
        let member = members.and_then(|members| members.get_mut(&chosen.member));
        let member = member.filter(|member| member.open.len() < OPEN_MAX);
        let Some(member) = member.filter(|_| self.asked.begin(bytes)) else {
            let text = "as many questions wait for the process, or at this node, as may".to_owned();
            effects.push(Effect::Answer(slot, Err(QueryRefusal::Busy(text))));
            return (None, effects);
        };
        let query = StoreQuery { partition: Some(chosen.partition), ..query };
        let open = Open { query: Some(query), bytes, partitions: chosen.partitions, slot };
        member.open.insert(number, open);
        effects.extend(member.hand(now));
        let ticket = Ticket { application: application.to_owned(), member: chosen.member, number };
        (Some(ticket), effects)
    }

    /// Nobody waits for this answer any more.
    pub(super) fn give_up(&mut self, ticket: &Ticket) -> Effects<A, P> {
        let members = self.applications.get_mut(ticket.application.as_str());
        let member = members.and_then(|members| members.get_mut(&ticket.member));
        let Some(open) = member.and_then(|member| member.open.remove(&ticket.number)) else {
            return Vec::new();
        };
        self.asked.end(open.bytes);
        let text = "its process did not answer in time".to_owned();
        vec![Effect::Answer(open.slot, Err(QueryRefusal::Retry(text)))]
    }

    /// Members that were not heard for too long are dead. Looked at now and then only, however many ask.
    pub(super) fn expire(&mut self, now: Instant) -> Effects<A, P> {
        if self.looked.is_some_and(|looked| now.saturating_duration_since(looked) < LOOK_EVERY) {
            return Vec::new();
        }
        self.looked = Some(now);
        let of = |(application, members): (&Arc<str>, &BTreeMap<String, Member<A, P>>)| {
            let dead = members.iter().filter(|(_, member)| member.is_dead(now));
            dead.map(|(member, _)| (Arc::clone(application), member.clone())).collect::<Vec<_>>()
        };
        let dead: Vec<_> = self.applications.iter().flat_map(of).collect();
        let each = dead.into_iter();
        each.flat_map(|(application, member)| self.remove(&application, &member, "its process has died"))
            .collect()
    }

    /// Another node coordinates the application now.
    pub(super) fn forget(&mut self, application: &str) -> Effects<A, P> {
        let members = self.applications.get(application).into_iter().flat_map(BTreeMap::keys);
        let members: Vec<String> = members.cloned().collect();
        let why = "another node coordinates its application now";
        members.iter().flat_map(|member| self.remove(application, member, why)).collect()
    }

    /// The applications whose members are known here.
    pub(super) fn shown(&self, now: Instant, only: Option<&str>) -> Vec<StreamsShown> {
        let wanted = self.applications.iter().filter(|(name, _)| only.is_none_or(|only| only == &***name));
        let shown = |(application, members): (&Arc<str>, &BTreeMap<String, Member<A, P>>)| StreamsShown {
            application: application.to_string(),
            members: members.iter().map(|(id, member)| (id.clone(), member.shown(now))).collect(),
        };
        wanted.map(shown).collect()
    }

    fn remove(&mut self, application: &str, member: &str, why: &str) -> Effects<A, P> {
        let Some(members) = self.applications.get_mut(application) else { return Vec::new() };
        let Some(gone) = members.remove(member) else { return Vec::new() };
        if members.is_empty() {
            self.applications.remove(application);
        }
        self.members = self.members.saturating_sub(1);
        self.shapes = self.shapes.saturating_sub(gone.shapes());
        gone.open.values().for_each(|open| self.asked.end(open.bytes));
        let parked = gone.parked.map(|parked| Effect::Hand(parked.slot, StreamsQueries::default()));
        let retry = || Err(QueryRefusal::Retry(why.to_owned()));
        let open = gone.open.into_values().map(|open| Effect::Answer(open.slot, retry()));
        parked.into_iter().chain(open).collect()
    }

    /// Who is to answer.
    fn choose(&self, application: &str, query: &StoreQuery) -> Result<Chosen, QueryRefusal> {
        if query.bytes() > QUERY_BYTES_MAX {
            let text = format!("a question of {} bytes is longer than any to a store", query.bytes());
            return Err(QueryRefusal::WrongType(text));
        }
        let not_running = |text: &str| QueryRefusal::NotRunning(format!("{application}: {text}"));
        let members = self.applications.get(application);
        let members = members.ok_or_else(|| not_running("no process that runs it is known here"))?;
        let name = query.store.as_str();
        let has_it =
            || members.iter().filter_map(move |(id, member)| Some((id, member, member.store(name)?)));
        // One of an earlier version of the topology has no tasks, and may number its sub-topologies otherwise.
        let latest = has_it().max_by_key(|(_, member, _)| (!member.tasks.is_empty(), member.number));
        let Some((_, _, shape)) = latest else {
            let runs = members.values().any(|member| !member.tasks.is_empty());
            let unknown = || QueryRefusal::UnknownStore(format!("{application} has no store {name:?}"));
            return Err(if runs { unknown() } else { not_running("its stores are being brought up") });
        };
        let Some(part) = shape.part else {
            let tables = has_it().filter(|(_, _, shape)| shape.part.is_none());
            let least = tables.min_by_key(|(_, member, _)| member.open.len());
            let (id, ..) = least.ok_or_else(|| not_running("no process has the table"))?;
            return Ok(Chosen { member: id.clone(), partition: 0, partitions: 1 });
        };
        let count = u32::try_from(shape.partitions).unwrap_or(0);
        let of_key = || i32::try_from(partition_for_key(query.ask.key()?, count)).ok();
        let partition = query.partition.or_else(of_key).unwrap_or(0);
        if !(0..shape.partitions).contains(&partition) {
            let text = format!("{name:?} has {count} partitions, and not {partition}");
            return Err(QueryRefusal::WrongType(text));
        }
        let has_task = |is_standby: bool| {
            let running = has_it().filter(move |(_, member, shape)| {
                shape.part.is_some_and(|part| member.runs(part, partition, is_standby))
            });
            // Of two that say so the later one has taken the task over.
            running.max_by_key(|(_, member, _)| member.number)
        };
        let standby = || query.allows_standby.then(|| has_task(true)).flatten();
        let found = has_task(false).or_else(standby);
        let (id, ..) =
            found.ok_or_else(|| not_running(&format!("nobody has task {part}_{partition} now")))?;
        Ok(Chosen { member: id.clone(), partition, partitions: shape.partitions })
    }

    fn number(&mut self) -> u64 {
        self.last = self.last.wrapping_add(1);
        self.last
    }
}

/// A question that waits.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Ticket {
    application: String,
    member: String,
    number: u64,
}

struct Chosen {
    member: String,
    partition: i32,
    partitions: i32,
}

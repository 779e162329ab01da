//! Topics subscribed to by regular expression.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use regex_lite::{Regex, RegexBuilder};

use super::shown::{Budget, Shown};
use super::{Group, Surroundings};
use crate::error::{ErrorCode, Refusal};
use crate::group::topics::{TopicRights, TopicsView};
use crate::ids::TopicId;

/// The longest expression taken, in bytes.
const MAX_BYTES: usize = 1_024;

/// The largest compiled expression taken, in bytes.
const MAX_COMPILED_BYTES: usize = 64 * 1_024;

/// So many lists of names are kept for each member that was heard of, until those that nobody needs are looked for: members
/// have one each.
const SHOWN_PER_MEMBER: usize = 2;

/// Compiles an expression, which has to match the whole of a name.
pub(super) fn compile(pattern: &str) -> Result<Regex, Refusal> {
    let refuse = |why: &str| {
        let text = format!("the subscription's regular expression {pattern:?} is wrong: {why}");
        Refusal::new(ErrorCode::InvalidRegularExpression, text)
    };
    if pattern.len() > MAX_BYTES {
        let text =
            format!("the subscription's regular expression has {} bytes; at most {MAX_BYTES}", pattern.len());
        return Err(Refusal::new(ErrorCode::InvalidRegularExpression, text));
    }
    // By itself first: `a)(b` is none, but would be one within the brackets.
    let build = |text: &str| RegexBuilder::new(text).size_limit(MAX_COMPILED_BYTES).build();
    build(pattern).map_err(|error| refuse(&error.to_string()))?;
    build(&format!("^(?:{pattern})$")).map_err(|error| refuse(&error.to_string()))
}

/// Names of topics, in order.
pub(super) type Names = Arc<[Arc<str>]>;

/// An expression, and the name of who subscribes by it.
type Key = (Arc<str>, Arc<str>);

/// A member, as its last heartbeat said.
#[derive(Debug)]
struct Heard {
    /// What shows which topics it may know of; `None` where it may know of all.
    rights: Option<Arc<dyn TopicRights>>,
    /// Where it is kept what it is shown.
    key: Option<Key>,
    /// An expression of its, and what that found when last all names were looked up.
    found: Option<(Arc<str>, Names)>,
}

/// What expressions find, so that topics are gone through once per expression, who subscribes by it, and change of topics or
/// lists.
#[derive(Debug, Default)]
pub(super) struct Patterns {
    /// By expression, with the version of the topics that were gone through.
    matched: BTreeMap<Arc<str>, (u64, Names)>,
    shown: BTreeMap<Key, Shown>,
    budget: Budget,
    /// By member. Not in the records: of whoever was not heard since they were read back it is not known.
    heard: BTreeMap<Arc<str>, Heard>,
    /// What each member's expression had found when it was last computed what everybody is to own.
    told: BTreeMap<Arc<str>, Names>,
}

impl Patterns {
    /// Time has come to this, in milliseconds of the monotonic clock.
    pub(super) fn renew(&mut self, now_ms: u64) {
        self.budget.renew(now_ms);
    }

    /// A member was heard of, with these rights; without, it may know of everything.
    pub(super) fn hear(&mut self, member: &str, rights: Option<Arc<dyn TopicRights>>) {
        match self.heard.get_mut(member) {
            Some(known) => known.rights = rights,
            None => drop(self.heard.insert(member.into(), Heard { rights, key: None, found: None })),
        }
    }

    /// Forgets a member.
    pub(super) fn forget(&mut self, member: &str) {
        self.heard.remove(member);
        self.told.remove(member);
    }

    /// The names that a member's expression finds: those that match and that it may know of. Names of internal topics, which
    /// begin with `__`, are not matched.
    ///
    /// While names are still to be looked up ([`Self::is_looking`]), those found before; of a member of which nothing was found
    /// before, those of which it is to own something. Of a member that was not heard of yet, what it most likely finds: if that
    /// is wrong, it is put right with its first heartbeat, before it is told.
    pub(super) fn find(
        &mut self,
        group: &Group,
        (member, pattern): (&Arc<str>, &Arc<str>),
        around: &Surroundings<'_>,
    ) -> Names {
        let matched = self.matches(pattern, around.topics);
        let Some(heard) = self.heard.get_mut(member) else { return unheard(group, matched, around) };
        let Some(rights) = &heard.rights else { return matched };
        let lists = rights.lists();
        let key = (Arc::clone(pattern), rights.name(&lists));
        let shown = self.shown.entry(key.clone()).or_default();
        heard.key = Some(key);
        if let Some(names) = shown.names((&**rights, &lists), &matched, &mut self.budget) {
            heard.found = Some((Arc::clone(pattern), names));
        }
        let found = heard.found.as_ref().filter(|(of, _)| of == pattern);
        let names = found.map_or_else(|| owned_of(group, member, &matched), |(_, names)| Arc::clone(names));
        // A member may come from ever new addresses, each with rights of its own.
        if self.shown.len() > SHOWN_PER_MEMBER * self.heard.len() {
            self.keep_only(|_| true);
        }
        names
    }

    /// Whether names that a member's expression matches are still to be looked up: it is to come back soon.
    pub(super) fn is_looking(&self, member: &str) -> bool {
        let key = self.heard.get(member).and_then(|heard| heard.key.as_ref());
        key.and_then(|key| self.shown.get(key)).is_some_and(Shown::is_under_way)
    }

    /// Notes what members' expressions have found, on which what everybody is to own now rests.
    pub(super) fn tell(&mut self, found: BTreeMap<Arc<str>, Names>) {
        self.told = found;
    }

    /// Whether a member's expression finds something else now than what it is to own rests on.
    pub(super) fn finds_others(
        &mut self,
        group: &Group,
        (member, pattern): (&Arc<str>, &Arc<str>),
        around: &Surroundings<'_>,
    ) -> bool {
        let found = self.find(group, (member, pattern), around);
        if let Some(told) = self.told.get_mut(member) {
            let differs = *told != found;
            if !differs {
                // The next heartbeat sees that it is the same list.
                *told = found;
            }
            return differs;
        }
        // Read back from its records: they say what it is to own, and what the whole group reads.
        let known: BTreeSet<TopicId> =
            found.iter().filter_map(|name| Some(group.topics.get(name)?.id)).collect();
        known.len() != found.len() || !owned_topics(group, member).is_subset(&known)
    }

    fn matches(&mut self, pattern: &Arc<str>, topics: &dyn TopicsView) -> Names {
        let (version, before) = (topics.version(), self.matched.get(pattern));
        if let Some((_, names)) = before.filter(|(of, _)| *of == version) {
            return Arc::clone(names);
        }
        // One that was taken before and is refused now matches nothing.
        let names: Names = match compile(pattern) {
            Ok(regex) => topics
                .names()
                .into_iter()
                .filter(|name| !name.starts_with("__") && regex.is_match(name))
                .collect(),
            Err(_) => Arc::new([]),
        };
        // What was looked up for the same list still holds.
        let names =
            before.map(|(_, before)| before).filter(|before| **before == names).map_or(names, Arc::clone);
        self.matched.insert(Arc::clone(pattern), (version, Arc::clone(&names)));
        names
    }

    /// For how many pairs of an expression and who subscribes by it there is a list of names.
    #[cfg(test)]
    pub(super) fn kept(&self) -> usize {
        self.shown.len()
    }

    /// Forgets expressions that nobody subscribes to, and what those who have gone by now could see.
    pub(super) fn keep_only(&mut self, wanted: impl Fn(&Arc<str>) -> bool) {
        let used: BTreeSet<&Key> = self.heard.values().filter_map(|heard| heard.key.as_ref()).collect();
        self.shown.retain(|key, _| wanted(&key.0) && used.contains(key));
        self.matched.retain(|pattern, _| wanted(pattern));
    }
}

/// What a member finds that was not heard of yet, of `matched`: what is wrong has the whole group's share computed again when
/// it is heard, once for each such member. So where lists show it less, all that the group reads: members of one group mostly
/// have the same rights.
fn unheard(group: &Group, matched: Names, around: &Surroundings<'_>) -> Names {
    if !around.settings.has_authorizer {
        return matched;
    }
    matched.iter().filter(|name| group.topics.contains_key(*name)).cloned().collect()
}

/// The topics of which a member is to own something, by names or by an expression.
fn owned_topics(group: &Group, member: &str) -> BTreeSet<TopicId> {
    group.target(member).iter().map(|partition| partition.topic).collect()
}

/// Those of `matched` of which a member is to own something.
fn owned_of(group: &Group, member: &str, matched: &Names) -> Names {
    let owned = owned_topics(group, member);
    let is_owned = |name: &&Arc<str>| group.topics.get(*name).is_some_and(|shape| owned.contains(&shape.id));
    matched.iter().filter(is_owned).cloned().collect()
}

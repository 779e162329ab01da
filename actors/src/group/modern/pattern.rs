//! Topics subscribed to by regular expression.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use regex_lite::{Regex, RegexBuilder};

use super::Group;
use crate::access::Acls;
use crate::error::{ErrorCode, Refusal};
use crate::group::topics::{TopicRights, TopicsView};
use crate::ids::TopicId;

/// The longest expression taken, in bytes.
const MAX_BYTES: usize = 1_024;

/// The largest compiled expression taken, in bytes.
const MAX_COMPILED_BYTES: usize = 64 * 1_024;

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

/// What a member may know of, as its last heartbeat said.
#[derive(Debug)]
enum Heard {
    /// Everything.
    OfAll,
    /// What these rights show.
    With(Arc<dyn TopicRights>),
}

/// What lists that were looked at showed somebody of what an expression matched.
#[derive(Debug)]
struct Shown {
    lists: Arc<Acls>,
    names: Names,
}

/// What expressions find, so that topics are gone through once per expression, who subscribes by it, and change of topics or
/// lists.
#[derive(Debug, Default)]
pub(super) struct Patterns {
    version: Option<u64>,
    matched: BTreeMap<Arc<str>, Names>,
    /// By expression and name of who subscribes.
    shown: BTreeMap<(Arc<str>, Arc<str>), Shown>,
    /// By member. Not in the records: of whoever was not heard since they were read back it is not known.
    heard: BTreeMap<Arc<str>, Heard>,
    /// What each member's expression had found when it was last computed what everybody is to own.
    told: BTreeMap<Arc<str>, Names>,
}

impl Patterns {
    /// A member was heard of, with these rights; without, it may know of everything.
    pub(super) fn hear(&mut self, member: &str, rights: Option<Arc<dyn TopicRights>>) {
        let heard = rights.map_or(Heard::OfAll, Heard::With);
        match self.heard.get_mut(member) {
            Some(known) => *known = heard,
            None => drop(self.heard.insert(member.into(), heard)),
        }
    }

    /// Forgets a member.
    pub(super) fn forget(&mut self, member: &str) {
        self.heard.remove(member);
        self.told.remove(member);
    }

    /// The names that a member's expression finds: those that match and that it may know of. Names of internal topics, which
    /// begin with `__`, are not matched. Of a member that was not heard of yet, those of which it is to own something.
    pub(super) fn find(
        &mut self,
        group: &Group,
        (member, pattern): (&Arc<str>, &Arc<str>),
        topics: &dyn TopicsView,
    ) -> Names {
        let matched = self.matches(pattern, topics);
        match self.heard.get(member) {
            Some(Heard::OfAll) => matched,
            Some(Heard::With(rights)) => {
                let lists = rights.lists();
                let key = (Arc::clone(pattern), Arc::clone(rights.name()));
                if let Some(shown) = self.shown.get(&key).filter(|shown| Arc::ptr_eq(&shown.lists, &lists)) {
                    return Arc::clone(&shown.names);
                }
                let names: Names =
                    matched.iter().filter(|name| rights.may_describe(&lists, name)).cloned().collect();
                self.shown.insert(key, Shown { lists, names: Arc::clone(&names) });
                names
            }
            None => {
                let owned = owned_topics(group, member);
                let is_owned =
                    |name: &&Arc<str>| group.topics.get(*name).is_some_and(|shape| owned.contains(&shape.id));
                matched.iter().filter(is_owned).cloned().collect()
            }
        }
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
        topics: &dyn TopicsView,
    ) -> bool {
        let found = self.find(group, (member, pattern), topics);
        if let Some(told) = self.told.get(member) {
            return *told != found;
        }
        // Read back from its records: they say what it is to own, and what the whole group reads.
        let known: BTreeSet<TopicId> =
            found.iter().filter_map(|name| Some(group.topics.get(name)?.id)).collect();
        known.len() != found.len() || !owned_topics(group, member).is_subset(&known)
    }

    fn matches(&mut self, pattern: &Arc<str>, topics: &dyn TopicsView) -> Names {
        if self.version != Some(topics.version()) {
            self.matched.clear();
            self.shown.clear();
            self.version = Some(topics.version());
        }
        if let Some(names) = self.matched.get(pattern) {
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
        self.matched.insert(Arc::clone(pattern), Arc::clone(&names));
        names
    }

    /// Forgets expressions that nobody subscribes to, and what those who have gone by now could see.
    pub(super) fn keep_only(&mut self, wanted: impl Fn(&Arc<str>) -> bool) {
        let heard: BTreeSet<&Arc<str>> = self
            .heard
            .values()
            .filter_map(|heard| match heard {
                Heard::With(rights) => Some(rights.name()),
                Heard::OfAll => None,
            })
            .collect();
        self.shown.retain(|(pattern, name), _| wanted(pattern) && heard.contains(name));
        self.matched.retain(|pattern, _| wanted(pattern));
    }
}

/// The topics of which a member is to own something, by names or by an expression.
fn owned_topics(group: &Group, member: &str) -> BTreeSet<TopicId> {
    group.target(member).iter().map(|partition| partition.topic).collect()
}

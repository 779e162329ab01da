//! All entries, and what they say about one question.

use std::collections::{BTreeMap, BTreeSet};

use super::acl::{ANYBODY, Acl, AclFilter, Operation, PatternType, Permission, ResourceType, WILDCARD};

/// The most entries of a cluster.
pub const ACLS_MAX: usize = 1 << 16;

/// What is asked: may this principal, from this host, do that to this resource?
#[derive(Clone, Copy, Debug)]
pub struct Question<'a> {
    /// Who, as `User:name`.
    pub principal: &'a str,
    /// From which address.
    pub host: &'a str,
    /// What.
    pub operation: Operation,
    /// To what type of resource.
    pub resource: ResourceType,
    /// To which.
    pub name: &'a str,
}

/// What the entries say.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ruling {
    /// One allows it and none denies it.
    Allowed,
    /// One denies it; or some speak of the resource, and none allows it.
    Denied,
    /// None speaks of the resource.
    NothingSaid,
}

/// An entry without its pattern and its principal.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Entry {
    host: String,
    operation: Operation,
    permission: Permission,
}

/// The entries of a pattern by principal: a question looks at those of two, however many others there are.
type Principals = BTreeMap<String, BTreeSet<Entry>>;

type Patterns = BTreeMap<String, Principals>;

/// All entries of a cluster.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Acls {
    patterns: BTreeMap<(ResourceType, PatternType), Patterns>,
    count: usize,
    /// Entries about topics that are about one host.
    topic_hosts: usize,
}

impl Entry {
    fn of(acl: &Acl) -> Self {
        Self { host: acl.host.clone(), operation: acl.operation, permission: acl.permission }
    }

    fn is_from(&self, host: &str) -> bool {
        self.host == host || self.host == WILDCARD
    }

    fn denies(&self, operation: Operation) -> bool {
        self.permission == Permission::Deny
            && (self.operation == operation || self.operation == Operation::All)
    }

    fn allows(&self, operation: Operation) -> bool {
        self.permission == Permission::Allow && self.operation.implies(operation)
    }
}

/// The entries about a principal, from a host.
fn about<'a>(
    principals: &'a Principals,
    principal: &'a str,
    host: &'a str,
) -> impl Iterator<Item = &'a Entry> {
    let distinct = if principal == ANYBODY { 1 } else { 2 };
    let mine = [principal, ANYBODY].into_iter().take(distinct).filter_map(|whose| principals.get(whose));
    mine.flatten().filter(move |entry| entry.is_from(host))
}

fn is_about_host_of_topics(resource: ResourceType, host: &str) -> bool {
    resource == ResourceType::Topic && host != WILDCARD
}

impl Acls {
    /// How many there are.
    #[must_use]
    pub const fn len(&self) -> usize {
        self.count
    }

    /// Whether there are none.
    #[must_use]
    pub const fn is_empty(&self) -> bool {
        self.count == 0
    }

    /// Whether it matters to somebody's rights to topics from which host they come.
    #[must_use]
    pub const fn tell_hosts_of_topics_apart(&self) -> bool {
        self.topic_hosts > 0
    }

    /// All of them, in order.
    pub fn iter(&self) -> impl Iterator<Item = Acl> {
        const EVERY: &AclFilter = &AclFilter::EVERY;
        self.found(EVERY)
    }

    /// Those that a filter takes, in order. Only they are copied.
    pub fn found<'a>(&'a self, filter: &'a AclFilter) -> impl Iterator<Item = Acl> {
        let names = self.patterns.iter().flat_map(|(key, names)| names.iter().map(move |of| (*key, of)));
        let names =
            names.filter(|((resource, pattern), (name, _))| filter.takes_resource(*resource, *pattern, name));
        let principals = names.flat_map(move |(key, (name, principals))| {
            let taken = principals.iter().filter(|(principal, _)| filter.takes_principal(principal));
            taken.map(move |(principal, entries)| (key, name, principal, entries))
        });
        principals.flat_map(move |((resource, pattern), name, principal, entries)| {
            let taken = entries
                .iter()
                .filter(|entry| filter.takes_rest(&entry.host, entry.operation, entry.permission));
            taken.map(move |entry| Acl {
                resource,
                pattern,
                name: name.clone(),
                principal: principal.clone(),
                host: entry.host.clone(),
                operation: entry.operation,
                permission: entry.permission,
            })
        })
    }

    /// Whether this one is there.
    #[must_use]
    pub fn contains(&self, acl: &Acl) -> bool {
        let names = self.patterns.get(&(acl.resource, acl.pattern));
        let entries = names.and_then(|names| names.get(&acl.name)?.get(&acl.principal));
        entries.is_some_and(|entries| entries.contains(&Entry::of(acl)))
    }

    /// Adds one; false if it was there.
    pub fn insert(&mut self, acl: Acl) -> bool {
        let Acl { resource, pattern, name, principal, host, operation, permission } = acl;
        let is_of_host = is_about_host_of_topics(resource, &host);
        let names = self.patterns.entry((resource, pattern)).or_default();
        let entries = names.entry(name).or_default().entry(principal).or_default();
        let is_new = entries.insert(Entry { host, operation, permission });
        self.count += usize::from(is_new);
        self.topic_hosts += usize::from(is_new && is_of_host);
        is_new
    }

    /// Removes one; false if it was not there.
    pub fn remove(&mut self, acl: &Acl) -> bool {
        let key = (acl.resource, acl.pattern);
        let Some(names) = self.patterns.get_mut(&key) else { return false };
        let Some(principals) = names.get_mut(&acl.name) else { return false };
        let Some(entries) = principals.get_mut(&acl.principal) else { return false };
        let was_there = entries.remove(&Entry::of(acl));
        self.count -= usize::from(was_there);
        self.topic_hosts -= usize::from(was_there && is_about_host_of_topics(acl.resource, &acl.host));
        if entries.is_empty() {
            principals.remove(&acl.principal);
        }
        if principals.is_empty() {
            names.remove(&acl.name);
        }
        if names.is_empty() {
            self.patterns.remove(&key);
        }
        was_there
    }

    /// What the entries say: a denial goes over everything that allows.
    #[must_use]
    pub fn ruling(&self, question: Question<'_>) -> Ruling {
        let Question { principal, host, operation, resource, name } = question;
        let (mut is_spoken_of, mut is_allowed) = (false, false);
        for principals in self.speaking_of(resource, name) {
            is_spoken_of = true;
            for entry in about(principals, principal, host) {
                if entry.denies(operation) {
                    return Ruling::Denied;
                }
                is_allowed |= entry.allows(operation);
            }
        }
        match (is_allowed, is_spoken_of) {
            (true, _) => Ruling::Allowed,
            (false, true) => Ruling::Denied,
            (false, false) => Ruling::NothingSaid,
        }
    }

    /// The entries whose patterns this name fits.
    fn speaking_of<'a>(
        &'a self,
        resource: ResourceType,
        name: &'a str,
    ) -> impl Iterator<Item = &'a Principals> {
        let literal = self.patterns.get(&(resource, PatternType::Literal));
        let names = [name, WILDCARD];
        let distinct = if name == WILDCARD { 1 } else { names.len() };
        let literal = names.into_iter().take(distinct).filter_map(move |name| literal?.get(name));
        let prefixed = self.patterns.get(&(resource, PatternType::Prefixed));
        let ends = name.char_indices().map(|(start, letter)| start + letter.len_utf8());
        let prefixed = prefixed
            .into_iter()
            .flat_map(move |prefixed| ends.clone().filter_map(move |end| prefixed.get(name.get(..end)?)));
        literal.chain(prefixed)
    }

    /// Whether the principal may do this to at least one resource of the type that there is or may come to be
    /// (KIP-679): an entry allows it, and no denial covers all that this entry is about.
    #[must_use]
    pub fn ruling_on_any(
        &self,
        principal: &str,
        host: &str,
        operation: Operation,
        resource: ResourceType,
    ) -> Ruling {
        let named = |pattern: PatternType, is_it: fn(&Entry, Operation) -> bool| {
            let names = self.patterns.get(&(resource, pattern)).into_iter().flatten();
            let hit = move |principals: &Principals| {
                about(principals, principal, host).any(|entry| is_it(entry, operation))
            };
            names.filter(move |(_, principals)| hit(principals)).map(|(name, _)| name.as_str())
        };
        let denied: BTreeSet<&str> = named(PatternType::Literal, Entry::denies).collect();
        let denied_prefixes: BTreeSet<&str> = named(PatternType::Prefixed, Entry::denies).collect();
        if denied.contains(WILDCARD) {
            return Ruling::Denied;
        }
        let is_covered = |name: &str| denied_prefixes.iter().any(|prefix| name.starts_with(prefix));
        let by_name = named(PatternType::Literal, Entry::allows)
            .any(|name| name == WILDCARD || (!denied.contains(name) && !is_covered(name)));
        let by_prefix = || named(PatternType::Prefixed, Entry::allows).any(|name| !is_covered(name));
        if by_name || by_prefix() { Ruling::Allowed } else { Ruling::NothingSaid }
    }
}

impl FromIterator<Acl> for Acls {
    fn from_iter<I: IntoIterator<Item = Acl>>(acls: I) -> Self {
        let mut all = Self::default();
        for acl in acls {
            all.insert(acl);
        }
        all
    }
}

//! Users' actors as the whole cluster knows them: who has which name, who waits for it, who is in which group, and which
//! nodes were lost.
//!
//! A name has one owner: it is registered only while nobody has it, and released only by who has it. A node that dies or
//! leaves loses all in the very command that says so; a name for which others stand goes to the first of them at once.

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use serde::{Deserialize, Serialize};

use super::{Features, Image, NodeState};
use crate::error::{ErrorCode, Refusal};
use crate::ids::{ActorId, Incarnation, NodeId};

/// The longest name of an actor, a kind or a group.
pub const NAME_BYTES_MAX: usize = 255;

/// Changes that are remembered for those who watch names.
const CHANGES_MAX: usize = 1024;

/// Lives of one node whose loss is remembered.
const LOSSES_MAX: usize = 16;

/// Who has a name.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct NameOwner {
    /// The actor.
    pub actor: ActorId,
    /// What its user calls actors of its kind.
    pub kind: String,
    /// The version of the first image in which it has the name.
    pub since: u64,
}

/// A change that a node asks for, for its own actors.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum NameAlteration {
    /// Gives a name to an actor; refused if another has it.
    Register {
        /// The name.
        name: String,
        /// What its user calls actors of its kind.
        kind: String,
        /// The actor.
        serial: u64,
    },
    /// Takes the name from an actor, if it has it.
    Release {
        /// The name.
        name: String,
        /// The actor.
        serial: u64,
    },
    /// Changes nothing; refused unless the actor has the name when this is decided.
    Confirm {
        /// The name.
        name: String,
        /// The actor.
        serial: u64,
    },
    /// An actor waits for the name, and has it at once if nobody else does.
    Stand {
        /// The name.
        name: String,
        /// What its user calls actors of its kind.
        kind: String,
        /// The actor.
        serial: u64,
    },
    /// An actor waits for the name no longer, and gives it up if it has it.
    Withdraw {
        /// The name.
        name: String,
        /// The actor.
        serial: u64,
    },
    /// An actor becomes a member of a group.
    Join {
        /// The group.
        group: String,
        /// The actor.
        serial: u64,
    },
    /// An actor leaves a group.
    Leave {
        /// The group.
        group: String,
        /// The actor.
        serial: u64,
    },
}

impl NameAlteration {
    /// How many bytes its words have.
    #[must_use]
    pub const fn bytes(&self) -> usize {
        match self {
            Self::Register { name, kind, .. } | Self::Stand { name, kind, .. } => name.len() + kind.len(),
            Self::Release { name, .. } | Self::Confirm { name, .. } | Self::Withdraw { name, .. } => {
                name.len()
            }
            Self::Join { group, .. } | Self::Leave { group, .. } => group.len(),
        }
    }
}

/// Something that happened to names.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum NameEvent {
    /// A name has another owner, or none.
    Owner {
        /// The name.
        name: String,
        /// Who has it now.
        owner: Option<ActorId>,
    },
    /// A life of a node is lost, and with it all names of its actors.
    NodeLost {
        /// The node.
        node: NodeId,
        /// Its life.
        incarnation: Incarnation,
    },
}

/// An event, numbered from 0 for the cluster's whole life.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct NameChange {
    /// Its number.
    pub number: u64,
    /// The version of the first image that has it.
    pub version: u64,
    /// What happened.
    pub event: NameEvent,
}

/// All names, groups and losses.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Names {
    held: BTreeMap<String, NameOwner>,
    /// Who waits for a name, in the order in which they came. Those who have it are not among them.
    waiting: BTreeMap<String, VecDeque<(ActorId, String)>>,
    groups: BTreeMap<String, BTreeSet<ActorId>>,
    changes: VecDeque<NameChange>,
    next_change: u64,
    losses: BTreeMap<NodeId, VecDeque<(Incarnation, u64)>>,
}

impl Names {
    /// Who has a name.
    #[must_use]
    pub fn owner(&self, name: &str) -> Option<&NameOwner> {
        self.held.get(name)
    }

    /// All names with their owners.
    pub fn iter(&self) -> impl Iterator<Item = (&str, &NameOwner)> {
        self.held.iter().map(|(name, owner)| (name.as_str(), owner))
    }

    /// Whether an actor waits for a name.
    #[must_use]
    pub fn stands(&self, name: &str, actor: ActorId) -> bool {
        self.waiting.get(name).is_some_and(|waiting| waiting.iter().any(|(other, _)| *other == actor))
    }

    /// The members of a group, in the order of their ids.
    pub fn members(&self, group: &str) -> impl Iterator<Item = ActorId> {
        self.groups.get(group).into_iter().flatten().copied()
    }

    /// The groups of an actor.
    pub fn groups_of(&self, actor: ActorId) -> impl Iterator<Item = &str> {
        let groups = self.groups.iter().filter(move |(_, members)| members.contains(&actor));
        groups.map(|(group, _)| group.as_str())
    }

    /// The memberships of the actors of one life of a node.
    pub fn memberships_of(
        &self,
        node: NodeId,
        incarnation: Incarnation,
    ) -> impl Iterator<Item = (&str, ActorId)> {
        let of_it = move |serial| ActorId { node, incarnation, serial };
        self.groups.iter().flat_map(move |(group, members)| {
            members.range(of_it(0)..=of_it(u64::MAX)).map(move |actor| (group.as_str(), *actor))
        })
    }

    /// Which actors of one life of a node wait for which names.
    pub fn waiting_of(
        &self,
        node: NodeId,
        incarnation: Incarnation,
    ) -> impl Iterator<Item = (&str, ActorId)> {
        let is_of_it = move |actor: &ActorId| actor.node == node && actor.incarnation == incarnation;
        self.waiting.iter().flat_map(move |(name, waiting)| {
            let of_it = waiting.iter().map(|(actor, _)| *actor).filter(move |actor| is_of_it(actor));
            of_it.map(move |actor| (name.as_str(), actor))
        })
    }

    /// The number of the next event.
    #[must_use]
    pub const fn next_change(&self) -> u64 {
        self.next_change
    }

    /// The events from a number on, as far as they are remembered.
    pub fn changes_from(&self, number: u64) -> impl Iterator<Item = &NameChange> {
        self.changes.iter().skip_while(move |change| change.number < number)
    }

    /// The version with which the quorum took the node of an actor for lost, if it did after the version `since`: the same
    /// for whoever asks.
    #[must_use]
    pub fn lost(&self, actor: ActorId, since: u64) -> Option<u64> {
        let losses = self.losses.get(&actor.node)?;
        let own = losses.iter().find(|(life, version)| *life == actor.incarnation && *version > since);
        // A life whose loss is forgotten was lost before all that are remembered.
        let later = || losses.iter().find(|(life, _)| *life > actor.incarnation);
        own.or_else(later).map(|(_, version)| *version)
    }

    /// Names, those who wait for one, and memberships: what the bound counts.
    #[must_use]
    pub fn count(&self) -> usize {
        let waiting: usize = self.waiting.values().map(VecDeque::len).sum();
        let members: usize = self.groups.values().map(BTreeSet::len).sum();
        self.held.len() + waiting + members
    }

    fn note(&mut self, version: u64, event: NameEvent) {
        let number = self.next_change;
        self.next_change += 1;
        self.changes.push_back(NameChange { number, version, event });
        if self.changes.len() > CHANGES_MAX {
            self.changes.pop_front();
        }
    }

    fn give(&mut self, version: u64, name: &str, actor: ActorId, kind: String) {
        self.held.insert(name.to_owned(), NameOwner { actor, kind, since: version });
        self.note(version, NameEvent::Owner { name: name.to_owned(), owner: Some(actor) });
    }

    /// The name is free: the first who waits for it has it.
    fn pass_on(&mut self, version: u64, name: &str) {
        let Some(waiting) = self.waiting.get_mut(name) else { return };
        let next = waiting.pop_front();
        if waiting.is_empty() {
            self.waiting.remove(name);
        }
        if let Some((actor, kind)) = next {
            self.give(version, name, actor, kind);
        }
    }

    fn release(&mut self, version: u64, name: &str, actor: ActorId) {
        if self.held.get(name).is_some_and(|owner| owner.actor == actor) {
            self.held.remove(name);
            self.note(version, NameEvent::Owner { name: name.to_owned(), owner: None });
            self.pass_on(version, name);
        }
    }

    fn register(&mut self, version: u64, name: &str, kind: &str, actor: ActorId) -> Result<(), Refusal> {
        match self.held.get(name) {
            None => {
                self.give(version, name, actor, kind.to_owned());
                Ok(())
            }
            Some(owner) if owner.actor == actor => Ok(()),
            Some(owner) => {
                let text = format!("name {name:?} belongs to an actor on node {}", owner.actor.node);
                Err(Refusal::new(ErrorCode::DuplicateResource, text))
            }
        }
    }

    fn confirm(&self, name: &str, actor: ActorId) -> Result<(), Refusal> {
        if self.held.get(name).is_some_and(|owner| owner.actor == actor) {
            return Ok(());
        }
        let text = format!("name {name:?} does not belong to this actor any more");
        Err(Refusal::new(ErrorCode::InvalidUpdateVersion, text))
    }

    fn stand(&mut self, version: u64, name: &str, kind: &str, actor: ActorId) {
        match self.held.get(name) {
            Some(owner) if owner.actor == actor => {}
            None => self.give(version, name, actor, kind.to_owned()),
            Some(_) if self.stands(name, actor) => {}
            Some(_) => {
                self.waiting.entry(name.to_owned()).or_default().push_back((actor, kind.to_owned()));
            }
        }
    }

    fn withdraw(&mut self, version: u64, name: &str, actor: ActorId) {
        self.stop_waiting(|waiting_for, waiting| waiting_for == name && waiting == actor);
        self.release(version, name, actor);
    }

    fn stop_waiting(&mut self, ends: impl Fn(&str, ActorId) -> bool) {
        self.waiting.retain(|name, waiting| {
            waiting.retain(|(actor, _)| !ends(name, *actor));
            !waiting.is_empty()
        });
    }

    fn leave(&mut self, group: &str, actor: ActorId) {
        if let Some(members) = self.groups.get_mut(group) {
            members.remove(&actor);
            if members.is_empty() {
                self.groups.remove(group);
            }
        }
    }

    /// A life of a node is over: whatever its actors had is free.
    fn lose(&mut self, version: u64, node: NodeId, incarnation: Incarnation) {
        let is_of_it = |actor: ActorId| actor.node == node && actor.incarnation == incarnation;
        let losses = self.losses.entry(node).or_default();
        losses.push_back((incarnation, version));
        if losses.len() > LOSSES_MAX {
            losses.pop_front();
        }
        self.stop_waiting(|_, actor| is_of_it(actor));
        self.groups.retain(|_, members| {
            members.retain(|actor| !is_of_it(*actor));
            !members.is_empty()
        });
        let freed: Vec<String> = self
            .held
            .iter()
            .filter(|(_, owner)| is_of_it(owner.actor))
            .map(|(name, _)| name.clone())
            .collect();
        self.held.retain(|_, owner| !is_of_it(owner.actor));
        self.note(version, NameEvent::NodeLost { node, incarnation });
        for name in freed {
            self.pass_on(version, &name);
        }
    }

    /// Makes a change for an actor.
    fn alter(&mut self, version: u64, actor: ActorId, alteration: &NameAlteration) -> Result<(), Refusal> {
        match alteration {
            NameAlteration::Register { name, kind, .. } => self.register(version, name, kind, actor)?,
            NameAlteration::Release { name, .. } => self.release(version, name, actor),
            NameAlteration::Confirm { name, .. } => self.confirm(name, actor)?,
            NameAlteration::Stand { name, kind, .. } => self.stand(version, name, kind, actor),
            NameAlteration::Withdraw { name, .. } => self.withdraw(version, name, actor),
            NameAlteration::Join { group, .. } => {
                self.groups.entry(group.clone()).or_default().insert(actor);
            }
            NameAlteration::Leave { group, .. } => self.leave(group, actor),
        }
        Ok(())
    }
}

impl Image {
    /// Users' actors.
    #[must_use]
    pub const fn names(&self) -> &std::sync::Arc<Names> {
        &self.names
    }

    /// Makes a change that a node asks for; `most` is how many names and memberships there may be.
    pub(super) fn alter_names(
        &mut self,
        version: u64,
        (node, incarnation): (NodeId, Incarnation),
        alteration: &NameAlteration,
        most: u32,
    ) -> Result<(), Refusal> {
        self.features.require(Features::NAMES)?;
        let known = self.nodes.in_life(node, incarnation)?;
        let (words, serial, adds) = words(alteration);
        if words.iter().any(|word| word.is_empty() || word.len() > NAME_BYTES_MAX) {
            let text = format!("names, kinds and groups of actors have from 1 to {NAME_BYTES_MAX} bytes");
            return Err(Refusal::new(ErrorCode::InvalidRequest, text));
        }
        // Who is taken for dead, or leaves, has lost what it had, and gets nothing before it is live again.
        let is_there = matches!(known.state, NodeState::Live | NodeState::Starting);
        if adds && !is_there {
            let text = format!("node {node} is not live; its actors get no names");
            return Err(Refusal::new(ErrorCode::CoordinatorNotAvailable, text));
        }
        if adds && self.names.count() >= usize::try_from(most).unwrap_or(usize::MAX) {
            let text = format!(
                "there are {most} names and memberships of actors (actors.names.max); for more there are entities"
            );
            return Err(Refusal::new(ErrorCode::PolicyViolation, text));
        }
        let actor = ActorId { node, incarnation, serial };
        if let NameAlteration::Confirm { name, .. } = alteration {
            return self.names.confirm(name, actor);
        }
        let mut names = Names::clone(&self.names);
        names.alter(version, actor, alteration)?;
        self.names = std::sync::Arc::new(names);
        Ok(())
    }

    /// A life of a node is over.
    pub(super) fn lose_names(&mut self, version: u64, node: NodeId, incarnation: Incarnation) {
        if self.features.level >= Features::NAMES {
            std::sync::Arc::make_mut(&mut self.names).lose(version, node, incarnation);
        }
    }
}

/// The words of a change, the actor's number, and whether it adds something.
fn words(alteration: &NameAlteration) -> (Vec<&str>, u64, bool) {
    match alteration {
        NameAlteration::Register { name, kind, serial } | NameAlteration::Stand { name, kind, serial } => {
            (vec![name, kind], *serial, true)
        }
        NameAlteration::Release { name, serial }
        | NameAlteration::Confirm { name, serial }
        | NameAlteration::Withdraw { name, serial } => (vec![name], *serial, false),
        NameAlteration::Join { group, serial } => (vec![group], *serial, true),
        NameAlteration::Leave { group, serial } => (vec![group], *serial, false),
    }
}

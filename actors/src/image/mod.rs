//! The cluster's metadata as the quorum has decided it: nodes, topics, partitions, producer ids.
//!
//! An [`Image`] changes only by [`Image::apply`], which is deterministic and total: the same commands give the same
//! image on every node, and a command that is stale or makes no sense is refused and changes nothing. What a command
//! should say (who leads, where replicas lie) is decided before, by the controller; here it is only held against
//! epochs, set versions and incarnations. Cheap to clone; whoever watches compares the shared parts by pointer.

mod access;
pub mod assignment;
mod commands;
mod delta;
mod entities;
mod features;
mod names;
mod nodes;
mod partitions;
mod producer_ids;
mod quotas;
mod reassignments;
mod recovered;
mod stored;
mod topics;

#[cfg(test)]
mod tests;
#[cfg(test)]
pub(crate) use tests::fixture;

use std::sync::Arc;

use uuid::Uuid;

pub use access::{invalid_acl, unacceptable};
pub use commands::{
    Choice, Command, Election, InSyncChange, Outcome, Registration, ReportedDoubt, decode_entry,
    decode_outcomes, encode_entry, encode_outcomes,
};
pub use delta::{Delta, assignments, delta};
pub use entities::{
    ENTITY_BATCH_BYTES, ENTITY_TYPE_BYTES_MAX, ENTITY_TYPES_MAX, HostedType, entity_topic, is_type_name,
    type_of_topic,
};
pub use features::Features;
pub use names::{NAME_BYTES_MAX, NameAlteration, NameChange, NameEvent, NameOwner, Names};
pub use nodes::{NodeState, Nodes, RegisteredNode};
pub use partitions::{Doubt, DoubtCause, Partition};
pub use producer_ids::ProducerIds;
pub use quotas::{QuotaAlteration, QuotaEntity, QuotaKind, QuotaValue, Quotas};
pub use reassignments::{Alteration, Reassignment, ReassignmentStep, check_replicas, none_in_progress};
pub use stored::ImageError;
pub use topics::{PARTITIONS_MAX, Topic, Topics, check_name};

use crate::access::{Acls, Listeners, Users};
use crate::error::{ErrorCode, Refusal};
use crate::ids::{Incarnation, NodeId, PartitionId};

/// The cluster's metadata after some entry of the quorum's log.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Image {
    version: u64,
    cluster: Option<Uuid>,
    features: Features,
    nodes: Arc<Nodes>,
    topics: Arc<Topics>,
    producer_ids: ProducerIds,
    listeners: Arc<Listeners>,
    users: Arc<Users>,
    acls: Arc<Acls>,
    quotas: Arc<Quotas>,
    names: Arc<Names>,
}

impl Image {
    /// The index of the last entry applied; 0 before the first.
    #[must_use]
    pub const fn version(&self) -> u64 {
        self.version
    }

    /// The cluster's id; `None` before it was founded.
    #[must_use]
    pub const fn cluster(&self) -> Option<Uuid> {
        self.cluster
    }

    /// What all nodes of the cluster understand.
    #[must_use]
    pub const fn features(&self) -> Features {
        self.features
    }

    /// The nodes that have ever registered.
    #[must_use]
    pub const fn nodes(&self) -> &Arc<Nodes> {
        &self.nodes
    }

    /// The topics.
    #[must_use]
    pub const fn topics(&self) -> &Arc<Topics> {
        &self.topics
    }

    /// Which producer ids have been given out.
    #[must_use]
    pub const fn producer_ids(&self) -> ProducerIds {
        self.producer_ids
    }

    /// Where clients of Kafka's protocol find the nodes.
    #[must_use]
    pub const fn listeners(&self) -> &Arc<Listeners> {
        &self.listeners
    }

    /// The users with SCRAM credentials.
    #[must_use]
    pub const fn users(&self) -> &Arc<Users> {
        &self.users
    }

    /// The access control lists.
    #[must_use]
    pub const fn acls(&self) -> &Arc<Acls> {
        &self.acls
    }

    /// Quotas of clients.
    #[must_use]
    pub const fn quotas(&self) -> &Arc<Quotas> {
        &self.quotas
    }

    /// One partition.
    #[must_use]
    pub fn partition(&self, partition: PartitionId) -> Option<&Partition> {
        self.topics.partition(partition)
    }

    /// Applies the commands of the entry at `index`, in their order; an outcome for each.
    pub fn apply_entry(&mut self, index: u64, commands: &[Command]) -> Vec<Outcome> {
        self.version = self.version.max(index);
        commands.iter().map(|command| self.apply(index, command)).collect()
    }

    /// Applies one command of the entry at `index`.
    ///
    /// Total: a command that is stale or makes no sense is refused and changes nothing.
    pub fn apply(&mut self, index: u64, command: &Command) -> Outcome {
        self.version = self.version.max(index);
        let done = match command {
            Command::Found { cluster } => self.found(*cluster),
            Command::SetFeatureLevel { level } => self.features.raise(*level, &self.nodes),
            Command::RegisterNode(registration) => self.register(index, registration),
            Command::UnfenceNode { node, incarnation } => {
                self.move_node(|nodes| nodes.set_state(*node, *incarnation, NodeState::Live))
            }
            Command::FenceNode { node, incarnation } => {
                self.end_node(index, *node, *incarnation, NodeState::Fenced)
            }
            Command::HandOver { node, incarnation } => {
                self.end_node(index, *node, *incarnation, NodeState::Leaving)
            }
            Command::CreateTopic { id, name, config, internal, replicas } => {
                let topic = Topic::create(*id, name, config, *internal, replicas, &self.nodes);
                topic.and_then(|topic| self.change_topics(|topics| topics.add(topic)))
            }
            Command::DeleteTopic { id } => self.change_topics(|topics| topics.remove(*id)),
            Command::CreatePartitions { id, from, replicas } => {
                let nodes = Arc::clone(&self.nodes);
                self.change_topics(|topics| topics.grow(*id, *from, replicas, &nodes))
            }
            Command::AlterTopicConfig { id, changes } => {
                self.change_topics(|topics| topics.alter(*id, changes))
            }
            Command::AlterInSync { node, incarnation, changes } => {
                return self.alter_in_sync(*node, *incarnation, changes);
            }
            Command::ElectLeaders { elections } => return self.elect(elections),
            Command::ReportDoubts { node, incarnation, doubts } => self.doubt(*node, *incarnation, doubts),
            Command::AllocateProducerIds { count } => return self.allocate(*count),
            Command::SetListeners { node, incarnation, listeners } => {
                self.set_listeners(*node, *incarnation, listeners)
            }
            Command::AlterScram(change) => self.alter_scram(change),
            Command::CreateAcls { acls } => self.create_acls(acls),
            Command::DeleteAcls { acls } => self.delete_acls(acls),
            Command::SetRack { node, incarnation, rack } => {
                self.move_node(|nodes| nodes.set_rack(*node, *incarnation, rack.as_deref()))
            }
            Command::AlterQuotas { alterations } => self.alter_quotas(alterations),
            Command::ForgetNode { node } => self.forget_node(*node),
            Command::AlterReassignments { alterations } => return self.reassign(alterations),
            Command::HostEntities { node, incarnation, types } => {
                let features = self.features;
                self.move_node(|nodes| nodes.set_entities((*node, *incarnation), types, features))
            }
            Command::AlterNames { node, incarnation, alteration, most } => {
                self.alter_names(index, (*node, *incarnation), alteration, *most)
            }
        };
        match done {
            Ok(()) => Outcome::Done,
            Err(refusal) => Outcome::Refused(refusal),
        }
    }

    fn found(&mut self, cluster: Uuid) -> Result<(), Refusal> {
        match self.cluster {
            Some(known) if known != cluster => {
                let text = format!("the cluster was founded before, its id is {known}");
                Err(Refusal::new(ErrorCode::InvalidRequest, text))
            }
            _ => {
                self.cluster = Some(cluster);
                Ok(())
            }
        }
    }

    fn register(&mut self, index: u64, registration: &Registration) -> Result<(), Refusal> {
        let mut nodes = Nodes::clone(&self.nodes);
        let renewed = nodes.register(index, registration, self.features)?;
        let before = self.nodes.get(registration.node).map(|known| known.incarnation);
        self.nodes = Arc::new(nodes);
        if renewed {
            if let Some(before) = before {
                self.lose_names(index, registration.node, before);
            }
            self.forget_listeners(registration.node);
            let directories = &registration.directories;
            self.change_memberships(|partition, id| {
                let doubt = registration.doubts.iter().find(|doubt| doubt.partition == id);
                partition.renew(
                    registration.node,
                    registration.incarnation,
                    directories,
                    doubt.map(|d| d.doubt),
                )
            });
        }
        Ok(())
    }

    fn move_node(&mut self, change: impl FnOnce(&mut Nodes) -> Result<bool, Refusal>) -> Result<(), Refusal> {
        let mut nodes = Nodes::clone(&self.nodes);
        if change(&mut nodes)? {
            self.nodes = Arc::new(nodes);
        }
        Ok(())
    }

    /// A life of a node is over, or about to be: what its actors had is free in the same command.
    fn end_node(
        &mut self,
        index: u64,
        node: NodeId,
        incarnation: Incarnation,
        state: NodeState,
    ) -> Result<(), Refusal> {
        self.move_node(|nodes| nodes.set_state(node, incarnation, state))?;
        self.lose_names(index, node, incarnation);
        Ok(())
    }

    fn change_topics(
        &mut self,
        change: impl FnOnce(&mut Topics) -> Result<(), Refusal>,
    ) -> Result<(), Refusal> {
        let mut topics = Topics::clone(&self.topics);
        change(&mut topics)?;
        self.topics = Arc::new(topics);
        Ok(())
    }

    /// Changes partitions one by one; `change` gives the partition's new state, `None` where it stays.
    fn change_memberships(&mut self, change: impl Fn(&Partition, PartitionId) -> Option<Partition>) {
        if let Some(topics) = self.topics.changed(change) {
            self.topics = Arc::new(topics);
        }
    }

    fn alter_in_sync(&mut self, node: NodeId, incarnation: Incarnation, changes: &[InSyncChange]) -> Outcome {
        if let Err(refusal) = self.nodes.in_life(node, incarnation) {
            return Outcome::Refused(refusal);
        }
        let mut topics = Topics::clone(&self.topics);
        let results = changes.iter().map(|change| {
            let result = topics.change(change.partition, |partition, _| {
                partition.altered(node, incarnation, change, &self.nodes)
            });
            (change.partition, result)
        });
        let results: Vec<_> = results.collect();
        if results.iter().any(|(_, result)| result.is_ok()) {
            self.topics = Arc::new(topics);
        }
        Outcome::InSync(results)
    }

    fn elect(&mut self, elections: &[Election]) -> Outcome {
        let mut topics = Topics::clone(&self.topics);
        let mut refused = Vec::new();
        for election in elections {
            let result = topics.change(election.partition, |partition, config| {
                partition.elected(election, config, &self.nodes)
            });
            if let Err(refusal) = result {
                refused.push((election.partition, refusal));
            }
        }
        if refused.len() < elections.len() {
            self.topics = Arc::new(topics);
        }
        Outcome::Elected { refused }
    }

    fn forget_node(&mut self, node: NodeId) -> Result<(), Refusal> {
        let partitions = self.topics.iter().flat_map(|topic| topic.partitions.iter());
        let count = partitions.filter(|partition| partition.replicas.contains(&node)).count();
        if count > 0 {
            let text = format!("node {node} has replicas of {count} partitions; reassign them first");
            return Err(Refusal::new(ErrorCode::InvalidRequest, text));
        }
        self.move_node(|nodes| nodes.forget(node).map(|()| true))?;
        self.forget_listeners(node);
        self.change_memberships(|partition, _| partition.without_choice_of(node));
        Ok(())
    }

    fn alter_quotas(&mut self, alterations: &[QuotaAlteration]) -> Result<(), Refusal> {
        let mut quotas = Quotas::clone(&self.quotas);
        quotas.alter(alterations)?;
        self.quotas = Arc::new(quotas);
        Ok(())
    }

    fn reassign(&mut self, alterations: &[Alteration]) -> Outcome {
        let mut topics = Topics::clone(&self.topics);
        let mut refused = Vec::new();
        for alteration in alterations {
            let id = alteration.partition;
            let remembers = self.features.level >= Features::CHOSEN_REPLICAS
                && topics.get(id.topic).is_some_and(|topic| topic.internal);
            let result = topics.change(id, |partition, _| {
                if remembers {
                    partition.reassigned_of_system(alteration, &self.nodes)
                } else {
                    partition.reassigned(alteration, &self.nodes)
                }
            });
            if let Err(refusal) = result {
                refused.push((alteration.partition, refusal));
            }
        }
        if refused.len() < alterations.len() {
            self.topics = Arc::new(topics);
        }
        Outcome::Reassigned { refused }
    }

    fn doubt(
        &mut self,
        node: NodeId,
        incarnation: Incarnation,
        doubts: &[ReportedDoubt],
    ) -> Result<(), Refusal> {
        self.nodes.in_life(node, incarnation)?;
        let mut topics = Topics::clone(&self.topics);
        for reported in doubts {
            // A partition that is gone needs no doubt.
            let _ = topics.change(reported.partition, |partition, _| {
                partition.doubted(node, reported.doubt).ok_or_else(gone)
            });
        }
        self.topics = Arc::new(topics);
        Ok(())
    }

    fn allocate(&mut self, count: u32) -> Outcome {
        match self.producer_ids.allocate(count) {
            Ok(first) => Outcome::ProducerIds { first, count },
            Err(refusal) => Outcome::Refused(refusal),
        }
    }
}

fn gone() -> Refusal {
    Refusal::new(ErrorCode::UnknownTopicOrPartition, "the replica is not a member of the in-sync set")
}

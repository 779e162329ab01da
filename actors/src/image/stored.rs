//! The image as bytes, for snapshots of the quorum: a byte of version, then postcard.
//!
//! Version 2 is written from [`Features::SECTIONED`] on, and where an image has what only version 2 tells: version 1, and
//! behind it sections, each with its kind and version.

use std::collections::BTreeMap;
use std::sync::Arc;

use serde::{Deserialize, Serialize};
use uuid::Uuid;

use super::{
    Features, HostedType, Image, Names, Nodes, Partition, ProducerIds, Quotas, Reassignment, Topic, Topics,
};
use crate::access::{Acl, Listeners, ScramCredential, ScramMechanism, Users};
use crate::error::Refusal;
use crate::ids::{NodeId, PartitionId, TopicId};

/// Bytes that are no image, entry or outcome of this program.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ImageError {
    /// Written by a later program.
    #[error("{what} has version {version}, this program knows {known}; upgrade it")]
    Newer {
        /// What was read.
        what: &'static str,
        /// The version found.
        version: u8,
        /// The latest that this program knows.
        known: u8,
    },
    /// Not what it should be.
    #[error("{what} does not decode: {reason}")]
    Malformed {
        /// What was read.
        what: &'static str,
        /// What was found.
        reason: String,
    },
}

/// The parts that were there from the beginning.
const FIRST: u8 = 1;
/// Those, and sections.
const SECTIONED: u8 = 2;

/// What the bytes are, for errors.
const WHAT: &str = "the snapshot of the metadata";

/// A later part of the image, in a form of its own.
#[derive(Serialize, Deserialize)]
struct Section {
    kind: u16,
    version: u8,
    bytes: Vec<u8>,
}

impl Section {
    fn of((kind, version): (u16, u8), value: &impl Serialize) -> Self {
        Self { kind, version, bytes: bytes(value, Vec::new()) }
    }
}

/// The kind and version of [`StoredAccess`].
const ACCESS: (u16, u8) = (1, 1);

/// The kind and version of [`StoredAdministration`].
const ADMINISTRATION: (u16, u8) = (2, 1);

/// The kind and version of partitions with the nodes among which their replicas were chosen.
const CHOSEN: (u16, u8) = (3, 1);
/// The kind and version of the types of entities that nodes host, a list by node.
const ENTITIES: (u16, u8) = (4, 1);
/// The kind and version of [`Names`].
const NAMES: (u16, u8) = (5, 1);

#[derive(Serialize, Deserialize)]
struct StoredAccess {
    listeners: Listeners,
    users: Vec<(String, ScramMechanism, ScramCredential)>,
    acls: Vec<Acl>,
}

#[derive(Default, PartialEq, Serialize, Deserialize)]
struct StoredAdministration {
    reassignments: Vec<(PartitionId, Reassignment)>,
    racks: Vec<(NodeId, String)>,
    quotas: Quotas,
}

/// The parts as they are written; what follows from others (names, settings in force) is left out.
#[derive(Serialize, Deserialize)]
struct StoredImage {
    version: u64,
    cluster: Option<Uuid>,
    features: Features,
    nodes: Nodes,
    topics: Vec<StoredTopic>,
    producer_ids: ProducerIds,
}

#[derive(Serialize, Deserialize)]
struct StoredTopic {
    id: TopicId,
    name: String,
    overrides: BTreeMap<String, String>,
    internal: bool,
    partitions: Vec<Partition>,
}

impl Image {
    /// The image as bytes; equal images give equal bytes.
    #[must_use]
    pub fn encode(&self) -> Vec<u8> {
        let administration = self.stored_administration();
        if self.features.level < Features::SECTIONED && administration == StoredAdministration::default() {
            return bytes(&self.stored(), vec![FIRST]);
        }
        let mut sections =
            vec![Section::of(ACCESS, &self.stored_access()), Section::of(ADMINISTRATION, &administration)];
        let chosen = self.stored_chosen();
        if !chosen.is_empty() {
            sections.push(Section::of(CHOSEN, &chosen));
        }
        let hosted = self.stored_entities();
        // Who does not know them has a cluster that has none.
        if !hosted.is_empty() {
            sections.push(Section::of(ENTITIES, &hosted));
        }
        if *self.names != Names::default() {
            sections.push(Section::of(NAMES, &*self.names));
        }
        bytes(&sections, bytes(&self.stored(), vec![SECTIONED]))
    }

    fn stored_access(&self) -> StoredAccess {
        let users = self.users.iter();
        let users = users.map(|(user, mechanism, known)| (user.to_owned(), mechanism, known.clone()));
        StoredAccess {
            listeners: Listeners::clone(&self.listeners),
            users: users.collect(),
            acls: self.acls.iter().collect(),
        }
    }

    /// The image in these bytes.
    pub fn decode(bytes: &[u8]) -> Result<Self, ImageError> {
        match bytes.split_first() {
            Some((&FIRST, rest)) => {
                Self::of(postcard::from_bytes(rest).map_err(malformed)?).map_err(malformed)
            }
            Some((&SECTIONED, rest)) => {
                let (stored, rest) = postcard::take_from_bytes(rest).map_err(malformed)?;
                let sections: Vec<Section> = postcard::from_bytes(rest).map_err(malformed)?;
                let mut image = Self::of(stored).map_err(malformed)?;
                for section in &sections {
                    image.take_section(section)?;
                }
                Ok(image)
            }
            Some((&version, _)) => Err(ImageError::Newer { what: WHAT, version, known: SECTIONED }),
            None => Err(malformed("it is empty")),
        }
    }

    fn take_section(&mut self, section: &Section) -> Result<(), ImageError> {
        match (section.kind, section.version) {
            ACCESS => {
                self.restore_access(postcard::from_bytes(&section.bytes).map_err(malformed)?);
                Ok(())
            }
            ADMINISTRATION => {
                let stored = postcard::from_bytes(&section.bytes).map_err(malformed)?;
                self.restore_administration(stored).map_err(malformed)
            }
            CHOSEN => {
                let stored = postcard::from_bytes(&section.bytes).map_err(malformed)?;
                self.restore_chosen(stored).map_err(malformed)
            }
            ENTITIES => {
                let hosted = postcard::from_bytes(&section.bytes).map_err(malformed)?;
                Arc::make_mut(&mut self.nodes).restore_entities(hosted);
                Ok(())
            }
            NAMES => {
                self.names = Arc::new(postcard::from_bytes(&section.bytes).map_err(malformed)?);
                Ok(())
            }
            (kind, version) => Err(malformed(format!(
                "it has a section of kind {kind} and version {version}; upgrade this program"
            ))),
        }
    }

    fn restore_access(&mut self, stored: StoredAccess) {
        let mut users = Users::default();
        for (user, mechanism, credential) in stored.users {
            users.put(&user, mechanism, credential);
        }
        self.listeners = Arc::new(stored.listeners);
        self.users = Arc::new(users);
        self.acls = Arc::new(stored.acls.into_iter().collect());
    }

    fn stored(&self) -> StoredImage {
        let topics = self.topics.iter().map(|topic| StoredTopic {
            id: topic.id,
            name: topic.name.to_string(),
            overrides: topic.overrides.clone(),
            internal: topic.internal,
            partitions: topic.partitions.iter().map(|partition| Partition::clone(partition)).collect(),
        });
        StoredImage {
            version: self.version,
            cluster: self.cluster,
            features: self.features,
            nodes: Nodes::clone(&self.nodes),
            topics: topics.collect(),
            producer_ids: self.producer_ids,
        }
    }

    fn stored_entities(&self) -> Vec<(NodeId, Vec<HostedType>)> {
        let hosts = self.nodes.iter().filter(|(_, known)| !known.entities.is_empty());
        hosts.map(|(node, known)| (node, known.entities.clone())).collect()
    }

    fn stored_administration(&self) -> StoredAdministration {
        let partitions = self.topics.iter().flat_map(|topic| topic.ids());
        let reassignments =
            partitions.filter_map(|(id, partition)| Some((id, partition.reassignment.clone()?)));
        let racks = self.nodes.iter().filter_map(|(node, known)| Some((node, known.rack.clone()?)));
        StoredAdministration {
            reassignments: reassignments.collect(),
            racks: racks.collect(),
            quotas: Quotas::clone(&self.quotas),
        }
    }

    fn restore_administration(&mut self, stored: StoredAdministration) -> Result<(), Refusal> {
        let topics = Arc::make_mut(&mut self.topics);
        for (id, reassignment) in stored.reassignments {
            topics.change(id, |partition, _| {
                Ok(Partition { reassignment: Some(reassignment), ..partition.clone() })
            })?;
        }
        Arc::make_mut(&mut self.nodes).restore_racks(stored.racks);
        self.quotas = Arc::new(stored.quotas);
        Ok(())
    }

    fn stored_chosen(&self) -> Vec<(PartitionId, Vec<NodeId>)> {
        let partitions = self.topics.iter().flat_map(|topic| topic.ids());
        partitions.filter_map(|(id, partition)| Some((id, partition.chosen_among.clone()?))).collect()
    }

    fn restore_chosen(&mut self, stored: Vec<(PartitionId, Vec<NodeId>)>) -> Result<(), Refusal> {
        let topics = Arc::make_mut(&mut self.topics);
        for (id, among) in stored {
            topics.change(id, |partition, _| {
                Ok(Partition { chosen_among: Some(among), ..partition.clone() })
            })?;
        }
        Ok(())
    }

    fn of(stored: StoredImage) -> Result<Self, Refusal> {
        let mut topics = Topics::default();
        for topic in stored.topics {
            let partitions = topic.partitions.into_iter().map(Arc::new).collect();
            topics.add(Topic::of(topic.id, &topic.name, topic.overrides, topic.internal, partitions))?;
        }
        Ok(Self {
            version: stored.version,
            cluster: stored.cluster,
            features: stored.features,
            nodes: Arc::new(stored.nodes),
            topics: Arc::new(topics),
            producer_ids: stored.producer_ids,
            ..Self::default()
        })
    }
}

fn bytes(value: &impl Serialize, behind: Vec<u8>) -> Vec<u8> {
    #[expect(clippy::expect_used, reason = "plain data into memory: nothing in it can fail to serialize")]
    postcard::to_extend(value, behind).expect("plain data serializes")
}

fn malformed(reason: impl std::fmt::Display) -> ImageError {
    ImageError::Malformed { what: WHAT, reason: reason.to_string() }
}

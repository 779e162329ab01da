//! The image as bytes, for snapshots of the quorum: a byte of version, then postcard.

use std::collections::BTreeMap;
use std::sync::Arc;

use serde::{Deserialize, Deserializer, Serialize, Serializer};
use uuid::Uuid;

use super::{Features, Image, Nodes, Partition, ProducerIds, Topic, Topics};
use crate::ids::TopicId;

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

const VERSION: u8 = 1;

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
        #[expect(clippy::expect_used, reason = "plain data into memory: nothing in it can fail to serialize")]
        postcard::to_extend(self, vec![VERSION]).expect("plain data serializes")
    }

    /// The image in these bytes.
    pub fn decode(bytes: &[u8]) -> Result<Self, ImageError> {
        let what = "the snapshot of the metadata";
        match bytes.split_first() {
            Some((&VERSION, rest)) => postcard::from_bytes(rest)
                .map_err(|error| ImageError::Malformed { what, reason: error.to_string() }),
            Some((&version, _)) => Err(ImageError::Newer { what, version, known: VERSION }),
            None => Err(ImageError::Malformed { what, reason: "it is empty".to_owned() }),
        }
    }
}

impl Serialize for Image {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
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
        .serialize(serializer)
    }
}

impl<'de> Deserialize<'de> for Image {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let stored = StoredImage::deserialize(deserializer)?;
        let mut topics = Topics::default();
        for topic in stored.topics {
            let partitions = topic.partitions.into_iter().map(Arc::new).collect();
            let topic = Topic::of(topic.id, &topic.name, topic.overrides, topic.internal, partitions);
            topics.add(topic).map_err(serde::de::Error::custom)?;
        }
        Ok(Self {
            version: stored.version,
            cluster: stored.cluster,
            features: stored.features,
            nodes: Arc::new(stored.nodes),
            topics: Arc::new(topics),
            producer_ids: stored.producer_ids,
        })
    }
}

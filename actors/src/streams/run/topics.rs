//! The topics of an application: those that it reads have to be there, its own are made.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use super::super::graph::{Changelog, PartitionCounts, Role, Topology, TopologyError};
use super::super::topics::Topics;
use super::StreamsError;
use super::positions::committed;
use super::settings::StreamsSettings;
use crate::client::{Client, ClientError, TopicPartition, TopicView};
use crate::cluster::message::CreateTopic;
use crate::error::ErrorCode;
use crate::ids::Offset;

/// How long a topic may take to be known.
const KNOWN_WITHIN: Duration = Duration::from_secs(10);

/// How long a deletion stays in a changelog. A store on disk whose checkpoint is older would not learn of it.
pub(super) const DELETE_RETENTION: Duration = Duration::from_hours(7 * 24);

/// Whether a topology reads topics by a pattern, so that others may come.
pub(super) fn has_patterns(topology: &Topology) -> bool {
    let is_one = |role: &Role| matches!(role, Role::Source { topics: Topics::Matching(_) });
    topology.graph.vertices.iter().any(|vertex| is_one(&vertex.role))
}

/// The topology over the topics that there are.
pub(super) async fn resolve(client: &Client, topology: &Topology) -> Result<Topology, StreamsError> {
    if !has_patterns(topology) {
        return Ok(topology.clone());
    }
    let all = client.admin().list_topics().await?;
    let users = all.iter().filter(|topic| !topic.internal);
    let names: Vec<Arc<str>> = users.map(|topic| Arc::clone(&topic.name)).collect();
    Ok(topology.over(&names)?)
}

/// Finds the topics that are read, makes those of the library, and says how many partitions each has.
pub(super) async fn prepare(
    client: &Client,
    topology: &Topology,
    settings: &StreamsSettings,
) -> Result<PartitionCounts, StreamsError> {
    let mut known = BTreeMap::new();
    let sources = topology.parts.iter().flat_map(|part| &part.sources);
    let globals = topology.graph.globals.iter().map(|global| &global.topic);
    for topic in sources.chain(globals).filter(|topic| !topology.graph.repartitions.contains_key(*topic)) {
        if let Some(count) = partitions(client, topic).await? {
            known.insert(Arc::clone(topic), count);
        }
    }
    // Not waited for one by one: on the first start none of them is there.
    let all = client.admin().list_topics().await?;
    let made = all.iter().filter(|topic| topology.graph.repartitions.contains_key(&topic.name));
    let made: BTreeMap<Arc<str>, i32> =
        made.map(|topic| (Arc::clone(&topic.name), count_of(topic))).collect();
    let known = |topic: &str| known.get(topic).copied();
    let counts = PartitionCounts::with_made(topology, known, |topic| made.get(topic).copied())?;
    let missing = |own: &&Arc<str>| all.iter().all(|topic| topic.name != **own);
    for (own, source) in topology.graph.beside_sources.iter().filter(|(own, _)| missing(own)) {
        refuse_lost_table(client, topology.application(), own, (source, counts.of(source))).await?;
    }
    let own = Own { client, topology, replication_factor: settings.replication_factor };
    for topic in topology.graph.repartitions.keys() {
        own.make(topic, counts.of(topic), &repartition()).await?;
    }
    for part in topology.parts.iter() {
        for store in part.stores.iter().filter_map(|store| topology.graph.stores.get(store.0)) {
            if let Changelog::Topic(topic) = &store.changelog {
                own.make(topic, counts.tasks(part), &changelog(store.retention_ms, settings)).await?;
            }
        }
    }
    Ok(counts)
}

/// A changelog of a table that is not there, though the table's topic was read: to make it would lose the table.
async fn refuse_lost_table(
    client: &Client,
    application: &str,
    changelog: &str,
    (source, count): (&Arc<str>, i32),
) -> Result<(), StreamsError> {
    let of: Vec<_> = (0..count).map(|partition| TopicPartition::new(Arc::clone(source), partition)).collect();
    // Another process may have begun meanwhile: it makes the changelog before it commits anything.
    if committed(client, application, &of).await?.is_empty() || partitions(client, changelog).await?.is_some()
    {
        return Ok(());
    }
    let problem = format!(
        "records that cannot be processed are left out, so that the table of {source:?} needs the changelog {changelog:?}, which \
         is not there, though {source:?} was read: what was read of it would be missing. Reset the application, or take the \
         policy with which it ran (to fail) again"
    );
    Err(TopologyError { application: application.to_owned(), problems: vec![problem] }.into())
}

/// How many partitions a topic has; `None` where there is none.
async fn partitions(client: &Client, topic: &str) -> Result<Option<i32>, ClientError> {
    match client.metadata().topic(topic, KNOWN_WITHIN).await {
        Ok(view) => Ok(Some(count_of(&view))),
        Err(ClientError::UnknownTopic(_)) => Ok(None),
        Err(error) => Err(error),
    }
}

fn count_of(topic: &TopicView) -> i32 {
    i32::try_from(topic.partitions.len()).unwrap_or(i32::MAX)
}

/// The topics of the library's own.
struct Own<'a> {
    client: &'a Client,
    topology: &'a Topology,
    replication_factor: Option<i16>,
}

impl Own<'_> {
    async fn make(&self, name: &str, count: i32, config: &[(&str, String)]) -> Result<(), StreamsError> {
        let topic = CreateTopic {
            name: name.to_owned(),
            partitions: Some(count),
            replication_factor: self.replication_factor,
            config: config.iter().map(|(name, value)| ((*name).to_owned(), value.clone())).collect(),
        };
        match self.client.admin().create_topic(topic).await {
            Ok(_) => {}
            Err(ClientError::Refused(refusal)) if refusal.code == ErrorCode::TopicAlreadyExists => {}
            Err(error) => return Err(error.into()),
        }
        let there = partitions(self.client, name).await?.unwrap_or(0);
        if there == count {
            return Ok(());
        }
        let problem = format!(
            "its topic {name:?} has {there} partitions and would have {count} now; a topology whose sources have other \
             numbers of partitions cannot go on from its state: reset the application"
        );
        let (application, problems) = (self.topology.application().to_owned(), vec![problem]);
        Err(TopologyError { application, problems }.into())
    }
}

/// What was read is removed by the application, not by time.
fn repartition() -> Vec<(&'static str, String)> {
    vec![
        ("cleanup.policy", "delete".to_owned()),
        ("retention.ms", "-1".to_owned()),
        ("segment.bytes", (50 << 20).to_string()),
    ]
}

/// Entries bear the time at which they were written: their event times may be long past, and would be deleted at once.
fn changelog(retention_ms: Option<i64>, settings: &StreamsSettings) -> Vec<(&'static str, String)> {
    let deletes = ("delete.retention.ms", DELETE_RETENTION.as_millis().to_string());
    match retention_ms {
        None => vec![("cleanup.policy", "compact".to_owned()), deletes],
        Some(retention_ms) => {
            let spare_ms = i64::try_from(settings.windowed_changelog_spare.as_millis()).unwrap_or(i64::MAX);
            let retention_ms = retention_ms.saturating_add(spare_ms).to_string();
            vec![("cleanup.policy", "compact,delete".to_owned()), ("retention.ms", retention_ms), deletes]
        }
    }
}

/// Removes what was read of topics of the library's own, and committed. What cannot be removed now is the next time.
pub(super) async fn purge(client: Client, read: BTreeMap<TopicPartition, Offset>) {
    for (of, before) in read {
        if let Err(error) = client.admin().delete_records(&of, Some(before)).await {
            tracing::debug!(%of, %error, "what was read is not removed yet");
        }
    }
}

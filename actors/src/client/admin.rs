//! Topics, groups and offsets, from outside: thin wrappers over the messages.

mod users;
mod voters;

use std::collections::BTreeMap;
use std::sync::Arc;

use super::coordinator::Coordinator;
use super::error::ClientError;
use super::link::{Asks, LinkError, Target};
use super::view::{TopicPartition, TopicView};
use super::{Client, Tries};
use crate::cluster::message::reassignment::ReassignPartition;
use crate::cluster::message::{AlterTopicConfig, CreatePartitions, CreateTopic, DeleteTopic, ElectReplica};
use crate::error::Refusal;
use crate::group::message::streams::{DescribeStreamsGroup, StreamsGroupDescription};
use crate::group::message::{
    CommittedOffset, DeleteGroup, DescribeGroup, GroupDescription, GroupState, ListGroups, OffsetCommit,
    OffsetFetch,
};
use crate::ids::{NodeId, Offset, PartitionId, TopicId};
use crate::partition::message::{DeleteRecords, ListOffsets, ListedOffset, OffsetSpec};

/// Makes, changes and describes topics and groups.
#[derive(Clone, Debug)]
pub struct Admin {
    client: Client,
}

impl Admin {
    pub(super) const fn new(client: Client) -> Self {
        Self { client }
    }

    /// Makes a topic, and waits until this client sees it.
    pub async fn create_topic(&self, topic: CreateTopic) -> Result<TopicId, ClientError> {
        let name = topic.name.clone();
        let id = self.client.ask_any("making a topic", topic).await?;
        self.client.metadata.topic(&name, self.client.settings.api_timeout).await?;
        Ok(id)
    }

    /// Removes a topic and all that is in it, and waits until this client does not see it any more.
    pub async fn delete_topic(&self, name: impl Into<String>) -> Result<(), ClientError> {
        let name = name.into();
        self.client.ask_any("deleting a topic", DeleteTopic { name: name.clone() }).await?;
        let gone = |view: &Arc<super::View>| (!view.topics.contains_key(name.as_str())).then_some(());
        self.client.metadata.wait("seeing a topic deleted", self.within(), gone).await
    }

    /// Raises a topic's number of partitions to `total`.
    pub async fn create_partitions(&self, name: impl Into<String>, total: i32) -> Result<(), ClientError> {
        self.client.ask_any("adding partitions", CreatePartitions { name: name.into(), total }).await
    }

    /// Changes settings of a topic; `None` goes back to the default.
    pub async fn alter_topic(
        &self,
        name: impl Into<String>,
        changes: BTreeMap<String, Option<String>>,
    ) -> Result<(), ClientError> {
        self.client.ask_any("changing a topic", AlterTopicConfig { name: name.into(), changes }).await
    }

    /// Elects a replica for a partition that has no leader: records that it lacks are lost. Refused, with what is known
    /// of all replicas, unless it is confirmed.
    pub async fn elect_replica(&self, election: ElectReplica) -> Result<(), ClientError> {
        self.client.ask_any("electing a replica", election).await
    }

    /// Gives a partition other replicas, the preferred leader first, or gives a reassignment under way up. Done means begun:
    /// it has ended when the topic shows these replicas and no others.
    pub async fn reassign_partition(&self, reassignment: ReassignPartition) -> Result<(), ClientError> {
        self.client.ask_any("reassigning a partition", reassignment).await
    }

    /// A topic's partitions, replicas and settings.
    pub async fn describe_topic(&self, name: &str) -> Result<Arc<TopicView>, ClientError> {
        self.client.metadata.topic(name, self.client.settings.api_timeout).await
    }

    /// All topics, by name.
    pub async fn list_topics(&self) -> Result<Vec<Arc<TopicView>>, ClientError> {
        self.client.metadata.want_all();
        let all = |view: &Arc<super::View>| {
            view.covers_all().then(|| view.topics.values().cloned().collect::<Vec<_>>())
        };
        self.client.metadata.wait("listing topics", self.client.settings.api_timeout, all).await
    }

    /// The groups of all nodes, by name.
    pub async fn list_groups(&self) -> Result<BTreeMap<String, GroupState>, ClientError> {
        let within = self.client.settings.api_timeout;
        let view = self.client.metadata.ready(within).await?;
        let mut groups = BTreeMap::new();
        for node in view.nodes.keys() {
            let deadline = within.min(self.client.settings.request_timeout);
            let asking =
                Asks::<ListGroups>::ask(&*self.client.link, &Target::Node(*node), ListGroups {}, deadline);
            groups.extend(asking.await??);
        }
        Ok(groups)
    }

    /// A group and its members.
    pub async fn describe_group(&self, group: impl Into<String>) -> Result<GroupDescription, ClientError> {
        let group = group.into();
        self.coordinator(&group).ask("describing a group", DescribeGroup { group }, self.within()).await
    }

    /// The group of an application of streams: its topology, its members and their tasks.
    pub async fn describe_streams_group(
        &self,
        group: impl Into<String>,
    ) -> Result<StreamsGroupDescription, ClientError> {
        let group = group.into();
        let what = "describing a group of an application";
        self.coordinator(&group).ask(what, DescribeStreamsGroup { group }, self.within()).await
    }

    /// Removes a group without members, and its offsets.
    pub async fn delete_group(&self, group: impl Into<String>) -> Result<(), ClientError> {
        let group = group.into();
        self.coordinator(&group).ask("deleting a group", DeleteGroup { group }, self.within()).await
    }

    /// The offsets that a group has committed, all of them.
    pub async fn committed(
        &self,
        group: impl Into<String>,
    ) -> Result<BTreeMap<PartitionId, CommittedOffset>, ClientError> {
        let group = group.into();
        let request = OffsetFetch { group: group.clone(), partitions: None };
        let found = self.coordinator(&group).ask("reading committed offsets", request, self.within()).await?;
        Ok(found.into_iter().collect())
    }

    /// Sets the offsets at which a group without members resumes.
    pub async fn reset_offsets(
        &self,
        group: impl Into<String>,
        offsets: BTreeMap<PartitionId, Offset>,
    ) -> Result<(), ClientError> {
        let group = group.into();
        let commit = |offset| CommittedOffset { offset, leader_epoch: None, metadata: String::new() };
        let request = OffsetCommit {
            group: group.clone(),
            member: String::new(),
            member_epoch: -1,
            offsets: offsets.into_iter().map(|(partition, offset)| (partition, commit(offset))).collect(),
        };
        let done = self.coordinator(&group).ask("committing offsets", request, self.within()).await?;
        for (_, result) in done {
            result?;
        }
        Ok(())
    }

    /// The offset at a place of each of these partitions: their leaders are asked, again where they have moved.
    pub async fn offsets(
        &self,
        wanted: &[(TopicPartition, OffsetSpec)],
    ) -> Result<BTreeMap<TopicPartition, ListedOffset>, ClientError> {
        let mut names = BTreeMap::new();
        let mut left = BTreeMap::new();
        for (name, spec) in wanted {
            let topic = self.client.metadata.topic(&name.topic, self.within()).await?;
            let unknown = || ClientError::UnknownTopic(name.to_string());
            let id = topic.partition(name.partition).ok_or_else(unknown)?;
            names.insert(id, name.clone());
            left.insert(id, *spec);
        }
        let found = list_offsets(&self.client, left).await?;
        Ok(found.into_iter().filter_map(|(id, listed)| Some((names.remove(&id)?, listed))).collect())
    }

    /// Deletes the records of a partition that lie before an offset, or all that are committed at the call; where it
    /// begins then. In vain for compacted topics, whose records are deleted by tombstones.
    pub async fn delete_records(
        &self,
        of: &TopicPartition,
        before: Option<Offset>,
    ) -> Result<Offset, ClientError> {
        let topic = self.client.metadata.topic(&of.topic, self.within()).await?;
        let unknown = || ClientError::UnknownTopic(of.to_string());
        let id = topic.partition(of.partition).ok_or_else(unknown)?;
        // Where "all" ends is found out once: tried again, it would take what was produced after the call.
        let before = match before {
            Some(before) => before,
            None => self.end_of(id).await?,
        };
        let mut tries = Tries::begin("deleting records", self.within());
        loop {
            let view = self.client.metadata.ready(tries.left()).await?;
            if let Some((leader, _)) = view.leader(id) {
                let deadline = tries.left().min(self.client.settings.request_timeout);
                // The leader gives up first: its refusal says more than an answer that does not come.
                let timeout_ms = u32::try_from((deadline * 3 / 4).as_millis()).unwrap_or(u32::MAX);
                let message = DeleteRecords { timeout_ms, parts: vec![(id, Some(before))] };
                let link = &*self.client.link;
                match Asks::<DeleteRecords>::ask(link, &Target::Node(leader), message, deadline).await {
                    Ok(answer) => match answer.parts.into_iter().next() {
                        Some((_, Ok(start))) => return Ok(start),
                        Some((_, Err(refusal))) => tries.failed(refusal.into())?,
                        None => {}
                    },
                    Err(error) => tries.failed(error.into())?,
                }
            }
            self.client.metadata.refresh();
            tries.pause().await?;
        }
    }

    /// Up to where the records of a partition are committed.
    async fn end_of(&self, id: PartitionId) -> Result<Offset, ClientError> {
        let found = list_offsets(&self.client, BTreeMap::from([(id, OffsetSpec::Latest)])).await?;
        let end = found.get(&id).and_then(|listed| listed.offset);
        end.ok_or_else(|| ClientError::UnknownTopic(id.to_string()))
    }

    fn coordinator(&self, group: &str) -> Coordinator {
        Coordinator::new(self.client.clone(), group)
    }

    fn within(&self) -> std::time::Duration {
        self.client.settings.api_timeout
    }
}

/// Asks the leaders of partitions for offsets, until all have answered.
pub(crate) async fn list_offsets(
    client: &Client,
    mut left: BTreeMap<PartitionId, OffsetSpec>,
) -> Result<BTreeMap<PartitionId, ListedOffset>, ClientError> {
    let mut found = BTreeMap::new();
    let mut tries = Tries::begin("looking offsets up", client.settings.api_timeout);
    loop {
        let view = client.metadata.ready(tries.left()).await?;
        let mut by_leader: BTreeMap<NodeId, Vec<(PartitionId, OffsetSpec)>> = BTreeMap::new();
        for (partition, spec) in &left {
            if let Some((leader, _)) = view.leader(*partition) {
                by_leader.entry(leader).or_default().push((*partition, *spec));
            }
        }
        for (leader, parts) in by_leader {
            match list_at(client, leader, parts, tries.left()).await {
                Ok(listed) => sort_out(listed, &mut left, &mut found, &mut tries)?,
                Err(error) => tries.failed(error.into())?,
            }
        }
        if left.is_empty() {
            return Ok(found);
        }
        client.metadata.refresh();
        tries.pause().await?;
    }
}

type Listed = Vec<(PartitionId, Result<ListedOffset, Refusal>)>;

async fn list_at(
    client: &Client,
    leader: NodeId,
    parts: Vec<(PartitionId, OffsetSpec)>,
    left: std::time::Duration,
) -> Result<Listed, LinkError> {
    let deadline = left.min(client.settings.request_timeout);
    let asking =
        Asks::<ListOffsets>::ask(&*client.link, &Target::Node(leader), ListOffsets { parts }, deadline);
    Ok(asking.await?.parts)
}

fn sort_out(
    listed: Listed,
    left: &mut BTreeMap<PartitionId, OffsetSpec>,
    found: &mut BTreeMap<PartitionId, ListedOffset>,
    tries: &mut Tries,
) -> Result<(), ClientError> {
    for (partition, result) in listed {
        match result {
            Ok(offset) => {
                if left.remove(&partition).is_some() {
                    found.insert(partition, offset);
                }
            }
            Err(refusal) => tries.failed(refusal.into())?,
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests;

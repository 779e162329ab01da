//! Entities, asked by a client.

use std::sync::Arc;
use std::time::Duration;

use futures::FutureExt;
use futures::future::BoxFuture;

use super::{Asks, Client, LinkError, Target};
use crate::custom::entity::message::AskEntity;
use crate::custom::entity::{Entity, EntityCaller, EntityReach, EntityRef, EntitySettings, Place};
use crate::custom::{Answered, CallError};
use crate::ids::{NodeId, PartitionId};
use crate::image::entity_topic;
use crate::record::key_hash::partition_for_key;

impl Client {
    /// Asks entities of any type.
    #[must_use]
    pub fn entities(&self) -> EntityCaller {
        let reach = Arc::new(ClientReach(self.clone()));
        let most = EntitySettings::default().turn_max_bytes;
        EntityCaller::new(reach, self.world.clock.clone(), self.world.random.clone(), most)
    }

    /// The entity of this key, there or not.
    #[must_use]
    pub fn entity<E: Entity>(&self, key: &E::Key) -> EntityRef<E> {
        self.entities().entity(key)
    }
}

/// What a client knows of the cluster.
#[derive(Debug)]
struct ClientReach(Client);

impl EntityReach for ClientReach {
    fn place(&self, kind: &str, key: &[u8]) -> Place {
        let name = entity_topic(kind);
        self.0.metadata.want(&name);
        let view = self.0.metadata.view();
        let Some(topic) = view.topics.get(name.as_str()) else {
            return if view.covers(&name) { Place::NoHost } else { Place::Nowhere };
        };
        let partitions = u32::try_from(topic.partitions.len()).unwrap_or(u32::MAX);
        let index = i32::try_from(partition_for_key(key, partitions)).unwrap_or(i32::MAX);
        let leader = view.leader(PartitionId { topic: topic.id, index });
        leader.map_or(Place::Nowhere, |(node, _)| Place::At(node))
    }

    fn news(&self) -> BoxFuture<'static, ()> {
        let mut views = self.0.metadata.subscribe();
        drop(views.borrow_and_update());
        // A client that is closed hears no more; its asks end by their time.
        async move { views.changed_or_never().await }.boxed()
    }

    fn ask(
        &self,
        node: NodeId,
        ask: AskEntity,
        within: Duration,
    ) -> BoxFuture<'static, Result<Result<Answered, CallError>, String>> {
        let asked = Asks::<AskEntity>::ask(&*self.0.link, &Target::Node(node), ask, within);
        let metadata = self.0.metadata.clone();
        async move {
            match asked.await {
                Ok(result) => {
                    if matches!(result, Err(CallError::NotOwner(_) | CallError::NoHost(_))) {
                        metadata.refresh();
                    }
                    Ok(result)
                }
                Err(LinkError::NotSent(text)) => {
                    metadata.refresh();
                    Ok(Err(CallError::Retry(text)))
                }
                Err(error) => {
                    metadata.refresh();
                    Err(error.to_string())
                }
            }
        }
        .boxed()
    }
}

//! A node on the only thread of a simulation.

use std::sync::Arc;

use millstream_actors::client::Client;
use millstream_actors::custom::entity::{EntityCaller, EntityTypes};
use millstream_actors::custom::named::NodeActors;
use millstream_actors::flow::Flows;
use millstream_actors::ids::NodeId;
use millstream_transport::identity::Credentials;
use millstream_transport::wire::Wire;
use millstream_transport::world::World;

use super::assembly::{Ingredients, Running};
use super::error::StartError;
use crate::config::{NodeConfig, Settings};
use crate::http::{Health, HealthReport};
use crate::telemetry::Metrics;

/// One life of a node in a simulation: the same parts as a [`super::Node`], without threads and without HTTP.
pub struct SimulatedNode {
    running: Running,
    metrics: Metrics,
    id: NodeId,
}

impl SimulatedNode {
    /// Starts a node behind these doors. To be called inside the simulation.
    pub async fn start(
        world: World,
        wire: Arc<dyn Wire>,
        settings: &Settings,
        credentials: Credentials,
        entities: EntityTypes,
    ) -> Result<Self, StartError> {
        let config = NodeConfig::new(settings)?;
        let metrics = Metrics::new().map_err(|error| StartError::Http(error.to_string()))?;
        let (id, events) = (config.node_id, metrics.events(config.node_id));
        let running = Running::start(Ingredients {
            world,
            wire,
            kafka: Vec::new(),
            tls: None,
            config,
            credentials,
            events,
            entities,
        })
        .await?;
        Ok(Self { running, metrics, id })
    }

    /// Its number.
    #[must_use]
    pub fn id(&self) -> NodeId {
        self.id
    }

    /// How it is.
    #[must_use]
    pub fn health(&self) -> HealthReport {
        self.running.state.report()
    }

    /// Asks entities of the cluster from here.
    #[must_use]
    pub const fn entities(&self) -> &EntityCaller {
        &self.running.caller
    }

    /// Actors of users on it.
    #[must_use]
    pub fn actors(&self) -> &NodeActors {
        &self.running.actors
    }

    /// A client of the cluster over this node's own endpoint.
    #[must_use]
    pub fn client(&self) -> Client {
        self.running.client.get()
    }

    /// Sources and sinks on it.
    #[must_use]
    pub const fn flows(&self) -> &Flows {
        &self.running.flows
    }

    /// Its series.
    #[must_use]
    pub fn metrics(&self) -> &Metrics {
        &self.metrics
    }

    /// Ends it cleanly; an error says what was not done.
    pub async fn stop(self) -> Result<(), String> {
        self.running.stop().await
    }

    /// Lets go of it after its disk was killed and its network unbound: what still runs of it can do nothing that counts.
    pub async fn abandon(self) {
        self.running.abandon().await;
    }
}

impl std::fmt::Debug for SimulatedNode {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.debug_struct("SimulatedNode").field("id", &self.id).finish_non_exhaustive()
    }
}

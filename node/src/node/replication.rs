//! Fetch sessions of a node: its replicas' ways to their leaders, and its leaders' ways to their followers.

use std::sync::Arc;

use millstream_actors::events::Events;
use millstream_actors::ids::{Incarnation, NodeId};
use millstream_actors::partition::directory::ReplicaDirectory;
use millstream_actors::replication::channel::EndpointDial;
use millstream_actors::replication::links::LinksSetup;
use millstream_actors::replication::of_node::LinksOfCores;
use millstream_actors::replication::sessions::FeedSessions;
use millstream_actors::replication::settings::FetchSettings;
use millstream_transport::peer::{Endpoint, Handlers};
use millstream_transport::world::World;

/// The links of this node's replicas to their leaders.
pub(super) fn links(
    world: &World,
    me: (NodeId, Incarnation),
    endpoint: &Endpoint,
    events: &Events,
) -> Arc<LinksOfCores> {
    let settings = FetchSettings::default();
    let setup = LinksSetup {
        node: me.0,
        incarnation: me.1,
        dial: Arc::new(EndpointDial::new(endpoint.clone(), settings.open_timeout)),
        settings,
        random: world.random.clone(),
        events: events.clone(),
    };
    Arc::new(LinksOfCores::new(world.threads.cores().len(), &setup))
}

/// Serves the sessions that followers open.
pub(super) fn sessions(world: &World, replicas: &ReplicaDirectory, events: &Events) -> Handlers {
    let ports = Arc::new(replicas.clone());
    let sessions = FeedSessions::new(ports, FetchSettings::default(), world.clone(), events.clone());
    sessions.serve(Handlers::new())
}

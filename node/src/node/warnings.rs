//! Tells the nodes of a partition's other replicas that one died of a request, and hears it from them (rule 10).

use std::sync::Arc;

use millstream_actors::events::Events;
use millstream_actors::events::partition::RequestQuarantined;
use millstream_actors::ids::NodeId;
use millstream_actors::partition::warden::{Quarantine, ReplicaKilled, Warnings};
use millstream_transport::peer::{Answering, Endpoint, Handlers, Lane};

/// Over the control lane. A warning that does not arrive costs one more death at most.
#[derive(Debug)]
pub(super) struct PeerWarnings(pub(super) Endpoint);

impl Warnings for PeerWarnings {
    fn warn(&self, node: NodeId, of: ReplicaKilled) {
        if let Err(error) = self.0.peer(node).tell(Lane::Control, of) {
            tracing::warn!(%node, partition = %of.partition, %error, "a node was not told what killed a replica");
        }
    }
}

/// Counts the deaths that other nodes tell of.
pub(super) fn warned(quarantine: &Arc<Quarantine>, events: &Events) -> Handlers {
    let (quarantine, events) = (Arc::clone(quarantine), events.clone());
    Handlers::new().on_nodes(move |_, killed: ReplicaKilled, _: Answering<ReplicaKilled>| {
        if quarantine.killed(killed) {
            let ReplicaKilled { partition, fingerprint } = killed;
            events.emit(RequestQuarantined { partition, fingerprint });
        }
    })
}

//! Entities follow the image: which partitions of the types hosted here this node leads.

use std::collections::BTreeMap;
use std::sync::Arc;

use millstream_transport::world::watch;

use super::front::EntityFront;
use super::types::EntityTypes;
use crate::group::doors::OwnershipLease;
use crate::group::following::led_by;
use crate::ids::{Incarnation, LeaderEpoch, NodeId, PartitionId};
use crate::image::{Image, entity_topic};

/// Keeps a node's entities at what the image says, until the image ends. `lease` gives the lease on a partition led in an
/// epoch.
pub async fn follow(
    front: EntityFront,
    mut images: watch::Receiver<Arc<Image>>,
    me: (NodeId, Incarnation),
    lease: impl Fn(PartitionId, LeaderEpoch) -> Arc<dyn OwnershipLease> + Send,
) {
    let mut led: BTreeMap<PartitionId, (Arc<str>, LeaderEpoch)> = BTreeMap::new();
    loop {
        let image = Arc::clone(&images.borrow_and_update());
        let leads = led_here(&image, front.types(), me);
        for (partition, (_, epoch)) in
            led.iter().filter(|(partition, was)| leads.get(*partition) != Some(*was))
        {
            front.resign(*partition, *epoch);
        }
        for (partition, (kind, epoch)) in
            leads.iter().filter(|(partition, is)| led.get(*partition) != Some(*is))
        {
            front.lead(Arc::clone(kind), *partition, *epoch, lease(*partition, *epoch));
        }
        led = leads;
        if images.changed().await.is_err() {
            return;
        }
    }
}

fn led_here(
    image: &Image,
    types: &EntityTypes,
    me: (NodeId, Incarnation),
) -> BTreeMap<PartitionId, (Arc<str>, LeaderEpoch)> {
    let of_type = |kind: &Arc<str>| {
        let led = led_by(image, &entity_topic(kind), me.0, me.1);
        let kind = Arc::clone(kind);
        led.into_values().map(move |(partition, epoch)| (partition, (Arc::clone(&kind), epoch)))
    };
    types.names().flat_map(of_type).collect()
}

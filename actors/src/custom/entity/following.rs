//! Entities follow the image: which partitions of the types hosted here this node leads, and which partitions of topics
//! are read beside them.

use std::collections::BTreeMap;
use std::sync::Arc;

use millstream_transport::world::watch;

use super::front::EntityFront;
use super::reader::{Assignment, ReaderKey, readers_here};
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
    let mut read: BTreeMap<ReaderKey, Assignment> = BTreeMap::new();
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
        let reads = readers_here(&image, front.types(), &leads);
        for key in read.keys().filter(|key| !reads.contains_key(*key)) {
            front.leave(key.clone());
        }
        for (key, assignment) in reads.iter().filter(|(key, is)| read.get(*key) != Some(*is)) {
            front.read(key.clone(), assignment.clone());
        }
        (led, read) = (leads, reads);
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

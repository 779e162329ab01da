//! Entities follow the image: which partitions of the types hosted here this node leads, which it follows, and which
//! partitions of topics are read beside them.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use millstream_transport::world::{Clock, watch};

use super::formats::HostVersions;
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
    clock: Clock,
    lease: impl Fn(PartitionId, LeaderEpoch) -> Arc<dyn OwnershipLease> + Send,
) {
    let mut led: BTreeMap<PartitionId, (Arc<str>, LeaderEpoch)> = BTreeMap::new();
    let mut read: BTreeMap<ReaderKey, Assignment> = BTreeMap::new();
    let mut followed = BTreeSet::new();
    let mut hosts = HostVersions::default();
    loop {
        let image = Arc::clone(&images.borrow_and_update());
        // Before any of them leads: what it may write is known then.
        hosts.look(clock.now(), &image);
        front.heed(&hosts);
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
            front.leave_topic(key.clone());
        }
        for (key, assignment) in reads.iter().filter(|(key, is)| read.get(*key) != Some(*is)) {
            front.read(key.clone(), assignment.clone());
        }
        (led, read) = (leads, reads);
        let follows = followed_here(&image, front.types(), me.0, &led);
        followed.difference(&follows).for_each(|partition| front.leave(*partition));
        follows.difference(&followed).for_each(|partition| front.follow(*partition));
        followed = follows;
        let changed = match hosts.next() {
            Some(at) => tokio::time::timeout_at(at, images.changed()).await.unwrap_or(Ok(())),
            None => images.changed().await,
        };
        if changed.is_err() {
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

/// The partitions of the types hosted here that this node has a replica of and does not lead.
fn followed_here(
    image: &Image,
    types: &EntityTypes,
    me: NodeId,
    led: &BTreeMap<PartitionId, (Arc<str>, LeaderEpoch)>,
) -> BTreeSet<PartitionId> {
    let topics = types.names().filter_map(|kind| image.topics().named(&entity_topic(kind)));
    let here = topics.flat_map(|topic| topic.ids()).filter(|(_, partition)| partition.replicas.contains(&me));
    here.map(|(id, _)| id).filter(|id| !led.contains_key(id)).collect()
}

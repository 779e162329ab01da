//! Coordinators follow the image: which partitions of `__transaction_state` this node leads.

use std::collections::BTreeMap;
use std::sync::Arc;

use millstream_transport::world::watch;

use super::front::TransactionFront;
use crate::group::doors::OwnershipLease;
use crate::group::following::led_by;
use crate::ids::{Incarnation, LeaderEpoch, NodeId, PartitionId};
use crate::image::Image;

/// The topic that holds what is decided about transactions.
pub const TRANSACTIONS_TOPIC: &str = "__transaction_state";

/// Keeps a node's coordinators at what the image says, until the image ends. `lease` gives the lease on a partition led
/// in an epoch.
pub async fn follow(
    front: TransactionFront,
    mut images: watch::Receiver<Arc<Image>>,
    me: (NodeId, Incarnation),
    lease: impl Fn(PartitionId, LeaderEpoch) -> Arc<dyn OwnershipLease> + Send,
) {
    let mut led: BTreeMap<i32, (PartitionId, LeaderEpoch)> = BTreeMap::new();
    loop {
        let image = Arc::clone(&images.borrow_and_update());
        let leads = led_by(&image, TRANSACTIONS_TOPIC, me.0, me.1);
        for (index, (_, epoch)) in led.iter().filter(|(index, was)| leads.get(index) != Some(was)) {
            front.resign(*index, *epoch);
        }
        for (index, (id, epoch)) in leads.iter().filter(|(index, is)| led.get(index) != Some(is)) {
            front.lead(*index, *epoch, lease(*id, *epoch));
        }
        led = leads;
        if images.changed().await.is_err() {
            return;
        }
    }
}

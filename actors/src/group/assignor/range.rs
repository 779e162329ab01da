//! Runs of partitions, topic by topic.
//!
//! Every topic is cut by the same rule, from the order of its subscribers alone; so topics of equal size and equal
//! subscribers are cut alike, and partition *n* of one goes where partition *n* of the other goes.

use std::sync::Arc;

use super::{Shares, Subscriptions};
use crate::ids::PartitionId;

pub(super) fn assign(subscriptions: &Subscriptions) -> Shares {
    let mut shares = subscriptions.nothing();
    for (topic, partitions, mut subscribers) in subscriptions.by_topic() {
        // A static member comes back under another member id: its instance keeps its place in the order.
        subscribers.sort_by_key(|member| {
            let instance = subscriptions.members.get(*member).and_then(|of| of.instance.as_deref());
            (instance.is_none(), instance.unwrap_or(member), Arc::clone(member))
        });
        let mut left = partitions;
        let mut next = 0;
        let mut takers = i32::try_from(subscribers.len()).unwrap_or(i32::MAX);
        for member in subscribers {
            let run = (left + takers - 1) / takers.max(1);
            let share = shares.entry(Arc::clone(member)).or_default();
            share.extend((next..next + run).map(|index| PartitionId { topic, index }));
            next += run;
            left -= run;
            takers -= 1;
        }
    }
    shares
}

//! What the group coordinators see of the rest of the node.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use futures::FutureExt;
use futures::future::BoxFuture;
use millstream_actors::cluster::lease::Lease;
use millstream_actors::cluster::message::CreateTopic;
use millstream_actors::error::{ErrorCode, Refusal};
use millstream_actors::group::doors::{LogEnd, LogEnds, OwnershipLease};
use millstream_actors::group::following::OFFSETS_TOPIC;
use millstream_actors::ids::{LeaderEpoch, NodeId, Offset, PartitionId};
use millstream_actors::image::Image;
use millstream_actors::partition::message::{Fetch, FetchPart, ListOffsets, OffsetSpec};
use millstream_actors::record::whole_batches;
use millstream_transport::message::Message;
use millstream_transport::peer::{Answering, Endpoint, Handlers, Lane};
use millstream_transport::world::Clock;
use millstream_transport::world::watch;
use serde::{Deserialize, Serialize};

/// How long another node may take to say where a partition ends, or whether an epoch still stands.
const ASK_WITHIN: Duration = Duration::from_millis(500);

type Images = watch::Receiver<Arc<Image>>;

/// A partition of a coordinators' topic.
pub(super) fn coordinators_partition(image: &Image, topic: &str, index: i32) -> Result<PartitionId, Refusal> {
    let missing = || Refusal::new(ErrorCode::NotCoordinator, format!("{topic} has no partition {index}"));
    let topic = image.topics().named(topic).ok_or_else(missing)?;
    topic.partition(index).map(|_| PartitionId { topic: topic.id, index }).ok_or_else(missing)
}

/// Asks whether an epoch still stands (rule 8): a member of the partition says no once its image has a later one.
#[derive(Clone, Copy, Debug, Serialize, Deserialize)]
pub(super) struct ConfirmEpoch {
    partition: PartitionId,
    epoch: LeaderEpoch,
}

impl Message for ConfirmEpoch {
    const KIND: u16 = 270;
    type Answer = Result<(), Refusal>;
}

/// Answers [`ConfirmEpoch`] from this node's image.
pub(super) fn confirming(images: &Images) -> Handlers {
    let images = images.clone();
    Handlers::new().on_nodes(move |_, message: ConfirmEpoch, answering: Answering<ConfirmEpoch>| {
        let stands = images.borrow().partition(message.partition).map(|known| known.leader_epoch)
            == Some(message.epoch);
        let fenced = || Refusal::new(ErrorCode::FencedLeaderEpoch, "the partition has a later leader epoch");
        answering.answer(if stands { Ok(()) } else { Err(fenced()) });
    })
}

/// What asks for the offsets topic.
pub(super) fn offsets_topic(partitions: i32) -> CreateTopic {
    let config = [("cleanup.policy", "compact"), ("segment.bytes", "104857600"), ("retention.ms", "-1")];
    CreateTopic {
        name: OFFSETS_TOPIC.to_owned(),
        partitions: Some(partitions),
        replication_factor: None,
        config: config.map(|(name, value)| (name.to_owned(), value.to_owned())).into(),
    }
}

/// The leadership of one partition of a coordinators' topic.
#[derive(Clone, Debug)]
pub(super) struct PartitionLease {
    pub(super) me: NodeId,
    pub(super) partition: PartitionId,
    pub(super) epoch: LeaderEpoch,
    pub(super) lease: Lease,
    pub(super) clock: Clock,
    pub(super) images: Images,
    pub(super) endpoint: Endpoint,
}

impl OwnershipLease for PartitionLease {
    fn holds(&self) -> bool {
        self.lease.holds(self.clock.now())
    }

    fn confirm(&self) -> BoxFuture<'static, Result<(), Refusal>> {
        let known = self.images.borrow().partition(self.partition).cloned();
        let (partition, epoch, me, endpoint) = (self.partition, self.epoch, self.me, self.endpoint.clone());
        async move {
            let fenced = || Refusal::new(ErrorCode::NotCoordinator, "another node coordinates now");
            let known = known.filter(|known| known.leader_epoch == epoch).ok_or_else(fenced)?;
            for member in known.in_sync.iter().filter(|member| member.node != me) {
                let asked = endpoint.peer(member.node).ask(
                    Lane::Control,
                    ConfirmEpoch { partition, epoch },
                    ASK_WITHIN,
                );
                asked.await.map_err(|error| {
                    let text = format!("node {} did not confirm the leadership: {error}", member.node);
                    Refusal::new(ErrorCode::CoordinatorNotAvailable, text)
                })??;
            }
            Ok(())
        }
        .boxed()
    }
}

/// The ends of logs, asked of their leaders.
#[derive(Debug)]
pub(super) struct LeaderEnds {
    pub(super) images: Images,
    pub(super) endpoint: Endpoint,
}

impl LogEnds for LeaderEnds {
    fn ends(&self, at: Vec<(PartitionId, Offset)>) -> BoxFuture<'static, BTreeMap<PartitionId, LogEnd>> {
        let image = Arc::clone(&self.images.borrow());
        let mut by_leader: BTreeMap<NodeId, Vec<(PartitionId, Offset)>> = BTreeMap::new();
        for (partition, offset) in at {
            if let Some(leader) = image.partition(partition).and_then(|known| known.leader) {
                by_leader.entry(leader.node).or_default().push((partition, offset));
            }
        }
        let endpoint = self.endpoint.clone();
        async move {
            let mut ends = BTreeMap::new();
            for (leader, at) in by_leader {
                ends.extend(ends_at(&endpoint, leader, at).await);
            }
            ends
        }
        .boxed()
    }
}

async fn ends_at(
    endpoint: &Endpoint,
    leader: NodeId,
    at: Vec<(PartitionId, Offset)>,
) -> Vec<(PartitionId, LogEnd)> {
    let peer = endpoint.peer(leader);
    let list = |spec: OffsetSpec| {
        let parts = at.iter().map(|(partition, _)| (*partition, spec)).collect();
        peer.ask(Lane::Data, ListOffsets { parts }, ASK_WITHIN)
    };
    let (Ok(starts), Ok(latest)) = (list(OffsetSpec::Earliest).await, list(OffsetSpec::Latest).await) else {
        return Vec::new();
    };
    let offset = |answers: &BTreeMap<PartitionId, _>, partition: &PartitionId| -> Option<Offset> {
        let answer: &Result<millstream_actors::partition::message::ListedOffset, Refusal> =
            answers.get(partition)?;
        answer.as_ref().ok().and_then(|listed| listed.offset)
    };
    let starts = starts.parts.into_iter().collect();
    let latest = latest.parts.into_iter().collect();
    let mut ends = Vec::new();
    let mut behind = Vec::new();
    for (partition, at) in at {
        let (Some(start), Some(end)) = (offset(&starts, &partition), offset(&latest, &partition)) else {
            continue;
        };
        ends.push((partition, LogEnd { start, end, waiting_since_ms: None }));
        if at.max(start) < end {
            behind.push(FetchPart {
                partition,
                leader_epoch: None,
                last_fetched_epoch: None,
                offset: at.max(start),
                max_bytes: 1,
                stable_only: false,
                nearby: Default::default(),
            });
        }
    }
    let waiting = waiting_since(&peer, behind).await;
    for (partition, end) in &mut ends {
        end.waiting_since_ms = waiting.get(partition).copied();
    }
    ends
}

/// The timestamps of the batches that wait: the first of each comes whole, and only its header is looked at.
async fn waiting_since(
    peer: &millstream_transport::peer::Peer,
    parts: Vec<FetchPart>,
) -> BTreeMap<PartitionId, i64> {
    let mut waiting = BTreeMap::new();
    // One by one: a fetch of many stops at its first batch.
    for part in parts {
        let fetch = Fetch { max_wait_ms: 0, min_bytes: 0, max_bytes: 1, parts: vec![part] };
        let Ok(answer) = peer.ask(Lane::Data, fetch, ASK_WITHIN).await else { break };
        for (partition, fetched) in answer.parts {
            let first = fetched.ok().and_then(|fetched| whole_batches(&fetched.batches).next()?.ok());
            waiting.extend(first.map(|batch| (partition, batch.header.written_ms())));
        }
    }
    waiting
}

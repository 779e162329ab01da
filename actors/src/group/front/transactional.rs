//! Native clients' offsets in transactions.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use futures::FutureExt;
use futures::future::BoxFuture;
use millstream_transport::message::Message;

use super::{GroupFront, GroupMessage};
use crate::error::{ErrorCode, Refusal};
use crate::group::classic::Committer;
use crate::group::doors::PartOfTransaction;
use crate::group::message::transactional::{CommitInTransaction, StableOffsetFetch};
use crate::group::message::{CommittedOffset, OffsetFetch};
use crate::ids::PartitionId;

/// Native clients know all that a classic group may say, as the newest of Kafka's clients do.
const NEWEST: i16 = i16::MAX;

type EachStable = Vec<(PartitionId, Result<CommittedOffset, Refusal>)>;

impl GroupMessage for CommitInTransaction {
    fn ask(self, front: &GroupFront, _host: &str) -> BoxFuture<'static, Self::Answer> {
        let Self { commit, instance, id, producer_id, producer_epoch } = self;
        let committer = Committer {
            version: NEWEST,
            member: Arc::from(commit.member.as_str()),
            generation: commit.member_epoch,
            instance: instance.map(Arc::from),
        };
        let transaction = PartOfTransaction {
            id: Arc::from(id),
            producer_id,
            producer_epoch,
            adds: true,
            knows_abortable: true,
        };
        front.commit_in_transaction(commit, committer, transaction)
    }
}

impl GroupMessage for StableOffsetFetch {
    fn ask(self, front: &GroupFront, _host: &str) -> BoxFuture<'static, Self::Answer> {
        let front = front.clone();
        async move {
            // Asked before: what becomes part of a transaction after this does not concern the answer.
            let unstable = front.unstable(&self.group).await?;
            let fetch = OffsetFetch { group: self.group, partitions: Some(self.partitions.clone()) };
            let committed: <OffsetFetch as Message>::Answer = front.fetch_as(fetch, None).await;
            Ok(each(&self.partitions, committed?, &unstable))
        }
        .boxed()
    }
}

fn each(
    wanted: &[PartitionId],
    committed: Vec<(PartitionId, CommittedOffset)>,
    unstable: &BTreeSet<PartitionId>,
) -> EachStable {
    let mut committed: BTreeMap<_, _> = committed.into_iter().collect();
    let wanted: BTreeSet<_> = wanted.iter().copied().collect();
    let found = wanted.into_iter().filter_map(|partition| {
        if unstable.contains(&partition) {
            return Some((partition, Err(waits(partition))));
        }
        Some((partition, Ok(committed.remove(&partition)?)))
    });
    found.collect()
}

fn waits(partition: PartitionId) -> Refusal {
    let text = format!("an offset for {partition} waits for the end of a transaction; ask again");
    Refusal::new(ErrorCode::UnstableOffsetCommit, text)
}

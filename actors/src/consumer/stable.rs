//! What a consumer takes only when the transactions that it is part of have ended.

use std::time::Duration;

use crate::client::{Client, ClientError, Coordinator, Tries};
use crate::group::message::CommittedOffset;
use crate::group::message::transactional::StableOffsetFetch;
use crate::ids::{Offset, PartitionId};

impl Client {
    /// The offsets that a group has committed for these partitions, once none of them waits for the end of a transaction: for
    /// who assigns partitions by itself. Those without one are left out.
    pub async fn stable_offsets(
        &self,
        group: &str,
        partitions: Vec<PartitionId>,
        within: Duration,
    ) -> Result<Vec<(PartitionId, Offset)>, ClientError> {
        committed(&Coordinator::new(self.clone(), group), group, partitions, within).await
    }

    /// The same with what the committer said beside each.
    pub(crate) async fn stable_commits(
        &self,
        group: &str,
        partitions: Vec<PartitionId>,
        within: Duration,
    ) -> Result<Vec<(PartitionId, CommittedOffset)>, ClientError> {
        stable_commits(&Coordinator::new(self.clone(), group), group, partitions, within).await
    }
}

/// The offsets that a group has committed for these partitions, once none of them waits for the end of a transaction.
pub(super) async fn committed(
    coordinator: &Coordinator,
    group: &str,
    partitions: Vec<PartitionId>,
    within: Duration,
) -> Result<Vec<(PartitionId, Offset)>, ClientError> {
    let found = stable_commits(coordinator, group, partitions, within).await?;
    Ok(found.into_iter().map(|(id, found)| (id, found.offset)).collect())
}

async fn stable_commits(
    coordinator: &Coordinator,
    group: &str,
    partitions: Vec<PartitionId>,
    within: Duration,
) -> Result<Vec<(PartitionId, CommittedOffset)>, ClientError> {
    let mut tries = Tries::begin("reading offsets", within);
    loop {
        let ask = StableOffsetFetch { group: group.to_owned(), partitions: partitions.clone() };
        let error = match coordinator.ask_once(ask, tries.left()).await {
            Ok(each) => {
                let found = each.into_iter().map(|(id, found)| found.map(|found| (id, found)));
                match found.collect::<Result<_, _>>() {
                    Ok(found) => return Ok(found),
                    Err(waits) => ClientError::Refused(waits),
                }
            }
            Err(error) => error,
        };
        tries.failed(error)?;
        tries.pause().await?;
    }
}

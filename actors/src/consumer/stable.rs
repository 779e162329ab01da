//! What a consumer takes only when the transactions that it is part of have ended.

use std::collections::BTreeSet;
use std::time::Duration;

use crate::client::{Client, ClientError, Coordinator, Tries};
use crate::group::message::CommittedOffset;
use crate::group::message::transactional::StableOffsetFetch;
use crate::ids::{Offset, PartitionId, ProducerId};
use crate::partition::append::AbortedTransaction;
use crate::partition::message::Fetched;
use crate::record::{Batch, BatchError, EndMarker, whole_batches};

/// Tells the batches of aborted transactions from others, as the batches of one answer are gone through in their order.
///
/// A producer is on the list from the first offset of an aborted transaction to its abort marker: what it writes behind
/// that is another transaction.
#[derive(Debug)]
struct Aborted {
    /// To come, the last first.
    ahead: Vec<(Offset, ProducerId)>,
    now: BTreeSet<ProducerId>,
}

impl Aborted {
    fn new(told: &[AbortedTransaction]) -> Self {
        let mut ahead: Vec<_> = told.iter().map(|aborted| (aborted.first, aborted.producer_id)).collect();
        ahead.sort_unstable_by(|one, other| other.cmp(one));
        Self { ahead, now: BTreeSet::new() }
    }

    /// Whether the next batch is part of an aborted transaction.
    fn holds(&mut self, batch: &Batch) -> bool {
        let last = batch.header.last_offset();
        while let Some((_, producer)) = self.ahead.pop_if(|(first, _)| *first <= last) {
            self.now.insert(producer);
        }
        let Some(producer) = batch.header.producer() else { return false };
        if batch.header.attributes.is_control() {
            if EndMarker::of(batch).is_some_and(|marker| !marker.commits) {
                self.now.remove(&producer);
            }
            return false;
        }
        batch.header.attributes.is_transactional() && self.now.contains(&producer)
    }
}

/// The batches of an answer that are of no aborted transaction and hold records, and the offset behind all that was read,
/// of what was asked for from an offset on. With an error comes how far it was good.
pub(crate) fn committed_batches(
    fetched: &Fetched,
    from: Offset,
    check: bool,
) -> Result<(Vec<Batch>, Offset), (BatchError, Offset)> {
    let (mut batches, mut next) = (Vec::new(), from);
    let mut aborted = Aborted::new(&fetched.aborted);
    for batch in whole_batches(&fetched.batches) {
        let checked =
            batch.and_then(|batch| if check { batch.verify_checksum().map(|()| batch) } else { Ok(batch) });
        let batch = checked.map_err(|error| (error, next))?;
        next = next.max(batch.header.next_offset());
        // What brokers write about transactions are no records.
        let is_dropped = aborted.holds(&batch);
        if !is_dropped && !batch.header.attributes.is_control() {
            batches.push(batch);
        }
    }
    Ok((batches, next))
}

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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ids::LeaderEpoch;
    use crate::record::{BatchBuilder, Compression, ProducerStamp, assign, make_transactional};

    fn at(bytes: &[u8], offset: i64) -> Batch {
        let mut bytes = bytes.to_vec();
        assign(&mut bytes, Offset(offset), LeaderEpoch(1)).unwrap();
        Batch::parse(bytes.into()).unwrap()
    }

    fn written(producer: i64, offset: i64) -> Batch {
        let mut builder = BatchBuilder::new(1 << 10, Compression::NONE);
        builder.push(0, None, Some(b"v"), &[]).unwrap();
        let mut bytes = builder.finish(None).to_vec();
        let stamp = ProducerStamp { id: ProducerId(producer), epoch: 0, base_sequence: 0 };
        make_transactional(&mut bytes, stamp).unwrap();
        at(&bytes, offset)
    }

    fn marker(producer: i64, commits: bool, offset: i64) -> Batch {
        let marker =
            EndMarker { producer_id: ProducerId(producer), producer_epoch: 0, coordinator_epoch: 1, commits };
        at(&marker.batch(0), offset)
    }

    fn aborted(producer: i64, first: i64, last: i64) -> AbortedTransaction {
        AbortedTransaction {
            producer_id: ProducerId(producer),
            first: Offset(first),
            last: Offset(last),
            last_stable: Offset(last),
        }
    }

    #[test]
    fn a_producers_batches_are_dropped_from_the_first_of_an_aborted_transaction_to_its_marker() {
        let mut list = Aborted::new(&[aborted(1, 6, 9), aborted(1, 2, 4), aborted(2, 3, 8)]);
        let mut of_none = BatchBuilder::new(1 << 10, Compression::NONE);
        of_none.push(0, None, Some(b"v"), &[]).unwrap();
        let batches = [
            (written(1, 0), false),
            (marker(1, true, 1), false),
            (written(1, 2), true),
            (written(2, 3), true),
            (marker(1, false, 4), false),
            (at(&of_none.finish(None), 5), false),
            (written(1, 6), true),
            (written(2, 7), true),
            (marker(2, false, 8), false),
            (marker(1, false, 9), false),
            (written(1, 10), false),
            (written(2, 11), false),
        ];
        for (batch, is_dropped) in batches {
            assert_eq!(list.holds(&batch), is_dropped, "{}", batch.header.base_offset);
        }
    }
}

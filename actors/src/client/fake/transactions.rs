//! Transactions of the cluster in memory: decided as a real coordinator decides; markers are written when it has decided,
//! or later where a test holds them.

use std::collections::BTreeMap;
use std::time::Duration;

use super::{FakeCluster, State};
use crate::client::{Asking, Asks, LinkError, Target};
use crate::error::{ErrorCode, Refusal};
use crate::group::message::CommittedOffset;
use crate::group::message::transactional::{CommitInTransaction, StableOffsetFetch};
use crate::ids::{NodeId, PartitionId, ProducerId};
use crate::partition::message::transactional::{FetchStable, FetchStableAnswer, ProduceInTransaction};
use crate::partition::message::{ProduceAnswer, ProducePart};
use crate::partition::verify::InTransaction;
use crate::record::{BatchHeader, EndMarker, assign};
use crate::transaction::message::{BeginTransactions, EndTransaction, FindTransactionCoordinator};
use crate::transaction::state::{
    BUMPS_WITH_EVERY_END, Beginning, Decided, Ending, ProducerEpoch, TopicPartition, Transaction, begin_new,
};

/// The topic that stands for the group's offsets.
const OFFSETS: &str = "__consumer_offsets";

/// What the coordinator knows.
#[derive(Debug)]
pub(crate) struct FakeTransactions {
    pub(crate) coordinator: NodeId,
    pub(crate) by_id: BTreeMap<String, Transaction>,
    /// Markers are not written while this holds.
    pub(crate) holds_markers: bool,
    /// What the next requests to the coordinator are refused with.
    pub(crate) refusals: Vec<ErrorCode>,
    /// So many of the next requests to end a transaction are carried out and not answered.
    pub(crate) lost_ends: u32,
    /// Offsets by the transaction that they wait for.
    pending: BTreeMap<(ProducerId, i16), Vec<(PartitionId, CommittedOffset)>>,
}

impl Default for FakeTransactions {
    fn default() -> Self {
        Self {
            coordinator: NodeId(1),
            by_id: BTreeMap::new(),
            holds_markers: false,
            refusals: Vec::new(),
            lost_ends: 0,
            pending: BTreeMap::new(),
        }
    }
}

impl State {
    fn decide<A>(
        &mut self,
        id: &str,
        decide: impl FnOnce(Option<&Transaction>, ProducerId) -> Result<Decided<A>, Refusal>,
    ) -> Result<A, Refusal> {
        if let Some(code) = self.transactions.refusals.pop() {
            return Err(Refusal::new(code, "by the test's wish"));
        }
        self.next_producer += 1;
        let fresh = ProducerId(self.next_producer);
        match decide(self.transactions.by_id.get(id), fresh)? {
            Decided::Same(answer) => Ok(answer),
            Decided::NeedsProducerId => panic!("it was given one"),
            Decided::Write(next, answer) => {
                self.transactions.by_id.insert(id.to_owned(), *next);
                self.write_markers();
                answer
            }
        }
    }

    fn check_coordinates(&self, node: NodeId) -> Result<(), Refusal> {
        if self.transactions.coordinator == node {
            return Ok(());
        }
        Err(Refusal::new(ErrorCode::NotCoordinator, "not here"))
    }

    /// Time has passed for all open transactions.
    pub(crate) fn time_out_transactions(&mut self) {
        for transaction in self.transactions.by_id.values_mut() {
            if let Some(next) = transaction.time_out(i64::MAX) {
                *transaction = next;
            }
        }
        self.write_markers();
    }

    /// Writes the markers of all decided transactions.
    pub(crate) fn write_markers(&mut self) {
        if self.transactions.holds_markers {
            return;
        }
        let decided = self.transactions.by_id.values_mut().filter(|one| one.outcome().is_some());
        let mut ended = Vec::new();
        for transaction in decided {
            ended.push(transaction.clone());
            *transaction = transaction.complete(0);
        }
        for transaction in ended {
            let marker = EndMarker {
                producer_id: transaction.producer_id,
                producer_epoch: transaction.producer_epoch,
                coordinator_epoch: 1,
                commits: transaction.outcome() == Some(true),
            };
            for (topic, index) in &transaction.partitions {
                if &**topic == OFFSETS {
                    self.end_offsets(&marker);
                } else {
                    let id = self.topics[&**topic].id;
                    self.write_marker(PartitionId { topic: id, index: *index }, marker);
                }
            }
        }
    }

    fn write_marker(&mut self, partition: PartitionId, marker: EndMarker) {
        let log = self.partitions.get_mut(&partition).unwrap();
        let mut bytes = marker.batch(0).to_vec();
        assign(&mut bytes, log.end, log.epoch).unwrap();
        log.producers.record(&BatchHeader::parse(&bytes).unwrap(), Some(marker), 0);
        log.batches.push(bytes.into());
        log.end = log.end.plus(1);
    }

    fn end_offsets(&mut self, marker: &EndMarker) {
        let pending = std::mem::take(&mut self.transactions.pending);
        for ((id, epoch), offsets) in pending {
            if id != marker.producer_id {
                self.transactions.pending.insert((id, epoch), offsets);
            } else if marker.commits {
                self.group.committed.extend(offsets);
            }
        }
    }

    fn add(&mut self, id: &str, producer: ProducerEpoch, partition: TopicPartition) -> Result<(), Refusal> {
        let added = self.decide(id, |known, _| {
            let unknown = || Refusal::new(ErrorCode::InvalidProducerIdMapping, "nobody has the id");
            known.ok_or_else(unknown)?.add(producer, &[partition], BUMPS_WITH_EVERY_END, 0)
        });
        added.map_err(|refusal| match refusal.code {
            ErrorCode::ConcurrentTransactions => Refusal { code: ErrorCode::NotEnoughReplicas, ..refusal },
            ErrorCode::ProducerFenced => Refusal { code: ErrorCode::InvalidProducerEpoch, ..refusal },
            _ => refusal,
        })
    }

    /// The first batch of a transaction makes its partition part of it.
    pub(super) fn verify(&mut self, part: &ProducePart) -> Result<(), Refusal> {
        let Some(transaction) = &part.transaction else { return Ok(()) };
        let header = BatchHeader::parse(&part.batches).unwrap();
        let producer = ProducerEpoch { id: header.producer().unwrap(), epoch: header.producer_epoch };
        if self.partitions[&part.partition].producers.is_open(producer.id, producer.epoch) {
            return Ok(());
        }
        let (topic, _) =
            self.topics.iter().find(|(_, topic)| topic.id == part.partition.topic).expect("it is led here");
        let name = (topic.as_str().into(), part.partition.index);
        let id = transaction.id.to_string();
        self.add(&id, producer, name)
    }

    fn commit_in_transaction(&mut self, node: NodeId, asked: CommitInTransaction) -> CommitAnswer {
        self.check_commit(node, &asked.commit).map_err(|refusal| match refusal.code {
            ErrorCode::StaleMemberEpoch => Refusal { code: ErrorCode::IllegalGeneration, ..refusal },
            _ => refusal,
        })?;
        let producer = ProducerEpoch { id: asked.producer_id, epoch: asked.producer_epoch };
        self.add(&asked.id, producer, (OFFSETS.into(), 0))?;
        let done = asked.commit.offsets.iter().map(|(partition, _)| (*partition, Ok(()))).collect();
        let pending = self.transactions.pending.entry((producer.id, producer.epoch)).or_default();
        pending.extend(asked.commit.offsets);
        Ok(done)
    }

    fn stable_offsets(&mut self, node: NodeId, asked: &StableOffsetFetch) -> StableAnswer {
        let pending = self.transactions.pending.values().flatten();
        let waits: Vec<_> = pending.map(|(partition, _)| *partition).collect();
        let group = self.coordinating(node)?;
        let found = asked.partitions.iter().filter_map(|partition| {
            if waits.contains(partition) {
                return Some((*partition, Err(Refusal::new(ErrorCode::UnstableOffsetCommit, "it waits"))));
            }
            Some((*partition, Ok(group.committed.get(partition)?.clone())))
        });
        Ok(found.collect())
    }
}

type CommitAnswer = Result<Vec<(PartitionId, Result<(), Refusal>)>, Refusal>;
type StableAnswer = Result<Vec<(PartitionId, Result<CommittedOffset, Refusal>)>, Refusal>;

impl Asks<ProduceInTransaction> for FakeCluster {
    fn ask(&self, to: &Target, message: ProduceInTransaction, deadline: Duration) -> Asking<ProduceAnswer> {
        let ProduceInTransaction { id, mut produce } = message;
        let transaction =
            InTransaction { id: id.into(), adds: true, knows_abortable: true, by_coordinator: false };
        produce.parts.iter_mut().for_each(|part| part.transaction = Some(transaction.clone()));
        self.produce(to, produce, deadline)
    }
}

impl Asks<FetchStable> for FakeCluster {
    fn ask(&self, to: &Target, message: FetchStable, _: Duration) -> Asking<FetchStableAnswer> {
        let FetchStable(mut fetch) = message;
        fetch.parts.iter_mut().for_each(|part| part.stable_only = true);
        let asking = self.fetch(to, fetch);
        Box::pin(async move { asking.await.map(FetchStableAnswer::from) })
    }
}

impl Asks<CommitInTransaction> for FakeCluster {
    fn ask(&self, to: &Target, message: CommitInTransaction, _: Duration) -> Asking<CommitAnswer> {
        self.answer(to, |state, node| Ok(state.commit_in_transaction(node, message)))
    }
}

impl Asks<StableOffsetFetch> for FakeCluster {
    fn ask(&self, to: &Target, message: StableOffsetFetch, _: Duration) -> Asking<StableAnswer> {
        self.answer(to, |state, node| Ok(state.stable_offsets(node, &message)))
    }
}

impl Asks<FindTransactionCoordinator> for FakeCluster {
    fn ask(
        &self,
        to: &Target,
        _: FindTransactionCoordinator,
        _: Duration,
    ) -> Asking<Result<NodeId, Refusal>> {
        self.answer(to, |state, _| Ok(Ok(state.transactions.coordinator)))
    }
}

impl Asks<BeginTransactions> for FakeCluster {
    fn ask(
        &self,
        to: &Target,
        message: BeginTransactions,
        _: Duration,
    ) -> Asking<Result<ProducerEpoch, Refusal>> {
        self.answer(to, |state, node| {
            let beginning = Beginning { timeout_ms: message.timeout_ms, has: None };
            let begun = state.check_coordinates(node).and_then(|()| {
                state.decide(&message.id, |known, fresh| match known {
                    Some(known) => known.begin(&beginning, Some(fresh), 0),
                    None => Ok(begin_new(&beginning, Some(fresh), 0)),
                })
            });
            Ok(begun)
        })
    }
}

impl Asks<EndTransaction> for FakeCluster {
    fn ask(
        &self,
        to: &Target,
        message: EndTransaction,
        deadline: Duration,
    ) -> Asking<Result<ProducerEpoch, Refusal>> {
        let EndTransaction { id, producer, commits } = message;
        let ending = Ending { producer, commits, client_version: BUMPS_WITH_EVERY_END };
        let mut is_lost = false;
        let asking = self.answer(to, |state, node| {
            is_lost = state.transactions.lost_ends > 0;
            state.transactions.lost_ends = state.transactions.lost_ends.saturating_sub(1);
            let ended = state.check_coordinates(node).and_then(|()| {
                state.decide(&id, |known, fresh| {
                    let unknown = || Refusal::new(ErrorCode::InvalidProducerIdMapping, "nobody has the id");
                    known.ok_or_else(unknown)?.end(&ending, Some(fresh), 0)
                })
            });
            Ok(ended)
        });
        if !is_lost {
            return asking;
        }
        Box::pin(async move {
            tokio::time::sleep(deadline).await;
            Err(LinkError::NoAnswer("lost".to_owned()))
        })
    }
}

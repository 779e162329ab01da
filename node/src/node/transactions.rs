//! What the transaction coordinators see of the rest of the node, and the rest of them.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use futures::FutureExt;
use futures::future::{BoxFuture, join_all};
use millstream_actors::cluster::front::ClusterFront;
use millstream_actors::cluster::message::CreateTopic;
use millstream_actors::error::{ErrorCode, Refusal};
use millstream_actors::group::following::OFFSETS_TOPIC;
use millstream_actors::group::front::GroupFront;
use millstream_actors::ids::{NodeId, PartitionId, ProducerId};
use millstream_actors::image::Image;
use millstream_actors::partition::front::Front;
use millstream_actors::partition::verify::{TransactionVerifier, Verification, VerificationAnswer};
use millstream_actors::record::EndMarker;
use millstream_actors::transaction::doors::{Marked, MarkerWriter, ProducerIds};
use millstream_actors::transaction::following::TRANSACTIONS_TOPIC;
use millstream_actors::transaction::front::TransactionFront;
use millstream_actors::transaction::message::{VerifyTransaction, WriteMarkers};
use millstream_actors::transaction::state::{BUMPS_WITH_EVERY_END, ProducerEpoch, TopicPartition};
use millstream_transport::peer::{Answering, Endpoint, Handlers, Lane};
use millstream_transport::world::watch;
use tokio::sync::oneshot;
use tokio::time::Instant;

/// How long a marker may take to be committed before it is written again.
const MARK_WITHIN: Duration = Duration::from_secs(5);

/// How long a coordinator or a leader, here or on another node, may take to answer about transactions.
const ASK_WITHIN: Duration = Duration::from_secs(6);

/// How long the leader of a partition waits for a transaction before to have ended, and how long after an answer it asks again:
/// the coordinator itself waits for a while before it says that it has not.
const ENDING_WITHIN: Duration = Duration::from_secs(2);
const ENDING_AGAIN: Duration = Duration::from_millis(20);

/// How long a node is waited for that is asked to write markers: longer than the asking itself may take.
const MARKED_WITHIN: Duration = Duration::from_secs(10);

/// How long the question may take in all whether a partition is part of a transaction: who asked waits no longer, and the
/// producer tries again.
const VERIFIED_WITHIN: Duration = Duration::from_secs(10);

type Images = watch::Receiver<Arc<Image>>;

/// What asks for the topic of transactions.
pub(super) fn transactions_topic(partitions: i32) -> CreateTopic {
    let config = [("cleanup.policy", "compact"), ("segment.bytes", "104857600"), ("retention.ms", "-1")];
    CreateTopic {
        name: TRANSACTIONS_TOPIC.to_owned(),
        partitions: Some(partitions),
        replication_factor: None,
        config: config.map(|(name, value)| (name.to_owned(), value.to_owned())).into(),
    }
}

/// Producer ids of this node's blocks.
#[derive(Debug)]
pub(super) struct ClusterIds(pub(super) ClusterFront<Endpoint>);

impl ProducerIds for ClusterIds {
    fn fresh(&self) -> BoxFuture<'static, Result<ProducerId, Refusal>> {
        let cluster = self.0.clone();
        async move { cluster.init_producer_id().await }.boxed()
    }
}

/// Ends transactions in partitions that are led here, and tells the groups of theirs.
#[derive(Clone, Debug)]
pub(crate) struct Marks {
    pub(crate) partitions: Front,
    pub(crate) groups: GroupFront,
    pub(crate) images: Images,
}

type EachMarked = Vec<(PartitionId, Result<(), Refusal>)>;

impl Marks {
    /// Writes a marker; `bumps` if every end gives the producer another epoch. `answer` is called once, when all are
    /// committed or refused.
    pub(crate) fn write(
        &self,
        marker: EndMarker,
        bumps: bool,
        partitions: &[PartitionId],
        answer: impl FnOnce(EachMarked) + Send + 'static,
    ) {
        let markers = partitions.iter().map(|partition| (*partition, marker)).collect();
        let (groups, images) = (self.groups.clone(), self.images.clone());
        // The marker has the epoch that the producer goes on with: what it writes in that one has not ended.
        let last_epoch = marker.producer_epoch.saturating_sub(i16::from(bumps));
        let ended = EndMarker { producer_epoch: last_epoch, ..marker };
        self.partitions.mark(markers, bumps, MARK_WITHIN, move |marked| {
            let offsets = images.borrow().topics().named(OFFSETS_TOPIC).map(|topic| topic.id);
            for (partition, _) in marked.iter().filter(|(_, result)| result.is_ok()) {
                if Some(partition.topic) == offsets {
                    groups.transaction_ended(partition.index, ended);
                }
            }
            answer(marked.into_iter().map(|(partition, result)| (partition, result.map(|_| ()))).collect());
        });
    }
}

impl Marks {
    /// The same for one that nobody will ask to write again: where it is not known whether the marker is committed, the
    /// groups look into their log.
    pub(crate) fn write_once(
        &self,
        marker: EndMarker,
        bumps: bool,
        partitions: &[PartitionId],
        answer: impl FnOnce(EachMarked) + Send + 'static,
    ) {
        let (groups, images) = (self.groups.clone(), self.images.clone());
        self.write(marker, bumps, partitions, move |each| {
            let offsets = images.borrow().topics().named(OFFSETS_TOPIC).map(|topic| topic.id);
            let is_unknown = |result: &Result<(), Refusal>| {
                result.as_ref().is_err_and(|refusal| {
                    matches!(
                        refusal.code,
                        ErrorCode::RequestTimedOut | ErrorCode::NotEnoughReplicasAfterAppend
                    )
                })
            };
            for (partition, _) in each.iter().filter(|(_, result)| is_unknown(result)) {
                if Some(partition.topic) == offsets {
                    groups.transaction_unknown(partition.index, marker.producer_id);
                }
            }
            answer(each);
        });
    }
}

/// Writes markers to leaders on any node.
#[derive(Debug)]
pub(super) struct LeaderMarks {
    pub(super) me: NodeId,
    pub(super) here: Marks,
    pub(super) endpoint: Endpoint,
}

impl MarkerWriter for LeaderMarks {
    fn write(
        &self,
        marker: EndMarker,
        bumps: bool,
        partitions: Vec<TopicPartition>,
    ) -> BoxFuture<'static, Vec<(TopicPartition, Marked)>> {
        let image = Arc::clone(&self.here.images.borrow());
        let mut by_leader: BTreeMap<NodeId, BTreeMap<PartitionId, TopicPartition>> = BTreeMap::new();
        let mut marked = Vec::new();
        for name in partitions {
            let topic = image.topics().named(&name.0);
            let Some((id, known)) = topic.and_then(|topic| {
                Some((PartitionId { topic: topic.id, index: name.1 }, topic.partition(name.1)?))
            }) else {
                marked.push((name, Marked::Unknown));
                continue;
            };
            match known.leader {
                Some(leader) => {
                    by_leader.entry(leader.node).or_default().insert(id, name);
                }
                None => {
                    let text = format!("{}-{} has no leader now", name.0, name.1);
                    let away = Refusal::new(ErrorCode::LeaderNotAvailable, text);
                    marked.push((name, Marked::Again(away)));
                }
            }
        }
        let asking =
            by_leader.into_iter().map(|(leader, names)| self.write_to(leader, (marker, bumps), names));
        let asking: Vec<_> = asking.collect();
        async move {
            marked.extend(join_all(asking).await.into_iter().flatten());
            marked
        }
        .boxed()
    }
}

impl LeaderMarks {
    fn write_to(
        &self,
        leader: NodeId,
        (marker, bumps): (EndMarker, bool),
        names: BTreeMap<PartitionId, TopicPartition>,
    ) -> BoxFuture<'static, Vec<(TopicPartition, Marked)>> {
        let partitions: Vec<_> = names.keys().copied().collect();
        let answered: BoxFuture<'static, Result<EachMarked, Refusal>> = if leader == self.me {
            let (tell, told) = oneshot::channel();
            self.here.write(marker, bumps, &partitions, move |each| {
                // Who does not wait any more needs no answer.
                let _ = tell.send(each);
            });
            let stopped = |_| Refusal::new(ErrorCode::LeaderNotAvailable, "the node is stopping");
            told.map(move |each| each.map_err(stopped)).boxed()
        } else {
            let message = WriteMarkers { marker, bumps, partitions };
            let asked = self.endpoint.peer(leader).ask(Lane::Data, message, ASK_WITHIN);
            let failed = move |error| {
                let text = format!("node {leader} did not answer: {error}");
                Refusal::new(ErrorCode::LeaderNotAvailable, text)
            };
            asked.map(move |each| each.map_err(failed)).boxed()
        };
        async move {
            // A leader that never answers is asked again, as one that is away.
            let late =
                |_| Err(Refusal::new(ErrorCode::RequestTimedOut, "no answer about the marker in time"));
            match tokio::time::timeout(MARKED_WITHIN, answered).await.unwrap_or_else(late) {
                Ok(each) => {
                    let mut each: BTreeMap<_, _> = each.into_iter().collect();
                    let missing = || Err(Refusal::new(ErrorCode::UnknownServerError, "no answer for it"));
                    let of = |(id, name)| (name, outcome(each.remove(&id).unwrap_or_else(missing)));
                    names.into_iter().map(of).collect()
                }
                Err(refusal) => {
                    names.into_values().map(|name| (name, Marked::Again(refusal.clone()))).collect()
                }
            }
        }
        .boxed()
    }
}

fn outcome(result: Result<(), Refusal>) -> Marked {
    match result {
        Ok(()) => Marked::Done,
        // A later marker stands there: the transaction has ended.
        Err(refusal) if refusal.code == ErrorCode::InvalidProducerEpoch => Marked::Done,
        Err(refusal) if refusal.code == ErrorCode::TransactionCoordinatorFenced => Marked::Fenced,
        Err(refusal) => Marked::Again(refusal),
    }
}

/// Asks coordinators, on any node, whether a partition is part of a transaction.
#[derive(Clone, Debug)]
pub(super) struct NodeVerifier {
    pub(super) me: NodeId,
    pub(super) transactions: TransactionFront,
    pub(super) images: Images,
    pub(super) endpoint: Endpoint,
}

impl TransactionVerifier for NodeVerifier {
    fn verify(&self, asked: Verification, answer: VerificationAnswer) {
        let (verifier, knows_abortable) = (self.clone(), asked.transaction.knows_abortable);
        tokio::spawn(async move {
            let verified = tokio::time::timeout(VERIFIED_WITHIN, verifier.verified(asked)).await;
            let late = || Refusal::new(ErrorCode::RequestTimedOut, "the transaction's coordinator is silent");
            answer(
                verified.unwrap_or_else(|_| Err(late())).map_err(|refusal| as_told(refusal, knows_abortable)),
            );
        });
    }
}

impl NodeVerifier {
    async fn verified(&self, asked: Verification) -> Result<(), Refusal> {
        let name =
            self.images.borrow().topics().get(asked.partition.topic).map(|topic| topic.name.to_string());
        let Some(name) = name else {
            return Err(Refusal::new(ErrorCode::UnknownTopicOrPartition, "the topic is not known here yet"));
        };
        let adds = asked.transaction.adds;
        let message = VerifyTransaction {
            id: asked.transaction.id.to_string(),
            producer: ProducerEpoch { id: asked.producer_id, epoch: asked.producer_epoch },
            partitions: vec![(name, asked.partition.index)],
            adds: adds.then_some(BUMPS_WITH_EVERY_END),
        };
        let until = Instant::now() + ENDING_WITHIN;
        loop {
            let answer = self.ask(message.clone()).await;
            let is_ending =
                matches!(&answer, Err(refusal) if refusal.code == ErrorCode::ConcurrentTransactions);
            // The producer may go on while its markers are still being written.
            if !is_ending || Instant::now() + ENDING_AGAIN >= until {
                return answer;
            }
            tokio::time::sleep(ENDING_AGAIN).await;
        }
    }

    async fn ask(&self, message: VerifyTransaction) -> Result<(), Refusal> {
        let away = |text: String| Refusal::new(ErrorCode::CoordinatorNotAvailable, text);
        let coordinator = self
            .transactions
            .known_coordinator(&message.id)
            .ok_or_else(|| away("the transaction has no coordinator now".to_owned()))?;
        if coordinator == self.me {
            return answer(&self.transactions, message).await;
        }
        // It may be waited for, which nobody who uses the other lane should.
        let asked = self.endpoint.peer(coordinator).ask(Lane::Data, message, ASK_WITHIN);
        asked.await.map_err(|error| away(format!("node {coordinator} did not answer: {error}")))?
    }
}

/// What a coordinator says, in codes that producers know: what passes is told as a lack of replicas.
fn as_told(refusal: Refusal, knows_abortable: bool) -> Refusal {
    let code = match refusal.code {
        ErrorCode::ConcurrentTransactions
        | ErrorCode::CoordinatorNotAvailable
        | ErrorCode::CoordinatorLoadInProgress
        | ErrorCode::NotCoordinator
        | ErrorCode::RequestTimedOut
        | ErrorCode::ThrottlingQuotaExceeded => ErrorCode::NotEnoughReplicas,
        ErrorCode::ProducerFenced => ErrorCode::InvalidProducerEpoch,
        ErrorCode::TransactionAbortable if !knows_abortable => ErrorCode::InvalidTxnState,
        code => code,
    };
    Refusal { code, ..refusal }
}

async fn answer(transactions: &TransactionFront, asked: VerifyTransaction) -> Result<(), Refusal> {
    let VerifyTransaction { id, producer, partitions, adds } = asked;
    let partitions = partitions.into_iter().map(|(topic, index)| (Arc::from(topic), index)).collect();
    match adds {
        Some(version) => transactions.add(&id, producer, partitions, version).await,
        None => transactions.verify(&id, producer, partitions).await,
    }
}

/// What other nodes ask.
pub(super) fn handlers(transactions: &TransactionFront, marks: &Marks) -> Handlers {
    let (transactions, marks) = (transactions.clone(), marks.clone());
    Handlers::new()
        .on_nodes(move |_, asked: VerifyTransaction, answering: Answering<VerifyTransaction>| {
            let transactions = transactions.clone();
            tokio::spawn(async move { answering.answer(answer(&transactions, asked).await) });
        })
        .on_nodes(move |_, asked: WriteMarkers, answering: Answering<WriteMarkers>| {
            marks.write(asked.marker, asked.bumps, &asked.partitions, move |each| answering.answer(each));
        })
}

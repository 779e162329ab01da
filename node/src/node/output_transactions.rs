//! What entities publish together: the transactional producers of their partitions.

use std::sync::Arc;
use std::time::Duration;

use futures::FutureExt;
use futures::future::BoxFuture;
use millstream_actors::client::{Client, ClientError, GroupMetadata, NodeClient, TopicPartition};
use millstream_actors::custom::entity::doors::{Begun, EntityProducers, EntityTransactions};
use millstream_actors::custom::entity::publication::Written;
use millstream_actors::error::{ErrorCode, Refusal};
use millstream_actors::ids::{Offset, PartitionId};
use millstream_actors::image::{Image, entity_topic};
use millstream_actors::producer::{
    ProduceError, ProducerRecord, ProducerSettings, TransactionError, TransactionalProducer,
};
use millstream_transport::world::watch;
use tokio::sync::Mutex;
use tokio::time::{Instant, timeout_at};

/// How long a beginning may take, and each transaction: then it is begun anew, and found out what became of the last.
const BEGIN_WITHIN: Duration = Duration::from_secs(20);
const COMMIT_WITHIN: Duration = Duration::from_secs(30);

/// How long an open transaction holds up its readers, where its partition has no leader that would end it.
const OPEN_WITHIN: Duration = Duration::from_secs(60);

type Images = watch::Receiver<Arc<Image>>;

/// The transactional producers of a node's entities.
#[derive(Clone, Debug)]
pub(super) struct NodeProducers {
    pub(super) client: NodeClient,
    pub(super) images: Images,
}

impl EntityProducers for NodeProducers {
    fn begin(&self, kind: &str, partition: PartitionId) -> BoxFuture<'static, Result<Begun, Refusal>> {
        let (client, images) = (self.client.get(), self.images.clone());
        let of = TopicPartition { topic: entity_topic(kind).into(), partition: partition.index };
        async move {
            let begun = tokio::time::timeout(BEGIN_WITHIN, begin(client, images, of, partition)).await;
            begun.unwrap_or_else(|_| Err(late("it has not begun as a producer in time".to_owned())))
        }
        .boxed()
    }
}

async fn begin(
    client: Client,
    images: Images,
    of: TopicPartition,
    partition: PartitionId,
) -> Result<Begun, Refusal> {
    let id = format!("{}-{}", of.topic, of.partition);
    let settings = ProducerSettings {
        linger: Duration::ZERO,
        max_block: BEGIN_WITHIN,
        delivery_timeout: COMMIT_WITHIN,
        transaction_timeout: OPEN_WITHIN,
        ..ProducerSettings::transactional(id.clone())
    };
    let producer = client.transactional_producer(settings).await.map_err(|error| refusal(&error))?;
    // Whoever was the producer before is fenced now: what it has committed is all that it will have.
    let committed = client.stable_offsets(&id, vec![partition], BEGIN_WITHIN).await;
    let committed = committed.map_err(|error| late(error.to_string()))?;
    let next = committed.into_iter().find(|(it, _)| *it == partition).map(|(_, offset)| offset.0);
    let next = u64::try_from(next.unwrap_or(0)).unwrap_or(0);
    let producer = Mutex::new(producer);
    Ok((Arc::new(PartitionProducer { producer, group: id, of, images }), next))
}

/// The transactional producer of one partition.
#[derive(Debug)]
struct PartitionProducer {
    producer: Mutex<TransactionalProducer>,
    group: String,
    /// The partition, in whose name the position is.
    of: TopicPartition,
    images: Images,
}

impl EntityTransactions for PartitionProducer {
    fn commit(
        self: Arc<Self>,
        records: Vec<(PartitionId, Written)>,
        next: u64,
    ) -> BoxFuture<'static, Result<(), Refusal>> {
        async move { self.transact(records, next).await }.boxed()
    }
}

impl PartitionProducer {
    async fn transact(&self, records: Vec<(PartitionId, Written)>, next: u64) -> Result<(), Refusal> {
        let until = Instant::now() + COMMIT_WITHIN;
        let given_up = |_| late("the transaction was not committed in time".to_owned());
        let mut producer = self.producer.lock().await;
        let begun = timeout_at(until, producer.begin()).await.map_err(given_up)?;
        // Dropped on the way it is aborted.
        let mut transaction = begun.map_err(|error| refusal(&error))?;
        for (target, record) in &records {
            let name = self.images.borrow().topics().get(target.topic).map(|topic| Arc::clone(&topic.name));
            let unknown =
                || Refusal::new(ErrorCode::UnknownTopicId, format!("no topic has the id {}", target.topic));
            let name = name.ok_or_else(unknown)?;
            let headers = record.headers();
            let sent = ProducerRecord {
                topic: &name,
                partition: Some(target.index),
                key: record.key.as_deref(),
                value: record.value.as_deref(),
                headers: &headers,
                timestamp_ms: Some(record.timestamp_ms),
            };
            let sent = timeout_at(until, transaction.send(sent)).await.map_err(given_up)?;
            // Its fate is the transaction's.
            drop(sent.map_err(|error| refused(&error))?);
        }
        let group = GroupMetadata::without_member(&self.group);
        let position = (self.of.clone(), Offset(i64::try_from(next).unwrap_or(i64::MAX)));
        let offsets = timeout_at(until, transaction.send_offsets(&group, [position])).await;
        offsets.map_err(given_up)?.map_err(|error| refusal(&error))?;
        loop {
            match timeout_at(until, transaction.commit()).await.map_err(given_up)? {
                Ok(()) => return Ok(()),
                Err(TransactionError::Retriable(_)) if Instant::now() < until => {}
                Err(error) => return Err(refusal(&error)),
            }
        }
    }
}

/// What an error of a transaction means: only what says that it will never commit is told by its code.
fn refusal(error: &TransactionError) -> Refusal {
    match error {
        TransactionError::Abortable(error) => refused(error),
        other => late(other.to_string()),
    }
}

fn refused(error: &ProduceError) -> Refusal {
    match error {
        ProduceError::Refused(refusal) => refusal.clone(),
        ProduceError::TooLarge { .. } => Refusal::new(ErrorCode::MessageTooLarge, error.to_string()),
        ProduceError::UnknownPartition { .. } => {
            Refusal::new(ErrorCode::UnknownTopicOrPartition, error.to_string())
        }
        ProduceError::Client(ClientError::UnknownTopic(_)) => {
            Refusal::new(ErrorCode::UnknownTopicOrPartition, error.to_string())
        }
        other => late(other.to_string()),
    }
}

fn late(text: String) -> Refusal {
    Refusal::new(ErrorCode::RequestTimedOut, text)
}

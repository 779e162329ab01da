//! The native producer: records are encoded on the caller's thread, straight into the batch of their partition; an actor
//! on a core sends the batches to the partitions' leaders.
//!
//! ```text
//! send ─▶ partitioner ─▶ queue of the partition (open batch, closed batches) ─▶ router ─▶ lane ─▶ one request a leader
//!   ▲ waits while buffer.memory is used up                                       woken once a batch, never once a record
//! ```
//!
//! A record's fate is its batch's: a [`Delivery`] shares it with all others of the batch.
//!
//! A [`TransactionalProducer`] is a producer all of whose records are part of transactions.

mod budget;
mod delivery;
mod lane;
mod partitioner;
mod queue;
mod record;
mod router;
mod settings;
#[cfg(test)]
mod tests;
mod topics;
mod transaction;

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use actix::{Actor, Addr};
use tokio::sync::oneshot;

pub use delivery::{Delivery, ProduceError, RecordMetadata};
pub use partitioner::{Choice, DefaultPartitioner, Partitioner, RoundRobin, TopicPartitioner};
pub use record::ProducerRecord;
pub use settings::ProducerSettings;
pub use transaction::{Transaction, TransactionError, TransactionalProducer};

use self::budget::NoMemory;
use self::router::{Router, Signals, Stop, Wake};
use self::topics::{Topic, Topics};
use crate::client::{Client, ClientError};
use crate::record::{HEADER_BYTES, record_bytes};

/// Sends records. Cheap to clone; all clones are one producer. When the last is dropped, what was sent is still
/// delivered, though nobody is told; [`Producer::close`] waits for it.
#[derive(Clone, Debug)]
pub struct Producer {
    handle: Arc<Handle>,
}

#[derive(Debug)]
struct Handle {
    client: Client,
    topics: Arc<Topics>,
    signals: Arc<Signals>,
    router: Addr<Router>,
}

impl Drop for Handle {
    fn drop(&mut self) {
        self.router.do_send(Stop { now: false });
    }
}

impl Client {
    /// A producer with these settings. Its router runs on a core of the client, drawn at random.
    pub async fn producer(&self, settings: ProducerSettings) -> Result<Producer, ClientError> {
        if settings.transactional_id.is_some() {
            let text = "records of transactions are sent by Client::transactional_producer";
            return Err(ClientError::setting("transactional.id", text));
        }
        self.start_producer(settings).await
    }

    async fn start_producer(&self, settings: ProducerSettings) -> Result<Producer, ClientError> {
        settings.check()?;
        let topics = Arc::new(Topics::new(settings));
        let signals = Arc::new(Signals::default());
        let router = Router::new(self.clone(), Arc::clone(&topics), Arc::clone(&signals));
        let router = start(self, router).await?;
        Ok(Producer { handle: Arc::new(Handle { client: self.clone(), topics, signals, router }) })
    }
}

/// Starts an actor of a client on one of its cores.
pub(crate) async fn start<A>(client: &Client, actor: A) -> Result<Addr<A>, ClientError>
where
    A: Actor<Context = actix::Context<A>> + Send,
{
    let core = client.some_core()?;
    let (started, address) = oneshot::channel();
    core.spawn(move || async move {
        let _ = started.send(actor.start());
    });
    address.await.map_err(|_| ClientError::Closed)
}

impl Producer {
    /// Takes a record: encodes it into a batch, waiting first while `buffer.memory` is used up or the topic is not known
    /// yet. The record's fate is told by the [`Delivery`].
    pub async fn send(&self, record: ProducerRecord<'_>) -> Result<Delivery, ProduceError> {
        let Handle { client, topics, .. } = &*self.handle;
        let bytes = record_bytes(record.key, record.value, record.headers);
        let limit = topics.settings.request_bytes.saturating_sub(HEADER_BYTES);
        if bytes > limit {
            return Err(ProduceError::TooLarge { bytes, limit });
        }
        let topic = match topics.get(record.topic) {
            Some(topic) => topic,
            None => self.open(record.topic).await?,
        };
        let queue = topic.route(&record, bytes, topics.settings.batch_bytes, &client.world.random)?;
        if !topics.budget.try_take(bytes) {
            self.wake();
            let within = topics.settings.max_block;
            topics.budget.take(bytes, within).await.map_err(|why| match why {
                NoMemory::UsedUp => ProduceError::BufferFull(within),
                NoMemory::Closed => ProduceError::Closed,
            })?;
        }
        let timestamp_ms = record.timestamp_ms.unwrap_or_else(|| client.world.clock.wall_ms());
        let added = queue.add(&record, timestamp_ms, bytes).ok_or(ProduceError::Closed)?;
        if added.news && topics.list(&queue) {
            self.wake();
        }
        Ok(added.delivery)
    }

    /// Sends what waits without lingering, and waits until the fate of every record taken before is decided.
    pub async fn flush(&self) {
        let below = self.handle.topics.budget.next();
        self.handle.signals.flush_below.fetch_max(below, Ordering::AcqRel);
        self.wake();
        self.handle.topics.budget.decided_below(below).await;
    }

    /// Flushes for at most `within`, then stops; what is not delivered by then has failed.
    pub async fn close(&self, within: Duration) {
        let _ = tokio::time::timeout(within, self.flush()).await;
        let _ = self.handle.router.send(Stop { now: true }).await;
        self.handle.topics.shut();
    }

    async fn open(&self, name: &str) -> Result<Arc<Topic>, ProduceError> {
        let Handle { client, topics, .. } = &*self.handle;
        let view = client.metadata.topic(name, topics.settings.max_block).await?;
        topics.open(&view, &client.metadata.view())
    }

    fn wake(&self) {
        if !self.handle.signals.woken.swap(true, Ordering::AcqRel) {
            self.handle.router.do_send(Wake);
        }
    }
}

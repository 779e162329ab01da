//! The native transactional producer: what it writes to many partitions, and the offsets of what it has read, become
//! visible together or not at all.
//!
//! It speaks version 2 of transactions (KIP-890): partitions become part of a transaction with their first batch, and
//! every end gives the producer another epoch, so that nothing of an ended transaction can come late.
//!
//! A [`Transaction`] borrows its producer: there is one at a time, and nothing is sent outside of one. Dropped before its
//! commit was asked for, it is aborted, at the latest when the next one begins or by time.

mod error;
mod session;
#[cfg(test)]
mod tests;

use std::sync::Arc;
use std::time::Duration;

pub use error::TransactionError;

use self::session::Session;
use super::{Delivery, ProduceError, ProducerRecord, ProducerSettings};
use crate::client::{Client, ClientError, GroupMetadata, TopicPartition};
use crate::ids::Offset;
use crate::transaction::state::ProducerEpoch;

/// Sends records in transactions.
///
/// ```no_run
/// use millstream_actors::client::{Client, ClientError};
/// use millstream_actors::consumer::{Consumer, ConsumerEvent};
/// use millstream_actors::producer::{ProducerRecord, ProducerSettings, TransactionError};
///
/// /// Copies what a member of a group reads: each record once, whatever fails.
/// async fn copy(client: &Client, consumer: &mut Consumer) -> Result<(), Box<dyn std::error::Error>> {
///     let settings = ProducerSettings::transactional("copier-1");
///     let mut producer = client.transactional_producer(settings).await?;
///     loop {
///         let ConsumerEvent::Records(fetched) = consumer.next().await? else { continue };
///         let mut transaction = producer.begin().await?;
///         for record in fetched.records() {
///             let value = record?.value.unwrap_or_default();
///             // Its fate is the transaction's: there is no need to await the delivery.
///             drop(transaction.send(ProducerRecord::to("copies").value(&value)).await?);
///         }
///         let group = consumer.group_metadata().ok_or("the consumer has no group")?;
///         let read = [(fetched.partition.clone(), fetched.next_offset())];
///         transaction.send_offsets(&group, read).await?;
///         // An error before this drops the transaction, and so aborts it: go back to what is committed then.
///         transaction.commit().await?;
///     }
/// }
/// ```
#[derive(Debug)]
pub struct TransactionalProducer {
    session: Arc<Session>,
}

impl Client {
    /// A transactional producer with these settings, which name its `transactional.id`. Whoever had that before is fenced,
    /// and its open transaction aborted; that may take as long as `max.block.ms`.
    pub async fn transactional_producer(
        &self,
        settings: ProducerSettings,
    ) -> Result<TransactionalProducer, TransactionError> {
        let Some(id) = settings.transactional_id.clone() else {
            let error =
                ClientError::setting("transactional.id", "must be given for a transactional producer");
            return Err(TransactionError::Fatal(error));
        };
        let producer = self.start_producer(settings).await.map_err(TransactionError::of)?;
        let session = Session::begin(self.clone(), id, producer).await?;
        Ok(TransactionalProducer { session: Arc::new(session) })
    }
}

impl TransactionalProducer {
    /// Begins a transaction. One before that was dropped is ended first: aborted, or, if its commit had been asked for,
    /// committed. Its coordinator hears of a transaction with the first record.
    pub async fn begin(&mut self) -> Result<Transaction<'_>, TransactionError> {
        let producer = self.session.open().await?;
        Ok(Transaction { of: self, producer })
    }

    /// Ends a transaction that was dropped, as [`Self::begin`] does, and stops; all for at most `within`.
    pub async fn close(self, within: Duration) {
        // What is not ended by then ends by time.
        let _ = tokio::time::timeout(within, self.session.resolve()).await;
        self.session.producer.close(Duration::ZERO).await;
    }
}

/// An open transaction.
#[derive(Debug)]
#[must_use = "a transaction that is dropped is aborted"]
pub struct Transaction<'a> {
    of: &'a mut TransactionalProducer,
    producer: ProducerEpoch,
}

impl Transaction<'_> {
    /// Sends a record as part of the transaction, as [`Producer::send`](super::Producer::send) does. A record that is not
    /// taken or not delivered keeps the transaction from committing, and so does a future dropped before it is ready.
    pub async fn send(&self, record: ProducerRecord<'_>) -> Result<Delivery, ProduceError> {
        self.of.session.send(record).await
    }

    /// Commits offsets of a group as part of the transaction: of each partition the next one to read. They are the group's
    /// when the transaction commits. `group` says whose they are, so that a consumer whose place another has taken
    /// commits nothing (KIP-447): ask the consumer for it anew each time.
    ///
    /// An error, or a future dropped before it is ready, keeps the transaction from committing.
    pub async fn send_offsets(
        &self,
        group: &GroupMetadata,
        offsets: impl IntoIterator<Item = (TopicPartition, Offset)>,
    ) -> Result<(), TransactionError> {
        let offsets = offsets.into_iter().map(|(of, next)| (of, next, String::new()));
        self.send_offsets_with(group, offsets).await
    }

    /// The same, with words of the committer's own beside each offset, at most 4,096 bytes.
    pub async fn send_offsets_with(
        &self,
        group: &GroupMetadata,
        offsets: impl IntoIterator<Item = (TopicPartition, Offset, String)>,
    ) -> Result<(), TransactionError> {
        self.of.session.send_offsets(self.producer, group, offsets.into_iter().collect()).await
    }

    /// Waits until all records are delivered, and commits. Once that is answered, readers of committed records will see
    /// all of them.
    ///
    /// After a [retriable](TransactionError::Retriable) error, or where the future is dropped, the transaction may have
    /// committed or not: ask again, or drop it, and it commits later if it can and its coordinator was asked; it is not
    /// aborted then any more. After an
    /// [abortable](TransactionError::Abortable) one it has not committed, and will not. One whose abort was asked for
    /// before, and is not known to be done, is aborted then.
    pub async fn commit(&mut self) -> Result<(), TransactionError> {
        self.of.session.commit().await
    }

    /// Aborts: no reader of committed records sees anything of it. After a [retriable](TransactionError::Retriable) error
    /// ask again, or drop the transaction.
    ///
    /// A transaction whose commit was asked for, and is not known to be done, is not aborted: its commit is asked for
    /// again. While that stays unknown it is told as [retriable](TransactionError::Retriable); once the transaction has
    /// committed, as [abortable](TransactionError::Abortable) with `INVALID_TXN_STATE`: there is nothing left to abort, and
    /// the producer goes on with the next one.
    pub async fn abort(&mut self) -> Result<(), TransactionError> {
        self.of.session.abort().await
    }
}

impl Drop for Transaction<'_> {
    fn drop(&mut self) {
        self.of.session.resolve_later();
    }
}

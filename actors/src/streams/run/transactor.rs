//! What a process of an application writes, in one transaction at a time over all its tasks.
//!
//! A task's records come as they are made, so that a commit has little left to send; who asks for the commit has seen to it
//! that every task's part is in.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use tokio::sync::{mpsc, oneshot};

use super::StreamsError;
use super::identity::Identity;
use super::positions::{self, Position};
use super::settings::StreamsSettings;
use crate::client::Client;
use crate::producer::{
    Delivery, ProduceError, Producer, ProducerRecord, ProducerSettings, Transaction, TransactionalProducer,
};
use crate::record::Header;

/// Batches of records that may wait to be sent.
const WAITING_MAX: usize = 64;

/// Records whose outcome is still to be heard, where no transaction waits for them all: beyond so many it is waited for.
const UNHEARD_MAX: usize = 10_000;

/// How long an end may take.
const CLOSE_WITHIN: Duration = Duration::from_secs(5);

/// A record and where it goes.
#[derive(Clone, Debug)]
pub(super) struct Destined {
    pub(super) topic: Arc<str>,
    pub(super) partition: Option<i32>,
    pub(super) key: Option<Bytes>,
    pub(super) value: Option<Bytes>,
    pub(super) timestamp_ms: Option<i64>,
    pub(super) headers: Arc<[Header]>,
    /// Its offset is of interest: it is of a changelog.
    pub(super) is_change: bool,
}

impl Destined {
    /// Bytes of its key and value.
    pub(super) fn bytes(&self) -> usize {
        let of = |part: &Option<Bytes>| part.as_ref().map_or(0, Bytes::len);
        of(&self.key).saturating_add(of(&self.value))
    }
}

/// Of each changelog's partition the offset behind the last change of the transaction.
pub(super) type Ends = BTreeMap<(Arc<str>, i32), i64>;

pub(super) enum Order {
    Send(Vec<Destined>),
    Commit { positions: Vec<Position>, done: oneshot::Sender<Result<Ends, String>> },
}

/// The way to it. Ends it when dropped: what is not committed then never is.
#[derive(Clone, Debug)]
pub(super) struct Transactor {
    orders: mpsc::Sender<Order>,
}

impl Transactor {
    /// Begins one. Whoever wrote for this instance before is fenced, and what that had not committed is gone.
    pub(super) async fn begin(
        client: &Client,
        identity: &Arc<Identity>,
        settings: &StreamsSettings,
    ) -> Result<Self, StreamsError> {
        let writing = Writing { client: client.clone(), identity: Arc::clone(identity) };
        let (orders, taken) = mpsc::channel(WAITING_MAX);
        match &identity.transactional_id {
            Some(id) => {
                let producer = client.transactional_producer(ProducerSettings {
                    transaction_timeout: settings.transaction_timeout,
                    ..ProducerSettings::transactional(id)
                });
                tokio::spawn(writing.in_transactions(producer.await?, taken));
            }
            None => {
                let producer = client.producer(ProducerSettings::default()).await?;
                tokio::spawn(writing.plainly(producer, taken));
            }
        }
        Ok(Self { orders })
    }

    /// Sends records as part of the transaction; waits while too many wait. False where it has ended.
    pub(super) async fn send(&self, records: Vec<Destined>) -> bool {
        records.is_empty() || self.orders.send(Order::Send(records)).await.is_ok()
    }

    /// Commits what was sent before this was called, and these positions with it.
    pub(super) async fn commit(&self, positions: Vec<Position>) -> Result<Ends, String> {
        let (done, told) = oneshot::channel();
        let ended = || "what writes for the application has ended".to_owned();
        self.orders.send(Order::Commit { positions, done }).await.map_err(|_| ended())?;
        told.await.unwrap_or_else(|_| Err(ended()))
    }
}

/// What was sent in one transaction.
#[derive(Default)]
struct Sent {
    failure: Option<String>,
    /// Of each changelog's partition the last change.
    changes: BTreeMap<(Arc<str>, i32), Delivery>,
    others: Vec<Delivery>,
}

impl Sent {
    fn sent(&mut self, record: &Destined, delivery: Result<Delivery, ProduceError>, keeps: bool) {
        match delivery {
            Ok(delivery) if record.is_change => {
                let partition = record.partition.unwrap_or(0);
                self.changes.insert((Arc::clone(&record.topic), partition), delivery);
            }
            Ok(delivery) if keeps => self.others.push(delivery),
            Ok(_) => {}
            Err(error) => {
                self.failure.get_or_insert_with(|| format!("a record for {:?}: {error}", record.topic));
            }
        }
    }

    /// Waits for those that went out, where they are many.
    async fn bound(&mut self) {
        if self.others.len() > UNHEARD_MAX {
            for delivery in std::mem::take(&mut self.others) {
                if let Err(error) = delivery.await {
                    self.failure.get_or_insert(error.to_string());
                }
            }
        }
    }

    /// Waits until all that is kept is written.
    async fn ends(self) -> Result<Ends, String> {
        if let Some(failure) = self.failure {
            return Err(failure);
        }
        for delivery in self.others {
            delivery.await.map_err(|error| error.to_string())?;
        }
        let mut ends = Ends::new();
        for (of, delivery) in self.changes {
            let written = delivery.await.map_err(|error| error.to_string())?;
            if let Some(offset) = written.offset {
                ends.insert(of, offset.plus(1).0);
            }
        }
        Ok(ends)
    }
}

fn of(record: &Destined) -> ProducerRecord<'_> {
    ProducerRecord {
        topic: &record.topic,
        partition: record.partition,
        key: record.key.as_deref(),
        value: record.value.as_deref(),
        headers: &record.headers,
        timestamp_ms: record.timestamp_ms,
    }
}

struct Writing {
    client: Client,
    identity: Arc<Identity>,
}

impl Writing {
    async fn in_transactions(self, mut producer: TransactionalProducer, mut taken: mpsc::Receiver<Order>) {
        while let Some(first) = taken.recv().await {
            match producer.begin().await {
                Ok(transaction) => {
                    if !self.one_transaction(transaction, first, &mut taken).await {
                        break;
                    }
                }
                Err(error) => {
                    if let Order::Commit { done, .. } = first {
                        // Who does not wait any more needs no answer.
                        let _ = done.send(Err(error.to_string()));
                    }
                    break;
                }
            }
        }
        taken.close();
        producer.close(CLOSE_WITHIN).await;
    }

    /// Sends until a commit is asked for. False where nothing more can be written: the transaction is aborted then.
    async fn one_transaction(
        &self,
        mut transaction: Transaction<'_>,
        first: Order,
        taken: &mut mpsc::Receiver<Order>,
    ) -> bool {
        let (mut sent, mut next) = (Sent::default(), Some(first));
        while let Some(order) = next {
            match order {
                Order::Send(records) => {
                    for record in &records {
                        if sent.failure.is_none() {
                            let delivery = transaction.send(of(record)).await;
                            sent.sent(record, delivery, false);
                        }
                    }
                }
                Order::Commit { positions, done } => {
                    let committed = self.commit(&mut transaction, sent, positions).await;
                    let is_well = committed.is_ok();
                    // Who does not wait any more needs no answer.
                    let _ = done.send(committed);
                    return is_well;
                }
            }
            next = taken.recv().await;
        }
        // Nobody is there any more. If it cannot be aborted now, it is by time, or by who comes next.
        let _ = transaction.abort().await;
        false
    }

    async fn commit(
        &self,
        transaction: &mut Transaction<'_>,
        sent: Sent,
        positions: Vec<Position>,
    ) -> Result<Ends, String> {
        if let Some(failure) = sent.failure {
            return Err(failure);
        }
        let group = self.identity.metadata();
        let positions = positions.into_iter().map(|position| (position.of, position.next, position.words));
        let with_words = transaction.send_offsets_with(&group, positions);
        with_words.await.map_err(|error| error.to_string())?;
        loop {
            match transaction.commit().await {
                Ok(()) => break,
                // It may have committed: that is found out, or time ends it.
                Err(error) if error.is_retriable() => {}
                Err(error) => return Err(error.to_string()),
            }
        }
        sent.ends().await
    }

    async fn plainly(self, producer: Producer, mut taken: mpsc::Receiver<Order>) {
        let mut sent = Sent::default();
        while let Some(order) = taken.recv().await {
            match order {
                Order::Send(records) => {
                    for record in &records {
                        let delivery = producer.send(of(record)).await;
                        sent.sent(record, delivery, true);
                    }
                    sent.bound().await;
                }
                Order::Commit { positions, done } => {
                    let committed = match std::mem::take(&mut sent).ends().await {
                        Ok(ends) => {
                            let written =
                                positions::commit(&self.client, &self.identity.metadata(), positions).await;
                            written.map(|()| ends).map_err(|error| error.to_string())
                        }
                        Err(failure) => Err(failure),
                    };
                    let is_well = committed.is_ok();
                    // Who does not wait any more needs no answer.
                    let _ = done.send(committed);
                    if !is_well {
                        break;
                    }
                }
            }
        }
        taken.close();
        producer.close(CLOSE_WITHIN).await;
    }
}

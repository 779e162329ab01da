//! Where a transactional producer stands with its coordinator.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use tokio::sync::Mutex as TurnMutex;

use super::error::TransactionError;
use crate::client::{Client, ClientError, Coordinator, GroupMetadata, TopicPartition, Tries};
use crate::error::{ErrorCode, Refusal};
use crate::group::message::transactional::CommitInTransaction;
use crate::group::message::{CommittedOffset, OffsetCommit};
use crate::ids::{Offset, PartitionId};
use crate::producer::router::Adopt;
use crate::producer::{Delivery, ProduceError, Producer, ProducerRecord};
use crate::transaction::message::{BeginTransactions, EndTransaction};
use crate::transaction::state::ProducerEpoch;

/// Where the transaction stands.
#[derive(Clone, Debug)]
enum Phase {
    /// There was none yet.
    None,
    Open,
    /// Its end was asked for, and is not known to be decided.
    Ending {
        commits: bool,
    },
    /// It has ended so.
    Ended {
        commits: bool,
    },
    /// There will be none any more.
    Over(TransactionError),
}

#[derive(Debug)]
struct Standing {
    producer: ProducerEpoch,
    phase: Phase,
}

/// A transactional producer, from its beginning on.
#[derive(Debug)]
pub(super) struct Session {
    client: Client,
    id: String,
    pub(super) producer: Producer,
    coordinator: Coordinator,
    /// By group.
    groups: Mutex<BTreeMap<String, Arc<Coordinator>>>,
    /// Whoever holds it begins or ends a transaction.
    standing: TurnMutex<Standing>,
    /// The transaction takes records and offsets: its end was not asked for.
    is_open: AtomicBool,
    /// Something of the open transaction may have reached a node: its coordinator is to be told of its end.
    is_used: AtomicBool,
    /// The transaction is to be ended by who comes next.
    is_left: AtomicBool,
    /// How long a call may take.
    within: Duration,
}

impl Session {
    /// Gets id and epoch; whoever had the transactional id before is fenced.
    pub(super) async fn begin(
        client: Client,
        id: String,
        producer: Producer,
    ) -> Result<Self, TransactionError> {
        let settings = &producer.handle.topics.settings;
        let (within, timeout) = (settings.max_block, settings.transaction_timeout);
        let timeout_ms = i32::try_from(timeout.as_millis()).unwrap_or(i32::MAX);
        let coordinator = Coordinator::of_transactions(client.clone(), id.clone());
        let ask = BeginTransactions { id: id.clone(), timeout_ms };
        let begun = coordinator.ask("beginning as a transactional producer", ask, within).await;
        let standing = Standing { producer: begun.map_err(TransactionError::of)?, phase: Phase::None };
        Ok(Self {
            client,
            id,
            producer,
            coordinator,
            groups: Mutex::default(),
            standing: TurnMutex::new(standing),
            is_open: AtomicBool::new(false),
            is_used: AtomicBool::new(false),
            is_left: AtomicBool::new(false),
            within,
        })
    }

    /// Opens the next transaction: its id and epoch.
    pub(super) async fn open(&self) -> Result<ProducerEpoch, TransactionError> {
        let mut standing = self.standing.lock().await;
        self.resolve_as(&mut standing).await?;
        self.adopt(Some(standing.producer)).await?;
        self.producer.handle.topics.budget.forget_failure();
        self.is_used.store(false, Ordering::Release);
        self.is_open.store(true, Ordering::Release);
        standing.phase = Phase::Open;
        Ok(standing.producer)
    }

    pub(super) async fn send(&self, record: ProducerRecord<'_>) -> Result<Delivery, ProduceError> {
        self.check_open()?;
        self.is_used.store(true, Ordering::Release);
        let unheard = Unheard::new(self, "a record of the transaction was given up before it was taken");
        let sent = self.producer.send(record).await;
        unheard.hear(sent.as_ref().err());
        sent
    }

    fn check_open(&self) -> Result<(), ProduceError> {
        if self.is_open.load(Ordering::Acquire) {
            return Ok(());
        }
        let text = "the transaction's end was asked for: begin another one";
        Err(ProduceError::Refused(Refusal::new(ErrorCode::InvalidTxnState, text)))
    }

    /// From now on the transaction does not commit.
    fn failed(&self, error: &ProduceError) {
        self.producer.handle.topics.budget.failed(error);
    }

    pub(super) async fn send_offsets(
        &self,
        producer: ProducerEpoch,
        group: &GroupMetadata,
        offsets: Vec<(TopicPartition, Offset, String)>,
    ) -> Result<(), TransactionError> {
        self.check_open().map_err(TransactionError::Abortable)?;
        if offsets.is_empty() {
            return Ok(());
        }
        self.is_used.store(true, Ordering::Release);
        let unheard = Unheard::new(self, "offsets of the transaction are not known to be committed");
        let committed = self.commit_offsets(producer, group, offsets).await;
        match &committed {
            Ok(()) => unheard.hear(None),
            Err(TransactionError::Abortable(error)) => unheard.hear(Some(error)),
            // What becomes of the transaction is not for this to say, but it does not commit.
            Err(_) => drop(unheard),
        }
        committed
    }

    async fn commit_offsets(
        &self,
        producer: ProducerEpoch,
        group: &GroupMetadata,
        offsets: Vec<(TopicPartition, Offset, String)>,
    ) -> Result<(), TransactionError> {
        let mut tries = Tries::begin("committing offsets in a transaction", self.within);
        let mut committed = Vec::new();
        for (name, offset, metadata) in offsets {
            let found = self.client.metadata.topic(&name.topic, tries.left()).await;
            let topic = found.map_err(TransactionError::of_offsets)?;
            let partition = topic.partition(name.partition).ok_or_else(|| no_partition(&name))?;
            committed.push((partition, CommittedOffset { offset, leader_epoch: None, metadata }));
        }
        let message = CommitInTransaction {
            commit: OffsetCommit {
                group: group.group.clone(),
                member: group.member.clone(),
                member_epoch: group.member_epoch,
                offsets: committed,
            },
            instance: group.instance.clone(),
            id: self.id.clone(),
            producer_id: producer.id,
            producer_epoch: producer.epoch,
        };
        let coordinator = self.coordinator_of(&group.group);
        loop {
            let error = match coordinator.ask_once(message.clone(), tries.left()).await {
                Ok(each) => match first_refusal(each) {
                    None => return Ok(()),
                    Some(refusal) => ClientError::Refused(refusal),
                },
                Err(error) => error,
            };
            tries.failed(error).map_err(TransactionError::of_offsets)?;
            tries.pause().await.map_err(TransactionError::of_offsets)?;
        }
    }

    fn coordinator_of(&self, group: &str) -> Arc<Coordinator> {
        let mut groups = self.groups.lock().unwrap_or_else(PoisonError::into_inner);
        let new = || Arc::new(Coordinator::new(self.client.clone(), group));
        Arc::clone(groups.entry(group.to_owned()).or_insert_with(new))
    }

    pub(super) async fn commit(&self) -> Result<(), TransactionError> {
        let mut standing = self.standing.lock().await;
        self.is_open.store(false, Ordering::Release);
        if matches!(standing.phase, Phase::Open) {
            let budget = &self.producer.handle.topics.budget;
            if budget.failure().is_none() {
                self.producer.flush().await;
            }
            if let Some(error) = budget.failure() {
                return Err(TransactionError::Abortable(error));
            }
        }
        self.end(&mut standing, true).await
    }

    pub(super) async fn abort(&self) -> Result<(), TransactionError> {
        let mut standing = self.standing.lock().await;
        self.is_open.store(false, Ordering::Release);
        self.end(&mut standing, false).await
    }

    /// Ends the transaction, if there is one. An end that was asked for before is asked for again, and no other: once it
    /// is known, who wanted the other one hears of it.
    async fn end(&self, standing: &mut Standing, commits: bool) -> Result<(), TransactionError> {
        match standing.phase {
            Phase::Open => self.end_as(standing, commits).await?,
            Phase::Ending { commits: asked } => self.end_as(standing, asked).await?,
            Phase::None | Phase::Ended { .. } | Phase::Over(_) => {}
        }
        match &standing.phase {
            Phase::Ended { commits: ended } if *ended != commits => Err(ended_before(*ended)),
            Phase::Over(error) => Err(error.clone()),
            Phase::None | Phase::Open | Phase::Ending { .. } | Phase::Ended { .. } => Ok(()),
        }
    }

    /// Ends the transaction so.
    async fn end_as(&self, standing: &mut Standing, commits: bool) -> Result<(), TransactionError> {
        if !commits {
            // Nothing more is sent: what comes late is of an epoch that is over.
            self.adopt(None).await?;
        }
        if !self.is_used.load(Ordering::Acquire) {
            standing.phase = Phase::Ended { commits };
            return Ok(());
        }
        // Before the coordinator is asked: nobody may wait for its answer any more.
        standing.phase = Phase::Ending { commits };
        let ask = EndTransaction { id: self.id.clone(), producer: standing.producer, commits };
        match self.coordinator.ask("ending a transaction", ask, self.within).await {
            Ok(next) => {
                *standing = Standing { producer: next, phase: Phase::Ended { commits } };
                Ok(())
            }
            Err(error) => {
                let error = TransactionError::of(error);
                if error.is_fatal() {
                    self.adopt(None).await?;
                    standing.phase = Phase::Over(error.clone());
                }
                Err(error)
            }
        }
    }

    /// Ends a transaction that nobody else will end.
    pub(super) async fn resolve(&self) -> Result<(), TransactionError> {
        let mut standing = self.standing.lock().await;
        self.resolve_as(&mut standing).await
    }

    async fn resolve_as(&self, standing: &mut Standing) -> Result<(), TransactionError> {
        self.is_left.store(false, Ordering::Release);
        match standing.phase {
            Phase::None | Phase::Ended { .. } => Ok(()),
            Phase::Ending { commits } => self.end(standing, commits).await,
            Phase::Open | Phase::Over(_) => self.end(standing, false).await,
        }
    }

    /// The same without being waited for; whoever begins the next transaction waits for it.
    pub(super) fn resolve_later(self: &Arc<Self>) {
        let has_ended = |standing: &Standing| matches!(standing.phase, Phase::Ended { .. } | Phase::Over(_));
        if self.standing.try_lock().is_ok_and(|standing| has_ended(&standing)) {
            return;
        }
        self.is_left.store(true, Ordering::Release);
        let Some(core) = self.client.world.threads.cores().first() else { return };
        let session = Arc::clone(self);
        core.spawn(move || async move {
            let mut standing = session.standing.lock().await;
            // Else the next one has begun meanwhile, and has ended it.
            if session.is_left.load(Ordering::Acquire)
                && let Err(error) = session.resolve_as(&mut standing).await
            {
                tracing::warn!(id = session.id, %error, "a transaction that was dropped is not ended");
            }
        });
    }

    async fn adopt(&self, producer: Option<ProducerEpoch>) -> Result<(), TransactionError> {
        let adopted = self.producer.handle.router.send(Adopt(producer)).await;
        adopted.map_err(|_| TransactionError::Fatal(ClientError::Closed))
    }
}

/// Something is to become part of the transaction. Dropped before that is known, as when its future is, nobody can say
/// whether it is: then the transaction does not commit.
struct Unheard<'a> {
    session: &'a Session,
    what: &'static str,
    is_heard: bool,
}

impl<'a> Unheard<'a> {
    const fn new(session: &'a Session, what: &'static str) -> Self {
        Self { session, what, is_heard: false }
    }

    /// It is part of it, or has failed.
    fn hear(mut self, failed: Option<&ProduceError>) {
        self.is_heard = true;
        if let Some(error) = failed {
            self.session.failed(error);
        }
    }
}

impl Drop for Unheard<'_> {
    fn drop(&mut self) {
        if !self.is_heard {
            let refusal = Refusal::new(ErrorCode::TransactionAbortable, self.what);
            self.session.failed(&ProduceError::Refused(refusal));
        }
    }
}

fn first_refusal(each: Vec<(PartitionId, Result<(), Refusal>)>) -> Option<Refusal> {
    each.into_iter().find_map(|(_, result)| result.err())
}

fn no_partition(name: &TopicPartition) -> TransactionError {
    let refusal = Refusal::new(ErrorCode::UnknownTopicOrPartition, format!("{name} does not exist"));
    TransactionError::Abortable(ProduceError::Refused(refusal))
}

fn ended_before(commits: bool) -> TransactionError {
    if !commits {
        return TransactionError::Abortable(ProduceError::Aborted);
    }
    let refusal = Refusal::new(ErrorCode::InvalidTxnState, "the transaction has committed");
    TransactionError::Abortable(ProduceError::Refused(refusal))
}

//! The native consumer: reads partitions by offset, alone or as a member of a group.
//!
//! A task on a core of the client's world fetches ahead within a bound and keeps the membership alive; the application
//! takes one event after the other with [`Consumer::next`]. Rebalances are events among the records, so that the
//! application decides when it is done with a partition.

mod by_id;
mod driver;
mod event;
mod fetching;
pub(crate) mod membership;
mod settings;
mod shared;
mod stable;
mod state;
#[cfg(test)]
mod tests;

use std::sync::Arc;

use crate::client::{Client, ClientError, Coordinator, GroupMetadata, TopicPartition, View};
use crate::error::{ErrorCode, Refusal};
use crate::ids::{Offset, PartitionId};
use driver::{Driver, commit};
use fetching::Fetcher;
use membership::{Identity, Membership, Subscription};
use shared::Shared;

pub use event::{ConsumerEvent, Fetched};
pub use settings::{ConsumerSettings, IsolationLevel, OffsetReset};
pub use state::SeekTo;

/// A consumer. Dropped without [`Consumer::close`], it still leaves its group, but nobody waits for that.
#[derive(Debug)]
pub struct Consumer {
    client: Client,
    settings: Arc<ConsumerSettings>,
    shared: Arc<Shared>,
    coordinator: Option<Arc<Coordinator>>,
}

impl Consumer {
    /// A consumer that reads nothing yet: subscribe or assign next. An error names a setting that cannot be taken.
    pub fn new(client: &Client, settings: ConsumerSettings) -> Result<Self, ClientError> {
        settings.check()?;
        let settings = Arc::new(settings);
        let member = client.world.random.uuid().to_string();
        let shared = Arc::new(Shared::new(settings.group.clone(), member.clone()));
        let coordinator =
            settings.group.as_ref().map(|group| Arc::new(Coordinator::new(client.clone(), group)));
        let membership = settings.group.clone().map(|group| {
            Membership::new(Identity {
                group,
                member,
                instance: settings.instance.clone(),
                client_id: client.settings.client_id.clone(),
                assignor: settings.assignor.clone(),
                rebalance_timeout: settings.max_poll_interval,
            })
        });
        let fetcher = Fetcher {
            client: client.clone(),
            settings: Arc::clone(&settings),
            coordinator: coordinator.clone(),
        };
        let core = client.some_core()?;
        let its = Arc::clone(&shared);
        if !core.spawn(move || Driver::new(its, fetcher, membership).run()) {
            return Err(ClientError::Closed);
        }
        Ok(Self { client: client.clone(), settings, shared, coordinator })
    }

    /// Subscribes to these topics, in place of earlier ones: the group decides which partitions are read here. A topic
    /// that does not exist yet is read once it does.
    pub fn subscribe(&self, topics: impl IntoIterator<Item = impl Into<String>>) -> Result<(), ClientError> {
        self.needs_group("subscribe")?;
        let topics = topics.into_iter().map(Into::into).collect();
        self.shared.subscribe(Subscription { topics, pattern: String::new() });
        Ok(())
    }

    /// Subscribes to all topics whose names match this regular expression, wholly, also ones that come later.
    pub fn subscribe_pattern(&self, pattern: impl Into<String>) -> Result<(), ClientError> {
        self.needs_group("subscribe_pattern")?;
        self.shared.subscribe(Subscription { topics: Vec::new(), pattern: pattern.into() });
        Ok(())
    }

    fn needs_group(&self, what: &str) -> Result<(), ClientError> {
        if self.settings.group.is_some() {
            return Ok(());
        }
        Err(ClientError::setting("group.id", format!("{what} needs a group; without one, assign partitions")))
    }

    /// Reads these partitions, beside others, without asking a group. Waits until the topics are known.
    pub async fn assign(
        &self,
        partitions: impl IntoIterator<Item = (TopicPartition, SeekTo)>,
    ) -> Result<(), ClientError> {
        let mut found = Vec::new();
        for (name, from) in partitions {
            let topic = self.client.metadata.topic(&name.topic, self.client.settings.api_timeout).await?;
            let id = topic.partition(name.partition).ok_or_else(|| unknown(&name))?;
            found.push((id, name, from));
        }
        self.shared.state().add(found, false);
        self.shared.to_driver.notify_one();
        Ok(())
    }

    /// Reads these partitions no more, of those that were assigned by [`Consumer::assign`]: nothing of them that was read
    /// ahead is handed out.
    pub fn unassign(&self, partitions: impl IntoIterator<Item = TopicPartition>) {
        self.shared.state().remove(&partitions.into_iter().collect());
        // There is room for others now.
        self.shared.to_driver.notify_one();
    }

    /// The next event; waits for it. Everything handed out before counts as processed from now on.
    ///
    /// An error is told once; reading goes on where it can. After [`ClientError::Closed`] nothing comes any more. A
    /// member that does not ask for longer than `max.poll.interval.ms` leaves its group until it asks again: what it
    /// read is [`ConsumerEvent::Lost`] then.
    pub async fn next(&mut self) -> Result<ConsumerEvent, ClientError> {
        let _asking = self.shared.asks();
        loop {
            if let Some(error) = self.shared.take_failure() {
                return Err(error);
            }
            let (event, wakes) = {
                let mut state = self.shared.state();
                let event = state.next();
                // Room in the buffer, or a partition let go, is work for the task.
                (event, state.is_revoking())
            };
            if event.is_some() || wakes {
                self.shared.to_driver.notify_one();
            }
            if let Some(event) = event {
                return Ok(event);
            }
            if self.shared.is_closed() {
                return Err(ClientError::Closed);
            }
            self.shared.to_application.notified().await;
        }
    }

    /// Whether the next event tells of partitions that go to others, who wait for it: who is busy with records for long may
    /// stop there, seek back, and ask.
    #[must_use]
    pub fn is_asked_to_give_up(&self) -> bool {
        self.shared.state().has_revocation()
    }

    /// Goes on elsewhere in a partition that is read here; nothing read ahead before is handed out.
    pub fn seek(&self, partition: &TopicPartition, to: SeekTo) -> Result<(), ClientError> {
        self.on(partition, |state, id| state.seek(id, to))
    }

    /// Hands out nothing of this partition until it is resumed, nor what was read ahead; it stays assigned.
    pub fn pause(&self, partition: &TopicPartition) -> Result<(), ClientError> {
        self.on(partition, state::State::pause)
    }

    /// Reads a paused partition on.
    pub fn resume(&self, partition: &TopicPartition) -> Result<(), ClientError> {
        self.on(partition, state::State::resume)
    }

    fn on(
        &self,
        partition: &TopicPartition,
        act: impl FnOnce(&mut state::State, PartitionId) -> bool,
    ) -> Result<(), ClientError> {
        let id = self.id(partition)?;
        if !act(&mut self.shared.state(), id) {
            return Err(not_read(partition));
        }
        self.shared.to_driver.notify_one();
        Ok(())
    }

    /// The offset after the last record handed out; `None` while it is being looked up.
    pub fn position(&self, partition: &TopicPartition) -> Result<Option<Offset>, ClientError> {
        let id = self.id(partition)?;
        let state = self.shared.state();
        state.reading(id).map(|reading| reading.position).ok_or_else(|| not_read(partition))
    }

    /// The partitions read here.
    #[must_use]
    pub fn assignment(&self) -> Vec<TopicPartition> {
        self.shared.state().readings().map(|(_, reading)| reading.name.clone()).collect()
    }

    /// Commits the positions of all partitions read here: everything handed out counts as processed. Waits until the
    /// group has them on disk.
    pub async fn commit(&self) -> Result<(), ClientError> {
        self.commit_ids(self.shared.positions()).await
    }

    /// Commits these offsets: of each partition the next one to read.
    pub async fn commit_offsets(
        &self,
        offsets: impl IntoIterator<Item = (TopicPartition, Offset)>,
    ) -> Result<(), ClientError> {
        let mut found = Vec::new();
        for (name, offset) in offsets {
            found.push((self.id(&name)?, offset));
        }
        self.commit_ids(found).await
    }

    pub(crate) async fn commit_ids(&self, offsets: Vec<(PartitionId, Offset)>) -> Result<(), ClientError> {
        self.needs_group("commit")?;
        let Some(coordinator) = &self.coordinator else { return Ok(()) };
        commit(coordinator, &self.shared, offsets, self.client.settings.api_timeout).await
    }

    /// As [`Consumer::commit`], and waits for nothing; the future tells how it ended, if somebody asks.
    pub fn commit_async(&self) -> impl Future<Output = Result<(), ClientError>> + Send + 'static {
        let (shared, offsets) = (Arc::clone(&self.shared), self.shared.positions());
        let (coordinator, within) = (self.coordinator.clone(), self.client.settings.api_timeout);
        let (tell, told) = tokio::sync::oneshot::channel();
        if let (Some(coordinator), Some(core)) = (coordinator, self.client.world.threads.cores().first()) {
            core.spawn(move || async move {
                // Who does not ask is not told.
                let _ = tell.send(commit(&coordinator, &shared, offsets, within).await);
            });
        }
        async move { told.await.unwrap_or(Err(ClientError::Closed)) }
    }

    /// What the group has committed for these partitions; those without are left out. Waits while an offset for one of
    /// them is part of an open transaction.
    pub async fn committed(
        &self,
        partitions: &[TopicPartition],
    ) -> Result<Vec<(TopicPartition, Offset)>, ClientError> {
        self.needs_group("committed")?;
        let (Some(coordinator), Some(group)) = (&self.coordinator, &self.settings.group) else {
            return Ok(Vec::new());
        };
        let ids = partitions.iter().map(|partition| self.id(partition)).collect::<Result<Vec<_>, _>>()?;
        let found = stable::committed(coordinator, group, ids, self.client.settings.api_timeout).await?;
        let view = self.client.metadata.view();
        Ok(found.into_iter().filter_map(|(id, at)| Some((view.name(id)?, at))).collect())
    }

    /// What a transactional producer says of this consumer when it commits offsets for it (KIP-447); `None` without a
    /// group. It counts while the group does not rebalance: ask for it anew for each transaction. From when partitions are
    /// lost until an event is asked for after [`ConsumerEvent::Lost`] the group refuses it.
    #[must_use]
    pub fn group_metadata(&self) -> Option<GroupMetadata> {
        self.shared.group_metadata(self.settings.instance.clone())
    }

    /// The next offset to read of each partition read here, after what was handed out: what a transactional producer
    /// commits for this consumer. Partitions of which nothing was handed out may be left out.
    #[must_use]
    pub fn positions(&self) -> Vec<(TopicPartition, Offset)> {
        let state = self.shared.state();
        let known =
            state.readings().filter_map(|(_, reading)| Some((reading.name.clone(), reading.position?)));
        known.collect()
    }

    fn id(&self, partition: &TopicPartition) -> Result<PartitionId, ClientError> {
        let view: Arc<View> = self.client.metadata.view();
        view.id(partition).ok_or_else(|| unknown(partition))
    }

    /// Commits what was processed, if that is automatic, leaves the group, and ends.
    pub async fn close(self) {
        self.shared.state().processed_all();
        self.shared.close();
        self.shared.until_driver_ended().await;
    }
}

impl Drop for Consumer {
    fn drop(&mut self) {
        self.shared.close();
    }
}

fn unknown(partition: &TopicPartition) -> ClientError {
    ClientError::Refused(Refusal::new(
        ErrorCode::UnknownTopicOrPartition,
        format!("{partition} does not exist, or has not been looked up"),
    ))
}

fn not_read(partition: &TopicPartition) -> ClientError {
    ClientError::Refused(Refusal::new(
        ErrorCode::InvalidRequest,
        format!("{partition} is not read by this consumer"),
    ))
}

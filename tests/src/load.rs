//! A continuous load: an idempotent producer and a group of two readers; what they do and see becomes a history.

mod reading;
mod sending;

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use millstream::{Client, CreateTopic, NodeId, ProducerSettings, TopicId};
use millstream_actors::client::TopicView;
use millstream_actors::cluster::message::PartitionMetadata;
use millstream_actors::error::ErrorCode;
use millstream_actors::ids::{Offset, PartitionId};
use tokio::sync::watch;
use tokio::task::JoinHandle;
use tokio::time::Instant;

use crate::checker::check;
use crate::history::{History, Sent, Tag};
use crate::{Outcome, until};

/// What is produced.
#[derive(Clone, Debug)]
pub struct LoadSettings {
    /// The topic, made by the load.
    pub topic: String,
    /// Its partitions.
    pub partitions: i32,
    /// Its replicas.
    pub replicas: i16,
    /// Its settings.
    pub config: BTreeMap<String, String>,
    /// Bytes of each record's value.
    pub value_bytes: usize,
    /// Between two records.
    pub pause: Duration,
}

impl Default for LoadSettings {
    fn default() -> Self {
        Self {
            topic: "load".to_owned(),
            partitions: 6,
            replicas: 3,
            config: BTreeMap::from([("min.insync.replicas".to_owned(), "2".to_owned())]),
            value_bytes: 100,
            pause: Duration::from_millis(1),
        }
    }
}

/// A load that runs.
#[derive(Debug)]
pub struct Load {
    client: Client,
    settings: LoadSettings,
    topic: TopicId,
    notes: Arc<Mutex<Notes>>,
    stop_sending: watch::Sender<bool>,
    stop_reading: watch::Sender<bool>,
    sender: JoinHandle<Outcome>,
    readers: Vec<JoinHandle<Outcome>>,
}

/// What was done and seen so far.
#[derive(Debug, Default)]
struct Notes {
    history: History,
    /// Records sent whose fate is not known yet.
    open: u64,
    /// What producers and readers were told that is not as it should be.
    errors: Vec<String>,
    /// By partition: the latest acknowledgement, and the longest time between two.
    gaps: BTreeMap<PartitionId, (Instant, Duration)>,
    /// By partition: the first offset that no reader has seen.
    read_upto: BTreeMap<PartitionId, Offset>,
    /// By partition: the first offset that is not acknowledged.
    acknowledged_upto: BTreeMap<PartitionId, Offset>,
}

impl Notes {
    fn acknowledged(&mut self, partition: PartitionId, offset: Offset) {
        let now = Instant::now();
        let (last, longest) = self.gaps.entry(partition).or_insert((now, Duration::ZERO));
        *longest = (*longest).max(now - *last);
        *last = now;
        let upto = self.acknowledged_upto.entry(partition).or_default();
        *upto = (*upto).max(Offset(offset.0 + 1));
    }

    fn ended(&mut self, partition: PartitionId, tag: Tag, result: Result<Offset, String>) {
        self.open -= 1;
        match result {
            Ok(offset) => {
                self.acknowledged(partition, offset);
                self.history.sent(partition, tag, Sent::Acknowledged(offset));
            }
            Err(error) => {
                self.errors.push(format!("producer: {error}"));
                self.history.sent(partition, tag, Sent::Unknown);
            }
        }
    }

    fn read(&mut self, partition: PartitionId, offset: Offset, tag: Tag) {
        self.history.read(partition, offset, tag);
        let upto = self.read_upto.entry(partition).or_default();
        *upto = (*upto).max(Offset(offset.0 + 1));
    }

    fn all_read(&self) -> bool {
        let read = |partition| self.read_upto.get(partition).copied().unwrap_or_default();
        self.acknowledged_upto.iter().all(|(partition, upto)| read(partition) >= *upto)
    }
}

/// What a load comes to, after it was found to keep the promises.
#[derive(Debug)]
pub struct Report {
    /// Records acknowledged.
    pub acknowledged: usize,
    /// The longest time between two acknowledgements of one partition.
    pub longest_gap: Duration,
    /// What happened.
    pub history: History,
}

impl Load {
    /// Makes the topic, starts producer and readers, and waits until records flow on all partitions, to both ends.
    pub async fn start(client: &Client, settings: LoadSettings) -> Outcome<Self> {
        let topic = CreateTopic {
            name: settings.topic.clone(),
            partitions: Some(settings.partitions),
            replication_factor: Some(settings.replicas),
            config: settings.config.clone(),
        };
        // A node that is ready may not be live yet in the controller's eyes.
        let topic = until("the topic", async || match client.admin().create_topic(topic.clone()).await {
            Ok(made) => Ok(Some(made)),
            Err(error) if error.code() == Some(ErrorCode::InvalidReplicationFactor) => Ok(None),
            Err(error) => Err(error.into()),
        })
        .await?;
        let notes = Arc::new(Mutex::new(Notes::default()));
        let (stop_sending, stopped) = watch::channel(false);
        let producer = client.producer(ProducerSettings::default()).await?;
        let sending =
            sending::Sending { topic, settings: settings.clone(), notes: Arc::clone(&notes), stopped };
        let sender = tokio::spawn(sending.run(producer));
        let (stop_reading, stopped) = watch::channel(false);
        let mut readers = Vec::new();
        for _ in 0..2 {
            let consumer = reading::member(client, &settings.topic)?;
            readers.push(tokio::spawn(reading::run(consumer, topic, Arc::clone(&notes), stopped.clone())));
        }
        let client = client.clone();
        let load = Self { client, settings, topic, notes, stop_sending, stop_reading, sender, readers };
        until("the load flows", async || {
            let notes = load.notes();
            let partitions = usize::try_from(load.settings.partitions)?;
            let flows = notes.acknowledged_upto.len() == partitions && notes.read_upto.len() == partitions;
            Ok(flows.then_some(()))
        })
        .await?;
        load.forget_gaps();
        Ok(load)
    }

    /// The group that reads.
    pub const GROUP: &str = "readers";

    /// The topic's id.
    #[must_use]
    pub fn topic(&self) -> TopicId {
        self.topic
    }

    /// Who leads a partition now, as soon as somebody does.
    pub async fn leader(&self, partition: i32) -> Outcome<u32> {
        leader(&self.client, &self.settings.topic, partition).await
    }

    /// How many records were acknowledged so far.
    #[must_use]
    pub fn acknowledged(&self) -> usize {
        self.notes().history.acknowledged()
    }

    /// Waits until so many more records are acknowledged on every partition.
    pub async fn acknowledges(&self, more: i64) -> Outcome {
        self.acknowledges_on(|_| true, more).await
    }

    /// Waits until so many more records are acknowledged on these partitions.
    pub async fn acknowledges_on(&self, chosen: impl Fn(i32) -> bool, more: i64) -> Outcome {
        let mut before = self.notes().acknowledged_upto.clone();
        before.retain(|partition, _| chosen(partition.index));
        until("acknowledgements on every partition", async || {
            let notes = self.notes();
            let grown = |(partition, upto): (&PartitionId, &Offset)| {
                notes.acknowledged_upto.get(partition).is_some_and(|now| now.0 >= upto.0 + more)
            };
            Ok(before.iter().all(grown).then_some(()))
        })
        .await
    }

    /// The longest time without an acknowledgement on one of these partitions, also one that lasts.
    #[must_use]
    pub fn longest_gap(&self, chosen: impl Fn(i32) -> bool) -> Duration {
        let notes = self.notes();
        let gaps = notes.gaps.iter().filter(|(partition, _)| chosen(partition.index));
        gaps.map(|(_, (last, longest))| (*longest).max(last.elapsed())).max().unwrap_or_default()
    }

    /// Gaps in acknowledgements count from here.
    pub fn forget_gaps(&self) {
        self.notes().gaps.clear();
    }

    /// Waits until all replicas are in sync.
    pub async fn in_sync(&self) -> Outcome {
        in_sync(&self.client, &self.settings.topic, usize::try_from(self.settings.replicas)?).await
    }

    /// Reads the first records of every partition from whoever leads it.
    pub async fn read_the_beginning(&self) -> Outcome {
        reading::beginning(&self.client, &self.settings.topic).await
    }

    /// Stops producing, waits until all that was acknowledged is read, reads the whole topic once more, and checks it
    /// all. An error says which promise is broken.
    pub async fn finish(self) -> Outcome<Report> {
        self.stop_sending.send_replace(true);
        self.sender.await??;
        until("the fate of every record", async || Ok((lock(&self.notes).open == 0).then_some(()))).await?;
        until("all that was acknowledged is read", async || Ok(lock(&self.notes).all_read().then_some(())))
            .await?;
        self.stop_reading.send_replace(true);
        for reader in self.readers {
            reader.await??;
        }
        let held = reading::everything(&self.client, &self.settings.topic, self.topic).await?;
        let mut notes = lock(&self.notes);
        let mut history = std::mem::take(&mut notes.history);
        for (partition, offset, tag) in held {
            history.hold(partition, offset, tag);
        }
        if let Some(first) = notes.errors.first() {
            return Err(format!("{} errors, first: {first}", notes.errors.len()).into());
        }
        let violations = check(&history);
        if let Some(first) = violations.first() {
            return Err(format!("{} promises are broken, first: {first}", violations.len()).into());
        }
        let longest_gap = notes.gaps.values().map(|(_, longest)| *longest).max().unwrap_or_default();
        Ok(Report { acknowledged: history.acknowledged(), longest_gap, history })
    }

    fn notes(&self) -> MutexGuard<'_, Notes> {
        lock(&self.notes)
    }
}

fn lock(notes: &Mutex<Notes>) -> MutexGuard<'_, Notes> {
    notes.lock().unwrap_or_else(PoisonError::into_inner)
}

/// A topic as the client sees it after its next look.
pub async fn describe(client: &Client, topic: &str) -> Outcome<Arc<TopicView>> {
    client.metadata().refresh();
    Ok(client.admin().describe_topic(topic).await?)
}

/// Who leads a partition, as soon as somebody does.
pub async fn leader(client: &Client, topic: &str, partition: i32) -> Outcome<u32> {
    let place = usize::try_from(partition)?;
    until("a leader", async || {
        let topic = describe(client, topic).await?;
        let known = topic.partitions.get(place).ok_or("no such partition")?;
        Ok(known.leader.map(|NodeId(leader)| leader))
    })
    .await
}

/// Waits until every partition has a leader and so many replicas in sync.
pub async fn in_sync(client: &Client, topic: &str, replicas: usize) -> Outcome {
    let mut last = None;
    let waited = until("all replicas in sync", async || {
        let topic = describe(client, topic).await?;
        let well = topic
            .partitions
            .iter()
            .all(|partition| partition.leader.is_some() && partition.in_sync.len() == replicas);
        last = Some(topic);
        Ok(well.then_some(()))
    });
    let shown = |topic: &TopicView| {
        let one = |partition: &PartitionMetadata| {
            format!(
                "leader {:?} epoch {} in sync {:?}",
                partition.leader, partition.leader_epoch, partition.in_sync
            )
        };
        topic.partitions.iter().map(one).collect::<Vec<_>>()
    };
    waited.await.map_err(|error| format!("{error}; last seen: {:#?}", last.as_deref().map(shown)).into())
}

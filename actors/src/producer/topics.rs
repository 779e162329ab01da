//! The topics that a producer writes to: which partitions there are, who chooses among them, their queues.

use std::collections::BTreeMap;
use std::sync::atomic::Ordering;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use dashmap::DashMap;
use millstream_transport::world::Random;

use super::budget::Budget;
use super::delivery::ProduceError;
use super::partitioner::{Choice, TopicPartitioner};
use super::queue::Queue;
use super::record::ProducerRecord;
use super::settings::ProducerSettings;
use crate::client::{TopicView, View};
use crate::ids::PartitionId;
use crate::topic_config::TopicConfig;

/// A topic that a producer writes to.
#[derive(Debug)]
pub(super) struct Topic {
    routing: Mutex<Routing>,
}

#[derive(Debug)]
struct Routing {
    view: Arc<TopicView>,
    available: Vec<i32>,
    queues: Vec<Arc<Queue>>,
    chooser: Box<dyn TopicPartitioner>,
}

impl Topic {
    fn lock(&self) -> MutexGuard<'_, Routing> {
        self.routing.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The queue of the partition that a record goes to.
    pub(super) fn route(
        &self,
        record: &ProducerRecord<'_>,
        bytes: usize,
        batch_bytes: usize,
        random: &Random,
    ) -> Result<Arc<Queue>, ProduceError> {
        let mut routing = self.lock();
        let Routing { available, queues, chooser, .. } = &mut *routing;
        let queue = |partition: i32| usize::try_from(partition).ok().and_then(|index| queues.get(index));
        let partition = record.partition.unwrap_or_else(|| {
            chooser.choose(&Choice {
                key: record.key,
                value: record.value,
                bytes,
                partitions: i32::try_from(queues.len()).unwrap_or(i32::MAX),
                available,
                batch_bytes,
                random,
                queued_bytes: &|partition| queue(partition).map_or(0, |queue| queue.queued_bytes()),
            })
        });
        queue(partition).cloned().ok_or_else(|| ProduceError::UnknownPartition {
            topic: record.topic.to_owned(),
            partition,
            partitions: queues.len(),
        })
    }
}

/// What the callers of a producer and its router share.
#[derive(Debug)]
pub(super) struct Topics {
    pub(super) settings: ProducerSettings,
    pub(super) budget: Arc<Budget>,
    by_name: DashMap<Arc<str>, Arc<Topic>>,
    /// Queues that the router is to look at.
    news: Mutex<Vec<Arc<Queue>>>,
    shut: Mutex<bool>,
}

impl Topics {
    pub(super) fn new(settings: ProducerSettings) -> Self {
        let budget = Arc::new(Budget::new(settings.buffer_bytes));
        Self { settings, budget, by_name: DashMap::new(), news: Mutex::default(), shut: Mutex::new(false) }
    }

    pub(super) fn get(&self, name: &str) -> Option<Arc<Topic>> {
        self.by_name.get(name).map(|topic| Arc::clone(&topic))
    }

    /// Begins to write to a topic.
    pub(super) fn open(&self, view: &Arc<TopicView>, cluster: &View) -> Result<Arc<Topic>, ProduceError> {
        let shut = self.shut.lock().unwrap_or_else(PoisonError::into_inner);
        if *shut {
            return Err(ProduceError::Closed);
        }
        let topic = self.by_name.entry(Arc::clone(&view.name)).or_insert_with(|| {
            let chooser = self.settings.partitioner.for_topic(&view.name);
            let routing =
                Routing { view: Arc::clone(view), available: Vec::new(), queues: Vec::new(), chooser };
            let topic = Topic { routing: Mutex::new(routing) };
            self.lay_out(&mut topic.lock(), view, cluster);
            Arc::new(topic)
        });
        Ok(Arc::clone(&topic))
    }

    /// Follows a new view: partitions that were added, leaders that came or went.
    ///
    /// A topic that was deleted and made again has another id: what waits for the old one fails with it, and records
    /// from now on go to the new.
    pub(super) fn follow(&self, cluster: &View) {
        for view in cluster.topics.values() {
            let Some(topic) = self.get(&view.name) else { continue };
            self.lay_out(&mut topic.lock(), view, cluster);
        }
    }

    fn lay_out(&self, routing: &mut Routing, view: &Arc<TopicView>, cluster: &View) {
        if routing.view.id != view.id {
            routing.queues.clear();
        }
        let most = max_message_bytes(view).min(self.settings.batch_bytes);
        for partition in view.partition_ids().skip(routing.queues.len()) {
            let queue = Queue::new(partition, most, self.settings.compression, Arc::clone(&self.budget));
            routing.queues.push(Arc::new(queue));
        }
        let led = |partition: &PartitionId| cluster.leader(*partition).is_some();
        routing.available = view.partition_ids().filter(led).map(|partition| partition.index).collect();
        if routing.available.is_empty() {
            routing.available = view.partition_ids().map(|partition| partition.index).collect();
        }
        routing.view = Arc::clone(view);
    }

    /// Puts a queue on the router's list; true if it was not there.
    pub(super) fn list(&self, queue: &Arc<Queue>) -> bool {
        if queue.listed.swap(true, Ordering::AcqRel) {
            return false;
        }
        self.news.lock().unwrap_or_else(PoisonError::into_inner).push(Arc::clone(queue));
        true
    }

    pub(super) fn take_news(&self) -> Vec<Arc<Queue>> {
        let news = std::mem::take(&mut *self.news.lock().unwrap_or_else(PoisonError::into_inner));
        for queue in &news {
            queue.listed.store(false, Ordering::Release);
        }
        news
    }

    /// Takes no more records; what waits has failed.
    pub(super) fn shut(&self) {
        *self.shut.lock().unwrap_or_else(PoisonError::into_inner) = true;
        self.budget.close();
        let topics: BTreeMap<Arc<str>, Arc<Topic>> =
            self.by_name.iter().map(|topic| (Arc::clone(topic.key()), Arc::clone(&topic))).collect();
        for topic in topics.values() {
            for queue in &topic.lock().queues {
                queue.shut();
            }
        }
        self.take_news();
    }
}

fn max_message_bytes(view: &TopicView) -> usize {
    let own = view.config.get("max.message.bytes").and_then(|bytes| bytes.parse().ok());
    own.unwrap_or_else(|| usize::try_from(TopicConfig::default().max_message_bytes).unwrap_or(usize::MAX))
}

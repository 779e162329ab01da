//! The producer of a load.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use millstream::{Delivery, Producer, ProducerRecord, TopicId};
use millstream_actors::ids::PartitionId;
use tokio::sync::watch;
use tokio::time::{MissedTickBehavior, interval};

use super::{LoadSettings, Notes, lock};
use crate::Outcome;
use crate::history::Tag;

pub(super) struct Sending {
    pub(super) topic: TopicId,
    pub(super) settings: LoadSettings,
    pub(super) notes: Arc<Mutex<Notes>>,
    pub(super) stopped: watch::Receiver<bool>,
}

impl Sending {
    /// Sends to one partition after the other until it is stopped.
    pub(super) async fn run(self, producer: Producer) -> Outcome {
        let mut ticks = interval(self.settings.pause);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let mut value = vec![b'.'; self.settings.value_bytes.max(12)];
        for number in 0.. {
            for index in 0..self.settings.partitions {
                ticks.tick().await;
                if *self.stopped.borrow() {
                    producer.close(Duration::from_secs(60)).await;
                    return Ok(());
                }
                let tag = Tag { producer: 1, number };
                if let Some(place) = value.first_chunk_mut() {
                    *place = tag.to_bytes();
                }
                let record = ProducerRecord::to(&self.settings.topic).partition(index).value(&value);
                let delivery = producer.send(record).await?;
                lock(&self.notes).open += 1;
                let partition = PartitionId { topic: self.topic, index };
                tokio::spawn(ended(delivery, partition, tag, Arc::clone(&self.notes)));
            }
        }
        Ok(())
    }
}

async fn ended(delivery: Delivery, partition: PartitionId, tag: Tag, notes: Arc<Mutex<Notes>>) {
    let result = match delivery.await {
        Ok(written) => written.offset.ok_or_else(|| "acknowledged without an offset".to_owned()),
        Err(error) => Err(error.to_string()),
    };
    lock(&notes).ended(partition, tag, result);
}

//! The readers of a load.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};

use millstream::{
    Client, ClientError, Consumer, ConsumerEvent, ConsumerSettings, Fetched, Offset, OffsetReset, SeekTo,
    TopicId, TopicPartition,
};
use millstream_actors::ids::PartitionId;
use millstream_actors::partition::message::OffsetSpec;
use tokio::sync::watch;

use super::{Load, Notes, lock};
use crate::history::Tag;
use crate::{Outcome, PATIENCE};

/// A member of the group.
pub(super) fn member(client: &Client, topic: &str) -> Outcome<Consumer> {
    let settings =
        ConsumerSettings { offset_reset: OffsetReset::Earliest, ..ConsumerSettings::group(Load::GROUP) };
    let consumer = Consumer::new(client, settings)?;
    consumer.subscribe([topic])?;
    Ok(consumer)
}

/// Reads until it is stopped.
pub(super) async fn run(
    mut consumer: Consumer,
    topic: TopicId,
    notes: Arc<Mutex<Notes>>,
    mut stopped: watch::Receiver<bool>,
) -> Outcome {
    loop {
        let event = tokio::select! {
            biased;
            _ = stopped.wait_for(|stopped| *stopped) => break,
            event = consumer.next() => event,
        };
        match event {
            Ok(ConsumerEvent::Records(fetched)) => {
                let records = tags(&fetched, topic)?;
                let mut notes = lock(&notes);
                for (partition, offset, tag) in records {
                    notes.read(partition, offset, tag);
                }
            }
            Ok(_) => {}
            Err(ClientError::Closed) => return Err("the reader is closed".into()),
            Err(error) => lock(&notes).errors.push(format!("reader: {error}")),
        }
    }
    consumer.close().await;
    Ok(())
}

/// All that a topic holds, each partition from its start to its end.
pub(super) async fn everything(
    client: &Client,
    name: &str,
    topic: TopicId,
) -> Outcome<Vec<(PartitionId, Offset, Tag)>> {
    let view = client.admin().describe_topic(name).await?;
    let partitions: Vec<_> =
        view.partition_ids().map(|partition| TopicPartition::new(name, partition.index)).collect();
    let wanted: Vec<_> = partitions.iter().map(|name| (name.clone(), OffsetSpec::Latest)).collect();
    let mut ends: BTreeMap<_, _> = BTreeMap::new();
    for (partition, listed) in client.admin().offsets(&wanted).await? {
        if let Some(end) = listed.offset.filter(|end| end.0 > 0) {
            ends.insert(partition, end);
        }
    }
    let mut consumer = Consumer::new(client, ConsumerSettings::default())?;
    consumer.assign(partitions.into_iter().map(|partition| (partition, SeekTo::Beginning))).await?;
    let mut held = Vec::new();
    let reading = async {
        while !ends.is_empty() {
            if let ConsumerEvent::Records(fetched) = consumer.next().await? {
                held.extend(tags(&fetched, topic)?);
                if ends.get(&fetched.partition).is_some_and(|end| fetched.next_offset() >= *end) {
                    ends.remove(&fetched.partition);
                }
            }
        }
        Ok(held)
    };
    let read: Outcome<_> = tokio::time::timeout(PATIENCE, reading).await?;
    consumer.close().await;
    read
}

/// Records of each partition that are read when its beginning is.
const BEGINNING: usize = 500;

/// Reads the first records of every partition, in one go each.
pub(super) async fn beginning(client: &Client, name: &str) -> Outcome {
    let view = client.admin().describe_topic(name).await?;
    for partition in view.partition_ids() {
        let mut consumer = Consumer::new(client, ConsumerSettings::default())?;
        consumer.assign([(TopicPartition::new(name, partition.index), SeekTo::Beginning)]).await?;
        let mut read = 0;
        let reading = async {
            while read < BEGINNING {
                if let ConsumerEvent::Records(fetched) = consumer.next().await? {
                    read += fetched.records().count();
                }
            }
            Outcome::Ok(())
        };
        let done: Outcome = tokio::time::timeout(PATIENCE, reading).await?;
        consumer.close().await;
        done?;
    }
    Ok(())
}

fn tags(fetched: &Fetched, topic: TopicId) -> Outcome<Vec<(PartitionId, Offset, Tag)>> {
    let partition = PartitionId { topic, index: fetched.partition.partition };
    let mut found = Vec::new();
    for record in fetched.records() {
        let record = record?;
        let tag = record.value.as_deref().and_then(Tag::from_bytes).ok_or("a record that nobody sent")?;
        found.push((partition, record.offset, tag));
    }
    Ok(found)
}

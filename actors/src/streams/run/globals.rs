//! Feeds the global tables of a process: up to the ends of their topics before its tasks begin, and on from there for as long
//! as the application runs, whatever becomes of its tasks.

use std::collections::BTreeMap;
use std::sync::Arc;

use ractor::ActorRef;
use tokio::sync::oneshot;

use super::super::control::Control;
use super::super::global::{GlobalStore, GlobalTask, Globals};
use super::super::graph::{PartitionCounts, Topology};
use super::super::operator::RawRecord;
use super::super::store::MemoryStore;
use super::StreamsError;
use super::host::HostMessage;
use super::restore::{bounds, next_records};
use crate::client::{Client, TopicPartition};
use crate::consumer::{
    Consumer, ConsumerEvent, ConsumerSettings, Fetched, IsolationLevel, OffsetReset, SeekTo,
};
use crate::ids::Offset;
use crate::partition::message::OffsetSpec;

/// Global tables that are fed until this is dropped.
pub(super) struct Feeding {
    pub(super) tables: Globals,
    _ends: oneshot::Sender<()>,
}

/// The tables by their topics.
type Fed = BTreeMap<Arc<str>, GlobalTask>;

impl Feeding {
    /// Reads all that the topics have now, and goes on with what comes. What fails then is told to the host.
    pub(super) async fn begin(
        client: &Client,
        topology: &Topology,
        counts: &PartitionCounts,
        host: ActorRef<HostMessage>,
    ) -> Result<Self, StreamsError> {
        let specs = &topology.graph.globals;
        let store = || Arc::new(GlobalStore::new(Box::new(MemoryStore::default())));
        let tables: Globals = specs.iter().map(|_| store()).collect();
        let (ends, ended) = oneshot::channel();
        if specs.is_empty() {
            return Ok(Self { tables, _ends: ends });
        }
        let mut fed = Fed::new();
        for (spec, store) in specs.iter().zip(tables.iter()) {
            fed.insert(Arc::clone(&spec.topic), GlobalTask::new(&spec.topic, store)?);
        }
        let settings = ConsumerSettings {
            isolation: IsolationLevel::ReadCommitted,
            offset_reset: OffsetReset::Earliest,
            auto_commit: None,
            ..ConsumerSettings::default()
        };
        let mut consumer = Consumer::new(client, settings)?;
        let partitions = |topic: &Arc<str>| {
            let topic = Arc::clone(topic);
            (0..counts.of(&topic)).map(move |partition| TopicPartition::new(Arc::clone(&topic), partition))
        };
        let all: Vec<TopicPartition> = fed.keys().flat_map(partitions).collect();
        let from: Vec<_> = all.iter().map(|of| (of.clone(), SeekTo::Beginning)).collect();
        consumer.assign(from).await?;
        let until = bounds(client, all, OffsetSpec::LastStable).await?;
        if let Err(error) = read_up_to(&mut consumer, &mut fed, &until).await {
            consumer.close().await;
            return Err(error);
        }
        tokio::spawn(feed(consumer, fed, ended, host));
        Ok(Self { tables, _ends: ends })
    }
}

async fn read_up_to(
    consumer: &mut Consumer,
    fed: &mut Fed,
    until: &BTreeMap<TopicPartition, Offset>,
) -> Result<(), StreamsError> {
    let is_done = |consumer: &Consumer| {
        for (of, end) in until {
            if end.0 > 0 && consumer.position(of)?.is_none_or(|at| at < *end) {
                return Ok(false);
            }
        }
        Ok(true)
    };
    while let Some(fetched) = next_records(consumer, &"topics of global tables", is_done).await? {
        take(fed, &fetched)?;
    }
    Ok(())
}

async fn feed(
    mut consumer: Consumer,
    mut fed: Fed,
    mut ended: oneshot::Receiver<()>,
    host: ActorRef<HostMessage>,
) {
    loop {
        let next = tokio::select! {
            biased;
            _ = &mut ended => break,
            next = consumer.next() => next,
        };
        let taken = match next {
            Ok(ConsumerEvent::Records(fetched)) => take(&mut fed, &fetched),
            Ok(_) => Ok(()),
            Err(error) if error.is_retriable() => Ok(()),
            Err(error) => Err(error.into()),
        };
        if let Err(error) = taken {
            let _ended = host.cast(HostMessage::NotFed { error: error.to_string() });
            break;
        }
    }
    consumer.close().await;
}

fn take(fed: &mut Fed, fetched: &Fetched) -> Result<(), StreamsError> {
    let Some(task) = fed.get_mut(&fetched.partition.topic) else { return Ok(()) };
    let mut records = Vec::new();
    for record in fetched.records() {
        let of = &fetched.partition;
        let record = record.map_err(|error| StreamsError::Failed(format!("{of}: {error}")))?;
        let record = RawRecord::from(record);
        if Control::read(&record)?.is_none() {
            records.push(record);
        }
    }
    Ok(task.take(fetched.partition.partition, &records)?)
}

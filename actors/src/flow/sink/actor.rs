//! The actor of a sink: publishes what waits in its mailbox.

use std::sync::Arc;

use metrics::{Counter, Label};
use serde::{Deserialize, Serialize};

use super::mailbox::{Mailbox, Waiting};
use crate::client::{Client, ClientError};
use crate::custom::ActorMessage;
use crate::custom::named::{ActorContext, Handled, NamedActor};
use crate::events::{Events, SinkFailed};
use crate::producer::{ProduceError, Producer, ProducerRecord, ProducerSettings, RecordMetadata};

/// Says that something waits. The records are not in it: they are in the mailbox of the sink.
#[derive(Clone, Copy, Debug, Serialize, Deserialize)]
pub(super) struct Take;

impl ActorMessage for Take {
    const NAME: &'static str = "millstream.sink.take";
    type Answer = ();
}

/// The actor.
pub(super) struct SinkActor {
    client: Client,
    settings: ProducerSettings,
    topic: Arc<str>,
    mailbox: Arc<Mailbox>,
    events: Events,
    published: Counter,
    producer: Option<Producer>,
}

impl SinkActor {
    pub(super) fn new(
        client: Client,
        settings: ProducerSettings,
        topic: Arc<str>,
        mailbox: Arc<Mailbox>,
        events: Events,
    ) -> Self {
        let labels = vec![Label::new("topic", topic.to_string())];
        let published = events.counter("millstream_sink_records_total", labels);
        Self { client, settings, topic, mailbox, events, published, producer: None }
    }

    async fn producer(&mut self) -> Result<Producer, ClientError> {
        if let Some(producer) = &self.producer {
            return Ok(producer.clone());
        }
        let producer = self.client.producer(self.settings.clone()).await?;
        self.producer = Some(producer.clone());
        Ok(producer)
    }
}

impl NamedActor for SinkActor {
    const KIND: &'static str = "sink";
    type Message = Take;

    async fn handle(&mut self, _: Take, _: &ActorContext) -> Handled<Take> {
        let taken = self.mailbox.take();
        let mut tally = Tally::default();
        let producer = match self.producer().await {
            Ok(producer) => producer,
            Err(error) => {
                for waiting in taken {
                    waiting.answer.send(tally.count(Err(error.clone().into())));
                }
                self.tell(&tally);
                return Ok(());
            }
        };
        let mut under_way = Vec::with_capacity(taken.len());
        for Waiting { record, answer } in taken {
            let sent = ProducerRecord {
                topic: &self.topic,
                partition: record.partition,
                key: record.key.as_deref(),
                value: record.value.as_deref(),
                headers: &record.headers,
                timestamp_ms: record.timestamp_ms,
            };
            match producer.send(sent).await {
                Ok(delivery) => under_way.push((delivery, answer)),
                Err(error) => answer.send(tally.count(Err(error))),
            }
        }
        for (delivery, answer) in under_way {
            answer.send(tally.count(delivery.await));
        }
        if tally.error == Some(ProduceError::Closed) {
            self.producer = None;
        }
        self.tell(&tally);
        Ok(())
    }
}

impl SinkActor {
    fn tell(&self, tally: &Tally) {
        self.published.increment(tally.published);
        if let Some(error) = &tally.error {
            let error = error.to_string();
            self.events.emit(SinkFailed { topic: &self.topic, records: tally.failed, error: &error });
        }
    }
}

/// What became of the records of one turn.
#[derive(Debug, Default)]
struct Tally {
    published: u64,
    failed: u64,
    /// The first error.
    error: Option<ProduceError>,
}

impl Tally {
    fn count(
        &mut self,
        result: Result<RecordMetadata, ProduceError>,
    ) -> Result<RecordMetadata, ProduceError> {
        match &result {
            Ok(_) => self.published += 1,
            Err(error) => {
                self.failed += 1;
                self.error.get_or_insert_with(|| error.clone());
            }
        }
        result
    }
}

//! Sources and sinks.

use std::time::Duration;

use metrics::Label;

use super::{Event, Events};

/// Records of a source were not handled: they are handed to it again.
#[derive(Debug)]
pub struct SourceFailed<'a> {
    /// The kind of its handler.
    pub kind: &'a str,
    /// The partition, as people call it.
    pub partition: &'a str,
    /// The first record that is not handled.
    pub offset: i64,
    /// Why.
    pub error: &'a str,
    /// They are handed out again after so long.
    pub after: Duration,
}

impl Event for SourceFailed<'_> {
    fn tell(&self, events: &Events) {
        let Self { kind, partition, offset, error, after } = self;
        let labels = vec![Label::new("kind", (*kind).to_owned())];
        events.counter("millstream_source_failures_total", labels).increment(1);
        tracing::warn!(node = %events.node(), kind, partition, offset, error, ?after, "records of a source were not handled; they are handed to it again");
    }
}

/// A source could not read, or could not commit what was handled; it goes on.
#[derive(Debug)]
pub struct SourceHindered<'a> {
    /// The kind of its handler.
    pub kind: &'a str,
    /// What was to be done.
    pub what: &'static str,
    /// Why it was not.
    pub error: &'a str,
}

impl Event for SourceHindered<'_> {
    fn tell(&self, events: &Events) {
        let Self { kind, what, error } = self;
        tracing::warn!(node = %events.node(), kind, what, error, "a source goes on after an error");
    }
}

/// Records of a sink were not published, or it is not known whether they were: who asked was told.
#[derive(Debug)]
pub struct SinkFailed<'a> {
    /// The topic.
    pub topic: &'a str,
    /// How many records.
    pub records: u64,
    /// Why the first of them was not.
    pub error: &'a str,
}

impl Event for SinkFailed<'_> {
    fn tell(&self, events: &Events) {
        let Self { topic, records, error } = self;
        let labels = vec![Label::new("topic", (*topic).to_owned())];
        events.counter("millstream_sink_failures_total", labels).increment(*records);
        tracing::warn!(node = %events.node(), topic, records, error, "records of a sink were not published");
    }
}

/// The quorum took the node of a source or a sink for lost, and it was not: another actor goes on in its place.
#[derive(Debug)]
pub struct FlowActorLost<'a> {
    /// `source`, or `sink`.
    pub flow: &'static str,
    /// The kind of its handler, or its topic.
    pub name: &'a str,
}

impl Event for FlowActorLost<'_> {
    fn tell(&self, events: &Events) {
        let Self { flow, name } = self;
        tracing::warn!(node = %events.node(), flow, name, "its node was taken for lost; another actor goes on in its place");
    }
}

/// A source or a sink has ended, and nobody asked for that.
#[derive(Debug)]
pub struct FlowEnded<'a> {
    /// `source`, or `sink`.
    pub flow: &'static str,
    /// The kind of its handler, or its topic.
    pub name: &'a str,
    /// Why.
    pub why: &'a str,
}

impl Event for FlowEnded<'_> {
    fn tell(&self, events: &Events) {
        let Self { flow, name, why } = self;
        tracing::error!(node = %events.node(), flow, name, why, "a source or a sink has ended, and nobody asked for that");
    }
}

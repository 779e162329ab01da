//! Entities.

use std::time::Duration;

use super::{Event, Events};
use crate::error::Refusal;

/// The log of a partition of entities was read: they can be asked here.
#[derive(Debug)]
pub struct EntitiesLoaded<'a> {
    /// Their type.
    pub kind: &'a str,
    /// The partition.
    pub partition: i32,
    /// How many there are.
    pub entities: usize,
    /// Records that could not be understood.
    pub undecodable: u64,
    /// The time since the leadership began here.
    pub took: Duration,
}

impl Event for EntitiesLoaded<'_> {
    fn tell(&self, events: &Events) {
        let Self { kind, partition, entities, undecodable, took } = self;
        tracing::info!(node = %events.node(), kind, partition, entities, ?took, "entities live here");
        if *undecodable > 0 {
            tracing::error!(node = %events.node(), kind, partition, undecodable, "records of entities could not be understood");
        }
    }
}

/// Turns were not committed, or the log could not be read: those who wait are told to ask again, and it is read on.
#[derive(Debug)]
pub struct EntitiesBroken<'a> {
    /// Their type.
    pub kind: &'a str,
    /// The partition.
    pub partition: i32,
    /// Why.
    pub refusal: &'a Refusal,
}

impl Event for EntitiesBroken<'_> {
    fn tell(&self, events: &Events) {
        let Self { kind, partition, refusal } = self;
        tracing::warn!(node = %events.node(), kind, partition, %refusal, "turns of entities were not committed, or their log could not be read; it is read on");
    }
}

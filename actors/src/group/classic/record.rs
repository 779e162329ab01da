//! What is written of a classic group: one record, always the whole (Kafka's GroupMetadataValue; its key is version 2).

use std::sync::Arc;

use bytes::Bytes;

/// A record under way to the log; [`super::ClassicGroup::committed`] or [`super::ClassicGroup::failed`] is told.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Token(pub u64);

/// A record to be appended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ClassicRecord {
    /// By which it is spoken of.
    pub token: Token,
    /// The group; `None` is a tombstone.
    pub value: Option<ClassicMetadata>,
}

/// A group, as it is written.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ClassicMetadata {
    /// The kind of its members; empty if there never was one.
    pub protocol_type: Arc<str>,
    /// The generation.
    pub generation: i32,
    /// The protocol voted for.
    pub protocol: Option<Arc<str>>,
    /// Who assigned.
    pub leader: Option<Arc<str>>,
    /// Since when it is in its state, in milliseconds since 1970; `None` is written as -1.
    pub state_since_ms: Option<i64>,
    /// Its members.
    pub members: Vec<ClassicMember>,
}

/// A member, as it is written.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ClassicMember {
    /// Its id.
    pub member: Arc<str>,
    /// `group.instance.id` of a static member.
    pub instance: Option<Arc<str>>,
    /// `client.id`.
    pub client_id: Arc<str>,
    /// Where it is.
    pub client_host: Arc<str>,
    /// How long it may take to join again; -1 (before version 1) is as its session.
    pub rebalance_timeout_ms: i32,
    /// How long it may be silent.
    pub session_timeout_ms: i32,
    /// What it says in the protocol.
    pub subscription: Bytes,
    /// What it is to do.
    pub assignment: Bytes,
}

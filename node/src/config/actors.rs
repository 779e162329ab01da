//! The settings of users' actors.

use std::time::Duration;

use super::ConfigError;
use super::typed::Reader;

/// The settings of users' actors. The documentation of each is in the catalogue
/// ([`all`](super::catalogue::all)).
#[derive(Clone, Copy, Debug)]
pub struct ActorsConfig {
    /// `actors.threads`.
    pub threads: usize,
    /// `actors.max`.
    pub most: usize,
    /// `actors.names.max`.
    pub names_max: u32,
    /// `actors.mailbox.max`.
    pub mailbox_max: usize,
    /// `actors.mailbox.bytes`.
    pub mailbox_bytes: usize,
    /// `actors.message.max.bytes`.
    pub message_bytes_max: usize,
    /// `actors.handler.slow.ms`.
    pub slow_after: Duration,
}

impl ActorsConfig {
    pub(super) fn read(reader: &Reader<'_>) -> Result<Self, ConfigError> {
        Ok(Self {
            threads: reader.number("actors.threads")?,
            most: reader.number("actors.max")?,
            names_max: reader.number("actors.names.max")?,
            mailbox_max: reader.number("actors.mailbox.max")?,
            mailbox_bytes: reader.number("actors.mailbox.bytes")?,
            message_bytes_max: reader.number("actors.message.max.bytes")?,
            slow_after: reader.duration_ms("actors.handler.slow.ms")?,
        })
    }
}

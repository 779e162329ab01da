//! The APIs there are, and which header goes with which of their versions.

use super::Versions;

/// What is known of an API.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Api {
    /// Which one.
    pub key: ApiKey,
    /// Kafka's name of it.
    pub name: &'static str,
    /// The versions that can be read and written here. What a listener offers is for it to say: Kafka, for one, offers
    /// Produce from 0 and then refuses 0 to 2.
    pub versions: Versions,
    /// The first flexible version.
    pub flexible: Option<i16>,
}

include!(concat!(env!("OUT_DIR"), "/kafka_apis.rs"));

impl ApiKey {
    /// Its number on the wire.
    #[must_use]
    pub const fn code(self) -> i16 {
        self as i16
    }

    fn is_flexible(self, version: i16) -> bool {
        self.api().flexible.is_some_and(|first| version >= first)
    }
}

/// Version of the header before a request. Defined for versions above those known, too: a request of such a version
/// must be opened to be refused.
#[must_use]
pub fn request_header_version(key: ApiKey, version: i16) -> i16 {
    if key.is_flexible(version) { 2 } else { 1 }
}

/// Version of the header before a response.
///
/// The one before an ApiVersions response is always 0, for a client that does not yet know what the server speaks.
#[must_use]
pub fn response_header_version(key: ApiKey, version: i16) -> i16 {
    if key != ApiKey::ApiVersions && key.is_flexible(version) { 1 } else { 0 }
}

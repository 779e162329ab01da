//! The first words on a link: which protocol, which lane, which life of which process.

use serde::{Deserialize, Serialize};

use super::Lane;
use crate::identity::NodeId;
use crate::message::{Answer, Message};

/// Oldest version of the protocol between peers that is spoken here.
pub(super) const OLDEST_PROTOCOL: u16 = 1;
/// Newest version of the protocol between peers that is spoken here.
pub(super) const NEWEST_PROTOCOL: u16 = 1;

/// Longest greeting; nobody is known yet when it is read.
pub(super) const HELLO_BYTES: usize = 4096;

/// Said by who dials. Its form stays as it is forever: it is read before versions are known to agree.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Hello {
    /// Oldest protocol it speaks.
    pub(super) oldest: u16,
    /// Newest protocol it speaks.
    pub(super) newest: u16,
    /// What the link is for.
    pub(super) lane: Lane,
    /// The life of its process.
    pub(super) incarnation: u64,
}

/// Said by who is dialled.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Welcome {
    /// The protocol spoken from here on.
    pub(super) protocol: u16,
    /// The node it is.
    pub(super) node: NodeId,
    /// The life of its process.
    pub(super) incarnation: u64,
}

impl Message for Hello {
    const KIND: u16 = 1;
    type Answer = Welcome;
}

impl Answer for Welcome {}

impl Hello {
    pub(super) fn new(lane: Lane, incarnation: u64) -> Self {
        Self { oldest: OLDEST_PROTOCOL, newest: NEWEST_PROTOCOL, lane, incarnation }
    }

    /// The newest protocol that both sides speak, or why there is none.
    pub(super) fn agree(&self) -> Result<u16, String> {
        let newest = self.newest.min(NEWEST_PROTOCOL);
        if newest < self.oldest.max(OLDEST_PROTOCOL) {
            return Err(format!(
                "no common protocol: this side speaks {OLDEST_PROTOCOL} to {NEWEST_PROTOCOL}, the other {} to {}; \
                 bring the older one up to date",
                self.oldest, self.newest
            ));
        }
        Ok(newest)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_newest_protocol_of_both_is_spoken() {
        let hello = |oldest, newest| Hello { oldest, newest, lane: Lane::Data, incarnation: 1 };
        assert_eq!(hello(1, 1).agree(), Ok(1));
        assert_eq!(hello(0, 9).agree(), Ok(NEWEST_PROTOCOL));
        assert!(hello(2, 9).agree().unwrap_err().contains("the other 2 to 9"));
        assert!(hello(0, 0).agree().is_err());
    }

    #[test]
    fn hello_and_welcome_have_these_bytes() {
        let hello = Hello { oldest: 1, newest: 2, lane: Lane::Data, incarnation: 300 };
        assert_eq!(postcard::to_stdvec(&hello).unwrap(), [1, 2, 1, 0xac, 0x02]);
        let welcome = Welcome { protocol: 1, node: NodeId(3), incarnation: 5 };
        assert_eq!(postcard::to_stdvec(&welcome).unwrap(), [1, 3, 5]);
    }
}

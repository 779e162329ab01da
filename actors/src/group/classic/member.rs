//! A member of a classic group.

use std::sync::Arc;

use bytes::Bytes;

use super::message::{JoinGroup, Protocol, Ticket};

#[derive(Clone, Debug)]
pub(super) struct Member {
    pub(super) id: Arc<str>,
    pub(super) instance: Option<Arc<str>>,
    pub(super) client_id: Arc<str>,
    pub(super) client_host: Arc<str>,
    pub(super) terms: Terms,
    pub(super) assignment: Bytes,
    /// The join that waits.
    pub(super) joining: Option<Ticket>,
    /// The sync that waits.
    pub(super) syncing: Option<Ticket>,
    /// It never was in a generation.
    pub(super) is_new: bool,
    /// The epoch that it has from KIP-848, until it is in a generation.
    pub(super) epoch: Option<i32>,
    /// Until when something has to be heard of it.
    pub(super) ends_ms: u64,
}

/// What a member says with every join.
#[derive(Clone, Debug)]
pub(super) struct Terms {
    pub(super) rebalance_timeout_ms: i32,
    pub(super) session_timeout_ms: i32,
    pub(super) protocols: Vec<Protocol>,
}

impl Terms {
    pub(super) fn of(request: &JoinGroup) -> Self {
        let session_timeout_ms = request.session_timeout_ms;
        Self {
            rebalance_timeout_ms: request.patience_ms(),
            session_timeout_ms,
            protocols: request.protocols.clone(),
        }
    }
}

impl Member {
    /// A member that joins and never was in a generation.
    pub(super) fn new(id: Arc<str>, request: &JoinGroup, ticket: Ticket, ends_ms: u64) -> Self {
        Self {
            id,
            instance: request.instance.clone(),
            client_id: Arc::clone(&request.client_id),
            client_host: Arc::clone(&request.client_host),
            terms: Terms::of(request),
            assignment: Bytes::new(),
            joining: Some(ticket),
            syncing: None,
            is_new: true,
            epoch: None,
            ends_ms,
        }
    }

    pub(super) fn session_timeout_ms(&self) -> u64 {
        u64::try_from(self.terms.session_timeout_ms).unwrap_or_default()
    }

    /// What it says in this protocol; nothing in one that it does not speak.
    pub(super) fn metadata(&self, protocol: Option<&str>) -> Bytes {
        let spoken = self.terms.protocols.iter().find(|spoken| Some(&*spoken.name) == protocol);
        spoken.map(|spoken| spoken.metadata.clone()).unwrap_or_default()
    }

    /// When its session ends. One that waits for an answer is alive, unless it never was in a generation: it could not
    /// heartbeat when it gives up.
    pub(super) fn deadline_ms(&self) -> Option<u64> {
        let waits = self.joining.is_some() || self.syncing.is_some();
        (self.is_new || !waits).then_some(self.ends_ms)
    }
}

//! An actor as whoever began it has it.

use std::sync::{Arc, Weak};

use super::cell::Cell;
use super::host::{ALTER_WITHIN, Host, refused};
use super::message::{ActorEnd, StopReason};
use crate::custom::call::CallError;
use crate::ids::ActorId;
use crate::image::NameAlteration;

/// An actor that was begun here.
#[derive(Clone, Debug)]
pub struct ActorHandle {
    pub(super) cell: Arc<Cell>,
    pub(super) host: Weak<Host>,
}

impl ActorHandle {
    /// Which actor it is.
    #[must_use]
    pub fn actor(&self) -> ActorId {
        self.cell.actor
    }

    /// Ends it after the message that it handles now; what waits in its mailbox is refused.
    pub fn stop(&self) {
        self.cell.stop(ActorEnd::Stopped(StopReason::Asked));
    }

    /// Waits for its end.
    pub async fn ended(&self) -> ActorEnd {
        let mut ended = self.cell.ended.subscribe();
        loop {
            if let Some(end) = &*ended.borrow_and_update() {
                return end.clone();
            }
            // The cell holds the sender.
            if ended.changed().await.is_err() {
                return ActorEnd::Stopped(StopReason::Forgotten);
            }
        }
    }

    /// Makes it a member of a group: costs an entry of the quorum.
    pub async fn join(&self, group: &str) -> Result<(), CallError> {
        self.alter(NameAlteration::Join { group: group.to_owned(), serial: self.cell.actor.serial }).await
    }

    /// Ends its membership in a group.
    pub async fn leave(&self, group: &str) -> Result<(), CallError> {
        self.alter(NameAlteration::Leave { group: group.to_owned(), serial: self.cell.actor.serial }).await
    }

    async fn alter(&self, alteration: NameAlteration) -> Result<(), CallError> {
        let gone = || CallError::Stopped("its node has stopped".to_owned());
        let host = self.host.upgrade().ok_or_else(gone)?;
        if self.cell.has_ended() {
            return Err(CallError::Stopped("it has ended".to_owned()));
        }
        host.parts.registry.alter(alteration, ALTER_WITHIN).await.map_err(refused)
    }
}

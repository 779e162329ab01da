//! What is to be done where the beginning of an actor, or its life, ends on whatever way: as something is dropped.

use std::sync::{Arc, Weak};

use super::host::Host;
use super::message::{ActorEnd, StopReason};
use crate::image::NameAlteration;

/// An actor that is being begun, and the name that is to be its own, if it gets one. Dropped before it has succeeded, nothing of it is
/// left: whoever began it may have given up waiting.
pub(super) struct Beginning {
    host: Arc<Host>,
    name: Option<String>,
    serial: u64,
    has_succeeded: bool,
}

impl Beginning {
    pub(super) fn of(host: &Arc<Host>, name: Option<&str>) -> Self {
        let serial = host.next_serial();
        host.table().pending.insert(serial);
        Self { host: Arc::clone(host), name: name.map(ToOwned::to_owned), serial, has_succeeded: false }
    }

    /// The number of the actor.
    pub(super) const fn serial(&self) -> u64 {
        self.serial
    }

    /// The actor lives, and whoever began it is told.
    pub(super) fn succeeded(mut self) {
        self.has_succeeded = true;
    }
}

impl Drop for Beginning {
    fn drop(&mut self) {
        let mut table = self.host.table();
        table.pending.remove(&self.serial);
        let cell = table.cells.get(&self.serial).cloned();
        drop(table);
        match cell {
            Some(_) if self.has_succeeded => {}
            // Its end gives up its name.
            Some(cell) => cell.stop(ActorEnd::Stopped(StopReason::Asked)),
            // It was not begun, or has ended already; the answer of the quorum may have got lost.
            None => {
                if let Some(name) = self.name.take() {
                    self.host.give_up(NameAlteration::Release { name, serial: self.serial });
                }
            }
        }
    }
}

/// Tells its host when it is dropped: the actor is gone.
pub(super) struct Ending {
    host: Weak<Host>,
    serial: u64,
}

impl Ending {
    pub(super) fn of(host: &Arc<Host>, serial: u64) -> Self {
        Self { host: Arc::downgrade(host), serial }
    }
}

impl Drop for Ending {
    fn drop(&mut self) {
        if let Some(host) = self.host.upgrade() {
            host.ended(self.serial);
        }
    }
}

//! What joins fetch sessions to the replicas of a node: where feeders find them, and how they get their links.

use actix::Recipient;

use super::links::{Links, LinksSetup};
use super::ports::{Ports, ReplicaPort};
use crate::ids::PartitionId;
use crate::partition::directory::ReplicaDirectory;
use crate::partition::following::{FromLeader, LeaderLinks};
use crate::partition::host::LinkMaker;

impl Ports for ReplicaDirectory {
    fn port(&self, partition: PartitionId) -> Option<ReplicaPort> {
        let replica = self.get(partition)?;
        let address = replica.address;
        Some(ReplicaPort {
            core: replica.core,
            open: address.clone().recipient(),
            read: address.clone().recipient(),
            reported: address.clone().recipient(),
            detached: address.clone().recipient(),
            leave: address.recipient(),
        })
    }
}

/// The links of a node, by core.
#[derive(Debug)]
pub struct LinksOfCores {
    first: Links,
    others: Vec<Links>,
}

impl LinksOfCores {
    /// The links of so many cores.
    #[must_use]
    pub fn new(cores: usize, setup: &LinksSetup) -> Self {
        let links = |core| Links::new(core, setup.clone());
        Self { first: links(0), others: (1..cores).map(links).collect() }
    }
}

impl LinkMaker for LinksOfCores {
    fn links(&self, core: usize, told: Recipient<FromLeader>) -> Box<dyn LeaderLinks> {
        let other = core.checked_sub(1).and_then(|other| self.others.get(other));
        other.unwrap_or(&self.first).of(told)
    }
}

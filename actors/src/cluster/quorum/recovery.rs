//! An operator's recovery of a quorum whose majority has lost its directories (rule 9): on one survivor's disk, while no
//! process uses it.
//!
//! The survivor becomes the one voter, under a new directory UUID: what lost voters still say to the old one, should
//! their disks turn up again, is not for it. Term and index jump over whatever the lost ones can have decided, so that
//! every image, vote and log from before is older. All other members stay, as learners: who comes back with an old
//! directory is fed a snapshot and decides nothing, who comes back emptied introduces itself as always.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::path::{Path, PathBuf};

use millstream_transport::world::Disk;
use openraft::{CommittedLeaderId, EntryPayload, Membership};
use uuid::Uuid;

use super::membership::{Role, Seated};
use super::settings::Limits;
use super::storage::{Kept, OpenError, Remade, finish};
use super::types::{LogId, Seat, SnapshotMeta, StoredMembership, Vote, VoterId};
use crate::cluster::machine::Machine;

/// More terms than can have passed unseen: an election takes a tenth of a second at least.
const TERMS: u64 = 1 << 24;
/// More entries than can have been decided unseen.
const ENTRIES: u64 = 1 << 32;

/// Where an entry stands: the greater one was written later.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct EntryId {
    /// The term of the leader that wrote it.
    pub term: u64,
    /// Its index.
    pub index: u64,
}

impl EntryId {
    fn of(id: LogId) -> Self {
        Self { term: id.leader_id.term, index: id.index }
    }
}

impl fmt::Display for EntryId {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "{}-{}", self.term, self.index)
    }
}

/// Why a quorum cannot be recovered from a directory.
#[derive(Debug, thiserror::Error)]
pub enum RecoveryError {
    /// Nothing there.
    #[error(
        "there is no quorum directory at {0}: nothing of the cluster's metadata can be recovered from here; look at the \
         data directories of the other nodes"
    )]
    NoQuorum(PathBuf),
    /// Never part of a cluster.
    #[error(
        "{0} was made anew and has never held an entry: nothing of the cluster's metadata can be recovered from here; look \
         at the data directories of the other nodes"
    )]
    NeverHeld(PathBuf),
    /// The node is no member in what it knows.
    #[error("node {0} is no member of the quorum in what its own log says: it cannot become the voter")]
    NoMember(crate::ids::NodeId),
    /// It is the only voter already.
    #[error("{0} is the only voter already: start the node, it elects itself; nothing is to be recovered")]
    NotNeeded(VoterId),
    /// Cannot be read or written.
    #[error(transparent)]
    Open(#[from] OpenError),
    /// The metadata cannot be loaded.
    #[error("the metadata cannot be loaded: {0}")]
    Machine(String),
}

/// What one directory holds of a quorum. Read without a change.
#[derive(Debug)]
pub struct Survivor {
    kept: Kept,
    directory: PathBuf,
    membership: Membership<VoterId, Seat>,
}

impl Survivor {
    /// Reads a quorum directory that no process uses.
    pub fn read(disk: &dyn Disk, directory: &Path) -> Result<Self, RecoveryError> {
        let kept = Kept::look(disk, directory)?;
        let kept = kept.ok_or_else(|| RecoveryError::NoQuorum(directory.into()))?;
        let entries = kept.log.entries.iter().rev();
        let last = entries.map(|entry| &entry.payload).find_map(|payload| match payload {
            EntryPayload::Membership(membership) => Some(membership.clone()),
            EntryPayload::Blank | EntryPayload::Normal(_) => None,
        });
        let snapped = || kept.snapshot.as_ref().map(|(meta, _)| meta.last_membership.membership().clone());
        let membership = last.or_else(snapped).ok_or_else(|| RecoveryError::NeverHeld(directory.into()))?;
        Ok(Self { kept, directory: directory.into(), membership })
    }

    /// Whose directory it is.
    #[must_use]
    pub const fn me(&self) -> VoterId {
        self.kept.me
    }

    /// The last term it took part in.
    #[must_use]
    pub fn term(&self) -> u64 {
        self.kept.vote.map_or(0, |vote| vote.leader_id.term).max(self.last_entry().term)
    }

    /// Where its log ends.
    #[must_use]
    pub fn last_entry(&self) -> EntryId {
        let Kept { log, snapshot, .. } = &self.kept;
        let snapped = snapshot.as_ref().and_then(|(meta, _)| meta.last_log_id);
        let last = log.entries.last().map(|entry| entry.log_id).or(log.purged).max(snapped);
        last.map(EntryId::of).unwrap_or_default()
    }

    /// Up to where it knows that entries were decided; those behind may have been.
    #[must_use]
    pub fn decided(&self) -> EntryId {
        let Kept { log, snapshot, .. } = &self.kept;
        let snapped = snapshot.as_ref().and_then(|(meta, _)| meta.last_log_id);
        log.committed.max(snapped).map(EntryId::of).unwrap_or_default()
    }

    /// The members, as far as it knows.
    #[must_use]
    pub fn members(&self) -> Vec<Seated> {
        let voters: BTreeSet<VoterId> = self.membership.voter_ids().collect();
        let seated = |(id, seat): (&VoterId, &Seat)| Seated {
            id: *id,
            address: seat.address.clone(),
            role: if voters.contains(id) { Role::Voter } else { Role::Learner },
        };
        self.membership.nodes().map(seated).collect()
    }

    /// Has the machine apply all that is there. Entries of which it is not known whether they were decided count too:
    /// the lost voters may have decided them.
    pub fn replay(&self, machine: &mut dyn Machine) -> Result<(), RecoveryError> {
        let mut applied = 0;
        if let Some((meta, bytes)) = &self.kept.snapshot {
            applied = meta.last_log_id.map_or(0, |id| id.index);
            machine.restore(applied, bytes).map_err(RecoveryError::Machine)?;
        }
        for entry in self.kept.log.entries.iter().filter(|entry| entry.log_id.index > applied) {
            if let EntryPayload::Normal(bytes) = &entry.payload {
                // Whoever proposed it is gone.
                let _outcome = machine.apply(entry.log_id.index, bytes);
            }
        }
        Ok(())
    }

    /// An error where this member needs no recovery, or cannot have one.
    pub fn check(&self) -> Result<(), RecoveryError> {
        self.seat()?;
        let mut voters = self.membership.voter_ids();
        if voters.next() == Some(self.me()) && voters.next().is_none() {
            return Err(RecoveryError::NotNeeded(self.me()));
        }
        Ok(())
    }

    fn seat(&self) -> Result<Seat, RecoveryError> {
        let node = self.me().node;
        let seat = self.membership.get_node(&self.me()).or_else(|| {
            let mut nodes = self.membership.nodes();
            nodes.find(|(id, _)| id.node == node).map(|(_, seat)| seat)
        });
        seat.cloned().ok_or(RecoveryError::NoMember(node))
    }

    /// Makes this member the one voter of a quorum that goes on from `state`; where the directory as it was is kept.
    /// `directory` is the new UUID of its directory.
    pub fn recover(
        &self,
        disk: &dyn Disk,
        directory: Uuid,
        state: Vec<u8>,
    ) -> Result<PathBuf, RecoveryError> {
        self.check()?;
        let seat = self.seat()?;
        let me = VoterId { node: self.me().node, directory };
        let (term, index) =
            (self.term().saturating_add(TERMS), self.last_entry().index.saturating_add(ENTRIES));
        let last = LogId::new(CommittedLeaderId::new(term, me), index);
        let mut nodes: BTreeMap<VoterId, Seat> =
            self.membership.nodes().map(|(id, seat)| (*id, seat.clone())).collect();
        nodes.remove(&self.me());
        nodes.insert(me, seat);
        let membership = Membership::new(vec![BTreeSet::from([me])], nodes);
        let meta = SnapshotMeta {
            last_log_id: Some(last),
            last_membership: StoredMembership::new(Some(last), membership),
            snapshot_id: format!("{term}-{index}-recovered"),
        };
        let remade = Remade {
            me,
            vote: Vote::new(term, me),
            last,
            snapshot: (meta, state),
            reserve_bytes: Limits::default().reserve_bytes,
        };
        Ok(remade.replace(disk, &self.directory, &format!("before-{}", self.last_entry()))?)
    }
}

/// Finishes a recovery of this quorum directory that was cut short; false where there is none.
pub fn finish_recovery(disk: &dyn Disk, directory: &Path) -> Result<bool, RecoveryError> {
    Ok(finish(disk, directory)?)
}

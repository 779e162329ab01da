//! openraft's state machine, over the [`Machine`] and the snapshot's files.

use std::io::Cursor;
use std::sync::{Arc, Mutex, PoisonError};

use millstream_transport::world::Threads;
use openraft::storage::RaftStateMachine;
use openraft::{EntryPayload, ErrorSubject, ErrorVerb, OptionalSend, RaftSnapshotBuilder};

use super::failure::{WriteError, refused};
use super::frame::checksum;
use super::log_store::{SPACE_RETRY, lock};
use super::snapshot_file::{SnapshotFile, Whole};
use crate::cluster::machine::Machine;
use crate::cluster::quorum::types::{
    Entry, LogId, Snapshot, SnapshotMeta, StorageError, StoredMembership, TypeConfig,
};

/// Applies committed entries in order, on the thread that polls it.
pub(crate) struct StateMachine {
    /// Never contended: the lock only makes it shareable.
    machine: Mutex<Box<dyn Machine>>,
    applied: Option<LogId>,
    membership: StoredMembership,
    file: Arc<Mutex<SnapshotFile>>,
    threads: Threads,
}

impl StateMachine {
    pub(crate) fn new(
        mut machine: Box<dyn Machine>,
        file: SnapshotFile,
        found: Option<Whole>,
        threads: Threads,
    ) -> Result<Self, String> {
        let mut applied = None;
        let mut membership = StoredMembership::default();
        if let Some((meta, bytes)) = found {
            machine.restore(index(&meta), &bytes)?;
            applied = meta.last_log_id;
            membership = meta.last_membership;
        }
        let file = Arc::new(Mutex::new(file));
        Ok(Self { machine: Mutex::new(machine), applied, membership, file, threads })
    }

    fn machine(&mut self) -> &mut dyn Machine {
        self.machine.get_mut().unwrap_or_else(PoisonError::into_inner).as_mut()
    }
}

impl RaftStateMachine<TypeConfig> for StateMachine {
    type SnapshotBuilder = SnapshotBuilder;

    async fn applied_state(&mut self) -> Result<(Option<LogId>, StoredMembership), StorageError> {
        Ok((self.applied, self.membership.clone()))
    }

    async fn apply<I>(&mut self, entries: I) -> Result<Vec<Vec<u8>>, StorageError>
    where
        I: IntoIterator<Item = Entry> + OptionalSend,
        I::IntoIter: OptionalSend,
    {
        let mut outcomes = Vec::new();
        for entry in entries {
            let outcome = match entry.payload {
                EntryPayload::Blank => Vec::new(),
                EntryPayload::Normal(bytes) => self.machine().apply(entry.log_id.index, &bytes),
                EntryPayload::Membership(membership) => {
                    self.membership = StoredMembership::new(Some(entry.log_id), membership);
                    Vec::new()
                }
            };
            self.applied = Some(entry.log_id);
            outcomes.push(outcome);
        }
        Ok(outcomes)
    }

    async fn get_snapshot_builder(&mut self) -> SnapshotBuilder {
        let bytes = self.machine().snapshot();
        let name = self.applied.map_or_else(String::new, |id| format!("{}-{}", id.leader_id.term, id.index));
        let meta = SnapshotMeta {
            last_log_id: self.applied,
            last_membership: self.membership.clone(),
            snapshot_id: format!("{name}-{:08x}", checksum(&[&bytes])),
        };
        SnapshotBuilder { meta, bytes: bytes.into(), file: self.file.clone(), threads: self.threads.clone() }
    }

    async fn begin_receiving_snapshot(&mut self) -> Result<Box<Cursor<Vec<u8>>>, StorageError> {
        Ok(Box::new(Cursor::new(Vec::new())))
    }

    async fn install_snapshot(
        &mut self,
        meta: &SnapshotMeta,
        snapshot: Box<Cursor<Vec<u8>>>,
    ) -> Result<(), StorageError> {
        let bytes: Arc<[u8]> = snapshot.into_inner().into();
        let subject = ErrorSubject::Snapshot(Some(meta.signature()));
        let restored = self.machine().restore(index(meta), &bytes);
        restored.map_err(|text| refused(subject, ErrorVerb::Read, text))?;
        self.applied = meta.last_log_id;
        self.membership = meta.last_membership.clone();
        write(&self.threads, &self.file, meta, &bytes).await
    }

    async fn get_current_snapshot(&mut self) -> Result<Option<Snapshot>, StorageError> {
        let file = self.file.clone();
        let read = self.threads.run_blocking(move || lock(&file).read()).await;
        let read = read.map_err(|error| refused(ErrorSubject::Snapshot(None), ErrorVerb::Read, error))?;
        Ok(read.map(|(meta, bytes)| Snapshot { meta, snapshot: Box::new(Cursor::new(bytes)) }))
    }
}

/// A snapshot taken, to be written.
pub(crate) struct SnapshotBuilder {
    meta: SnapshotMeta,
    bytes: Arc<[u8]>,
    file: Arc<Mutex<SnapshotFile>>,
    threads: Threads,
}

impl RaftSnapshotBuilder<TypeConfig> for SnapshotBuilder {
    async fn build_snapshot(&mut self) -> Result<Snapshot, StorageError> {
        write(&self.threads, &self.file, &self.meta, &self.bytes).await?;
        Ok(Snapshot { meta: self.meta.clone(), snapshot: Box::new(Cursor::new(self.bytes.to_vec())) })
    }
}

/// Writes a snapshot off this thread; while the disk is full it waits.
async fn write(
    threads: &Threads,
    file: &Arc<Mutex<SnapshotFile>>,
    meta: &SnapshotMeta,
    bytes: &Arc<[u8]>,
) -> Result<(), StorageError> {
    loop {
        let (file, meta, bytes) = (file.clone(), meta.clone(), bytes.clone());
        match threads.run_blocking(move || lock(&file).write(&meta, &bytes)).await {
            Ok(()) => return Ok(()),
            Err(WriteError::NoSpace) => tokio::time::sleep(SPACE_RETRY).await,
            Err(WriteError::Failed(text)) => {
                return Err(refused(ErrorSubject::Snapshot(None), ErrorVerb::Write, text));
            }
        }
    }
}

fn index(meta: &SnapshotMeta) -> u64 {
    meta.last_log_id.map_or(0, |id| id.index)
}

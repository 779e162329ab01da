//! What the quorum keeps on disk: a directory of its own, in space reserved when it was made.
//!
//! - `identity`: who keeps it. Written last when the directory is made, never again.
//! - `vote`: two pages.
//! - `log.0`, `log.1`: the log, in one of them.
//! - `snapshot.0`, `snapshot.1`: the snapshot, in one of them.
//!
//! Vote and entries count when they are synced. The first failed write or sync closes the directory for the life of the
//! process. Files are neither removed nor cut, so that a disk full of other data does not stop the quorum.

mod failure;
mod frame;
mod log_file;
mod log_store;
mod remade;
mod snapshot_file;
mod space;
mod state_machine;
#[cfg(test)]
mod tests;
mod vote_file;

use std::path::{Path, PathBuf};

use millstream_transport::world::{Disk, OpenMode, World};
use serde::{Deserialize, Serialize};
use uuid::Uuid;

use self::frame::{PAGE_BYTES, decode_page, encode_page};
use self::log_file::{Found, LogFile};
use self::snapshot_file::{SnapshotFile, Whole};
use self::state_machine::StateMachine;
use self::vote_file::VoteFile;
use super::types::{Vote, VoterId};
use crate::cluster::machine::Machine;
use crate::ids::NodeId;

pub(crate) use self::failure::Latch;
pub use self::failure::OpenError;
pub(crate) use self::log_store::{LogStore, lock};
pub(crate) use self::remade::{Kept, Remade, finish};

const IDENTITY: [u8; 4] = *b"MSQI";
const IDENTITY_NAME: &str = "identity";
const NEW_IDENTITY_NAME: &str = "identity.new";

/// Where the quorum's files lie, and how much is reserved for them.
#[derive(Clone, Debug)]
pub(crate) struct Place {
    pub(crate) directory: PathBuf,
    /// Space for each of the two log files and each of the two snapshot files.
    pub(crate) reserve_bytes: u64,
}

/// The quorum's storage, open.
pub(crate) struct Storage {
    /// Who keeps it.
    pub(crate) me: VoterId,
    /// Never held an entry or a snapshot.
    pub(crate) unborn: bool,
    /// And never gave a vote: it has promised nobody anything.
    pub(crate) free: bool,
    pub(crate) log: LogStore,
    pub(crate) machine: StateMachine,
    pub(crate) latch: Latch,
}

#[derive(Serialize, Deserialize)]
struct Identity {
    node: NodeId,
    directory: Uuid,
}

struct Files {
    directory: Uuid,
    log: (LogFile, Found),
    vote: (VoteFile, Option<Vote>),
    snapshot: (SnapshotFile, Option<Whole>),
}

impl Storage {
    /// Opens the directory, or makes it if it is not there, and loads the snapshot into the machine.
    pub(crate) async fn open(
        world: &World,
        node: NodeId,
        place: &Place,
        machine: Box<dyn Machine>,
    ) -> Result<Self, OpenError> {
        let latch = Latch::new();
        let new = Identity { node, directory: world.random.uuid() };
        let files = {
            let (disk, latch, place) = (world.disk.clone(), latch.clone(), place.clone());
            world.threads.run_blocking(move || open_files(disk.as_ref(), &place, &new, &latch)).await?
        };
        let (snapshot, found) = files.snapshot;
        let unsnapped = found.is_none();
        let unvoted = files.vote.1.is_none();
        let machine =
            StateMachine::new(machine, snapshot, found, world.threads.clone()).map_err(OpenError::Machine)?;
        let log = LogStore::new(files.log.0, files.log.1, files.vote.0, files.vote.1, world.threads.clone());
        let unborn = unsnapped && log.is_unborn();
        let me = VoterId { node, directory: files.directory };
        Ok(Self { me, unborn, free: unborn && unvoted, log, machine, latch })
    }
}

fn open_files(disk: &dyn Disk, place: &Place, new: &Identity, latch: &Latch) -> Result<Files, OpenError> {
    let directory = place.directory.as_path();
    let reserve = place.reserve_bytes;
    let identity = directory.join(IDENTITY_NAME);
    if !disk.exists(&identity).map_err(OpenError::io(&identity))? {
        remade::check_none_waits(disk, directory)?;
        return make_files(disk, place, new, latch);
    }
    let kept = read_identity(disk, directory)?;
    if kept.node != new.node {
        let found = format!("it belongs to node {}, and this is node {}", kept.node, new.node);
        return Err(OpenError::Io { path: identity, source: std::io::Error::other(found) });
    }
    // A recovery that did not come to its end would otherwise be finished much later, with what is old by then.
    remade::discard(disk, directory)?;
    Ok(Files {
        directory: kept.directory,
        log: LogFile::open(disk, directory, reserve, latch)?,
        vote: VoteFile::open(disk, directory, latch)?,
        snapshot: SnapshotFile::open(disk, directory, reserve, latch)?,
    })
}

fn read_identity(disk: &dyn Disk, directory: &Path) -> Result<Identity, OpenError> {
    let path = directory.join(IDENTITY_NAME);
    let file = disk.open(&path, OpenMode::Read).map_err(OpenError::io(&path))?;
    let mut page = vec![0; usize::try_from(PAGE_BYTES).unwrap_or_default()];
    let read = file.read_at(&mut page, 0).map_err(OpenError::io(&path))?;
    page.truncate(read);
    decode_page(IDENTITY, &page).map_err(|error| OpenError::corrupt(&path, error))
}

/// Makes the directory. Until `identity` has its name, the next start makes everything anew.
fn make_files(disk: &dyn Disk, place: &Place, new: &Identity, latch: &Latch) -> Result<Files, OpenError> {
    let directory = place.directory.as_path();
    make_directory(disk, directory)?;
    let log = LogFile::create(disk, directory, place.reserve_bytes, latch)?;
    let vote = VoteFile::create(disk, directory, latch)?;
    let snapshot = SnapshotFile::create(disk, directory, place.reserve_bytes, latch)?;
    disk.sync_directory(directory).map_err(OpenError::io(directory))?;
    write_identity(disk, directory, new)?;
    Ok(Files {
        directory: new.directory,
        log: (log, Found::default()),
        vote: (vote, None),
        snapshot: (snapshot, None),
    })
}

fn write_identity(disk: &dyn Disk, directory: &Path, identity: &Identity) -> Result<(), OpenError> {
    let path = directory.join(NEW_IDENTITY_NAME);
    let page = encode_page(IDENTITY, identity).map_err(|error| OpenError::corrupt(&path, error))?;
    let file = disk.open(&path, OpenMode::Truncate).map_err(OpenError::io(&path))?;
    file.write_at(&[std::io::IoSlice::new(&page)], 0).map_err(OpenError::io(&path))?;
    file.sync_data().map_err(OpenError::io(&path))?;
    disk.rename(&path, &directory.join(IDENTITY_NAME)).map_err(OpenError::io(&path))?;
    disk.sync_directory(directory).map_err(OpenError::io(directory))
}

/// Makes the directory and those above it, durably. What exists may come from a start that was cut short, so the names of
/// all are synced, as far as this user may.
fn make_directory(disk: &dyn Disk, directory: &Path) -> Result<(), OpenError> {
    disk.create_directories(directory).map_err(OpenError::io(directory))?;
    for parent in directory.ancestors().skip(1) {
        // Above the first part of a relative path is where the process stands.
        let parent = if parent == Path::new("") { Path::new(".") } else { parent };
        match disk.sync_directory(parent) {
            Err(error) if error.kind() == std::io::ErrorKind::PermissionDenied => {}
            other => other.map_err(OpenError::io(parent))?,
        }
    }
    Ok(())
}

//! The storage against openraft's own suite, against restarts, and against damage.

use std::fs;
use std::path::Path;
use std::sync::Arc;

use millstream_transport::world::{Clock, Random, RealDisk, SimulatedDisk, Threads, simulation};
use openraft::storage::{RaftLogStorage, RaftLogStorageExt, RaftStateMachine};
use openraft::testing::{StoreBuilder, Suite, blank_ent};
use openraft::{EntryPayload, RaftLogReader, RaftSnapshotBuilder};
use tempfile::TempDir;

use super::*;
use crate::cluster::quorum::types::{Entry, LogId, StorageError, TypeConfig};

/// Keeps every entry, so that order and gaps show.
#[derive(Debug, Default)]
struct Keeper(Vec<(u64, Vec<u8>)>);

impl Machine for Keeper {
    fn apply(&mut self, index: u64, entry: &[u8]) -> Vec<u8> {
        self.0.push((index, entry.to_vec()));
        index.to_string().into_bytes()
    }

    fn snapshot(&self) -> Vec<u8> {
        postcard::to_stdvec(&self.0).unwrap()
    }

    fn restore(&mut self, _index: u64, snapshot: &[u8]) -> Result<(), String> {
        self.0 = postcard::from_bytes(snapshot).map_err(|error| error.to_string())?;
        Ok(())
    }
}

fn real_world() -> World {
    World {
        clock: Clock::real(),
        disk: Arc::new(RealDisk::default()),
        random: Random::seeded(7),
        threads: Threads::real(Vec::new()),
    }
}

fn place(directory: &Path) -> Place {
    Place { directory: directory.join("quorum"), reserve_bytes: 64 << 10 }
}

async fn open(directory: &Path) -> Result<Storage, OpenError> {
    Storage::open(&real_world(), NodeId(1), &place(directory), Box::new(Keeper::default())).await
}

fn entry(term: u64, index: u64, bytes: &[u8]) -> Entry {
    let mut entry: Entry = blank_ent::<TypeConfig>(term, 1.into(), index);
    entry.payload = EntryPayload::Normal(bytes.to_vec());
    entry
}

fn log_id(term: u64, index: u64) -> LogId {
    openraft::testing::log_id(term, 1.into(), index)
}

async fn indexes(log: &mut LogStore) -> Vec<u64> {
    let entries: Vec<Entry> = log.try_get_log_entries(..).await.unwrap();
    entries.iter().map(|entry| entry.log_id.index).collect()
}

struct Real;

impl StoreBuilder<TypeConfig, LogStore, StateMachine, TempDir> for Real {
    async fn build(&self) -> Result<(TempDir, LogStore, StateMachine), StorageError> {
        let directory = tempfile::tempdir().unwrap();
        let storage = open(directory.path()).await.unwrap();
        Ok((directory, storage.log, storage.machine))
    }
}

struct Simulated;

impl StoreBuilder<TypeConfig, LogStore, StateMachine> for Simulated {
    async fn build(&self) -> Result<((), LogStore, StateMachine), StorageError> {
        let world = World { disk: SimulatedDisk::new(1).disk(), ..real_world() };
        let opened =
            Storage::open(&world, NodeId(1), &place(Path::new("/data")), Box::new(Keeper::default())).await;
        let storage = opened.unwrap();
        Ok(((), storage.log, storage.machine))
    }
}

#[test]
fn the_suite_of_openraft_passes_on_a_real_disk() {
    Suite::test_all(Real).unwrap();
}

#[test]
fn the_suite_of_openraft_passes_on_a_simulated_disk() {
    Suite::test_all(Simulated).unwrap();
}

/// Votes, appends, cuts at both ends and takes snapshots until the power is cut at some call. What was done before it is
/// there afterwards; what was under way is there or not, as a whole.
#[test]
fn a_power_cut_at_any_call_loses_nothing_that_was_synced() {
    for seed in 0..150 {
        simulation::run(seed, |run| async move {
            let disk = SimulatedDisk::new(run.seed_of("disk"));
            let mut expected = Expected::default();
            for life in 0..4 {
                let draws = Random::seeded(seed * 10 + life);
                disk.cut_power_after(draws.range(1, 60));
                let world = World::simulated(&run, &disk);
                let opened =
                    Storage::open(&world, NodeId(1), &place(Path::new("/data")), Box::new(Keeper::default()))
                        .await;
                if let Ok(mut storage) = opened {
                    expected.check(&mut storage, seed).await;
                    while expected.step(&mut storage, &draws).await {}
                }
                disk.cut_power();
            }
            let world = World::simulated(&run, &disk);
            let opened =
                Storage::open(&world, NodeId(1), &place(Path::new("/data")), Box::new(Keeper::default()))
                    .await;
            expected.check(&mut opened.unwrap(), seed).await;
        });
    }
}

/// What must be there, and what else may be.
#[derive(Clone, Debug, Default)]
struct Expected {
    sure: Kept,
    perhaps: Option<Kept>,
}

#[derive(Clone, Debug, Default, PartialEq)]
struct Kept {
    vote: Option<Vote>,
    entries: Vec<Entry>,
    purged: Option<LogId>,
    snapshot: Option<LogId>,
}

impl Expected {
    /// One change; false once the power is cut.
    async fn step(&mut self, storage: &mut Storage, draws: &Random) -> bool {
        let mut next = self.sure.clone();
        let last = next.entries.last().map(|entry| entry.log_id).or(next.purged).map_or(0, |id| id.index);
        let done = match draws.range(0, 10) {
            0 => {
                let vote = Vote::new(next.vote.map_or(1, |vote| vote.leader_id.term + 1), 1.into());
                next.vote = Some(vote);
                self.perhaps = Some(next);
                storage.log.save_vote(&vote).await
            }
            1 if next.entries.len() > 1 => {
                let from = next.entries[next.entries.len() / 2].log_id;
                next.entries.retain(|entry| entry.log_id.index < from.index);
                self.perhaps = Some(next);
                storage.log.truncate(from).await
            }
            2 if !next.entries.is_empty() => {
                let upto = next.entries[next.entries.len() / 2].log_id;
                next.snapshot = next.snapshot.max(Some(upto));
                self.perhaps = Some(next);
                storage.machine.apply([entry(upto.leader_id.term, upto.index, b"applied")]).await.unwrap();
                let built = storage.machine.get_snapshot_builder().await.build_snapshot().await;
                built.map(|_| ())
            }
            3 if next.snapshot > next.purged => {
                let upto = next.snapshot.unwrap();
                next.entries.retain(|entry| entry.log_id.index > upto.index);
                next.purged = Some(upto);
                self.perhaps = Some(next);
                storage.log.purge(upto).await
            }
            _ => {
                let count = draws.range(1, 4);
                let bytes = vec![b'x'; usize::try_from(draws.range(0, 3000)).unwrap()];
                let new: Vec<Entry> = (1..=count).map(|more| entry(1, last + more, &bytes)).collect();
                next.entries.extend(new.clone());
                self.perhaps = Some(next);
                storage.log.blocking_append(new).await
            }
        };
        if done.is_ok() {
            self.sure = self.perhaps.take().unwrap();
        }
        done.is_ok()
    }

    async fn check(&mut self, storage: &mut Storage, seed: u64) {
        let before = self.clone();
        let found = Kept {
            vote: storage.log.read_vote().await.unwrap(),
            entries: storage.log.try_get_log_entries(..).await.unwrap(),
            purged: storage.log.get_log_state().await.unwrap().last_purged_log_id,
            snapshot: storage.machine.applied_state().await.unwrap().0,
        };
        *self = Self { sure: found.clone(), perhaps: None };
        if found != before.sure && Some(&found) != before.perhaps.as_ref() {
            let perhaps = before.perhaps.clone().unwrap_or_default();
            // Of several entries under way the first few may be there.
            let part =
                found.entries.len() >= self.sure.entries.len() && perhaps.entries.starts_with(&found.entries);
            let whole = Kept { entries: perhaps.entries.clone(), ..found };
            assert!(
                found == perhaps || (part && whole == perhaps),
                "seed {seed}: {found:?} instead of {self:?}"
            );
        }
        *self = Self { sure: found, perhaps: None };
    }
}

#[tokio::test]
async fn log_vote_and_commitment_outlive_a_restart() {
    let directory = tempfile::tempdir().unwrap();
    let mut first = open(directory.path()).await.unwrap();
    assert!(first.unborn);
    first.log.save_vote(&Vote::new_committed(3, 1.into())).await.unwrap();
    first.log.blocking_append([entry(1, 1, b"a"), entry(2, 2, b"bc")]).await.unwrap();
    first.log.save_committed(Some(log_id(1, 1))).await.unwrap();
    first.log.mark_committed().await.unwrap();

    let mut second = open(directory.path()).await.unwrap();
    assert!(!second.unborn);
    assert_eq!(second.me, first.me);
    assert_eq!(second.log.read_vote().await.unwrap(), Some(Vote::new(3, 1.into())));
    assert_eq!(second.log.read_committed().await.unwrap(), Some(log_id(1, 1)));
    assert_eq!(second.log.try_get_log_entries(..).await.unwrap(), [entry(1, 1, b"a"), entry(2, 2, b"bc")]);
}

#[tokio::test]
async fn what_was_dropped_at_either_end_stays_dropped() {
    let directory = tempfile::tempdir().unwrap();
    let mut first = open(directory.path()).await.unwrap();
    first.log.blocking_append((0..10).map(|index| entry(1, index, b"x"))).await.unwrap();
    first.log.truncate(log_id(1, 7)).await.unwrap();
    first.log.purge(log_id(1, 2)).await.unwrap();
    first.log.blocking_append([entry(2, 7, b"y")]).await.unwrap();
    for _ in 0..3 {
        let mut again = open(directory.path()).await.unwrap();
        assert_eq!(indexes(&mut again.log).await, [3, 4, 5, 6, 7]);
        let state = again.log.get_log_state().await.unwrap();
        assert_eq!(state.last_purged_log_id, Some(log_id(1, 2)));
        assert_eq!(state.last_log_id, Some(log_id(2, 7)));
    }
}

#[tokio::test]
async fn a_snapshot_is_loaded_into_the_machine_at_start() {
    let directory = tempfile::tempdir().unwrap();
    let mut first = open(directory.path()).await.unwrap();
    let outcomes = first.machine.apply([entry(1, 5, b"five"), entry(1, 6, b"six")]).await.unwrap();
    assert_eq!(outcomes, [b"5", b"6"]);
    let built = first.machine.get_snapshot_builder().await.build_snapshot().await.unwrap();

    let mut second = open(directory.path()).await.unwrap();
    assert!(!second.unborn);
    assert_eq!(second.machine.applied_state().await.unwrap().0, Some(log_id(1, 6)));
    let current = second.machine.get_current_snapshot().await.unwrap().unwrap();
    assert_eq!((&current.meta, &current.snapshot), (&built.meta, &built.snapshot));
}

#[tokio::test]
async fn a_synced_entry_that_was_damaged_is_never_cut_off_silently() {
    let directory = tempfile::tempdir().unwrap();
    let mut first = open(directory.path()).await.unwrap();
    first.log.blocking_append([entry(1, 0, &[0x5A; 100]), entry(1, 1, &[0x5A; 100])]).await.unwrap();
    drop(first);
    damage_last_run_of(directory.path(), 0x5A);
    let error = open(directory.path()).await.err().unwrap().to_string();
    assert!(error.contains("no valid entry at byte"), "{error}");
}

#[tokio::test]
async fn a_torn_entry_that_was_never_synced_is_cut_off() {
    let directory = tempfile::tempdir().unwrap();
    let mut first = open(directory.path()).await.unwrap();
    first.log.blocking_append([entry(1, 0, b"whole")]).await.unwrap();
    drop(first);
    for name in ["log.0", "log.1"] {
        let path = directory.path().join("quorum").join(name);
        let mut bytes = fs::read(&path).unwrap();
        bytes.extend_from_slice(&[40, 0, 0, 0, 1, 2, 3, 4, 5, 6]);
        fs::write(&path, bytes).unwrap();
    }
    let mut second = open(directory.path()).await.unwrap();
    assert_eq!(indexes(&mut second.log).await, [0]);
}

#[tokio::test]
async fn a_damaged_head_does_not_bring_an_old_log_back() {
    let directory = tempfile::tempdir().unwrap();
    let mut first = open(directory.path()).await.unwrap();
    first.log.blocking_append([entry(1, 0, b"a"), entry(1, 1, b"b")]).await.unwrap();
    drop(first);
    let mut refused = 0;
    for name in ["log.0", "log.1"] {
        let path = directory.path().join("quorum").join(name);
        let whole = fs::read(&path).unwrap();
        let mut bad = whole.clone();
        bad[12] ^= 1;
        fs::write(&path, bad).unwrap();
        match open(directory.path()).await {
            Err(OpenError::Corrupt { .. }) => refused += 1,
            other => assert_eq!(indexes(&mut other.unwrap().log).await, [0, 1]),
        }
        fs::write(&path, whole).unwrap();
        if refused == 1 {
            break;
        }
    }
    assert_eq!(refused, 1);
}

#[tokio::test]
async fn a_directory_of_another_node_is_refused() {
    let directory = tempfile::tempdir().unwrap();
    drop(open(directory.path()).await.unwrap());
    let other =
        Storage::open(&real_world(), NodeId(2), &place(directory.path()), Box::new(Keeper::default())).await;
    let error = other.err().unwrap().to_string();
    assert!(error.contains("belongs to node 1, and this is node 2"), "{error}");
}

#[tokio::test]
async fn a_reader_is_given_a_bounded_piece_and_never_nothing() {
    let directory = tempfile::tempdir().unwrap();
    let mut storage = open(directory.path()).await.unwrap();
    let large = vec![1; 300 << 10];
    storage.log.blocking_append([entry(1, 0, &large), entry(1, 1, &large), entry(1, 2, b"")]).await.unwrap();
    assert_eq!(storage.log.limited_get_log_entries(0, 3).await.unwrap().len(), 1);
    assert_eq!(storage.log.limited_get_log_entries(2, 3).await.unwrap().len(), 1);
    assert_eq!(storage.log.limited_get_log_entries(2, 2).await.unwrap().len(), 0);
}

/// Changes the last byte of this value in whichever log file has it.
fn damage_last_run_of(directory: &Path, value: u8) {
    for name in ["log.0", "log.1"] {
        let path = directory.join("quorum").join(name);
        let mut bytes = fs::read(&path).unwrap();
        if let Some(at) = bytes.iter().rposition(|byte| *byte == value) {
            bytes[at] ^= 0xFF;
            fs::write(&path, bytes).unwrap();
        }
    }
}

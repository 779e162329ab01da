//! Stores on disk beside stores in memory; killed, cut off, corrupted.

use std::fs;
use std::io::{BufRead, BufReader, Write};
use std::ops::Bound;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use bytes::Bytes;
use proptest::prelude::*;
use tempfile::TempDir;

use super::super::{ByteStore, Checkpoint, Entry, MemoryStore};
use super::{DiskBudget, DiskStore, Opened};

/// So little that files are written and merged, too.
const BUDGET: DiskBudget = DiskBudget { cache_bytes: 1 << 20, memtable_bytes: 8 << 10 };

/// In memory where there is such a file system: what these tests do to files needs no disk that waits for its platters.
fn new_directory() -> TempDir {
    let memory = Path::new("/dev/shm");
    if memory.is_dir() { TempDir::new_in(memory) } else { TempDir::new() }.unwrap()
}

fn open(path: &Path) -> DiskStore {
    let Opened { mut stores, set_aside } = DiskStore::open_all(path, &["store"], BUDGET).unwrap();
    assert_eq!(set_aside, None);
    stores.remove(0)
}

type Changes = Vec<(Bytes, Option<Bytes>)>;

fn apply(store: &mut dyn ByteStore, changes: &Changes, floor: &[u8], checkpoint: i64) {
    let mut each = changes.iter().map(|(key, value)| (key, value.as_ref()));
    store.apply(&mut each, floor, Checkpoint(checkpoint)).unwrap();
}

fn all(store: &dyn ByteStore) -> Vec<Entry> {
    store.scan(Bound::Unbounded, Bound::Unbounded, usize::MAX).unwrap()
}

fn files(path: &Path) -> Vec<PathBuf> {
    let entries = fs::read_dir(path).unwrap().map(|entry| entry.unwrap().path());
    let mut files: Vec<_> =
        entries.flat_map(|path| if path.is_dir() { files(&path) } else { vec![path] }).collect();
    files.sort();
    files
}

fn copy(from: &Path, to: &Path) {
    for file in files(from) {
        let target = to.join(file.strip_prefix(from).unwrap());
        fs::create_dir_all(target.parent().unwrap()).unwrap();
        fs::copy(file, target).unwrap();
    }
}

/// Keys of few bytes and few kinds, so that they meet, are empty, begin with 0, and lie close to one another.
fn key() -> impl Strategy<Value = Bytes> {
    prop::collection::vec(prop_oneof![Just(0_u8), Just(1), Just(2), Just(255)], 0..4).prop_map(Bytes::from)
}

fn changes() -> impl Strategy<Value = Changes> {
    let value = prop::option::weighted(0.8, prop::collection::vec(any::<u8>(), 0..300).prop_map(Bytes::from));
    prop::collection::vec((key(), value), 0..40)
}

#[derive(Clone, Debug)]
enum Step {
    Apply(Changes),
    Floor(Bytes),
    Reopen,
    /// The directory as it is found after the process was killed.
    Kill,
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        8 => changes().prop_map(Step::Apply),
        1 => key().prop_map(Step::Floor),
        1 => Just(Step::Reopen),
        1 => Just(Step::Kill),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 8, max_shrink_iters: 50, failure_persistence: None, ..ProptestConfig::default() })]
    #[test]
    fn a_store_on_disk_reads_as_one_in_memory_does_whatever_happens_to_its_process(
        steps in prop::collection::vec(step(), 1..30),
        from in key(),
        to in key(),
        max in 1..6_usize,
    ) {
        // Killed at rest: files that a thread writes at this moment cannot be copied as of one moment.
        let budget = DiskBudget { memtable_bytes: 8 << 20, ..BUDGET };
        let mut directories = vec![new_directory()];
        let open = |directory: &TempDir| {
            let opened = DiskStore::open_all(directory.path(), &["store"], budget).unwrap();
            assert_eq!(opened.set_aside, None);
            opened.stores.into_iter().next().unwrap()
        };
        let mut disk = open(&directories[0]);
        let mut memory = MemoryStore::default();
        let mut floor = Bytes::new();
        for (number, step) in (0..).zip(steps) {
            match step {
                Step::Apply(changes) => {
                    apply(&mut disk, &changes, &floor, number);
                    apply(&mut memory, &changes, &floor, number);
                }
                Step::Floor(raised) => floor = raised.max(floor),
                Step::Reopen => {
                    drop(disk);
                    disk = open(directories.last().unwrap());
                }
                Step::Kill => {
                    let copied = new_directory();
                    copy(directories.last().unwrap().path(), copied.path());
                    drop(disk);
                    disk = open(&copied);
                    directories.push(copied);
                }
            }
            prop_assert_eq!(all(&disk), all(&memory));
            prop_assert_eq!((disk.checkpoint(), disk.floor()), (memory.checkpoint(), memory.floor()));
            for key in [&from, &to] {
                prop_assert_eq!(disk.get(key).unwrap(), memory.get(key).unwrap());
            }
            let bounds = |key: &Bytes| [Bound::Included(key.clone()), Bound::Excluded(key.clone()), Bound::Unbounded];
            for from in bounds(&from) {
                for to in bounds(&to) {
                    let range = (from.as_ref().map(AsRef::as_ref), to.as_ref().map(AsRef::as_ref));
                    prop_assert_eq!(
                        disk.scan(range.0, range.1, max).unwrap(),
                        memory.scan(range.0, range.1, max).unwrap()
                    );
                }
            }
        }
    }
}

fn numbered(number: i64, of: usize) -> Changes {
    let value = Bytes::from(number.to_string().repeat(20));
    (0..of).map(|key| (Bytes::from(format!("key-{key:03}")), Some(value.clone()))).collect()
}

/// That the store is as it was after some apply of [`numbered`] changes; after which.
fn whole(store: &DiskStore, of: usize) -> i64 {
    let Some(Checkpoint(number)) = store.checkpoint() else {
        assert_eq!(all(store), []);
        return -1;
    };
    let wanted: Vec<Entry> =
        numbered(number, of).into_iter().map(|(key, value)| (key, value.unwrap())).collect();
    assert!(all(store) == wanted, "not as after apply {number}");
    number
}

const CHILD: &str = "MILLSTREAM_TEST_DISK_STORE";

/// The process that [`a_store_whose_process_is_killed_is_as_it_was_after_its_last_apply`] kills; nothing in itself.
#[test]
fn writes_until_it_is_killed() {
    let Some(path) = std::env::var_os(CHILD) else { return };
    let mut store = open(Path::new(&path));
    let first = whole(&store, 50) + 1;
    for number in first.. {
        apply(&mut store, &numbered(number, 50), &[], number);
        let mut out = std::io::stdout().lock();
        writeln!(out, "applied {number}").unwrap();
        out.flush().unwrap();
    }
}

#[test]
fn a_store_whose_process_is_killed_is_as_it_was_after_its_last_apply() {
    let directory = new_directory();
    for after in [1, 30, 80] {
        let name = "streams::store::disk::tests::writes_until_it_is_killed";
        let mut child = Command::new(std::env::current_exe().unwrap())
            .args(["--exact", name, "--nocapture", "--test-threads=1"])
            .env(CHILD, directory.path())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let lines = BufReader::new(child.stdout.take().unwrap()).lines();
        let numbers =
            lines.filter_map(|line| Some(line.ok()?.split_once("applied ")?.1.parse::<i64>().unwrap()));
        let told = numbers.take(after).last().unwrap();
        child.kill().unwrap();
        child.wait().unwrap();
        let number = whole(&open(directory.path()), 50);
        assert!(number >= told, "it had said {told}, and is at {number}");
    }
}

#[test]
fn what_a_power_cut_leaves_of_the_journal_is_a_store_as_of_some_earlier_apply() {
    let directory = new_directory();
    // All of it in the journal: what has got into files is safe.
    let budget = DiskBudget { memtable_bytes: 8 << 20, ..BUDGET };
    let open = |path: &Path| DiskStore::open_all(path, &["store"], budget).unwrap();
    let written = {
        let mut store = open(directory.path()).stores.remove(0);
        for number in 0..30 {
            apply(&mut store, &numbered(number, 20), &[], number);
        }
        29
    };
    let journals: Vec<_> = files(directory.path())
        .into_iter()
        .filter(|path| path.extension().is_some_and(|it| it == "jnl"))
        .collect();
    assert!(!journals.is_empty(), "{:?}", files(directory.path()));
    let mut seen = Vec::new();
    for cut in [0_u64, 1, 500, 5_000, 20_000, 40_000] {
        let copied = new_directory();
        copy(directory.path(), copied.path());
        let journal = copied.path().join(journals.last().unwrap().strip_prefix(directory.path()).unwrap());
        let journal = fs::OpenOptions::new().write(true).open(journal).unwrap();
        journal.set_len(cut.min(journal.metadata().unwrap().len())).unwrap();
        seen.push(whole(&open(copied.path()).stores[0], 20));
    }
    assert!(seen.iter().all(|number| (-1..=written).contains(number)), "{seen:?}");
    assert!(seen.iter().any(|number| (0..written).contains(number)), "no cut was in the midst: {seen:?}");
}

#[test]
fn a_floor_forgets_at_once_and_takes_out_little_by_little() {
    let directory = new_directory();
    let mut store = open(directory.path());
    apply(&mut store, &numbered(0, 900), &[], 0);
    for number in 1..4 {
        let many = (0..900).map(|key| (Bytes::from(format!("{number}-{key:03}")), Some(Bytes::from("v"))));
        apply(&mut store, &many.collect(), &[], number);
    }
    apply(&mut store, &Vec::new(), b"key", 5);
    assert_eq!(all(&store).len(), 900);
    assert_eq!(store.get(b"1-000").unwrap(), None);
    assert!(store.keys.range(b"1".as_slice()..b"key".as_slice()).count() == 1_700);
    drop(store);
    let mut store = open(directory.path());
    assert_eq!((all(&store).len(), store.floor().as_ref()), (900, b"key".as_slice()));
    let late = vec![(Bytes::from("1-000"), Some(Bytes::from("late")))];
    apply(&mut store, &late, &[], 6);
    apply(&mut store, &late, b"a", 7);
    assert_eq!(all(&store).len(), 900);
    assert_eq!(store.keys.range(b"1".as_slice()..b"key".as_slice()).count(), 0);
    assert_eq!(store.state.purged, store.state.floor);
}

#[test]
fn a_directory_is_open_once_at_a_time() {
    let directory = new_directory();
    let store = open(directory.path());
    let error = DiskStore::open_all(directory.path(), &["store"], BUDGET).unwrap_err();
    assert!(error.reason.contains("in use by another task or process"), "{error}");
    drop(store);
    open(directory.path());
}

fn fill(path: &Path) {
    let mut store = open(path);
    for number in 0..30 {
        apply(&mut store, &numbered(number, 20), &[], number);
    }
}

fn assert_set_aside(path: &Path, why: &str) {
    let opened = DiskStore::open_all(path, &["store"], BUDGET).unwrap();
    let error = opened.set_aside.unwrap().to_string();
    assert!(error.contains(why) && error.contains(&path.display().to_string()), "{error}");
    let mut store = opened.stores.into_iter().next().unwrap();
    assert_eq!((store.checkpoint(), all(&store).len()), (None, 0));
    apply(&mut store, &numbered(1, 3), &[], 1);
    drop(store);
    assert_eq!(whole(&open(path), 3), 1);
    assert!(path.join("aside").exists());
}

#[test]
fn what_is_of_another_format_or_corrupt_is_set_aside_and_the_store_begins_empty() {
    let directory = new_directory();
    let path = directory.path();
    fill(path);
    fs::write(path.join("format"), "millstream state stores 2\n").unwrap();
    assert_set_aside(path, "millstream state stores 2");
    for of in ["version", "current", "format"] {
        fill_again(path);
        let found = files(path).into_iter().filter(|file| {
            !file.starts_with(path.join("aside")) && file.file_name().is_some_and(|name| name == of)
        });
        for file in found {
            let bytes: Vec<u8> = fs::read(&file).unwrap().iter().map(|byte| !byte).collect();
            fs::write(file, bytes).unwrap();
        }
        assert_set_aside(path, "");
    }
    fill_again(path);
    let tables = files(path).into_iter().filter(|file| {
        file.components().any(|part| part.as_os_str() == "tables") && !file.starts_with(path.join("aside"))
    });
    tables.for_each(|table| fs::remove_file(table).unwrap());
    assert_set_aside(path, "");
}

fn fill_again(path: &Path) {
    let mut store = open(path);
    for number in 0..200 {
        apply(&mut store, &numbered(number, 20), &[], number);
    }
}

#[test]
fn what_turns_out_corrupt_in_use_is_set_aside_when_it_is_opened_next() {
    let directory = new_directory();
    fill(directory.path());
    let store = open(directory.path());
    assert!(store.failed(&fjall::Error::Poisoned).reason.contains("Poisoned"));
    drop(store);
    let store = open(directory.path());
    let _error = store.failed(&fjall::Error::InvalidTrailer);
    drop(store);
    assert_set_aside(directory.path(), "InvalidTrailer");
}

#[test]
fn stores_of_a_directory_are_apart_and_those_that_nobody_asks_for_are_deleted() {
    let directory = new_directory();
    let open = |names: &[&str]| DiskStore::open_all(directory.path(), names, BUDGET).unwrap().stores;
    let mut stores = open(&["one", "two"]);
    apply(&mut stores[0], &numbered(1, 3), &[], 1);
    apply(&mut stores[1], &numbered(2, 4), &[], 2);
    drop(stores);
    let stores = open(&["two", "one"]);
    assert_eq!((whole(&stores[0], 4), whole(&stores[1], 3)), (2, 1));
    drop(stores);
    drop(open(&["two"]));
    let stores = open(&["one", "two"]);
    assert_eq!((whole(&stores[0], 3), whole(&stores[1], 4)), (-1, 2));
}

#[test]
fn a_key_that_is_too_long_is_an_error_and_the_store_is_as_before() {
    let directory = new_directory();
    let mut store = open(directory.path());
    apply(&mut store, &numbered(1, 3), &[], 1);
    let long = Bytes::from(vec![1; 70_000]);
    let error = store.apply(&mut [(&long, Some(&long))].into_iter(), &[], Checkpoint(2)).unwrap_err();
    assert!(error.to_string().contains("70000 bytes"), "{error}");
    assert_eq!((store.get(&long).unwrap(), whole(&store, 3)), (None, 1));
}

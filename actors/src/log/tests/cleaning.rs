//! Cleanings at any moment, of a log whose node may die at any moment: what a reader makes of the log is what it would
//! have made of all that was written.

use std::collections::BTreeMap;
use std::time::Duration;

use millstream_transport::world::simulation;
use proptest::prelude::*;

use super::cleaned::{append_stamped, batches_in, compacted, records_in};
use super::*;
use crate::log::cleaning::{go_on, one_step};
use crate::record::{Codec, Record};

const KEYS: [&str; 6] = ["a", "b", "c", "d", "e", "f"];

/// What a log is made to do.
#[derive(Clone, Debug)]
enum Deed {
    Append {
        codec: usize,
        /// Key, and bytes of the value; a tombstone where there is none.
        records: Vec<(usize, Option<usize>)>,
    },
    Sync,
    Roll,
    /// So many steps of a cleaning, of what is committed.
    Clean {
        steps: usize,
    },
    /// The rest of it.
    Finish,
    Truncate {
        back: i64,
    },
    Wait {
        ms: u64,
    },
    NewEpoch,
}

fn deed() -> impl Strategy<Value = Deed> {
    let record = (0..KEYS.len(), prop::option::weighted(0.8, 0_usize..300));
    prop_oneof![
        16 => (0..5_usize, prop::collection::vec(record, 1..6))
            .prop_map(|(codec, records)| Deed::Append { codec, records }),
        6 => Just(Deed::Sync),
        4 => Just(Deed::Roll),
        5 => (0_usize..8).prop_map(|steps| Deed::Clean { steps }),
        4 => Just(Deed::Finish),
        1 => (1_i64..8).prop_map(|back| Deed::Truncate { back }),
        2 => (1_u64..4000).prop_map(|ms| Deed::Wait { ms }),
        1 => Just(Deed::NewEpoch),
    ]
}

#[derive(Clone, Copy, Debug)]
enum End {
    PowerCut { after_calls: u64 },
    Kill,
    Clean,
}

fn end() -> impl Strategy<Value = End> {
    prop_oneof![
        4 => (0_u64..200).prop_map(|after_calls| End::PowerCut { after_calls }),
        1 => Just(End::Kill),
        1 => Just(End::Clean),
    ]
}

/// What was written, whether or not it is still there: each offset's record as it was last appended.
#[derive(Default)]
struct Written {
    records: BTreeMap<i64, Record>,
    /// All that was ever appended at an offset. What was not durable when a life ended may be any of it: a cut that was
    /// not synced may be undone with the power, and what it took away be there again.
    appended: BTreeMap<i64, Vec<Record>>,
    durable: i64,
    epoch: i32,
    bytes: u8,
}

impl Written {
    /// A new life begins with this log.
    fn found_again(&mut self, log: &Log) {
        self.records.split_off(&log.end().0);
        for record in records_in(log).into_iter().filter(|record| record.offset.0 >= self.durable) {
            let offset = record.offset.0;
            assert!(self.appended.get(&offset).is_some_and(|known| known.contains(&record)), "{record:?}");
            self.records.insert(offset, record);
        }
    }

    /// What a reader makes of the first `end` offsets.
    fn folded(&self, end: i64) -> BTreeMap<Bytes, Record> {
        fold(self.records.range(..end).map(|(_, record)| record.clone()))
    }
}

fn fold(records: impl Iterator<Item = Record>) -> BTreeMap<Bytes, Record> {
    let mut state = BTreeMap::new();
    for record in records {
        let key = record.key.clone().unwrap();
        match record.value {
            Some(_) => state.insert(key, record),
            None => state.remove(&key),
        };
    }
    state
}

struct Life {
    log: Log,
    under_way: Option<Box<Cleaning>>,
}

impl Life {
    async fn perform(&mut self, deed: &Deed, written: &mut Written) -> bool {
        match deed {
            Deed::Append { codec, records } => return self.append(*codec, records, written),
            Deed::Sync => match synced(&self.log).await {
                Ok(durable) => written.durable = written.durable.max(durable.0),
                Err(_) => return false,
            },
            Deed::Roll => return self.log.roll().is_ok(),
            Deed::Clean { steps } => {
                // What is durable counts as committed.
                let mark = Offset(written.durable.min(self.log.end().0));
                self.under_way =
                    self.under_way.take().or_else(|| self.log.cleaning(mark, |_| KnownProducers::default()));
                for _ in 0..*steps {
                    self.under_way = match self.under_way.take().map(|it| one_step(&mut self.log, it)) {
                        Some(Stepped::More(cleaning)) => Some(cleaning),
                        Some(Stepped::Failed(..)) => return false,
                        _ => None,
                    };
                }
            }
            Deed::Finish => {
                if let Some(cleaning) = self.under_way.take() {
                    return !matches!(go_on(&mut self.log, cleaning), Stepped::Failed(..));
                }
            }
            Deed::Truncate { back } => {
                // What is committed is never cut.
                let to = (self.log.end().0 - back).max(written.durable);
                if to < self.log.end().0 {
                    let Ok(end) = self.log.truncate_to(Offset(to)) else { return false };
                    written.epoch += 1;
                    assert!(end.0 >= written.durable, "{end:?}");
                }
            }
            Deed::Wait { ms } => tokio::time::sleep(Duration::from_millis(*ms)).await,
            Deed::NewEpoch => written.epoch += 1,
        }
        true
    }

    fn append(&mut self, codec: usize, records: &[(usize, Option<usize>)], written: &mut Written) -> bool {
        written.bytes = written.bytes.wrapping_add(1);
        let values: Vec<_> =
            records.iter().map(|(_, length)| length.map(|length| vec![written.bytes; length])).collect();
        let keyed: Vec<_> =
            records.iter().zip(&values).map(|((key, _), value)| (KEYS[*key], value.as_deref())).collect();
        let base = self.log.end().0;
        for (at, (key, value)) in keyed.iter().enumerate() {
            let at = i64::try_from(at).unwrap();
            let record = Record {
                offset: Offset(base + at),
                timestamp_ms: 1000 + 10 * base + at,
                key: Some(Bytes::copy_from_slice(key.as_bytes())),
                value: value.map(Bytes::copy_from_slice),
                headers: Vec::new(),
            };
            written.appended.entry(base + at).or_default().push(record.clone());
            written.records.insert(base + at, record);
        }
        append_stamped(&mut self.log, written.epoch, Codec::ALL[codec], None, &keyed).is_ok()
    }

    /// Nothing is there that was not written so, and what a reader makes of it is right.
    fn check(&self, written: &Written) {
        batches_in(&self.log);
        let found = records_in(&self.log);
        for record in &found {
            assert_eq!(Some(record), written.records.get(&record.offset.0));
        }
        assert!(found.is_sorted_by_key(|record| record.offset));
        assert_eq!(fold(found.into_iter()), written.folded(self.log.end().0));
    }
}

fn settings(dedupe_bytes: usize) -> DirectorySettings {
    let cleaner = CleanerSettings { dedupe_bytes, ..CleanerSettings::default() };
    // Little is in memory: most reads are of the files.
    DirectorySettings { cleaner, tail: TailBudget::new(3000), ..DirectorySettings::default() }
}

async fn live(
    simulation: &Simulation,
    disk: &SimulatedDisk,
    written: &mut Written,
    (deeds, end): (&[Deed], End),
    dedupe_bytes: usize,
) {
    let world = World::simulated(simulation, disk);
    let directory =
        LogDirectory::open(&world, Path::new(ROOT), settings(dedupe_bytes), Events::uncounted()).unwrap();
    let (log, recovery) = directory.open_log(partition(0), &compacted()).unwrap();
    assert!(recovery.damage.is_none(), "{recovery:?}");
    assert!(log.end().0 >= written.durable, "{:?} of {} durable", log.end(), written.durable);
    written.found_again(&log);
    written.epoch += 1;
    let mut life = Life { log, under_way: None };
    life.check(written);
    if let End::PowerCut { after_calls } = end {
        disk.cut_power_after(after_calls);
    }
    let ends_at = disk.life();
    for deed in deeds {
        if !life.perform(deed, written).await || disk.life() != ends_at {
            break;
        }
        life.check(written);
    }
    drop(life);
    if matches!(end, End::Clean) {
        // It fails where the disk has; then it was no clean end.
        drop(directory.close_cleanly());
    }
    drop(directory);
    match end {
        End::PowerCut { .. } => disk.cut_power(),
        End::Kill | End::Clean => disk.kill(),
    }
}

async fn scenario(simulation: Simulation, lives: Vec<(Vec<Deed>, End)>, seed: u64, dedupe_bytes: usize) {
    let disk = SimulatedDisk::new(seed);
    let mut written = Written::default();
    for (deeds, end) in &lives {
        live(&simulation, &disk, &mut written, (deeds, *end), dedupe_bytes).await;
    }
    let cleanup = [Deed::Roll, Deed::Sync, Deed::Clean { steps: 0 }, Deed::Finish];
    live(&simulation, &disk, &mut written, (&cleanup, End::Kill), 1 << 20).await;
    let directory = open(&simulation, &disk);
    let (log, _) = directory.open_log(partition(0), &compacted()).unwrap();
    let left = records_in(&log);
    let mut keys: Vec<_> = left.iter().map(|record| record.key.clone()).collect();
    keys.sort();
    keys.dedup();
    assert_eq!(keys.len(), left.len(), "one record of each key");
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 150, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn a_cleaned_log_tells_what_was_written_after_any_end(
        lives in prop::collection::vec((prop::collection::vec(deed(), 0..50), end()), 1..5),
        seed in any::<u64>(),
        dedupe in 2_usize..20,
    ) {
        simulation::run(seed, |simulation| scenario(simulation, lives, seed, dedupe * 24));
    }
}

/// A start cuts a torn end, the first append after it begins another segment, and the power goes again: the new name is
/// there, and the bytes that were cut are too.
#[test]
fn a_segment_begun_after_a_cut_that_the_power_undid_does_not_hide_what_was_cut() {
    let put = || Deed::Append { codec: 0, records: vec![(0, None)] };
    let mut first: Vec<Deed> = (0..6).map(|_| put()).collect();
    first.push(Deed::Roll);
    first.extend((0..5).map(|_| put()));
    first.extend([Deed::Sync, put(), Deed::Clean { steps: 4 }, Deed::Roll, Deed::Truncate { back: 1 }]);
    let lives =
        vec![(first, End::PowerCut { after_calls: 41 }), (vec![put()], End::PowerCut { after_calls: 1 })];
    let seed = 5_090_407_731_760_423_943;
    simulation::run(seed, |simulation| scenario(simulation, lives, seed, 48));
}

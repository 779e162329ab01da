//! Lives that end at any point: what was synced is there, nothing corrupt is served, the order is kept.

use std::collections::BTreeMap;
use std::time::Duration;

use millstream_transport::world::{DiskCall, OpenMode, simulation};
use proptest::prelude::*;

use super::*;
use crate::record;

/// What a log is made to do.
#[derive(Clone, Debug)]
enum Deed {
    Append {
        body: usize,
    },
    Sync,
    Roll,
    Truncate {
        back: i64,
    },
    Reset {
        by: i64,
    },
    Advance {
        by: i64,
    },
    Save,
    Wait,
    /// The next sync of a file or directory fails.
    FailSync,
}

fn deed() -> impl Strategy<Value = Deed> {
    prop_oneof![
        16 => (0_usize..2000).prop_map(|body| Deed::Append { body }),
        8 => Just(Deed::Sync),
        2 => Just(Deed::Roll),
        2 => (1_i64..6).prop_map(|back| Deed::Truncate { back }),
        1 => (-3_i64..4).prop_map(|by| Deed::Reset { by }),
        2 => (1_i64..5).prop_map(|by| Deed::Advance { by }),
        2 => Just(Deed::Save),
        1 => Just(Deed::Wait),
        1 => Just(Deed::FailSync),
    ]
}

/// How a life ends.
#[derive(Clone, Copy, Debug)]
enum End {
    PowerCut { after_calls: u64 },
    Kill,
    Clean,
}

fn end() -> impl Strategy<Value = End> {
    prop_oneof![
        4 => (0_u64..150).prop_map(|after_calls| End::PowerCut { after_calls }),
        1 => Just(End::Kill),
        1 => Just(End::Clean),
    ]
}

type History = BTreeMap<i64, Bytes>;

/// What is known of a log from outside. Batches have one record each.
#[derive(Default)]
struct Known {
    batches: History,
    /// All from here
    start: i64,
    /// up to here was told to be durable.
    durable: i64,
    /// What was there before it was cut on order, and may come back.
    cut: Vec<History>,
    epoch: i32,
}

impl Known {
    fn cut_to(&mut self, end: i64) {
        self.cut.push(self.batches.clone());
        self.batches.split_off(&end);
        self.durable = self.durable.min(end);
        // Histories part where an epoch ends.
        self.epoch += 1;
    }
}

/// Does one deed; false if it was refused.
async fn perform(log: &mut Log, known: &mut Known, disk: &SimulatedDisk, deed: &Deed) -> bool {
    match deed {
        Deed::Append { body } => {
            let end = log.end().0;
            let bytes = batch(end, 1, known.epoch, *body, u8::try_from(end % 251).unwrap());
            known.batches.insert(end, bytes.clone());
            log.append(vec![bytes]).is_ok()
        }
        Deed::Sync => match synced(log).await {
            Ok(durable) => {
                known.durable = known.durable.max(durable.0);
                true
            }
            Err(_) => false,
        },
        Deed::Roll => log.roll().is_ok(),
        Deed::Truncate { back } => {
            let to = (log.end().0 - back).max(log.start().0);
            known.cut_to(to);
            log.truncate_to(Offset(to)).is_ok()
        }
        Deed::Reset { by } => {
            let to = (log.end().0 + by).max(0);
            known.cut_to(0);
            (known.start, known.durable) = (to, to);
            log.reset_to(Offset(to)).is_ok()
        }
        Deed::Advance { by } => {
            let to = (log.start().0 + by).min(log.end().0);
            known.start = known.start.max(to);
            log.advance_start(Offset(to)).is_ok()
        }
        Deed::Save => log.save_producers(&log.end().0.to_le_bytes()).is_ok(),
        Deed::Wait => {
            tokio::time::sleep(Duration::from_secs(2)).await;
            true
        }
        Deed::FailSync => {
            disk.fail(DiskCall::Sync, Path::new(ROOT), 1);
            true
        }
    }
}

/// The log's batches by their offsets.
fn batches_of(log: &Log) -> History {
    let bytes = Bytes::from(read_all(log).unwrap());
    record::batches(&bytes)
        .map(Result::unwrap)
        .map(|batch| (batch.header.base_offset.0, batch.bytes))
        .collect()
}

/// What is found was there together at one time, has no hole, and has all that was durable.
fn check(log: &Log, known: &Known) -> History {
    let found = batches_of(log);
    assert!(log.start().0 <= known.start.max(log.durable_end().0), "the start went on by itself");
    assert!(found.keys().copied().eq(log.start().0..log.end().0), "a hole");
    for offset in known.start..known.durable {
        let (found, durable) = (found.get(&offset), known.batches.get(&offset));
        let header = |bytes: &Bytes| record::BatchHeader::parse(bytes);
        assert!(found == durable, "{offset}: {:?}, not {:?}", found.map(header), durable.map(header));
    }
    let mut histories = std::iter::once(&known.batches).chain(&known.cut);
    let was_there =
        |history: &History| found.iter().all(|(offset, batch)| history.get(offset) == Some(batch));
    assert!(histories.any(was_there), "this log was never there");
    if let Some(snapshot) = log.load_producers().unwrap() {
        assert_eq!(snapshot.state[..], snapshot.offset.0.to_le_bytes());
        assert!(snapshot.offset <= log.end());
    }
    found
}

/// One life of the log's node, on what the last one left.
async fn live(simulation: &Simulation, disk: &SimulatedDisk, known: &mut Known, deeds: &[Deed], end: End) {
    let directory = open(simulation, disk);
    let (mut log, recovery) = open_log(&directory);
    assert!(recovery.damage.is_none(), "{recovery:?}");
    let batches = check(&log, known);
    // A start that came back brings what nobody promised.
    let durable = if log.start().0 < known.start { 0 } else { known.durable };
    let (start, durable) = (log.start().0, durable.max(log.start().0));
    // A power cut may bring back what was cut in this start or an earlier life, as long as that was not synced.
    let mut cut = std::mem::take(&mut known.cut);
    cut.push(std::mem::take(&mut known.batches));
    *known = Known { batches, start, durable, cut, epoch: known.epoch + 1 };
    if deeds.iter().any(|deed| matches!(deed, Deed::FailSync)) {
        // What the last life had durable is known to this one only as far as the table told it: rule 3 cuts the rest.
        assert_eq!(synced(&log).await.unwrap(), log.end());
    }
    if let End::PowerCut { after_calls } = end {
        disk.cut_power_after(after_calls);
    }
    for deed in deeds {
        if !perform(&mut log, known, disk, deed).await {
            break;
        }
    }
    drop(log);
    if matches!(end, End::Clean) {
        // It fails where the directory has; then it was no clean end.
        drop(directory.close_cleanly());
    }
    drop(directory);
    match end {
        End::PowerCut { .. } => disk.cut_power(),
        End::Kill | End::Clean => disk.kill(),
    }
    disk.fail_nothing();
}

async fn scenario(simulation: Simulation, lives: Vec<(Vec<Deed>, End)>, seed: u64) {
    let disk = SimulatedDisk::new(seed);
    let mut known = Known::default();
    for (deeds, end) in &lives {
        live(&simulation, &disk, &mut known, deeds, *end).await;
    }
    let (log, _) = open_log(&open(&simulation, &disk));
    check(&log, &known);
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 150, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn what_was_durable_is_there_after_any_end_and_nothing_else_came_up(
        lives in prop::collection::vec((prop::collection::vec(deed(), 0..40), end()), 1..5),
        seed in any::<u64>(),
    ) {
        simulation::run(seed, |simulation| scenario(simulation, lives, seed));
    }

    #[test]
    fn a_flipped_bit_anywhere_is_never_served(
        bodies in prop::collection::vec(0_usize..1500, 1..30),
        (place, bit) in (any::<prop::sample::Index>(), 0_u8..8),
        file in any::<prop::sample::Index>(),
        clean in any::<bool>(),
    ) {
        simulation::run(1, |simulation| flipped(simulation, bodies, (place, bit), file, clean));
    }
}

async fn flipped(
    simulation: Simulation,
    bodies: Vec<usize>,
    (place, bit): (prop::sample::Index, u8),
    file: prop::sample::Index,
    clean: bool,
) {
    let disk = SimulatedDisk::new(1);
    let directory = open(&simulation, &disk);
    let (mut log, _) = open_log(&directory);
    let batches: Vec<Bytes> = bodies.iter().map(|body| append(&mut log, 1, 0, *body)).collect();
    synced(&log).await.unwrap();
    drop(log);
    if clean {
        directory.close_cleanly().unwrap();
    }
    drop(directory);
    disk.kill();
    let world = World::simulated(&simulation, &disk);
    let file = file.get(&files(&world, Path::new(ROOT), ".log")).clone();
    let length = world.disk.open(&file, OpenMode::Read).unwrap().length().unwrap();
    let at = u64::try_from(place.index(usize::try_from(length).unwrap().max(1))).unwrap();
    disk.flip_bit(&file, at, bit).unwrap();
    let (log, recovery) = open_log(&open(&simulation, &disk));
    let whole = batches.concat();
    let mut is_found = recovery.in_doubt;
    for base in log.start().0..log.end().0 {
        match log.read(Offset(base), log.end(), 2000) {
            Ok(bytes) => {
                let from = batches[..usize::try_from(base).unwrap()].concat().len();
                assert!(bytes[..] == whole[from..from + bytes.len()], "other bytes from {base} on");
            }
            Err(error) => {
                assert!(matches!(error, LogError::Corrupt { .. }), "{error}");
                is_found = true;
            }
        }
    }
    assert!(is_found, "nobody was told");
}

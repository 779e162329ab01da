//! Power cuts at any point: what was synced is there, nothing corrupt is served, the order is kept.

use millstream_transport::world::simulation;
use proptest::prelude::*;

use super::*;

/// What a log is made to do.
#[derive(Clone, Debug)]
enum Deed {
    Append { body: usize },
    Sync,
    Roll,
    Truncate { back: i64 },
    Save,
    Checkpoint,
}

fn deed() -> impl Strategy<Value = Deed> {
    prop_oneof![
        8 => (0_usize..2000).prop_map(|body| Deed::Append { body }),
        4 => Just(Deed::Sync),
        1 => Just(Deed::Roll),
        1 => (1_i64..6).prop_map(|back| Deed::Truncate { back }),
        1 => Just(Deed::Save),
        1 => Just(Deed::Checkpoint),
    ]
}

/// What is known of a log from outside.
#[derive(Default)]
struct Known {
    /// Batches in order; one record each.
    batches: Vec<Bytes>,
    /// So many of them were told to be durable.
    durable: usize,
    /// Batches that were cut on order, which a power cut may bring back.
    cut: Vec<Vec<Bytes>>,
}

/// Does the deeds until the disk is dead. True if all were done.
async fn live(log: &mut Log, known: &mut Known, deeds: &[Deed], epoch: i32) -> bool {
    for deed in deeds {
        let done = match deed {
            Deed::Append { body } => {
                let bytes = batch(log.end().0, 1, epoch, *body, u8::try_from(log.end().0 % 251).unwrap());
                known.batches.push(bytes.clone());
                log.append(vec![bytes]).is_ok()
            }
            Deed::Sync => match synced(log).await {
                Ok(end) => {
                    known.durable = known.durable.max(usize::try_from(end.0).unwrap());
                    true
                }
                Err(_) => false,
            },
            Deed::Roll => log.roll().is_ok(),
            Deed::Truncate { back } => {
                let to = Offset((log.end().0 - back).max(0));
                let kept = usize::try_from(to.0).unwrap();
                known.cut.push(known.batches.clone());
                known.batches.truncate(kept);
                known.durable = known.durable.min(kept);
                log.truncate_to(to).is_ok()
            }
            Deed::Save => log.save_producers(b"state").is_ok(),
            Deed::Checkpoint => {
                log.checkpoint(log.durable_end());
                true
            }
        };
        if !done {
            return false;
        }
    }
    true
}

/// The log after a power cut is a beginning of what was appended, at least as long as what was durable.
fn check(log: &Log, known: &Known) {
    let bytes = read_all(log).unwrap();
    let found: Vec<&[u8]> = {
        let mut at = 0;
        let headers = batches::headers(&bytes).map(Result::unwrap);
        headers
            .map(|header| {
                let from = at;
                at += header.total_bytes();
                &bytes[from..at]
            })
            .collect()
    };
    assert!(found.len() >= known.durable, "{} of {} durable batches", found.len(), known.durable);
    assert_eq!(found[..known.durable], known.batches[..known.durable], "what was durable");
    let histories = std::iter::once(&known.batches).chain(&known.cut);
    let mut histories: Vec<&Vec<Bytes>> = histories.collect();
    for (place, batch) in found.iter().enumerate() {
        histories.retain(|history| history.len() > place);
        assert!(histories.iter().any(|history| history[place] == batch), "batch {place} was never there");
    }
}

async fn scenario(simulation: Simulation, lives: Vec<(Vec<Deed>, u64)>, seed: u64) {
    let disk = SimulatedDisk::new(seed);
    let mut known = Known::default();
    for (epoch, (deeds, calls)) in lives.iter().enumerate() {
        let directory = open(&simulation, &disk);
        let (mut log, recovery) = open_log(&directory);
        check(&log, &known);
        if known.durable > 0 {
            assert!(recovery.damage.is_none(), "{recovery:?}");
        }
        // What the last life left is this one's history.
        known = Known { durable: known.durable, ..Known::default() };
        let bytes = read_all(&log).unwrap();
        let mut at = 0;
        for header in batches::headers(&bytes).map(Result::unwrap) {
            known.batches.push(Bytes::copy_from_slice(&bytes[at..at + header.total_bytes()]));
            at += header.total_bytes();
        }
        disk.cut_power_after(*calls);
        live(&mut log, &mut known, deeds, i32::try_from(epoch).unwrap()).await;
        drop((log, directory));
        disk.cut_power();
    }
    let (log, _) = open_log(&open(&simulation, &disk));
    check(&log, &known);
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 200, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn what_was_durable_is_there_after_any_power_cut_and_nothing_else_came_up(
        lives in prop::collection::vec((prop::collection::vec(deed(), 0..40), 0_u64..120), 1..4),
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
        simulation::run(1, |simulation| async move {
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
            let length = world.disk.open(&file, millstream_transport::world::OpenMode::Read).unwrap().length().unwrap();
            if length > 0 {
                let at = u64::try_from(place.index(usize::try_from(length).unwrap())).unwrap();
                disk.flip_bit(&file, at, bit).unwrap();
            }
            let directory = open(&simulation, &disk);
            let (log, _) = open_log(&directory);
            let whole = batches.concat();
            for base in log.start().0..log.end().0 {
                if let Ok(bytes) = log.read(Offset(base), log.end(), 2000) {
                    let from = batches[..usize::try_from(base).unwrap()].concat().len();
                    assert!(bytes[..] == whole[from..from + bytes.len()], "other bytes from {base} on");
                }
            }
        });
    }
}

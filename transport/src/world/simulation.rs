//! A whole cluster in one thread, from one seed, in virtual time.
//!
//! [`run`] builds an actix system on a tokio runtime of one thread whose time is paused: it moves only when
//! everything waits, straight to the next timer. Two runs of the same program from the same seed are the same
//! run, byte for byte, as long as nothing in it asks the machine for time, randomness, threads or files.

use std::future::Future;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use tokio::runtime::Builder;

use super::Clock;

/// Wall time at the start of every simulation: the first second of 2026, UTC.
const ORIGIN_MS: i64 = 1_767_225_600_000;

/// Longest virtual time of a scenario that sets no limit of its own.
const LIMIT: Duration = Duration::from_secs(3600);

/// One simulated run: the seed and the time that all its nodes share.
#[derive(Clone, Debug)]
pub struct Simulation {
    seed: u64,
    clock: Clock,
    worlds: Arc<AtomicU64>,
}

impl Simulation {
    /// The seed of the run.
    #[must_use]
    pub fn seed(&self) -> u64 {
        self.seed
    }

    /// The time of the run, right at every node that is not given a skew.
    #[must_use]
    pub fn clock(&self) -> &Clock {
        &self.clock
    }

    /// A seed for one part of the run. Parts draw from sources of their own, so that one more draw in one of
    /// them does not change what happens in all others.
    #[must_use]
    pub fn seed_of(&self, part: &str) -> u64 {
        let mut digest = crc_fast::Digest::new(crc_fast::CrcAlgorithm::Crc64Nvme);
        digest.update(&self.seed.to_le_bytes());
        digest.update(part.as_bytes());
        digest.finalize()
    }

    /// A seed for the next world: another one for each.
    pub(super) fn next_seed(&self) -> u64 {
        self.seed_of(&format!("world {}", self.worlds.fetch_add(1, Ordering::Relaxed)))
    }
}

/// Runs a scenario from a seed, for at most one hour of virtual time.
///
/// # Panics
/// See [`run_within`].
pub fn run<Scenario, F>(seed: u64, scenario: Scenario) -> F::Output
where
    Scenario: FnOnce(Simulation) -> F,
    F: Future,
{
    run_within(seed, LIMIT, scenario)
}

/// Runs a scenario from a seed, for at most `limit` of virtual time.
///
/// # Panics
/// If the scenario panics; if it has not ended after `limit`, because then it waits for what never comes; if called
/// inside another tokio runtime.
pub fn run_within<Scenario, F>(seed: u64, limit: Duration, scenario: Scenario) -> F::Output
where
    Scenario: FnOnce(Simulation) -> F,
    F: Future,
{
    let runtime = Builder::new_current_thread()
        .enable_time()
        .start_paused(true)
        .build()
        .expect("a runtime without I/O needs nothing that could fail");
    let system = actix_rt::System::with_tokio_rt(|| runtime);
    let ended = system.block_on(async {
        let simulation = Simulation { seed, clock: Clock::simulated(ORIGIN_MS), worlds: Arc::default() };
        tokio::time::timeout(limit, Box::pin(scenario(simulation))).await
    });
    match ended {
        Ok(output) => output,
        Err(_) => panic!("the simulation with seed {seed} had not ended after {limit:?} of virtual time"),
    }
}

#[cfg(test)]
mod tests {
    use std::io::IoSlice;
    use std::path::Path;

    use super::*;
    use crate::world::{OpenMode, SimulatedDisk, World};

    #[test]
    fn an_hour_of_virtual_time_passes_at_once() {
        let wall_ms = run_within(7, Duration::from_secs(7200), |simulation| async move {
            tokio::time::sleep(Duration::from_secs(3600)).await;
            simulation.clock().wall_ms()
        });
        assert_eq!(wall_ms, ORIGIN_MS + 3_600_000);
    }

    #[test]
    #[should_panic(expected = "seed 7 had not ended")]
    fn a_scenario_that_waits_forever_is_ended() {
        run(7, |_| std::future::pending::<()>());
    }

    #[test]
    fn a_world_repeats_with_its_seed_and_the_next_life_of_a_node_draws_anew() {
        let history = |seed| {
            run(seed, |simulation| async move {
                let disk = SimulatedDisk::new(simulation.seed_of("disk"));
                let mut drawn = Vec::new();
                for _ in 0..2 {
                    let world = World::simulated(&simulation, &disk);
                    let path = Path::new("/drawn");
                    let file = world.disk.open(path, OpenMode::Truncate).unwrap();
                    let uuid = world.random.uuid();
                    let written = world.threads.run_blocking(move || {
                        file.write_at(&[IoSlice::new(uuid.as_bytes())], 0).and_then(|()| file.sync_data())
                    });
                    written.await.unwrap();
                    drawn.push((uuid, world.clock.wall_ms()));
                    disk.kill();
                }
                drawn
            })
        };
        assert_eq!(history(1), history(1));
        assert_ne!(history(1)[0].0, history(1)[1].0);
        assert_ne!(history(1), history(2));
    }

    #[test]
    fn a_simulated_core_is_the_only_thread_and_another_is_refused() {
        run(1, |simulation| async move {
            let world = World::simulated(&simulation, &SimulatedDisk::new(1));
            let here = std::thread::current().id();
            let (sender, receiver) = tokio::sync::oneshot::channel();
            assert!(world.threads.cores()[0].spawn(move || async move {
                let _ = sender.send(std::thread::current().id());
            }));
            assert_eq!(receiver.await.unwrap(), here);
            let refused = world.threads.spawn_thread("sync", || {}).unwrap_err();
            assert_eq!(refused.kind(), std::io::ErrorKind::Unsupported);
            assert!(world.threads.simulated_delay().is_some());
        });
    }

    #[test]
    fn nodes_have_skews_of_their_own() {
        run(1, |simulation| async move {
            let disk = SimulatedDisk::new(1);
            let (wrong, right) = (World::simulated(&simulation, &disk), World::simulated(&simulation, &disk));
            wrong.clock.skew(-5000);
            assert_eq!(wrong.clock.wall_ms() + 5000, right.clock.wall_ms());
        });
    }

    #[test]
    fn parts_have_seeds_of_their_own() {
        let seeds = |seed| run(seed, |run| async move { (run.seed_of("network"), run.seed_of("disk 1")) });
        assert_eq!(seeds(1), seeds(1));
        assert_ne!(seeds(1).0, seeds(1).1);
        assert_ne!(seeds(1).0, seeds(2).0);
    }
}

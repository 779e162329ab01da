//! The doors to everything that is not the program: clock, disk, randomness, threads.
//!
//! Nothing else in the workspace reads the system's clock, its disk or its randomness, so that a
//! whole cluster runs in one thread from one seed (promise 9). Timers are tokio's: a simulation
//! pauses its time.

mod arbiters;
mod clock;
mod disk;
mod random;
pub mod simulation;
mod threads;
pub mod watch;

pub use arbiters::Arbiters;
pub use clock::Clock;
pub use disk::{DirectoryLock, Disk, DiskCall, DiskCounts, DiskFile, OpenMode, RealDisk, SimulatedDisk};
pub use random::Random;
pub use threads::{Core, Threads};

use std::io;
use std::sync::Arc;

use simulation::Simulation;

/// The doors of one node. Cheap to clone.
#[derive(Clone, Debug)]
pub struct World {
    /// Monotonic and wall-clock time.
    pub clock: Clock,
    /// The file system.
    pub disk: Arc<dyn Disk>,
    /// Randomness: seeded in a simulation.
    pub random: Random,
    /// Where work runs.
    pub threads: Threads,
}

impl World {
    /// The machine itself, with so many cores for the data plane. The cores live as long as the [`Arbiters`].
    pub fn real(cores: usize) -> io::Result<(Self, Arbiters)> {
        let arbiters = Arbiters::start(cores)?;
        let world = Self {
            clock: Clock::real(),
            disk: Arc::new(RealDisk::new()),
            random: Random::real(),
            threads: Threads::real(arbiters.cores().to_vec()),
        };
        Ok((world, arbiters))
    }

    /// The world of one life of a simulated node, on its disk. Must be called inside the simulation.
    ///
    /// The next life of the same node gets a new world: its randomness must not repeat that of the life before.
    #[must_use]
    pub fn simulated(simulation: &Simulation, disk: &SimulatedDisk) -> Self {
        let slow = disk.clone();
        let core = Core::new(0, actix_rt::Arbiter::current());
        Self {
            clock: simulation.clock().for_another_node(),
            disk: disk.disk(),
            random: Random::seeded(simulation.next_seed()),
            threads: Threads::simulated(core, Arc::new(move || slow.delay())),
        }
    }
}

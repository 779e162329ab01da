//! The doors to everything that is not the program: clock, disk, randomness, threads.
//!
//! Nothing else in the workspace reads the system's clock, its disk or its randomness, so that a
//! whole cluster runs in one thread from one seed (promise 9). Timers are tokio's: a simulation
//! pauses its time.

mod clock;
mod disk;
mod random;
pub mod simulation;
mod threads;

pub use clock::Clock;
pub use disk::{DirectoryLock, Disk, DiskCall, DiskCounts, DiskFile, OpenMode, RealDisk, SimulatedDisk};
pub use random::Random;
pub use threads::{Core, Threads};

/// The doors of one node. Cheap to clone.
#[derive(Clone, Debug)]
pub struct World {
    /// Monotonic and wall-clock time.
    pub clock: Clock,
    /// The file system.
    pub disk: std::sync::Arc<dyn Disk>,
    /// Randomness: seeded in a simulation.
    pub random: Random,
    /// Where work runs.
    pub threads: Threads,
}

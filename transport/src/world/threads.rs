//! The door to threads: where work runs.

use std::fmt;
use std::future::Future;
use std::io;
use std::sync::Arc;
use std::thread::{self, JoinHandle};
use std::time::Duration;

use actix_rt::ArbiterHandle;

/// One arbiter of the data plane: a thread with an actix system and a single-threaded tokio runtime.
#[derive(Clone, Debug)]
pub struct Core {
    /// Its index, from 0.
    pub index: usize,
    arbiter: ArbiterHandle,
}

impl Core {
    /// The core behind an arbiter.
    #[must_use]
    pub fn new(index: usize, arbiter: ArbiterHandle) -> Self {
        Self { index, arbiter }
    }

    /// Runs `start` on the core's thread, and the future it makes until that ends. False if the core has stopped.
    pub fn spawn<Start, F>(&self, start: Start) -> bool
    where
        Start: FnOnce() -> F + Send + 'static,
        F: Future<Output = ()> + 'static,
    {
        self.arbiter.spawn_fn(move || {
            actix_rt::spawn(start());
        })
    }
}

/// The cores of a node and its way to run what blocks.
#[derive(Clone)]
pub struct Threads {
    cores: Arc<[Core]>,
    blocking: Blocking,
}

#[derive(Clone)]
enum Blocking {
    /// Named threads of the operating system.
    Real,
    /// Inline on the only thread; its completion is told after this virtual time.
    Simulated { delay: Arc<dyn Fn() -> Duration + Send + Sync> },
}

impl Threads {
    /// Real threads over these cores.
    #[must_use]
    pub fn real(cores: Vec<Core>) -> Self {
        Self { cores: cores.into(), blocking: Blocking::Real }
    }

    /// One simulated core: the arbiter that this runs on. What blocks runs inline and completes after `delay()`.
    #[must_use]
    pub fn simulated(core: Core, delay: Arc<dyn Fn() -> Duration + Send + Sync>) -> Self {
        Self { cores: Arc::from([core]), blocking: Blocking::Simulated { delay } }
    }

    /// The cores.
    #[must_use]
    pub fn cores(&self) -> &[Core] {
        &self.cores
    }

    /// How long simulated blocking work takes now; `None` where threads are real.
    ///
    /// Who owns threads of its own (the group sync) asks this first: in a simulation it does the work inline
    /// and hands the completion to a timer of this length.
    #[must_use]
    pub fn simulated_delay(&self) -> Option<Duration> {
        match &self.blocking {
            Blocking::Real => None,
            Blocking::Simulated { delay } => Some(delay()),
        }
    }

    /// Starts a thread of its own for work that blocks or waits all the time. The kernel shows the first 15 bytes of its name.
    ///
    /// Refused in a simulation, which has one thread: ask [`Threads::simulated_delay`] first, and do the work inline.
    pub fn spawn_thread(
        &self,
        name: &str,
        work: impl FnOnce() + Send + 'static,
    ) -> io::Result<JoinHandle<()>> {
        match self.blocking {
            Blocking::Real => thread::Builder::new().name(name.to_owned()).spawn(work).map_err(|error| {
                io::Error::new(error.kind(), format!("thread {name} cannot be started: {error}"))
            }),
            Blocking::Simulated { .. } => Err(io::Error::new(
                io::ErrorKind::Unsupported,
                format!("thread {name} cannot be started: a simulation has one thread"),
            )),
        }
    }

    /// Runs `work`, which may block, off the caller's thread; in a simulation inline, ending after its virtual delay.
    pub async fn run_blocking<T: Send + 'static>(&self, work: impl FnOnce() -> T + Send + 'static) -> T {
        if let Some(delay) = self.simulated_delay() {
            tokio::time::sleep(delay).await;
            return work();
        }
        match tokio::task::spawn_blocking(work).await {
            Ok(value) => value,
            Err(failed) => std::panic::resume_unwind(failed.into_panic()),
        }
    }
}

impl fmt::Debug for Threads {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.debug_struct("Threads").field("cores", &self.cores.len()).finish_non_exhaustive()
    }
}

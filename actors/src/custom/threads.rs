//! The threads on which users' code runs, and the watch on handlers that run long.
//!
//! They are a tokio runtime of their own, begun with the first actor: a node without actors of users has none. In a
//! simulation everything runs on its one thread. The watch runs on the control thread, so that it also sees a handler
//! that blocks its thread.

use std::collections::BTreeMap;
use std::fmt;
use std::future::Future;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use millstream_transport::world::{Clock, World};
use tokio::runtime::{Builder, Handle, Runtime};
use tokio::sync::Notify;
use tokio::task::JoinHandle;
use tokio::time::Instant;

use crate::events::{Events, HandlerRunsLong};

/// How users' code is run.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct UserThreadsSettings {
    /// `actors.threads`: how many; 0 for as many as the machine has.
    pub threads: usize,
    /// `actors.handler.slow.ms`: a handler that runs longer is told.
    pub slow_after: Duration,
}

impl Default for UserThreadsSettings {
    fn default() -> Self {
        Self { threads: 0, slow_after: Duration::from_secs(1) }
    }
}

/// The threads. Cheap to clone; any thread may use it.
#[derive(Clone)]
pub struct UserThreads {
    executor: Arc<Executor>,
    turns: Arc<Turns>,
}

/// Where users' code runs.
enum Executor {
    /// Threads of their own, `None` before the first use.
    Real { threads: usize, runtime: Mutex<Begun> },
    /// The only thread there is.
    Simulated(Handle),
}

enum Begun {
    NotYet,
    Up(Runtime),
    Stopped,
}

impl UserThreads {
    /// Threads for users' code. To be called on the control thread, which watches over them.
    #[must_use]
    pub fn start(world: &World, settings: UserThreadsSettings, events: Events) -> Self {
        let executor = match world.threads.simulated_delay() {
            Some(_) => Executor::Simulated(Handle::current()),
            None => Executor::Real { threads: settings.threads, runtime: Mutex::new(Begun::NotYet) },
        };
        let turns = Arc::new(Turns {
            clock: world.clock.clone(),
            events,
            slow_after: settings.slow_after,
            open: Mutex::default(),
            next: AtomicU64::new(0),
            began: Notify::new(),
        });
        tokio::spawn(watch(Arc::clone(&turns)));
        Self { executor: Arc::new(executor), turns }
    }

    /// Runs this on the users' threads. An error where threads cannot be started, or have been stopped.
    pub fn spawn<F>(&self, work: F) -> std::io::Result<JoinHandle<F::Output>>
    where
        F: Future + Send + 'static,
        F::Output: Send + 'static,
    {
        match &*self.executor {
            Executor::Simulated(handle) => Ok(handle.spawn(work)),
            Executor::Real { threads, runtime } => {
                let mut runtime = lock(runtime);
                if matches!(*runtime, Begun::NotYet) {
                    *runtime = Begun::Up(begin(*threads)?);
                }
                match &*runtime {
                    Begun::Up(up) => Ok(up.spawn(work)),
                    Begun::NotYet | Begun::Stopped => {
                        Err(std::io::Error::other("the node stops: no more actors of users are run"))
                    }
                }
            }
        }
    }

    /// A handler runs from now on, until the turn is dropped. `kind` and `actor` say whose, `message` what it handles.
    #[must_use]
    pub fn turn(&self, kind: &Arc<str>, actor: &Arc<str>, message: &'static str) -> Turn {
        let number = self.turns.next.fetch_add(1, Ordering::Relaxed);
        let running = Running {
            kind: Arc::clone(kind),
            actor: Arc::clone(actor),
            message,
            since: self.turns.clock.now(),
            told: false,
        };
        let mut open = lock(&self.turns.open);
        let is_first = open.is_empty();
        open.insert(number, running);
        drop(open);
        if is_first {
            self.turns.began.notify_one();
        }
        Turn { turns: Arc::clone(&self.turns), number }
    }

    /// Ends the threads as soon as what runs on them waits for something; who blocks one is left behind.
    pub fn stop(&self) {
        if let Executor::Real { runtime, .. } = &*self.executor {
            end(&mut lock(runtime));
        }
    }
}

impl fmt::Debug for UserThreads {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.debug_struct("UserThreads").field("turns", &lock(&self.turns.open).len()).finish()
    }
}

impl Drop for Executor {
    fn drop(&mut self) {
        if let Self::Real { runtime, .. } = self {
            end(&mut lock(runtime));
        }
    }
}

fn begin(threads: usize) -> std::io::Result<Runtime> {
    let mut builder = Builder::new_multi_thread();
    if threads > 0 {
        builder.worker_threads(threads);
    }
    builder.thread_name("users").enable_all().build()
}

/// Never waits for what runs: the caller may be a thread that must not block.
fn end(runtime: &mut Begun) {
    if let Begun::Up(up) = std::mem::replace(runtime, Begun::Stopped) {
        up.shutdown_background();
    }
}

/// A handler that runs.
#[derive(Debug)]
struct Running {
    kind: Arc<str>,
    actor: Arc<str>,
    message: &'static str,
    since: Instant,
    told: bool,
}

/// The handlers that run now.
#[derive(Debug)]
struct Turns {
    clock: Clock,
    events: Events,
    slow_after: Duration,
    open: Mutex<BTreeMap<u64, Running>>,
    next: AtomicU64,
    began: Notify,
}

/// The turn of one handler; over when dropped.
#[derive(Debug)]
pub struct Turn {
    turns: Arc<Turns>,
    number: u64,
}

impl Turn {
    /// How long it has run.
    #[must_use]
    pub fn elapsed(&self) -> Duration {
        let now = self.turns.clock.now();
        let since = lock(&self.turns.open).get(&self.number).map(|running| running.since);
        since.map_or(Duration::ZERO, |since| now.saturating_duration_since(since))
    }
}

impl Drop for Turn {
    fn drop(&mut self) {
        let ended = lock(&self.turns.open).remove(&self.number);
        if let Some(running) = ended.filter(|running| running.told) {
            let took = self.turns.clock.now().saturating_duration_since(running.since);
            self.turns.tell(&running, took, true);
        }
    }
}

impl Turns {
    /// Tells of those that have run for too long by now.
    fn look(&self) {
        let now = self.clock.now();
        let mut open = lock(&self.open);
        for running in open.values_mut().filter(|running| !running.told) {
            let since = now.saturating_duration_since(running.since);
            if since >= self.slow_after {
                running.told = true;
                self.tell(running, since, false);
            }
        }
    }

    fn tell(&self, running: &Running, running_for: Duration, has_ended: bool) {
        self.events.emit(HandlerRunsLong {
            kind: &running.kind,
            actor: &running.actor,
            message: running.message,
            running_for,
            has_ended,
        });
    }
}

/// Looks now and then while anything runs. Ends with its runtime, or when nobody else holds the turns.
async fn watch(turns: Arc<Turns>) {
    let every = (turns.slow_after / 4).max(Duration::from_millis(1));
    while Arc::strong_count(&turns) > 1 {
        if lock(&turns.open).is_empty() {
            turns.began.notified().await;
        }
        tokio::time::sleep(every).await;
        turns.look();
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use metrics::{Counter, Gauge, Histogram, Key, KeyName, Metadata, Recorder, SharedString, Unit};
    use millstream_transport::world::simulation::run;
    use millstream_transport::world::{SimulatedDisk, World};

    use super::*;
    use crate::ids::NodeId;

    /// Counts what is counted, by the name of the series.
    #[derive(Debug, Default)]
    struct Counts(Arc<AtomicU64>);

    impl Recorder for Counts {
        fn describe_counter(&self, _: KeyName, _: Option<Unit>, _: SharedString) {}
        fn describe_gauge(&self, _: KeyName, _: Option<Unit>, _: SharedString) {}
        fn describe_histogram(&self, _: KeyName, _: Option<Unit>, _: SharedString) {}
        fn register_counter(&self, key: &Key, _: &Metadata<'_>) -> Counter {
            assert_eq!(key.name(), "millstream_user_handlers_slow_total");
            Counter::from_arc(Arc::clone(&self.0))
        }
        fn register_gauge(&self, _: &Key, _: &Metadata<'_>) -> Gauge {
            Gauge::noop()
        }
        fn register_histogram(&self, _: &Key, _: &Metadata<'_>) -> Histogram {
            Histogram::noop()
        }
    }

    fn names() -> (Arc<str>, Arc<str>) {
        (Arc::from("clerk"), Arc::from("clerk-1"))
    }

    #[test]
    fn a_handler_that_runs_long_is_told_once() {
        run(1, |simulation| async move {
            let world = World::simulated(&simulation, &SimulatedDisk::new(1));
            let counts = Counts::default();
            let told = Arc::clone(&counts.0);
            let events = Events::new(NodeId(1), Arc::new(counts));
            let threads = UserThreads::start(&world, UserThreadsSettings::default(), events);
            let (kind, actor) = names();
            drop(threads.turn(&kind, &actor, "short"));
            let turn = threads.turn(&kind, &actor, "long");
            tokio::time::sleep(Duration::from_millis(900)).await;
            assert_eq!(told.load(Ordering::Relaxed), 0);
            tokio::time::sleep(Duration::from_millis(600)).await;
            assert_eq!((told.load(Ordering::Relaxed), turn.elapsed().as_millis()), (1, 1500));
            tokio::time::sleep(Duration::from_secs(5)).await;
            drop(turn);
            assert_eq!(told.load(Ordering::Relaxed), 1);
        });
    }

    #[tokio::test]
    async fn users_have_threads_of_their_own_until_they_are_stopped() {
        let (world, arbiters) = World::real(1).unwrap();
        let settings = UserThreadsSettings { threads: 1, ..UserThreadsSettings::default() };
        let threads = UserThreads::start(&world, settings, Events::uncounted());
        let there = threads.spawn(async { std::thread::current().name().map(ToOwned::to_owned) });
        assert_eq!(there.unwrap().await.unwrap().as_deref(), Some("users"));
        threads.stop();
        assert!(threads.spawn(async {}).is_err());
        arbiters.stop();
    }
}

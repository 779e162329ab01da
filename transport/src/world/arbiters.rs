//! The threads of the data plane: one actix arbiter per core, and the system that they belong to.

use std::ffi::CString;
use std::io;
use std::sync::mpsc;
use std::thread::{self, JoinHandle};

use actix_rt::{Arbiter, System, SystemRunner};
use tokio::runtime::{Builder, Runtime};

use super::Core;

/// Owns the threads behind a node's cores. An arbiter needs an actix system, and a system needs a thread that runs it;
/// that is one more, which only waits for the end, so that a node can be started from any thread of any program.
///
/// When it is stopped or dropped, what runs on the cores is dropped where it stands: stop actors before.
#[derive(Debug)]
pub struct Arbiters {
    cores: Vec<Core>,
    system: System,
    thread: Option<JoinHandle<()>>,
}

impl Arbiters {
    /// Starts so many cores, one at least.
    pub fn start(count: usize) -> io::Result<Self> {
        let (sender, receiver) = mpsc::channel();
        let thread = thread::Builder::new()
            .name("data-system".to_owned())
            .spawn(move || run(count.max(1), &sender))?;
        let started = receiver.recv().unwrap_or_else(|_| Err(io::Error::other("it ended at once")));
        let (system, cores) = started
            .map_err(|error| io::Error::new(error.kind(), format!("the cores cannot be started: {error}")))?;
        Ok(Self { cores, system, thread: Some(thread) })
    }

    /// The cores, while this lives.
    #[must_use]
    pub fn cores(&self) -> &[Core] {
        &self.cores
    }

    /// Ends the threads and waits for them; not to be called on one of them.
    pub fn stop(mut self) {
        self.end();
    }

    fn end(&mut self) {
        self.system.stop();
        let Some(thread) = self.thread.take() else { return };
        // On one of its own threads it cannot wait for itself; they end without.
        let own = System::try_current().is_some_and(|current| current.id() == self.system.id());
        if !own {
            let _ = thread.join();
        }
    }
}

impl Drop for Arbiters {
    fn drop(&mut self) {
        self.end();
    }
}

type Started = io::Result<(System, Vec<Core>)>;

/// The life of the system's thread.
fn run(count: usize, started: &mpsc::Sender<Started>) {
    let (runner, arbiters) = match start(count) {
        Ok(all) => all,
        Err(error) => return drop(started.send(Err(error))),
    };
    let cores =
        arbiters.iter().enumerate().map(|(index, arbiter)| Core::new(index, arbiter.handle())).collect();
    if started.send(Ok((System::current(), cores))).is_ok() {
        let _ = runner.run();
    }
    for arbiter in &arbiters {
        arbiter.stop();
    }
    for arbiter in arbiters {
        let _ = arbiter.join();
    }
}

fn start(count: usize) -> io::Result<(SystemRunner, Vec<Arbiter>)> {
    let runtime = new_runtime()?;
    let runner = System::with_tokio_rt(|| runtime);
    let mut arbiters: Vec<Arbiter> = Vec::with_capacity(count);
    for index in 0..count {
        let started = Arbiter::try_with_tokio_rt(move || {
            name_thread(index);
            new_runtime()
        });
        match started {
            Ok(arbiter) => arbiters.push(arbiter),
            Err(error) => {
                for arbiter in arbiters {
                    arbiter.stop();
                    let _ = arbiter.join();
                }
                return Err(error);
            }
        }
    }
    Ok((runner, arbiters))
}

fn new_runtime() -> io::Result<Runtime> {
    Builder::new_current_thread().enable_all().build()
}

/// Gives the calling thread a name that `top -H` shows; actix gives it a longer one that the kernel cuts.
fn name_thread(index: usize) {
    if let Ok(name) = CString::new(format!("data-{index}")) {
        let _ = rustix::thread::set_name(&name);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::world::World;

    fn thread_of(core: &Core) -> (thread::ThreadId, String) {
        let (sender, receiver) = mpsc::channel();
        assert!(core.spawn(move || async move {
            let name = rustix::thread::name().unwrap().into_string().unwrap();
            sender.send((thread::current().id(), name)).unwrap();
        }));
        receiver.recv().unwrap()
    }

    #[test]
    fn each_core_is_a_thread_of_its_own() {
        let (world, arbiters) = World::real(2).unwrap();
        let [first, second] = world.threads.cores() else { panic!("two cores") };
        assert_eq!(thread_of(first), thread_of(first));
        assert_ne!(thread_of(first).0, thread_of(second).0);
        assert_eq!(thread_of(second).1, "data-1");
        arbiters.stop();
    }

    #[test]
    fn several_nodes_have_cores_in_one_process_and_one_that_stops_leaves_the_others() {
        let (one, arbiters_of_one) = World::real(1).unwrap();
        let (two, arbiters_of_two) = World::real(1).unwrap();
        assert_ne!(thread_of(&one.threads.cores()[0]).0, thread_of(&two.threads.cores()[0]).0);
        arbiters_of_one.stop();
        assert!(!one.threads.cores()[0].spawn(|| async {}));
        thread_of(&two.threads.cores()[0]);
        drop(arbiters_of_two);
    }

    #[test]
    fn what_runs_on_a_core_is_dropped_before_the_stop_returns() {
        let (world, arbiters) = World::real(1).unwrap();
        let (sender, receiver) = mpsc::channel::<()>();
        let (started_sender, started) = mpsc::channel();
        world.threads.cores()[0].spawn(move || async move {
            let _kept = sender;
            started_sender.send(()).unwrap();
            std::future::pending::<()>().await;
        });
        started.recv().unwrap();
        arbiters.stop();
        assert_eq!(receiver.try_recv(), Err(mpsc::TryRecvError::Disconnected));
    }

    #[test]
    fn a_panic_on_a_core_ends_only_what_panicked() {
        let (world, arbiters) = World::real(1).unwrap();
        world.threads.cores()[0].spawn(|| async { panic!("on purpose") });
        thread_of(&world.threads.cores()[0]);
        arbiters.stop();
    }

    #[test]
    fn a_real_world_gives_threads_with_names() {
        let (world, arbiters) = World::real(1).unwrap();
        let name = || rustix::thread::name().unwrap().into_string().unwrap();
        let thread = world.threads.spawn_thread("sync-0", move || assert_eq!(name(), "sync-0")).unwrap();
        thread.join().unwrap();
        assert!(world.threads.simulated_delay().is_none());
        arbiters.stop();
    }
}

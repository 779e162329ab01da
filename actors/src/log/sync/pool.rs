//! The threads that sync the files of a round beside the one that leads it. Started when a round first needs them.

use std::collections::VecDeque;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread::JoinHandle;

use millstream_transport::world::Threads;

use super::super::directory::ends::ReplicaEnds;

/// Runs one job over many replicas at once.
pub(super) struct Pool {
    board: Arc<Board>,
    spawner: Threads,
    limit: usize,
    threads: Mutex<Vec<JoinHandle<()>>>,
}

struct Board {
    state: Mutex<State>,
    /// There is an item, or the end has come.
    work: Condvar,
    /// The last busy thread has put its item away.
    quiet: Condvar,
    job: Box<dyn Fn(Arc<ReplicaEnds>) + Send + Sync>,
}

#[derive(Default)]
struct State {
    items: VecDeque<Arc<ReplicaEnds>>,
    busy: usize,
    closing: bool,
}

impl Pool {
    /// Up to `limit` threads besides the caller's.
    pub(super) fn new(
        spawner: Threads,
        limit: usize,
        job: impl Fn(Arc<ReplicaEnds>) + Send + Sync + 'static,
    ) -> Self {
        let board = Board {
            state: Mutex::default(),
            work: Condvar::new(),
            quiet: Condvar::new(),
            job: Box::new(job),
        };
        Self { board: Arc::new(board), spawner, limit, threads: Mutex::default() }
    }

    /// Does the job for all, on the caller's thread too, and returns when all are done.
    pub(super) fn run(&self, mut items: Vec<Arc<ReplicaEnds>>) {
        if items.len() == 1 {
            if let Some(only) = items.pop() {
                (self.board.job)(only);
            }
            return;
        }
        self.start(items.len() - 1);
        let others = items.len() - 1;
        self.board.lock().items.extend(items);
        for _ in 0..others.min(self.limit) {
            self.board.work.notify_one();
        }
        while let Some(item) = self.board.try_next() {
            self.board.perform(item);
        }
        let mut state = self.board.lock();
        while state.busy > 0 {
            state = self.board.quiet.wait(state).unwrap_or_else(PoisonError::into_inner);
        }
    }

    fn start(&self, wanted: usize) {
        let mut threads = self.threads.lock().unwrap_or_else(PoisonError::into_inner);
        while threads.len() < wanted.min(self.limit) {
            let board = Arc::clone(&self.board);
            let name = format!("log-sync-{}", threads.len() + 1);
            let Ok(thread) = self.spawner.spawn_thread(&name, move || board.serve()) else {
                // The system has no more threads to give: fewer do the work.
                return;
            };
            threads.push(thread);
        }
    }
}

impl Drop for Pool {
    fn drop(&mut self) {
        self.board.lock().closing = true;
        self.board.work.notify_all();
        for thread in self.threads.lock().unwrap_or_else(PoisonError::into_inner).drain(..) {
            if thread.thread().id() != std::thread::current().id() {
                // A panic there has been told already.
                let _ = thread.join();
            }
        }
    }
}

impl Board {
    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn try_next(&self) -> Option<Arc<ReplicaEnds>> {
        let mut state = self.lock();
        let item = state.items.pop_front()?;
        state.busy += 1;
        Some(item)
    }

    fn perform(&self, item: Arc<ReplicaEnds>) {
        let done = Done(self);
        (self.job)(item);
        drop(done);
    }

    fn serve(&self) {
        loop {
            while let Some(item) = self.try_next() {
                self.perform(item);
            }
            let state = self.lock();
            if state.closing {
                return;
            }
            if state.items.is_empty() {
                drop(self.work.wait(state).unwrap_or_else(PoisonError::into_inner));
            }
        }
    }
}

/// Counts a busy thread down, whatever happened to its item.
struct Done<'a>(&'a Board);

impl Drop for Done<'_> {
    fn drop(&mut self) {
        let mut state = self.0.lock();
        state.busy -= 1;
        if state.busy == 0 && state.items.is_empty() {
            self.0.quiet.notify_all();
        }
    }
}

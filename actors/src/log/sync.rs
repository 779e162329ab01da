//! Group sync: makes what many logs have appended durable, many files a round. The one door to durability.
//!
//! A sync costs per file, not per byte. A round takes all logs with a pending request, starts the write-back of all
//! their files, and syncs them on up to [`sync_threads`](super::DirectorySettings::sync_threads) threads; requests
//! that come meanwhile make the next round, and appends go on. A log whose turn it is captures its end, syncs its
//! files and the directories with new, renamed or removed names, and only then is that end durable. One sync of a
//! log at a time; a failure is latched before anybody hears of it, and before the next may begin (rule 3).
//!
//! A request is never refused: it joins its log's place in the round. In a simulation a round runs inline when its
//! virtual delay has passed.

mod pool;

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError, Weak};
use std::thread::JoinHandle;
use std::time::Duration;

use millstream_transport::world::Threads;

use self::pool::Pool;
use super::directory::ends::{Asked, ReplicaEnds, Work};
use super::directory::{Shared, TableDone};
use super::error::LogError;
use crate::ids::Offset;

/// Hears up to which offset a log is durable. Runs on a sync thread, or before the call that asked returns; it must
/// not block.
pub type SyncDone = Box<dyn FnOnce(Result<Offset, LogError>) + Send>;

/// Syncs the logs of one directory.
#[derive(Debug)]
pub struct Syncer {
    shared: Arc<Shared>,
    threads: Threads,
    line: Arc<Line>,
}

/// The logs that wait for the next round, and the thread that leads the rounds.
#[derive(Debug)]
struct Line {
    queue: Mutex<Queue>,
    wake: Condvar,
    sync_threads: usize,
    /// In a simulation: a timer for the next round, or for the table, is under way.
    round_timer: AtomicBool,
    table_timer: AtomicBool,
}

#[derive(Debug, Default)]
struct Queue {
    pending: Vec<Arc<ReplicaEnds>>,
    leader: Option<JoinHandle<()>>,
    /// Someone wants the table looked after.
    table: bool,
    closing: bool,
}

impl Syncer {
    pub(super) fn new(shared: Arc<Shared>, threads: Threads, sync_threads: usize) -> Self {
        let line = Line {
            queue: Mutex::default(),
            wake: Condvar::new(),
            sync_threads: sync_threads.max(1),
            round_timer: AtomicBool::new(false),
            table_timer: AtomicBool::new(false),
        };
        Self { shared, threads, line: Arc::new(line) }
    }

    /// Syncs what the log has appended by now; `done` hears the durable end. Without `done` it happens in background.
    pub(super) fn request(&self, ends: &Arc<ReplicaEnds>, done: Option<SyncDone>) {
        if self.shared.health.has_failed() {
            if let (Some(done), Err(failed)) = (done, self.shared.health.check()) {
                done(Err(failed));
            }
            return;
        }
        match ends.ask(done) {
            Asked::Durable(Some(done), end) => done(Ok(end)),
            Asked::Durable(None, _) | Asked::Joined => {}
            Asked::Queue => self.enqueue(Arc::clone(ends)),
        }
    }

    /// Syncs the log and waits for it; in a simulation without a delay.
    pub(super) fn sync_now(&self, ends: &Arc<ReplicaEnds>) -> Result<Offset, LogError> {
        let (send, receive) = std::sync::mpsc::channel();
        let done: SyncDone = Box::new(move |result| {
            // The receiver waits below.
            let _ = send.send(result);
        });
        self.request(ends, Some(done));
        if self.threads.simulated_delay().is_some() {
            inline_round(&self.shared, &self.line);
        }
        receive.recv().unwrap_or_else(|_| self.shared.health.check().map(|()| ends.durable_end()))
    }

    /// The table has something new to tell: it is written within a second.
    pub(super) fn table_wanted(&self) {
        if !self.shared.want_table() {
            return;
        }
        if self.threads.simulated_delay().is_none() {
            self.wake_leader(|queue| queue.table = true);
        } else {
            self.start_table_timer();
        }
    }

    /// `done` hears when what the table has to tell now is on disk: within a second or so. Never refused.
    pub(super) fn await_table(&self, done: TableDone) {
        if let Err(failed) = self.shared.health.check() {
            return done(Err(failed));
        }
        self.shared.await_table(done);
        if self.threads.simulated_delay().is_none() {
            self.wake_leader(|queue| queue.table = true);
        } else {
            self.start_table_timer();
        }
    }

    /// In a simulation: looks after the table in a while.
    fn start_table_timer(&self) {
        if self.line.table_timer.swap(true, Ordering::Relaxed) {
            return;
        }
        let line = Arc::downgrade(&self.line);
        let shared = Arc::downgrade(&self.shared);
        after(super::directory::TABLE_EVERY, move || {
            if let (Some(shared), Some(line)) = (shared.upgrade(), line.upgrade()) {
                line.table_timer.store(false, Ordering::Relaxed);
                if shared.is_table_awaited() {
                    // A failure is latched, which is how it is told.
                    let _ = shared.write_table();
                } else {
                    shared.write_table_if_due();
                }
            }
        });
    }

    /// Finishes what is asked for and ends the threads. Further requests are served on their callers' threads.
    pub(super) fn stop(&self) {
        let leader = {
            let mut queue = self.line.lock();
            queue.closing = true;
            queue.leader.take()
        };
        self.line.wake.notify_all();
        // Where the last owner of the directory hears of a sync and lets go of it, a sync thread gets here itself.
        let is_sync_thread = std::thread::current().name().is_some_and(|name| name.starts_with("log-sync"));
        if let (Some(leader), false) = (leader, is_sync_thread) {
            // A panic there has been told already.
            let _ = leader.join();
        }
        inline_round(&self.shared, &self.line);
    }

    fn enqueue(&self, ends: Arc<ReplicaEnds>) {
        let Some(delay) = self.threads.simulated_delay() else {
            self.wake_leader(|queue| queue.pending.push(ends));
            return;
        };
        self.line.lock().pending.push(ends);
        if !self.line.round_timer.swap(true, Ordering::Relaxed) {
            start_inline_round(delay, Arc::downgrade(&self.shared), Arc::downgrade(&self.line));
        }
    }

    /// Changes the queue and sees to it that a thread looks at it.
    fn wake_leader(&self, change: impl FnOnce(&mut Queue)) {
        let mut queue = self.line.lock();
        change(&mut queue);
        if queue.leader.is_none() && !queue.closing {
            let (shared, line) = (Arc::clone(&self.shared), Arc::clone(&self.line));
            let threads = self.threads.clone();
            let started = self.threads.spawn_thread("log-sync", move || lead(&shared, &line, &threads));
            queue.leader = started.ok();
        }
        let served = queue.leader.is_some();
        drop(queue);
        if served {
            self.line.wake.notify_one();
        } else {
            inline_round(&self.shared, &self.line);
        }
    }
}

impl Drop for Syncer {
    fn drop(&mut self) {
        self.stop();
    }
}

impl Line {
    fn lock(&self) -> MutexGuard<'_, Queue> {
        self.queue.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Waits for something to do: the logs of the next round (none if only the table is due). `None` at the end.
    fn next_round(&self, shared: &Shared) -> Option<Vec<Arc<ReplicaEnds>>> {
        let mut queue = self.lock();
        loop {
            if !queue.pending.is_empty() {
                return Some(std::mem::take(&mut queue.pending));
            }
            if queue.closing {
                return None;
            }
            queue.table = false;
            queue = match shared.table_due_in() {
                Some(Duration::ZERO) => return Some(Vec::new()),
                Some(wait) => self.wake.wait_timeout(queue, wait).unwrap_or_else(PoisonError::into_inner).0,
                None => self.wake.wait(queue).unwrap_or_else(PoisonError::into_inner),
            };
        }
    }
}

/// The life of the thread that leads the rounds.
fn lead(shared: &Arc<Shared>, line: &Arc<Line>, threads: &Threads) {
    let workers = {
        let (shared, line) = (Arc::clone(shared), Arc::clone(line));
        Pool::new(threads.clone(), line.sync_threads - 1, move |ends| {
            if sync_one(&shared, &ends) {
                line.lock().pending.push(ends);
            }
        })
    };
    while let Some(round) = line.next_round(shared) {
        if round.len() > 1 {
            start_writeback(&round);
        }
        if !round.is_empty() {
            shared.metrics.sync_rounds.increment(1);
            workers.run(round);
        }
        shared.write_table_if_due();
    }
}

fn start_writeback(round: &[Arc<ReplicaEnds>]) {
    for ends in round {
        for file in ends.unsynced_files() {
            // It promises nothing; what fails here fails again in the sync, which is where it counts.
            let _ = file.start_writeback();
        }
    }
}

/// Syncs one log and tells those who wait. True if it is to be queued again.
fn sync_one(shared: &Shared, ends: &ReplicaEnds) -> bool {
    let work = ends.begin();
    let bytes = work.bytes();
    let result = perform(shared, ends, &work);
    let ended = ends.finish(work, result);
    // Its files are held no longer; there may be more of them open than should be.
    shared.files.trim();
    if ended.result.is_ok() {
        shared.note_synced(bytes);
    }
    for done in ended.waiting {
        let result = ended.result.clone();
        // A panic of the one who hears of it must not take the sync thread from all others.
        let told = std::panic::catch_unwind(std::panic::AssertUnwindSafe(move || done(result)));
        drop(told);
    }
    ended.again
}

pub(super) fn perform(shared: &Shared, ends: &ReplicaEnds, work: &Work) -> Result<(), LogError> {
    if shared.health.has_failed() {
        return shared.health.check();
    }
    let started = shared.clock.now();
    for file in work.files() {
        file.sync_data().map_err(|error| shared.fail("sync a file of", ends.path(), &error))?;
        shared.metrics.synced_files.increment(1);
    }
    if work.names() {
        shared.sync_names(ends)?;
    }
    shared.sync_root_names(work.root_change())?;
    shared.metrics.sync_seconds.record(shared.clock.now().duration_since(started));
    // Another file may have failed meanwhile: then nothing counts any more.
    if shared.health.has_failed() { shared.health.check() } else { Ok(()) }
}

/// Runs rounds on this thread until nothing is pending.
fn inline_round(shared: &Shared, line: &Line) {
    loop {
        let round = std::mem::take(&mut line.lock().pending);
        if round.is_empty() {
            return;
        }
        shared.metrics.sync_rounds.increment(1);
        start_writeback(&round);
        for ends in round {
            if sync_one(shared, &ends) {
                line.lock().pending.push(ends);
            }
        }
    }
}

/// In a simulation: a round after `delay`. Holds nothing alive: a node that is gone syncs no more.
fn start_inline_round(delay: Duration, shared: Weak<Shared>, line: Weak<Line>) {
    after(delay, move || {
        if let (Some(shared), Some(line)) = (shared.upgrade(), line.upgrade()) {
            line.round_timer.store(false, Ordering::Relaxed);
            inline_round(&shared, &line);
            shared.write_table_if_due();
        }
    });
}

/// Runs `then` after a virtual delay; at once where no runtime keeps time.
fn after(delay: Duration, then: impl FnOnce() + Send + 'static) {
    match tokio::runtime::Handle::try_current() {
        Ok(runtime) => {
            runtime.spawn(async move {
                tokio::time::sleep(delay).await;
                then();
            });
        }
        Err(_) => then(),
    }
}

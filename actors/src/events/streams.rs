//! Applications of streams: their tasks, their commits, what makes them begin again.

use std::time::Duration;

use metrics::{Counter, Gauge, Histogram, Label};

use super::{Event, Events};

/// Why all tasks of an application begin again from their last commit. Under exactly once that is an aborted transaction, if
/// they had written anything.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum StreamsBeginAgain {
    /// Something failed.
    Failure,
    /// A record cannot be processed, and had changed something: it is left out this time.
    Poisoned,
}

/// An application of streams begins again from its last commit.
#[derive(Debug)]
pub struct StreamsBegunAgain<'a> {
    /// The application.
    pub application: &'a str,
    /// For which kind of reason.
    pub because: StreamsBeginAgain,
    /// What is wrong, for people.
    pub error: &'a str,
}

impl Event for StreamsBegunAgain<'_> {
    fn tell(&self, events: &Events) {
        let Self { application, because, error } = self;
        let word = match because {
            StreamsBeginAgain::Failure => "failure",
            StreamsBeginAgain::Poisoned => "poisoned",
        };
        let labels = vec![Label::new("application", (*application).to_owned()), Label::new("because", word)];
        events.counter("millstream_streams_restarts_total", labels).increment(1);
        tracing::warn!(node = %events.node(), application, because = word, error, "streams begin again from their last commit");
    }
}

/// The series of an application of streams in this process.
#[derive(Debug)]
pub struct StreamsMetrics {
    tasks: Gauge,
    commit: Histogram,
}

impl StreamsMetrics {
    /// Those of an application.
    #[must_use]
    pub fn of(events: &Events, application: &str) -> Self {
        let labels = || of_application(application);
        Self {
            tasks: events.gauge("millstream_streams_tasks", labels()),
            commit: events.histogram("millstream_streams_commit_seconds", labels()),
        }
    }

    /// So many tasks process records here.
    pub fn tasks(&self, tasks: usize) {
        self.tasks.set(float(u64::try_from(tasks).unwrap_or(u64::MAX)));
    }

    /// What was done is committed, and that took so long.
    pub fn committed(&self, took: Duration) {
        self.commit.record(took.as_secs_f64());
    }
}

impl Drop for StreamsMetrics {
    /// Who runs it now tells its tasks.
    fn drop(&mut self) {
        self.tasks.set(0.0);
    }
}

/// What a task has counted since it began.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct StreamsCounted {
    /// Records processed.
    pub processed: u64,
    /// Records that came too late for a window.
    pub late: u64,
    /// Records left out.
    pub dropped: u64,
}

/// The series of one task.
#[derive(Debug)]
pub struct StreamsTaskMetrics {
    processed: Counter,
    late: Counter,
    dropped: Counter,
    process: Histogram,
    lag: Gauge,
    state: Gauge,
    /// What of it was told.
    told: StreamsCounted,
}

impl StreamsTaskMetrics {
    /// Those of a task of an application.
    #[must_use]
    pub fn of(events: &Events, application: &str, task: &str) -> Self {
        let labels = || labels(application, task);
        Self {
            processed: events.counter("millstream_streams_processed_total", labels()),
            late: events.counter("millstream_streams_late_total", labels()),
            dropped: events.counter("millstream_streams_dropped_total", labels()),
            process: events.histogram("millstream_streams_process_seconds", of_application(application)),
            lag: events.gauge("millstream_streams_lag_records", labels()),
            state: events.gauge("millstream_streams_state_bytes", labels()),
            told: StreamsCounted::default(),
        }
    }

    /// The task has counted so much.
    pub fn counted(&mut self, counted: StreamsCounted) {
        let told = std::mem::replace(&mut self.told, counted);
        self.processed.increment(counted.processed.saturating_sub(told.processed));
        self.late.increment(counted.late.saturating_sub(told.late));
        self.dropped.increment(counted.dropped.saturating_sub(told.dropped));
    }

    /// A record took so long.
    pub fn processed_in(&self, took: Duration) {
        self.process.record(took.as_secs_f64());
    }

    /// So many offsets of what it reads are not processed.
    pub fn lag(&self, records: u64) {
        self.lag.set(float(records));
    }

    /// What its stores take.
    pub fn state(&self, bytes: u64) {
        self.state.set(float(bytes));
    }
}

impl Drop for StreamsTaskMetrics {
    /// Who runs it now tells these.
    fn drop(&mut self) {
        self.lag.set(0.0);
        self.state.set(0.0);
    }
}

/// How far a task's stores are from the end of their changelogs while they are brought there.
#[derive(Debug)]
pub struct StreamsRestoreMetrics {
    left: Gauge,
    restored: Counter,
}

impl StreamsRestoreMetrics {
    /// Those of a task of an application.
    #[must_use]
    pub fn of(events: &Events, application: &str, task: &str) -> Self {
        Self {
            left: events.gauge("millstream_streams_restore_left_records", labels(application, task)),
            restored: events.counter("millstream_streams_restored_total", labels(application, task)),
        }
    }

    /// So many offsets of a changelog are left to be read.
    pub fn left(&self, records: u64) {
        self.left.set(float(records));
    }

    /// So many changes were read.
    pub fn restored(&self, changes: u64) {
        self.restored.increment(changes);
    }
}

impl Drop for StreamsRestoreMetrics {
    /// Whether it came to the end or was given up: nothing is being read any more.
    fn drop(&mut self) {
        self.left.set(0.0);
    }
}

fn of_application(application: &str) -> Vec<Label> {
    vec![Label::new("application", application.to_owned())]
}

fn labels(application: &str, task: &str) -> Vec<Label> {
    let mut labels = of_application(application);
    labels.push(Label::new("task", task.to_owned()));
    labels
}

#[expect(clippy::cast_precision_loss, reason = "a gauge is a float; above 2^53 nobody counts")]
const fn float(count: u64) -> f64 {
    count as f64
}

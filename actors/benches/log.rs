//! Appends to a log and reads of its tail, with an empty log and with one that has much stored: the cost must not grow.
//!
//! `cargo bench -p millstream-actors --bench log`, optionally `-- STORED_MB [DIRECTORY]`: how much is stored before the
//! second half (1,024 MB unless told otherwise). A line a case; the cases take turns.

use std::io::Write;
use std::path::Path;
use std::sync::{Arc, mpsc};

use bytes::{Bytes, BytesMut};
use millstream_actors::events::Events;
use millstream_actors::ids::{LeaderEpoch, Offset, PartitionId, TopicId};
use millstream_actors::log::{Batches, DirectorySettings, Log, LogDirectory};
use millstream_actors::record::{self, BatchBuilder, Compression};
use millstream_actors::topic_config::{FlushPolicy, TopicConfig};
use millstream_transport::world::{Clock, Random, RealDisk, Threads, World};
use tokio::time::Instant;
use uuid::Uuid;

type Failure = Box<dyn std::error::Error>;

const BATCH_BYTES: usize = 64 << 10;
/// Batches of one append: what a loaded replica takes from its mailbox at a time.
const BATCHES: usize = 4;
/// What is appended, and read, in one turn.
const TURN_BYTES: usize = 192 << 20;
const TURNS: usize = 3;
const READ_BYTES: usize = 1 << 20;

fn main() -> Result<(), Failure> {
    // Cargo adds its own flag.
    let arguments: Vec<String> =
        std::env::args().skip(1).filter(|argument| !argument.starts_with("--")).collect();
    let stored_mb: usize = arguments.first().map_or(Ok(1024), |argument| argument.parse())?;
    let temporary = match arguments.get(1) {
        Some(directory) => tempfile::tempdir_in(directory)?,
        None => tempfile::tempdir()?,
    };
    let mut empty = Case::open(&temporary.path().join("empty"))?;
    let mut full = Case::open(&temporary.path().join("full"))?;
    while full.log.bytes() < stored_mb as u64 * 1_000_000 {
        full.append_turn(&mut Vec::new())?;
        full.synced()?;
    }
    for _ in 0..TURNS {
        // Each begins with a fresh log of its own, beside what the other has stored.
        empty.empty()?;
        for case in [&mut empty, &mut full] {
            case.turn()?;
        }
    }
    let mut out = std::io::stdout();
    writeln!(out, "empty log: {}", empty.figures())?;
    writeln!(out, "{stored_mb} MB stored: {}", full.figures())?;
    let ratio = |what: fn(&Case) -> f64| what(&full) / what(&empty);
    let (append, tail, cold) =
        (ratio(|case| case.append.best()), ratio(|case| case.tail.best()), ratio(|case| case.cold.best()));
    writeln!(out, "stored to empty: append {append:.2}, tail read {tail:.2}, read from files {cold:.2}")?;
    Ok(())
}

/// One log, and what was measured.
struct Case {
    log: Log,
    batch: Bytes,
    append: Rates,
    tail: Rates,
    cold: Rates,
}

/// MB/s of each turn, and CPU seconds per GB of all.
#[derive(Default)]
struct Rates {
    turns: Vec<f64>,
    cpu_seconds: f64,
    bytes: f64,
}

impl Rates {
    fn add(&mut self, bytes: usize, seconds: f64, cpu_seconds: f64) {
        let bytes = u32::try_from(bytes).map_or(0.0, f64::from);
        self.turns.push(bytes / 1e6 / seconds);
        self.cpu_seconds += cpu_seconds;
        self.bytes += bytes;
    }

    fn best(&self) -> f64 {
        self.turns.iter().copied().fold(0.0, f64::max)
    }
}

impl std::fmt::Display for Rates {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(formatter, "{:.0} MB/s at {:.2} CPU s/GB", self.best(), self.cpu_seconds / (self.bytes / 1e9))
    }
}

impl Case {
    fn open(root: &Path) -> Result<Self, Failure> {
        let world = World {
            clock: Clock::real(),
            disk: Arc::new(RealDisk::new()),
            random: Random::real(),
            threads: Threads::real(Vec::new()),
        };
        let directory = LogDirectory::open(&world, root, DirectorySettings::default(), Events::uncounted())?;
        let config =
            TopicConfig { flush_policy: FlushPolicy::Os, retention_ms: None, ..TopicConfig::default() };
        let partition = PartitionId { topic: TopicId(Uuid::from_u128(1)), index: 0 };
        let (log, _) = directory.open_log(partition, &config)?;
        let mut builder = BatchBuilder::new(BATCH_BYTES, Compression::NONE);
        let value = vec![7; 1000];
        while builder.used_bytes() + 1100 < BATCH_BYTES {
            builder.push(0, None, Some(&value), &[])?;
        }
        let batch = builder.finish(None);
        Ok(Self { log, batch, append: Rates::default(), tail: Rates::default(), cold: Rates::default() })
    }

    /// Lets go of everything.
    fn empty(&mut self) -> Result<(), Failure> {
        self.synced()?;
        let end = self.log.end();
        self.log.reset_to(end)?;
        self.synced()
    }

    fn turn(&mut self) -> Result<(), Failure> {
        let from = self.log.end();
        let mut buffers = Vec::new();
        let (started, cpu) = (Instant::now(), cpu_seconds()?);
        let building = self.append_turn(&mut buffers)?;
        self.append.add(TURN_BYTES, started.elapsed().as_secs_f64() - building, cpu_seconds()? - cpu);
        self.tail_turn()?;
        self.cold_turn(from)?;
        self.synced()
    }

    /// Appends; gives the seconds that the making of batches took, which is not the log's work.
    fn append_turn(&mut self, buffers: &mut Vec<Bytes>) -> Result<f64, Failure> {
        let mut building = 0.0;
        let per_append = self.batch.len() * BATCHES;
        for _ in 0..TURN_BYTES / per_append {
            let started = Instant::now();
            let mut offset = self.log.end();
            buffers.clear();
            for _ in 0..BATCHES {
                let mut batch = BytesMut::from(&self.batch[..]);
                record::assign(&mut batch, offset, LeaderEpoch(0))?;
                offset = record::BatchHeader::parse(&batch)?.next_offset();
                buffers.push(batch.freeze());
            }
            building += started.elapsed().as_secs_f64();
            self.log.append(std::mem::take(buffers))?;
        }
        Ok(building)
    }

    /// Reads what was appended last, over and over, as readers at the head do.
    fn tail_turn(&mut self) -> Result<(), Failure> {
        let from = Offset(self.log.end().0 - self.log.end().0.min(1000));
        let (started, cpu) = (Instant::now(), cpu_seconds()?);
        let (mut read, mut at) = (0, from);
        while read < TURN_BYTES {
            let Batches::Ready(buffers) = self.log.read_batches(at, self.log.end(), READ_BYTES)? else {
                return Err("the tail is not in memory".into());
            };
            read += buffers.iter().map(Bytes::len).sum::<usize>();
            let last = buffers.last().ok_or("an empty read")?;
            at = next_of(last)?;
            if at >= self.log.end() {
                at = from;
            }
        }
        self.tail.add(read, started.elapsed().as_secs_f64(), cpu_seconds()? - cpu);
        Ok(())
    }

    /// Reads in order from where the turn began, which is no longer in memory.
    fn cold_turn(&mut self, from: Offset) -> Result<(), Failure> {
        let (started, cpu) = (Instant::now(), cpu_seconds()?);
        let (mut read, mut at) = (0, from);
        while let Batches::Cold(cold) = self.log.read_batches(at, self.log.end(), READ_BYTES)? {
            let bytes = cold.run()?;
            read += bytes.len();
            at = next_of(&bytes)?;
        }
        self.cold.add(read, started.elapsed().as_secs_f64(), cpu_seconds()? - cpu);
        Ok(())
    }

    fn synced(&mut self) -> Result<(), Failure> {
        let (send, receive) = mpsc::channel();
        self.log.sync(Box::new(move |result| {
            // The receiver waits below.
            let _ = send.send(result);
        }));
        receive.recv()??;
        Ok(())
    }

    fn figures(&self) -> String {
        format!("append {}; tail read {}; read from files {}", self.append, self.tail, self.cold)
    }
}

/// The offset behind whole batches.
fn next_of(bytes: &Bytes) -> Result<Offset, Failure> {
    let last = record::batches(bytes).last().ok_or("an empty read")??;
    Ok(last.header.next_offset())
}

/// CPU time of this process, user and system, from `/proc/self/stat` (hundredths of a second).
fn cpu_seconds() -> Result<f64, Failure> {
    let stat = std::fs::read_to_string("/proc/self/stat")?;
    let (_, fields) = stat.rsplit_once(')').ok_or("unreadable /proc/self/stat")?;
    let ticks = fields.split_whitespace().skip(11).take(2).map(str::parse::<f64>).sum::<Result<f64, _>>()?;
    Ok(ticks / 100.0)
}

//! Group sync against one `fdatasync` per file in turn: batches of 4 KiB, one in flight for each of 1, 10, 100 and 1,000
//! partitions; the next is appended when the one before is durable.
//!
//! `cargo bench -p millstream-actors --bench group_sync`, optionally `-- DIRECTORY` to choose the disk. About 12 seconds;
//! a line a number of partitions. Both ways take turns, so that a noisy disk is noisy for both.

use std::io::{IoSlice, Write};
use std::path::Path;
use std::sync::{Arc, mpsc};
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use millstream_actors::events::Events;
use millstream_actors::ids::{LeaderEpoch, Offset, PartitionId, TopicId};
use millstream_actors::log::{DirectorySettings, Log, LogDirectory};
use millstream_actors::record::{self, BatchBuilder, Compression};
use millstream_actors::topic_config::TopicConfig;
use millstream_transport::world::{Clock, DiskFile, OpenMode, Random, RealDisk, Threads, World};
use tokio::time::Instant;
use uuid::Uuid;

type Failure = Box<dyn std::error::Error>;

const PARTITIONS: [usize; 4] = [1, 10, 100, 1000];
const BATCH_BYTES: usize = 4096;
/// How long one way runs before it is the other's turn, and how often.
const TURN: Duration = Duration::from_millis(450);
const TURNS: u32 = 3;

fn main() -> Result<(), Failure> {
    // Cargo adds its own flag.
    let chosen = std::env::args().skip(1).find(|argument| !argument.starts_with("--"));
    let temporary = match &chosen {
        Some(directory) => tempfile::tempdir_in(directory)?,
        None => tempfile::tempdir()?,
    };
    let world = World {
        clock: Clock::real(),
        disk: Arc::new(RealDisk::new()),
        random: Random::real(),
        threads: Threads::real(Vec::new()),
    };
    let mut out = std::io::stdout();
    for partitions in PARTITIONS {
        let root = temporary.path().join(partitions.to_string());
        let line = measure(&world, &root, partitions)?;
        writeln!(out, "{line}")?;
        std::fs::remove_dir_all(&root)?;
    }
    Ok(())
}

fn measure(world: &World, root: &Path, partitions: usize) -> Result<String, Failure> {
    let mut logs = Logs::open(world, &root.join("logs"), partitions)?;
    let mut files = Files::open(world, &root.join("files"), partitions)?;
    let (mut grouped, mut in_turn) = (Figures::default(), Figures::default());
    for _ in 0..TURNS {
        logs.turn(&mut grouped)?;
        files.turn(&mut in_turn)?;
    }
    let ratio = grouped.per_second() / in_turn.per_second();
    Ok(format!("{partitions:>5} partitions: group sync {grouped}; one by one {in_turn}; ratio {ratio:.1}"))
}

/// What one way did.
#[derive(Default)]
struct Figures {
    batches: u32,
    seconds: f64,
    cpu_seconds: f64,
    waits: Vec<Duration>,
}

impl Figures {
    fn per_second(&self) -> f64 {
        f64::from(self.batches) / self.seconds
    }
}

impl std::fmt::Display for Figures {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let mut waits = self.waits.clone();
        waits.sort_unstable();
        let at =
            |percent: usize| waits.get(waits.len() * percent / 100).map_or(0.0, Duration::as_secs_f64) * 1e3;
        let cpu_us = self.cpu_seconds * 1e6 / f64::from(self.batches.max(1));
        write!(
            formatter,
            "{:.0} batches/s, p50 / p99 {:.2} / {:.2} ms, {cpu_us:.0} us CPU a batch",
            self.per_second(),
            at(50),
            at(99)
        )
    }
}

/// Logs of one directory, synced by it.
struct Logs {
    logs: Vec<Log>,
    batch: Bytes,
    send: mpsc::Sender<usize>,
    receive: mpsc::Receiver<usize>,
}

impl Logs {
    fn open(world: &World, root: &Path, partitions: usize) -> Result<Self, Failure> {
        let directory = LogDirectory::open(world, root, DirectorySettings::default(), Events::uncounted())?;
        let topic = TopicId(Uuid::from_u128(1));
        let mut logs = Vec::new();
        for index in 0..i32::try_from(partitions)? {
            logs.push(directory.open_log(PartitionId { topic, index }, &TopicConfig::default())?.0);
        }
        let mut builder = BatchBuilder::new(BATCH_BYTES, Compression::NONE);
        let value =
            vec![7; BATCH_BYTES - builder.used_bytes() - record::record_bytes(None, Some(&[]), &[]) - 1];
        builder.push(0, None, Some(&value), &[])?;
        let (send, receive) = mpsc::channel();
        let mut logs = Self { logs, batch: builder.finish(None), send, receive };
        // The first sync of a log also makes its names durable.
        for place in 0..partitions {
            logs.append(place)?;
        }
        for _ in 0..partitions {
            logs.receive.recv()?;
        }
        Ok(logs)
    }

    fn append(&mut self, place: usize) -> Result<(), Failure> {
        let log = self.logs.get_mut(place).ok_or("no such log")?;
        let mut batch = BytesMut::from(&self.batch[..]);
        record::assign(&mut batch, log.end(), LeaderEpoch(0))?;
        log.append(vec![batch.freeze()])?;
        let send = self.send.clone();
        log.sync(Box::new(move |synced: Result<Offset, _>| {
            if synced.is_ok() {
                // The receiver ends with the benchmark.
                let _ = send.send(place);
            }
        }));
        Ok(())
    }

    fn turn(&mut self, figures: &mut Figures) -> Result<(), Failure> {
        let (started, cpu) = (Instant::now(), cpu_seconds()?);
        let mut since = vec![started; self.logs.len()];
        for place in 0..self.logs.len() {
            self.append(place)?;
        }
        let mut flying = self.logs.len();
        while flying > 0 {
            let place = self.receive.recv()?;
            let now = Instant::now();
            if let Some(since) = since.get_mut(place) {
                figures.waits.push(now - std::mem::replace(since, now));
            }
            figures.batches += 1;
            flying -= 1;
            if now - started < TURN {
                self.append(place)?;
                flying += 1;
            }
        }
        figures.seconds += started.elapsed().as_secs_f64();
        figures.cpu_seconds += cpu_seconds()? - cpu;
        Ok(())
    }
}

/// The same work without logs: preallocated files, each written and synced in its turn.
struct Files {
    files: Vec<Arc<dyn DiskFile>>,
    written: u64,
}

impl Files {
    fn open(world: &World, root: &Path, partitions: usize) -> Result<Self, Failure> {
        world.disk.create_directories(root)?;
        let mut files = Vec::new();
        for index in 0..partitions {
            let file = world.disk.open(&root.join(index.to_string()), OpenMode::CreateNew)?;
            file.preallocate(0, 16 << 20)?;
            file.write_at(&[IoSlice::new(&[7; BATCH_BYTES])], 0)?;
            file.sync_data()?;
            files.push(file);
        }
        Ok(Self { files, written: BATCH_BYTES as u64 })
    }

    fn turn(&mut self, figures: &mut Figures) -> Result<(), Failure> {
        let (started, cpu) = (Instant::now(), cpu_seconds()?);
        while started.elapsed() < TURN {
            let round = Instant::now();
            for file in &self.files {
                file.write_at(&[IoSlice::new(&[7; BATCH_BYTES])], self.written)?;
                file.sync_data()?;
                figures.batches += 1;
            }
            self.written += BATCH_BYTES as u64;
            // A producer's next batch waits for all others' syncs.
            figures.waits.push(round.elapsed());
        }
        figures.seconds += started.elapsed().as_secs_f64();
        figures.cpu_seconds += cpu_seconds()? - cpu;
        Ok(())
    }
}

/// CPU time of this process, user and system, from `/proc/self/stat` (hundredths of a second).
fn cpu_seconds() -> Result<f64, Failure> {
    let stat = std::fs::read_to_string("/proc/self/stat")?;
    let (_, fields) = stat.rsplit_once(')').ok_or("unreadable /proc/self/stat")?;
    let ticks = fields.split_whitespace().skip(11).take(2).map(str::parse::<f64>).sum::<Result<f64, _>>()?;
    Ok(ticks / 100.0)
}

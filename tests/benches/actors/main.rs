//! What actors of users cost beside what carries them, all in one run, on this machine: a bare QUIC round trip, a named actor,
//! entities that read and write, a synced produce of the same size.
//!
//! `cargo bench -p millstream-tests --bench actors`, optionally `-- --seconds N --bytes N --in-flight N`. Prints a table
//! with ratios; nodes are in this very process, so that CPU time is that of nodes and askers together.

mod cluster;
mod quic;
mod users;

use std::io::Write;
use std::time::Duration;

use millstream_tests::Outcome;
use tokio::time::Instant;

use cluster::Cluster;

/// How it is measured.
#[derive(Clone, Copy, Debug)]
struct How {
    /// How long each case.
    time: Duration,
    /// Bytes of a message, a record, a state.
    bytes: usize,
    /// Asks under way at once, where throughput is measured.
    in_flight: usize,
}

/// Round trips, one after the other.
#[derive(Clone, Debug)]
struct Trips(Vec<Duration>);

impl Trips {
    /// Times what `trip` does, again and again, after as much to warm up as a tenth of it.
    async fn of(time: Duration, mut trip: impl AsyncFnMut() -> Outcome) -> Outcome<Self> {
        let warm = Instant::now() + time / 10;
        while Instant::now() < warm {
            trip().await?;
        }
        let (mut trips, until) = (Vec::new(), Instant::now() + time);
        while Instant::now() < until {
            let began = Instant::now();
            trip().await?;
            trips.push(began.elapsed());
        }
        trips.sort_unstable();
        Ok(Self(trips))
    }

    /// The time that so many of a thousand did not exceed.
    fn per_mille(&self, per_mille: usize) -> Duration {
        let place = (self.0.len() * per_mille).div_ceil(1000).saturating_sub(1);
        self.0.get(place).copied().unwrap_or_default()
    }
}

/// How much was done in how much time.
#[derive(Clone, Copy, Debug)]
struct Rate {
    per_second: f64,
    /// Per second of CPU time of this whole process.
    per_cpu_second: f64,
}

fn main() -> Outcome {
    let how = How {
        time: Duration::from_secs(argument("--seconds").unwrap_or(5)),
        bytes: usize::try_from(argument("--bytes").unwrap_or(100))?,
        in_flight: usize::try_from(argument("--in-flight").unwrap_or(256))?,
    };
    tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build()?.block_on(run(how))
}

fn argument(name: &str) -> Option<u64> {
    std::env::args().skip_while(|argument| argument != name).nth(1)?.parse().ok()
}

async fn run(how: How) -> Outcome {
    say(&format!(
        "messages of {} bytes, {:?} a case, {} under way for rates\n",
        how.bytes, how.time, how.in_flight
    ))?;
    say("| round trip, one at a time | p50 | p99 | p50 beside |\n|---|---|---|---|")?;
    let bare = quic::round_trips(how).await?;
    row("bare QUIC, one stream", &bare, None)?;
    let three = Cluster::start(3).await?;
    let named = three.ask_named(how).await?;
    row("`ask` of a named actor on another node", &named, Some(("bare QUIC", &bare)))?;
    let reading = three.ask_entity(how, false).await?;
    row("`ask` of an entity on another node that only reads", &reading, Some(("bare QUIC", &bare)))?;
    let produce = three.produce(how).await?;
    row("produce, 3 replicas, acks=all, synced, leader on another node", &produce, None)?;
    let writing = three.ask_entity(how, true).await?;
    row("`ask` of an entity on another node that writes, 3 replicas", &writing, Some(("produce", &produce)))?;
    let produced_by_three = three.produce_rate(how).await?;
    let turned_by_three = three.turn_rate(how, true).await?;
    three.stop()?;
    let one = Cluster::start(1).await?;
    let produce = one.produce(how).await?;
    row("produce, one node, acks=all, synced", &produce, None)?;
    let writing = one.ask_entity(how, true).await?;
    row("`ask` of an entity that writes, one node", &writing, Some(("produce", &produce)))?;
    say("\n| rate | per second | per CPU second | beside |\n|---|---|---|---|")?;
    rate("`tell` to local entities without persistence, one node", one.turn_rate(how, false).await?, None)?;
    let produced = one.produce_rate(how).await?;
    rate("produce, one node, acks=all, synced", produced, None)?;
    rate("persisted turns, one node", one.turn_rate(how, true).await?, Some(("produce", produced)))?;
    rate("produce, 3 replicas", produced_by_three, None)?;
    rate("persisted turns, 3 replicas", turned_by_three, Some(("produce", produced_by_three)))?;
    one.stop()
}

fn row(what: &str, trips: &Trips, beside: Option<(&str, &Trips)>) -> Outcome {
    let (p50, p99) = (trips.per_mille(500), trips.per_mille(990));
    let ratio = beside.map(|(name, other)| {
        format!("{:.2} × {name}", p50.as_secs_f64() / other.per_mille(500).as_secs_f64().max(f64::EPSILON))
    });
    say(&format!("| {what} | {p50:.0?} | {p99:.0?} | {} |", ratio.unwrap_or_default()))
}

fn rate(what: &str, rate: Rate, beside: Option<(&str, Rate)>) -> Outcome {
    let ratio = beside.map(|(name, other)| format!("{:.2} of {name}", rate.per_second / other.per_second));
    let (second, cpu) = (rate.per_second, rate.per_cpu_second);
    say(&format!("| {what} | {second:.0} | {cpu:.0} | {} |", ratio.unwrap_or_default()))
}

fn say(line: &str) -> Outcome {
    Ok(writeln!(std::io::stdout(), "{line}")?)
}

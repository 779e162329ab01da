//! What a bench sends, for how long, and within which bounds.

use std::time::Duration;

use clap::parser::ValueSource;
use clap::{Arg, ArgAction, ArgMatches, Command, value_parser};
use millstream_actors::producer::ProducerSettings;

use super::super::produce::{acks, acks_argument, compression, compression_argument};
use super::super::quantity;
use super::cpu::CpuOf;

/// No run is longer, whatever else is said.
const LONGEST: Duration = Duration::from_secs(3_600);

/// A load.
#[derive(Clone, Debug)]
pub(super) struct Load {
    pub(super) size: usize,
    /// Records a second of all producers together.
    pub(super) rate: Option<u64>,
    pub(super) producers: usize,
    /// The time that counts.
    pub(super) duration: Duration,
    /// The time before it.
    pub(super) warmup: Duration,
    /// Records of all producers together, at most.
    pub(super) records: u64,
    pub(super) settings: ProducerSettings,
    pub(super) acks: String,
    pub(super) cpu: CpuOf,
}

/// Adds what says how much is sent.
pub(super) fn arguments(command: Command) -> Command {
    command
        .arg(
            Arg::new("size")
                .long("size")
                .value_name("BYTES")
                .value_parser(quantity::bytes)
                .default_value("1024")
                .help("Bytes of a record's value; records have no key"),
        )
        .arg(
            Arg::new("bytes")
                .long("bytes")
                .value_name("BYTES")
                .value_parser(quantity::bytes)
                .help("End after so much (10GB), also before the time is over"),
        )
        .arg(
            Arg::new("rate")
                .long("rate")
                .value_name("N")
                .value_parser(value_parser!(u64).range(1..=100_000_000))
                .help("At most so many records a second, all producers together"),
        )
        .arg(
            Arg::new("producers")
                .long("producers")
                .value_name("N")
                .value_parser(value_parser!(u16).range(1..=64))
                .default_value("1")
                .help("Producers, each with threads and connections of its own"),
        )
        .arg(acks_argument())
        .arg(compression_argument())
        .args(times())
        .args(tuning())
}

fn times() -> [Arg; 3] {
    [
        time("duration", "10s", "How long it counts; an hour at most, and the default with --bytes"),
        time("warmup", "2s", "How long it runs before it counts; with --bytes not at all unless said"),
        Arg::new("cpu-of")
            .long("cpu-of")
            .value_name("PID,...")
            .value_delimiter(',')
            .action(ArgAction::Append)
            .value_parser(value_parser!(u32))
            .help("Processes of nodes on this machine, whose CPU time is told too"),
    ]
}

fn tuning() -> [Arg; 3] {
    [
        time("linger", "0", "The producer's linger.ms"),
        bytes("batch", "128KiB", "The producer's batch.size"),
        bytes(
            "buffer",
            "32MiB",
            "The producer's buffer.memory: records under way, and so the latency at full speed",
        ),
    ]
}

fn time(long: &'static str, default: &'static str, help: &'static str) -> Arg {
    let argument = Arg::new(long).long(long).value_name("TIME").value_parser(quantity::duration);
    argument.default_value(default).help(help)
}

fn bytes(long: &'static str, default: &'static str, help: &'static str) -> Arg {
    let argument = Arg::new(long).long(long).value_name("BYTES").value_parser(quantity::bytes);
    argument.default_value(default).help(help)
}

impl Load {
    pub(super) fn read(matches: &ArgMatches) -> Result<Self, String> {
        let said = |id: &str| matches.value_source(id) != Some(ValueSource::DefaultValue);
        let time = |id: &str| matches.get_one::<Duration>(id).copied().unwrap_or_default();
        let amount = |id: &str| matches.get_one::<u64>(id).copied();
        let size = amount("size").and_then(|size| usize::try_from(size).ok());
        let size = size.filter(|size| (1..=8 << 20).contains(size));
        let size = size.ok_or("--size: must be from 1 to 8MiB")?;
        let limit = amount("bytes");
        let (mut duration, mut warmup) = (time("duration"), time("warmup"));
        if limit.is_some() {
            duration = if said("duration") { duration } else { LONGEST };
            warmup = if said("warmup") { warmup } else { Duration::ZERO };
        }
        if duration.is_zero() || duration + warmup > LONGEST * 2 {
            return Err(
                "--duration: must be more than nothing, and with --warmup two hours at most".to_owned()
            );
        }
        let usize_of = |id: &str| amount(id).and_then(|bytes| usize::try_from(bytes).ok()).unwrap_or(0);
        let settings = ProducerSettings {
            acks: acks(matches),
            compression: compression(matches),
            linger: time("linger"),
            batch_bytes: usize_of("batch"),
            buffer_bytes: usize_of("buffer"),
            ..ProducerSettings::default()
        };
        settings.check().map_err(|error| error.to_string())?;
        Ok(Self {
            size,
            rate: amount("rate"),
            producers: usize::from(matches.get_one::<u16>("producers").copied().unwrap_or(1)),
            duration,
            warmup,
            records: limit.map_or(u64::MAX, |bytes| bytes.div_ceil(size.try_into().unwrap_or(1))),
            settings,
            acks: matches.get_one::<String>("acks").cloned().unwrap_or_default(),
            cpu: CpuOf::processes(matches.get_many("cpu-of").into_iter().flatten().copied().collect())?,
        })
    }

    /// Of which records the time to the acknowledgement is taken: all where they are few, about one a batch where they
    /// are many.
    pub(super) fn sampled_every(&self) -> u64 {
        const FEW: u64 = 20_000;
        match self.rate {
            Some(rate) if rate <= FEW => 1,
            _ => u64::try_from(self.settings.batch_bytes / self.size).unwrap_or(1).max(1),
        }
    }

    /// The share of one producer of a number for all; the first ones get what is left over.
    pub(super) fn share(&self, of_all: u64, producer: usize) -> u64 {
        if of_all == u64::MAX {
            return of_all;
        }
        let (producers, producer) = (self.producers.max(1), u64::try_from(producer).unwrap_or(0));
        let producers = u64::try_from(producers).unwrap_or(1);
        of_all / producers + u64::from(producer < of_all % producers)
    }
}

#[cfg(test)]
mod tests {
    use millstream_actors::partition::message::Acks;

    use super::*;

    fn load(line: &str) -> Result<Load, String> {
        let matches = arguments(Command::new("bench")).try_get_matches_from(line.split(' '));
        Load::read(&matches.map_err(|error| error.to_string())?)
    }

    #[test]
    fn a_load_ends_after_a_time_or_an_amount() {
        let by_time = load("bench --duration 5s").unwrap();
        assert_eq!((by_time.duration, by_time.warmup), (Duration::from_secs(5), Duration::from_secs(2)));
        assert_eq!(by_time.records, u64::MAX);
        let by_amount = load("bench --bytes 1MB --size 300").unwrap();
        assert_eq!((by_amount.duration, by_amount.warmup), (LONGEST, Duration::ZERO));
        assert_eq!(by_amount.records, 3_334);
        let by_both = load("bench --bytes 1MB --duration 5s --warmup 1s").unwrap();
        assert_eq!((by_both.duration, by_both.warmup), (Duration::from_secs(5), Duration::from_secs(1)));
    }

    #[test]
    fn the_shares_of_all_producers_are_the_whole() {
        let load = load("bench --producers 3").unwrap();
        let shares: Vec<u64> = (0..3).map(|producer| load.share(100, producer)).collect();
        assert_eq!(shares, [34, 33, 33]);
        assert_eq!(load.share(u64::MAX, 1), u64::MAX);
    }

    #[test]
    fn all_latencies_are_taken_at_a_low_rate_and_one_a_batch_at_full_speed() {
        assert_eq!(load("bench --rate 5000").unwrap().sampled_every(), 1);
        assert_eq!(load("bench").unwrap().sampled_every(), 128);
        assert_eq!(load("bench --size 8MiB --batch 1KiB").unwrap().sampled_every(), 1);
    }

    #[test]
    fn what_the_producer_cannot_do_is_refused_by_name() {
        assert!(load("bench --buffer 1MiB").unwrap_err().contains("buffer.memory"));
        assert!(load("bench --size 0").unwrap_err().contains("--size"));
        assert!(load("bench --duration 0").unwrap_err().contains("--duration"));
        assert!(load("bench --producers 65").unwrap_err().contains("1..=64"));
        assert_eq!(load("bench --acks 1").unwrap().settings.acks, Acks::Leader);
    }
}

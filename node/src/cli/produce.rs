//! `millstream produce`: sends the lines of standard input, and tells which were not delivered.

use std::io::Write as _;
use std::time::Duration;

use clap::{Arg, ArgMatches, Command, builder::PossibleValuesParser, value_parser};
use millstream_actors::client::Client;
use millstream_actors::partition::message::Acks;
use millstream_actors::producer::{ProduceError, Producer, ProducerRecord, ProducerSettings};
use millstream_actors::record::{Codec, Compression};
use tokio::time::Instant;

use super::connection::{arguments, with_client};
use super::deliveries::Deliveries;
use super::lines::Lines;
use super::pace::Pace;
use super::signals::Signals;
use super::{Failure, progress, quantity};

/// How long the end waits for what is under way.
const END_WITHIN: Duration = Duration::from_secs(130);

pub(super) fn command() -> Command {
    arguments(Command::new("produce"))
        .about("Send each line of standard input as a record; tells failed ones, and a summary at the end")
        .arg(Arg::new("topic").value_name("TOPIC").required(true).help("Where to; the topic must exist"))
        .arg(
            Arg::new("key-separator").long("key-separator").value_name("TEXT").help(
                "What divides a line into key and value, at its first place; lines without have no key",
            ),
        )
        .arg(
            Arg::new("partition")
                .long("partition")
                .value_name("N")
                .value_parser(value_parser!(i32).range(0..))
                .help("Only to this partition; without it by key, or by turns without a key"),
        )
        .arg(acks_argument())
        .arg(compression_argument())
        .arg(
            Arg::new("linger")
                .long("linger")
                .value_name("TIME")
                .value_parser(quantity::duration)
                .default_value("0")
                .help("How long a batch waits for more lines"),
        )
        .arg(
            Arg::new("rate")
                .long("rate")
                .value_name("N")
                .value_parser(value_parser!(u64).range(1..))
                .help("At most so many lines a second"),
        )
        .arg(
            Arg::new("count")
                .long("count")
                .value_name("N")
                .value_parser(value_parser!(u64))
                .help("Only the first so many lines"),
        )
}

/// `--acks`.
pub(super) fn acks_argument() -> Arg {
    Arg::new("acks")
        .long("acks")
        .value_name("WHO")
        .value_parser(PossibleValuesParser::new(["0", "1", "all"]))
        .default_value("all")
        .help("Who must have a record before it counts: nobody, its leader, all in-sync replicas")
}

/// `--compression`.
pub(super) fn compression_argument() -> Arg {
    Arg::new("compression")
        .long("compression")
        .value_name("CODEC")
        .value_parser(PossibleValuesParser::new(Codec::ALL.map(Codec::name)))
        .default_value("none")
        .help("How batches are compressed")
}

/// What `--acks` says.
pub(super) fn acks(matches: &ArgMatches) -> Acks {
    match matches.get_one::<String>("acks").map(String::as_str) {
        Some("0") => Acks::None,
        Some("1") => Acks::Leader,
        _ => Acks::All,
    }
}

/// What `--compression` says.
pub(super) fn compression(matches: &ArgMatches) -> Compression {
    let name = matches.get_one::<String>("compression").map_or("none", String::as_str);
    Compression::of(name.parse().unwrap_or_default())
}

#[derive(Debug)]
struct Options {
    topic: String,
    separator: Option<String>,
    partition: Option<i32>,
    rate: Option<u64>,
    count: u64,
}

impl Options {
    fn read(matches: &ArgMatches) -> Self {
        Self {
            topic: matches.get_one::<String>("topic").cloned().unwrap_or_default(),
            separator: matches.get_one::<String>("key-separator").cloned().filter(|text| !text.is_empty()),
            partition: matches.get_one("partition").copied(),
            rate: matches.get_one("rate").copied(),
            count: matches.get_one("count").copied().unwrap_or(u64::MAX),
        }
    }

    fn record<'a>(&'a self, line: &'a [u8]) -> ProducerRecord<'a> {
        let (key, value) = divide(line, self.separator.as_deref());
        ProducerRecord {
            key,
            value: Some(value),
            partition: self.partition,
            ..ProducerRecord::to(&self.topic)
        }
    }
}

/// Key and value of a line.
fn divide<'a>(line: &'a [u8], separator: Option<&str>) -> (Option<&'a [u8]>, &'a [u8]) {
    let Some(separator) = separator.map(str::as_bytes) else { return (None, line) };
    let place = line.windows(separator.len()).position(|window| window == separator);
    let parts = place.and_then(|place| Some((line.get(..place)?, line.get(place + separator.len()..)?)));
    parts.map_or((None, line), |(key, value)| (Some(key), value))
}

pub(super) fn run(matches: &ArgMatches) -> Result<(), Failure> {
    let options = Options::read(matches);
    let linger = matches.get_one::<Duration>("linger").copied().unwrap_or_default();
    let settings = ProducerSettings {
        acks: acks(matches),
        compression: compression(matches),
        linger,
        ..ProducerSettings::default()
    };
    with_client(matches, async |client| produce(&client, &options, settings).await)
}

async fn produce(client: &Client, options: &Options, settings: ProducerSettings) -> Result<(), Failure> {
    // Told before the first line is read, and not with each line.
    client.admin().describe_topic(&options.topic).await?;
    let sending = Sending {
        producer: client.producer(settings).await?,
        options,
        signals: Signals::listen_with_patience()?,
        deliveries: Deliveries::new(Instant::now()),
        pace: Pace::new(Instant::now(), options.rate),
        bar: progress::bar(None, "lines sent"),
    };
    sending.all().await
}

struct Sending<'a> {
    producer: Producer,
    options: &'a Options,
    signals: Signals,
    deliveries: Deliveries,
    pace: Pace,
    bar: indicatif::ProgressBar,
}

impl Sending<'_> {
    async fn all(mut self) -> Result<(), Failure> {
        let fed = self.feed().await;
        let flush = async {
            self.producer.flush().await;
        };
        tokio::select! {
            biased;
            signal = self.signals.next() => complain(&format!("{signal}: what is under way is given up")),
            () = flush => {}
            () = tokio::time::sleep(END_WITHIN) => {}
        }
        // Decides what is not decided yet.
        self.producer.close(Duration::ZERO).await;
        self.bar.finish_and_clear();
        self.settle();
        complain(&self.deliveries.summary(Instant::now()));
        fed?;
        self.deliveries.verdict().map_err(Failure::from)
    }

    /// Sends line after line, until their end, the count, or a signal.
    async fn feed(&mut self) -> Result<(), Failure> {
        let mut lines = Lines::of_standard_input();
        while self.deliveries.sent() < self.options.count {
            let lot = tokio::select! {
                biased;
                _ = self.signals.next() => return Ok(()),
                () = self.deliveries.decided() => {
                    self.settle();
                    continue;
                }
                lot = lines.next() => lot?,
            };
            let Some(lot) = lot else { return Ok(()) };
            for line in lot {
                if self.deliveries.sent() >= self.options.count || !self.send(&line).await? {
                    return Ok(());
                }
            }
        }
        Ok(())
    }

    /// Sends one line once it is due; false if a signal came first.
    async fn send(&mut self, line: &[u8]) -> Result<bool, Failure> {
        let sent = self.deliveries.sent();
        let sending = async {
            self.pace.wait(sent).await;
            self.producer.send(self.options.record(line)).await
        };
        let result = tokio::select! {
            biased;
            _ = self.signals.next() => return Ok(false),
            result = sending => result,
        };
        match result {
            Ok(delivery) => self.deliveries.began(delivery, line.len(), Instant::now()),
            // The next line would fare no better.
            Err(
                error @ (ProduceError::Client(_)
                | ProduceError::UnknownPartition { .. }
                | ProduceError::Closed),
            ) => {
                return Err(error.into());
            }
            Err(error) => self.deliveries.refused(&error).into_iter().for_each(|text| complain(&text)),
        }
        self.bar.inc(1);
        self.settle();
        Ok(true)
    }

    fn settle(&mut self) {
        for text in self.deliveries.settle(Instant::now()) {
            self.bar.suspend(|| complain(&text));
        }
    }
}

/// A line on standard error.
fn complain(text: &str) {
    let _ = writeln!(std::io::stderr(), "{text}");
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parsed(line: &str) -> Result<ArgMatches, clap::Error> {
        command().try_get_matches_from(line.split(' '))
    }

    #[test]
    fn a_line_is_divided_at_the_first_separator() {
        assert_eq!(divide(b"a:b:c", Some(":")), (Some(&b"a"[..]), &b"b:c"[..]));
        assert_eq!(divide(b"a->b", Some("->")), (Some(&b"a"[..]), &b"b"[..]));
        assert_eq!(divide(b":b", Some(":")), (Some(&b""[..]), &b"b"[..]));
        assert_eq!(divide(b"ab", Some(":")), (None, &b"ab"[..]));
        assert_eq!(divide(b"a:b", None), (None, &b"a:b"[..]));
    }

    #[test]
    fn what_is_not_said_has_its_default() {
        let matches = parsed("produce flights").unwrap();
        let options = Options::read(&matches);
        assert_eq!((options.topic.as_str(), options.count, options.rate), ("flights", u64::MAX, None));
        assert_eq!((acks(&matches), compression(&matches)), (Acks::All, Compression::NONE));
    }

    #[test]
    fn what_is_said_is_taken() {
        let line =
            "produce t --acks 1 --compression zstd --rate 50 --count 7 --partition 2 --key-separator ,";
        let matches = parsed(line).unwrap();
        let options = Options::read(&matches);
        assert_eq!((options.partition, options.rate, options.count), (Some(2), Some(50), 7));
        let record = options.record(b"k,v");
        assert_eq!((record.key, record.value), (Some(&b"k"[..]), Some(&b"v"[..])));
        assert_eq!((acks(&matches), compression(&matches)), (Acks::Leader, Compression::of(Codec::Zstd)));
    }

    #[test]
    fn what_cannot_be_is_refused_with_what_can() {
        for (line, hint) in [
            ("produce", "<TOPIC>"),
            ("produce t --acks 2", "all"),
            ("produce t --compression rar", "snappy"),
            ("produce t --rate 0", "1.."),
            ("produce t --linger x", "500ms"),
        ] {
            let error = parsed(line).unwrap_err().to_string();
            assert!(error.contains(hint), "{line}: {error}");
        }
    }
}

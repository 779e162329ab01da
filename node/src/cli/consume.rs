//! `millstream consume`: writes records to standard output, a line each.

use std::collections::BTreeMap;
use std::io::{self, Write};
use std::time::Duration;

use clap::{Arg, ArgAction, ArgMatches, Command, value_parser};
use millstream_actors::client::{Client, ClientError, TopicPartition};
use millstream_actors::consumer::{
    Consumer, ConsumerEvent, ConsumerSettings, Fetched, IsolationLevel, OffsetReset, SeekTo,
};
use millstream_actors::ids::Offset;
use millstream_actors::record::Record;
use tokio::time::Instant;

use super::connection::{arguments, now_ms, with_client};
use super::place::{FORMS, Place};
use super::signals::Signals;
use super::{Failure, quantity};

/// How often a member commits what it has written out.
const COMMIT_INTERVAL: Duration = Duration::from_secs(2);

/// As good as never.
const FOR_EVER: Duration = Duration::from_secs(86_400 * 365);

pub(super) fn command() -> Command {
    let flag = |long: &'static str, help: &'static str| {
        Arg::new(long).long(long).action(ArgAction::SetTrue).help(help)
    };
    arguments(Command::new("consume"))
        .about("Write the records of a topic to standard output, a line each, until stopped")
        .arg(Arg::new("topic").value_name("TOPIC").required(true).help("What to read"))
        .arg(
            Arg::new("group")
                .long("group")
                .value_name("NAME")
                .conflicts_with("partition")
                .help("Share the partitions with this group's members, and commit what was written out"),
        )
        .arg(
            Arg::new("from")
                .long("from")
                .value_name("PLACE")
                .value_parser(|text: &str| text.parse::<Place>())
                .default_value("end")
                .help(format!("Where to begin: {FORMS}. In a group only where nothing is committed yet")),
        )
        .arg(
            Arg::new("partition")
                .long("partition")
                .value_name("N,...")
                .value_delimiter(',')
                .action(ArgAction::Append)
                .value_parser(value_parser!(i32).range(0..))
                .help("Only these partitions"),
        )
        .arg(
            Arg::new("count")
                .long("count")
                .value_name("N")
                .value_parser(value_parser!(u64))
                .help("End after so many records"),
        )
        .arg(
            Arg::new("timeout")
                .long("timeout")
                .value_name("TIME")
                .value_parser(quantity::duration)
                .help("End when no record came for so long"),
        )
        .arg(flag(
            "committed",
            "Leave out what is part of an open or aborted transaction (isolation.level=read_committed)",
        ))
        .arg(flag("print-key", "Write the key and the separator before the value"))
        .arg(flag("print-offset", "Write PARTITION:OFFSET and the separator first"))
        .arg(flag("print-time", "Write the timestamp (ms since 1970) and the separator before that"))
        .arg(
            Arg::new("separator")
                .long("separator")
                .value_name("TEXT")
                .default_value("\t")
                .hide_default_value(true)
                .help("What stands between them; a tab unless said"),
        )
}

#[derive(Debug)]
struct Options {
    topic: String,
    group: Option<String>,
    from: Place,
    isolation: IsolationLevel,
    partitions: Vec<i32>,
    count: u64,
    timeout: Duration,
    form: Form,
}

/// How a record is written.
#[derive(Debug)]
struct Form {
    key: bool,
    offset: bool,
    time: bool,
    separator: String,
}

impl Options {
    fn read(matches: &ArgMatches) -> Result<Self, String> {
        let group = matches.get_one::<String>("group").cloned();
        let from = matches.get_one::<Place>("from").copied().unwrap_or(Place::End);
        if group.is_some() && !matches!(from, Place::Beginning | Place::End) {
            return Err(
                "a group begins at the beginning or the end; elsewhere with millstream group reset".into()
            );
        }
        Ok(Self {
            topic: matches.get_one::<String>("topic").cloned().unwrap_or_default(),
            group,
            from,
            isolation: match matches.get_flag("committed") {
                true => IsolationLevel::ReadCommitted,
                false => IsolationLevel::ReadUncommitted,
            },
            partitions: matches.get_many("partition").into_iter().flatten().copied().collect(),
            count: matches.get_one("count").copied().unwrap_or(u64::MAX),
            timeout: matches.get_one("timeout").copied().unwrap_or(FOR_EVER),
            form: Form {
                key: matches.get_flag("print-key"),
                offset: matches.get_flag("print-offset"),
                time: matches.get_flag("print-time"),
                separator: matches.get_one::<String>("separator").cloned().unwrap_or_default(),
            },
        })
    }

    fn settings(&self) -> ConsumerSettings {
        let offset_reset = match self.from {
            Place::Beginning => OffsetReset::Earliest,
            _ => OffsetReset::Latest,
        };
        // Committed here, after it was written out, and no further.
        ConsumerSettings {
            group: self.group.clone(),
            offset_reset,
            auto_commit: None,
            isolation: self.isolation,
            ..ConsumerSettings::default()
        }
    }
}

impl Form {
    fn write(&self, output: &mut impl Write, partition: i32, record: &Record) -> io::Result<()> {
        let separator = self.separator.as_bytes();
        if self.time {
            write!(output, "{}", record.timestamp_ms)?;
            output.write_all(separator)?;
        }
        if self.offset {
            write!(output, "{partition}:{}", record.offset)?;
            output.write_all(separator)?;
        }
        if self.key {
            output.write_all(record.key.as_deref().unwrap_or(b"null"))?;
            output.write_all(separator)?;
        }
        output.write_all(record.value.as_deref().unwrap_or(b"null"))?;
        output.write_all(b"\n")
    }
}

pub(super) fn run(matches: &ArgMatches) -> Result<(), Failure> {
    let options = Options::read(matches)?;
    with_client(matches, async |client| consume(&client, &options).await)
}

async fn consume(client: &Client, options: &Options) -> Result<(), Failure> {
    let topic = client.admin().describe_topic(&options.topic).await?;
    let mut signals = Signals::listen_with_patience()?;
    let consumer = Consumer::new(client, options.settings())?;
    if options.group.is_some() {
        consumer.subscribe([&options.topic])?;
    } else {
        let partitions = chosen(&options.partitions, topic.partitions.len(), &options.topic)?;
        consumer.assign(places(&options.topic, partitions, options.from.seek(now_ms()))).await?;
    }
    let output = io::BufWriter::with_capacity(256 << 10, io::stdout().lock());
    let mut reading =
        Reading { consumer, options, output, written: 0, errors: 0, uncommitted: BTreeMap::new() };
    let ended = tokio::select! {
        biased;
        _ = signals.next() => Ok(()),
        ended = reading.all() => ended,
    };
    reading.end(ended).await
}

fn chosen(wanted: &[i32], count: usize, topic: &str) -> Result<Vec<i32>, String> {
    let count = i32::try_from(count).unwrap_or(i32::MAX);
    if let Some(wrong) = wanted.iter().find(|index| **index >= count) {
        return Err(format!("topic {topic} has no partition {wrong}, only {count}, from 0"));
    }
    Ok(if wanted.is_empty() { (0..count).collect() } else { wanted.to_vec() })
}

fn places(topic: &str, partitions: Vec<i32>, at: SeekTo) -> Vec<(TopicPartition, SeekTo)> {
    let topic: std::sync::Arc<str> = topic.into();
    partitions
        .into_iter()
        .map(|index| (TopicPartition::new(std::sync::Arc::clone(&topic), index), at))
        .collect()
}

struct Reading<'a, W> {
    consumer: Consumer,
    options: &'a Options,
    output: W,
    written: u64,
    errors: u64,
    /// Written out and not committed: of each partition the offset after the last record.
    uncommitted: BTreeMap<TopicPartition, Offset>,
}

impl<W: Write> Reading<'_, W> {
    /// Reads until the count, the timeout, or an end of the output.
    async fn all(&mut self) -> Result<(), Failure> {
        let mut idle_at = Instant::now() + self.options.timeout;
        let mut commit_at = Instant::now() + COMMIT_INTERVAL;
        while self.written < self.options.count {
            let event = tokio::select! {
                biased;
                event = self.consumer.next() => event,
                () = tokio::time::sleep_until(idle_at) => return Ok(()),
                () = tokio::time::sleep_until(commit_at), if !self.uncommitted.is_empty() => {
                    self.commit().await;
                    commit_at = Instant::now() + COMMIT_INTERVAL;
                    continue;
                }
            };
            match event {
                Ok(ConsumerEvent::Records(fetched)) => {
                    self.write(&fetched)?;
                    idle_at = Instant::now() + self.options.timeout;
                    if Instant::now() >= commit_at {
                        self.commit().await;
                        commit_at = Instant::now() + COMMIT_INTERVAL;
                    }
                }
                Ok(ConsumerEvent::Revoked(_)) => self.commit().await,
                Ok(ConsumerEvent::Lost(lost)) => self.uncommitted.retain(|name, _| !lost.contains(name)),
                Ok(ConsumerEvent::Assigned(_)) => {}
                Err(ClientError::Closed) => return Err("the consumer was ended".into()),
                Err(error) => self.complain(&error.to_string()),
            }
        }
        Ok(())
    }

    fn write(&mut self, fetched: &Fetched) -> io::Result<()> {
        let mut next = None;
        for record in fetched.records() {
            if self.written >= self.options.count {
                break;
            }
            match record {
                Ok(record) => {
                    self.options.form.write(&mut self.output, fetched.partition.partition, &record)?;
                    self.written += 1;
                    next = Some(record.offset.plus(1));
                }
                Err(error) => self.complain(&format!("{}: {error}", fetched.partition)),
            }
        }
        self.output.flush()?;
        if let Some(next) = next.filter(|_| self.options.group.is_some()) {
            self.uncommitted.insert(fetched.partition.clone(), next);
        }
        Ok(())
    }

    async fn commit(&mut self) {
        let offsets = std::mem::take(&mut self.uncommitted);
        if offsets.is_empty() {
            return;
        }
        if let Err(error) = self.consumer.commit_offsets(offsets).await {
            self.complain(&format!("not committed, so it will be read again: {error}"));
        }
    }

    fn complain(&mut self, text: &str) {
        self.errors += 1;
        let _ = writeln!(io::stderr(), "{text}");
    }

    async fn end(mut self, ended: Result<(), Failure>) -> Result<(), Failure> {
        self.commit().await;
        self.consumer.close().await;
        let _ = writeln!(io::stderr(), "{} records, {} errors", self.written, self.errors);
        match ended {
            Err(failure) if is_broken_pipe(&failure) => Ok(()),
            other => other,
        }
    }
}

/// Who reads our output has had enough; that is no failure of ours.
fn is_broken_pipe(failure: &Failure) -> bool {
    failure.downcast_ref::<io::Error>().is_some_and(|error| error.kind() == io::ErrorKind::BrokenPipe)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn options(line: &str) -> Result<Options, String> {
        let matches = command().try_get_matches_from(line.split(' ')).map_err(|error| error.to_string())?;
        Options::read(&matches)
    }

    fn written(line: &str, record: &Record) -> String {
        let mut output = Vec::new();
        options(line).unwrap().form.write(&mut output, 3, record).unwrap();
        String::from_utf8(output).unwrap()
    }

    #[test]
    fn a_record_is_written_as_asked() {
        let record = Record {
            offset: Offset(7),
            timestamp_ms: 99,
            key: Some("k".into()),
            value: Some("v".into()),
            headers: Vec::new(),
        };
        assert_eq!(written("consume t", &record), "v\n");
        assert_eq!(written("consume t --print-key --print-offset", &record), "3:7\tk\tv\n");
        assert_eq!(written("consume t --print-time --print-key --separator |", &record), "99|k|v\n");
        let tombstone = Record { value: None, key: None, ..record };
        assert_eq!(written("consume t --print-key", &tombstone), "null\tnull\n");
    }

    #[test]
    fn it_begins_at_the_end_unless_said() {
        assert_eq!(options("consume t").unwrap().from, Place::End);
        let member = options("consume t --group g --from beginning").unwrap();
        assert_eq!(member.settings().offset_reset, OffsetReset::Earliest);
        assert_eq!(member.settings().auto_commit, None);
        assert_eq!(member.settings().isolation, IsolationLevel::ReadUncommitted);
        let careful = options("consume t --committed").unwrap();
        assert_eq!(careful.settings().isolation, IsolationLevel::ReadCommitted);
        assert_eq!(options("consume t --partition 1,2 --partition 5").unwrap().partitions, [1, 2, 5]);
    }

    #[test]
    fn what_contradicts_itself_is_refused() {
        assert!(options("consume t --group g --from 42").unwrap_err().contains("group reset"));
        assert!(options("consume t --group g --partition 1").unwrap_err().contains("--partition"));
        assert!(options("consume t --from nowhere").unwrap_err().contains("nowhere is no place"));
    }

    #[test]
    fn a_partition_that_is_not_there_is_told() {
        assert_eq!(chosen(&[], 3, "t"), Ok(vec![0, 1, 2]));
        assert_eq!(chosen(&[2], 3, "t"), Ok(vec![2]));
        assert!(chosen(&[1, 3], 3, "t").unwrap_err().contains("no partition 3, only 3"));
    }
}

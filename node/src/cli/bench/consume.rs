//! `millstream bench consume`: how fast what is in a topic is read, from its beginning.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use clap::{Arg, ArgAction, ArgMatches, Command, value_parser};
use millstream_actors::client::{Client, ClientError, TopicPartition, TopicView};
use millstream_actors::consumer::{Consumer, ConsumerEvent, ConsumerSettings, SeekTo};
use millstream_actors::ids::Offset;
use millstream_actors::partition::message::OffsetSpec;
use tokio::task::JoinSet;
use tokio::time::Instant;

use super::super::connection::{open, with_client};
use super::super::deliveries::Gaps;
use super::super::{Failure, progress, quantity};
use super::cpu::CpuOf;
use super::histogram::Histogram;
use super::report::{Report, cpu_s_per_gb};
use super::topic::{self, topic_argument};

pub(super) fn command() -> Command {
    Command::new("consume")
        .about("Measure how fast a topic is read, from its beginning; fill it with bench produce")
        .arg(topic_argument())
        .arg(
            Arg::new("consumers")
                .long("consumers")
                .value_name("N")
                .value_parser(value_parser!(u16).range(1..=64))
                .default_value("1")
                .help("Consumers that share the partitions, each with threads and connections of its own"),
        )
        .arg(
            Arg::new("bytes")
                .long("bytes")
                .value_name("BYTES")
                .value_parser(quantity::bytes)
                .help("End after so much; without it all that is there"),
        )
        .arg(
            Arg::new("duration")
                .long("duration")
                .value_name("TIME")
                .value_parser(quantity::duration)
                .default_value("10m")
                .help("End after so long"),
        )
        .arg(
            Arg::new("cpu-of")
                .long("cpu-of")
                .value_name("PID,...")
                .value_delimiter(',')
                .action(ArgAction::Append)
                .value_parser(value_parser!(u32))
                .help("Processes of nodes on this machine, whose CPU time is told too"),
        )
}

pub(super) fn run(matches: &ArgMatches) -> Result<(), Failure> {
    let consumers = usize::from(matches.get_one::<u16>("consumers").copied().unwrap_or(1));
    let bytes = matches.get_one::<u64>("bytes").copied();
    let time = matches.get_one::<Duration>("duration").copied().unwrap_or_default();
    let cpu = CpuOf::processes(matches.get_many("cpu-of").into_iter().flatten().copied().collect())?;
    with_client(matches, async |client| {
        let name = topic::name(matches);
        let view = client.admin().describe_topic(&name).await?;
        let parts = divide(extents(&client, &view).await?, consumers);
        if parts.is_empty() {
            return Err(format!(
                "topic {name} is empty: fill it with millstream bench produce --topic {name}"
            )
            .into());
        }
        let of_each = bytes.map_or(u64::MAX, |bytes| bytes / u64::try_from(parts.len()).unwrap_or(1));
        let own = CpuOf::processes(vec![std::process::id()])?;
        let mut readings = Vec::new();
        for (number, left) in parts.into_iter().enumerate() {
            let its = if number == 0 { client.clone() } else { open(matches).await? };
            readings.push(Reading::new(its, left, of_each));
        }
        let (before, own_before, start) = (cpu.used(), own.used(), Instant::now());
        let got = read_all(readings, start + time).await?;
        let took = start.elapsed();
        let mut report =
            Report { times: (&got.waits).into(), errors: got.errors, ..Report::on("consume", &view) };
        report.rates(got.records, got.bytes, took);
        report.gap(got.gaps.longest);
        let of = |now: Duration, before| cpu_s_per_gb(now.saturating_sub(before), got.bytes);
        report.cpu_s_per_gb = (!cpu.is_empty()).then(|| of(cpu.used(), before));
        report.own_cpu_s_per_gb = of(own.used(), own_before);
        report.print()
    })
}

/// The first and the next offset of each partition that holds something.
type Extents = BTreeMap<TopicPartition, (Offset, Offset)>;

async fn extents(client: &Client, view: &TopicView) -> Result<Extents, ClientError> {
    let names =
        (0..).zip(&view.partitions).map(|(index, _)| TopicPartition::new(Arc::clone(&view.name), index));
    let names: Vec<TopicPartition> = names.collect();
    let at = async |spec: OffsetSpec| {
        let wanted: Vec<_> = names.iter().map(|name| (name.clone(), spec)).collect();
        client.admin().offsets(&wanted).await
    };
    let (first, next) = (at(OffsetSpec::Earliest).await?, at(OffsetSpec::Latest).await?);
    let of = |name: &TopicPartition| {
        let (first, next) = (first.get(name)?.offset?, next.get(name)?.offset?);
        (first < next).then_some((first, next))
    };
    Ok(names.iter().filter_map(|name| Some((name.clone(), of(name)?))).collect())
}

/// Shares partitions out by turns, so that each consumer has about as many; a consumer without any is left out.
fn divide(extents: Extents, consumers: usize) -> Vec<Extents> {
    let mut parts: Vec<Extents> = vec![Extents::new(); consumers.min(extents.len())];
    let count = parts.len();
    for (number, (name, extent)) in extents.into_iter().enumerate() {
        if let Some(part) = parts.get_mut(number.checked_rem(count).unwrap_or(0)) {
            part.insert(name, extent);
        }
    }
    parts
}

/// What was read.
#[derive(Debug, Default)]
struct Got {
    records: u64,
    bytes: u64,
    errors: u64,
    /// From asking for the next records to having them.
    waits: Histogram,
    gaps: Gaps,
}

/// One consumer, and what it has still to read.
#[derive(Debug)]
struct Reading {
    client: Client,
    left: Extents,
    most_bytes: u64,
    got: Got,
}

async fn read_all(readings: Vec<Reading>, until: Instant) -> Result<Got, Failure> {
    let mut tasks = JoinSet::new();
    let bar = progress::bar(None, "records read");
    for reading in readings {
        tasks.spawn(reading.run(until, bar.clone()));
    }
    let mut all = Got::default();
    while let Some(got) = tasks.join_next().await {
        let got = got??;
        all.records += got.records;
        all.bytes += got.bytes;
        all.errors += got.errors;
        all.waits.join(&got.waits);
        all.gaps.longest = all.gaps.longest.max(got.gaps.longest);
    }
    bar.finish_and_clear();
    Ok(all)
}

impl Reading {
    fn new(client: Client, left: Extents, most_bytes: u64) -> Self {
        Self { client, left, most_bytes, got: Got::default() }
    }

    async fn run(mut self, until: Instant, bar: indicatif::ProgressBar) -> Result<Got, ClientError> {
        let mut consumer = Consumer::new(&self.client, ConsumerSettings::default())?;
        let begin = self.left.clone().into_iter();
        let places = begin.map(|(name, (first, _))| (name, SeekTo::Offset(first)));
        consumer.assign(places).await?;
        while !self.left.is_empty() && self.got.bytes < self.most_bytes {
            let asked = Instant::now();
            let event = tokio::select! {
                biased;
                event = consumer.next() => event,
                () = tokio::time::sleep_until(until) => break,
            };
            self.take(event, asked)?;
            bar.set_position(self.got.records);
        }
        consumer.close().await;
        Ok(self.got)
    }

    fn take(&mut self, event: Result<ConsumerEvent, ClientError>, asked: Instant) -> Result<(), ClientError> {
        let fetched = match event {
            Ok(ConsumerEvent::Records(fetched)) => fetched,
            Ok(_) => return Ok(()),
            Err(ClientError::Closed) => return Err(ClientError::Closed),
            Err(_) => {
                self.got.errors += 1;
                return Ok(());
            }
        };
        let now = Instant::now();
        self.got.waits.add(now.saturating_duration_since(asked));
        self.got.gaps.acknowledged(now, asked);
        for record in fetched.records() {
            match record {
                Ok(record) => {
                    let lengths =
                        [&record.key, &record.value].map(|part| part.as_ref().map_or(0, |part| part.len()));
                    self.got.records += 1;
                    self.got.bytes += u64::try_from(lengths.iter().sum::<usize>()).unwrap_or(0);
                }
                Err(_) => self.got.errors += 1,
            }
        }
        let is_read = |end: Offset| fetched.next_offset() >= end;
        if self.left.get(&fetched.partition).is_some_and(|(_, end)| is_read(*end)) {
            self.left.remove(&fetched.partition);
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn partitions_are_shared_out_by_turns_and_nobody_goes_without() {
        let extents: Extents =
            (0..5).map(|index| (TopicPartition::new("t", index), (Offset(0), Offset(9)))).collect();
        let sizes: Vec<usize> = divide(extents.clone(), 2).iter().map(BTreeMap::len).collect();
        assert_eq!(sizes, [3, 2]);
        assert_eq!(divide(extents, 64).len(), 5);
        assert!(divide(Extents::new(), 3).is_empty());
    }
}

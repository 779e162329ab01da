//! `millstream bench latency`: how long a record takes from its producer to a consumer, at a rate.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use clap::{ArgMatches, Command};
use millstream_actors::client::{Client, TopicPartition, TopicView};
use millstream_actors::consumer::{Consumer, ConsumerEvent, ConsumerSettings, Fetched, SeekTo};
use millstream_actors::partition::message::OffsetSpec;
use millstream_transport::world::Random;
use tokio::sync::watch;
use tokio::time::Instant;

use super::super::Failure;
use super::super::connection::{open, with_client};
use super::super::deliveries::Gaps;
use super::histogram::Histogram;
use super::load::{self, Load};
use super::produce::{Plan, drive, producers, tell};
use super::sender::{STAMP_BYTES, Stamp};
use super::topic;

/// How long after the last acknowledgement the last record may come.
const LAST_WITHIN: Duration = Duration::from_secs(10);

/// The rate where none is said.
const RATE: u64 = 5_000;

/// The time that the consumer has before the first record is sent.
const SETTLE: Duration = Duration::from_millis(300);

pub(super) fn command() -> Command {
    load::arguments(topic::arguments(Command::new("latency")))
        .mut_arg("rate", |rate| rate.default_value("5000"))
        .about("Measure how long records take from a producer to a consumer, at a rate")
}

pub(super) fn run(matches: &ArgMatches) -> Result<(), Failure> {
    let wish = topic::Wish::read(matches)?;
    let load = Load::read(matches)?;
    let load = Load { rate: load.rate.or(Some(RATE)), ..load };
    if load.size < STAMP_BYTES {
        return Err(
            format!("--size: a value carries its time, so it has {STAMP_BYTES} bytes at least").into()
        );
    }
    with_client(matches, async |client| {
        let view = wish.prepare(&client).await?;
        let its_client = open(matches).await?;
        let producers = producers(matches, &client, &load).await?;
        let consumer = at_the_end(&its_client, &view).await?;
        let start = Instant::now() + SETTLE;
        let stamp = Stamp { run: Random::real().next_u64(), origin: start };
        let (told, count) = watch::channel(0);
        let received = Reception { got: Arc::default(), count };
        let reading = tokio::spawn(read(consumer, stamp, start + load.warmup, received.clone(), told));
        let ran = drive(producers, &view.name, Plan::at(start, &load, Some(stamp)), &load).await?;
        let measured = ran.meter.lock().clone();
        let sent = measured.acknowledged;
        let missing = received.wait(sent).await;
        reading.abort();
        its_client.close().await;
        wish.clean_up(&client.admin()).await?;
        let mut report = ran.report("latency", &view, &load);
        ran.rates(&mut report, sent, &load);
        received.write(&mut report);
        report.acknowledged = Some((&measured.times).into());
        report.errors += measured.errors + missing;
        tell(measured.first_error.as_deref());
        report.print()
    })
}

/// A consumer of all partitions, from where they end now.
async fn at_the_end(client: &Client, view: &TopicView) -> Result<Consumer, Failure> {
    let names =
        (0..).zip(&view.partitions).map(|(index, _)| TopicPartition::new(Arc::clone(&view.name), index));
    let wanted: Vec<_> = names.map(|name| (name, OffsetSpec::Latest)).collect();
    let ends = client.admin().offsets(&wanted).await?;
    let consumer = Consumer::new(client, ConsumerSettings::default())?;
    let places = ends.into_iter().filter_map(|(name, end)| Some((name, SeekTo::Offset(end.offset?))));
    consumer.assign(places).await?;
    Ok(consumer)
}

/// What the consumer got.
#[derive(Clone, Debug)]
struct Reception {
    got: Arc<Mutex<Got>>,
    count: watch::Receiver<u64>,
}

#[derive(Debug, Default)]
struct Got {
    times: Histogram,
    gaps: Gaps,
    errors: u64,
}

impl Reception {
    /// Waits for so many records; how many are missing.
    async fn wait(&self, sent: u64) -> u64 {
        let mut count = self.count.clone();
        let all = count.wait_for(|count| *count >= sent);
        let _ = tokio::time::timeout(LAST_WITHIN, all).await;
        sent.saturating_sub(*self.count.borrow())
    }

    fn write(&self, report: &mut super::report::Report) {
        let got = self.got.lock().unwrap_or_else(PoisonError::into_inner);
        report.times = (&got.times).into();
        report.gap(got.gaps.longest);
        report.errors += got.errors;
    }
}

async fn read(
    mut consumer: Consumer,
    stamp: Stamp,
    warm: Instant,
    reception: Reception,
    told: watch::Sender<u64>,
) {
    loop {
        let event = consumer.next().await;
        let now = Instant::now();
        let mut got = reception.got.lock().unwrap_or_else(PoisonError::into_inner);
        match event {
            Ok(ConsumerEvent::Records(fetched)) => got.take(&fetched, stamp, warm, now),
            Ok(_) => {}
            Err(_) => got.errors += 1,
        }
        told.send_replace(got.times.count());
    }
}

impl Got {
    fn take(&mut self, fetched: &Fetched, stamp: Stamp, warm: Instant, now: Instant) {
        for record in fetched.records() {
            let Ok(record) = record else {
                self.errors += 1;
                continue;
            };
            let sent = record.value.and_then(|value| stamp.read(&value));
            if let Some(sent) = sent.filter(|sent| *sent >= warm) {
                self.times.add(now.saturating_duration_since(sent));
                self.gaps.acknowledged(now, sent);
            }
        }
    }
}

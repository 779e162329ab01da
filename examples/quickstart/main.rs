//! Learn what Millstream keeps: three nodes in this process lose the leader of the busiest partition, and no record.
//!
//! Real QUIC on loopback and real disks in a temporary directory. 30,135 flights are sent, keyed by origin, to a topic
//! of 6 partitions with 3 replicas each, and read by a group of two members. Half-way the node that leads the busiest
//! partition is killed, and then comes back. The table at the end is counted, not claimed.

mod cluster;
mod flights;
mod readers;
mod report;

use std::collections::BTreeMap;
use std::error::Error;
use std::time::Duration;

use indicatif::{ProgressBar, ProgressStyle};
use millstream::{Delivery, Header, Producer, ProducerRecord, ProducerSettings};
use tokio::time::Instant;

use cluster::{Cluster, PARTITIONS, TOPIC};
use flights::Flight;
use readers::Readers;
use report::Report;

/// Flights sent in a second: slow enough to see the fail-over happen, fast enough not to wait for it.
const PER_SECOND: u32 = 5_000;

/// How long the killed node stays away.
const AWAY: Duration = Duration::from_millis(1_500);

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Box<dyn Error>> {
    // Set MILLSTREAM_LOG_LEVEL=info to see what the nodes say meanwhile.
    let level = std::env::var("MILLSTREAM_LOG_LEVEL").unwrap_or_else(|_| "error".to_owned());
    millstream::telemetry::log_to_standard_error(&level, false);
    let flights = flights::read()?;
    let mut cluster = Cluster::start().await?;
    let client = cluster.client().await?;
    cluster::make_topic(&client).await?;
    let readers = Readers::start(&client).await?;
    let producer = client.producer(ProducerSettings::default()).await?;

    let bar = ProgressBar::new(flights.len() as u64).with_style(style()?);
    let (first, second) = flights.split_at(flights.len() / 2);
    let mut sending = Sending::default();
    sending.send_all(&producer, first, &bar).await?;

    let busiest = sending.busiest();
    let killed = cluster.kill_leader_of(&client, busiest).await?;
    bar.println(format!(
        "node {killed}, leader of partition {busiest}, is killed after {} flights",
        first.len()
    ));
    let away = Instant::now();
    let back = async {
        tokio::time::sleep(AWAY).await;
        let started = cluster.start_again(killed);
        bar.println(format!("node {killed} is back after {:.1} s", away.elapsed().as_secs_f64()));
        started
    };
    let (sent, started) = tokio::join!(sending.send_all(&producer, second, &bar), back);
    sent?;
    started?;
    producer.flush().await;
    let sent = sending.finish().await;
    bar.finish_and_clear();

    let received = readers.finish(flights.len()).await?;
    let in_sync = cluster::wait_in_sync(&client).await;
    producer.close(Duration::from_secs(5)).await;
    let report = Report::new(&flights, &sent, &received, (killed, busiest), away, in_sync);
    report.print();
    cluster.stop();
    if report.holds() { Ok(()) } else { Err("the table shows something that must not be".into()) }
}

fn style() -> Result<ProgressStyle, indicatif::style::TemplateError> {
    ProgressStyle::with_template("{bar:40} {pos:>6} of {len} flights  {elapsed}")
}

/// One flight's acknowledgement.
#[derive(Clone, Copy, Debug)]
struct Acknowledged {
    partition: i32,
    offset: i64,
    at: Instant,
}

/// What is sent, and what became of it.
#[derive(Default)]
struct Sending {
    waiting: Vec<tokio::task::JoinHandle<Option<Acknowledged>>>,
    per_partition: BTreeMap<i32, usize>,
}

impl Sending {
    /// Sends flights at an even pace; a header carries the row, which is how the readers' side is checked.
    async fn send_all(
        &mut self,
        producer: &Producer,
        flights: &[Flight],
        bar: &ProgressBar,
    ) -> Result<(), Box<dyn Error>> {
        let mut ticks = tokio::time::interval(Duration::from_millis(10));
        for flights in flights.chunks(PER_SECOND as usize / 100) {
            ticks.tick().await;
            for flight in flights {
                let row = [Header::new("row", flight.row.to_string())];
                let record = ProducerRecord::to(TOPIC)
                    .key(&flight.origin)
                    .value(&flight.line)
                    .headers(&row)
                    .timestamp_ms(flight.scheduled_ms);
                let delivery = producer.send(record).await?;
                *self.per_partition.entry(partition_of(flight)).or_default() += 1;
                self.waiting.push(tokio::spawn(acknowledged(delivery)));
            }
            bar.inc(flights.len() as u64);
        }
        Ok(())
    }

    /// The partition that most flights went to so far.
    fn busiest(&self) -> i32 {
        self.per_partition.iter().max_by_key(|(_, count)| **count).map_or(0, |(partition, _)| *partition)
    }

    /// How every flight ended, in the order in which they were sent.
    async fn finish(self) -> Vec<Option<Acknowledged>> {
        let mut ended = Vec::with_capacity(self.waiting.len());
        for waiting in self.waiting {
            ended.push(waiting.await.ok().flatten());
        }
        ended
    }
}

async fn acknowledged(delivery: Delivery) -> Option<Acknowledged> {
    let written = delivery.await.ok()?;
    Some(Acknowledged { partition: written.partition, offset: written.offset?.0, at: Instant::now() })
}

fn partition_of(flight: &Flight) -> i32 {
    let partition = millstream::partition_for_key(flight.origin.as_bytes(), PARTITIONS.unsigned_abs());
    i32::try_from(partition).unwrap_or(0)
}

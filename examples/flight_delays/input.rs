//! What is published: flights out of order, and the names of airports.

use std::collections::BTreeMap;
use std::error::Error;
use std::time::Duration;

use millstream::streams::{Coded, end_of_input};
use millstream::{Client, CreateTopic, Delivery, Producer, ProducerRecord, ProducerSettings, Random};
use tokio::time::{Instant, sleep};

use super::flights;
use super::topology::{AIRPORTS, FLIGHTS, Flight, GRACE, HOURLY, HOURLY_LATE, SLIDING, SLIDING_LATE, WORST};

/// What a step comes to; the error is for people.
pub type Outcome<T = ()> = Result<T, Box<dyn Error + Send + Sync>>;

/// Partitions of each topic.
pub const PARTITIONS: i32 = 3;

/// So far flights are shuffled, in minutes of event time: less than the grace.
const SHUFFLED_MINUTES: u64 = 45;
/// One of so many flights comes later than that, by the grace and up to [`STRAGGLING_MINUTES`] more.
const STRAGGLERS: u64 = 200;
const STRAGGLING_MINUTES: u64 = 300;

/// How long it may take until so many nodes are live as topics need.
const LIVE_WITHIN: Duration = Duration::from_secs(60);

const CLOSE_WITHIN: Duration = Duration::from_secs(30);

/// A flight as it is published.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Published {
    /// The airport that it leaves from.
    pub origin: String,
    /// When it was to leave: its event time, milliseconds since 1970.
    pub scheduled_ms: i64,
    /// The rest.
    pub flight: Flight,
}

/// Of each partition what was published, in order.
pub type Log = BTreeMap<i32, Vec<Published>>;

/// All flights of the file, by the times at which they were to leave, shuffled: the same for the same seed.
pub fn shuffled(seed: u64) -> Outcome<Vec<Published>> {
    let random = Random::seeded(seed);
    let grace_minutes = GRACE.as_secs() / 60;
    let mut flights = Vec::new();
    for row in flights::read().map_err(|error| error.to_string())? {
        let later_minutes = match random.range(0, STRAGGLERS) {
            0 => grace_minutes + random.range(1, STRAGGLING_MINUTES),
            _ => random.range(0, SHUFFLED_MINUTES + 1),
        };
        let mut columns = row.line.split(',').skip(2);
        let destination = columns.next().ok_or("a row has a destination")?.to_owned();
        let delay_minutes = columns.next().ok_or("a row has a delay")?.parse()?;
        let flight = Flight { destination, delay_minutes };
        let comes_ms = row.scheduled_ms.saturating_add_unsigned(later_minutes * 60_000);
        flights.push((
            (comes_ms, row.row),
            Published { origin: row.origin, scheduled_ms: row.scheduled_ms, flight },
        ));
    }
    flights.sort_by_key(|(comes, _)| *comes);
    Ok(flights.into_iter().map(|(_, flight)| flight).collect())
}

/// The names of airports by their codes.
pub fn airports() -> Outcome<BTreeMap<String, String>> {
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/../examples/data/airports.csv");
    let text = std::fs::read_to_string(path).map_err(|error| format!("{path}: {error}"))?;
    let mut names = BTreeMap::new();
    for line in text.lines().skip(1) {
        let (code, rest) = line.split_once(',').ok_or_else(|| format!("{path}: {line}"))?;
        let name = match rest.strip_prefix('"') {
            Some(quoted) => quoted.split('"').next(),
            None => rest.split(',').next(),
        };
        names.insert(code.to_owned(), name.unwrap_or_default().to_owned());
    }
    Ok(names)
}

/// Makes the topics that people know. The flights are of another century: they are kept all the same.
pub async fn make_topics(client: &Client, replicas: i16) -> Outcome {
    for name in [FLIGHTS, AIRPORTS, HOURLY, HOURLY_LATE, SLIDING, SLIDING_LATE, WORST] {
        let topic = CreateTopic {
            name: name.to_owned(),
            partitions: Some(PARTITIONS),
            replication_factor: Some(replicas),
            config: [("retention.ms".to_owned(), "-1".to_owned())].into(),
        };
        let until = Instant::now() + LIVE_WITHIN;
        while let Err(error) = client.admin().create_topic(topic.clone()).await {
            if Instant::now() > until {
                return Err(error.into());
            }
            sleep(Duration::from_millis(100)).await;
        }
    }
    Ok(())
}

/// Publishes the names, and that there are no more.
pub async fn publish_airports(client: &Client) -> Outcome {
    let producer = client.producer(ProducerSettings::default()).await?;
    let mut deliveries = Vec::new();
    for (code, name) in airports()? {
        // A name is known before any flight leaves.
        let record = ProducerRecord::to(AIRPORTS).key(&code).value(&name).timestamp_ms(0);
        deliveries.push(producer.send(record).await?);
    }
    deliveries.extend(end(&producer, AIRPORTS).await?);
    for delivery in deliveries {
        delivery.await?;
    }
    producer.close(CLOSE_WITHIN).await;
    Ok(())
}

async fn end(producer: &Producer, topic: &str) -> Outcome<Vec<Delivery>> {
    let (mut deliveries, header) = (Vec::new(), [end_of_input()]);
    for partition in 0..PARTITIONS {
        let record = ProducerRecord::to(topic).partition(partition).headers(&header);
        deliveries.push(producer.send(record).await?);
    }
    Ok(deliveries)
}

/// Publishes flights, and remembers where each went.
#[derive(Debug)]
pub struct Publisher {
    producer: Producer,
    log: Log,
}

impl Publisher {
    /// One that has published nothing.
    pub async fn new(client: &Client) -> Outcome<Self> {
        Ok(Self { producer: client.producer(ProducerSettings::default()).await?, log: Log::new() })
    }

    /// Publishes these, in this order; once they are acknowledged.
    pub async fn publish(&mut self, flights: &[Published]) -> Outcome {
        let codec = Flight::codec();
        let mut deliveries = Vec::with_capacity(flights.len());
        for Published { origin, scheduled_ms, flight } in flights {
            let value = codec.encode(flight)?.unwrap_or_default();
            let record =
                ProducerRecord::to(FLIGHTS).key(origin).value(&value[..]).timestamp_ms(*scheduled_ms);
            deliveries.push(self.producer.send(record).await?);
        }
        for (delivery, flight) in deliveries.into_iter().zip(flights) {
            self.log.entry(delivery.await?.partition).or_default().push(flight.clone());
        }
        Ok(())
    }

    /// Publishes that there are no more; what was published.
    pub async fn end(self) -> Outcome<Log> {
        for delivery in end(&self.producer, FLIGHTS).await? {
            delivery.await?;
        }
        self.producer.close(CLOSE_WITHIN).await;
        Ok(self.log)
    }
}

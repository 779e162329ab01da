//! Learn event time: the delays of 30,135 real flights, per origin and window of six hours, joined with the table of airports.
//!
//! `cargo run --release --example flight_delays`
//!
//! The flights come in the order in which the planes really left, up to 816 minutes behind their time. A window stays open for so
//! long, and tells its result once, when it closes. The application is killed half-way; what comes out is held against the answer
//! that is computed from the files.

#[path = "quickstart/flights.rs"]
mod flights;

use std::collections::BTreeMap;
use std::error::Error;
use std::time::Duration;

use millstream::config::Settings;
use millstream::streams::window::{Emit, Tumbling};
use millstream::streams::{
    Coded, StreamBuilder, Streams, StreamsSettings, Topology, TopologyError, end_of_input,
};
use millstream::{
    Client, Consumer, ConsumerEvent, ConsumerSettings, CreateTopic, IsolationLevel, Node, ProducerRecord,
    ProducerSettings, SeekTo, TopicPartition,
};

use flights::Flight;

const PARTITIONS: i32 = 3;
const WINDOW: Duration = Duration::from_hours(6);
const GRACE: Duration = Duration::from_mins(816);
const WITHIN: Duration = Duration::from_secs(60);

/// Flights, the sum of their delays and the worst, in minutes.
type Delays = (i64, i64, i64);

/// By city and the window's beginning in milliseconds since 1970.
type Results = BTreeMap<(String, i64), Delays>;

fn with(delay: i64, (flights, sum, worst): Delays) -> Delays {
    (flights + 1, sum + delay, worst.max(delay))
}

const NONE: Delays = (0, 0, i64::MIN);

fn delay(row: &str) -> Option<i64> {
    row.split(',').nth(3)?.parse().ok()
}

fn delays() -> Result<Topology, TopologyError> {
    let builder = StreamBuilder::new("flight-delays");
    let cities = builder.table::<String, String>("airports", "cities");
    builder
        .stream::<String, String>("flights")
        .flat_map_values(|_, row| delay(&row))
        .join_table(&cities, |_, delay, city| (city, delay))
        .group_by_key("origins")
        .windowed_by(Tumbling::of(WINDOW).grace(GRACE))
        .emit(Emit::OnClose)
        .aggregate(
            |_| (String::new(), NONE),
            |_, (city, delay), (_, so_far)| (city, with(delay, so_far)),
            "delays",
        )
        .to_stream()
        .map(|origin, (city, delays)| ((city, origin.window.start_ms), delays))
        .map(|of, (flights, sum, worst)| (of, (flights, (sum, worst))))
        .to("delays");
    builder.build()
}

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Box<dyn Error>> {
    run(|line| println!("{line}")).await
}

async fn run(mut say: impl FnMut(String)) -> Result<(), Box<dyn Error>> {
    let directory = tempfile::tempdir()?;
    let settings = Settings::default()
        .set("data.dir", &directory.path().join("node").to_string_lossy())?
        .set("node.cores", "1")?
        .set("quic.listen", "127.0.0.1:0")?
        .set("http.listen", "127.0.0.1:0")?;
    let node = Node::start(&settings)?;
    if !node.wait_until_ready(Duration::from_secs(20)).await {
        return Err("the node did not become ready".into());
    }
    let client = node.client();
    for name in ["airports", "flights", "delays"] {
        make_topic(&client, name).await?;
    }
    let (flights, cities) = (flights::read()?, airports()?);
    let expected = answer(&flights, &cities);

    // Nothing more comes of the airports: time does not wait for them.
    let airports =
        cities.iter().map(|(airport, city)| ProducerRecord::to("airports").key(airport).value(city));
    send(&client, airports).await?;
    send_end(&client, "airports").await?;

    let topology = delays()?;
    let settings =
        || StreamsSettings { state_dir: Some(directory.path().join("state")), ..StreamsSettings::default() };
    let (early, late) = flights.split_at(flights.len() / 2);
    let first = Streams::start(&client, &topology, settings()).await?;
    send_flights(&client, early).await?;
    first.running(WITHIN).await?;
    // No last commit, no farewell: as kill -9 would do it.
    drop(first);
    let rows = early.last().map_or(0, |flight| flight.row + 1);
    say(format!("{rows} flights sent, and the application was killed"));

    let second = Streams::start(&client, &topology, settings()).await?;
    send_flights(&client, late).await?;
    send_end(&client, "flights").await?;
    let results = read_results(&client, expected.len()).await?;
    say(format!("windows: {}, right: {}", results.len(), results == expected));
    let mut worst: Vec<_> = results.iter().map(|((city, _), delays)| (delays.2, city)).collect();
    worst.sort();
    for (minutes, city) in worst.iter().rev().take(3) {
        say(format!("{minutes} minutes from {city}"));
    }
    second.close(WITHIN).await?;
    node.stop()?;
    Ok(())
}

/// The same answer, from the files.
fn answer(flights: &[Flight], cities: &BTreeMap<String, String>) -> Results {
    let size = i64::try_from(WINDOW.as_millis()).unwrap_or(i64::MAX);
    let mut answer = BTreeMap::new();
    for flight in flights {
        if let (Some(delay), Some(city)) = (delay(&flight.line), cities.get(&flight.origin)) {
            let window = flight.scheduled_ms.div_euclid(size) * size;
            let so_far = answer.entry((flight.origin.clone(), window)).or_insert((city, NONE));
            so_far.1 = with(delay, so_far.1);
        }
    }
    answer.into_iter().map(|((_, window), (city, delays))| ((city.clone(), window), delays)).collect()
}

/// City and code of each airport, by its code: two airports may be of one city.
fn airports() -> Result<BTreeMap<String, String>, Box<dyn Error>> {
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/data/airports.csv");
    let text = std::fs::read_to_string(path).map_err(|error| format!("{path}: {error}"))?;
    let rows = text.lines().skip(1).filter_map(|row| {
        // From the right: names have commas.
        let (airport, city) = (row.split(',').next()?, row.rsplit(',').nth(4)?);
        Some((airport.to_owned(), format!("{city} ({airport})")))
    });
    Ok(rows.collect())
}

async fn make_topic(client: &Client, name: &str) -> Result<(), Box<dyn Error>> {
    let topic = CreateTopic {
        name: name.to_owned(),
        partitions: Some(PARTITIONS),
        replication_factor: Some(1),
        // The flights are of 2001.
        config: BTreeMap::from([("retention.ms".to_owned(), "-1".to_owned())]),
    };
    client.admin().create_topic(topic).await?;
    Ok(())
}

async fn send(
    client: &Client,
    records: impl Iterator<Item = ProducerRecord<'_>>,
) -> Result<(), Box<dyn Error>> {
    let producer = client.producer(ProducerSettings::default()).await?;
    for record in records {
        drop(producer.send(record).await?);
    }
    producer.close(WITHIN).await;
    Ok(())
}

async fn send_flights(client: &Client, flights: &[Flight]) -> Result<(), Box<dyn Error>> {
    let records = flights.iter().map(|flight| {
        let record = ProducerRecord::to("flights").key(&flight.origin).value(&flight.line);
        record.timestamp_ms(flight.scheduled_ms)
    });
    send(client, records).await
}

async fn send_end(client: &Client, topic: &str) -> Result<(), Box<dyn Error>> {
    let end = [end_of_input()];
    let of = |partition| ProducerRecord::to(topic).partition(partition).headers(&end);
    send(client, (0..PARTITIONS).map(of)).await
}

/// Reads so many committed results. One that comes twice is an error.
async fn read_results(client: &Client, count: usize) -> Result<Results, Box<dyn Error>> {
    let settings =
        ConsumerSettings { isolation: IsolationLevel::ReadCommitted, ..ConsumerSettings::default() };
    let mut consumer = Consumer::new(client, settings)?;
    let all = (0..PARTITIONS).map(|it| (TopicPartition::new("delays", it), SeekTo::Beginning));
    consumer.assign(all).await?;
    let mut results = Results::new();
    while results.len() < count {
        let event = tokio::time::timeout(WITHIN, consumer.next()).await??;
        let ConsumerEvent::Records(fetched) = event else { continue };
        for record in fetched.records() {
            let record = record?;
            let of = <(String, i64)>::codec().decode(record.key.as_ref())?;
            let value = record.value.as_ref();
            let (flights, (sum, worst)) = <(i64, (i64, i64))>::codec().decode(value)?;
            if results.insert(of.clone(), (flights, sum, worst)).is_some() {
                return Err(format!("{of:?} was told twice").into());
            }
        }
    }
    consumer.close().await;
    Ok(results)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn the_delays_are_those_of_the_file_though_the_application_is_killed() {
        let mut said = Vec::new();
        run(|line| said.push(line)).await.unwrap();
        assert_eq!(said.first().unwrap(), "15067 flights sent, and the application was killed");
        assert!(said.get(1).unwrap().ends_with("right: true"), "{said:?}");
        assert_eq!(said.len(), 5, "{said:?}");
    }
}

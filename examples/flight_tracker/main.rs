//! Learn how entities read a topic: an airport for each origin is told of its flights, once and in order, and asked for
//! their delays while they leave.
//!
//! `cargo run --release --example flight_tracker`
//!
//! 30,135 real flights are sent to a topic. What the airports have in the end is held against the file.

mod airport;
#[path = "../quickstart/flights.rs"]
mod flights;

use std::collections::BTreeMap;
use std::error::Error;
use std::time::Duration;

use millstream::config::Settings;
use millstream::{
    Client, CreateTopic, Delivery, EntityTypes, Header, Node, ProducerRecord, ProducerSettings,
};

use airport::{Airport, Flight, TOPIC};

/// The busiest airport of the file but two.
const ASKED: &str = "ATL";

const WITHIN: Duration = Duration::from_secs(10);

/// How long the airports may be behind the topic.
const PATIENCE: Duration = Duration::from_secs(60);

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Box<dyn Error>> {
    run(|line| println!("{line}")).await
}

async fn run(mut say: impl FnMut(String)) -> Result<(), Box<dyn Error>> {
    let directory = tempfile::tempdir()?;
    let settings = Settings::default()
        .set("data.dir", &directory.path().to_string_lossy())?
        .set("node.cores", "1")?
        .set("quic.listen", "127.0.0.1:0")?
        .set("http.listen", "127.0.0.1:0")?;
    // The type, and what it reads: nothing else is to be done.
    let types = EntityTypes::new().and::<Airport>()?.reading(airport::flights())?;
    let node = Node::start_hosting(&settings, types)?;
    if !node.wait_until_ready(Duration::from_secs(20)).await {
        return Err(format!("the node is not ready: {:?}", node.health()).into());
    }

    let flights = flights::read()?;
    let client = node.client();
    let topic = CreateTopic {
        name: TOPIC.to_owned(),
        partitions: Some(6),
        replication_factor: Some(1),
        config: BTreeMap::new(),
    };
    client.admin().create_topic(topic).await?;

    // People ask while planes leave: what they hear only grows.
    let asking = tokio::spawn({
        let airport = node.entities().entity::<Airport>(&ASKED.to_owned());
        async move {
            let mut heard = vec![airport.ask(&Flight::Delays, WITHIN).await?];
            while heard.last().is_none_or(|last| last.departures < 1_000) {
                tokio::time::sleep(Duration::from_millis(20)).await;
                heard.push(airport.ask(&Flight::Delays, WITHIN).await?);
            }
            Ok::<_, millstream::CallError>(heard)
        }
    });
    let sent = send(&client, &flights).await?;
    say(format!("{sent} flights have left"));
    let heard = tokio::time::timeout(PATIENCE, asking).await???;
    let grows = heard.is_sorted_by_key(|airport| airport.departures);
    say(format!("{ASKED} was asked while they left, and its departures only grew: {grows}"));

    let expected = counted(&flights)?;
    let tracked = until_told(&node, &expected).await?;
    let right = tracked.iter().filter(|(origin, airport)| expected.get(*origin) == Some(airport)).count();
    say(format!("{right} of {} airports have what the file has", expected.len()));
    say(format!("{:<8}{:>10}{:>10}{:>8}", "airport", "departures", "average", "worst"));
    let mut busiest: Vec<_> = tracked.iter().collect();
    busiest.sort_by_key(|(_, airport)| std::cmp::Reverse(airport.departures));
    for (origin, airport) in busiest.into_iter().take(5) {
        let (average, worst) = (airport.average_minutes(), airport.worst_minutes);
        say(format!("{origin:<8}{:>10}{average:>10.1}{worst:>8}", airport.departures));
    }
    client.close().await;
    node.stop()?;
    if right == expected.len() { Ok(()) } else { Err("airports have other flights than the file".into()) }
}

/// Sends all flights, in the order in which they left; how many were acknowledged.
async fn send(client: &Client, flights: &[flights::Flight]) -> Result<usize, Box<dyn Error>> {
    let producer = client.producer(ProducerSettings::default()).await?;
    let mut deliveries: Vec<Delivery> = Vec::with_capacity(flights.len());
    for flight in flights {
        let row = [Header::new("row", flight.row.to_string())];
        let record = ProducerRecord::to(TOPIC)
            .key(&flight.origin)
            .value(&flight.line)
            .headers(&row)
            .timestamp_ms(flight.scheduled_ms);
        deliveries.push(producer.send(record).await?);
    }
    let mut sent = 0;
    for delivery in deliveries {
        delivery.await?;
        sent += 1;
    }
    producer.close(WITHIN).await;
    Ok(sent)
}

/// What the airports are to have, by the file alone.
fn counted(flights: &[flights::Flight]) -> Result<BTreeMap<String, Airport>, Box<dyn Error>> {
    let mut counted: BTreeMap<String, Airport> = BTreeMap::new();
    for flight in flights {
        let delay = flight.line.split(',').nth(3).ok_or("a row has a delay")?;
        counted.entry(flight.origin.clone()).or_default().depart(delay.parse()?);
    }
    Ok(counted)
}

/// Asks every airport until it has as many departures as it is to have.
async fn until_told(
    node: &Node,
    expected: &BTreeMap<String, Airport>,
) -> Result<BTreeMap<String, Airport>, Box<dyn Error>> {
    let began = tokio::time::Instant::now();
    let mut told = BTreeMap::new();
    for (origin, expected) in expected {
        let entity = node.entities().entity::<Airport>(origin);
        loop {
            let airport = entity.ask(&Flight::Delays, WITHIN).await?;
            if airport.departures >= expected.departures || began.elapsed() > PATIENCE {
                told.insert(origin.clone(), airport);
                break;
            }
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    }
    Ok(told)
}

#[cfg(test)]
mod tests {
    use millstream::testing::with_hosts;

    use super::*;

    #[tokio::test]
    async fn the_airports_have_what_the_file_has() {
        let mut said = Vec::new();
        run(|line| said.push(line)).await.unwrap();
        let expected = [
            "30135 flights have left",
            "ATL was asked while they left, and its departures only grew: true",
            "221 of 221 airports have what the file has",
            "airport departures   average   worst",
            "ORD           1749      -2.6     265",
            "DFW           1730       0.2     250",
            "ATL           1274       3.1     176",
            "LAX           1216       9.8     310",
            "PHX           1046       7.3    1429",
        ];
        assert_eq!(said, expected);
    }

    #[test]
    fn an_airport_is_told_of_its_flights_though_its_node_dies() {
        let types = EntityTypes::new().and::<Airport>().unwrap().reading(airport::flights()).unwrap();
        with_hosts(3, 3, &types, async |nodes| {
            let client = nodes.client(1);
            let topic = CreateTopic {
                name: TOPIC.to_owned(),
                partitions: Some(2),
                replication_factor: Some(3),
                config: BTreeMap::new(),
            };
            client.admin().create_topic(topic).await.unwrap();
            let flights = flights::read().unwrap();
            send(&client, &flights[..200]).await.unwrap();
            nodes.kill(2).await;
            send(&client, &flights[200..400]).await.unwrap();
            for (origin, expected) in counted(&flights[..400]).unwrap() {
                let entity = nodes.entities(3).entity::<Airport>(&origin);
                let until = tokio::time::Instant::now() + PATIENCE;
                let mut airport = entity.ask(&Flight::Delays, WITHIN).await.unwrap();
                while airport != expected {
                    assert!(tokio::time::Instant::now() < until, "{origin}: {airport:?}");
                    tokio::time::sleep(Duration::from_millis(20)).await;
                    airport = entity.ask(&Flight::Delays, WITHIN).await.unwrap();
                }
            }
        });
    }
}

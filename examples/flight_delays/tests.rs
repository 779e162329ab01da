use std::path::Path;
use std::time::Duration;

use millstream::config::Settings;
use millstream::streams::{Streams, StreamsSettings};
use millstream::{Client, Node};
use tokio::time::Instant;

use super::input::{self, Publisher};
use super::results::{Results, differences, has_all};
use super::{batch, report, topology};

const WITHIN: Duration = Duration::from_secs(120);

async fn begin(client: &Client, state: &Path) -> Streams {
    let settings = StreamsSettings { state_dir: Some(state.to_owned()), ..StreamsSettings::default() };
    let streams = Streams::start(client, &topology::flight_delays().unwrap(), settings).await.unwrap();
    streams.running(WITHIN).await.unwrap();
    streams
}

#[tokio::test]
async fn results_are_as_the_file_has_them_though_the_application_is_killed() {
    let directory = tempfile::tempdir().unwrap();
    let settings = Settings::default()
        .set("data.dir", &directory.path().join("node").to_string_lossy())
        .and_then(|settings| settings.set("node.cores", "1"))
        .and_then(|settings| settings.set("quic.listen", "127.0.0.1:0"))
        .and_then(|settings| settings.set("http.listen", "127.0.0.1:0"));
    let node = Node::start(&settings.unwrap()).unwrap();
    assert!(node.wait_until_ready(WITHIN).await);
    let client = node.client();
    input::make_topics(&client, 1).await.unwrap();
    input::publish_airports(&client).await.unwrap();
    let flights = input::shuffled(1).unwrap();
    let (before, after) = flights.split_at(flights.len() / 2);
    let mut publisher = Publisher::new(&client).await.unwrap();

    let state = directory.path().join("state");
    let first = begin(&client, &state).await;
    publisher.publish(before).await.unwrap();
    // No last commit, no farewell: as kill -9 would do it.
    drop(first);
    let second = begin(&client, &state).await;
    publisher.publish(after).await.unwrap();
    let log = publisher.end().await.unwrap();

    let wanted = batch::answer(&log, &input::airports().unwrap());
    let mut results = Results::of(&client).await.unwrap();
    assert!(results.until(|read| has_all(read, &wanted), Instant::now() + WITHIN).await.unwrap());
    second.close(WITHIN).await.unwrap();
    let read = results.read_to_the_end(Instant::now() + WITHIN).await.unwrap();
    assert_eq!(differences(&read, &wanted), Vec::<String>::new());
    let expected = [
        "results of hours: 4549, flights late for them: 137",
        "results of sliding windows: 46342, flights late for them: 150",
        "worst of day 1                   flights  average  worst",
        "JFK John F Kennedy Intl               23     25.7    158",
        "PVD Theodore F Green State            44     25.2    128",
        "BOS Gen Edw L Logan Intl             100     23.0    597",
        "EWR Newark Intl                      146     22.4    155",
        "ROC Greater Rochester Int'l           31     21.0    185",
        "worst of day 2                   flights  average  worst",
        "BOS Gen Edw L Logan Intl              55     70.8    304",
        "JFK John F Kennedy Intl               94     54.4    380",
        "ROC Greater Rochester Int'l           36     34.9    252",
        "PIT Pittsburgh International         269     32.2    295",
        "PSP Palm Springs International        32     28.6    189",
    ];
    assert_eq!(report::lines(&read), expected);
    client.close().await;
    node.stop().unwrap();
}

//! An application of streams: whoever runs it tells its series, a node or a client outside.

use std::collections::BTreeMap;
use std::time::Duration;

use millstream::certificates::{CertificateFolder, LOCAL_CLIENT};
use millstream::config::Settings;
use millstream::streams::{Poison, StreamBuilder, Streams, StreamsSettings, Topology};
use millstream::telemetry::Metrics;
use millstream::{Client, ClientSettings, CreateTopic, Node, ProducerRecord, ProducerSettings};
use millstream_tests::process::http;
use millstream_tests::{Outcome, until};

use crate::exposition::{self, Scrape};

const WITHIN: Duration = Duration::from_secs(30);
const RECORDS: u32 = 50;

fn topology(application: &str) -> Outcome<Topology> {
    let builder = StreamBuilder::new(application);
    builder.stream::<String, i64>("numbers").group_by_key("numbers").count("counts").to_stream().to("counts");
    builder.on_poison(Poison::Skip);
    Ok(builder.build()?)
}

/// Numbers, and one that is none.
async fn prepare(client: &Client) -> Outcome {
    for name in ["numbers", "counts"] {
        let topic = CreateTopic {
            name: name.to_owned(),
            partitions: Some(1),
            replication_factor: Some(1),
            config: BTreeMap::new(),
        };
        client.admin().create_topic(topic).await?;
    }
    let producer = client.producer(ProducerSettings::default()).await?;
    for _ in 0..RECORDS {
        drop(producer.send(ProducerRecord::to("numbers").key("one").value(&1_i64.to_be_bytes())).await?);
    }
    drop(producer.send(ProducerRecord::to("numbers").key("one").value("none")).await?);
    producer.close(WITHIN).await;
    Ok(())
}

/// The value of a series of the one task that there is, or of its application.
fn value(scrape: &Scrape, name: &str, application: &str) -> Option<f64> {
    let family = scrape.get(name.strip_suffix("_count").unwrap_or(name))?;
    let of = |sample: &&exposition::Sample| {
        sample.name == name
            && sample.labels.get("application").is_some_and(|it| it == application)
            && sample.labels.get("task").is_none_or(|task| task == "0_0")
    };
    family.samples.iter().find(of).map(|sample| sample.value)
}

/// Runs an application until all is processed, and ends it, while `scrape` is looked at.
async fn is_told(client: &Client, application: &str, scrape: impl AsyncFn() -> Outcome<Scrape>) -> Outcome {
    let streams = Streams::start(client, &topology(application)?, StreamsSettings::default()).await?;
    let expected = [
        ("millstream_streams_processed_total", f64::from(RECORDS)),
        ("millstream_streams_dropped_total", 1.0),
        ("millstream_streams_late_total", 0.0),
        ("millstream_streams_lag_records", 0.0),
        ("millstream_streams_restore_left_records", 0.0),
        ("millstream_streams_tasks", 1.0),
    ];
    until("the series of the application", async || {
        let scrape = scrape().await?;
        let is_so = |(name, value_then): &(&str, f64)| value(&scrape, name, application) == Some(*value_then);
        let moved = ["millstream_streams_commit_seconds_count", "millstream_streams_process_seconds_count"];
        let has_moved = |name: &&str| value(&scrape, name, application).is_some_and(|count| count > 0.0);
        let has_state = value(&scrape, "millstream_streams_state_bytes", application) > Some(0.0);
        let is_all = expected.iter().all(is_so) && moved.iter().all(has_moved) && has_state;
        Ok(is_all.then_some(()))
    })
    .await?;
    streams.close(WITHIN).await?;
    until("zero for the tasks that have gone", async || {
        let scrape = scrape().await?;
        let is_gone = |name: &&str| value(&scrape, name, application) == Some(0.0);
        let gone = ["millstream_streams_tasks", "millstream_streams_state_bytes"];
        Ok(gone.iter().all(is_gone).then_some(()))
    })
    .await
}

#[tokio::test]
async fn an_application_of_streams_is_among_the_series_of_its_node_or_of_its_clients_recorder() {
    let directory = tempfile::tempdir().unwrap();
    let data = directory.path().join("node");
    let settings = Settings::default()
        .set("data.dir", &data.to_string_lossy())
        .and_then(|settings| settings.set("node.cores", "1"))
        .and_then(|settings| settings.set("quic.listen", "127.0.0.1:0"))
        .and_then(|settings| settings.set("http.listen", "127.0.0.1:0"));
    let node = Node::start(&settings.unwrap()).unwrap();
    assert!(node.wait_until_ready(WITHIN).await);
    let inside = node.client();
    prepare(&inside).await.unwrap();
    let address = node.http_address().unwrap();
    let scrape = async || {
        let answer = http::get(address, "/metrics").await?;
        let (_, body) = answer.split_once("\r\n\r\n").ok_or("no answer of HTTP")?;
        Ok(exposition::parse(body)?)
    };
    is_told(&inside, "inside", scrape).await.unwrap();

    let credentials = CertificateFolder::new(data.join("certs")).client(LOCAL_CLIENT).unwrap();
    let settings = ClientSettings::new([node.quic_address().to_string()]);
    let metrics = Metrics::new().unwrap();
    let outside = Client::connect(credentials, settings).await.unwrap().counted_by(metrics.recorder());
    is_told(&outside, "outside", async || Ok(exposition::parse(&metrics.render())?)).await.unwrap();
    outside.close().await;
    node.stop().unwrap();
}

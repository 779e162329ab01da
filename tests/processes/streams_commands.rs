//! An application of streams in this process, as whoever operates its cluster sees it, and puts it back.

use std::time::Duration;

use millstream::streams::{StreamBuilder, Streams, StreamsSettings};
use millstream::{Client, CreateTopic, ProducerRecord, ProducerSettings};
use millstream_tests::process::{ProcessCluster, http};
use millstream_tests::{Outcome, PATIENCE, until};

use crate::PROGRAM;

const APPLICATION: &str = "visits";

async fn begin(client: &Client) -> Outcome<Streams> {
    let builder = StreamBuilder::new(APPLICATION);
    builder.stream::<String, String>("pages").group_by_key("unused").count("counts");
    let streams = Streams::start(client, &builder.build()?, StreamsSettings::default()).await?;
    streams.running(PATIENCE).await?;
    Ok(streams)
}

async fn until_counted(client: &Client, count: i64) -> Outcome {
    let store = client.streams(APPLICATION).store::<String, i64>("counts");
    let counted = until("the page is counted", async || {
        Ok((store.get(&"home".to_owned()).await? == Some(count)).then_some(()))
    });
    counted.await
}

/// What a command of the command line says, and whether it did what it was asked to.
async fn said(cluster: &ProcessCluster, arguments: &[&str]) -> Outcome<(bool, String)> {
    let to_node = cluster.to_node(1);
    let all: Vec<&str> = arguments.iter().copied().chain(to_node.iter().map(String::as_str)).collect();
    let (status, said) = cluster.run_command(1, &all).await?;
    Ok((status.success(), said))
}

#[tokio::test]
async fn an_application_is_seen_by_the_command_and_by_http_and_reset_once_it_has_ended() -> Outcome {
    let mut cluster = ProcessCluster::start(PROGRAM.as_ref(), 1, &[]).await?;
    let client = cluster.client().await?;
    let topic = CreateTopic {
        name: "pages".to_owned(),
        partitions: Some(2),
        replication_factor: Some(1),
        config: Default::default(),
    };
    client.admin().create_topic(topic).await?;
    let streams = begin(&client).await?;
    let producer = client.producer(ProducerSettings::default()).await?;
    for _ in 0..3 {
        producer.send(ProducerRecord::to("pages").key("home").value("x")).await?.await?;
    }
    until_counted(&client, 3).await?;

    let (is_done, listed) = said(&cluster, &["streams", "list"]).await?;
    assert!(is_done && listed.lines().any(|line| line.starts_with(APPLICATION)), "{listed}");
    let (is_done, described) = said(&cluster, &["streams", "describe", APPLICATION]).await?;
    let rows: Vec<Vec<&str>> = described.lines().map(|line| line.split_whitespace().collect()).collect();
    assert!(is_done && rows.iter().any(|row| row.contains(&"0_0,0_1")), "{described}");
    assert!(rows.iter().any(|row| row.starts_with(&["counts", "0", "2", "1"])), "{described}");
    assert_eq!(
        rows.iter().filter(|row| row.last() == Some(&"0")).count(),
        3,
        "no lag, no queries: {described}"
    );
    let listed = http::get(cluster.http(1), "/streams").await?;
    assert!(listed.contains("\"application\":\"visits\"") && listed.contains("\"lag\":0"), "{listed}");

    let reset = ["streams", "reset", APPLICATION, "--input", "pages", "--execute"];
    let (is_done, refused) = said(&cluster, &reset).await?;
    assert!(!is_done && refused.contains("it runs in"), "{refused}");
    streams.close(PATIENCE).await?;
    let (is_done, planned) = said(&cluster, reset.split_last().map_or(&[][..], |(_, plan)| plan)).await?;
    assert!(is_done && planned.contains("topic visits-counts-changelog would be deleted"), "{planned}");
    let (is_done, done) = said(&cluster, &reset).await?;
    assert!(is_done && done.contains("topic visits-counts-changelog deleted"), "{done}");

    let streams = begin(&client).await?;
    until_counted(&client, 3).await?;
    streams.close(PATIENCE).await?;
    producer.close(Duration::from_secs(1)).await;
    client.close().await;
    cluster.terminate_all().await
}

//! Learn streams: words are counted as lines come, each once, though the application is killed half-way.
//!
//! `cargo run --release --example word_count`

use std::collections::BTreeMap;
use std::error::Error;
use std::path::Path;
use std::time::Duration;

use millstream::config::Settings;
use millstream::streams::{StreamBuilder, Streams, StreamsSettings, Topology, TopologyError};
use millstream::{
    Client, Consumer, ConsumerEvent, ConsumerSettings, CreateTopic, IsolationLevel, Node, ProducerRecord,
    ProducerSettings, SeekTo, TopicPartition,
};

const LINES: [&str; 4] =
    ["to be or not to be", "that is the question", "whether it is nobler in the mind", "to suffer"];
const ROUNDS: usize = 50;
const PARTITIONS: i32 = 2;
const WITHIN: Duration = Duration::from_secs(30);

/// Lines are cut into words; the words that are alike come together over a topic of the library's own, and are counted in a
/// state store.
fn word_count() -> Result<Topology, TopologyError> {
    let builder = StreamBuilder::new("word-count");
    builder
        .stream::<Option<String>, String>("lines")
        .flat_map_values(|_, line| line.split(' ').map(str::to_owned).collect::<Vec<_>>())
        .group_by(|_, word| word.clone(), "words")
        .count("counts")
        .to_stream()
        .to("word-counts");
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
    make_topics(&client).await?;

    let topology = word_count()?;
    let state = directory.path().join("state");
    let first = begin(&client, &topology, &state).await?;
    let mut expected = send_lines(&client).await?;
    say(format!("{} words sent", expected.values().sum::<i64>()));
    // No last commit, no farewell: as kill -9 would do it.
    drop(first);
    say("the application was killed".to_owned());

    let second = begin(&client, &topology, &state).await?;
    for (word, count) in send_lines(&client).await? {
        *expected.entry(word).or_default() += count;
    }
    let counts = read_counts(&client, &expected).await?;
    for word in ["be", "question", "to"] {
        say(format!("{word}: {}", counts.get(word).copied().unwrap_or(0)));
    }
    let right = counts.iter().filter(|(word, count)| expected.get(*word) == Some(count)).count();
    say(format!("words whose count is right: {right} of {}", expected.len()));
    second.close(WITHIN).await?;
    node.stop()?;
    Ok(())
}

async fn begin(client: &Client, topology: &Topology, state: &Path) -> Result<Streams, Box<dyn Error>> {
    let settings = StreamsSettings { state_dir: Some(state.to_owned()), ..StreamsSettings::default() };
    let streams = Streams::start(client, topology, settings).await?;
    streams.running(WITHIN).await?;
    Ok(streams)
}

async fn make_topics(client: &Client) -> Result<(), Box<dyn Error>> {
    for name in ["lines", "word-counts"] {
        let topic = CreateTopic {
            name: name.to_owned(),
            partitions: Some(PARTITIONS),
            replication_factor: Some(1),
            config: BTreeMap::new(),
        };
        client.admin().create_topic(topic).await?;
    }
    Ok(())
}

/// Sends lines; how often each word is in them.
async fn send_lines(client: &Client) -> Result<BTreeMap<String, i64>, Box<dyn Error>> {
    let mut counts = BTreeMap::new();
    let producer = client.producer(ProducerSettings::default()).await?;
    for line in (0..ROUNDS).flat_map(|_| LINES) {
        drop(producer.send(ProducerRecord::to("lines").value(line)).await?);
        for word in line.split(' ') {
            *counts.entry(word.to_owned()).or_default() += 1;
        }
    }
    producer.close(WITHIN).await;
    Ok(counts)
}

/// Reads what is committed until all words were counted. A count that is told twice, or left out, is an error.
async fn read_counts(
    client: &Client,
    expected: &BTreeMap<String, i64>,
) -> Result<BTreeMap<String, i64>, Box<dyn Error>> {
    let settings =
        ConsumerSettings { isolation: IsolationLevel::ReadCommitted, ..ConsumerSettings::default() };
    let mut consumer = Consumer::new(client, settings)?;
    let all = (0..PARTITIONS).map(|it| (TopicPartition::new("word-counts", it), SeekTo::Beginning));
    consumer.assign(all).await?;
    let (mut counts, mut left) = (BTreeMap::new(), expected.values().sum::<i64>());
    while left > 0 {
        let event = tokio::time::timeout(WITHIN, consumer.next()).await??;
        let ConsumerEvent::Records(fetched) = event else { continue };
        for record in fetched.records() {
            let record = record?;
            let word = String::from_utf8(record.key.unwrap_or_default().to_vec())?;
            let count = i64::from_be_bytes(record.value.unwrap_or_default().as_ref().try_into()?);
            let before = counts.insert(word.clone(), count).unwrap_or(0);
            if count != before + 1 {
                return Err(format!("{word} had been counted {before} times, and {count} times next").into());
            }
            left -= 1;
        }
    }
    consumer.close().await;
    Ok(counts)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn every_word_is_counted_once_though_the_application_is_killed() {
        let mut said = Vec::new();
        run(|line| said.push(line)).await.unwrap();
        let expected = [
            "950 words sent",
            "the application was killed",
            "be: 200",
            "question: 100",
            "to: 300",
            "words whose count is right: 14 of 14",
        ];
        assert_eq!(said, expected);
    }
}

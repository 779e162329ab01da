//! Streams on a cluster: what comes out is as if nothing had happened, whatever is killed.

use std::collections::BTreeMap;
use std::time::Duration;

use bytes::Bytes;
use millstream::streams::window::{Emit, Tumbling};
use millstream::streams::{
    Context, Event, Poison, Processor, Stream, StreamBuilder, StreamError, Streams, StreamsSettings,
    Topology, end_of_input,
};
use millstream::{
    Client, Consumer, ConsumerEvent, ConsumerSettings, IsolationLevel, OffsetReset, ProducerRecord,
    ProducerSettings, SeekTo, TopicPartition,
};
use millstream_tests::simulated::{SimulatedCluster, over_seeds, tell};
use rand::rngs::SmallRng;
use rand::seq::IndexedRandom;
use rand::{Rng, SeedableRng};

/// How long an application may take to begin, or to come to the end of what there is.
pub(crate) const PATIENCE: Duration = Duration::from_secs(60);

pub(crate) const PARTITIONS: i32 = 2;

pub(crate) const WORDS: [&str; 7] = ["to", "be", "or", "not", "that", "is", "question"];

pub(crate) fn word_count() -> Topology {
    let builder = StreamBuilder::new("word-count");
    counted_words(&builder).to("word-counts");
    builder.build().expect("the topology is right")
}

/// How often each word of lines has come.
fn counted_words(builder: &StreamBuilder) -> Stream<String, i64> {
    builder
        .stream::<Option<String>, String>("lines")
        .flat_map_values(|_, line| line.split(' ').map(str::to_owned).collect::<Vec<_>>())
        .group_by(|_, word| word.clone(), "words")
        .count("counts")
        .to_stream()
}

pub(crate) fn word(rng: &mut SmallRng) -> &'static str {
    WORDS.choose(rng).copied().unwrap_or_default()
}

/// Sends so many lines of words drawn at random; how often each word is in them.
pub(crate) async fn send_lines(client: &Client, rng: &mut SmallRng, lines: usize) -> BTreeMap<String, i64> {
    let producer = client.producer(ProducerSettings::default()).await.expect("a producer");
    let mut counts = BTreeMap::new();
    for number in 0..lines {
        let words: Vec<&str> = (0..4).map(|_| word(rng)).collect();
        for word in &words {
            *counts.entry((*word).to_owned()).or_default() += 1;
        }
        let partition = i32::try_from(number).unwrap_or(0) % PARTITIONS;
        let line = words.join(" ");
        let record = ProducerRecord::to("lines").value(&line).partition(partition);
        drop(producer.send(record).await.expect("the line is taken"));
    }
    producer.flush().await;
    producer.close(Duration::from_secs(1)).await;
    counts
}

/// Reads what is committed, and hands it over, until that says that it is enough.
async fn read(client: &Client, topic: &str, mut take: impl FnMut(String, Bytes) -> bool) {
    let settings = ConsumerSettings {
        isolation: IsolationLevel::ReadCommitted,
        offset_reset: OffsetReset::Earliest,
        auto_commit: None,
        ..ConsumerSettings::default()
    };
    let mut consumer = Consumer::new(client, settings).expect("a consumer");
    let all = (0..PARTITIONS).map(|it| (TopicPartition::new(topic, it), SeekTo::Beginning));
    consumer.assign(all).await.expect("the topic is there");
    let until = tokio::time::Instant::now() + PATIENCE;
    let mut is_enough = false;
    while !is_enough {
        let event = tokio::time::timeout_at(until, consumer.next()).await;
        let Ok(event) = event else { break };
        let ConsumerEvent::Records(fetched) = event.expect("an event") else { continue };
        for record in fetched.records() {
            let record = record.expect("a record");
            let key = String::from_utf8(record.key.expect("a key").to_vec()).expect("text");
            is_enough = take(key, record.value.expect("a value"));
        }
    }
    consumer.close().await;
}

/// Reads committed counts as [`read`] does.
pub(crate) async fn read_counts(client: &Client, topic: &str, mut take: impl FnMut(String, i64) -> bool) {
    let count = |value: Bytes| i64::from_be_bytes(value.as_ref().try_into().expect("8 bytes"));
    read(client, topic, |key, value| take(key, count(value))).await;
}

/// Reads until each key has had all its counts: each from one up, once.
pub(crate) async fn until_counted(client: &Client, topic: &str, wanted: &BTreeMap<String, i64>) {
    let mut seen: BTreeMap<String, i64> = BTreeMap::new();
    read_counts(client, topic, |word, count| {
        let before = seen.insert(word.clone(), count).unwrap_or(0);
        assert_eq!(count, before + 1, "{word} is counted on, once each time");
        seen == *wanted
    })
    .await;
    assert_eq!(seen, *wanted);
}

/// Reads all that is told: of each key what is wanted, once, and nothing else.
pub(crate) async fn until_told_once(client: &Client, wanted: &BTreeMap<String, i64>) {
    let mut told: BTreeMap<String, i64> = BTreeMap::new();
    read_counts(client, "counted", |key, count| {
        assert_eq!(told.insert(key.clone(), count), None, "{key} is told once");
        told.len() >= wanted.len()
    })
    .await;
    assert_eq!(told, *wanted);
}

/// A process of this name: one that starts under it again takes its place at once.
pub(crate) fn named(instance: &str) -> StreamsSettings {
    StreamsSettings { instance: Some(instance.to_owned()), ..StreamsSettings::default() }
}

pub(crate) async fn begin(client: &Client, topology: &Topology) -> Streams {
    begin_with(client, topology, named("one")).await
}

pub(crate) async fn begin_with(client: &Client, topology: &Topology, settings: StreamsSettings) -> Streams {
    let streams = Streams::start(client, topology, settings).await.expect("it starts");
    streams.running(PATIENCE).await.expect("it runs");
    streams
}

/// Topics whose records are kept, whatever their times.
pub(crate) async fn with_topics(cluster: &mut SimulatedCluster, topics: &[&str]) -> Client {
    let client = cluster.client();
    for topic in topics {
        cluster.make_topic(&client, topic, PARTITIONS).await;
        let kept = BTreeMap::from([("retention.ms".to_owned(), Some("-1".to_owned()))]);
        client.admin().alter_topic(*topic, kept).await.expect("the topic is changed");
    }
    client
}

#[test]
fn words_are_counted_each_once_though_the_application_is_killed() {
    over_seeds("words_though_the_application_is_killed", 0..2, |simulation| async move {
        let mut rng = SmallRng::seed_from_u64(simulation.seed_of("scenario"));
        let mut cluster = SimulatedCluster::start(&simulation, 1).await;
        let (client, topology) = (with_topics(&mut cluster, &["lines", "word-counts"]).await, word_count());
        let mut wanted = BTreeMap::new();
        for _ in 0..4 {
            let streams = begin(&client, &topology).await;
            for (word, count) in send_lines(&client, &mut rng, 100).await {
                *wanted.entry(word).or_default() += count;
            }
            tokio::time::sleep(Duration::from_millis(rng.random_range(0..400))).await;
            tell("the application is killed");
            drop(streams);
        }
        let streams = begin(&client, &topology).await;
        until_counted(&client, "word-counts", &wanted).await;
        streams.close(PATIENCE).await.expect("it closes");
        cluster.stop_all().await;
    });
}

#[test]
fn words_are_counted_each_once_though_nodes_are_killed() {
    over_seeds("words_though_nodes_are_killed", 0..2, |simulation| async move {
        let mut rng = SmallRng::seed_from_u64(simulation.seed_of("scenario"));
        let mut cluster = SimulatedCluster::start(&simulation, 3).await;
        let (client, topology) = (with_topics(&mut cluster, &["lines", "word-counts"]).await, word_count());
        let streams = begin(&client, &topology).await;
        let mut wanted = BTreeMap::new();
        for node in cluster.nodes() {
            tell(&format!("node {node} is killed"));
            cluster.kill(node);
            for (word, count) in send_lines(&client, &mut rng, 100).await {
                *wanted.entry(word).or_default() += count;
            }
            cluster.restart(node).await;
            cluster.until_ready().await;
        }
        until_counted(&client, "word-counts", &wanted).await;
        streams.close(PATIENCE).await.expect("it closes");
        cluster.stop_all().await;
    });
}

/// Clicks on pages, counted per page and window; a count comes when its window has closed.
fn clicks_per_window() -> Topology {
    let builder = StreamBuilder::new("clicks");
    builder
        .stream::<Option<String>, String>("clicks")
        .group_by(|_, page| page.clone(), "pages")
        .windowed_by(Tumbling::of(Duration::from_secs(10)).grace(Duration::from_secs(3)))
        .emit(Emit::OnClose)
        .count("clicks-per-window")
        .to_stream()
        .map(|page, count| (format!("{}@{}", page.key, page.window.start_ms), count))
        .to("counted");
    builder.build().expect("the topology is right")
}

/// Orders with the names of who gave them.
pub(crate) fn named_orders() -> Topology {
    let builder = StreamBuilder::new("orders");
    let names = builder.table::<String, String>("names", "names");
    builder
        .stream::<String, i64>("orders")
        .join_table(&names, |_, number, name| (format!("{name}-{number}"), 1_i64))
        .map(|_, named| named)
        .to("counted");
    builder.build().expect("the topology is right")
}

#[test]
fn windows_are_counted_and_told_once_when_they_close_though_the_application_is_killed() {
    over_seeds("windows_though_the_application_is_killed", 0..2, |simulation| async move {
        let mut rng = SmallRng::seed_from_u64(simulation.seed_of("scenario"));
        let mut cluster = SimulatedCluster::start(&simulation, 1).await;
        let (client, topology) =
            (with_topics(&mut cluster, &["clicks", "counted"]).await, clicks_per_window());
        let producer = client.producer(ProducerSettings::default()).await.expect("a producer");
        let mut wanted: BTreeMap<String, i64> = BTreeMap::new();
        for round in 0..4_i64 {
            let streams = begin(&client, &topology).await;
            for number in 0..150_i64 {
                // Out of order by less than the grace.
                let at_ms = round * 30_000 + number * 200 + rng.random_range(0..2_000);
                let page = word(&mut rng);
                *wanted.entry(format!("{page}@{}", at_ms - at_ms % 10_000)).or_default() += 1;
                let partition = rng.random_range(0..PARTITIONS);
                let click = ProducerRecord::to("clicks").value(page).partition(partition).timestamp_ms(at_ms);
                drop(producer.send(click).await.expect("the click is taken"));
            }
            producer.flush().await;
            tokio::time::sleep(Duration::from_millis(rng.random_range(0..400))).await;
            tell("the application is killed");
            drop(streams);
        }
        let end = [end_of_input()];
        for partition in 0..PARTITIONS {
            let end = ProducerRecord::to("clicks").partition(partition).headers(&end);
            drop(producer.send(end).await.expect("the end is taken"));
        }
        producer.close(PATIENCE).await;
        let streams = begin(&client, &topology).await;
        until_told_once(&client, &wanted).await;
        streams.close(PATIENCE).await.expect("it closes");
        cluster.stop_all().await;
    });
}

#[test]
fn each_record_is_joined_once_with_what_a_table_has_though_the_application_is_killed() {
    over_seeds("joins_though_the_application_is_killed", 0..2, |simulation| async move {
        let mut rng = SmallRng::seed_from_u64(simulation.seed_of("scenario"));
        let mut cluster = SimulatedCluster::start(&simulation, 1).await;
        let client = with_topics(&mut cluster, &["names", "orders", "counted"]).await;
        let producer = client.producer(ProducerSettings::default()).await.expect("a producer");
        let (topology, mut wanted) = (named_orders(), BTreeMap::new());
        for word in WORDS {
            let name = word.to_uppercase();
            let known = ProducerRecord::to("names").key(word).value(&name).timestamp_ms(0);
            drop(producer.send(known).await.expect("the name is taken"));
        }
        producer.flush().await;
        for round in 0..4_i64 {
            let streams = begin(&client, &topology).await;
            for number in round * 100..(round + 1) * 100 {
                // Nobody knows who "nobody" is.
                let word = WORDS.get(rng.random_range(0..=WORDS.len())).copied().unwrap_or("nobody");
                if word != "nobody" {
                    wanted.insert(format!("{}-{number}", word.to_uppercase()), 1);
                }
                let value = number.to_be_bytes();
                let order = ProducerRecord::to("orders").key(word).value(&value).timestamp_ms(1 + number);
                drop(producer.send(order).await.expect("the order is taken"));
            }
            producer.flush().await;
            tokio::time::sleep(Duration::from_millis(rng.random_range(0..400))).await;
            tell("the application is killed");
            drop(streams);
        }
        producer.close(PATIENCE).await;
        let streams = begin(&client, &topology).await;
        until_told_once(&client, &wanted).await;
        streams.close(PATIENCE).await.expect("it closes");
        cluster.stop_all().await;
    });
}

/// Takes few questions only, which it says after they were counted.
struct Impatient;

impl Processor<String, i64> for Impatient {
    type Key = String;
    type Value = i64;

    fn process(
        &mut self,
        event: Event<String, i64>,
        context: &mut Context<'_, String, i64>,
    ) -> Result<(), StreamError> {
        if event.key == "question" && event.value > QUESTIONS_MAX {
            return Err(StreamError::Failed("too many questions".to_owned()));
        }
        context.forward(event)
    }
}

/// Words counted, where the fifth and all later questions are too much for who looks at the counts.
fn counts_of_few_questions() -> Topology {
    let builder = StreamBuilder::new("few-questions");
    counted_words(&builder).process("looks-at-counts", |_| Ok(Impatient)).to("word-counts");
    builder.on_poison(Poison::dead_letter("not-counted"));
    builder.build().expect("the topology is right")
}

const QUESTIONS_MAX: i64 = 4;

#[test]
fn records_that_fail_one_after_the_other_are_buried_once_each_and_all_others_are_counted() {
    over_seeds("records_that_fail_one_after_the_other", 0..2, |simulation| async move {
        let mut rng = SmallRng::seed_from_u64(simulation.seed_of("scenario"));
        let mut cluster = SimulatedCluster::start(&simulation, 3).await;
        let client = with_topics(&mut cluster, &["lines", "word-counts", "not-counted"]).await;
        let topology = counts_of_few_questions();
        let mut streams = begin(&client, &topology).await;
        let mut wanted = send_lines(&client, &mut rng, 40).await;
        tokio::time::sleep(Duration::from_millis(rng.random_range(0..400))).await;
        tell("the application is killed");
        drop(streams);
        streams = begin(&client, &topology).await;
        for (word, count) in send_lines(&client, &mut rng, 40).await {
            *wanted.entry(word).or_default() += count;
        }
        let questions = wanted.insert("question".to_owned(), QUESTIONS_MAX).unwrap_or(0);
        until_counted(&client, "word-counts", &wanted).await;
        let mut buried = 0;
        read(&client, "not-counted", |word, _| {
            assert_eq!(word, "question", "nothing else failed");
            buried += 1;
            buried >= questions - QUESTIONS_MAX
        })
        .await;
        assert_eq!(buried, questions - QUESTIONS_MAX);
        assert!(streams.close(PATIENCE).await.is_ok(), "it goes on, and closes");
        cluster.stop_all().await;
    });
}

//! Stores of streams, asked from elsewhere: answers are what is committed, and come again soon whoever is killed.

use std::collections::BTreeMap;
use std::time::Duration;

use millstream::streams::window::{Tumbling, Window};
use millstream::streams::{
    QueriedStore, QueryError, QueryRefusal, Reset, ResetError, ResetTo, StreamBuilder, Streams,
    StreamsSettings, Topology,
};
use millstream::{Client, ProducerRecord, ProducerSettings, TopicPartition};
use millstream_tests::simulated::{SimulatedCluster, over_seeds, tell};
use tokio::time::Instant;

/// How long an application may take to begin, or to come to the end of what there is.
const PATIENCE: Duration = Duration::from_secs(60);

/// How long answers may be away where a node dies: it is taken for dead, the group's coordinator comes up elsewhere, and the
/// process finds it.
const AWAY: Duration = Duration::from_secs(12);

const PARTITIONS: i32 = 2;

const WORDS: [&str; 6] = ["to", "be", "or", "not", "that", "is"];

/// Words, counted all together and by the minute, beside a table that every process has whole.
fn topology() -> Topology {
    let builder = StreamBuilder::new("words");
    builder.global_table::<String, String>("titles", "titles");
    let words = builder.stream::<String, String>("in");
    let grouped = words.group_by_key("unused");
    grouped.count("counts");
    let minutes = Tumbling::of(Duration::from_secs(60)).retention(Duration::from_hours(1));
    grouped.windowed_by(minutes).count("by-minute");
    builder.build().expect("the topology is right")
}

/// Sends each word so often, at these times.
async fn send(client: &Client, times: usize, at_ms: i64) {
    let producer = client.producer(ProducerSettings::default()).await.expect("a producer");
    for word in WORDS.iter().cycle().take(WORDS.len() * times) {
        let record = ProducerRecord::to("in").key(*word).value("x").timestamp_ms(at_ms);
        drop(producer.send(record).await.expect("the word is taken"));
    }
    producer.flush().await;
    producer.close(Duration::from_secs(1)).await;
}

async fn begin(client: &Client) -> Streams {
    let settings = StreamsSettings::default();
    let streams = Streams::start(client, &topology(), settings).await.expect("it starts");
    streams.running(PATIENCE).await.expect("it runs");
    streams
}

async fn with_topics(cluster: &mut SimulatedCluster) -> Client {
    let client = cluster.client();
    for topic in ["in", "titles"] {
        cluster.make_topic(&client, topic, PARTITIONS).await;
        // Records are kept, whatever their times.
        let kept = BTreeMap::from([("retention.ms".to_owned(), Some("-1".to_owned()))]);
        client.admin().alter_topic(topic, kept).await.expect("the topic is changed");
    }
    client
}

/// All that a store has, in small pages.
async fn all(store: &QueriedStore<String, i64>) -> Result<BTreeMap<String, i64>, QueryError> {
    let (mut all, mut after) = (BTreeMap::new(), None);
    loop {
        let page = store.all(after.as_ref()).await?;
        all.extend(page.entries);
        after = page.next;
        if after.is_none() {
            return Ok(all);
        }
    }
}

/// Waits until each word has this count.
async fn until(store: &QueriedStore<String, i64>, count: i64) {
    let wanted: BTreeMap<String, i64> = WORDS.iter().map(|word| ((*word).to_owned(), count)).collect();
    let until = Instant::now() + PATIENCE;
    loop {
        let found = all(store).await.expect("an answer");
        if found == wanted {
            return;
        }
        assert!(Instant::now() < until, "{found:?}, and not {count} of each");
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
}

fn word(place: usize) -> String {
    WORDS.get(place).copied().unwrap_or_default().to_owned()
}

#[test]
fn stores_are_asked_by_key_range_and_window_from_anywhere() {
    over_seeds("stores_are_asked", 0..1, |simulation| async move {
        let mut cluster = SimulatedCluster::start(&simulation, 1).await;
        let client = with_topics(&mut cluster).await;
        let streams = begin(&client).await;
        send(&client, 3, 30_000).await;
        send(&client, 2, 90_000).await;
        let elsewhere = cluster.client();
        let asked = elsewhere.streams("words");
        let remote = asked.store::<String, i64>("counts").pages_of(2, 1 << 20);
        until(&remote, 5).await;
        let here = streams.store::<String, i64>("counts").expect("there is such a store");
        assert_eq!(all(&here.clone().pages_of(1, 1)).await.expect("an answer"), all(&remote).await.unwrap());
        for store in [here, remote.clone()] {
            assert_eq!(store.get(&word(0)).await.expect("an answer"), Some(5));
            assert_eq!(store.clone().uncommitted().get(&"no".to_owned()).await.expect("an answer"), None);
            let page = store.range("or".to_owned().., None).await.expect("an answer");
            assert!(page.entries.iter().all(|(key, count)| key.as_str() >= "or" && *count == 5));
        }
        let size = remote.size().await.expect("an answer");
        assert_eq!(size.entries, u64::try_from(WORDS.len()).unwrap_or(0));
        let windows = asked.store::<String, i64>("by-minute");
        let here = streams.store::<String, i64>("by-minute").expect("there is such a store");
        for store in [windows, here] {
            let found = store.fetch(&word(1), 0..=60_000, None).await.expect("an answer").entries;
            let window = |start_ms| Window { start_ms, end_ms: start_ms + 60_000 };
            assert_eq!(found, [(window(0), 3), (window(60_000), 2)]);
            let later = store.fetch_all(60_000..=i64::MAX, None).await.expect("an answer");
            assert!(later.entries.iter().all(|(of, count)| of.window == window(60_000) && *count == 2));
            let error = store.get(&word(0)).await.expect_err("it has windows");
            assert!(matches!(error, QueryError::Refused(QueryRefusal::WrongType(_))), "{error}");
        }
        let unknown = asked.store::<String, i64>("other").get(&word(0)).await.expect_err("no such store");
        assert!(matches!(unknown, QueryError::Refused(QueryRefusal::UnknownStore(_))), "{unknown}");
        let typed = streams.store::<String, String>("counts").expect_err("the values are numbers");
        assert!(typed.to_string().contains("i64"), "{typed}");
        streams.close(PATIENCE).await.expect("it closes");
        let gone = asked.within(Duration::from_secs(1)).store::<String, i64>("counts").get(&word(0)).await;
        assert!(matches!(gone, Err(QueryError::Refused(QueryRefusal::NotRunning(_)))), "{gone:?}");
        cluster.stop_all().await;
    });
}

#[test]
fn global_tables_are_asked_as_stores_are() {
    over_seeds("global_tables_are_asked", 0..1, |simulation| async move {
        let mut cluster = SimulatedCluster::start(&simulation, 1).await;
        let client = with_topics(&mut cluster).await;
        let producer = client.producer(ProducerSettings::default()).await.expect("a producer");
        for (key, title) in [("a", "one"), ("b", "two")] {
            drop(producer.send(ProducerRecord::to("titles").key(key).value(title)).await.expect("taken"));
        }
        producer.close(Duration::from_secs(1)).await;
        let streams = begin(&client).await;
        let here = streams.store::<String, String>("titles").expect("there is such a table");
        for store in [here, cluster.client().streams("words").store("titles")] {
            assert_eq!(store.get(&"b".to_owned()).await.expect("an answer"), Some("two".to_owned()));
            let all = store.all(None).await.expect("an answer").entries;
            assert_eq!(all.iter().map(|(key, _)| key.as_str()).collect::<Vec<_>>(), ["a", "b"]);
        }
        streams.close(PATIENCE).await.expect("it closes");
        cluster.stop_all().await;
    });
}

#[test]
fn answers_agree_with_what_is_committed_and_come_again_soon_though_nodes_are_killed() {
    over_seeds("answers_though_nodes_are_killed", 0..2, |simulation| async move {
        let mut cluster = SimulatedCluster::start(&simulation, 3).await;
        let client = with_topics(&mut cluster).await;
        let streams = begin(&client).await;
        send(&client, 4, 0).await;
        let store = cluster.client().streams("words").within(AWAY).store::<String, i64>("counts");
        until(&store, 4).await;
        let coordinator = cluster.coordinator_of(&client, "words").await;
        let leader = cluster.leader_in(&client, "in", 0).await;
        for (round, node) in [coordinator, leader].into_iter().enumerate() {
            tell(&format!("node {node} is killed"));
            cluster.kill(node);
            let before = Instant::now();
            for place in 0..WORDS.len() {
                let count = store.get(&word(place)).await.expect("an answer in time");
                assert_eq!(count, Some(4 + i64::try_from(round).unwrap_or(0)), "nothing is lost");
            }
            tell(&format!("answers were away for {:?}", before.elapsed()));
            send(&client, 1, 0).await;
            cluster.restart(node).await;
            cluster.until_ready().await;
            until(&store, 5 + i64::try_from(round).unwrap_or(0)).await;
        }
        streams.close(PATIENCE).await.expect("it closes");
        cluster.stop_all().await;
    });
}

#[test]
fn an_application_is_reset_once_it_has_ended_and_begins_anew() {
    over_seeds("an_application_is_reset", 0..1, |simulation| async move {
        let mut cluster = SimulatedCluster::start(&simulation, 1).await;
        let client = with_topics(&mut cluster).await;
        let streams = begin(&client).await;
        send(&client, 2, 0).await;
        until(&client.streams("words").store("counts"), 2).await;
        let reset = |to, is_dry_run| Reset {
            application: "words".to_owned(),
            inputs: vec!["in".to_owned()],
            to,
            is_dry_run,
        };
        let runs = reset(ResetTo::Earliest, false).run(&client).await.expect_err("it runs");
        assert!(matches!(runs, ResetError::Runs { .. }), "{runs}");
        streams.close(PATIENCE).await.expect("it closes");
        let planned = reset(ResetTo::Earliest, true).run(&client).await.expect("it has ended");
        assert_eq!(planned.deleted, ["words-by-minute-changelog", "words-counts-changelog"]);
        let sum: i64 = planned.offsets.values().filter_map(|(before, _)| Some(before.as_ref()?.0)).sum();
        assert!(sum >= 12, "{planned:?}");
        assert!(planned.offsets.values().all(|(_, next)| next.0 == 0), "{planned:?}");
        assert_eq!(planned.offsets.len(), usize::try_from(PARTITIONS).unwrap_or(0));
        let topics = client.admin().list_topics().await.expect("topics");
        assert!(topics.iter().any(|topic| &*topic.name == "words-counts-changelog"), "nothing was done");
        let done = reset(ResetTo::Earliest, false).run(&client).await.expect("it is reset");
        assert_eq!(done, planned);
        // All is counted again, and once.
        let streams = begin(&client).await;
        until(&client.streams("words").store("counts"), 2).await;
        streams.close(PATIENCE).await.expect("it closes");
        // Behind all that is there, nothing is counted again.
        let done = reset(ResetTo::Latest, false).run(&client).await.expect("it is reset");
        let at_end = done.offsets.iter().find(|(of, _)| **of == TopicPartition::new("in", 0));
        assert!(at_end.is_some_and(|(_, (_, next))| next.0 > 0), "{done:?}");
        let streams = begin(&client).await;
        send(&client, 1, 0).await;
        until(&client.streams("words").store("counts"), 1).await;
        streams.close(PATIENCE).await.expect("it closes");
        cluster.stop_all().await;
    });
}

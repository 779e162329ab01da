//! Learn sessions: clicks of people come out of order, and those that are no farther apart than a gap become one visit.
//!
//! `cargo run --release --example sessions`

use std::collections::{BTreeMap, BTreeSet};
use std::error::Error;
use std::time::Duration;

use millstream::config::Settings;
use millstream::streams::codec::{self, Coded, SharedCodec};
use millstream::streams::window::{Emit, Session, Windowed};
use millstream::streams::{StreamBuilder, Streams, StreamsSettings, Topology, TopologyError, end_of_input};
use millstream::{
    Client, Consumer, ConsumerEvent, ConsumerSettings, CreateTopic, IsolationLevel, Node, ProducerRecord,
    ProducerSettings, Random, Record, SeekTo, TopicPartition,
};
use serde::{Deserialize, Serialize};

const PARTITIONS: i32 = 2;
const WITHIN: Duration = Duration::from_secs(30);

const PEOPLE: u64 = 50;
const PAGES: [&str; 6] = ["basket", "home", "offers", "pay", "search", "thanks"];
const CLICKS: u64 = 5_000;
/// The first click, milliseconds since 1970, and how long people click.
const BEGINS_MS: i64 = 1_767_225_600_000;
const LASTS_SECONDS: u64 = 12 * 3_600;

/// Clicks that are farther apart are of two visits.
const GAP: Duration = Duration::from_mins(5);
/// So far out of order clicks come, at most.
const GRACE: Duration = Duration::from_mins(10);

/// What somebody did in one visit.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
struct Visit {
    clicks: u64,
    pages: BTreeSet<String>,
}

impl Coded for Visit {
    fn codec() -> SharedCodec<Self> {
        codec::json()
    }
}

impl Visit {
    fn click(mut self, page: String) -> Self {
        self.clicks += 1;
        self.pages.insert(page);
        self
    }

    /// Two visits turn out to be one: a click between them came late.
    fn and(mut self, other: Self) -> Self {
        self.clicks += other.clicks;
        self.pages.extend(other.pages);
        self
    }
}

/// A visit is told once, when no click can come any more that belongs to it.
fn visits() -> Result<Topology, TopologyError> {
    let builder = StreamBuilder::new("visits");
    builder
        .stream::<String, String>("clicks")
        .group_by_key("clicks-of-people")
        .windowed_by(Session::gap(GAP).grace(GRACE))
        .emit(Emit::OnClose)
        .aggregate(
            |_| Visit::default(),
            |_, page, visit: Visit| visit.click(page),
            |_, one, other| one.and(other),
            "visits",
        )
        .to_stream()
        .to("visits");
    builder.build()
}

/// A click.
#[derive(Clone, Debug)]
struct Click {
    person: String,
    page: String,
    at_ms: i64,
}

/// Of each person and the first and the last click of a visit (milliseconds since 1970).
type Visits = BTreeMap<Whose, Visit>;

/// Whose visit, and from when to when, in milliseconds since 1970.
type Whose = (String, i64, i64);

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
    let node = Node::start(&settings)?;
    if !node.wait_until_ready(Duration::from_secs(20)).await {
        return Err("the node did not become ready".into());
    }
    let client = node.client();
    make_topics(&client).await?;
    let streams = Streams::start(&client, &visits()?, StreamsSettings::default()).await?;
    streams.running(WITHIN).await?;

    let clicks = clicks();
    let out_of_order = clicks.windows(2).filter(|two| matches!(two, [one, next] if next.at_ms < one.at_ms));
    say(format!("{} clicks, of which {} come after a later one", clicks.len(), out_of_order.count()));
    send(&client, &clicks).await?;
    let expected = computed(&clicks);
    let told = read(&client, expected.len()).await?;
    let right = told.iter().filter(|(of, visit)| expected.get(*of) == Some(visit)).count();
    say(format!("visits that are as the clicks have them: {right} of {}", expected.len()));
    let longest = told.iter().max_by_key(|((_, first_ms, last_ms), _)| last_ms - first_ms);
    if let Some(((person, first_ms, last_ms), visit)) = longest {
        let (seconds, pages) = ((last_ms - first_ms) / 1_000, visit.pages.len());
        say(format!("the longest: {person}, {} clicks on {pages} pages in {seconds} s", visit.clicks));
    }
    streams.close(WITHIN).await?;
    node.stop()?;
    if right == expected.len() { Ok(()) } else { Err("visits are not as the clicks have them".into()) }
}

/// All clicks, the same each time, in the order in which they come.
fn clicks() -> Vec<Click> {
    let random = Random::seeded(7);
    let mut coming: Vec<(u64, Click)> = (0..CLICKS)
        .map(|_| {
            let second = random.range(0, LASTS_SECONDS);
            let page = usize::try_from(random.range(0, PAGES.len() as u64)).ok().and_then(|it| PAGES.get(it));
            let click = Click {
                person: format!("person-{}", random.range(0, PEOPLE)),
                page: page.copied().unwrap_or_default().to_owned(),
                at_ms: BEGINS_MS.saturating_add_unsigned(second * 1_000),
            };
            (second + random.range(0, GRACE.as_secs() + 1), click)
        })
        .collect();
    coming.sort_by_key(|(comes, _)| *comes);
    coming.into_iter().map(|(_, click)| click).collect()
}

/// What visits there are, by the clicks alone: each person's are put in order and cut where there is a gap.
fn computed(clicks: &[Click]) -> Visits {
    let mut of_people: BTreeMap<&str, Vec<&Click>> = BTreeMap::new();
    for click in clicks {
        of_people.entry(&click.person).or_default().push(click);
    }
    let gap_ms = i64::try_from(GAP.as_millis()).unwrap_or(i64::MAX);
    let mut visits = Visits::new();
    for (person, mut clicks) in of_people {
        clicks.sort_by_key(|click| click.at_ms);
        for visit in clicks.chunk_by(|one, next| next.at_ms - one.at_ms <= gap_ms) {
            let (Some(first), Some(last)) = (visit.first(), visit.last()) else { continue };
            let pages = visit.iter().map(|click| click.page.clone()).collect();
            let of = (person.to_owned(), first.at_ms, last.at_ms);
            visits.insert(of, Visit { clicks: visit.len() as u64, pages });
        }
    }
    visits
}

/// The clicks have times of their own: they are kept whatever those are.
async fn make_topics(client: &Client) -> Result<(), Box<dyn Error>> {
    for name in ["clicks", "visits"] {
        let topic = CreateTopic {
            name: name.to_owned(),
            partitions: Some(PARTITIONS),
            replication_factor: Some(1),
            config: [("retention.ms".to_owned(), "-1".to_owned())].into(),
        };
        client.admin().create_topic(topic).await?;
    }
    Ok(())
}

/// Sends the clicks, and that there are no more: so all visits end.
async fn send(client: &Client, clicks: &[Click]) -> Result<(), Box<dyn Error>> {
    let producer = client.producer(ProducerSettings::default()).await?;
    for click in clicks {
        let record =
            ProducerRecord::to("clicks").key(&click.person).value(&click.page).timestamp_ms(click.at_ms);
        drop(producer.send(record).await?);
    }
    let end = [end_of_input()];
    for partition in 0..PARTITIONS {
        producer.send(ProducerRecord::to("clicks").partition(partition).headers(&end)).await?.await?;
    }
    producer.close(WITHIN).await;
    Ok(())
}

/// Reads so many visits that are committed. One that is told twice is an error.
async fn read(client: &Client, wanted: usize) -> Result<Visits, Box<dyn Error>> {
    let settings =
        ConsumerSettings { isolation: IsolationLevel::ReadCommitted, ..ConsumerSettings::default() };
    let mut consumer = Consumer::new(client, settings)?;
    let all = (0..PARTITIONS).map(|it| (TopicPartition::new("visits", it), SeekTo::Beginning));
    consumer.assign(all).await?;
    let mut visits = Visits::new();
    while visits.len() < wanted {
        let event = tokio::time::timeout(WITHIN, consumer.next()).await??;
        let ConsumerEvent::Records(fetched) = event else { continue };
        for record in fetched.records() {
            let (of, visit) = told(&record?)?;
            if visits.insert(of.clone(), visit).is_some() {
                return Err(format!("{of:?} was told twice").into());
            }
        }
    }
    consumer.close().await;
    Ok(visits)
}

fn told(record: &Record) -> Result<(Whose, Visit), Box<dyn Error>> {
    let Windowed { key: person, window } = Windowed::<String>::codec().decode(record.key.as_ref())?;
    let visit = Visit::codec().decode(record.value.as_ref())?;
    Ok(((person, window.start_ms, window.end_ms), visit))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn visits_are_as_the_clicks_have_them() {
        let mut said = Vec::new();
        run(|line| said.push(line)).await.unwrap();
        let expected = [
            "5000 clicks, of which 2427 come after a later one",
            "visits that are as the clicks have them: 2498 of 2498",
            "the longest: person-23, 11 clicks on 6 pages in 1397 s",
        ];
        assert_eq!(said, expected);
    }
}

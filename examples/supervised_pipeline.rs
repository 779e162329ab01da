//! Learn sources and sinks: orders flow from a topic through a stage of your own to entities and on to another topic. The stage
//! fails now and then, is begun anew, and goes on where it was: nothing is lost, nothing counts twice.
//!
//! `cargo run --release --example supervised_pipeline`

use std::collections::{BTreeMap, BTreeSet};
use std::error::Error;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use millstream::config::Settings;
use millstream::{
    ActorContext, ActorMessage, CallError, Client, Consumer, ConsumerEvent, ConsumerSettings, CreateTopic,
    Entity, EntityCaller, EntityTypes, Node, ProducerRecord, ProducerSettings, Refused, SeekTo, Sink,
    SinkRecord, SinkSettings, SourceHandler, SourceRecord, SourceSettings, TopicPartition, Turn,
};
use serde::{Deserialize, Serialize};

const ORDERS: i64 = 300;
const SHOPS: i64 = 5;
const WITHIN: Duration = Duration::from_secs(10);

/// The entity: a shop's till. Its state survives all that happens here.
#[derive(Serialize, Deserialize)]
struct Till {
    cents: i64,
    orders: i64,
}

#[derive(Serialize, Deserialize)]
enum Order {
    Pay { cents: i64 },
    Look,
}

impl ActorMessage for Order {
    const NAME: &'static str = "order";
    /// Cents and orders so far.
    type Answer = (i64, i64);
}

impl Entity for Till {
    const TYPE: &'static str = "till";
    type Key = String;
    type Message = Order;

    fn new(_: &String) -> Self {
        Self { cents: 0, orders: 0 }
    }

    fn handle(&mut self, order: Order, _: &mut Turn<'_, Self>) -> Result<(i64, i64), Refused> {
        if let Order::Pay { cents } = order {
            self.cents += cents;
            self.orders += 1;
        }
        Ok((self.cents, self.orders))
    }
}

/// The stage between source and sink. What it keeps in memory is gone with each panic.
struct Clerk {
    tills: EntityCaller,
    totals: Sink,
    /// Orders at which it still is to fail, as a bug would make it.
    fails_at: Arc<Mutex<BTreeSet<i64>>>,
}

impl SourceHandler for Clerk {
    const KIND: &'static str = "clerk";

    async fn handle(&mut self, record: SourceRecord, _: &ActorContext) -> Result<(), CallError> {
        let (shop, cents) = (text(record.key.as_deref()), text(record.value.as_deref()));
        let cents = cents.parse().map_err(|_| CallError::Malformed(format!("{cents} is no price")))?;
        // The same id each time that this record is handed out: the till takes it once.
        let till = self.tills.entity::<Till>(&shop);
        let (total, orders) = till.ask_as(record.request_id(), &Order::Pay { cents }, WITHIN).await?;
        let is_to_fail = self.fails_at.lock().is_ok_and(|mut left| left.remove(&record.offset.0));
        // The worst moment: the till has it, and nobody else knows.
        assert!(!is_to_fail, "the clerk fell over order {}", record.offset.0);
        self.totals.ask(SinkRecord::of(format!("{orders} {total}")).key(shop)).await?;
        Ok(())
    }
}

fn text(bytes: Option<&[u8]>) -> String {
    String::from_utf8_lossy(bytes.unwrap_or_default()).into_owned()
}

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Box<dyn Error>> {
    run(|line| println!("{line}")).await
}

async fn run(mut say: impl FnMut(String)) -> Result<(), Box<dyn Error>> {
    let directory = tempfile::tempdir()?;
    let settings = Settings::default()
        .set("data.dir", &directory.path().to_string_lossy())?
        .set("node.cores", "1")?
        .set("entity.partitions", "2")?
        .set("quic.listen", "127.0.0.1:0")?
        .set("http.listen", "127.0.0.1:0")?;
    let node = Node::start_hosting(&settings, EntityTypes::new().and::<Till>()?)?;
    if !node.wait_until_ready(Duration::from_secs(20)).await {
        return Err("the node did not become ready".into());
    }
    let client = node.client();
    let expected = send_orders(&client).await?;
    say(format!("{ORDERS} orders of {SHOPS} shops are in the topic"));

    // The pipeline: a source, a stage, a sink.
    let totals = node.flows().sink("totals", SinkSettings::default()).await?;
    let (tills, fails_at) = (node.entities().clone(), Arc::new(Mutex::new(BTreeSet::from([20, 110, 250]))));
    let clerk =
        move || Clerk { tills: tills.clone(), totals: totals.clone(), fails_at: Arc::clone(&fails_at) };
    let source = node.flows().source(["orders"], SourceSettings::group("clerks"), clerk).await?;

    let read = read_totals(&client).await?;
    let restarts =
        node.actors().here().into_iter().filter(|actor| actor.type_name.as_deref() == Some("clerk"));
    say(format!("the clerk was begun anew {} times", restarts.map(|actor| actor.restarts).sum::<u64>()));
    // What GET /metrics answers at the address of `http.listen`.
    let scrape = node.metrics().render();
    let ours = ["millstream_user_actor_panics_total{", "millstream_source_failures_total{"];
    for line in scrape.lines().filter(|line| ours.iter().any(|start| line.starts_with(start))) {
        say(line.to_owned());
    }

    let mut right = 0;
    for (shop, total) in &expected {
        let now = node.entities().entity::<Till>(shop).ask(&Order::Look, WITHIN).await?;
        right += usize::from(now == *total && read.get(shop) == Some(total));
    }
    say(format!("tills and totals that are right to the cent: {right} of {SHOPS}"));
    source.stop().await;
    node.stop()?;
    Ok(())
}

/// Makes the topics and fills one; what each shop must have at the end.
async fn send_orders(client: &Client) -> Result<BTreeMap<String, (i64, i64)>, Box<dyn Error>> {
    for name in ["orders", "totals"] {
        let topic = CreateTopic {
            name: name.to_owned(),
            partitions: Some(1),
            replication_factor: Some(1),
            config: BTreeMap::new(),
        };
        client.admin().create_topic(topic).await?;
    }
    let mut expected: BTreeMap<String, (i64, i64)> = BTreeMap::new();
    let producer = client.producer(ProducerSettings::default()).await?;
    for number in 0..ORDERS {
        let (shop, cents) = (format!("shop-{}", number % SHOPS), 100 + number);
        let order = cents.to_string();
        drop(producer.send(ProducerRecord::to("orders").key(&shop).value(&order)).await?);
        let total = expected.entry(shop).or_default();
        *total = (total.0 + cents, total.1 + 1);
    }
    producer.close(WITHIN).await;
    Ok(expected)
}

/// Reads the totals until every order is in one of them; the last of each shop.
async fn read_totals(client: &Client) -> Result<BTreeMap<String, (i64, i64)>, Box<dyn Error>> {
    let mut consumer = Consumer::new(client, ConsumerSettings::default())?;
    consumer.assign([(TopicPartition::new("totals", 0), SeekTo::Beginning)]).await?;
    let mut last: BTreeMap<String, (i64, i64)> = BTreeMap::new();
    while last.values().map(|(_, orders)| orders).sum::<i64>() < ORDERS {
        let ConsumerEvent::Records(fetched) = consumer.next().await? else { continue };
        for record in fetched.records() {
            let record = record?;
            let value = text(record.value.as_deref());
            let (orders, cents) = value.split_once(' ').ok_or("a total has two numbers")?;
            last.insert(text(record.key.as_deref()), (cents.parse()?, orders.parse()?));
        }
    }
    consumer.close().await;
    Ok(last)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn the_pipeline_is_right_in_spite_of_its_failures() {
        let mut said = Vec::new();
        run(|line| said.push(line)).await.unwrap();
        // A till that is slow for a moment is a failure, too: there may be more of them than panics.
        let failures = "millstream_source_failures_total{kind=\"clerk\"} ";
        let failed = said.iter().position(|line| line.starts_with(failures)).unwrap();
        let failed: u64 = said.remove(failed)[failures.len()..].parse().unwrap();
        assert!(failed >= 3, "{failed}");
        let expected = [
            "300 orders of 5 shops are in the topic",
            "the clerk was begun anew 3 times",
            "millstream_user_actor_panics_total{kind=\"clerk\"} 3",
            "tills and totals that are right to the cent: 5 of 5",
        ];
        assert_eq!(said, expected);
    }
}

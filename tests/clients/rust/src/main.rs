//! Tries rdkafka, which is librdkafka with an interface of Rust's.

use std::collections::HashMap;
use std::error::Error;
use std::process::Command;
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::{Duration, Instant, SystemTime};

use futures::executor::block_on;
use rdkafka::admin::{
    AdminClient, AdminOptions, AlterConfig, NewPartitions, NewTopic, ResourceSpecifier, TopicReplication,
};
use rdkafka::client::DefaultClientContext;
use rdkafka::config::ClientConfig;
use rdkafka::consumer::{BaseConsumer, CommitMode, Consumer};
use rdkafka::error::{KafkaError, RDKafkaErrorCode};
use rdkafka::message::{Header, Headers, Message, OwnedHeaders, OwnedMessage};
use rdkafka::producer::{BaseRecord, DeliveryResult, Producer, ProducerContext, ThreadedProducer};
use rdkafka::{ClientContext, Offset, TopicPartitionList};

type Outcome<T = ()> = Result<T, Box<dyn Error>>;
/// A key and a value.
type Pair = (String, String);
type Settings = [(&'static str, &'static str)];

const NAME: &str = "rdkafka";
const A_MOMENT: Duration = Duration::from_millis(50);
const PATIENCE: Duration = Duration::from_secs(60);

fn main() {
    tell("admin", administered);
    for name in ["none", "gzip", "snappy", "lz4", "zstd"] {
        tell(name, || codec(name));
    }
    tell("group", || group("classic"));
    tell("group-848", || group("consumer"));
    tell("time", seek_by_time);
    if variable("TRANSACTIONS") == "yes" {
        tell("transactions", transactions);
    }
    tell("kill", leader_killed);
}

fn tell(name: &str, check: impl FnOnce() -> Outcome) {
    match check() {
        Ok(()) => println!("ok {name}"),
        Err(error) => println!("failed {name}: {}", error.to_string().replace('\n', " ")),
    }
}

fn must(holds: bool, what: impl Into<String>) -> Outcome {
    if holds { Ok(()) } else { Err(what.into().into()) }
}

fn until(what: &str, mut is: impl FnMut() -> Outcome<bool>) -> Outcome {
    let end = Instant::now() + PATIENCE;
    while !is()? {
        must(Instant::now() < end, format!("it never came to that: {what}"))?;
        thread::sleep(Duration::from_millis(20));
    }
    Ok(())
}

fn variable(name: &str) -> String {
    std::env::var(name).unwrap_or_default()
}

fn node(action: &str, number: i32) -> Outcome {
    let status = Command::new(variable("NODE")).arg(action).arg(number.to_string()).status()?;
    must(status.success(), format!("{action} of node {number}"))
}

fn records(first: usize, end: usize) -> Vec<Pair> {
    (first..end).map(|i| (format!("k{}", i % 17), format!("{NAME} {i} {}", "flight ".repeat(20)))).collect()
}

/// Each record once, those of a key in the order in which they were sent.
fn same(sent: &[Pair], read: &[Pair], what: &str) -> Outcome {
    must(sent.len() == read.len(), format!("{what}: {} sent, {} read", sent.len(), read.len()))?;
    let of_keys = |pairs: &[Pair]| {
        let mut values = HashMap::<String, Vec<String>>::new();
        for (key, value) in pairs {
            values.entry(key.clone()).or_default().push(value.clone());
        }
        values
    };
    must(of_keys(sent) == of_keys(read), format!("{what}: others were read, or in another order"))
}

fn configuration(settings: &Settings) -> ClientConfig {
    let mut configuration = ClientConfig::new();
    configuration.set("bootstrap.servers", variable("BOOTSTRAP"));
    for (name, value) in settings {
        configuration.set(*name, *value);
    }
    configuration
}

fn admin() -> Outcome<AdminClient<DefaultClientContext>> {
    Ok(configuration(&[]).create()?)
}

/// Leaders of a topic's partitions, in order; none until each has one.
fn leaders(topic: &str) -> Outcome<Vec<i32>> {
    let metadata = admin()?.inner().fetch_metadata(Some(topic), Duration::from_secs(10))?;
    let partitions = metadata.topics().first().map(|found| found.partitions()).unwrap_or_default();
    let mut leaders: Vec<_> =
        partitions.iter().map(|one| (one.id(), one.leader(), one.replicas().len())).collect();
    leaders.sort_unstable();
    let whole = leaders.iter().all(|(_, leader, replicas)| *leader > 0 && *replicas == 3);
    Ok(if whole { leaders.into_iter().map(|(_, leader, _)| leader).collect() } else { Vec::new() })
}

fn make(topic: &str, partitions: usize) -> Outcome {
    let new = NewTopic::new(topic, i32::try_from(partitions)?, TopicReplication::Fixed(3));
    for made in block_on(admin()?.create_topics([&new], &AdminOptions::new()))? {
        made.map_err(|(topic, code)| format!("{topic}: {code}"))?;
    }
    until("the topic is there", || Ok(leaders(topic)?.len() == partitions))
}

fn administered() -> Outcome {
    let (topic, options, admin) = ("rdkafka-admin", AdminOptions::new(), admin()?);
    make(topic, 2)?;
    let change = AlterConfig::new(ResourceSpecifier::Topic(topic)).set("retention.ms", "86400000");
    for changed in block_on(admin.alter_configs([&change], &options))? {
        changed.map_err(|(_, code)| format!("alter_configs: {code}"))?;
    }
    until("retention.ms is as it was set", || {
        let told = block_on(admin.describe_configs([&ResourceSpecifier::Topic(topic)], &options))?;
        let resource = told.into_iter().next().ok_or("no resource")??;
        Ok(resource.get("retention.ms").and_then(|entry| entry.value.as_deref()) == Some("86400000"))
    })?;
    for grown in block_on(admin.create_partitions([&NewPartitions::new(topic, 4)], &options))? {
        grown.map_err(|(topic, code)| format!("{topic}: {code}"))?;
    }
    until("four partitions", || Ok(leaders(topic)?.len() == 4))?;
    for deleted in block_on(admin.delete_topics(&[topic], &options))? {
        deleted.map_err(|(topic, code)| format!("{topic}: {code}"))?;
    }
    until("the topic is gone", || {
        let all = admin.inner().fetch_metadata(None, Duration::from_secs(10))?;
        must(all.brokers().len() == 3, "three nodes")?;
        Ok(all.topics().iter().all(|found| found.name() != topic))
    })
}

/// Counts what was acknowledged, and keeps the first error.
#[derive(Clone, Default)]
struct Deliveries(Arc<Mutex<(usize, Option<KafkaError>)>>);

impl ClientContext for Deliveries {}

impl ProducerContext for Deliveries {
    type DeliveryOpaque = ();

    fn delivery(&self, result: &DeliveryResult<'_>, (): ()) {
        let mut counts = self.0.lock().expect("nobody panics with it");
        match result {
            Ok(_) => counts.0 += 1,
            Err((error, _)) => counts.1 = counts.1.take().or_else(|| Some(error.clone())),
        }
    }
}

struct Sender {
    producer: ThreadedProducer<Deliveries>,
    deliveries: Deliveries,
}

impl Sender {
    fn new(settings: &Settings) -> Outcome<Self> {
        let deliveries = Deliveries::default();
        let mut configuration = configuration(settings);
        configuration.set("acks", "all").set("linger.ms", "5");
        Ok(Self { producer: configuration.create_with_context(deliveries.clone())?, deliveries })
    }

    fn send(&self, topic: &str, partition: Option<i32>, (key, value): &Pair) -> Outcome {
        let headers = OwnedHeaders::new().insert(Header { key: "from", value: Some(NAME) });
        let mut record = BaseRecord::to(topic).key(key).payload(value).headers(headers);
        record.partition = partition;
        self.producer.send(record).map_err(|(error, _)| error.into())
    }

    fn all_acknowledged(&self, count: usize) -> Outcome {
        self.producer.flush(PATIENCE)?;
        let deliveries = self.deliveries.0.lock().map_err(|error| error.to_string())?;
        if let Some(error) = &deliveries.1 {
            return Err(error.clone().into());
        }
        must(deliveries.0 == count, format!("{} of {count} were acknowledged", deliveries.0))
    }
}

fn send(topic: &str, pairs: &[Pair], settings: &Settings) -> Outcome {
    let sender = Sender::new(settings)?;
    pairs.iter().try_for_each(|pair| sender.send(topic, None, pair))?;
    sender.all_acknowledged(pairs.len())
}

fn consumer(group: &str, settings: &Settings) -> Outcome<BaseConsumer> {
    let mut configuration = configuration(settings);
    configuration
        .set("group.id", group)
        .set("auto.offset.reset", "earliest")
        .set("enable.auto.commit", "false");
    Ok(configuration.create()?)
}

/// The next record, if there is one. A lost connection is told as an error, but librdkafka goes on by itself.
fn next(reader: &BaseConsumer, wait: Duration) -> Outcome<Option<OwnedMessage>> {
    match reader.poll(wait) {
        None => Ok(None),
        Some(Ok(message)) => Ok(Some(message.detach())),
        Some(Err(error)) => match error.rdkafka_error_code() {
            Some(RDKafkaErrorCode::BrokerTransportFailure | RDKafkaErrorCode::AllBrokersDown) => Ok(None),
            _ => Err(error.into()),
        },
    }
}

fn read(reader: &BaseConsumer, count: usize) -> Outcome<Vec<OwnedMessage>> {
    let (mut found, end) = (Vec::new(), Instant::now() + PATIENCE);
    while found.len() < count {
        must(Instant::now() < end, format!("{} of {count} records were read", found.len()))?;
        found.extend(next(reader, A_MOMENT)?);
    }
    Ok(found)
}

fn text(bytes: Option<&[u8]>) -> String {
    String::from_utf8_lossy(bytes.unwrap_or_default()).into_owned()
}

fn pairs(messages: &[OwnedMessage]) -> Vec<Pair> {
    messages.iter().map(|message| (text(message.key()), text(message.payload()))).collect()
}

fn read_topic(topic: &str, partitions: i32, count: usize, settings: &Settings) -> Outcome<Vec<OwnedMessage>> {
    let reader = consumer(NAME, settings)?;
    let mut places = TopicPartitionList::new();
    (0..partitions)
        .try_for_each(|partition| places.add_partition_offset(topic, partition, Offset::Beginning))?;
    reader.assign(&places)?;
    let found = read(&reader, count)?;
    must(next(&reader, A_MOMENT * 6)?.is_none(), format!("{topic}: more than {count} records"))?;
    Ok(found)
}

fn codec(name: &'static str) -> Outcome {
    let topic = format!("{NAME}-{name}");
    make(&topic, 3)?;
    send(&topic, &records(0, 1000), &[("compression.type", name)])?;
    let found = read_topic(&topic, 3, 1000, &[])?;
    let has_header = |message: &OwnedMessage| {
        message
            .headers()
            .is_some_and(|headers| headers.count() == 1 && headers.get(0).value == Some(NAME.as_bytes()))
    };
    must(found.iter().all(has_header), "headers")?;
    same(&records(0, 1000), &pairs(&found), name)
}

/// Members of a group: the first and, later, the second; what each has read, and how often each value was.
struct Members {
    topic: String,
    protocol: &'static str,
    all: [Option<BaseConsumer>; 2],
    read: [usize; 2],
    times: HashMap<String, usize>,
}

impl Members {
    fn join(&mut self, number: usize) -> Outcome {
        let settings = match self.protocol {
            "consumer" => [("group.protocol", "consumer")],
            _ => [("group.protocol", "classic")],
        };
        let member = consumer(&self.topic, &settings)?;
        member.subscribe(&[&self.topic])?;
        self.all[number] = Some(member);
        Ok(())
    }

    fn step(&mut self) -> Outcome {
        for (member, read) in self.all.iter().zip(&mut self.read) {
            let Some(member) = member else { continue };
            while let Some(message) = next(member, A_MOMENT)? {
                *read += 1;
                *self.times.entry(text(message.payload())).or_default() += 1;
            }
        }
        Ok(())
    }

    fn assigned(&mut self, counts: [usize; 2]) -> Outcome {
        until("the partitions are assigned", || {
            self.step()?;
            let mut found = [0; 2];
            for (member, count) in self.all.iter().zip(&mut found) {
                *count =
                    member.as_ref().map_or(Ok(0), |member| member.assignment().map(|list| list.count()))?;
            }
            Ok(found == counts)
        })
    }

    fn take(&mut self, more: &[Pair]) -> Outcome {
        let total = self.read.iter().sum::<usize>() + more.len();
        send(&self.topic, more, &[])?;
        until(&format!("{total} records read"), || {
            self.step()?;
            Ok(self.read.iter().sum::<usize>() >= total)
        })?;
        self.all.iter().flatten().try_for_each(|member| member.commit_consumer_state(CommitMode::Sync))?;
        Ok(())
    }
}

/// One member reads; with the second, each record goes to one of the two; without the first, all go to the second.
fn group(protocol: &'static str) -> Outcome {
    let topic = format!("{NAME}-group-{protocol}");
    make(&topic, 4)?;
    let mut members = Members { topic, protocol, all: [None, None], read: [0, 0], times: HashMap::new() };
    members.join(0)?;
    members.take(&records(0, 400))?;
    members.join(1)?;
    members.assigned([2, 2])?;
    members.take(&records(400, 1200))?;
    members.all[0] = None;
    members.assigned([0, 4])?;
    members.take(&records(1200, 1600))?;
    members.all[1] = None;
    must(members.read.iter().all(|read| *read > 400), format!("one read everything: {:?}", members.read))?;
    let once = records(0, 1600).iter().all(|(_, value)| members.times.get(value) == Some(&1));
    must(once, "a record went to two members, or to none")?;
    for deleted in block_on(admin()?.delete_groups(&[&members.topic], &AdminOptions::new()))? {
        deleted.map_err(|(group, code)| format!("{group}: {code}"))?;
    }
    Ok(())
}

fn seek_by_time() -> Outcome {
    let topic = "rdkafka-time";
    make(topic, 1)?;
    let now_ms = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH)?.as_millis();
    let begin_ms = i64::try_from(now_ms)? - 3_600_000;
    let sender = Sender::new(&[])?;
    for i in 0..100 {
        let value = i.to_string();
        let record =
            BaseRecord::to(topic).key("k").payload(&value).partition(0).timestamp(begin_ms + i * 1000);
        sender.producer.send(record).map_err(|(error, _)| error)?;
    }
    sender.all_acknowledged(100)?;
    let reader = consumer(NAME, &[])?;
    let at = |time_ms: i64| -> Outcome<Offset> {
        let mut asked = TopicPartitionList::new();
        asked.add_partition_offset(topic, 0, Offset::Offset(time_ms))?;
        let found = reader.offsets_for_times(asked, Duration::from_secs(10))?;
        Ok(found.elements().first().ok_or("no partition")?.offset())
    };
    must(
        at(begin_ms + 49_001)? == Offset::Offset(50),
        format!("{:?} instead of 50", at(begin_ms + 49_001)?),
    )?;
    must(at(begin_ms + 100_000)? == Offset::End, format!("{:?} after the last", at(begin_ms + 100_000)?))?;
    let mut from = TopicPartitionList::new();
    from.add_partition_offset(topic, 0, at(begin_ms + 50_000)?)?;
    reader.assign(&from)?;
    let values: Vec<_> = pairs(&read(&reader, 50)?).into_iter().map(|(_, value)| value).collect();
    must(values == (50..100).map(|i| i.to_string()).collect::<Vec<_>>(), format!("{values:?}"))
}

fn leader_killed() -> Outcome {
    let (topic, total) = ("rdkafka-kill", 3000);
    make(topic, 3)?;
    let leader = *leaders(topic)?.first().ok_or("no leader")?;
    let follower = thread::spawn(move || {
        read_topic(topic, 3, total, &[]).map(|read| pairs(&read)).map_err(|error| error.to_string())
    });
    let sender = Sender::new(&[("enable.idempotence", "true")])?;
    let sent: Vec<Pair> = (0..total).map(|i| ((i % 3).to_string(), i.to_string())).collect();
    for (i, pair) in sent.iter().enumerate() {
        sender.send(topic, Some(i32::try_from(i % 3)?), pair)?;
        thread::sleep(Duration::from_millis(1));
        if i == total / 3 {
            node("kill", leader)?;
        } else if i == total * 2 / 3 {
            node("start", leader)?;
        }
    }
    sender.all_acknowledged(total)?;
    let during = follower.join().map_err(|_| "the follower panicked")??;
    same(&sent, &during, "read during the kill")?;
    same(&sent, &pairs(&read_topic(topic, 3, total, &[])?), "read after it")
}

fn transactions() -> Outcome {
    let (source, target) = ("rdkafka-source", "rdkafka-target");
    make(source, 1)?;
    make(target, 2)?;
    send(source, &records(0, 100), &[])?;
    let writing = [("transactional.id", NAME), ("transaction.timeout.ms", "30000")];
    let open = || -> Outcome<(Sender, BaseConsumer)> {
        let sender = Sender::new(&writing)?;
        sender.producer.init_transactions(PATIENCE)?;
        let reader = consumer(source, &[("isolation.level", "read_committed")])?;
        reader.subscribe(&[source])?;
        Ok((sender, reader))
    };
    let copy = |sender: &Sender, reader: &BaseConsumer, count: usize| -> Outcome {
        let found = read(reader, count)?;
        sender.producer.begin_transaction()?;
        pairs(&found).iter().try_for_each(|pair| sender.send(target, None, pair))?;
        let members = reader.group_metadata().ok_or("no group")?;
        sender.producer.send_offsets_to_transaction(&reader.position()?, &members, PATIENCE)?;
        Ok(sender.producer.commit_transaction(PATIENCE)?)
    };
    let (first, reader) = open()?;
    copy(&first, &reader, 60)?;
    first.producer.begin_transaction()?;
    (0..40).try_for_each(|i| first.send(target, None, &(format!("k{i}"), "aborted".to_owned())))?;
    first.producer.flush(PATIENCE)?;
    first.producer.abort_transaction(PATIENCE)?;
    drop(reader);
    // Another with the same id goes on where the group's offsets are, and the first is fenced.
    let (second, reader) = open()?;
    copy(&second, &reader, 40)?;
    let zombie = first
        .producer
        .begin_transaction()
        .map_err(Box::<dyn Error>::from)
        .and_then(|()| first.send(target, None, &("k".to_owned(), "of a zombie".to_owned())))
        .and_then(|()| Ok(first.producer.commit_transaction(PATIENCE)?));
    must(zombie.is_err(), "the first producer was not fenced")?;
    let mut places = TopicPartitionList::new();
    places.add_partition(source, 0);
    let committed = reader.committed_offsets(places, Duration::from_secs(10))?;
    let offset = committed.elements().first().ok_or("no partition")?.offset();
    must(offset == Offset::Offset(100), format!("the group's offset is {offset:?}"))?;
    same(
        &records(0, 100),
        &pairs(&read_topic(target, 2, 100, &[("isolation.level", "read_committed")])?),
        "committed",
    )?;
    read_topic(target, 2, 140, &[("isolation.level", "read_uncommitted")])?;
    Ok(())
}

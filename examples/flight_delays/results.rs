//! What came out, as readers of committed records see it.

use std::collections::BTreeMap;
use std::fmt::Debug;

use millstream::streams::Coded;
use millstream::streams::window::Windowed;
use millstream::{
    Client, Consumer, ConsumerEvent, ConsumerSettings, IsolationLevel, Offset, OffsetSpec, Record, SeekTo,
    TopicPartition,
};
use tokio::time::{Instant, timeout_at};

use super::batch::{Answer, LateFlights, OfWindows};
use super::input::{Outcome, PARTITIONS};
use super::topology::{HOURLY, HOURLY_LATE, SLIDING, SLIDING_LATE, WORST};

/// Reads results from the beginning.
#[derive(Debug)]
pub struct Results {
    client: Client,
    consumer: Consumer,
    /// What was read so far.
    pub read: Answer,
}

impl Results {
    /// Of a cluster.
    pub async fn of(client: &Client) -> Outcome<Self> {
        let settings =
            ConsumerSettings { isolation: IsolationLevel::ReadCommitted, ..ConsumerSettings::default() };
        let consumer = Consumer::new(client, settings)?;
        consumer.assign(partitions().into_iter().map(|of| (of, SeekTo::Beginning))).await?;
        Ok(Self { client: client.clone(), consumer, read: Answer::default() })
    }

    /// Reads until there is enough, or it is too late for that; whether it is enough.
    pub async fn until(&mut self, is_enough: impl Fn(&Answer) -> bool, deadline: Instant) -> Outcome<bool> {
        while !is_enough(&self.read) {
            match timeout_at(deadline, self.consumer.next()).await {
                Ok(event) => self.take(&event?)?,
                Err(_) => return Ok(false),
            }
        }
        Ok(true)
    }

    /// Reads up to where the topics end now. To be called when nobody writes them any more.
    pub async fn read_to_the_end(mut self, deadline: Instant) -> Outcome<Answer> {
        let wanted: Vec<_> = partitions().into_iter().map(|of| (of, OffsetSpec::Latest)).collect();
        let ends = self.client.admin().offsets(&wanted).await?;
        loop {
            let mut is_there = true;
            for (of, end) in &ends {
                let at = self.consumer.position(of)?.unwrap_or(Offset(0));
                is_there &= end.offset.is_none_or(|end| at >= end);
            }
            if is_there {
                break;
            }
            let event = timeout_at(deadline, self.consumer.next()).await;
            self.take(&event.map_err(|_| "the topics of results were not read to their ends in time")??)?;
        }
        self.consumer.close().await;
        self.read.late_for_hours.sort();
        self.read.late_for_sliding.sort();
        Ok(self.read)
    }

    fn take(&mut self, event: &ConsumerEvent) -> Outcome {
        let ConsumerEvent::Records(fetched) = event else { return Ok(()) };
        let (topic, read) = (&*fetched.partition.topic, &mut self.read);
        for record in fetched.records() {
            let record = record?;
            match topic {
                HOURLY => once(&mut read.hours, topic, &record)?,
                SLIDING => once(&mut read.sliding, topic, &record)?,
                HOURLY_LATE => one_more(&mut read.late_for_hours, &record)?,
                SLIDING_LATE => one_more(&mut read.late_for_sliding, &record)?,
                // Refined as results of the day come.
                _ => _ = read.worst.insert(key(&record)?, value(&record)?),
            }
        }
        Ok(())
    }
}

fn partitions() -> Vec<TopicPartition> {
    let topics = [HOURLY, HOURLY_LATE, SLIDING, SLIDING_LATE, WORST];
    topics.iter().flat_map(|topic| (0..PARTITIONS).map(|it| TopicPartition::new(*topic, it))).collect()
}

fn key<K: Coded>(record: &Record) -> Outcome<K> {
    Ok(K::codec().decode(record.key.as_ref())?)
}

fn value<V: Coded>(record: &Record) -> Outcome<V> {
    Ok(V::codec().decode(record.value.as_ref())?)
}

/// A result is told once, when its window closes.
fn once(read: &mut OfWindows, topic: &str, record: &Record) -> Outcome {
    let Windowed { key: origin, window } = key::<Windowed<String>>(record)?;
    match read.insert((origin.clone(), window.start_ms), value(record)?) {
        None => Ok(()),
        Some(before) => {
            Err(format!("{topic}: {origin} from {} was told twice, {before:?} first", window.start_ms).into())
        }
    }
}

fn one_more(late: &mut LateFlights, record: &Record) -> Outcome {
    late.push((key(record)?, record.timestamp_ms, value(record)?));
    Ok(())
}

/// Whether as much was read as is wanted; what it is is another question.
#[must_use]
pub fn has_all(read: &Answer, wanted: &Answer) -> bool {
    read.hours.len() >= wanted.hours.len()
        && read.sliding.len() >= wanted.sliding.len()
        && read.late_for_hours.len() >= wanted.late_for_hours.len()
        && read.late_for_sliding.len() >= wanted.late_for_sliding.len()
        && read.worst == wanted.worst
}

/// What is not as it is wanted, one line of each kind of results; nothing where all is.
#[must_use]
pub fn differences(read: &Answer, wanted: &Answer) -> Vec<String> {
    let late = |of: &LateFlights| -> BTreeMap<usize, _> { of.iter().cloned().enumerate().collect() };
    [
        difference("hours", &read.hours, &wanted.hours),
        difference("sliding windows", &read.sliding, &wanted.sliding),
        difference("late for hours", &late(&read.late_for_hours), &late(&wanted.late_for_hours)),
        difference(
            "late for sliding windows",
            &late(&read.late_for_sliding),
            &late(&wanted.late_for_sliding),
        ),
        difference("worst of days", &read.worst, &wanted.worst),
    ]
    .into_iter()
    .flatten()
    .collect()
}

fn difference<K: Ord + Debug, V: PartialEq + Debug>(
    what: &str,
    read: &BTreeMap<K, V>,
    wanted: &BTreeMap<K, V>,
) -> Option<String> {
    let differs = |key: &&K| read.get(*key) != wanted.get(*key);
    let first = wanted.keys().chain(read.keys()).find(differs)?;
    let count =
        wanted.keys().chain(read.keys().filter(|key| !wanted.contains_key(*key))).filter(differs).count();
    let (is, should) = (read.get(first), wanted.get(first));
    Some(format!(
        "{what}: {count} of {} differ; of {first:?} came {is:?}, wanted is {should:?}",
        wanted.len()
    ))
}

//! A group of two members that reads the flights.

use std::collections::BTreeMap;
use std::error::Error;
use std::time::Duration;

use millstream::{Client, Consumer, ConsumerEvent, ConsumerSettings, OffsetReset, Record};
use tokio::sync::{mpsc, watch};
use tokio::task::JoinHandle;

use crate::cluster::TOPIC;

const MEMBERS: usize = 2;

/// How long the last records may take to arrive.
const PATIENCE: Duration = Duration::from_secs(20);

/// One record as a member got it.
#[derive(Clone, Copy, Debug)]
pub struct Received {
    /// Which member.
    pub member: usize,
    /// Its place.
    pub partition: i32,
    /// Its offset.
    pub offset: i64,
    /// The row that its header names.
    pub row: usize,
}

/// The members, each a task.
pub struct Readers {
    members: Vec<JoinHandle<Result<(), String>>>,
    received: mpsc::UnboundedReceiver<Received>,
    stop: watch::Sender<bool>,
}

impl Readers {
    /// Starts both members and waits until each has its half of the partitions.
    pub async fn start(client: &Client) -> Result<Self, Box<dyn Error>> {
        let (send, received) = mpsc::unbounded_channel();
        let (stop, stopped) = watch::channel(false);
        let (assigned, mut shares) = watch::channel(BTreeMap::new());
        let mut members = Vec::new();
        for member in 0..MEMBERS {
            let settings = ConsumerSettings {
                offset_reset: OffsetReset::Earliest,
                ..ConsumerSettings::group("arrivals")
            };
            let consumer = Consumer::new(client, settings)?;
            consumer.subscribe([TOPIC])?;
            let (send, stopped, assigned) = (send.clone(), stopped.clone(), assigned.clone());
            members.push(tokio::spawn(read(member, consumer, send, stopped, assigned)));
        }
        let halves = shares.wait_for(|shares: &BTreeMap<usize, usize>| {
            shares.len() == MEMBERS && shares.values().all(|share| *share == 3)
        });
        tokio::time::timeout(PATIENCE, halves).await.map_err(|_| "the group did not form")??;
        Ok(Self { members, received, stop })
    }

    /// Waits until so many rows were received, then ends the members; all that was received.
    pub async fn finish(mut self, rows: usize) -> Result<Vec<Received>, Box<dyn Error>> {
        let mut received = Vec::new();
        let deadline = tokio::time::Instant::now() + PATIENCE;
        while received.len() < rows {
            match tokio::time::timeout_at(deadline, self.received.recv()).await {
                Ok(Some(record)) => received.push(record),
                Ok(None) | Err(_) => break,
            }
        }
        self.stop.send_replace(true);
        for member in self.members {
            member.await??;
        }
        // What came twice would come now.
        while let Ok(record) = self.received.try_recv() {
            received.push(record);
        }
        Ok(received)
    }
}

async fn read(
    member: usize,
    mut consumer: Consumer,
    send: mpsc::UnboundedSender<Received>,
    mut stopped: watch::Receiver<bool>,
    assigned: watch::Sender<BTreeMap<usize, usize>>,
) -> Result<(), String> {
    loop {
        let event = tokio::select! {
            event = consumer.next() => event.map_err(|error| error.to_string())?,
            _ = stopped.wait_for(|stopped| *stopped) => break,
        };
        if let ConsumerEvent::Records(fetched) = &event {
            for record in fetched.records() {
                let record = record.map_err(|error| error.to_string())?;
                let received = Received {
                    member,
                    partition: fetched.partition.partition,
                    offset: record.offset.0,
                    row: row(&record).ok_or("a record without its row")?,
                };
                // The other end waits for the last of them.
                let _ = send.send(received);
            }
        } else {
            let share = consumer.assignment().len();
            assigned.send_modify(|shares| {
                shares.insert(member, share);
            });
        }
    }
    consumer.close().await;
    Ok(())
}

fn row(record: &Record) -> Option<usize> {
    let header = record.headers.iter().find(|header| header.name == "row".as_bytes())?;
    std::str::from_utf8(header.value.as_ref()?).ok()?.parse().ok()
}

//! Counts what happened, and says whether it may have.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use tokio::time::Instant;

use crate::Acknowledged;
use crate::cluster::PARTITIONS;
use crate::flights::Flight;
use crate::readers::Received;

/// What a run came to.
pub struct Report {
    sent: usize,
    acknowledged: usize,
    received: usize,
    missing: usize,
    twice: usize,
    misplaced: usize,
    disordered: usize,
    per_partition: BTreeMap<i32, usize>,
    per_member: BTreeMap<usize, usize>,
    killed: u32,
    busiest: i32,
    leaderless: Option<Duration>,
    in_sync: usize,
}

impl Report {
    /// Counts. `away` is when the node was killed.
    pub fn new(
        flights: &[Flight],
        sent: &[Option<Acknowledged>],
        received: &[Received],
        (killed, busiest): (u32, i32),
        away: Instant,
        in_sync: usize,
    ) -> Self {
        let mut rows: BTreeMap<usize, Vec<&Received>> = BTreeMap::new();
        let mut last: BTreeMap<i32, (i64, usize)> = BTreeMap::new();
        let (mut per_partition, mut per_member) = (BTreeMap::new(), BTreeMap::new());
        let mut disordered = 0;
        for record in received {
            rows.entry(record.row).or_default().push(record);
            *per_partition.entry(record.partition).or_default() += 1;
            *per_member.entry(record.member).or_default() += 1;
            let now = (record.offset, record.row);
            if let Some(before) = last.insert(record.partition, now) {
                // Flights are sent in the order of their rows, and so must stand in it within each partition.
                disordered += usize::from(before.0 >= now.0 || before.1 >= now.1);
            }
        }
        let elsewhere = |(row, acknowledged): (usize, &Option<Acknowledged>)| {
            let places: BTreeSet<_> = rows
                .get(&row)
                .into_iter()
                .flatten()
                .map(|record| (record.partition, record.offset))
                .collect();
            acknowledged
                .is_some_and(|acknowledged| !places.contains(&(acknowledged.partition, acknowledged.offset)))
        };
        let first_after = sent.iter().flatten().filter(|ack| ack.partition == busiest && ack.at > away);
        Self {
            sent: sent.len(),
            acknowledged: sent.iter().flatten().count(),
            received: received.len(),
            missing: flights.iter().filter(|flight| !rows.contains_key(&flight.row)).count(),
            twice: rows.values().filter(|records| records.len() > 1).count(),
            misplaced: sent.iter().enumerate().filter(|row| elsewhere(*row)).count(),
            disordered,
            per_partition,
            per_member,
            killed,
            busiest,
            leaderless: first_after.map(|ack| ack.at - away).min(),
            in_sync,
        }
    }

    /// Whether everything is as promised.
    pub fn holds(&self) -> bool {
        let whole = self.sent == self.acknowledged && self.sent == self.received;
        let faults = self.missing + self.twice + self.misplaced + self.disordered;
        whole
            && faults == 0
            && self.leaderless.is_some()
            && self.in_sync == 3 * PARTITIONS.unsigned_abs() as usize
    }

    /// Writes the table to standard output.
    pub fn print(&self) {
        let leaderless =
            self.leaderless.map_or("for good".to_owned(), |gap| format!("{} ms", gap.as_millis()));
        println!("flights sent                        {:>7}", self.sent);
        println!("  acknowledged                      {:>7}", self.acknowledged);
        println!("  received                          {:>7}", self.received);
        println!("  missing                           {:>7}", self.missing);
        println!("  received twice                    {:>7}", self.twice);
        println!("  not where acknowledged            {:>7}", self.misplaced);
        println!("  out of order in their partition   {:>7}", self.disordered);
        for (member, count) in &self.per_member {
            println!("received by member {}                {count:>7}", member + 1);
        }
        for (partition, count) in &self.per_partition {
            let note = if *partition == self.busiest { "  its leader was killed" } else { "" };
            println!("in partition {partition}                      {count:>7}{note}");
        }
        println!(
            "node {} killed: partition {} without acknowledgements for {leaderless}",
            self.killed, self.busiest
        );
        println!("replicas in sync at the end              {} of {}", self.in_sync, 3 * PARTITIONS);
    }
}

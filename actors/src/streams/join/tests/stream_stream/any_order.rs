//! Records in any order, and wherever all is begun again, against what a loop over all of them finds.

use proptest::prelude::*;

use super::super::{steps, take};
use super::*;

#[derive(Clone, Debug)]
struct Sent {
    is_left: bool,
    key: u8,
    at_ms: i64,
}

fn sent(until_ms: i64) -> impl Strategy<Value = Sent> {
    (any::<bool>(), 0..3_u8, 0..until_ms).prop_map(|(is_left, key, at_ms)| Sent { is_left, key, at_ms })
}

/// Sends a record whose value is the number of the step.
fn send(driver: &mut TopologyDriver, number: usize, sent: &Sent) {
    let topic = if sent.is_left { "lefts" } else { "rights" };
    let value = i64::try_from(number).unwrap();
    put(driver, topic, &sent.key.to_string(), Some(value), sent.at_ms);
}

/// A record of the model.
#[derive(Clone, Debug)]
struct Kept {
    of: Sent,
    number: i64,
    has_met: bool,
    is_open: bool,
}

/// What a loop over all records finds, in the order in which they come, of one task.
struct Model {
    windows: (i64, i64, i64),
    kind: &'static str,
    reached: [i64; 2],
    records: Vec<Kept>,
    found: Vec<Pair>,
}

impl Model {
    fn closes_ms(&self, of: &Sent) -> i64 {
        of.at_ms + self.windows.2 + if of.is_left { self.windows.1 } else { self.windows.0 }
    }

    fn send(&mut self, number: usize, of: &Sent) {
        let reached = &mut self.reached[usize::from(of.is_left)];
        *reached = of.at_ms.max(*reached);
        let now_ms = self.reached[0].min(self.reached[1]);
        let mut record =
            Kept { of: of.clone(), number: i64::try_from(number).unwrap(), has_met: false, is_open: true };
        if self.closes_ms(of) >= now_ms {
            for other in &mut self.records {
                let (left, right) = if of.is_left { (&record, &*other) } else { (&*other, &record) };
                let apart_ms = right.of.at_ms - left.of.at_ms;
                let is_near = -self.windows.0 <= apart_ms && apart_ms <= self.windows.1;
                if other.of.is_left != of.is_left && other.of.key == of.key && other.is_open && is_near {
                    let at_ms = left.of.at_ms.max(right.of.at_ms);
                    self.found.push((of.key.to_string(), at_ms, Some(left.number), Some(right.number)));
                    other.has_met = true;
                    record.has_met = true;
                }
            }
            self.records.push(record);
        }
        self.close(now_ms);
    }

    fn close(&mut self, now_ms: i64) {
        for place in 0..self.records.len() {
            let record = self.records[place].clone();
            if !record.is_open || self.closes_ms(&record.of) >= now_ms {
                continue;
            }
            self.records[place].is_open = false;
            let is_kept = self.kind == "outer" || self.kind == "left" && record.of.is_left;
            if !record.has_met && is_kept {
                let number = Some(record.number);
                let sides = if record.of.is_left { (number, None) } else { (None, number) };
                self.found.push((record.of.key.to_string(), record.of.at_ms, sides.0, sides.1));
            }
        }
    }
}

fn model(kind: &'static str, windows: (i64, i64, i64)) -> Model {
    Model { windows, kind, reached: [i64::MIN; 2], records: Vec::new(), found: Vec::new() }
}

fn windows_of((before_ms, after_ms, grace_ms): (i64, i64, i64)) -> JoinWindows {
    let of = |ms: i64| milliseconds(u64::try_from(ms).unwrap());
    JoinWindows::within(of(0)).before(of(before_ms)).after(of(after_ms)).grace(of(grace_ms))
}

proptest! {
    #[test]
    fn records_that_come_in_any_order_and_late_meet_as_the_windows_say(
        records in prop::collection::vec((sent(60), 0..12_u8), 0..60),
        windows in (0..8_i64, 0..8_i64, 0..8_i64),
        kind in prop::sample::select(KINDS.to_vec()),
    ) {
        let mut driver = topology(kind, windows_of(windows), 1);
        let mut model = model(kind, windows);
        for (number, (record, then)) in records.iter().enumerate() {
            send(&mut driver, number, record);
            model.send(number, record);
            match then {
                0 => driver.abort().unwrap(),
                1 => driver.lose_stores().unwrap(),
                _ => {}
            }
        }
        driver.end().unwrap();
        model.close(i64::MAX);
        let mut found = read(&mut driver);
        found.sort();
        model.found.sort();
        prop_assert_eq!(found, model.found);
    }

    #[test]
    fn within_grace_all_pairs_are_found_once_whatever_the_order_and_whoever_was_killed(
        records in steps(sent(3_000), 60),
        windows in (0..800_i64, 0..800_i64),
        kind in prop::sample::select(KINDS.to_vec()),
    ) {
        let windows = (windows.0, windows.1, 3_000);
        let mut driver = topology(kind, windows_of(windows), 3);
        let mut model = model(kind, windows);
        let mut number = 0;
        take(&mut driver, records, |driver, record| {
            send(driver, number, &record);
            model.send(number, &record);
            number += 1;
        });
        driver.end().unwrap();
        model.close(i64::MAX);
        let mut found = read(&mut driver);
        found.sort();
        model.found.sort();
        prop_assert_eq!(found, model.found);
    }
    #[test]
    fn out_of_order_within_grace_streams_are_joined_as_they_are_in_order(
        mut records in prop::collection::vec((sent(300), 0..40_i64, 0..12_u8), 0..60),
        windows in (0..40_i64, 0..40_i64, 0..40_i64),
        kind in prop::sample::select(KINDS.to_vec()),
    ) {
        records.sort_by_key(|(record, ..)| record.at_ms);
        let mut numbered: Vec<_> = records.into_iter().enumerate().collect();
        let joined = |records: &[(usize, (Sent, i64, u8))]| {
            let mut driver = topology(kind, windows_of(windows), 2);
            driver.hold_commits();
            for (number, (record, _, then)) in records {
                send(&mut driver, *number, record);
                match then {
                    0 => driver.abort().unwrap(),
                    1 => driver.lose_stores().unwrap(),
                    2 => driver.commit().unwrap(),
                    _ => {}
                }
            }
            driver.end().unwrap();
            let mut found = read(&mut driver);
            found.sort();
            (found, driver.counts().late)
        };
        let in_order = joined(&numbered);
        numbered.sort_by_key(|(_, (record, jitter, _))| record.at_ms + jitter % (windows.2 + 1));
        prop_assert_eq!(joined(&numbered), in_order);
    }
}

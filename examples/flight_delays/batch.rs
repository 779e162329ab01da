//! What is to come out, computed from what was published, all at once. Nothing of the streams is in it but the form of results.

use std::collections::BTreeMap;
use std::time::Duration;

use super::input::{Log, Published};
use super::topology::{DAY, Delays, Departure, GRACE, HOUR, Ranked, SLIDE, TOP, TOP_FLIGHTS, Top};

/// Of each origin and where a window begins (milliseconds since 1970).
pub type OfWindows = BTreeMap<(String, i64), Delays>;

/// Flights that came too late: their origins and event times, in order.
pub type LateFlights = Vec<(String, i64, Departure)>;

/// All results.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Answer {
    /// By the hour.
    pub hours: OfWindows,
    /// Flights that were late for their hours.
    pub late_for_hours: LateFlights,
    /// In sliding windows.
    pub sliding: OfWindows,
    /// Flights that were late for their sliding windows.
    pub late_for_sliding: LateFlights,
    /// The worst origins of each day.
    pub worst: BTreeMap<i64, Top>,
}

/// An event time and a delay.
type Left = (i64, i64);

/// Computes them.
#[must_use]
pub fn answer(log: &Log, airports: &BTreeMap<String, String>) -> Answer {
    let mut answer = Answer::default();
    let mut accepted: [BTreeMap<&str, Vec<Left>>; 3] = Default::default();
    let (hour_ms, day_ms, grace_ms) = (ms(HOUR), ms(DAY), ms(GRACE));
    for flights in log.values() {
        // A partition's time is the latest event time in it so far.
        let mut now_ms = i64::MIN;
        for flight in flights {
            let at_ms = flight.scheduled_ms;
            // Where the first window ends that the flight is in. A sliding window's end belongs to it.
            let ends_ms = [end_of(at_ms, hour_ms), at_ms + 1, end_of(at_ms, day_ms)];
            for ((end_ms, accepted), place) in ends_ms.into_iter().zip(&mut accepted).zip(0..) {
                if end_ms + grace_ms > now_ms {
                    let left = (at_ms, flight.flight.delay_minutes);
                    accepted.entry(&flight.origin).or_default().push(left);
                } else if place == 0 {
                    answer.late_for_hours.push(late(flight, airports));
                } else if place == 1 {
                    answer.late_for_sliding.push(late(flight, airports));
                }
            }
            now_ms = now_ms.max(at_ms);
        }
    }
    answer.late_for_hours.sort();
    answer.late_for_sliding.sort();
    let [hours, sliding, days] = accepted;
    answer.hours = in_tumbling(&hours, hour_ms, airports);
    answer.sliding = in_sliding(&sliding, airports);
    answer.worst = worst_of_days(in_tumbling(&days, day_ms, airports));
    answer
}

fn ms(of: Duration) -> i64 {
    i64::try_from(of.as_millis()).unwrap_or(i64::MAX)
}

fn end_of(at_ms: i64, size_ms: i64) -> i64 {
    at_ms.div_euclid(size_ms) * size_ms + size_ms
}

fn late(flight: &Published, airports: &BTreeMap<String, String>) -> (String, i64, Departure) {
    let airport = airports.get(&flight.origin).cloned().unwrap_or_default();
    let departure = Departure { airport, flight: flight.flight.clone() };
    (flight.origin.clone(), flight.scheduled_ms, departure)
}

fn delays<'a>(airport: Option<&String>, left: impl IntoIterator<Item = &'a Left>) -> Delays {
    let all: Vec<i64> = left.into_iter().map(|(_, delay)| *delay).collect();
    Delays {
        airport: airport.cloned().unwrap_or_default(),
        flights: all.len() as u64,
        minutes: all.iter().sum(),
        worst: all.iter().copied().max().unwrap_or_default(),
    }
}

fn in_tumbling(
    left: &BTreeMap<&str, Vec<Left>>,
    size_ms: i64,
    airports: &BTreeMap<String, String>,
) -> OfWindows {
    let mut windows = BTreeMap::<_, Vec<Left>>::new();
    for (origin, left) in left {
        for flight in left {
            windows
                .entry((origin.to_string(), end_of(flight.0, size_ms) - size_ms))
                .or_default()
                .push(*flight);
        }
    }
    let with_delays = |(of, left): ((String, i64), Vec<Left>)| {
        let delays = delays(airports.get(&of.0), &left);
        (of, delays)
    };
    windows.into_iter().map(with_delays).collect()
}

/// Each flight ends a window, and begins one right behind it, where there is somebody in that.
fn in_sliding(left: &BTreeMap<&str, Vec<Left>>, airports: &BTreeMap<String, String>) -> OfWindows {
    let (mut windows, slide_ms) = (OfWindows::new(), ms(SLIDE));
    for (origin, left) in left {
        let mut left = left.clone();
        left.sort_unstable();
        for start_ms in left.iter().flat_map(|(at_ms, _)| [at_ms - slide_ms, at_ms + 1]) {
            let from = left.partition_point(|(at_ms, _)| *at_ms < start_ms);
            let to = left.partition_point(|(at_ms, _)| *at_ms <= start_ms + slide_ms);
            if from < to {
                let within = left.get(from..to).unwrap_or_default();
                windows.insert((origin.to_string(), start_ms), delays(airports.get(*origin), within));
            }
        }
    }
    windows
}

fn worst_of_days(days: OfWindows) -> BTreeMap<i64, Top> {
    let mut worst = BTreeMap::<i64, Vec<Ranked>>::new();
    for ((origin, day_ms), delays) in days {
        if delays.flights >= TOP_FLIGHTS {
            worst.entry(day_ms).or_default().push(Ranked { origin, delays });
        }
    }
    for ranked in worst.values_mut() {
        // They stand in the order of their names, which is kept of equal ones.
        ranked.sort_by(|one, other| {
            let (one, other) = (&one.delays, &other.delays);
            (other.minutes * one.flights as i64).cmp(&(one.minutes * other.flights as i64))
        });
        ranked.truncate(TOP);
    }
    worst.into_iter().map(|(day_ms, ranked)| (day_ms, Top(ranked))).collect()
}

//! The topology, and what its topics hold. All that a user of streams writes.

use std::cmp::Ordering;
use std::time::Duration;

use millstream::streams::codec::{self, Coded, SharedCodec};
use millstream::streams::window::{Emit, Sliding, Tumbling};
use millstream::streams::{StreamBuilder, Topology, TopologyError};
use serde::{Deserialize, Serialize};

/// Flights by origin, at the times at which they were to leave.
pub const FLIGHTS: &str = "flights";
/// Names of airports by their codes: a table.
pub const AIRPORTS: &str = "airports";
/// [`Delays`] of each origin in each hour.
pub const HOURLY: &str = "delays-of-hours";
/// [`Delays`] of each origin in sliding windows.
pub const SLIDING: &str = "delays-of-sliding-windows";
/// Flights that were late for [`HOURLY`].
pub const HOURLY_LATE: &str = "late-for-hours";
/// Flights that were late for [`SLIDING`].
pub const SLIDING_LATE: &str = "late-for-sliding-windows";
/// The [`Top`] of each day, by where the day begins (milliseconds since 1970).
pub const WORST: &str = "worst-of-days";

/// How long the tumbling windows are.
pub const HOUR: Duration = Duration::from_hours(1);
/// How long the tumbling windows of the top list are.
pub const DAY: Duration = Duration::from_hours(24);
/// How far apart flights of a sliding window may be.
pub const SLIDE: Duration = Duration::from_mins(30);
/// How long a window stays open after its end.
pub const GRACE: Duration = Duration::from_hours(1);

/// Origins in a top list.
pub const TOP: usize = 5;
/// An origin with fewer flights on a day is not in the day's list.
pub const TOP_FLIGHTS: u64 = 20;

/// A flight.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Flight {
    /// Where it goes.
    pub destination: String,
    /// How late it left, in minutes; negative: early.
    pub delay_minutes: i64,
}

/// A flight with the name of the airport that it left from.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Departure {
    /// The airport's name.
    pub airport: String,
    /// The flight.
    pub flight: Flight,
}

/// How late flights of one origin left.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Delays {
    /// The name of the origin.
    pub airport: String,
    /// How many.
    pub flights: u64,
    /// Their delays together, in minutes.
    pub minutes: i64,
    /// The longest delay, in minutes.
    pub worst: i64,
}

impl Delays {
    fn and(self, departure: Departure) -> Self {
        let delay = departure.flight.delay_minutes;
        Self {
            airport: departure.airport,
            flights: self.flights + 1,
            minutes: self.minutes + delay,
            worst: if self.flights == 0 { delay } else { self.worst.max(delay) },
        }
    }

    /// The average delay, in minutes.
    #[must_use]
    pub fn average(&self) -> f64 {
        self.minutes as f64 / self.flights.max(1) as f64
    }
}

/// An origin in a top list.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Ranked {
    /// Its code.
    pub origin: String,
    /// How late its flights left.
    pub delays: Delays,
}

impl Ranked {
    /// The longer average first; of equal ones by name. Without rounding.
    fn rank(&self, other: &Self) -> Ordering {
        let weighed = |one: &Delays, by: &Delays| i128::from(one.minutes) * i128::from(by.flights);
        let (ours, theirs) = (&self.delays, &other.delays);
        weighed(theirs, ours).cmp(&weighed(ours, theirs)).then_with(|| self.origin.cmp(&other.origin))
    }
}

/// Those whose flights left latest, the worst first.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Top(pub Vec<Ranked>);

impl Top {
    fn and(mut self, ranked: Ranked) -> Self {
        self.0.push(ranked);
        self.0.sort_by(Ranked::rank);
        self.0.truncate(TOP);
        self
    }
}

macro_rules! in_json {
    ($($of:ty),*) => {$(
        impl Coded for $of {
            fn codec() -> SharedCodec<Self> {
                codec::json()
            }
        }
    )*};
}
in_json!(Flight, Departure, Delays, Ranked, Top);

/// Flights are joined with the names of their airports and aggregated three times: by the hour and in sliding windows, whose
/// results are told once, when a window closes, and by the day, whose worst origins come together in a list.
pub fn flight_delays() -> Result<Topology, TopologyError> {
    let builder = StreamBuilder::new("flight-delays");
    let airports = builder.table::<String, String>(AIRPORTS, "names");
    let departures = builder
        .stream::<String, Flight>(FLIGHTS)
        .join_table(&airports, |_, flight, airport| Departure { airport, flight })
        .group_by_key("departures");
    let delays = |_: &String, departure, so_far: Delays| so_far.and(departure);

    departures
        .windowed_by(Tumbling::of(HOUR).grace(GRACE))
        .emit(Emit::OnClose)
        .late_to(HOURLY_LATE)
        .aggregate(|_| Delays::default(), delays, "hours")
        .to_stream()
        .to(HOURLY);
    departures
        .windowed_by(Sliding::of(SLIDE).grace(GRACE))
        .emit(Emit::OnClose)
        .late_to(SLIDING_LATE)
        .aggregate(|_| Delays::default(), delays, "sliding")
        .to_stream()
        .to(SLIDING);
    departures
        .windowed_by(Tumbling::of(DAY).grace(GRACE))
        .emit(Emit::OnClose)
        .aggregate(|_| Delays::default(), delays, "days")
        .to_stream()
        .filter(|_, delays| delays.flights >= TOP_FLIGHTS)
        .map(|origin, delays| (origin.window.start_ms, Ranked { origin: origin.key, delays }))
        .group_by_key("ranked")
        .aggregate(|_| Top::default(), |_, ranked, top| top.and(ranked), "worst")
        .to_stream()
        .to(WORST);
    builder.build()
}

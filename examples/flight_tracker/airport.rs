//! The entity: an airport, and what it makes of a flight. All that a user of entities writes.

use millstream::{ActorMessage, Entity, Refused, TopicInput, TopicRecord, Turn};
use serde::{Deserialize, Serialize};

/// The topic of flights: a record each, keyed by origin, with the row as value.
pub const TOPIC: &str = "flights";

/// The state, and what an airport answers: how late its flights left.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Airport {
    /// Flights that left.
    pub departures: u64,
    /// Their delays together, in minutes; those that left early count against them.
    pub delay_minutes: i64,
    /// The longest delay.
    pub worst_minutes: i64,
}

impl Airport {
    /// A flight has left.
    pub fn depart(&mut self, delay_minutes: i64) {
        self.worst_minutes = match self.departures {
            0 => delay_minutes,
            _ => self.worst_minutes.max(delay_minutes),
        };
        self.departures += 1;
        self.delay_minutes += delay_minutes;
    }

    /// The average delay, in minutes.
    pub fn average_minutes(&self) -> f64 {
        self.delay_minutes as f64 / self.departures.max(1) as f64
    }
}

/// What an airport is told.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub enum Flight {
    /// One has left. Told by the topic.
    Left {
        /// How late, in minutes.
        delay_minutes: i64,
    },
    /// How late do they leave? Asked by people.
    Delays,
}

impl ActorMessage for Flight {
    const NAME: &'static str = "flight";
    type Answer = Airport;
}

impl Entity for Airport {
    const TYPE: &'static str = "airport";
    type Key = String;
    type Message = Flight;

    fn new(_: &String) -> Self {
        Self::default()
    }

    fn handle(&mut self, flight: Flight, _: &mut Turn<'_, Self>) -> Result<Self, Refused> {
        if let Flight::Left { delay_minutes } = flight {
            self.depart(delay_minutes);
        }
        Ok(self.clone())
    }
}

/// Airports read the flights.
pub fn flights() -> TopicInput<Airport> {
    TopicInput::new(TOPIC, |record| {
        let (origin, delay_minutes) = departure(record).ok_or("a row has an origin and a delay")?;
        Ok(Some((origin, Flight::Left { delay_minutes })))
    })
}

fn departure(record: &TopicRecord<'_>) -> Option<(String, i64)> {
    let row = std::str::from_utf8(record.value()?).ok()?;
    let mut columns = row.split(',').skip(1);
    let origin = columns.next()?.to_owned();
    let delay_minutes = columns.nth(1)?.parse().ok()?;
    Some((origin, delay_minutes))
}

//! The flights: real rows, in the order in which the planes left.

use std::error::Error;

/// One row of `examples/data/flights.csv`.
#[derive(Clone, Debug)]
pub struct Flight {
    /// Its number in the file, from 0.
    pub row: usize,
    /// The airport it left from.
    pub origin: String,
    /// When it was to leave, milliseconds since 1970.
    pub scheduled_ms: i64,
    /// The row as it stands in the file.
    pub line: String,
}

/// All flights.
pub fn read() -> Result<Vec<Flight>, Box<dyn Error>> {
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/../examples/data/flights.csv");
    let text = std::fs::read_to_string(path).map_err(|error| format!("{path}: {error}"))?;
    let rows = text.lines().skip(1).enumerate();
    rows.map(|(row, line)| parse(row, line).ok_or_else(|| format!("{path}:{}: {line}", row + 2).into()))
        .collect()
}

fn parse(row: usize, line: &str) -> Option<Flight> {
    let mut columns = line.split(',');
    let scheduled_ms = milliseconds(columns.next()?)?;
    let origin = columns.next()?.to_owned();
    Some(Flight { row, origin, scheduled_ms, line: line.to_owned() })
}

/// Milliseconds since 1970 of a time like `2001-03-05T00:03:00Z`.
fn milliseconds(time: &str) -> Option<i64> {
    let number = |from: usize, to: usize| time.get(from..to)?.parse::<i64>().ok();
    let (year, month, day) = (number(0, 4)?, number(5, 7)?, number(8, 10)?);
    let (hour, minute, second) = (number(11, 13)?, number(14, 16)?, number(17, 19)?);
    // Days since 1970 in a calendar that begins its years in March, so that the leap day comes last.
    let (year, month) = if month > 2 { (year, month - 3) } else { (year - 1, month + 9) };
    let days = 365 * year + year / 4 - year / 100 + year / 400 + (153 * month + 2) / 5 + day - 1 - 719_468;
    Some((((days * 24 + hour) * 60 + minute) * 60 + second) * 1000)
}

//! A place in a partition, as people write it: `beginning`, `end`, an offset, a time, an age.

use std::str::FromStr;
use std::time::Duration;

use millstream_actors::consumer::SeekTo;
use millstream_actors::ids::Offset;
use millstream_actors::partition::message::OffsetSpec;

use super::quantity;

/// What [`Place`] reads, for help texts.
pub(super) const FORMS: &str =
    "beginning, end, an offset (42), a time (2026-01-31T18:00:00Z), or an age (15m ago is 15m)";

/// A place in a partition.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Place {
    /// The first record that is there.
    Beginning,
    /// Behind the last record.
    End,
    /// This offset.
    Offset(Offset),
    /// The first record of this time or later, milliseconds since 1970.
    Time(i64),
    /// The first record not older than this.
    Age(Duration),
}

impl FromStr for Place {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        match text {
            "beginning" | "earliest" => return Ok(Self::Beginning),
            "end" | "latest" => return Ok(Self::End),
            _ => {}
        }
        if let Ok(offset) = text.parse::<i64>()
            && offset >= 0
        {
            return Ok(Self::Offset(Offset(offset)));
        }
        if let Some(time_ms) = time_ms(text) {
            return Ok(Self::Time(time_ms));
        }
        quantity::duration(text).map(Self::Age).map_err(|_| format!("{text} is no place; give {FORMS}"))
    }
}

impl Place {
    /// As a consumer takes it.
    pub(super) fn seek(self, now_ms: i64) -> SeekTo {
        match self {
            Self::Beginning => SeekTo::Beginning,
            Self::End => SeekTo::End,
            Self::Offset(offset) => SeekTo::Offset(offset),
            Self::Time(time_ms) => SeekTo::Timestamp(time_ms),
            Self::Age(age) => SeekTo::Timestamp(before(now_ms, age)),
        }
    }

    /// As a leader is asked for it; an offset needs no asking.
    pub(super) fn spec(self, now_ms: i64) -> Result<OffsetSpec, Offset> {
        match self {
            Self::Beginning => Ok(OffsetSpec::Earliest),
            Self::End => Ok(OffsetSpec::Latest),
            Self::Offset(offset) => Err(offset),
            Self::Time(time_ms) => Ok(OffsetSpec::Timestamp(time_ms)),
            Self::Age(age) => Ok(OffsetSpec::Timestamp(before(now_ms, age))),
        }
    }
}

fn before(now_ms: i64, age: Duration) -> i64 {
    now_ms.saturating_sub(i64::try_from(age.as_millis()).unwrap_or(i64::MAX))
}

/// Reads `2026-01-31`, `2026-01-31T18:00Z`, `2026-01-31T18:00:00.250+01:00`: milliseconds since 1970. A date alone is its
/// midnight in UTC; a time of day needs its zone.
fn time_ms(text: &str) -> Option<i64> {
    let (date, time) = match text.split_once(['T', 't', ' ']) {
        Some((date, time)) => (date, Some(time)),
        None => (text, None),
    };
    let mut parts = date.split('-');
    let (year, month, day) =
        (number(parts.next()?, 4)?, number(parts.next()?, 2)?, number(parts.next()?, 2)?);
    let month_is_right = (1..=12).contains(&month);
    if parts.next().is_some() || !month_is_right || !(1..=days_of(year, month)).contains(&day) {
        return None;
    }
    let midnight_ms = days_since_1970(year, month, day).checked_mul(86_400_000)?;
    match time {
        None => Some(midnight_ms),
        Some(time) => midnight_ms.checked_add(time_of_day_ms(time)?),
    }
}

fn time_of_day_ms(text: &str) -> Option<i64> {
    let zone = text.find(['Z', 'z', '+', '-'])?;
    let (time, zone) = text.split_at(zone);
    let zone_ms = if zone.eq_ignore_ascii_case("z") {
        0
    } else {
        let (hours, minutes) = zone.get(1..)?.split_once(':')?;
        let zone_ms = clock_ms(hours, minutes)?;
        if zone.starts_with('-') { -zone_ms } else { zone_ms }
    };
    let mut parts = time.splitn(3, ':');
    let of_minutes = clock_ms(parts.next()?, parts.next()?)?;
    let of_seconds = match parts.next() {
        None => 0,
        Some(seconds) => {
            let (whole, fraction) = seconds.split_once('.').unwrap_or((seconds, ""));
            let whole = number(whole, 2).filter(|whole| *whole < 60)?;
            let is_digits = fraction.len() <= 9 && fraction.bytes().all(|digit| digit.is_ascii_digit());
            let thousandths: String = fraction.chars().chain("000".chars()).take(3).collect();
            whole * 1000 + thousandths.parse::<i64>().ok().filter(|_| is_digits)?
        }
    };
    Some(of_minutes + of_seconds - zone_ms)
}

fn clock_ms(hours: &str, minutes: &str) -> Option<i64> {
    let hours = number(hours, 2).filter(|hours| *hours < 24)?;
    let minutes = number(minutes, 2).filter(|minutes| *minutes < 60)?;
    Some((hours * 60 + minutes) * 60_000)
}

fn number(text: &str, digits: usize) -> Option<i64> {
    let is_number = text.len() == digits && text.bytes().all(|digit| digit.is_ascii_digit());
    text.parse().ok().filter(|_| is_number)
}

fn days_of(year: i64, month: i64) -> i64 {
    let leap = year % 4 == 0 && (year % 100 != 0 || year % 400 == 0);
    match month {
        2 if leap => 29,
        2 => 28,
        4 | 6 | 9 | 11 => 30,
        _ => 31,
    }
}

/// Days of the years before, those of the months before, and the day.
fn days_since_1970(year: i64, month: i64, day: i64) -> i64 {
    let before = year - 1;
    let days_of_years = before * 365 + before / 4 - before / 100 + before / 400;
    let days_of_months: i64 = (1..month).map(|month| days_of(year, month)).sum();
    const UNTIL_1970: i64 = 719_162;
    days_of_years - UNTIL_1970 + days_of_months + day - 1
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_place_is_a_word_an_offset_a_time_or_an_age() {
        assert_eq!("beginning".parse(), Ok(Place::Beginning));
        assert_eq!("latest".parse(), Ok(Place::End));
        assert_eq!("42".parse(), Ok(Place::Offset(Offset(42))));
        assert_eq!("15m".parse(), Ok(Place::Age(Duration::from_secs(900))));
        assert_eq!("1970-01-02".parse(), Ok(Place::Time(86_400_000)));
        for wrong in ["", "-5", "start", "2026-13-01", "2026-02-29", "2026-01-31T18:00:00"] {
            let error = wrong.parse::<Place>().unwrap_err();
            assert!(error.contains("an offset (42)"), "{wrong}: {error}");
        }
    }

    #[test]
    fn times_are_those_of_the_calendar() {
        assert_eq!(time_ms("2000-02-29T00:00Z"), Some(951_782_400_000));
        assert_eq!(time_ms("2026-01-31T18:00:00Z"), Some(1_769_882_400_000));
        assert_eq!(time_ms("2026-01-31T19:00:00.25+01:00"), Some(1_769_882_400_250));
        assert_eq!(time_ms("2026-01-31T16:30:00-01:30"), Some(1_769_882_400_000));
        assert_eq!(time_ms("1969-12-31T23:59:59.999Z"), Some(-1));
    }

    #[test]
    fn an_age_is_counted_from_now() {
        let age = Place::Age(Duration::from_millis(250));
        assert_eq!(age.seek(1_000), SeekTo::Timestamp(750));
        assert_eq!(age.spec(1_000), Ok(OffsetSpec::Timestamp(750)));
        assert_eq!(Place::Offset(Offset(9)).spec(0), Err(Offset(9)));
    }
}

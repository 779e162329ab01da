//! Amounts as people write them: bytes and times with a unit.

use std::time::Duration;

/// Bytes: `1024`, `64k`, `10MB` (powers of 1,000), `1GiB` (powers of 1,024).
pub(super) fn bytes(text: &str) -> Result<u64, String> {
    let wrong = || format!("{text} is not a number of bytes, as in 1024, 64KiB or 10GB");
    let (number, unit) = split(text).ok_or_else(wrong)?;
    let factor: u64 = match unit.to_ascii_lowercase().as_str() {
        "" | "b" => 1,
        "k" | "kb" => 1_000,
        "m" | "mb" => 1_000_000,
        "g" | "gb" => 1_000_000_000,
        "t" | "tb" => 1_000_000_000_000,
        "kib" => 1 << 10,
        "mib" => 1 << 20,
        "gib" => 1 << 30,
        "tib" => 1 << 40,
        _ => return Err(wrong()),
    };
    number.checked_mul(factor).ok_or_else(|| format!("{text} is too much"))
}

/// A time: `500ms`, `10s`, `5m`, `2h`, `7d`; a number alone is seconds.
pub(super) fn duration(text: &str) -> Result<Duration, String> {
    let wrong = || format!("{text} is not a time, as in 500ms, 10s, 5m, 2h or 7d");
    let (number, unit) = split(text).ok_or_else(wrong)?;
    let factor_ms: u64 = match unit {
        "ms" => 1,
        "" | "s" => 1_000,
        "m" => 60_000,
        "h" => 3_600_000,
        "d" => 86_400_000,
        _ => return Err(wrong()),
    };
    let too_long = || format!("{text} is too long");
    number.checked_mul(factor_ms).map(Duration::from_millis).ok_or_else(too_long)
}

fn split(text: &str) -> Option<(u64, &str)> {
    let end = text.find(|letter: char| !letter.is_ascii_digit()).unwrap_or(text.len());
    let (number, unit) = text.split_at(end);
    Some((number.parse().ok()?, unit.trim()))
}

/// So many bytes in so much time, in millions of bytes a second.
pub(super) fn mb_per_s(bytes: u64, time: Duration) -> f64 {
    per_second(bytes, time) / 1e6
}

/// So many things in so much time; 0 in no time.
pub(super) fn per_second(count: u64, time: Duration) -> f64 {
    let seconds = time.as_secs_f64();
    if seconds > 0.0 { count as f64 / seconds } else { 0.0 }
}

/// Rounded to a thousandth.
pub(super) fn thousandth(value: f64) -> f64 {
    (value * 1e3).round() / 1e3
}

/// In milliseconds, rounded to a thousandth.
pub(super) fn ms(time: Duration) -> f64 {
    thousandth(time.as_secs_f64() * 1e3)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bytes_have_units_of_both_kinds() {
        let read: Vec<u64> =
            ["0", "1024", "64k", "10 MB", "1GiB"].iter().map(|text| bytes(text).unwrap()).collect();
        assert_eq!(read, [0, 1024, 64_000, 10_000_000, 1 << 30]);
    }

    #[test]
    fn times_have_units_and_are_seconds_without() {
        assert_eq!(duration("500ms"), Ok(Duration::from_millis(500)));
        assert_eq!(duration("10"), Ok(Duration::from_secs(10)));
        assert_eq!(duration("2h"), Ok(Duration::from_secs(7200)));
    }

    #[test]
    fn what_is_no_amount_is_refused_with_an_example() {
        for wrong in ["", "k", "1x", "-1", "1.5GB", "99999999999999999999"] {
            assert!(bytes(wrong).unwrap_err().contains("64KiB"), "{wrong}");
        }
        assert!(bytes("99999999999TiB").unwrap_err().contains("too much"));
        assert!(duration("1y").unwrap_err().contains("500ms"));
    }

    #[test]
    fn a_rate_in_no_time_is_nothing() {
        assert_eq!(per_second(5, Duration::ZERO), 0.0);
        assert_eq!(mb_per_s(3_000_000, Duration::from_secs(2)), 1.5);
    }
}

//! Times, counted in buckets that are never wider than a 64th of what they hold.

use std::time::Duration;

use super::super::quantity::{ms, thousandth};

/// Times by their microseconds. Memory grows with the logarithm of the longest.
#[derive(Clone, Debug, Default)]
pub(super) struct Histogram {
    buckets: Vec<u64>,
    count: u64,
    longest: Duration,
}

/// Values below are counted one by one; above, buckets double in width with each doubling of the value.
const EXACT: u64 = 128;

impl Histogram {
    /// Counts a time.
    pub(super) fn add(&mut self, time: Duration) {
        let bucket = bucket_of(u64::try_from(time.as_micros()).unwrap_or(u64::MAX));
        if bucket >= self.buckets.len() {
            self.buckets.resize(bucket + 1, 0);
        }
        if let Some(count) = self.buckets.get_mut(bucket) {
            *count += 1;
        }
        self.count += 1;
        self.longest = self.longest.max(time);
    }

    /// Counts all that another has counted.
    pub(super) fn join(&mut self, other: &Self) {
        if other.buckets.len() > self.buckets.len() {
            self.buckets.resize(other.buckets.len(), 0);
        }
        for (ours, theirs) in self.buckets.iter_mut().zip(&other.buckets) {
            *ours += theirs;
        }
        self.count += other.count;
        self.longest = self.longest.max(other.longest);
    }

    /// How many were counted.
    pub(super) const fn count(&self) -> u64 {
        self.count
    }

    /// The longest, exactly.
    pub(super) fn longest_ms(&self) -> f64 {
        ms(self.longest)
    }

    /// The time, in milliseconds, that so many of a thousand did not exceed; 0 without any.
    pub(super) fn per_mille_ms(&self, per_mille: u64) -> f64 {
        let rank = self.count.saturating_mul(per_mille).div_ceil(1000).max(1);
        let mut seen = 0;
        for (bucket, count) in self.buckets.iter().enumerate() {
            seen += count;
            if seen >= rank {
                let micros = Duration::from_micros(upper_edge(bucket));
                return thousandth(ms(micros.min(self.longest)));
            }
        }
        0.0
    }
}

fn bucket_of(value: u64) -> usize {
    let shift = (64 - value.leading_zeros()).saturating_sub(7);
    let within = value >> shift;
    usize::try_from(u64::from(shift) * (EXACT / 2) + within).unwrap_or(usize::MAX)
}

/// The greatest value of a bucket.
fn upper_edge(bucket: usize) -> u64 {
    let bucket = u64::try_from(bucket).unwrap_or(u64::MAX);
    if bucket < EXACT {
        return bucket;
    }
    let shift = bucket / (EXACT / 2) - 1;
    let within = bucket - shift * (EXACT / 2);
    ((within + 1) << shift) - 1
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(micros: impl IntoIterator<Item = u64>) -> Histogram {
        let mut histogram = Histogram::default();
        micros.into_iter().for_each(|micros| histogram.add(Duration::from_micros(micros)));
        histogram
    }

    #[test]
    fn a_bucket_is_never_wider_than_a_64th_of_its_values() {
        let mut last = None;
        for value in (0..5_000).chain((20..63).map(|bit| (1 << bit) + 12_345)) {
            let bucket = bucket_of(value);
            assert!(last.is_none_or(|last| bucket >= last), "{value}");
            last = Some(bucket);
            let edge = upper_edge(bucket);
            assert!(edge >= value && edge - value <= value / 64, "{value} {bucket} {edge}");
        }
    }

    #[test]
    fn ranks_are_those_of_the_values() {
        let histogram = of(1..=100);
        assert_eq!(histogram.per_mille_ms(500), 0.05);
        assert_eq!(histogram.per_mille_ms(990), 0.099);
        assert_eq!(histogram.per_mille_ms(1000), 0.1);
        assert_eq!(of([7_000]).per_mille_ms(999), 7.0, "never above the longest");
        assert_eq!(Histogram::default().per_mille_ms(500), 0.0);
    }

    #[test]
    fn two_joined_are_as_one() {
        let mut joined = of([1, 5, 900]);
        joined.join(&of([3, 1_000_000]));
        let one = of([1, 3, 5, 900, 1_000_000]);
        assert_eq!((joined.count(), joined.longest_ms()), (5, 1000.0));
        assert_eq!(joined.buckets, one.buckets);
    }
}

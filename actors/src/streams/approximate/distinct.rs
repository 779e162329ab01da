//! How many different values there were.

use std::fmt;

use bytes::Bytes;
use datasketches::common::NumStdDev;
use datasketches::hash::value::raw_bytes;
use datasketches::hll::{HllSketch, HllType, HllUnion};

use super::super::codec::{Coded, SharedCodec};
use super::Sketched;

/// The logarithm of the number of registers.
const REGISTERS_LOG2: u8 = 12;

/// The number of different values among those that were put in, by `HyperLogLog` with 4,096 registers (Flajolet and others,
/// 2007; the estimator and the form are those of Apache `DataSketches`).
///
/// Error: exact but for chance up to some hundred values; beyond, a standard deviation of 1.3 % for values put in one by one,
/// 1.7 % after a merge, so that 99 of 100 counts are within 3.3 % and 4.4 %. [`Self::bounds`] tells of one count. Size: some
/// bytes a value for few values, 2 KiB for many.
#[derive(Clone)]
pub struct DistinctCount(HllSketch);

impl DistinctCount {
    /// An empty one for a key, as an aggregate begins.
    #[must_use]
    pub fn new<K: ?Sized>(_of: &K) -> Self {
        Self::default()
    }

    /// With a value: its bytes, as of a text, or of a number by `to_be_bytes`.
    #[must_use]
    pub fn with(mut self, value: impl AsRef<[u8]>) -> Self {
        self.0.update(raw_bytes::from_slice(value.as_ref()));
        self
    }

    /// With all that another has seen: values that both have seen count once.
    #[must_use]
    pub fn merged(self, other: &Self) -> Self {
        if self.0.is_empty() {
            return other.clone();
        }
        if other.0.is_empty() {
            return self;
        }
        let Ok(mut union) = HllUnion::new(REGISTERS_LOG2) else { return self };
        union.update(&self.0);
        union.update(&other.0);
        Self(union.to_sketch(HllType::Hll4))
    }

    /// How many different values, about.
    #[must_use]
    pub fn count(&self) -> u64 {
        whole(self.0.estimate())
    }

    /// Between which counts the right one is, 997 times of 1,000 (three standard deviations).
    #[must_use]
    pub fn bounds(&self) -> (u64, u64) {
        (whole(self.0.lower_bound(NumStdDev::Three)), whole(self.0.upper_bound(NumStdDev::Three)))
    }
}

/// The nearest whole number, of one that is not negative.
fn whole(estimate: f64) -> u64 {
    #[allow(
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        reason = "a conversion of a float saturates, and none is negative"
    )]
    let whole = estimate.round() as u64;
    whole
}

impl Default for DistinctCount {
    fn default() -> Self {
        match HllSketch::new(REGISTERS_LOG2, HllType::Hll4) {
            Ok(sketch) => Self(sketch),
            Err(error) => unreachable!("4 to 21 is allowed: {error}"),
        }
    }
}

impl fmt::Debug for DistinctCount {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.debug_struct("DistinctCount").field("count", &self.count()).finish_non_exhaustive()
    }
}

impl PartialEq for DistinctCount {
    fn eq(&self, other: &Self) -> bool {
        self.0.serialize() == other.0.serialize()
    }
}

impl Sketched for DistinctCount {
    const KIND: &'static str = "distinct count";

    fn to_form(&self) -> Vec<u8> {
        self.0.serialize()
    }

    fn from_form(bytes: Bytes) -> Result<Self, String> {
        // Memory is taken by the number of registers, which is looked at before.
        if bytes.get(3) != Some(&REGISTERS_LOG2) {
            return Err(format!("it has not 2^{REGISTERS_LOG2} registers"));
        }
        HllSketch::deserialize(&bytes).map(Self).map_err(|error| error.to_string())
    }
}

impl Coded for DistinctCount {
    fn codec() -> SharedCodec<Self> {
        super::codec()
    }
}

//! How values are spread: the median, the 99th percentile.

use std::fmt;

use bytes::Bytes;
use sketches_ddsketch::DDSketch;

use super::super::codec::{Coded, SharedCodec};
use super::Sketched;

/// Quantiles of numbers, by `DDSketch` (Masson and others, 2019; the form is that of Datadog's sketches).
///
/// Error: a quantile is within 1 % of the value that has this rank, negative ones too, whatever the order and spread of the
/// values and however often sketches were merged; values below 10⁻⁹ (without sign) count as 0. Where the greatest and the least
/// positive value are more than 10¹⁷ times apart, the lowest are counted as higher than they are; so are negative ones. The
/// least, the greatest and the sum are those of the values, but for the rounding of floats. Size: one or two
/// bytes for each 2 % of difference between the values, about 1 KiB for values spread over a factor of a million.
///
/// It is taken before sketches with an error in rank (KLL, REQ, t-digest), as the tail is what is asked for, and as those toss
/// coins, so that work done again would come to something else.
#[derive(Clone, Default)]
pub struct Quantiles(DDSketch);

impl Quantiles {
    /// An empty one for a key, as an aggregate begins.
    #[must_use]
    pub fn new<K: ?Sized>(_of: &K) -> Self {
        Self::default()
    }

    /// With a value. One that is no number or infinite has no place among others and is left out.
    #[must_use]
    pub fn with(mut self, value: f64) -> Self {
        if value.is_finite() {
            self.0.add(value);
        }
        self
    }

    /// With all values of another.
    #[must_use]
    pub fn merged(mut self, other: &Self) -> Self {
        // All sketches here are of one configuration, without which they could not be merged.
        let _all_alike = self.0.merge(&other.0);
        self
    }

    /// How many values there were.
    #[must_use]
    pub fn count(&self) -> u64 {
        u64::try_from(self.0.count()).unwrap_or(u64::MAX)
    }

    /// The value of which this part of all values (0 to 1) is not greater; `None` where there are none, or of another part.
    #[must_use]
    pub fn quantile(&self, part: f64) -> Option<f64> {
        self.0.quantile(part).ok().flatten()
    }

    /// The least value.
    #[must_use]
    pub fn min(&self) -> Option<f64> {
        self.0.min()
    }

    /// The greatest value.
    #[must_use]
    pub fn max(&self) -> Option<f64> {
        self.0.max()
    }

    /// The sum of the values.
    #[must_use]
    pub fn sum(&self) -> f64 {
        self.0.sum().unwrap_or(0.0)
    }
}

impl fmt::Debug for Quantiles {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let median = self.quantile(0.5);
        formatter
            .debug_struct("Quantiles")
            .field("count", &self.count())
            .field("median", &median)
            .finish_non_exhaustive()
    }
}

impl PartialEq for Quantiles {
    fn eq(&self, other: &Self) -> bool {
        self.to_form() == other.to_form()
    }
}

impl Sketched for Quantiles {
    const KIND: &'static str = "quantiles";

    fn to_form(&self) -> Vec<u8> {
        self.0.to_java_bytes()
    }

    fn from_form(bytes: Bytes) -> Result<Self, String> {
        let mut sketch = DDSketch::from_java_bytes(&bytes).map_err(|error| error.to_string())?;
        // One of another error does not merge, which nothing shows too.
        sketch.merge(&DDSketch::default()).map_err(|error| error.to_string())?;
        Ok(Self(sketch))
    }
}

impl Coded for Quantiles {
    fn codec() -> SharedCodec<Self> {
        super::codec()
    }
}

//! Which values there were most often.

use std::fmt;
use std::hash::{Hash, Hasher};

use bytes::Bytes;
use datasketches::codec::{SketchBytes, SketchSlice};
use datasketches::error::{Error, ErrorKind};
use datasketches::frequencies::{ErrorType, FrequentItemValue, FrequentItemsSketch};

use super::super::codec::{Coded, SharedCodec};
use super::Sketched;

/// Places in the map of values; three quarters of them are used.
const PLACES: usize = 1_024;
const PLACES_LOG2: u8 = 10;

/// The values that occur most often, by a space-saving summary (Anderson and others, 2017: "A High-Performance Algorithm for
/// Identifying Frequent Items in Data Streams"; the form is that of Apache `DataSketches`, with values as byte strings behind
/// their lengths of four bytes, little-endian).
///
/// Error: exact up to 768 different values. Beyond, of each value a least and a most count are known that the right count lies
/// between, and they differ by at most 0.35 % of all that were put in, merged or not, and by less where some values are much more
/// frequent than others. No value that is more frequent than that is missed. Size: up to 768 values, with 12 bytes each beside
/// their own.
///
/// Values wait by the side, and are put into the summary some dozen at once, as that is read and written with every record.
#[derive(Clone)]
pub struct HeavyHitters {
    settled: Settled,
    /// Different values with their counts that the summary does not have yet.
    waiting: Vec<(Bytes, u64)>,
    count: u64,
}

/// How many different values wait at most.
const WAITING: usize = 64;

/// A summary, as it was read or to be written.
#[derive(Clone)]
enum Settled {
    /// Its form, which was checked.
    Form(Bytes),
    Map(FrequentItemsSketch<Item>),
}

/// A value that is frequent.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Heavy {
    /// Its bytes.
    pub value: Bytes,
    /// It was put in so often at least.
    pub at_least: u64,
    /// And so often at most.
    pub at_most: u64,
}

impl HeavyHitters {
    /// An empty one for a key, as an aggregate begins.
    #[must_use]
    pub fn new<K: ?Sized>(_of: &K) -> Self {
        Self::default()
    }

    /// With a value: its bytes, as of a text, or of a number by `to_be_bytes`.
    #[must_use]
    pub fn with(self, value: impl AsRef<[u8]>) -> Self {
        self.with_count(value, 1)
    }

    /// With a value so many times. What goes beyond 2⁶³ values in all is left out.
    #[must_use]
    pub fn with_count(mut self, value: impl AsRef<[u8]>, count: u64) -> Self {
        let value = value.as_ref();
        if count == 0 || !has_room(self.count, count) {
            return self;
        }
        self.count = self.count.saturating_add(count);
        match self.waiting.iter_mut().find(|(other, _)| other == value) {
            Some((_, so_far)) => *so_far = so_far.saturating_add(count),
            None => self.waiting.push((Bytes::copy_from_slice(value), count)),
        }
        match self.waiting.len() {
            ..=WAITING => self,
            _ => Self::of(self.into_map()),
        }
    }

    /// With all that another has seen.
    #[must_use]
    pub fn merged(self, other: &Self) -> Self {
        if !has_room(self.count, other.count) {
            return self;
        }
        let mut map = self.into_map();
        map.merge(&other.clone().into_map());
        Self::of(map)
    }

    fn of(map: FrequentItemsSketch<Item>) -> Self {
        let count = map.total_weight();
        Self { settled: Settled::Map(map), waiting: Vec::new(), count }
    }

    /// All of it in the summary.
    fn into_map(self) -> FrequentItemsSketch<Item> {
        let mut map = match self.settled {
            Settled::Map(map) => map,
            Settled::Form(form) => match FrequentItemsSketch::deserialize(&form) {
                Ok(map) => map,
                Err(error) => unreachable!("it was checked when it was read: {error}"),
            },
        };
        for (value, count) in self.waiting {
            map.update_with_count(Item(value), count);
        }
        map
    }

    /// How many values were put in, equal ones each time.
    #[must_use]
    pub const fn count(&self) -> u64 {
        self.count
    }

    /// The most frequent values, at most so many, the most frequent first and equally frequent ones in the order of their bytes.
    /// None that is among them by its least count is missing; where the bounds of two overlap, either may be first.
    #[must_use]
    pub fn top(&self, max: usize) -> Vec<Heavy> {
        let rows = self.clone().into_map().frequent_items(ErrorType::NoFalseNegatives);
        let each = rows.iter().map(|row| Heavy {
            value: row.item().0.clone(),
            at_least: row.lower_bound(),
            at_most: row.upper_bound(),
        });
        let mut all: Vec<Heavy> = each.collect();
        all.sort_by(|one, other| (other.at_least, &one.value).cmp(&(one.at_least, &other.value)));
        all.truncate(max);
        all
    }
}

fn has_room(count: u64, more: u64) -> bool {
    count.checked_add(more).is_some_and(|sum| sum <= 1 << 63)
}

impl Default for HeavyHitters {
    fn default() -> Self {
        match FrequentItemsSketch::new(PLACES) {
            Ok(map) => Self::of(map),
            Err(error) => unreachable!("a power of two is allowed: {error}"),
        }
    }
}

impl fmt::Debug for HeavyHitters {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.debug_struct("HeavyHitters").field("top", &self.top(3)).finish_non_exhaustive()
    }
}

impl PartialEq for HeavyHitters {
    fn eq(&self, other: &Self) -> bool {
        let all =
            |sketch: &Self| (sketch.count, sketch.clone().into_map().maximum_error(), sketch.top(PLACES));
        all(self) == all(other)
    }
}

/// A value as its bytes. They are hashed as they are, by which the map and so the form would else depend on the compiler.
#[derive(Clone, PartialEq, Eq)]
struct Item(Bytes);

impl Hash for Item {
    fn hash<H: Hasher>(&self, state: &mut H) {
        state.write(&self.0);
    }
}

impl FrequentItemValue for Item {
    fn serialize_size(item: &Self) -> usize {
        item.0.len().saturating_add(4)
    }

    fn serialize_value(&self, bytes: &mut SketchBytes) {
        // A value comes from a record, which is shorter than 4 GiB.
        bytes.write_u32_le(u32::try_from(self.0.len()).unwrap_or(u32::MAX));
        bytes.write(&self.0);
    }

    fn deserialize_value(cursor: &mut SketchSlice<'_>) -> Result<Self, Error> {
        let is_short = |_| cut_off();
        let length = cursor.read_u32_le().map_err(is_short)?;
        let bytes = usize::try_from(length).ok().and_then(|length| cursor.remaining().get(..length));
        let value = bytes.map(Bytes::copy_from_slice).ok_or_else(cut_off)?;
        cursor.advance(u64::from(length));
        Ok(Self(value))
    }
}

fn cut_off() -> Error {
    Error::new(ErrorKind::InvalidData, "a value is cut off")
}

/// The number of the values that wait (two bytes, little-endian), each with its count (8) behind its length (4); the summary.
impl Sketched for HeavyHitters {
    const KIND: &'static str = "heavy hitters";

    fn to_form(&self) -> Vec<u8> {
        let mut form = Vec::new();
        form.extend_from_slice(&u16::try_from(self.waiting.len()).unwrap_or(u16::MAX).to_le_bytes());
        for (value, count) in &self.waiting {
            form.extend_from_slice(&u32::try_from(value.len()).unwrap_or(u32::MAX).to_le_bytes());
            form.extend_from_slice(&count.to_le_bytes());
            form.extend_from_slice(value);
        }
        match &self.settled {
            Settled::Form(summary) => form.extend_from_slice(summary),
            Settled::Map(map) => form.extend_from_slice(&map.serialize()),
        }
        form
    }

    fn from_form(form: Bytes) -> Result<Self, String> {
        read(&form).ok_or_else(|| "it is cut off, or says of itself what cannot be".to_owned())
    }
}

/// Reads the form, and checks all of it, so that the summary in it need not be taken apart before it is changed.
fn read(form: &Bytes) -> Option<HeavyHitters> {
    let (number, mut rest) = form.split_first_chunk()?;
    let number = usize::from(u16::from_le_bytes(*number));
    if number > WAITING {
        return None;
    }
    let (mut waiting, mut count) = (Vec::with_capacity(number), 0_u64);
    for _ in 0..number {
        let (length, after) = rest.split_first_chunk()?;
        let (so_often, after) = after.split_first_chunk()?;
        let (value, after) = after.split_at_checked(usize::try_from(u32::from_le_bytes(*length)).ok()?)?;
        let so_often = u64::from_le_bytes(*so_often);
        count = count.checked_add(so_often)?;
        waiting.push((Bytes::copy_from_slice(value), so_often));
        rest = after;
    }
    let count = count.checked_add(check(rest)?).filter(|count| has_room(*count, 0))?;
    let summary = form.slice(form.len().checked_sub(rest.len())?..);
    Some(HeavyHitters { settled: Settled::Form(summary), waiting, count })
}

/// That this is a summary of ours, whose map has [`PLACES`] places at most; of how many values it is.
fn check(summary: &[u8]) -> Option<u64> {
    // Longs of the preamble, version, family, logarithms of the greatest and of the present size, flags, 2 not used.
    let ([longs, 1, 10, PLACES_LOG2, places_log2 @ 3..=PLACES_LOG2, flags, _, _], rest) =
        summary.split_first_chunk()?
    else {
        return None;
    };
    if (*longs, *flags) == (1, 5) {
        return rest.is_empty().then_some(0);
    }
    if (*longs, *flags) != (4, 0) {
        return None;
    }
    let (active, rest) = rest.split_first_chunk()?;
    let active = usize::try_from(u32::from_le_bytes(*active)).ok()?;
    let (_, rest) = rest.split_first_chunk::<4>()?;
    let (total, rest) = rest.split_first_chunk()?;
    let total = u64::from_le_bytes(*total);
    let (error, rest) = rest.split_first_chunk()?;
    if active > (3_usize << places_log2) / 4 || total == 0 || u64::from_le_bytes(*error) > total {
        return None;
    }
    let (counts, mut rest) = rest.split_at_checked(active.checked_mul(8)?)?;
    let mut sum = 0_u64;
    for count in counts.as_chunks::<8>().0 {
        sum = sum.checked_add(u64::from_le_bytes(*count)).filter(|sum| *sum <= total)?;
    }
    for _ in 0..active {
        let (length, after) = rest.split_first_chunk()?;
        rest = after.get(usize::try_from(u32::from_le_bytes(*length)).ok()?..)?;
    }
    rest.is_empty().then_some(total)
}

impl Coded for HeavyHitters {
    fn codec() -> SharedCodec<Self> {
        super::codec()
    }
}

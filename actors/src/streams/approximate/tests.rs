//! Sketches beside exact answers, on values that are spread evenly and on skewed ones; all from fixed seeds.

use std::collections::{BTreeMap, BTreeSet};

use bytes::Bytes;

use super::super::codec::Coded;
use super::{DistinctCount, HeavyHitters, Quantiles};

/// Numbers that look like chance (splitmix64), from 0 on and below 1.
struct Chance(u64);

impl Chance {
    fn next(&mut self) -> f64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        (mixed ^ (mixed >> 31)) as f64 / 18_446_744_073_709_551_616.0
    }

    /// Of so many, the first much more often than the last (as 1 / rank).
    #[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "small and positive")]
    fn skewed(&mut self, of: u32) -> u32 {
        (f64::from(of).powf(self.next())) as u32
    }

    #[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "small and positive")]
    fn even(&mut self, of: u32) -> u32 {
        (f64::from(of) * self.next()) as u32
    }
}

fn again<T: Coded>(sketch: &T) -> T {
    T::codec().decode(T::codec().encode(sketch).unwrap().as_ref()).unwrap()
}

fn hex<T: Coded>(sketch: &T) -> String {
    let bytes = T::codec().encode(sketch).unwrap().unwrap();
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

#[test]
fn distinct_values_are_counted_within_the_stated_error_however_often_they_come() {
    for seed in 0..8 {
        let mut chance = Chance(seed);
        for of in [10, 100, 1_000, 40_000] {
            let mut exact = BTreeSet::new();
            let mut halves = [DistinctCount::default(), DistinctCount::default()];
            let mut whole = DistinctCount::default();
            for number in 0..of * 2 {
                let value = if seed % 2 == 0 { chance.even(of) } else { chance.skewed(of) };
                exact.insert(value);
                whole = whole.with(value.to_be_bytes());
                let half = &mut halves[usize::from(number % 3 == 0)];
                *half = std::mem::take(half).with(value.to_be_bytes());
            }
            let [one, other] = &halves;
            let merged = again(one).merged(&again(other));
            let count = exact.len() as f64;
            let off = |sketch: &DistinctCount| (sketch.count() as f64 - count).abs() / count;
            assert!(off(&whole) < 0.04 && off(&merged) < 0.052, "{count}: {whole:?} {merged:?}");
            let (least, most) = whole.bounds();
            assert!((least..=most).contains(&whole.count()));
            if count <= 100.0 {
                assert_eq!((whole.count(), merged.count()), (exact.len() as u64, exact.len() as u64));
            }
        }
    }
}

#[test]
fn a_merge_with_nothing_changes_nothing_and_the_order_of_merges_is_without_effect() {
    let sketch =
        |from: u32| (from..from + 5_000).fold(DistinctCount::default(), |it, n| it.with(n.to_be_bytes()));
    let (one, two) = (sketch(0), sketch(2_500));
    assert_eq!(one.clone().merged(&DistinctCount::default()), one);
    assert_eq!(DistinctCount::default().merged(&one), one);
    assert_eq!(one.clone().merged(&two).count(), two.merged(&one).count());
    let (least, most) = one.clone().merged(&one).bounds();
    assert!((least..=most).contains(&5_000));
}

#[test]
fn quantiles_are_within_a_hundredth_of_the_value_of_their_rank() {
    for seed in 0..20 {
        let mut chance = Chance(seed);
        let (mut exact, mut halves) = (Vec::new(), [Quantiles::default(), Quantiles::default()]);
        for number in 0..5_000 {
            let value = match seed % 4 {
                0 => chance.next() * 1e6,
                1 => (chance.next() * 20.0).exp(),
                2 => (chance.next() - 0.5) * 1e3,
                _ => f64::from(chance.even(10)),
            };
            exact.push(value);
            let half = &mut halves[usize::from(number % 3 == 0)];
            *half = std::mem::take(half).with(value).with(f64::NAN).with(f64::INFINITY);
        }
        let [one, other] = &halves;
        let merged = again(one).merged(&again(other));
        exact.sort_by(f64::total_cmp);
        assert_eq!(merged.count(), 5_000);
        assert_eq!((merged.min(), merged.max()), (exact.first().copied(), exact.last().copied()));
        for part in [0.0, 0.01, 0.25, 0.5, 0.75, 0.95, 0.99, 0.999, 1.0] {
            #[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "a rank")]
            let right = exact[(part * 4_999.0) as usize];
            let told = merged.quantile(part).unwrap();
            assert!(
                (told - right).abs() <= right.abs() * 0.010_001 + 1e-9,
                "{seed} {part}: {told}, not {right}"
            );
        }
    }
    assert_eq!(Quantiles::default().quantile(0.5), None);
    assert_eq!(Quantiles::default().with(1.0).quantile(1.5), None);
}

#[test]
fn quantiles_of_values_too_far_apart_are_right_at_the_top() {
    let sketch = (0..300).fold(Quantiles::default(), |sketch, exponent| {
        again(&sketch.with(10_f64.powi(exponent)).with(-(10_f64.powi(exponent))))
    });
    assert_eq!(sketch.count(), 600);
    let told = sketch.quantile(0.999).unwrap();
    assert!((0.99e298..1.01e299).contains(&told), "{told}");
}

#[test]
fn no_heavy_hitter_is_missed_and_counts_are_between_their_bounds() {
    for seed in 0..10 {
        let mut chance = Chance(seed);
        let (mut exact, mut halves) = (BTreeMap::new(), [HeavyHitters::default(), HeavyHitters::default()]);
        for number in 0..40_000 {
            let value = if seed == 0 { number % 30_000 } else { chance.skewed(30_000) };
            *exact.entry(value).or_insert(0_u64) += 1;
            let half = &mut halves[usize::from(number % 3 == 0)];
            *half = std::mem::take(half).with(value.to_be_bytes());
        }
        let [one, other] = &halves;
        let merged = again(one).merged(&again(other));
        assert_eq!(merged.count(), 40_000);
        let found = merged.top(usize::MAX);
        for heavy in &found {
            let value = u32::from_be_bytes(heavy.value.as_ref().try_into().unwrap());
            assert!((heavy.at_least..=heavy.at_most).contains(&exact[&value]), "{heavy:?}");
            assert!(heavy.at_most - heavy.at_least <= 140, "0.35 % of 40,000: {heavy:?}");
        }
        let missed = exact.iter().filter(|(value, count)| {
            **count > 140
                && !found.iter().any(|heavy| heavy.value == Bytes::copy_from_slice(&value.to_be_bytes()))
        });
        assert_eq!(missed.count(), 0);
    }
}

#[test]
fn few_values_are_counted_exactly_and_the_most_frequent_is_first() {
    let words = ["to", "be", "or", "not", "to", "be", "to"];
    let sketch = words.iter().fold(HeavyHitters::default(), |sketch, word| sketch.with(word));
    let top: Vec<_> =
        sketch.top(3).into_iter().map(|heavy| (heavy.value, heavy.at_least, heavy.at_most)).collect();
    let wanted = [("to", 3), ("be", 2), ("not", 1)];
    assert_eq!(top, wanted.map(|(word, count)| (Bytes::from(word), count, count)));
    assert_eq!(sketch.clone().with_count("x", u64::MAX), sketch, "more than can be counted is left out");
}

#[test]
fn the_bytes_of_sketches_are_those_of_the_languages_that_share_them() {
    let words = |with: &mut dyn FnMut(&str)| ["to", "be", "or", "not", "to", "be"].into_iter().for_each(with);
    let mut distinct = DistinctCount::default();
    words(&mut |word| distinct = std::mem::take(&mut distinct).with(word));
    assert_eq!(hex(&distinct), "010201070c030804003493410a2293a0118c20b207b61ae308");
    let mut heavy = HeavyHitters::default();
    words(&mut |word| heavy = std::mem::take(&mut heavy).with(word));
    let waiting = "010400020000000200000000000000746f02000000020000000000000062650200000001000000000000006f720300000001000000000000006e6f7401010a0a03050000";
    assert_eq!(hex(&heavy), waiting);
    let settled = "01000004010a0a03000000040000000000000006000000000000000000000000000000020000000000000002000000000000000100000000000000010000000000000002000000626502000000746f020000006f72030000006e6f74";
    assert_eq!(hex(&heavy.clone().merged(&HeavyHitters::default())), settled);
    let quantiles = [1.0, 2.0, -3.5, 0.0].into_iter().fold(Quantiles::default(), Quantiles::with);
    assert_eq!(
        hex(&quantiles),
        "01a08440880000000000000cc08c000000000000004084000000000000e0bf02fd4a815abf52f03f0000000000000000040205020002440207017c02"
    );
    assert_eq!((again(&distinct), again(&heavy), again(&quantiles)), (distinct, heavy, quantiles));
}

#[test]
fn bytes_that_are_no_sketch_are_an_error_whatever_they_say() {
    let many = (0..3_000_u32).fold(HeavyHitters::default(), |it, n| it.with(n.to_be_bytes()));
    let distinct = (0..3_000_u32).fold(DistinctCount::default(), |it, n| it.with(n.to_be_bytes()));
    let quantiles = (0..300_u32).fold(Quantiles::default(), |it, n| it.with(f64::from(n)));
    fn refuses<T: Coded>(sketch: &T) {
        let bytes = T::codec().encode(sketch).unwrap().unwrap();
        for cut in 0..bytes.len().min(60) {
            assert!(T::codec().decode(Some(&bytes.slice(..cut))).is_err(), "cut at {cut}");
        }
        let mut other = bytes.to_vec();
        other[0] = 2;
        let error = T::codec().decode(Some(&other.into())).map(|_| ()).unwrap_err();
        assert!(error.to_string().contains("its version is 2"), "{error}");
    }
    refuses(&many);
    refuses(&distinct);
    // Whatever the bytes of heavy hitters become: if they are read, they can be used.
    let bytes = HeavyHitters::codec().encode(&many).unwrap().unwrap();
    for place in (1..64).chain((64..bytes.len()).step_by(131)) {
        for with in [0x01, 0x80, 0xff] {
            let mut other = bytes.to_vec();
            other[place] ^= with;
            if let Ok(read) = HeavyHitters::codec().decode(Some(&other.into())) {
                assert!(read.with("x").top(3).len() <= 3);
            }
        }
    }
    // The form of quantiles is a row of parts, each of which may be missing; a part that is cut off is an error.
    let bytes = Quantiles::codec().encode(&quantiles).unwrap().unwrap();
    assert!(Quantiles::codec().decode(Some(&bytes.slice(..bytes.len() - 1))).is_err());
    for place in 1..60 {
        let mut other = bytes.to_vec();
        other[place] ^= 0xff;
        // Whatever comes of it, it is no panic and no memory beyond that of a sketch.
        let _either = Quantiles::codec().decode(Some(&other.into()));
    }
}

//! Which segments are to be cleaned, and whether it is time: pure.

use crate::ids::Offset;
use crate::topic_config::TopicConfig;

/// The settings of a topic that concern its cleaning.
#[derive(Clone, Copy, Debug)]
pub(in crate::log) struct CompactConfig {
    /// `min.cleanable.dirty.ratio`, in millionths.
    pub(in crate::log) dirty_min_ppm: u32,
    /// `min.compaction.lag.ms`.
    pub(in crate::log) lag_min_ms: u64,
    /// `max.compaction.lag.ms`; none for no bound.
    pub(in crate::log) lag_max_ms: Option<u64>,
    /// `delete.retention.ms`.
    pub(in crate::log) delete_retention_ms: u64,
    /// `max.message.bytes`: a batch does not outgrow it by being cleaned.
    pub(in crate::log) batch_bytes_max: usize,
}

impl CompactConfig {
    /// `None` for a topic that is not compacted.
    pub(in crate::log) fn of(config: &TopicConfig) -> Option<Self> {
        config.compact.then(|| Self {
            dirty_min_ppm: config.min_cleanable_dirty_ppm,
            lag_min_ms: config.min_compaction_lag_ms,
            lag_max_ms: config.max_compaction_lag_ms,
            delete_retention_ms: config.delete_retention_ms,
            batch_bytes_max: usize::try_from(config.max_message_bytes).unwrap_or(usize::MAX),
        })
    }
}

/// A sealed segment, as the decision sees it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Part {
    pub(super) next: Offset,
    pub(super) bytes: u64,
    /// It is clean below this offset.
    pub(super) clean: Offset,
    /// The timestamp of its newest record,
    pub(super) newest_ms: i64,
    /// and of its first batch.
    pub(super) first_ms: i64,
}

impl Part {
    const fn is_clean(&self) -> bool {
        self.clean.0 >= self.next.0
    }
}

/// How dirty a log is, and what is to be done about it now.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Plan {
    /// How much of a million bytes is dirty.
    pub(super) dirty_ppm: u32,
    /// Clean so many of the parts, the first ones, if any.
    pub(super) parts: usize,
    /// Below this offset the log is clean.
    pub(super) first_dirty: Offset,
}

/// Decides about the sealed segments of a log from its first on. `horizon_ms` is when the first tombstone of those that
/// were cleaned may go.
pub(super) fn plan(parts: &[Part], rules: &CompactConfig, now_ms: i64, horizon_ms: Option<i64>) -> Plan {
    let clean = parts.iter().take_while(|part| part.is_clean()).count();
    let is_ripe = |part: &&Part| rules.lag_min_ms == 0 || age(part.newest_ms, now_ms) >= rules.lag_min_ms;
    let ripe = clean + parts.iter().skip(clean).take_while(is_ripe).count();
    let bytes = |from: usize, to: usize| -> u64 {
        parts.iter().take(to).skip(from).map(|part| part.bytes).fold(0, u64::saturating_add)
    };
    let (dirty_bytes, all_bytes) = (bytes(clean, ripe), bytes(0, ripe));
    let dirty_ppm = u128::from(dirty_bytes) * 1_000_000 / u128::from(all_bytes.max(1));
    let dirty_ppm = u32::try_from(dirty_ppm).unwrap_or(1_000_000);
    let first = parts.get(clean).filter(|_| ripe > clean);
    let is_overdue = first
        .zip(rules.lag_max_ms)
        .is_some_and(|(first, most_ms)| first.first_ms >= 0 && age(first.first_ms, now_ms) > most_ms);
    let is_past_horizon = clean > 0 && horizon_ms.is_some_and(|horizon_ms| horizon_ms <= now_ms);
    let is_due = first.is_some() && (dirty_ppm > rules.dirty_min_ppm || is_overdue) || is_past_horizon;
    let last = clean.checked_sub(1).and_then(|last| parts.get(last));
    let first_dirty = parts.get(clean).map(|part| part.clean).or(last.map(|part| part.next));
    Plan { dirty_ppm, parts: if is_due { ripe } else { 0 }, first_dirty: first_dirty.unwrap_or(Offset::ZERO) }
}

/// How long ago; nothing for what is to come.
fn age(then_ms: i64, now_ms: i64) -> u64 {
    u64::try_from(now_ms.saturating_sub(then_ms)).unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW_MS: i64 = 1_000_000;

    fn rules() -> CompactConfig {
        CompactConfig {
            dirty_min_ppm: 500_000,
            lag_min_ms: 0,
            lag_max_ms: None,
            delete_retention_ms: 1000,
            batch_bytes_max: 1 << 20,
        }
    }

    /// Parts of ten offsets; each with its bytes, and whether it is clean.
    fn parts(of: &[(u64, bool)]) -> Vec<Part> {
        let part = |(index, (bytes, is_clean)): (usize, &(u64, bool))| {
            let base = 10 * i64::try_from(index).unwrap();
            let clean = if *is_clean { base + 10 } else { base };
            let newest_ms = base * 1000;
            Part {
                next: Offset(base + 10),
                bytes: *bytes,
                clean: Offset(clean),
                newest_ms,
                first_ms: newest_ms,
            }
        };
        of.iter().enumerate().map(part).collect()
    }

    fn decide(of: &[(u64, bool)], rules: CompactConfig) -> (u32, usize, i64) {
        let Plan { dirty_ppm, parts, first_dirty } = plan(&parts(of), &rules, NOW_MS, None);
        (dirty_ppm, parts, first_dirty.0)
    }

    #[test]
    fn a_log_is_cleaned_when_more_than_the_ratio_is_dirty() {
        assert_eq!(decide(&[], rules()), (0, 0, 0));
        assert_eq!(decide(&[(50, false)], rules()), (1_000_000, 1, 0));
        assert_eq!(decide(&[(50, true), (50, false)], rules()), (500_000, 0, 10), "more, not as much");
        assert_eq!(decide(&[(50, true), (51, false)], rules()), (504_950, 2, 10));
        assert_eq!(decide(&[(50, true), (50, true)], rules()), (0, 0, 20));
        let eager = CompactConfig { dirty_min_ppm: 0, ..rules() };
        assert_eq!(decide(&[(50, true), (50, true)], eager), (0, 0, 20), "nothing is dirty");
    }

    #[test]
    fn what_stands_behind_a_dirty_segment_counts_as_dirty() {
        assert_eq!(decide(&[(10, false), (90, true)], rules()), (1_000_000, 2, 0));
        let mut half = parts(&[(10, true), (90, false)]);
        half[1].clean = Offset(17);
        assert_eq!(plan(&half, &rules(), NOW_MS, None).first_dirty, Offset(17));
    }

    #[test]
    fn young_records_wait_for_the_least_lag_and_all_behind_them_too() {
        // The segments' newest records are of 0, 10,000 and 20,000 ms.
        let of = [(50, false), (50, false), (50, false)];
        let lag = |lag_min_ms| decide(&of, CompactConfig { lag_min_ms, ..rules() }).1;
        assert_eq!([lag(980_000), lag(980_001), lag(990_001), lag(1_000_001)], [3, 2, 1, 0]);
    }

    #[test]
    fn old_records_are_cleaned_for_the_greatest_lag_however_few_they_are() {
        let of = [(99, true), (1, false)];
        let lag = |most| decide(&of, CompactConfig { lag_max_ms: Some(most), ..rules() }).1;
        assert_eq!([lag(990_000), lag(989_999)], [0, 2]);
    }

    #[test]
    fn tombstones_past_their_horizon_are_reason_enough() {
        let cleaned = parts(&[(50, true), (50, true)]);
        let at = |horizon_ms| plan(&cleaned, &rules(), NOW_MS, horizon_ms).parts;
        assert_eq!([at(None), at(Some(NOW_MS + 1)), at(Some(NOW_MS))], [0, 0, 2]);
    }
}

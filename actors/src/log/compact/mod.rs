//! Compaction: of a topic with `cleanup.policy=compact` the newest record of each key is kept.
//!
//! A cleaning takes the sealed segments of one log that lie below the high watermark and the durable end. It reads those
//! that are *dirty* (not cleaned before) into a map of key → offset, then writes all of them anew without what the map
//! makes superfluous. It does so in short steps on whatever thread has the time ([`Cleaning::step`]), one log of a
//! directory at a time; the log's owner only exchanges a few names ([`Log::adopt`](super::Log::adopt)). Kept true:
//!
//! - Offsets and their order stay. A batch keeps its first and last offset, its epoch and its producer; one that has lost
//!   all its records is gone, but for the last of a living producer, which stays without records so that its sequence is
//!   known.
//! - **No log has a gap.** Where batches went there is a *hole*: one batch without records that stands for all offsets up
//!   to the next, of one leader epoch. Kafka leaves such batches too, but of whole batches only, and gaps between them.
//!   With holes every check that a batch begins where the one before it ends stays as sharp as in other topics.
//! - Of transactions only what has ended is cleaned. What was aborted goes, and a marker `delete.retention.ms` after the
//!   last record of its transaction.
//! - A tombstone is kept for `delete.retention.ms` after it was first cleaned: then its batch gets a delete horizon
//!   (KIP-534), and past that it goes.
//! - A power cut finds the old segments or the new one, never both and never neither: see [`Name`](super::segment::Name).
//!   The new file is synced before its rename, the rename before the old files go and before the next file's rename.
//! - A full disk is asked for space once: a cleaning that failed for want of it is not tried again, and learns no keys, before
//!   there is as much as it is likely to need.
//! - Memory is bounded: `log.cleaner.dedupe.buffer.size` for the map, and one batch. What does not fit the map is left
//!   for another cleaning.

mod adopt;
mod cleaner;
mod cleaning;
mod judge;
mod key_map;
mod output;
mod plan;
mod reading;

pub(in crate::log) use self::adopt::CleaningState;
pub(in crate::log) use self::cleaner::Cleaner;
pub use self::cleaner::{CleanerSettings, CleaningTurn};
pub use self::cleaning::{Cleaned, Cleaning, Lacked, Stepped};
pub use self::judge::KnownProducers;
pub use self::output::{Prepared, Replaced};
pub(in crate::log) use self::plan::CompactConfig;

/// Cleanings for tests.
#[cfg(test)]
pub(crate) mod fixture {
    use super::super::{Cleaning, KnownProducers, Log, Stepped};
    use crate::ids::Offset;

    /// A whole cleaning, on this thread.
    pub(crate) fn clean(log: &mut Log, high_watermark: Offset) -> Stepped {
        clean_with(log, high_watermark, KnownProducers::default())
    }

    /// The same with living producers.
    pub(crate) fn clean_with(log: &mut Log, high_watermark: Offset, producers: KnownProducers) -> Stepped {
        match log.cleaning(high_watermark, |_| producers) {
            Some(cleaning) => go_on(log, cleaning),
            None => Stepped::Nothing,
        }
    }

    /// The rest of a cleaning.
    pub(crate) fn go_on(log: &mut Log, mut cleaning: Box<Cleaning>) -> Stepped {
        loop {
            match one_step(log, cleaning) {
                Stepped::More(next) => cleaning = next,
                ended => return ended,
            }
        }
    }

    /// One step, and what the owner does of it.
    pub(crate) fn one_step(log: &mut Log, cleaning: Box<Cleaning>) -> Stepped {
        match cleaning.step() {
            Stepped::Prepared(cleaning, prepared) => match log.adopt(&prepared) {
                Ok(replaced) => Stepped::More(cleaning.adopted(&prepared, replaced)),
                Err(error) => Stepped::Failed(error, None),
            },
            Stepped::Cleaned(cleaned) => {
                log.cleaned(cleaned);
                Stepped::Cleaned(cleaned)
            }
            Stepped::Failed(error, lacked) => {
                log.not_cleaned(lacked);
                Stepped::Failed(error, lacked)
            }
            other => other,
        }
    }
}

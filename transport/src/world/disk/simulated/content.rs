//! The bytes of one simulated file: what the page cache shows, and what would be left after a power cut.

use std::collections::BTreeMap;

use rand::Rng;
use rand::rngs::SmallRng;

/// What a disk writes whole or not at all.
pub(super) const SECTOR: usize = 512;

/// The page cache's view, and for each sector in which it differs from the medium, what the medium holds.
///
/// So a sync costs what was written since the one before, and memory is the file plus its unsynced sectors.
#[derive(Debug, Default)]
pub(super) struct Content {
    shown: Vec<u8>,
    durable_length: usize,
    unsynced: BTreeMap<usize, Unsynced>,
}

#[derive(Debug)]
struct Unsynced {
    /// The sector on the medium; what it lacks of a whole sector is zero.
    durable: Vec<u8>,
    /// A sync failed and the kernel called the page clean: no later sync writes it, unless it is written to again.
    lost: bool,
}

impl Content {
    pub(super) fn length(&self) -> usize {
        self.shown.len()
    }

    pub(super) fn read(&self, buffer: &mut [u8], position: usize) -> usize {
        let there = self.shown.get(position..).unwrap_or_default();
        let length = there.len().min(buffer.len());
        if let (Some(place), Some(bytes)) = (buffer.get_mut(..length), there.get(..length)) {
            place.copy_from_slice(bytes);
        }
        length
    }

    pub(super) fn write(&mut self, bytes: &[u8], position: usize) {
        let end = position + bytes.len();
        self.touch(position, end);
        if self.shown.len() < end {
            self.shown.resize(end, 0);
        }
        if let Some(place) = self.shown.get_mut(position..end) {
            place.copy_from_slice(bytes);
        }
    }

    pub(super) fn set_length(&mut self, length: usize) {
        if length < self.shown.len() {
            self.touch(length, self.shown.len());
        }
        self.shown.resize(length, 0);
    }

    /// Remembers what the medium holds of the sectors that are about to change.
    fn touch(&mut self, from: usize, to: usize) {
        for sector in from / SECTOR..to.div_ceil(SECTOR) {
            let start = sector * SECTOR;
            let shown = self.shown.get(start..).unwrap_or_default();
            let entry = self.unsynced.entry(sector).or_insert_with(|| Unsynced {
                durable: shown.get(..SECTOR).unwrap_or(shown).to_vec(),
                lost: false,
            });
            entry.lost = false;
        }
    }

    /// A sync that succeeds: all is durable that no earlier failed sync has lost.
    pub(super) fn sync(&mut self) {
        self.unsynced.retain(|_, sector| sector.lost);
        self.durable_length = self.shown.len();
    }

    /// A sync that fails: some sectors reached the medium, the others are lost although the cache goes on showing them.
    pub(super) fn fail_sync(&mut self, rng: &mut SmallRng) {
        let mut spared = self.unsynced.values().filter(|sector| !sector.lost).count();
        self.unsynced.retain(|_, sector| {
            if sector.lost {
                return true;
            }
            spared -= 1;
            // One at least is lost, or the failure would be none.
            sector.lost = spared == 0 || rng.random_bool(0.5);
            sector.lost
        });
    }

    /// The kernel drops its clean pages: what a failed sync has lost is no longer shown either.
    pub(super) fn evict(&mut self) {
        let length = self.shown.len();
        for (sector, lost) in self.unsynced.extract_if(.., |_, sector| sector.lost) {
            restore(&mut self.shown, sector, &lost.durable);
        }
        self.shown.resize(length, 0);
    }

    /// The power goes: each unsynced sector and the unsynced length survive or not.
    pub(super) fn cut_power(&mut self, rng: &mut SmallRng) {
        let survival = survival(rng);
        let (shorter, longer) =
            (self.durable_length.min(self.shown.len()), self.durable_length.max(self.shown.len()));
        let length = match rng.random_range(0..3) {
            _ if survival == 0.0 => self.durable_length,
            0 => self.durable_length,
            1 => self.shown.len(),
            _ => rng.random_range(shorter..=longer),
        };
        self.shown.resize(longer, 0);
        for (sector, unsynced) in std::mem::take(&mut self.unsynced) {
            if unsynced.lost || !rng.random_bool(survival) {
                restore(&mut self.shown, sector, &unsynced.durable);
            }
        }
        self.shown.resize(length, 0);
        self.durable_length = length;
    }

    /// The medium changes a bit by itself; false if the file has no such byte.
    pub(super) fn flip_bit(&mut self, position: usize, bit: u8) -> bool {
        let mask = 1_u8 << (bit % 8);
        let Some(byte) = self.shown.get_mut(position) else { return false };
        *byte ^= mask;
        let unsynced = self.unsynced.get_mut(&(position / SECTOR));
        if let Some(byte) = unsynced.and_then(|sector| sector.durable.get_mut(position % SECTOR)) {
            *byte ^= mask;
        }
        true
    }
}

/// Share of what was not synced that survives one power cut: often all or nothing, else any mixture.
pub(super) fn survival(rng: &mut SmallRng) -> f64 {
    match rng.random_range(0..4) {
        0 => 0.0,
        1 => 1.0,
        _ => rng.random(),
    }
}

fn restore(shown: &mut Vec<u8>, sector: usize, durable: &[u8]) {
    let start = sector * SECTOR;
    if shown.len() < start + durable.len() {
        shown.resize(start + durable.len(), 0);
    }
    let end = shown.len().min(start + SECTOR);
    if let Some(place) = shown.get_mut(start..end) {
        place.fill(0);
        for (byte, durable) in place.iter_mut().zip(durable) {
            *byte = *durable;
        }
    }
}

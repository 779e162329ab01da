//! A disk in memory, from a seed, that outlives the processes of its node and fails as disks do.
//!
//! What a process wrote is in the page cache until it is synced. [`SimulatedDisk::kill`] ends the process and leaves the
//! cache; [`SimulatedDisk::cut_power`] ends the cache too: of the bytes, lengths and names that were not synced some are
//! lost and some are not. A handle, once its process is dead, does nothing any more.

mod content;
mod faults;
mod file;
mod live;
mod names;

use std::io;
use std::ops::RangeInclusive;
use std::path::Path;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use rand::rngs::SmallRng;
use rand::{Rng, SeedableRng};

use super::Disk;
use faults::Faults;
pub use faults::{DiskCall, DiskCounts};
use file::{FileNode, FileState};
use live::LiveDisk;
use names::Names;

/// The disk of one simulated node, and the means to make it fail. Clones are handles to the same disk.
#[derive(Clone, Debug)]
pub struct SimulatedDisk(Arc<Mutex<State>>);

#[derive(Debug)]
struct State {
    rng: SmallRng,
    names: Names,
    faults: Faults,
    counts: DiskCounts,
    used: u64,
    life: u64,
    boot: u64,
}

impl SimulatedDisk {
    /// An empty disk of 1 TiB.
    #[must_use]
    pub fn new(seed: u64) -> Self {
        Self(Arc::new(Mutex::new(State {
            rng: SmallRng::seed_from_u64(seed),
            names: Names::new(),
            faults: Faults::new(),
            counts: DiskCounts::default(),
            used: 0,
            life: 1,
            boot: 1,
        })))
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The disk as the process of the present life sees it; dead after [`SimulatedDisk::kill`] or
    /// [`SimulatedDisk::cut_power`].
    #[must_use]
    pub fn disk(&self) -> Arc<dyn Disk> {
        Arc::new(LiveDisk { disk: self.clone(), life: self.life() })
    }

    /// The number of the present life, from 1: each kill and power cut ends one.
    #[must_use]
    pub fn life(&self) -> u64 {
        self.state().life
    }

    /// The process dies: its handles and locks are dead, what it wrote stays in the page cache.
    pub fn kill(&self) {
        self.state().life += 1;
    }

    /// The machine loses power: as [`SimulatedDisk::kill`], and of what was not synced each sector of 512 bytes, the length of
    /// each file and each directory's latest names survive or are lost at random.
    pub fn cut_power(&self) {
        self.state().cut_power();
    }

    /// Cuts the power instead of the call after so many more calls that change something, to stop a program at any point.
    pub fn cut_power_after(&self, calls: u64) {
        self.state().faults.cut_power_after = Some(calls);
    }

    /// Makes the next so many calls of a kind fail, of files and directories under a path.
    ///
    /// After a failed sync the kernel takes the unsynced pages for clean: the next sync succeeds, the cache shows what
    /// was written, and the medium does not have it.
    pub fn fail(&self, call: DiskCall, under: &Path, times: u64) {
        self.state().faults.fail(call, under, times);
    }

    /// Ends failing calls and fullness; what was lost stays lost.
    pub fn fail_nothing(&self) {
        self.state().faults.fail_nothing();
    }

    /// The kernel drops clean pages: bytes that a failed sync has lost are no longer shown.
    pub fn evict_cache(&self) {
        let state = self.state();
        state.names.files().iter().for_each(|file| file.state().content.evict());
    }

    /// While true no write gets space that was not allocated before.
    pub fn set_full(&self, full: bool) {
        self.state().faults.full = full;
    }

    /// Bytes the disk holds in all.
    pub fn set_capacity(&self, capacity_bytes: u64) {
        self.state().faults.capacity = capacity_bytes;
    }

    /// Bytes of space taken, in whole blocks.
    #[must_use]
    pub fn used(&self) -> u64 {
        self.state().used
    }

    /// Changes one bit (0 to 7) of a file on the medium, and in the cache if it is there.
    pub fn flip_bit(&self, path: &Path, position: u64, bit: u8) -> io::Result<()> {
        let file = self.state().names.file(path)?;
        let found =
            usize::try_from(position).is_ok_and(|position| file.state().content.flip_bit(position, bit));
        if found { Ok(()) } else { Err(io::ErrorKind::UnexpectedEof.into()) }
    }

    /// Empties a directory, durably, as if it were a new disk.
    pub fn empty_directory(&self, path: &Path) -> io::Result<()> {
        let mut state = self.state();
        for file in state.names.empty(path)? {
            state.forget(&file);
        }
        Ok(())
    }

    /// How long blocking work takes from now on: what [`SimulatedDisk::delay`] draws from.
    pub fn slow(&self, delay: RangeInclusive<Duration>) {
        self.state().faults.delay = delay;
    }

    /// How long the next blocking work takes; 1 to 2 ms unless told otherwise.
    #[must_use]
    pub fn delay(&self) -> Duration {
        let mut state = self.state();
        let (least, most) = (*state.faults.delay.start(), *state.faults.delay.end());
        if least >= most { least } else { state.rng.random_range(least..=most) }
    }

    /// How often the disk was called.
    #[must_use]
    pub fn counts(&self) -> DiskCounts {
        self.state().counts
    }

    /// The state, for a process that is alive.
    fn alive(&self, life: u64) -> io::Result<MutexGuard<'_, State>> {
        let state = self.state();
        if state.life == life {
            return Ok(state);
        }
        Err(io::Error::other("the process that held this simulated disk is dead"))
    }

    /// The same, for a call that changes something: the power may go just then.
    fn acts(&self, life: u64) -> io::Result<MutexGuard<'_, State>> {
        let mut state = self.alive(life)?;
        match &mut state.faults.cut_power_after {
            Some(0) => {
                state.cut_power();
                drop(state);
                self.alive(life)
            }
            Some(calls) => {
                *calls -= 1;
                Ok(state)
            }
            None => Ok(state),
        }
    }
}

impl State {
    fn cut_power(&mut self) {
        self.life += 1;
        self.boot += 1;
        self.faults.cut_power_after = None;
        self.used = 0;
        for file in self.names.cut_power(&mut self.rng) {
            let mut file = file.state();
            file.content.cut_power(&mut self.rng);
            file.named = true;
            self.used += file.allocated;
        }
    }

    fn draw_below(&mut self, bound: usize) -> usize {
        self.rng.random_range(0..bound.max(1))
    }

    fn free(&self) -> u64 {
        if self.faults.full { 0 } else { self.faults.capacity.saturating_sub(self.used) }
    }

    /// Gives a file the space for this length; fails, and changes nothing, if there is not enough.
    fn allocate(&mut self, file: &mut FileState, length: u64) -> Result<(), ()> {
        let missing = file.missing(length);
        if !file.named || missing == 0 {
            return Ok(());
        }
        if missing > self.free() {
            return Err(());
        }
        file.allocated += missing;
        self.used += missing;
        Ok(())
    }

    /// Takes the space beyond `keep` from a file.
    fn release(&mut self, file: &mut FileState, keep: u64) {
        let released = file.allocated.saturating_sub(keep);
        file.allocated -= released;
        if file.named {
            self.used = self.used.saturating_sub(released);
        }
    }

    /// Counts a file's space as free: its name is gone.
    fn forget(&mut self, file: &FileNode) {
        let mut file = file.state();
        if std::mem::take(&mut file.named) {
            self.used = self.used.saturating_sub(file.allocated);
        }
    }
}

fn full(path: &Path) -> io::Error {
    io::Error::new(
        io::ErrorKind::StorageFull,
        format!("{} cannot grow: the simulated disk is full", path.display()),
    )
}

#[cfg(test)]
mod tests;

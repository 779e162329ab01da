//! The number of a node's life: greater at every start, so that what an earlier life sent can be told apart.
//!
//! It is kept in one of two places of a file, each in a block of its own, by turns: a write that is cut short leaves the
//! other one, and none needs space that was not there before (rule 3: a node whose disk is full starts).

use std::io::{self, IoSlice};
use std::path::Path;

use millstream_actors::ids::Incarnation;
use millstream_transport::world::{DiskFile, OpenMode, World};

const FILE: &str = "incarnation";

/// Where the two places are.
const PLACES: [u64; 2] = [0, 4096];

/// Bytes of a place: the number in twenty digits, twice, so that half a write is told from a whole one.
const PLACE_BYTES: usize = 42;

/// Draws the next incarnation and keeps it in `directory`: one more than the last, and at least the wall time in
/// milliseconds, so that a node whose directory was emptied does not repeat an earlier life.
pub(super) fn draw(world: &World, directory: &Path) -> io::Result<Incarnation> {
    let path = directory.join(FILE);
    let now_ms = u64::try_from(world.clock.wall_ms()).unwrap_or(0);
    if !world.disk.exists(&path)? {
        make(world, directory, now_ms)?;
        return Ok(Incarnation(now_ms));
    }
    let file = world.disk.open(&path, OpenMode::Write)?;
    let [low, high] = PLACES;
    let (first, second) = (read(&*file, low)?, read(&*file, high)?);
    let last = first.max(second).ok_or_else(|| {
        let reason = format!("{} holds no number: restore it, or remove it", path.display());
        io::Error::new(io::ErrorKind::InvalidData, reason)
    })?;
    let next = now_ms.max(last.saturating_add(1));
    // In the place of the older one.
    file.write_at(&[IoSlice::new(&written(next))], if first <= second { low } else { high })?;
    file.sync_data()?;
    Ok(Incarnation(next))
}

fn written(number: u64) -> Vec<u8> {
    format!("{number:020} {number:020}\n").into_bytes()
}

/// A file with both places, of which one holds the number; under its name only when all is on disk.
fn make(world: &World, directory: &Path, number: u64) -> io::Result<()> {
    let fresh = directory.join("incarnation.new");
    let file = world.disk.open(&fresh, OpenMode::Truncate)?;
    let [low, high] = PLACES;
    file.write_at(&[IoSlice::new(&written(number))], low)?;
    file.write_at(&[IoSlice::new(&[b' '; PLACE_BYTES])], high)?;
    file.sync_data()?;
    world.disk.rename(&fresh, &directory.join(FILE))?;
    world.disk.sync_directory(directory)
}

/// The number in the place at `at`; `None` where none was written whole.
fn read(file: &dyn DiskFile, at: u64) -> io::Result<Option<u64>> {
    let mut buffer = [0_u8; PLACE_BYTES];
    let length = file.read_at(&mut buffer, at)?;
    let text = buffer.get(..length).and_then(|bytes| std::str::from_utf8(bytes).ok()).unwrap_or("");
    let (one, two) = match text.strip_suffix('\n').and_then(|text| text.split_once(' ')) {
        Some(twice) => twice,
        // Earlier programs wrote the number once, and nothing else.
        None => (text, text),
    };
    Ok(if one == two { one.parse().ok() } else { None })
}

#[cfg(test)]
mod tests {
    use millstream_transport::world::{SimulatedDisk, simulation};

    use super::*;

    #[test]
    fn every_life_is_later_than_the_one_before_even_when_the_clock_goes_back() {
        simulation::run(1, |simulation| async move {
            let disk = SimulatedDisk::new(1);
            let mut last = Incarnation(0);
            for skew_ms in [0, 0, -86_400_000, 5] {
                let world = World::simulated(&simulation, &disk);
                world.clock.skew(skew_ms);
                world.disk.create_directories(Path::new("/data")).unwrap();
                let drawn = draw(&world, Path::new("/data")).unwrap();
                assert!(drawn > last, "{drawn:?} after {last:?}");
                last = drawn;
                disk.cut_power();
            }
        });
    }

    #[test]
    fn a_node_whose_disk_is_full_draws_one_too() {
        simulation::run(1, |simulation| async move {
            let disk = SimulatedDisk::new(1);
            let world = World::simulated(&simulation, &disk);
            world.disk.create_directories(Path::new("/data")).unwrap();
            let first = draw(&world, Path::new("/data")).unwrap();
            disk.set_full(true);
            let second = draw(&world, Path::new("/data")).unwrap();
            assert!(second > first);
            assert!(draw(&world, Path::new("/data")).unwrap() > second);
        });
    }

    #[test]
    fn a_write_that_was_cut_short_leaves_the_number_before() {
        simulation::run(1, |simulation| async move {
            let world = World::simulated(&simulation, &SimulatedDisk::new(1));
            world.disk.create_directories(Path::new("/data")).unwrap();
            let mut drawn = vec![draw(&world, Path::new("/data")).unwrap()];
            for _ in 0..4 {
                drawn.push(draw(&world, Path::new("/data")).unwrap());
            }
            let file = world.disk.open(Path::new("/data/incarnation"), OpenMode::Write).unwrap();
            // The fifth lies in the first place.
            file.write_at(&[IoSlice::new(b"0000")], PLACES[0] + 30).unwrap();
            let next = draw(&world, Path::new("/data")).unwrap();
            assert!(next > drawn[3], "{next:?} after {drawn:?}");
        });
    }

    #[test]
    fn a_file_that_holds_no_number_is_told() {
        simulation::run(1, |simulation| async move {
            let world = World::simulated(&simulation, &SimulatedDisk::new(1));
            world.disk.create_directories(Path::new("/data")).unwrap();
            let file = world.disk.open(Path::new("/data/incarnation"), OpenMode::CreateNew).unwrap();
            file.write_at(&[IoSlice::new(b"x")], 0).unwrap();
            let error = draw(&world, Path::new("/data")).unwrap_err();
            assert!(error.to_string().contains("/data/incarnation"), "{error}");
        });
    }
}

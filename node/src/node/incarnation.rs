//! The number of a node's life: greater at every start, so that what an earlier life sent can be told apart.

use std::io::{self, IoSlice};
use std::path::Path;

use millstream_actors::ids::Incarnation;
use millstream_transport::world::{OpenMode, World};

const FILE: &str = "incarnation";

/// Draws the next incarnation and keeps it in `directory`: one more than the last, and at least the wall time in
/// milliseconds, so that a node whose directory was emptied does not repeat an earlier life.
pub(super) fn draw(world: &World, directory: &Path) -> io::Result<Incarnation> {
    let path = directory.join(FILE);
    let last = if world.disk.exists(&path)? { read(world, &path)? } else { 0 };
    let now_ms = u64::try_from(world.clock.wall_ms()).unwrap_or(0);
    let next = now_ms.max(last.saturating_add(1));
    let fresh = directory.join("incarnation.new");
    let file = world.disk.open(&fresh, OpenMode::Truncate)?;
    file.write_at(&[IoSlice::new(next.to_string().as_bytes())], 0)?;
    file.sync_data()?;
    world.disk.rename(&fresh, &path)?;
    world.disk.sync_directory(directory)?;
    Ok(Incarnation(next))
}

fn read(world: &World, path: &Path) -> io::Result<u64> {
    let file = world.disk.open(path, OpenMode::Read)?;
    // The longest number that is written has 20 digits; anything longer is not ours.
    let mut buffer = [0_u8; 32];
    let length = file.read_at(&mut buffer, 0)?;
    let text = buffer.get(..length).and_then(|bytes| std::str::from_utf8(bytes).ok()).unwrap_or("");
    text.parse().map_err(|_| {
        let reason = format!("{} holds no number: restore it, or remove it", path.display());
        io::Error::new(io::ErrorKind::InvalidData, reason)
    })
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

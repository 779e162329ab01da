//! What lies on the disks of nodes that do not run.

use std::fs;
use std::path::{Path, PathBuf};

use millstream_actors::ids::PartitionId;

use crate::Outcome;

/// Bytes of a batch before what its length counts: base offset and the length itself.
const PREFIX_BYTES: usize = 12;

/// The segments of a partition in a log directory, in order.
pub fn segments(log_directory: &Path, partition: PartitionId) -> Outcome<Vec<PathBuf>> {
    let directory = log_directory.join(format!("{}-{}", partition.topic.0, partition.index));
    let mut found = Vec::new();
    for entry in fs::read_dir(&directory).map_err(|error| format!("{}: {error}", directory.display()))? {
        let path = entry?.path();
        if path.extension().is_some_and(|extension| extension == "log") {
            found.push(path);
        }
    }
    found.sort();
    Ok(found)
}

/// The batches of a partition, one behind the other.
pub fn batches(log_directory: &Path, partition: PartitionId) -> Outcome<Vec<u8>> {
    let mut all = Vec::new();
    for segment in segments(log_directory, partition)? {
        let bytes = fs::read(&segment)?;
        let mut rest = bytes.as_slice();
        // Space reserved ahead is zero, and no batch has length 0.
        while let Some(length) = length_of_first(rest).filter(|length| *length > PREFIX_BYTES) {
            let (batch, behind) = rest
                .split_at_checked(length)
                .ok_or_else(|| format!("{} ends within a batch", segment.display()))?;
            all.extend_from_slice(batch);
            rest = behind;
        }
    }
    Ok(all)
}

fn length_of_first(bytes: &[u8]) -> Option<usize> {
    let length = bytes.get(8..PREFIX_BYTES)?;
    let length = u32::from_be_bytes(length.try_into().ok()?);
    Some(usize::try_from(length).ok()? + PREFIX_BYTES)
}

/// An error unless these log directories hold the same bytes of these partitions, and some.
pub fn same_bytes(log_directories: &[PathBuf], partitions: impl IntoIterator<Item = PartitionId>) -> Outcome {
    for partition in partitions {
        let mut first: Option<(&PathBuf, Vec<u8>)> = None;
        for directory in log_directories {
            let found = batches(directory, partition)?;
            match &first {
                None if found.is_empty() => return Err(format!("{partition}: nothing on disk").into()),
                None => first = Some((directory, found)),
                Some((_, expected)) if *expected == found => {}
                Some((other, expected)) => {
                    let differs = expected.iter().zip(&found).position(|(one, two)| one != two);
                    return Err(format!(
                        "{partition}: {} has {} bytes, {} has {}; first difference at {differs:?}",
                        other.display(),
                        expected.len(),
                        directory.display(),
                        found.len()
                    )
                    .into());
                }
            }
        }
    }
    Ok(())
}

/// Flips a bit in the middle of a file.
pub fn flip_a_bit(file: &Path) -> Outcome {
    let mut bytes = fs::read(file)?;
    let middle = bytes.len() / 2;
    let byte = bytes.get_mut(middle).ok_or("the file is empty")?;
    *byte ^= 0x10;
    // Written in place, as a disk would do it.
    Ok(fs::write(file, bytes)?)
}

/// Cuts the second half of a file off.
pub fn cut_in_half(file: &Path) -> Outcome {
    let file = fs::OpenOptions::new().write(true).open(file)?;
    let half = file.metadata()?.len() / 2;
    Ok(file.set_len(half)?)
}

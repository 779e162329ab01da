//! Walks over the headers of batches in memory and in files.

use std::io;
use std::path::Path;

use millstream_transport::world::{Disk, DiskFile};

use crate::ids::{LeaderEpoch, Offset};
use crate::record::{BatchHeader, HEADER_BYTES};

/// Where a batch's checksum begins: bytes from here on are covered by it.
const CHECKED_FROM: u64 = 21;

/// Bytes of a whole batch.
pub(super) fn length(header: &BatchHeader) -> u64 {
    u64::try_from(header.total_bytes()).unwrap_or(u64::MAX)
}

/// The headers of the whole batches in `bytes`, one behind the other. Ends after an error.
pub(super) fn headers(mut bytes: &[u8]) -> impl Iterator<Item = Result<BatchHeader, String>> {
    std::iter::from_fn(move || {
        if bytes.is_empty() {
            return None;
        }
        let header =
            BatchHeader::parse(bytes).map_err(|error| error.problem.to_string()).and_then(|header| {
                let rest = bytes.get(header.total_bytes()..).ok_or("the last batch is cut off")?;
                Ok((header, rest))
            });
        bytes = header.as_ref().map_or(&[], |(_, rest)| *rest);
        Some(header.map(|(header, _)| header))
    })
}

/// What a walk through a file comes upon.
#[derive(Debug)]
pub(super) enum Step {
    /// A whole batch, at this position.
    Batch(u64, BatchHeader),
    /// The end, with nothing left over.
    End,
    /// Bytes that are no batch, or not one that may stand there.
    Bad(String),
}

/// A walk through the batches of a segment file, from one batch's beginning up to a limit.
pub(super) struct Walk<'a> {
    file: &'a dyn DiskFile,
    limit: u64,
    window: Vec<u8>,
    window_at: u64,
    window_bytes: usize,
    verify: bool,
    /// Where the next batch begins.
    pub(super) position: u64,
    /// The offset that it must have.
    pub(super) offset: Offset,
    /// The least leader epoch that it may have.
    pub(super) epoch: LeaderEpoch,
}

/// Bytes read at once to see headers.
const HEADERS_WINDOW: usize = 64 << 10;

/// Bytes read at once to see everything.
const VERIFY_WINDOW: usize = 1 << 20;

impl<'a> Walk<'a> {
    /// A walk over headers alone.
    pub(super) fn headers(file: &'a dyn DiskFile, position: u64, limit: u64, offset: Offset) -> Self {
        Self::new(file, position, limit, offset, false)
    }

    /// A walk that holds every batch's checksum against its bytes.
    pub(super) fn verified(file: &'a dyn DiskFile, position: u64, limit: u64, offset: Offset) -> Self {
        Self::new(file, position, limit, offset, true)
    }

    fn new(file: &'a dyn DiskFile, position: u64, limit: u64, offset: Offset, verify: bool) -> Self {
        let window_bytes = if verify { VERIFY_WINDOW } else { HEADERS_WINDOW };
        let (window, window_at) = (Vec::new(), position);
        let epoch = LeaderEpoch(i32::MIN);
        Self { file, limit, window, window_at, window_bytes, verify, position, offset, epoch }
    }

    /// The next batch. After anything but a batch the walk stays where it is.
    pub(super) fn step(&mut self) -> io::Result<Step> {
        if self.position >= self.limit {
            return Ok(Step::End);
        }
        let left = self.limit - self.position;
        let header = match BatchHeader::parse(self.look(self.position, HEADER_BYTES)?) {
            Ok(header) => header,
            Err(error) => return Ok(Step::Bad(error.problem.to_string())),
        };
        if length(&header) > left {
            let text = format!("the batch has {} bytes and only {left} are there", length(&header));
            return Ok(Step::Bad(text));
        }
        if header.base_offset != self.offset {
            let (stands, belongs) = (header.base_offset, self.offset);
            return Ok(Step::Bad(format!("a batch of offset {stands} stands where {belongs} belongs")));
        }
        if header.leader_epoch < self.epoch {
            let (stands, before) = (header.leader_epoch, self.epoch);
            return Ok(Step::Bad(format!("a batch of leader epoch {stands} stands behind one of {before}")));
        }
        if self.verify {
            let computed = self.checksum(&header)?;
            if computed != header.checksum {
                let text =
                    format!("the batch's checksum is {computed:08x} and should be {:08x}", header.checksum);
                return Ok(Step::Bad(text));
            }
        }
        let position = self.position;
        self.position += length(&header);
        self.offset = header.next_offset();
        self.epoch = header.leader_epoch;
        Ok(Step::Batch(position, header))
    }

    /// Up to `wanted` bytes from `position` on; fewer only where the limit or the file ends.
    fn look(&mut self, position: u64, wanted: usize) -> io::Result<&[u8]> {
        let seen = position.checked_sub(self.window_at).and_then(|skip| usize::try_from(skip).ok());
        let has = seen.is_some_and(|skip| self.window.len() >= skip.saturating_add(wanted));
        if !has {
            let left = usize::try_from(self.limit.saturating_sub(position)).unwrap_or(usize::MAX);
            self.window.resize(self.window_bytes.max(wanted).min(left), 0);
            let read = self.file.read_at(&mut self.window, position)?;
            self.window.truncate(read);
            self.window_at = position;
        }
        let skip = usize::try_from(position - self.window_at).unwrap_or(usize::MAX);
        let bytes = self.window.get(skip..).unwrap_or_default();
        Ok(bytes.get(..wanted).unwrap_or(bytes))
    }

    fn checksum(&mut self, header: &BatchHeader) -> io::Result<u32> {
        let end = self.position + length(header);
        let mut at = self.position + CHECKED_FROM;
        let mut digest = crc_fast::Digest::new(crc_fast::CrcAlgorithm::Crc32Iscsi);
        while at < end {
            let wanted = usize::try_from(end - at).unwrap_or(usize::MAX).min(self.window_bytes);
            let bytes = self.look(at, wanted)?;
            if bytes.is_empty() {
                break;
            }
            digest.update(bytes);
            at += u64::try_from(bytes.len()).unwrap_or(0);
        }
        Ok(u32::try_from(digest.finalize()).unwrap_or_default())
    }
}

/// Removes a file, if it is there.
pub(super) fn remove_if_there(disk: &dyn Disk, path: &Path) -> io::Result<()> {
    match disk.remove_file(path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
        _ => Ok(()),
    }
}

/// Batches for tests.
#[cfg(test)]
pub(super) mod fixture {
    use bytes::Bytes;

    /// A batch of `count` records from `base` in this epoch, with a body of `body` bytes all of value `fill`, which is
    /// also its timestamp.
    pub(in crate::log) fn batch(base: i64, count: i32, epoch: i32, body: usize, fill: u8) -> Bytes {
        stamped(base, count, epoch, i64::from(fill), &vec![fill; body])
    }

    /// The same with a largest timestamp. It says that it is compressed, so that nobody counts its records.
    pub(in crate::log) fn stamped(base: i64, count: i32, epoch: i32, timestamp: i64, body: &[u8]) -> Bytes {
        let mut bytes = vec![0; crate::record::HEADER_BYTES];
        bytes.extend_from_slice(body);
        let length = i32::try_from(bytes.len() - 12).unwrap();
        bytes[0..8].copy_from_slice(&base.to_be_bytes());
        bytes[8..12].copy_from_slice(&length.to_be_bytes());
        bytes[12..16].copy_from_slice(&epoch.to_be_bytes());
        bytes[16] = 2;
        bytes[22] = 4;
        bytes[23..27].copy_from_slice(&(count - 1).to_be_bytes());
        bytes[27..35].copy_from_slice(&timestamp.to_be_bytes());
        bytes[35..43].copy_from_slice(&timestamp.to_be_bytes());
        bytes[43..57].fill(0xff);
        bytes[57..61].copy_from_slice(&count.to_be_bytes());
        let crc = crate::log::persisted::crc32c(&bytes[21..]);
        bytes[17..21].copy_from_slice(&crc.to_be_bytes());
        Bytes::from(bytes)
    }
}

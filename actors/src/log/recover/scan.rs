//! The scan behind a start: from the last sure point at or before the durable end to the end of the files.

use std::cell::Cell;

use millstream_transport::world::DiskFile;

use super::super::batches::{Step, Walk};
use super::super::directory::Shared;
use super::super::directory::table::{Entry, flags};
use super::super::epochs::EpochCache;
use super::super::error::LogError;
use super::super::partition_log::LogConfig;
use super::super::segment::{Active, Footer, Index, IndexEntry, Segment, start_of};
use crate::ids::{LeaderEpoch, Offset};
use crate::record::BatchHeader;

/// How the log's files end.
#[derive(Debug)]
pub(super) enum Ending {
    /// With a whole batch.
    Whole,
    /// With bytes from this position of the last kept segment on that have to go.
    Cut(u64),
}

/// What a scan has found.
#[derive(Debug)]
pub(super) struct Scan {
    /// The end of what is kept.
    pub(super) end: Offset,
    /// Segments that are kept.
    pub(super) keep_segments: usize,
    /// The first segment that was scanned: those before are wholly below the durable end.
    pub(super) first_segment: usize,
    /// Where in it the scan began.
    pub(super) first_position: u64,
    pub(super) ending: Ending,
    pub(super) cut_bytes: u64,
    pub(super) scanned_bytes: u64,
    /// Something below the durable end is missing or corrupt.
    pub(super) lost: bool,
    /// It is corrupt, and what follows is left where it is.
    pub(super) damage: Option<LogError>,
    /// The file of the index of the last kept segment tells of batches that are not there.
    pub(super) stale_index: bool,
    /// The index of the last kept segment.
    pub(super) active: Option<Active>,
}

/// The epochs in the file of epochs, where there is a readable one.
#[derive(Debug)]
pub(super) struct Known {
    pub(super) epochs: Option<EpochCache>,
}

impl Known {
    fn agrees(&self, header: &BatchHeader) -> bool {
        self.epochs.as_ref().is_none_or(|epochs| epochs.agrees(header))
    }
}

/// What bounds a scan.
struct Bounds {
    durable: Offset,
    has_durable: bool,
    /// Nothing from here on is believed.
    limit: Option<Offset>,
    segment_bytes: u64,
    known: Known,
}

/// What became of one segment.
enum Scanned {
    Whole(Offset),
    Bad { position: u64, offset: Offset, text: String },
}

impl Scan {
    pub(super) fn run(
        shared: &Shared,
        segments: &[Segment],
        entry: &Entry,
        known: Known,
        epochs: &mut EpochCache,
        config: LogConfig,
    ) -> Result<Self, LogError> {
        let first_base = segments.first().map_or(entry.log_start, |first| first.file.base);
        // What lies below the start is not part of the log, and nothing of it has to be there.
        let has_durable = entry.durable_end > entry.log_start;
        let durable = entry.durable_end.max(first_base);
        // One that begins at the durable end may have been made before a cut of the one before it was on disk.
        let behind = segments.partition_point(|segment| segment.file.base < durable);
        let mut scan = Self {
            end: first_base,
            keep_segments: segments.len(),
            first_segment: behind.saturating_sub(1),
            first_position: 0,
            ending: Ending::Whole,
            cut_bytes: 0,
            scanned_bytes: 0,
            lost: segments.is_empty() && has_durable,
            damage: None,
            stale_index: false,
            active: None,
        };
        if let Some(damage) = sealed_damage(shared, segments, scan.first_segment)? {
            scan.stop_at(damage);
            epochs.truncate_to(scan.end);
            return Ok(scan);
        }
        let limit = (entry.flags & flags::CUT_BACK != 0).then_some(durable);
        scan.segments(
            shared,
            segments,
            Bounds { durable, has_durable, limit, segment_bytes: config.segment_bytes, known },
            epochs,
        )?;
        if scan.damage.is_none() && scan.end < entry.durable_end {
            scan.lost = has_durable;
        }
        if scan.end < entry.log_start && !has_durable {
            scan.cut_bytes = 0;
        }
        epochs.truncate_to(scan.end);
        Ok(scan)
    }

    fn segments(
        &mut self,
        shared: &Shared,
        segments: &[Segment],
        bounds: Bounds,
        epochs: &mut EpochCache,
    ) -> Result<(), LogError> {
        let Bounds { durable, has_durable, limit, segment_bytes, known } = bounds;
        for (place, segment) in segments.iter().enumerate().skip(self.first_segment) {
            let is_first = place == self.first_segment;
            if !is_first && segment.file.base != self.end {
                self.cut(segments, place, None);
                return Ok(());
            }
            let mut active = Active::new(segment.file.file_id, segment_bytes);
            let file = segment.open(shared)?;
            let start =
                if is_first { sure_point(shared, segment, &*file, durable)? } else { start_of(segment) };
            epochs.truncate_to(start.offset);
            if is_first {
                self.first_position = start.position;
            }
            let resumed = Resumed { start, limit, known: &known, stale_index: Cell::new(false) };
            let scanned = resumed.scan(shared, segment, &*file, &mut active, epochs)?;
            self.scanned_bytes += segment.length - start.position;
            self.stale_index = resumed.stale_index.get();
            match scanned {
                Scanned::Whole(end) => {
                    self.end = end;
                    if place + 1 < segments.len() {
                        // A hint: without it the index is made when it is needed.
                        let _ = active.finish(&*shared.disk, &segment.file.index_path(), segment.length, end);
                    }
                    self.active = Some(active);
                }
                Scanned::Bad { position, offset, text } => {
                    self.end = offset;
                    self.active = Some(active);
                    if offset < durable && has_durable {
                        self.stop_at(segment.file.corrupt(shared, position, offset, &text));
                    } else {
                        self.cut(segments, place + 1, Some((segment, position)));
                    }
                    return Ok(());
                }
            }
        }
        Ok(())
    }

    /// Segments from `keep` on go, and the end of the one before.
    fn cut(&mut self, segments: &[Segment], keep: usize, last: Option<(&Segment, u64)>) {
        self.keep_segments = keep;
        self.cut_bytes = segments.iter().skip(keep).map(|segment| segment.length).sum();
        if let Some((segment, position)) = last {
            self.cut_bytes += segment.length - position;
            self.ending = Ending::Cut(position);
        }
    }

    /// The log ends before this corruption, and what follows stays.
    fn stop_at(&mut self, damage: LogError) {
        if let LogError::Corrupt { offset, .. } = &damage {
            self.end = *offset;
        }
        self.lost = true;
        self.damage = Some(damage);
    }
}

/// A scan of one segment, from a sure point, and up to where nothing is believed any more.
struct Resumed<'a> {
    start: IndexEntry,
    limit: Option<Offset>,
    known: &'a Known,
    stale_index: Cell<bool>,
}

impl Resumed<'_> {
    fn scan(
        &self,
        shared: &Shared,
        segment: &Segment,
        file: &dyn DiskFile,
        active: &mut Active,
        epochs: &mut EpochCache,
    ) -> Result<Scanned, LogError> {
        let index = Index::load(&*shared.disk, &segment.file.index_path(), segment.file.file_id)?;
        let known = index.entries.iter().take_while(|entry| entry.position <= self.start.position);
        active.resume(known.copied().collect(), self.start.max_timestamp);
        let mut walk = Walk::verified(file, self.start.position, segment.length, self.start.offset);
        walk.epoch = epochs.last().unwrap_or(LeaderEpoch(i32::MIN));
        let scanned = loop {
            match walk.step().map_err(LogError::io("read", &segment.file.path))? {
                Step::Batch(position, header)
                    if self.limit.is_some_and(|limit| header.next_offset() > limit) =>
                {
                    let text = "it was not synced before the directory failed".to_owned();
                    break Scanned::Bad { position, offset: header.base_offset, text };
                }
                Step::Batch(position, header) if !self.known.agrees(&header) => {
                    let text = format!("no batch of leader epoch {} belongs there", header.leader_epoch);
                    break Scanned::Bad { position, offset: header.base_offset, text };
                }
                Step::Batch(position, header) => {
                    active.note(position, &header);
                    epochs.begin(header.leader_epoch, header.base_offset);
                }
                Step::End => break Scanned::Whole(walk.offset),
                Step::Bad(text) => break Scanned::Bad { position: walk.position, offset: walk.offset, text },
            }
        };
        // What the file of the index knows beyond, of batches that are gone, must not come to count for others.
        self.stale_index.set(index.footer.is_some() || !active.index().entries.starts_with(&index.entries));
        active.began_ms = first_timestamp(segment, file)?.map(|first| first.min(shared.clock.wall_ms()));
        Ok(scanned)
    }
}

/// The last entry of the segment's index at or before the durable end that leads to a batch, or to the file's end.
fn sure_point(
    shared: &Shared,
    segment: &Segment,
    file: &dyn DiskFile,
    durable: Offset,
) -> Result<IndexEntry, LogError> {
    let index = Index::load(&*shared.disk, &segment.file.index_path(), segment.file.file_id)?;
    let usable = index.entries.iter().rev().filter(|e| e.offset <= durable && e.position <= segment.length);
    for entry in usable.take(2) {
        let mut walk = Walk::headers(file, entry.position, segment.length, entry.offset);
        match walk.step().map_err(LogError::io("read", &segment.file.path))? {
            Step::Batch(..) | Step::End => return Ok(*entry),
            Step::Bad(_) => {}
        }
    }
    Ok(start_of(segment))
}

fn first_timestamp(segment: &Segment, file: &dyn DiskFile) -> Result<Option<i64>, LogError> {
    let mut walk = Walk::headers(file, 0, segment.length, segment.file.base);
    match walk.step().map_err(LogError::io("read", &segment.file.path))? {
        Step::Batch(_, header) => Ok(Some(header.max_timestamp_ms)),
        Step::End | Step::Bad(_) => Ok(None),
    }
}

/// Whether a segment wholly below the durable end has lost its end. Only those are looked into whose index says that they
/// should have another length; the index may be wrong, so what counts is whether the next segment's batches follow.
fn sealed_damage(shared: &Shared, segments: &[Segment], upto: usize) -> Result<Option<LogError>, LogError> {
    for (segment, next) in segments.iter().zip(segments.iter().skip(1)).take(upto) {
        let path = segment.file.index_path();
        let footer = Footer::load(&*shared.disk, &path, segment.file.file_id)?;
        let Some(footer) = footer.filter(|footer| footer.length != segment.length) else { continue };
        let (position, offset) = segment.whole_end(shared)?;
        if offset < next.file.base {
            let (has, wanted) = (segment.length, footer.length);
            let text = format!("the file has {has} bytes and should have {wanted}");
            return Ok(Some(segment.file.corrupt(shared, position, offset, &text)));
        }
    }
    Ok(None)
}

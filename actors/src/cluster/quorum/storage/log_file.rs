//! The log on disk: one of two files, which take turns.
//!
//! Entries are appended to the file in use. To drop entries (at the end after a conflict, at the beginning after a
//! snapshot, and at every start) what stays is written to the other file, synced, and only then named the one in use by
//! its head page. So dropping needs no space that is not reserved, and a start never trusts pages that an earlier, failed
//! sync may have left in the page cache: it writes them again.

use std::path::Path;

use millstream_transport::world::Disk;
use serde::{Deserialize, Serialize};

use super::failure::{Latch, OpenError, WriteError};
use super::frame::{
    FRAME_HEADER_BYTES, PAGE_BYTES, PageError, decode_frame, decode_page, encode_frame, encode_page,
};
use super::space::Space;
use crate::cluster::quorum::types::{Entry, LogId};

const HEAD: [u8; 4] = *b"MSQL";
const MARK: [u8; 4] = *b"MSQM";
const NAMES: [&str; 2] = ["log.0", "log.1"];
/// Head, then two marks, then frames.
const FRAMES: u64 = 3 * PAGE_BYTES;

/// Names a file the one in use, or the one that was.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
struct Head {
    /// Grows with every change of files.
    generation: u64,
    /// Another file took over.
    superseded: bool,
    /// Where the entries written before this page ended.
    copied_end: u64,
    /// The last entry that was dropped at the beginning.
    purged: Option<LogId>,
}

/// Written after a sync without one of its own: how far frames must be valid.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
struct Mark {
    generation: u64,
    durable_end: u64,
    committed: Option<LogId>,
}

/// What a start finds.
#[derive(Debug, Default)]
pub(crate) struct Found {
    pub(crate) purged: Option<LogId>,
    pub(crate) committed: Option<LogId>,
    pub(crate) entries: Vec<Entry>,
}

/// The log's files. One owner; all calls block.
#[derive(Debug)]
pub(crate) struct LogFile {
    current: Space,
    other: Space,
    generation: u64,
    purged: Option<LogId>,
    committed: Option<LogId>,
    end: u64,
    copied_end: u64,
    second_mark: bool,
}

impl LogFile {
    /// Makes both files; the caller syncs the directory.
    pub(crate) fn create(
        disk: &dyn Disk,
        directory: &Path,
        reserve: u64,
        latch: &Latch,
    ) -> Result<Self, OpenError> {
        let [current, other] = NAMES.map(|name| Space::create(disk, &directory.join(name), reserve, latch));
        let mut file = Self {
            current: current?,
            other: other?,
            generation: 0,
            purged: None,
            committed: None,
            end: FRAMES,
            copied_end: FRAMES,
            second_mark: false,
        };
        file.rewrite(None, &[]).map_err(|error| file.open_error(&error))?;
        Ok(file)
    }

    /// Opens the files, reads the log, and writes it anew into the file that was not in use.
    pub(crate) fn open(
        disk: &dyn Disk,
        directory: &Path,
        reserve: u64,
        latch: &Latch,
    ) -> Result<(Self, Found), OpenError> {
        let [first, second] = NAMES.map(|name| Space::open(disk, &directory.join(name), reserve, latch));
        let (head, current, other) = in_use(first?, second?)?;
        let mark = read_mark(&current, head.generation)?;
        let (entries, end) = read_entries(&current, &head, mark.as_ref())?;
        let mut file = Self {
            current,
            other,
            generation: head.generation,
            purged: head.purged,
            committed: mark.and_then(|mark| mark.committed),
            end,
            copied_end: head.copied_end,
            second_mark: false,
        };
        let payloads =
            encode_entries(&entries).map_err(|error| OpenError::corrupt(file.current.path(), error))?;
        file.rewrite(file.purged, &payloads).map_err(|error| file.open_error(&error))?;
        let found = Found { purged: file.purged, committed: file.committed, entries };
        Ok((file, found))
    }

    /// Reads the log and changes nothing.
    pub(crate) fn look(disk: &dyn Disk, directory: &Path, latch: &Latch) -> Result<Found, OpenError> {
        let [first, second] = NAMES.map(|name| Space::look(disk, &directory.join(name), latch));
        let (head, current, _) = in_use(first?, second?)?;
        let mark = read_mark(&current, head.generation)?;
        let (entries, _) = read_entries(&current, &head, mark.as_ref())?;
        let committed = mark.and_then(|mark| mark.committed);
        Ok(Found { purged: head.purged, committed, entries })
    }

    fn open_error(&self, error: &WriteError) -> OpenError {
        let source = match error {
            WriteError::NoSpace => std::io::ErrorKind::StorageFull.into(),
            WriteError::Failed(text) => std::io::Error::other(text.clone()),
        };
        OpenError::Io { path: self.current.path().into(), source }
    }

    /// Bytes of frames.
    pub(crate) fn size(&self) -> u64 {
        self.end - FRAMES
    }

    /// Appends and syncs.
    pub(crate) fn append(
        &mut self,
        payloads: &[Vec<u8>],
        committed: Option<LogId>,
    ) -> Result<(), WriteError> {
        let (frames, end) = frames_at(self.generation, self.end, payloads)?;
        self.current.reserve(end)?;
        self.current.write(&frames, self.end)?;
        self.current.sync()?;
        self.end = end;
        self.mark(committed)
    }

    /// Writes down how far the log is durable and committed; nothing waits for it to become durable itself.
    pub(crate) fn mark(&mut self, committed: Option<LogId>) -> Result<(), WriteError> {
        self.committed = committed;
        let mark = Mark { generation: self.generation, durable_end: self.end, committed };
        self.second_mark = !self.second_mark;
        let position = if self.second_mark { 2 * PAGE_BYTES } else { PAGE_BYTES };
        self.current.write(&page(MARK, &mark)?, position)
    }

    /// Keeps exactly these entries: writes them to the other file, syncs it, and takes it into use.
    pub(crate) fn rewrite(&mut self, purged: Option<LogId>, payloads: &[Vec<u8>]) -> Result<(), WriteError> {
        let generation = self.generation + 1;
        let (frames, end) = frames_at(generation, FRAMES, payloads)?;
        self.other.reserve(end)?;
        if !frames.is_empty() {
            self.other.write(&frames, FRAMES)?;
            self.other.sync()?;
        }
        let head = Head { generation, superseded: false, copied_end: end, purged };
        self.other.write(&page(HEAD, &head)?, 0)?;
        self.other.sync()?;
        let old = Head {
            generation: self.generation,
            superseded: true,
            copied_end: self.copied_end,
            purged: self.purged,
        };
        self.current.write(&page(HEAD, &old)?, 0)?;
        self.current.sync()?;
        std::mem::swap(&mut self.current, &mut self.other);
        (self.generation, self.purged, self.end, self.copied_end) = (generation, purged, end, end);
        self.mark(self.committed)
    }
}

/// Each entry as it is kept.
pub(crate) fn encode_entries(entries: &[Entry]) -> Result<Vec<Vec<u8>>, postcard::Error> {
    entries.iter().map(postcard::to_stdvec).collect()
}

fn page<T: Serialize>(magic: [u8; 4], body: &T) -> Result<Vec<u8>, WriteError> {
    encode_page(magic, body).map_err(|error| WriteError::Failed(format!("cannot encode a page: {error}")))
}

fn frames_at(generation: u64, start: u64, payloads: &[Vec<u8>]) -> Result<(Vec<u8>, u64), WriteError> {
    let mut frames = Vec::new();
    for payload in payloads {
        let position = start + frames.len() as u64;
        if !encode_frame(generation, position, payload, &mut frames) {
            return Err(WriteError::Failed("an entry is larger than 4 GiB".into()));
        }
    }
    let end = start + frames.len() as u64;
    Ok((frames, end))
}

/// Which of the two files is in use, by its head; then the other.
fn in_use(first: Space, second: Space) -> Result<(Head, Space, Space), OpenError> {
    let (head, current, other) = match (read_head(&first)?, read_head(&second)?) {
        (Some(one), Some(two)) if one.generation > two.generation => (one, first, second),
        (_, Some(two)) => (two, second, first),
        (Some(one), None) => (one, first, second),
        (None, None) => {
            return Err(OpenError::corrupt(first.path(), "neither of the two log files has a valid head"));
        }
    };
    if head.superseded {
        return Err(OpenError::corrupt(
            other.path(),
            "its head is damaged, and the other file's is out of date",
        ));
    }
    Ok((head, current, other))
}

fn read_head(space: &Space) -> Result<Option<Head>, OpenError> {
    match decode_page::<Head>(HEAD, &space.read_page(0)?) {
        Ok(head) => Ok(Some(head)),
        Err(PageError::Invalid) => Ok(None),
        Err(newer) => Err(OpenError::corrupt(space.path(), newer)),
    }
}

fn read_mark(space: &Space, generation: u64) -> Result<Option<Mark>, OpenError> {
    let mut latest: Option<Mark> = None;
    for position in [PAGE_BYTES, 2 * PAGE_BYTES] {
        let Ok(mark) = decode_page::<Mark>(MARK, &space.read_page(position)?) else { continue };
        let later = latest
            .as_ref()
            .is_none_or(|other| (other.durable_end, other.committed) < (mark.durable_end, mark.committed));
        if mark.generation == generation && later {
            latest = Some(mark);
        }
    }
    Ok(latest)
}

fn read_entries(space: &Space, head: &Head, mark: Option<&Mark>) -> Result<(Vec<Entry>, u64), OpenError> {
    let length = usize::try_from(space.length()?).unwrap_or(usize::MAX);
    let bytes = space.read(FRAMES, length)?;
    let mut entries: Vec<Entry> = Vec::new();
    let mut at = 0_usize;
    while let Some(payload) =
        bytes.get(at..).and_then(|rest| decode_frame(head.generation, FRAMES + at as u64, rest))
    {
        let entry: Entry = postcard::from_bytes(payload)
            .map_err(|error| OpenError::corrupt(space.path(), format!("the entry at byte {at}: {error}")))?;
        entries.push(entry);
        at += FRAME_HEADER_BYTES + payload.len();
    }
    let end = FRAMES + at as u64;
    let promised = head.copied_end.max(mark.map_or(0, |mark| mark.durable_end));
    if end < promised {
        let found = format!("no valid entry at byte {end}, although all up to byte {promised} was synced");
        return Err(OpenError::corrupt(space.path(), found));
    }
    Ok((entries, end))
}

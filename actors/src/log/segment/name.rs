//! The name of a segment's file, which says what becomes of it at a start.
//!
//! ```text
//! <base>.<file id>.log                  as it was appended
//! <base>-<next>-<clean>.<file id>.log   written by the cleaner
//! ```
//!
//! Offsets have 20 digits, file ids are hexadecimal and never used twice. A cleaned file takes the place of every file
//! with a lesser id whose base is from `base` up to `next`, so that one rename is the whole exchange: it either happened
//! or did not. Below `clean`, what later records of the same key had made superfluous is gone.

use std::fmt;
use std::path::Path;

use crate::ids::Offset;

/// The ending of a file that the cleaner is writing: no segment yet, and removed at a start.
const UNFINISHED: &str = "cleaning";

/// What a cleaned file says of itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::log) struct Cleaned {
    /// The offset behind it when it was written.
    pub(in crate::log) next: Offset,
    /// It is clean below this offset.
    pub(in crate::log) clean: Offset,
}

/// A segment's name.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::log) struct Name {
    /// The offset of its first batch.
    pub(in crate::log) base: Offset,
    /// The file's id.
    pub(in crate::log) file_id: u64,
    /// For a cleaned one.
    pub(in crate::log) cleaned: Option<Cleaned>,
}

impl Name {
    /// Of a segment as it is appended to.
    pub(in crate::log) fn plain(base: Offset, file_id: u64) -> Self {
        Self { base, file_id, cleaned: None }
    }

    /// The name that a path has; `None` for other files.
    pub(in crate::log) fn of(path: &Path) -> Option<Self> {
        let (offsets, file_id) = path.file_name()?.to_str()?.strip_suffix(".log")?.split_once('.')?;
        let file_id = u64::from_str_radix(file_id, 16).ok()?;
        let mut offsets = offsets.split('-').map(offset);
        let base = offsets.next()??;
        let cleaned = match (offsets.next(), offsets.next(), offsets.next()) {
            (None, None, None) => None,
            (Some(next), Some(clean), None) => Some(Cleaned { next: next?, clean: clean? }),
            _ => return None,
        };
        Some(Self { base, file_id, cleaned })
    }

    /// Whether this file takes the place of the other.
    pub(in crate::log) fn replaces(&self, other: &Self) -> bool {
        let covers = |cleaned: Cleaned| self.base <= other.base && other.base < cleaned.next;
        self.file_id > other.file_id && self.cleaned.is_some_and(covers)
    }

    /// The name of the file while the cleaner writes it.
    pub(in crate::log) fn unfinished(base: Offset, file_id: u64) -> String {
        format!("{:020}.{file_id:x}.{UNFINISHED}", base.0)
    }

    /// Whether a path has such a name.
    pub(in crate::log) fn is_unfinished(path: &Path) -> bool {
        path.extension().is_some_and(|ending| ending == UNFINISHED)
    }
}

fn offset(digits: &str) -> Option<Offset> {
    let is_offset = digits.len() == 20 && digits.bytes().all(|byte| byte.is_ascii_digit());
    is_offset.then(|| digits.parse().ok().map(Offset))?
}

impl fmt::Display for Name {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "{:020}", self.base.0)?;
        if let Some(Cleaned { next, clean }) = self.cleaned {
            write!(formatter, "-{:020}-{:020}", next.0, clean.0)?;
        }
        write!(formatter, ".{:x}.log", self.file_id)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn cleaned(base: i64, next: i64, file_id: u64) -> Name {
        let cleaned = Cleaned { next: Offset(next), clean: Offset(next) };
        Name { base: Offset(base), file_id, cleaned: Some(cleaned) }
    }

    #[test]
    fn a_name_is_read_as_it_was_written() {
        let plain = Name::plain(Offset(12), 0xab);
        assert_eq!(plain.to_string(), "00000000000000000012.ab.log");
        let long = "00000000000000000012-00000000000000000040-00000000000000000040.ab.log";
        assert_eq!(cleaned(12, 40, 0xab).to_string(), long);
        for name in [plain, cleaned(12, 40, 0xab)] {
            assert_eq!(Name::of(Path::new("/data/x").join(name.to_string()).as_path()), Some(name));
        }
        let unfinished = Name::unfinished(Offset(12), 0xab);
        assert!(Name::is_unfinished(Path::new(&unfinished)) && Name::of(Path::new(&unfinished)).is_none());
        for other in ["12.ab.log", "00000000000000000012-00000000000000000040.ab.log", "epochs", "x.log"] {
            assert_eq!(Name::of(Path::new(other)), None, "{other}");
        }
    }

    #[test]
    fn a_cleaned_file_replaces_the_older_ones_that_begin_in_it() {
        let new = cleaned(10, 40, 9);
        assert!(new.replaces(&Name::plain(Offset(10), 3)) && new.replaces(&cleaned(10, 50, 8)));
        assert!(new.replaces(&Name::plain(Offset(39), 3)));
        assert!(!new.replaces(&Name::plain(Offset(40), 3)), "it begins behind it");
        assert!(!new.replaces(&Name::plain(Offset(30), 10)), "it came later, after a truncation");
        assert!(!new.replaces(&new) && !Name::plain(Offset(10), 9).replaces(&Name::plain(Offset(10), 3)));
    }
}

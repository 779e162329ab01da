//! Takes bytes apart into whole batches, without a copy.

use bytes::Bytes;

use super::header::{BatchHeader, verify_checksum};
use super::problem::{BatchError, BatchProblem};

/// One whole batch and its header.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Batch {
    /// The header, read.
    pub header: BatchHeader,
    /// Header and records: a slice of the bytes it came in.
    pub bytes: Bytes,
}

impl Batch {
    /// The batch that these bytes are, no more and no less. Its checksum is not looked at.
    pub fn parse(bytes: Bytes) -> Result<Self, BatchError> {
        let header = BatchHeader::parse(&bytes)?;
        let (needed, found) = (header.total_bytes(), bytes.len());
        if needed != found {
            return Err(BatchError::at(0, BatchProblem::CutOff { needed, found }));
        }
        Ok(Self { header, bytes })
    }

    /// Holds the checksum against the bytes.
    pub fn verify_checksum(&self) -> Result<(), BatchError> {
        verify_checksum(&self.bytes)
    }
}

/// The batches in `bytes`, one behind the other; bytes left over at the end are an error. Ends after an error.
#[must_use]
pub fn batches(bytes: &Bytes) -> Batches {
    Batches { bytes: bytes.clone(), position: 0, tolerant: false }
}

/// The whole batches in `bytes`; a last one that is cut off is passed over, as a fetch may end in one.
#[must_use]
pub fn whole_batches(bytes: &Bytes) -> Batches {
    Batches { bytes: bytes.clone(), position: 0, tolerant: true }
}

/// An iterator over batches.
#[derive(Clone, Debug)]
pub struct Batches {
    bytes: Bytes,
    position: usize,
    tolerant: bool,
}

impl Batches {
    /// Where the next batch begins.
    #[must_use]
    pub const fn position(&self) -> usize {
        self.position
    }

    fn take(&mut self) -> Result<Batch, BatchProblem> {
        let rest = self.bytes.get(self.position..).unwrap_or_default();
        let header = BatchHeader::read(rest)?;
        let needed = header.total_bytes();
        if needed > rest.len() {
            return Err(BatchProblem::CutOff { needed, found: rest.len() });
        }
        let end = self.position.saturating_add(needed);
        let bytes = self.bytes.slice(self.position..end);
        self.position = end;
        Ok(Batch { header, bytes })
    }
}

impl Iterator for Batches {
    type Item = Result<Batch, BatchError>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.position >= self.bytes.len() {
            return None;
        }
        let position = self.position;
        let taken = self.take();
        let Err(problem) = taken else {
            return Some(taken.map_err(|problem| BatchError::at(position, problem)));
        };
        self.bytes = Bytes::new();
        if self.tolerant && matches!(problem, BatchProblem::CutOff { .. }) {
            return None;
        }
        Some(Err(BatchError::at(position, problem)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::record::golden::TWO_RECORDS;

    fn twice_and(rest: &[u8]) -> Bytes {
        Bytes::from([TWO_RECORDS, TWO_RECORDS, rest].concat())
    }

    #[test]
    fn batches_come_whole_and_are_not_copied() {
        let bytes = twice_and(&[]);
        let found: Vec<Batch> = batches(&bytes).collect::<Result<_, _>>().unwrap();
        assert_eq!(found.len(), 2);
        assert_eq!(found[1].bytes.as_ptr(), bytes[TWO_RECORDS.len()..].as_ptr());
        assert!(found.iter().all(|batch| batch.verify_checksum().is_ok()));
    }

    #[test]
    fn a_cut_off_batch_is_an_error_with_its_place_or_is_passed_over() {
        for length in 1..TWO_RECORDS.len() {
            let bytes = twice_and(&TWO_RECORDS[..length]);
            let error = batches(&bytes).last().unwrap().unwrap_err();
            assert_eq!(error.position, 2 * TWO_RECORDS.len());
            assert!(matches!(error.problem, BatchProblem::CutOff { found, .. } if found == length));
            assert_eq!(whole_batches(&bytes).filter(Result::is_ok).count(), 2);
            assert!(whole_batches(&bytes).all(|batch| batch.is_ok()));
        }
    }

    #[test]
    fn nothing_follows_an_error() {
        let mut bytes = TWO_RECORDS.to_vec();
        bytes[16] = 1;
        bytes.extend_from_slice(TWO_RECORDS);
        let mut found = whole_batches(&bytes.into());
        assert!(found.next().unwrap().is_err());
        assert!(found.next().is_none());
    }

    #[test]
    fn one_batch_is_exactly_its_bytes() {
        assert!(Batch::parse(Bytes::from_static(TWO_RECORDS)).is_ok());
        assert!(Batch::parse(twice_and(&[])).is_err());
    }
}

//! Entries in topics that are no records: how far in event time a task upstream has come, and that a topic ends.
//!
//! Such an entry is a record without key and value, with a header of this module's. It is read where it may stand, and else is
//! a record as any other: how far a task has come in the topics that the library makes, the end in those of the users.

use bytes::Bytes;

use super::operator::RawRecord;
use super::scope::StreamError;
use super::task::TaskId;
use crate::record::Header;

/// The name of the header.
const HEADER: &str = "__millstream.streams";

const VERSION: u8 = 1;
const TIME: u8 = 1;
const END: u8 = 2;

/// What an entry says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Control {
    /// A task that writes into the topic has come this far, milliseconds since 1970; `i64::MAX`: it has ended.
    Time(TaskId, i64),
    /// Nothing follows in this partition.
    End,
}

/// The header of a record without key and value that ends the input from a partition: event time in it is at its end, so that
/// all windows close that wait for no other. What follows all the same is late.
#[must_use]
pub fn end_of_input() -> Header {
    Control::End.header()
}

impl Control {
    /// The header that says it: the version, the kind, and of a time the sub-topology (4 bytes), the partition (4) and the time
    /// (8), big-endian.
    pub(crate) fn header(self) -> Header {
        let mut bytes = vec![VERSION];
        match self {
            Self::Time(task, ms) => {
                bytes.push(TIME);
                // A topology has fewer sub-topologies than that.
                bytes.extend_from_slice(&u32::try_from(task.part).unwrap_or(u32::MAX).to_be_bytes());
                bytes.extend_from_slice(&task.partition.to_be_bytes());
                bytes.extend_from_slice(&ms.to_be_bytes());
            }
            Self::End => bytes.push(END),
        }
        Header::new(HEADER, Bytes::from(bytes))
    }

    /// What a record says, if it is such an entry. One of a later version is an error: to take it for a record would be wrong
    /// for ever.
    pub(crate) fn read(record: &RawRecord) -> Result<Option<Self>, StreamError> {
        if record.key.is_some() || record.value.is_some() {
            return Ok(None);
        }
        let Some(header) = record.headers.iter().find(|header| header.name == HEADER) else {
            return Ok(None);
        };
        let bytes = header.value.as_deref().unwrap_or_default();
        Self::decode(bytes).map(Some).ok_or_else(|| {
            let at = record.offset;
            StreamError::Control(format!("{bytes:02x?} at offset {at}, known is version {VERSION}"))
        })
    }

    fn decode(bytes: &[u8]) -> Option<Self> {
        match bytes {
            [VERSION, TIME, rest @ ..] => {
                let (part, rest) = rest.split_first_chunk()?;
                let (partition, rest) = rest.split_first_chunk()?;
                let part = usize::try_from(u32::from_be_bytes(*part)).ok()?;
                let task = TaskId { part, partition: i32::from_be_bytes(*partition) };
                Some(Self::Time(task, i64::from_be_bytes(rest.try_into().ok()?)))
            }
            [VERSION, END] => Some(Self::End),
            _ => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;

    fn record(header: Header) -> RawRecord {
        RawRecord { offset: 3, timestamp_ms: 0, key: None, value: None, headers: Arc::from([header]) }
    }

    #[test]
    fn entries_are_written_so() {
        let time = Control::Time(TaskId { part: 258, partition: 3 }, -2);
        let bytes = [1, 1, 0, 0, 1, 2, 0, 0, 0, 3, 255, 255, 255, 255, 255, 255, 255, 254];
        assert_eq!(time.header(), Header::new("__millstream.streams", bytes.to_vec()));
        assert_eq!(end_of_input(), Header::new("__millstream.streams", vec![1, 2]));
        for entry in [time, Control::End] {
            assert_eq!(Control::read(&record(entry.header())), Ok(Some(entry)));
        }
    }

    #[test]
    fn a_record_with_a_key_or_a_value_is_a_record_whatever_its_headers_say() {
        let mut with_value = record(end_of_input());
        with_value.value = Some(Bytes::from_static(b"v"));
        assert_eq!(Control::read(&with_value), Ok(None));
        assert_eq!(Control::read(&record(Header::new("other", vec![1, 2]))), Ok(None));
    }

    #[test]
    fn an_entry_that_is_not_known_is_an_error_that_says_where_it_is() {
        for bytes in [vec![], vec![2, 2], vec![1, 3], vec![1, 1, 0], vec![1, 2, 0]] {
            let error = Control::read(&record(Header::new(HEADER, bytes))).unwrap_err().to_string();
            assert!(error.contains("at offset 3, known is version 1"), "{error}");
        }
    }
}

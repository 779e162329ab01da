//! A look for a record by its time, step by step: headers tell the batch, and then its records are passed.

use std::fmt;

use super::error::LogError;
use super::newest::{Newest, NewestRead};
use super::partition_log::Log;
use super::read::TimedOffset;
use super::since::{BatchAt, SinceRead};
use crate::ids::Offset;

/// A look for a record by its time. It stands by itself, so that it can be done off the thread that owns the log.
pub struct TimedRead {
    look: Look,
    /// The batch to be read next.
    batch: Option<Box<BatchAt>>,
}

enum Look {
    Since(SinceRead),
    Newest(NewestRead),
}

/// What a step of a look came to.
#[derive(Debug)]
pub enum TimedStep {
    /// It is to go on.
    More(TimedRead),
    /// What was looked for; `None` if there is none.
    Found(Option<TimedOffset>),
}

impl Log {
    /// The first record, by offset, with this timestamp or a later one, of those below `upto`.
    pub fn since(&self, timestamp_ms: i64, upto: Offset) -> TimedRead {
        TimedRead { look: Look::Since(self.since_read(timestamp_ms, upto)), batch: None }
    }

    /// The first of the records with the greatest timestamp, of those below `upto`.
    pub fn newest(&self, upto: Offset) -> TimedRead {
        TimedRead { look: Look::Newest(self.newest_read(upto)), batch: None }
    }
}

impl TimedRead {
    /// Whether the next step reads a batch and unpacks it: all of that is in memory then, and with some codecs as much more as
    /// [`MAX_UNPACKED_BYTES`](crate::record::MAX_UNPACKED_BYTES). Other steps need little.
    #[must_use]
    pub const fn unpacks(&self) -> bool {
        self.batch.is_some()
    }

    /// Does the next step. There are few: of headers, and of one batch or two. Blocks.
    pub fn step(mut self) -> Result<TimedStep, LogError> {
        let batch = self.batch.take();
        let next = match (&mut self.look, batch) {
            (Look::Since(read), None) => read.first_batch()?,
            (Look::Since(read), Some(batch)) => {
                return Ok(TimedStep::Found(Some(read.first_record(&batch)?)));
            }
            (Look::Newest(read), None) => match read.look()? {
                Newest::Nothing => None,
                Newest::Record(record) => return Ok(TimedStep::Found(Some(record))),
                Newest::In(batch) => Some(batch),
            },
            (Look::Newest(read), Some(batch)) => match read.newest_record(&batch)? {
                Some(newest) => return Ok(TimedStep::Found(Some(newest))),
                None => return Ok(TimedStep::More(self)),
            },
        };
        Ok(match next {
            Some(batch) => TimedStep::More(Self { batch: Some(batch), ..self }),
            None => TimedStep::Found(None),
        })
    }

    /// All steps.
    #[cfg(test)]
    pub(crate) fn run(mut self) -> Result<Option<TimedOffset>, LogError> {
        loop {
            match self.step()? {
                TimedStep::More(next) => self = next,
                TimedStep::Found(found) => return Ok(found),
            }
        }
    }
}

impl fmt::Debug for TimedRead {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.debug_struct("TimedRead").field("unpacks", &self.unpacks()).finish_non_exhaustive()
    }
}

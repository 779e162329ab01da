//! Gives batches their offsets: many parts, one after the other, for one append.

use bytes::{Bytes, BytesMut};

use super::validate::Validated;
use crate::ids::{LeaderEpoch, Offset};
use crate::record::{BatchError, BatchHeader, assign, set_append_time};

/// Gives offsets, from the end of the log on.
#[derive(Debug)]
pub struct Sequencer {
    next: Offset,
    epoch: LeaderEpoch,
    append_time_ms: Option<i64>,
}

/// Batches with their offsets.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Sequenced {
    /// Offset of the first record.
    pub base_offset: Offset,
    /// The batches, one each.
    pub batches: Vec<Bytes>,
    /// Their headers as they are now.
    pub headers: Vec<BatchHeader>,
}

impl Sequencer {
    /// Begins at the end of the log. With `append_time_ms` every record gets this timestamp
    /// (`message.timestamp.type=LogAppendTime`).
    #[must_use]
    pub const fn new(end: Offset, epoch: LeaderEpoch, append_time_ms: Option<i64>) -> Self {
        Self { next: end, epoch, append_time_ms }
    }

    /// The offset that the next record will have: the end of the log once all is appended.
    #[must_use]
    pub const fn end(&self) -> Offset {
        self.next
    }

    /// Gives the next batches their offsets, in place if nobody else holds their bytes, else in a copy.
    pub fn assign(&mut self, part: Validated) -> Result<Sequenced, BatchError> {
        let base_offset = self.next;
        let mut bytes = part.bytes.try_into_mut().unwrap_or_else(|shared| BytesMut::from(shared.as_ref()));
        let (mut batches, mut headers) = (Vec::new(), Vec::new());
        for mut header in part.headers {
            let mut batch = bytes.split_to(header.total_bytes().min(bytes.len()));
            header.base_offset = self.next;
            header.leader_epoch = self.epoch;
            assign(&mut batch, self.next, self.epoch)?;
            if let Some(now_ms) = self.append_time_ms {
                set_append_time(&mut batch, now_ms)?;
                header = BatchHeader::parse(&batch)?;
            }
            self.next = header.next_offset();
            batches.push(batch.freeze());
            headers.push(header);
        }
        Ok(Sequenced { base_offset, batches, headers })
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::partition::append::validate;
    use crate::record::{Batch, BatchBuilder, Compression, records};
    use crate::topic_config::TopicConfig;

    fn batches_of(counts: &[i32]) -> Vec<u8> {
        let one = |count: &i32| {
            let mut builder = BatchBuilder::new(100_000, Compression::NONE);
            for _ in 0..*count {
                builder.push(1000, None, Some(b"value"), &[]).unwrap();
            }
            builder.finish(None).to_vec()
        };
        counts.iter().flat_map(one).collect()
    }

    fn validated(bytes: Bytes) -> Validated {
        validate(bytes, None, &TopicConfig::default(), 1000).unwrap()
    }

    #[test]
    fn bytes_that_nobody_else_holds_are_patched_in_place() {
        let bytes = Bytes::from(batches_of(&[2, 3]));
        let place = bytes.as_ptr();
        let sequenced = Sequencer::new(Offset(5), LeaderEpoch(1), None).assign(validated(bytes)).unwrap();
        assert_eq!(sequenced.batches[0].as_ptr(), place);
    }

    #[test]
    fn bytes_that_somebody_else_holds_are_not_touched() {
        let bytes = Bytes::from(batches_of(&[2]));
        let held = bytes.clone();
        let before = held.to_vec();
        let sequenced = Sequencer::new(Offset(5), LeaderEpoch(1), None).assign(validated(bytes)).unwrap();
        assert_eq!(held, before);
        assert_ne!(sequenced.batches[0], before);
    }

    #[test]
    fn the_brokers_time_is_given_with_the_offsets() {
        let mut sequencer = Sequencer::new(Offset(0), LeaderEpoch(1), Some(77));
        let sequenced = sequencer.assign(validated(batches_of(&[2]).into())).unwrap();
        let batch = Batch::parse(sequenced.batches[0].clone()).unwrap();
        batch.verify_checksum().unwrap();
        assert!(records(&batch, 1000).unwrap().all(|record| record.unwrap().timestamp_ms == 77));
        assert_eq!(sequenced.headers, [batch.header]);
    }

    proptest! {
        #[test]
        fn offsets_have_no_gap_over_any_number_of_parts(
            parts in prop::collection::vec(prop::collection::vec(1..20_i32, 1..5), 1..5), end in 0..i64::MAX / 2,
        ) {
            let mut sequencer = Sequencer::new(Offset(end), LeaderEpoch(6), None);
            let mut expected = end;
            for counts in parts {
                let sequenced = sequencer.assign(validated(batches_of(&counts).into())).unwrap();
                prop_assert_eq!(sequenced.base_offset, Offset(expected));
                prop_assert_eq!(sequenced.batches.len(), counts.len());
                for (bytes, header) in sequenced.batches.into_iter().zip(sequenced.headers) {
                    let batch = Batch::parse(bytes).unwrap();
                    batch.verify_checksum().unwrap();
                    prop_assert_eq!(batch.header, header);
                    prop_assert_eq!((header.base_offset, header.leader_epoch), (Offset(expected), LeaderEpoch(6)));
                    expected += i64::from(header.count);
                }
            }
            prop_assert_eq!(sequencer.end(), Offset(expected));
        }
    }
}

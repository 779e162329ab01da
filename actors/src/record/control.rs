//! Control batches: what a broker writes into a partition about transactions, where clients write records.
//!
//! A *marker* ends a producer's transaction in the partition. It is a batch of one record with Kafka's schemas: the key
//! is `version i16 = 0, type i16` (0 aborts, 1 commits), the value `version i16 = 0, coordinator epoch i32`.

use bytes::{Buf, BufMut, Bytes, BytesMut};

use super::batches::Batch;
use super::builder::Encoded;
use super::header::{Attributes, BatchHeader, HEADER_BYTES};
use super::read::{MAX_UNPACKED_BYTES, records};
use crate::ids::{LeaderEpoch, Offset, ProducerId};

/// Types of control records.
const ABORT: i16 = 0;
const COMMIT: i16 = 1;

/// The version of key and value that is written. Later ones begin with the same fields.
const VERSION: i16 = 0;

/// How a transaction ends in a partition.
#[derive(Clone, Copy, Debug, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub struct EndMarker {
    /// The transaction's producer.
    pub producer_id: ProducerId,
    /// Its epoch, or the one that fences it.
    pub producer_epoch: i16,
    /// The leader epoch of the partition of `__transaction_state` from which it was decided.
    pub coordinator_epoch: i32,
    /// Whether it commits.
    pub commits: bool,
}

impl EndMarker {
    /// The batch that tells it, with offset 0.
    #[must_use]
    pub fn batch(&self, timestamp_ms: i64) -> Bytes {
        let (mut key, mut value) = (BytesMut::new(), BytesMut::new());
        key.put_i16(VERSION);
        key.put_i16(if self.commits { COMMIT } else { ABORT });
        value.put_i16(VERSION);
        value.put_i32(self.coordinator_epoch);
        let record = Encoded {
            timestamp_delta: 0,
            offset_delta: 0,
            key: Some(&key),
            value: Some(&value),
            headers: &[],
        };
        let mut batch = BytesMut::zeroed(HEADER_BYTES);
        record.put(&mut batch, record.body_bytes());
        let header = BatchHeader {
            base_offset: Offset(0),
            length: 0,
            leader_epoch: LeaderEpoch(-1),
            checksum: 0,
            attributes: Attributes::default().as_transactional().as_control(),
            last_offset_delta: 0,
            base_timestamp_ms: timestamp_ms,
            max_timestamp_ms: timestamp_ms,
            producer_id: self.producer_id.0,
            producer_epoch: self.producer_epoch,
            base_sequence: -1,
            count: 1,
        };
        header.seal(&mut batch);
        batch.freeze()
    }

    /// The marker that a batch is; `None` for other batches, and for control records of other types.
    #[must_use]
    pub fn of(batch: &Batch) -> Option<Self> {
        let header = &batch.header;
        let producer_id = header.producer().filter(|_| header.attributes.is_control())?;
        let record = records(batch, MAX_UNPACKED_BYTES).ok()?.next()?.ok()?;
        let mut key = record.key?;
        let _version = key.try_get_i16().ok()?;
        let commits = match key.try_get_i16().ok()? {
            ABORT => false,
            COMMIT => true,
            _ => return None,
        };
        let mut value = record.value?;
        let _version = value.try_get_i16().ok()?;
        let coordinator_epoch = value.try_get_i32().ok()?;
        Some(Self { producer_id, producer_epoch: header.producer_epoch, coordinator_epoch, commits })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::record::{BatchBuilder, Compression};

    fn marker(commits: bool) -> EndMarker {
        EndMarker { producer_id: ProducerId(9), producer_epoch: 3, coordinator_epoch: 7, commits }
    }

    /// The records as Kafka's own coordinator writes them.
    #[test]
    fn a_marker_stands_as_kafka_has_it() {
        for (commits, kind) in [(true, 1), (false, 0)] {
            let bytes = marker(commits).batch(1000);
            assert_eq!(bytes[21..23], [0, 0b11_0000]);
            assert_eq!(bytes[53..57], [0xff; 4], "it has no sequence");
            // Length 16, no attributes, deltas 0, a key of 4 bytes, a value of 6, no headers.
            let record = [32, 0, 0, 0, 8, 0, 0, 0, kind, 12, 0, 0, 0, 0, 0, 7, 0];
            assert_eq!(bytes[61..], record);
            let batch = Batch::parse(bytes).unwrap();
            batch.verify_checksum().unwrap();
            assert_eq!(EndMarker::of(&batch), Some(marker(commits)));
        }
    }

    #[test]
    fn a_batch_of_records_is_no_marker_nor_is_a_control_record_of_another_type() {
        let mut builder = BatchBuilder::new(1000, Compression::NONE);
        builder.push(0, Some(b"\0\0\0\x01"), Some(b"\0\0\0\0\0\x07"), &[]).unwrap();
        assert_eq!(EndMarker::of(&Batch::parse(builder.finish(None)).unwrap()), None);
        let mut bytes = marker(true).batch(0).to_vec();
        bytes[69] = 9;
        assert_eq!(EndMarker::of(&Batch::parse(bytes.into()).unwrap()), None);
    }
}

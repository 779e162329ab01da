//! Batches as compaction leaves them: with fewer records or none, at the same offsets and of the same producer.

use std::io;

use bytes::{Bytes, BytesMut};

use super::batches::Batch;
use super::builder::Encoded;
use super::codec::Codec;
use super::compress::Compression;
use super::header::{Attributes, BatchHeader, HEADER_BYTES, NO_TIMESTAMP};
use super::read::Record;
use crate::ids::{LeaderEpoch, Offset};
use crate::topic_config::TimestampType;

/// The batch with these of its records alone, compressed as it was; with a new delete horizon if one is given (KIP-534:
/// it takes the place of the base timestamp, and the records count from it).
pub(crate) fn retain(batch: &Batch, kept: &[Record], delete_horizon_ms: Option<i64>) -> io::Result<Bytes> {
    let old = &batch.header;
    let codec = old.attributes.codec().unwrap_or(Codec::None);
    let base_timestamp_ms = delete_horizon_ms.unwrap_or(old.base_timestamp_ms);
    let mut records = BytesMut::with_capacity(if codec == Codec::None { batch.bytes.len() } else { 0 });
    for record in kept {
        let offset_delta = record.offset.0.saturating_sub(old.base_offset.0);
        let encoded = Encoded {
            timestamp_delta: record.timestamp_ms.wrapping_sub(base_timestamp_ms),
            offset_delta: i32::try_from(offset_delta).unwrap_or(i32::MAX),
            key: record.key.as_deref(),
            value: record.value.as_deref(),
            headers: &record.headers,
        };
        encoded.put(&mut records, encoded.body_bytes());
    }
    let max_timestamp_ms = match old.attributes.timestamp_type() {
        TimestampType::CreateTime => kept.iter().map(|record| record.timestamp_ms).max(),
        TimestampType::LogAppendTime => None,
    };
    let horizon = |attributes: Attributes| match delete_horizon_ms {
        Some(_) => attributes.with_delete_horizon(),
        None => attributes,
    };
    let mut bytes = vec![0; HEADER_BYTES];
    Compression::of(codec).pack(&records, &mut bytes)?;
    let header = BatchHeader {
        attributes: horizon(old.attributes),
        base_timestamp_ms,
        max_timestamp_ms: max_timestamp_ms.unwrap_or(old.max_timestamp_ms),
        count: i32::try_from(kept.len()).unwrap_or(i32::MAX),
        ..*old
    };
    header.seal(&mut bytes);
    Ok(bytes.into())
}

/// The batch without any record: it tells its producer's sequence, and nothing else.
pub(crate) fn empty(old: &BatchHeader) -> Bytes {
    let header = BatchHeader {
        attributes: old.attributes.of_none(),
        base_timestamp_ms: NO_TIMESTAMP,
        count: 0,
        ..*old
    };
    sealed(header)
}

/// A batch without records that stands for the offsets from `base` up to `last`, at most 2³¹ of them. To readers it is
/// what Kafka leaves of a batch whose records are all gone.
pub(crate) fn hole(base: Offset, last: Offset, leader_epoch: LeaderEpoch, max_timestamp_ms: i64) -> Bytes {
    sealed(BatchHeader {
        base_offset: base,
        length: 0,
        leader_epoch,
        checksum: 0,
        attributes: Attributes::default(),
        last_offset_delta: i32::try_from(last.0.saturating_sub(base.0)).unwrap_or(i32::MAX),
        base_timestamp_ms: NO_TIMESTAMP,
        max_timestamp_ms,
        producer_id: -1,
        producer_epoch: -1,
        base_sequence: -1,
        count: 0,
    })
}

fn sealed(header: BatchHeader) -> Bytes {
    let mut bytes = vec![0; HEADER_BYTES];
    header.seal(&mut bytes);
    bytes.into()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ids::ProducerId;
    use crate::record::{
        BatchBuilder, Header, MAX_UNPACKED_BYTES, ProducerStamp, assign, records, set_append_time,
    };

    fn batch(codec: Codec) -> Batch {
        let mut builder = BatchBuilder::new(100_000, Compression::of(codec));
        for index in 0..10_u8 {
            let value = (index != 4).then_some([index; 400]);
            let headers = [Header::new("h", vec![index])];
            builder
                .push(1000 + i64::from(index), Some(&[index]), value.as_ref().map(|v| &v[..]), &headers)
                .unwrap();
        }
        let stamp = ProducerStamp { id: ProducerId(9), epoch: 2, base_sequence: 30 };
        let mut bytes = builder.finish(Some(stamp)).to_vec();
        assign(&mut bytes, Offset(500), LeaderEpoch(3)).unwrap();
        Batch::parse(bytes.into()).unwrap()
    }

    fn all(batch: &Batch) -> Vec<Record> {
        records(batch, MAX_UNPACKED_BYTES).unwrap().map(Result::unwrap).collect()
    }

    #[test]
    fn what_is_kept_is_as_it_was_with_every_codec_and_with_a_delete_horizon() {
        for codec in Codec::ALL {
            for horizon in [None, Some(1_700_000_000_000)] {
                let old = batch(codec);
                let mut kept = all(&old);
                kept.retain(|record| record.offset.0 % 2 == 0);
                let new = Batch::parse(retain(&old, &kept, horizon).unwrap()).unwrap();
                new.verify_checksum().unwrap();
                assert_eq!(all(&new), kept, "{codec}");
                let (before, after) = (&old.header, &new.header);
                assert_eq!((after.count, after.last_offset_delta, after.max_timestamp_ms), (5, 9, 1008));
                assert_eq!(after.delete_horizon_ms(), horizon);
                assert_eq!(after.attributes.codec(), Ok(codec));
                assert_eq!(
                    (after.base_offset, after.next_offset(), after.last_sequence(), after.leader_epoch),
                    (before.base_offset, before.next_offset(), before.last_sequence(), before.leader_epoch)
                );
            }
        }
    }

    #[test]
    fn the_brokers_timestamps_stay() {
        let mut bytes = batch(Codec::None).bytes.to_vec();
        set_append_time(&mut bytes, 7777).unwrap();
        let old = Batch::parse(bytes.into()).unwrap();
        let kept = &all(&old)[2..3];
        let new = Batch::parse(retain(&old, kept, Some(99_000)).unwrap()).unwrap();
        assert_eq!(all(&new), kept);
        assert_eq!((new.header.max_timestamp_ms, all(&new)[0].timestamp_ms), (7777, 7777));
    }

    #[test]
    fn an_empty_batch_keeps_its_producers_sequence_and_a_hole_is_nobodys() {
        let old = batch(Codec::Zstd);
        let new = Batch::parse(empty(&old.header)).unwrap();
        new.verify_checksum().unwrap();
        assert!(all(&new).is_empty() && !new.header.is_hole());
        assert_eq!(new.header.producer(), Some(ProducerId(9)));
        assert_eq!((new.header.last_sequence(), new.header.next_offset()), (39, Offset(510)));
        let last = Offset(5 + i64::from(i32::MAX));
        let hole = Batch::parse(hole(Offset(5), last, LeaderEpoch(1), 44)).unwrap();
        hole.verify_checksum().unwrap();
        assert!(hole.header.is_hole() && all(&hole).is_empty());
        assert_eq!((hole.header.next_offset(), hole.bytes.len()), (last.plus(1), HEADER_BYTES));
    }

    /// Version 2 of Kafka's format, as its own cleaner leaves a batch with a tombstone (KIP-534).
    #[test]
    fn the_delete_horizon_stands_where_kafka_has_it() {
        let mut builder = BatchBuilder::new(1000, Compression::NONE);
        builder.push(1000, Some(b"k"), None, &[]).unwrap();
        let old = Batch::parse(builder.finish(None)).unwrap();
        let new = retain(&old, &all(&old), Some(1500)).unwrap();
        assert_eq!(new[21..23], [0, 0b100_0000]);
        assert_eq!(new[27..35], 1500_i64.to_be_bytes());
        assert_eq!(new[35..43], 1000_i64.to_be_bytes());
        // Length 8, no attributes, 500 ms before the horizon, offset 0, key of one byte, no value, no headers.
        assert_eq!(new[61..], [16, 0, 0xe7, 0x07, 0, 2, b'k', 1, 0]);
    }
}

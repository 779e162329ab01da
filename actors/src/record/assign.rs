//! Writes into a batch what its broker, or its producer at a retry, decides: in place, nothing is encoded again.

use super::header::{BatchHeader, HEADER_BYTES, checksum};
use super::problem::{BatchError, BatchProblem};
use crate::ids::{LeaderEpoch, Offset};
use crate::record::builder::ProducerStamp;

/// Gives the batch at the start of `batch` its base offset and leader epoch. The checksum does not cover them.
pub fn assign(batch: &mut [u8], base_offset: Offset, epoch: LeaderEpoch) -> Result<(), BatchError> {
    put(batch, 0, &base_offset.0.to_be_bytes())?;
    put(batch, 12, &epoch.0.to_be_bytes())
}

/// Gives every record of the one whole batch that `batch` is the broker's timestamp, and the batch its new checksum.
pub fn set_append_time(batch: &mut [u8], now_ms: i64) -> Result<(), BatchError> {
    let attributes = BatchHeader::parse(batch)?.attributes.with_append_time();
    put(batch, 21, &attributes.0.to_be_bytes())?;
    put(batch, 35, &now_ms.to_be_bytes())?;
    put_checksum(batch)
}

/// Gives the one whole batch that `batch` is another producer id, epoch and sequence, and its new checksum.
pub fn assign_producer(batch: &mut [u8], stamp: ProducerStamp) -> Result<(), BatchError> {
    put(batch, 43, &stamp.id.0.to_be_bytes())?;
    put(batch, 51, &stamp.epoch.to_be_bytes())?;
    put(batch, 53, &stamp.base_sequence.to_be_bytes())?;
    put_checksum(batch)
}

/// Makes the one whole batch that `batch` is part of a producer's transaction, with its id, epoch and sequence.
pub fn make_transactional(batch: &mut [u8], stamp: ProducerStamp) -> Result<(), BatchError> {
    let attributes = BatchHeader::parse(batch)?.attributes.as_transactional();
    put(batch, 21, &attributes.0.to_be_bytes())?;
    assign_producer(batch, stamp)
}

fn put_checksum(batch: &mut [u8]) -> Result<(), BatchError> {
    let computed = checksum(batch);
    put(batch, 17, &computed.to_be_bytes())
}

fn put<const N: usize>(batch: &mut [u8], at: usize, field: &[u8; N]) -> Result<(), BatchError> {
    let found = batch.len();
    let place = batch.get_mut(..HEADER_BYTES).and_then(|header| header.get_mut(at..at.saturating_add(N)));
    place
        .ok_or(BatchError::at(0, BatchProblem::CutOff { needed: HEADER_BYTES, found }))?
        .copy_from_slice(field);
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ids::ProducerId;
    use crate::record::golden::TWO_RECORDS;
    use crate::record::header::verify_checksum;
    use crate::topic_config::TimestampType;

    #[test]
    fn offset_and_epoch_are_patched_and_the_checksum_still_holds() {
        let mut batch = TWO_RECORDS.to_vec();
        assign(&mut batch, Offset(1 << 40), LeaderEpoch(9)).unwrap();
        let header = BatchHeader::parse(&batch).unwrap();
        assert_eq!((header.base_offset, header.leader_epoch), (Offset(1 << 40), LeaderEpoch(9)));
        assert_eq!(verify_checksum(&batch), Ok(()));
        assert_eq!(batch[16..], TWO_RECORDS[16..]);
    }

    #[test]
    fn the_append_time_is_every_records_time() {
        let mut batch = TWO_RECORDS.to_vec();
        set_append_time(&mut batch, 99).unwrap();
        let header = BatchHeader::parse(&batch).unwrap();
        assert_eq!(header.attributes.timestamp_type(), TimestampType::LogAppendTime);
        assert_eq!(header.max_timestamp_ms, 99);
        assert_eq!(verify_checksum(&batch), Ok(()));
    }

    #[test]
    fn another_producer_is_stamped() {
        let mut batch = TWO_RECORDS.to_vec();
        assign_producer(&mut batch, ProducerStamp { id: ProducerId(5), epoch: 2, base_sequence: 0 }).unwrap();
        let header = BatchHeader::parse(&batch).unwrap();
        assert_eq!(
            (header.producer(), header.producer_epoch, header.base_sequence),
            (Some(ProducerId(5)), 2, 0)
        );
        assert_eq!(verify_checksum(&batch), Ok(()));
    }

    #[test]
    fn bytes_shorter_than_a_header_are_left_alone() {
        let mut short = [0; HEADER_BYTES - 1];
        assert!(assign(&mut short, Offset(1), LeaderEpoch(1)).is_err());
        assert!(set_append_time(&mut short, 1).is_err());
        assert_eq!(short, [0; HEADER_BYTES - 1]);
    }
}

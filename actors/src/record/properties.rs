//! What holds for all batches: they are read as they were built, and no bytes whatever do harm.

use bytes::Bytes;
use proptest::collection::vec;
use proptest::option::of;
use proptest::prelude::*;

use super::golden::TWO_RECORDS;
use super::*;
use crate::ids::{LeaderEpoch, Offset, ProducerId};

type Input = (i64, Option<Vec<u8>>, Option<Vec<u8>>, Vec<(String, Option<Vec<u8>>)>);

fn inputs() -> impl Strategy<Value = Vec<Input>> {
    let field = || of(vec(any::<u8>(), 0..200));
    vec((any::<i64>(), field(), field(), vec((".{0,10}", field()), 0..4)), 1..30)
}

fn headers_of(headers: &[(String, Option<Vec<u8>>)]) -> Vec<Header> {
    headers
        .iter()
        .map(|(name, value)| Header {
            name: Bytes::from(name.clone()),
            value: value.clone().map(Bytes::from),
        })
        .collect()
}

fn build(inputs: &[Input], codec: Codec, stamp: Option<ProducerStamp>) -> Bytes {
    let mut builder = BatchBuilder::new(1 << 20, Compression::of(codec));
    for (timestamp_ms, key, value, headers) in inputs {
        builder.push(*timestamp_ms, key.as_deref(), value.as_deref(), &headers_of(headers)).unwrap();
    }
    builder.finish(stamp)
}

/// Reads all that can be read of `bytes`; must neither panic nor allocate beyond the limit.
fn read_everything(bytes: Bytes) {
    for batch in batches(&bytes).chain(whole_batches(&bytes)).flatten() {
        let _ = batch.verify_checksum();
        if let Ok(records) = records(&batch, 1 << 16) {
            for record in records.flatten() {
                assert!(record.headers.len() <= 1 << 16);
            }
        }
    }
}

proptest! {
    #[test]
    fn a_batch_is_read_as_it_was_built(inputs in inputs(), codec in 0_u8..5, sequence in of(0_i32..)) {
        let codec = Codec::from_number(codec).unwrap();
        let stamp = sequence.map(|base_sequence| ProducerStamp { id: ProducerId(9), epoch: 2, base_sequence });
        let mut bytes = build(&inputs, codec, stamp).to_vec();
        assign(&mut bytes, Offset(1000), LeaderEpoch(4)).unwrap();
        let batch = Batch::parse(bytes.into()).unwrap();
        batch.verify_checksum().unwrap();
        prop_assert_eq!(batch.header.base_sequence, sequence.unwrap_or(-1));
        let found: Vec<Record> = records(&batch, 1 << 20).unwrap().collect::<Result<_, _>>().unwrap();
        prop_assert_eq!(found.len(), inputs.len());
        for (index, (record, input)) in found.iter().zip(&inputs).enumerate() {
            prop_assert_eq!(record.offset, Offset(1000 + index as i64));
            prop_assert_eq!(record.timestamp_ms, input.0);
            prop_assert_eq!(record.key.as_deref(), input.1.as_deref());
            prop_assert_eq!(record.value.as_deref(), input.2.as_deref());
            prop_assert_eq!(&record.headers, &headers_of(&input.3));
        }
    }

    #[test]
    fn the_append_time_replaces_every_records_own(inputs in inputs(), now_ms: i64) {
        let mut bytes = build(&inputs, Codec::Lz4, None).to_vec();
        set_append_time(&mut bytes, now_ms).unwrap();
        let batch = Batch::parse(bytes.into()).unwrap();
        batch.verify_checksum().unwrap();
        prop_assert!(records(&batch, 1 << 20).unwrap().all(|record| record.unwrap().timestamp_ms == now_ms));
    }

    #[test]
    fn garbage_does_no_harm(bytes in vec(any::<u8>(), 0..500)) {
        read_everything(bytes.into());
    }

    #[test]
    fn garbage_behind_a_good_header_does_no_harm(
        records in vec(any::<u8>(), 0..500), attributes in 0_u8..8, count: i32, delta: i32,
    ) {
        let mut bytes = TWO_RECORDS[..HEADER_BYTES].to_vec();
        bytes[8..12].copy_from_slice(&(49 + i32::try_from(records.len()).unwrap()).to_be_bytes());
        bytes[22] = attributes;
        bytes[23..27].copy_from_slice(&delta.to_be_bytes());
        bytes[57..61].copy_from_slice(&count.to_be_bytes());
        bytes.extend(records);
        read_everything(bytes.into());
    }

    #[test]
    fn flipped_bytes_do_no_harm(
        inputs in inputs(), codec in 0_u8..5, flips in vec((any::<prop::sample::Index>(), 1_u8..), 1..5),
    ) {
        let mut bytes = build(&inputs, Codec::from_number(codec).unwrap(), None).to_vec();
        for (at, flip) in flips {
            let at = at.index(bytes.len());
            bytes[at] ^= flip;
        }
        read_everything(bytes.into());
    }
}

#[test]
fn a_bomb_in_a_batch_is_an_error() {
    for codec in [Codec::Gzip, Codec::Snappy, Codec::Lz4, Codec::Zstd] {
        let mut builder = BatchBuilder::new(1 << 20, Compression::of(codec));
        builder.push(0, None, Some(&vec![0; 4 << 20]), &[]).unwrap();
        let batch = Batch::parse(builder.finish(None)).unwrap();
        let error = records(&batch, 1 << 20).unwrap_err();
        assert_eq!(error.problem, BatchProblem::UnpacksTooLarge { limit: 1 << 20 });
    }
}

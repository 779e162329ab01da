//! A record as a source hands it out.

use std::sync::Arc;

use uuid::Builder;

use crate::custom::RequestId;
use crate::ids::TopicId;
use crate::record::Record;

/// A record, and where it comes from. Cheap to clone: its parts are slices of the batch it came in.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SourceRecord {
    /// The topic's name.
    pub topic: Arc<str>,
    /// The topic's id: one that is deleted and made again has another.
    pub topic_id: TopicId,
    /// The partition's index.
    pub partition: i32,
    /// The record, with its offset.
    pub record: Record,
}

impl std::ops::Deref for SourceRecord {
    type Target = Record;

    fn deref(&self) -> &Record {
        &self.record
    }
}

impl SourceRecord {
    /// An id made of topic, partition and offset: the same each time that this record is handed out, and another for every
    /// other record. An entity that is asked under it ([`ask_as`](crate::custom::entity::EntityRef::ask_as)) applies the
    /// record once, for as long as it remembers ids (`entity.dedupe.ms`).
    ///
    /// The lower half is the offset, so that no two records of a partition have the same; the upper half is drawn from the
    /// topic's random id and the partition. The form is that of a version 8 UUID (RFC 9562, section 5.8).
    #[must_use]
    pub fn request_id(&self) -> RequestId {
        let (high, low) = self.topic_id.0.as_u64_pair();
        // An offset has 63 bits, of which 62 have room below the two bits of the variant.
        let source = mixed(high ^ mixed(low ^ mixed(u64::from(self.partition.cast_unsigned()))));
        let upper = source.to_be_bytes();
        let lower = self.record.offset.0.cast_unsigned().to_be_bytes();
        let mut bytes = [0; 16];
        for (byte, from) in bytes.iter_mut().zip(upper.into_iter().chain(lower)) {
            *byte = from;
        }
        RequestId(Builder::from_custom_bytes(bytes).into_uuid())
    }
}

/// The finaliser of SplitMix64 (Steele, Lea, Flood, "Fast splittable pseudorandom number generators", 2014): each bit of the
/// input moves half of the bits of the output, and no two inputs have the same output.
const fn mixed(value: u64) -> u64 {
    let value = value.wrapping_add(0x9e37_79b9_7f4a_7c15);
    let value = (value ^ (value >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    let value = (value ^ (value >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    value ^ (value >> 31)
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use uuid::Uuid;

    use super::*;
    use crate::ids::Offset;

    fn record(topic: u128, partition: i32, offset: i64) -> SourceRecord {
        let offset = Offset(offset);
        SourceRecord {
            topic: "t".into(),
            topic_id: TopicId(Uuid::from_u128(topic)),
            partition,
            record: Record { offset, timestamp_ms: 0, key: None, value: None, headers: Vec::new() },
        }
    }

    #[test]
    fn every_record_has_an_id_of_its_own_and_always_the_same() {
        let all = (0..3).flat_map(|topic| {
            (0..4).flat_map(move |partition| {
                let offsets = (0..50).chain([1 << 40, i64::MAX >> 2]);
                offsets.map(move |offset| record(topic, partition, offset).request_id())
            })
        });
        assert_eq!(all.collect::<BTreeSet<_>>().len(), 3 * 4 * 52);
        // What entities remember for days must not change with the next version of this program.
        let id = record(0x1234, 5, 678).request_id();
        assert_eq!(id.to_string(), "d0395bde-029e-87dc-8000-0000000002a6");
        assert_eq!(id.0.get_version_num(), 8);
    }
}

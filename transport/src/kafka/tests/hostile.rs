//! Bytes that are no message, or were one once.

use super::*;
use crate::kafka::messages::{fetch, heartbeat, metadata, offset_fetch, produce};
use crate::kafka::{DecodeFault, Message, RewriteError};

/// Numbers that repeat: splitmix64.
struct Seeded(u64);

impl Seeded {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mixed = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }

    fn below(&mut self, limit: usize) -> usize {
        usize::try_from(self.next() % u64::try_from(limit.max(1)).unwrap()).unwrap()
    }
}

#[test]
fn every_prefix_of_a_valid_message_is_refused() {
    for Sample { entry, version, bytes, .. } in samples() {
        for cut in 0..bytes.len() {
            assert!((entry.check)(&bytes[..cut], version).is_err(), "{} {version} cut at {cut}", entry.name);
        }
    }
}

#[test]
fn a_byte_too_many_is_refused() {
    for Sample { entry, version, mut bytes, .. } in samples() {
        bytes.push(0);
        let error = (entry.check)(&bytes, version).unwrap_err();
        assert_eq!(error.fault, DecodeFault::Left(1), "{error}");
        assert_eq!(error.at, bytes.len() - 1);
    }
}

/// Damaged bytes are refused, or they are a message: then it can be written, and is what was written.
fn survives(entry: &Entry, version: i16, damaged: &[u8]) {
    let mut writer = Writer::new();
    match (entry.rewrite)(damaged, version, version, &mut writer) {
        Ok(()) => {
            let written = writer.into_vec();
            assert_eq!(rewritten(entry, &written, version, version), written, "{} {version}", entry.name);
        }
        Err(RewriteError::Decode(error)) => assert!(error.at <= damaged.len(), "{error}"),
        Err(RewriteError::Encode(error)) => panic!("read but not written: {error}"),
    }
}

#[test]
fn a_flipped_byte_is_refused_or_makes_another_message() {
    let mut seeded = Seeded(1);
    for Sample { entry, version, bytes, .. } in samples() {
        for at in 0..bytes.len() {
            let mut damaged = bytes.clone();
            damaged[at] ^= u8::try_from(1 + seeded.below(255)).unwrap();
            survives(entry, version, &damaged);
        }
    }
}

/// One change of the kinds that hurt parsers: extreme numbers, bytes that vanish, come twice, or come from elsewhere.
fn mutate(bytes: &mut Vec<u8>, seeded: &mut Seeded) {
    const EXTREMES: [&[u8]; 9] = [
        &[0xff; 4],
        &[0x7f, 0xff, 0xff, 0xff],
        &[0x80, 0, 0, 0],
        &[0xff, 0xff, 0xff, 0xff, 0x0f],
        &[0x80; 6],
        &[0x7f, 0xff],
        &[0xff, 0xfe],
        &[0],
        &[1],
    ];
    let at = seeded.below(bytes.len());
    let end = (at + 1 + seeded.below(8)).min(bytes.len());
    match seeded.below(4) {
        0 => {
            let extreme = EXTREMES[seeded.below(EXTREMES.len())];
            let end = (at + extreme.len()).min(bytes.len());
            bytes.splice(at..end, extreme.iter().copied());
        }
        1 => drop(bytes.drain(at..end)),
        2 => {
            let twice = bytes[at..end].to_vec();
            bytes.splice(at..at, twice);
        }
        _ => bytes[at..end].fill(u8::try_from(seeded.below(256)).unwrap()),
    }
}

#[test]
fn mutated_messages_are_refused_or_are_other_messages() {
    let mut seeded = Seeded(2);
    for Sample { entry, version, bytes, .. } in samples() {
        for _ in 0..300 {
            let mut mutant = bytes.clone();
            for _ in 0..=seeded.below(3) {
                if !mutant.is_empty() {
                    mutate(&mut mutant, &mut seeded);
                }
            }
            survives(entry, version, &mutant);
        }
    }
}

#[test]
fn garbage_is_refused_by_every_decoder_or_is_a_message() {
    let mut seeded = Seeded(3);
    for entry in &CATALOGUE {
        for version in entry.versions.first..=entry.versions.last {
            for _ in 0..100 {
                let length = seeded.below(60);
                let garbage = (0..length).map(|_| seeded.next().to_le_bytes()[0]).collect::<Vec<_>>();
                survives(entry, version, &garbage);
            }
        }
    }
}

/// Thirty bytes that begin with `head`.
fn thirty(head: &[u8]) -> Vec<u8> {
    let mut bytes = head.to_vec();
    bytes.resize(30, 0);
    bytes
}

#[test]
fn an_array_of_more_elements_than_bytes_is_refused_at_its_count() {
    let bytes = thirty(&[0x7f, 0xff, 0xff, 0xff]);
    let error = metadata::MetadataRequest::decode(&bytes, 4).unwrap_err();
    assert_eq!(error.fault, DecodeFault::Count { count: 0x7fff_ffff, left: 26 });
    assert_eq!((error.field, error.at), ("topics", 4));
    let bytes = thirty(&[0xff, 0xff, 0xff, 0xff, 0x0f]);
    let error = metadata::MetadataRequest::decode(&bytes, 12).unwrap_err();
    assert_eq!(error.fault, DecodeFault::Count { count: 0xffff_fffe, left: 25 });
}

#[test]
fn an_array_of_numbers_is_refused_if_they_are_not_all_there() {
    // A group and a topic without names, then four partitions, of which three are there.
    let bytes = hex("0000 00000001 0000 00000004 00000007 00000008 00000009");
    let error = offset_fetch::OffsetFetchRequest::decode(&bytes, 1).unwrap_err();
    assert_eq!(error.fault, DecodeFault::Count { count: 4, left: 12 });
    assert_eq!((error.field, error.at), ("topics.partition_indexes", 12));
}

#[test]
fn a_negative_count_that_is_not_null_is_refused() {
    for count in [-2, i32::MIN] {
        let bytes = thirty(&count.to_be_bytes());
        let error = metadata::MetadataRequest::decode(&bytes, 4).unwrap_err();
        assert_eq!(error.fault, DecodeFault::Length(count.into()));
        assert_eq!(error.field, "topics");
    }
}

#[test]
fn null_is_refused_where_the_version_does_not_allow_it() {
    let null = [0xff; 4];
    let error = metadata::MetadataRequest::decode(&null, 0).unwrap_err();
    assert_eq!((error.field, error.fault), ("topics", DecodeFault::Null));
    assert!(metadata::MetadataRequest::decode(&null, 1).unwrap().topics.is_none());
    let error = heartbeat::HeartbeatRequest::decode(&[0xff, 0xff, 0, 0], 0).unwrap_err();
    assert_eq!((error.field, error.fault), ("group_id", DecodeFault::Null));
    let error = heartbeat::HeartbeatRequest::decode(&[0, 0, 0], 4).unwrap_err();
    assert_eq!((error.field, error.fault), ("group_id", DecodeFault::Null));
}

#[test]
fn an_error_tells_message_version_field_and_byte() {
    let bytes = hex("ffff 0001 00000001 00000001 0001 74 00000001 00000007 00000005 6162");
    let error = produce::ProduceRequest::decode(&bytes, 3).unwrap_err();
    assert_eq!(
        error.to_string(),
        "ProduceRequest of version 3, byte 27, field topic_data.partition_data.records: 5 bytes expected, 2 left"
    );
}

#[test]
fn a_string_that_is_not_utf_8_is_refused() {
    let bytes = hex("00000001 0002 c328");
    let error = metadata::MetadataRequest::decode(&bytes, 0).unwrap_err();
    assert_eq!((error.field, error.fault), ("topics.name", DecodeFault::Text));
}

#[test]
fn a_compact_string_is_not_longer_than_any_other() {
    // 32,768 bytes and one for the length that is told.
    let mut bytes = hex("818002");
    bytes.resize(40_000, b'a');
    let error = heartbeat::HeartbeatRequest::decode(&bytes, 4).unwrap_err();
    assert_eq!((error.field, error.fault), ("group_id", DecodeFault::Length(32_768)));
}

#[test]
fn a_variable_number_of_more_than_32_bits_is_refused() {
    for bytes in ["ffffffff1f 00", "ffffffffff 00", "8080808080 01"] {
        let error = metadata::MetadataRequest::decode(&hex(bytes), 12).unwrap_err();
        assert_eq!(error.fault, DecodeFault::Varint, "{bytes}");
    }
}

#[test]
fn tagged_fields_that_are_not_known_are_passed_over() {
    let plain = hex("02 61 00000001 02 62 00 00");
    let tagged = hex("02 61 00000001 02 62 00 02 05 03 010203 8180808008 00");
    let read = |bytes| heartbeat::HeartbeatRequest::decode(bytes, 4);
    assert_eq!(read(&tagged).unwrap(), read(&plain).unwrap());
}

#[test]
fn tagged_fields_that_reach_behind_the_end_are_refused() {
    let begin = "02 61 00000001 02 62 00";
    for (tagged, fault) in [
        ("01 05 04 010203", DecodeFault::Short { needed: 4, left: 3 }),
        ("02 05 00", DecodeFault::Count { count: 2, left: 2 }),
        ("ffffffff0f 05 00", DecodeFault::Count { count: 0xffff_ffff, left: 2 }),
        ("01 05 ffffffff0f 05 00", DecodeFault::Short { needed: 0xffff_ffff, left: 2 }),
    ] {
        let bytes = hex(&format!("{begin} {tagged}"));
        let error = heartbeat::HeartbeatRequest::decode(&bytes, 4).unwrap_err();
        assert_eq!(error.fault, fault, "{tagged}");
    }
}

#[test]
fn a_tagged_field_is_as_long_as_it_tells() {
    // A response of Fetch without topics, then the node endpoints: an empty array, and a byte too many.
    let begin = "00000000 0000 00000000 01";
    assert!(fetch::FetchResponse::decode(&hex(&format!("{begin} 01 00 01 01")), 16).is_ok());
    let bytes = hex(&format!("{begin} 01 00 02 01 07"));
    let error = fetch::FetchResponse::decode(&bytes, 16).unwrap_err();
    assert_eq!((error.fault, error.at), (DecodeFault::Left(1), 15));
    let bytes = hex(&format!("{begin} 01 00 00"));
    let error = fetch::FetchResponse::decode(&bytes, 16).unwrap_err();
    assert_eq!((error.field, error.at), ("node_endpoints", 14));
}

#[test]
fn a_version_that_is_not_known_is_refused() {
    for version in [i16::MIN, -1, 14, i16::MAX] {
        let error = metadata::MetadataRequest::decode(&[0; 30], version).unwrap_err();
        assert_eq!((error.version, error.fault), (version, DecodeFault::Version));
    }
}

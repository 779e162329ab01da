//! Golden bytes, written out by hand from Kafka's schemas (`group-coordinator/…/common/message/*.json`).

use bytes::Bytes;
use proptest::prelude::*;
use uuid::Uuid;

use super::*;
use crate::group::classic::ClassicMember;

const TOPIC: TopicId = TopicId(Uuid::from_bytes(*b"0123456789abcdef"));

fn partition(index: i32) -> PartitionId {
    PartitionId { topic: TOPIC, index }
}

/// Both ways: what we write is these bytes, and these bytes are what we wrote.
fn check(record: &GroupRecord, key: &[u8], value: Option<&[u8]>) {
    let encoded = encode(7, "g", record);
    assert_eq!(encoded.timestamp_ms, 7);
    assert_eq!(encoded.key, key, "key of {record:?}");
    assert_eq!(encoded.value.as_deref(), value, "value of {record:?}");
    assert_eq!(decode(key, value).unwrap().unwrap(), ("g".into(), record.clone()));
}

fn offset(value: Option<OffsetValue>) -> GroupRecord {
    GroupRecord::Offset { topic: "tp".into(), partition: 258, value }
}

const OFFSET_KEY: &[u8] = b"\x00\x01\x00\x01g\x00\x02tp\x00\x00\x01\x02";

#[test]
fn offset_commit_version_4_with_the_topics_id() {
    let value = OffsetValue {
        offset: Offset(5),
        leader_epoch: Some(LeaderEpoch(3)),
        metadata: "hi".to_owned(),
        committed_ms: 1_000,
        expires_ms: None,
        topic: Some(TOPIC),
    };
    let bytes = b"\x00\x04\x00\x00\x00\x00\x00\x00\x00\x05\x00\x00\x00\x03\x03hi\x00\x00\x00\x00\x00\x00\x03\xe8\x01\x00\x100123456789abcdef";
    check(&offset(Some(value.clone())), OFFSET_KEY, Some(bytes));
    let plain = OffsetValue { topic: None, leader_epoch: None, metadata: String::new(), ..value };
    let bytes =
        b"\x00\x04\x00\x00\x00\x00\x00\x00\x00\x05\xff\xff\xff\xff\x01\x00\x00\x00\x00\x00\x00\x03\xe8\x00";
    check(&offset(Some(plain)), OFFSET_KEY, Some(bytes));
    check(&offset(None), OFFSET_KEY, None);
}

#[test]
fn a_group_of_the_classic_protocol_version_3() {
    let member = ClassicMember {
        member: "m".into(),
        instance: None,
        client_id: "c".into(),
        client_host: "/h".into(),
        rebalance_timeout_ms: 300,
        session_timeout_ms: 10_000,
        subscription: Bytes::from_static(b"su"),
        assignment: Bytes::from_static(b"a"),
    };
    let group = ClassicMetadata {
        protocol_type: "consumer".into(),
        generation: 7,
        protocol: Some("range".into()),
        leader: Some("m".into()),
        state_since_ms: Some(1_000),
        members: vec![member],
    };
    let key = b"\x00\x02\x00\x01g";
    let head =
        b"\x00\x03\x00\x08consumer\x00\x00\x00\x07\x00\x05range\x00\x01m\x00\x00\x00\x00\x00\x00\x03\xe8";
    let tail = b"\x00\x00\x00\x01\x00\x01m\xff\xff\x00\x01c\x00\x02/h\x00\x00\x01\x2c\x00\x00\x27\x10\x00\x00\x00\x02su\x00\x00\x00\x01a";
    check(&GroupRecord::Classic(Some(group.clone())), key, Some(&[&head[..], tail].concat()));
    // One that came over from KIP-848 has no leader yet.
    let led = ClassicMetadata { leader: None, ..group.clone() };
    let head =
        b"\x00\x03\x00\x08consumer\x00\x00\x00\x07\x00\x05range\xff\xff\x00\x00\x00\x00\x00\x00\x03\xe8";
    check(&GroupRecord::Classic(Some(led)), key, Some(&[&head[..], tail].concat()));
    check(&GroupRecord::Classic(None), key, None);
    // Version 0, as the first brokers wrote it: no time, no instance, no rebalance timeout.
    let old = b"\x00\x00\x00\x08consumer\x00\x00\x00\x07\x00\x05range\x00\x01m\x00\x00\x00\x01\x00\x01m\x00\x01c\x00\x02/h\x00\x00\x27\x10\x00\x00\x00\x02su\x00\x00\x00\x01a";
    let members = group.members.iter().cloned();
    let members = members.map(|member| ClassicMember { rebalance_timeout_ms: -1, ..member }).collect();
    let expected = ClassicMetadata { state_since_ms: None, members, ..group.clone() };
    let (_, read) = decode(key, Some(old)).unwrap().unwrap();
    assert_eq!(read, GroupRecord::Classic(Some(expected)));
    // Version 4 has lengths as varints, one more than they are.
    let new = b"\x00\x04\x09consumer\x00\x00\x00\x07\x06range\x02m\x00\x00\x00\x00\x00\x00\x03\xe8\x02\x02m\x00\x02c\x03/h\x00\x00\x01\x2c\x00\x00\x27\x10\x03su\x02a\x00\x00";
    assert_eq!(decode(key, Some(new)).unwrap().unwrap().1, GroupRecord::Classic(Some(group)));
}

#[test]
fn offset_commit_version_1_with_an_end() {
    let value = OffsetValue {
        offset: Offset(5),
        leader_epoch: None,
        metadata: "hi".to_owned(),
        committed_ms: 1_000,
        expires_ms: Some(2),
        topic: None,
    };
    let bytes = b"\x00\x01\x00\x00\x00\x00\x00\x00\x00\x05\x00\x02hi\x00\x00\x00\x00\x00\x00\x03\xe8\x00\x00\x00\x00\x00\x00\x00\x02";
    check(&offset(Some(value)), OFFSET_KEY, Some(bytes));
}

#[test]
fn offset_commits_of_older_brokers_are_read() {
    let read = |key: &[u8], value: &[u8]| match decode(key, Some(value)).unwrap().unwrap() {
        (_, GroupRecord::Offset { value: Some(value), .. }) => value,
        other => panic!("{other:?}"),
    };
    let expected = OffsetValue {
        offset: Offset(5),
        leader_epoch: None,
        metadata: "hi".to_owned(),
        committed_ms: 1,
        expires_ms: None,
        topic: None,
    };
    let old_key = b"\x00\x00\x00\x01g\x00\x02tp\x00\x00\x01\x02";
    let version_0 = b"\x00\x00\x00\x00\x00\x00\x00\x00\x00\x05\x00\x02hi\x00\x00\x00\x00\x00\x00\x00\x01";
    assert_eq!(read(old_key, version_0), expected);
    let version_2 = b"\x00\x02\x00\x00\x00\x00\x00\x00\x00\x05\x00\x02hi\x00\x00\x00\x00\x00\x00\x00\x01";
    assert_eq!(read(OFFSET_KEY, version_2), expected);
    let version_3 =
        b"\x00\x03\x00\x00\x00\x00\x00\x00\x00\x05\x00\x00\x00\x09\x00\x02hi\x00\x00\x00\x00\x00\x00\x00\x01";
    assert_eq!(read(OFFSET_KEY, version_3), OffsetValue { leader_epoch: Some(LeaderEpoch(9)), ..expected });
}

#[test]
fn the_epochs_of_group_and_target() {
    check(&GroupRecord::Epoch(Some(10)), b"\x00\x03\x00\x01g", Some(b"\x00\x00\x00\x00\x00\x0a\x00"));
    check(&GroupRecord::Epoch(None), b"\x00\x03\x00\x01g", None);
    check(&GroupRecord::TargetEpoch(Some(11)), b"\x00\x06\x00\x01g", Some(b"\x00\x00\x00\x00\x00\x0b\x00"));
    check(&GroupRecord::TargetEpoch(None), b"\x00\x06\x00\x01g", None);
    let with_hash = b"\x00\x00\x00\x00\x00\x0a\x01\x00\x08\x01\x02\x03\x04\x05\x06\x07\x08";
    let read = decode(b"\x00\x03\x00\x01g", Some(with_hash)).unwrap().unwrap();
    assert_eq!(read.1, GroupRecord::Epoch(Some(10)), "a hash of the topics is left alone");
}

#[test]
fn the_topics_subscribed_to() {
    let topics = BTreeMap::from([("tp".into(), TopicShape { id: TOPIC, partitions: 6 })]);
    let bytes = b"\x00\x00\x020123456789abcdef\x03tp\x00\x00\x00\x06\x01\x00\x00";
    check(&GroupRecord::Topics(Some(topics.clone())), b"\x00\x04\x00\x01g", Some(bytes));
    check(&GroupRecord::Topics(None), b"\x00\x04\x00\x01g", None);
    let with_racks =
        b"\x00\x00\x020123456789abcdef\x03tp\x00\x00\x00\x06\x02\x00\x00\x00\x01\x02\x02r\x00\x00\x00";
    let read = decode(b"\x00\x04\x00\x01g", Some(with_racks)).unwrap().unwrap();
    assert_eq!(read.1, GroupRecord::Topics(Some(topics)), "racks are left alone");
}

#[test]
fn what_a_member_says_of_itself() {
    let key = b"\x00\x05\x00\x01g\x00\x01m";
    let full = MemberMetadata {
        instance: Some("i".into()),
        rack: Some("r".to_owned()),
        client_id: "c".to_owned(),
        client_host: "/h".to_owned(),
        topics: vec!["a".into(), "b".into()],
        pattern: Some("x.*".into()),
        rebalance_timeout_ms: 300_000,
        assignor: Some("uniform".to_owned()),
        classic: None,
    };
    let bytes = b"\x00\x00\x02i\x02r\x02c\x03/h\x03\x02a\x02b\x04x.*\x00\x04\x93\xe0\x08uniform\x00";
    check(&GroupRecord::Member { member: "m".into(), value: Some(full) }, key, Some(bytes));
    let sparse =
        MemberMetadata { client_id: "c".to_owned(), rebalance_timeout_ms: -1, ..MemberMetadata::default() };
    let bytes = b"\x00\x00\x00\x00\x02c\x01\x01\x00\xff\xff\xff\xff\x00\x00";
    check(&GroupRecord::Member { member: "m".into(), value: Some(sparse.clone()) }, key, Some(bytes));
    check(&GroupRecord::Member { member: "m".into(), value: None }, key, None);
    let null = b"\x00\x00\x00\x00\x02c\x01\x01\x00\xff\xff\xff\xff\x00\x01\x00\x01\x00";
    let read = decode(key, Some(null)).unwrap().unwrap();
    assert_eq!(read.1, GroupRecord::Member { member: "m".into(), value: Some(sparse.clone()) });
    let terms = ClassicTerms {
        session_timeout_ms: 45_000,
        protocols: vec![Protocol { name: "r".into(), metadata: Bytes::from_static(b"\xff") }],
    };
    let classic = MemberMetadata { classic: Some(terms), ..sparse };
    let bytes = b"\x00\x00\x00\x00\x02c\x01\x01\x00\xff\xff\xff\xff\x00\x01\x00\x0c\x01\x00\x00\xaf\xc8\x02\x02r\x02\xff\x00\x00";
    check(&GroupRecord::Member { member: "m".into(), value: Some(classic) }, key, Some(bytes));
}

#[test]
fn what_a_member_is_to_own() {
    let key = b"\x00\x07\x00\x01g\x00\x01m";
    let target = GroupRecord::Target { member: "m".into(), value: Some([partition(1), partition(2)].into()) };
    let bytes = b"\x00\x00\x020123456789abcdef\x03\x00\x00\x00\x01\x00\x00\x00\x02\x00\x00";
    check(&target, key, Some(bytes));
    check(
        &GroupRecord::Target { member: "m".into(), value: Some(BTreeSet::new()) },
        key,
        Some(b"\x00\x00\x01\x00"),
    );
    check(&GroupRecord::Target { member: "m".into(), value: None }, key, None);
}

#[test]
fn what_a_member_owns() {
    let key = b"\x00\x08\x00\x01g\x00\x01m";
    let current = CurrentAssignment {
        epoch: 10,
        previous_epoch: 9,
        state: MemberState::Unrevoked,
        assigned: [partition(1)].into(),
        revoking: [partition(2)].into(),
    };
    let bytes = b"\x00\x00\x00\x00\x00\x0a\x00\x00\x00\x09\x01\x020123456789abcdef\x02\x00\x00\x00\x01\x00\x020123456789abcdef\x02\x00\x00\x00\x02\x00\x00";
    check(&GroupRecord::Current { member: "m".into(), value: Some(current) }, key, Some(bytes));
    let away = CurrentAssignment { epoch: -2, ..CurrentAssignment::NOTHING };
    let bytes = b"\x00\x00\xff\xff\xff\xfe\x00\x00\x00\x00\x00\x01\x01\x00";
    check(&GroupRecord::Current { member: "m".into(), value: Some(away) }, key, Some(bytes));
    check(&GroupRecord::Current { member: "m".into(), value: None }, key, None);
}

#[test]
fn records_of_other_kinds_of_groups_are_left_alone() {
    for kind in [9u8, 10, 15, 16, 24] {
        assert_eq!(decode(&[0, kind, 0, 1, b'g'], Some(b"whatever")), Ok(None));
    }
}

#[test]
fn what_is_no_record_is_refused() {
    assert_eq!(decode(b"", None), Err(RecordError::Truncated(2)));
    assert_eq!(decode(b"\x00\x03\x00\x05g", None), Err(RecordError::Truncated(4)));
    assert_eq!(decode(b"\x00\x03\xff\xff", None), Err(RecordError::Length(-1)));
    assert_eq!(decode(b"\x00\x03\x00\x01\xff", None), Err(RecordError::NotUtf8));
    assert_eq!(
        decode(b"\x00\x03\x00\x01g", Some(b"\x00\x01\x00\x00\x00\x00\x00")),
        Err(RecordError::Version(1))
    );
    let huge = b"\x00\x00\xff\xff\xff\xff\x0f";
    assert!(matches!(decode(b"\x00\x07\x00\x01g\x00\x01m", Some(huge)), Err(RecordError::Truncated(_))));
    let state = b"\x00\x00\x00\x00\x00\x0a\x00\x00\x00\x09\x7f\x01\x01\x00";
    assert_eq!(decode(b"\x00\x08\x00\x01g\x00\x01m", Some(state)), Err(RecordError::State(127)));
}

proptest! {
    #[test]
    fn no_bytes_make_the_reader_panic(kind in 0..9u8, rest in proptest::collection::vec(any::<u8>(), 0..60),
        value in proptest::collection::vec(any::<u8>(), 0..60)) {
        let key: Vec<u8> = [0, kind].into_iter().chain(rest).collect();
        let _either_way = decode(&key, Some(&value));
        let mut good_key = vec![0, kind, 0, 1, b'g', 0, 1, b'm', 0, 0, 0, 0];
        good_key.extend([0; 4]);
        let value: Vec<u8> = [0, 0].into_iter().chain(value).collect();
        let _either_way = decode(&good_key, Some(&value));
    }

    #[test]
    fn a_record_is_read_as_it_was_written(epoch in any::<i32>(), indexes in proptest::collection::btree_set(any::<i32>(), 0..40),
        names in proptest::collection::vec(".{0,20}", 0..5), text in ".{0,200}") {
        let partitions: BTreeSet<PartitionId> = indexes.into_iter().map(partition).collect();
        let records = [
            GroupRecord::Epoch(Some(epoch)),
            GroupRecord::Target { member: text.as_str().into(), value: Some(partitions.clone()) },
            GroupRecord::Current {
                member: "m".into(),
                value: Some(CurrentAssignment { epoch, assigned: partitions, ..CurrentAssignment::NOTHING }),
            },
            GroupRecord::Member {
                member: "m".into(),
                value: Some(MemberMetadata {
                    client_id: text.clone(),
                    pattern: Some(text.as_str().into()),
                    topics: names.iter().map(|name| name.as_str().into()).collect(),
                    ..MemberMetadata::default()
                }),
            },
        ];
        for record in records {
            let encoded = encode(0, &text, &record);
            let decoded = decode(&encoded.key, encoded.value.as_deref()).unwrap().unwrap();
            prop_assert_eq!(decoded, (text.as_str().into(), record));
        }
    }
}

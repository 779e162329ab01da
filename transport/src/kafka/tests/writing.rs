//! Messages and frames that are written.

use bytes::Bytes;

use super::hex;
use crate::kafka::messages::fetch::{self, response};
use crate::kafka::messages::{describe_topic_partitions, fetch::FetchRequest, heartbeat, metadata, produce};
use crate::kafka::{EncodeFault, Message, Records, Writer, encode_response};

fn refusal<'a>(message: &impl Message<'a>, version: i16) -> (&'static str, EncodeFault) {
    let error = message.write_to(version, &mut Writer::new()).unwrap_err();
    assert_eq!(error.version, version);
    (error.field, error.fault)
}

#[test]
fn a_value_that_the_version_has_no_field_for_is_refused() {
    let request = FetchRequest { replica_id: 3, ..Default::default() };
    assert!(request.write_to(14, &mut Writer::new()).is_ok());
    assert_eq!(refusal(&request, 15), ("replica_id", EncodeFault::Absent));
    let mut request = FetchRequest::default();
    request.replica_state.replica_id = 3;
    assert_eq!(refusal(&request, 14), ("replica_state", EncodeFault::Absent));
}

#[test]
fn a_value_that_may_be_ignored_is_dropped() {
    let request = FetchRequest { rack_id: "r".into(), max_wait_ms: 5, ..Default::default() };
    let mut writer = Writer::new();
    request.write_to(10, &mut writer).unwrap();
    let bytes = writer.into_vec();
    let read = FetchRequest::decode(&bytes, 10).unwrap();
    assert_eq!((read.max_wait_ms, read.rack_id.as_ref()), (5, ""));
}

#[test]
fn a_field_at_its_default_is_never_refused() {
    for version in 4..=18 {
        assert!(FetchRequest::default().write_to(version, &mut Writer::new()).is_ok());
        assert!(fetch::FetchResponse::default().write_to(version, &mut Writer::new()).is_ok());
    }
}

#[test]
fn null_is_not_written_where_the_version_does_not_allow_it() {
    let request = metadata::MetadataRequest { topics: None, ..Default::default() };
    assert_eq!(refusal(&request, 0), ("topics", EncodeFault::Null));
    assert!(request.write_to(1, &mut Writer::new()).is_ok());
}

#[test]
fn a_version_that_is_not_known_is_not_written() {
    assert_eq!(refusal(&FetchRequest::default(), 3), ("", EncodeFault::Version));
    assert_eq!(refusal(&FetchRequest::default(), 19), ("", EncodeFault::Version));
}

#[test]
fn a_string_of_more_than_32_767_bytes_is_refused() {
    for (version, length, fits) in
        [(3, 32_767, true), (4, 32_767, true), (3, 32_768, false), (4, 32_768, false)]
    {
        let request =
            heartbeat::HeartbeatRequest { group_id: "a".repeat(length).into(), ..Default::default() };
        if fits {
            let mut writer = Writer::new();
            request.write_to(version, &mut writer).unwrap();
            let bytes = writer.into_vec();
            assert_eq!(heartbeat::HeartbeatRequest::decode(&bytes, version).unwrap(), request);
        } else {
            assert_eq!(refusal(&request, version), ("group_id", EncodeFault::Length(length)));
        }
    }
}

/// A response of Fetch with these records, a partition each.
fn fetched(records: Vec<Records<'static>>) -> fetch::FetchResponse<'static> {
    let partitions = records
        .into_iter()
        .map(|records| response::Partition { records: Some(records), ..Default::default() })
        .collect();
    let topic = response::FetchableTopicResponse { partitions, ..Default::default() };
    fetch::FetchResponse { responses: vec![topic].into(), ..Default::default() }
}

#[test]
fn shared_records_are_sent_from_where_they_are() {
    let (first, second) = (Bytes::from(vec![1; 100]), Bytes::from(vec![2; 50]));
    let chunks = Records::Chunks(vec![first.clone(), Bytes::new(), second.clone()]);
    let response = fetched(vec![first.clone().into(), Bytes::new().into(), chunks]);
    let encoded = encode_response(1, 17, &response).unwrap();
    let kept = [first.as_ptr(), second.as_ptr()];
    let shared = encoded.chunks.iter().map(|chunk| chunk.as_ptr()).filter(|start| kept.contains(start));
    assert_eq!(shared.collect::<Vec<_>>(), [first.as_ptr(), first.as_ptr(), second.as_ptr()]);
    assert!(encoded.chunks.iter().all(|chunk| !chunk.is_empty()));
    assert_eq!(encoded.bytes, encoded.chunks.iter().map(Bytes::len).sum::<usize>());
}

#[test]
fn shared_and_borrowed_records_give_the_same_bytes() {
    let text: &'static [u8] = b"0123456789";
    let forms = [
        Records::Borrowed(text),
        Records::Shared(Bytes::from_static(text)),
        Records::Chunks(vec![Bytes::from_static(b"0123"), Bytes::from_static(b"456789")]),
    ];
    for version in [4, 11, 12, 18] {
        let frames = forms.clone().map(|form| encode_response(7, version, &fetched(vec![form])).unwrap());
        let whole = frames[0].chunks.concat();
        for frame in &frames {
            assert_eq!(frame.chunks.concat(), whole);
        }
        assert_eq!(whole[..4], (u32::try_from(whole.len()).unwrap() - 4).to_be_bytes());
    }
    assert_eq!(forms[0], forms[2]);
    assert_ne!(forms[0], Records::Borrowed(b"012345678x"));
}

#[test]
fn a_message_that_was_read_is_written_in_another_version() {
    let bytes = hex("ffff 0001 00000001 00000001 0001 74 00000001 00000007 00000002 6162");
    let read = produce::ProduceRequest::decode(&bytes, 3).unwrap();
    let mut writer = Writer::new();
    read.write_to(9, &mut writer).unwrap();
    let flexible = writer.into_vec();
    assert_eq!(flexible, hex("00 0001 00000001 02 02 74 02 00000007 03 6162 00 00 00"));
    assert_eq!(produce::ProduceRequest::decode(&flexible, 9).unwrap(), read);
}

#[test]
fn a_long_tagged_field_has_its_whole_length_before_it() {
    let endpoints = (0..200)
        .map(|node_id| response::NodeEndpoint { node_id, host: "host".into(), ..Default::default() })
        .collect::<Vec<_>>();
    let message = fetch::FetchResponse { node_endpoints: endpoints[..].into(), ..Default::default() };
    let mut writer = Writer::new();
    message.write_to(16, &mut writer).unwrap();
    let bytes = writer.into_vec();
    assert_eq!(fetch::FetchResponse::decode(&bytes, 16).unwrap(), message);
}

#[test]
fn a_struct_that_is_null_is_one_byte() {
    use describe_topic_partitions::{DescribeTopicPartitionsRequest, request::Cursor};
    let mut request = DescribeTopicPartitionsRequest::default();
    let written = |request: &DescribeTopicPartitionsRequest<'_>| {
        let mut writer = Writer::new();
        request.write_to(0, &mut writer).unwrap();
        writer.into_vec()
    };
    assert_eq!(written(&request), hex("01 000007d0 ff 00"));
    request.cursor = Some(Cursor { topic_name: "t".into(), partition_index: 1 });
    assert_eq!(written(&request), hex("01 000007d0 01 02 74 00000001 00 00"));
}

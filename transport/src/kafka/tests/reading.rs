//! Messages and frames that are read.

use std::borrow::Cow;

use bytes::Bytes;

use super::hex;
use crate::kafka::messages::consumer_protocol::ConsumerProtocolAssignment;
use crate::kafka::messages::{self, api_versions, heartbeat, metadata, produce};
use crate::kafka::{
    ApiKey, DecodeFault, Encoded, ErrorCode, Message, Prelude, Records, Request, encode_request,
    encode_response, open_request, open_response,
};

/// Two partitions with records and one with none.
const PRODUCE: &str = "ffff 0001 00000001 00000001 0001 74 00000003
    00000007 00000002 6162  00000008 ffffffff  00000009 00000001 63";

#[test]
fn an_array_gives_its_elements_as_often_as_it_is_asked() {
    let bytes = hex(PRODUCE);
    let request = produce::ProduceRequest::decode(&bytes, 3).unwrap();
    assert_eq!(request.topic_data.len(), 1);
    for _ in 0..2 {
        let topic = request.topic_data.iter().next().unwrap();
        assert_eq!(topic.name, "t");
        let partitions = topic.partition_data.iter();
        assert_eq!(partitions.len(), 3);
        assert_eq!(partitions.map(|partition| partition.index).collect::<Vec<_>>(), [7, 8, 9]);
    }
}

#[test]
fn an_array_that_was_read_equals_one_that_was_built() {
    let bytes = hex(PRODUCE);
    let read = produce::ProduceRequest::decode(&bytes, 3).unwrap();
    let mut built = read.clone();
    built.topic_data = read.topic_data.iter().collect();
    assert_eq!(built, read);
    assert_eq!(format!("{built:?}"), format!("{read:?}"));
    built.topic_data = Default::default();
    assert_ne!(built, read);
}

#[test]
fn records_are_slices_of_the_frame() {
    let frame = Bytes::from(hex(PRODUCE));
    let request = produce::ProduceRequest::decode(&frame, 3).unwrap();
    let topic = request.topic_data.iter().next().unwrap();
    let records = topic.partition_data.iter().map(|partition| partition.records).collect::<Vec<_>>();
    let shared = records[0].as_ref().unwrap().to_shared(&frame);
    assert_eq!(shared.as_ref(), b"ab");
    assert!(frame.as_ptr_range().contains(&shared.as_ptr()));
    assert!(records[1].is_none());
    assert_eq!(records[2].as_ref().unwrap().len(), 1);
}

#[test]
fn records_of_another_frame_are_copied() {
    let bytes = [1, 2, 3];
    let shared = Records::Borrowed(&bytes).to_shared(&Bytes::from_static(b"elsewhere"));
    assert_eq!(shared.as_ref(), bytes);
}

#[test]
fn a_request_frame_gives_header_and_message() {
    let request =
        heartbeat::HeartbeatRequest { group_id: "g".into(), generation_id: 3, ..Default::default() };
    for version in 0..=4 {
        let frame = encode_request(Some("me"), 77, version, &request).unwrap().chunks.concat();
        let frame = &frame[4..];
        let prelude = Prelude::parse(frame).unwrap();
        assert_eq!(prelude, Prelude { key: 12, version, correlation_id: 77 });
        let opened = open_request(frame, ApiKey::from_code(prelude.key).unwrap()).unwrap();
        assert_eq!(opened.header.client_id.as_deref(), Some("me"));
        assert_eq!(heartbeat::HeartbeatRequest::decode(opened.body, version).unwrap(), request);
    }
}

#[test]
fn the_header_of_a_version_that_is_not_known_yet_can_be_read() {
    // ApiVersions of version 99, correlation id 5, client "ab", no tagged fields, and a message that is not known.
    let frame = hex("0012 0063 00000005 0002 6162 00 0102030405");
    assert_eq!(Prelude::parse(&frame).unwrap().version, 99);
    let opened = open_request(&frame, ApiKey::ApiVersions).unwrap();
    assert_eq!(opened.header.correlation_id, 5);
    assert_eq!(opened.body.len(), 5);
}

#[test]
fn a_response_frame_gives_correlation_id_and_message() {
    let response = metadata::MetadataResponse { controller_id: 4, ..Default::default() };
    for version in [1, 9, 12] {
        let frame = encode_response(9, version, &response).unwrap().chunks.concat();
        let (correlation_id, read) =
            open_response::<metadata::MetadataResponse<'_>>(&frame[4..], version).unwrap();
        assert_eq!((correlation_id, read), (9, response.clone()));
    }
}

/// What a server without any state answers, and what a client makes of it.
fn answered<'a, R: Request<'a>>(request: &R, version: i16) -> (i32, R::Response<'static>)
where
    R::Response<'static>: Default,
{
    let frame = encode_request(None, 3, version, request).unwrap().chunks.concat().leak();
    let opened = open_request(&frame[4..], R::KEY).unwrap();
    assert!(R::decode(opened.body, version).is_ok());
    let response = R::Response::default();
    let answer = encode_response(opened.header.correlation_id, version, &response).unwrap();
    open_response(&answer.chunks.concat().leak()[4..], version).unwrap()
}

#[test]
fn a_request_knows_its_response() {
    let (correlation_id, response) = answered(&metadata::MetadataRequest::default(), 9);
    assert_eq!((correlation_id, response), (3, metadata::MetadataResponse::default()));
    let request = messages::unregister_broker::UnregisterBrokerRequest { broker_id: 4 };
    assert_eq!(answered(&request, 0).1.error_code, 0);
}

#[test]
fn the_header_of_an_api_versions_response_is_never_flexible() {
    let response = api_versions::ApiVersionsResponse { error_code: 35, ..Default::default() };
    let frame = encode_response(1, 3, &response).unwrap().chunks.concat();
    assert_eq!(frame, hex("0000000c 00000001 0023 01 00000000 00"));
}

#[test]
fn a_frame_too_short_for_a_header_is_refused() {
    let error = Prelude::parse(&[0, 1, 0, 2, 0]).unwrap_err();
    assert_eq!((error.field, error.at), ("correlation_id", 4));
}

#[test]
fn a_version_before_the_message_is_read_first() {
    let assignment = ConsumerProtocolAssignment { user_data: Some(vec![1, 2].into()), ..Default::default() };
    let bytes = assignment.encode_versioned(2).unwrap();
    assert_eq!(bytes, hex("0002 00000000 00000002 0102"));
    assert_eq!(ConsumerProtocolAssignment::decode_versioned(&bytes).unwrap(), assignment);
}

#[test]
fn a_newer_version_before_the_message_is_read_as_the_last_one_known() {
    let bytes = hex("0009 00000000 00000002 0102 aabbcc");
    let error = ConsumerProtocolAssignment::decode_versioned(&bytes).unwrap_err();
    assert_eq!((error.version, error.fault), (9, DecodeFault::Version));
    let read = ConsumerProtocolAssignment::decode_versioned_or_newer(&bytes).unwrap();
    assert_eq!(read.user_data.as_deref(), Some(&[1, 2][..]));
    assert!(
        ConsumerProtocolAssignment::decode_versioned_or_newer(&hex("0001 00000000 ffffffff aa")).is_err()
    );
}

#[test]
fn a_secret_is_not_shown() {
    let request = messages::sasl_authenticate::SaslAuthenticateRequest { auth_bytes: b"hunter2"[..].into() };
    assert_eq!(format!("{request:?}"), "SaslAuthenticateRequest { auth_bytes: \"(secret)\" }");
}

/// How a server answers a request of Metadata: with what it knows, borrowed from where it is.
fn answer_metadata(frame: &[u8], known: &[String]) -> Encoded {
    use metadata::response::{Broker, MetadataResponse, Partition, Topic};

    let prelude = Prelude::parse(frame).unwrap();
    let opened = open_request(frame, ApiKey::from_code(prelude.key).unwrap()).unwrap();
    let request = metadata::MetadataRequest::decode(opened.body, prelude.version).unwrap();
    let partitions = [Partition { leader_id: 1, replica_nodes: (&[1, 2]).into(), ..Default::default() }];
    let topic = |name: Cow<'_, str>| match known.iter().find(|topic| **topic == name) {
        Some(topic) => Topic {
            name: Some(topic.as_str().into()),
            partitions: (&partitions).into(),
            ..Default::default()
        },
        None => Topic {
            error_code: ErrorCode::UnknownTopicOrPartition.into(),
            name: Some(name.into_owned().into()),
            ..Default::default()
        },
    };
    let topics = match &request.topics {
        Some(topics) => topics.iter().map(|asked| topic(asked.name.unwrap_or_default())).collect(),
        None => known.iter().map(|name| topic(name.as_str().into())).collect(),
    };
    let brokers = [Broker { node_id: 1, host: "localhost".into(), port: 9092, ..Default::default() }];
    let response =
        MetadataResponse { brokers: (&brokers).into(), controller_id: 1, topics, ..Default::default() };
    encode_response(prelude.correlation_id, prelude.version, &response).unwrap()
}

#[test]
fn a_request_of_metadata_is_answered_in_its_own_version() {
    use metadata::request::{MetadataRequest, Topic};

    let known = ["orders".to_owned()];
    for version in 1..=13 {
        let asked = ["orders", "ghosts"].map(|name| Topic { name: Some(name.into()), ..Default::default() });
        let request = MetadataRequest { topics: Some((&asked).into()), ..Default::default() };
        let frame = encode_request(Some("me"), 5, version, &request).unwrap().chunks.concat();
        let answer = answer_metadata(&frame[4..], &known).chunks.concat();
        let (id, response) = open_response::<metadata::MetadataResponse<'_>>(&answer[4..], version).unwrap();
        let found = response.topics.iter().map(|topic| (topic.error_code, topic.partitions.len()));
        assert_eq!((id, found.collect::<Vec<_>>()), (5, vec![(0, 1), (3, 0)]), "{version}");
    }
}

//! The tables of APIs and of errors.

use crate::kafka::messages::header::{RequestHeader, ResponseHeader};
use crate::kafka::{
    APIS, ApiKey, CATALOGUE, ErrorCode, Message, Uuid, request_header_version, response_header_version,
};

/// Key, first and last version, first flexible version or -1: what Kafka 4.4.0 serves without unstable versions.
const EXPECTED: [(i16, i16, i16, i16); 58] = [
    (0, 3, 13, 9),
    (1, 4, 18, 12),
    (2, 1, 11, 6),
    (3, 0, 13, 9),
    (8, 2, 10, 8),
    (9, 1, 10, 6),
    (10, 0, 6, 3),
    (11, 0, 9, 6),
    (12, 0, 4, 4),
    (13, 0, 5, 4),
    (14, 0, 5, 4),
    (15, 0, 6, 5),
    (16, 0, 5, 3),
    (17, 0, 1, -1),
    (18, 0, 5, 3),
    (19, 2, 7, 5),
    (20, 1, 6, 4),
    (21, 0, 2, 2),
    (22, 0, 5, 2),
    (23, 2, 4, 4),
    (24, 0, 5, 3),
    (25, 0, 4, 3),
    (26, 0, 5, 3),
    (27, 1, 2, 1),
    (28, 0, 6, 3),
    (29, 1, 3, 2),
    (30, 1, 3, 2),
    (31, 1, 3, 2),
    (32, 1, 4, 4),
    (33, 0, 2, 2),
    (34, 1, 2, 2),
    (35, 1, 5, 2),
    (36, 0, 2, 2),
    (37, 0, 3, 2),
    (42, 0, 3, 2),
    (43, 0, 2, 2),
    (44, 0, 1, 1),
    (45, 0, 1, 0),
    (46, 0, 0, 0),
    (47, 0, 0, -1),
    (48, 0, 1, 1),
    (49, 0, 1, 1),
    (50, 0, 0, 0),
    (51, 0, 0, 0),
    (55, 0, 2, 0),
    (57, 0, 2, 0),
    (60, 0, 2, 0),
    (61, 0, 0, 0),
    (64, 0, 0, 0),
    (65, 0, 0, 0),
    (66, 0, 2, 0),
    (68, 0, 1, 0),
    (69, 0, 1, 0),
    (74, 0, 1, 0),
    (75, 0, 0, 0),
    (80, 0, 1, 0),
    (81, 0, 0, 0),
    (94, 0, 0, 0),
];

#[test]
fn the_table_has_the_versions_of_kafka_4_4() {
    let found = APIS
        .iter()
        .map(|api| (api.key.code(), api.versions.first, api.versions.last, api.flexible.unwrap_or(-1)));
    assert_eq!(found.collect::<Vec<_>>(), EXPECTED);
}

#[test]
fn an_api_is_found_by_its_key() {
    for api in &APIS {
        assert_eq!(ApiKey::from_code(api.key.code()), Some(api.key));
        assert_eq!(api.key.api(), api);
    }
    for code in [i16::MIN, -1, 4, 7, 71, 76, 95, i16::MAX] {
        assert_eq!(ApiKey::from_code(code), None);
    }
}

#[test]
fn each_api_has_a_request_and_a_response() {
    for api in &APIS {
        for suffix in ["Request", "Response"] {
            let name = format!("{}{suffix}", api.name);
            let entry = CATALOGUE.iter().find(|entry| entry.name == name).unwrap();
            assert_eq!(entry.versions, api.versions);
        }
    }
}

#[test]
fn headers_follow_the_flexible_versions_but_for_two_apis() {
    assert_eq!(
        (request_header_version(ApiKey::Produce, 8), response_header_version(ApiKey::Produce, 8)),
        (1, 0)
    );
    assert_eq!(
        (request_header_version(ApiKey::Produce, 9), response_header_version(ApiKey::Produce, 9)),
        (2, 1)
    );
    let versions = ApiKey::ApiVersions;
    assert_eq!((request_header_version(versions, 3), response_header_version(versions, 3)), (2, 0));
    let handshake = ApiKey::SaslHandshake;
    assert_eq!((request_header_version(handshake, 1), response_header_version(handshake, 1)), (1, 0));
    for api in &APIS {
        for version in api.versions.first..=api.versions.last {
            assert!(RequestHeader::VERSIONS.contain(request_header_version(api.key, version)));
            assert!(ResponseHeader::VERSIONS.contain(response_header_version(api.key, version)));
        }
    }
}

#[test]
fn an_error_is_found_by_its_code() {
    for code in -1..=136 {
        let error = ErrorCode::from_code(code).unwrap();
        assert_eq!(i16::from(error), code);
    }
    assert_eq!(ErrorCode::from_code(-2), None);
    assert_eq!(ErrorCode::from_code(137), None);
}

#[test]
fn errors_have_kafkas_names_and_know_whether_to_try_again() {
    assert_eq!(ErrorCode::NotLeaderOrFollower.code(), 6);
    assert_eq!(ErrorCode::NotLeaderOrFollower.name(), "NOT_LEADER_OR_FOLLOWER");
    assert!(ErrorCode::NotLeaderOrFollower.is_retriable());
    assert!(ErrorCode::CoordinatorLoadInProgress.is_retriable());
    assert!(!ErrorCode::None.is_retriable());
    assert!(!ErrorCode::UnsupportedVersion.is_retriable());
    assert_eq!(ErrorCode::UnsupportedVersion.code(), 35);
}

#[test]
fn a_uuid_is_shown_as_kafka_shows_it() {
    assert_eq!(Uuid::ZERO.to_string(), "AAAAAAAAAAAAAAAAAAAAAA");
    // As java.util.Base64's encoder for URLs, without padding, writes these bytes.
    assert_eq!(
        Uuid::from(0xfb_ff_00_10_20_30_40_50_60_70_80_90_a0_b0_c0_d0).to_string(),
        "-_8AECAwQFBgcICQoLDA0A"
    );
    assert_eq!(u128::from(Uuid::from(7)), 7);
    assert!(!Uuid::from(7).is_zero());
}

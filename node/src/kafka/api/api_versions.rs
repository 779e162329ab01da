//! ApiVersions: what this listener speaks. The first request of nearly every client.

use std::sync::Arc;

use millstream_transport::kafka::ErrorCode;
use millstream_transport::kafka::messages::api_versions::ApiVersionsRequest;
use millstream_transport::kafka::messages::api_versions::response::{
    ApiKey, ApiVersionsResponse, FinalizedFeature, SupportedFeature,
};

use super::super::call::Call;
use super::super::service::{Service, wire_id};
use super::super::table::TABLE;

/// The version in which a client is answered that asks in one not known here (KIP-511).
pub(in super::super) const UNDERSTOOD_BY_ALL: i16 = 0;

/// What brokers of Kafka 4.0 tell of their features, as far as it is served here: name, least version, greatest version,
/// which is the one in force. By name.
pub(super) const FEATURES: [(&str, i16, i16); 4] = [
    // Groups of KIP-848.
    ("group.version", 0, 1),
    // Voters are known by their directories, and can be changed (KIP-853).
    ("kraft.version", 0, 1),
    ("metadata.version", 7, 25),
    // Every end of a transaction gives a new epoch (KIP-890).
    ("transaction.version", 0, 2),
];

/// Clients that ask in older versions take a least version of 0 for an error.
const ZERO_FROM: i16 = 4;

/// Says that no node is meant.
const NO_NODE: i32 = -1;

pub(in super::super) fn serve(service: &Arc<Service>, call: Call) {
    let body = call.body();
    let Some((request, call)) = call.read::<ApiVersionsRequest<'_>>(&body) else { return };
    let response = response(service, call.version, &request);
    call.answer(&response);
}

/// What is told in a version that is served.
pub(in super::super) fn response(
    service: &Service,
    version: i16,
    request: &ApiVersionsRequest<'_>,
) -> ApiVersionsResponse<'static> {
    let named = |text: &str| text.is_empty() || is_name(text);
    // From version 3 on a client says what it is, in a form that can stand in a metric's label (KIP-511).
    let wrong = !named(&request.client_software_name) || !named(&request.client_software_version);
    let meant = meant(service, request);
    if meant == Err(ErrorCode::RebootstrapRequired) {
        return ApiVersionsResponse {
            error_code: ErrorCode::RebootstrapRequired.code(),
            ..Default::default()
        };
    }
    let error = if wrong || meant.is_err() { ErrorCode::InvalidRequest.code() } else { 0 };
    ApiVersionsResponse {
        error_code: error,
        api_keys: TABLE.iter().map(offered).collect(),
        supported_features: supported(version).into(),
        finalized_features_epoch: i64::try_from(service.image().version()).unwrap_or(i64::MAX),
        finalized_features: finalized().into(),
        ..Default::default()
    }
}

/// Whether a client that says which node of which cluster it means has found it; it says both or neither (KIP-1242).
fn meant(service: &Service, request: &ApiVersionsRequest<'_>) -> Result<(), ErrorCode> {
    let Some(cluster) = &request.cluster_id else {
        return if request.node_id == NO_NODE { Ok(()) } else { Err(ErrorCode::InvalidRequest) };
    };
    if request.node_id == NO_NODE {
        return Err(ErrorCode::InvalidRequest);
    }
    // Before a cluster is founded nobody can mean it by its id.
    let is_cluster = service.image().cluster().is_none_or(|known| known.to_string() == **cluster);
    let is_it = is_cluster && request.node_id == wire_id(service.me);
    if is_it { Ok(()) } else { Err(ErrorCode::RebootstrapRequired) }
}

/// Answers a request of a version that is not known: with the versions that are.
pub(in super::super) fn refuse(call: Call) {
    call.answer_in(UNDERSTOOD_BY_ALL, &refusal());
}

/// What is told, in [`UNDERSTOOD_BY_ALL`], to a client that asks in a version that is not known.
pub(in super::super) fn refusal() -> ApiVersionsResponse<'static> {
    ApiVersionsResponse {
        error_code: ErrorCode::UnsupportedVersion.code(),
        api_keys: TABLE.iter().map(offered).collect(),
        ..Default::default()
    }
}

fn offered(entry: &super::super::table::Entry) -> ApiKey {
    ApiKey {
        api_key: entry.key.code(),
        min_version: *entry.versions.start(),
        max_version: *entry.versions.end(),
    }
}

fn supported(version: i16) -> Vec<SupportedFeature<'static>> {
    let told = FEATURES.iter().filter(|(_, least, _)| *least > 0 || version >= ZERO_FROM);
    told.map(|(name, least, greatest)| SupportedFeature {
        name: (*name).into(),
        min_version: *least,
        max_version: *greatest,
    })
    .collect()
}

fn finalized() -> Vec<FinalizedFeature<'static>> {
    let level = |(name, _, greatest): &(&'static str, i16, i16)| FinalizedFeature {
        name: (*name).into(),
        max_version_level: *greatest,
        min_version_level: *greatest,
    };
    FEATURES.iter().map(level).collect()
}

fn is_name(text: &str) -> bool {
    let inner = |c: char| c.is_ascii_alphanumeric() || c == '-' || c == '.';
    let ends = |c: Option<char>| c.is_some_and(|c| c.is_ascii_alphanumeric());
    text.chars().all(inner) && ends(text.chars().next()) && ends(text.chars().next_back())
}

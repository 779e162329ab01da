//! ApiVersions: what this listener speaks. The first request of nearly every client.

use std::sync::Arc;

use millstream_transport::kafka::ErrorCode;
use millstream_transport::kafka::messages::api_versions::ApiVersionsRequest;
use millstream_transport::kafka::messages::api_versions::response::{ApiKey, ApiVersionsResponse};

use super::super::call::Call;
use super::super::service::Service;
use super::super::table::TABLE;

/// The version in which a client is answered that asks in one not known here (KIP-511).
const UNDERSTOOD_BY_ALL: i16 = 0;

/// The epoch of features while there are none.
const NO_FEATURES: i64 = -1;

pub(in super::super) fn serve(_: &Arc<Service>, call: Call) {
    let body = call.body();
    let Some((request, call)) = call.read::<ApiVersionsRequest<'_>>(&body) else { return };
    let named = |text: &str| text.is_empty() || is_name(text);
    // From version 3 on a client says what it is, in a form that can stand in a metric's label (KIP-511).
    let wrong = !named(&request.client_software_name) || !named(&request.client_software_version);
    let error = if wrong { ErrorCode::InvalidRequest.code() } else { 0 };
    call.answer(&ApiVersionsResponse {
        error_code: error,
        api_keys: TABLE.iter().map(offered).collect(),
        finalized_features_epoch: NO_FEATURES,
        ..Default::default()
    });
}

/// Answers a request of a version that is not known: with the versions that are.
pub(in super::super) fn refuse(call: Call) {
    let response = ApiVersionsResponse {
        error_code: ErrorCode::UnsupportedVersion.code(),
        api_keys: TABLE.iter().map(offered).collect(),
        ..Default::default()
    };
    call.answer_in(UNDERSTOOD_BY_ALL, &response);
}

fn offered(entry: &super::super::table::Entry) -> ApiKey {
    ApiKey {
        api_key: entry.key.code(),
        min_version: *entry.versions.start(),
        max_version: *entry.versions.end(),
    }
}

fn is_name(text: &str) -> bool {
    let inner = |c: char| c.is_ascii_alphanumeric() || c == '-' || c == '.';
    let ends = |c: Option<char>| c.is_some_and(|c| c.is_ascii_alphanumeric());
    text.chars().all(inner) && ends(text.chars().next()) && ends(text.chars().next_back())
}

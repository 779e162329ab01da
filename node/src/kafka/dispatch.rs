//! From a frame to the handler of its API.

use std::net::IpAddr;
use std::sync::Arc;

use actix::Addr;
use bytes::Bytes;
use millstream_transport::intake::Held;
use millstream_transport::kafka::{ApiKey, Prelude, open_request};

use super::api::api_versions;
use super::call::{Call, CallParts};
use super::connection::{Answered, Connection, Outcome};
use super::service::Service;
use super::table;

/// Reads a request's header and gives the request to its handler; ends the connection where it is none.
pub(super) fn dispatch(
    service: &Arc<Service>,
    peer: IpAddr,
    (frame, held): (Bytes, Held),
    to: (Addr<Connection>, u64),
) {
    let (connection, slot) = to;
    let end = |reason: String| {
        connection.do_send(Answered { slot, outcome: Outcome::End(reason) });
    };
    let prelude = match Prelude::parse(&frame) {
        Ok(prelude) => prelude,
        Err(error) => return end(format!("a request without a header: {error}")),
    };
    let Some(key) = ApiKey::from_code(prelude.key) else {
        return end(format!("a request of the unknown API {}", prelude.key));
    };
    let Some(entry) = table::entry(key) else {
        return end(format!("a request of the API {}, which is not served", key.api().name));
    };
    let is_served = entry.versions.contains(&prelude.version);
    if !is_served && key != ApiKey::ApiVersions {
        let (name, version) = (key.api().name, prelude.version);
        let (first, last) = (entry.versions.start(), entry.versions.end());
        return end(format!("a request of {name} version {version}; versions {first} to {last} are served"));
    }
    let opened = match open_request(&frame, key) {
        Ok(opened) => opened,
        Err(error) => return end(format!("a request of {} without a header: {error}", key.api().name)),
    };
    let parts = CallParts {
        key,
        version: prelude.version,
        correlation_id: prelude.correlation_id,
        client_id: opened.header.client_id.as_deref().map(Arc::from),
        peer,
        body: frame.slice_ref(opened.body),
        connection,
        slot,
    };
    let mut call = Call::new(parts);
    if key == ApiKey::Produce {
        // Only of its bytes anything is kept as it came. Of others what was read is left, which is bounded where it is kept.
        call.keep(held);
    }
    if is_served { (entry.serve)(service, call) } else { api_versions::refuse(call) }
}

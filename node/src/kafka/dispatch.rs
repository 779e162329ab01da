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
use super::session::Session;
use super::table;
use crate::security::authorize::{Rights, Rule};

/// Reads a request's header and gives the request to its handler; ends the connection where it is none.
pub(super) fn dispatch(
    (service, session): (&Arc<Service>, &Arc<Session>),
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
    let logs_in = matches!(key, ApiKey::SaslHandshake | ApiKey::SaslAuthenticate | ApiKey::ApiVersions);
    if !logs_in && session.is_over(service.world.clock.now()) {
        let text = "the client has not logged in again in time (connections.max.reauth.ms)";
        return end(text.to_owned());
    }
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
        session: Arc::clone(session),
        rights: rights(service, session, entry.rule),
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

/// What the client of this connection may do with an API.
fn rights(service: &Service, session: &Session, rule: Rule) -> Rights {
    let (policy, host) = (Arc::clone(&service.policy), Arc::clone(&session.host));
    Rights::new(rule, policy, service.image(), session.principal.clone(), host)
}

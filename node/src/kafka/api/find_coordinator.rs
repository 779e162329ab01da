//! FindCoordinator: which node coordinates a group or a transactional id.

use std::collections::BTreeSet;
use std::sync::Arc;

use millstream_actors::access::{Operation, ResourceType};
use millstream_actors::error::{ErrorCode, Refusal};
use millstream_actors::group::message::FindCoordinator;
use millstream_transport::kafka::ErrorCode as WireError;
use millstream_transport::kafka::messages::find_coordinator::FindCoordinatorRequest;
use millstream_transport::kafka::messages::find_coordinator::response::{
    Coordinator, FindCoordinatorResponse,
};

use super::super::call::Call;
use super::super::error::{NONE, of_groups};
use super::super::service::{Broker, Service, broker_of};

/// The type of key that is a group's id.
const GROUP: i8 = 0;
/// The type of key that is a transactional id.
const TRANSACTION: i8 = 1;
/// The first version that asks for several.
const BATCHED_FROM: i16 = 4;

pub(in super::super) fn serve(service: &Arc<Service>, call: Call) {
    let body = call.body();
    let Some((request, call)) = call.read::<FindCoordinatorRequest<'_>>(&body) else { return };
    let is_batched = call.version >= BATCHED_FROM;
    let keys: Vec<String> = if is_batched {
        let keys: BTreeSet<String> = request.coordinator_keys.iter().map(Into::into).collect();
        keys.into_iter().collect()
    } else {
        vec![request.key.into_owned()]
    };
    let (service, key_type) = (Arc::clone(service), request.key_type);
    actix_rt::spawn(async move {
        let mut found = Vec::with_capacity(keys.len());
        for key in keys {
            let coordinator = find(&service, &call, key_type, &key).await;
            found.push((key, coordinator));
        }
        let coordinators = found.into_iter().map(|(key, found)| coordinator(key, found));
        if is_batched {
            let coordinators = coordinators.collect();
            return call.answer(&FindCoordinatorResponse { coordinators, ..Default::default() });
        }
        let mut coordinators = coordinators;
        let Some(one) = coordinators.next() else { return };
        call.answer(&FindCoordinatorResponse {
            error_code: one.error_code,
            error_message: one.error_message,
            node_id: one.node_id,
            host: one.host,
            port: one.port,
            ..Default::default()
        });
    });
}

async fn find(service: &Service, call: &Call, key_type: i8, key: &str) -> Result<Broker, (i16, String)> {
    if !matches!(key_type, GROUP | TRANSACTION) {
        let text = format!("coordinators of type {key_type} are not served");
        // Not one that is tried again: there will be none.
        return Err((WireError::InvalidRequest.code(), text));
    }
    let told = |refusal: Refusal| (of_groups(refusal.code), refusal.text);
    let resource = if key_type == TRANSACTION { ResourceType::TransactionalId } else { ResourceType::Group };
    call.rights().demand(Operation::Describe, resource, key).map_err(told)?;
    let found = if key_type == TRANSACTION {
        service.transactions.find(key).await
    } else {
        let asked = FindCoordinator { group: key.to_owned() };
        service.groups.handle(&call.peer.to_string(), asked).await
    };
    let node = found.map_err(told)?;
    let text = format!("node {node} coordinates it and is not there now; try again");
    broker_of(&service.image(), node, call.entrance())
        .ok_or((of_groups(ErrorCode::CoordinatorNotAvailable), text))
}

fn coordinator(key: String, found: Result<Broker, (i16, String)>) -> Coordinator<'static> {
    match found {
        Ok(broker) => Coordinator {
            key: key.into(),
            node_id: broker.id,
            host: broker.host.into(),
            port: broker.port,
            error_code: NONE,
            error_message: None,
        },
        Err((error_code, text)) => Coordinator {
            key: key.into(),
            node_id: -1,
            host: "".into(),
            port: -1,
            error_code,
            error_message: Some(text.into()),
        },
    }
}

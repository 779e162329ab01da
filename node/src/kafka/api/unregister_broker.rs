//! UnregisterBroker: a node that does not come back is known no longer (KIP-500).

use std::sync::Arc;

use millstream_actors::access::Operation;
use millstream_actors::error::{ErrorCode, Refusal};
use millstream_actors::ids::NodeId;
use millstream_transport::kafka::messages::unregister_broker::{
    UnregisterBrokerRequest, UnregisterBrokerResponse,
};

use super::super::call::Call;
use super::super::error::number_of;
use super::super::service::Service;

pub(in super::super) fn serve(service: &Arc<Service>, call: Call) {
    let body = call.body();
    let Some((request, call)) = call.read::<UnregisterBrokerRequest>(&body) else { return };
    let allowed = call.rights().demand_of_cluster(Operation::Alter);
    let node = u32::try_from(request.broker_id).map(NodeId).map_err(|_| {
        let text = format!("node {} is not registered", request.broker_id);
        Refusal::new(ErrorCode::BrokerIdNotRegistered, text)
    });
    let service = Arc::clone(service);
    actix_rt::spawn(async move {
        let done = match allowed.and(node) {
            Ok(node) => service.cluster.forget_node(node).await,
            Err(refusal) => Err(refusal),
        };
        call.answer(&UnregisterBrokerResponse {
            error_code: number_of(&done),
            error_message: done.err().map(|refusal| refusal.text.into()),
            ..Default::default()
        });
    });
}

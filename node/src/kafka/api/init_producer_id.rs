//! InitProducerId: an id for an idempotent producer.

use std::sync::Arc;

use millstream_actors::error::ErrorCode;
use millstream_transport::kafka::messages::init_producer_id::InitProducerIdRequest;
use millstream_transport::kafka::messages::init_producer_id::response::InitProducerIdResponse;

use super::super::call::Call;
use super::super::error::number;
use super::super::service::Service;

pub(in super::super) fn serve(service: &Arc<Service>, call: Call) {
    let body = call.body();
    let Some((request, call)) = call.read::<InitProducerIdRequest<'_>>(&body) else { return };
    if request.transactional_id.is_some() {
        // Not one that is tried again: transactions are not served yet.
        return refuse(call, ErrorCode::InvalidRequest);
    }
    let service = Arc::clone(service);
    actix_rt::spawn(async move {
        match service.cluster.init_producer_id().await {
            // A producer without transactions that comes again gets another id: nothing of the first one is resumed.
            Ok(id) => call.answer(&InitProducerIdResponse {
                producer_id: id.0,
                producer_epoch: 0,
                ..Default::default()
            }),
            Err(refusal) => refuse(call, refusal.code),
        }
    });
}

fn refuse(call: Call, code: ErrorCode) {
    call.answer(&InitProducerIdResponse {
        error_code: number(code),
        producer_epoch: -1,
        ..Default::default()
    });
}

//! InitProducerId: an id for an idempotent producer; for a transactional one an epoch that fences who was there before.

use std::sync::Arc;

use millstream_actors::access::{Operation, ResourceType};
use millstream_actors::error::{ErrorCode, Refusal};
use millstream_actors::ids::ProducerId;
use millstream_actors::transaction::state::{Beginning, ProducerEpoch};
use millstream_transport::kafka::messages::init_producer_id::InitProducerIdRequest;
use millstream_transport::kafka::messages::init_producer_id::response::InitProducerIdResponse;

use super::super::call::Call;
use super::super::error::of_transactions;
use super::super::service::Service;
use crate::security::authorize::Rights;

/// The first version whose clients know that they are fenced.
const TELLS_FENCED: i16 = 4;

pub(in super::super) fn serve(service: &Arc<Service>, call: Call) {
    let body = call.body();
    let Some((request, call)) = call.read::<InitProducerIdRequest<'_>>(&body) else { return };
    let id = request.transactional_id.map(std::borrow::Cow::into_owned);
    let beginning = Beginning {
        timeout_ms: request.transaction_timeout_ms,
        has: (request.producer_id >= 0)
            .then_some(ProducerEpoch { id: ProducerId(request.producer_id), epoch: request.producer_epoch }),
    };
    let service = Arc::clone(service);
    actix_rt::spawn(async move {
        let begun = match id {
            Some(id) if id.is_empty() => {
                Err(Refusal::new(ErrorCode::InvalidRequest, "transactional.id is empty"))
            }
            Some(id) => match call.rights().demand(Operation::Write, ResourceType::TransactionalId, &id) {
                Ok(()) => service.transactions.begin(&id, beginning).await,
                Err(refusal) => Err(refusal),
            },
            None if !may_be_idempotent(call.rights()) => {
                let text = "a producer needs Write on a topic, or IdempotentWrite on the cluster";
                Err(Refusal::new(ErrorCode::ClusterAuthorizationFailed, text))
            }
            // A producer without transactions that comes again gets another id: nothing of the first one is resumed.
            None => service.cluster.init_producer_id().await.map(|id| ProducerEpoch { id, epoch: 0 }),
        };
        match begun {
            Ok(producer) => call.answer(&InitProducerIdResponse {
                producer_id: producer.id.0,
                producer_epoch: producer.epoch,
                ..Default::default()
            }),
            Err(refusal) => {
                let error_code = of_transactions(refusal.code, call.version >= TELLS_FENCED);
                call.answer(&InitProducerIdResponse { error_code, producer_epoch: -1, ..Default::default() });
            }
        }
    });
}

/// Who may write anything may have an id for it (KIP-679).
fn may_be_idempotent(rights: &Rights) -> bool {
    rights.may_with_cluster(Operation::IdempotentWrite)
        || rights.may_with_any(Operation::Write, ResourceType::Topic)
}

//! EndTxn: a producer commits or aborts its transaction. From version 5 on it goes on with another epoch (KIP-890).

use std::sync::Arc;

use millstream_actors::access::{Operation, ResourceType};
use millstream_actors::ids::ProducerId;
use millstream_actors::transaction::state::{BUMPS_WITH_EVERY_END, Ending, ProducerEpoch};
use millstream_transport::kafka::messages::end_txn::EndTxnRequest;
use millstream_transport::kafka::messages::end_txn::response::EndTxnResponse;

use super::super::call::Call;
use super::super::error::{NONE, number, of_transactions};
use super::super::service::Service;

/// The first version whose clients know that they are fenced.
const TELLS_FENCED: i16 = 2;
/// The first version that gives the next epoch.
const BUMPS_FROM: i16 = 5;

pub(in super::super) fn serve(service: &Arc<Service>, call: Call) {
    let body = call.body();
    let Some((request, call)) = call.read::<EndTxnRequest<'_>>(&body) else { return };
    let ending = Ending {
        producer: ProducerEpoch { id: ProducerId(request.producer_id), epoch: request.producer_epoch },
        commits: request.committed,
        client_version: if call.version >= BUMPS_FROM { BUMPS_WITH_EVERY_END } else { 0 },
    };
    let id = &request.transactional_id;
    if let Err(refusal) = call.rights().demand(Operation::Write, ResourceType::TransactionalId, id) {
        let error_code = number(refusal.code);
        return call.answer(&EndTxnResponse { error_code, ..Default::default() });
    }
    let ended = service.transactions.end(id, ending);
    actix_rt::spawn(async move {
        let response = match ended.await {
            Ok(producer) => EndTxnResponse {
                error_code: NONE,
                producer_id: producer.id.0,
                producer_epoch: producer.epoch,
                ..Default::default()
            },
            Err(refusal) => EndTxnResponse {
                error_code: of_transactions(refusal.code, call.version >= TELLS_FENCED),
                ..Default::default()
            },
        };
        call.answer(&response);
    });
}

//! AddOffsetsToTxn: the offsets of a group become part of a producer's transaction.

use std::sync::Arc;

use millstream_actors::access::{Operation, ResourceType};
use millstream_actors::error::{ErrorCode, Refusal};
use millstream_actors::group::following::OFFSETS_TOPIC;
use millstream_actors::ids::ProducerId;
use millstream_actors::transaction::state::ProducerEpoch;
use millstream_transport::kafka::messages::add_offsets_to_txn::AddOffsetsToTxnRequest;
use millstream_transport::kafka::messages::add_offsets_to_txn::response::AddOffsetsToTxnResponse;

use super::super::call::Call;
use super::super::error::{NONE, of_transactions};
use super::super::service::Service;

/// The first version whose clients know that they are fenced.
const TELLS_FENCED: i16 = 2;
/// The version of transactions of clients that add offsets themselves.
const ADDS_ITSELF: i16 = 1;

pub(in super::super) fn serve(service: &Arc<Service>, call: Call) {
    let body = call.body();
    let Some((request, call)) = call.read::<AddOffsetsToTxnRequest<'_>>(&body) else { return };
    let producer = ProducerEpoch { id: ProducerId(request.producer_id), epoch: request.producer_epoch };
    let unknown = || {
        Refusal::new(
            ErrorCode::CoordinatorNotAvailable,
            "there is no __consumer_offsets yet; find the coordinator",
        )
    };
    let partition = service.groups.partition_holding(&request.group_id).ok_or_else(unknown);
    let rights = call.rights();
    let allowed = rights
        .demand(Operation::Write, ResourceType::TransactionalId, &request.transactional_id)
        .and_then(|()| rights.demand(Operation::Read, ResourceType::Group, &request.group_id));
    let adding = allowed.and(partition).map(|index| {
        let partitions = vec![(Arc::from(OFFSETS_TOPIC), index)];
        service.transactions.add(&request.transactional_id, producer, partitions, ADDS_ITSELF)
    });
    actix_rt::spawn(async move {
        let added = match adding {
            Ok(adding) => adding.await,
            Err(refusal) => Err(refusal),
        };
        let fenced = call.version >= TELLS_FENCED;
        let error_code = added.err().map_or(NONE, |refusal| of_transactions(refusal.code, fenced));
        call.answer(&AddOffsetsToTxnResponse { error_code, ..Default::default() });
    });
}

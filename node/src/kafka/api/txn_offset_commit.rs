//! TxnOffsetCommit: how far a group has read, as part of a producer's transaction (KIP-447).

use std::sync::Arc;

use millstream_actors::access::{Operation, ResourceType};
use millstream_actors::group::doors::PartOfTransaction;
use millstream_actors::ids::ProducerId;
use millstream_transport::kafka::Uuid;
use millstream_transport::kafka::messages::txn_offset_commit::TxnOffsetCommitRequest;
use millstream_transport::kafka::messages::txn_offset_commit::response::{
    Partition, Topic, TxnOffsetCommitResponse,
};

use super::super::call::Call;
use super::super::commits::{AskedOffset, AskedTopic, Codes, Sender, Split, denied, told};
use super::super::service::Service;

/// The first version whose clients leave it to the broker to add the offsets to the transaction.
const ADDS_FROM: i16 = 5;

/// The first version of producers that know TRANSACTION_ABORTABLE (KIP-890 part 1).
const KNOWS_ABORTABLE_FROM: i16 = 4;

pub(in super::super) fn serve(service: &Arc<Service>, call: Call) {
    let body = call.body();
    let Some((request, call)) = call.read::<TxnOffsetCommitRequest<'_>>(&body) else { return };
    let image = service.image();
    let mut split = Split::new(&image, call.rights());
    for wanted in &request.topics {
        let partitions = wanted.partitions.iter().map(|partition| AskedOffset {
            index: partition.partition_index,
            offset: partition.committed_offset,
            leader_epoch: partition.committed_leader_epoch,
            metadata: partition.committed_metadata.map(Into::into).unwrap_or_default(),
        });
        split.take(wanted.name.into_owned(), (Uuid::ZERO, false), partitions);
    }
    let Split { offsets, asked, .. } = split;
    let (rights, id) = (call.rights(), &request.transactional_id);
    let allowed = rights
        .demand(Operation::Write, ResourceType::TransactionalId, id)
        .and_then(|()| rights.demand(Operation::Read, ResourceType::Group, &request.group_id));
    if let Err(refusal) = allowed {
        return respond(call, denied(asked, refusal.code), &Codes::none());
    }
    let sender = Sender {
        version: call.version,
        group: &request.group_id,
        member: &request.member_id,
        generation: request.generation_id_or_member_epoch,
        instance: request.group_instance_id.as_deref(),
    };
    let transaction = PartOfTransaction {
        id: Arc::from(&**id),
        producer_id: ProducerId(request.producer_id),
        producer_epoch: request.producer_epoch,
        adds: call.version >= ADDS_FROM,
        knows_abortable: call.version >= KNOWS_ABORTABLE_FROM,
    };
    let (commit, committer) = sender.commit(offsets);
    let committing = service.groups.commit_in_transaction(commit, committer, transaction);
    actix_rt::spawn(async move { respond(call, asked, &Codes::of(committing.await)) });
}

fn respond(call: Call, asked: Vec<AskedTopic>, codes: &Codes) {
    let partition = |partition_index, error_code| Partition { partition_index, error_code };
    let topics = told(asked, codes, partition, |name, topic_id, partitions| Topic {
        name: name.into(),
        topic_id,
        partitions: partitions.into(),
    });
    call.answer(&TxnOffsetCommitResponse { topics: topics.into(), ..Default::default() });
}

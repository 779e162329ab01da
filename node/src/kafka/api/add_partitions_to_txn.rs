//! AddPartitionsToTxn: partitions become part of a producer's transaction. From version 4 on brokers ask it, for several
//! producers, and may only want to know whether they are.

use std::sync::Arc;

use millstream_actors::access::{Operation, ResourceType};
use millstream_actors::error::{ErrorCode, Refusal};
use millstream_actors::ids::ProducerId;
use millstream_actors::transaction::state::{ProducerEpoch, TopicPartition};
use millstream_transport::kafka::Array;
use millstream_transport::kafka::messages::add_partitions_to_txn::AddPartitionsToTxnRequest;
use millstream_transport::kafka::messages::add_partitions_to_txn::request::AddPartitionsToTxnTopic;
use millstream_transport::kafka::messages::add_partitions_to_txn::response::{
    AddPartitionsToTxnResponse, AddPartitionsToTxnTopicResult, ResultsByPartition, ResultsByTransaction,
};

use super::super::call::Call;
use super::super::error::{NONE, number, of_transactions};
use super::super::service::Service;
use crate::security::authorize::Rights;

/// The first version of brokers.
const BATCHED_FROM: i16 = 4;
/// The first version whose clients know that they are fenced.
const TELLS_FENCED: i16 = 2;
/// The version of transactions of clients that add partitions themselves.
const ADDS_ITSELF: i16 = 1;

/// One producer's part of the request.
struct Asked {
    id: String,
    producer: ProducerEpoch,
    verify_only: bool,
    topics: Vec<(String, Vec<i32>)>,
}

pub(in super::super) fn serve(service: &Arc<Service>, call: Call) {
    let body = call.body();
    let Some((request, call)) = call.read::<AddPartitionsToTxnRequest<'_>>(&body) else { return };
    // In these versions brokers ask it.
    if call.version >= BATCHED_FROM
        && let Err(refusal) = call.rights().demand_of_cluster(Operation::ClusterAction)
    {
        let error_code = number(refusal.code);
        return call.answer(&AddPartitionsToTxnResponse { error_code, ..Default::default() });
    }
    let asked = if call.version >= BATCHED_FROM { batched(&request) } else { vec![single(&request)] };
    let service = Arc::clone(service);
    actix_rt::spawn(async move {
        let mut results = Vec::with_capacity(asked.len());
        for asked in asked {
            let topics = carry_out((&service, call.rights()), &asked, call.version).await;
            results.push(ResultsByTransaction {
                transactional_id: asked.id.into(),
                topic_results: topics.into(),
            });
        }
        if call.version >= BATCHED_FROM {
            let results_by_transaction = results.into();
            return call.answer(&AddPartitionsToTxnResponse { results_by_transaction, ..Default::default() });
        }
        let results_by_topic_v3_and_below = results.pop().map(|one| one.topic_results).unwrap_or_default();
        call.answer(&AddPartitionsToTxnResponse { results_by_topic_v3_and_below, ..Default::default() });
    });
}

fn batched(request: &AddPartitionsToTxnRequest<'_>) -> Vec<Asked> {
    let transactions = request.transactions.iter().map(|transaction| Asked {
        id: transaction.transactional_id.into_owned(),
        producer: ProducerEpoch {
            id: ProducerId(transaction.producer_id),
            epoch: transaction.producer_epoch,
        },
        verify_only: transaction.verify_only,
        topics: topics(&transaction.topics),
    });
    transactions.collect()
}

fn single(request: &AddPartitionsToTxnRequest<'_>) -> Asked {
    Asked {
        id: request.v3_and_below_transactional_id.clone().into_owned(),
        producer: ProducerEpoch {
            id: ProducerId(request.v3_and_below_producer_id),
            epoch: request.v3_and_below_producer_epoch,
        },
        verify_only: false,
        topics: topics(&request.v3_and_below_topics),
    }
}

fn topics(topics: &Array<'_, AddPartitionsToTxnTopic<'_>>) -> Vec<(String, Vec<i32>)> {
    topics.iter().map(|topic| (topic.name.into_owned(), topic.partitions.iter().collect())).collect()
}

/// All partitions are added, or none: where one is not known, the others are told that nothing was tried.
async fn carry_out(
    (service, rights): (&Service, &Rights),
    asked: &Asked,
    version: i16,
) -> Vec<AddPartitionsToTxnTopicResult<'static>> {
    let image = service.image();
    let is_known = |name: &str, index: i32| {
        image.topics().named(name).is_some_and(|topic| topic.partition(index).is_some())
    };
    let each =
        asked.topics.iter().flat_map(|(name, indexes)| indexes.iter().map(move |index| (name, *index)));
    let partitions: Vec<TopicPartition> =
        each.map(|(name, index)| (Arc::from(name.as_str()), index)).collect();
    let unknown = partitions.iter().any(|(name, index)| !is_known(name, *index));
    let is_of_brokers = version >= BATCHED_FROM;
    let may_write = |name: &str| is_of_brokers || rights.may(Operation::Write, ResourceType::Topic, name);
    let denied = partitions.iter().any(|(name, _)| !may_write(name));
    let transacts = || match is_of_brokers {
        true => Ok(()),
        false => rights.demand(Operation::Write, ResourceType::TransactionalId, &asked.id),
    };
    let allowed = transacts();
    let is_allowed = allowed.is_ok();
    let result = if let Err(refusal) = allowed {
        Err(refusal)
    } else if denied {
        Err(Refusal::new(ErrorCode::TopicAuthorizationFailed, "a topic of the request may not be written"))
    } else if asked.verify_only {
        service.transactions.verify(&asked.id, asked.producer, partitions).await
    } else if unknown {
        Err(Refusal::new(ErrorCode::UnknownTopicOrPartition, "a partition of the request is not known"))
    } else {
        service.transactions.add(&asked.id, asked.producer, partitions, ADDS_ITSELF).await
    };
    let code = |name: &str, index: i32| match &result {
        Ok(()) => NONE,
        Err(_) if is_allowed && denied && !may_write(name) => number(ErrorCode::TopicAuthorizationFailed),
        Err(_) if is_allowed && unknown && !is_known(name, index) => {
            number(ErrorCode::UnknownTopicOrPartition)
        }
        Err(_) if is_allowed && (unknown || denied) => {
            millstream_transport::kafka::ErrorCode::OperationNotAttempted.code()
        }
        Err(refusal) => of_transactions(refusal.code, version >= TELLS_FENCED),
    };
    let topics = asked.topics.iter().map(|(name, indexes)| AddPartitionsToTxnTopicResult {
        name: name.clone().into(),
        results_by_partition: indexes
            .iter()
            .map(|index| ResultsByPartition {
                partition_index: *index,
                partition_error_code: code(name, *index),
            })
            .collect(),
    });
    topics.collect()
}

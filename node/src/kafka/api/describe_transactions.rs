//! DescribeTransactions: how transactional ids stand that are coordinated here (KIP-664).

use std::collections::BTreeMap;
use std::sync::Arc;

use millstream_actors::access::{Operation, ResourceType};
use millstream_actors::transaction::state::Transaction;
use millstream_transport::kafka::messages::describe_transactions::DescribeTransactionsRequest;
use millstream_transport::kafka::messages::describe_transactions::response::{
    DescribeTransactionsResponse, Topic, TransactionState,
};

use super::super::call::Call;
use super::super::error::{NONE, of_transactions};
use super::super::service::Service;
use crate::security::authorize::Rights;

/// The time of a transaction that has not begun.
const NO_TIME: i64 = -1;

pub(in super::super) fn serve(service: &Arc<Service>, call: Call) {
    let body = call.body();
    let Some((request, call)) = call.read::<DescribeTransactionsRequest<'_>>(&body) else { return };
    let ids: Vec<String> = request.transactional_ids.iter().map(std::borrow::Cow::into_owned).collect();
    let service = Arc::clone(service);
    actix_rt::spawn(async move {
        let mut states = Vec::with_capacity(ids.len());
        for id in ids {
            let rights = call.rights();
            let found = match rights.demand(Operation::Describe, ResourceType::TransactionalId, &id) {
                Ok(()) => service.transactions.describe(&id).await,
                Err(refusal) => Err(refusal),
            };
            states.push(match found {
                Ok(transaction) => described(rights, id, &transaction),
                Err(refusal) => TransactionState {
                    error_code: of_transactions(refusal.code, true),
                    transactional_id: id.into(),
                    ..Default::default()
                },
            });
        }
        call.answer(&DescribeTransactionsResponse {
            transaction_states: states.into(),
            ..Default::default()
        });
    });
}

fn described(rights: &Rights, id: String, transaction: &Transaction) -> TransactionState<'static> {
    let mut topics: BTreeMap<Arc<str>, Vec<i32>> = BTreeMap::new();
    let may = |topic: &str| rights.may(Operation::Describe, ResourceType::Topic, topic);
    for (topic, index) in transaction.partitions.iter().filter(|(topic, _)| may(topic)) {
        topics.entry(Arc::clone(topic)).or_default().push(*index);
    }
    let topics = topics
        .into_iter()
        .map(|(topic, indexes)| Topic { topic: topic.to_string().into(), partitions: indexes.into() });
    TransactionState {
        error_code: NONE,
        transactional_id: id.into(),
        transaction_state: transaction.state.name().into(),
        transaction_timeout_ms: transaction.timeout_ms,
        transaction_start_time_ms: transaction.started_ms.unwrap_or(NO_TIME),
        producer_id: transaction.producer_id.0,
        producer_epoch: transaction.producer_epoch,
        topics: topics.collect(),
    }
}

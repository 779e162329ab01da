//! Transactions.

use millstream_tests::Outcome;
use millstream_tests::kafka::KafkaConnection;
use millstream_transport::kafka::messages as m;
use millstream_transport::kafka::{ApiKey, ErrorCode, open_response};

use super::{GONE, GROUP, TOPIC, TRANSACTION, code, hidden};

pub(super) async fn add_partitions(
    connection: &mut KafkaConnection,
    (id, epoch): (i64, i16),
) -> Outcome<i16> {
    let topic = m::add_partitions_to_txn::request::AddPartitionsToTxnTopic {
        name: TOPIC.into(),
        partitions: vec![0].into(),
    };
    let request = m::add_partitions_to_txn::AddPartitionsToTxnRequest {
        v3_and_below_transactional_id: TRANSACTION.into(),
        v3_and_below_producer_id: id,
        v3_and_below_producer_epoch: epoch,
        v3_and_below_topics: vec![topic].into(),
        ..Default::default()
    };
    type Answer<'a> = m::add_partitions_to_txn::response::AddPartitionsToTxnResponse<'a>;
    Ok(code!(connection, 3, request, Answer<'_>, |answer| {
        let topic = answer.results_by_topic_v3_and_below.iter().next();
        topic.and_then(|topic| Some(topic.results_by_partition.iter().next()?.partition_error_code))
    }))
}

pub(super) async fn transactions(connection: &mut KafkaConnection, api: ApiKey, way: &str) -> Outcome<i16> {
    // Of a producer that there is not: nothing comes of what is allowed.
    let (producer_id, producer_epoch) = (77, 0);
    match api {
        ApiKey::InitProducerId => {
            let request = m::init_producer_id::InitProducerIdRequest {
                transactional_id: way.is_empty().then(|| TRANSACTION.into()),
                transaction_timeout_ms: 60_000,
                // One that is not this id's: it goes on as it is.
                producer_id: if way.is_empty() { producer_id } else { -1 },
                producer_epoch: if way.is_empty() { producer_epoch } else { -1 },
            };
            type Answer = m::init_producer_id::InitProducerIdResponse;
            Ok(code!(connection, 4, request, Answer, |answer| Some(answer.error_code)))
        }
        ApiKey::AddPartitionsToTxn if way.is_empty() => {
            add_partitions(connection, (producer_id, producer_epoch)).await
        }
        ApiKey::AddPartitionsToTxn => {
            let request = m::add_partitions_to_txn::AddPartitionsToTxnRequest::default();
            type Answer<'a> = m::add_partitions_to_txn::response::AddPartitionsToTxnResponse<'a>;
            Ok(code!(connection, 4, request, Answer<'_>, |answer| Some(answer.error_code)))
        }
        ApiKey::AddOffsetsToTxn => {
            let request = m::add_offsets_to_txn::AddOffsetsToTxnRequest {
                transactional_id: TRANSACTION.into(),
                producer_id,
                producer_epoch,
                group_id: GROUP.into(),
            };
            type Answer = m::add_offsets_to_txn::response::AddOffsetsToTxnResponse;
            Ok(code!(connection, 3, request, Answer, |answer| Some(answer.error_code)))
        }
        _ => {
            let request = m::end_txn::EndTxnRequest {
                transactional_id: TRANSACTION.into(),
                producer_id,
                producer_epoch,
                committed: true,
            };
            Ok(code!(connection, 3, request, m::end_txn::EndTxnResponse, |answer| Some(answer.error_code)))
        }
    }
}

pub(super) async fn ends(connection: &mut KafkaConnection, api: ApiKey) -> Outcome<i16> {
    if api == ApiKey::WriteTxnMarkers {
        let topic =
            m::write_txn_markers::request::Topic { name: GONE.into(), partition_indexes: vec![0].into() };
        let marker =
            m::write_txn_markers::request::Marker { topics: vec![topic].into(), ..Default::default() };
        let request = m::write_txn_markers::WriteTxnMarkersRequest { markers: vec![marker].into() };
        type Answer<'a> = m::write_txn_markers::response::WriteTxnMarkersResponse<'a>;
        return Ok(code!(connection, 1, request, Answer<'_>, |answer| {
            let marker = answer.markers.iter().next();
            let topic = marker.and_then(|marker| marker.topics.iter().next());
            topic.and_then(|topic| Some(topic.partitions.iter().next()?.error_code))
        }));
    }
    let partition = m::txn_offset_commit::request::Partition::default();
    let topic = m::txn_offset_commit::request::Topic {
        name: TOPIC.into(),
        partitions: vec![partition].into(),
        ..Default::default()
    };
    let request = m::txn_offset_commit::TxnOffsetCommitRequest {
        transactional_id: TRANSACTION.into(),
        group_id: GROUP.into(),
        producer_id: 77,
        topics: vec![topic].into(),
        ..Default::default()
    };
    type Answer<'a> = m::txn_offset_commit::response::TxnOffsetCommitResponse<'a>;
    Ok(code!(connection, 3, request, Answer<'_>, |answer| {
        let topic = answer.topics.iter().next();
        topic.and_then(|topic| Some(topic.partitions.iter().next()?.error_code))
    }))
}

pub(super) async fn shown_transactions(connection: &mut KafkaConnection, api: ApiKey) -> Outcome<i16> {
    if api == ApiKey::DescribeTransactions {
        let request = m::describe_transactions::DescribeTransactionsRequest {
            transactional_ids: vec![TRANSACTION.into()].into(),
        };
        type Answer<'a> = m::describe_transactions::response::DescribeTransactionsResponse<'a>;
        return Ok(code!(connection, 0, request, Answer<'_>, |answer| {
            let state = answer.transaction_states.iter().next();
            state.and_then(|state| match state.error_code {
                0 => hidden(!state.topics.is_empty(), ErrorCode::TopicAuthorizationFailed),
                code => Some(code),
            })
        }));
    }
    let request = m::list_transactions::ListTransactionsRequest::default();
    type Answer<'a> = m::list_transactions::response::ListTransactionsResponse<'a>;
    Ok(code!(connection, 1, request, Answer<'_>, |answer| {
        let is_shown = answer.transaction_states.iter().any(|state| *state.transactional_id == *TRANSACTION);
        hidden(is_shown, ErrorCode::TransactionalIdAuthorizationFailed)
    }))
}

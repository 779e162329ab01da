//! A request of every API, and the one code in its answer that says whether it was denied. Where Kafka hides instead of
//! denying, the code that stands for it.

use millstream_tests::kafka::KafkaConnection;
use millstream_tests::{Outcome, until};
use millstream_transport::kafka::messages as m;
use millstream_transport::kafka::{ApiKey, ErrorCode, Uuid, open_response};

mod administration;
mod groups;
mod operators;
mod records;
mod transactions;

use self::administration::administration;
use self::groups::{groups, members, offsets};
use self::operators::{cluster, configs, lists, users};
use self::records::{changes, partitions, records, topics};
use self::transactions::{add_partitions, ends, shown_transactions, transactions};

/// A topic that there is.
pub(super) const TOPIC: &str = "flights";
/// A group of the classic protocol that there is.
pub(super) const GROUP: &str = "readers";
/// A group of KIP-848 that there is, with a member that reads the topic.
pub(super) const MODERN: &str = "modern";
/// A transactional id that there is, with a transaction in the topic.
pub(super) const TRANSACTION: &str = "transfers";
/// Names of what there is not.
pub(super) const GONE: &str = "gone";
pub(super) const MADE: &str = "made";
pub(super) const FRESH: &str = "fresh";

macro_rules! code {
    ($connection:expr, $version:literal, $request:expr, $response:ty, |$answer:ident| $pick:expr) => {{
        let frame = $connection.ask($version, &$request).await?;
        let (_, $answer) = open_response::<$response>(&frame, $version)?;
        let picked: Option<i16> = $pick;
        picked.ok_or("nothing in the answer")?
    }};
}

pub(super) use code;

fn hidden(is_shown: bool, code: ErrorCode) -> Option<i16> {
    Some(if is_shown { 0 } else { code.code() })
}

/// Makes the groups and the transaction that there are.
pub(super) async fn prepare(admin: &mut KafkaConnection) -> Outcome {
    for (api, way) in [(ApiKey::FindCoordinator, ""), (ApiKey::FindCoordinator, "of a transaction")] {
        found(admin, api, way).await?;
    }
    found(admin, ApiKey::OffsetCommit, "").await?;
    until("a group of KIP-848", async || {
        let code = modern_heartbeat(admin, MODERN).await?;
        Ok((code == 0).then_some(()))
    })
    .await?;
    until("a transaction", async || {
        let request = m::init_producer_id::InitProducerIdRequest {
            transactional_id: Some(TRANSACTION.into()),
            transaction_timeout_ms: 600_000,
            ..Default::default()
        };
        let frame = admin.ask(4, &request).await?;
        let (_, begun) = open_response::<m::init_producer_id::InitProducerIdResponse>(&frame, 4)?;
        if begun.error_code != 0 {
            return Ok(None);
        }
        let added = add_partitions(admin, (begun.producer_id, begun.producer_epoch)).await?;
        Ok((added == 0).then_some(()))
    })
    .await
}

async fn found(admin: &mut KafkaConnection, api: ApiKey, way: &str) -> Outcome {
    until("what is to be there", async || Ok((ask(admin, api, way, Uuid::ZERO).await? == 0).then_some(())))
        .await
}

async fn modern_heartbeat(connection: &mut KafkaConnection, group: &str) -> Outcome<i16> {
    let request = m::consumer_group_heartbeat::ConsumerGroupHeartbeatRequest {
        group_id: group.into(),
        member_id: "member".into(),
        rebalance_timeout_ms: 600_000,
        subscribed_topic_names: Some(vec![TOPIC.into()].into()),
        topic_partitions: Some(Vec::new().into()),
        ..Default::default()
    };
    type Answer<'a> = m::consumer_group_heartbeat::ConsumerGroupHeartbeatResponse<'a>;
    Ok(code!(connection, 1, request, Answer<'_>, |answer| Some(answer.error_code)))
}

/// Asks in one way, and gives the code that counts.
pub(super) async fn ask(connection: &mut KafkaConnection, api: ApiKey, way: &str, id: Uuid) -> Outcome<i16> {
    match api {
        ApiKey::Produce | ApiKey::Fetch | ApiKey::ListOffsets | ApiKey::OffsetForLeaderEpoch => {
            records(connection, api, way).await
        }
        ApiKey::DeleteRecords | ApiKey::DescribeProducers | ApiKey::Metadata => {
            topics(connection, api, way).await
        }
        ApiKey::CreateTopics | ApiKey::DeleteTopics | ApiKey::CreatePartitions => {
            changes(connection, api, way, id).await
        }
        ApiKey::DescribeTopicPartitions | ApiKey::ElectLeaders | ApiKey::AlterReplicaLogDirs => {
            partitions(connection, api).await
        }
        ApiKey::JoinGroup | ApiKey::SyncGroup | ApiKey::Heartbeat | ApiKey::LeaveGroup => {
            members(connection, api).await
        }
        ApiKey::OffsetCommit | ApiKey::OffsetFetch | ApiKey::OffsetDelete | ApiKey::FindCoordinator => {
            offsets(connection, api, way).await
        }
        ApiKey::DescribeGroups | ApiKey::ListGroups | ApiKey::DeleteGroups => groups(connection, api).await,
        ApiKey::ConsumerGroupHeartbeat => modern_heartbeat(connection, GONE).await,
        ApiKey::ConsumerGroupDescribe => {
            let request = m::consumer_group_describe::ConsumerGroupDescribeRequest {
                group_ids: vec![MODERN.into()].into(),
                include_authorized_operations: true,
            };
            type Answer<'a> = m::consumer_group_describe::response::ConsumerGroupDescribeResponse<'a>;
            Ok(code!(connection, 1, request, Answer<'_>, |answer| {
                answer.groups.iter().next().map(|group| group.error_code)
            }))
        }
        ApiKey::InitProducerId | ApiKey::AddPartitionsToTxn | ApiKey::AddOffsetsToTxn | ApiKey::EndTxn => {
            transactions(connection, api, way).await
        }
        ApiKey::TxnOffsetCommit | ApiKey::WriteTxnMarkers => ends(connection, api).await,
        ApiKey::DescribeTransactions | ApiKey::ListTransactions => shown_transactions(connection, api).await,
        ApiKey::DescribeConfigs | ApiKey::AlterConfigs | ApiKey::IncrementalAlterConfigs => {
            configs(connection, api, way).await
        }
        ApiKey::DescribeAcls | ApiKey::CreateAcls | ApiKey::DeleteAcls => lists(connection, api).await,
        ApiKey::DescribeUserScramCredentials | ApiKey::AlterUserScramCredentials => {
            users(connection, api).await
        }
        ApiKey::AlterPartitionReassignments
        | ApiKey::ListPartitionReassignments
        | ApiKey::DescribeClientQuotas
        | ApiKey::AlterClientQuotas
        | ApiKey::UpdateFeatures
        | ApiKey::UnregisterBroker => administration(connection, api).await,
        _ => cluster(connection, api).await,
    }
}

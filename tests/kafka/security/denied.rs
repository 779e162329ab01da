//! A test per API and operation: denied without the entry that allows it, and with it not.

use std::collections::BTreeSet;

use millstream_tests::kafka::KafkaConnection;
use millstream_tests::{Outcome, until};
use millstream_transport::kafka::messages::api_versions::{ApiVersionsRequest, ApiVersionsResponse};
use millstream_transport::kafka::{ApiKey, ErrorCode, open_response};

use super::lists::{WITH_LISTS, clear, create, entry};
use super::probes::{self, FRESH, GONE, GROUP, MADE, MODERN, TOPIC as T, TRANSACTION};
use super::{of_user, open, with_users};
use crate::make_topic;

/// Types of resources, and operations, by their numbers in the protocol.
const TOPIC: i8 = 2;
const GROUPS: i8 = 3;
const CLUSTER: i8 = 4;
const TRANSACTIONS: i8 = 5;
const READ: i8 = 3;
const WRITE: i8 = 4;
const CREATE: i8 = 5;
const DELETE: i8 = 6;
const ALTER: i8 = 7;
const DESCRIBE: i8 = 8;
const CLUSTER_ACTION: i8 = 9;
const DESCRIBE_CONFIGS: i8 = 10;
const ALTER_CONFIGS: i8 = 11;
const IDEMPOTENT_WRITE: i8 = 12;

const NAME: &str = "kafka-cluster";

const BY_TOPIC: ErrorCode = ErrorCode::TopicAuthorizationFailed;
const BY_GROUP: ErrorCode = ErrorCode::GroupAuthorizationFailed;
const BY_CLUSTER: ErrorCode = ErrorCode::ClusterAuthorizationFailed;
const BY_ID: ErrorCode = ErrorCode::TransactionalIdAuthorizationFailed;

/// What a request needs (resource, name, operation), and what is answered where everything else is granted.
type Need = (i8, &'static str, i8, ErrorCode);

const TOPIC_READ: Need = (TOPIC, T, READ, BY_TOPIC);
const TOPIC_WRITE: Need = (TOPIC, T, WRITE, BY_TOPIC);
const TOPIC_DESCRIBE: Need = (TOPIC, T, DESCRIBE, BY_TOPIC);
const GROUP_READ: Need = (GROUPS, GROUP, READ, BY_GROUP);
const GROUP_DESCRIBE: Need = (GROUPS, GROUP, DESCRIBE, BY_GROUP);
const ID_WRITE: Need = (TRANSACTIONS, TRANSACTION, WRITE, BY_ID);
const ID_DESCRIBE: Need = (TRANSACTIONS, TRANSACTION, DESCRIBE, BY_ID);
const CLUSTER_ALTER: Need = (CLUSTER, NAME, ALTER, BY_CLUSTER);
const CLUSTER_DESCRIBE: Need = (CLUSTER, NAME, DESCRIBE, BY_CLUSTER);

/// One way of asking an API, and all that it needs.
type Case = (ApiKey, &'static str, &'static [Need]);

const CASES: &[Case] = &[
    (ApiKey::Produce, "", &[TOPIC_WRITE]),
    (ApiKey::Produce, "in a transaction", &[ID_WRITE, TOPIC_WRITE]),
    (ApiKey::Fetch, "", &[TOPIC_READ]),
    (ApiKey::ListOffsets, "", &[TOPIC_DESCRIBE]),
    (ApiKey::Metadata, "", &[TOPIC_DESCRIBE]),
    (
        ApiKey::Metadata,
        "of one to be made",
        &[(TOPIC, GONE, DESCRIBE, BY_TOPIC), (TOPIC, GONE, CREATE, BY_TOPIC)],
    ),
    (
        ApiKey::Metadata,
        "of one to be made in the cluster",
        &[(TOPIC, MADE, DESCRIBE, BY_TOPIC), (CLUSTER, NAME, CREATE, BY_TOPIC)],
    ),
    (ApiKey::Metadata, "with operations", &[CLUSTER_DESCRIBE]),
    (ApiKey::OffsetCommit, "", &[GROUP_READ, TOPIC_READ]),
    (ApiKey::OffsetFetch, "", &[GROUP_DESCRIBE, TOPIC_DESCRIBE]),
    (ApiKey::FindCoordinator, "", &[GROUP_DESCRIBE]),
    (ApiKey::FindCoordinator, "of a transaction", &[ID_DESCRIBE]),
    (ApiKey::JoinGroup, "", &[GROUP_READ]),
    (ApiKey::Heartbeat, "", &[GROUP_READ]),
    (ApiKey::LeaveGroup, "", &[GROUP_READ]),
    (ApiKey::SyncGroup, "", &[GROUP_READ]),
    (ApiKey::DescribeGroups, "", &[GROUP_DESCRIBE]),
    (ApiKey::ListGroups, "", &[GROUP_DESCRIBE]),
    (ApiKey::ListGroups, "all", &[(CLUSTER, NAME, DESCRIBE, BY_GROUP)]),
    (ApiKey::CreateTopics, "", &[(TOPIC, MADE, CREATE, BY_TOPIC)]),
    (ApiKey::CreateTopics, "in the cluster", &[(CLUSTER, NAME, CREATE, BY_TOPIC)]),
    (
        ApiKey::CreateTopics,
        "with settings",
        &[(TOPIC, FRESH, CREATE, BY_TOPIC), (TOPIC, FRESH, DESCRIBE_CONFIGS, BY_TOPIC)],
    ),
    (ApiKey::DeleteTopics, "", &[(TOPIC, MADE, DELETE, BY_TOPIC)]),
    (ApiKey::DeleteTopics, "by id", &[TOPIC_DESCRIBE]),
    (ApiKey::DeleteRecords, "", &[(TOPIC, T, DELETE, BY_TOPIC)]),
    (ApiKey::InitProducerId, "", &[ID_WRITE]),
    (ApiKey::InitProducerId, "without transactions", &[(CLUSTER, NAME, IDEMPOTENT_WRITE, BY_CLUSTER)]),
    (ApiKey::InitProducerId, "for any topic", &[(TOPIC, T, WRITE, BY_CLUSTER)]),
    (ApiKey::OffsetForLeaderEpoch, "", &[TOPIC_DESCRIBE]),
    (ApiKey::AddPartitionsToTxn, "", &[ID_WRITE, TOPIC_WRITE]),
    (ApiKey::AddPartitionsToTxn, "of brokers", &[(CLUSTER, NAME, CLUSTER_ACTION, BY_CLUSTER)]),
    (ApiKey::AddOffsetsToTxn, "", &[ID_WRITE, GROUP_READ]),
    (ApiKey::EndTxn, "", &[ID_WRITE]),
    (ApiKey::WriteTxnMarkers, "", &[(CLUSTER, NAME, CLUSTER_ACTION, BY_CLUSTER)]),
    (ApiKey::WriteTxnMarkers, "of tools", &[CLUSTER_ALTER]),
    (ApiKey::TxnOffsetCommit, "", &[ID_WRITE, GROUP_READ, TOPIC_READ]),
    (ApiKey::DescribeAcls, "", &[CLUSTER_DESCRIBE]),
    (ApiKey::CreateAcls, "", &[CLUSTER_ALTER]),
    (ApiKey::DeleteAcls, "", &[CLUSTER_ALTER]),
    (ApiKey::DescribeConfigs, "", &[(TOPIC, T, DESCRIBE_CONFIGS, BY_TOPIC)]),
    (ApiKey::DescribeConfigs, "of a node", &[(CLUSTER, NAME, DESCRIBE_CONFIGS, BY_CLUSTER)]),
    (ApiKey::AlterConfigs, "", &[(TOPIC, T, ALTER_CONFIGS, BY_TOPIC)]),
    (ApiKey::AlterConfigs, "of a node", &[(CLUSTER, NAME, ALTER_CONFIGS, BY_CLUSTER)]),
    (ApiKey::AlterReplicaLogDirs, "", &[CLUSTER_ALTER]),
    (ApiKey::DescribeLogDirs, "", &[CLUSTER_DESCRIBE]),
    (ApiKey::CreatePartitions, "", &[(TOPIC, T, ALTER, BY_TOPIC)]),
    (ApiKey::DeleteGroups, "", &[(GROUPS, GONE, DELETE, BY_GROUP)]),
    (ApiKey::ElectLeaders, "", &[CLUSTER_ALTER]),
    (ApiKey::IncrementalAlterConfigs, "", &[(TOPIC, T, ALTER_CONFIGS, BY_TOPIC)]),
    (ApiKey::IncrementalAlterConfigs, "of a node", &[(CLUSTER, NAME, ALTER_CONFIGS, BY_CLUSTER)]),
    (ApiKey::OffsetDelete, "", &[(GROUPS, GROUP, DELETE, BY_GROUP), TOPIC_READ]),
    (ApiKey::DescribeUserScramCredentials, "", &[CLUSTER_DESCRIBE]),
    (ApiKey::AlterUserScramCredentials, "", &[CLUSTER_ALTER]),
    (ApiKey::AlterPartitionReassignments, "", &[CLUSTER_ALTER]),
    (ApiKey::ListPartitionReassignments, "", &[CLUSTER_DESCRIBE]),
    (ApiKey::DescribeClientQuotas, "", &[(CLUSTER, NAME, DESCRIBE_CONFIGS, BY_CLUSTER)]),
    (ApiKey::AlterClientQuotas, "", &[(CLUSTER, NAME, ALTER_CONFIGS, BY_CLUSTER)]),
    (ApiKey::UpdateFeatures, "", &[CLUSTER_ALTER]),
    (ApiKey::UnregisterBroker, "", &[CLUSTER_ALTER]),
    (ApiKey::DescribeQuorum, "", &[CLUSTER_DESCRIBE]),
    (ApiKey::DescribeCluster, "with operations", &[CLUSTER_DESCRIBE]),
    (ApiKey::DescribeProducers, "", &[TOPIC_READ]),
    (ApiKey::DescribeTransactions, "", &[ID_DESCRIBE, TOPIC_DESCRIBE]),
    (ApiKey::ListTransactions, "", &[ID_DESCRIBE]),
    (ApiKey::ConsumerGroupHeartbeat, "", &[(GROUPS, GONE, READ, BY_GROUP), TOPIC_DESCRIBE]),
    (ApiKey::ConsumerGroupDescribe, "", &[(GROUPS, MODERN, DESCRIBE, BY_GROUP), TOPIC_DESCRIBE]),
    (ApiKey::ListConfigResources, "", &[(CLUSTER, NAME, DESCRIBE_CONFIGS, BY_CLUSTER)]),
    (ApiKey::DescribeTopicPartitions, "", &[TOPIC_DESCRIBE]),
];

/// What nobody needs anything for.
const OPEN: [ApiKey; 3] = [ApiKey::SaslHandshake, ApiKey::ApiVersions, ApiKey::SaslAuthenticate];

/// Every API that the node serves has its cases: one that is added without is found here.
async fn walk_the_table(connection: &mut KafkaConnection) -> Outcome {
    let frame = connection.ask(4, &ApiVersionsRequest::default()).await?;
    let (_, response) = open_response::<ApiVersionsResponse<'_>>(&frame, 4)?;
    let served: BTreeSet<i16> = response.api_keys.iter().map(|served| served.api_key).collect();
    let tried = CASES.iter().map(|(api, ..)| api.code()).chain(OPEN.map(ApiKey::code)).collect();
    let missing: Vec<_> = served.symmetric_difference(&tried).collect();
    if missing.is_empty() {
        Ok(())
    } else {
        Err(format!("APIs without a case, or not served: {missing:?}").into())
    }
}

#[tokio::test]
async fn every_api_is_denied_without_what_it_needs_and_allowed_with_it() {
    let settings = [WITH_LISTS[0], WITH_LISTS[1], ("group.consumer.session.timeout.ms", "3600000")];
    with_users(&settings, async |cluster| {
        let mut admin = open(cluster).await?;
        let id = make_topic(&mut admin, T).await?;
        probes::prepare(&mut admin).await?;
        let mut alice = of_user(cluster, "alice").await?;
        walk_the_table(&mut alice).await?;
        for (api, way, needs) in CASES {
            let what = format!("{api:?} {way}");
            for (missing, (.., expected)) in needs.iter().enumerate() {
                clear(&mut admin).await?;
                let others = needs.iter().enumerate().filter(|(place, _)| *place != missing);
                grant(&mut admin, others.map(|(_, need)| need)).await?;
                expect_code(&what, &mut alice, (*api, way, id), |code| code == expected.code())
                    .await
                    .map_err(|error| format!("{what} without {:?}: {error}", needs.get(missing)))?;
            }
            grant(&mut admin, needs.iter()).await?;
            let refusals: Vec<i16> = needs.iter().map(|(.., code)| code.code()).collect();
            expect_code(&what, &mut alice, (*api, way, id), |code| !refusals.contains(&code)).await?;
        }
        Ok(())
    })
    .await;
}

async fn grant(admin: &mut KafkaConnection, needs: impl Iterator<Item = &Need>) -> Outcome {
    let entries: Vec<_> =
        needs.map(|(resource, name, operation, _)| entry(*resource, name, *operation)).collect();
    match create(admin, entries).await?.into_iter().find(|code| *code != 0) {
        None => Ok(()),
        Some(code) => Err(format!("an entry was refused with {code}").into()),
    }
}

/// Asks until the answer is as it should be: entries take a moment to be known.
async fn expect_code(
    what: &str,
    alice: &mut KafkaConnection,
    (api, way, id): (ApiKey, &str, millstream_transport::kafka::Uuid),
    is_right: impl Fn(i16) -> bool,
) -> Outcome {
    let mut last = None;
    let begun = tokio::time::Instant::now();
    until(what, async || {
        let code = probes::ask(alice, api, way, id).await.map_err(|error| format!("{what}: {error}"))?;
        last = Some(code);
        if begun.elapsed() > std::time::Duration::from_secs(20) {
            return Err(format!("{what}: still {code}").into());
        }
        Ok(is_right(code).then_some(()))
    })
    .await
}

//! What is denied tells no name, changes nothing, and is answered in every version.

use millstream_tests::kafka::KafkaConnection;
use millstream_tests::{Outcome, until};
use millstream_transport::kafka::messages as m;
use millstream_transport::kafka::{ErrorCode, Uuid, open_response};

use super::lists::{WITH_LISTS, create, entry};
use super::probes::{GONE, GROUP, TOPIC, TRANSACTION, code, prepare};
use super::{of_user, open, with_users};
use crate::{expect, make_topic};

/// Types of resources, and operations, by their numbers in the protocol.
const TOPICS: i8 = 2;
const GROUPS: i8 = 3;
const TRANSACTIONS: i8 = 5;
const READ: i8 = 3;
const WRITE: i8 = 4;

/// What version 0 of ElectLeaders says of each partition.
async fn elected(connection: &mut KafkaConnection, all: bool) -> Outcome<Vec<(String, i32, i16)>> {
    let topic =
        m::elect_leaders::request::TopicPartition { topic: TOPIC.into(), partitions: vec![0, 9].into() };
    let request = m::elect_leaders::ElectLeadersRequest {
        topic_partitions: (!all).then(|| vec![topic].into()),
        ..Default::default()
    };
    let frame = connection.ask(0, &request).await?;
    let (_, response) = open_response::<m::elect_leaders::ElectLeadersResponse<'_>>(&frame, 0)?;
    let mut told = Vec::new();
    for topic in response.replica_election_results.iter() {
        let name = topic.topic.to_string();
        let each = topic.partition_result.iter().map(|result| (result.partition_id, result.error_code));
        told.extend(each.map(|(index, code)| (name.clone(), index, code)));
    }
    Ok(told)
}

/// The code and the text of a produce request that names its topic by id.
async fn produced(connection: &mut KafkaConnection, topic_id: Uuid) -> Outcome<(i16, String)> {
    let partition = m::produce::request::PartitionData { index: 0, records: None };
    let topic = m::produce::request::TopicData {
        topic_id,
        partition_data: vec![partition].into(),
        ..Default::default()
    };
    let request = m::produce::ProduceRequest {
        acks: -1,
        timeout_ms: 1000,
        topic_data: vec![topic].into(),
        ..Default::default()
    };
    let frame = connection.ask(13, &request).await?;
    let (_, response) = open_response::<m::produce::ProduceResponse<'_>>(&frame, 13)?;
    let topic = response.responses.iter().next().ok_or("no topic in the answer")?;
    let partition = topic.partition_responses.iter().next().ok_or("no partition in the answer")?;
    Ok((partition.error_code, partition.error_message.unwrap_or_default().to_string()))
}

/// The code and the name that metadata has for an id.
async fn described(connection: &mut KafkaConnection, topic_id: Uuid) -> Outcome<(i16, Option<String>, Uuid)> {
    let topic = m::metadata::request::Topic { topic_id, name: None };
    let request = m::metadata::MetadataRequest { topics: Some(vec![topic].into()), ..Default::default() };
    let frame = connection.ask(12, &request).await?;
    let (_, response) = open_response::<m::metadata::MetadataResponse<'_>>(&frame, 12)?;
    let topic = response.topics.iter().next().ok_or("no topic in the answer")?;
    Ok((topic.error_code, topic.name.map(|name| name.to_string()), topic.topic_id))
}

#[tokio::test]
async fn who_is_denied_learns_no_name() {
    with_users(&WITH_LISTS, async |cluster| {
        let id = make_topic(&mut open(cluster).await?, TOPIC).await?;
        let mut alice = of_user(cluster, "alice").await?;
        expect("elections of all", elected(&mut alice, true).await?, vec![])?;
        let denied = ErrorCode::ClusterAuthorizationFailed.code();
        let each = [0, 9].map(|index| (TOPIC.to_owned(), index, denied)).to_vec();
        expect("elections of some, also of one that there is not", elected(&mut alice, false).await?, each)?;
        let denied = ErrorCode::TopicAuthorizationFailed.code();
        let (code, text) = produced(&mut alice, id).await?;
        expect("produced by id", (code, text.contains(TOPIC)), (denied, false))?;
        expect("described by id", described(&mut alice, id).await?, (denied, None, id))?;
        let other = Uuid([7; 16]);
        let unknown = (ErrorCode::UnknownTopicId.code(), None, other);
        expect("an id that there is not", described(&mut alice, other).await?, unknown)
    })
    .await;
}

/// What the first version of OffsetFetch says of a partition: its error and its offset.
async fn committed(connection: &mut KafkaConnection) -> Outcome<(i16, i64)> {
    let topic = m::offset_fetch::request::Topic { name: TOPIC.into(), partition_indexes: vec![0].into() };
    let request = m::offset_fetch::OffsetFetchRequest {
        group_id: GROUP.into(),
        topics: Some(vec![topic].into()),
        ..Default::default()
    };
    let frame = connection.ask(1, &request).await?;
    let (_, response) = open_response::<m::offset_fetch::OffsetFetchResponse<'_>>(&frame, 1)?;
    let topic = response.topics.iter().next().ok_or("no topic in the answer")?;
    let partition = topic.partitions.iter().next().ok_or("no partition in the answer")?;
    Ok((partition.error_code, partition.committed_offset))
}

async fn commit(connection: &mut KafkaConnection, offset: i64) -> Outcome<i16> {
    let partition = m::offset_commit::request::Partition {
        committed_offset: offset,
        committed_metadata: Some("".into()),
        ..Default::default()
    };
    let topic = m::offset_commit::request::Topic {
        name: TOPIC.into(),
        partitions: vec![partition].into(),
        ..Default::default()
    };
    let request = m::offset_commit::OffsetCommitRequest {
        group_id: GROUP.into(),
        topics: vec![topic].into(),
        ..Default::default()
    };
    Ok(code!(connection, 8, request, m::offset_commit::OffsetCommitResponse<'_>, |answer| {
        let topic = answer.topics.iter().next();
        topic.and_then(|topic| Some(topic.partitions.iter().next()?.error_code))
    }))
}

/// A producer whose transaction takes offsets of the group.
async fn transacting(connection: &mut KafkaConnection) -> Outcome<(i64, i16)> {
    until("a transaction", async || {
        let request = m::init_producer_id::InitProducerIdRequest {
            transactional_id: Some(TRANSACTION.into()),
            transaction_timeout_ms: 60_000,
            ..Default::default()
        };
        let frame = connection.ask(4, &request).await?;
        let (_, begun) = open_response::<m::init_producer_id::InitProducerIdResponse>(&frame, 4)?;
        let (producer_id, producer_epoch) = (begun.producer_id, begun.producer_epoch);
        if begun.error_code != 0 {
            return Ok(None);
        }
        let request = m::add_offsets_to_txn::AddOffsetsToTxnRequest {
            transactional_id: TRANSACTION.into(),
            producer_id,
            producer_epoch,
            group_id: GROUP.into(),
        };
        type Answer = m::add_offsets_to_txn::response::AddOffsetsToTxnResponse;
        let added = code!(connection, 3, request, Answer, |answer| Some(answer.error_code));
        Ok((added == 0).then_some((producer_id, producer_epoch)))
    })
    .await
}

/// Commits an offset in the transaction, and then the transaction: both codes.
async fn commit_in(
    connection: &mut KafkaConnection,
    (producer_id, producer_epoch): (i64, i16),
    offset: i64,
) -> Outcome<(i16, i16)> {
    let partition = m::txn_offset_commit::request::Partition {
        committed_offset: offset,
        committed_metadata: Some("".into()),
        ..Default::default()
    };
    let topic = m::txn_offset_commit::request::Topic {
        name: TOPIC.into(),
        partitions: vec![partition].into(),
        ..Default::default()
    };
    let request = m::txn_offset_commit::TxnOffsetCommitRequest {
        transactional_id: TRANSACTION.into(),
        group_id: GROUP.into(),
        producer_id,
        producer_epoch,
        topics: vec![topic].into(),
        ..Default::default()
    };
    type Answer<'a> = m::txn_offset_commit::response::TxnOffsetCommitResponse<'a>;
    let told = code!(connection, 3, request, Answer<'_>, |answer| {
        let topic = answer.topics.iter().next();
        topic.and_then(|topic| Some(topic.partitions.iter().next()?.error_code))
    });
    let request = m::end_txn::EndTxnRequest {
        transactional_id: TRANSACTION.into(),
        producer_id,
        producer_epoch,
        committed: true,
    };
    let ended = code!(connection, 3, request, m::end_txn::EndTxnResponse, |answer| Some(answer.error_code));
    Ok((told, ended))
}

#[tokio::test]
async fn offsets_of_a_topic_that_may_not_be_read_stay_as_they_were() {
    with_users(&WITH_LISTS, async |cluster| {
        let mut admin = open(cluster).await?;
        make_topic(&mut admin, TOPIC).await?;
        prepare(&mut admin).await?;
        until("an offset", async || Ok((commit(&mut admin, 5).await? == 0).then_some(()))).await?;
        let mut alice = of_user(cluster, "alice").await?;
        let denied = (ErrorCode::GroupAuthorizationFailed.code(), -1);
        expect("of a group that is denied", committed(&mut alice).await?, denied)?;
        let entries = vec![entry(GROUPS, GROUP, READ), entry(TRANSACTIONS, TRANSACTION, WRITE)];
        expect("entries", create(&mut admin, entries).await?, vec![0, 0])?;
        let producer = transacting(&mut alice).await?;
        let denied = ErrorCode::TopicAuthorizationFailed.code();
        expect("a commit", commit(&mut alice, 9).await?, denied)?;
        expect("one in a transaction", commit_in(&mut alice, producer, 9).await?, (denied, 0))?;
        expect("what is kept", committed(&mut admin).await?, (0, 5))
    })
    .await;
}

/// The topics that a member is given which subscribes to all of them.
async fn given(connection: &mut KafkaConnection) -> Outcome<Vec<Uuid>> {
    until("an assignment", async || {
        let request = m::consumer_group_heartbeat::ConsumerGroupHeartbeatRequest {
            group_id: GONE.into(),
            member_id: "member".into(),
            rebalance_timeout_ms: 60_000,
            subscribed_topic_regex: Some(".*".into()),
            topic_partitions: Some(Vec::new().into()),
            ..Default::default()
        };
        let frame = connection.ask(1, &request).await?;
        type Answer<'a> = m::consumer_group_heartbeat::ConsumerGroupHeartbeatResponse<'a>;
        let (_, response) = open_response::<Answer<'_>>(&frame, 1)?;
        let topics = |assigned: &m::consumer_group_heartbeat::response::Assignment<'_>| {
            assigned.topic_partitions.iter().map(|topic| topic.topic_id).collect::<Vec<_>>()
        };
        Ok(response.assignment.as_ref().map(topics).filter(|topics| !topics.is_empty()))
    })
    .await
}

#[tokio::test]
async fn who_subscribes_to_everything_is_given_what_it_may_describe() {
    with_users(&WITH_LISTS, async |cluster| {
        let mut admin = open(cluster).await?;
        let id = make_topic(&mut admin, TOPIC).await?;
        make_topic(&mut admin, "secret").await?;
        prepare(&mut admin).await?;
        let entries = vec![entry(GROUPS, GONE, READ), entry(TOPICS, TOPIC, READ)];
        expect("entries", create(&mut admin, entries).await?, vec![0, 0])?;
        let mut alice = of_user(cluster, "alice").await?;
        expect("topics", given(&mut alice).await?, vec![id])
    })
    .await;
}

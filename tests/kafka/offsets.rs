//! Offsets: at the ends, by time and by epoch; committed and forgotten; and records deleted up to one.

use millstream_tests::Outcome;
use millstream_tests::kafka::KafkaConnection;
use millstream_transport::kafka::messages::delete_records::{
    self, DeleteRecordsRequest, DeleteRecordsResponse,
};
use millstream_transport::kafka::messages::list_offsets::{self, ListOffsetsRequest, ListOffsetsResponse};
use millstream_transport::kafka::messages::offset_commit::{self, OffsetCommitRequest, OffsetCommitResponse};
use millstream_transport::kafka::messages::offset_delete::{self, OffsetDeleteRequest, OffsetDeleteResponse};
use millstream_transport::kafka::messages::offset_fetch::{self, OffsetFetchRequest, OffsetFetchResponse};
use millstream_transport::kafka::messages::offset_for_leader_epoch::{
    self, OffsetForLeaderEpochRequest, OffsetForLeaderEpochResponse,
};
use millstream_transport::kafka::{ErrorCode, Uuid, open_response};

use crate::groups::find_coordinator;
use crate::records::{batch, fetch, produce};
use crate::{connect, expect, make_topic, with_node};

/// A topic with two batches of two records; its id.
async fn flights(connection: &mut KafkaConnection) -> Outcome<Uuid> {
    let id = make_topic(connection, "flights").await?;
    for first_ms in [5_000, 1_000] {
        produce(connection, 9, ("flights", id), -1, batch(&["a", "b"], first_ms)?).await?;
    }
    Ok(id)
}

/// Error, timestamp, offset and epoch.
async fn listed(
    connection: &mut KafkaConnection,
    version: i16,
    timestamp: i64,
    current_leader_epoch: i32,
) -> Outcome<(i16, i64, i64, i32)> {
    let partition =
        list_offsets::request::Partition { timestamp, current_leader_epoch, ..Default::default() };
    let topic = list_offsets::request::Topic { name: "flights".into(), partitions: vec![partition].into() };
    let request = ListOffsetsRequest { replica_id: -1, topics: vec![topic].into(), ..Default::default() };
    let frame = connection.ask(version, &request).await?;
    let (_, response) = open_response::<ListOffsetsResponse<'_>>(&frame, version)?;
    let topic = response.topics.iter().next().ok_or("no topic in the answer")?;
    let found = topic.partitions.iter().next().ok_or("no partition in the answer")?;
    Ok((found.error_code, found.timestamp, found.offset, found.leader_epoch))
}

#[tokio::test]
async fn every_special_timestamp_is_answered_in_the_versions_that_have_it() {
    with_node(async |cluster| {
        let mut connection = connect(cluster).await?;
        flights(&mut connection).await?;
        let unsupported = (ErrorCode::UnsupportedVersion.code(), -1, -1, -1);
        for (timestamp, since, offset, ms) in [
            (-1, 1, 4, -1),
            (-2, 1, 0, -1),
            (-3, 7, 1, 5_001),
            (-4, 8, 0, -1),
            (-5, 9, -1, -1),
            (-6, 11, -1, -1),
            (4_000, 1, 0, 5_000),
        ] {
            for version in 1..=11 {
                let epoch = if version >= 4 && offset >= 0 { 0 } else { -1 };
                let expected = if version < since { unsupported } else { (0, ms, offset, epoch) };
                let found = listed(&mut connection, version, timestamp, -1).await?;
                expect(&format!("{timestamp} in version {version}"), found, expected)?;
            }
        }
        expect("its epoch", listed(&mut connection, 10, -1, 0).await?.0, 0)?;
        let unknown = ErrorCode::UnknownLeaderEpoch.code();
        expect("an epoch to come", listed(&mut connection, 10, -1, 9).await?.0, unknown)
    })
    .await;
}

#[tokio::test]
async fn a_consumer_is_told_where_an_epoch_ends_and_that_it_knows_one_nobody_else_does() {
    with_node(async |cluster| {
        let mut connection = connect(cluster).await?;
        flights(&mut connection).await?;
        for version in 2..=4 {
            let mut told = Vec::new();
            for (name, current_leader_epoch, leader_epoch) in
                [("flights", -1, 0), ("flights", 0, 7), ("flights", 9, 0), ("nowhere", -1, 0)]
            {
                let partition = offset_for_leader_epoch::request::Partition {
                    current_leader_epoch,
                    leader_epoch,
                    ..Default::default()
                };
                let topic = offset_for_leader_epoch::request::Topic {
                    topic: name.into(),
                    partitions: vec![partition].into(),
                };
                let request = OffsetForLeaderEpochRequest {
                    replica_id: if version >= 3 { -1 } else { -2 },
                    topics: vec![topic].into(),
                };
                let frame = connection.ask(version, &request).await?;
                let (_, response) = open_response::<OffsetForLeaderEpochResponse<'_>>(&frame, version)?;
                let topic = response.topics.iter().next().ok_or("no topic in the answer")?;
                let found = topic.partitions.iter().next().ok_or("no partition in the answer")?;
                told.push((found.error_code, found.leader_epoch, found.end_offset));
            }
            let expected = [
                (0, 0, 4),
                (0, -1, -1),
                (ErrorCode::UnknownLeaderEpoch.code(), -1, -1),
                (ErrorCode::UnknownTopicOrPartition.code(), -1, -1),
            ];
            expect(&format!("version {version}"), told, expected.to_vec())?;
        }
        Ok(())
    })
    .await;
}

async fn delete(connection: &mut KafkaConnection, version: i16, offset: i64) -> Outcome<(i16, i64)> {
    let partition = delete_records::request::Partition { partition_index: 0, offset };
    let topic = delete_records::request::Topic { name: "flights".into(), partitions: vec![partition].into() };
    let request = DeleteRecordsRequest { topics: vec![topic].into(), timeout_ms: 10_000 };
    let frame = connection.ask(version, &request).await?;
    let (_, response) = open_response::<DeleteRecordsResponse<'_>>(&frame, version)?;
    let topic = response.topics.iter().next().ok_or("no topic in the answer")?;
    let found = topic.partitions.iter().next().ok_or("no partition in the answer")?;
    Ok((found.error_code, found.low_watermark))
}

#[tokio::test]
async fn records_are_deleted_up_to_an_offset_or_the_high_watermark_and_not_beyond() {
    with_node(async |cluster| {
        let mut connection = connect(cluster).await?;
        let id = flights(&mut connection).await?;
        expect("before the second", delete(&mut connection, 0, 1).await?, (0, 1))?;
        expect("the first", listed(&mut connection, 6, -2, -1).await?.2, 1)?;
        let gone = ErrorCode::OffsetOutOfRange.code();
        expect("what is gone", fetch(&mut connection, 12, ("flights", id), 0).await?.0, gone)?;
        expect("beyond the end", delete(&mut connection, 1, 9).await?, (gone, -1))?;
        expect("before all", delete(&mut connection, 1, -7).await?, (gone, -1))?;
        expect("all", delete(&mut connection, 2, -1).await?, (0, 4))?;
        expect("the first", listed(&mut connection, 6, -2, -1).await?.2, 4)
    })
    .await;
}

const GROUP: &str = "readers";

async fn commit(connection: &mut KafkaConnection, version: i16, name: &str, id: Uuid) -> Outcome<i16> {
    let partition = offset_commit::request::Partition { committed_offset: 3, ..Default::default() };
    let topic = offset_commit::request::Topic {
        name: name.to_owned().into(),
        topic_id: id,
        partitions: vec![partition].into(),
    };
    let request = OffsetCommitRequest {
        group_id: GROUP.into(),
        generation_id_or_member_epoch: -1,
        topics: vec![topic].into(),
        ..Default::default()
    };
    loop {
        let frame = connection.ask(version, &request).await?;
        let (_, response) = open_response::<OffsetCommitResponse<'_>>(&frame, version)?;
        let topic = response.topics.iter().next().ok_or("no topic in the answer")?;
        let code = topic.partitions.iter().next().ok_or("no partition in the answer")?.error_code;
        // The coordinator may be reading its log still.
        if code != ErrorCode::CoordinatorLoadInProgress.code() {
            return Ok(code);
        }
    }
}

/// Topic id, error and offset.
async fn committed(
    connection: &mut KafkaConnection,
    version: i16,
    name: &str,
    id: Uuid,
) -> Outcome<(Uuid, i16, i64)> {
    let topic = offset_fetch::request::GroupTopic {
        name: name.to_owned().into(),
        topic_id: id,
        partition_indexes: vec![0].into(),
    };
    let group = offset_fetch::request::Group {
        group_id: GROUP.into(),
        topics: Some(vec![topic].into()),
        ..Default::default()
    };
    let request = OffsetFetchRequest { groups: vec![group].into(), ..Default::default() };
    let frame = connection.ask(version, &request).await?;
    let (_, response) = open_response::<OffsetFetchResponse<'_>>(&frame, version)?;
    let group = response.groups.iter().next().ok_or("no group in the answer")?;
    let topic = group.topics.iter().next().ok_or("no topic in the answer")?;
    let found = topic.partitions.iter().next().ok_or("no partition in the answer")?;
    Ok((topic.topic_id, found.error_code, found.committed_offset))
}

/// Forgets what a group has committed for a partition of `flights`; the errors of the whole and of the partition.
pub(crate) async fn forget(
    connection: &mut KafkaConnection,
    group: &str,
    index: i32,
) -> Outcome<(i16, Vec<i16>)> {
    let partition = offset_delete::request::Partition { partition_index: index };
    let topic = offset_delete::request::Topic { name: "flights".into(), partitions: vec![partition].into() };
    let request = OffsetDeleteRequest { group_id: group.to_owned().into(), topics: vec![topic].into() };
    let frame = connection.ask(0, &request).await?;
    let (_, response) = open_response::<OffsetDeleteResponse<'_>>(&frame, 0)?;
    let mut codes = Vec::new();
    for topic in &response.topics {
        codes.extend(topic.partitions.iter().map(|partition| partition.error_code));
    }
    Ok((response.error_code, codes))
}

#[tokio::test]
async fn offsets_are_committed_by_topic_id_found_by_it_and_forgotten() {
    with_node(async |cluster| {
        let mut connection = connect(cluster).await?;
        let id = make_topic(&mut connection, "flights").await?;
        find_coordinator(&mut connection, GROUP).await?;
        expect("by name", commit(&mut connection, 9, "flights", Uuid::ZERO).await?, 0)?;
        expect("by id", commit(&mut connection, 10, "", id).await?, 0)?;
        let (nowhere, unknown) = (Uuid([7; 16]), ErrorCode::UnknownTopicId.code());
        expect("of no topic", commit(&mut connection, 10, "", nowhere).await?, unknown)?;
        expect("found by id", committed(&mut connection, 10, "", id).await?, (id, 0, 3))?;
        let none = (nowhere, unknown, -1);
        expect("of no topic", committed(&mut connection, 10, "", nowhere).await?, none)?;

        let no_group = ErrorCode::GroupIdNotFound.code();
        expect("no group", forget(&mut connection, "nobody", 0).await?, (no_group, vec![]))?;
        let no_partition = ErrorCode::UnknownTopicOrPartition.code();
        expect("no partition", forget(&mut connection, GROUP, 9).await?, (0, vec![no_partition]))?;
        expect("forgotten", forget(&mut connection, GROUP, 0).await?, (0, vec![0]))?;
        expect("nothing left", committed(&mut connection, 10, "", id).await?, (id, 0, -1))
    })
    .await;
}

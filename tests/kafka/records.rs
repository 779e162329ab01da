//! Records: written, read, found by time.

use std::time::Duration;

use bytes::Bytes;
use millstream_actors::record::{self, BatchBuilder, Compression};
use millstream_tests::Outcome;
use millstream_tests::kafka::KafkaConnection;
use millstream_transport::kafka::messages::api_versions::{ApiVersionsRequest, ApiVersionsResponse};
use millstream_transport::kafka::messages::fetch::{self, FetchRequest, FetchResponse};
use millstream_transport::kafka::messages::list_offsets::{self, ListOffsetsRequest, ListOffsetsResponse};
use millstream_transport::kafka::messages::produce::request::{PartitionData, TopicData};
use millstream_transport::kafka::messages::produce::{ProduceRequest, ProduceResponse};
use millstream_transport::kafka::{ApiKey, ErrorCode, Records, Uuid, open_response};

use crate::{connect, make_topic, with_node};

pub(crate) fn batch(values: &[&str], first_ms: i64) -> Outcome<Bytes> {
    let mut builder = BatchBuilder::new(1 << 20, Compression::NONE);
    for (place, value) in (0..).zip(values) {
        let pushed = builder.push(first_ms + place, Some(b"key"), Some(value.as_bytes()), &[]);
        pushed.map_err(|error| format!("{error:?}"))?;
    }
    Ok(builder.finish(None))
}

/// Produces; again where the replica of a topic that was just made does not lead yet.
pub(crate) async fn produce(
    connection: &mut KafkaConnection,
    version: i16,
    topic: (&str, Uuid),
    acks: i16,
    records: Bytes,
) -> Outcome<(i16, i64)> {
    loop {
        let answer = produce_once(connection, version, topic, acks, records.clone()).await?;
        if answer.0 != ErrorCode::NotLeaderOrFollower.code() {
            return Ok(answer);
        }
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
}

async fn produce_once(
    connection: &mut KafkaConnection,
    version: i16,
    (name, id): (&str, Uuid),
    acks: i16,
    records: Bytes,
) -> Outcome<(i16, i64)> {
    let partition = PartitionData { index: 0, records: Some(Records::Shared(records)) };
    let data = vec![TopicData { name: name.into(), topic_id: id, partition_data: vec![partition].into() }];
    let request = ProduceRequest { acks, timeout_ms: 5_000, topic_data: data.into(), ..Default::default() };
    let frame = connection.ask(version, &request).await?;
    let (_, response) = open_response::<ProduceResponse<'_>>(&frame, version)?;
    let topic = response.responses.iter().next().ok_or("no topic in the answer")?;
    let partition = topic.partition_responses.iter().next().ok_or("no partition in the answer")?;
    Ok((partition.error_code, partition.base_offset))
}

pub(crate) async fn fetch(
    connection: &mut KafkaConnection,
    version: i16,
    (name, id): (&str, Uuid),
    offset: i64,
) -> Outcome<(i16, Bytes)> {
    let partition = fetch::request::Partition {
        fetch_offset: offset,
        partition_max_bytes: 1 << 20,
        ..Default::default()
    };
    let topic =
        fetch::request::Topic { topic: name.into(), topic_id: id, partitions: vec![partition].into() };
    let request = FetchRequest {
        max_wait_ms: 500,
        min_bytes: 1,
        max_bytes: 1 << 20,
        topics: vec![topic].into(),
        ..Default::default()
    };
    let frame = connection.ask(version, &request).await?;
    let (_, response) = open_response::<FetchResponse<'_>>(&frame, version)?;
    let topic = response.responses.iter().next().ok_or("no topic in the answer")?;
    let partition = topic.partitions.iter().next().ok_or("no partition in the answer")?;
    Ok((partition.error_code, partition.records.map(|found| found.to_shared(&frame)).unwrap_or_default()))
}

fn values(bytes: &Bytes) -> Outcome<Vec<String>> {
    let mut found = Vec::new();
    for batch in record::batches(bytes) {
        for record in record::records(&batch?, 1 << 20)? {
            found.push(String::from_utf8(record?.value.unwrap_or_default().to_vec())?);
        }
    }
    Ok(found)
}

#[tokio::test]
async fn what_is_produced_is_fetched_in_every_version() {
    with_node(async |cluster| {
        let mut connection = connect(cluster).await?;
        let id = make_topic(&mut connection, "flights").await?;
        let topic = ("flights", id);
        let mut sent = Vec::new();
        for version in 3..=13 {
            let value = format!("by version {version}");
            let answer = produce(&mut connection, version, topic, -1, batch(&[&value], 1_000)?).await?;
            if answer != (0, i64::try_from(sent.len())?) {
                return Err(format!("version {version} of Produce was answered {answer:?}").into());
            }
            sent.push(value);
        }
        for version in 4..=18 {
            let (error, batches) = fetch(&mut connection, version, topic, 0).await?;
            if error != 0 || values(&batches)? != sent {
                return Err(format!("version {version} of Fetch: {error}, {:?}", values(&batches)?).into());
            }
        }
        Ok(())
    })
    .await;
}

#[tokio::test]
async fn mistakes_are_answered_with_kafkas_own_codes() {
    with_node(async |cluster| {
        let mut connection = connect(cluster).await?;
        let id = make_topic(&mut connection, "flights").await?;
        let good = batch(&["a"], 1_000)?;
        let mut bad = good.to_vec();
        *bad.last_mut().ok_or("an empty batch")? ^= 1;
        let told = [
            produce(&mut connection, 9, ("flights", id), 5, good.clone()).await?.0,
            produce(&mut connection, 9, ("nowhere", Uuid::ZERO), -1, good.clone()).await?.0,
            produce(&mut connection, 13, ("", Uuid([7; 16])), -1, good).await?.0,
            produce(&mut connection, 9, ("flights", id), -1, bad.into()).await?.0,
            produce(&mut connection, 9, ("__consumer_offsets", Uuid::ZERO), -1, batch(&["x"], 1)?).await?.0,
            fetch(&mut connection, 12, ("flights", id), 99).await?.0,
            fetch(&mut connection, 13, ("", Uuid([7; 16])), 0).await?.0,
        ];
        let expected = [
            ErrorCode::InvalidRequiredAcks,
            ErrorCode::UnknownTopicOrPartition,
            ErrorCode::UnknownTopicId,
            ErrorCode::CorruptMessage,
            ErrorCode::UnknownTopicOrPartition,
            ErrorCode::OffsetOutOfRange,
            ErrorCode::UnknownTopicId,
        ];
        if told != expected.map(ErrorCode::code) {
            return Err(format!("{told:?} instead of {expected:?}").into());
        }
        Ok(())
    })
    .await;
}

#[tokio::test]
async fn offsets_are_found_at_the_ends_and_by_time() {
    with_node(async |cluster| {
        let mut connection = connect(cluster).await?;
        let id = make_topic(&mut connection, "flights").await?;
        for first_ms in [1_000, 2_000, 3_000] {
            produce(&mut connection, 9, ("flights", id), -1, batch(&["a", "b"], first_ms)?).await?;
        }
        let mut found = Vec::new();
        for timestamp in [-2, -1, 2_001, 9_000] {
            let partition = list_offsets::request::Partition { timestamp, ..Default::default() };
            let topic =
                list_offsets::request::Topic { name: "flights".into(), partitions: vec![partition].into() };
            let request =
                ListOffsetsRequest { replica_id: -1, topics: vec![topic].into(), ..Default::default() };
            let frame = connection.ask(6, &request).await?;
            let (_, response) = open_response::<ListOffsetsResponse<'_>>(&frame, 6)?;
            let topic = response.topics.iter().next().ok_or("no topic in the answer")?;
            let partition = topic.partitions.iter().next().ok_or("no partition in the answer")?;
            found.push((partition.error_code, partition.offset));
        }
        if found != [(0, 0), (0, 6), (0, 3), (0, -1)] {
            return Err(format!("{found:?}").into());
        }
        Ok(())
    })
    .await;
}

#[tokio::test]
async fn a_client_is_told_which_apis_there_are_even_if_it_asks_in_a_version_nobody_knows() {
    with_node(async |cluster| {
        let mut connection = connect(cluster).await?;
        let request = ApiVersionsRequest {
            client_software_name: "tests".into(),
            client_software_version: "1.0".into(),
            ..Default::default()
        };
        for version in 0..=5 {
            let frame = connection.ask(version, &request).await?;
            let (_, response) = open_response::<ApiVersionsResponse<'_>>(&frame, version)?;
            let is_produce = |api: &millstream_transport::kafka::messages::api_versions::response::ApiKey| {
                api.api_key == ApiKey::Produce.code() && (api.min_version, api.max_version) == (0, 13)
            };
            if response.error_code != 0 || !response.api_keys.iter().any(|api| is_produce(&api)) {
                return Err(format!("{response:?}").into());
            }
        }
        // Key 18, version 99, correlation id 7, no client id, no tagged fields; the rest is nobody's to know.
        connection.send_bytes(b"\x00\x00\x00\x0b\x00\x12\x00\x63\x00\x00\x00\x07\xff\xff\x00").await?;
        let frame = connection.frame().await?.ok_or("the connection was ended")?;
        let (correlation_id, response) = open_response::<ApiVersionsResponse<'_>>(&frame, 0)?;
        let told = (correlation_id, response.error_code, response.api_keys.is_empty());
        if told != (7, ErrorCode::UnsupportedVersion.code(), false) {
            return Err(format!("{told:?}").into());
        }
        Ok(())
    })
    .await;
}

//! Topics and their settings: made, described, changed, removed.

use millstream_tests::Outcome;
use millstream_tests::kafka::KafkaConnection;
use millstream_transport::kafka::messages::create_topics::request::{Config as Given, Topic};
use millstream_transport::kafka::messages::create_topics::{CreateTopicsRequest, CreateTopicsResponse};
use millstream_transport::kafka::messages::delete_topics::{DeleteTopicsRequest, DeleteTopicsResponse};
use millstream_transport::kafka::messages::describe_configs::request::Resource as Asked;
use millstream_transport::kafka::messages::describe_configs::{
    DescribeConfigsRequest, DescribeConfigsResponse,
};
use millstream_transport::kafka::messages::incremental_alter_configs::request::{Config, Resource};
use millstream_transport::kafka::messages::incremental_alter_configs::{
    IncrementalAlterConfigsRequest, IncrementalAlterConfigsResponse,
};
use millstream_transport::kafka::{ErrorCode, open_response};

use crate::{connect, with_node};

const TOPIC: i8 = 2;

async fn create<'a>(
    connection: &mut KafkaConnection,
    name: &'a str,
    settings: &[(&'a str, &'a str)],
) -> Outcome<i16> {
    let given =
        |(name, value): &(&'a str, &'a str)| Given { name: (*name).into(), value: Some((*value).into()) };
    let topic = Topic {
        name: name.into(),
        num_partitions: 2,
        replication_factor: 1,
        configs: settings.iter().map(given).collect(),
        ..Default::default()
    };
    let request = CreateTopicsRequest { topics: vec![topic].into(), ..Default::default() };
    let frame = connection.ask(7, &request).await?;
    let (_, response) = open_response::<CreateTopicsResponse<'_>>(&frame, 7)?;
    Ok(response.topics.iter().next().ok_or("no topic in the answer")?.error_code)
}

async fn setting(connection: &mut KafkaConnection, topic: &str, name: &str) -> Outcome<(i16, String, i8)> {
    let asked = Asked {
        resource_type: TOPIC,
        resource_name: topic.into(),
        configuration_keys: Some(vec![name.into()].into()),
    };
    let request = DescribeConfigsRequest { resources: vec![asked].into(), ..Default::default() };
    let frame = connection.ask(4, &request).await?;
    let (_, response) = open_response::<DescribeConfigsResponse<'_>>(&frame, 4)?;
    let result = response.results.iter().next().ok_or("no resource in the answer")?;
    let config = result.configs.iter().next();
    let (value, source) = config
        .map(|config| (config.value.unwrap_or_default().to_string(), config.config_source))
        .unwrap_or_default();
    Ok((result.error_code, value, source))
}

async fn change(
    connection: &mut KafkaConnection,
    topic: &str,
    (name, operation, value): (&str, i8, Option<&str>),
) -> Outcome<i16> {
    let config = Config { name: name.into(), config_operation: operation, value: value.map(Into::into) };
    let resource =
        Resource { resource_type: TOPIC, resource_name: topic.into(), configs: vec![config].into() };
    let request = IncrementalAlterConfigsRequest { resources: vec![resource].into(), ..Default::default() };
    let frame = connection.ask(1, &request).await?;
    let (_, response) = open_response::<IncrementalAlterConfigsResponse<'_>>(&frame, 1)?;
    Ok(response.responses.iter().next().ok_or("no resource in the answer")?.error_code)
}

async fn delete(connection: &mut KafkaConnection, name: &str) -> Outcome<i16> {
    let request = DeleteTopicsRequest { topic_names: vec![name.into()].into(), ..Default::default() };
    let frame = connection.ask(5, &request).await?;
    let (_, response) = open_response::<DeleteTopicsResponse<'_>>(&frame, 5)?;
    Ok(response.responses.iter().next().ok_or("no topic in the answer")?.error_code)
}

#[tokio::test]
async fn a_topic_is_made_described_changed_and_removed() {
    with_node(async |cluster| {
        let mut connection = connect(cluster).await?;
        let made = [
            create(&mut connection, "t", &[("retention.ms", "1000")]).await?,
            create(&mut connection, "t", &[]).await?,
            create(&mut connection, "no/name", &[]).await?,
            create(&mut connection, "u", &[("retention", "1")]).await?,
            create(&mut connection, "__consumer_offsets", &[]).await?,
        ];
        let expected = [
            ErrorCode::None,
            ErrorCode::TopicAlreadyExists,
            ErrorCode::InvalidTopicException,
            ErrorCode::InvalidConfig,
            ErrorCode::InvalidTopicException,
        ];
        if made != expected.map(ErrorCode::code) {
            return Err(format!("{made:?}").into());
        }
        let (given, default) = (1, 5);
        let mut seen = vec![setting(&mut connection, "t", "retention.ms").await?];
        seen.push(setting(&mut connection, "t", "cleanup.policy").await?);
        let changed = [
            change(&mut connection, "t", ("retention.ms", 1, None)).await?,
            change(&mut connection, "t", ("cleanup.policy", 2, Some("compact"))).await?,
            change(&mut connection, "t", ("retention.ms", 2, Some("1"))).await?,
            change(&mut connection, "t", ("segment.bytes", 0, Some("many"))).await?,
            change(&mut connection, "nowhere", ("retention.ms", 1, None)).await?,
        ];
        let expected = [
            ErrorCode::None,
            ErrorCode::None,
            ErrorCode::InvalidConfig,
            ErrorCode::InvalidConfig,
            ErrorCode::UnknownTopicOrPartition,
        ];
        if changed != expected.map(ErrorCode::code) {
            return Err(format!("{changed:?}").into());
        }
        seen.push(setting(&mut connection, "t", "retention.ms").await?);
        seen.push(setting(&mut connection, "t", "cleanup.policy").await?);
        let told = |value: &str, source: i8| (0, value.to_owned(), source);
        let expected = [
            told("1000", given),
            told("delete", default),
            told("604800000", default),
            told("delete,compact", given),
        ];
        // The words of a list have no order.
        let in_order = |(error, value, source): &(i16, String, i8)| {
            let mut words: Vec<_> = value.split(',').map(str::to_owned).collect();
            words.sort_unstable();
            (*error, words, *source)
        };
        if seen.iter().map(in_order).ne(expected.iter().map(in_order)) {
            return Err(format!("{seen:?}").into());
        }
        let removed = [delete(&mut connection, "t").await?, delete(&mut connection, "nowhere").await?];
        if removed != [0, ErrorCode::UnknownTopicOrPartition.code()] {
            return Err(format!("{removed:?}").into());
        }
        Ok(())
    })
    .await;
}

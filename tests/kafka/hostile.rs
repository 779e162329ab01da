//! Frames that nobody should send end their connection, and nothing else.

use std::time::Duration;

use millstream_tests::Outcome;
use millstream_tests::process::ProcessCluster;
use millstream_transport::kafka::messages::create_partitions::{self, CreatePartitionsRequest};
use millstream_transport::kafka::messages::create_topics::{self, CreateTopicsRequest};
use millstream_transport::kafka::messages::elect_leaders::ElectLeadersRequest;
use millstream_transport::kafka::messages::elect_leaders::request::TopicPartition;
use millstream_transport::kafka::messages::metadata::MetadataResponse;
use millstream_transport::kafka::{Request, open_response};
use tokio::time::timeout;

use crate::{connect, make_topic, with_node};

/// What is sent, and what it is.
const FRAMES: [(&str, &[u8]); 7] = [
    ("a negative length", b"\xff\xff\xff\xff"),
    ("a length that no request may have", b"\x7f\xff\xff\xff"),
    ("a request without a header", b"\x00\x00\x00\x02\x00\x03"),
    ("an API that there is not", b"\x00\x00\x00\x0a\x7f\x00\x00\x00\x00\x00\x00\x01\xff\xff"),
    ("an API between nodes", b"\x00\x00\x00\x0a\x00\x34\x00\x00\x00\x00\x00\x01\xff\xff"),
    ("a version that there is not", b"\x00\x00\x00\x0a\x00\x03\x00\x7f\x00\x00\x00\x01\xff\xff"),
    (
        "two thousand million topics in thirty bytes",
        b"\x00\x00\x00\x1a\x00\x03\x00\x04\x00\x00\x00\x01\x00\x04test\x7f\xff\xff\xff\x00\x00\x00\x00\x00\x00\x00\x00",
    ),
];

#[tokio::test]
async fn garbage_ends_its_connection_and_harms_nobody_else() {
    with_node(async |cluster| {
        let mut bystander = connect(cluster).await?;
        for (what, bytes) in FRAMES {
            let mut connection = connect(cluster).await?;
            connection.send_bytes(bytes).await?;
            match timeout(Duration::from_secs(10), connection.frame()).await {
                Ok(Ok(None)) => {}
                other => return Err(format!("{what}: {other:?} instead of an end").into()),
            }
            make_topic(&mut bystander, "flights").await?;
        }
        Ok(())
    })
    .await;
}

/// A request ends its connection.
async fn ends<'a, R: Request<'a>>(cluster: &ProcessCluster, version: i16, request: &R) -> Outcome {
    let mut connection = connect(cluster).await?;
    match timeout(Duration::from_secs(10), connection.ask(version, request)).await {
        Ok(Err(_)) => Ok(()),
        other => Err(format!("{other:?} instead of an end").into()),
    }
}

#[tokio::test]
async fn a_list_of_operators_that_is_longer_than_any_has_reason_to_be_ends_its_connection() {
    with_node(async |cluster| {
        let partitions: Vec<i32> = (0..300_000).collect();
        let topic = TopicPartition { topic: "none".into(), partitions: partitions.into() };
        let request =
            ElectLeadersRequest { topic_partitions: Some(vec![topic].into()), ..Default::default() };
        ends(cluster, 2, &request).await?;
        let assignment = |partition_index| create_topics::request::Assignment {
            partition_index,
            broker_ids: Vec::new().into(),
        };
        let assignments = (0..300_000).map(assignment).collect();
        let topic = create_topics::request::Topic { name: "t".into(), assignments, ..Default::default() };
        ends(cluster, 7, &CreateTopicsRequest { topics: vec![topic].into(), ..Default::default() }).await?;
        let assignment = |_| create_partitions::request::Assignment { broker_ids: Vec::new().into() };
        let assignments = Some((0..600_000).map(assignment).collect());
        let topic = create_partitions::request::Topic { name: "t".into(), count: 2, assignments };
        ends(cluster, 3, &CreatePartitionsRequest { topics: vec![topic].into(), ..Default::default() })
            .await?;
        make_topic(&mut connect(cluster).await?, "flights").await?;
        Ok(())
    })
    .await;
}

/// Metadata version 13 as librdkafka 2.12 asks for all topics: a list's length in four bytes of zeros where one is meant,
/// then that no topic is to be made, that no operations are wanted, and no tagged fields. Read as it is meant to be, three
/// bytes are left over.
const ALL_TOPICS_OF_LIBRDKAFKA: &[u8] =
    b"\x00\x00\x00\x16\x00\x03\x00\x0d\x00\x00\x00\x07\x00\x04test\x00\x00\x00\x00\x00\x00\x00\x00";

#[tokio::test]
async fn bytes_after_a_request_are_ignored_as_librdkafka_sends_some() {
    with_node(async |cluster| {
        let mut connection = connect(cluster).await?;
        make_topic(&mut connection, "flights").await?;
        connection.send_bytes(ALL_TOPICS_OF_LIBRDKAFKA).await?;
        let frame = connection.frame().await?.ok_or("the connection was ended")?;
        let (_, response) = open_response::<MetadataResponse<'_>>(&frame, 13)?;
        let names: Vec<_> = response.topics.iter().map(|topic| topic.name.unwrap_or_default()).collect();
        if names.iter().any(|name| **name == *"flights") { Ok(()) } else { Err(format!("{names:?}").into()) }
    })
    .await;
}

#[tokio::test]
async fn requests_in_pieces_and_many_at_once_are_answered_in_order() {
    with_node(async |cluster| -> Outcome {
        let mut connection = connect(cluster).await?;
        let mut all = Vec::new();
        for correlation_id in 0..200_i32 {
            // ApiVersions version 0: no body.
            all.extend(b"\x00\x00\x00\x0a\x00\x12\x00\x00");
            all.extend(correlation_id.to_be_bytes());
            all.extend(b"\xff\xff");
        }
        for piece in all.chunks(13) {
            connection.send_bytes(piece).await?;
        }
        for correlation_id in 0..200_i32 {
            let frame = connection.frame().await?.ok_or("the connection was ended")?;
            if frame.first_chunk::<4>() != Some(&correlation_id.to_be_bytes()) {
                return Err(format!("{frame:?} instead of the answer to {correlation_id}").into());
            }
        }
        Ok(())
    })
    .await;
}

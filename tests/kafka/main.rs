//! Does a client of Kafka's protocol get what it asks for, and what is it told where it asks for something else?

mod deletions;
mod fetch_sessions;
mod groups;
mod hostile;
mod migration;
mod native;
mod nodes;
mod offsets;
mod operators;
mod placed;
mod quotas;
mod reassignments;
mod records;
mod security;
mod topics;
mod transactions;

use millstream_tests::Outcome;
use millstream_tests::kafka::KafkaConnection;
use millstream_tests::process::ProcessCluster;
use millstream_transport::kafka::messages::metadata::request::Topic;
use millstream_transport::kafka::messages::metadata::{MetadataRequest, MetadataResponse};
use millstream_transport::kafka::open_response;

const PROGRAM: &str = env!("CARGO_BIN_EXE_millstream-under-test");

/// The version of Metadata that these tests ask in.
const METADATA: i16 = 13;

/// Runs a test with one node.
async fn with_node(test: impl AsyncFnOnce(&ProcessCluster) -> Outcome) {
    ProcessCluster::run(PROGRAM, 1, &[], async |cluster| test(cluster).await).await;
}

async fn connect(cluster: &ProcessCluster) -> Outcome<KafkaConnection> {
    KafkaConnection::open(cluster.kafka(1)).await
}

/// Makes a topic by asking for it; its id.
async fn make_topic(
    connection: &mut KafkaConnection,
    name: &str,
) -> Outcome<millstream_transport::kafka::Uuid> {
    let topics = vec![Topic { name: Some(name.into()), ..Default::default() }];
    let request = MetadataRequest { topics: Some(topics.into()), ..Default::default() };
    let frame = connection.ask(METADATA, &request).await?;
    let (_, response) = open_response::<MetadataResponse<'_>>(&frame, METADATA)?;
    let topic = response.topics.iter().next().ok_or("no topic in the answer")?;
    if topic.error_code != 0 || topic.partitions.iter().any(|partition| partition.leader_id != 1) {
        return Err(format!("{topic:?}").into());
    }
    Ok(topic.topic_id)
}

fn expect<T: PartialEq + std::fmt::Debug>(what: &str, found: T, expected: T) -> Outcome {
    if found == expected { Ok(()) } else { Err(format!("{what}: {found:?} instead of {expected:?}").into()) }
}

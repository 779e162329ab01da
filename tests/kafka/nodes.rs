//! Nodes as clients see them: which are there, in which rack, whether the right one was reached; and readers of the own rack
//! (KIP-392): who is told another replica, what that one serves, and what only the leader does.

use std::fs::OpenOptions;
use std::io::Write as _;

use millstream_tests::kafka::KafkaConnection;
use millstream_tests::process::ProcessCluster;
use millstream_tests::{Outcome, until};
use millstream_transport::kafka::messages::api_versions::{ApiVersionsRequest, ApiVersionsResponse};
use millstream_transport::kafka::messages::describe_cluster::{
    DescribeClusterRequest, DescribeClusterResponse,
};
use millstream_transport::kafka::messages::fetch::{self, FetchRequest, FetchResponse};
use millstream_transport::kafka::messages::metadata::{MetadataRequest, MetadataResponse, request::Topic};
use millstream_transport::kafka::messages::unregister_broker::{
    UnregisterBrokerRequest, UnregisterBrokerResponse,
};
use millstream_transport::kafka::messages::update_features::{
    self, UpdateFeaturesRequest, UpdateFeaturesResponse,
};
use millstream_transport::kafka::{ErrorCode, Uuid, open_response};

use crate::records::{batch, produce};
use crate::{METADATA, PROGRAM, connect, expect, with_node};

const VERSION: i16 = 12;
const SELECTOR: &str = "org.apache.kafka.common.replica.RackAwareReplicaSelector";

/// What a fetch of one partition is answered: error, preferred replica, high watermark, bytes.
type Read = (i16, i32, i64, usize);

struct Reader<'a> {
    rack: &'a str,
    max_wait_ms: i32,
    isolation_level: i8,
}

const PATIENT: Reader<'_> = Reader { rack: "rack-2", max_wait_ms: 20_000, isolation_level: 0 };
const AT_ONCE: Reader<'_> = Reader { max_wait_ms: 0, ..PATIENT };

impl Reader<'_> {
    async fn read(&self, connection: &mut KafkaConnection, offset: i64) -> Outcome<Read> {
        let partition = fetch::request::Partition {
            fetch_offset: offset,
            partition_max_bytes: 1 << 20,
            ..Default::default()
        };
        let topic = fetch::request::Topic {
            topic: "flights".into(),
            partitions: vec![partition].into(),
            ..Default::default()
        };
        let request = FetchRequest {
            max_wait_ms: self.max_wait_ms,
            min_bytes: 1,
            max_bytes: 1 << 20,
            isolation_level: self.isolation_level,
            rack_id: self.rack.to_owned().into(),
            topics: vec![topic].into(),
            ..Default::default()
        };
        let frame = connection.ask(VERSION, &request).await?;
        let (_, response) = open_response::<FetchResponse<'_>>(&frame, VERSION)?;
        let topic = response.responses.iter().next().ok_or("no topic in the answer")?;
        let found = topic.partitions.iter().next().ok_or("no partition in the answer")?;
        let bytes = found.records.map_or(0, |records| records.to_shared(&frame).len());
        Ok((found.error_code, found.preferred_read_replica, found.high_watermark, bytes))
    }
}

/// Racks by node, the leader of the topic's first partition, its id, and how many replicas of it are in sync.
async fn known(connection: &mut KafkaConnection) -> Outcome<(Vec<(i32, String)>, i32, Uuid, usize)> {
    let topics = vec![Topic { name: Some("flights".into()), ..Default::default() }];
    let request = MetadataRequest {
        topics: Some(topics.into()),
        allow_auto_topic_creation: true,
        ..Default::default()
    };
    let frame = connection.ask(METADATA, &request).await?;
    let (_, response) = open_response::<MetadataResponse<'_>>(&frame, METADATA)?;
    let racks = response.brokers.iter().map(|it| (it.node_id, it.rack.unwrap_or_default().to_string()));
    let topic = response.topics.iter().next().ok_or("no topic in the answer")?;
    let first = topic.partitions.iter().find(|partition| partition.partition_index == 0);
    let (leader, in_sync) = first.map_or((-1, 0), |first| (first.leader_id, first.isr_nodes.iter().count()));
    Ok((racks.collect(), leader, topic.topic_id, in_sync))
}

/// Three nodes, each in a rack of its own name.
async fn in_racks(test: impl AsyncFnOnce(&ProcessCluster) -> Outcome) {
    let settings = [("replica.selector.class", SELECTOR), ("num.partitions", "1")];
    ProcessCluster::run(PROGRAM, 3, &settings, async |cluster| {
        for node in 1..=3 {
            let status = cluster.terminate(node).await?;
            expect("a clean stop", status.success(), true)?;
            let mut file = OpenOptions::new().append(true).open(cluster.config_file(node))?;
            writeln!(file, "broker.rack = \"rack-{node}\"")?;
            cluster.restart_node(node).await?;
        }
        test(cluster).await
    })
    .await;
}

#[tokio::test]
async fn a_reader_is_served_by_the_replica_in_its_rack() {
    in_racks(async |cluster| {
        let mut any = KafkaConnection::open(cluster.kafka(1)).await?;
        let expected = [1, 2, 3].map(|node| (node, format!("rack-{node}"))).to_vec();
        until("all racks are told", async || {
            let topics = Some(Vec::new().into());
            let request = MetadataRequest { topics, ..Default::default() };
            let frame = any.ask(METADATA, &request).await?;
            let (_, response) = open_response::<MetadataResponse<'_>>(&frame, METADATA)?;
            let racks =
                response.brokers.iter().map(|it| (it.node_id, it.rack.unwrap_or_default().to_string()));
            Ok((racks.collect::<Vec<_>>() == expected).then_some(()))
        })
        .await?;
        let (_, leader, id, _) = until("the topic is led, with all replicas in sync", async || {
            Ok(Some(known(&mut any).await?).filter(|(_, leader, _, in_sync)| *leader > 0 && *in_sync == 3))
        })
        .await?;
        let near = if leader == 2 { 3 } else { 2 };
        let rack = format!("rack-{near}");
        let (patient, at_once) = (Reader { rack: &rack, ..PATIENT }, Reader { rack: &rack, ..AT_ONCE });
        let mut lead = KafkaConnection::open(cluster.kafka(u32::try_from(leader)?)).await?;
        let mut follow = KafkaConnection::open(cluster.kafka(u32::try_from(near)?)).await?;
        let records = batch(&["a", "b"], 1_000)?;
        produce(&mut lead, 9, ("flights", id), -1, records.clone()).await?;

        let told = patient.read(&mut lead, 0).await?;
        expect("the leader names the other", (told.0, told.1, told.3), (0, near, 0))?;
        let (_, _, mark, bytes) = until("the follower has heard of the records", async || {
            Ok(Some(at_once.read(&mut follow, 0).await?).filter(|read| read.0 == 0 && read.3 > 0))
        })
        .await?;
        expect("what the follower serves", (mark, bytes), (2, records.len()))?;

        let mut waiting = KafkaConnection::open(cluster.kafka(u32::try_from(near)?)).await?;
        let (read, produced) = tokio::join!(
            patient.read(&mut waiting, 2),
            produce(&mut lead, 9, ("flights", id), -1, records.clone())
        );
        expect("produced", produced?, (0, 2))?;
        let read = read?;
        expect("who waits there is woken", (read.0, read.3), (0, records.len()))?;

        let beyond = at_once.read(&mut follow, 99).await?;
        expect("beyond its log", beyond.0, ErrorCode::NotLeaderOrFollower.code())?;
        let beyond = patient.read(&mut lead, 99).await?;
        expect("beyond the end", (beyond.0, beyond.1), (ErrorCode::OffsetOutOfRange.code(), -1))?;
        let committed = Reader { rack: &rack, isolation_level: 1, ..AT_ONCE };
        let read = committed.read(&mut lead, 0).await?;
        expect("committed transactions", (read.0, read.1, read.3), (0, -1, 2 * records.len()))?;
        let read = committed.read(&mut follow, 0).await?;
        expect("and not from the follower", read.0, ErrorCode::NotLeaderOrFollower.code())?;
        let elsewhere = Reader { rack: "nowhere", ..AT_ONCE };
        let read = elsewhere.read(&mut lead, 0).await?;
        expect("a rack without a replica", (read.1, read.3), (-1, 2 * records.len()))
    })
    .await;
}

async fn unregister(connection: &mut KafkaConnection, broker_id: i32) -> Outcome<i16> {
    let frame = connection.ask(0, &UnregisterBrokerRequest { broker_id }).await?;
    let (_, response) = open_response::<UnregisterBrokerResponse<'_>>(&frame, 0)?;
    Ok(response.error_code)
}

async fn brokers(
    connection: &mut KafkaConnection,
    include_fenced_brokers: bool,
) -> Outcome<Vec<(i32, bool)>> {
    let request = DescribeClusterRequest { endpoint_type: 1, include_fenced_brokers, ..Default::default() };
    let frame = connection.ask(2, &request).await?;
    let (_, response) = open_response::<DescribeClusterResponse<'_>>(&frame, 2)?;
    Ok(response.brokers.iter().map(|broker| (broker.broker_id, broker.is_fenced)).collect())
}

#[tokio::test]
async fn a_node_that_is_away_is_told_where_it_is_asked_for_and_can_be_forgotten() {
    ProcessCluster::run(PROGRAM, 3, &[], async |cluster| {
        cluster.kill_9(3)?;
        let mut connection = KafkaConnection::open(cluster.kafka(1)).await?;
        until("node 3 is away", async || {
            let all = brokers(&mut connection, true).await?;
            Ok((all == [(1, false), (2, false), (3, true)]).then_some(()))
        })
        .await?;
        expect("those there", brokers(&mut connection, false).await?, vec![(1, false), (2, false)])?;
        expect("one that is there", unregister(&mut connection, 2).await?, ErrorCode::InvalidRequest.code())?;
        expect("unknown", unregister(&mut connection, 9).await?, ErrorCode::BrokerIdNotRegistered.code())?;
        expect("forgotten", unregister(&mut connection, 3).await?, 0)?;
        until("node 3 is known no longer", async || {
            Ok((brokers(&mut connection, true).await?.len() == 2).then_some(()))
        })
        .await
    })
    .await;
}

#[tokio::test]
async fn features_stay_in_the_version_they_have() {
    with_node(async |cluster| {
        let mut connection = connect(cluster).await?;
        let wrong = ErrorCode::InvalidUpdateVersion.code();
        for version in 0..=2 {
            let updates = [("transaction.version", 2), ("group.version", 0), ("nothing", 1)];
            let updates = updates.map(|(feature, level)| update_features::request::FeatureUpdate {
                feature: feature.into(),
                max_version_level: level,
                upgrade_type: 1,
                ..Default::default()
            });
            let request =
                UpdateFeaturesRequest { feature_updates: updates.to_vec().into(), ..Default::default() };
            let frame = connection.ask(version, &request).await?;
            let (_, response) = open_response::<UpdateFeaturesResponse<'_>>(&frame, version)?;
            let each: Vec<i16> = response.results.iter().map(|result| result.error_code).collect();
            let expected = if version < 2 { (0, vec![0, wrong, wrong]) } else { (wrong, vec![]) };
            expect("updates", (response.error_code, each), expected)?;
        }
        Ok(())
    })
    .await;
}

#[tokio::test]
async fn a_client_that_has_reached_another_node_than_it_means_is_told_to_begin_anew() {
    with_node(async |cluster| {
        let mut connection = connect(cluster).await?;
        let frame =
            connection.ask(2, &DescribeClusterRequest { endpoint_type: 1, ..Default::default() }).await?;
        let (_, response) = open_response::<DescribeClusterResponse<'_>>(&frame, 2)?;
        let id = response.cluster_id.to_string();
        let (anew, invalid) = (ErrorCode::RebootstrapRequired.code(), ErrorCode::InvalidRequest.code());
        for (cluster_id, node_id, expected) in [
            (Some(id.as_str()), 1, 0),
            (None, -1, 0),
            (Some(id.as_str()), 2, anew),
            (Some("another"), 1, anew),
            (None, 1, invalid),
            (Some(id.as_str()), -1, invalid),
        ] {
            let request = ApiVersionsRequest {
                client_software_name: "tests".into(),
                client_software_version: "1".into(),
                cluster_id: cluster_id.map(Into::into),
                node_id,
            };
            let frame = connection.ask(5, &request).await?;
            let (_, response) = open_response::<ApiVersionsResponse<'_>>(&frame, 5)?;
            expect(&format!("node {node_id} of {cluster_id:?}"), response.error_code, expected)?;
        }
        Ok(())
    })
    .await;
}

//! Listeners with names: who comes in by one is told the addresses of the same name.

use millstream_tests::Outcome;
use millstream_tests::kafka::KafkaConnection;
use millstream_tests::process::ProcessCluster;
use millstream_tests::until;
use millstream_transport::kafka::messages::describe_cluster::{
    DescribeClusterRequest, DescribeClusterResponse,
};
use millstream_transport::kafka::messages::find_coordinator::{
    FindCoordinatorRequest, FindCoordinatorResponse,
};
use millstream_transport::kafka::messages::metadata::{MetadataRequest, MetadataResponse};
use millstream_transport::kafka::open_response;

use crate::{METADATA, PROGRAM, expect};

/// Where a client is sent: node, host, port.
type Place = (i32, String, i32);

async fn brokers(connection: &mut KafkaConnection) -> Outcome<Vec<Place>> {
    let frame = connection.ask(METADATA, &MetadataRequest::default()).await?;
    let (_, response) = open_response::<MetadataResponse<'_>>(&frame, METADATA)?;
    let places = response.brokers.iter().map(|told| (told.node_id, told.host.to_string(), told.port));
    Ok(places.collect())
}

async fn described(connection: &mut KafkaConnection) -> Outcome<Vec<Place>> {
    let request = DescribeClusterRequest { endpoint_type: 1, ..Default::default() };
    let frame = connection.ask(2, &request).await?;
    let (_, response) = open_response::<DescribeClusterResponse<'_>>(&frame, 2)?;
    let places = response.brokers.iter().map(|told| (told.broker_id, told.host.to_string(), told.port));
    Ok(places.collect())
}

async fn coordinator(connection: &mut KafkaConnection) -> Outcome<Place> {
    let request = FindCoordinatorRequest { coordinator_keys: vec!["g".into()].into(), ..Default::default() };
    until("a coordinator", async || {
        let frame = connection.ask(6, &request).await?;
        let (_, response) = open_response::<FindCoordinatorResponse<'_>>(&frame, 6)?;
        let told = response.coordinators.iter().next().ok_or("no coordinator in the answer")?;
        Ok((told.error_code == 0).then(|| (told.node_id, told.host.to_string(), told.port)))
    })
    .await
}

#[tokio::test]
async fn a_client_is_told_the_addresses_of_the_listener_that_it_came_in_by() {
    let settings = [
        ("listeners", "IN://{extra0},OUT://{extra1},LAST://{extra2}"),
        ("listener.security.protocol.map", "IN:PLAINTEXT,OUT:PLAINTEXT,LAST:PLAINTEXT"),
        ("advertised.listeners", "OUT://kafka-{node}.example:1909{node},LAST://{extra3}"),
    ];
    ProcessCluster::run(PROGRAM, 3, &settings, async |cluster| {
        let inside = |id: u32, number: u32| {
            let told = cluster.extra(id, number);
            (i32::try_from(id).unwrap_or(0), told.ip().to_string(), i32::from(told.port()))
        };
        let all_in: Vec<Place> = (1..=3).map(|id| inside(id, 0)).collect();
        let all_last: Vec<Place> = (1..=3).map(|id| inside(id, 3)).collect();
        let outside = |id: i32| (id, format!("kafka-{id}.example"), 19_090 + id);
        let all_out: Vec<Place> = (1..=3).map(outside).collect();
        for (number, expected) in [(0, all_in), (1, all_out), (2, all_last)] {
            let mut connection = KafkaConnection::open(cluster.extra(2, number)).await?;
            expect("metadata", brokers(&mut connection).await?, expected.clone())?;
            expect("the cluster", described(&mut connection).await?, expected.clone())?;
            let found = coordinator(&mut connection).await?;
            expect("the coordinator", expected.contains(&found), true)?;
        }
        Ok(())
    })
    .await;
}

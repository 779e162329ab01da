//! A group of consumers goes over from the classic protocol to KIP-848 and back while it has members.

use std::borrow::Cow;
use std::collections::BTreeMap;

use millstream_tests::Outcome;
use millstream_tests::kafka::KafkaConnection;
use millstream_transport::kafka::messages::consumer_group_describe::{
    ConsumerGroupDescribeRequest, ConsumerGroupDescribeResponse,
};
use millstream_transport::kafka::messages::consumer_group_heartbeat::{
    ConsumerGroupHeartbeatRequest, ConsumerGroupHeartbeatResponse,
};
use millstream_transport::kafka::messages::consumer_protocol::{
    AssignedPartition, ConsumerProtocolAssignment, ConsumerProtocolSubscription,
};
use millstream_transport::kafka::messages::heartbeat::{HeartbeatRequest, HeartbeatResponse};
use millstream_transport::kafka::messages::join_group::request::Protocol;
use millstream_transport::kafka::messages::join_group::{JoinGroupRequest, JoinGroupResponse};
use millstream_transport::kafka::messages::list_groups::{ListGroupsRequest, ListGroupsResponse};
use millstream_transport::kafka::messages::sync_group::request::Assignment;
use millstream_transport::kafka::messages::sync_group::{SyncGroupRequest, SyncGroupResponse};
use millstream_transport::kafka::{ErrorCode, Message as _, open_response};

use crate::groups::find_coordinator;
use crate::{connect, expect, make_topic, with_node};

const TOPIC: &str = "flights";
const MODERN: &str = "modern-1";

/// A member of the classic protocol.
struct Member {
    group: &'static str,
    kind: &'static str,
    id: String,
    generation: i32,
    leads: bool,
}

impl Member {
    async fn new(connection: &mut KafkaConnection, group: &'static str, kind: &'static str) -> Outcome<Self> {
        let mut member = Self { group, kind, id: String::new(), generation: -1, leads: false };
        loop {
            match ErrorCode::from_code(member.join(connection).await?) {
                Some(ErrorCode::None) => return Ok(member),
                // While the coordinator still reads its log, too.
                Some(error) if error.is_retriable() || error == ErrorCode::MemberIdRequired => {}
                other => return Err(format!("a join: {other:?}").into()),
            }
        }
    }

    async fn join(&mut self, connection: &mut KafkaConnection) -> Outcome<i16> {
        let subscription =
            ConsumerProtocolSubscription { topics: vec![TOPIC.into()].into(), ..Default::default() };
        let metadata = subscription.encode_versioned(1)?;
        let request = JoinGroupRequest {
            group_id: self.group.into(),
            session_timeout_ms: 10_000,
            rebalance_timeout_ms: 10_000,
            member_id: self.id.as_str().into(),
            protocol_type: self.kind.into(),
            protocols: vec![Protocol { name: "range".into(), metadata: Cow::Owned(metadata) }].into(),
            ..Default::default()
        };
        let frame = connection.ask(9, &request).await?;
        let (_, response) = open_response::<JoinGroupResponse<'_>>(&frame, 9)?;
        self.id = response.member_id.to_string();
        self.generation = response.generation_id;
        self.leads = response.leader == response.member_id;
        Ok(response.error_code)
    }

    /// Its partitions of the topic; as the leader it gives itself the first.
    async fn sync(&self, connection: &mut KafkaConnection) -> Outcome<Vec<i32>> {
        let given = AssignedPartition { topic: TOPIC.into(), partitions: vec![0].into() };
        let given =
            ConsumerProtocolAssignment { assigned_partitions: vec![given].into(), ..Default::default() };
        let given = given.encode_versioned(1)?;
        let given = Assignment { member_id: self.id.as_str().into(), assignment: Cow::Owned(given) };
        let request = SyncGroupRequest {
            group_id: self.group.into(),
            generation_id: self.generation,
            member_id: self.id.as_str().into(),
            protocol_type: Some(self.kind.into()),
            protocol_name: Some("range".into()),
            assignments: if self.leads { vec![given].into() } else { Vec::new().into() },
            ..Default::default()
        };
        let frame = connection.ask(5, &request).await?;
        let (_, response) = open_response::<SyncGroupResponse<'_>>(&frame, 5)?;
        expect("a sync", response.error_code, 0)?;
        let assigned = ConsumerProtocolAssignment::decode_versioned(&response.assignment)?;
        Ok(assigned
            .assigned_partitions
            .iter()
            .flat_map(|topic| topic.partitions.iter().collect::<Vec<_>>())
            .collect())
    }

    async fn heartbeat(&self, connection: &mut KafkaConnection) -> Outcome<i16> {
        let request = HeartbeatRequest {
            group_id: self.group.into(),
            generation_id: self.generation,
            member_id: self.id.as_str().into(),
            ..Default::default()
        };
        let frame = connection.ask(4, &request).await?;
        Ok(open_response::<HeartbeatResponse>(&frame, 4)?.1.error_code)
    }
}

/// A heartbeat of a member of KIP-848: what it is answered, its epoch and how many partitions it was told.
async fn beat(
    connection: &mut KafkaConnection,
    group: &str,
    member_epoch: i32,
) -> Outcome<(i16, i32, Option<usize>)> {
    let joins = member_epoch == 0;
    let request = ConsumerGroupHeartbeatRequest {
        group_id: group.into(),
        member_id: MODERN.into(),
        member_epoch,
        rebalance_timeout_ms: 10_000,
        subscribed_topic_names: joins.then(|| vec![TOPIC.into()].into()),
        topic_partitions: joins.then(|| Vec::new().into()),
        ..Default::default()
    };
    let frame = connection.ask(1, &request).await?;
    let (_, response) = open_response::<ConsumerGroupHeartbeatResponse<'_>>(&frame, 1)?;
    let told = response.assignment.map(|assigned| {
        assigned.topic_partitions.iter().map(|topic| topic.partitions.iter().count()).sum::<usize>()
    });
    Ok((response.error_code, response.member_epoch, told))
}

/// Member ids and their types, as they are told of a group of KIP-848.
async fn described(connection: &mut KafkaConnection, group: &str) -> Outcome<BTreeMap<String, i8>> {
    let request = ConsumerGroupDescribeRequest { group_ids: vec![group.into()].into(), ..Default::default() };
    let frame = connection.ask(1, &request).await?;
    let (_, response) = open_response::<ConsumerGroupDescribeResponse<'_>>(&frame, 1)?;
    let group = response.groups.iter().next().ok_or("no group in the answer")?;
    expect("a description", group.error_code, 0)?;
    Ok(group.members.iter().map(|member| (member.member_id.to_string(), member.member_type)).collect())
}

async fn listed(connection: &mut KafkaConnection) -> Outcome<BTreeMap<String, String>> {
    let frame = connection.ask(5, &ListGroupsRequest::default()).await?;
    let (_, response) = open_response::<ListGroupsResponse<'_>>(&frame, 5)?;
    Ok(response
        .groups
        .iter()
        .map(|group| (group.group_id.to_string(), group.group_type.to_string()))
        .collect())
}

#[tokio::test]
async fn a_group_of_consumers_goes_over_to_kip_848_and_back_and_others_do_not() {
    with_node(async |cluster| {
        let (mut one, mut two) = (connect(cluster).await?, connect(cluster).await?);
        make_topic(&mut one, TOPIC).await?;
        find_coordinator(&mut one, "readers").await?;
        let mut classic = Member::new(&mut one, "readers", "consumer").await?;
        expect("what it gave itself", classic.sync(&mut one).await?, vec![0])?;
        let generation = classic.generation;
        expect("listed", listed(&mut two).await?, [("readers".into(), "Classic".into())].into())?;

        let (error, epoch, told) = beat(&mut two, "readers", 0).await?;
        expect("it takes the group over", (error, epoch), (0, generation + 1))?;
        expect("listed", listed(&mut two).await?, [("readers".into(), "Consumer".into())].into())?;
        let members = [(classic.id.clone(), 0), (MODERN.to_owned(), 1)].into();
        expect("described", described(&mut two, "readers").await?, members)?;
        let rebalancing = ErrorCode::RebalanceInProgress.code();
        expect("there is something to join for", classic.heartbeat(&mut one).await?, rebalancing)?;
        expect("it joins at once", classic.join(&mut one).await?, 0)?;
        expect("the generation", (classic.generation, classic.leads), (epoch, false))?;
        let read = classic.sync(&mut one).await?.len() + told.unwrap_or(0);
        expect("every partition has one reader", read, 6)?;
        expect("it has all that it is to have", beat(&mut two, "readers", epoch).await?, (0, epoch, None))?;

        expect("it leaves", beat(&mut two, "readers", -1).await?, (0, -1, None))?;
        expect("listed", listed(&mut two).await?, [("readers".into(), "Classic".into())].into())?;
        expect("its members assign again", classic.heartbeat(&mut one).await?, rebalancing)?;
        expect("it joins", classic.join(&mut one).await?, 0)?;
        expect("the generation", (classic.generation, classic.leads), (generation + 2, true))?;
        expect("what it gave itself", classic.sync(&mut one).await?, vec![0])?;

        let worker = Member::new(&mut one, "workers", "connect").await?;
        worker.sync(&mut one).await?;
        let refused = ErrorCode::GroupIdNotFound.code();
        expect("another kind", beat(&mut two, "workers", 0).await?.0, refused)?;
        expect("it notices nothing", worker.heartbeat(&mut one).await?, 0)
    })
    .await;
}

//! Groups of the classic protocol: members join, are assigned, commit, and leave.

use std::borrow::Cow;

use millstream_tests::Outcome;
use millstream_tests::kafka::KafkaConnection;
use millstream_transport::kafka::messages::describe_groups::{DescribeGroupsRequest, DescribeGroupsResponse};
use millstream_transport::kafka::messages::find_coordinator::{
    FindCoordinatorRequest, FindCoordinatorResponse,
};
use millstream_transport::kafka::messages::heartbeat::{HeartbeatRequest, HeartbeatResponse};
use millstream_transport::kafka::messages::join_group::request::Protocol;
use millstream_transport::kafka::messages::join_group::{JoinGroupRequest, JoinGroupResponse};
use millstream_transport::kafka::messages::leave_group::request::Member as Leaver;
use millstream_transport::kafka::messages::leave_group::{LeaveGroupRequest, LeaveGroupResponse};
use millstream_transport::kafka::messages::list_groups::{ListGroupsRequest, ListGroupsResponse};
use millstream_transport::kafka::messages::offset_commit::{self, OffsetCommitRequest, OffsetCommitResponse};
use millstream_transport::kafka::messages::offset_fetch::{self, OffsetFetchRequest, OffsetFetchResponse};
use millstream_transport::kafka::messages::sync_group::request::Assignment;
use millstream_transport::kafka::messages::sync_group::{SyncGroupRequest, SyncGroupResponse};
use millstream_transport::kafka::{ErrorCode, open_response};

use crate::offsets::forget;
use crate::{connect, expect, make_topic, with_node};

const GROUP: &str = "readers";

/// What a member was told when it joined.
struct Joined {
    error: i16,
    member: String,
    generation: i32,
    leader: String,
    members: Vec<String>,
}

async fn join(connection: &mut KafkaConnection, version: i16, member: &str) -> Outcome<Joined> {
    let protocol = Protocol { name: "range".into(), metadata: Cow::Borrowed(b"what it reads") };
    let request = JoinGroupRequest {
        group_id: GROUP.into(),
        session_timeout_ms: 10_000,
        rebalance_timeout_ms: 10_000,
        member_id: member.into(),
        protocol_type: "consumer".into(),
        protocols: vec![protocol].into(),
        ..Default::default()
    };
    let frame = connection.ask(version, &request).await?;
    let (_, response) = open_response::<JoinGroupResponse<'_>>(&frame, version)?;
    Ok(Joined {
        error: response.error_code,
        member: response.member_id.to_string(),
        generation: response.generation_id,
        leader: response.leader.to_string(),
        members: response.members.iter().map(|member| member.member_id.to_string()).collect(),
    })
}

/// Joins as who has no id yet does: is given one, and joins with it.
async fn join_anew(connection: &mut KafkaConnection) -> Outcome<Joined> {
    let promised = join(connection, 9, "").await?;
    if promised.error != ErrorCode::MemberIdRequired.code() || !promised.member.starts_with("tests-") {
        return Err(format!("{}, {:?}", promised.error, promised.member).into());
    }
    join(connection, 9, &promised.member).await
}

async fn sync(
    connection: &mut KafkaConnection,
    joined: &Joined,
    assignments: &[(&str, &[u8])],
) -> Outcome<(i16, Vec<u8>)> {
    let assigned = assignments.iter().map(|(member, assignment)| Assignment {
        member_id: (*member).into(),
        assignment: (*assignment).into(),
    });
    let request = SyncGroupRequest {
        group_id: GROUP.into(),
        generation_id: joined.generation,
        member_id: joined.member.as_str().into(),
        protocol_type: Some("consumer".into()),
        protocol_name: Some("range".into()),
        assignments: assigned.collect(),
        ..Default::default()
    };
    let frame = connection.ask(5, &request).await?;
    let (_, response) = open_response::<SyncGroupResponse<'_>>(&frame, 5)?;
    Ok((response.error_code, response.assignment.to_vec()))
}

async fn heartbeat(connection: &mut KafkaConnection, joined: &Joined) -> Outcome<i16> {
    let request = HeartbeatRequest {
        group_id: GROUP.into(),
        generation_id: joined.generation,
        member_id: joined.member.as_str().into(),
        ..Default::default()
    };
    let frame = connection.ask(4, &request).await?;
    Ok(open_response::<HeartbeatResponse>(&frame, 4)?.1.error_code)
}

async fn commit(connection: &mut KafkaConnection, joined: &Joined, offset: i64) -> Outcome<i16> {
    let partition = offset_commit::request::Partition { committed_offset: offset, ..Default::default() };
    let topic = offset_commit::request::Topic {
        name: "flights".into(),
        partitions: vec![partition].into(),
        ..Default::default()
    };
    let request = OffsetCommitRequest {
        group_id: GROUP.into(),
        generation_id_or_member_epoch: joined.generation,
        member_id: joined.member.as_str().into(),
        topics: vec![topic].into(),
        ..Default::default()
    };
    let frame = connection.ask(9, &request).await?;
    let (_, response) = open_response::<OffsetCommitResponse<'_>>(&frame, 9)?;
    let topic = response.topics.iter().next().ok_or("no topic in the answer")?;
    Ok(topic.partitions.iter().next().ok_or("no partition in the answer")?.error_code)
}

async fn committed(connection: &mut KafkaConnection) -> Outcome<i64> {
    let topic = offset_fetch::request::GroupTopic {
        name: "flights".into(),
        partition_indexes: vec![0].into(),
        ..Default::default()
    };
    let group = offset_fetch::request::Group {
        group_id: GROUP.into(),
        topics: Some(vec![topic].into()),
        ..Default::default()
    };
    let request = OffsetFetchRequest { groups: vec![group].into(), ..Default::default() };
    let frame = connection.ask(9, &request).await?;
    let (_, response) = open_response::<OffsetFetchResponse<'_>>(&frame, 9)?;
    let group = response.groups.iter().next().ok_or("no group in the answer")?;
    let topic = group.topics.iter().next().ok_or("no topic in the answer")?;
    Ok(topic.partitions.iter().next().ok_or("no partition in the answer")?.committed_offset)
}

/// Waits until the coordinator of a group is there.
pub(crate) async fn find_coordinator(connection: &mut KafkaConnection, group: &str) -> Outcome {
    let request =
        FindCoordinatorRequest { coordinator_keys: vec![group.into()].into(), ..Default::default() };
    loop {
        let frame = connection.ask(6, &request).await?;
        let (_, response) = open_response::<FindCoordinatorResponse<'_>>(&frame, 6)?;
        let coordinator = response.coordinators.iter().next().ok_or("no coordinator in the answer")?;
        match ErrorCode::from_code(coordinator.error_code) {
            Some(ErrorCode::None) => return Ok(()),
            Some(error) if error.is_retriable() => {}
            _ => return Err(format!("{coordinator:?}").into()),
        }
    }
}

/// Asks again while the coordinator is still reading its log.
async fn first_join(connection: &mut KafkaConnection) -> Outcome<Joined> {
    loop {
        let promised = join(connection, 9, "").await?;
        match ErrorCode::from_code(promised.error) {
            Some(ErrorCode::MemberIdRequired) => return join(connection, 9, &promised.member).await,
            Some(error) if error.is_retriable() => {}
            _ => return Err(format!("{}", promised.error).into()),
        }
    }
}

#[tokio::test]
async fn the_coordinator_of_a_group_is_found_in_every_version_and_other_types_are_told_that_there_is_none() {
    with_node(async |cluster| {
        let mut connection = connect(cluster).await?;
        find_coordinator(&mut connection, GROUP).await?;
        for version in 0..=6 {
            let mut found = Vec::new();
            for key_type in if version > 0 { vec![0, 2] } else { vec![0] } {
                let (key, keys) = if version < 4 { (GROUP, vec![]) } else { ("", vec![GROUP.into()]) };
                let request =
                    FindCoordinatorRequest { key: key.into(), key_type, coordinator_keys: keys.into() };
                let frame = connection.ask(version, &request).await?;
                let (_, response) = open_response::<FindCoordinatorResponse<'_>>(&frame, version)?;
                let one = response.coordinators.iter().next().map(|one| (one.error_code, one.node_id));
                found.push(one.unwrap_or((response.error_code, response.node_id)));
            }
            let none = (ErrorCode::InvalidRequest.code(), -1);
            let expected = if version > 0 { vec![(0, 1), none] } else { vec![(0, 1)] };
            expect(&format!("version {version}"), found, expected)?;
        }
        Ok(())
    })
    .await;
}

#[tokio::test]
async fn two_members_share_a_group_and_one_goes_on_when_the_other_leaves() {
    with_node(async |cluster| {
        let (mut one, mut two) = (connect(cluster).await?, connect(cluster).await?);
        make_topic(&mut one, "flights").await?;
        find_coordinator(&mut one, GROUP).await?;
        let first = first_join(&mut one).await?;
        expect("the first leads", (first.error, &first.leader), (0, &first.member))?;
        expect(
            "its assignment",
            sync(&mut one, &first, &[(&first.member, b"all")]).await?,
            (0, b"all".to_vec()),
        )?;
        expect("it lives", heartbeat(&mut one, &first).await?, 0)?;

        // Another comes: it waits until the first, told by its heartbeat, has joined again.
        let joining = tokio::spawn(async move {
            let joined = join_anew(&mut two).await.map_err(|error| error.to_string());
            (two, joined)
        });
        while heartbeat(&mut one, &first).await? != ErrorCode::RebalanceInProgress.code() {}
        let again = join(&mut one, 9, &first.member).await?;
        let (mut two, second) = joining.await?;
        let second = second?;
        expect("one generation", again.generation, second.generation)?;
        expect("all are told to the leader alone", (again.members.len(), second.members.len()), (2, 0))?;
        let assignments: [(&str, &[u8]); 2] = [(&again.member, b"left"), (&second.member, b"right")];
        let (left, right) =
            tokio::try_join!(sync(&mut one, &again, &assignments), sync(&mut two, &second, &[]))?;
        expect("each its own", (left, right), ((0, b"left".to_vec()), (0, b"right".to_vec())))?;

        expect("a commit", commit(&mut two, &second, 7).await?, 0)?;
        expect("what was committed", committed(&mut one).await?, 7)?;
        // Nobody can read what these members subscribe to: it may be anything.
        let in_use = ErrorCode::GroupSubscribedToTopic.code();
        expect("an offset in use", forget(&mut one, GROUP, 0).await?, (0, vec![in_use]))?;
        let stale = Joined { generation: first.generation, ..second };
        let refused = ErrorCode::IllegalGeneration.code();
        expect("a commit of a past generation", commit(&mut two, &stale, 9).await?, refused)?;
        expect("what was committed", committed(&mut one).await?, 7)?;
        expect("the state", state(&mut one).await?, ("Stable".to_owned(), 2))?;

        let leaver = Leaver { member_id: stale.member.as_str().into(), ..Default::default() };
        let request =
            LeaveGroupRequest { group_id: GROUP.into(), members: vec![leaver].into(), ..Default::default() };
        let frame = two.ask(5, &request).await?;
        expect("it leaves", open_response::<LeaveGroupResponse<'_>>(&frame, 5)?.1.error_code, 0)?;
        while heartbeat(&mut one, &again).await? != ErrorCode::RebalanceInProgress.code() {}
        let alone = join(&mut one, 9, &again.member).await?;
        expect("alone", alone.members, vec![again.member])?;
        expect("listed", listed(&mut one).await?, vec![GROUP.to_owned()])
    })
    .await;
}

async fn state(connection: &mut KafkaConnection) -> Outcome<(String, usize)> {
    let request = DescribeGroupsRequest { groups: vec![GROUP.into()].into(), ..Default::default() };
    let frame = connection.ask(6, &request).await?;
    let (_, response) = open_response::<DescribeGroupsResponse<'_>>(&frame, 6)?;
    let group = response.groups.iter().next().ok_or("no group in the answer")?;
    Ok((group.group_state.to_string(), group.members.len()))
}

async fn listed(connection: &mut KafkaConnection) -> Outcome<Vec<String>> {
    let frame = connection.ask(5, &ListGroupsRequest::default()).await?;
    let (_, response) = open_response::<ListGroupsResponse<'_>>(&frame, 5)?;
    Ok(response.groups.iter().map(|group| group.group_id.to_string()).collect())
}

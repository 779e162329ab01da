//! Applications of streams at coordinators that come and go.

use super::*;
use crate::group::classic::Committer;
use crate::group::fakes::joining;
use crate::group::message::streams::{
    DescribeStreamsGroup, StreamsHeartbeat, StreamsPart, StreamsTask, StreamsTerms, StreamsTopology,
};
use crate::group::message::{
    CommittedOffset, DeleteGroup, DescribeGroup, GroupState, OffsetCommit, OffsetFetch,
};

fn beat(member: &str, epoch: i32) -> StreamsHeartbeat {
    let part = StreamsPart { part: 0, tasks: 2, is_stateful: false, sources: vec!["t".to_owned()] };
    let topology =
        StreamsTopology { epoch: 1, fingerprint: 7, parts: vec![part], terms: StreamsTerms::default() };
    StreamsHeartbeat {
        group: "app".to_owned(),
        member: member.to_owned(),
        epoch,
        instance: "process".to_owned(),
        client_id: "test".to_owned(),
        transactional_id: Some(format!("of-{member}")),
        rebalance_timeout_ms: 0,
        topology: (epoch == 0).then_some(topology),
        running: None,
        lags: Vec::new(),
    }
}

fn commit(topics: &FakeTopics, member: &str, member_epoch: i32) -> OffsetCommit {
    let committed = CommittedOffset { offset: Offset(5), leader_epoch: None, metadata: String::new() };
    OffsetCommit {
        group: "app".to_owned(),
        member: member.to_owned(),
        member_epoch,
        offsets: vec![(topics.partition("t", 0), committed)],
    }
}

fn describe() -> DescribeStreamsGroup {
    DescribeStreamsGroup { group: "app".to_owned() }
}

#[tokio::test(start_paused = true)]
async fn another_node_coordinates_an_application_on_and_knows_its_dead() {
    let (log, topics) = (FakeLog::default(), FakeTopics::of(&[("t", 2)]));
    let first = Node::leading(&log, &topics).await;
    let joined = first.ask_patiently(beat("m", 0)).await.unwrap();
    assert_eq!(joined.tasks.active.len(), 2);
    let second = Node::leading(&log, &topics).await;
    let known = second.ask_patiently(describe()).await.unwrap();
    assert_eq!((known.state, known.members.len()), (GroupState::Stable, 1));
    let member = known.members.get("m").unwrap();
    assert_eq!((&*member.client_host, &*member.instance), ("10.0.0.1", "process"));
    assert_eq!(second.ask_patiently(beat("m", joined.epoch)).await.unwrap().tasks, joined.tasks);
    // It is silent for its session.
    pass(11_000).await;
    let heir = second.ask_patiently(beat("n", 0)).await.unwrap();
    assert_eq!((heir.tasks, heir.fence), (joined.tasks, vec!["of-m".to_owned()]));
    let zombie = second.ask_patiently(commit(&topics, "m", joined.epoch)).await;
    assert_eq!(zombie.unwrap_err(), ErrorCode::UnknownMemberId);
    assert!(second.ask_patiently(commit(&topics, "n", heir.epoch)).await.is_ok());
}

#[tokio::test(start_paused = true)]
async fn offsets_in_transactions_are_taken_of_members_and_of_no_zombie() {
    let (log, topics) = (FakeLog::default(), FakeTopics::of(&[("t", 2)]));
    let node = Node::leading(&log, &topics).await;
    let joined = node.ask_patiently(beat("m", 0)).await.unwrap();
    let asked = |member: &str, epoch| {
        let committer =
            Committer { version: i16::MAX, member: member.into(), generation: epoch, instance: None };
        let transaction = PartOfTransaction {
            id: "of-m".into(),
            producer_id: ProducerId(7),
            producer_epoch: 0,
            adds: true,
            knows_abortable: true,
        };
        node.front.commit_in_transaction(commit(&topics, member, epoch), committer, transaction)
    };
    assert!(asked("m", joined.epoch).await.is_ok());
    let refused = asked("", -1).await.unwrap_err();
    assert_eq!(refused.code, ErrorCode::UnknownMemberId, "not from outside while it runs");
    pass(11_000).await;
    assert_eq!(asked("m", joined.epoch).await.unwrap_err().code, ErrorCode::UnknownMemberId);
}

#[tokio::test(start_paused = true)]
async fn a_group_of_simple_commits_becomes_an_applications_and_is_listed_as_that() {
    let (log, topics) = (FakeLog::default(), FakeTopics::of(&[("t", 2)]));
    let node = Node::leading(&log, &topics).await;
    node.ask_patiently(commit(&topics, "", -1)).await.unwrap();
    let joined = node.ask_patiently(beat("m", 0)).await.unwrap();
    assert_eq!(joined.tasks.active.first(), Some(&StreamsTask { part: 0, partition: 0 }));
    let committed = OffsetFetch { group: "app".to_owned(), partitions: None };
    assert_eq!(node.ask_patiently(committed).await.unwrap().len(), 1, "its offsets are kept");
    let listed = node.front.list().await.unwrap();
    let (_, shown) = listed.first().unwrap();
    assert!(shown.is_of_streams && shown.classic.is_none());
    let consumers = DescribeGroup { group: "app".to_owned() };
    assert_eq!(node.ask_patiently(consumers).await.unwrap_err(), ErrorCode::GroupIdNotFound);
    assert_eq!(node.front.describe_classic("app").await.unwrap_err().code, ErrorCode::GroupIdNotFound);
    assert_eq!(
        node.ask_patiently(joining("app", "c", &["t"])).await.unwrap_err(),
        ErrorCode::GroupIdNotFound
    );
    let delete = DeleteGroup { group: "app".to_owned() };
    assert_eq!(node.ask_patiently(delete.clone()).await.unwrap_err(), ErrorCode::NonEmptyGroup);
    node.ask_patiently(beat("m", -1)).await.unwrap();
    node.ask_patiently(delete).await.unwrap();
    assert_eq!(node.ask_patiently(describe()).await.unwrap_err(), ErrorCode::GroupIdNotFound);
}

#[tokio::test(start_paused = true)]
async fn a_group_of_consumers_is_none_of_an_application() {
    let (log, topics) = (FakeLog::default(), FakeTopics::of(&[("t", 2)]));
    let node = Node::leading(&log, &topics).await;
    node.ask_patiently(joining("app", "c", &["t"])).await.unwrap();
    assert_eq!(node.ask_patiently(beat("m", 0)).await.unwrap_err(), ErrorCode::GroupIdNotFound);
    assert_eq!(node.ask_patiently(describe()).await.unwrap_err(), ErrorCode::GroupIdNotFound);
}

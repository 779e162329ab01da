use super::*;
use crate::group::fakes::{beating, joining};
use crate::group::front::coordinator_partition;
use crate::group::message::{
    CommittedOffset, DeleteGroup, DescribeGroup, FindCoordinator, GroupHeartbeat, GroupState, ListGroups,
    OffsetCommit, OffsetFetch,
};

pub(super) fn committing(member: &str, member_epoch: i32, offsets: &[(PartitionId, i64)]) -> OffsetCommit {
    let offsets = offsets.iter().map(|(partition, offset)| {
        let committed =
            CommittedOffset { offset: Offset(*offset), leader_epoch: None, metadata: String::new() };
        (*partition, committed)
    });
    OffsetCommit {
        group: "g".to_owned(),
        member: member.to_owned(),
        member_epoch,
        offsets: offsets.collect(),
    }
}

pub(super) async fn committed(node: &Node) -> Vec<i64> {
    let request = OffsetFetch { group: "g".to_owned(), partitions: None };
    let offsets = node.ask_patiently(request).await.unwrap();
    offsets.into_iter().map(|(_, committed)| committed.offset.0).collect()
}

fn describing(group: &str) -> DescribeGroup {
    DescribeGroup { group: group.to_owned() }
}

#[test]
fn a_groups_partition_is_kafkas() {
    // String.hashCode: "" 0, "a" 97, "test-group" -1417178270, "polygenelubricants" the least int there is.
    assert_eq!(coordinator_partition("a", 50), 47);
    assert_eq!(coordinator_partition("ab", 50), (97 * 31 + 98) % 50);
    assert_eq!(coordinator_partition("polygenelubricants", 50), 0);
    assert_eq!(coordinator_partition("grüße-€-😀", 7), coordinator_partition("grüße-€-😀", 7));
    let hash =
        |text: &str| text.encode_utf16().fold(0i64, |hash, unit| (hash * 31 + i64::from(unit)) & 0xffff_ffff);
    let negative = (0..).map(|number| format!("group-{number}")).find(|name| hash(name) >= 1 << 31).unwrap();
    let expected = ((1i64 << 32) - hash(&negative)) % 50;
    assert_eq!(i64::from(coordinator_partition(&negative, 50)), expected);
}

#[tokio::test(start_paused = true)]
async fn members_join_share_and_leave() {
    let topics = FakeTopics::of(&[("t", 4)]);
    let node = Node::leading(&FakeLog::default(), &topics).await;
    let first = node.ask_patiently(joining("g", "a", &["t"])).await.unwrap();
    assert_eq!((first.member_epoch, count(&first)), (1, Some(4)));
    node.ask(joining("g", "b", &["t"])).await.unwrap();
    let fewer = node.ask(beating("g", "a", 1)).await.unwrap().assigned.unwrap();
    assert_eq!(fewer.len(), 2);
    node.ask(GroupHeartbeat { owned: Some(fewer), ..beating("g", "a", 1) }).await.unwrap();
    assert_eq!(count(&node.ask(beating("g", "b", 2)).await.unwrap()), Some(2));
    let described = node.ask(describing("g")).await.unwrap();
    assert_eq!((described.state, described.members.len()), (GroupState::Stable, 2));
    node.ask(beating("g", "a", -1)).await.unwrap();
    assert_eq!(count(&node.ask(beating("g", "b", 2)).await.unwrap()), Some(4));
}

#[tokio::test(start_paused = true)]
async fn a_dead_members_partitions_are_read_again_within_its_session_and_a_second() {
    let topics = FakeTopics::of(&[("t", 4)]);
    let log = FakeLog::default();
    log.slow(20);
    let node = Node::leading(&log, &topics).await;
    node.ask_patiently(joining("g", "a", &["t"])).await.unwrap();
    let died = tokio::time::Instant::now();
    let mut epoch = node.ask(joining("g", "b", &["t"])).await.unwrap().member_epoch;
    let reads = loop {
        pass(500).await;
        let answer = node.ask(beating("g", "b", epoch)).await.unwrap();
        epoch = answer.member_epoch;
        if count(&answer) == Some(4) {
            break died.elapsed();
        }
    };
    assert!(reads >= Duration::from_millis(5_900) && reads <= Duration::from_secs(7), "{reads:?}");
    let gone = node.ask(beating("g", "a", 1)).await.unwrap_err();
    assert_eq!(gone.code, ErrorCode::UnknownMemberId);
}

#[tokio::test(start_paused = true)]
async fn who_takes_over_knows_everything_that_was_answered() {
    let topics = FakeTopics::of(&[("t", 4)]);
    let log = FakeLog::default();
    let old = Node::leading(&log, &topics).await;
    let joined = old.ask_patiently(joining("g", "a", &["t"])).await.unwrap();
    let zero = topics.partition("t", 0);
    old.ask(committing("a", 1, &[(zero, 42)])).await.unwrap();
    let before = old.ask(describing("g")).await.unwrap();

    let new = Node::leading(&log, &topics).await;
    assert_eq!(new.ask_patiently(describing("g")).await.unwrap(), before);
    assert_eq!(committed(&new).await, [42]);
    let answer = new.ask(beating("g", "a", joined.member_epoch)).await.unwrap();
    assert_eq!((answer.member_epoch, answer.assigned), (1, None), "the member notices nothing");

    // The one deposed still believes that it leads; what it decides is not committed.
    let lost = old.ask(committing("a", 1, &[(zero, 43)])).await.unwrap_err();
    assert_eq!(lost.code, ErrorCode::NotCoordinator);
    assert_eq!(committed(&new).await, [42]);
}

#[tokio::test(start_paused = true)]
async fn offsets_are_reset_from_outside_and_the_group_deleted() {
    let topics = FakeTopics::of(&[("t", 2)]);
    let node = Node::leading(&FakeLog::default(), &topics).await;
    let zero = topics.partition("t", 0);
    node.ask_patiently(committing("", -1, &[(zero, 5)])).await.unwrap();
    node.ask(joining("g", "a", &["t"])).await.unwrap();
    let refused = node.ask(committing("", -1, &[(zero, 0)])).await.unwrap_err();
    assert_eq!(refused.code, ErrorCode::UnknownMemberId);
    let stale = node.ask(committing("a", 0, &[(zero, 0)])).await.unwrap_err();
    assert_eq!(stale.code, ErrorCode::StaleMemberEpoch);
    let delete = DeleteGroup { group: "g".to_owned() };
    assert_eq!(node.ask(delete.clone()).await.unwrap_err().code, ErrorCode::NonEmptyGroup);
    node.ask(beating("g", "a", -1)).await.unwrap();
    node.ask(committing("", -1, &[(zero, 0)])).await.unwrap();
    assert_eq!(committed(&node).await, [0]);
    assert_eq!(node.ask(ListGroups {}).await.unwrap(), [("g".to_owned(), GroupState::Empty)]);
    node.ask(delete.clone()).await.unwrap();
    assert_eq!(node.ask(ListGroups {}).await.unwrap(), []);
    assert_eq!(node.ask(delete).await.unwrap_err().code, ErrorCode::GroupIdNotFound);
    assert_eq!(node.ask(describing("g")).await.unwrap_err().code, ErrorCode::GroupIdNotFound);
    assert!(node.ask(joining("g", "a", &["t"])).await.is_ok(), "a group of the name may begin anew");
}

#[tokio::test(start_paused = true)]
async fn new_partitions_are_given_without_being_asked_for() {
    let mut topics = FakeTopics::of(&[("t", 1)]);
    let node = Node::leading(&FakeLog::default(), &topics).await;
    node.ask_patiently(joining("g", "a", &["t"])).await.unwrap();
    topics.set("t", 3);
    node.set_topics(&topics);
    pass(1).await;
    assert_eq!(count(&node.ask(beating("g", "a", 1)).await.unwrap()), Some(3));
}

#[tokio::test(start_paused = true)]
async fn answers_come_in_the_order_of_the_decisions_when_their_records_are_committed() {
    let topics = FakeTopics::of(&[("t", 1)]);
    let log = FakeLog::default();
    let node = Node::leading(&log, &topics).await;
    node.ask_patiently(joining("g", "a", &["t"])).await.unwrap();
    log.slow(50);
    let start = tokio::time::Instant::now();
    let commit = node.ask(committing("a", 1, &[(topics.partition("t", 0), 9)]));
    let fetch = async {
        let offsets = committed(&node).await;
        (offsets, start.elapsed())
    };
    let (first, (offsets, waited)) = tokio::join!(commit, fetch);
    first.unwrap();
    assert_eq!(offsets, [9]);
    assert!(waited >= Duration::from_millis(50), "what it saw was not committed before: {waited:?}");
    let start = tokio::time::Instant::now();
    node.ask(beating("g", "a", 1)).await.unwrap();
    assert!(start.elapsed() < Duration::from_millis(50), "a heartbeat without news writes nothing");
}

#[tokio::test(start_paused = true)]
async fn any_node_finds_the_coordinator_and_the_topic_is_made_when_it_is_first_asked_for() {
    let node = Node::leading(&FakeLog::default(), &FakeTopics::default()).await;
    node.coordinators.0.store(false, Ordering::Relaxed);
    assert_eq!(node.ask(beating("g", "a", 1)).await.unwrap_err().code, ErrorCode::NotCoordinator);
    assert_eq!(node.ask(FindCoordinator { group: "g".to_owned() }).await, Ok(NodeId(7)));
    let nameless = node.ask(FindCoordinator { group: String::new() }).await.unwrap_err();
    assert_eq!(nameless.code, ErrorCode::InvalidGroupId);
    assert!(node.coordinators.0.load(Ordering::Relaxed));
}

#[tokio::test(start_paused = true)]
async fn hundreds_of_groups_live_side_by_side() {
    let topics = FakeTopics::of(&[("t", 2)]);
    let log = FakeLog::default();
    let node = Node::leading(&log, &topics).await;
    node.ask_patiently(ListGroups {}).await.unwrap();
    for number in 0..400 {
        let joined = node.ask(joining(&format!("g{number}"), "a", &["t"])).await.unwrap();
        assert_eq!(count(&joined), Some(2));
    }
    let new = Node::leading(&log, &topics).await;
    assert_eq!(new.ask_patiently(ListGroups {}).await.unwrap().len(), 400);
    pass(6_100).await;
    let listed = new.ask(ListGroups {}).await.unwrap();
    assert!(listed.iter().all(|(_, state)| *state == GroupState::Empty), "all members were silent");
}

//! Offsets in transactions: apart until the marker, and fenced by what the group knows of its consumers.

use std::collections::BTreeSet;

use super::coordination::{committed, committing};
use super::*;
use crate::group::classic::Committer;
use crate::group::fakes::{beating, joining};

const PRODUCER: ProducerId = ProducerId(7);

fn transaction() -> PartOfTransaction {
    PartOfTransaction {
        id: "copy".into(),
        producer_id: PRODUCER,
        producer_epoch: 0,
        adds: false,
        knows_abortable: true,
    }
}

fn marker(producer_epoch: i16, commits: bool) -> EndMarker {
    EndMarker { producer_id: PRODUCER, producer_epoch, coordinator_epoch: 0, commits }
}

async fn commit_in(
    node: &Node,
    member: &str,
    epoch: i32,
    offsets: &[(PartitionId, i64)],
) -> Result<(), ErrorCode> {
    commit_as(node, transaction(), member, epoch, offsets).await
}

async fn commit_as(
    node: &Node,
    transaction: PartOfTransaction,
    member: &str,
    epoch: i32,
    offsets: &[(PartitionId, i64)],
) -> Result<(), ErrorCode> {
    let request = committing(member, epoch, offsets);
    let committer = Committer { version: 3, member: member.into(), generation: epoch, instance: None };
    let committing = node.front.commit_in_transaction(request, committer, transaction);
    committing
        .await
        .map(|each| assert!(each.iter().all(|(_, each)| each.is_ok())))
        .map_err(|refusal| refusal.code)
}

async fn unstable(node: &Node) -> BTreeSet<PartitionId> {
    node.front.unstable("g").await.unwrap()
}

#[tokio::test(start_paused = true)]
async fn offsets_of_a_transaction_wait_for_its_marker() {
    let topics = FakeTopics::of(&[("t", 4)]);
    let node = Node::leading(&FakeLog::default(), &topics).await;
    let (first, second) = (topics.partition("t", 0), topics.partition("t", 1));
    node.ask_patiently(committing("", -1, &[(first, 3)])).await.unwrap();
    commit_in(&node, "", -1, &[(first, 10), (second, 20)]).await.unwrap();
    assert_eq!(committed(&node).await, [3]);
    assert_eq!(unstable(&node).await, [first, second].into());
    node.front.transaction_ended(0, marker(0, true));
    assert_eq!(committed(&node).await, [10, 20]);
    commit_in(&node, "", -1, &[(first, 30)]).await.unwrap();
    node.front.transaction_ended(0, marker(0, false));
    assert_eq!((committed(&node).await, unstable(&node).await.len()), (vec![10, 20], 0));
}

#[tokio::test(start_paused = true)]
async fn a_group_looks_into_its_log_where_nobody_knows_whether_the_marker_is_there() {
    let topics = FakeTopics::of(&[("t", 4)]);
    let log = FakeLog::default();
    let node = Node::leading(&log, &topics).await;
    let (first, second) = (topics.partition("t", 0), topics.partition("t", 1));
    node.ask_patiently(committing("", -1, &[(first, 3)])).await.unwrap();
    commit_in(&node, "", -1, &[(second, 20)]).await.unwrap();
    log.with(|shelf| shelf.ended = Some(marker(0, true)));
    node.front.transaction_unknown(0, ProducerId(8));
    assert_eq!(committed(&node).await, [3], "it is none of that producer's");
    node.front.transaction_unknown(0, PRODUCER);
    node.ask_patiently(committing("", -1, &[(first, 4)])).await.unwrap();
    assert_eq!((committed(&node).await, unstable(&node).await.len()), (vec![4, 20], 0));
}

#[tokio::test(start_paused = true)]
async fn a_coordinator_that_takes_over_knows_what_waits_and_what_was_committed_after_it() {
    let topics = FakeTopics::of(&[("t", 4)]);
    let log = FakeLog::default();
    let node = Node::leading(&log, &topics).await;
    let (first, second) = (topics.partition("t", 0), topics.partition("t", 1));
    node.ask_patiently(committing("", -1, &[(first, 3)])).await.unwrap();
    commit_in(&node, "", -1, &[(first, 10), (second, 20)]).await.unwrap();
    node.ask_patiently(committing("", -1, &[(first, 5)])).await.unwrap();
    drop(node);
    let node = Node::leading(&log, &topics).await;
    assert_eq!(committed(&node).await, [5]);
    assert_eq!(unstable(&node).await, [second].into());
    node.front.transaction_ended(0, marker(0, true));
    assert_eq!(committed(&node).await, [5, 20]);
}

#[tokio::test(start_paused = true)]
async fn what_the_transactions_coordinator_refuses_leaves_nothing() {
    let topics = FakeTopics::of(&[("t", 4)]);
    let log = FakeLog::default();
    let node = Node::leading(&log, &topics).await;
    let first = topics.partition("t", 0);
    node.ask_patiently(committing("", -1, &[(first, 3)])).await.unwrap();
    for (code, told) in [
        (ErrorCode::InvalidTxnState, ErrorCode::InvalidTxnState),
        (ErrorCode::NotEnoughReplicas, ErrorCode::CoordinatorNotAvailable),
    ] {
        log.with(|shelf| shelf.not_in_transaction = Some(code));
        assert_eq!(commit_in(&node, "", -1, &[(first, 10)]).await, Err(told));
        assert!(unstable(&node).await.is_empty());
    }
}

#[tokio::test(start_paused = true)]
async fn a_producer_commits_for_a_member_only_in_its_epoch() {
    let topics = FakeTopics::of(&[("t", 4)]);
    let node = Node::leading(&FakeLog::default(), &topics).await;
    let first = topics.partition("t", 0);
    let joined = node.ask_patiently(joining("g", "a", &["t"])).await.unwrap();
    let stale = commit_in(&node, "a", joined.member_epoch - 1, &[(first, 10)]).await;
    assert_eq!(stale, Err(ErrorCode::IllegalGeneration));
    assert_eq!(commit_in(&node, "", -1, &[(first, 10)]).await, Ok(()), "it names no member");
    let stranger = commit_in(&node, "b", joined.member_epoch, &[(first, 10)]).await;
    assert_eq!(stranger, Err(ErrorCode::UnknownMemberId));
    assert_eq!(commit_in(&node, "a", joined.member_epoch, &[(first, 10)]).await, Ok(()));
}

#[tokio::test(start_paused = true)]
async fn the_marker_of_the_transaction_before_leaves_the_offsets_of_the_next_one() {
    let topics = FakeTopics::of(&[("t", 4)]);
    let node = Node::leading(&FakeLog::default(), &topics).await;
    let first = topics.partition("t", 0);
    let of = |producer_epoch| PartOfTransaction { producer_epoch, adds: true, ..transaction() };
    node.ask_patiently(committing("", -1, &[(first, 3)])).await.unwrap();
    commit_as(&node, of(0), "", -1, &[(first, 10)]).await.unwrap();
    commit_as(&node, of(1), "", -1, &[(first, 20)]).await.unwrap();
    node.front.transaction_ended(0, marker(0, true));
    assert_eq!((committed(&node).await, unstable(&node).await), (vec![10], [first].into()));
    commit_as(&node, of(1), "", -1, &[(first, 30)]).await.unwrap();
    node.front.transaction_ended(0, marker(0, true));
    assert_eq!((committed(&node).await, unstable(&node).await), (vec![10], [first].into()));
    node.front.transaction_ended(0, marker(1, false));
    assert_eq!((committed(&node).await, unstable(&node).await), (vec![10], [].into()));
}

#[tokio::test(start_paused = true)]
async fn offsets_are_not_known_before_the_transactions_coordinator_has_agreed_and_hold_up_nobody() {
    let topics = FakeTopics::of(&[("t", 4)]);
    let log = FakeLog::default();
    let node = Node::leading(&log, &topics).await;
    let (first, second) = (topics.partition("t", 0), topics.partition("t", 1));
    node.ask_patiently(committing("", -1, &[(first, 3)])).await.unwrap();
    commit_in(&node, "", -1, &[(first, 10)]).await.unwrap();
    log.with(|shelf| {
        shelf.admission = Duration::from_secs(2);
        shelf.not_admitted = Some(ErrorCode::InvalidProducerEpoch);
    });
    let began = tokio::time::Instant::now();
    let offsets = [(first, 7), (second, 7)];
    let zombie = commit_in(&node, "", -1, &offsets);
    let others = async {
        tokio::time::sleep(Duration::from_millis(1)).await;
        node.ask_patiently(committing("", -1, &[(second, 4)])).await.unwrap();
        assert_eq!(unstable(&node).await, [first].into());
        began.elapsed()
    };
    let (refused, took) = tokio::join!(zombie, others);
    assert_eq!(refused, Err(ErrorCode::InvalidProducerEpoch));
    assert!(took < Duration::from_secs(1), "{took:?}");
    node.front.transaction_ended(0, marker(0, true));
    assert_eq!(committed(&node).await, [10, 4]);
}

#[tokio::test(start_paused = true)]
async fn an_append_that_is_refused_takes_back_only_what_it_put() {
    let topics = FakeTopics::of(&[("t", 4)]);
    let log = FakeLog::default();
    let node = Node::leading(&log, &topics).await;
    let (first, second) = (topics.partition("t", 0), topics.partition("t", 1));
    node.ask_patiently(committing("", -1, &[(first, 3)])).await.unwrap();
    commit_in(&node, "", -1, &[(first, 10)]).await.unwrap();
    log.with(|shelf| shelf.not_in_transaction = Some(ErrorCode::NotEnoughReplicas));
    commit_in(&node, "", -1, &[(first, 11), (second, 20)]).await.unwrap_err();
    node.front.transaction_ended(0, marker(0, true));
    assert_eq!(committed(&node).await, [10]);
}

#[tokio::test(start_paused = true)]
async fn a_member_that_is_gone_when_the_transactions_coordinator_agrees_commits_nothing() {
    let topics = FakeTopics::of(&[("t", 4)]);
    let log = FakeLog::default();
    let node = Node::leading(&log, &topics).await;
    let first = topics.partition("t", 0);
    let joined = node.ask_patiently(joining("g", "a", &["t"])).await.unwrap();
    node.ask_patiently(joining("g", "b", &["t"])).await.unwrap();
    log.with(|shelf| shelf.admission = Duration::from_secs(2));
    let offsets = [(first, 10)];
    let late = commit_in(&node, "a", joined.member_epoch, &offsets);
    let leaving = async {
        tokio::time::sleep(Duration::from_millis(1)).await;
        node.ask_patiently(beating("g", "a", -1)).await.unwrap();
    };
    let (refused, ()) = tokio::join!(late, leaving);
    assert_eq!(refused, Err(ErrorCode::UnknownMemberId));
    assert!(unstable(&node).await.is_empty());
}

/// A coordinator that is reading its log, in which the offset 20 is part of a transaction.
async fn reading(topics: &FakeTopics, log: &FakeLog) -> Node {
    let node = Node::leading(log, topics).await;
    node.ask_patiently(committing("", -1, &[(topics.partition("t", 0), 3)])).await.unwrap();
    commit_in(&node, "", -1, &[(topics.partition("t", 1), 20)]).await.unwrap();
    drop(node);
    log.slow(1_000);
    let node = Node::leading(log, topics).await;
    pass(10).await;
    log.with(|shelf| shelf.ended = Some(marker(0, true)));
    node
}

async fn is_committed(node: &Node, topics: &FakeTopics) {
    node.ask_patiently(committing("", -1, &[(topics.partition("t", 0), 4)])).await.unwrap();
    assert_eq!((committed(node).await, unstable(node).await.len()), (vec![4, 20], 0));
}

#[tokio::test(start_paused = true)]
async fn a_group_that_was_being_read_when_nobody_knew_of_the_marker_is_read_again() {
    let topics = FakeTopics::of(&[("t", 4)]);
    let node = reading(&topics, &FakeLog::default()).await;
    node.front.transaction_unknown(0, PRODUCER);
    is_committed(&node, &topics).await;
}

#[tokio::test(start_paused = true)]
async fn a_transaction_that_ended_while_its_group_was_being_read_has_ended() {
    let topics = FakeTopics::of(&[("t", 4)]);
    let node = reading(&topics, &FakeLog::default()).await;
    node.front.transaction_ended(0, marker(0, true));
    is_committed(&node, &topics).await;
}

#[tokio::test(start_paused = true)]
async fn of_several_transactions_that_ended_while_their_group_was_being_read_each_has_its_own_outcome() {
    let topics = FakeTopics::of(&[("t", 4)]);
    let node = reading(&topics, &FakeLog::default()).await;
    node.front.transaction_ended(0, marker(0, true));
    node.front.transaction_ended(0, marker(1, false));
    is_committed(&node, &topics).await;
}

use super::coordination::{committed, committing};
use super::*;
use crate::group::fakes::{DEADLY, beating, joining};
use crate::group::message::{ListGroups, OffsetFetch};
use crate::kinds::GROUP_SUPERVISOR;

fn fetching() -> OffsetFetch {
    OffsetFetch { group: "g".to_owned(), partitions: None }
}

#[tokio::test(start_paused = true)]
async fn while_the_log_is_read_everybody_is_told_to_wait() {
    let log = FakeLog::default();
    log.slow(100);
    log.with(|shelf| shelf.loads_refused = 2);
    let node = Node::leading(&log, &FakeTopics::of(&[("t", 1)])).await;
    let loading = Err(ErrorCode::CoordinatorLoadInProgress);
    assert_eq!(node.ask(fetching()).await.map_err(|refusal| refusal.code), loading);
    assert_eq!(node.ask(ListGroups {}).await.unwrap_err().code, ErrorCode::CoordinatorLoadInProgress);
    pass(350).await;
    assert_eq!(node.ask(fetching()).await.map_err(|refusal| refusal.code), loading, "it failed and waits");
    pass(2_000).await;
    assert_eq!(node.ask(fetching()).await, Ok(vec![]));
}

#[tokio::test(start_paused = true)]
async fn who_leads_no_more_says_so() {
    let log = FakeLog::default();
    let node = Node::leading(&log, &FakeTopics::of(&[("t", 1)])).await;
    node.ask_patiently(joining("g", "a", &["t"])).await.unwrap();
    log.slow(100);
    let waiting = node.front.handle("", committing("a", 1, &[]));
    let pending = node.front.handle("", joining("h", "a", &["t"]));
    pass(10).await;
    node.front.resign(0, node.epoch);
    assert!(waiting.await.is_ok(), "it needed no records");
    assert_eq!(pending.await.unwrap_err().code, ErrorCode::CoordinatorNotAvailable);
    assert_eq!(node.ask(beating("g", "a", 1)).await.unwrap_err().code, ErrorCode::NotCoordinator);
}

#[tokio::test(start_paused = true)]
async fn an_old_leadership_neither_begins_nor_ends_a_newer_one() {
    let log = FakeLog::default();
    let node = Node::leading(&log, &FakeTopics::of(&[("t", 1)])).await;
    node.ask_patiently(joining("g", "a", &["t"])).await.unwrap();
    node.front.resign(0, LeaderEpoch(node.epoch.0 - 1));
    node.front.lead(0, LeaderEpoch(node.epoch.0 - 1), Arc::<FakeLease>::clone(&node.lease));
    assert!(node.ask(beating("g", "a", 1)).await.is_ok());
}

#[tokio::test(start_paused = true)]
async fn a_decision_that_was_not_committed_is_read_back_from_the_log() {
    let topics = FakeTopics::of(&[("t", 2)]);
    let log = FakeLog::default();
    let node = Node::leading(&log, &topics).await;
    node.ask_patiently(joining("g", "a", &["t"])).await.unwrap();
    node.ask_patiently(joining("other", "a", &["t"])).await.unwrap();
    let [zero, one] = [0, 1].map(|index| topics.partition("t", index));
    node.ask(committing("a", 1, &[(zero, 1)])).await.unwrap();

    // In the log, but the coordinator is not told so.
    log.slow(30);
    log.with(|shelf| shelf.refuses = Some(ErrorCode::NotEnoughReplicasAfterAppend));
    let refused = node.front.handle("", committing("a", 1, &[(one, 2)]));
    let behind_it = node.front.handle("", fetching());
    pass(1).await;
    log.with(|shelf| shelf.refuses = None);
    assert_eq!(refused.await.unwrap_err().code, ErrorCode::CoordinatorNotAvailable);
    assert_eq!(behind_it.await.unwrap_err().code, ErrorCode::CoordinatorNotAvailable);
    assert_eq!(node.ask(fetching()).await.unwrap_err().code, ErrorCode::CoordinatorLoadInProgress);
    assert!(node.ask(beating("other", "a", 1)).await.is_ok(), "other groups go on");
    assert_eq!(committed(&node).await, [1, 2]);
    assert_eq!(node.ask(beating("g", "a", 1)).await.unwrap().member_epoch, 1);
}

#[tokio::test(start_paused = true)]
async fn without_a_lease_the_owner_confirms_or_refuses() {
    let topics = FakeTopics::of(&[("t", 1)]);
    let node = Node::leading(&FakeLog::default(), &topics).await;
    let zero = topics.partition("t", 0);
    node.ask_patiently(committing("", -1, &[(zero, 5)])).await.unwrap();
    node.lease.holds.store(false, Ordering::Relaxed);
    let start = tokio::time::Instant::now();
    assert_eq!(committed(&node).await, [5]);
    assert!(start.elapsed() >= Duration::from_millis(7), "it asked the others first");
    node.ask(ListGroups {}).await.unwrap();

    node.lease.confirms.store(false, Ordering::Relaxed);
    assert_eq!(node.ask(fetching()).await.unwrap_err().code, ErrorCode::NotCoordinator);
    assert!(node.ask(ListGroups {}).await.is_err());
    assert!(
        node.ask(committing("", -1, &[(zero, 6)])).await.is_ok(),
        "a commit is confirmed by being committed"
    );
    node.lease.holds.store(true, Ordering::Relaxed);
    assert_eq!(committed(&node).await, [6]);
}

#[tokio::test(start_paused = true)]
async fn requests_beyond_the_bound_are_refused_at_once() {
    let log = FakeLog::default();
    let topics = FakeTopics::of(&[("t", 1)]);
    let settings = GroupSettings { max_waiting: 3, ..GroupSettings::default() };
    let node = Node::leading_with(&log, &topics, settings, Events::uncounted()).await;
    node.ask_patiently(joining("g", "a", &["t"])).await.unwrap();
    log.slow(1_000);
    let asked: Vec<_> =
        (0..5).map(|at| node.ask(committing("a", 1, &[(topics.partition("t", 0), at)]))).collect();
    let answers = futures::future::join_all(asked).await;
    let refused = |answer: &&Result<_, Refusal>| {
        answer.as_ref().is_err_and(|refusal| refusal.code == ErrorCode::ThrottlingQuotaExceeded)
    };
    assert_eq!(answers.iter().filter(refused).count(), 2);
    assert_eq!(committed(&node).await, [2]);
}

#[tokio::test(start_paused = true)]
async fn a_flood_takes_all_places_of_supervisor_and_coordinator_and_nothing_hangs() {
    let log = FakeLog::default();
    let topics = FakeTopics::of(&[("t", 1)]);
    let node = Node::leading(&log, &topics).await;
    node.ask_patiently(joining("g", "a", &["t"])).await.unwrap();
    log.slow(1_000);
    let asked: Vec<_> =
        (0..20_000).map(|at| node.ask(committing("a", 1, &[(topics.partition("t", 0), at)]))).collect();
    let answers = futures::future::join_all(asked).await;
    assert_eq!(answers.len(), 20_000, "every request got its answer");
    let granted = answers.iter().filter(|answer| answer.is_ok()).count();
    assert_eq!(granted, GROUP_SUPERVISOR.mailbox_max);
    let mut refused = answers.iter().filter_map(|answer| answer.as_ref().err());
    assert!(refused.all(|refusal| refusal.code == ErrorCode::ThrottlingQuotaExceeded));
    log.slow(0);
    node.ask(beating("g", "a", 1)).await.unwrap();
    assert_eq!(committed(&node).await, [i64::try_from(granted).unwrap() - 1]);
}

#[tokio::test(start_paused = true)]
async fn a_group_of_which_nothing_is_left_costs_nothing() {
    let log = FakeLog::default();
    let node = Node::leading(&log, &FakeTopics::of(&[("t", 1)])).await;
    for number in 0..100 {
        let request = OffsetFetch { group: format!("never-{number}"), partitions: None };
        assert_eq!(node.ask_patiently(request).await, Ok(vec![]));
    }
    assert_eq!(log.appends(), 0);
    assert_eq!(node.ask(ListGroups {}).await, Ok(vec![]));
}

#[tokio::test(start_paused = true)]
async fn a_request_whose_asker_has_gone_is_performed_and_disturbs_nobody() {
    let log = FakeLog::default();
    let topics = FakeTopics::of(&[("t", 1)]);
    let node = Node::leading(&log, &topics).await;
    node.ask_patiently(joining("g", "a", &["t"])).await.unwrap();
    drop(node.ask(committing("a", 1, &[(topics.partition("t", 0), 3)])));
    drop(node.front.handle("", committing("a", 1, &[(topics.partition("t", 0), 4)])));
    assert_eq!(committed(&node).await, [4]);
}

#[tokio::test(start_paused = true)]
async fn a_stopped_front_refuses() {
    let node = Node::leading(&FakeLog::default(), &FakeTopics::of(&[("t", 1)])).await;
    node.ask_patiently(joining("g", "a", &["t"])).await.unwrap();
    node.front.stop().await;
    assert_eq!(node.ask(beating("g", "a", 1)).await.unwrap_err().code, ErrorCode::CoordinatorNotAvailable);
    assert!(node.log.appends() > 0);
}

#[tokio::test(start_paused = true)]
async fn a_request_that_kills_a_coordinator_twice_puts_its_group_to_rest_and_no_other() {
    let topics = FakeTopics::of(&[("t", 1)]);
    let node = Node::leading(&FakeLog::default(), &topics).await;
    node.ask_patiently(joining("g", "a", &["t"])).await.unwrap();
    node.ask(committing("a", 1, &[(topics.partition("t", 0), 5)])).await.unwrap();
    node.ask_patiently(joining("other", "a", &["t"])).await.unwrap();
    let deadly = joining("g", "b", &[DEADLY]);
    assert_eq!(node.ask(deadly.clone()).await.unwrap_err().code, ErrorCode::CoordinatorNotAvailable);
    pass(1).await;
    assert_eq!(committed(&node).await, [5], "it was read back");
    assert_eq!(node.ask(deadly.clone()).await.unwrap_err().code, ErrorCode::CoordinatorNotAvailable);
    pass(1).await;
    assert_eq!(node.ask(deadly).await.unwrap_err().code, ErrorCode::UnknownServerError);
    assert_eq!(node.ask(fetching()).await.unwrap_err().code, ErrorCode::UnknownServerError);
    assert!(node.ask(beating("other", "a", 1)).await.is_ok());
    pass(60_000).await;
    assert_eq!(committed(&node).await, [5], "after a minute it may try again");
}

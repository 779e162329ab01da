//! Requests that come before the last transaction has ended.

use super::*;

#[tokio::test(start_paused = true)]
async fn a_partition_that_is_added_while_markers_are_written_waits_for_them() {
    let world = World::default();
    let front = coordinator(&world, 3).await;
    let producer = begin(&front).await;
    front.add(ID, producer, partitions(), 2).await.unwrap();
    let next = front.end(ID, Ending { producer, commits: true, client_version: 2 });
    let next = next.await.unwrap();
    // The end is committed, and no marker is written yet: nobody else had a turn since.
    assert_eq!(world.markers().len(), 0);
    front.add(ID, next, partitions(), 2).await.unwrap();
    assert_eq!((state(&front).await, world.markers().len()), (TransactionState::Ongoing, 2));
}

#[tokio::test(start_paused = true)]
async fn a_partition_whose_markers_take_long_is_refused_and_may_be_added_later() {
    let world = World::default();
    let front = coordinator(&world, 3).await;
    let producer = begin(&front).await;
    front.add(ID, producer, partitions(), 2).await.unwrap();
    world.with(|shelf| shelf.away = true);
    let next = front.end(ID, Ending { producer, commits: true, client_version: 2 }).await.unwrap();
    for _ in 0..2 {
        let early = front.add(ID, next, partitions(), 2).await;
        assert_eq!(early.unwrap_err().code, ErrorCode::ConcurrentTransactions);
    }
    world.with(|shelf| shelf.away = false);
    patiently(|| front.add(ID, next, partitions(), 2)).await.unwrap();
    assert_eq!(state(&front).await, TransactionState::Ongoing);
}

#[tokio::test(start_paused = true)]
async fn what_waits_for_markers_is_answered_when_its_coordinator_stops() {
    let world = World::default();
    let front = coordinator(&world, 3).await;
    let producer = begin(&front).await;
    front.add(ID, producer, partitions(), 2).await.unwrap();
    world.with(|shelf| shelf.away = true);
    let next = front.end(ID, Ending { producer, commits: true, client_version: 2 }).await.unwrap();
    let waiting = front.add(ID, next, partitions(), 2);
    front.resign(0, LeaderEpoch(3));
    assert!(waiting.await.unwrap_err().code.is_retriable());
}

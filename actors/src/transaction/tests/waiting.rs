//! Requests that come before the last transaction has ended.

use super::*;

/// A transaction whose end is decided, while no partition takes its marker; and the producer from then on.
async fn ending(world: &World) -> (TransactionFront, ProducerEpoch) {
    let front = coordinator(world, 3).await;
    let producer = begin(&front).await;
    front.add(ID, producer, partitions(), 2).await.unwrap();
    world.with(|shelf| shelf.away = true);
    let next = front.end(ID, Ending { producer, commits: true, client_version: 2 }).await.unwrap();
    (front, next)
}

#[tokio::test(start_paused = true)]
async fn a_partition_that_is_added_while_markers_are_written_waits_for_them() {
    let world = World::default();
    let (front, next) = ending(&world).await;
    let added = front.add(ID, next, partitions(), 2);
    assert_eq!(state(&front).await, TransactionState::PrepareCommit);
    world.with(|shelf| shelf.away = false);
    added.await.unwrap();
    assert_eq!((state(&front).await, world.markers().len()), (TransactionState::Ongoing, 2));
}

#[tokio::test(start_paused = true)]
async fn a_partition_whose_markers_take_long_is_refused_and_may_be_added_later() {
    let world = World::default();
    let (front, next) = ending(&world).await;
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
    let (front, next) = ending(&world).await;
    let waiting = front.add(ID, next, partitions(), 2);
    front.resign(0, LeaderEpoch(3));
    assert!(waiting.await.unwrap_err().code.is_retriable());
}

#[tokio::test(start_paused = true)]
async fn no_more_wait_for_markers_than_may_of_one_id_and_of_all() {
    let world = World::default();
    let front = coordinator(&world, 3).await;
    let mut next = Vec::new();
    for index in 0..6 {
        let id = format!("copy {index}");
        let beginning = || Beginning { timeout_ms: 60_000, has: None };
        let producer = patiently(|| front.begin(&id, beginning())).await.unwrap();
        front.add(&id, producer, partitions(), 2).await.unwrap();
        next.push((id, producer));
    }
    world.with(|shelf| shelf.away = true);
    for (id, producer) in &mut next {
        let ending = Ending { producer: *producer, commits: true, client_version: 2 };
        *producer = front.end(id, ending).await.unwrap();
    }
    // Of the first four as many as may of one of them, of the others what is left of all.
    let asked = next.iter().flat_map(|(id, producer)| {
        (0..70).map(|_| front.add(id, *producer, partitions(), 2)).collect::<Vec<_>>()
    });
    let began = tokio::time::Instant::now();
    let asked = asked.map(|answer| async move {
        assert_eq!(answer.await.unwrap_err().code, ErrorCode::ConcurrentTransactions);
        began.elapsed() >= Duration::from_millis(200)
    });
    let waited = futures::future::join_all(asked).await;
    let of_each: Vec<_> = waited.chunks(70).map(|of| of.iter().filter(|waited| **waited).count()).collect();
    assert_eq!(of_each, [64, 64, 64, 64, 0, 0]);
}

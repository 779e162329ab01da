//! Coordinators over a log in memory, in paused time.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use futures::FutureExt;
use futures::future::BoxFuture;
use millstream_transport::world::{Clock, watch};

use super::doors::{Marked, MarkerWriter, ProducerIds, TransactionDoors};
use super::front::TransactionFront;
use super::records::TransactionReplay;
use super::settings::TransactionSettings;
use super::state::{Beginning, Ending, ProducerEpoch, TopicPartition, TransactionState};
use crate::error::{ErrorCode, Refusal};
use crate::events::Events;
use crate::group::doors::{CoordinatorLog, Coordinators, OwnershipLease, PartOfTransaction, Replaying};
use crate::group::records::LogRecord;
use crate::ids::{LeaderEpoch, NodeId, ProducerId};
use crate::record::EndMarker;

mod waiting;

const ID: &str = "copy";

/// `__transaction_state` in memory, producer ids, and partitions that take markers.
#[derive(Clone, Debug, Default)]
struct World(Arc<Mutex<Shelf>>);

#[derive(Debug, Default)]
struct Shelf {
    records: Vec<LogRecord>,
    /// An append of this number of records in all, or more, is refused.
    refuses_from: Option<usize>,
    /// With this, instead of as a log that is led elsewhere.
    refusal: Option<ErrorCode>,
    /// How often the log was read.
    loads: usize,
    ids: i64,
    markers: Vec<(EndMarker, TopicPartition)>,
    /// Partitions without a leader.
    away: bool,
    /// What becomes of the markers of one partition, instead.
    instead: Option<(i32, Marked)>,
    /// The outcomes written, and whether each gave another epoch.
    bumps: Vec<bool>,
}

impl World {
    fn with<A>(&self, step: impl FnOnce(&mut Shelf) -> A) -> A {
        step(&mut self.0.lock().unwrap())
    }

    fn markers(&self) -> Vec<(i32, i16, bool)> {
        self.with(|shelf| {
            let of = |(marker, _): &(EndMarker, TopicPartition)| {
                (marker.coordinator_epoch, marker.producer_epoch, marker.commits)
            };
            shelf.markers.iter().map(of).collect()
        })
    }
}

impl CoordinatorLog<TransactionReplay> for World {
    fn append(
        &self,
        _: i32,
        _: LeaderEpoch,
        records: Vec<LogRecord>,
    ) -> BoxFuture<'static, Result<(), Refusal>> {
        let result = self.with(|shelf| {
            let count = shelf.records.len() + records.len();
            if shelf.refuses_from.is_some_and(|from| count >= from) {
                let code = shelf.refusal.unwrap_or(ErrorCode::NotLeaderOrFollower);
                return Err(Refusal::new(code, "as the test will have it"));
            }
            shelf.records.extend(records);
            Ok(())
        });
        async move {
            tokio::time::sleep(Duration::from_millis(5)).await;
            result
        }
        .boxed()
    }

    fn append_in(
        &self,
        _: i32,
        _: LeaderEpoch,
        _: PartOfTransaction,
        _: Vec<LogRecord>,
    ) -> BoxFuture<'static, Result<(), Refusal>> {
        std::future::ready(Err(Refusal::new(ErrorCode::InvalidRequest, "nothing of it is transactional")))
            .boxed()
    }

    fn admit(&self, _: i32, _: LeaderEpoch, _: PartOfTransaction) -> BoxFuture<'static, Result<(), Refusal>> {
        std::future::ready(Err(Refusal::new(ErrorCode::InvalidRequest, "nothing of it is transactional")))
            .boxed()
    }

    fn load(
        &self,
        _: i32,
        _: LeaderEpoch,
        mut replay: TransactionReplay,
    ) -> BoxFuture<'static, Result<TransactionReplay, Refusal>> {
        self.with(|shelf| shelf.loads += 1);
        for record in self.with(|shelf| shelf.records.clone()) {
            replay.record(record.timestamp_ms, Some(&record.key), record.value.as_deref(), None);
        }
        std::future::ready(Ok(replay)).boxed()
    }
}

impl ProducerIds for World {
    fn fresh(&self) -> BoxFuture<'static, Result<ProducerId, Refusal>> {
        let id = self.with(|shelf| {
            shelf.ids += 1;
            shelf.ids
        });
        std::future::ready(Ok(ProducerId(id))).boxed()
    }
}

impl MarkerWriter for World {
    fn write(
        &self,
        marker: EndMarker,
        bumps: bool,
        partitions: Vec<TopicPartition>,
    ) -> BoxFuture<'static, Vec<(TopicPartition, Marked)>> {
        let marked = self.with(|shelf| {
            if shelf.away {
                let away = || Marked::Again(Refusal::new(ErrorCode::LeaderNotAvailable, "no leader"));
                return partitions.into_iter().map(|partition| (partition, away())).collect();
            }
            shelf.bumps.push(bumps);
            let outcome = |partition: &TopicPartition| match &shelf.instead {
                Some((index, marked)) if *index == partition.1 => marked.clone(),
                _ => Marked::Done,
            };
            let marked: Vec<_> = partitions.into_iter().map(|name| (outcome(&name), name)).collect();
            let done = marked.iter().filter(|(marked, _)| *marked == Marked::Done);
            shelf.markers.extend(done.map(|(_, name)| (marker, name.clone())));
            marked.into_iter().map(|(marked, name)| (name, marked)).collect()
        });
        std::future::ready(marked).boxed()
    }
}

impl Coordinators for World {
    fn partitions(&self) -> Option<i32> {
        Some(1)
    }

    fn leader(&self, _: i32) -> Option<NodeId> {
        Some(NodeId(1))
    }

    fn create(&self) -> BoxFuture<'static, Result<(), Refusal>> {
        std::future::ready(Ok(())).boxed()
    }
}

#[derive(Debug)]
struct Holds;

impl OwnershipLease for Holds {
    fn holds(&self) -> bool {
        true
    }

    fn confirm(&self) -> BoxFuture<'static, Result<(), Refusal>> {
        std::future::ready(Ok(())).boxed()
    }
}

async fn coordinator(world: &World, epoch: i32) -> TransactionFront {
    let doors = TransactionDoors {
        log: Arc::new(world.clone()),
        coordinators: Arc::new(world.clone()),
        producer_ids: Arc::new(world.clone()),
        markers: Arc::new(world.clone()),
        settings: watch::channel(Arc::new(TransactionSettings::default())).1,
        clock: Clock::simulated(1_000_000),
        events: Events::uncounted(),
    };
    let front = TransactionFront::start(doors, None).await.unwrap();
    front.lead(0, LeaderEpoch(epoch), Arc::new(Holds));
    front
}

/// Asks until the answer is no other than "try again".
async fn patiently<A>(
    mut ask: impl FnMut() -> BoxFuture<'static, Result<A, Refusal>>,
) -> Result<A, ErrorCode> {
    loop {
        match ask().await {
            Err(refusal) if refusal.code.is_retriable() => {
                tokio::time::sleep(Duration::from_millis(10)).await
            }
            answer => return answer.map_err(|refusal| refusal.code),
        }
    }
}

async fn begin(front: &TransactionFront) -> ProducerEpoch {
    patiently(|| front.begin(ID, Beginning { timeout_ms: 60_000, has: None })).await.unwrap()
}

fn partitions() -> Vec<TopicPartition> {
    vec![("t".into(), 0), ("t".into(), 1)]
}

async fn state(front: &TransactionFront) -> TransactionState {
    patiently(|| front.describe(ID)).await.unwrap().state
}

async fn reaches(front: &TransactionFront, wanted: TransactionState) {
    while state(front).await != wanted {
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
}

#[tokio::test(start_paused = true)]
async fn a_transaction_begins_is_written_to_and_commits_with_a_marker_in_each_partition() {
    let world = World::default();
    let front = coordinator(&world, 3).await;
    let producer = begin(&front).await;
    assert_eq!(producer, ProducerEpoch { id: ProducerId(1), epoch: 0 });
    front.add(ID, producer, partitions(), 0).await.unwrap();
    front.verify(ID, producer, partitions()).await.unwrap();
    assert_eq!(front.list().await.unwrap()[0].state, TransactionState::Ongoing);
    front.end(ID, Ending { producer, commits: true, client_version: 0 }).await.unwrap();
    reaches(&front, TransactionState::CompleteCommit).await;
    assert_eq!(world.markers(), [(3, 0, true), (3, 0, true)]);
}

#[tokio::test(start_paused = true)]
async fn who_begins_again_aborts_what_was_open_and_fences_it() {
    let world = World::default();
    let front = coordinator(&world, 3).await;
    let old = begin(&front).await;
    front.add(ID, old, partitions(), 0).await.unwrap();
    let new = begin(&front).await;
    assert_eq!((new.id, new.epoch), (old.id, 2));
    assert_eq!(world.markers(), [(3, 1, false), (3, 1, false)]);
    let late = front.end(ID, Ending { producer: old, commits: true, client_version: 0 }).await;
    assert_eq!(late.unwrap_err().code, ErrorCode::ProducerFenced);
}

#[tokio::test(start_paused = true)]
async fn a_transaction_whose_producer_is_silent_ends_within_its_time_out_and_a_second() {
    let world = World::default();
    let front = coordinator(&world, 3).await;
    let producer = begin(&front).await;
    front.add(ID, producer, partitions(), 2).await.unwrap();
    tokio::time::sleep(Duration::from_millis(59_900)).await;
    assert_eq!(state(&front).await, TransactionState::Ongoing);
    tokio::time::sleep(Duration::from_millis(1_300)).await;
    assert_eq!(state(&front).await, TransactionState::CompleteAbort);
    assert_eq!(world.markers(), [(3, 2, false), (3, 2, false)]);
}

#[tokio::test(start_paused = true)]
async fn a_decided_outcome_is_completed_by_the_next_coordinator() {
    let world = World::default();
    world.with(|shelf| shelf.away = true);
    let front = coordinator(&world, 3).await;
    let producer = begin(&front).await;
    front.add(ID, producer, partitions(), 2).await.unwrap();
    let ended = front.end(ID, Ending { producer, commits: true, client_version: 2 }).await.unwrap();
    assert_eq!(ended.epoch, 1);
    tokio::time::sleep(Duration::from_secs(2)).await;
    assert_eq!((state(&front).await, world.markers().len()), (TransactionState::PrepareCommit, 0));
    front.stop().await;
    world.with(|shelf| shelf.away = false);
    let front = coordinator(&world, 4).await;
    reaches(&front, TransactionState::CompleteCommit).await;
    assert_eq!(world.markers(), [(4, 1, true), (4, 1, true)]);
    // Who did not hear hears it again.
    let again = front.end(ID, Ending { producer, commits: true, client_version: 2 }).await.unwrap();
    assert_eq!(again, ended);
}

#[tokio::test(start_paused = true)]
async fn an_end_that_is_not_committed_writes_no_marker_and_is_decided_anew() {
    let world = World::default();
    let front = coordinator(&world, 3).await;
    let producer = begin(&front).await;
    front.add(ID, producer, partitions(), 0).await.unwrap();
    world.with(|shelf| shelf.refuses_from = Some(0));
    let lost = front.end(ID, Ending { producer, commits: true, client_version: 0 }).await;
    assert_eq!(lost.unwrap_err().code, ErrorCode::NotCoordinator);
    world.with(|shelf| shelf.refuses_from = None);
    assert_eq!((state(&front).await, world.markers().len()), (TransactionState::Ongoing, 0));
    front.end(ID, Ending { producer, commits: false, client_version: 0 }).await.unwrap();
    reaches(&front, TransactionState::CompleteAbort).await;
}

#[tokio::test(start_paused = true)]
async fn an_append_that_is_certainly_not_made_is_taken_back_alone() {
    let world = World::default();
    let front = coordinator(&world, 3).await;
    let producer = begin(&front).await;
    front.add(ID, producer, partitions(), 2).await.unwrap();
    let other =
        patiently(|| front.begin("other", Beginning { timeout_ms: 60_000, has: None })).await.unwrap();
    world.with(|shelf| (shelf.refuses_from, shelf.refusal) = (Some(0), Some(ErrorCode::NotEnoughReplicas)));
    let end = Ending { producer, commits: true, client_version: 2 };
    let (lost, lost_too) = tokio::join!(front.end(ID, end), front.add("other", other, partitions(), 2));
    assert_eq!(lost.unwrap_err().code, ErrorCode::CoordinatorNotAvailable);
    assert_eq!(lost_too.unwrap_err().code, ErrorCode::CoordinatorNotAvailable);
    assert_eq!((state(&front).await, world.markers().len()), (TransactionState::Ongoing, 0));
    world.with(|shelf| (shelf.refuses_from, shelf.away) = (None, true));
    front.end(ID, end).await.unwrap();
    // The record that tells of the last marker is not taken at first: it is written again by itself.
    world.with(|shelf| (shelf.refuses_from, shelf.away) = (Some(0), false));
    tokio::time::sleep(Duration::from_secs(3)).await;
    assert_eq!(state(&front).await, TransactionState::PrepareCommit);
    world.with(|shelf| shelf.refuses_from = None);
    tokio::time::sleep(Duration::from_secs(2)).await;
    assert_eq!(state(&front).await, TransactionState::CompleteCommit);
    assert_eq!((world.with(|shelf| shelf.loads), world.markers().len()), (1, 2));
}

#[tokio::test(start_paused = true)]
async fn what_was_said_of_a_decision_that_is_not_committed_is_not_believed() {
    let world = World::default();
    let front = coordinator(&world, 3).await;
    let producer = begin(&front).await;
    world.with(|shelf| (shelf.refuses_from, shelf.refusal) = (Some(0), Some(ErrorCode::NotEnoughReplicas)));
    let (added, again) =
        tokio::join!(front.add(ID, producer, partitions(), 2), front.add(ID, producer, partitions(), 2));
    assert!(added.is_err() && again.is_err(), "{added:?} {again:?}");
    world.with(|shelf| shelf.refuses_from = None);
    assert_eq!(state(&front).await, TransactionState::Empty);
    assert_eq!(world.with(|shelf| shelf.loads), 2, "the log is asked");
}

#[tokio::test(start_paused = true)]
async fn a_time_out_beyond_the_bound_and_an_empty_id_are_refused() {
    let front = coordinator(&World::default(), 3).await;
    let beginning = Beginning { timeout_ms: i32::MAX, has: None };
    let refused = patiently(|| front.begin(ID, beginning)).await;
    assert_eq!(refused.unwrap_err(), ErrorCode::InvalidTransactionTimeout);
    let refused = front.begin("", Beginning { timeout_ms: 1, has: None }).await;
    assert_eq!(refused.unwrap_err().code, ErrorCode::InvalidRequest);
}

#[tokio::test(start_paused = true)]
async fn an_id_of_which_nothing_is_heard_is_forgotten() {
    let world = World::default();
    let front = coordinator(&world, 3).await;
    begin(&front).await;
    tokio::time::sleep(Duration::from_secs(8 * 24 * 60 * 60)).await;
    let gone = patiently(|| front.describe(ID)).await;
    assert_eq!(gone.unwrap_err(), ErrorCode::TransactionalIdNotFound);
    let known: BTreeMap<_, _> =
        front.list().await.unwrap().into_iter().map(|listed| (listed.id, ())).collect();
    assert!(known.is_empty());
}

#[tokio::test(start_paused = true)]
async fn a_partition_that_takes_no_marker_holds_up_neither_the_others_nor_other_transactions() {
    for stuck in [Marked::Fenced, Marked::Again(Refusal::new(ErrorCode::NotEnoughReplicas, "too few"))] {
        let world = World::default();
        let front = coordinator(&world, 3).await;
        world.with(|shelf| shelf.instead = Some((1, stuck)));
        // More than there are places.
        for number in 0..=TransactionSettings::default().marking_max {
            let id = format!("stuck-{number}");
            let begins = Beginning { timeout_ms: 60_000, has: None };
            let producer = patiently(|| front.begin(&id, begins)).await.unwrap();
            front.add(&id, producer, partitions(), 2).await.unwrap();
            front.end(&id, Ending { producer, commits: true, client_version: 2 }).await.unwrap();
        }
        let producer = begin(&front).await;
        front.add(ID, producer, vec![("t".into(), 0)], 0).await.unwrap();
        front.end(ID, Ending { producer, commits: true, client_version: 0 }).await.unwrap();
        tokio::time::sleep(Duration::from_secs(1)).await;
        assert_eq!(state(&front).await, TransactionState::CompleteCommit);
        assert_eq!(
            world.with(|shelf| shelf.bumps.last().copied()),
            Some(true),
            "the stuck ones are tried on"
        );
        world.with(|shelf| shelf.instead = None);
        tokio::time::sleep(Duration::from_secs(2)).await;
        let stuck = patiently(|| front.describe("stuck-0")).await.unwrap();
        assert_eq!(stuck.state, TransactionState::CompleteCommit);
    }
}

#[tokio::test(start_paused = true)]
async fn a_partition_counts_as_deleted_once_it_was_unknown_for_long_without_a_break() {
    let world = World::default();
    let front = coordinator(&world, 3).await;
    let producer = begin(&front).await;
    front.add(ID, producer, partitions(), 0).await.unwrap();
    world.with(|shelf| shelf.away = true);
    front.end(ID, Ending { producer, commits: true, client_version: 0 }).await.unwrap();
    tokio::time::sleep(Duration::from_secs(40)).await;
    world.with(|shelf| (shelf.away, shelf.instead) = (false, Some((1, Marked::Unknown))));
    tokio::time::sleep(Duration::from_secs(20)).await;
    assert_eq!(state(&front).await, TransactionState::PrepareCommit);
    tokio::time::sleep(Duration::from_secs(15)).await;
    assert_eq!((state(&front).await, world.markers().len()), (TransactionState::CompleteCommit, 1));
}

//! Transactions in one partition: what opens and ends them, and what readers of committed records see.

use super::*;
use crate::partition::append::AbortedTransaction;
use crate::partition::verify::{InTransaction, TransactionVerifier, Verification, VerificationAnswer};
use crate::record::{Codec, EndMarker, make_transactional};

/// Answers when it is told to.
#[derive(Debug, Default)]
struct Coordinator(Mutex<Vec<(Verification, Held)>>);

struct Held(VerificationAnswer);

impl fmt::Debug for Held {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("Held")
    }
}

impl TransactionVerifier for Coordinator {
    fn verify(&self, asked: Verification, answer: VerificationAnswer) {
        self.0.lock().unwrap().push((asked, Held(answer)));
    }
}

impl Coordinator {
    fn asked(&self) -> usize {
        self.0.lock().unwrap().len()
    }

    fn answer(&self, result: Result<(), Refusal>) {
        let (_, Held(answer)) = self.0.lock().unwrap().remove(0);
        answer(result);
    }
}

/// One that says yes to all.
#[derive(Debug)]
struct Agrees;

impl TransactionVerifier for Agrees {
    fn verify(&self, _: Verification, answer: VerificationAnswer) {
        answer(Ok(()));
    }
}

fn transactional(id: i64, epoch: i16, base_sequence: i32, records: usize) -> Bytes {
    let mut builder = BatchBuilder::new(10_000, Compression::NONE);
    for _ in 0..records {
        builder.push(1000, Some(b"k"), Some(b"value"), &[]).unwrap();
    }
    let mut batch = builder.finish(None).to_vec();
    make_transactional(&mut batch, ProducerStamp { id: ProducerId(id), epoch, base_sequence }).unwrap();
    batch.into()
}

fn marker(id: i64, epoch: i16, coordinator_epoch: i32, commits: bool) -> EndMarker {
    EndMarker { producer_id: ProducerId(id), producer_epoch: epoch, coordinator_epoch, commits }
}

impl Node {
    pub(super) fn send(
        &self,
        batches: Bytes,
        transaction: Option<InTransaction>,
    ) -> tokio::sync::oneshot::Receiver<Result<Produced, Refusal>> {
        let part = ProducePart { partition: partition(), leader_epoch: None, batches, transaction };
        let (send, receive) = tokio::sync::oneshot::channel();
        let produce = Produce { acks: Acks::All, timeout_ms: 1000, parts: vec![part] };
        self.front.produce(produce, move |mut answer| drop(send.send(answer.parts.remove(0).1)));
        receive
    }

    async fn write(&self, batches: Bytes) -> Result<i64, ErrorCode> {
        let transaction =
            InTransaction { id: "copy".into(), adds: false, knows_abortable: true, by_coordinator: false };
        let answer = self.send(batches, Some(transaction)).await.unwrap();
        answer.map(|produced| produced.base_offset.0).map_err(|refusal| refusal.code)
    }

    async fn mark(&self, marker: EndMarker) -> Result<i64, ErrorCode> {
        self.mark_as(marker, false).await
    }

    async fn mark_as(&self, marker: EndMarker, bumps: bool) -> Result<i64, ErrorCode> {
        let (send, receive) = tokio::sync::oneshot::channel();
        self.front.mark(vec![(partition(), marker)], bumps, Duration::from_secs(1), move |mut marked| {
            drop(send.send(marked.remove(0).1));
        });
        let answer = receive.await.unwrap();
        answer.map(|produced| produced.base_offset.0).map_err(|refusal| refusal.code)
    }

    async fn fetch_stable(&self, offset: i64, max_wait_ms: u32) -> Fetched {
        let part = FetchPart {
            last_fetched_epoch: None,
            partition: partition(),
            leader_epoch: None,
            offset: Offset(offset),
            max_bytes: 1 << 20,
            stable_only: true,
            nearby: Default::default(),
        };
        let (send, receive) = tokio::sync::oneshot::channel();
        let fetch = Fetch { max_wait_ms, min_bytes: 1, max_bytes: 1 << 20, parts: vec![part] };
        self.front.fetch(fetch, move |answer| drop(send.send(answer)));
        receive.await.unwrap().parts.remove(0).1.unwrap()
    }

    async fn stable_end(&self) -> i64 {
        self.list(OffsetSpec::LastStable).await.unwrap().offset.unwrap().0
    }
}

fn aborted(found: &[AbortedTransaction]) -> Vec<(i64, i64)> {
    found.iter().map(|aborted| (aborted.producer_id.0, aborted.first.0)).collect()
}

#[test]
fn readers_of_committed_records_read_up_to_the_first_open_transaction_and_are_told_what_was_aborted() {
    simulate(|simulation, disk| async move {
        let node = Node::start(&simulation, &disk, 1);
        node.verifier.open(Arc::new(Agrees));
        node.lead(1).await;
        assert_eq!(node.write(transactional(1, 0, 0, 2)).await, Ok(0));
        assert_eq!(node.write(transactional(2, 0, 0, 1)).await, Ok(2));
        assert_eq!(node.produce(Acks::All, batch(1, 0)).await.unwrap().base_offset, Offset(3));
        assert_eq!(node.fetch_stable(0, 0).await.batches.len(), 0);
        assert_eq!(node.stable_end().await, 0);
        let all = node.fetch(0, 0).await.unwrap();
        assert_eq!((all.last_stable_offset, all.high_watermark), (Offset(0), Offset(4)));
        // A reader that waits is woken by the marker.
        let (read, marked) = tokio::join!(node.fetch_stable(0, 5_000), node.mark(marker(1, 0, 0, false)));
        assert_eq!((marked, read.last_stable_offset), (Ok(4), Offset(2)));
        assert_eq!(batches(&read.batches).count(), 1, "nothing of the second one");
        assert_eq!(aborted(&read.aborted), [(1, 0)]);
        assert_eq!(node.mark(marker(2, 0, 0, true)).await, Ok(5));
        assert_eq!(node.stable_end().await, 6);
        let read = node.fetch_stable(2, 0).await;
        assert_eq!(aborted(&read.aborted), [(1, 0)], "its marker is among what was read");
        assert_eq!(aborted(&node.fetch_stable(5, 0).await.aborted), []);
    });
}

#[test]
fn what_is_known_of_transactions_outlives_a_restart_with_a_snapshot_and_without() {
    for clean in [true, false] {
        simulate(|simulation, disk| async move {
            let node = Node::start(&simulation, &disk, 1);
            node.verifier.open(Arc::new(Agrees));
            node.lead(1).await;
            node.write(transactional(1, 0, 0, 2)).await.unwrap();
            node.mark(marker(1, 0, 5, false)).await.unwrap();
            node.write(transactional(2, 0, 0, 1)).await.unwrap();
            if clean {
                node.stop().await;
            } else {
                disk.cut_power();
                drop(node);
            }
            let node = Node::start(&simulation, &disk, 2);
            node.lead(2).await;
            assert_eq!(node.stable_end().await, 3, "{clean}");
            assert_eq!(aborted(&node.fetch_stable(0, 0).await.aborted), [(1, 0)]);
            // It is open still: no coordinator has to be asked, and none is there.
            assert_eq!(node.write(transactional(2, 0, 1, 1)).await, Ok(4));
            let fenced = Err(ErrorCode::TransactionCoordinatorFenced);
            assert_eq!(node.mark(marker(1, 0, 4, true)).await, fenced);
        });
    }
}

#[test]
fn the_first_batch_of_a_transaction_waits_for_its_coordinator_and_others_behind_it() {
    simulate(|simulation, disk| async move {
        let node = Node::start(&simulation, &disk, 1);
        let coordinator = Arc::new(Coordinator::default());
        node.verifier.open(coordinator.clone());
        node.lead(1).await;
        let transaction =
            InTransaction { id: "copy".into(), adds: true, knows_abortable: true, by_coordinator: false };
        let first = node.send(transactional(1, 0, 0, 1), Some(transaction.clone()));
        let second = node.send(transactional(1, 0, 1, 1), Some(transaction.clone()));
        tokio::time::sleep(Duration::from_millis(1)).await;
        assert_eq!(coordinator.asked(), 1);
        assert_eq!(node.list(OffsetSpec::Latest).await.unwrap().offset, Some(Offset(0)));
        coordinator.answer(Ok(()));
        assert_eq!(first.await.unwrap().unwrap().base_offset, Offset(0));
        assert_eq!(second.await.unwrap().unwrap().base_offset, Offset(1));
        let other = node.send(transactional(9, 0, 0, 1), Some(transaction));
        tokio::time::sleep(Duration::from_millis(1)).await;
        coordinator.answer(Err(Refusal::new(ErrorCode::TransactionAbortable, "not part of it")));
        assert_eq!(other.await.unwrap().unwrap_err().code, ErrorCode::TransactionAbortable);
    });
}

#[test]
fn a_marker_written_meanwhile_voids_what_the_coordinator_says() {
    simulate(|simulation, disk| async move {
        let node = Node::start(&simulation, &disk, 1);
        let coordinator = Arc::new(Coordinator::default());
        node.verifier.open(coordinator.clone());
        node.lead(1).await;
        let transaction =
            InTransaction { id: "copy".into(), adds: false, knows_abortable: true, by_coordinator: false };
        let late = node.send(transactional(1, 0, 0, 1), Some(transaction));
        tokio::time::sleep(Duration::from_millis(1)).await;
        assert_eq!(node.mark(marker(1, 0, 0, false)).await, Ok(0));
        coordinator.answer(Ok(()));
        assert_eq!(late.await.unwrap().unwrap_err().code, ErrorCode::InvalidTxnState);
        assert_eq!(node.stable_end().await, 1);
    });
}

#[test]
fn a_marker_written_while_the_records_of_a_batch_are_looked_at_refuses_it() {
    simulate(|simulation, disk| async move {
        let node = Node::start(&simulation, &disk, 1);
        node.verifier.open(Arc::new(Agrees));
        node.lead_with(1, TopicConfig { compact: true, ..TopicConfig::default() }).await;
        let large = |id, epoch| {
            let mut builder = BatchBuilder::new(16 << 20, Compression::of(Codec::Zstd));
            builder.push(1000, Some(b"k"), Some(&vec![0; 8 << 20]), &[]).unwrap();
            let mut batch = builder.finish(None).to_vec();
            let stamp = ProducerStamp { id: ProducerId(id), epoch, base_sequence: 0 };
            make_transactional(&mut batch, stamp).unwrap();
            Bytes::from(batch)
        };
        let old =
            InTransaction { id: "copy".into(), adds: false, knows_abortable: true, by_coordinator: false };
        let new = InTransaction { adds: true, ..old.clone() };
        // The last one is of the transaction that comes after the marker's.
        let late = [node.send(large(1, 0), Some(old.clone())), node.send(large(1, 1), Some(old))];
        let (other, next) = (node.send(batch(1, 0), None), node.send(large(1, 1), Some(new)));
        assert_eq!(node.mark(marker(1, 1, 0, true)).await, Ok(0));
        for late in late {
            assert_eq!(late.await.unwrap().unwrap_err().code, ErrorCode::InvalidTxnState);
        }
        assert_eq!(other.await.unwrap().unwrap().base_offset, Offset(1));
        assert_eq!(next.await.unwrap().unwrap().base_offset, Offset(2));
    });
}

#[test]
fn what_a_coordinator_wrote_and_is_not_verified_does_not_come_behind_the_end_that_it_is_told() {
    simulate(|simulation, disk| async move {
        let node = Node::start(&simulation, &disk, 1);
        let coordinator = Arc::new(Coordinator::default());
        node.verifier.open(coordinator.clone());
        node.lead(1).await;
        let of_client =
            InTransaction { id: "copy".into(), adds: true, knows_abortable: true, by_coordinator: false };
        let of_coordinator = InTransaction { by_coordinator: true, ..of_client.clone() };
        let client = node.send(transactional(1, 0, 0, 1), Some(of_client));
        let written = node.send(transactional(2, 0, -1, 1), Some(of_coordinator));
        assert_eq!(node.front.log_end(partition(), LeaderEpoch(1)).await, Ok(Offset(0)));
        assert_eq!(written.await.unwrap().unwrap_err().code, ErrorCode::CoordinatorNotAvailable);
        coordinator.answer(Ok(()));
        coordinator.answer(Ok(()));
        assert_eq!(client.await.unwrap().unwrap().base_offset, Offset(0));
    });
}

#[test]
fn what_the_coordinator_says_of_one_epoch_is_not_taken_for_another() {
    simulate(|simulation, disk| async move {
        let node = Node::start(&simulation, &disk, 1);
        let coordinator = Arc::new(Coordinator::default());
        node.verifier.open(coordinator.clone());
        node.lead(1).await;
        let transaction =
            InTransaction { id: "copy".into(), adds: true, knows_abortable: true, by_coordinator: false };
        let zombie = node.send(transactional(1, 3, 0, 1), Some(transaction.clone()));
        let live = node.send(transactional(1, 4, 0, 1), Some(transaction));
        tokio::time::sleep(Duration::from_millis(1)).await;
        assert_eq!(coordinator.asked(), 2);
        coordinator.answer(Err(Refusal::new(ErrorCode::ProducerFenced, "a newer one has taken over")));
        assert_eq!(zombie.await.unwrap().unwrap_err().code, ErrorCode::ProducerFenced);
        coordinator.answer(Ok(()));
        assert_eq!(live.await.unwrap().unwrap().base_offset, Offset(0));
    });
}

#[test]
fn a_batch_of_another_producer_behind_one_that_was_verified_opens_nothing() {
    simulate(|simulation, disk| async move {
        let node = Node::start(&simulation, &disk, 1);
        node.verifier.open(Arc::new(Agrees));
        node.lead(1).await;
        for (id, epoch) in [(2, 0), (1, 1)] {
            let both = [transactional(1, 0, 0, 1), transactional(id, epoch, 0, 1)].concat();
            assert_eq!(node.write(both.into()).await, Err(ErrorCode::InvalidTxnState), "{id} {epoch}");
        }
        assert_eq!(node.list(OffsetSpec::Latest).await.unwrap().offset, Some(Offset(0)));
    });
}

#[test]
fn the_marker_of_the_transaction_before_does_not_refuse_the_next_one() {
    simulate(|simulation, disk| async move {
        let node = Node::start(&simulation, &disk, 1);
        let coordinator = Arc::new(Coordinator::default());
        node.verifier.open(coordinator.clone());
        node.lead(1).await;
        let transaction =
            InTransaction { id: "copy".into(), adds: true, knows_abortable: true, by_coordinator: false };
        let late = node.send(transactional(1, 0, 0, 1), Some(transaction.clone()));
        let next = node.send(transactional(1, 1, 0, 1), Some(transaction));
        tokio::time::sleep(Duration::from_millis(1)).await;
        assert_eq!(node.mark(marker(1, 1, 0, true)).await, Ok(0));
        assert_eq!(late.await.unwrap().unwrap_err().code, ErrorCode::InvalidTxnState);
        // What was said before the marker does not count, of neither.
        coordinator.answer(Ok(()));
        coordinator.answer(Ok(()));
        tokio::time::sleep(Duration::from_millis(1)).await;
        assert_eq!((coordinator.asked(), node.stable_end().await), (1, 1));
        coordinator.answer(Ok(()));
        assert_eq!(next.await.unwrap().unwrap().base_offset, Offset(1));
    });
}

#[test]
fn a_marker_that_comes_twice_does_not_end_the_next_transaction_where_each_has_its_epoch() {
    simulate(|simulation, disk| async move {
        let node = Node::start(&simulation, &disk, 1);
        node.verifier.open(Arc::new(Agrees));
        node.lead(1).await;
        node.write(transactional(1, 0, 0, 1)).await.unwrap();
        assert_eq!(node.mark_as(marker(1, 1, 0, true), true).await, Ok(1));
        assert_eq!(node.write(transactional(1, 1, 0, 1)).await, Ok(2));
        node.mark_as(marker(1, 1, 0, true), true).await.unwrap();
        assert_eq!(
            node.list(OffsetSpec::Latest).await.unwrap().offset,
            Some(Offset(3)),
            "nothing was written"
        );
        assert_eq!(node.stable_end().await, 2);
        assert_eq!(node.mark_as(marker(1, 2, 0, false), true).await, Ok(3));
        assert_eq!(aborted(&node.fetch_stable(0, 0).await.aborted), [(1, 2)]);
    });
}

#[test]
fn a_partition_that_was_admitted_takes_batches_without_asking_until_the_marker() {
    simulate(|simulation, disk| async move {
        let node = Node::start(&simulation, &disk, 1);
        let coordinator = Arc::new(Coordinator::default());
        node.verifier.open(coordinator.clone());
        node.lead(1).await;
        let transaction =
            InTransaction { id: "copy".into(), adds: false, knows_abortable: true, by_coordinator: false };
        let of = |epoch| Verification {
            transaction: transaction.clone(),
            producer_id: ProducerId(1),
            producer_epoch: epoch,
            partition: partition(),
        };
        let admitted = node.front.admit(of(0), LeaderEpoch(1));
        tokio::time::sleep(Duration::from_millis(1)).await;
        coordinator.answer(Ok(()));
        assert_eq!(admitted.await, Ok(()));
        assert_eq!(node.write(transactional(1, 0, 0, 1)).await, Ok(0));
        let next = node.front.admit(of(1), LeaderEpoch(1));
        tokio::time::sleep(Duration::from_millis(1)).await;
        coordinator.answer(Ok(()));
        assert_eq!(next.await, Ok(()));
        node.mark(marker(1, 1, 0, true)).await.unwrap();
        let late = node.send(transactional(1, 1, 0, 1), Some(transaction.clone()));
        tokio::time::sleep(Duration::from_millis(1)).await;
        coordinator.answer(Err(Refusal::new(ErrorCode::TransactionAbortable, "not part of it")));
        assert_eq!(late.await.unwrap().unwrap_err().code, ErrorCode::TransactionAbortable);
    });
}

#[test]
fn a_batch_of_a_transaction_without_one_is_refused() {
    simulate(|simulation, disk| async move {
        let node = Node::start(&simulation, &disk, 1);
        node.verifier.open(Arc::new(Agrees));
        node.lead(1).await;
        let refused = node.produce(Acks::All, transactional(1, 0, 0, 1)).await.unwrap_err();
        assert_eq!(refused.code, ErrorCode::InvalidTxnState);
    });
}

#[test]
fn retention_does_not_cut_an_open_transaction() {
    simulate(|simulation, disk| async move {
        let node = Node::start(&simulation, &disk, 1);
        node.verifier.open(Arc::new(Agrees));
        let config = TopicConfig { retention_ms: Some(1), segment_ms: 1, ..TopicConfig::default() };
        node.lead_with(1, config).await;
        node.produce(Acks::All, batch(1, 0)).await.unwrap();
        node.write(transactional(1, 0, 0, 1)).await.unwrap();
        for sequence in 1..4 {
            tokio::time::sleep(Duration::from_secs(70)).await;
            node.write(transactional(1, 0, sequence, 1)).await.unwrap();
        }
        assert_eq!(node.list(OffsetSpec::Earliest).await.unwrap().offset, Some(Offset(1)));
        node.mark(marker(1, 0, 0, true)).await.unwrap();
        tokio::time::sleep(Duration::from_secs(70)).await;
        assert!(node.list(OffsetSpec::Earliest).await.unwrap().offset > Some(Offset(1)));
    });
}

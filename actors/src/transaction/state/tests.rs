use proptest::prelude::*;

use super::*;

const ID: ProducerId = ProducerId(7);
const BEGINS: Beginning = Beginning { timeout_ms: 1_000, has: None };

fn producer(epoch: i16) -> ProducerEpoch {
    ProducerEpoch { id: ID, epoch }
}

fn partition(index: i32) -> TopicPartition {
    ("t".into(), index)
}

fn written<A: std::fmt::Debug>(decided: Decided<A>) -> (Transaction, Result<A, ErrorCode>) {
    match decided {
        Decided::Write(next, answer) => (*next, answer.map_err(|refusal| refusal.code)),
        other => panic!("{other:?}"),
    }
}

fn begun() -> Transaction {
    written(begin_new(&BEGINS, Some(ID), 0)).0
}

fn open(version: i16) -> Transaction {
    written(begun().add(producer(0), &[partition(0)], version, 100).unwrap()).0
}

fn ending(epoch: i16, commits: bool, client_version: i16) -> Ending {
    Ending { producer: producer(epoch), commits, client_version }
}

fn code<A: std::fmt::Debug>(refused: Result<A, Refusal>) -> ErrorCode {
    refused.unwrap_err().code
}

#[test]
fn a_new_id_waits_for_a_producer_id() {
    assert_eq!(begin_new(&BEGINS, None, 0), Decided::NeedsProducerId);
    let (transaction, answer) = written(begin_new(&BEGINS, Some(ID), 5));
    assert_eq!((answer, transaction.state), (Ok(producer(0)), TransactionState::Empty));
}

#[test]
fn who_begins_fences_who_was_there_and_its_open_transaction_is_aborted_first() {
    let (aborting, answer) = written(open(0).begin(&BEGINS, None, 200).unwrap());
    assert_eq!(answer, Err(ErrorCode::ConcurrentTransactions));
    assert_eq!((aborting.state, aborting.producer_epoch), (TransactionState::PrepareAbort, 1));
    assert_eq!(code(aborting.begin(&BEGINS, None, 200)), ErrorCode::ConcurrentTransactions);
    let (again, answer) = written(aborting.complete(300).begin(&BEGINS, None, 400).unwrap());
    assert_eq!((answer, again.state), (Ok(producer(2)), TransactionState::Empty));
    assert_eq!(code(again.add(producer(0), &[partition(0)], 0, 500)), ErrorCode::ProducerFenced);
}

#[test]
fn a_producer_that_goes_on_after_an_error_gets_the_next_epoch_once() {
    let goes_on = Beginning { has: Some(producer(0)), ..BEGINS };
    let (next, answer) = written(begun().begin(&goes_on, None, 0).unwrap());
    assert_eq!(answer, Ok(producer(1)));
    let (same, answer) = written(next.begin(&goes_on, None, 0).unwrap());
    assert_eq!((answer, same.producer_epoch), (Ok(producer(1)), 1));
    let stranger = Beginning { has: Some(producer(5)), ..BEGINS };
    assert_eq!(code(next.begin(&stranger, None, 0)), ErrorCode::ProducerFenced);
}

#[test]
fn used_up_epochs_give_another_id() {
    let mut transaction = begun();
    transaction.producer_epoch = LAST_EPOCH;
    assert_eq!(transaction.begin(&BEGINS, None, 0).unwrap(), Decided::NeedsProducerId);
    let (next, answer) = written(transaction.begin(&BEGINS, Some(ProducerId(8)), 0).unwrap());
    assert_eq!(answer, Ok(ProducerEpoch { id: ProducerId(8), epoch: 0 }));
    assert_eq!(next.previous_producer_id, Some(ID));
}

#[test]
fn a_transaction_of_version_1_keeps_its_epoch() {
    let (prepared, answer) = written(open(0).end(&ending(0, true, 0), None, 200).unwrap());
    assert_eq!((prepared.outcome(), answer), (Some(true), Ok(producer(0))));
    assert_eq!(code(prepared.end(&ending(0, true, 0), None, 200)), ErrorCode::ConcurrentTransactions);
    assert_eq!(code(prepared.end(&ending(0, false, 0), None, 200)), ErrorCode::InvalidTxnState);
    let complete = prepared.complete(300);
    assert_eq!((complete.state, complete.partitions.len()), (TransactionState::CompleteCommit, 0));
    assert_eq!(complete.end(&ending(0, true, 0), None, 400).unwrap(), Decided::Same(producer(0)));
    assert_eq!(code(complete.end(&ending(0, false, 0), None, 400)), ErrorCode::InvalidTxnState);
    assert_eq!(code(begun().end(&ending(0, true, 0), None, 0)), ErrorCode::InvalidTxnState);
}

#[test]
fn a_transaction_of_version_2_ends_with_the_next_epoch_and_hears_it_again() {
    let (prepared, answer) = written(open(2).end(&ending(0, true, 2), None, 200).unwrap());
    assert_eq!((answer, prepared.producer_epoch), (Ok(producer(1)), 1));
    assert_eq!(code(prepared.end(&ending(0, true, 2), None, 200)), ErrorCode::ConcurrentTransactions);
    let complete = prepared.complete(300);
    assert_eq!(complete.end(&ending(0, true, 2), None, 400).unwrap(), Decided::Same(producer(1)));
    assert_eq!(code(complete.end(&ending(0, false, 2), None, 400)), ErrorCode::InvalidTxnState);
    // In its new epoch there is nothing to commit; an abort of nothing gives the next epoch.
    assert_eq!(code(complete.end(&ending(1, true, 2), None, 400)), ErrorCode::InvalidTxnState);
    let (aborted, answer) = written(complete.end(&ending(1, false, 2), None, 400).unwrap());
    assert_eq!((aborted.outcome(), answer), (Some(false), Ok(producer(2))));
}

#[test]
fn a_transaction_of_version_2_ends_with_another_id_when_epochs_are_used_up() {
    let mut transaction = open(2);
    transaction.producer_epoch = LAST_EPOCH;
    let ends = ending(LAST_EPOCH, true, 2);
    assert_eq!(transaction.end(&ends, None, 0).unwrap(), Decided::NeedsProducerId);
    let (prepared, answer) = written(transaction.end(&ends, Some(ProducerId(8)), 0).unwrap());
    let goes_on = ProducerEpoch { id: ProducerId(8), epoch: 0 };
    assert_eq!((answer, prepared.producer_epoch), (Ok(goes_on), i16::MAX));
    // It may go on before the markers are written.
    assert_eq!(code(prepared.add(goes_on, &[partition(0)], 2, 1)), ErrorCode::ConcurrentTransactions);
    assert_eq!(code(prepared.verify(goes_on, &[partition(0)])), ErrorCode::ConcurrentTransactions);
    let begins = Beginning { has: Some(goes_on), ..BEGINS };
    assert_eq!(code(prepared.begin(&begins, None, 1)), ErrorCode::ConcurrentTransactions);
    let complete = prepared.complete(1);
    assert_eq!(complete.producer(), goes_on);
    assert_eq!(complete.end(&ends, None, 2).unwrap(), Decided::Same(goes_on));
}

#[test]
fn a_partition_is_verified_while_it_is_part_of_the_open_transaction() {
    let transaction = open(0);
    assert_eq!(transaction.verify(producer(0), &[partition(0)]), Ok(()));
    let other = transaction.verify(producer(0), &[partition(1)]);
    assert_eq!(code(other), ErrorCode::TransactionAbortable);
    let stranger = ProducerEpoch { id: ProducerId(9), epoch: 0 };
    assert_eq!(code(transaction.verify(stranger, &[partition(0)])), ErrorCode::InvalidProducerIdMapping);
    let (prepared, _) = written(transaction.end(&ending(0, true, 0), None, 200).unwrap());
    assert_eq!(code(prepared.verify(producer(0), &[partition(0)])), ErrorCode::ConcurrentTransactions);
    let ended = prepared.complete(1).verify(producer(0), &[partition(0)]);
    assert_eq!(code(ended), ErrorCode::TransactionAbortable);
}

#[test]
fn a_transaction_that_takes_too_long_is_aborted_and_its_producer_fenced() {
    let transaction = open(0);
    assert_eq!((transaction.ends_ms(), transaction.time_out(1_099)), (Some(1_100), None));
    let aborting = transaction.time_out(1_100).unwrap();
    assert_eq!((aborting.outcome(), aborting.producer_epoch), (Some(false), 1));
    assert_eq!(code(aborting.end(&ending(0, true, 0), None, 1_200)), ErrorCode::ProducerFenced);
}

#[test]
fn a_fenced_producer_of_version_2_is_told_so_however_it_ends() {
    for epoch in [0, 1, LAST_EPOCH - 1, LAST_EPOCH] {
        let transaction = Transaction { producer_epoch: epoch, ..open(2) };
        let (begun_anew, _) = written(transaction.begin(&BEGINS, None, 1_100).unwrap());
        for aborting in [transaction.time_out(1_100).unwrap(), begun_anew] {
            for fenced in [aborting.complete(1_300), aborting] {
                for commits in [true, false] {
                    let ended = fenced.end(&ending(epoch, commits, 2), Some(ProducerId(9)), 1_400);
                    assert_eq!(
                        code(ended),
                        ErrorCode::ProducerFenced,
                        "{epoch} {commits} {:?}",
                        fenced.state
                    );
                }
            }
        }
    }
}

#[test]
fn a_fenced_producer_of_version_2_is_told_so_where_its_successor_keeps_its_epoch() {
    let (complete, _) = written(open(2).end(&ending(0, true, 2), None, 200).unwrap());
    let (begun_anew, answer) = written(complete.complete(300).begin(&BEGINS, None, 400).unwrap());
    assert_eq!(answer, Ok(producer(2)));
    let (open, _) = written(begun_anew.add(producer(2), &[partition(0)], 0, 500).unwrap());
    for commits in [true, false] {
        let (prepared, _) = written(open.end(&ending(2, commits, 0), None, 600).unwrap());
        for ended in [prepared.complete(700), prepared] {
            assert_eq!(code(ended.end(&ending(1, commits, 2), None, 800)), ErrorCode::ProducerFenced);
        }
    }
}

#[test]
fn a_producer_is_known_by_its_used_up_id_until_the_next_one_is_used() {
    let used_up = Transaction { producer_epoch: LAST_EPOCH, ..begun() };
    let (next, _) = written(used_up.begin(&BEGINS, Some(ProducerId(8)), 0).unwrap());
    let goes_on = Beginning { has: Some(producer(LAST_EPOCH)), ..BEGINS };
    let given = ProducerEpoch { id: ProducerId(8), epoch: 0 };
    assert_eq!(written(next.begin(&goes_on, None, 0).unwrap()).1, Ok(given));
    // Used: in version 1, in which the epoch stays.
    let (open, _) = written(next.add(given, &[partition(0)], 0, 0).unwrap());
    assert_eq!(code(open.begin(&goes_on, None, 0)), ErrorCode::ProducerFenced);
    let ends = Ending { producer: given, commits: true, client_version: 0 };
    let (prepared, _) = written(open.end(&ends, None, 0).unwrap());
    assert_eq!(code(prepared.complete(1).begin(&goes_on, None, 2)), ErrorCode::ProducerFenced);
    // Given to another since.
    let (other, _) = written(next.begin(&BEGINS, None, 0).unwrap());
    assert_eq!(code(other.begin(&goes_on, None, 0)), ErrorCode::ProducerFenced);
}

#[test]
fn an_id_is_forgotten_only_without_a_transaction() {
    assert!(begun().is_expired(10, 10) && !begun().is_expired(9, 10));
    assert!(!open(0).is_expired(i64::MAX, 10));
}

proptest! {
    /// Whatever a producer and time do: an outcome that was decided stays until it is complete, and epochs never go back.
    #[test]
    fn a_decided_outcome_is_never_reversed(steps in prop::collection::vec((0..6_u8, -1..2_i16, any::<bool>()), 1..60)) {
        let mut transaction = begun();
        for (at, (what, behind, commits)) in (0_i64..).zip(steps) {
            let epoch = transaction.producer_epoch - behind.max(0);
            let now_ms = at * 300;
            let next = match what {
                0 => {
                    let has = commits.then(|| producer(epoch));
                    let begins = Beginning { has, ..BEGINS };
                    transaction.begin(&begins, Some(ProducerId(at)), now_ms).ok().map(|d| match d {
                        Decided::Write(next, _) => *next,
                        other => panic!("{other:?}"),
                    })
                }
                1 => match transaction.add(producer(epoch), &[partition(0)], 2, now_ms) {
                    Ok(Decided::Write(next, _)) => Some(*next),
                    _ => None,
                },
                2 | 3 => {
                    let version = if what == 2 { 0 } else { 2 };
                    match transaction.end(&ending(epoch, commits, version), Some(ProducerId(at)), now_ms) {
                        Ok(Decided::Write(next, _)) => Some(*next),
                        _ => None,
                    }
                }
                4 => transaction.time_out(now_ms),
                _ => transaction.outcome().map(|_| transaction.complete(now_ms)),
            };
            let Some(next) = next else { continue };
            if let Some(commits) = transaction.outcome() {
                prop_assert_eq!(what, 5, "only its completion follows");
                prop_assert_eq!(next.state == TransactionState::CompleteCommit, commits);
            }
            if next.producer_id == transaction.producer_id {
                prop_assert!(next.producer_epoch >= transaction.producer_epoch);
            }
            transaction = next;
        }
    }
}

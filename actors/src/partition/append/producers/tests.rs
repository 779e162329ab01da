use proptest::prelude::*;

use super::*;
use crate::ids::LeaderEpoch;
use crate::partition::append::NodeProducers;
use crate::record::Attributes;

fn batch(id: i64, epoch: i16, base_sequence: i32, count: i32) -> BatchHeader {
    BatchHeader {
        base_offset: Offset(0),
        length: 49,
        leader_epoch: LeaderEpoch(0),
        checksum: 0,
        attributes: Attributes(0),
        last_offset_delta: count - 1,
        base_timestamp_ms: 0,
        max_timestamp_ms: 0,
        producer_id: id,
        producer_epoch: epoch,
        base_sequence,
        count,
    }
}

fn at(offset: i64, header: BatchHeader) -> BatchHeader {
    BatchHeader { base_offset: Offset(offset), ..header }
}

fn table_with(headers: &[BatchHeader]) -> ProducerTable {
    let mut table = ProducerTable::default();
    let mut offset = 0;
    for header in headers {
        table.record(&at(offset, *header), None, 0);
        offset += i64::from(header.count);
    }
    table
}

fn one(table: &ProducerTable, header: BatchHeader) -> Result<Check, ErrorCode> {
    table.check(&[header]).map(|checks| checks[0]).map_err(|refusal| refusal.code)
}

#[test]
fn the_next_sequence_is_fresh_and_a_gap_is_refused() {
    let table = table_with(&[batch(1, 0, 0, 10)]);
    assert_eq!(one(&table, batch(1, 0, 10, 1)), Ok(Check::Fresh));
    assert_eq!(one(&table, batch(1, 0, 11, 1)), Err(ErrorCode::OutOfOrderSequenceNumber));
    assert_eq!(one(&table, batch(1, 0, 5, 5)), Err(ErrorCode::OutOfOrderSequenceNumber));
}

#[test]
fn each_of_the_last_five_batches_is_known_again_with_its_offsets() {
    let batches: Vec<_> = (0..7).map(|index| batch(1, 0, index * 10, 10)).collect();
    let table = table_with(&batches);
    for index in 0..7_i32 {
        let found = one(&table, batch(1, 0, index * 10, 10));
        let first = i64::from(index) * 10;
        if index < 2 {
            assert_eq!(found, Err(ErrorCode::OutOfOrderSequenceNumber));
        } else {
            assert_eq!(found, Ok(Check::Duplicate { first: Offset(first), last: Offset(first + 9) }));
        }
    }
}

#[test]
fn a_new_epoch_begins_with_zero_and_fences_the_old() {
    let mut table = table_with(&[batch(1, 3, 0, 10)]);
    assert_eq!(one(&table, batch(1, 4, 10, 1)), Err(ErrorCode::OutOfOrderSequenceNumber));
    assert_eq!(one(&table, batch(1, 4, 0, 10)), Ok(Check::Fresh));
    assert_eq!(one(&table, batch(1, 2, 10, 1)), Err(ErrorCode::InvalidProducerEpoch));
    table.record(&at(10, batch(1, 4, 0, 10)), None, 0);
    assert_eq!(one(&table, batch(1, 3, 10, 1)), Err(ErrorCode::InvalidProducerEpoch));
    assert_eq!(one(&table, batch(1, 4, 0, 10)), Ok(Check::Duplicate { first: Offset(10), last: Offset(19) }));
}

#[test]
fn a_producer_that_is_not_known_begins_where_it_likes() {
    let table = ProducerTable::default();
    assert_eq!(one(&table, batch(1, 3, 77, 1)), Ok(Check::Fresh));
}

#[test]
fn the_sequence_wraps_from_the_largest_to_zero() {
    let mut table = table_with(&[batch(1, 0, i32::MAX - 1, 2)]);
    assert_eq!(one(&table, batch(1, 0, 0, 5)), Ok(Check::Fresh));
    assert_eq!(one(&table, batch(1, 0, 1, 5)), Err(ErrorCode::OutOfOrderSequenceNumber));
    table.record(&at(2, batch(1, 0, 0, 5)), None, 0);
    let within = table_with(&[batch(1, 0, i32::MAX - 1, 5)]);
    assert_eq!(one(&within, batch(1, 0, 3, 1)), Ok(Check::Fresh));
}

#[test]
fn batches_of_one_append_follow_each_other() {
    let table = table_with(&[batch(1, 0, 0, 10)]);
    let good = [batch(1, 0, 10, 5), batch(2, 0, 0, 1), batch(1, 0, 15, 5)];
    assert_eq!(table.check(&good).unwrap(), [Check::Fresh; 3]);
    let gap = [batch(1, 0, 10, 5), batch(1, 0, 16, 5)];
    assert!(table.check(&gap).is_err());
    let twice = [batch(1, 0, 10, 5), batch(1, 0, 10, 5)];
    assert!(table.check(&twice).is_err());
    let again = [batch(1, 0, 0, 10), batch(1, 0, 10, 5)];
    assert_eq!(
        table.check(&again).unwrap(),
        [Check::Duplicate { first: Offset(0), last: Offset(9) }, Check::Fresh]
    );
    let unknown = [batch(9, 2, 50, 5), batch(9, 2, 55, 5)];
    assert_eq!(table.check(&unknown).unwrap(), [Check::Fresh; 2]);
}

#[test]
fn batches_without_a_producer_are_always_fresh() {
    let mut table = ProducerTable::default();
    let plain = batch(-1, -1, -1, 3);
    table.record(&plain, None, 0);
    assert!(table.is_empty());
    assert_eq!(table.check(&[plain, plain]).unwrap(), [Check::Fresh; 2]);
}

#[test]
fn a_silent_producer_is_forgotten_after_its_time() {
    let limits = ProducerLimits { expiration_ms: 100, producers: 10, ..ProducerLimits::default() };
    let mut table = ProducerTable::new(limits);
    table.record(&batch(1, 0, 0, 1), None, 1000);
    table.record(&batch(2, 0, 0, 1), None, 1050);
    table.record(&batch(1, 0, 1, 1), None, 1060);
    assert_eq!(table.expire(1149), 0);
    assert_eq!(table.expire(1150), 1);
    assert_eq!(one(&table, batch(1, 0, 2, 1)), Ok(Check::Fresh));
    assert_eq!(one(&table, batch(1, 0, 9, 1)), Err(ErrorCode::OutOfOrderSequenceNumber));
    assert_eq!(table.expire(1160), 1);
    assert!(table.is_empty());
}

#[test]
fn above_the_bound_the_longest_silent_is_forgotten() {
    let limits = ProducerLimits { expiration_ms: 1000, producers: 3, ..ProducerLimits::default() };
    let mut table = ProducerTable::new(limits);
    for id in 0..4 {
        table.record(&batch(id, 0, 0, 1), None, id);
    }
    assert_eq!(table.len(), 3);
    assert_eq!(one(&table, batch(0, 0, 7, 1)), Ok(Check::Fresh));
    assert!(one(&table, batch(1, 0, 7, 1)).is_err());
}

#[test]
fn above_the_bound_of_the_node_a_partition_forgets_one_for_each_that_comes() {
    let limits = ProducerLimits { node: NodeProducers::up_to(5), ..ProducerLimits::default() };
    let (mut one, mut other) = (ProducerTable::new(limits.clone()), ProducerTable::new(limits.clone()));
    for id in 0..3 {
        one.record(&batch(id, 0, 0, 1), None, id);
    }
    for id in 0..9 {
        other.record(&batch(id, 0, 0, 1), None, id);
    }
    assert_eq!((one.len(), other.len(), limits.node.now()), (3, 2, 5));
    assert!(other.active().all(|producer| producer.id >= ProducerId(7)), "the newest are known");
    one.record(&batch(1, 0, 1, 1), None, 9);
    assert_eq!(one.len(), 3, "one known already costs nobody his place");
    let copy = one.clone();
    assert_eq!(limits.node.now(), 8);
    drop((one, copy));
    assert_eq!(limits.node.now(), 2);
    assert_eq!(other.expire(i64::MAX), 2);
    assert_eq!(limits.node.now(), 0);
}

proptest! {
    /// A producer with up to five batches in flight whose requests are lost or doubled: all arrive once, in order.
    #[test]
    fn whatever_is_sent_again_is_appended_once(
        start in prop::sample::select(vec![0, 1, i32::MAX - 20]),
        counts in prop::collection::vec(1..20_i32, 1..40),
        sends in prop::collection::vec(0..5_usize, 1..200),
    ) {
        let mut batches = Vec::new();
        let mut next = start;
        for count in counts {
            let header = batch(1, 0, next, count);
            next = header.last_sequence().checked_add(1).unwrap_or(0);
            batches.push(header);
        }
        let mut table = ProducerTable::default();
        let mut appended: Vec<BatchHeader> = Vec::new();
        let mut end = 0;
        for back in sends {
            // The next new batch, or one of the four before it.
            let Some(index) = appended.len().checked_sub(back) else { continue };
            let Some(header) = batches.get(index) else { continue };
            match one(&table, *header) {
                Ok(Check::Fresh) => {
                    prop_assert_eq!(index, appended.len());
                    let header = at(end, *header);
                    table.record(&header, None, 0);
                    end = header.next_offset().0;
                    appended.push(header);
                }
                Ok(Check::Duplicate { first, last }) => {
                    prop_assert_eq!(first, appended[index].base_offset);
                    prop_assert_eq!(last, appended[index].last_offset());
                }
                Err(code) => return Err(TestCaseError::fail(format!("{code:?} at {index}"))),
            }
        }
    }

    #[test]
    fn the_table_never_holds_more_than_its_bound(
        steps in prop::collection::vec((0..30_i64, 0..1000_i64, any::<bool>()), 0..300),
    ) {
        let mut table = ProducerTable::new(ProducerLimits { expiration_ms: 100, producers: 7, ..ProducerLimits::default() });
        for (id, now_ms, expire) in steps {
            table.record(&batch(id, 0, 0, 1), None, now_ms);
            if expire {
                table.expire(now_ms);
            }
            prop_assert!(table.len() <= 7);
            prop_assert_eq!(table.len(), table.by_age.len());
        }
    }
}

fn in_transaction(header: BatchHeader) -> BatchHeader {
    BatchHeader { attributes: Attributes(0).as_transactional(), ..header }
}

/// A marker and its header, at this offset.
fn marker(at: i64, id: i64, epoch: i16, coordinator_epoch: i32) -> (BatchHeader, EndMarker) {
    let marker =
        EndMarker { producer_id: ProducerId(id), producer_epoch: epoch, coordinator_epoch, commits: false };
    let header = BatchHeader::parse(&marker.batch(0)).unwrap();
    (BatchHeader { base_offset: Offset(at), ..header }, marker)
}

fn end(table: &mut ProducerTable, at: i64, id: i64, epoch: i16, coordinator_epoch: i32) {
    let (header, marker) = marker(at, id, epoch, coordinator_epoch);
    table.record(&header, Some(marker), 0);
}

#[test]
fn a_marker_with_a_later_epoch_fences_what_is_still_on_its_way() {
    let mut table = table_with(&[in_transaction(batch(1, 4, 0, 10))]);
    assert!(table.is_open(ProducerId(1), 4));
    assert_eq!(table.last_stable(Offset(10)), Offset(0));
    end(&mut table, 10, 1, 5, 7);
    table.committed(Offset(11));
    assert!(!table.is_open(ProducerId(1), 5));
    assert_eq!(table.last_stable(Offset(11)), Offset(11));
    assert_eq!(table.aborted_in(Offset(5), Offset(6)).len(), 1);
    let late = in_transaction(batch(1, 4, 10, 1));
    assert_eq!(one(&table, late), Err(ErrorCode::InvalidProducerEpoch));
    assert_eq!(one(&table, in_transaction(batch(1, 5, 0, 1))), Ok(Check::Fresh));
}

#[test]
fn in_the_same_epoch_sequences_go_on_behind_a_marker() {
    let mut table = table_with(&[in_transaction(batch(1, 4, 0, 10))]);
    end(&mut table, 10, 1, 4, 7);
    assert_eq!(one(&table, in_transaction(batch(1, 4, 10, 1))), Ok(Check::Fresh));
    assert_eq!(one(&table, in_transaction(batch(1, 4, 12, 1))), Err(ErrorCode::OutOfOrderSequenceNumber));
}

#[test]
fn an_open_transaction_takes_no_batch_that_is_no_part_of_it() {
    let table = table_with(&[in_transaction(batch(1, 4, 0, 10))]);
    assert_eq!(one(&table, batch(1, 4, 10, 1)), Err(ErrorCode::InvalidTxnState));
    assert_eq!(one(&table, in_transaction(batch(1, 5, 0, 1))), Err(ErrorCode::InvalidTxnState));
    assert_eq!(one(&table, in_transaction(batch(1, 4, 10, 1))), Ok(Check::Fresh));
}

#[test]
fn a_coordinator_that_was_replaced_and_a_past_epoch_write_no_marker() {
    let mut table = table_with(&[in_transaction(batch(1, 4, 0, 10))]);
    end(&mut table, 10, 1, 4, 7);
    let code = |epoch, coordinator_epoch| {
        table.check_marker(&marker(0, 1, epoch, coordinator_epoch).1).err().map(|refusal| refusal.code)
    };
    assert_eq!(code(4, 6), Some(ErrorCode::TransactionCoordinatorFenced));
    assert_eq!(code(3, 7), Some(ErrorCode::InvalidProducerEpoch));
    assert_eq!((code(4, 7), code(5, 8)), (None, None));
}

#[test]
fn a_producer_with_an_open_transaction_is_not_forgotten() {
    let limits = ProducerLimits { expiration_ms: 100, producers: 2, ..ProducerLimits::default() };
    let mut table = ProducerTable::new(limits);
    table.record(&in_transaction(batch(1, 0, 0, 1)), None, 0);
    table.record(&at(1, batch(2, 0, 0, 1)), None, 1);
    table.record(&at(2, batch(3, 0, 0, 1)), None, 2);
    assert_eq!((table.len(), table.expire(1_000)), (2, 1));
    assert_eq!(table.last_stable(Offset(3)), Offset(0));
    end(&mut table, 3, 1, 0, 0);
    assert_eq!(table.expire(1_000), 1);
}

#[test]
fn what_a_coordinator_writes_for_a_producer_has_no_sequence_and_leaves_its_sequence_alone() {
    let mut table = table_with(&[in_transaction(batch(1, 0, 0, 10))]);
    let unnumbered = in_transaction(batch(1, 0, -1, 1));
    assert_eq!(one(&table, unnumbered), Ok(Check::Fresh));
    table.record(&at(10, unnumbered), None, 0);
    assert_eq!(one(&table, unnumbered), Ok(Check::Fresh), "no duplicate");
    assert_eq!(one(&table, in_transaction(batch(1, 0, 10, 1))), Ok(Check::Fresh));
}

#[test]
fn of_a_transaction_that_compaction_emptied_nothing_is_open() {
    let table = table_with(&[BatchHeader { count: 0, ..in_transaction(batch(1, 4, 0, 10)) }]);
    assert_eq!(table.last_stable(Offset(10)), Offset(10));
}

#[test]
fn a_marker_that_compaction_emptied_still_tells_its_epoch() {
    let mut table = ProducerTable::default();
    let (header, _) = marker(20, 1, 5, 7);
    table.record(&BatchHeader { count: 0, ..header }, None, 0);
    assert_eq!(one(&table, batch(1, 4, 0, 1)), Err(ErrorCode::InvalidProducerEpoch));
    assert_eq!(table.last_batches(Offset(21)), [(ProducerId(1), Offset(20))].into());
}

#[test]
fn one_producers_aborts_do_not_refuse_the_transactions_of_another() {
    let mut table = ProducerTable::default();
    let begins = |id| in_transaction(batch(id, 0, -1, 1));
    let mut offset = 0;
    while one(&table, begins(1)).is_ok() {
        table.record(&at(offset, begins(1)), None, 0);
        end(&mut table, offset + 1, 1, 0, 0);
        offset += 2;
    }
    assert_eq!(one(&table, begins(1)), Err(ErrorCode::ThrottlingQuotaExceeded));
    assert_eq!(one(&table, begins(2)), Ok(Check::Fresh));
    assert!(table.forget_aborted_below(Offset(2)));
    assert_eq!(one(&table, begins(1)), Ok(Check::Fresh));
}

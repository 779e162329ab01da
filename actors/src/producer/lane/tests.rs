use std::sync::Arc;

use super::*;
use crate::ids::Offset;
use crate::producer::budget::Budget;
use crate::producer::delivery::{Delivery, RecordMetadata};
use crate::record::{BatchBuilder, BatchHeader, Compression};

const WITHIN: Duration = Duration::from_secs(10);
const NODE: NodeId = NodeId(1);
const EPOCH: LeaderEpoch = LeaderEpoch(1);

struct Bench {
    lane: Lane,
    budget: Arc<Budget>,
    now: Instant,
}

impl Bench {
    fn new() -> Self {
        let mut lane = Lane::default();
        assert!(!lane.lacks_id(Some(ProducerEpoch { id: ProducerId(7), epoch: 0 })));
        Self { lane, budget: Arc::new(Budget::new(1 << 20)), now: Instant::now() }
    }

    fn batch(&self, count: i32) -> (Batch, Delivery) {
        let mut builder = BatchBuilder::new(10_000, Compression::NONE);
        for _ in 0..count {
            builder.push(1, None, Some(b"v"), &[]).unwrap();
        }
        let duty = Duty::new(Arc::clone(&self.budget));
        let delivery = Delivery { fate: duty.fate(), partition: 0, index: 0, timestamp_ms: 1, place: None };
        let closed = Closed { packed: builder.pack(), duty, begun: self.now };
        (Batch::new(closed, WITHIN), delivery)
    }

    /// Sends a new batch; returns its header and its delivery.
    fn send_new(&mut self, count: i32, request: u64) -> (BatchHeader, Delivery) {
        let (batch, delivery) = self.batch(count);
        (header(&self.lane.send(batch, request, NODE, EPOCH)), delivery)
    }

    fn send_again(&mut self, request: u64) -> BatchHeader {
        let batch = self.lane.take_retry().unwrap();
        header(&self.lane.send(batch, request, NODE, EPOCH))
    }

    fn refuse(&mut self, request: u64, code: ErrorCode) {
        self.lane.answered(request, Err(Failure::Refused(Refusal::new(code, "no"))), self.now);
    }

    fn accept(&mut self, request: u64, offset: i64) {
        let written = Written { base_offset: Some(Offset(offset)), append_time_ms: None };
        self.lane.answered(request, Ok(written), self.now);
    }

    fn may_send(&self, after_ms: u64) -> bool {
        self.lane.may_send(self.now + Duration::from_millis(after_ms), 5).is_ok()
    }
}

fn header(bytes: &Bytes) -> BatchHeader {
    crate::record::verify_checksum(bytes).unwrap();
    BatchHeader::parse(bytes).unwrap()
}

fn stamp(header: BatchHeader) -> (i16, i32) {
    (header.producer_epoch, header.base_sequence)
}

#[test]
fn sequences_follow_each_other_and_answers_decide() {
    let mut bench = Bench::new();
    let (first, delivery) = bench.send_new(3, 1);
    let (second, _) = bench.send_new(2, 2);
    assert_eq!((stamp(first), stamp(second)), ((0, 0), (0, 3)));
    bench.accept(1, 100);
    let written = RecordMetadata { partition: 0, offset: Some(Offset(100)), timestamp_ms: 1 };
    assert_eq!(delivery.now(), Some(Ok(written)));
    bench.accept(2, 103);
    assert!(bench.lane.is_empty() && bench.budget.is_idle());
}

#[test]
fn at_most_five_are_in_flight_and_one_until_the_producer_is_known() {
    let mut bench = Bench::new();
    let _ = bench.send_new(1, 9);
    assert!(!bench.may_send(0));
    bench.accept(9, 0);
    for request in 0..5 {
        assert!(bench.may_send(0));
        let _ = bench.send_new(1, request);
    }
    assert!(!bench.may_send(0));
}

#[test]
fn nothing_is_sent_five_batches_ahead_of_one_that_is_undecided() {
    let mut bench = Bench::new();
    for request in 0..5 {
        let _ = bench.send_new(1, request);
    }
    for request in 1..5 {
        bench.accept(request, i64::try_from(request).unwrap());
    }
    assert!(!bench.may_send(0), "the leader would forget the first");
    bench.refuse(0, ErrorCode::RequestTimedOut);
    assert!(bench.may_send(50));
    assert_eq!(stamp(bench.send_again(5)), (0, 0));
    assert!(!bench.may_send(50));
    bench.accept(5, 0);
    assert!(bench.may_send(50));
}

#[test]
fn what_failed_is_sent_again_in_order_with_its_sequence_once_all_came_back() {
    let mut bench = Bench::new();
    let deliveries: Vec<_> = (1..=3).map(|request| bench.send_new(2, request).1).collect();
    bench.refuse(1, ErrorCode::NotLeaderOrFollower);
    assert!(!bench.may_send(10_000), "two are still in flight");
    bench.refuse(3, ErrorCode::OutOfOrderSequenceNumber);
    bench.refuse(2, ErrorCode::OutOfOrderSequenceNumber);
    assert!(!bench.may_send(10) && bench.may_send(50));
    for (request, sequence) in [(4, 0), (5, 2), (6, 4)] {
        assert_eq!(stamp(bench.send_again(request)), (0, sequence));
    }
    for request in 4..=6 {
        bench.accept(request, i64::try_from(request).unwrap());
    }
    assert!(deliveries.iter().all(|delivery| delivery.now().unwrap().is_ok()));
}

#[test]
fn out_of_order_for_the_first_in_flight_begins_a_new_epoch_at_zero() {
    let mut bench = Bench::new();
    let _first = bench.send_new(2, 1);
    bench.accept(1, 0);
    let _second = bench.send_new(2, 2);
    let _third = bench.send_new(2, 3);
    bench.refuse(2, ErrorCode::OutOfOrderSequenceNumber);
    bench.refuse(3, ErrorCode::OutOfOrderSequenceNumber);
    assert_eq!(stamp(bench.send_again(4)), (1, 0));
    assert_eq!(stamp(bench.send_again(5)), (1, 2));
    bench.accept(4, 2);
    bench.accept(5, 4);
    assert_eq!(stamp(bench.send_new(1, 6).0), (1, 4));
}

#[test]
fn a_fenced_producer_wants_another_id() {
    let mut bench = Bench::new();
    let _sent = bench.send_new(2, 1);
    bench.refuse(1, ErrorCode::InvalidProducerEpoch);
    let old = ProducerEpoch { id: ProducerId(7), epoch: 0 };
    assert!(bench.lane.lacks_id(Some(old)), "the old id is not taken again");
    assert!(bench.lane.take_spent() && !bench.lane.take_spent());
    assert!(!bench.lane.lacks_id(Some(ProducerEpoch { id: ProducerId(8), epoch: 0 })));
    let again = bench.send_again(2);
    assert_eq!((again.producer(), stamp(again)), (Some(ProducerId(8)), (0, 0)));
}

#[test]
fn what_cannot_pass_fails_its_batch_only() {
    let mut bench = Bench::new();
    let (_, refused) = bench.send_new(1, 1);
    let (_, next) = bench.send_new(1, 2);
    bench.refuse(1, ErrorCode::MessageTooLarge);
    assert!(matches!(refused.now(), Some(Err(ProduceError::Refused(_)))));
    bench.refuse(2, ErrorCode::OutOfOrderSequenceNumber);
    assert_eq!(next.now(), None);
    assert_eq!(stamp(bench.send_again(3)), (1, 0));
    bench.accept(3, 0);
    assert!(next.now().unwrap().is_ok());
}

#[test]
fn a_batch_out_of_time_is_given_up_and_the_next_keeps_its_sequence() {
    let mut bench = Bench::new();
    let (_, late) = bench.send_new(1, 1);
    bench.lane.answered(1, Err(Failure::Link(LinkError::NoAnswer("silence".to_owned()))), bench.now);
    bench.lane.expire(bench.now + WITHIN, WITHIN);
    let error = late.now().unwrap().unwrap_err();
    assert!(matches!(&error, ProduceError::TimedOut { last, .. } if last.contains("silence")), "{error}");
    // The leader may have it: the next batch begins behind it, and its answer tells.
    assert_eq!(stamp(bench.send_new(1, 2).0), (0, 1));
}

#[test]
fn a_new_leader_is_not_kept_waiting_by_the_old_one() {
    let mut bench = Bench::new();
    let (_, delivery) = bench.send_new(1, 1);
    bench.lane.led_by(NODE, EPOCH, bench.now);
    assert!(bench.lane.retry_bytes().is_none(), "the same leader is waited for");
    bench.lane.led_by(NodeId(2), LeaderEpoch(2), bench.now);
    assert!(bench.may_send(0), "at once");
    assert_eq!(stamp(bench.send_again(2)), (0, 0));
    bench.accept(1, 55);
    assert_eq!(delivery.now(), None, "the old leader's answer comes too late");
    bench.accept(2, 9);
    assert_eq!(delivery.now().unwrap().unwrap().offset, Some(Offset(9)));
}

#[test]
fn a_lane_that_is_dropped_fails_its_batches() {
    let mut bench = Bench::new();
    let (_, delivery) = bench.send_new(1, 1);
    drop(bench.lane);
    assert_eq!(delivery.now(), Some(Err(ProduceError::Closed)));
}

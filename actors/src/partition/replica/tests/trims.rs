//! Deleting records from the beginning: what is refused, who is waited for, and that it stays so.

use super::*;
use crate::partition::following::{FeedWaker, FollowerLog, FollowerReported, OpenFeed, Opening};
use crate::partition::message::DeleteRecords;

#[derive(Debug)]
struct NoWaker;

impl FeedWaker for NoWaker {
    fn wake(&self, _: PartitionId) {}
}

impl Node {
    fn delete(
        &self,
        before: Option<i64>,
        timeout_ms: u32,
    ) -> impl Future<Output = Result<Offset, ErrorCode>> + use<> {
        let delete = DeleteRecords { timeout_ms, parts: vec![(partition(), before.map(Offset))] };
        let (send, receive) = tokio::sync::oneshot::channel();
        self.front.delete_records(delete, move |answer| send.send(answer).unwrap());
        async move { receive.await.unwrap().parts.remove(0).1.map_err(|refusal| refusal.code) }
    }

    /// A follower joins that has everything, and reports what it has on disk.
    async fn follow(&self, member: Member, epoch: i32, end: i64) {
        let log =
            FollowerLog { end: Offset(end), durable_end: Offset(end), last_epoch: Some(LeaderEpoch(epoch)) };
        let open = OpenFeed { member, epoch: LeaderEpoch(epoch), log, waker: Box::new(NoWaker) };
        let replica = self.replicas.get(partition()).unwrap().address.clone();
        let opening = replica.send(open).await.unwrap().unwrap();
        assert!(matches!(opening, Opening::Accepted { .. }), "{opening:?}");
    }

    fn report(&self, member: Member, epoch: i32, end: i64, start: i64) {
        let ends = FollowerEnds { durable_end: Offset(end), log_start: Offset(start) };
        let reported = FollowerReported { member, epoch: LeaderEpoch(epoch), ends };
        self.replicas.get(partition()).unwrap().address.do_send(reported);
    }
}

#[test]
fn what_was_deleted_is_not_served_and_not_there_after_a_restart() {
    simulate(|simulation, disk| async move {
        let node = Node::start(&simulation, &disk, 1);
        node.lead(1).await;
        node.produce(Acks::All, batch(10, 0)).await.unwrap();
        assert_eq!(node.delete(Some(4), 5_000).await, Ok(Offset(4)));
        assert_eq!(node.fetch(3, 0).await.unwrap_err().code, ErrorCode::OffsetOutOfRange);
        assert_eq!(node.list(OffsetSpec::Earliest).await.unwrap().offset, Some(Offset(4)));
        assert_eq!(node.delete(Some(2), 5_000).await, Ok(Offset(4)), "it is gone already");
        // Power goes: what was answered is on the disk.
        disk.cut_power();
        drop(node);
        let node = Node::start(&simulation, &disk, 2);
        node.lead(2).await;
        assert_eq!(node.list(OffsetSpec::Earliest).await.unwrap().offset, Some(Offset(4)));
        assert_eq!(node.delete(None, 5_000).await, Ok(Offset(10)), "up to the high watermark");
    });
}

#[test]
fn what_cannot_be_deleted_is_refused_as_kafka_does() {
    simulate(|simulation, disk| async move {
        let node = Node::start(&simulation, &disk, 1);
        assert_eq!(node.delete(Some(0), 0).await, Err(ErrorCode::NotLeaderOrFollower));
        node.lead(1).await;
        node.produce(Acks::All, batch(2, 0)).await.unwrap();
        for wrong in [3, -2] {
            assert_eq!(node.delete(Some(wrong), 0).await, Err(ErrorCode::OffsetOutOfRange));
        }
        let compacted = TopicConfig { compact: true, delete: false, ..TopicConfig::default() };
        node.lead_with(2, compacted).await;
        assert_eq!(node.delete(Some(1), 5_000).await, Err(ErrorCode::PolicyViolation));
        let both = TopicConfig { compact: true, delete: true, ..TopicConfig::default() };
        node.lead_with(3, both).await;
        assert_eq!(node.delete(Some(1), 5_000).await, Ok(Offset(1)));
    });
}

#[test]
fn a_deletion_is_answered_when_every_in_sync_member_has_it_on_disk() {
    simulate(|simulation, disk| async move {
        let node = Node::start(&simulation, &disk, 1);
        let other = life(2, 1);
        node.assign(assignment(1, Some(node.me), &[node.me, other], 1)).await;
        node.follow(other, 1, 0).await;
        node.produce(Acks::Leader, batch(6, 0)).await.unwrap();
        node.report(other, 1, 6, 0);
        let late = node.delete(Some(3), 2_000).await;
        assert_eq!(late, Err(ErrorCode::RequestTimedOut), "the other has not reported it");
        let deleting = node.delete(Some(5), 5_000);
        node.report(other, 1, 6, 5);
        assert_eq!(deleting.await, Ok(Offset(5)));
    });
}

#[test]
fn a_follower_is_let_in_only_when_what_was_deleted_is_gone_from_its_disk() {
    simulate(|simulation, disk| async move {
        let node = Node::start(&simulation, &disk, 1);
        let other = life(2, 1);
        node.lead(1).await;
        node.produce(Acks::All, batch(10, 0)).await.unwrap();
        assert_eq!(node.delete(Some(7), 5_000).await, Ok(Offset(7)));
        let proposed = || node.watcher.0.lock().unwrap().clone();
        node.follow(other, 1, 10).await;
        node.report(other, 1, 10, 0);
        tokio::time::sleep(Duration::from_millis(1)).await;
        assert!(proposed().is_empty(), "should it lead, it would serve what is gone");
        node.report(other, 1, 10, 7);
        tokio::time::sleep(Duration::from_millis(1)).await;
        assert_eq!(proposed(), ["propose 2"]);
    });
}

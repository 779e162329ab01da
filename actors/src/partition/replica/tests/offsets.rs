//! Offsets by epoch: what consumers ask to find out whether what they have read is still so.

use super::*;
use crate::partition::message::{EpochEnd, EpochPart, ListPart};
use crate::record::Codec;

impl Node {
    async fn epoch_end(&self, current: Option<i32>, epoch: i32) -> Result<Option<(i32, i64)>, ErrorCode> {
        let part = EpochPart {
            partition: partition(),
            leader_epoch: current.map(LeaderEpoch),
            epoch: LeaderEpoch(epoch),
        };
        let (send, receive) = tokio::sync::oneshot::channel();
        self.front.epoch_ends(vec![part], move |answer| send.send(answer).unwrap());
        let answer = receive.await.unwrap().remove(0).1;
        answer.map(|end| end.map(|end| (end.epoch.0, end.end.0))).map_err(|refusal| refusal.code)
    }

    async fn fetch_after(&self, offset: i64, last: i32) -> Result<Fetched, Refusal> {
        let part = FetchPart {
            stable_only: false,
            nearby: Default::default(),
            partition: partition(),
            leader_epoch: None,
            last_fetched_epoch: Some(LeaderEpoch(last)),
            offset: Offset(offset),
            max_bytes: 1 << 20,
        };
        let (send, receive) = tokio::sync::oneshot::channel();
        let fetch = Fetch { max_wait_ms: 0, min_bytes: 1, max_bytes: 1 << 20, parts: vec![part] };
        self.front.fetch(fetch, move |answer| send.send(answer).unwrap());
        receive.await.unwrap().parts.remove(0).1
    }

    async fn list_in(&self, epoch: i32, spec: OffsetSpec) -> Result<ListedOffset, ErrorCode> {
        let part = ListPart { partition: partition(), leader_epoch: Some(LeaderEpoch(epoch)), spec };
        let (send, receive) = tokio::sync::oneshot::channel();
        self.front.list_offsets_of(vec![part], move |answer| send.send(answer).unwrap());
        receive.await.unwrap().parts.remove(0).1.map_err(|refusal| refusal.code)
    }
}

/// Leads with four records of epoch 2 and two of epoch 5.
async fn two_epochs(simulation: &Simulation, disk: &SimulatedDisk) -> Node {
    let node = Node::start(simulation, disk, 1);
    node.lead(2).await;
    node.produce(Acks::All, batch(4, 0)).await.unwrap();
    node.lead(5).await;
    node.produce(Acks::All, batch(2, 1000)).await.unwrap();
    node
}

#[test]
fn a_leader_tells_where_epochs_end_and_is_fenced_by_its_own() {
    simulate(|simulation, disk| async move {
        let node = two_epochs(&simulation, &disk).await;
        assert_eq!(node.epoch_end(None, 2).await, Ok(Some((2, 4))));
        assert_eq!(node.epoch_end(Some(5), 4).await, Ok(Some((2, 4))));
        assert_eq!(node.epoch_end(Some(5), 5).await, Ok(Some((5, 6))));
        assert_eq!(node.epoch_end(Some(5), 6).await, Ok(None));
        assert_eq!(node.epoch_end(Some(4), 2).await, Err(ErrorCode::FencedLeaderEpoch));
        assert_eq!(node.epoch_end(Some(6), 2).await, Err(ErrorCode::UnknownLeaderEpoch));
    });
}

#[test]
fn an_offset_is_told_with_the_epoch_of_its_record_and_the_end_with_the_current_one() {
    simulate(|simulation, disk| async move {
        let node = two_epochs(&simulation, &disk).await;
        let mut told = Vec::new();
        for spec in [
            OffsetSpec::Earliest,
            OffsetSpec::Timestamp(NOW_MS + 500),
            OffsetSpec::MaxTimestamp,
            OffsetSpec::Latest,
            OffsetSpec::Tiered,
        ] {
            let found = node.list_in(5, spec).await.unwrap();
            told.push((found.offset.map(|offset| offset.0), found.leader_epoch.map(|epoch| epoch.0)));
        }
        let at = |offset, epoch| (Some(offset), Some(epoch));
        assert_eq!(told, [at(0, 2), at(4, 5), at(4, 5), at(6, 5), (None, None)]);
        assert_eq!(node.list_in(4, OffsetSpec::Latest).await, Err(ErrorCode::FencedLeaderEpoch));
        assert_eq!(node.list_in(6, OffsetSpec::Latest).await, Err(ErrorCode::UnknownLeaderEpoch));
    });
}

#[test]
fn a_reader_of_another_history_is_told_where_it_leaves_this_one() {
    simulate(|simulation, disk| async move {
        let node = two_epochs(&simulation, &disk).await;
        let fetched = node.fetch_after(4, 2).await.unwrap();
        assert_eq!((fetched.diverging, fetched.batches.is_empty()), (None, false));
        for (offset, last, end) in [(5, 2, 4), (5, 3, 4), (9, 2, 4)] {
            let fetched = node.fetch_after(offset, last).await.unwrap();
            let expected = EpochEnd { epoch: LeaderEpoch(2), end: Offset(end) };
            assert_eq!((fetched.diverging, fetched.batches.is_empty()), (Some(expected), true));
        }
        let refused = node.fetch_after(6, 9).await.unwrap_err();
        assert_eq!(refused.code, ErrorCode::OffsetOutOfRange);
    });
}

#[test]
fn old_records_stay_while_leaders_change_until_retention_is_due_or_set_anew() {
    simulate(|simulation, disk| async move {
        let node = Node::start(&simulation, &disk, 1);
        let keeping = |ms| TopicConfig { retention_ms: Some(ms), ..TopicConfig::default() };
        node.lead_with(1, keeping(1)).await;
        node.produce(Acks::All, batch(3, -1_000_000)).await.unwrap();
        let earliest = async || node.list(OffsetSpec::Earliest).await.unwrap().offset;
        for epoch in 2..5 {
            node.lead_with(epoch, keeping(1)).await;
            assert_eq!(earliest().await, Some(Offset(0)), "it has just been looked at");
        }
        node.lead_with(5, keeping(2)).await;
        assert_eq!(earliest().await, Some(Offset(3)));
    });
}

#[test]
fn records_are_looked_for_by_time_however_many_reads_are_under_way_and_unpacked_in_turn() {
    simulate(|simulation, disk| async move {
        let node = Rc::new(Node::start(&simulation, &disk, 1));
        node.lead(1).await;
        let mut builder = BatchBuilder::new(16 << 20, Compression::of(Codec::Zstd));
        builder.push(NOW_MS, Some(b"k"), Some(&vec![0; 8 << 20]), &[]).unwrap();
        node.produce(Acks::All, builder.finish(None)).await.unwrap();
        let _all_memory = node.cold_reads.take(64 << 20).unwrap();
        let others = [node.timed_unpackings.turn().await, node.timed_unpackings.turn().await];
        let specs = [OffsetSpec::Timestamp(0), OffsetSpec::StableTimestamp(0), OffsetSpec::MaxTimestamp];
        let looks = specs.map(|spec| {
            let node = Rc::clone(&node);
            actix_rt::spawn(async move { node.list(spec).await.unwrap().offset })
        });
        tokio::time::sleep(Duration::from_secs(60)).await;
        assert!(looks.iter().all(|look| !look.is_finished()), "they wait for their turn");
        assert_eq!(node.list(OffsetSpec::Timestamp(i64::MAX)).await.unwrap().offset, None, "headers tell");
        drop(others);
        for look in looks {
            assert_eq!(look.await.unwrap(), Some(Offset(0)));
        }
        assert_eq!(node.timed_looks.used(), 0);
        let _all_memory = node.timed_looks.take(1 << 20).unwrap();
        let refused = node.list(OffsetSpec::MaxTimestamp).await.unwrap_err();
        assert_eq!(refused.code, ErrorCode::ThrottlingQuotaExceeded);
    });
}

//! Fetch sessions over channels in memory.

use std::time::Duration;

use millstream_transport::world::simulation::run;

use super::fakes::*;
use crate::ids::{LeaderEpoch, Offset};
use crate::partition::following::Opening;
use crate::replication::links::Links;
use crate::replication::settings::FetchSettings;

fn accepted(end: i64) -> Noted {
    Noted::Opened(Opening::Accepted {
        end: Offset(end),
        high_watermark: Offset::ZERO,
        log_start: Offset::ZERO,
    })
}

#[test]
fn batches_of_many_partitions_flow_verbatim_and_in_order() {
    run(1, |simulation| async move {
        let rig = Rig::new(&simulation, FetchSettings::default());
        let mut pairs = Vec::new();
        for index in 0..100 {
            pairs.push(rig.pair(index).await);
        }
        for round in 0..50 {
            for (index, (leader, _)) in pairs.iter().enumerate() {
                if (round + index) % 3 != 0 {
                    leader.append(20 + (round * 37 + index * 101) % 3000);
                }
            }
            tokio::time::sleep(Duration::from_millis(u64::try_from(round % 3).unwrap())).await;
        }
        settle().await;
        for (leader, replica) in &pairs {
            assert_eq!(replica.log(), leader.log());
            assert_eq!(replica.noted(), [accepted(0)]);
            assert_eq!(leader.heard().last(), Some(&Heard::Reported(Offset(replica.end()))));
        }
        assert_eq!(rig.network.dials(), 1, "one session carries them all");
    });
}

#[test]
fn a_hundred_partitions_that_append_at_once_go_into_one_frame_with_a_small_header() {
    run(1, |simulation| async move {
        let rig = Rig::new(&simulation, FetchSettings::default());
        let mut pairs = Vec::new();
        for index in 0..100 {
            pairs.push(rig.pair(index).await);
        }
        settle().await;
        rig.network.take_sent();
        for (leader, _) in &pairs {
            leader.append(1000);
        }
        settle().await;
        let sent = rig.network.take_sent();
        let [frame] = sent.as_slice() else { panic!("one frame: {sent:?}") };
        assert_eq!((frame.parts, frame.body_bytes), (100, 100_000));
        assert!(frame.header_bytes < 1200, "{frame:?}");
        for (leader, replica) in &pairs {
            assert_eq!(replica.log(), leader.log());
        }
    });
}

#[test]
fn a_cut_session_interrupts_and_the_next_one_goes_on_where_the_log_ends() {
    run(1, |simulation| async move {
        let rig = Rig::new(&simulation, FetchSettings::default());
        let (leader, replica) = rig.pair(0).await;
        leader.append(100);
        until(|| replica.end() == 1).await;
        rig.network.cut();
        until(|| replica.noted().len() == 2).await;
        assert_eq!(replica.noted(), [accepted(0), Noted::Interrupted]);
        until(|| leader.heard().contains(&Heard::Detached(EPOCH))).await;
        leader.append(100);
        replica.open(EPOCH).await;
        until(|| replica.end() == 2).await;
        assert_eq!(replica.noted()[2..], [accepted(1)]);
        assert_eq!(replica.log(), leader.log());
    });
}

#[test]
fn another_epoch_goes_on_in_the_same_session() {
    run(1, |simulation| async move {
        let rig = Rig::new(&simulation, FetchSettings::default());
        let (leader, replica) = rig.pair(0).await;
        let (other, other_replica) = rig.pair(1).await;
        leader.append(100);
        until(|| replica.end() == 1).await;
        leader.lead(Some(LeaderEpoch(6)));
        until(|| replica.noted().len() == 2).await;
        assert_eq!(replica.noted(), [accepted(0), Noted::Interrupted]);
        replica.open(LeaderEpoch(6)).await;
        leader.append(100);
        other.append(50);
        until(|| replica.end() == 2 && other_replica.end() == 1).await;
        assert_eq!(rig.network.dials(), 1);
        assert_eq!(other_replica.noted(), [accepted(0)]);
    });
}

#[test]
fn a_leader_that_steps_down_interrupts_only_its_own_partition() {
    run(1, |simulation| async move {
        let rig = Rig::new(&simulation, FetchSettings::default());
        let (leader, replica) = rig.pair(0).await;
        let (other, other_replica) = rig.pair(1).await;
        settle().await;
        leader.lead(None);
        until(|| replica.noted().len() == 2).await;
        replica.open(EPOCH).await;
        until(|| replica.noted().len() == 3).await;
        assert_eq!(replica.noted(), [accepted(0), Noted::Interrupted, Noted::Interrupted]);
        other.append(10);
        until(|| other_replica.end() == 1).await;
        assert_eq!(other_replica.noted(), [accepted(0)]);
    });
}

#[test]
fn a_log_that_differs_is_told_so_and_asks_again_in_the_same_session() {
    run(1, |simulation| async move {
        let rig = Rig::new(&simulation, FetchSettings::default());
        let (leader, replica) = (rig.ports.lead(0, 0), rig.follow(0));
        let answers = [
            Opening::Diverged { epoch: Some(LeaderEpoch(3)), end: Offset(12) },
            Opening::OutOfRange { start: Offset(4) },
        ];
        for opening in answers {
            leader.state.lock().unwrap().opening = Some(opening);
            replica.open(EPOCH).await;
            until(|| !replica.noted().is_empty()).await;
            assert_eq!(replica.take_noted(), [Noted::Opened(opening)]);
        }
        leader.state.lock().unwrap().opening = None;
        replica.open(EPOCH).await;
        leader.append(10);
        until(|| replica.end() == 1).await;
        assert_eq!(rig.network.dials(), 1);
        assert!(!leader.heard().contains(&Heard::Detached(EPOCH)));
    });
}

#[test]
fn a_wish_to_leave_is_granted_or_not_in_one_answer() {
    run(1, |simulation| async move {
        let rig = Rig::new(&simulation, FetchSettings::default());
        let (leader, replica) = (rig.ports.lead(0, 1), rig.follow(0));
        leader.state.lock().unwrap().lets_leave = false;
        replica.leave().await;
        settle().await;
        assert_eq!(replica.take_noted(), [Noted::Interrupted]);
        leader.state.lock().unwrap().lets_leave = true;
        replica.leave().await;
        settle().await;
        assert_eq!(replica.take_noted(), [Noted::LeftSet]);
        let nowhere = rig.follow(7);
        nowhere.leave().await;
        settle().await;
        assert_eq!(nowhere.take_noted(), [Noted::Interrupted]);
    });
}

#[test]
fn a_partition_on_another_core_of_the_leader_is_found_and_remembered() {
    run(1, |simulation| async move {
        let rig = Rig::new(&simulation, FetchSettings::default());
        let (leader, replica) = (rig.ports.lead(0, 1), rig.follow(0));
        replica.open(EPOCH).await;
        leader.append(10);
        until(|| replica.end() == 1).await;
        assert_eq!(rig.network.dials(), 2, "core 0 was asked first");
        replica.close().await;
        until(|| !leader.is_fed()).await;
        rig.network.take_sent();
        replica.open(EPOCH).await;
        leader.append(10);
        until(|| replica.end() == 2).await;
        assert_eq!(rig.network.dials(), 2);
        assert_eq!(replica.noted(), [accepted(0), accepted(1)]);
    });
}

#[test]
fn a_high_watermark_travels_without_batches() {
    run(1, |simulation| async move {
        let rig = Rig::new(&simulation, FetchSettings::default());
        let mut pairs = Vec::new();
        for index in 0..20 {
            pairs.push(rig.pair(index).await);
        }
        settle().await;
        rig.network.take_sent();
        for (leader, _) in &pairs {
            leader.append(10);
        }
        until(|| pairs.iter().all(|(_, replica)| replica.end() == 1)).await;
        for (leader, _) in &pairs {
            leader.commit(1);
            tokio::time::sleep(Duration::from_micros(100)).await;
        }
        let all_know =
            || pairs.iter().all(|(_, replica)| replica.state.lock().unwrap().high_watermark == Offset(1));
        until(all_know).await;
        let sent = rig.network.take_sent();
        assert!(sent.len() <= 6, "news waits for company: {sent:?}");
    });
}

#[test]
fn an_idle_session_is_closed_and_opened_again_when_asked() {
    run(1, |simulation| async move {
        let rig = Rig::new(&simulation, FetchSettings::default());
        let (leader, replica) = rig.pair(0).await;
        settle().await;
        tokio::time::sleep(Duration::from_secs(300)).await;
        assert_eq!(rig.network.sessions(), 1, "a subscription is a use, however quiet it is");
        replica.close().await;
        tokio::time::sleep(Duration::from_secs(61)).await;
        assert_eq!(rig.network.sessions(), 0);
        assert_eq!(leader.heard().last(), Some(&Heard::Detached(EPOCH)));
        replica.open(EPOCH).await;
        leader.append(10);
        until(|| replica.end() == 1).await;
        assert_eq!((rig.network.dials(), replica.noted().len()), (2, 2));
    });
}

#[test]
fn a_replica_that_dies_is_detached_and_its_successor_reads_on() {
    run(1, |simulation| async move {
        let rig = Rig::new(&simulation, FetchSettings::default());
        let (leader, replica) = rig.pair(0).await;
        settle().await;
        let successor = rig.follow(0);
        successor.open(EPOCH).await;
        replica.die().await;
        drop(replica);
        leader.append(10);
        until(|| successor.end() == 1).await;
        settle().await;
        assert!(leader.is_fed(), "the end of the first did not end the second");
        successor.die().await;
        drop(successor);
        until(|| !leader.is_fed()).await;
    });
}

#[test]
fn a_session_opened_anew_takes_the_place_of_one_that_still_seems_alive() {
    run(1, |simulation| async move {
        let rig = Rig::new(&simulation, FetchSettings::default());
        let (leader, _replica) = rig.pair(0).await;
        settle().await;
        let again = Links::new(0, rig.setup(FetchSettings::default()));
        let successor = follow(&again, 0);
        successor.open(EPOCH).await;
        until(|| successor.noted().len() == 1).await;
        leader.append(10);
        until(|| successor.end() == 1).await;
        let opened = Heard::Opened(EPOCH);
        assert_eq!(leader.heard()[..3], [opened.clone(), Heard::Detached(EPOCH), opened]);
    });
}

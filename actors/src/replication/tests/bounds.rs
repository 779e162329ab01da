//! Credit, slow replicas, partitions that are far behind, unreachable leaders, garbage, and one answer to each question.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use bytes::Bytes;
use millstream_transport::world::Random;
use millstream_transport::world::simulation::run;
use tokio::time::Instant;

use super::fakes::*;
use super::memory::MemoryNetwork;
use crate::events::Events;
use crate::ids::{Incarnation, LeaderEpoch, Member, NodeId, Offset, PartitionId};
use crate::partition::following::{FollowerEnds, FollowerLog, Opening};
use crate::replication::channel::{Dial, FollowerChannel, Pending, SessionError};
use crate::replication::links::{Links, LinksSetup};
use crate::replication::message::*;
use crate::replication::ports::{Ports, ReplicaPort};
use crate::replication::sessions::FeedSessions;
use crate::replication::settings::FetchSettings;

/// What a follower with an empty log reports.
const NOTHING: FollowerEnds = FollowerEnds { durable_end: Offset(0), log_start: Offset(0) };

/// Windows that a few batches fill.
fn small() -> FetchSettings {
    FetchSettings {
        window_bytes: 64 << 10,
        partition_window_bytes: 16 << 10,
        frame_bytes: 32 << 10,
        read_bytes: 8 << 10,
        ..FetchSettings::default()
    }
}

#[test]
fn a_replica_that_stands_still_holds_up_no_other_and_gets_no_more_than_its_window() {
    run(1, |simulation| async move {
        let rig = Rig::new(&simulation, small());
        let (slow_leader, slow) = rig.pair(0).await;
        let (leader, replica) = rig.pair(1).await;
        slow.stand_still(true);
        for round in 1..=200 {
            slow_leader.append(1000);
            leader.append(1000);
            until(|| replica.end() == round).await;
        }
        rig.network.take_sent();
        settle().await;
        let sent: usize = rig.network.take_sent().iter().map(|frame| frame.body_bytes).sum();
        assert_eq!((sent, slow.end()), (0, 0));
        slow.stand_still(false);
        until(|| slow.end() == 200).await;
        assert_eq!(slow.log(), slow_leader.log());
    });
}

#[test]
fn no_more_is_under_way_than_the_window_and_one_batch() {
    run(1, |simulation| async move {
        let rig = Rig::new(&simulation, small());
        let mut pairs = Vec::new();
        for index in 0..20 {
            pairs.push(rig.pair(index).await);
        }
        settle().await;
        rig.network.take_sent();
        for (leader, replica) in &pairs {
            replica.stand_still(true);
            (0..60).for_each(|_| leader.append(1500));
        }
        settle().await;
        let sent: usize = rig.network.take_sent().iter().map(|frame| frame.body_bytes).sum();
        assert!((48 << 10..=(64 << 10) + 8192).contains(&sent), "{sent} bytes");
        for (_, replica) in &pairs {
            replica.stand_still(false);
        }
        until(|| pairs.iter().all(|(_, replica)| replica.end() == 60)).await;
        for (leader, replica) in &pairs {
            assert_eq!((replica.log(), replica.noted().len()), (leader.log(), 1));
        }
    });
}

#[test]
fn a_batch_larger_than_every_window_passes() {
    run(1, |simulation| async move {
        let rig = Rig::new(&simulation, small());
        let (leader, replica) = rig.pair(0).await;
        for _ in 0..5 {
            leader.append(1 << 20);
        }
        until(|| replica.end() == 5).await;
        assert_eq!((replica.log(), replica.noted().len()), (leader.log(), 1));
    });
}

#[test]
fn bytes_of_a_stopped_partition_give_their_credit_back_at_once() {
    run(1, |simulation| async move {
        let settings = FetchSettings { partition_window_bytes: 64 << 10, ..small() };
        let rig = Rig::new(&simulation, settings);
        let (stopped_leader, stopped) = rig.pair(0).await;
        let (leader, replica) = rig.pair(1).await;
        settle().await;
        stopped.stand_still(true);
        (0..100).for_each(|_| stopped_leader.append(4000));
        settle().await;
        leader.append(1000);
        settle().await;
        assert_eq!(replica.end(), 0, "the window is full");
        stopped.close().await;
        until(|| replica.end() == 1).await;
        assert!(!stopped_leader.is_fed());
        assert_eq!(stopped.noted().len(), 1, "who closes is told nothing");
    });
}

#[test]
fn a_partition_far_behind_is_caught_up_at_a_limited_rate_and_holds_up_no_other() {
    run(1, |simulation| async move {
        let settings = FetchSettings {
            behind_bytes: 1 << 20,
            catch_up_bytes: 512 << 10,
            catch_up_tick: Duration::from_millis(10),
            ..FetchSettings::default()
        };
        let rig = Rig::new(&simulation, settings);
        let behind_leader = rig.ports.lead(0, 0);
        (0..4000).for_each(|_| behind_leader.append(16 << 10));
        let (leader, replica) = rig.pair(1).await;
        settle().await;
        let behind = rig.follow(0);
        behind.open(EPOCH).await;
        let began = Instant::now();
        let mut round = 0;
        while behind.end() < 4000 {
            round += 1;
            leader.append(1000);
            tokio::time::sleep(Duration::from_millis(1)).await;
            assert_eq!(replica.end(), round);
        }
        // 62.5 MiB at 512 KiB in 10 ms, less what is read before it is known and once it is near.
        let took = began.elapsed();
        assert!((Duration::from_millis(1100)..Duration::from_millis(1400)).contains(&took), "{took:?}");
        assert_eq!(behind.log(), behind_leader.log());
    });
}

#[test]
fn an_unreachable_leader_is_tried_again_after_growing_pauses_and_everybody_is_told() {
    run(1, |simulation| async move {
        let rig = Rig::new(&simulation, FetchSettings::default());
        rig.network.set_down(true);
        let (leader, replica) = rig.pair(0).await;
        let began = Instant::now();
        for tries in 1..10 {
            until(|| replica.noted().len() == tries).await;
            replica.open(EPOCH).await;
        }
        assert!(replica.noted().iter().all(|noted| *noted == Noted::Interrupted));
        assert!(began.elapsed() > Duration::from_secs(1), "{:?}", began.elapsed());
        rig.network.set_down(false);
        leader.append(10);
        until(|| replica.end() == 1).await;
        assert_eq!(replica.noted().len(), 10);
    });
}

/// Panics the first time, as a defect would make its caller.
#[derive(Debug)]
struct PanickingOnce<T>(T, AtomicBool);

impl<T> PanickingOnce<T> {
    fn inner(&self) -> &T {
        assert!(self.1.swap(true, Ordering::AcqRel), "on purpose");
        &self.0
    }
}

impl Dial for PanickingOnce<MemoryNetwork> {
    fn dial(
        &self,
        leader: NodeId,
        opening: OpenSession,
    ) -> Pending<'static, Result<(SessionOpened, FollowerChannel), SessionError>> {
        self.inner().dial(leader, opening)
    }
}

impl Ports for PanickingOnce<FakePorts> {
    fn port(&self, partition: PartitionId) -> Option<ReplicaPort> {
        if partition.index == 1 { self.inner().port(partition) } else { self.0.port(partition) }
    }
}

#[test]
fn a_follower_that_panics_tells_who_waits_and_the_next_question_starts_another() {
    run(1, |simulation| async move {
        let rig = Rig::new(&simulation, FetchSettings::default());
        let dial = Arc::new(PanickingOnce(rig.network.clone(), AtomicBool::new(false)));
        let links = Links::new(0, LinksSetup { dial, ..rig.setup(rig.settings) });
        let (leader, replica) = (rig.ports.lead(0, 0), follow(&links, 0));
        replica.open(EPOCH).await;
        until(|| replica.take_noted() == [Noted::Interrupted]).await;
        replica.open(EPOCH).await;
        leader.append(10);
        until(|| replica.end() == 1).await;
        assert_eq!(replica.noted().len(), 1);
    });
}

#[test]
fn a_feeder_that_panics_lets_go_of_its_replicas_and_the_next_session_goes_on() {
    run(1, |simulation| async move {
        let rig = Rig::new(&simulation, FetchSettings::default());
        let ports: Arc<dyn Ports> = Arc::new(PanickingOnce(rig.ports.clone(), AtomicBool::new(false)));
        let world = world(&simulation, 2);
        rig.network.serve(LEADER, FeedSessions::new(ports, rig.settings, world, Events::uncounted()));
        let (leader, replica) = rig.pair(0).await;
        until(|| leader.is_fed()).await;
        let (_, killer) = rig.pair(1).await;
        until(|| !leader.is_fed()).await;
        until(|| killer.noted() == [Noted::Interrupted] && replica.noted().len() == 2).await;
        replica.open(EPOCH).await;
        leader.append(10);
        until(|| replica.end() == 1).await;
    });
}

#[test]
fn garbage_from_a_leader_ends_its_session_and_no_other() {
    let accepted =
        Reply::Opened(Opening::Accepted { end: Offset(0), high_watermark: Offset(0), log_start: Offset(0) });
    let part = |slot, bytes: usize| FedPart {
        slot,
        high_watermark: Offset(0),
        log_start: Offset(0),
        batches: Bytes::from(vec![0; bytes]),
    };
    let turns = [
        LeaderTurn { answers: vec![(0, accepted)], ..LeaderTurn::default() },
        LeaderTurn { answers: vec![(9, accepted)], ..LeaderTurn::default() },
        LeaderTurn { parts: vec![part(9, 10)], ..LeaderTurn::default() },
        LeaderTurn { parts: vec![part(0, 20 << 20), part(0, 10)], ..LeaderTurn::default() },
    ];
    for forged in turns {
        run(1, |simulation| async move {
            let rig = Rig::new(&simulation, FetchSettings::default());
            let (leader, replica) = rig.pair(0).await;
            let (other, other_replica) = (rig.ports.lead(1, 1), rig.follow(1));
            other_replica.open(EPOCH).await;
            settle().await;
            replica.stand_still(true);
            rig.network.forge(forged);
            leader.append(10);
            until(|| replica.noted().len() == 2).await;
            assert_eq!(replica.noted()[1..], [Noted::Interrupted]);
            other.append(10);
            until(|| other_replica.end() == 1).await;
            assert_eq!(other_replica.noted().len(), 1);
            until(|| !leader.is_fed()).await;
        });
    }
}

#[test]
fn garbage_from_a_follower_ends_its_session_and_no_other() {
    let log = FollowerLog { end: Offset(0), durable_end: Offset(0), last_epoch: None };
    let ask = |slot, member| Ask {
        slot,
        partition: partition(5),
        member,
        epoch: EPOCH,
        question: Question::Subscribe(log),
    };
    let other_life = Member { incarnation: Incarnation(1), ..member() };
    let progress = Progress { slot: 3, taken_bytes: 10, ends: None };
    let turns = [
        FollowerTurn { asks: vec![ask(4, member())], ..FollowerTurn::default() },
        FollowerTurn { asks: vec![ask(5, other_life)], ..FollowerTurn::default() },
        FollowerTurn { progress: vec![progress], ..FollowerTurn::default() },
    ];
    for garbage in turns {
        run(1, |simulation| async move {
            let rig = Rig::new(&simulation, FetchSettings::default());
            let (leader, replica) = rig.pair(0).await;
            let victim = rig.ports.lead(5, 0);
            let opening = OpenSession { core: 7, ..rig.opening() };
            let (_, mut channel) = rig.network.connect(LEADER, opening);
            let sane = FollowerTurn { asks: vec![ask(3, member())], ..FollowerTurn::default() };
            channel.sender.send(sane).await.unwrap();
            let turn = channel.receiver.receive().await.unwrap().unwrap();
            assert!(matches!(turn.answers.as_slice(), [(3, Reply::Opened(Opening::Accepted { .. }))]));
            let unasked = FollowerTurn { asks: vec![ask(4, member())], ..FollowerTurn::default() };
            channel.sender.send(unasked).await.unwrap();
            settle().await;
            // The sane part of it all: slot 4 took the place of slot 3.
            let progress = Progress { slot: 4, taken_bytes: 0, ends: Some(NOTHING) };
            let turn = FollowerTurn { progress: vec![progress], ..FollowerTurn::default() };
            channel.sender.send(turn).await.unwrap();
            settle().await;
            assert_eq!(victim.heard().last(), Some(&Heard::Reported(Offset(0))));
            let mut garbage = garbage;
            for progress in &mut garbage.progress {
                progress.slot = 4;
            }
            channel.sender.send(garbage).await.unwrap();
            until(|| !victim.is_fed()).await;
            leader.append(10);
            until(|| replica.end() == 1).await;
            assert_eq!(replica.noted().len(), 1);
        });
    }
}

#[test]
fn a_follower_that_asks_and_does_not_listen_is_read_no_further_and_then_gets_every_answer_once() {
    const ASKS: u32 = 1000;
    run(1, |simulation| async move {
        let rig = Rig::new(&simulation, FetchSettings::default());
        let (leader, replica) = rig.pair(0).await;
        let (_, channel) = rig.network.connect(LEADER, OpenSession { core: 7, ..rig.opening() });
        let FollowerChannel { mut sender, mut receiver } = channel;
        let log = FollowerLog { end: Offset(0), durable_end: Offset(0), last_epoch: None };
        // Of partitions that nobody leads here: each question is answered with a refusal.
        let ask = |slot: u32| Ask {
            slot,
            partition: partition(100 + i32::try_from(slot).unwrap()),
            member: member(),
            epoch: EPOCH,
            question: Question::Subscribe(log),
        };
        let turn = |number: u32| FollowerTurn {
            asks: (number * ASKS..(number + 1) * ASKS).map(ask).collect(),
            ..FollowerTurn::default()
        };
        let mut turns = 0;
        while let Ok(sent) = tokio::time::timeout(Duration::from_secs(1), sender.send(turn(turns))).await {
            sent.unwrap();
            turns += 1;
            assert!(turns < 60, "nothing holds it up");
        }
        leader.append(10);
        until(|| replica.end() == 1).await;

        let mut answered = std::collections::BTreeSet::new();
        while answered.len() < usize::try_from(turns * ASKS).unwrap() {
            for (slot, reply) in receiver.receive().await.unwrap().unwrap().answers {
                assert!(matches!(reply, Reply::Refused(_)), "{reply:?}");
                assert!(answered.insert(slot), "{slot} was answered twice");
            }
        }
        sender.send(turn(turns)).await.unwrap();
        assert!(!receiver.receive().await.unwrap().unwrap().answers.is_empty());
    });
}

#[test]
fn a_replica_that_floods_its_follower_is_answered_for_the_last_question_and_holds_up_no_other() {
    run(1, |simulation| async move {
        let rig = Rig::new(&simulation, FetchSettings::default());
        let (other_leader, other) = rig.pair(1).await;
        settle().await;
        let (leader, replica) = (rig.ports.lead(0, 0), rig.follow(0));
        replica
            .links(|links, partition, _| {
                let log = FollowerLog { end: Offset(0), durable_end: Offset(0), last_epoch: None };
                for _ in 0..20_000 {
                    links.open(LEADER, partition, member(), EPOCH, log);
                    links.report(partition, EPOCH, NOTHING);
                }
            })
            .await;
        other_leader.append(10);
        until(|| other.end() == 1).await;
        until(|| !replica.noted().is_empty()).await;
        settle().await;
        let noted = replica.noted();
        assert!(matches!(noted.as_slice(), [Noted::Opened(Opening::Accepted { .. })]), "{noted:?}");
        leader.append(10);
        until(|| replica.end() == 1).await;
    });
}

#[test]
fn questions_get_one_answer_each_whatever_happens_meanwhile() {
    for seed in 0..30 {
        run(seed, move |simulation| async move {
            let random = Random::seeded(seed);
            let rig = Rig::new(&simulation, small());
            let mut pairs = Vec::new();
            let mut questions = [0; 6];
            for index in 0..6 {
                pairs.push((rig.ports.lead(index, usize::try_from(index % 2).unwrap()), rig.follow(index)));
            }
            for _ in 0..300 {
                let at = usize::try_from(random.range(0, 6)).unwrap();
                let (leader, replica) = &pairs[at];
                let what = random.range(0, 24);
                questions[at] += usize::from((7..=11).contains(&what));
                match what {
                    0 => rig.network.cut(),
                    1 => rig.network.set_down(true),
                    2..=4 => rig.network.set_down(false),
                    5 | 6 => replica.close().await,
                    7..=9 => replica.open(EPOCH).await,
                    10 => replica.open(LeaderEpoch(4)).await,
                    11 => replica.leave().await,
                    _ => leader.append(usize::try_from(random.range(12, 9000)).unwrap()),
                }
                tokio::time::sleep(Duration::from_millis(random.range(0, 4))).await;
            }
            rig.network.set_down(false);
            tokio::time::sleep(Duration::from_secs(5)).await;
            for (_, replica) in &pairs {
                replica.close().await;
            }
            settle().await;
            for ((leader, replica), questions) in pairs.iter().zip(questions) {
                assert!(!leader.is_fed());
                let noted = replica.take_noted();
                // Beyond its answer, only who was being fed is told that this is over.
                let fed = noted.iter().filter(|noted| matches!(noted, Noted::Opened(_))).count();
                assert!(noted.len() <= questions + fed, "{questions} questions: {noted:?}");
                replica.open(EPOCH).await;
            }
            until(|| pairs.iter().all(|(leader, replica)| replica.log() == leader.log())).await;
            settle().await;
            for (_, replica) in &pairs {
                let noted = replica.take_noted();
                assert!(matches!(noted.as_slice(), [Noted::Opened(Opening::Accepted { .. })]), "{noted:?}");
            }
        });
    }
}

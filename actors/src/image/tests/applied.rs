use super::fixture::*;
use crate::error::ErrorCode;
use crate::ids::{Incarnation, LeaderEpoch, Member, NodeId, Offset, ProducerId};
use crate::image::{Choice, Command, DoubtCause, Image, InSyncChange, NodeState, Outcome, check_name};
use crate::topic_config::FlushPolicy;

fn refusal(outcome: Outcome) -> ErrorCode {
    match outcome {
        Outcome::Refused(refusal) => refusal.code,
        Outcome::Elected { refused } => refused.first().unwrap().1.code,
        Outcome::InSync(results) => results.into_iter().next().unwrap().1.unwrap_err().code,
        other => panic!("not refused: {other:?}"),
    }
}

/// Applies a command that must be refused, and must change nothing but the version.
fn refused(image: &mut Image, command: Command) -> ErrorCode {
    let before = image.clone();
    let code = refusal(apply(image, command));
    assert_eq!(image.topics(), before.topics());
    assert_eq!(image.nodes(), before.nodes());
    code
}

#[test]
fn a_new_topic_has_its_live_replicas_in_sync_and_the_first_of_them_leads() {
    let mut image = live_nodes(&[1, 2, 3]);
    done(&mut image, fence(1, 1));
    done(&mut image, create(1, &[&[1, 2, 3], &[3, 1, 2]]));
    let first = state(&image, partition(1, 0));
    assert_eq!(first.leader, Some(member(2, 1)));
    assert_eq!(first.in_sync, [member(2, 1), member(3, 1)]);
    assert_eq!(first.leader_epoch, LeaderEpoch(0));
    assert_eq!(state(&image, partition(1, 1)).leader, Some(member(3, 1)));
}

#[test]
fn a_topic_of_a_taken_name_or_without_a_live_replica_is_refused() {
    let mut image = three();
    assert_eq!(refused(&mut image, create(1, &[&[1]])), ErrorCode::TopicAlreadyExists);
    assert_eq!(refused(&mut image, create(2, &[&[9]])), ErrorCode::IneligibleReplica);
    assert_eq!(refused(&mut image, create(2, &[&[1, 1]])), ErrorCode::IneligibleReplica);
    assert_eq!(refused(&mut image, create(2, &[])), ErrorCode::InvalidPartitions);
}

#[test]
fn names_follow_kafkas_rule() {
    for name in ["a", "flights", "A.b_c-9", "...", &"x".repeat(249)] {
        assert!(check_name(name).is_ok(), "{name}");
    }
    for name in ["", ".", "..", "a b", "ä", "a/b", "a:b", &"x".repeat(250)] {
        assert_eq!(check_name(name).unwrap_err().code, ErrorCode::InvalidTopic, "{name}");
    }
}

#[test]
fn partitions_are_added_only_to_the_number_they_were_planned_for() {
    let mut image = three();
    let grow = |from| Command::CreatePartitions { id: topic(1), from, replicas: vec![vec![NodeId(2)]] };
    assert_eq!(refused(&mut image, grow(0)), ErrorCode::InvalidPartitions);
    done(&mut image, grow(1));
    assert_eq!(state(&image, partition(1, 1)).leader, Some(member(2, 1)));
    assert_eq!(refused(&mut image, grow(1)), ErrorCode::InvalidPartitions);
}

#[test]
fn settings_change_and_go_back() {
    let mut image = three();
    let alter =
        |value| Command::AlterTopicConfig { id: topic(1), changes: settings(&[("flush.policy", value)]) };
    done(&mut image, alter(Some("os")));
    assert_eq!(image.topics().named("topic-1").unwrap().config.flush_policy, FlushPolicy::Os);
    done(&mut image, alter(None));
    assert_eq!(image.topics().named("topic-1").unwrap().config.flush_policy, FlushPolicy::Sync);
    assert!(image.topics().named("topic-1").unwrap().overrides.is_empty());
}

#[test]
fn a_setting_of_a_later_program_is_kept_and_the_known_ones_hold() {
    let mut image = live_nodes(&[1]);
    done(&mut image, create_with(1, &[&[1]], &[("flush.policy", "os"), ("later.setting", "7")]));
    let topic = image.topics().named("topic-1").unwrap();
    assert_eq!(topic.config.flush_policy, FlushPolicy::Os);
    assert_eq!(topic.overrides.len(), 2);
}

#[test]
fn a_deleted_topics_name_is_free_again() {
    let mut image = three();
    done(&mut image, Command::DeleteTopic { id: topic(1) });
    assert!(image.topics().named("topic-1").is_none());
    assert_eq!(refused(&mut image, Command::DeleteTopic { id: topic(1) }), ErrorCode::UnknownTopicId);
    done(&mut image, create(1, &[&[3]]));
}

#[test]
fn a_leader_takes_members_out_and_in() {
    let mut image = three();
    let id = partition(1, 0);
    let smaller = alter(&image, id, &[member(1, 1), member(3, 1)]);
    done(&mut image, smaller);
    assert_eq!(state(&image, id).in_sync, [member(1, 1), member(3, 1)]);
    let whole = alter(&image, id, &[member(3, 1), member(1, 1), member(2, 1)]);
    done(&mut image, whole);
    let now = state(&image, id);
    assert_eq!((now.in_sync.len(), now.leader_epoch, now.set_version), (3, LeaderEpoch(0), 2));
}

#[test]
fn a_stale_change_of_the_in_sync_set_is_refused() {
    let mut image = three();
    let id = partition(1, 0);
    let alter = |epoch, set_version, node, life, in_sync: &[Member]| Command::AlterInSync {
        node: NodeId(node),
        incarnation: Incarnation(life),
        changes: vec![InSyncChange {
            partition: id,
            epoch: LeaderEpoch(epoch),
            set_version,
            in_sync: in_sync.to_vec(),
        }],
    };
    let pair = [member(1, 1), member(2, 1)];
    let elect = election(&image, id, lead(1, &[1, 2, 3]));
    done(&mut image, elect);
    assert_eq!(state(&image, id).leader_epoch, LeaderEpoch(1));
    assert_eq!(refused(&mut image, alter(0, 1, 1, 1, &pair)), ErrorCode::FencedLeaderEpoch);
    assert_eq!(refused(&mut image, alter(2, 1, 1, 1, &pair)), ErrorCode::UnknownLeaderEpoch);
    assert_eq!(refused(&mut image, alter(1, 0, 1, 1, &pair)), ErrorCode::InvalidUpdateVersion);
    assert_eq!(refused(&mut image, alter(1, 1, 2, 1, &pair)), ErrorCode::NotLeaderOrFollower);
    assert_eq!(refused(&mut image, alter(1, 1, 1, 9, &pair)), ErrorCode::StaleBrokerEpoch);
    assert_eq!(refused(&mut image, alter(1, 1, 1, 1, &[member(2, 1)])), ErrorCode::IneligibleReplica);
    assert_eq!(refused(&mut image, alter(1, 1, 1, 1, &[])), ErrorCode::IneligibleReplica);
    done(&mut image, alter(1, 1, 1, 1, &pair));
}

#[test]
fn one_who_is_dead_or_speaks_from_an_earlier_life_or_another_disk_does_not_join() {
    let mut image = three();
    let id = partition(1, 0);
    let alone = alter(&image, id, &[member(1, 1)]);
    done(&mut image, alone);
    done(&mut image, Command::RegisterNode(registration(2, 2)));
    for joining in [member(2, 1), member(2, 2), Member { directory: directory(9), ..member(3, 1) }] {
        let join = alter(&image, id, &[member(1, 1), joining]);
        assert_eq!(refused(&mut image, join), ErrorCode::IneligibleReplica, "{joining:?}");
    }
    done(&mut image, unfence(2, 2));
    let join = alter(&image, id, &[member(1, 1), member(2, 2)]);
    done(&mut image, join);
}

#[test]
fn a_member_that_restarts_with_its_disk_stays_a_member_in_its_new_life_but_leads_no_more() {
    let mut image = three();
    let id = partition(1, 0);
    done(&mut image, Command::RegisterNode(registration(1, 2)));
    let now = state(&image, id);
    assert_eq!(now.in_sync, [member(1, 2), member(2, 1), member(3, 1)]);
    assert_eq!(
        now.leader,
        Some(member(1, 1)),
        "the leader named is one that lives no more, until an election"
    );
    let shrink = Command::AlterInSync {
        node: NodeId(1),
        incarnation: Incarnation(2),
        changes: vec![InSyncChange {
            partition: id,
            epoch: now.leader_epoch,
            set_version: 1,
            in_sync: vec![member(1, 2)],
        }],
    };
    assert_eq!(refused(&mut image, shrink), ErrorCode::NotLeaderOrFollower);
}

#[test]
fn a_member_that_restarts_with_a_doubt_or_another_disk_keeps_its_old_life_in_the_set() {
    let mut image = three();
    let id = partition(1, 0);
    let mut doubting = registration(2, 2);
    doubting.doubts = vec![reported(id, doubt(DoubtCause::Cut, 0, 7))];
    done(&mut image, Command::RegisterNode(doubting));
    let mut emptied = registration(3, 2);
    emptied.directories = vec![directory(33)];
    done(&mut image, Command::RegisterNode(emptied));
    let now = state(&image, id);
    assert_eq!(now.in_sync, [member(1, 1), member(2, 1), member(3, 1)]);
    assert_eq!(now.doubt(NodeId(2)).unwrap().end, Offset(7));
    for node in [2, 3] {
        done(&mut image, unfence(node, 2));
        let elect = election(&image, id, lead(node, &[node]));
        assert_eq!(refused(&mut image, elect), ErrorCode::IneligibleReplica);
    }
}

#[test]
fn a_doubt_outlives_a_clean_restart_until_the_member_leaves_the_set() {
    let mut image = three();
    let id = partition(1, 0);
    let report = |cause| Command::ReportDoubts {
        node: NodeId(2),
        incarnation: Incarnation(1),
        doubts: vec![reported(id, doubt(cause, 0, 5))],
    };
    done(&mut image, report(DoubtCause::EndsEarly));
    done(&mut image, report(DoubtCause::Cut));
    done(&mut image, Command::RegisterNode(registration(2, 2)));
    assert_eq!(state(&image, id).doubt(NodeId(2)), Some(doubt(DoubtCause::EndsEarly, 0, 5)));
    let without = alter(&image, id, &[member(1, 1), member(3, 1)]);
    done(&mut image, without);
    assert_eq!(state(&image, id).doubts, []);
}

#[test]
fn after_a_restart_a_failed_directory_is_a_cut_one() {
    let mut image = three();
    let id = partition(1, 0);
    let doubts = vec![reported(id, doubt(DoubtCause::DirectoryFailed, 0, 5))];
    done(&mut image, Command::ReportDoubts { node: NodeId(2), incarnation: Incarnation(1), doubts });
    let mut again = registration(2, 2);
    again.doubts = vec![reported(id, doubt(DoubtCause::Cut, 0, 4))];
    done(&mut image, Command::RegisterNode(again));
    assert_eq!(state(&image, id).doubt(NodeId(2)), Some(doubt(DoubtCause::Cut, 0, 4)));
}

#[test]
fn an_election_keeps_only_members_and_elects_only_a_live_one_of_them() {
    let mut image = three();
    let id = partition(1, 0);
    let alone = alter(&image, id, &[member(1, 1), member(3, 1)]);
    done(&mut image, alone);
    done(&mut image, fence(1, 1));
    let choices =
        [lead(2, &[2]), lead(2, &[2, 3]), lead(3, &[2, 3]), lead(1, &[1, 3]), lead(3, &[]), lead(3, &[1])];
    for choice in choices {
        let elect = election(&image, id, choice.clone());
        assert_eq!(refused(&mut image, elect), ErrorCode::IneligibleReplica, "{choice:?}");
    }
    let elect = election(&image, id, lead(3, &[3]));
    done(&mut image, elect.clone());
    let now = state(&image, id);
    assert_eq!((now.leader, now.leader_epoch), (Some(member(3, 1)), LeaderEpoch(1)));
    assert_eq!(refused(&mut image, elect), ErrorCode::FencedLeaderEpoch);
}

#[test]
fn an_unclean_election_needs_a_topic_that_asks_for_it() {
    for (value, allowed) in [("false", false), ("true", true)] {
        let mut image = live_nodes(&[1, 2]);
        done(&mut image, create_with(1, &[&[1, 2]], &[("unclean.leader.election.enable", value)]));
        let id = partition(1, 0);
        let alone = alter(&image, id, &[member(1, 1)]);
        done(&mut image, alone);
        done(&mut image, fence(1, 1));
        let elect = election(&image, id, Choice::Alone { leader: member(2, 1), unclean: true });
        let outcome = apply(&mut image, elect);
        assert_eq!(outcome == Outcome::Elected { refused: vec![] }, allowed);
    }
}

#[test]
fn nobody_leads_in_an_epoch_of_its_own() {
    let mut image = three();
    let id = partition(1, 0);
    let elect = election(&image, id, Choice::Nobody);
    done(&mut image, elect);
    let now = state(&image, id);
    assert_eq!((now.leader, now.leader_epoch, now.in_sync.len()), (None, LeaderEpoch(1), 3));
}

#[test]
fn an_earlier_life_registers_no_more_and_the_same_life_keeps_its_state() {
    let mut image = live_nodes(&[1]);
    done(&mut image, Command::RegisterNode(registration(1, 1)));
    assert_eq!(image.nodes().get(NodeId(1)).unwrap().state, NodeState::Live);
    done(&mut image, Command::RegisterNode(registration(1, 2)));
    assert_eq!(image.nodes().get(NodeId(1)).unwrap().state, NodeState::Starting);
    assert_eq!(refused(&mut image, Command::RegisterNode(registration(1, 1))), ErrorCode::StaleBrokerEpoch);
    assert_eq!(refused(&mut image, fence(1, 1)), ErrorCode::StaleBrokerEpoch);
    assert_eq!(refused(&mut image, unfence(7, 1)), ErrorCode::StaleBrokerEpoch);
}

#[test]
fn one_log_directory_belongs_to_one_node() {
    let mut image = live_nodes(&[1]);
    let mut copy = registration(2, 1);
    copy.directories = vec![directory(1)];
    assert_eq!(refused(&mut image, Command::RegisterNode(copy)), ErrorCode::InvalidRequest);
}

#[test]
fn who_is_leaving_comes_back_only_in_a_new_life() {
    let mut image = live_nodes(&[1]);
    done(&mut image, Command::HandOver { node: NodeId(1), incarnation: Incarnation(1) });
    assert_eq!(refused(&mut image, unfence(1, 1)), ErrorCode::InvalidRequest);
    done(&mut image, Command::RegisterNode(registration(1, 2)));
    done(&mut image, unfence(1, 2));
}

#[test]
fn producer_ids_are_given_out_once() {
    let mut image = Image::default();
    let take = || Command::AllocateProducerIds { count: 1000 };
    assert_eq!(apply(&mut image, take()), Outcome::ProducerIds { first: ProducerId(0), count: 1000 });
    assert_eq!(apply(&mut image, take()), Outcome::ProducerIds { first: ProducerId(1000), count: 1000 });
    let nothing = Command::AllocateProducerIds { count: 0 };
    assert_eq!(refusal(apply(&mut image, nothing)), ErrorCode::InvalidRequest);
}

#[test]
fn the_feature_level_waits_for_the_last_node_and_never_goes_back() {
    let mut image = live_nodes(&[1]);
    let two = Command::SetFeatureLevel { level: 2 };
    assert_eq!(refused(&mut image, two.clone()), ErrorCode::UnsupportedVersion);
    done(
        &mut image,
        Command::RegisterNode(crate::image::Registration { feature_level: 2, ..registration(1, 2) }),
    );
    done(&mut image, two);
    assert_eq!(refused(&mut image, Command::SetFeatureLevel { level: 1 }), ErrorCode::InvalidRequest);
    assert_eq!(refused(&mut image, Command::RegisterNode(registration(2, 1))), ErrorCode::UnsupportedVersion);
}

#[test]
fn a_cluster_is_founded_once() {
    let mut image = Image::default();
    let id = uuid::Uuid::from_u128(7);
    done(&mut image, Command::Found { cluster: id });
    done(&mut image, Command::Found { cluster: id });
    assert_eq!(
        refusal(apply(&mut image, Command::Found { cluster: uuid::Uuid::from_u128(8) })),
        ErrorCode::InvalidRequest
    );
    assert_eq!(image.cluster(), Some(id));
}

#[test]
fn only_a_node_that_is_away_and_has_no_replicas_is_forgotten() {
    let mut image = live_nodes(&[1, 2, 3]);
    done(&mut image, create(1, &[&[1, 2]]));
    let forget = |node: u32| Command::ForgetNode { node: NodeId(node) };
    assert_eq!(refused(&mut image, forget(9)), ErrorCode::BrokerIdNotRegistered);
    assert_eq!(refused(&mut image, forget(3)), ErrorCode::InvalidRequest, "it is there");
    for node in [2, 3] {
        done(&mut image, fence(node, 1));
    }
    assert_eq!(refused(&mut image, forget(2)), ErrorCode::InvalidRequest, "it has a replica");
    done(&mut image, forget(3));
    assert!(image.nodes().get(NodeId(3)).is_none());
}

use super::*;
use crate::cluster::election;
use crate::ids::LeaderEpoch;
use crate::image::fixture::{
    alter, apply, create, done, doubt, fence, live_nodes, member, partition, registration, reported, state,
    topic, unfence,
};
use crate::image::{Command, DoubtCause, Registration};

const ID: i32 = 0;

fn id() -> PartitionId {
    partition(1, ID)
}

fn nodes(numbers: &[u32]) -> Vec<NodeId> {
    numbers.iter().copied().map(NodeId).collect()
}

fn wish(replicas: Option<&[u32]>) -> Wish {
    Wish { partition: id(), replicas: replicas.map(nodes) }
}

/// Five nodes, and a partition on the first three, led by node 1.
fn five() -> Image {
    let mut image = live_nodes(&[1, 2, 3, 4, 5]);
    done(&mut image, create(1, &[&[1, 2, 3]]));
    image
}

fn ask(image: &mut Image, replicas: Option<&[u32]>) {
    let alterations = asked(image, &wish(replicas), true).unwrap().into_iter().collect();
    done(image, Command::AlterReassignments { alterations });
}

fn in_sync(image: &mut Image, members: &[u32]) {
    let members: Vec<_> = members.iter().map(|node| member(*node, 1)).collect();
    let change = alter(image, id(), &members);
    done(image, change);
}

/// What a controller does next: elections, and the end of the reassignment.
fn control(image: &mut Image) {
    let elections = election::due(image, None, &std::collections::BTreeSet::new()).elections;
    done(image, Command::ElectLeaders { elections });
    let alterations = due(image, None, 10);
    done(image, Command::AlterReassignments { alterations });
}

fn refused(image: &Image, replicas: Option<&[u32]>) -> ErrorCode {
    asked(image, &wish(replicas), true).unwrap_err().code
}

/// Why a step that no controller proposes is refused.
fn refused_step(image: &mut Image, step: ReassignmentStep) -> Option<ErrorCode> {
    let now = state(image, id());
    let alterations = vec![alteration(id(), &now, step)];
    let outcome = apply(image, Command::AlterReassignments { alterations });
    let crate::image::Outcome::Reassigned { refused } = outcome else { panic!("{outcome:?}") };
    refused.first().map(|(_, refusal)| refusal.code)
}

fn led(image: &Image) -> (Vec<NodeId>, Option<u32>, LeaderEpoch, Vec<u32>) {
    let now = state(image, id());
    let members = now.in_sync.iter().map(|member| member.node.0).collect();
    (now.replicas, now.leader.map(|leader| leader.node.0), now.leader_epoch, members)
}

#[test]
fn a_partition_has_old_and_new_replicas_until_all_new_ones_are_in_sync() {
    let mut image = five();
    ask(&mut image, Some(&[4, 5, 2]));
    let now = state(&image, id());
    assert_eq!(now.replicas, nodes(&[4, 5, 2, 1, 3]));
    assert_eq!((now.adding(), now.removing()), (nodes(&[4, 5]), nodes(&[1, 3])));
    in_sync(&mut image, &[1, 2, 3, 4]);
    control(&mut image);
    assert!(state(&image, id()).reassignment.is_some(), "node 5 lacks records");
    in_sync(&mut image, &[1, 2, 3, 4, 5]);
    control(&mut image);
    assert_eq!(led(&image), (nodes(&[4, 5, 2]), Some(4), LeaderEpoch(1), vec![2, 4, 5]));
    assert_eq!(state(&image, id()).reassignment, None);
}

#[test]
fn a_leader_that_stays_opens_an_epoch_once_a_replica_has_gone_and_goes_on_in_its_own_where_none_has() {
    let mut image = five();
    ask(&mut image, Some(&[4, 1]));
    in_sync(&mut image, &[1, 2, 3, 4]);
    control(&mut image);
    assert_eq!(led(&image), (nodes(&[4, 1]), Some(1), LeaderEpoch(1), vec![1, 4]));
    ask(&mut image, Some(&[4, 1, 5]));
    in_sync(&mut image, &[1, 4, 5]);
    control(&mut image);
    assert_eq!(led(&image), (nodes(&[4, 1, 5]), Some(1), LeaderEpoch(1), vec![1, 4, 5]));
}

#[test]
fn what_the_log_of_a_replica_that_went_had_reached_lets_nobody_in_that_comes_to_its_place() {
    let mut image = five();
    ask(&mut image, Some(&[1, 2, 3, 4]));
    let late = alter(&image, id(), &[1, 2, 3, 4].map(|node| member(node, 1)));
    ask(&mut image, None);
    ask(&mut image, Some(&[1, 2, 3, 4]));
    let crate::image::Outcome::InSync(results) = apply(&mut image, late) else { panic!() };
    assert_eq!(results[0].1.clone().unwrap_err().code, ErrorCode::FencedLeaderEpoch);
}

#[test]
fn going_back_is_refused_while_nobody_who_was_there_before_can_lead() {
    let mut image = live_nodes(&[1, 2, 3]);
    done(&mut image, create(1, &[&[1]]));
    ask(&mut image, Some(&[2, 3]));
    in_sync(&mut image, &[1, 2]);
    for node in [1, 2] {
        done(&mut image, fence(node, 1));
    }
    control(&mut image);
    let cut = reported(id(), doubt(DoubtCause::Cut, 0, 3));
    done(&mut image, Command::RegisterNode(Registration { doubts: vec![cut], ..registration(1, 2) }));
    done(&mut image, unfence(1, 2));
    control(&mut image);
    assert_eq!(led(&image).1, None, "node 2 is waited for");
    assert_eq!(refused(&image, None), ErrorCode::EligibleLeadersNotAvailable);
    for leader in [None, Some(NodeId(1))] {
        assert!(refused_step(&mut image, ReassignmentStep::Cancel { leader }).is_some());
    }
    done(&mut image, Command::RegisterNode(registration(2, 2)));
    done(&mut image, unfence(2, 2));
    control(&mut image);
    assert_eq!((led(&image).1, led(&image).3), (Some(2), vec![2]), "it has the whole log");
}

#[test]
fn a_reassignment_without_a_leader_is_given_up_to_one_who_is_there_and_beyond_doubt() {
    let mut image = live_nodes(&[1, 2, 3]);
    done(&mut image, create(1, &[&[1]]));
    ask(&mut image, Some(&[2, 3]));
    in_sync(&mut image, &[1, 2]);
    for node in [1, 2] {
        done(&mut image, fence(node, 1));
    }
    control(&mut image);
    done(&mut image, Command::RegisterNode(registration(1, 2)));
    done(&mut image, unfence(1, 2));
    ask(&mut image, None);
    assert_eq!(led(&image), (nodes(&[1]), Some(1), LeaderEpoch(2), vec![1]));
}

#[test]
fn nothing_ends_while_the_leader_has_not_come_back_from_a_power_cut_or_is_in_doubt() {
    for doubts in [vec![], vec![reported(id(), doubt(DoubtCause::Cut, 0, 3))]] {
        let is_clean = doubts.is_empty();
        let mut image = five();
        ask(&mut image, Some(&[1, 4]));
        in_sync(&mut image, &[1, 2, 3, 4]);
        done(&mut image, Command::RegisterNode(Registration { doubts, ..registration(1, 2) }));
        for node in [2, 3, 4] {
            done(&mut image, Command::RegisterNode(registration(node, 2)));
        }
        assert_eq!(led(&image).1, Some(1), "the image says so still");
        assert_eq!(due(&image, None, 10), []);
        let refused = refused_step(&mut image, ReassignmentStep::Complete { leader: None });
        assert_eq!(refused, Some(ErrorCode::EligibleLeadersNotAvailable));
        for node in [1, 2, 3, 4] {
            done(&mut image, unfence(node, 2));
        }
        assert_eq!(due(&image, None, 10), [], "it leads in a life that is over");
        control(&mut image);
        let (replicas, leader, _, members) = led(&image);
        if is_clean {
            assert_eq!((replicas, leader, members), (nodes(&[1, 4]), Some(1), vec![1, 4]));
        } else {
            assert_eq!((replicas.len(), leader, members), (4, Some(4), vec![2, 3, 4]));
        }
    }
}

#[test]
fn what_is_given_up_is_as_it_was_before_however_often_its_target_was_changed() {
    let mut image = five();
    ask(&mut image, Some(&[4, 2, 3]));
    in_sync(&mut image, &[1, 2, 3, 4]);
    ask(&mut image, Some(&[5, 4]));
    assert_eq!(state(&image, id()).replicas, nodes(&[5, 4, 2, 3, 1]));
    ask(&mut image, None);
    assert_eq!(led(&image), (nodes(&[1, 2, 3]), Some(1), LeaderEpoch(1), vec![1, 2, 3]));
    assert_eq!(refused(&image, None), ErrorCode::NoReassignmentInProgress);
}

#[test]
fn a_leader_that_was_not_there_before_gives_the_lead_back_when_it_is_given_up() {
    let mut image = five();
    ask(&mut image, Some(&[4, 2, 3]));
    in_sync(&mut image, &[1, 3, 4]);
    done(&mut image, fence(1, 1));
    control(&mut image);
    assert_eq!(led(&image).1, Some(4), "node 2 was out of the set");
    ask(&mut image, None);
    assert_eq!(led(&image), (nodes(&[1, 2, 3]), Some(3), LeaderEpoch(2), vec![3]));
}

#[test]
fn going_back_to_replicas_that_lack_records_is_refused() {
    let mut image = five();
    ask(&mut image, Some(&[4, 5]));
    in_sync(&mut image, &[1, 4]);
    done(&mut image, fence(1, 1));
    control(&mut image);
    assert_eq!(led(&image).3, vec![4]);
    assert_eq!(refused(&image, None), ErrorCode::InvalidReplicaAssignment);
}

#[test]
fn a_target_that_dies_is_waited_for_and_comes_back_in_a_new_life() {
    let mut image = five();
    ask(&mut image, Some(&[4, 5]));
    in_sync(&mut image, &[1, 2, 3, 4, 5]);
    done(&mut image, fence(5, 1));
    control(&mut image);
    assert!(state(&image, id()).reassignment.is_some());
    done(&mut image, Command::RegisterNode(registration(5, 2)));
    done(&mut image, unfence(5, 2));
    let members = [member(1, 1), member(2, 1), member(3, 1), member(4, 1), member(5, 2)];
    let change = alter(&image, id(), &members);
    done(&mut image, change);
    control(&mut image);
    assert_eq!(led(&image), (nodes(&[4, 5]), Some(4), LeaderEpoch(1), vec![4, 5]));
}

#[test]
fn nothing_ends_while_nobody_leads() {
    let mut image = live_nodes(&[1, 2]);
    done(&mut image, create(1, &[&[1]]));
    ask(&mut image, Some(&[1, 2]));
    done(&mut image, fence(1, 1));
    control(&mut image);
    assert_eq!(led(&image).1, None);
    assert!(due(&image, None, 10).is_empty());
}

#[test]
fn the_same_replicas_in_another_order_are_so_at_once_and_those_there_are_need_nothing() {
    let mut image = five();
    ask(&mut image, Some(&[3, 1, 2]));
    let now = state(&image, id());
    assert_eq!((now.replicas, now.reassignment), (nodes(&[3, 1, 2]), None));
    assert_eq!(asked(&image, &wish(Some(&[3, 1, 2])), true).unwrap(), None);
}

#[test]
fn what_cannot_be_is_refused_as_kafka_refuses_it() {
    let image = five();
    assert_eq!(refused(&image, Some(&[])), ErrorCode::InvalidReplicaAssignment);
    assert_eq!(refused(&image, Some(&[4, 4])), ErrorCode::InvalidReplicaAssignment);
    assert_eq!(refused(&image, Some(&[1, 9])), ErrorCode::InvalidReplicaAssignment);
    assert_eq!(refused(&image, None), ErrorCode::NoReassignmentInProgress);
    let other_factor = asked(&image, &wish(Some(&[4, 5])), false).unwrap_err();
    assert_eq!(other_factor.code, ErrorCode::InvalidReplicationFactor);
    let gone = Wish { partition: partition(1, 7), replicas: None };
    assert_eq!(asked(&image, &gone, true).unwrap_err().code, ErrorCode::UnknownTopicOrPartition);
}

#[test]
fn a_step_that_rests_on_an_older_state_is_refused() {
    let mut image = five();
    let stale = asked(&image, &wish(Some(&[4])), true).unwrap();
    in_sync(&mut image, &[1, 2]);
    let alterations = stale.into_iter().collect();
    let outcome = apply(&mut image, Command::AlterReassignments { alterations });
    let crate::image::Outcome::Reassigned { refused } = outcome else { panic!("{outcome:?}") };
    assert_eq!(refused[0].1.code, ErrorCode::InvalidUpdateVersion);
}

#[test]
fn only_topics_that_have_changed_are_looked_at() {
    let mut image = five();
    ask(&mut image, Some(&[1, 2]));
    let before = image.clone();
    assert_eq!(due(&image, None, 10).len(), 1);
    assert!(due(&image, Some(&before), 10).is_empty());
    done(&mut image, fence(5, 1));
    assert_eq!(due(&image, Some(&before), 10).len(), 1, "who may lead has changed");
}

#[test]
fn topics_of_the_system_get_replicas_on_nodes_that_have_joined_and_have_settled() {
    let mut image = live_nodes(&[1]);
    let replicas = vec![nodes(&[1]); 4];
    let config = std::collections::BTreeMap::new();
    let name = "__consumer_offsets".to_owned();
    done(&mut image, Command::CreateTopic { id: topic(1), name, config, internal: true, replicas });
    done(&mut image, create(2, &[&[1]]));
    assert!(raises(&image, 3, |_| true, |_| false).is_empty());
    for node in [2, 3] {
        done(&mut image, Command::RegisterNode(registration(node, 1)));
        done(&mut image, unfence(node, 1));
    }
    assert!(raises(&image, 3, |node| node == NodeId(1), |_| false).is_empty());
    let alterations = raises(&image, 3, |_| true, |_| false);
    assert_eq!(alterations.len(), 4, "of the user's topic nothing is raised");
    done(&mut image, Command::AlterReassignments { alterations });
    assert!(raises(&image, 3, |_| true, |_| false).is_empty(), "once is enough");
    let partitions = &image.topics().get(topic(1)).unwrap().partitions;
    let mut first: Vec<u32> = partitions.iter().map(|partition| partition.replicas[0].0).collect();
    assert!(partitions.iter().all(|partition| partition.replicas.len() == 3), "{partitions:?}");
    first.sort_unstable();
    first.dedup();
    assert_eq!(first, [1, 2, 3], "each is to lead some");
}

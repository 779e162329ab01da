use proptest::prelude::*;

use super::fixture::*;
use crate::ids::{Incarnation, LeaderEpoch, Member, NodeId, PartitionId};
use crate::image::{
    Alteration, Choice, Command, DoubtCause, Election, Image, InSyncChange, ReassignmentStep,
};

fn nodes() -> impl Strategy<Value = u32> {
    1u32..4
}

fn lives() -> impl Strategy<Value = u64> {
    1u64..4
}

fn partitions() -> impl Strategy<Value = PartitionId> {
    (1u128..3, 0i32..3).prop_map(|(number, index)| partition(number, index))
}

fn members() -> impl Strategy<Value = Member> {
    (nodes(), lives()).prop_map(|(node, life)| member(node, life))
}

fn sets() -> impl Strategy<Value = Vec<NodeId>> {
    prop::collection::btree_set(nodes(), 0..4).prop_map(|nodes| nodes.into_iter().map(NodeId).collect())
}

fn choices() -> impl Strategy<Value = Choice> {
    prop_oneof![
        sets().prop_map(|in_sync| Choice::Keep { in_sync }),
        (nodes(), sets()).prop_map(|(node, in_sync)| Choice::Lead { leader: NodeId(node), in_sync }),
        Just(Choice::Nobody),
        (members(), any::<bool>()).prop_map(|(leader, unclean)| Choice::Alone { leader, unclean }),
    ]
}

/// Epochs and set versions are small, so that many commands hit the present state.
fn elections() -> impl Strategy<Value = Election> {
    (partitions(), 0i32..4, 0u32..6, choices()).prop_map(|(partition, epoch, set_version, choice)| Election {
        partition,
        epoch: LeaderEpoch(epoch),
        set_version,
        choice,
    })
}

fn alterations() -> impl Strategy<Value = Command> {
    let change = (partitions(), 0i32..4, 0u32..6, prop::collection::vec(members(), 0..4)).prop_map(
        |(partition, epoch, set_version, in_sync)| InSyncChange {
            partition,
            epoch: LeaderEpoch(epoch),
            set_version,
            in_sync,
        },
    );
    (nodes(), lives(), prop::collection::vec(change, 0..3)).prop_map(|(node, life, changes)| {
        Command::AlterInSync { node: NodeId(node), incarnation: Incarnation(life), changes }
    })
}

fn steps() -> impl Strategy<Value = ReassignmentStep> {
    let lists = || prop::collection::vec(nodes().prop_map(NodeId), 0..4);
    let leaders = || prop::option::of(nodes().prop_map(NodeId));
    prop_oneof![
        3 => lists().prop_map(|target| ReassignmentStep::Begin { target }),
        1 => lists().prop_map(|target| ReassignmentStep::Raise { target }),
        2 => leaders().prop_map(|leader| ReassignmentStep::Complete { leader }),
        1 => leaders().prop_map(|leader| ReassignmentStep::Cancel { leader }),
    ]
}

fn reassignments() -> impl Strategy<Value = Command> {
    let alteration =
        (partitions(), 0i32..4, 0u32..6, steps()).prop_map(|(partition, epoch, set_version, step)| {
            Alteration { partition, epoch: LeaderEpoch(epoch), set_version, step }
        });
    prop::collection::vec(alteration, 1..4)
        .prop_map(|alterations| Command::AlterReassignments { alterations })
}

fn registrations() -> impl Strategy<Value = Command> {
    (nodes(), lives(), prop::option::of((partitions(), 0i64..9)), any::<bool>()).prop_map(
        |(node, life, doubted, emptied)| {
            let mut registration = registration(node, life);
            if let Some((partition, end)) = doubted {
                registration.doubts = vec![reported(partition, doubt(DoubtCause::Cut, 0, end))];
            }
            if emptied {
                registration.directories = vec![directory(node + 10)];
            }
            Command::RegisterNode(registration)
        },
    )
}

fn creations() -> impl Strategy<Value = Command> {
    let replicas = prop::collection::vec(sets(), 1..3);
    (1u128..3, replicas, any::<bool>()).prop_map(|(number, replicas, unclean)| {
        let lists: Vec<Vec<u32>> =
            replicas.iter().map(|set| set.iter().map(|node| node.0).collect()).collect();
        let lists: Vec<&[u32]> = lists.iter().map(Vec::as_slice).collect();
        let value = if unclean { "true" } else { "false" };
        create_with(number, &lists, &[("unclean.leader.election.enable", value)])
    })
}

fn commands() -> impl Strategy<Value = Command> {
    prop_oneof![
        4 => registrations(),
        4 => (nodes(), lives()).prop_map(|(node, life)| unfence(node, life)),
        2 => (nodes(), lives()).prop_map(|(node, life)| fence(node, life)),
        1 => (nodes(), lives()).prop_map(|(node, life)| Command::HandOver {
            node: NodeId(node),
            incarnation: Incarnation(life)
        }),
        4 => creations(),
        1 => (1u128..3).prop_map(|number| Command::DeleteTopic { id: topic(number) }),
        2 => (1u128..3, 0usize..4, prop::collection::vec(sets(), 0..3))
            .prop_map(|(number, from, replicas)| Command::CreatePartitions { id: topic(number), from, replicas }),
        1 => Just(Command::AlterTopicConfig { id: topic(1), changes: settings(&[("flush.policy", Some("os"))]) }),
        6 => alterations(),
        8 => prop::collection::vec(elections(), 1..4).prop_map(|elections| Command::ElectLeaders { elections }),
        2 => (nodes(), lives(), partitions()).prop_map(|(node, life, partition)| Command::ReportDoubts {
            node: NodeId(node),
            incarnation: Incarnation(life),
            doubts: vec![reported(partition, doubt(DoubtCause::EndsEarly, 0, 3))],
        }),
        1 => (0u32..3).prop_map(|count| Command::AllocateProducerIds { count }),
        6 => reassignments(),
        1 => nodes().prop_map(|node| Command::ForgetNode { node: NodeId(node) }),
        1 => (nodes(), lives(), prop::option::of("[ab]")).prop_map(|(node, life, rack)| Command::SetRack {
            node: NodeId(node),
            incarnation: Incarnation(life),
            rack,
        }),
    ]
}

fn start() -> Image {
    let mut image = live_nodes(&[1, 2, 3]);
    done(&mut image, create(1, &[&[1, 2, 3], &[2, 3], &[3]]));
    image
}

/// What holds between an image and the next, whatever was applied.
fn check(before: &Image, after: &Image) {
    for topic in after.topics().iter() {
        for (id, now) in topic.ids() {
            assert!(!now.in_sync.is_empty(), "{id}: the last member was removed");
            assert!(
                now.in_sync.iter().all(|m| now.replicas.contains(&m.node)),
                "{id}: a member without a replica"
            );
            assert!(
                now.in_sync.windows(2).all(|pair| pair[0].node < pair[1].node),
                "{id}: {:?}",
                now.in_sync
            );
            if let Some(leader) = now.leader {
                assert!(now.member(leader.node).is_some(), "{id}: the leader is not in sync");
            }
            if let Some(under_way) = &now.reassignment {
                let all = under_way.before.iter().chain(&under_way.target);
                assert!(all.into_iter().all(|node| now.replicas.contains(node)), "{id}: {now:?}");
            }
            let Some(then) = before.partition(id) else { continue };
            let stood = then.leader == now.leader && then.in_sync == now.in_sync;
            assert!(now.leader_epoch >= then.leader_epoch, "{id}: the epoch went back");
            if then.replicas.iter().any(|node| !now.replicas.contains(node)) {
                assert!(now.leader_epoch > then.leader_epoch, "{id}: a replica went and no epoch began");
                assert!(now.is_led(after.nodes()), "{id}: a replica went while nobody led");
            }
            assert!(stood || now.set_version > then.set_version, "{id}: changed without a new set version");
            if now.leader != then.leader {
                assert!(now.leader_epoch > then.leader_epoch, "{id}: two leaders in one epoch");
            }
            if let (true, Some(leader)) = (now.leader_epoch > then.leader_epoch, now.leader) {
                let known = after.nodes().get(leader.node).unwrap();
                assert_eq!(known.incarnation, leader.incarnation, "{id}: elected in a life that is over");
                let clean = then.member(leader.node).is_some();
                assert!(clean || topic.config.unclean_leader_election, "{id}: elected from outside the set");
            }
        }
    }
}

proptest! {
    #[test]
    fn the_same_commands_give_the_same_bytes_and_break_nothing(
        commands in prop::collection::vec(commands(), 1..60),
    ) {
        let (mut one, mut two) = (start(), start());
        for command in &commands {
            let before = one.clone();
            let outcome = apply(&mut one, command.clone());
            prop_assert_eq!(outcome, apply(&mut two, command.clone()));
            check(&before, &one);
        }
        prop_assert_eq!(one.encode(), two.encode());
    }

    #[test]
    fn a_snapshot_and_the_rest_of_the_log_give_what_the_whole_log_gives(
        commands in prop::collection::vec(commands(), 1..40),
        cut in 0usize..40,
    ) {
        let (mut whole, mut restored) = (start(), start());
        for (at, command) in commands.iter().enumerate() {
            if at == cut {
                restored = Image::decode(&restored.encode()).unwrap();
            }
            prop_assert_eq!(apply(&mut whole, command.clone()), apply(&mut restored, command.clone()));
        }
        prop_assert_eq!(whole.encode(), restored.encode());
        prop_assert_eq!(whole, restored);
    }
}

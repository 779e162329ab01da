use super::fixture::*;
use crate::ids::{Incarnation, NodeId};
use crate::image::{Command, assignments, delta};

#[test]
fn a_node_is_told_of_its_own_partitions_only() {
    let mut image = live_nodes(&[1, 2, 3]);
    done(&mut image, create(1, &[&[1, 2], &[2, 3], &[3, 1]]));
    let told = assignments(&image, NodeId(1));
    assert_eq!(told.iter().map(|a| a.partition.index).collect::<Vec<_>>(), [0, 2]);
    let first = told.first().unwrap();
    assert_eq!(&*first.topic, "topic-1");
    assert_eq!(first.leader, Some(member(1, 1)));
    assert_eq!(first.in_sync, [member(1, 1), member(2, 1)]);
}

#[test]
fn a_delta_holds_what_changed_and_nothing_else() {
    let mut old = live_nodes(&[1, 2, 3]);
    done(&mut old, create(1, &[&[1, 2], &[2, 3], &[3, 1]]));
    let mut new = old.clone();
    assert!(delta(&old, &new, NodeId(1)).is_empty());
    let shrink = alter(&new, partition(1, 0), &[member(1, 1)]);
    done(&mut new, shrink);
    let of_one = delta(&old, &new, NodeId(1));
    assert_eq!(
        of_one.changed.iter().map(|a| (a.partition.index, a.set_version)).collect::<Vec<_>>(),
        [(0, 1)]
    );
    assert!(delta(&old, &new, NodeId(3)).is_empty());
    done(&mut new, create(2, &[&[1]]));
    assert_eq!(delta(&old, &new, NodeId(1)).changed.len(), 2);
}

#[test]
fn a_change_of_settings_touches_all_partitions_of_the_topic() {
    let mut old = live_nodes(&[1]);
    done(&mut old, create(1, &[&[1], &[1]]));
    done(&mut old, create(2, &[&[1]]));
    let mut new = old.clone();
    let changes = settings(&[("retention.ms", Some("1000"))]);
    done(&mut new, Command::AlterTopicConfig { id: topic(1), changes });
    let told = delta(&old, &new, NodeId(1)).changed;
    assert_eq!(told.len(), 2);
    assert!(told.iter().all(|a| a.config.retention_ms == Some(1000)));
}

#[test]
fn a_deleted_topic_is_removed_where_it_had_replicas() {
    let mut old = live_nodes(&[1, 2]);
    done(&mut old, create(1, &[&[1], &[2]]));
    let mut new = old.clone();
    done(&mut new, Command::DeleteTopic { id: topic(1) });
    assert_eq!(delta(&old, &new, NodeId(2)).removed, [partition(1, 1)]);
}

#[test]
fn a_topic_made_anew_under_its_old_name_is_another() {
    let mut old = live_nodes(&[1]);
    done(&mut old, create(1, &[&[1]]));
    let mut new = old.clone();
    done(&mut new, Command::DeleteTopic { id: topic(1) });
    done(&mut new, create(2, &[&[1]]));
    let delta = delta(&old, &new, NodeId(1));
    assert_eq!(delta.removed, [partition(1, 0)]);
    assert_eq!(delta.changed.first().unwrap().partition, partition(2, 0));
}

#[test]
fn who_leads_is_told_of_members_that_are_shutting_down() {
    let mut old = live_nodes(&[1, 2]);
    done(&mut old, create(1, &[&[1, 2]]));
    done(&mut old, Command::HandOver { node: NodeId(2), incarnation: Incarnation(1) });
    let mut new = old.clone();
    let shrink = alter(&new, partition(1, 0), &[member(1, 1)]);
    done(&mut new, shrink);
    let told = delta(&old, &new, NodeId(1)).changed;
    assert_eq!(told.first().unwrap().leaving, [(NodeId(2), Incarnation(1))]);
}

//! Replicas that who makes partitions places, instead of the cluster. Refused as by Kafka's controller where they are
//! not to be had. Pure functions of the image.

use crate::cluster::message::CreateTopic;
use crate::error::{ErrorCode, Refusal};
use crate::ids::{NodeId, PartitionId, TopicId};
use crate::image::{Image, PARTITIONS_MAX, Topic, check_replicas};

/// Nodes named in one request: it fits into an entry of the quorum, with as many partitions as there may be.
const NAMED_MAX: usize = 30_000;

/// Replicas of each partition of a new topic, from these pairs of a partition and its nodes: all from 0 on, each once, all
/// with as many replicas, of which one at least is on a node that is there.
pub(super) fn of_topic(
    image: &Image,
    request: &CreateTopic,
    given: &[(i32, Vec<NodeId>)],
) -> Result<Vec<Vec<NodeId>>, Refusal> {
    let says = |number: Option<i32>| number.is_some_and(|number| number != -1);
    let factor = request.replication_factor.map(i32::from);
    for (said, what) in [(factor, "a replication factor"), (request.partitions, "a number of partitions")] {
        if says(said) {
            let text = format!(
                "topic {} is asked for with its replicas and with {what}: leave that out",
                request.name
            );
            return Err(Refusal::new(ErrorCode::InvalidRequest, text));
        }
    }
    if given.len() > PARTITIONS_MAX {
        let text = format!("topic {} cannot have {} partitions", request.name, given.len());
        return Err(Refusal::new(ErrorCode::InvalidPartitions, text));
    }
    check_named(given.iter().map(|(_, nodes)| nodes.len()))?;
    let mut sets = vec![None; given.len()];
    let mut factor = None;
    for (index, nodes) in given {
        let Some(place) = usize::try_from(*index).ok().and_then(|index| sets.get_mut(index)) else {
            let text =
                format!("partition {index} of {}: they are counted from 0 on, without a gap", given.len());
            return Err(invalid(text));
        };
        if place.is_some() {
            return Err(invalid(format!("partition {index} has its replicas placed twice")));
        }
        check(image, *index, nodes, factor)?;
        factor = Some(nodes.len());
        *place = Some(nodes.clone());
    }
    Ok(sets.into_iter().flatten().collect())
}

/// Refuses replicas for the partitions that a topic lacks to have `total` unless there is a set for each, as large as those
/// that it has.
pub(super) fn of_more(
    image: &Image,
    topic: &Topic,
    total: usize,
    given: &[Vec<NodeId>],
) -> Result<(), Refusal> {
    let present = topic.partitions.len();
    let added = total.saturating_sub(present);
    if given.len() != added {
        let text = format!("{added} partitions are added, and replicas are placed for {}", given.len());
        return Err(invalid(text));
    }
    check_named(given.iter().map(Vec::len))?;
    let first = i32::try_from(present).unwrap_or(i32::MAX);
    (first..).zip(given).try_for_each(|(index, nodes)| check(image, index, nodes, Some(factor(topic))))
}

/// How many replicas partitions of a topic have, when none of them are on their way.
pub(super) fn factor(topic: &Topic) -> usize {
    topic.partitions.first().map_or(1, |partition| partition.settled_replicas().len())
}

fn check(image: &Image, index: i32, nodes: &[NodeId], factor: Option<usize>) -> Result<(), Refusal> {
    check_replicas(PartitionId { topic: TopicId(uuid::Uuid::nil()), index }, nodes, image.nodes())?;
    if let Some(factor) = factor.filter(|factor| *factor != nodes.len()) {
        let text = format!("partition {index} has {} replicas, those before it have {factor}", nodes.len());
        return Err(invalid(text));
    }
    if !image.nodes().live().any(|(node, _)| nodes.contains(&node)) {
        return Err(invalid(format!("partition {index}: none of the nodes {nodes:?} is there")));
    }
    Ok(())
}

/// Refuses more partitions in one request, and more nodes named in it, so many for each of them, than are passed on.
pub(super) fn check_named(mut named: impl ExactSizeIterator<Item = usize>) -> Result<(), Refusal> {
    if named.len() > PARTITIONS_MAX {
        let text =
            format!("replicas are placed for {} partitions, {PARTITIONS_MAX} are the most", named.len());
        return Err(invalid(text));
    }
    let counted = named.try_fold(0_usize, |sum, more| Some(sum + more).filter(|sum| *sum <= NAMED_MAX));
    match counted {
        Some(_) => Ok(()),
        None => Err(invalid(format!("more than {NAMED_MAX} nodes are named in one request; ask in several"))),
    }
}

fn invalid(text: String) -> Refusal {
    Refusal::new(ErrorCode::InvalidReplicaAssignment, text)
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::*;
    use crate::image::Command;
    use crate::image::fixture::{create, done, fence, live_nodes};

    fn request(partitions: Option<i32>, replication_factor: Option<i16>) -> CreateTopic {
        CreateTopic { name: "a".to_owned(), partitions, replication_factor, config: BTreeMap::new() }
    }

    fn nodes(ids: &[u32]) -> Vec<NodeId> {
        ids.iter().copied().map(NodeId).collect()
    }

    /// Nodes 1 to 4, of which the last is away.
    fn image() -> Image {
        let mut image = live_nodes(&[1, 2, 3, 4]);
        done(&mut image, fence(4, 1));
        image
    }

    fn topic(given: &[(i32, &[u32])]) -> Result<Vec<Vec<NodeId>>, ErrorCode> {
        let given: Vec<_> = given.iter().map(|(index, ids)| (*index, nodes(ids))).collect();
        of_topic(&image(), &request(None, Some(-1)), &given).map_err(|refusal| refusal.code)
    }

    #[test]
    fn partitions_have_the_replicas_that_their_maker_gives_them_whatever_the_order() {
        let placed = topic(&[(1, &[3, 4]), (0, &[2, 1])]);
        assert_eq!(placed, Ok(vec![nodes(&[2, 1]), nodes(&[3, 4])]), "one that is away is waited for");
    }

    #[test]
    fn replicas_that_kafka_refuses_are_refused_alike() {
        let wrong: &[&[(i32, &[u32])]] = &[
            &[(0, &[])],
            &[(0, &[1, 1])],
            &[(0, &[1, 9])],
            &[(0, &[4])],
            &[(0, &[1, 2]), (1, &[3])],
            &[(0, &[1]), (0, &[2])],
            &[(1, &[1])],
            &[(0, &[1]), (2, &[2])],
            &[(-1, &[1])],
        ];
        for given in wrong {
            assert_eq!(topic(given), Err(ErrorCode::InvalidReplicaAssignment), "{given:?}");
        }
        let named = vec![NodeId(1); NAMED_MAX + 1];
        assert!(of_topic(&image(), &request(None, None), &[(0, named)]).is_err());
        assert!(check_named(vec![0; PARTITIONS_MAX].into_iter()).is_ok());
        assert!(check_named(vec![0; PARTITIONS_MAX + 1].into_iter()).is_err(), "though none is named");
    }

    #[test]
    fn replicas_and_a_number_of_them_or_of_partitions_are_not_asked_for_at_once() {
        for asked in [request(Some(1), None), request(None, Some(1))] {
            let refusal = of_topic(&image(), &asked, &[(0, nodes(&[1]))]).unwrap_err();
            assert_eq!(refusal.code, ErrorCode::InvalidRequest);
        }
    }

    #[test]
    fn more_partitions_get_a_set_each_as_large_as_those_before() {
        let mut image = image();
        done(&mut image, create(1, &[&[1, 2]]));
        let topic = image.topics().named("topic-1").unwrap();
        let more = |total, given: &[&[u32]]| {
            let given: Vec<_> = given.iter().map(|ids| nodes(ids)).collect();
            of_more(&image, topic, total, &given).map_err(|refusal| refusal.code)
        };
        assert_eq!(more(3, &[&[2, 3], &[3, 4]]), Ok(()));
        let wrong: [&[&[u32]]; 5] =
            [&[], &[&[1, 2]], &[&[1, 2], &[3]], &[&[1, 2], &[3, 3]], &[&[1, 2], &[3, 9]]];
        for given in wrong {
            assert_eq!(more(3, given), Err(ErrorCode::InvalidReplicaAssignment), "{given:?}");
        }
        let command = Command::CreatePartitions { id: topic.id, from: 1, replicas: vec![nodes(&[3, 4])] };
        let mut grown = image.clone();
        done(&mut grown, command);
        let added = grown.topics().named("topic-1").unwrap().partitions[1].clone();
        assert_eq!(added.leader.map(|leader| leader.node), Some(NodeId(3)));
    }
}
